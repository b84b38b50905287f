"""A placement for any placement problem: heaviest replica first, then moves off the heaviest rank. Not a proof."""

from collections import Counter, deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, nsmallest
from math import lcm
from typing import NamedTuple

from models.arguments import Problem, RankClass
from models.strategy import RankContents

MOST_PARTNERS = 24  # lightest ranks that a move looks at


def fill(problem: Problem, effort: int, given: RankContents | None = None) -> RankContents | None:
    """The best of a few greedy placements, each improved by at most `effort` moves; None where none fits.

    `given` contents of some ranks are kept to start with.
    """
    held = given or ((),) * problem.ranks
    placed = Counter(e for rank in held for e in rank)
    least = [max(1, placed[e]) for e in range(len(problem.loads))]
    spares = sorted({0, problem.slots - sum(least)}, reverse=True) if problem.replicas > 1 else [0]
    starts = (_Filling(problem, held).start(_copies(problem, least, spare), by_size) for spare in spares for by_size in (False, True))
    filled = [f for f in starts if f is not None]
    for f in filled:
        f.relieve(effort)
    best = min(filled, key=lambda f: f.heaviest(), default=None)
    return None if best is None else tuple(tuple(sorted(rank)) for rank in best.held)


def _copies(problem: Problem, least: list[int], spare: int) -> list[int]:
    """Replicas per expert: each spare slot to the expert with the largest load per replica."""
    copies, most = list(least), min(problem.replicas, problem.ranks)
    heap: list[tuple[float, int]] = [(-w / c, e) for e, (w, c) in enumerate(zip(problem.loads, copies, strict=True))]
    heapify(heap)
    while spare > 0 and heap:
        _, e = heappop(heap)
        if copies[e] < most:
            copies[e] += 1
            spare -= 1
            heappush(heap, (-problem.loads[e] / copies[e], e))
    return copies


class _Move(NamedTuple):
    """A change that makes the heaviest rank lighter."""

    after: int
    """the largest load that it leaves on the ranks it touches"""
    rank: int
    out: int
    """expert that leaves the heaviest rank for `rank`, or gets a further replica there"""
    back: int | None
    """expert that leaves `rank`: for the heaviest rank, or, with a copy, for good"""
    copy: bool


class _Filling:
    """Which experts each rank holds, with exact loads over the common denominator of all shares and speeds."""

    def __init__(self, problem: Problem, given: RankContents) -> None:
        self.problem, self.sizes = problem, problem.sizes or (0,) * len(problem.loads)
        self.classes: list[RankClass] = [c for c in problem.classes for _ in range(c.ranks)]
        self.unit, speeds = lcm(*range(1, problem.replicas + 1)), lcm(*(c.speed for c in self.classes))
        self.factor = [speeds // c.speed for c in self.classes]
        self.held = [set(rank) for rank in given]
        self.count = Counter(e for rank in given for e in rank)
        self.load, self.used = [0] * len(self.classes), [0] * len(self.classes)

    def start(self, copies: list[int], by_size: bool) -> "_Filling | None":
        """Each replica, heaviest (or largest) first, to the rank that becomes least loaded; None where an expert finds no room."""
        share = [w * self.unit // c for w, c in zip(self.problem.loads, copies, strict=True)]
        self.load = [sum(share[e] for e in rank) for rank in self.held]
        self.used = [sum(self.sizes[e] for e in rank) for rank in self.held]
        used = [r for r, rank in enumerate(self.held) if 0 < len(rank) < self.classes[r].slots]
        empty: dict[RankClass, deque[int]] = {}
        for r, rank in enumerate(self.held):
            if not rank:
                empty.setdefault(self.classes[r], deque()).append(r)
        wanted = [e for e, c in enumerate(copies) for _ in range(c - self.count[e])]
        for e in sorted(wanted, key=lambda e: (-self.sizes[e] if by_size else 0, -share[e], -self.sizes[e], e)):
            first = [ranks[0] for ranks in empty.values() if ranks]  # empty ranks of a class are alike
            fitting = [r for r in used + first if e not in self.held[r] and self._fits(r, e, None)]
            if fitting:
                r = min(fitting, key=lambda r: ((self.load[r] + share[e]) * self.factor[r], r))
                self.held[r].add(e)
                self.count[e] += 1
                self.load[r] += share[e]
                self.used[r] += self.sizes[e]
                if len(self.held[r]) == 1:
                    empty[self.classes[r]].popleft()
                    used.append(r)
                if len(self.held[r]) == self.classes[r].slots:
                    used.remove(r)
            elif self.count[e] == 0:
                return None
        self._weigh()
        return self

    def relieve(self, effort: int) -> None:
        """Make the heaviest rank lighter, as long as one move, exchange or copy does."""
        for _ in range(effort):
            top = self._top()
            best = min(self._moves(top), default=None, key=lambda m: (m.after, m.rank, m.out, -1 if m.back is None else m.back))
            if best is None:
                return
            if not best.copy:
                self.held[top].remove(best.out)
            if best.back is not None:
                self.held[best.rank].remove(best.back)
                if not best.copy:
                    self.held[top].add(best.back)
            self.held[best.rank].add(best.out)
            self._weigh()

    def heaviest(self) -> int:
        top = self._top()
        return self.load[top] * self.factor[top]

    def _top(self) -> int:
        return max(range(len(self.load)), key=lambda r: (self.load[r] * self.factor[r], -r))

    def _share(self, e: int, more: int = 0) -> int:
        """Load of one replica, were there `more` of them."""
        return self.problem.loads[e] * self.unit // (self.count[e] + more)

    def _weigh(self) -> None:
        self.count = Counter(e for rank in self.held for e in rank)
        self.load = [sum(self._share(e) for e in rank) for rank in self.held]
        self.used = [sum(self.sizes[e] for e in rank) for rank in self.held]

    def _moves(self, top: int) -> Iterator[_Move]:
        """Everything that leaves all ranks it touches lighter than the heaviest is."""
        now = self.load[top] * self.factor[top]
        lightest = nsmallest(MOST_PARTNERS, range(len(self.held)), key=lambda r: (self.load[r] * self.factor[r], r))
        for e in sorted(self.held[top]):
            for r in lightest:
                if r == top or e in self.held[r]:
                    continue
                for back in (None, *sorted(self.held[r] - self.held[top])):
                    if self._fits(r, e, back):
                        moves = (self._exchange(top, e, r, back), self._copy(top, e, r, back))
                        yield from (m for m in moves if m is not None and m.after < now)

    def _exchange(self, top: int, e: int, r: int, back: int | None) -> _Move | None:
        """Expert e moves to rank r, and `back` comes in return."""
        if self.problem.full if back is None else not self._fits(top, back, e):
            return None
        shift = self._share(e) - (0 if back is None else self._share(back))
        after = max((self.load[top] - shift) * self.factor[top], (self.load[r] + shift) * self.factor[r])
        return _Move(after, r, e, back, False)

    def _copy(self, top: int, e: int, r: int, back: int | None) -> _Move | None:
        """Expert e gets a further replica on rank r, which gives up one of `back`."""
        if self.count[e] >= self.problem.replicas or (back is not None and self.count[back] < 2):
            return None
        shares = {e: self._share(e, 1) - self._share(e)}
        gained = {r: self._share(e, 1)}
        if back is not None:
            shares[back] = self._share(back, -1) - self._share(back)
            gained[r] -= self._share(back)
        touched = {r, top} | ({q for q, rank in enumerate(self.held) if back in rank} - {r} if back is not None else set())
        after = 0
        for q in touched:
            kept = self.held[q] - ({back} if q == r else set())
            load = self.load[q] + gained.get(q, 0) + sum(more for x, more in shares.items() if x in kept)
            after = max(after, load * self.factor[q])
        return _Move(after, r, e, back, True)

    def _fits(self, r: int, e: int, instead_of: int | None) -> bool:
        c, freed = self.classes[r], 0 if instead_of is None else self.sizes[instead_of]
        room = instead_of is not None or len(self.held[r]) < c.slots
        return room and (c.memory is None or self.used[r] + self.sizes[e] - freed <= c.memory)
