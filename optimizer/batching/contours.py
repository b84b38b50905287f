"""Level lines through the cell centres of a map, for drawing: interpolated, so they prove nothing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from optimizer.batching.rows import Cell

Side = tuple[Cell, Cell]  # two neighbouring cell centres, the lesser first
Point = tuple[float, float]


def round_levels(least: float, most: float, logarithmic: bool) -> list[float]:
    """About six numbers from `least` to `most`, ends included.

    On a logarithmic scale they are every first, second, third, sixth, ... of ..., 1, 2, 5, 10, ..., else multiples of one of these.
    """
    if least >= most:
        return []
    if logarithmic:
        ladder = range(3 * math.floor(math.log10(least)), 3 * math.floor(math.log10(most)) + 3)
        inside = [n for n in ladder if least <= _rung(n) <= most]
        skipping = ([float(_rung(n)) for n in inside if n % k == 0] for k in (1, 2, *range(3, len(inside) + 1, 3)))
        return min(skipping, key=lambda levels: abs(len(levels) - 6))
    finest = 3 * math.floor(math.log10((most - least) / 10))
    steps = [_rung(n) for n in range(finest, finest + 6)]
    return min(
        ([float(k * s) for k in range(math.ceil(least / s), math.floor(most / s) + 1)] for s in steps), key=lambda x: abs(len(x) - 6)
    )


def _rung(n: int) -> Fraction:
    """The n-th of ..., 1, 2, 5, 10, 20, ...; 1 at 0."""
    return (1, 2, 5)[n % 3] * Fraction(10) ** (n // 3)


def contour(values: Mapping[Cell, float], level: float) -> list[list[Point]]:
    """Where the values pass `level`, as polylines over cell centres: marching squares, linear along each side.

    Only squares with all four corners in `values` are crossed; at a saddle the mean of the corners decides.
    """
    ahead: dict[Side, list[Side]] = {}
    for i, j in values:
        corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
        if not values.keys() >= set(corners):
            continue
        high = [values[corner] >= level for corner in corners]
        around = ((0, 1), (1, 2), (2, 3), (3, 0))
        cuts = [(min(corners[a], corners[b]), max(corners[a], corners[b])) for a, b in around if high[a] != high[b]]
        if len(cuts) == 4 and (sum(values[corner] for corner in corners) >= 4 * level) != high[0]:
            cuts = [cuts[3], *cuts[:3]]  # the first corner is cut off, and the third
        for a, b in zip(cuts[::2], cuts[1::2], strict=True):
            ahead.setdefault(a, []).append(b)
            ahead.setdefault(b, []).append(a)
    return [[_passing(side, values, level) for side in chain] for chain in _chains(ahead)]


def _passing(side: Side, values: Mapping[Cell, float], level: float) -> Point:
    (i, j), (k, n) = side
    share = (level - values[i, j]) / (values[k, n] - values[i, j])
    return i + share * (k - i), j + share * (n - j)


def _chains(ahead: Mapping[Side, Sequence[Side]]) -> Iterator[list[Side]]:
    """Open ones from end to end, then rings, their first side again at the end."""
    left = dict(ahead)
    for start in sorted(ahead, key=lambda side: len(ahead[side])):
        chain, nexts = [start], left.pop(start, None)
        if nexts is None:
            continue
        while following := [side for side in left.pop(chain[-1], nexts) if side in left]:
            chain.append(following[0])
        yield [*chain, start] if len(nexts) == 2 else chain
