"""Bounds on the most loaded rank of every placement with redundant slots, whatever the dispatch rule.

Throughout, `ranks` ranks hold exactly `slots` replicas each, no expert twice on one rank, and every expert at least once. The load of an
expert is split among its replicas; nothing else is assumed of the split, so the bounds hold for the equal split, for dispatch to
the nearest replica and for a split chosen afterwards. Loads are tokens; a bound is the least whole number of tokens that some rank carries.
"""

from functools import lru_cache

from models.placement import least_maximum
from models.units import ceil_div


def mean_bound(loads: tuple[int, ...], ranks: int) -> int:
    """ceil(sum w / ranks): some rank carries at least the mean."""
    return ceil_div(sum(loads), ranks)


@lru_cache(maxsize=65_536)
def replica_bound(loads: tuple[int, ...], ranks: int, slots: int) -> int:
    """Least T with sum_e max(1, ceil(w_e / T)) <= ranks * slots and no ceil(w_e / T) above `ranks` (water-filling).

    One of the c replicas of an expert carries at least w / c, so a placement of maximum T gives
    expert e at least w_e / T replicas, on as many ranks.
    """
    low, high = max(1, ceil_div(max(loads), ranks)), max(1, max(loads))
    while low < high:
        middle = (low + high) // 2
        if replicas_needed(loads, middle) <= ranks * slots:
            high = middle
        else:
            low = middle + 1
    return low


def replicas_needed(loads: tuple[int, ...], threshold: int) -> int:
    """Fewest slots with which no replica need carry more than `threshold` > 0."""
    return sum(max(1, ceil_div(w, threshold)) for w in loads)


def least_load(loads: tuple[int, ...], ranks: int, slots: int) -> int:
    """The largest closed form: without redundant slots those of `models.placement.least_maximum`, with them mean and water-filling."""
    if ranks * slots == len(loads):
        return least_maximum(loads, ranks)
    return max(mean_bound(loads, ranks), replica_bound(loads, ranks, slots))


def fixed_bound(loads: tuple[int, ...], counts: tuple[int, ...], ranks: int) -> int:
    """Where the replicas of each expert are given: `least_maximum` of all replicas, floor(w_e / c_e) each."""
    sizes = tuple(w // c for w, c in zip(loads, counts, strict=True) for _ in range(c))
    return max(mean_bound(loads, ranks), least_maximum(sizes, ranks))


def home_bound(loads: tuple[int, ...], homes: tuple[int, ...], ranks: int, nodes: int, slots: int) -> int:
    """Where every replica lies on its expert's home node: the largest of `least_load` over the nodes, each for its own experts."""
    own = [tuple(w for w, home in zip(loads, homes, strict=True) if home == n) for n in range(nodes)]
    return max(least_load(of_node, ranks // nodes, slots) for of_node in own if of_node)
