"""What holds of a plan and its export, item by item, and how much may be claimed for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError
from typing import Any, NamedTuple

from models.evaluate import Evaluation
from models.instance import Instance
from models.rules import RULES, Violation, plan_violations, slots, stages_cover, strategy_violations, world
from models.space import Space
from models.strategy import Plan, stage_ranges
from optimizer.export.assignment import expert_gpus, group_table, talking_groups
from optimizer.export.dag import Dag, sort_nodes


@dataclass(frozen=True)
class Facts:
    """What a search and its checker have established; documents claim no more than this."""

    status: str
    """OPTIMAL, FEASIBLE, INFEASIBLE or UNKNOWN"""
    value: int
    """of the best plan found, in `unit`"""
    bound: int | None
    unit: str
    space: str
    strategies: int
    feasible: int
    route: str
    checked: bool
    """whether the checker has confirmed status, value and bound"""
    near: int
    """strategies listed as near-optimal"""
    assumptions: Sequence[str]
    tool_version: str


class Check(NamedTuple):
    """A statement, whether it holds, and the numbers that show it."""

    name: str
    passed: bool
    evidence: str


def find_misfit(instance: Instance, plan: Plan) -> str | None:
    """Why the plan cannot be laid out on the cluster at all; None when it can."""
    free = instance.model_copy(update={"space": Space(name="folded")})  # what a space asks for besides is no matter of layout
    broken = world(free, plan.strategy) or stages_cover(instance, plan) or slots(instance, plan)
    return f"{broken.rule}: {broken.sentence}" if broken else None


def find_violations(instance: Instance, plan: Plan, evaluation: Evaluation) -> list[Violation]:
    """Every rule that a plan which can be laid out breaks; unlike `models.rules.violations`, times are always looked at."""
    found = [*strategy_violations(instance, plan.strategy), stages_cover(instance, plan), slots(instance, plan)]
    return [v for v in found if v is not None] + list(plan_violations(instance, plan, evaluation))


def asked_rules(instance: Instance) -> tuple[str, ...]:
    """Rules that the instance can break: limits that it does not state are left out."""
    pool, limits = instance.cluster.pool, instance.objective.limits
    stated = {
        "tp_in_domain": instance.space.tp_in_domain,
        "link": any(link.cap_bytes_per_pass is not None for link in (pool.scale_up, pool.scale_out)),
        "ttft": limits.ttft_ns is not None,
        "tpot": limits.tpot_ns is not None,
        "rate": limits.min_tokens_per_s is not None,
    }
    return tuple(rule for rule in RULES if stated.get(rule, True))


def check_export(instance: Instance, plan: Plan, dag: Dag, evaluation: Evaluation) -> Iterator[Check]:
    """Statements about the exported documents themselves."""
    yield _check_order(dag)
    yield _check_attention(plan, dag)
    yield _check_groups(instance, plan)
    yield _check_experts(instance, plan)
    total = sum(evaluation.breakdown.values())
    yield Check("breakdown_adds_up", total == evaluation.step_ns, f"terms sum to {total} ns, the pass takes {evaluation.step_ns} ns")


def _check_order(dag: Dag) -> Check:
    try:
        count = len(sort_nodes(dag))
    except CycleError as error:
        return Check("dag_acyclic", False, f"cycle through {error.args[1][0]}")
    return Check("dag_acyclic", count == len(dag["nodes"]), f"{count} of {len(dag['nodes'])} nodes in topological order")


def _check_attention(plan: Plan, dag: Dag) -> Check:
    s = plan.strategy
    need = {
        (stage * s.stage_gpus + g, layer)
        for stage, layers in enumerate(stage_ranges(plan.stages))
        for layer in layers
        for g in range(s.stage_gpus)
    }
    have = {(node["gpu"], node["layer"]) for node in dag["nodes"] if node["kind"] == "attention"}
    return Check("dag_covers_layers", need == have, f"{len(need & have)} of {len(need)} (GPU, layer) pairs have an attention node")


def _check_groups(instance: Instance, plan: Plan) -> Check:
    s, kinds = plan.strategy, talking_groups(instance)
    tables = group_table(plan, kinds)
    want = {(t["replica"], t["stage"]): _stage_gpus(plan, t) for t in tables}
    sound = all(sorted(g for group in t[d] for g in group) == want[t["replica"], t["stage"]] for t in tables for d in kinds)
    count = sum(len(t[d]) for t in tables for d in kinds)
    return Check(
        "groups_partition_stages", sound, f"{count} {_listed(kinds)} groups over {s.pp * s.replicas} stages of {s.stage_gpus} GPUs"
    )


def _listed(kinds: Sequence[str]) -> str:
    """TP, CP, ETP and EP; where tokens are gathered, the groups of all experts too."""
    names = [{"experts": "expert"}.get(kind, kind.upper()) for kind in kinds]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _stage_gpus(plan: Plan, table: dict[str, Any]) -> list[int]:
    first = table["replica"] * plan.strategy.world + table["stage"] * plan.strategy.stage_gpus
    return list(range(first, first + plan.strategy.stage_gpus))


def _check_experts(instance: Instance, plan: Plan) -> Check:
    s, held = plan.strategy, expert_gpus(instance, plan)
    copies = s.etp * s.edp * s.replicas
    slots = instance.architecture.experts + s.ep * s.redundant
    sound = all(sum(map(len, experts.values())) == slots * copies for experts in held.values())
    lists = [gpus for experts in held.values() for gpus in experts.values()]
    sound = sound and all(len(set(gpus)) == len(gpus) >= copies and len(gpus) % copies == 0 for gpus in lists)
    each = f"each on {copies} GPUs" if not s.redundant else f"each on {copies} GPUs or a multiple, in {slots} slots"
    return Check("experts_assigned", sound, f"{len(lists)} experts in {len(held)} MoE layers, {each}")


class Conclusion(NamedTuple):
    """What may be said about optimality; `optimal` only with a verified proof about a plan of this value."""

    optimal: bool
    sentence: str


def conclude(value: int, broken: Sequence[str], facts: Facts) -> Conclusion:
    """The strongest claim that the facts support for a plan of objective `value`."""
    said = f"{value} {facts.unit}"
    if broken:
        return Conclusion(False, f"No claim of optimality: the plan breaks {', '.join(broken)}.")
    if not facts.checked:
        return Conclusion(False, f"No claim of optimality: no verified proof accompanies this plan ({said}).")
    proof = f"{facts.strategies} strategies, {facts.feasible} feasible; route: {facts.route}; verified by re-enumeration"
    if facts.status == "OPTIMAL" and facts.bound == facts.value == value:
        return Conclusion(True, f"Optimal in the space `{facts.space}` under the stated cost model: {said} ({proof}).")
    if facts.status == "OPTIMAL" and facts.bound == facts.value < value:
        gap = f"{facts.value} {facts.unit}, {100 * (value - facts.value) / facts.value:.2f} % less"
        return Conclusion(False, f"Not optimal: the best plan of the space `{facts.space}` costs {gap} than this plan's {said} ({proof}).")
    if facts.status == "FEASIBLE" and facts.bound is not None and facts.bound <= value:
        left = f"no plan of the space `{facts.space}` costs less than {facts.bound} {facts.unit}, this one costs {said}"
        return Conclusion(False, f"No claim of optimality: {left}; the gap of {value - facts.bound} is open (route: {facts.route}).")
    return Conclusion(
        False, f"No claim of optimality: what was verified (best {facts.value}, bound {facts.bound}) does not cover a plan of {said}."
    )


def report_verification(
    instance: Instance, broken: Sequence[Violation], checks: Sequence[Check], end: Conclusion, facts: Facts
) -> dict[str, Any]:
    """Rules, checks of the documents, and the standing of the optimality claim."""
    asked = asked_rules(instance)
    rules = {
        rule: {"passed": not (found := [v for v in broken if v.rule == rule]), "asked": rule in asked}
        | ({"violations": [{"need": v.need, "have": v.have, "sentence": v.sentence} for v in found]} if found else {})
        for rule in RULES
    }
    return {
        "passed": not broken and all(c.passed for c in checks),
        "rules": rules,
        "export": {c.name: {"passed": c.passed, "evidence": c.evidence} for c in checks},
        "optimality": {
            "claimed": end.optimal,
            "sentence": end.sentence,
            "status": facts.status,
            "checked": facts.checked,
            "value": facts.value,
            "bound": facts.bound,
            "unit": facts.unit,
            "space": facts.space,
            "strategies": facts.strategies,
            "feasible": facts.feasible,
            "near_optimal": facts.near,
            "route": facts.route,
        },
        "assumptions": list(facts.assumptions),
        "tool_version": facts.tool_version,
    }
