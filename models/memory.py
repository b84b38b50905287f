"""Bytes that one GPU holds, term by term."""

from models.architecture import Architecture, LayerGroup, Part
from models.attention import attention_weights, cache_bytes
from models.formats import stored_bytes
from models.operators import dense_width, expert_width, router_weights
from models.units import ceil_div
from models.workload import Runtime, Workload


def layer_weight_bytes(arch: Architecture, group: LayerGroup, tp: int, etp: int, slots: int) -> int:
    """Weights of one layer: attention / tp, `slots` experts / etp, shared or dense FFN / tp, router and norms whole."""
    h, ffn = arch.hidden_size, group.ffn
    attention = attention_weights(h, group.attention, tp) if group.attention else 0
    dense, scores, experts = 0, 0, 0
    if ffn is not None:
        dense = ffn.matrices * h * ceil_div(dense_width(ffn), tp)
    if group.moe is not None:
        scores, resizing = router_weights(h, group.moe)
        dense += resizing
        experts = slots * group.moe.matrices * expert_width(h, group.moe) * ceil_div(group.moe.intermediate_size, etp)
    parts: tuple[tuple[Part, int], ...] = ("attention", attention), ("ffn", dense), ("experts", experts)
    sizes: dict[str, int] = {}
    for part, elements in parts:
        sizes[arch.format_of(part)] = sizes.get(arch.format_of(part), 0) + elements
    kept = stored_bytes(scores + _norm_weights(h, group), arch.activation_dtype)  # routers and norms are not quantised
    return kept + sum(stored_bytes(n, storage) for storage, n in sizes.items())


def _norm_weights(hidden: int, group: LayerGroup) -> int:
    """Two norms over the hidden size, and MLA's over its latents."""
    attention = group.attention
    latents = (attention.q_lora_rank or 0) + attention.kv_lora_rank if attention and attention.kind == "mla" else 0
    return 2 * hidden + latents


def cache_bytes_per_sequence(arch: Architecture, group: LayerGroup, workload: Workload, tp: int, cp: int) -> int:
    """KV cache of one sequence in one layer: what this rank's share of the context, and of what it will grow by, leaves there."""
    return cache_bytes(arch, group.attention, ceil_div(workload.context_tokens + workload.growth_tokens, cp), tp) if group.attention else 0


def embedding_bytes(arch: Architecture, tp: int) -> int:
    """The input embedding, split over the vocabulary."""
    return stored_bytes(arch.hidden_size * ceil_div(arch.vocabulary_size, tp), arch.format_of("embedding"))


def head_bytes(arch: Architecture, tp: int) -> int:
    """The output head, split over the vocabulary, with the last normalisation.

    Tied weights are held again: the first and the last stage are different GPUs, except at PP = 1
    where `models.terms` leaves the second copy out.
    """
    return embedding_bytes(arch, tp) + stored_bytes(arch.hidden_size, arch.activation_dtype)


def logits_bytes(arch: Architecture, sequences: int, tp: int) -> int:
    """Logits of the micro-batch in flight, fp32, on the last stage."""
    return stored_bytes(sequences * ceil_div(arch.vocabulary_size, tp), "fp32")


def stage_fixed_bytes(runtime: Runtime, tokens: int) -> int:
    """Activations of `tokens` tokens in flight, collective buffers, reserve."""
    return tokens * runtime.activation_bytes_per_token + runtime.collective_buffer_bytes + runtime.reserve_bytes
