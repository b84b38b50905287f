"""The whole space, one closed-form bound per strategy; then the promising ones exactly, best first."""

import time
from collections import Counter
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import chain, count
from typing import NamedTuple

from models.bounds import Bounds, root_bound
from models.enumeration import blocks
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
    deadline: float | None
    """of the search, on the monotonic clock"""


def survey(instance: Instance, bounds: Bounds, effort: Effort, progress: Progress) -> Survey:
    """Bound every strategy cheaply; stop early when the effort is spent.

    With limits or link caps every strategy is priced at once, so that the count of feasible ones is exact.
    """
    deadline = None if effort.seconds is None else time.monotonic() + effort.seconds
    found: list[Survivor] = []
    refuted: Counter[str] = Counter()
    number, late, spent = 0, False, False
    for steps, s in enumerate(chain.from_iterable((*b.strategies(), None) for b in blocks(instance))):
        late = steps % 512 == 511 and deadline is not None and time.monotonic() > deadline
        spent = steps >= effort.strategies
        if late or spent:
            break
        if s is None:
            continue
        number += 1
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
    return Survey(found, number, refuted, late or spent, late, deadline)


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


class Priced(NamedTuple):
    """A finished plan with the bound of its strategy."""

    number: int
    bound: int
    candidate: Candidate


class Pricing(NamedTuple):
    """What became of the promising strategies."""

    done: list[Priced]
    bound: int | None
    """no plan of any strategy is below it; None when there is no strategy left"""
    undecided: bool
    """some strategy has a bound but no plan that was seen to run"""
    left: int | None
    """least bound of the strategies that were not looked at in time"""
    late: bool
    """the wall clock ended the pricing"""


def price(instance: Instance, bounds: Bounds, seen: Survey, epsilon_ppm: int, effort: Effort) -> Pricing:
    """Price strategies, least bound first, until the rest is out of reach or the effort is spent."""
    heap, done = seen.survivors, list[Priced]()
    bound, best, undecided = None, None, False
    for looked in count():
        if not heap or (best is not None and heap[0].bound > near_limit(best, epsilon_ppm)):
            return Pricing(done, bound, undecided, None, False)
        late = seen.deadline is not None and time.monotonic() > seen.deadline
        if best is not None and (late or looked >= effort.strategies):
            left = heap[0].bound
            return Pricing(done, left if bound is None else min(bound, left), undecided, left, late)
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
    raise AssertionError("count() does not end")


def enumerate_space(instance: Instance, epsilon_ppm: int, effort: Effort, progress: Progress) -> Claim:
    """The claim that exhaustive enumeration supports; the checker has the last word."""
    bounds = Bounds(instance, Terms(instance))
    seen = survey(instance, bounds, effort, progress)
    progress(f"{seen.seen} strategies, {len(seen.survivors)} have room for a plan")
    return _conclude(instance, seen, price(instance, bounds, seen, epsilon_ppm, effort), epsilon_ppm)


def _conclude(instance: Instance, seen: Survey, pricing: Pricing, epsilon_ppm: int) -> Claim:
    """What the priced plans and the bounds together support."""
    feasible, refuted = seen.seen - seen.refuted.total(), dict(sorted(seen.refuted.items()))
    whole, late = not seen.limited and not pricing.undecided, seen.wall_limited or pricing.late
    bound = root_bound(instance) if seen.limited else pricing.bound
    if not pricing.done:
        status = Status.INFEASIBLE if whole else Status.UNKNOWN
        return Claim(status, (), bound, (), None, False, seen.seen, feasible, refuted, seen.limited, "enumeration", (), late)
    assert bound is not None, "a plan was found, so a bound was"
    done = sorted(pricing.done)
    best = min(d.candidate.value for d in done)
    cut = near_limit(best, epsilon_ppm)
    near = tuple(sorted((d.candidate for d in done if best < d.candidate.value <= cut), key=lambda c: c.value))
    optimal = tuple(d.candidate for d in done if d.candidate.value == best)
    beyond = pricing.left is None or pricing.left > best
    proved = whole and beyond and all(d.bound > best or d.candidate.value == best == d.bound for d in done)
    decided = whole and pricing.left is None and all(d.bound > cut or d.candidate.value == d.bound for d in done)
    status = Status.OPTIMAL if proved else Status.FEASIBLE
    listed = optimal if proved else optimal[:1]
    least = best if proved else min(bound, best)
    return Claim(status, listed, least, near, cut, decided, seen.seen, feasible, refuted, seen.limited, "enumeration", (), late)
