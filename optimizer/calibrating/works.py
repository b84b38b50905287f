"""The work of a timed operator, as the cost model counts it."""

from functools import cache

from models.architecture import Architecture, GroupedQuery, LayerGroup, MoeFfn
from models.attention import Shard, decode_core, prefill_core
from models.formats import DType
from models.operators import Work, elementwise, gemm, routed_experts
from models.units import WHOLE
from optimizer.calibrating.timings import Timing

ACTIVATIONS: DType = "bf16"  # what every operator is timed with beside its weights or cache


def work_of(row: Timing) -> Work:
    """FLOP, bytes and shape of a timed operator, of no collective; by the same functions that price a model's operators."""
    shape = row.shape
    match row.kind:
        case "copy":
            return elementwise(_model(row.storage, row.storage), 2 * shape[0])
        case "gemm":
            return gemm(_model(row.storage), "ffn", *shape)
        case "expert_gemm":
            rows, experts, inputs, width, matrices = shape
            ffn = MoeFfn.model_validate(
                {"kind": "moe", "experts": experts, "top_k": 1, "intermediate_size": width, "matrices": matrices, "latent_size": inputs}
            )
            return routed_experts(_model(row.storage), ffn, rows, experts * WHOLE, 1)
        case "prefill_attention" | "decode_attention":
            sequences, queries, context, heads, kv_heads, width = shape
            attention = GroupedQuery(kind="gqa", heads=heads, kv_heads=kv_heads, head_dim=width)
            shard = Shard(sequences, sequences * queries, sequences * queries)
            if row.kind == "prefill_attention":
                return prefill_core(_model(row.storage), attention, shard, 1, context, queries, 1)[0]
            return decode_core(_model(row.storage), attention, shard, 1, context, 1)[0]
        case _:
            raise AssertionError(f"{row.kind} is a collective")


@cache
def _model(storage: DType, activations: DType = ACTIVATIONS) -> Architecture:
    """A model of one layer that stores weights and cache in one format; operators take their formats from it."""
    return Architecture(
        name="timed",
        hidden_size=1,
        vocabulary_size=1,
        tied_embeddings=True,
        weight_dtype=storage,
        kv_dtype=storage,
        activation_dtype=activations,
        dispatch_dtype=activations,
        combine_dtype=activations,
        layers=(LayerGroup(count=1, attention=GroupedQuery(kind="gqa", heads=1, kv_heads=1, head_dim=1)),),
        source="assumed: stands for one timed operator",
    )
