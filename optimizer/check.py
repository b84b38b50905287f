"""The last word: confirms or refuses a claim. Imports `models` only; no solver, no search.

It enumerates the space itself and recomputes every bound, so nothing in a claim is taken on trust.
"""

from models.bounds import Bounds, root_bound
from models.enumeration import strategies
from models.errors import VerificationError
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import Value, value_of
from models.result import Candidate, Claim, Status
from models.rules import violations


def check_candidate(instance: Instance, candidate: Candidate) -> None:
    """The plan keeps every rule and costs what is claimed."""
    broken = violations(instance, candidate.plan)
    if broken:
        raise VerificationError(f"{candidate.plan.strategy.label()} breaks {broken[0].rule}: {broken[0].sentence}")
    value = evaluate(instance, candidate.plan).value
    if value != candidate.value:
        raise VerificationError(f"{candidate.plan.strategy.label()} costs {value}, claimed {candidate.value}")


def check_claim(instance: Instance, claim: Claim) -> None:
    """Confirm every part of a claim. Raises VerificationError at the first that does not hold."""
    for candidate in (*claim.optimal, *claim.near):
        check_candidate(instance, candidate)
    _check_shape(claim)
    if claim.limited:
        if claim.bound is None or claim.bound > root_bound(instance):
            raise VerificationError(f"bound {claim.bound} of a limited search is above {root_bound(instance)}")
        return
    _check_space(instance, claim)


def _check_shape(claim: Claim) -> None:
    """The parts of the claim fit together and its status."""
    listed = [c.plan.strategy for c in (*claim.optimal, *claim.near)]
    if len(set(listed)) != len(listed):
        raise VerificationError("a strategy is listed twice")
    match claim.status:
        case Status.OPTIMAL:
            if not claim.optimal or claim.limited or any(c.value != claim.bound for c in claim.optimal):
                raise VerificationError("OPTIMAL needs plans whose value is the bound, over the whole space")
        case Status.FEASIBLE:
            if not claim.optimal or claim.bound is None or any(c.value < claim.bound for c in claim.optimal):
                raise VerificationError("FEASIBLE needs a plan and a bound that is not above it")
        case Status.INFEASIBLE:
            if claim.optimal or claim.near or claim.limited:
                raise VerificationError("INFEASIBLE cannot list plans or rest on part of the space")
        case Status.UNKNOWN:
            if claim.optimal:
                raise VerificationError("UNKNOWN cannot list plans")
    if claim.near_complete and claim.limited:
        raise VerificationError("a list cannot be called complete after part of the space")
    if (claim.near or claim.near_complete) and (claim.near_limit is None or claim.bound is None or not claim.optimal):
        raise VerificationError("near-optimal plans need a limit, a bound and a best plan")
    best = claim.optimal[0].value if claim.optimal else None
    for c in claim.near:
        if best is None or claim.near_limit is None or not best < c.value <= claim.near_limit:
            raise VerificationError(f"near-optimal plan {c.plan.strategy.label()} has value {c.value}, outside its range")


def _check_space(instance: Instance, claim: Claim) -> None:
    """No strategy of the space beats the bound, and none is missing from a list called complete."""
    bounds = Bounds(instance)
    optimal = {c.plan.strategy for c in claim.optimal}
    listed = optimal | {c.plan.strategy for c in claim.near}
    cut = claim.bound
    if claim.near_complete and claim.near_limit is not None and cut is not None:
        cut = max(cut, claim.near_limit)
    seen = feasible = 0
    for s in strategies(instance):
        seen += 1
        value, work = value_of(instance, s), bounds.work(s)
        if isinstance(work, str) or (bounds.constrained and isinstance(bounds.exact(s), str)):
            continue
        feasible += 1
        if _above(value.of(work), cut) or _ruled_out(bounds.quick(s), value, cut):
            continue
        solution = bounds.exact(s)
        if isinstance(solution, str):
            continue
        if claim.status is Status.INFEASIBLE:
            raise VerificationError(f"{s.label()} is not refuted, yet INFEASIBLE is claimed")
        least = value.of(solution.step_ns)
        if claim.bound is not None and least < claim.bound:
            raise VerificationError(f"{s.label()} may cost as little as {least}, below the bound {claim.bound}")
        if claim.status is Status.OPTIMAL and least == claim.bound and s not in optimal:
            raise VerificationError(f"{s.label()} may be optimal too but is not listed")
        if claim.near_complete and cut is not None and least <= cut and s not in listed:
            raise VerificationError(f"{s.label()} is within the near-optimal range but is not listed")
    if seen != claim.strategies:
        raise VerificationError(f"the space has {seen} strategies, the claim says {claim.strategies}")
    if claim.feasible is not None and feasible != claim.feasible:
        raise VerificationError(f"{feasible} strategies are not refuted, the claim says {claim.feasible}")


def _ruled_out(step: int | str, value: Value, cut: int | None) -> bool:
    """No plan of the strategy runs, or none is as good as `cut`."""
    return isinstance(step, str) or _above(value.of(step), cut)


def _above(value: int, cut: int | None) -> bool:
    return cut is not None and value > cut
