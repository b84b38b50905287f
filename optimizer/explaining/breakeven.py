"""What would have to change for a losing plan to win: the smallest change of each coefficient, proved on both sides.

From the stated value outwards, a range is cut into pieces in each of which one rival costs less than ours: at its bad end less
than ours at its good end (`models.coefficients`), or its chord stays below ours (`optimizer.robustness.chords`). Where no known rival does,
the whole problem is judged at that value: either ours is optimal there, confirmed by the checker, or another rival is known.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from models.bounds import Bounds
from models.coefficients import MEMORY, OVERLAP, SKEW, Coefficient, coefficients, value_of, with_value
from models.errors import VerificationError
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import value_of as objective_of
from models.result import Candidate
from models.routing import load_classes
from models.rules import ON_PRICED_PLANS, plan_violations, violations
from models.strategy import Plan, PlanFile
from models.terms import Terms
from models.units import PPM
from optimizer.robustness.chords import Point, bound_point, place_of, roundings, stays_above, without_limits
from optimizer.robustness.rivals import Piece
from optimizer.search import Options, claim_of, judge

REACH = 16  # a coefficient is varied from now / REACH to now * REACH
FINENESS = 10_000  # the two sides are at most about one part in FINENESS of the stated value apart
SMALLEST_NS = 1_000  # a latency below this is varied up to REACH times this
SKEWS = tuple(PPM * n // 20 for n in range(41))  # no direction, so that only these points are tried
MOST_CHORDS = 3  # rivals whose chord is tried, cheapest first
MOST_PIECES = 1_500  # tried per direction
MOST_JUDGED = 24  # problems solved per direction

Progress = Callable[[str], None]


class Beaten(NamedTuple):
    """A range in which our plan is not optimal, and why."""

    piece: Piece
    rival: Plan | None
    """keeps the rules in all of the range and costs less than ours in all of it; None where ours cannot run in any of it"""
    rival_value: int | None
    """at the bad end"""
    ours: int | None
    """no plan of ours is below this at the good end"""
    by_chord: bool = False
    """the two numbers overlap, but the rival's chord stays below ours"""


class Side(NamedTuple):
    """What is known in one direction."""

    searched_to: int
    beaten: tuple[Beaten, ...]
    """nearest first; without a gap from the stated value on, except those of the skew, which are points"""
    wins_at: int | None
    """the nearest value found at which our plan is optimal, confirmed by the checker"""
    ended: str
    """why the search ended: "won", "whole range beaten", "undecided", "effort" or "wall clock" """

    @property
    def beaten_to(self) -> int | None:
        """The farthest value of the pieces: our plan is optimal at no value from the stated one to here."""
        if not self.beaten:
            return None
        last = self.beaten[-1].piece
        return last.high if self.searched_to >= last.high else last.low


class BreakEven(NamedTuple):
    """One coefficient, varied alone."""

    coefficient: Coefficient
    now: int
    up: Side
    down: Side


class Defence:
    """A plan against all rivals known so far, while one coefficient varies."""

    def __init__(self, instance: Instance, stated: PlanFile, plan: Plan, options: Options, deadline: float | None) -> None:
        self.instance, self.stated, self.plan, self.deadline = instance, stated, plan, deadline
        self.options = options._replace(route="enumeration", epsilon_ppm=0)
        self.whole = _is_whole(instance, stated, plan)
        self.rivals: list[Plan] = []
        self.coefficient = MEMORY
        self._ours: dict[int, int | None] = {}
        self._costs: dict[tuple[Plan, int], tuple[int, int] | None] = {}
        self._at: dict[int, tuple[Instance, Terms]] = {}
        self._points: dict[int, Point | None] = {}
        self._free = without_limits(instance)

    def vary(self, coefficient: Coefficient) -> None:
        """Take up another coefficient; the rivals stay."""
        self.coefficient = coefficient
        self._ours, self._costs, self._at, self._points = {}, {}, {}, {}

    def at(self, value: int) -> tuple[Instance, Terms]:
        """The instance under another value of the coefficient."""
        if value not in self._at:
            if len(self._at) > 8:
                self._at.clear()
            changed = with_value(self.instance, self.coefficient, value)
            self._at[value] = changed, Terms(changed)
        return self._at[value]

    def ours(self, value: int) -> int | None:
        """No plan that the file admits is below this; None where none of them runs."""
        if value not in self._ours:
            instance, terms = self.at(value)
            if self.whole:
                self._ours[value] = self._cost(self.plan, value)
            else:
                solution = Bounds(instance, terms).exact(self.plan.strategy)
                step = None if isinstance(solution, str) else solution.step_ns
                self._ours[value] = None if step is None else objective_of(instance, self.plan.strategy).of(step)
        return self._ours[value]

    def _cost(self, plan: Plan, value: int) -> int | None:
        """What a plan costs; None where it breaks a rule. No rule on strategies depends on a coefficient."""
        roomy = self.coefficient == MEMORY  # changes no cost, so that each plan is priced once
        key = plan, MEMORY.most if roomy else value
        if key not in self._costs:
            instance, terms = self.at(key[1])
            found = evaluate(instance, plan, terms)
            runs = not any(plan_violations(instance, plan, found))
            self._costs[key] = (found.value, found.peak_memory_bytes) if runs else None
        priced = self._costs[key]
        return None if priced is None or (roomy and priced[1] > value) else priced[0]

    def beaten(self, piece: Piece) -> Beaten | None:
        """Why ours is not optimal anywhere in a range; None where no known rival shows it."""
        ours, bad = self.ours(piece.good(self.coefficient)), piece.bad(self.coefficient)
        if ours is None:
            return Beaten(piece, None, None, None)
        priced = (Candidate(rival, cost) for rival in self.rivals if (cost := self._cost(rival, bad)) is not None)
        ranked = sorted(priced, key=lambda c: c.value)[:MOST_CHORDS]
        if ranked and ranked[0].value < ours:
            return Beaten(piece, *ranked[0], ours)
        if piece.low == piece.high or self.coefficient.more_is not in ("faster", "slower"):
            return None
        return next((Beaten(piece, *rival, ours, True) for rival in ranked if self._stays_below(rival.plan, piece)), None)

    def _stays_below(self, rival: Plan, piece: Piece) -> bool:
        """Whether a rival that keeps the rules in a piece costs less than any plan of ours in all of it."""
        c, (low, high) = self.coefficient, piece
        beyond = max(high - low, low // 64, 1)
        around = [self._least(v) if c.least <= v <= c.most else None for v in (low - beyond, low, high, high + beyond)]
        costs, s = (self._cost(rival, low), self._cost(rival, high)), rival.strategy
        left, at_low, at_high, right = around
        if at_low is None or at_high is None or costs[0] is None or costs[1] is None:
            return False
        slack = roundings(self.instance, s, objective_of(self.instance, s))
        theirs = Point(place_of(c, low), costs[0], slack), Point(place_of(c, high), costs[1], slack)
        return stays_above(theirs, (left, at_low, at_high, right))

    def _least(self, value: int) -> Point | None:
        """A point of a convex function that is below every plan of ours, limits on the pass apart, by 1 at least."""
        if value not in self._points:
            s, x = self.plan.strategy, place_of(self.coefficient, value)
            terms = Terms(with_value(self._free, self.coefficient, value))
            if self.whole:
                slack = roundings(self.instance, s, objective_of(self.instance, s))
                found: Point | None = Point(x, evaluate(terms.instance, self.plan, terms).value, slack)
            else:
                found = bound_point(Bounds(terms.instance, terms), s, x)
            self._points[value] = found and found._replace(cost=found.cost - 1)
        return self._points[value]

    def judge(self, value: int) -> str:
        """Status of ours under another value. OPTIMAL is confirmed by the checker; a better plan becomes a rival, priced here."""
        left = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
        instance, options = self.at(value)[0], self.options._replace(seconds=left)
        ours, claim = self.ours(value), claim_of(instance, options, lambda _: None)
        if ours is not None and claim.optimal and claim.optimal[0].value < ours:
            self.add(claim.optimal[0].plan)
            return "NOT_OPTIMAL"
        return judge(instance, self.stated, options, lambda _: None).status

    def add(self, rival: Plan) -> None:
        """Know one more rival. Raises VerificationError where it breaks a rule that no coefficient can mend."""
        if rival not in self.rivals:
            broken = [v for v in violations(self.instance, rival) if v.rule not in ON_PRICED_PLANS]
            if broken:
                raise VerificationError(f"the rival {rival.strategy.label()} breaks {broken[0].rule}: {broken[0].sentence}")
            self.rivals.append(rival)

    def late(self) -> bool:
        """Whether the wall limit has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline


def _is_whole(instance: Instance, stated: PlanFile, plan: Plan) -> bool:
    """Whether nothing that a file leaves open can make a difference: one split, and placements that are all alike."""
    s, rows = plan.strategy, {instance.load_of_moe_layer(n) for n in range(instance.architecture.moe_layers)}
    placed = stated.placement is not None or s.ep == 1 or (not s.redundant and all(load_classes(row) == 1 for row in rows))
    return placed and (stated.stages is not None or plan.strategy.pp in (1, instance.architecture.layer_count))


def break_evens(defence: Defence, progress: Progress) -> tuple[BreakEven, ...]:
    """One entry per coefficient of the instance, in the order of the schema."""
    found = []
    for c in coefficients(defence.instance):
        now = value_of(defence.instance, c)
        defence.vary(c)
        searched = searched_range(c, now)
        walk = _points if c == SKEW else _walk
        found.append(BreakEven(c, now, walk(defence, now, searched.high), walk(defence, now, searched.low)))
        progress(f"{c.name}: {_summary(found[-1])}")
    return tuple(found)


def _summary(found: BreakEven) -> str:
    won = [str(side.wins_at) for side in (found.down, found.up) if side.wins_at is not None]
    return f"wins at {' and '.join(won)}" if won else f"{found.down.ended} below, {found.up.ended} above"


def searched_range(coefficient: Coefficient, now: int) -> Piece:
    """A factor REACH either way within the limits of the field; every overlap."""
    if coefficient in (OVERLAP, SKEW):
        return Piece(SKEWS[0], SKEWS[-1] if coefficient == SKEW else coefficient.most)
    return Piece(max(coefficient.least, now // REACH), min(coefficient.most, REACH * _scale(coefficient, now)))


def _scale(coefficient: Coefficient, now: int) -> int:
    """What changes are measured against."""
    return max(now, SMALLEST_NS) if coefficient.unit == "ns" else PPM if coefficient == OVERLAP else now


def tolerance(coefficient: Coefficient, now: int) -> int:
    """How far apart the two sides may stay; memory needs are whole numbers of bytes, so that both are found exactly."""
    return 0 if coefficient == MEMORY else _scale(coefficient, now) // FINENESS


def _walk(defence: Defence, now: int, end: int) -> Side:
    """Pieces from the stated value towards `end`, until ours wins or the range is covered."""
    step = 1 if end >= now else -1
    narrow = tolerance(defence.coefficient, now)
    pieces: list[Beaten] = []
    judged: set[int] = set()
    near, width = now, abs(end - now)
    for _ in range(MOST_PIECES):
        if defence.late():
            return Side(end, tuple(pieces), None, "wall clock")
        far = near + step * min(width, abs(end - near))
        shown = defence.beaten(Piece(min(near, far), max(near, far)))
        if shown is not None:
            pieces.append(shown)
            if far == end:
                return Side(end, tuple(pieces), None, "whole range beaten")
            near, width = far + step, max(1, 2 * width)
        elif width > narrow:
            width = max(narrow, min(width, abs(end - near)) // 2)
        elif defence.beaten(Piece(far, far)) is not None:  # at least there: so in narrower pieces too
            width //= 2
        elif len(judged) == MOST_JUDGED:
            break
        else:
            status = "" if far in judged else defence.judge(far)
            judged.add(far)
            if status == "OPTIMAL":
                return Side(end, tuple(pieces), far, "won")
            if status != "NOT_OPTIMAL" and width == 0:
                return Side(end, tuple(pieces), None, "undecided")
            width = abs(end - near) if status == "NOT_OPTIMAL" else width // 2
    return Side(end, tuple(pieces), None, "effort")


def _points(defence: Defence, now: int, end: int) -> Side:
    """Listed values only, nearest first: nothing is known between them, as the skew has no direction."""
    listed = [v for v in SKEWS if min(now, end) <= v <= max(now, end)]
    pieces: list[Beaten] = []
    for value in sorted(listed, key=lambda v: abs(v - now)):
        if defence.late():
            return Side(end, tuple(pieces), None, "wall clock")
        piece = Piece(value, value)
        shown = defence.beaten(piece)
        if shown is None:
            status = defence.judge(value)
            if status == "OPTIMAL":
                return Side(end, tuple(pieces), value, "won")
            shown = defence.beaten(piece)
            if shown is None:
                return Side(end, tuple(pieces), None, "undecided")
        pieces.append(shown)
    return Side(end, tuple(pieces), None, "whole range beaten")


def is_beaten(instance: Instance, coefficient: Coefficient, plan: Plan, shown: Beaten, value: int) -> bool:
    """Whether at one value of the coefficient our very plan is not optimal for the reason shown; computed afresh."""
    changed = with_value(instance, coefficient, value)
    ours, rival = evaluate(changed, plan), shown.rival
    if rival is None:
        return any(plan_violations(changed, plan, ours))
    theirs = evaluate(changed, rival)
    return theirs.value < ours.value and not any(plan_violations(changed, rival, theirs))
