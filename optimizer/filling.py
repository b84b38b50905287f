"""A first placement for any placement problem: heaviest replica first, then moves off the heaviest rank. Not a proof."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import lcm
from typing import NamedTuple

from models.arguments import Problem, RankClass
from models.strategy import RankContents


def fill(problem: Problem, effort: int) -> RankContents | None:
    """The best of a few greedy placements, each improved by at most `effort` moves; None where none fits."""
    options = [_copies(problem, spare) for spare in sorted({0, problem.slots - len(problem.loads)}, reverse=True)]
    filled = [f for copies in options for by_size in (False, True) if (f := _Filling(problem).start(copies, by_size)) is not None]
    for f in filled:
        f.relieve(effort)
    best = min(filled, key=lambda f: f.heaviest(), default=None)
    return None if best is None else tuple(tuple(sorted(rank)) for rank in best.held)


def _copies(problem: Problem, spare: int) -> list[int]:
    """Replicas per expert: each spare slot to the expert with the largest load per replica."""
    copies = [1] * len(problem.loads)
    most = min(problem.replicas, problem.ranks)
    heap: list[tuple[float, int]] = [(-w, e) for e, w in enumerate(problem.loads)]
    heapify(heap)
    while spare and heap:
        _, e = heappop(heap)
        if copies[e] < most:
            copies[e] += 1
            spare -= 1
            heappush(heap, (-problem.loads[e] / copies[e], e))
    return copies


class _Move(NamedTuple):
    """Take `out` off the heaviest rank and put `back` in exchange (None: nothing)."""

    out: int
    rank: int
    back: int | None


class _Filling:
    """Which experts each rank holds, with exact loads over the common denominator of all shares and speeds."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.sizes = problem, problem.sizes or (0,) * len(problem.loads)
        self.classes: list[RankClass] = [c for c in problem.classes for _ in range(c.ranks)]
        self.unit, speeds = lcm(*range(1, problem.replicas + 1)), lcm(*(c.speed for c in self.classes))
        self.factor = [speeds // c.speed for c in self.classes]
        self.held: list[set[int]] = [set() for _ in self.classes]
        self.load, self.used = [0] * len(self.classes), [0] * len(self.classes)
        self.share: list[int] = []

    def start(self, copies: list[int], by_size: bool) -> "_Filling | None":
        """Each replica, heaviest (or largest) first, to the rank that becomes least loaded; None where one does not fit."""
        self.share = [w * self.unit // c for w, c in zip(self.problem.loads, copies, strict=True)]
        order = sorted(
            range(len(copies)), key=lambda e: (-self.sizes[e], -self.share[e], e) if by_size else (-self.share[e], -self.sizes[e], e)
        )
        for e in order:
            for _ in range(copies[e]):
                open_ranks = [r for r in range(len(self.held)) if e not in self.held[r] and self._fits(r, e, None)]
                if not open_ranks:
                    return None
                self._put(min(open_ranks, key=lambda r: ((self.load[r] + self.share[e]) * self.factor[r], r)), e)
        return self

    def relieve(self, effort: int) -> None:
        """Make the heaviest rank lighter, as long as one move or exchange does."""
        for _ in range(effort):
            top = self._top()
            best = min(self._moves(top), default=None)
            if best is None:
                return
            _, _, move = best
            self._take(top, move.out)
            if move.back is not None:
                self._take(move.rank, move.back)
                self._put(top, move.back)
            self._put(move.rank, move.out)

    def heaviest(self) -> int:
        top = self._top()
        return self.load[top] * self.factor[top]

    def _top(self) -> int:
        return max(range(len(self.load)), key=lambda r: (self.load[r] * self.factor[r], -r))

    def _moves(self, top: int) -> Iterator[tuple[int, int, _Move]]:
        """Moves that leave both ranks lighter than the heaviest is, with the heavier of both afterwards."""
        now = self.load[top] * self.factor[top]
        for e in sorted(self.held[top]):
            for r in range(len(self.held)):
                if r == top or e in self.held[r]:
                    continue
                backs: list[int | None] = [None, *sorted(self.held[r] - self.held[top])]
                for n, back in enumerate(backs):
                    shift = self.share[e] - (0 if back is None else self.share[back])
                    if back is None and self.problem.full:
                        continue
                    after = max((self.load[top] - shift) * self.factor[top], (self.load[r] + shift) * self.factor[r])
                    if after < now and self._fits(r, e, back) and (back is None or self._fits(top, back, e)):
                        yield after, r * len(self.problem.loads) + n, _Move(e, r, back)

    def _fits(self, r: int, e: int, instead_of: int | None) -> bool:
        c, freed = self.classes[r], 0 if instead_of is None else self.sizes[instead_of]
        room = instead_of is not None or len(self.held[r]) < c.slots
        return room and (c.memory is None or self.used[r] + self.sizes[e] - freed <= c.memory)

    def _put(self, r: int, e: int) -> None:
        self.held[r].add(e)
        self.load[r] += self.share[e]
        self.used[r] += self.sizes[e]

    def _take(self, r: int, e: int) -> None:
        self.held[r].remove(e)
        self.load[r] -= self.share[e]
        self.used[r] -= self.sizes[e]
