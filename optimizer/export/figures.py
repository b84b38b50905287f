"""What a plan needs and yields, in numbers, and how it compares with the plans that the instance names."""

from typing import Any

from models.evaluate import Evaluation, evaluate, layer_profile, moe_layer_indices, tokens_per_s, usd_per_million_tokens
from models.instance import COST_MODEL, Instance
from models.objective import UNITS
from models.placement import contiguous
from models.strategy import Plan, PlanFile, complete_stages, fill_degrees
from models.terms import Terms
from models.units import ceil_div
from optimizer.export.assignment import expert_gpus, gpu_table, group_table, talking_groups
from optimizer.export.collectives import communication_pattern
from optimizer.export.verification import Facts, find_misfit, find_violations

Figures = dict[str, Any]


def describe_plan(instance: Instance, plan: Plan) -> Figures:
    """Everything needed to start the deployment: degrees, machine, model, ranks, groups, experts, messages."""
    s = plan.strategy
    return {
        "instance": {"name": instance.name, "sha256": instance.digest()},
        "cost_model": COST_MODEL,
        "strategy": s.label(),
        "degrees": s.degrees(),
        "rank_order": s.order,
        "stages": list(plan.stages),
        "model": instance.architecture.model_dump(mode="json"),
        "machine": instance.cluster.pool.model_dump(mode="json"),
        "workload": instance.workload.model_dump(mode="json"),
        "runtime": instance.runtime.model_dump(mode="json"),
        "gpus": gpu_table(instance, plan),
        "groups": group_table(plan, talking_groups(instance)),
        "placement": [[list(rank) for rank in ranks] for ranks in plan.placement],
        "expert_gpus": {str(layer): {str(e): gpus for e, gpus in held.items()} for layer, held in expert_gpus(instance, plan).items()},
        "communication": communication_pattern(instance, plan),
    }


def summarize(instance: Instance, plan: Plan, evaluation: Evaluation, facts: Facts) -> Figures:
    """Size, memory, time, rates and balance. Percentages are of one GPU's memory; ratios are rounded."""
    s, pool = plan.strategy, instance.cluster.pool
    return {
        "instance": {"name": instance.name, "sha256": instance.digest()},
        "strategy": s.label(),
        "world": s.world,
        "replicas": s.replicas,
        "gpus": {"cluster": pool.gpus, "used": s.gpus, "idle": pool.gpus - s.gpus},
        "usable_bytes_per_gpu": pool.accelerator.memory_bytes,
        "stages": _describe_stages(plan, evaluation, pool.accelerator.memory_bytes),
        "objective": {"name": instance.objective.name, "value": evaluation.value, "unit": UNITS[instance.objective.name]},
        "step_ns": evaluation.step_ns,
        "breakdown_ns": evaluation.breakdown,
        "tokens_per_s": tokens_per_s(instance, evaluation.step_ns),
        "tokens_per_s_per_gpu": tokens_per_s(instance, evaluation.step_ns) // s.gpus,
        "micro_usd_per_million_tokens": usd_per_million_tokens(instance, s, evaluation.step_ns),
        "latency": _describe_latency(instance, evaluation.step_ns),
        "load_balance": balance_layers(instance, plan),
        "comparisons": compare_plans(instance, plan, evaluation),
        "weakest_source": instance.weakest_source(),
        "assumptions": list(facts.assumptions),
        "tool_version": facts.tool_version,
    }


def _describe_stages(plan: Plan, evaluation: Evaluation, usable: int) -> list[Figures]:
    return [
        {
            "layers": layers,
            "ns_per_microbatch": stage.ns,
            "memory_bytes": stage.memory,
            "memory_total_bytes": stage.memory_bytes,
            "memory_pct": round(100 * stage.memory_bytes / usable, 3),
            "scale_up_bytes_per_pass": stage.scale_up_bytes,
            "scale_out_bytes_per_pass": stage.scale_out_bytes,
        }
        for layers, stage in zip(plan.stages, evaluation.stages, strict=True)
    ]


def _describe_latency(instance: Instance, step_ns: int) -> Figures:
    """The pass is the time to the first token (prefill) or per output token (decode); time per token of the pass is its inverse rate."""
    name = "time_to_first_token_ns" if instance.workload.kind == "prefill" else "time_per_output_token_ns"
    return {name: step_ns, "time_per_token_of_the_pass_ns": ceil_div(step_ns, instance.workload.tokens)}


def balance_layers(instance: Instance, plan: Plan) -> list[Figures]:
    """Expert inputs on the most loaded EP rank against the mean over its group, per MoE layer and micro-batch."""
    terms, s, groups = Terms(instance), plan.strategy, instance.architecture.group_of_layer()
    found = []
    for layer, position in moe_layer_indices(instance).items():
        ffn = instance.architecture.layers[groups[layer]].moe
        assert ffn is not None
        most = layer_profile(terms, s, plan, position, groups[layer]).tokens
        total = terms.shape(s).group_tokens * ffn.top_k
        found.append({"layer": layer, "max_expert_inputs": most, "max_over_mean": round(most * s.ep / total, 4)})
    return found


def compare_plans(instance: Instance, plan: Plan, evaluation: Evaluation) -> list[Figures]:
    """The instance's baseline and reference, priced by the same model; speedup = their pass over this plan's."""
    found = []
    for role, stated in (("baseline", instance.baseline), ("reference", instance.reference)):
        if stated is None:
            continue
        other = complete_plan(instance, stated)
        row: Figures = {"role": role, "name": stated.name, "strategy": other.strategy.label(), "same_plan": other == plan}
        misfit = find_misfit(instance, other)
        if misfit is not None:
            found.append(row | {"misfit": misfit})
            continue
        priced = evaluate(instance, other)
        broken = sorted({v.rule for v in find_violations(instance, other, priced)})
        rate, speedup = tokens_per_s(instance, priced.step_ns), round(priced.step_ns / evaluation.step_ns, 4)
        found.append(row | {"step_ns": priced.step_ns, "tokens_per_s": rate, "speedup": speedup, "broken_rules": broken})
    return found


def complete_plan(instance: Instance, stated: PlanFile) -> Plan:
    """A plan file with its gaps filled: even stages, contiguous experts."""
    strategy, _ = fill_degrees(stated.degrees, stated.order)
    arch = instance.architecture
    stages = stated.stages or complete_stages(arch.layer_count, strategy.pp)
    placement = stated.placement or (contiguous(arch.experts, strategy.ep, strategy.redundant),) * arch.moe_layers
    return Plan(strategy, stages, placement)
