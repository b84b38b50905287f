"""From scattered measured times to a full grid that never falls along any axis.

Strays, slower by half than every next measured point above them or as much faster than those below (at least two), are dropped.
What is left moves to the geometric mean of the largest time measured at or below it and the smallest at or above it. Other
points are interpolated along the first axis with measured neighbours on both sides, else grown in proportion from the last one
below, else taken from the next above; and never leave what the points around them allow, so that filling in moves no measured point.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from math import isqrt, prod
from typing import NamedTuple

from models.units import MAX_INT, PPM, ceil_div

Point = tuple[int, ...]
UNKNOWN = 0  # no operator takes 0 ns


class Filled(NamedTuple):
    """A full grid of times, the last axis varying fastest."""

    grid: tuple[tuple[int, ...], ...]
    ns: list[int]
    moved_ppm: list[int]
    """by how much each measured point that had to move did, ppm of its time; strays included"""


def fill_grid(times: Mapping[Point, int], grid: Sequence[Sequence[int]], powers: Sequence[int]) -> Filled:
    """The grid with its measured `times` (ns, at least one); beyond them times grow with that power of each coordinate."""
    axes = [_Axis(tuple(g), prod(len(x) for x in grid[n + 1 :]), powers[n]) for n, g in enumerate(grid)]
    places = [{x: n for n, x in enumerate(axis.grid)} for axis in axes]
    measured = [UNKNOWN] * prod(len(axis.grid) for axis in axes)
    for point, time in times.items():
        measured[sum(place[x] * axis.stride for place, axis, x in zip(places, axes, point, strict=True))] = time
    kept = _without_strays(measured, axes)
    between = zip(kept, _least(kept, axes), _most(kept, axes), strict=True)
    known = [1 + isqrt(low * high - 1) if value else UNKNOWN for value, low, high in between]
    ns = _filled(known, axes)
    moved = [abs(after - before) * PPM // before for before, after in zip(measured, ns, strict=True) if before and after != before]
    return Filled(tuple(axis.grid for axis in axes), ns, moved)


class _Axis(NamedTuple):
    grid: tuple[int, ...]
    stride: int
    power: int

    def lines(self, points: int) -> Iterator[slice]:
        """Every line of the grid along this axis."""
        block = self.stride * len(self.grid)
        return (
            slice(start, start + block, self.stride) for first in range(0, points, block) for start in range(first, first + self.stride)
        )

    def each(self, values: list[int], change: Callable[[list[int]], list[int]]) -> None:
        """Replace every line of the grid along this axis."""
        for line in self.lines(len(values)):
            values[line] = change(values[line])


def _without_strays(measured: list[int], axes: Sequence[_Axis]) -> list[int]:
    """The points without those that at least two next ones, and all on that side, contradict by half."""
    above: list[list[int]] = [[] for _ in measured]
    below: list[list[int]] = [[] for _ in measured]
    for axis in axes:
        for line in axis.lines(len(measured)):
            known = [n for n in range(len(measured))[line] if measured[n]]
            for a, b in pairwise(known):
                above[a].append(measured[b])
                below[b].append(measured[a])
    kept = list(measured)
    for n, ns in enumerate(measured):
        high = len(above[n]) >= 2 and 2 * ns > 3 * max(above[n])
        low = len(below[n]) >= 2 and 3 * ns < 2 * min(below[n])
        if high or low:
            kept[n] = UNKNOWN
    return kept


def _least(known: list[int], axes: Sequence[_Axis]) -> list[int]:
    """The largest known time at or below each point; UNKNOWN where there is none."""
    found = list(known)
    for axis in axes:
        axis.each(found, _running_maximum)
    return found


def _most(known: list[int], axes: Sequence[_Axis]) -> list[int]:
    """The smallest known time at or above each point; a ceiling where there is none."""
    found = [value or MAX_INT for value in known]
    for axis in axes:
        axis.each(found, _running_minimum_from_above)
    return found


def _filled(known: list[int], axes: Sequence[_Axis]) -> list[int]:
    """Every point, from known ones that never fall."""
    found = list(known)
    for fill in (_between, _beyond, _under, _between):
        for axis in axes:
            axis.each(found, partial(fill, grid=axis.grid, power=axis.power))
    found = [max(low, min(high, ns)) for low, ns, high in zip(_least(known, axes), found, _most(known, axes), strict=True)]
    return _least(found, axes)


def _running_maximum(line: list[int]) -> list[int]:
    most, found = UNKNOWN, []
    for value in line:
        most = max(most, value)
        found.append(most)
    return found


def _running_minimum_from_above(line: list[int]) -> list[int]:
    least, found = line[-1], []
    for value in reversed(line):
        least = min(least, value)
        found.append(least)
    return found[::-1]


def _between(line: list[int], grid: Sequence[int], power: int) -> list[int]:
    """Unknown points that have known ones on both sides, linearly."""
    del power  # of no account here
    known = [n for n, value in enumerate(line) if value]
    found = list(line)
    for a, b in pairwise(known):
        for n in range(a + 1, b):
            found[n] = ceil_div(line[a] * (grid[b] - grid[n]) + line[b] * (grid[n] - grid[a]), grid[b] - grid[a])
    return found


def _beyond(line: list[int], grid: Sequence[int], power: int) -> list[int]:
    """Unknown points above the last known one, in proportion to the work."""
    last = max((n for n, value in enumerate(line) if value), default=None)
    if last is None:
        return line
    return [*line[: last + 1], *(ceil_div(line[last] * x**power, grid[last] ** power) for x in grid[last + 1 :])]


def _under(line: list[int], grid: Sequence[int], power: int) -> list[int]:
    """Unknown points below the first known one, as there."""
    del grid, power  # of no account here
    first = next((n for n, value in enumerate(line) if value), 0)
    return [line[first]] * first + line[first:]
