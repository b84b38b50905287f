"""Replicas for redundant slots, every slot filled, no expert twice in one zone; the heaviest rank made light. Not a proof."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from models.strategy import RankContents
from optimizer.placing.improve import MOST_BITS, UNIT, improve_replicas

NEAR = 1_500  # good enough: one part in NEAR above the target
FINE = 1 << 20  # of loads, where replicas are shared out

Rows = Sequence[Sequence[int]]
"""[workload][expert]"""


def share_slots(loads: Sequence[int], slots: int, most: int) -> list[int]:
    """Replicas of each expert, `slots` in all and at most `most` each.

    Every further slot goes to the largest load per replica, of equal ones to the expert with the fewest replicas.
    """
    copies = [1] * len(loads)
    heap = [(-w * FINE, 1, e) for e, w in enumerate(loads)]
    heapify(heap)
    for _ in range(slots - len(loads) if most > 1 else 0):
        _, _, e = heappop(heap)
        copies[e] += 1
        if copies[e] < most:
            heappush(heap, (-(loads[e] * FINE) // copies[e], copies[e], e))
    return copies


def pack(
    rows: Rows,
    copies: Sequence[int],
    ranks: int,
    slots: int,
    zones: tuple[int, ...],
    targets: Sequence[int],
    effort: int,
    seed: int,
    near: int = NEAR,
) -> RankContents:
    """Replicas of given numbers on ranks: heaviest first, then re-splits until no rank is above its target by more than one part in `near`.

    `rows` holds the load of one replica of each expert, under one or several workloads, each with a target of its own.
    At most `effort` re-splits.
    """
    scaled = [[w * UNIT // max(1, target) for w in row] for row, target in zip(rows, targets, strict=True)]
    total = max(sum(w * c for w, c in zip(row, copies, strict=True)) for row in scaled)
    shift = max(0, total.bit_length() - MOST_BITS)
    weights = np.array([[w >> shift for w in row] for row in scaled], dtype=np.int64)
    start = heaviest_first(weights.max(axis=0).tolist(), copies, ranks, slots, zones)
    return improve_replicas(weights, start, zones, (UNIT + UNIT // near) >> shift, effort, seed)


def heaviest_first(weights: Sequence[int], copies: Sequence[int], ranks: int, slots: int, zones: tuple[int, ...]) -> RankContents:
    """Each replica, heaviest first, to the lightest rank with a free slot in a zone that lacks the expert.

    Where the last ones find no such rank, one already placed makes room.
    """
    held: list[list[int]] = [[] for _ in range(ranks)]
    load = [0] * ranks
    within: list[set[int]] = [set() for _ in range(max(zones) + 1)]
    order = sorted((e for e, c in enumerate(copies) for _ in range(c)), key=lambda e: (-weights[e], -copies[e], e))
    for e in order:
        fitting = [r for r in range(ranks) if len(held[r]) < slots and e not in within[zones[r]]]
        if fitting:
            r = min(fitting, key=lambda r: (load[r], r))
        else:
            r = _make_room(e, held, within, zones, slots)
            load = [sum(weights[x] for x in rank) for rank in held]
        held[r].append(e)
        within[zones[r]].add(e)
        load[r] += weights[e]
    return tuple(tuple(sorted(rank)) for rank in held)


def _make_room(e: int, held: list[list[int]], within: list[set[int]], zones: tuple[int, ...], slots: int) -> int:
    """Move one expert from a zone without `e` to a free slot elsewhere; the rank that is free then."""
    free = [r for r in range(len(held)) if len(held[r]) < slots]
    for r in range(len(held)):
        if e in within[zones[r]]:
            continue
        for x in held[r]:
            to = next((f for f in free if zones[f] != zones[r] and x not in within[zones[f]]), None)
            if to is not None:
                held[r].remove(x)
                within[zones[r]].discard(x)
                held[to].append(x)
                within[zones[to]].add(x)
                return r
    raise AssertionError("an expert has at most as many replicas as there are zones, and all slots are enough for all")
