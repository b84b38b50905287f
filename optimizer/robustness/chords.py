"""A plan against a strategy over a whole piece at once: a chord above the one, two secants below the other. Exact fractions.

In the coordinate x (1 / value for a rate, the value itself otherwise) time before rounding is convex: it is built of max(FLOP,
bytes), sums, maxima over groups and stages and max(compute + (1 - overlap) * comm, comm), each of them affine in x or
constant. A convex function lies below its chord between two points, and above each secant continued beyond its points.
Each quotient is rounded up by less than 1 ns, and the hidden share down, which `roundings` counts.
"""

from fractions import Fraction
from typing import NamedTuple

from models.bounds import Bounds
from models.coefficients import Coefficient
from models.instance import Instance, Limits
from models.objective import Value, value_of
from models.strategy import Strategy

OPERATORS = 14  # of a layer: 5 projections, attention core, 2 norms, router, 2 dense or shared GEMMs, the experts; 2 to spare
TRANSFERS = 22  # of a layer: 2 all-reduces, or 4 gathers, over 2 tiers twice; 2 each over 2 tiers for CP, EP and ETP; 2 to spare
ENDS = 12  # embedding, head and their collectives


class Point(NamedTuple):
    """An integer cost at a place; the unrounded one is at most `slack` below."""

    x: Fraction
    cost: int
    slack: int

    @property
    def least(self) -> int:
        return self.cost - self.slack


def place_of(coefficient: Coefficient, value: int) -> Fraction:
    """The coordinate in which time is convex."""
    rate = coefficient.more_is == "faster" and coefficient.name != "overlap"
    return Fraction(1, value) if rate else Fraction(value)


def roundings(instance: Instance, s: Strategy, value: Value) -> int:
    """How much rounding adds at most to the objective of a plan of `s`, or to the closed-form bound on it.

    One layer of a micro-batch is rounded OPERATORS + TRANSFERS times and once for its overlap; a pass is (m + PP - 1) slowest
    stages, or their rounded mean, and PP - 1 transfers.
    """
    stage = instance.architecture.layer_count * (OPERATORS + TRANSFERS + 1) + ENDS + 1
    return value.factor * ((s.microbatches + s.pp - 1) * stage + s.pp - 1)


def extended(inner: Point, outer: Point, x: Fraction) -> Fraction:
    """At most the unrounded cost at `x`, which lies on the other side of `inner` than `outer`, or at `inner`."""
    t = (x - inner.x) / (inner.x - outer.x)
    return inner.least * (1 + t) - outer.cost * t


def stays_above(ours: tuple[Point, Point], theirs: tuple[Point | None, Point, Point, Point | None]) -> bool:
    """Whether ours, known at both ends of a piece, nowhere in it exceeds theirs, known at the ends and beyond.

    The chord of ours (with its slack added) is linear, and so are the two secants: each difference is nowhere negative from its own
    end to where it vanishes, and the two stretches must cover the piece.
    """
    (a, b), (left, at_a, at_b, right) = ours, theirs
    top = a.cost + a.slack, b.cost + b.slack
    from_a = _reach(at_a.least - top[0], None if left is None else extended(at_a, left, b.x) - top[1])
    from_b = _reach(at_b.least - top[1], None if right is None else extended(at_b, right, a.x) - top[0])
    return from_a + from_b >= 1


def _reach(near: Fraction | int, far: Fraction | None) -> Fraction:
    """The part of the piece, from the near end, on which a linear difference with these values at the two ends is not negative."""
    if near < 0 or far is None:
        return Fraction(0)
    return Fraction(1) if far >= 0 else Fraction(near) / (near - far)


def without_limits(instance: Instance) -> Instance:
    """The same costs without link caps and limits on the pass, under which the closed-form bound is convex."""
    pool = instance.cluster.pool
    free = {tier: getattr(pool, tier).model_copy(update={"cap_bytes_per_pass": None}) for tier in ("scale_up", "scale_out")}
    cluster = instance.cluster.model_copy(update={"pools": (pool.model_copy(update=free),)})
    objective = instance.objective.model_copy(update={"limits": Limits()})
    return instance.model_copy(update={"cluster": cluster, "objective": objective})


def bound_point(bounds: Bounds, s: Strategy, x: Fraction) -> Point | None:
    """The closed-form bound on a strategy as a point of a convex function; None where a layer has several profiles to choose from."""
    if any(len(run.choices) > 1 for run in bounds.case(s).layers):
        return None
    step, value = bounds.quick(s), value_of(bounds.instance, s)
    assert isinstance(step, int), "without limits nothing is refused"
    return Point(x, value.of(step), roundings(bounds.instance, s, value))
