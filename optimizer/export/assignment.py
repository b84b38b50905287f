"""Which GPU plays which part: ranks, groups and experts of a plan."""

from typing import Any

from models.evaluate import moe_layer_indices
from models.instance import Instance
from models.layout import expert_group_members, group_members, stride_of
from models.messages import gathers
from models.strategy import Plan, Strategy, stage_ranges

COORDINATES = ("tp", "cp", "dp", "etp", "ep", "edp")
GROUPS = ("tp", "cp", "etp", "ep")  # the groups that talk during a forward pass


def gpu_table(instance: Instance, plan: Plan) -> list[dict[str, int]]:
    """One row per GPU of the plan, by id: where it sits in the machine and its rank in each group."""
    pool, s = instance.cluster.pool, plan.strategy
    return [
        {
            "gpu": gpu,
            "node": gpu // pool.gpus_per_node,
            "local_index": gpu % pool.gpus_per_node,
            "domain": gpu // pool.scale_up_domain_gpus,
            "replica": gpu // s.world,
            "stage": gpu % s.world // s.stage_gpus,
        }
        | {degree: rank_of(s, gpu, degree) for degree in COORDINATES}
        for gpu in range(s.gpus)
    ]


def rank_of(strategy: Strategy, gpu: int, degree: str) -> int:
    """The GPU's rank in its `degree` group."""
    return gpu % strategy.stage_gpus // stride_of(strategy, degree) % int(getattr(strategy, degree))


def talking_groups(instance: Instance) -> tuple[str, ...]:
    """The kinds of group that talk during a forward pass; `experts`, of etp * ep ranks, where tokens are gathered."""
    return (*GROUPS, "experts") if gathers(instance) else GROUPS


def group_size(strategy: Strategy, kind: str) -> int:
    """Ranks of one group."""
    return strategy.etp * strategy.ep if kind == "experts" else int(getattr(strategy, kind))


def members(strategy: Strategy, kind: str, replica: int, stage: int) -> list[tuple[int, ...]]:
    """GPU ids of every group of one kind in one stage, each in rank order."""
    return expert_group_members(strategy, replica, stage) if kind == "experts" else group_members(strategy, kind, replica, stage)


def group_table(plan: Plan, kinds: tuple[str, ...] = GROUPS) -> list[dict[str, Any]]:
    """Every group of these kinds as GPU ids in rank order, for each stage of each replica."""
    s = plan.strategy
    return [
        {"replica": replica, "stage": stage} | {kind: [list(g) for g in members(s, kind, replica, stage)] for kind in kinds}
        for replica in range(s.replicas)
        for stage in range(s.pp)
    ]


def expert_gpus(instance: Instance, plan: Plan) -> dict[int, dict[int, list[int]]]:
    """For each MoE layer (by its index in the model) and each expert, the GPUs that hold it.

    ETP shards lie together; EDP copies and replicas follow in order of GPU id.
    """
    holders = [_rank_gpus(plan.strategy, stage) for stage in range(plan.strategy.pp)]
    stage_of = {layer: stage for stage, layers in enumerate(stage_ranges(plan.stages)) for layer in layers}
    found: dict[int, dict[int, list[int]]] = {}
    for layer, position in moe_layer_indices(instance).items():
        held: dict[int, list[int]] = {e: [] for e in range(instance.architecture.experts)}
        for gpus, experts in zip(holders[stage_of[layer]], plan.placement[position], strict=True):
            for e in experts:
                held[e] += gpus
        found[layer] = {e: sorted(gpus) for e, gpus in held.items()}
    return found


def _rank_gpus(strategy: Strategy, stage: int) -> list[list[int]]:
    """GPUs of each EP rank of one stage, over all EP groups and replicas."""
    groups = [g for replica in range(strategy.replicas) for g in group_members(strategy, "ep", replica, stage)]
    return [sorted(gpus) for gpus in zip(*groups, strict=True)]
