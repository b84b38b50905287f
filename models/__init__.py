"""The problem, executable.

Sets and parameters    `instance`: `cluster`, `architecture`, `workload`, `space`, `strategy` (what a plan is)
Units and records      `units`, `record`, `errors`
Equations              `operators` -> `roofline`; `layout` -> `collectives`; `routing`; `memory`
Separable terms        `terms`: each distinct argument once
Cost of a plan         `evaluate`; what is minimised: `objective`
Rules R1-R19           `rules`; the strategies that keep R1-R12: `enumeration`
Lower bounds           `bounds`, resting on `placement` (experts to ranks) and `stages` (layers to stages)
What a search claims   `result`

Imports: the standard library and pydantic.
"""
