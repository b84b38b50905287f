"""Equally many items per rank, the heaviest rank made light: heaviest first, then re-splits. Not a proof."""

from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import combinations
from random import Random

import numpy as np
from numpy.typing import NDArray

from models.strategy import RankContents

Integers = NDArray[np.int64]
MOST_BITS = 52  # int64 sums of products with 0-1 stay far from overflow
NEVER = 1 << 62  # heavier than any rank
UNIT = 1 << 40  # what a target of several is scaled to
KICK = 5  # every so many fruitless steps the heaviest rank takes part in the random exchange
SLACK = 50  # and becomes heavier by at most one part in this
MOST_PARTNERS = 512
MOST_MOVED = 5  # items per rank that one re-split looks at: 252 ways to share ten


def improve(loads: tuple[int, ...], ranks: int, target: int, effort: int, seed: int = 0, given: RankContents = ()) -> RankContents:
    """Contents of `ranks` ranks whose heaviest load is near `target`: stops there, or after `effort` re-splits.

    The first ranks start with the contents `given`; what is not in them is shared out heaviest first.
    A re-split takes the heaviest rank and any other, and shares their items (up to MOST_MOVED of
    each) between them in the best of all ways. Where none helps, two random ranks exchange items at
    random, so long as neither becomes as heavy; every fifth time the heaviest rank does, and may
    become a little heavier. Deterministic in its arguments.
    """
    shift = max(0, sum(loads).bit_length() - MOST_BITS)
    weights = np.array([[w >> shift for w in loads]], dtype=np.int64)
    return _run(_State(weights, _heaviest_first(weights[0].tolist(), ranks, given), target >> shift, Random(seed)), effort)


def improve_all(rows: tuple[tuple[int, ...], ...], ranks: int, targets: tuple[int, ...], effort: int, seed: int = 0) -> RankContents:
    """As `improve` for several loads of each item at once: the largest ratio of any rank's load to its target is made small."""
    scaled = [[w * UNIT // max(1, target) for w in row] for row, target in zip(rows, targets, strict=True)]
    shift = max(0, max(map(sum, scaled)).bit_length() - MOST_BITS)
    weights = np.array([[w >> shift for w in row] for row in scaled], dtype=np.int64)
    return _run(_State(weights, _heaviest_first(weights.max(axis=0).tolist(), ranks, ()), UNIT >> shift, Random(seed)), effort)


def improve_replicas(
    weights: Integers, contents: RankContents, zones: tuple[int, ...], target: int, effort: int, seed: int = 0
) -> RankContents:
    """As `improve`, from complete contents in which experts may have several replicas: `weights` [row, expert] of one replica each.

    `zones` says which zone each rank lies in: no expert comes to lie twice in one. The largest load of
    any rank in any row is made small.
    """
    return _run(_State(weights, np.array(contents), target, Random(seed), np.array(zones)), effort)


def _run(state: "_State", effort: int) -> RankContents:
    """The best contents on the way."""
    best, contents = state.heaviest(), state.held.copy()
    for _ in range(effort):
        if best <= state.target or len(contents) == 1:
            break
        state.step()
        if state.heaviest() < best:
            best, contents = state.heaviest(), state.held.copy()
    return tuple(tuple(sorted(rank)) for rank in contents.tolist())


class _State:
    """Which items each rank holds, and what they weigh: [row, item], and in all [row, rank]."""

    def __init__(self, weights: Integers, held: Integers, target: int, random: Random, zones: Integers | None = None) -> None:
        self.weights, self.held, self.target, self.random, self.zones = weights, held, target, random, zones
        if zones is not None:
            self.within = np.zeros((int(zones.max()) + 1, weights.shape[1]), dtype=np.bool_)
            self.within[np.repeat(zones, held.shape[1]), held.ravel()] = True
        self.load: Integers = weights[:, self.held].sum(axis=2)
        self.moved = min(self.held.shape[1], MOST_MOVED)
        self.shares = shares(self.moved)
        self.fruitless = 0

    def heaviest(self) -> int:
        return int(self.load.max())

    def step(self) -> None:
        """The best re-split of the heaviest rank with any other; if none helps, a random one elsewhere."""
        top, limit = int(self.load.max(axis=0).argmax()), self.heaviest()
        mine, theirs = self._chosen(), self._chosen()
        partners = self._partners(top)
        items, worst = self._outcomes(top, mine, partners, theirs)
        least = int(worst.min())
        if least >= limit:
            self.fruitless += 1
            if self.fruitless % KICK:
                self._shake(mine, theirs, limit)
                return
            least = max(least, limit + limit // SLACK)
        partner, share = divmod(self._any(worst.ravel() <= least), len(self.shares))
        self._apply(top, mine, int(partners[partner]), theirs, items[partner], share)

    def _partners(self, top: int) -> Integers:
        """All other ranks; of very many, a random part."""
        others = np.delete(np.arange(len(self.held)), top)
        return others if len(others) <= MOST_PARTNERS else others[self.random.sample(range(len(others)), MOST_PARTNERS)]

    def _shake(self, mine: list[int], theirs: list[int], limit: int) -> None:
        """Share the items of two random ranks at random, neither as heavy as the heaviest where possible."""
        a, b = self.random.sample(range(len(self.held)), 2)
        items, worst = self._outcomes(a, mine, np.array([b]), theirs)
        self._apply(a, mine, b, theirs, items[0], self._any(worst[0] <= max(int(worst.min()), limit - 1)))

    def _chosen(self) -> list[int]:
        """Slots of a rank whose items may move."""
        slots = self.held.shape[1]
        return list(range(slots)) if self.moved == slots else self.random.sample(range(slots), self.moved)

    def _outcomes(self, a: int, mine: list[int], partners: Integers, theirs: list[int]) -> tuple[Integers, Integers]:
        """Items that may move, [partner, item]; the heavier of both ranks after each share, at least the target, [partner, share]."""
        own = self.held[a, mine]
        items = np.concatenate([np.tile(own, (len(partners), 1)), self.held[partners][:, theirs]], axis=1)
        worst: Integers = np.full((len(partners), len(self.shares)), self.target)
        for weights, load in zip(self.weights, self.load, strict=True):
            first = load[a] - weights[own].sum() + weights[items] @ self.shares.T
            second = (load[a] + load[partners])[:, None] - first
            worst = np.maximum(worst, np.maximum(first, second))
        if self.zones is not None:
            self._forbid(a, own, partners, items[:, self.moved :], worst)
        return items, worst

    def _forbid(self, a: int, own: Integers, partners: Integers, other: Integers, worst: Integers) -> None:
        """Rule out the shares that bring an expert into a zone that holds it already."""
        assert self.zones is not None
        here, there = self.zones[a], self.zones[partners]
        elsewhere = (there != here)[:, None]
        stays = self.within[there][:, own] & elsewhere
        comes = self.within[here][other] & elsewhere
        if stays.any() or comes.any():
            leaving, entering = 1 - self.shares[:, : self.moved], self.shares[:, self.moved :]
            worst[(stays @ leaving.T + comes @ entering.T) > 0] = NEVER

    def _any(self, wanted: NDArray[np.bool_]) -> int:
        """The position of a random true entry."""
        positions = np.flatnonzero(wanted)
        return int(positions[self.random.randrange(len(positions))])

    def _apply(self, a: int, mine: list[int], b: int, theirs: list[int], items: Integers, share: int) -> None:
        to_first = self.shares[share].astype(bool)
        if self.zones is not None:
            self.within[self.zones[a], self.held[a, mine]] = self.within[self.zones[b], self.held[b, theirs]] = False
            self.within[self.zones[a], items[to_first]] = self.within[self.zones[b], items[~to_first]] = True
        self.held[a, mine], self.held[b, theirs] = items[to_first], items[~to_first]
        for rank in (a, b):
            self.load[:, rank] = self.weights[:, self.held[rank]].sum(axis=1)


@lru_cache(maxsize=16)
def shares(moved: int) -> Integers:
    """Every way to give half of 2 * `moved` items to the first of two ranks, [share, item], 0 or 1."""
    chosen = list(combinations(range(2 * moved), moved))
    found = np.zeros((len(chosen), 2 * moved), dtype=np.int64)
    np.put_along_axis(found, np.array(chosen), 1, axis=1)
    return found


def _heaviest_first(weights: list[int], ranks: int, given: RankContents) -> Integers:
    """Longest-processing-time start: each item not given, heaviest first, to the lightest rank with a free slot."""
    slots = len(weights) // ranks
    held = [list(rank) for rank in given] + [[] for _ in range(ranks - len(given))]
    lightest = [(sum(weights[e] for e in items), rank) for rank, items in enumerate(held) if len(items) < slots]
    heapify(lightest)
    placed = {e for items in given for e in items}
    for item in sorted(set(range(len(weights))) - placed, key=lambda e: (-weights[e], e)):
        load, rank = heappop(lightest)
        held[rank].append(item)
        if len(held[rank]) < slots:
            heappush(lightest, (load + weights[item], rank))
    return np.array(held)
