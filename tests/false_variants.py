"""Changes to each fixture that make it false, or leave it unproved."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

Json = dict[str, Any]
Change = tuple[str, Any]
"""a dotted path, and what to put there: a value, or a function of what is there"""


def changed(document: Json, changes: tuple[Change, ...]) -> str:
    found = deepcopy(document)
    for path, new in changes:
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        inside: Any = found
        for step in steps:
            inside = inside[step]
        inside[last] = new(inside[last]) if callable(new) else new
    return json.dumps(found)


def plus(n: int) -> Callable[[int], int]:
    return lambda value: value + n


def last_and_first(items: list[Any]) -> list[Any]:
    """The first element of each of two lists, or two elements, in exchange."""
    return [items[-1], *items[1:-1], items[0]]


def exchanged(ranks: list[list[int]]) -> list[list[int]]:
    """The lightest expert's rank gives an expert for one of the first rank's."""
    return [[ranks[-1][0], *ranks[0][1:]], *ranks[1:-1], [ranks[0][0], *ranks[-1][1:]]]


CAPS = "claim.argument.caps.0"
FALSE: dict[str, list[tuple[Change, ...]]] = {
    "optimal_classic": [
        (("claim.strategies", plus(1)),),
        (("claim.value", plus(-1)), ("claim.plans.0.value", plus(-1))),
        (("claim", {"kind": "infeasible", "strategies": 136}),),
        (("claim", lambda claim: claim | {"refuted": claim["plans"][0]}),),
        (("instance_sha256", "0" * 64),),
    ],
    "optimal_folded": [(("claim.plans", lambda plans: plans[1:]),), (("claim.refuted.value", plus(1)),)],
    "epsilon_set": [
        (("claim.plans", lambda plans: plans[:-1]),),
        (("claim.complete_to", plus(10**9)),),
        (("claim.plans", lambda plans: [*plans, plans[0]]),),
        (("claim.plans", lambda plans: plans[1:]),),
    ],
    "optimal_by_fact": [
        (("facts", []),),
        (("facts.0.least", plus(1)),),
        (("facts.0.ranks", 4),),
        (("facts.0.row", 1),),
    ],
    "optimal_redundant": [
        (("claim.strategies", plus(-1)),),
        (("claim.plans", lambda plans: plans[1:]),),
        (("claim.plans.0.plan.degrees.redundant", plus(1)),),
        (("claim.plans.0.plan.degrees.redundant", 0),),
        (("claim.plans.0.plan.placement.0", exchanged),),
        (("claim.plans.0.plan.placement.0.0", lambda rank: [rank[0], *rank[:-1]]),),
    ],
    "infeasible": [(("claim.strategies", plus(-1)),), (("claim.strategies", 0),), (("instance", None),)],
    "bounded": [
        (("claim.bound", plus(1)),),
        (("claim.value", plus(1)),),
        (("claim.complete_to", 447_392_426),),
        (("claim.strategies", 0),),
    ],
    "broken_degrees": [
        (("claim.rules.0.need", plus(1)),),
        (("claim.rules.1.rule", "ffn_divides"),),
        (("claim.rules.0", {"rule": "memory", "need": None, "have": None}),),
        (("claim.rules", []),),
    ],
    "broken_dense": [(("claim.plan.degrees.ep", 1),), (("claim.plan.stages", [80]), ("claim.rules.0.have", 9))],
    "broken_memory": [
        (("claim.rules.0.need", plus(-1)),),
        (("claim.plan.stages", [40, 40]),),
        (("claim.plan.stages", None),),
    ],
    "broken_whole_strategy": [
        (("claim.rules.0.rule", "link"),),
        (("claim.rules.0.need", 1), ("claim.rules.0.have", 0)),
        (("claim.plan.degrees.tp", 8), ("claim.plan.degrees.pp", 1), ("claim.plan.degrees.etp", 8)),
    ],
    "placement_prices": [(("claim.bound", plus(1)),), ((CAPS, plus(-1)),), (("claim.argument", None),), (("claim.placement", exchanged),)],
    "placement_prices_scaled": [((CAPS, plus(-1)),), (("claim.argument.scale", [1, 2]),), (("claim.value", plus(1)),)],
    "placement_prices_replicas": [
        ((CAPS, plus(-1)),),
        (("claim.argument.scale", [1, 40]),),
        (("claim.problem.replicas", 1),),
        (("claim.placement", lambda ranks: [*ranks[:-1], [ranks[-1][0]] * 2]),),
    ],
    "placement_prices_surrogate": [
        ((CAPS, plus(-1)),),
        (("claim.argument.surrogate", None),),
        (("claim.problem.classes.0.memory", plus(-1)),),
        (("claim.problem.sizes", lambda sizes: [0 for _ in sizes]),),
    ],
    "placement_no_room": [
        (("claim.argument.surrogate", [1, 0]),),
        (("claim.problem.classes.0.memory", plus(10)),),
        (("claim.value", 300),),
    ],
    "placement_prices_classes": [
        ((CAPS, plus(-1)),),
        (("claim.problem.classes.0.speed", 3),),
        (("claim.problem.classes", last_and_first),),
        (("claim.argument.caps", last_and_first),),
    ],
    "placement_split": [
        (("claim.argument", lambda split: split | {"together": split["apart"], "apart": split["together"]}),),
        (("claim.argument.apart.caps.0", plus(-1)),),
        (("claim.argument.pair", lambda pair: [pair[0], pair[0]]),),
        (("claim.bound", plus(1)), ("claim.placement", None), ("claim.value", None)),
    ],
    "placement_branch": [
        (("claim.argument.nodes", lambda nodes: nodes[:-1]),),
        (("claim.argument.nodes", lambda nodes: [*nodes, []]),),
        (("claim.argument.nodes", lambda nodes: [*nodes[:-1], []]),),
        (("claim.bound", plus(1)), ("claim.placement", None), ("claim.value", None)),
    ],
    "placement_branch_replicas": [
        (("claim.argument.nodes", lambda nodes: nodes[:-1]),),
        (("claim.argument.nodes", [[[0, 1]]]),),
        (("claim.argument.nodes", lambda nodes: [10**6, *nodes[1:]]),),
        (("claim.problem.loads", lambda loads: [0 for _ in loads]),),
    ],
    "placement_closed": [(("claim.bound", plus(1)),), (("claim.value", plus(-1)),), (("claim.placement", exchanged),)],
    "placement_gap": [(("claim.bound", plus(1)),), (("claim.argument", None),), (("claim.value", None),)],
}
