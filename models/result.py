"""What a search claims, and the plans it claims it for."""

from enum import StrEnum
from typing import NamedTuple

from models.certificate import Fact
from models.strategy import Plan


class Status(StrEnum):
    """One of four, never a sentinel."""

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    INFEASIBLE = "INFEASIBLE"
    UNKNOWN = "UNKNOWN"


class Candidate(NamedTuple):
    """A plan and the objective value claimed for it."""

    plan: Plan
    value: int


class Claim(NamedTuple):
    """What a search says about an instance, for the checker to confirm or refuse.

    OPTIMAL: `optimal` holds one plan of every strategy whose value is `bound`, and no plan is
    below. FEASIBLE: `optimal[0]` runs, and no plan is below `bound`. INFEASIBLE: nothing runs.
    UNKNOWN: no plan was found; no plan is below `bound` if that is given. `near` holds plans of
    other strategies with a value up to `near_limit`: of all that have such plans when `near_complete`.
    `limited`: not the whole space was looked at, and `bound` rests on `bounds.root_bound` alone.
    """

    status: Status
    optimal: tuple[Candidate, ...]
    bound: int | None
    near: tuple[Candidate, ...]
    near_limit: int | None
    near_complete: bool
    strategies: int
    feasible: int | None
    """strategies of which some plan runs; None where that was not counted"""
    refuted: dict[str, int]
    """strategies that no split and placement can save, by the rule they break"""
    limited: bool
    route: str
    facts: tuple[Fact, ...] = ()
    """arguments on placements that the bound rests on"""
    wall_limited: bool = False
    """the wall clock ended the search, so that another run may end elsewhere"""
