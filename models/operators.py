"""FLOP and bytes of each operator on one GPU. A multiply-add is 2 FLOP.

Shapes: t tokens of the context-parallel rank, h hidden size, n heads of width d on this
tensor-parallel rank. Bytes count each operand once: weights read, inputs read, outputs written.
"""

from typing import Literal, NamedTuple

from models.architecture import BITS, Architecture, DenseFfn, GroupedQuery, MoeFfn, MultiHead, MultiHeadLatent
from models.units import WHOLE, ceil_div, dtype_bytes

Kind = Literal["gemm", "expert_gemm", "prefill_attention", "decode_attention", "mla_prefill", "mla_decode", "elementwise"]
AnyAttention = MultiHead | GroupedQuery | MultiHeadLatent


class Work(NamedTuple):
    """What one operator does; kind and storage name its curve, dtype its peak."""

    kind: Kind
    flop: int
    bytes: int
    dtype: str
    """number format it computes in"""
    storage: str
    """number format of its weights; of the KV cache, for attention"""
    shape: tuple[int, ...] = ()
    """gemm: rows, inputs, outputs. expert_gemm: rows, experts read (2**-20), hidden size, width on the rank, matrices.
    Attention: sequences, query tokens of each, context tokens on the rank, heads, KV heads, head width."""


class Shard(NamedTuple):
    """Tokens in flight on one GPU of the attention side."""

    sequences: int
    """sequences of the data-parallel rank in one micro-batch"""
    tokens: int
    """tokens of the context-parallel rank in one micro-batch"""
    cached_tokens: int
    """tokens whose keys and values this rank computes from MLA's latent: in prefill those of all its
    context-parallel peers too, since latents are what is gathered"""


def heads_on_rank(attention: AnyAttention, tp: int) -> int:
    return ceil_div(attention.heads, tp)


def kv_heads_on_rank(attention: MultiHead | GroupedQuery, tp: int) -> int:
    """Key/value heads of one rank: KV heads / min(tp, KV heads)."""
    return ceil_div(attention.kv_heads, min(tp, attention.kv_heads))


def projection_shapes(hidden: int, attention: AnyAttention, tp: int) -> tuple[tuple[int, int], ...]:
    """(inputs, outputs) of each projection GEMM on one rank: fused QKV and output, or MLA's low-rank chain.

    MLA's down-projections are not sharded (DeepSeek-V2, arXiv 2405.04434, eqs. 9-19).
    """
    n = heads_on_rank(attention, tp)
    match attention:
        case MultiHeadLatent(q_lora_rank=q, kv_lora_rank=c, qk_nope_head_dim=nope, qk_rope_head_dim=rope, v_head_dim=v):
            up = ((c, n * (nope + v)), (n * v, hidden))
            if q is None:
                return ((hidden, n * (nope + rope) + c + rope), *up)
            return ((hidden, q + c + rope), (q, n * (nope + rope)), *up)
        case _:
            kv = kv_heads_on_rank(attention, tp)
            return (hidden, (n + 2 * kv) * attention.head_dim), (n * attention.head_dim, hidden)


def attention_weights(hidden: int, attention: AnyAttention, tp: int) -> int:
    """Weight elements of one rank's projections."""
    return sum(a * b for a, b in projection_shapes(hidden, attention, tp))


def cache_elements_per_token(attention: AnyAttention, tp: int) -> int:
    """Elements cached per token and layer on one rank: 2 * kv heads * d, or MLA's latent + rope key."""
    if isinstance(attention, MultiHeadLatent):
        return attention.kv_lora_rank + attention.qk_rope_head_dim
    return 2 * kv_heads_on_rank(attention, tp) * attention.head_dim


def query_widths(attention: AnyAttention, tp: int) -> tuple[int, int]:
    """Elements of one token's queries and attention outputs on one rank."""
    n = heads_on_rank(attention, tp)
    if isinstance(attention, MultiHeadLatent):
        return n * (attention.qk_nope_head_dim + attention.qk_rope_head_dim), n * attention.v_head_dim
    return n * attention.head_dim, n * attention.head_dim


def gemm(arch: Architecture, tokens: int, inputs: int, outputs: int) -> Work:
    """(t x inputs) times (inputs x outputs): 2 * t * inputs * outputs FLOP."""
    weights = inputs * outputs
    moved = _weight_bytes(arch, weights) + _activation_bytes(arch, tokens * (inputs + outputs))
    return Work("gemm", 2 * tokens * weights, moved, arch.weight_dtype, arch.weight_dtype, (tokens, inputs, outputs))


def attention_projections(arch: Architecture, attention: AnyAttention, shard: Shard, tp: int) -> tuple[Work, ...]:
    """The projections of one attention block."""
    shapes = projection_shapes(arch.hidden_size, attention, tp)
    expanding = len(shapes) - 2 if isinstance(attention, MultiHeadLatent) else None
    return tuple(gemm(arch, shard.cached_tokens if n == expanding else shard.tokens, a, b) for n, (a, b) in enumerate(shapes))


def prefill_core(arch: Architecture, attention: AnyAttention, shard: Shard, tp: int, context: int, new: int, cp: int) -> Work:
    """Causal attention of the last `new` of T tokens: half of the T x T square, less that of the prefix, over cp ranks of equal work.

    2 * (qk width + v width) * (T**2 - (T - new)**2) / 2 FLOP per sequence (FlashAttention-2, arXiv 2307.08691, 4.1).
    """
    q, o = query_widths(attention, tp)
    flop = ceil_div(shard.sequences * (q + o) * (context**2 - (context - new) ** 2), cp)
    cached = shard.sequences * context * cache_elements_per_token(attention, tp)
    moved = _activation_bytes(arch, shard.tokens * (q + o)) + dtype_bytes(cached, BITS[arch.kv_dtype])
    return _core(arch, attention, flop, moved, tp, (shard.sequences, ceil_div(new, cp), context), "prefill")


def decode_core(arch: Architecture, attention: AnyAttention, shard: Shard, tp: int, context: int, cp: int) -> Work:
    """One new token per sequence against its cache, of which this rank holds 1/cp.

    MLA runs in latent space: 2 * n * (2 * latent + rope) FLOP per cached token (arXiv 2405.04434, 2.1.2).
    """
    n = heads_on_rank(attention, tp)
    q, o = query_widths(attention, tp)
    held = ceil_div(context, cp)
    per_token = q + o
    if isinstance(attention, MultiHeadLatent):
        per_token = n * (2 * attention.kv_lora_rank + attention.qk_rope_head_dim)
    cached = shard.sequences * held * cache_elements_per_token(attention, tp)
    moved = _activation_bytes(arch, shard.sequences * (q + o)) + dtype_bytes(cached, BITS[arch.kv_dtype])
    return _core(arch, attention, 2 * shard.sequences * per_token * held, moved, tp, (shard.sequences, 1, held), "decode")


def _core(
    arch: Architecture,
    attention: AnyAttention,
    flop: int,
    moved: int,
    tp: int,
    extent: tuple[int, int, int],
    phase: Literal["prefill", "decode"],
) -> Work:
    """The attention core as an operator; `extent` is sequences, query tokens and context of each on the rank."""
    n = heads_on_rank(attention, tp)
    if isinstance(attention, MultiHeadLatent):
        shape = (*extent, n, 1, attention.kv_lora_rank + attention.qk_rope_head_dim)
        return Work("mla_prefill" if phase == "prefill" else "mla_decode", flop, moved, arch.activation_dtype, arch.kv_dtype, shape)
    shape = (*extent, n, kv_heads_on_rank(attention, tp), attention.head_dim)
    kind: Kind = "prefill_attention" if phase == "prefill" else "decode_attention"
    return Work(kind, flop, moved, arch.activation_dtype, arch.kv_dtype, shape)


def router(arch: Architecture, ffn: MoeFfn, tokens: int) -> Work:
    """Scores of every expert: t x h x E."""
    return gemm(arch, tokens, arch.hidden_size, ffn.experts)


def feed_forward(arch: Architecture, width: int, matrices: int, tokens: int, tp: int) -> tuple[Work, ...]:
    """A dense FFN or the shared experts, `width` split over tp: up (and gate), then down."""
    part = ceil_div(width, tp)
    return gemm(arch, tokens, arch.hidden_size, (matrices - 1) * part), gemm(arch, tokens, part, arch.hidden_size)


def routed_experts(arch: Architecture, ffn: MoeFfn, inputs: int, touched: int, etp: int) -> Work:
    """Grouped GEMMs, up (and gate) then down, as one operator; only the `touched` (2**-20) experts' weights are read."""
    part, h = ceil_div(ffn.intermediate_size, etp), arch.hidden_size
    weights = ffn.matrices * h * part
    read = ceil_div(touched * _weight_bytes(arch, weights), WHOLE)
    moved = read + _activation_bytes(arch, inputs * (2 * h + ffn.matrices * part))
    shape = (inputs, touched, h, part, ffn.matrices)
    return Work("expert_gemm", 2 * inputs * weights, moved, arch.weight_dtype, arch.weight_dtype, shape)


def norms(arch: Architecture, tokens: int) -> tuple[Work, Work]:
    """The two normalisations of a layer: each reads and writes t x h."""
    one = _elementwise(arch, 2 * tokens * arch.hidden_size)
    return one, one


def embedding(arch: Architecture, tokens: int) -> Work:
    """Look up and write t x h."""
    return _elementwise(arch, 2 * tokens * arch.hidden_size)


def _elementwise(arch: Architecture, elements: int) -> Work:
    return Work("elementwise", 0, _activation_bytes(arch, elements), arch.activation_dtype, arch.activation_dtype)


def head(arch: Architecture, sequences: int, tp: int) -> Work:
    """Logits of the last token of each sequence: s x h x vocabulary / tp."""
    return gemm(arch, sequences, arch.hidden_size, ceil_div(arch.vocabulary_size, tp))


def _weight_bytes(arch: Architecture, elements: int) -> int:
    return dtype_bytes(elements, BITS[arch.weight_dtype])


def _activation_bytes(arch: Architecture, elements: int) -> int:
    return dtype_bytes(elements, BITS[arch.activation_dtype])


def dense_width(ffn: DenseFfn | MoeFfn) -> int:
    """Width of the part of an FFN that every token passes: the dense block or the shared experts."""
    return ffn.intermediate_size if isinstance(ffn, DenseFfn) else ffn.shared_width
