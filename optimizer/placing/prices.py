"""Prices that refute a threshold, by column generation (Gilmore and Gomory, 1961).

Where the configuration relaxation has a solution at the threshold, no prices exist, and that
solution's contents are what a placement may be rounded from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from models.arguments import Argument, Budget, Decided, Prices, Problem, Refused, refute
from models.strategy import RankContents
from optimizer.encoding.master import Column, Duals, Master
from optimizer.placing.kinds import View, columns_of, view
from optimizer.placing.pricing import Pricing, Values

ROUNDINGS = (1, 2, 3, 4, 6, 8, 12, 24, 60, 120, 360, 840, 2520, 10_080)
TOLERANCE = 1e-7


@dataclass
class Effort:
    """Rounds of column generation, and nodes of trees, that may still be spent: deterministic, unlike seconds."""

    rounds: int

    def take(self) -> bool:
        """Spend one; False where none is left."""
        self.rounds -= 1
        return self.rounds >= 0


class Relaxation(NamedTuple):
    """What column generation came to: prices, or a solution of the relaxation, or neither."""

    prices: Prices | None
    view: View
    columns: tuple[Column, ...] = ()
    """all that were generated; empty where prices were found"""
    used: tuple[tuple[Column, float], ...] = ()
    """the solution, where the relaxation has one"""


def price(
    problem: Problem,
    threshold: int,
    effort: Effort,
    decided: Decided,
    surrogate: tuple[int, int] | None,
    contents: RankContents | None = None,
) -> Relaxation:
    """Prices that refute the threshold under the decisions of the splits above, or a solution of the relaxation.

    Contents are priced at the mean of the duals and the best values so far (Wentges, 1997), and
    `contents`, a placement near the threshold, gives the first columns.
    """
    seen = view(problem, threshold, decided, surrogate)
    master = Master(seen.demand)
    for column in columns_of(problem, seen, contents or ()):
        master.add(column)
    best = _by_weight(seen)
    most = _gap(seen, best, Pricing(seen, best).worth())
    tried = 0.0
    while effort.take():
        duals = master.solve()
        if duals is None:
            break
        if duals.uncovered < TOLERANCE:
            return Relaxation(None, seen, tuple(master.columns), tuple(master.used()))
        added = 0
        for values in (_mean(duals.values, best), duals.values):
            pricing = Pricing(seen, values)
            gap = _gap(seen, values, pricing.worth())
            if gap > most:
                best, most = values, gap
            added = sum(map(master.add, _improving(pricing, duals)))
            if added:
                break
        if most > max(TOLERANCE, 2 * tried) or (most > TOLERANCE and not added):
            found, tried = _round(len(problem.loads), seen, best), most
            if found is not None:
                return Relaxation(found, seen)
        if not added:
            break
    return Relaxation(None, seen, tuple(master.columns))


def _by_weight(seen: View) -> Values:
    """Values in proportion to weight: those of the area bound."""
    heaviest = max(1, *(w for kind in seen.kinds for w in kind.weights))
    return tuple(tuple(w / heaviest for w in kind.weights) for kind in seen.kinds)


def _mean(a: Values, b: Values) -> Values:
    return tuple(tuple((x + y) / 2 for x, y in zip(xs, ys, strict=True)) for xs, ys in zip(a, b, strict=True))


def _improving(pricing: Pricing, duals: Duals) -> Iterator[Column]:
    """Best contents that the master lacks: worth more at the duals than the dual cap."""
    for column in pricing.best_columns():
        if sum(duals.values[kind][option] for kind, option in column.uses) > duals.caps[column.rank_class] + TOLERANCE:
            yield column


def accepted(problem: Problem, threshold: int, argument: Argument) -> bool:
    """Whether the checker takes it."""
    try:
        refute(problem, threshold, argument, Budget())
    except Refused:
        return False
    return True


def _gap(seen: View, values: Values, worth: tuple[float, ...]) -> float:
    """Supply less demand: above 0, the values with these caps refute the threshold."""
    supply = sum(n * min((r + 1) * v for r, v in enumerate(options)) for n, options in zip(seen.demand.groups, values, strict=True))
    return supply - sum(ranks * max(0.0, v) for ranks, v in zip(seen.demand.ranks, worth, strict=True))


def _round(experts: int, seen: View, exact: Values) -> Prices | None:
    """The coarsest whole prices near the values that still refute the threshold."""
    for values in _whole(seen, exact, min(Pricing(seen, exact).worth())):
        worth = Pricing(seen, values).worth()
        if _gap(seen, values, worth) > 0.5:
            return _prices(experts, seen, values, worth)
    return None


def _whole(seen: View, values: Values, least_worth: float) -> Iterator[Values]:
    """Whole values in proportion to the given ones, coarse ones first."""
    # where every slot is full, the same amount on every slot changes nothing, if anything fits at all
    per_slot = [v / kind.slots for kind, options in zip(seen.kinds, values, strict=True) for v in options]
    least = min(per_slot) if seen.demand.full and least_worth >= 0 and max(per_slot) > min(per_slot) + TOLERANCE else 0.0
    shifted = [[v - least * kind.slots for v in options] for kind, options in zip(seen.kinds, values, strict=True)]
    unit = max(max(options) for options in shifted)
    for scale in ROUNDINGS:
        yield tuple(tuple(float(int(v * scale / unit + 1e-6)) for v in options) for options in shifted)


def _prices(experts: int, seen: View, values: Values, worth: tuple[float, ...]) -> Prices:
    """As the certificate states them: the value of a group is that of its first expert."""
    options = len(values[0])
    listed = [(0,) * options for _ in range(experts)]
    for kind, of_kind in zip(seen.kinds, values, strict=True):
        for group in kind.groups:
            listed[group[0]] = tuple(int(v) for v in of_kind)
    caps = tuple(int(max(0.0, v)) for v in worth)
    return Prices(kind="prices", scale=seen.scale, values=tuple(listed), caps=caps, surrogate=seen.surrogate)
