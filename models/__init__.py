"""The problem, executable.

Sets and parameters    `instance`: `cluster`, `architecture`, `workload`, `space`, `strategy` (what a plan is)
Units and records      `units`, `record`, `errors`
Equations              `operators` -> `roofline`; `layout` -> `collectives`; `routing`; `memory`
Separable terms        `terms` over `shape`: each distinct argument once
Cost of a plan         `evaluate`; what is minimised: `objective`
Rules R1-R20           `rules` (`slots`: R14, R20; `violation`); the strategies that keep R1-R12 and R20: `enumeration`
Lower bounds           `floors` (whole blocks of strategies) and `bounds`, resting on `placement` (experts to
                       ranks), `replicas` and `replica_bounds` (with redundant slots) and `stages`
Placement problems     `packing`; arguments that no placement keeps a threshold: `arguments`, on `patterns` and `assignment`
Certificates           `certificate`: the file and its reader
What a search claims   `result`
Fleets                 `fleet` (any priced workers, exact tables); services: `service` -> `passes` -> `cuts`, `workers` (what one yields,
                       by the equations of `serving`) -> `ceilings` (the best of a size); `fleet_plan` (a user's), `fleet_places`,
                       `service_claim`

Imports: the standard library and pydantic.
"""
