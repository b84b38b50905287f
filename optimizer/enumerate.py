"""The whole space, one cheap bound per strategy; then the promising ones exactly, best first."""

import time
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

import numpy as np

from models.bounds import Bounds
from models.enumeration import Block, blocks
from models.floors import Floors, root_bound
from models.instance import Instance
from models.objective import near_limit, value_of
from models.result import Candidate, Claim, Status
from models.strategy import Strategy
from models.terms import Terms
from optimizer.completion import CLOSE, Completion
from optimizer.factors import LARGEST, Survey, joined, survey

Progress = Callable[[str], None]

AT_ONCE = 200_000  # strategies in one table


class Effort(NamedTuple):
    """How far to look: strategies (deterministic) and seconds (not)."""

    strategies: int
    seconds: float | None


class Looked(NamedTuple):
    """Every strategy looked at."""

    table: Survey
    order: list[int]
    """strategies that no rule has refuted, least floor of the objective first"""
    values: list[int]
    """those floors, in the same order"""
    refuted: Counter[str]
    limited: bool
    wall_limited: bool
    deadline: float | None
    """of the search, on the monotonic clock"""
    counted: bool
    """every strategy left has a plan that runs; else some are not refuted by bounds, and may yet have none"""


def look(instance: Instance, bounds: Bounds, floors: Floors, effort: Effort, progress: Progress) -> Looked:
    """Bound every strategy cheaply; stop early when the effort is spent.

    With limits or link caps every strategy is priced at once, so that the count of feasible ones is exact.
    """
    deadline = None if effort.seconds is None else time.monotonic() + effort.seconds
    tables, chosen, waiting, steps, spent, late = list[Survey](), list[Block](), 0, 0, False, False
    for number, block in enumerate(blocks(instance)):
        late = number % 64 == 63 and deadline is not None and time.monotonic() > deadline
        spent = steps >= effort.strategies
        if late or spent:
            break
        steps += block.size + 1
        waiting += block.size
        chosen.append(block)
        if waiting >= AT_ONCE:
            tables.append(survey(bounds, floors, chosen))
            chosen, waiting = [], 0
            progress(f"{sum(t.size for t in tables)} strategies bounded")
    table = joined([*tables, survey(bounds, floors, chosen)])
    progress(f"{table.size} strategies, {int(table.fits.sum())} fit memory")
    refuted = Counter({"memory": int((~table.fits).sum())})
    alive = [int(n) for n in np.flatnonzero(table.fits)]
    counted = True
    if bounds.constrained:
        alive, late, counted = _keep_limits(table, bounds, alive, refuted, deadline, late)
    values = _objectives(instance, table)
    order = sorted(alive, key=lambda n: values[n])
    return Looked(table, order, [values[n] for n in order], refuted, late or spent, late, deadline, counted)


def _keep_limits(
    table: Survey, bounds: Bounds, alive: list[int], refuted: Counter[str], deadline: float | None, late: bool
) -> tuple[list[int], bool, bool]:
    """The strategies whose bounds keep link caps and limits; whether the clock ended the look; whether all those bounds are attained."""
    kept, counted = list[int](), True
    for n in alive:
        if n % 512 == 511 and deadline is not None and time.monotonic() > deadline:
            return kept, True, counted
        solution = bounds.exact(table.strategy(n))
        if isinstance(solution, str):
            refuted[solution] += 1
        else:
            kept.append(n)
            counted = counted and solution.exact
    return kept, late, counted


def _objectives(instance: Instance, table: Survey) -> list[int]:
    """The objective at each strategy's floor."""
    of_block = [value_of(instance, b.strategy(1, b.sides[0], b.orders[0])) if b.size else None for b in table.blocks]
    factors = [0 if v is None else v.factor for v in of_block]
    constants = [0 if v is None else v.constant for v in of_block]
    most = max(factors, default=0) * int(table.step_ns.max(initial=0)) + max(constants, default=0)
    exact = np.int64 if most < LARGEST else object
    found = np.array(factors, dtype=exact)[table.block] * table.step_ns + np.array(constants, dtype=exact)[table.block]
    return [int(v) for v in found]


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
    refuted: Counter[str]


class _Queue:
    """Strategies by least known bound; each is bounded better, step by step, when its turn comes."""

    def __init__(self, instance: Instance, looked: Looked, bounds: Bounds, floors: Floors) -> None:
        self.instance, self.looked = instance, looked
        self.better: tuple[Callable[[Strategy], int | str], ...] = (floors.priced_ns, bounds.quick)
        self.heap: list[tuple[int, int, int]] = []  # bound, position in the looked-at order, bounds taken
        self.next = 0

    def least(self) -> int | None:
        """The least bound of any strategy left."""
        waiting = self.looked.values[self.next : self.next + 1]
        return min([*waiting, *(entry[0] for entry in self.heap[:1])], default=None)

    def pop(self) -> tuple[int, Strategy] | str | None:
        """The next strategy that all bounds leave alive, a rule that refutes one, or None when a bound was only raised."""
        if self.next < len(self.looked.order) and (not self.heap or self.looked.values[self.next] <= self.heap[0][0]):
            bound, n, taken = self.looked.values[self.next], self.looked.order[self.next], 0
            self.next += 1
        else:
            bound, n, taken = heappop(self.heap)
        s = self.looked.table.strategy(n)
        if taken == len(self.better):
            return n, s
        step = self.better[taken](s)
        if isinstance(step, str):
            return step
        heappush(self.heap, (max(bound, value_of(self.instance, s).of(step)), n, taken + 1))
        return None


def price(completion: Completion, bounds: Bounds, queue: _Queue, epsilon_ppm: int, effort: Effort) -> Pricing:
    """Price strategies, least bound first, until the rest is out of reach or the effort is spent."""
    looked, done = queue.looked, list[Priced]()
    refuted, bound, best, undecided = Counter(looked.refuted), None, None, False
    for steps in count():
        least = queue.least()
        if least is None or (best is not None and least > near_limit(best, epsilon_ppm)):
            return Pricing(done, bound, undecided, None, False, refuted)
        late = looked.deadline is not None and time.monotonic() > looked.deadline
        if best is not None and (late or steps >= effort.strategies):
            return Pricing(done, least if bound is None else min(bound, least), undecided, least, late, refuted)
        found = queue.pop()
        if found is None:
            continue
        result = found if isinstance(found, str) else completion.complete(bounds, found[1])
        if isinstance(result, str):
            refuted[result] += 1
            continue
        assert not isinstance(found, str), "a rule was handled above"
        least, candidate = result
        bound = least if bound is None else min(bound, least)
        undecided = undecided or candidate is None
        if candidate is not None:
            done.append(Priced(found[0], least, candidate))
            best = candidate.value if best is None else min(best, candidate.value)
    raise AssertionError("count() does not end")


def enumerate_space(instance: Instance, epsilon_ppm: int, effort: Effort, progress: Progress, seed: int = 0) -> Claim:
    """The claim that exhaustive enumeration supports; the checker has the last word.

    Where a gap is left by placements, arguments are sought for the layers of the plans concerned.
    """
    terms = Terms(instance)
    completion = Completion(instance, terms, seed)
    looked = look(instance, Bounds(instance, terms), Floors(instance, terms), effort, progress)
    while True:
        bounds, floors = Bounds(instance, terms, proved=completion.proved), Floors(instance, terms, completion.proved)
        pricing = price(completion, bounds, _Queue(instance, looked, bounds, floors), epsilon_ppm, effort)
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
    seen, refuted = looked.table.size, {rule: n for rule, n in sorted(pricing.refuted.items()) if n}
    unrefuted = seen - sum(refuted.values())
    feasible = unrefuted if looked.counted or not unrefuted else None
    whole, late = not looked.limited and not pricing.undecided, looked.wall_limited or pricing.late
    bound = root_bound(instance) if looked.limited else pricing.bound
    if not pricing.done:
        status = Status.INFEASIBLE if whole else Status.UNKNOWN
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
