"""How many strategies of a space died by which rule or bound, each counted once, in the order of the space."""

from collections import Counter
from typing import NamedTuple

from models.bounds import Bounds
from models.certificate import Fact
from models.enumeration import strategies
from models.instance import Instance
from models.objective import near_limit, value_of
from models.strategy import Strategy

BOUNDS = ("computation", "communication", "best_split")
"""Lower bounds in the order in which they are taken, each the dearer and the higher: of computation alone, with
communication, of the best split into stages with ideal placements."""


class Ledger(NamedTuple):
    """Every strategy that keeps R1-R12 and R20 is in exactly one count."""

    value: int | None
    """the best objective known; None where nothing runs"""
    limit: int | None
    """the largest objective that counts as near"""
    rules: dict[str, int]
    """no plan runs, by the rule that no split and placement keeps"""
    bounds: dict[str, int]
    """no plan is within the limit, by the first bound that shows it"""
    near: int
    """the bound is above the value but within the limit"""
    best: int
    """the bound is at most the value: optimal, where the placements attain it"""

    @property
    def strategies(self) -> int:
        return sum(self.rules.values()) + sum(self.bounds.values()) + self.near + self.best


def ledger(instance: Instance, value: int | None, epsilon_ppm: int, facts: tuple[Fact, ...] = ()) -> Ledger:
    """Sort every strategy of the space; `value` is the best objective known, `facts` hold for the instance."""
    proved = {(instance.load_of_moe_layer(f.row), f.ranks): f.least for f in facts}
    bounds, limit = Bounds(instance, proved=proved), None if value is None else near_limit(value, epsilon_ppm)
    rules: Counter[str] = Counter()
    bounded = dict.fromkeys(BOUNDS, 0)
    near = best = 0
    for s in strategies(instance):
        fate, least = _fate(bounds, s, limit)
        if fate in bounded:
            bounded[fate] += 1
        elif fate is not None:
            rules[fate] += 1
        elif value is not None and least > value:
            near += 1
        else:
            best += 1
    return Ledger(value, limit, dict(sorted(rules.items())), bounded, near, best)


def _fate(bounds: Bounds, s: Strategy, limit: int | None) -> tuple[str | None, int]:
    """The rule, or the first bound above the limit, that a strategy dies by; else None and its highest bound.

    With link caps or limits the rule comes first, so that every strategy that cannot run is counted as such.
    """
    objective, least = value_of(bounds.instance, s), 0
    solution = bounds.exact(s) if bounds.constrained or limit is None else None
    if isinstance(solution, str):
        return solution, 0
    for name, bound in zip(BOUNDS, (bounds.work, bounds.quick, bounds.exact), strict=True):
        found = bound(s)
        if isinstance(found, str):
            return found, 0
        least = objective.of(found if isinstance(found, int) else found.step_ns)
        if limit is not None and least > limit:
            return name, least
    return None, least
