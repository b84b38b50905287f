"""A plan as a certificate states it."""

from typing import Annotated

from pydantic import Field

from models.packing import Natural
from models.record import Record, StopAtFirst
from models.strategy import DEGREES, RANK_ORDER, Degree, Plan, Ranks, Redundant, Strategy


class AllDegrees(Record):
    """Every degree of a strategy, and its redundant slots per EP rank."""

    tp: Degree
    cp: Degree
    dp: Degree
    pp: Degree
    etp: Degree
    ep: Degree
    edp: Degree
    replicas: Degree
    microbatches: Degree
    redundant: Redundant = 0


class StatedPlan(Record):
    """A plan; stages and placement are null where none is meant in particular."""

    degrees: AllDegrees
    order: Annotated[str, Field(pattern=RANK_ORDER)]
    stages: Annotated[tuple[Degree, ...], StopAtFirst(), Field(max_length=1000)] | None
    placement: Annotated[tuple[Ranks, ...], StopAtFirst(), Field(max_length=1000)] | None

    @property
    def strategy(self) -> Strategy:
        return Strategy(**{d: getattr(self.degrees, d) for d in DEGREES}, order=self.order, redundant=self.degrees.redundant)


class PricedPlan(Record):
    """A complete plan and its objective value."""

    plan: StatedPlan
    value: Natural

    def complete(self) -> Plan | None:
        """The plan, or None when its stages or placement are left open."""
        if self.plan.stages is None or self.plan.placement is None:
            return None
        return Plan(self.plan.strategy, self.plan.stages, self.plan.placement)
