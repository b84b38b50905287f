"""The published greedy expert balancer (DeepSeek's EPLB), written from its description: what our placements are compared with.

Replication: each redundant slot in turn goes to the expert with the largest load per replica.
Packing: replicas, heaviest first, each to the lightest rank with a free slot. The hierarchical
policy first packs whole expert groups to nodes in the same way, then treats each node on its own.
Like the original it does not look whether a rank already holds a replica of the same expert.
Equal loads: the lower number first.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush, heapreplace
from math import lcm

from models.strategy import RankContents


def balance_flat(loads: Sequence[int], ranks: int, slots: int) -> RankContents:
    """Experts of each rank, over all ranks at once; `slots` per rank."""
    return _spread(loads, range(len(loads)), ranks, slots)


def balance_hierarchical(loads: Sequence[int], ranks: int, slots: int, nodes: int, groups: int) -> RankContents:
    """Experts of each rank, each group on one node; `slots` per rank, groups of consecutive experts, ranks node by node."""
    experts = len(loads)
    if experts % groups or groups % nodes or ranks % nodes:
        raise ValueError(f"{experts} experts in {groups} groups and {ranks} ranks cannot be shared equally by {nodes} nodes")
    size = experts // groups
    weights = [sum(loads[g * size : (g + 1) * size]) for g in range(groups)]
    contents: RankContents = ()
    for held in _pack(weights, nodes, groups // nodes):
        own = [e for g in sorted(held) for e in range(g * size, (g + 1) * size)]
        contents += _spread(loads, own, ranks // nodes, slots)
    return contents


def max_over_mean(contents: RankContents, loads: Sequence[int]) -> Fraction:
    """Largest load of a rank over the mean; the replicas of an expert share its load equally."""
    counts = Counter(e for rank in contents for e in rank)
    unit = lcm(*counts.values())
    heaviest = max(sum(loads[e] * (unit // counts[e]) for e in rank) for rank in contents)
    return Fraction(heaviest * len(contents), unit * sum(loads))


def duplicates(contents: RankContents) -> int:
    """Slots lost to a second replica of an expert that its rank already holds."""
    return sum(len(rank) - len(set(rank)) for rank in contents)


def _spread(loads: Sequence[int], experts: Sequence[int], ranks: int, slots: int) -> RankContents:
    """Replicate the given experts to fill the slots of these ranks, then pack."""
    own = [loads[e] for e in experts]
    counts = _replicate(own, ranks * slots)
    unit = lcm(*counts)  # makes every load per replica whole
    replicas = [i for i, count in enumerate(counts) for _ in range(count)]
    packed = _pack([own[i] * (unit // counts[i]) for i in replicas], ranks, slots)
    return tuple(tuple(sorted(experts[replicas[item]] for item in rank)) for rank in packed)


def _replicate(loads: Sequence[int], slots: int) -> list[int]:
    """Replicas of each expert, `slots` in all."""
    if slots < len(loads):
        raise ValueError(f"{len(loads)} experts do not fit in {slots} slots")
    counts = [1] * len(loads)
    heap = [(Fraction(-load), e) for e, load in enumerate(loads)]
    heapify(heap)
    for _ in range(slots - len(loads)):
        e = heap[0][1]
        counts[e] += 1
        heapreplace(heap, (Fraction(-loads[e], counts[e]), e))
    return counts


def _pack(weights: Sequence[int], bins: int, room: int) -> list[list[int]]:
    """Items of each bin, `room` in each: heaviest first to the lightest bin that is not full."""
    held: list[list[int]] = [[] for _ in range(bins)]
    heap = [(0, b) for b in range(bins)]
    for item in sorted(range(len(weights)), key=lambda i: -weights[i]):
        load, b = heappop(heap)
        held[b].append(item)
        if len(held[b]) < room:
            heappush(heap, (load + weights[item], b))
    return held
