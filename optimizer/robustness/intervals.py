"""Ranges of each coefficient in which a plan is certified to stay optimal, and the nearest values found at which it is not.

A range is cut into pieces until, in each, no other strategy costs less at the good end than ours at
the bad end (`optimizer.robustness.rivals`). The pieces are the proof: `check_interval` confirms them without the search.
"""

from math import isqrt
from typing import NamedTuple

from models.coefficients import OVERLAP, SKEW, Coefficient, coefficients, value_of
from models.enumeration import strategies as every_strategy
from models.instance import Instance
from models.objective import value_of as value_of_strategy
from models.result import Candidate
from models.strategy import Plan, Strategy
from models.units import PPM
from optimizer.robustness.rivals import Contest, Piece, cheapest, is_best_of_its_strategy

REACH = 4  # a coefficient is varied from now / REACH to now * REACH
RESOLUTION = 1_000  # a piece narrower than one part in RESOLUTION is not cut further
SMALLEST_NS = 1_000  # a latency below this is varied up to REACH times this
SKEWS = (0, PPM // 2, PPM * 3 // 4, PPM * 9 // 10, PPM, PPM * 11 // 10, PPM * 5 // 4, PPM * 3 // 2, PPM * 2)
MOST_BOUNDED = 3_000_000  # strategies bounded per coefficient
MOST_PIECES = 1_000  # on each side of the stated value: a strategy that ties everywhere is parted from ours point by point
LAST_BOUNDED = 20_000  # strategies bounded between the last certified value and the one that refutes


class Refuted(NamedTuple):
    """A value of the coefficient at which our strategy is not optimal: it cannot run, or a plan of another one is cheaper."""

    value: int
    ours: int | None
    """least objective seen of our strategy there; None where it cannot run"""
    better: Candidate | None
    """None where ours cannot run and no other plan was looked for"""


class Interval(NamedTuple):
    """What is certified of one coefficient."""

    coefficient: Coefficient
    now: int
    searched: Piece
    pieces: tuple[Piece, ...]
    """ascending; in every integer of each our strategy is optimal. They touch, except those of the skew, which are points"""
    below: Refuted | None
    above: Refuted | None
    """nearest values found on either side at which it is not; what lies between is unknown"""
    whole_plan: bool
    """whether the very plan, stages and placement included, stays optimal; otherwise these are chosen anew at each value"""

    @property
    def low(self) -> int | None:
        """The least value of those that join `now` and are certified; None where not even `now` is."""
        return _joined(self.pieces, self.now, -1)

    @property
    def high(self) -> int | None:
        return _joined(self.pieces, self.now, 1)


def _joined(pieces: tuple[Piece, ...], now: int, step: int) -> int | None:
    found = None
    for piece in pieces[::step]:
        if piece.low <= (now if found is None else found + step) <= piece.high:
            found = piece.high if step > 0 else piece.low
    return found


def searched_range(coefficient: Coefficient, now: int) -> Piece:
    """Where the plan is tried: a factor REACH either way, within the field's limits; all overlaps."""
    if coefficient in (OVERLAP, SKEW):
        return Piece(coefficient.least, SKEWS[-1] if coefficient == SKEW else coefficient.most)
    most = REACH * (max(now, SMALLEST_NS) if coefficient.unit == "ns" else now)
    return Piece(max(coefficient.least, now // REACH), min(coefficient.most, most))


def intervals(instance: Instance, plan: Plan, most_bounded: int = MOST_BOUNDED) -> tuple[Interval, ...]:
    """One interval per coefficient of the instance."""
    space = list(every_strategy(instance))
    return tuple(certified_interval(instance, plan, c, most_bounded, space) for c in coefficients(instance))


def certified_interval(
    instance: Instance, plan: Plan, coefficient: Coefficient, most_bounded: int = MOST_BOUNDED, space: list[Strategy] | None = None
) -> Interval:
    """The pieces around the stated value in which the plan's strategy is optimal, and where it is first seen not to be.

    `most_bounded`: strategies bounded at most, about; the pieces found until then hold.
    """
    now, contest = value_of(instance, coefficient), Contest(instance, plan, coefficient)
    strategies, searched = space or list(every_strategy(instance)), searched_range(coefficient, now)
    whole = coefficient != SKEW and is_best_of_its_strategy(instance, plan)
    if coefficient == SKEW:
        pieces, below, above = _points(contest, strategies, now)
        return Interval(coefficient, now, searched, pieces, below, above, whole)
    up = _Walk(contest, Piece(now, searched.high), 1, most_bounded // 2)
    up.run(strategies)
    down = _Walk(contest, Piece(searched.low, now - 1), -1, most_bounded // 2)
    if up.pieces and searched.low < now:
        down.run(strategies)
    return Interval(coefficient, now, searched, (*reversed(down.pieces), *up.pieces), down.refuted, up.refuted, whole)


class _Walk:
    """From the stated value outwards, as far as pieces can be certified; then on to a value that refutes the plan."""

    def __init__(self, contest: Contest, whole: Piece, direction: int, most_bounded: int) -> None:
        self.contest, self.direction, self.whole = contest, direction, whole
        self.limit = contest.bounded + most_bounded
        self.pieces: list[Piece] = []
        self.refuted: Refuted | None = None

    def run(self, strategies: list[Strategy]) -> None:
        """As far as pieces are certified; then a value that refutes, if one is found; then once more what lies just before it."""
        left = self._certify([(self.whole, strategies)], self.limit)
        for piece, alive in reversed(left):
            if self.refuted is None:
                self._refute_in(piece, alive)
        if left and self.refuted is not None:
            (low, high), alive = left[-1]
            before = Piece(low, min(high, self.refuted.value - 1)) if self.direction > 0 else Piece(max(low, self.refuted.value + 1), high)
            if before.low <= before.high:
                self._certify([(before, alive)], self.contest.bounded + LAST_BOUNDED)

    def _certify(self, left: list[tuple[Piece, list[Strategy]]], limit: int) -> list[tuple[Piece, list[Strategy]]]:
        """Depth first, the nearer half first, until a piece that cannot be cut further is not certified; what is left then."""
        while left and self.contest.bounded < limit and len(self.pieces) < MOST_PIECES:
            piece, alive = left.pop()
            rivals = self.contest.rivals(alive, piece)
            if rivals == []:
                self.pieces.append(piece)
                continue
            alive = alive if rivals is None else rivals
            if self._ends_in(piece, alive):
                return [*left, (piece, alive)]
            left += self._halves(piece, alive)
        return left

    def _ends_in(self, piece: Piece, alive: list[Strategy]) -> bool:
        """Whether a piece is a single value, or narrow and refuted."""
        if piece.low == piece.high:
            return True
        if self.refuted is not None or piece.high - piece.low > piece.low // RESOLUTION:
            return False
        self._refute_in(piece, alive)
        return self.refuted is not None

    def _halves(self, piece: Piece, alive: list[Strategy]) -> list[tuple[Piece, list[Strategy]]]:
        """Cut at the geometric mean, the nearer half last."""
        cut = min(max(isqrt(piece.low * piece.high), piece.low), piece.high - 1)
        halves = (Piece(piece.low, cut), alive), (Piece(cut + 1, piece.high), alive)
        return [*halves[:: -self.direction]]

    def _refute_in(self, piece: Piece, alive: list[Strategy]) -> None:
        """Look at the two ends; from the farther one go back towards the nearer as long as the same plan is better."""
        near, far = piece[:: self.direction]
        found = refutation(self.contest, near, alive)
        if found is None and near != far:
            found = refutation(self.contest, far, alive)
            if found is not None:
                found = self._nearest(found, near)
        self.refuted = found

    def _nearest(self, found: Refuted, safe: int) -> Refuted:
        """Bisection between a value that refutes and one that was not seen to."""
        others = [] if found.better is None else [found.better.plan.strategy]
        while abs(found.value - safe) > 1:
            middle = (found.value + safe) // 2
            nearer = refutation(self.contest, middle, others)
            if nearer is None:
                safe = middle
            else:
                found = nearer._replace(better=nearer.better or found.better)
        return found


def refutation(contest: Contest, value: int, strategies: list[Strategy]) -> Refuted | None:
    """Whether our strategy cannot run at a value of the coefficient, or one of these has a plan cheaper than all of ours."""
    bounds, s = contest.at(value), contest.plan.strategy
    solution = bounds.exact(s)
    least = None if isinstance(solution, str) else value_of_strategy(contest.instance, s).of(solution.step_ns)
    better = cheapest(bounds, strategies, least)
    return None if better is None and least is not None else Refuted(value, least, better)


def _points(contest: Contest, strategies: list[Strategy], now: int) -> tuple[tuple[Piece, ...], Refuted | None, Refuted | None]:
    """A coefficient without a direction: single values, each on its own."""
    pieces, sides = [], {-1: list[Refuted](), 1: list[Refuted]()}
    for value in SKEWS:
        rivals = contest.rivals(strategies, Piece(value, value))
        if rivals == []:
            pieces.append(Piece(value, value))
        else:
            found = refutation(contest, value, strategies if rivals is None else rivals)
            sides[-1 if value < now else 1] += [] if found is None else [found]
    return tuple(pieces), max(sides[-1], default=None, key=lambda r: r.value), min(sides[1], default=None, key=lambda r: r.value)
