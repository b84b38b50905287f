"""Coefficients that are each off by up to a share, independently: the box of their values, and exact maxima over it.

Time before rounding is built of *demands*: FLOP of three kinds, bytes of memory and of two networks, launches, rounds. What one
unit of a demand takes is a product of coefficients' multipliers, so a sum of demands is multilinear in them
and attains its maximum over the box at a corner. Once the peaks and the overlap are fixed, the demands' prices vary
independently, and the maximum is that of each term.
"""

from fractions import Fraction
from itertools import product
from math import isqrt
from typing import NamedTuple

from models.coefficients import (
    ATTENTION,
    EXPERT_GEMM,
    GEMM,
    HBM,
    HBM_EFFICIENCY,
    LAUNCH,
    MEMORY,
    OUT_BANDWIDTH,
    OUT_LATENCY,
    OVERLAP,
    SKEW,
    UP_BANDWIDTH,
    UP_LATENCY,
    Coefficient,
    coefficients,
    peak_of,
    value_of,
    with_value,
)
from models.instance import Instance
from models.units import NS_PER_S, PPM, ceil_div

KINDS = ("gemm", "expert_gemm", "attention", "hbm", "launch", "up_bytes", "up_rounds", "out_bytes", "out_rounds")
COMM = range(5, 9)
"""of a demand's 14 numbers: those of communication that is never hidden; four more count only for the share not hidden"""
SCALE = 1 << 80  # prices are fixed point, rounded outwards

SPLIT = (HBM, HBM_EFFICIENCY, GEMM, EXPERT_GEMM, ATTENTION)
"""what a box is cut along, besides the peaks: where an operator turns from FLOP to bytes"""

Demand = tuple[int, ...]
"""One number per kind, then the four of exposed communication, then ns that no coefficient changes."""

NO_DEMAND: Demand = (0,) * 14


def plus(a: Demand, b: Demand) -> Demand:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def minus(a: Demand, b: Demand) -> Demand:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def times(a: Demand, n: int) -> Demand:
    return tuple(x * n for x in a)


class Corner(NamedTuple):
    """Fixed peaks and overlap, and the least and largest price of a unit of each kind under them, ns / SCALE, rounded outwards."""

    fixed: tuple[tuple[Coefficient, int], ...]
    exposed_ppm: int
    """share of exposed communication that is not hidden"""
    prices: tuple[tuple[int, int], ...]


Ranges = dict[Coefficient, tuple[int, int]]


class Box:
    """Every combination of values of the coefficients, each within its range."""

    def __init__(self, instance: Instance, ranges: Ranges) -> None:
        self.instance, self.ranges = instance, ranges
        arch = instance.architecture
        self._weight, self._activation = peak_of(arch.weight_dtype), peak_of(arch.activation_dtype)
        grouped = tuple(dict.fromkeys((self._weight, self._activation, OVERLAP)))
        ends = (sorted(set(ranges[c])) for c in grouped)
        self.corners = [self._corner(dict(zip(grouped, values, strict=True))) for values in product(*ends)]
        middle = {c: isqrt(low * high) for c, (low, high) in ranges.items()}
        self._middle = self._corner({c: middle[c] for c in grouped}, middle)

    def halves(self) -> "tuple[Box, Box] | None":
        """The box cut where its range is widest for its value; None where every range is a single value."""
        c, (low, high) = max(self.ranges.items(), key=lambda item: Fraction(item[1][1] + 1, item[1][0] + 1) - 1 if _is_cut(item[0]) else 0)
        if low == high or not _is_cut(c):
            return None
        cut = min(max(isqrt(low * high), low), high - 1)
        return Box(self.instance, self.ranges | {c: (low, cut)}), Box(self.instance, self.ranges | {c: (cut + 1, high)})

    def _corner(self, fixed: dict[Coefficient, int], middle: dict[Coefficient, int] | None = None) -> Corner:
        ends = {c: (v, v) for c, v in middle.items()} if middle else self.ranges
        work = ((self._weight, GEMM), (self._weight, EXPERT_GEMM), (self._activation, ATTENTION))
        prices = [_quotient(NS_PER_S * PPM, fixed[peak] * ends[c][1], fixed[peak] * ends[c][0]) for peak, c in work]
        slowest, fastest = (ends[HBM][n] * ends[HBM_EFFICIENCY][n] for n in (0, 1))
        prices.append(_quotient(NS_PER_S * PPM, fastest, slowest))
        prices.append(_whole(ends[LAUNCH]))
        for bandwidth, latency in ((UP_BANDWIDTH, UP_LATENCY), (OUT_BANDWIDTH, OUT_LATENCY)):
            prices += [_quotient(NS_PER_S, ends[bandwidth][1], ends[bandwidth][0]), _whole(ends[latency])]
        return Corner(tuple(fixed.items()), PPM - fixed[OVERLAP], (*prices, (SCALE, SCALE)))

    def about(self, demand: Demand) -> int:
        """Its time in the middle of the box, about: to choose by, not to prove by."""
        return sum(n * low for n, (low, _) in zip(_joined(demand, self._middle.exposed_ppm), self._middle.prices, strict=True))

    def most(self, demand: Demand) -> int:
        """At least its time anywhere in the box, ns * SCALE * PPM; demands may be negative."""
        return max(_most(_joined(demand, c.exposed_ppm), c.prices) for c in self.corners)

    def most_ns(self, demand: Demand) -> int:
        """As `most`, in whole ns."""
        return ceil_div(self.most(demand), SCALE * PPM)

    def worst(self, demand: Demand) -> tuple[Corner, tuple[int, ...]]:
        """Where the maximum is attained: a corner, and the price of each kind there."""
        corner = max(self.corners, key=lambda c: _most(_joined(demand, c.exposed_ppm), c.prices))
        signs = _joined(demand, corner.exposed_ppm)
        return corner, tuple(high if n > 0 else low for n, (low, high) in zip(signs, corner.prices, strict=True))

    def at(self, demand: Demand, corner: Corner, prices: tuple[int, ...]) -> int:
        """Its time at such a place, ns * SCALE * PPM."""
        return sum(n * price for n, price in zip(_joined(demand, corner.exposed_ppm), prices, strict=True))

    def values(self, corner: Corner, prices: tuple[int, ...]) -> dict[Coefficient, int]:
        """The coefficients at such a place: each at an end of its range."""
        found = dict(corner.fixed)
        of_kind = ((GEMM,), (EXPERT_GEMM,), (ATTENTION,), (HBM, HBM_EFFICIENCY), (LAUNCH,), (UP_BANDWIDTH,), (UP_LATENCY,))
        for n, group in enumerate((*of_kind, (OUT_BANDWIDTH,), (OUT_LATENCY,))):
            dear = prices[n] == corner.prices[n][1]
            for c in group:
                found[c] = self.ranges[c][int(dear == (c.more_is == "slower"))]
        return found

    def end(self, dear: bool) -> dict[Coefficient, int]:
        """The corner at which every plan is dearest, or cheapest."""
        return {c: ends[int(dear == (c.more_is == "slower"))] for c, ends in self.ranges.items()}

    def under(self, values: dict[Coefficient, int]) -> Instance:
        """The instance with these values."""
        found = self.instance
        for c, value in values.items():
            found = with_value(found, c, value)
        return found


def ranges_within(instance: Instance, share_ppm: int) -> Ranges:
    """The integers within a share of what the instance states, for every coefficient but memory and skew."""
    found = {c: _range(c, value_of(instance, c), share_ppm) for c in coefficients(instance) if c not in (MEMORY, SKEW)}
    return {EXPERT_GEMM: (value_of(instance, EXPERT_GEMM),) * 2} | found  # a dense model has it too, to no effect


def _range(c: Coefficient, now: int, share_ppm: int) -> tuple[int, int]:
    """The integers within a share of `now` that the field may hold."""
    low, high = ceil_div(now * (PPM - share_ppm), PPM), now * (PPM + share_ppm) // PPM
    return max(c.least, low), min(c.most, high)


def _is_cut(c: Coefficient) -> bool:
    return c in SPLIT or c.unit == "FLOP/s"


def _quotient(unit: int, fastest: int, slowest: int) -> tuple[int, int]:
    return SCALE * unit // fastest, ceil_div(SCALE * unit, slowest)


def _whole(ends: tuple[int, int]) -> tuple[int, int]:
    return ends[0] * SCALE, ends[1] * SCALE


def _joined(demand: Demand, exposed_ppm: int) -> tuple[int, ...]:
    """The ten demands of a corner, * PPM: exposed communication joins the other at its share."""
    comm = (demand[n] * PPM + demand[n + 4] * exposed_ppm for n in COMM)
    return (*(n * PPM for n in demand[:5]), *comm, demand[13] * PPM)


def _most(signed: tuple[int, ...], prices: tuple[tuple[int, int], ...]) -> int:
    return sum(n * high if n > 0 else n * low for n, (low, high) in zip(signed, prices, strict=True))
