"""A placement with redundant slots: replica counts by water-filling, then heaviest replica first. Not a proof."""

from collections import Counter
from fractions import Fraction
from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray

from models.layout import Pattern
from models.placement import contiguous
from models.replica_bounds import ONE, touches_below
from models.routing import load_classes, routing_probability
from models.strategy import RankContents
from models.units import CERTAIN
from optimizer.placing.improve import MOST_BITS, improve_replicas
from optimizer.placing.place import order_ranks
from optimizer.placing.replicate import FINE, share_slots

RESPLITS = 200  # of two ranks, at most, about 400 us each
EXCHANGES = 400  # of two experts on two ranks, at most

Counts = tuple[int, ...]
"""replicas of each expert"""


WAYS = range(6)
"""of `deal`: the redundant slots shared out between light ranks and few touched experts"""


@lru_cache(maxsize=16_384)
def deal(way: int, loads: tuple[int, ...], ranks: int, redundant: int, top_k: int, tokens: int) -> RankContents:
    """A placement of one kind. Deterministic.

    Way 0: all redundant slots make heavy experts light, so that every rank carries about the mean. Ways 1 to 4: a quarter of
    them each time less, the others hold experts that are seldom touched. Way 5: as way 4, but ranks are even in touched experts.
    """
    if load_classes(loads) == 1 and way == 0:
        return contiguous(len(loads), ranks, redundant)
    light = ranks * redundant * max(0, 4 - way) // 4
    counts = fill_cheaply(tuple(share_slots(loads, len(loads) + light, ranks)), loads, ranks, ranks * redundant - light, top_k, tokens)
    if way < 5:
        return deal_even(tuple(w / c for w, c in zip(loads, counts, strict=True)), counts, ranks)
    by_count = {c: touches_below(loads, top_k, tokens, c) for c in set(counts)}
    return deal_even(tuple(by_count[c][e] / ONE for e, c in enumerate(counts)), counts, ranks)


@lru_cache(maxsize=512)
def lighten(contents: RankContents, loads: tuple[int, ...]) -> RankContents:
    """The same replicas re-split between ranks, so that the heaviest is lighter; these very contents where none is found. Deterministic."""
    counts, ranks, shift = Counter(e for rank in contents for e in rank), len(contents), (sum(loads) * FINE).bit_length() - MOST_BITS
    weights = np.array([[(w * FINE // counts[e]) >> max(0, shift) for e, w in enumerate(loads)]])
    mean = int(weights[0][np.array(contents)].sum()) // ranks
    found = improve_replicas(weights, contents, tuple(range(ranks)), mean, RESPLITS)
    before, after = (max(sum(Fraction(loads[e], counts[e]) for e in rank) for rank in p) for p in (contents, found))
    return found if after < before else contents


def fill_cheaply(start: Counts, loads: tuple[int, ...], ranks: int, more: int, top_k: int, tokens: int) -> Counts:
    """So many more replicas, of the experts whose touches grow least from one rank to all, as many of each as there are ranks."""
    counts = list(start)
    once, everywhere = (touches_below(loads, top_k, tokens, c) for c in (1, ranks))
    for e in sorted(range(len(loads)), key=lambda e: (ranks * everywhere[e] - once[e], e)):
        added = min(more, ranks - counts[e])
        counts[e], more = counts[e] + added, more - added
    return tuple(counts)


def deal_even(weights: tuple[float, ...], counts: Counts, ranks: int) -> RankContents:
    """Each expert's replicas, heaviest first, to the lightest ranks with a free slot; then exchanges while one makes two ranks lighter."""
    slots, held, sums = sum(counts) // ranks, [set[int]() for _ in range(ranks)], [0.0] * ranks
    for e in sorted(range(len(weights)), key=lambda e: (-weights[e], e)):
        for _ in range(counts[e]):
            free = [r for r in range(ranks) if len(held[r]) < slots]
            lacking = [r for r in free if e not in held[r]]
            if not lacking:  # some full rank lacks it; what that rank holds beyond a free one moves there
                full = next(r for r in range(ranks) if e not in held[r])
                moved = min(held[full] - held[free[0]])
                held[full].remove(moved)
                held[free[0]].add(moved)
                sums[full], sums[free[0]] = sums[full] - weights[moved], sums[free[0]] + weights[moved]
                lacking = [full]
            best = min(lacking, key=lambda r: (sums[r], r))
            held[best].add(e)
            sums[best] += weights[e]
    return _exchanged(np.array([sorted(rank) for rank in held]), np.array(weights))


def _exchanged(held: NDArray[np.int64], weights: NDArray[np.float64]) -> RankContents:
    """Exchanges of one expert of the heaviest rank for one of another rank, the best one first, until none helps."""
    has = np.zeros((len(held), len(weights)), dtype=bool)
    np.put_along_axis(has, held, True, axis=1)
    for _ in range(EXCHANGES):
        sums = weights[held].sum(axis=1)
        heavy = int(sums.argmax())
        moved = weights[held[heavy]][:, None, None] - weights[held][None]  # leaves the heaviest rank, [own item, rank, item]
        larger = np.maximum(sums[heavy] - moved, sums[None, :, None] + moved)
        larger[has[:, held[heavy]].T] = np.inf  # the other rank has ours already
        larger[:, has[heavy][held]] = np.inf
        own, rank, item = (int(n) for n in np.unravel_index(int(larger.argmin()), larger.shape))
        if larger[own, rank, item] >= sums[heavy] * (1 - 1e-12):
            break
        ours, theirs = int(held[heavy, own]), int(held[rank, item])
        held[heavy, own], held[rank, item] = theirs, ours
        has[heavy, [ours, theirs]], has[rank, [ours, theirs]] = (False, True), (True, False)
    return tuple(tuple(sorted(rank)) for rank in held.tolist())


@lru_cache(maxsize=4096)
def over_domains(contents: RankContents, loads: tuple[int, ...], top_k: int, patterns: tuple[Pattern, ...]) -> RankContents:
    """The same contents on other ranks, so that few copies pass the busiest scale-out port: equal sums of -log(1 - p / c) per domain."""
    total, counts = sum(loads), [0] * len(loads)
    for rank in contents:
        for e in rank:
            counts[e] += 1
    missed = [-log(max(1, CERTAIN - routing_probability(w, total, top_k, c)) / CERTAIN) for w, c in zip(loads, counts, strict=True)]
    weights = np.array([sum(missed[e] for e in rank) for rank in contents])
    return tuple(contents[r] for r in order_ranks(weights, tuple(p for p in patterns if max(p) > 0)))
