"""What a certificate about a fleet must show, and the check: the tables of `models.fleet` filled again."""

from typing import Literal

from pydantic import Field

from models.fleet import Fleet, FleetProblem, Tables, Yield, best_value, more_is_better, serves, value_of_fleet, yield_of
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
    found = None if claim.fleet is None else yield_of(claim.problem, claim.fleet)
    examine_value(claim.problem, found, claim.value, claim.bound)
    examine_bound(claim.problem, claim.bound)


def examine_value(problem: FleetProblem, found: Yield | None, value: int | None, bound: int | None) -> None:
    """A fleet, its value and a bound belong together: it serves the load, has the value, is no better than the bound. Raises Refused."""
    if (found is None) != (value is None):
        raise Refused("a fleet and its value belong together", "claim.value")
    if found is None or value is None:
        return
    if not serves(problem, found.rate):
        raise Refused(f"the fleet yields {found.rate}, which is below the load of {problem.load or 1}", "claim.fleet")
    if value_of_fleet(problem, found) != value:
        raise Refused(f"the fleet has the value {value_of_fleet(problem, found)}", "claim.value")
    if bound is None or is_better(problem, value, bound):
        raise Refused("the fleet is better than the bound", "claim.bound")


def examine_bound(problem: FleetProblem, bound: int | None) -> None:
    """No fleet is better than the bound; without one, none serves the load. Raises Refused."""
    tables = Tables(problem)
    best = best_value(problem, tables.joint(), tables)
    if best is None:
        if bound is not None:
            raise Refused("no fleet reaches the load, so none is bounded", "claim.bound")
    elif bound is None:
        raise Refused("a fleet reaches the load", "claim.bound")
    elif is_better(problem, best, bound):
        raise Refused(f"some fleet has the value {best}", "claim.bound")


def is_better(problem: FleetProblem, value: int, than: int) -> bool:
    """Whether a value of the objective is better than another."""
    return value > than if more_is_better(problem) else value < than
