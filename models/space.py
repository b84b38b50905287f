"""Which strategies are considered: allowed values per degree and the rule set."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.record import Record, StopAtFirst
from models.strategy import DEFAULT_ORDER, ORDERS, Degree, Redundant

Allowed = Annotated[tuple[Degree, ...], Field(min_length=1, max_length=100_000), StopAtFirst()]
SpaceName = Literal["classic", "folded"]


class Space(Record):
    """`classic`: ep * tp * pp = all GPUs, dp = ep, etp = tp. `folded`: every degree free, GPUs may idle.

    A degree without a list may take any value that the rules permit.
    """

    name: SpaceName
    tp: Allowed | None = None
    cp: Allowed | None = None
    dp: Allowed | None = None
    pp: Allowed | None = None
    etp: Allowed | None = None
    ep: Allowed | None = None
    edp: Allowed | None = None
    replicas: Allowed | None = None
    microbatches: Allowed | None = None
    orders: tuple[str, ...] = Field(default=(DEFAULT_ORDER,), min_length=1, max_length=len(ORDERS))
    redundant_slots: Annotated[tuple[Redundant, ...], Field(min_length=1, max_length=4096), StopAtFirst()] = Field(
        default=(0,), description="numbers of redundant expert slots per EP rank to choose from, on top of experts / ep"
    )
    tp_in_domain: bool = Field(default=False, description="refuse tensor parallelism that leaves a scale-up domain")

    @model_validator(mode="after")
    def _lists_are_sets(self) -> Self:
        for name in type(self).model_fields:
            values = getattr(self, name)
            if isinstance(values, tuple) and len(set(values)) != len(values):
                raise ValueError(f"{name} lists a value twice; list each once")
        unknown = [o for o in self.orders if o not in ORDERS]
        if unknown:
            raise ValueError(f'orders: "{unknown[0][:40]}" is not a rank order; write one such as "{DEFAULT_ORDER}"')
        if self.name == "classic" and self.orders != (DEFAULT_ORDER,):
            raise ValueError(f'the classic space has the default rank order only; remove orders or write "{DEFAULT_ORDER}"')
        return self

    def admits(self, degree: str, value: int) -> bool:
        """Whether the space lists `value` for `degree`."""
        allowed = getattr(self, degree)
        return allowed is None or value in allowed
