"""Bytes that one GPU holds, term by term."""

from models.architecture import BITS, Architecture, LayerGroup, MoeFfn
from models.operators import attention_weights, cache_elements_per_token, dense_width
from models.units import ceil_div, dtype_bytes
from models.workload import Runtime, Workload


def layer_weight_bytes(arch: Architecture, group: LayerGroup, tp: int, etp: int, slots: int) -> int:
    """Weights of one layer: attention / tp, `slots` experts / etp, shared or dense FFN / tp, router and norms whole."""
    h, ffn = arch.hidden_size, group.ffn
    elements = attention_weights(h, group.attention, tp) + ffn.matrices * h * ceil_div(dense_width(ffn), tp)
    if isinstance(ffn, MoeFfn):
        elements += slots * ffn.matrices * h * ceil_div(ffn.intermediate_size, etp) + h * ffn.experts
    return dtype_bytes(elements, BITS[arch.weight_dtype]) + dtype_bytes(_norm_weights(h, group), BITS[arch.activation_dtype])


def _norm_weights(hidden: int, group: LayerGroup) -> int:
    """Two norms over the hidden size, and MLA's over its latents."""
    attention = group.attention
    latents = (attention.q_lora_rank or 0) + attention.kv_lora_rank if attention.kind == "mla" else 0
    return 2 * hidden + latents


def cache_bytes_per_sequence(arch: Architecture, group: LayerGroup, workload: Workload, tp: int, cp: int) -> int:
    """KV cache of one sequence in one layer: this rank's context share times its elements per token."""
    held = ceil_div(workload.context_tokens, cp)
    return dtype_bytes(held * cache_elements_per_token(group.attention, tp), BITS[arch.kv_dtype])


def embedding_bytes(arch: Architecture, tp: int) -> int:
    """The input embedding, split over the vocabulary."""
    return dtype_bytes(arch.hidden_size * ceil_div(arch.vocabulary_size, tp), BITS[arch.weight_dtype])


def head_bytes(arch: Architecture, tp: int) -> int:
    """The output head, split over the vocabulary, with the last normalisation.

    Tied weights are held again: the first and the last stage are different GPUs, except at PP = 1
    where `models.terms` leaves the second copy out.
    """
    return embedding_bytes(arch, tp) + dtype_bytes(arch.hidden_size, BITS[arch.activation_dtype])


def logits_bytes(arch: Architecture, sequences: int, tp: int) -> int:
    """Logits of the micro-batch in flight, fp32, on the last stage."""
    return dtype_bytes(sequences * ceil_div(arch.vocabulary_size, tp), 32)


def stage_fixed_bytes(runtime: Runtime, tokens: int) -> int:
    """Activations of `tokens` tokens in flight, collective buffers, reserve."""
    return tokens * runtime.activation_bytes_per_token + runtime.collective_buffer_bytes + runtime.reserve_bytes
