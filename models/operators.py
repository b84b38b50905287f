"""FLOP and bytes of each operator on one GPU. A multiply-add is 2 FLOP.

Shapes: t tokens of the context-parallel rank, h hidden size, n heads of width d on this
tensor-parallel rank. Bytes count each operand once: weights read, inputs read, outputs written.
"""

from typing import Literal, NamedTuple

from models.architecture import Architecture, DenseFfn, MoeFfn, Part
from models.formats import computes_in, stored_bytes
from models.units import WHOLE, ceil_div

Kind = Literal["gemm", "expert_gemm", "prefill_attention", "decode_attention", "mla_prefill", "mla_decode", "elementwise"]


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
    """gemm: rows, inputs, outputs. expert_gemm: rows, experts read (2**-20), inputs of an expert, width on the rank, matrices.
    Attention: sequences, query tokens of each, context tokens on the rank, heads, KV heads, head width."""


def gemm(arch: Architecture, part: Part | None, tokens: int, inputs: int, outputs: int) -> Work:
    """(t x inputs) times (inputs x outputs): 2 * t * inputs * outputs FLOP; weights of no class are stored as activations are."""
    storage = arch.format_of(part) if part else arch.activation_dtype
    moved = stored_bytes(inputs * outputs, storage) + activation_bytes(arch, tokens * (inputs + outputs))
    return Work("gemm", 2 * tokens * inputs * outputs, moved, computes_in(storage), storage, (tokens, inputs, outputs))


def router(arch: Architecture, ffn: MoeFfn, tokens: int) -> tuple[Work, ...]:
    """Scores of every expert: t x h x E; and the projections to the experts' width and back, where it is not the hidden size."""
    scores = gemm(arch, None, tokens, arch.hidden_size, ffn.experts)
    if ffn.latent_size is None:
        return (scores,)
    down, up = (arch.hidden_size, ffn.latent_size), (ffn.latent_size, arch.hidden_size)
    return scores, gemm(arch, "ffn", tokens, *down), gemm(arch, "ffn", tokens, *up)


def router_weights(hidden: int, ffn: MoeFfn) -> tuple[int, int]:
    """Weight elements of the scores, and of the projections to the experts' width and back; every rank holds them."""
    return hidden * ffn.experts, 2 * hidden * (ffn.latent_size or 0)


def expert_width(hidden: int, ffn: MoeFfn) -> int:
    """Elements of a token that a routed expert takes and gives."""
    return ffn.latent_size or hidden


def feed_forward(arch: Architecture, width: int, matrices: int, tokens: int, tp: int) -> tuple[Work, ...]:
    """A dense FFN or the shared experts, `width` split over tp: up (and gate), then down."""
    part, h = ceil_div(width, tp), arch.hidden_size
    return gemm(arch, "ffn", tokens, h, (matrices - 1) * part), gemm(arch, "ffn", tokens, part, h)


def routed_experts(arch: Architecture, ffn: MoeFfn, inputs: int, touched: int, etp: int) -> Work:
    """Grouped GEMMs, up (and gate) then down, as one operator; only the `touched` (2**-20) experts' weights are read."""
    part, h, storage = ceil_div(ffn.intermediate_size, etp), expert_width(arch.hidden_size, ffn), arch.format_of("experts")
    weights = ffn.matrices * h * part
    read = ceil_div(touched * stored_bytes(weights, storage), WHOLE)
    moved = read + activation_bytes(arch, inputs * (2 * h + ffn.matrices * part))
    shape = (inputs, touched, h, part, ffn.matrices)
    return Work("expert_gemm", 2 * inputs * weights, moved, computes_in(storage), storage, shape)


def norms(arch: Architecture, tokens: int) -> tuple[Work, Work]:
    """The two normalisations of a layer: each reads and writes t x h."""
    one = elementwise(arch, 2 * tokens * arch.hidden_size)
    return one, one


def embedding(arch: Architecture, tokens: int) -> Work:
    """Look up and write t x h."""
    return elementwise(arch, 2 * tokens * arch.hidden_size)


def elementwise(arch: Architecture, elements: int) -> Work:
    """No FLOP to speak of: `elements` numbers read or written."""
    return Work("elementwise", 0, activation_bytes(arch, elements), arch.activation_dtype, arch.activation_dtype)


def head(arch: Architecture, sequences: int, tp: int) -> Work:
    """Logits of the last token of each sequence: s x h x vocabulary / tp."""
    return gemm(arch, "embedding", sequences, arch.hidden_size, ceil_div(arch.vocabulary_size, tp))


def activation_bytes(arch: Architecture, elements: int) -> int:
    return stored_bytes(elements, arch.activation_dtype)


def dense_width(ffn: DenseFfn | MoeFfn | None) -> int:
    """Width of the part of an FFN that every token passes: the dense block or the shared experts."""
    if ffn is None:
        return 0
    return ffn.intermediate_size if isinstance(ffn, DenseFfn) else ffn.shared_width
