"""A good placement for layers too large to enumerate: heaviest first, then swaps. Not a proof."""

from functools import lru_cache

from models.strategy import RankContents


@lru_cache(maxsize=4096)
def place(loads: tuple[int, ...], ranks: int) -> RankContents:
    """Each of `ranks` ranks gets equally many experts; the heaviest rank is made light.

    Longest-processing-time first into the lightest open rank, then exchanges between the heaviest
    rank and another until none helps. Deterministic.
    """
    slots = len(loads) // ranks
    held: list[list[int]] = [[] for _ in range(ranks)]
    weight = [0] * ranks
    for e in sorted(range(len(loads)), key=lambda e: (-loads[e], e)):
        r = min((r for r in range(ranks) if len(held[r]) < slots), key=lambda r: (weight[r], r))
        held[r].append(e)
        weight[r] += loads[e]
    while _improve(held, weight, loads):
        pass
    return tuple(tuple(sorted(rank)) for rank in held)


def _improve(held: list[list[int]], weight: list[int], loads: tuple[int, ...]) -> bool:
    """Exchange one expert of the heaviest rank with one of the lightest rank that it helps."""
    top = weight.index(max(weight))
    for other in sorted(range(len(held)), key=lambda r: (weight[r], r)):
        gap = weight[top] - weight[other]
        shifts = ((abs(gap - 2 * (loads[e] - loads[f])), e, f) for e in held[top] for f in held[other] if 0 < loads[e] - loads[f] < gap)
        found = min(shifts, default=None)
        if found is not None:
            _, e, f = found
            held[top][held[top].index(e)], held[other][held[other].index(f)] = f, e
            weight[top] += loads[f] - loads[e]
            weight[other] += loads[e] - loads[f]
            return True
    return False
