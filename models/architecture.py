"""The language model: its layers in order, and what each holds."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.record import Name, Record, Source

Size = Annotated[int, Field(ge=1, le=10_000_000)]
DType = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4"]
BITS: dict[str, int] = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4}


class MultiHead(Record):
    """Multi-head attention: every query head has its own key and value."""

    kind: Literal["mha"]
    heads: Size
    head_dim: Size

    @property
    def kv_heads(self) -> int:
        return self.heads


class GroupedQuery(Record):
    """Grouped-query attention (arXiv 2305.13245): `kv_heads` keys and values shared by `heads` queries."""

    kind: Literal["gqa"]
    heads: Size
    kv_heads: Size
    head_dim: Size

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}; correct one of them")
        return self


class MultiHeadLatent(Record):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): one shared latent per token is cached."""

    kind: Literal["mla"]
    heads: Size
    q_lora_rank: Size | None = Field(default=None, description="rank of the query projection; absent: full rank")
    kv_lora_rank: Size
    qk_nope_head_dim: Size
    qk_rope_head_dim: Size
    v_head_dim: Size


class DenseFfn(Record):
    """A feed-forward block of `matrices` weight matrices (2: up, down; 3: gate, up, down)."""

    kind: Literal["dense"]
    intermediate_size: Size
    matrices: Literal[2, 3]


class MoeFfn(Record):
    """Routed experts (top_k of `experts` per token) plus shared experts that every token passes."""

    kind: Literal["moe"]
    experts: Annotated[int, Field(ge=1, le=4096)]
    top_k: Annotated[int, Field(ge=1, le=4096)]
    intermediate_size: Size = Field(description="width of one routed expert")
    matrices: Literal[2, 3]
    shared_experts: Annotated[int, Field(ge=0, le=64)] = 0
    shared_intermediate_size: Size | None = Field(default=None, description="width of one shared expert; absent: intermediate_size")

    @model_validator(mode="after")
    def _top_k_exist(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} exceeds experts {self.experts}; correct one of them")
        return self

    @property
    def shared_width(self) -> int:
        """Summed width of the shared experts, 0 when there are none."""
        return self.shared_experts * (self.shared_intermediate_size or self.intermediate_size)


Attention = Annotated[MultiHead | GroupedQuery | MultiHeadLatent, Field(discriminator="kind")]
Ffn = Annotated[DenseFfn | MoeFfn, Field(discriminator="kind")]


class LayerGroup(Record):
    """`count` consecutive layers of one shape."""

    count: Annotated[int, Field(ge=1, le=1000)]
    attention: Attention
    ffn: Ffn


class Architecture(Record):
    """Layers in order, and the number formats of weights, cache, activations and messages."""

    name: Name
    hidden_size: Size
    vocabulary_size: Size
    tied_embeddings: bool
    weight_dtype: DType
    kv_dtype: DType
    activation_dtype: DType
    dispatch_dtype: DType
    combine_dtype: DType
    layers: tuple[LayerGroup, ...] = Field(min_length=1, max_length=1000)
    source: Source

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if self.layer_count > 1000:
            raise ValueError(f"{self.layer_count} layers in all; at most 1000 are supported")
        shapes = {(g.ffn.experts, g.ffn.top_k, g.ffn.intermediate_size) for g in self.layers if isinstance(g.ffn, MoeFfn)}
        if len({experts for experts, _, _ in shapes}) > 1:
            raise ValueError("MoE layers with different numbers of experts are not supported; give every MoE layer the same")
        return self

    @property
    def layer_count(self) -> int:
        return sum(g.count for g in self.layers)

    @property
    def moe_layers(self) -> int:
        """How many layers route to experts."""
        return sum(g.count for g in self.layers if isinstance(g.ffn, MoeFfn))

    @property
    def experts(self) -> int:
        """Routed experts per MoE layer; 0 for a dense model."""
        return next((g.ffn.experts for g in self.layers if isinstance(g.ffn, MoeFfn)), 0)

    def group_of_layer(self) -> tuple[int, ...]:
        """For each layer, the index of its group."""
        return tuple(g for g, group in enumerate(self.layers) for _ in range(group.count))
