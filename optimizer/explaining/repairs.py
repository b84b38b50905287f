"""What keeps a plan from running: the smallest set of rules that some completion of it breaks, and what would mend it."""

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb
from typing import NamedTuple

from models.bounds import Bounds
from models.coefficients import MEMORY, with_value
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import value_of as objective_of
from models.rules import ON_PRICED_PLANS, Violation, plan_violations, violations
from models.strategy import Plan, PlanFile, Strategy
from models.terms import Terms
from optimizer.search import Verdict

MOST_SPLITS = 2_000  # of the layers into stages, tried one by one


class Breach(NamedTuple):
    """The rules that a completion breaks, as few as were found."""

    plan: Plan
    broken: tuple[Violation, ...]
    tried: int
    """completions looked at"""
    smallest: bool
    """whether no completion of the file breaks fewer rules"""

    @property
    def rules(self) -> tuple[str, ...]:
        """Each rule once."""
        return tuple(dict.fromkeys(v.rule for v in self.broken))


class Roominess(NamedTuple):
    """The least memory per GPU with which a strategy runs."""

    need: int
    stages: tuple[int, ...]
    """of a plan that fits it"""
    value: int
    """no plan of the strategy is below this objective there"""


def fewest_broken(instance: Instance, stated: PlanFile, verdict: Verdict) -> Breach:
    """The completion that breaks the fewest rules, then in the fewest places, then by least in proportion.

    R1-R14 concern what the file states, whatever else is chosen; memory is looked at where they hold, or where there is one
    split only. Placements that the file leaves open are those of the verdict's plan: only link caps and limits depend on them.
    """
    plan, proved = verdict.plan, verdict.status == "INFEASIBLE"
    structural = tuple(v for v in verdict.broken if v.rule not in ON_PRICED_PLANS)
    if structural:
        one_split = plan.strategy.pp == 1
        return Breach(plan, verdict.broken if one_split else structural, 1, proved and (one_split or structural == verdict.broken))
    layers, pp, terms = instance.architecture.layer_count, plan.strategy.pp, Terms(instance)
    every = stated.stages is not None or comb(layers - 1, pp - 1) <= MOST_SPLITS
    tried = [plan.stages] if stated.stages else list(_splits(layers, pp)) if every else [plan.stages, *_roomiest(instance, plan)]
    found = [(tuple(violations(instance, p, terms)), p) for p in (plan._replace(stages=stages) for stages in dict.fromkeys(tried))]
    least, best = min(found, key=lambda f: _badness(f[0]))
    placed = stated.placement is not None or all(v.rule == "memory" for v in least)
    rules = len({v.rule for v in least})
    return Breach(best, least, len(found), proved and (rules == 1 or (every and placed)))


def _badness(broken: tuple[Violation, ...]) -> tuple[int, int, int]:
    worst = max((v.need * 1_000_000 // max(v.have, 1) for v in broken if v.need is not None and v.have is not None), default=0)
    return len({v.rule for v in broken}), len(broken), worst


def _splits(layers: int, pp: int) -> Iterator[tuple[int, ...]]:
    """Every way to write `layers` as `pp` positive numbers in order."""
    for cuts in combinations(range(1, layers), pp - 1):
        yield tuple(b - a for a, b in pairwise((0, *cuts, layers)))


def _roomiest(instance: Instance, plan: Plan) -> list[tuple[int, ...]]:
    found = least_memory(instance, plan.strategy)
    return [] if isinstance(found, str) else [found.stages]


def least_memory(instance: Instance, s: Strategy) -> Roominess | str:
    """The least memory per GPU with which some split of a strategy fits and keeps the other rules; or the rule
    that refuses it however much memory there is. Bisection: more memory changes no cost and stops no plan from fitting.
    """
    low, high = 0, MEMORY.most
    best = _solved(instance, s, high)
    while not isinstance(best, str) and high - low > 1:
        middle = (low + high) // 2
        found = _solved(instance, s, middle)
        if isinstance(found, str):
            low = middle
        else:
            high, best = middle, found
    return best


def least_memory_of(instance: Instance, plan: Plan) -> Roominess | str:
    """As `least_memory` for these very stages; placements are those of the plan."""
    priced = evaluate(instance, plan)
    roomy = with_value(instance, MEMORY, priced.peak_memory_bytes)
    broken = next(plan_violations(roomy, plan, priced), None)
    return Roominess(priced.peak_memory_bytes, plan.stages, priced.value) if broken is None else broken.rule


def _solved(instance: Instance, s: Strategy, memory: int) -> Roominess | str:
    changed = with_value(instance, MEMORY, memory)
    found = Bounds(changed).exact(s)
    if isinstance(found, str):
        return found
    return Roominess(memory, found.split.stages, objective_of(changed, s).of(found.step_ns))
