"""Attention of every kind on one GPU: its projections, its core, and what it caches.

n heads of width d on this tensor-parallel rank; a sequence has T context tokens, the last `new` of which this pass processes.
"""

from typing import NamedTuple

from models.architecture import AnyAttention, Architecture, Compressed, GroupedQuery, MultiHead, MultiHeadLatent, Recurrent
from models.formats import stored_bytes
from models.operators import Kind, Work, activation_bytes, gemm
from models.units import ceil_div

CHUNK = 64  # tokens that a recurrence processes at once in prefill (gated delta rule, arXiv 2412.06464, 3.3)


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


def replicated_heads(attention: AnyAttention) -> int | None:
    """KV heads, or key heads of a recurrence, that tensor parallelism beyond their number replicates; None for one shared latent."""
    match attention:
        case MultiHead() | GroupedQuery():
            return attention.kv_heads
        case Recurrent():
            return attention.key_heads
        case _:
            return None


def _recurrent_widths(attention: Recurrent, tp: int) -> tuple[int, int]:
    """Elements of one token's keys and values on one rank; key heads are replicated beyond their number."""
    keys = ceil_div(attention.key_heads, min(tp, attention.key_heads)) * attention.key_head_dim
    return keys, heads_on_rank(attention, tp) * attention.value_head_dim


def projection_shapes(hidden: int, attention: AnyAttention, tp: int) -> tuple[tuple[int, int], ...]:
    """(inputs, outputs) of each projection GEMM on one rank: fused QKV (and gate) and output, or the low-rank chains.

    MLA's down-projections and its index are not sharded (DeepSeek-V2, arXiv 2405.04434, eqs. 9-19; DeepSeek-V3.2 report).
    """
    n = heads_on_rank(attention, tp)
    match attention:
        case MultiHeadLatent(q_lora_rank=q, kv_lora_rank=c, qk_nope_head_dim=nope, qk_rope_head_dim=rope, v_head_dim=v):
            up = ((c, n * (nope + v)), (n * v, hidden))
            index = _index_shapes(hidden, q or hidden, attention)
            index += ((hidden, n * v),) if attention.output_gate else ()
            if q is None:
                return (*index, (hidden, n * (nope + rope) + c + rope), *up)
            return (*index, (hidden, q + c + rope), (q, n * (nope + rope)), *up)
        case Compressed(head_dim=d, q_lora_rank=q, o_lora_rank=o):
            kept = 2 * d if attention.ratio else 0  # what is kept, and the gate that weighs the tokens of an entry
            chain = (hidden, q + d + kept), (q, n * d), (n * d, o), (ceil_div(attention.o_groups, tp) * o, hidden)
            return (*_index_shapes(hidden, q, attention), *chain)
        case Recurrent(gates=gates, extra_outputs=extra):
            keys, values = _recurrent_widths(attention, tp)
            return (hidden, 2 * keys + (1 + gates) * values + ceil_div(extra, tp)), (values, hidden)
        case MultiHead(head_dim=d):
            return (hidden, 3 * n * d), (n * d, hidden)
        case GroupedQuery(head_dim=d, value_dim=v):
            kv = kv_heads_on_rank(attention, tp)
            return (
                *_index_shapes(hidden, hidden, attention),
                (hidden, n * d * (1 + attention.output_gate) + kv * (d + v)),
                (n * v, hidden),
            )


def _index_shapes(hidden: int, queries: int, attention: GroupedQuery | MultiHeadLatent | Compressed) -> tuple[tuple[int, int], ...]:
    """The index's queries, and its key with a weight per head; every rank computes all of them."""
    if attention.index_heads is None or attention.index_head_dim is None:
        return ()
    return (queries, attention.index_heads * attention.index_head_dim), (hidden, attention.index_head_dim + attention.index_heads)


def attention_weights(hidden: int, attention: AnyAttention, tp: int) -> int:
    """Weight elements of one rank's projections, and of the short convolution of a recurrence."""
    taps = 0
    if isinstance(attention, Recurrent):
        keys, values = _recurrent_widths(attention, tp)
        taps = attention.conv_width * (2 * keys + values)
    return taps + sum(a * b for a, b in projection_shapes(hidden, attention, tp))


def attention_projections(arch: Architecture, attention: AnyAttention, shard: Shard, tp: int) -> tuple[Work, ...]:
    """The projections of one attention block."""
    shapes = projection_shapes(arch.hidden_size, attention, tp)
    expanding = len(shapes) - 2 if isinstance(attention, MultiHeadLatent) else None
    return tuple(gemm(arch, "attention", shard.cached_tokens if n == expanding else shard.tokens, a, b) for n, (a, b) in enumerate(shapes))


def query_widths(attention: AnyAttention, tp: int) -> tuple[int, int]:
    """Elements of one token's queries and attention outputs on one rank."""
    n = heads_on_rank(attention, tp)
    match attention:
        case MultiHeadLatent():
            return n * (attention.qk_nope_head_dim + attention.qk_rope_head_dim), n * attention.v_head_dim
        case Recurrent():
            return _recurrent_widths(attention, tp)
        case GroupedQuery():
            return n * attention.head_dim, n * attention.value_dim
        case _:
            return n * attention.head_dim, n * attention.head_dim


def cache_elements_per_token(attention: AnyAttention, tp: int) -> int:
    """Elements that one token leaves in the cache of a rank while it is in reach; 0 for a recurrence, whose state does not grow."""
    match attention:
        case MultiHeadLatent():
            return attention.kv_lora_rank + attention.qk_rope_head_dim + (attention.index_head_dim or 0)
        case Compressed():
            return attention.head_dim
        case Recurrent():
            return 0
        case MultiHead():
            return 2 * kv_heads_on_rank(attention, tp) * attention.head_dim
        case GroupedQuery():
            return kv_heads_on_rank(attention, tp) * (attention.head_dim + attention.value_dim) + (attention.index_head_dim or 0)


def cache_bytes(arch: Architecture, attention: AnyAttention, context: int, tp: int) -> int:
    """Bytes that `context` tokens of one sequence take in a layer's cache on one rank: up to the window, or kept entries, or a state."""
    match attention:
        case Recurrent():
            keys, values = _recurrent_widths(attention, tp)
            state = heads_on_rank(attention, tp) * attention.key_head_dim * attention.value_head_dim
            return stored_bytes(state, "fp32") + stored_bytes(max(0, attention.conv_width - 1) * (2 * keys + values), arch.activation_dtype)
        case Compressed():
            kept = _entries(attention, context)
            return stored_bytes(
                (min(context, attention.window) + kept) * attention.head_dim + kept * (attention.index_head_dim or 0), arch.kv_dtype
            )
        case _:
            return stored_bytes(min(context, reach(attention) or context) * cache_elements_per_token(attention, tp), arch.kv_dtype)


def reach(attention: AnyAttention) -> int | None:
    """How many of the last tokens are kept and seen; None: all."""
    return attention.window if isinstance(attention, GroupedQuery) else None


def _entries(attention: Compressed, context: int) -> int:
    """Entries kept of the whole context."""
    return context // attention.ratio if attention.ratio else 0


def _twice_pairs(context: int, limit: int | None) -> int:
    """Twice the pairs of a token and one it attends to, when it sees at most `limit` of the tokens before: T**2, or 2 l T - l**2."""
    if limit is None or context <= limit:
        return context * context
    return limit * limit + 2 * limit * (context - limit)


def prefill_core(arch: Architecture, attention: AnyAttention, shard: Shard, tp: int, context: int, new: int, cp: int) -> tuple[Work, ...]:
    """Causal attention of the last `new` of T tokens: the pairs that see each other, over cp ranks of equal work.

    2 * (qk width + v width) FLOP per pair: half of the T x T square, less that of the prefix, and no more than a window or the
    index's choice allows (FlashAttention-2, arXiv 2307.08691, 4.1).
    """
    q, o = query_widths(attention, tp)
    if isinstance(attention, Recurrent):
        return (_recurrence(arch, attention, shard, tp, new, cp),)
    before = context - new

    def pairs(limit: int | None) -> int:
        return _twice_pairs(context, limit) - _twice_pairs(before, limit)

    twice = pairs(_seen(attention))
    if isinstance(attention, Compressed):
        every = (pairs(None) // attention.ratio) if attention.ratio else 0
        twice = pairs(attention.window) + (min(every, 2 * new * attention.index_top_k) if attention.index_top_k else every)
    seen = min(context, (reach(attention) or context) + new)
    moved = activation_bytes(arch, shard.tokens * (q + o)) + shard.sequences * cache_bytes(arch, attention, seen, tp)
    flop = ceil_div(shard.sequences * (q + o) * twice, cp)
    core = _core(arch, attention, flop, moved, tp, (shard.sequences, ceil_div(new, cp), context), prefill=True)
    return core, *_index(arch, attention, shard.sequences * pairs(None), shard, context, cp, prefill=True)


def decode_core(arch: Architecture, attention: AnyAttention, shard: Shard, tp: int, context: int, cp: int) -> tuple[Work, ...]:
    """One new token per sequence against its cache, of which this rank holds 1/cp.

    MLA runs in latent space: 2 * n * (2 * latent + rope) FLOP per cached token (arXiv 2405.04434, 2.1.2).
    """
    if isinstance(attention, Recurrent):
        return (_recurrence(arch, attention, shard, tp, 1, cp),)
    n, (q, o) = heads_on_rank(attention, tp), query_widths(attention, tp)
    per_token = q + o
    if isinstance(attention, MultiHeadLatent):
        per_token = n * (2 * attention.kv_lora_rank + attention.qk_rope_head_dim)
    seen = min(context, _seen(attention) or context)
    if isinstance(attention, Compressed):
        kept = _entries(attention, context)
        seen = min(context, attention.window) + min(kept, attention.index_top_k or kept)
    held, whole = ceil_div(seen, cp), ceil_div(context, cp)
    width = cache_elements_per_token(attention, tp) - _index_width(attention)
    moved = activation_bytes(arch, shard.sequences * (q + o)) + stored_bytes(shard.sequences * held * width, arch.kv_dtype)
    core = _core(arch, attention, 2 * shard.sequences * per_token * held, moved, tp, (shard.sequences, 1, held), prefill=False)
    return core, *_index(arch, attention, 2 * shard.sequences * whole * cp, shard, whole, cp, prefill=False)


def _index_width(attention: AnyAttention) -> int:
    """Elements of a token's index key, which the core does not read."""
    return (attention.index_head_dim or 0) if isinstance(attention, GroupedQuery | MultiHeadLatent) else 0


def _seen(attention: AnyAttention) -> int | None:
    """The most tokens that one attends to: the window, or the index's choice; None: all before it."""
    chosen = attention.index_top_k if isinstance(attention, GroupedQuery | MultiHeadLatent) else None
    return chosen or reach(attention)


def _core(arch: Architecture, attention: AnyAttention, flop: int, moved: int, tp: int, extent: tuple[int, int, int], prefill: bool) -> Work:
    """The attention core as an operator; `extent` is sequences, query tokens and context of each on the rank."""
    n = heads_on_rank(attention, tp)
    if isinstance(attention, MultiHeadLatent):
        shape = (*extent, n, 1, attention.kv_lora_rank + attention.qk_rope_head_dim)
        return Work("mla_prefill" if prefill else "mla_decode", flop, moved, arch.activation_dtype, arch.kv_dtype, shape)
    assert not isinstance(attention, Recurrent), "a recurrence has no core over its context"
    kv = 1 if isinstance(attention, Compressed) else kv_heads_on_rank(attention, tp)
    shape = (*extent, n, kv, attention.head_dim)
    return Work("prefill_attention" if prefill else "decode_attention", flop, moved, arch.activation_dtype, arch.kv_dtype, shape)


def _index(
    arch: Architecture, attention: AnyAttention, twice_pairs: int, shard: Shard, context: int, cp: int, prefill: bool
) -> tuple[Work, ...]:
    """Scores of every cached token (or kept entry) by the index: 2 * heads * width FLOP per pair; it reads every index key."""
    if (
        not isinstance(attention, GroupedQuery | MultiHeadLatent | Compressed)
        or attention.index_heads is None
        or attention.index_head_dim is None
    ):
        return ()
    ratio = attention.ratio if isinstance(attention, Compressed) else 1
    flop = ceil_div(attention.index_heads * attention.index_head_dim * twice_pairs, max(1, ratio) * cp)
    keys = ceil_div(shard.sequences * context, max(1, ratio)) * attention.index_head_dim
    shape = (shard.sequences, 1, context, attention.index_heads, 1, attention.index_head_dim)
    moved = stored_bytes(keys, arch.kv_dtype)
    return (Work("prefill_attention" if prefill else "decode_attention", flop, moved, arch.activation_dtype, arch.kv_dtype, shape),)


def _recurrence(arch: Architecture, attention: Recurrent, shard: Shard, tp: int, new: int, cp: int) -> Work:
    """A state of key width x value width per head, updated and read once per token; in prefill a chunk at a time.

    4 * n * k * v FLOP per token, and in chunks 2 * n * (k + v) * chunk more; each sequence's state is read and written once.
    """
    n, k, v = heads_on_rank(attention, tp), attention.key_head_dim, attention.value_head_dim
    keys, values = _recurrent_widths(attention, tp)
    per_token = 4 * n * k * v + 2 * n * (k + v) * min(new - 1, CHUNK)
    tokens = shard.tokens if new > 1 else shard.sequences
    moved = activation_bytes(arch, tokens * (2 * keys + 2 * values)) + shard.sequences * 2 * stored_bytes(n * k * v, "fp32")
    shape = (shard.sequences, ceil_div(new, cp), 1, n, n, k)
    kind: Kind = "prefill_attention" if new > 1 else "decode_attention"
    return Work(kind, tokens * per_token, moved, arch.activation_dtype, arch.kv_dtype, shape)
