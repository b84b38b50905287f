"""What a certificate about a fleet must show, and the check: the tables of `models.fleet` filled again."""

from typing import Literal

from pydantic import Field

from models.fleet import Fleet, FleetProblem, Tables, best_value, more_is_better, serves, value_of_fleet, yield_of
from models.packing import Natural, Refused
from models.record import Record


class FleetClaim(Record):
    """No fleet is better than `bound`, and this one has `value`; both null: no fleet reaches the load."""

    kind: Literal["fleet"]
    problem: FleetProblem
    fleet: Fleet | None
    value: Natural | None = Field(description="rate, GPUs or micro-USD per hour, as the problem's objective says")
    bound: Natural | None


def examine_fleet(claim: FleetClaim) -> None:
    """Raises Refused at the first part that does not hold."""
    problem = claim.problem
    if (claim.fleet is None) != (claim.value is None) or (claim.value is not None and claim.bound is None):
        raise Refused("a fleet, its value and a bound belong together", "claim.value")
    if claim.fleet is not None:
        found = yield_of(problem, claim.fleet)
        if not serves(problem, found.rate):
            raise Refused(f"the fleet yields {found.rate}, which is below the load of {problem.load or 1}", "claim.fleet")
        if value_of_fleet(problem, found) != claim.value:
            raise Refused(f"the fleet has the value {value_of_fleet(problem, found)}", "claim.value")
    tables = Tables(problem)
    best = best_value(problem, tables.joint(), tables)
    if best is None:
        if claim.bound is not None:
            raise Refused("no fleet reaches the load, so none is bounded", "claim.bound")
    elif claim.bound is None:
        raise Refused("a fleet reaches the load", "claim.bound")
    elif (best > claim.bound) if more_is_better(problem) else (best < claim.bound):
        raise Refused(f"some fleet has the value {best}", "claim.bound")
