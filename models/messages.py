"""Which messages a layer sends: its collectives by term and name, each with its bytes."""

from models.architecture import Architecture, LayerGroup
from models.attention import cache_elements_per_token, query_widths
from models.collectives import Comm, Way, all_gather, all_reduce, all_to_all, direct_all_to_all, reduce_scatter, worst
from models.formats import stored_bytes
from models.instance import Instance
from models.operators import expert_width
from models.routing import Profile
from models.shape import Groups, Shape
from models.units import ceil_div


def gathers(i: Instance) -> bool:
    """Whether every rank of an expert group takes all its tokens."""
    return i.runtime.expert_exchange == "gather"


def sends_shares(i: Instance) -> bool:
    """Whether every stage boundary is sequence-parallel: a model of MoE layers only, whose tokens are not gathered."""
    return not gathers(i) and all(group.moe for group in i.architecture.layers)


def layer_collectives(i: Instance, group: LayerGroup, shape: Shape, groups: Groups, profile: Profile | None) -> dict[str, dict[str, Comm]]:
    """Every collective of one layer by term and name; a term is the sum of its collectives."""
    found = {"tp_comm": tensor_comm(i, group, shape, groups), "cp_comm": context_comm(i, group, shape, groups)}
    if profile is not None and gathers(i):
        return found | {"ep_comm": gathered(i, group, shape, groups), "etp_comm": {}}
    if profile is not None:
        found |= {"ep_comm": expert_comm(i, group, shape, groups, profile), "etp_comm": expert_tensor_comm(i, group, groups, profile)}
    return found


def hidden_bytes(arch: Architecture, tokens: int, dtype: str) -> int:
    return stored_bytes(tokens * arch.hidden_size, dtype)


def tensor_comm(i: Instance, group: LayerGroup, shape: Shape, groups: Groups) -> dict[str, Comm]:
    """Tensor-parallel collectives of one layer.

    Dense: an all-reduce after attention and one after the FFN (Megatron-LM, arXiv 1909.08053,
    section 3). MoE: sequence-parallel (arXiv 2205.05198, section 4.2.2): reduce-scatter after
    attention, all-gather after combine, and the same pair around shared experts. Where every rank
    gathers all tokens, MoE layers too all-reduce after attention; `gathered` has the rest.
    """
    size = hidden_bytes(i.architecture, shape.tokens, i.architecture.activation_dtype)
    if gathers(i) or group.moe is None:
        whole = worst([all_reduce(i.cluster.pool, size, p) for p in groups.tp])
        blocks = {"tensor_all_reduce": group.attention is not None, "ffn_all_reduce": group.ffn is not None and group.moe is None}
        return {name: whole for name, present in blocks.items() if present}
    scatter = worst([reduce_scatter(i.cluster.pool, size, p) for p in groups.tp])
    gather = worst([all_gather(i.cluster.pool, size, p) for p in groups.tp])
    shared = {"shared_all_gather": gather, "shared_reduce_scatter": scatter} if group.moe.shared_width else {}
    attended = {"tensor_reduce_scatter": scatter} if group.attention is not None else {}  # else there are no sums, and a share is at hand
    return attended | {"tensor_all_gather": gather} | shared


def context_comm(i: Instance, group: LayerGroup, shape: Shape, groups: Groups) -> dict[str, Comm]:
    """Context parallelism. Prefill gathers keys and values; decode gathers queries and scatters outputs.

    Prefill: arXiv 2411.01783 (pass-KV). Decode: partial attention per context shard, combined
    by log-sum-exp.
    """
    if shape.cp == 1 or group.attention is None:
        return {}
    dtype = i.architecture.activation_dtype
    if i.workload.kind == "prefill":
        context = i.workload.context_tokens
        size = stored_bytes(shape.sequences * context * cache_elements_per_token(group.attention, shape.tp), dtype)
        return {"context_all_gather": worst([all_gather(i.cluster.pool, size, p) for p in groups.cp])}
    queries, outputs = (stored_bytes(shape.sequences * w, dtype) for w in query_widths(group.attention, shape.tp))
    gather = worst([all_gather(i.cluster.pool, queries, p) for p in groups.cp])
    return {"context_all_gather": gather, "context_reduce_scatter": worst([reduce_scatter(i.cluster.pool, outputs, p) for p in groups.cp])}


def expert_comm(i: Instance, group: LayerGroup, shape: Shape, groups: Groups, profile: Profile) -> dict[str, Comm]:
    """Dispatch and combine inside the EP group."""
    assert group.moe is not None
    pool, tokens, received = i.cluster.pool, shape.dispatched, ceil_div(profile.tokens, shape.etp)
    ways: tuple[tuple[Way, str], ...] = ("dispatch", i.architecture.dispatch_dtype), ("combine", i.architecture.combine_dtype)
    found: dict[str, Comm] = {}
    for way, dtype in ways:
        size = stored_bytes(expert_width(i.architecture.hidden_size, group.moe), dtype)
        if i.runtime.expert_exchange == "direct":
            sent = tokens * group.moe.top_k
            found[way] = worst([direct_all_to_all(pool, way, sent, received, size, p) for p in groups.ep])
        else:
            found[way] = worst([all_to_all(pool, way, tokens, received, size, profile.copies, p) for p in groups.ep])
    return found


def holds_its_tokens(shape: Shape) -> bool:
    """Whether every rank of an expert group has all the group's tokens before anything is gathered: it lies in a tensor-parallel group."""
    return shape.tp % (shape.etp * shape.ep) == 0


def gathered(i: Instance, group: LayerGroup, shape: Shape, groups: Groups) -> dict[str, Comm]:
    """Every rank of the expert group takes all its tokens; what the ranks add up to is scattered back.

    Where the group's tokens lie on its ranks already (it is part of a tensor-parallel group), an all-reduce of that group remains:
    its expert groups take a share of the tokens each, and every rank needs the sums of all
    (vLLM and SGLang without an all-to-all backend; TensorRT-LLM without attention data parallelism).
    """
    if holds_its_tokens(shape):
        size = hidden_bytes(i.architecture, shape.tokens, i.architecture.activation_dtype)
        return {"expert_all_reduce": worst([all_reduce(i.cluster.pool, size, p) for p in groups.tp])}
    assert group.moe is not None
    elements = shape.group_tokens * expert_width(i.architecture.hidden_size, group.moe)
    inputs, outputs = stored_bytes(elements, i.architecture.dispatch_dtype), stored_bytes(elements, i.architecture.combine_dtype)
    share = hidden_bytes(i.architecture, shape.tokens, i.architecture.activation_dtype)
    return {
        "expert_all_gather": worst([all_gather(i.cluster.pool, inputs, p) for p in groups.experts]),
        "expert_reduce_scatter": worst([reduce_scatter(i.cluster.pool, outputs, p) for p in groups.experts]),
        "tensor_all_gather": worst([all_gather(i.cluster.pool, share, p) for p in groups.tp]),
    }


def expert_tensor_comm(i: Instance, group: LayerGroup, groups: Groups, profile: Profile) -> dict[str, Comm]:
    """ETP > 1: inputs of the rank's experts are all-gathered, outputs reduce-scattered (arXiv 2504.14960)."""
    assert group.moe is not None
    elements = profile.tokens * expert_width(i.architecture.hidden_size, group.moe)
    inputs, outputs = stored_bytes(elements, i.architecture.dispatch_dtype), stored_bytes(elements, i.architecture.combine_dtype)
    gather = worst([all_gather(i.cluster.pool, inputs, p) for p in groups.etp])
    return {"expert_all_gather": gather, "expert_reduce_scatter": worst([reduce_scatter(i.cluster.pool, outputs, p) for p in groups.etp])}
