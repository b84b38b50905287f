"""From a placement in use to one that is light enough, loading few experts anew. Not a proof, but for the bound on how few."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dispatch import equal_split
from models.strategy import RankContents
from models.units import ceil_div

PARTNERS = 24  # lightest ranks that a change looks at
Floats = NDArray[np.float64]


class Moved(NamedTuple):
    """A placement near another: how many slots hold an expert that their rank did not hold before, and the fewest there can be."""

    contents: RankContents
    loaded: int
    at_least: int


def move_little(current: RankContents, loads: tuple[int, ...], limit: int) -> Moved | None:
    """Change `current`, one slot or two at a time, until no rank carries more than `limit`; None where the changes end before that.

    `current` must fill every slot, no expert twice on a rank.
    """
    state = _State(current, loads, limit)
    while state.excess() > 0:
        best = min(state.changes(), default=None)
        if best is None:
            return None
        state.apply(best)
    contents = tuple(tuple(sorted(rank)) for rank in state.held)
    loaded = sum(len(set(new) - set(old)) for new, old in zip(contents, current, strict=True))
    return Moved(contents, loaded, fewest_loaded(current, loads, limit))


def fewest_loaded(current: RankContents, loads: tuple[int, ...], limit: int) -> int:
    """At least so many slots change in every placement that keeps the limit: ceil(excess / (2 * largest load)).

    The excess is the sum over ranks of what they carry above the limit. When a slot of a rank changes, no
    more than the load of the expert that leaves and of the one that comes is taken off ranks.
    """
    shares, scale = equal_split(current, loads)
    excess = sum(max(0, share - limit * scale) for share in shares)
    return ceil_div(excess, 2 * max(loads) * scale)


class _Change(NamedTuple):
    """Order: the excess left per slot loaded, what is left, then the change itself."""

    rate: float
    left: float
    loaded: int
    rank: int
    out: int
    into: int
    """expert that comes to the rank"""
    partner: int
    """rank that takes `out` in exchange; -1: `out` loses a replica"""


class _State:
    """Contents and loads while they change."""

    def __init__(self, contents: RankContents, loads: tuple[int, ...], limit: int) -> None:
        self.held = [set(rank) for rank in contents]
        self.loads, self.limit = np.array([float(w) for w in loads]), float(limit)
        self.before = [set(rank) for rank in contents]
        self._weigh()

    def _weigh(self) -> None:
        self.count = Counter(e for rank in self.held for e in rank)
        self.share = self.loads / np.array([self.count[e] for e in range(len(self.loads))])
        self.load = np.array([sum(self.share[e] for e in rank) for rank in self.held])

    def excess(self) -> float:
        return float(np.maximum(0.0, self.load - self.limit * (1 + 1e-12)).sum())

    def changes(self) -> Iterator[_Change]:
        """Exchanges of the heaviest rank with a light one, and further replicas of its experts, that lower the excess."""
        now, top = self.excess(), int(self.load.argmax())
        light = np.argsort(self.load, kind="stable")[:PARTNERS].tolist()
        for r in light:
            if r == top:
                continue
            for e in sorted(self.held[top] - self.held[r]):
                for x in sorted(self.held[r] - self.held[top]):
                    yield from self._rated(now, self._exchanged(top, e, r, x), top, e, x, r)
                for x in sorted(self.held[r]):
                    if self.count[x] > 1 and x != e:
                        yield from self._rated(now, self._copied(e, r, x), r, x, e, -1)

    def _rated(self, now: float, load: Floats, rank: int, out: int, into: int, partner: int) -> Iterator[_Change]:
        left = float(np.maximum(0.0, load - self.limit * (1 + 1e-12)).sum())
        slots = [(rank, into)] if partner < 0 else [(rank, into), (partner, out)]
        loaded = sum(e not in self.before[r] for r, e in slots)
        if left < now * (1 - 1e-9):
            yield _Change((left - now) / max(0.5, loaded), left, loaded, rank, out, into, partner)

    def _exchanged(self, top: int, e: int, r: int, x: int) -> Floats:
        load, shift = self.load.copy(), self.share[e] - self.share[x]
        load[top] -= shift
        load[r] += shift
        return load

    def _copied(self, e: int, r: int, x: int) -> Floats:
        """Expert e gets a replica on rank r in place of one of x."""
        load = self.load.copy()
        more, less = self.loads[e] / (self.count[e] + 1), self.loads[x] / (self.count[x] - 1)
        for q, rank in enumerate(self.held):
            if e in rank:
                load[q] += more - self.share[e]
            if x in rank and q != r:
                load[q] += less - self.share[x]
        load[r] += more - self.share[x]
        return load

    def apply(self, change: _Change) -> None:
        self.held[change.rank].remove(change.out)
        self.held[change.rank].add(change.into)
        if change.partner >= 0:
            self.held[change.partner].remove(change.into)
            self.held[change.partner].add(change.out)
        self._weigh()
