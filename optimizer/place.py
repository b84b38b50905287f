"""A good placement for layers too large to enumerate: heaviest first, then swaps. Not a proof."""

from models.strategy import RankContents


def place(loads: tuple[int, ...], ranks: int) -> RankContents:
    """Each of `ranks` ranks gets equally many experts; the heaviest rank is made light.

    Longest-processing-time first into the lightest open rank, then the best exchange between the
    heaviest rank and any other until none helps. Deterministic.
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
    """Exchange one expert of the heaviest rank so that the heavier of the two becomes lightest."""
    top = weight.index(max(weight))
    best: tuple[int, int, int, int] | None = None
    for other in range(len(held)):
        gap = weight[top] - weight[other]
        for a, e in enumerate(held[top]):
            for b, f in enumerate(held[other]):
                shift = loads[e] - loads[f]
                if 0 < shift < gap:
                    after = max(weight[top] - shift, weight[other] + shift)
                    if best is None or after < best[0]:
                        best = (after, other, a, b)
    if best is None:
        return False
    _, other, a, b = best
    e, f = held[top][a], held[other][b]
    held[top][a], held[other][b] = f, e
    weight[top] += loads[f] - loads[e]
    weight[other] += loads[e] - loads[f]
    return True
