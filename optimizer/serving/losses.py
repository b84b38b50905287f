"""What a fleet yields after the loss of one node: every worker that lies on it, even in part, is gone."""

from collections.abc import Sequence
from typing import NamedTuple

from models.fleet import ROLES, Role
from models.fleet_plan import counted_rate, figures_of
from models.service import Service
from models.service_claim import Member
from optimizer.serving.deployment import Unit

Node = tuple[int, int]
"""pool, and node in it"""


class NodeLoss(NamedTuple):
    """The node whose loss costs most, and what is left, requests in 10**9 s that are counted on; of equals the first."""

    pool: int
    node: int
    rate: int


def worst_node_loss(service: Service, fleet: Sequence[Member], units: Sequence[Unit]) -> NodeLoss:
    """Of the nodes in use; `units` are the fleet's workers in its order. What is left: aggregated + min(prefill, decode)."""
    whole, lost = dict.fromkeys(ROLES, 0), dict[Node, dict[Role, int]]()
    for member, unit in zip(fleet, units, strict=True):
        rate, each = counted_rate(unit.workers, figures_of(unit.workers, unit.worker)), service.cluster.pools[member.pool].gpus_per_node
        for first in member.first_gpus:
            whole[member.role] += rate
            for node in range(first // each, (first + unit.worker.plan.strategy.gpus - 1) // each + 1):
                of_node = lost.setdefault((member.pool, node), dict.fromkeys(ROLES, 0))
                of_node[member.role] += rate
    rates = {node: {role: whole[role] - of_node[role] for role in ROLES} for node, of_node in lost.items()}
    left, worst = min((r["aggregated"] + min(r["prefill"], r["decode"]), node) for node, r in rates.items())
    return NodeLoss(*worst, left)
