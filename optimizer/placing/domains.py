"""Experts exchanged between scale-up domains until no port is busier than it must be; ranks stay light. Not a proof."""

from random import Random

import numpy as np
from numpy.typing import NDArray

from models.layout import Pattern
from models.strategy import RankContents
from optimizer.placing.improve import MOST_BITS, shares

MOST_MOVED = 4  # items per rank in one exchange
MOST_PAIRS = 512  # pairs of ranks looked at per exchange
EXCHANGES = 60  # at most
PATIENCE = 6  # fruitless ones in a row: each looks at other pairs and items
NEAR = 2e-5  # of the mean sum: balanced enough

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def balance_domains(
    contents: RankContents, rows: tuple[tuple[int, ...], ...], chances: tuple[float, ...], pattern: Pattern
) -> RankContents:
    """Make equal each domain's sum of `chances`, one per expert.

    `rows` are loads of the experts, of one or more kinds: no rank becomes heavier than the heaviest was in any.

    Each exchange re-splits one rank of the domain with the largest sum and one of another, in the
    way that leaves the larger of both sums least.
    """
    shift = max(0, max(map(sum, rows)).bit_length() - MOST_BITS)
    weights, values = np.array([[w >> shift for w in row] for row in rows], dtype=np.int64), np.array(chances)
    held, domain, random = np.array(contents), np.array(pattern), Random(0)
    limits = weights[:, held].sum(axis=2).max(axis=1)
    failed = 0
    for _ in range(EXCHANGES):
        sums: Floats = np.bincount(domain, values[held].sum(axis=1)).astype(np.float64)
        if sums.max() <= sums.mean() * (1 + NEAR) or failed == PATIENCE:
            break
        failed = 0 if _exchange(held, weights, values, domain, sums, limits, random) else failed + 1
    return tuple(tuple(sorted(rank)) for rank in held.tolist())


def _exchange(held: Integers, weights: Integers, values: Floats, domain: Integers, sums: Floats, limits: Integers, random: Random) -> bool:
    """The best exchange that the largest domain has; False where none helps."""
    largest = int(sums.argmax())
    pairs = [(a, b) for a in np.flatnonzero(domain == largest) for b in np.flatnonzero(domain != largest)]
    first, second = np.array(random.sample(pairs, min(len(pairs), MOST_PAIRS))).T
    slots = held.shape[1]
    moved = min(slots, MOST_MOVED)
    mine, theirs = random.sample(range(slots), moved), random.sample(range(slots), moved)
    own, other = held[first][:, mine], held[second][:, theirs]
    items, ways = np.concatenate([own, other], axis=1), shares(moved)
    light = np.ones((len(first), len(ways)), dtype=np.bool_)
    for row, limit in zip(weights, limits, strict=True):
        loads = row[held].sum(axis=1)
        after = (loads[first] - row[own].sum(axis=1))[:, None] + row[items] @ ways.T  # load of the first rank, [pair, share]
        light &= np.maximum(after, (loads[first] + loads[second])[:, None] - after) <= limit
    gain = values[items] @ ways.T - values[own].sum(axis=1)[:, None]
    worst = np.where(light, np.maximum(sums[largest] + gain, sums[domain[second]][:, None] - gain), np.inf)
    pair, share = divmod(int(worst.argmin()), len(ways))
    if worst[pair, share] >= sums[largest] * (1 - 1e-9):
        return False
    to_first = ways[share].astype(bool)
    held[first[pair], mine], held[second[pair], theirs] = items[pair][to_first], items[pair][~to_first]
    return True
