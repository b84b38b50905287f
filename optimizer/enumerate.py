"""The whole space, one closed-form bound per strategy; then the promising ones exactly, best first."""

import time
from collections import Counter
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from models.bounds import Bounds, root_bound
from models.enumeration import strategies
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import near_limit, value_of
from models.result import Candidate, Claim, Status
from models.rules import plan_violations
from models.strategy import Plan, Strategy
from models.terms import Terms
from optimizer.place import place

Progress = Callable[[str], None]


class Effort(NamedTuple):
    """How far to look: strategies (deterministic) and seconds (not)."""

    strategies: int
    seconds: float | None


class Survivor(NamedTuple):
    """A strategy that no bound has ruled out yet."""

    bound: int
    """lower bound on the objective"""
    priced: bool
    """whether the bound counts communication"""
    number: int
    """position in the stated order"""
    strategy: Strategy


class Survey(NamedTuple):
    """Every strategy looked at; the survivors are a heap, least bound first."""

    survivors: list[Survivor]
    seen: int
    refuted: Counter[str]
    limited: bool
    wall_limited: bool


def survey(instance: Instance, bounds: Bounds, effort: Effort, progress: Progress) -> Survey:
    """Bound every strategy cheaply; stop early when the effort is spent.

    With limits or link caps every strategy is priced at once, so that the count of feasible ones is exact.
    """
    deadline = None if effort.seconds is None else time.monotonic() + effort.seconds
    found: list[Survivor] = []
    refuted: Counter[str] = Counter()
    number, limited, late = 0, False, False
    for number, s in enumerate(strategies(instance), start=1):
        late = number % 512 == 0 and deadline is not None and time.monotonic() > deadline
        if late or number > effort.strategies:
            number, limited = number - 1, True
            break
        if number % 50_000 == 0:
            progress(f"{number} strategies bounded, {len(found)} alive")
        step = bounds.work(s)
        if bounds.constrained and not isinstance(step, str):
            step = bounds.quick(s)
        if isinstance(step, str):
            refuted[step] += 1
        else:
            found.append(Survivor(value_of(instance, s).of(step), False, number, s))
    heapify(found)
    return Survey(found, number, refuted, limited, late)


def complete(instance: Instance, bounds: Bounds, s: Strategy) -> tuple[int, Candidate | None] | str:
    """The strategy's bound and its best plan found; or the rule that no plan of it keeps.

    No plan where placements are too large to enumerate and the one tried breaks a limit.
    """
    solution = bounds.exact(s)
    if isinstance(solution, str):
        return solution
    bound = value_of(instance, s).of(solution.step_ns)
    placements = tuple(p if p is not None else place(instance.load_of_moe_layer(n), s.ep) for n, p in enumerate(solution.placements))
    plan = Plan(s, solution.split.stages, placements)
    evaluation = evaluate(instance, plan, bounds.terms)
    if solution.exact:
        assert evaluation.step_ns == solution.step_ns, "exact bounds are attained"
    elif any(plan_violations(instance, plan, evaluation)):
        return bound, None
    return bound, Candidate(plan, evaluation.value)


def enumerate_space(instance: Instance, epsilon_ppm: int, effort: Effort, progress: Progress) -> Claim:
    """The claim that exhaustive enumeration supports; the checker has the last word."""
    bounds = Bounds(instance, Terms(instance))
    seen = survey(instance, bounds, effort, progress)
    progress(f"{seen.seen} strategies, {len(seen.survivors)} have room for a plan")
    heap, done = seen.survivors, list[Priced]()
    bound: int | None = None
    best: int | None = None
    undecided = False
    while heap and (best is None or heap[0].bound <= near_limit(best, epsilon_ppm)):
        survivor = heappop(heap)
        if not survivor.priced:
            step = bounds.quick(survivor.strategy)
            if isinstance(step, str):
                seen.refuted[step] += 1
            else:
                value = value_of(instance, survivor.strategy).of(step)
                heappush(heap, survivor._replace(bound=max(survivor.bound, value), priced=True))
            continue
        result = complete(instance, bounds, survivor.strategy)
        if isinstance(result, str):
            seen.refuted[result] += 1
            continue
        least, candidate = result
        bound = least if bound is None else min(bound, least)
        undecided = undecided or candidate is None
        if candidate is not None:
            done.append(Priced(survivor.number, least, candidate))
            best = candidate.value if best is None else min(best, candidate.value)
    return _conclude(instance, seen, done, bound, undecided, epsilon_ppm)


class Priced(NamedTuple):
    """A finished plan with the bound of its strategy."""

    number: int
    bound: int
    candidate: Candidate


def _conclude(instance: Instance, seen: Survey, done: list[Priced], bound: int | None, undecided: bool, epsilon_ppm: int) -> Claim:
    """What the priced plans and the bounds together support."""
    feasible, refuted = seen.seen - seen.refuted.total(), dict(sorted(seen.refuted.items()))
    whole = not seen.limited and not undecided
    if seen.limited:
        bound = root_bound(instance)
    if not done:
        status = Status.INFEASIBLE if whole else Status.UNKNOWN
        return Claim(status, (), bound, (), None, False, seen.seen, feasible, refuted, seen.limited, "enumeration", seen.wall_limited)
    assert bound is not None, "a plan was found, so a bound was"
    done.sort()
    best = min(d.candidate.value for d in done)
    cut = near_limit(best, epsilon_ppm)
    near = tuple(sorted((d.candidate for d in done if best < d.candidate.value <= cut), key=lambda c: c.value))
    optimal = tuple(d.candidate for d in done if d.candidate.value == best)
    proved = whole and all(d.bound > best or d.candidate.value == best == d.bound for d in done)
    decided = whole and all(d.bound > cut or d.candidate.value == d.bound for d in done)
    status = Status.OPTIMAL if proved else Status.FEASIBLE
    kept = optimal if proved else optimal[:1]
    return Claim(
        status, kept, min(bound, best), near, cut, decided, seen.seen, feasible, refuted, seen.limited, "enumeration", seen.wall_limited
    )
