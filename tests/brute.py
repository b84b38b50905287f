"""The slow answer: every strategy, split and placement of a tiny instance, one by one.

Knows the problem only through `violations` and `evaluate`, each called afresh for every plan: no
bound, no memo and no symmetry is shared with the code that it judges.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, islice, pairwise, product
from typing import NamedTuple

from models.evaluate import evaluate
from models.instance import Instance
from models.rules import Violation, strategy_violations, violations
from models.strategy import Plan, RankContents, Strategy

OBSTACLES = ("memory", "link", "limit")


class Answer(NamedTuple):
    """What is true of an instance."""

    strategies: int
    """how many keep the rules on strategies, R1-R12 and R20"""
    feasible: int
    """strategies with at least one plan that keeps every rule"""
    refuted: Counter[str]
    """the others: "memory" where no plan fits, "link" where none of those that fit keeps the caps, "limit" else"""
    value: int | None
    """the least objective; None when nothing runs"""
    optimal: tuple[Strategy, ...]
    """strategies that attain it, sorted"""
    values: dict[Strategy, int]
    """least objective of each feasible strategy"""


def degree_tuples(n: int, limit: int) -> Iterator[tuple[int, ...]]:
    """Every n positive integers whose product is at most `limit`."""
    if n == 0:
        yield ()
        return
    for first in range(1, limit + 1):
        for rest in degree_tuples(n - 1, limit // first):
            yield (first, *rest)


def candidates(instance: Instance) -> Iterator[Strategy]:
    """Every strategy with world * replicas <= GPUs, equal sides, and no more parts than sequences."""
    gpus, sequences = instance.cluster.pool.gpus, instance.workload.sequences
    for tp, cp, dp, pp, replicas in degree_tuples(5, gpus):
        sides = [e for e in degree_tuples(3, gpus) if e[0] * e[1] * e[2] == tp * cp * dp]
        parts, space = range(1, sequences // (replicas * dp) + 1), instance.space
        for (etp, ep, edp), m, order, redundant in product(sides, parts, space.orders, space.redundant_slots):
            yield Strategy(tp, cp, dp, pp, etp, ep, edp, replicas, m, order, redundant)


def strategies(instance: Instance) -> Iterator[Strategy]:
    """Every strategy that keeps the rules on strategies."""
    return (s for s in candidates(instance) if not any(strategy_violations(instance, s)))


def splits(layers: int, pp: int) -> Iterator[tuple[int, ...]]:
    """Every way to write `layers` as `pp` positive numbers in order."""
    for cuts in combinations(range(1, layers), pp - 1):
        ends = (0, *cuts, layers)
        yield tuple(b - a for a, b in pairwise(ends))


def layer_placements(experts: frozenset[int], ranks: int) -> Iterator[RankContents]:
    """Every assignment of `experts` to `ranks` ranks that hold equally many."""
    if ranks == 0:
        yield ()
        return
    for held in combinations(sorted(experts), len(experts) // ranks):
        for rest in layer_placements(experts - set(held), ranks - 1):
            yield (held, *rest)


def replicated_placements(experts: int, ranks: int, slots: int) -> Iterator[RankContents]:
    """Every way to fill `slots` slots of each of `ranks` ranks, no expert twice on one and every expert somewhere."""
    contents = list(combinations(range(experts), slots))
    return (held for held in product(contents, repeat=ranks) if len({e for rank in held for e in rank}) == experts)


def plans(instance: Instance, strategy: Strategy) -> Iterator[Plan]:
    """Every split with every placement of every MoE layer."""
    architecture, s = instance.architecture, strategy
    if s.redundant:
        one_layer = list(replicated_placements(architecture.experts, s.ep, architecture.experts // s.ep + s.redundant))
    else:
        one_layer = list(layer_placements(frozenset(range(architecture.experts)), s.ep))
    for stages in splits(architecture.layer_count, strategy.pp):
        for placement in product(one_layer, repeat=architecture.moe_layers):
            yield Plan(strategy, stages, placement)


def dearer_plans(instance: Instance, strategy: Strategy, value: int) -> Iterator[tuple[Plan, int]]:
    """The plans of a strategy that keep every rule and cost more than `value`, with their objective."""
    priced = ((plan, evaluate(instance, plan).value) for plan in plans(instance, strategy))
    return ((plan, cost) for plan, cost in priced if cost > value and not violations(instance, plan))


def obstacle(broken: list[Violation]) -> str:
    """The first of memory, link caps and limits that a plan does not pass."""
    rules = {v.rule for v in broken}
    return "memory" if "memory" in rules else "link" if "link" in rules else "limit"


def solvable(instance: Instance, least_strategies: int, most_plans: int) -> bool:
    """Whether there is enough to decide, and not too much to look at."""
    found = list(strategies(instance))
    every = (plan for s in found for plan in plans(instance, s))
    return len(found) >= least_strategies and next(islice(every, most_plans, None), None) is None


def solve(instance: Instance) -> Answer:
    """Look at every plan of every strategy."""
    values: dict[Strategy, int] = {}
    refuted: Counter[str] = Counter()
    seen = 0
    for s in strategies(instance):
        seen += 1
        obstacles = []
        for plan in plans(instance, s):
            value = evaluate(instance, plan).value
            if value < values.get(s, value + 1):
                broken = violations(instance, plan)
                if broken:
                    obstacles.append(obstacle(broken))
                else:
                    values[s] = value
        if s not in values:
            refuted[max(obstacles, key=OBSTACLES.index)] += 1
    best = min(values.values(), default=None)
    optimal = tuple(sorted(s for s, value in values.items() if value == best))
    return Answer(seen, len(values), refuted, best, optimal, values)
