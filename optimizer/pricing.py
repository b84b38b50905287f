"""The promising strategies priced exactly, least bound first, until the rest is out of reach."""

import time
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

from models.bounds import Bounds
from models.enumeration import position
from models.floors import Floors
from models.instance import Instance
from models.objective import near_limit, value_of
from models.result import Candidate
from models.rules import longest_step
from models.strategy import Strategy
from optimizer.completion import Completion
from optimizer.look import Effort, Looked


class Priced(NamedTuple):
    """A finished plan with the bound of its strategy."""

    position: tuple[int, ...]
    """in the stated order of strategies"""
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


class Queue:
    """Strategies by least known bound; each is bounded better, step by step, when its turn comes."""

    def __init__(self, instance: Instance, looked: Looked, bounds: Bounds, floors: Floors) -> None:
        self.instance = instance
        self.better: tuple[Callable[[Strategy], int | str], ...] = (floors.priced_ns, bounds.quick)
        if looked.unfit:
            self.better = (lambda s: 0 if bounds.fits(s) else "memory", *self.better)
        self._limit = longest_step(instance)
        self.heap: list[tuple[int, tuple[int, ...], int, Strategy]] = []  # bound, position, bounds taken
        self._waiting = looked.candidates()
        self._next = next(self._waiting, None)

    def least(self) -> int | None:
        """The least bound of any strategy left."""
        waiting = () if self._next is None else (self._next[0],)
        return min((*waiting, *(entry[0] for entry in self.heap[:1])), default=None)

    def pop(self) -> Strategy | str | None:
        """The next strategy that all bounds leave alive, a rule that refutes one, or None when a bound was only raised."""
        if self._next is not None and (not self.heap or self._next[0] <= self.heap[0][0]):
            (bound, s), taken = self._next, 0
            self._next = next(self._waiting, None)
            if s is None:
                return None
            place = position(self.instance, s)
        else:
            bound, place, taken, s = heappop(self.heap)
        if taken == len(self.better):
            return s
        step = self.better[taken](s)
        if isinstance(step, str):
            return step
        if self._limit is not None and step > self._limit[1]:
            return self._limit[0]
        heappush(self.heap, (max(bound, value_of(self.instance, s).of(step)), place, taken + 1, s))
        return None


def price(completion: Completion, bounds: Bounds, floors: Floors, looked: Looked, epsilon_ppm: int, effort: Effort) -> Pricing:
    """Price strategies, least bound first, until the rest is out of reach or the effort is spent."""
    queue, done = Queue(completion.instance, looked, bounds, floors), list[Priced]()
    refuted, bound, best, undecided, settled = Counter(looked.refuted), None, None, False, 0
    while True:
        least = queue.least()
        if least is None or (best is not None and least > near_limit(best, epsilon_ppm)):
            return Pricing(done, bound, undecided, None, False, refuted)
        late = looked.deadline is not None and time.monotonic() > looked.deadline
        if late or (best is not None and settled >= effort.strategies):
            return Pricing(done, least if bound is None else min(bound, least), undecided, least, late, refuted)
        found = queue.pop()
        if found is None:
            continue
        settled += 1
        result = found if isinstance(found, str) else completion.complete(bounds, found)
        if isinstance(result, str):
            refuted[result] += 1
            continue
        assert not isinstance(found, str), "a rule was handled above"
        least, candidate = result
        bound = least if bound is None else min(bound, least)
        undecided = undecided or candidate is None
        if candidate is not None:
            done.append(Priced(position(completion.instance, found), least, candidate))
            best = candidate.value if best is None else min(best, candidate.value)
