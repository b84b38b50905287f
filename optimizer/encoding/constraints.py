"""The constraints C1-C25, in order."""

from models.rules import context_covers, expert_width_divides, experts_divide, ffn_divides, heads_divide, kv_heads, layers_cover
from optimizer.encoding.placement_rows import busiest_link, hottest_rank, options, slots, touched_experts
from optimizer.encoding.stage_rows import limits, links, memory, slowest_stage, stages, uses
from optimizer.encoding.strategy_rows import alive, batch, degrees, dense, refuse, space, tensor_domain, world
from optimizer.encoding.variables import Constraint

CONSTRAINTS: tuple[Constraint, ...] = (
    world,
    degrees,
    space,
    refuse("C4 heads_divide", "tp", heads_divide),
    refuse("C5 kv_heads", "tp", kv_heads),
    refuse("C6 ffn_divides", "tp", ffn_divides),
    refuse("C7 experts_divide", "ep", experts_divide),
    refuse("C8 expert_width_divides", "etp", expert_width_divides),
    refuse("C9 layers_cover", "pp", layers_cover),
    refuse("C10 context_covers", "cp", context_covers),
    dense,
    batch,
    tensor_domain,
    stages,
    slots,
    options,
    hottest_rank,
    touched_experts,
    busiest_link,
    uses,
    memory,
    links,
    slowest_stage,
    limits,
    alive,
)
