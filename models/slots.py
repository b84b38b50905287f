"""The rules on expert slots: how many an EP rank has, and what lies in them.

Every slot is filled, no expert lies twice on one rank, and every expert lies somewhere.
"""

from models.instance import Instance
from models.strategy import Plan, RankContents
from models.units import ceil_div
from models.violation import Violation


def redundant_slots(i: Instance, ep: int, redundant: int) -> Violation | None:
    """(R20) The slots of an EP rank can hold different experts: experts / ep + redundant <= experts; none without experts."""
    experts = i.architecture.experts
    slots = ceil_div(experts, ep) + redundant
    if redundant and slots > experts:
        sentence = f"a rank of ep = {ep} would have {slots} slots for {experts} experts, and holds none twice"
        return Violation("redundant_slots", sentence, slots, experts)
    return None


def slots(i: Instance, plan: Plan) -> Violation | None:
    """(R14) Each MoE layer: ep ranks of experts / ep + redundant experts each, none twice on a rank, and every expert held."""
    experts, ep, redundant = i.architecture.experts, plan.strategy.ep, plan.strategy.redundant
    if len(plan.placement) != i.architecture.moe_layers:
        found, need = len(plan.placement), i.architecture.moe_layers
        return Violation("slots", f"placement has {found} layers, the model {need} MoE layers", need, found)
    for layer, ranks in enumerate(plan.placement):
        if len(ranks) != ep:
            return Violation("slots", f"placement of MoE layer {layer} has {len(ranks)} ranks, ep is {ep}", ep, len(ranks))
        if len({len(r) for r in ranks}) > 1:
            return Violation("slots", f"placement of MoE layer {layer}: ranks hold different numbers of experts")
        held = sorted(e for r in ranks for e in r)
        if redundant == 0 and held != list(range(experts)):
            hint = " (degrees.redundant states redundant slots)" if len(held) > experts else ""
            sentence = f"placement of MoE layer {layer} must hold each of the {experts} experts exactly once{hint}"
            return Violation("slots", sentence, experts, len(held))
        if redundant and (broken := _replicated(ranks, experts, ceil_div(experts, ep) + redundant)):
            return Violation("slots", f"placement of MoE layer {layer} {broken[0]}", *broken[1:])
    return None


def _replicated(ranks: RankContents, experts: int, slots: int) -> tuple[str, int, int] | None:
    """How ranks of `slots` slots fail to hold every expert, each rank different ones; with the numbers needed and found."""
    for rank in ranks:
        if len(rank) != slots:
            return f"has ranks of {len(rank)} slots, experts / ep + redundant is {slots}", slots, len(rank)
        if len(set(rank)) != slots:
            return "holds an expert twice on one rank", slots, len(set(rank))
    held = {e for rank in ranks for e in rank}
    if held != set(range(experts)):
        return f"must hold each of the {experts} experts at least once, and no other", experts, len(held)
    return None
