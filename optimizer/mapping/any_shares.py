"""What no sharing out of a budget off home undercuts: the layers' largest loads in the mean, whatever limit each of them gets.

The prices of a layer's `nodes` fact bound its largest load by a line that falls with the limit off home; closed forms bound it from below.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from models.expert_map import Loads, Setting, closed_bound, in_grains, map_problem
from models.map_arguments import NodePrices, borne, least_node_cost
from models.units import PPM
from optimizer.mapping.layers import PlacedLayer


class Line(NamedTuple):
    """max(floor, start - slope * limit) bounds a layer's largest load over the mean; the limit is a share of the tokens."""

    start: Fraction
    slope: Fraction
    floor: Fraction

    def at(self, limit: Fraction) -> Fraction:
        return max(self.floor, self.start - self.slope * limit)


def lines_of(setting: Setting, placed: Sequence[PlacedLayer]) -> list[Line]:
    """The line of each layer, of the workload that its bound is largest for."""
    return [_line(setting, p) for p in placed]


def _line(setting: Setting, p: PlacedLayer) -> Line:
    r = p.record
    anywhere = r.model_copy(update={"off_home_ppm": None})
    floors = [
        Loads(q.loads, q.ranks).share(closed_bound(setting, q)) for q in (map_problem(setting, anywhere, s) for s in range(len(r.loads)))
    ]
    floor = Fraction(max(floors), 10**9)
    lines = [_priced(setting, p, f.workload, f.argument) for f in r.facts if isinstance(f.argument, NodePrices)]
    if not lines:
        return Line(floor, Fraction(0), floor)
    start, slope = max(lines)
    return Line(start, slope, floor)


def _priced(setting: Setting, p: PlacedLayer, workload: int, prices: NodePrices) -> tuple[Fraction, Fraction]:
    """(start, slope) from prices: they cost every expert as much whatever the threshold, when all numbers of replicas are admitted."""
    problem = map_problem(setting, p.record.model_copy(update={"off_home_ppm": 0}), workload)
    total = sum(in_grains(p.record.loads[workload]))
    supply = sum(least_node_cost(problem, prices, e, total) or 0 for e in range(len(problem.loads)))
    load = problem.per_node * sum(prices.load)
    if load == 0:
        return Fraction(0), Fraction(0)
    unit = Fraction(setting.ranks, total * load)  # of a cost, as a load over the mean
    return (supply - borne(problem, prices, 0)) * unit, prices.off_home * total * unit


def least_mean(lines: Sequence[Line], budget_ppm: int) -> Fraction:
    """Least mean of the lines over all limits with this mean: the budget goes down the steepest lines first, to their floors."""
    total, left = sum((line.at(Fraction(0)) for line in lines), Fraction(0)), Fraction(budget_ppm, PPM) * len(lines)
    for line in sorted(lines, key=lambda line: -line.slope):
        if line.slope > 0 and line.start > line.floor:
            used = min(left, Fraction(1), (line.start - line.floor) / line.slope)
            total -= used * line.slope
            left -= used
    return total / len(lines)


def least_worst(lines: Sequence[Line], budget_ppm: int) -> Fraction:
    """The largest of the lines, if one layer took the whole budget."""
    whole = min(Fraction(1), Fraction(budget_ppm, PPM) * len(lines))
    return max(line.at(whole) for line in lines)
