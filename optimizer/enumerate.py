"""The whole space, one cheap bound per strategy; then the promising ones exactly, best first."""

import time

from models.bounds import Bounds
from models.floors import Floors, root_bound
from models.instance import Instance
from models.landscape import Landscape
from models.objective import near_limit
from models.result import Claim, Status
from models.terms import Terms
from optimizer.completion import CLOSE, Completion
from optimizer.look import Effort, Looked, Progress, look, look_over
from optimizer.pricing import Pricing, price


def enumerate_space(
    instance: Instance, epsilon_ppm: int, effort: Effort, progress: Progress, seed: int = 0, landscape: Landscape | None = None
) -> Claim:
    """The claim that exhaustive enumeration supports; the checker has the last word.

    Where a gap is left by placements, arguments are sought for the layers of the plans concerned. A landscape of a relaxation
    of the instance spares the look at every strategy.
    """
    terms = Terms(instance)
    completion = Completion(instance, terms, seed)
    if landscape is None:
        looked = look(instance, Bounds(instance, terms), Floors(instance, terms), effort, progress)
    else:
        looked = look_over(landscape, instance, effort)
    while True:
        bounds, floors = Bounds(instance, terms, proved=completion.proved), Floors(instance, terms, completion.proved)
        pricing = price(completion, bounds, floors, looked, epsilon_ppm, effort)
        if looked.limited or pricing.late or not _strengthen(completion, pricing, looked.deadline, progress):
            break
    claim = _conclude(instance, looked, pricing, epsilon_ppm)
    return claim._replace(facts=tuple(sorted(completion.facts.values(), key=lambda f: (f.row, f.ranks))))


def _strengthen(completion: Completion, pricing: Pricing, deadline: float | None, progress: Progress) -> bool:
    """Whether arguments or better placements were found for the plans that leave a gap below the best value."""
    best = min((d.candidate.value for d in pricing.done), default=None)
    if best is None or pricing.bound is None:
        return False
    gaps = [d for d in pricing.done if d.bound <= best and d.bound < d.candidate.value]
    coarse_only = best - pricing.bound <= best // CLOSE
    for d in sorted(gaps):
        if deadline is not None and time.monotonic() > deadline:
            return False
        if completion.strengthen(d.candidate.plan, coarse_only):
            progress(f"{len(completion.facts)} placement arguments, the last for {d.candidate.plan.strategy.label()}")
            return True
    return False


def _conclude(instance: Instance, looked: Looked, pricing: Pricing, epsilon_ppm: int) -> Claim:
    """What the priced plans and the bounds together support."""
    seen, refuted = looked.size, {rule: n for rule, n in sorted(pricing.refuted.items()) if n}
    unrefuted = seen - sum(refuted.values())
    feasible = unrefuted if looked.counted or not unrefuted else None
    whole, late = not looked.limited and not pricing.undecided, looked.wall_limited or pricing.late
    bound = root_bound(instance) if looked.limited else pricing.bound
    if not pricing.done:
        status = Status.INFEASIBLE if whole and pricing.left is None else Status.UNKNOWN
        return Claim(status, (), bound, (), None, False, seen, feasible, refuted, looked.limited, "enumeration", (), late)
    assert bound is not None, "a plan was found, so a bound was"
    done = sorted(pricing.done)
    best = min(d.candidate.value for d in done)
    cut = near_limit(best, epsilon_ppm)
    near = tuple(sorted((d.candidate for d in done if best < d.candidate.value <= cut), key=lambda c: c.value))
    optimal = tuple(d.candidate for d in done if d.candidate.value == best)
    beyond = pricing.left is None or pricing.left > best
    proved = whole and beyond and all(d.bound > best or d.candidate.value == best == d.bound for d in done)
    decided = whole and pricing.left is None and all(d.bound > cut or d.candidate.value <= cut for d in done)
    status = Status.OPTIMAL if proved else Status.FEASIBLE
    listed = optimal if proved else optimal[:1]
    near = near if proved else tuple(c for c in (*optimal[1:], *near))
    least = best if proved else min(bound, best)
    return Claim(status, listed, least, near, cut, decided, seen, feasible, refuted, looked.limited, "enumeration", (), late)
