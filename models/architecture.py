"""The language model: its layers in order, and what each holds."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.formats import DType
from models.record import Name, Record, Source

Size = Annotated[int, Field(ge=1, le=10_000_000)]


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
    head_dim: Size = Field(description="width of a query and key head")
    v_head_dim: Size | None = Field(default=None, description="width of a value head; absent: head_dim")
    window: Size | None = Field(default=None, description="each token sees this many last ones (sliding window or chunk); absent: all")
    output_gate: bool = Field(default=False, description="a second projection as wide as the queries gates the output")
    index_heads: Size | None = Field(default=None, description="heads of the index that picks the tokens to attend to; absent: all tokens")
    index_head_dim: Size | None = None
    index_top_k: Size | None = Field(default=None, description="tokens attended to")

    @property
    def value_dim(self) -> int:
        return self.v_head_dim or self.head_dim

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
    index_heads: Size | None = Field(default=None, description="heads of the index that picks the tokens to attend to; absent: all tokens")
    index_head_dim: Size | None = None
    index_top_k: Size | None = Field(default=None, description="tokens attended to; without heads an earlier layer's choice")
    output_gate: bool = Field(default=False, description="a projection as wide as the values gates the output")


class Compressed(Record):
    """Attention over a compressed context (DeepSeek-V4): of every `ratio` tokens one entry is kept, beside the last `window` tokens.

    One key-value head serves all query heads. With an index, the `index_top_k` best entries are attended to; without, all of them.
    """

    kind: Literal["compressed"]
    heads: Size
    head_dim: Size
    q_lora_rank: Size
    o_lora_rank: Size = Field(description="rank of the output projection of each group")
    o_groups: Size
    ratio: Annotated[int, Field(ge=0, le=1_000_000, description="tokens per kept entry; 0: the window only")]
    window: Size
    index_heads: Size | None = None
    index_head_dim: Size | None = None
    index_top_k: Size | None = None


class Recurrent(Record):
    """Attention with a state of constant size: gated delta nets, KDA, Mamba-2, lightning attention.

    Projections: queries, keys, values, `gates` gates as wide as the values, and `extra_outputs` more columns, then the output.
    """

    kind: Literal["recurrent"]
    key_heads: Size = Field(description="heads (or groups) of queries and keys")
    key_head_dim: Size = Field(description="width of a key; of Mamba-2 the state size")
    value_heads: Size
    value_head_dim: Size
    gates: Annotated[int, Field(ge=0, le=4)] = 1
    extra_outputs: Annotated[int, Field(ge=0, le=10_000_000, description="columns for decays, steps and low-rank gates")] = 0
    conv_width: Annotated[int, Field(ge=0, le=64, description="taps of the short convolution over queries, keys and values")] = 0

    @property
    def heads(self) -> int:
        """What tensor parallelism divides."""
        return self.value_heads


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
    latent_size: Size | None = Field(default=None, description="width that routed experts take and give; absent: the hidden size")
    groups: Size = Field(default=1, description="groups of experts that the router ranks first")
    top_groups: Size = Field(default=1, description="groups a token's experts come from")

    @model_validator(mode="after")
    def _top_k_exist(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} exceeds experts {self.experts}; correct one of them")
        if self.experts % self.groups or self.top_groups > self.groups:
            raise ValueError(f"{self.top_groups} of {self.groups} groups of {self.experts} experts: groups must be equal, and enough")
        return self

    @property
    def shared_width(self) -> int:
        """Summed width of the shared experts, 0 when there are none."""
        return self.shared_experts * (self.shared_intermediate_size or self.intermediate_size)


AnyAttention = MultiHead | GroupedQuery | MultiHeadLatent | Compressed | Recurrent
AnyFfn = DenseFfn | MoeFfn
Attention = Annotated[AnyAttention, Field(discriminator="kind")]
Ffn = Annotated[DenseFfn | MoeFfn, Field(discriminator="kind")]


Part = Literal["attention", "ffn", "experts", "embedding"]
"""Classes of modules that may be stored in formats of their own."""


class LayerGroup(Record):
    """`count` consecutive layers of one shape."""

    count: Annotated[int, Field(ge=1, le=1000)]
    attention: Attention | None = Field(default=None, description="absent: a layer of a feed-forward block only")
    ffn: Ffn | None = Field(default=None, description="absent: a layer of attention only")

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.attention is None and self.ffn is None:
            raise ValueError("a layer needs attention or ffn; give at least one")
        return self

    @property
    def moe(self) -> MoeFfn | None:
        """The routed experts, where there are some."""
        return self.ffn if isinstance(self.ffn, MoeFfn) else None


class WeightFormats(Record):
    """Formats of weights by class of module; a class without one is stored in the architecture's `weight_dtype`."""

    attention: DType | None = None
    ffn: DType | None = Field(default=None, description="dense blocks and shared experts")
    experts: DType | None = Field(default=None, description="routed experts")
    embedding: DType | None = Field(default=None, description="embedding and head")


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
    weights: WeightFormats = Field(default=WeightFormats(), description="formats of the classes of modules that differ from weight_dtype")
    mtp_layers: Annotated[int, Field(ge=0, le=16, description="multi-token prediction layers beside `layers`; they are not run")] = 0
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

    def format_of(self, part: Part) -> str:
        """The format in which weights of a class of modules are stored."""
        return getattr(self.weights, part) or self.weight_dtype

    def formats(self) -> tuple[str, ...]:
        """Every format that weights or activations are stored in, each once."""
        parts: tuple[Part, ...] = ("attention", "ffn", "experts", "embedding")
        return tuple(dict.fromkeys((*map(self.format_of, parts), self.activation_dtype)))

    def attentions(self) -> tuple[AnyAttention, ...]:
        """Each distinct attention, in order of first appearance."""
        return tuple(dict.fromkeys(group.attention for group in self.layers if group.attention is not None))

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

    def first_alike(self) -> tuple[int, ...]:
        """For each group, the index of the first group whose layers are equal to its own."""
        shapes = [(group.attention, group.ffn) for group in self.layers]
        first = {shape: g for g, shape in reversed(list(enumerate(shapes)))}
        return tuple(first[shape] for shape in shapes)

    def group_of_layer(self) -> tuple[int, ...]:
        """For each layer, the index of the first group of layers like it."""
        return tuple(g for g, group in zip(self.first_alike(), self.layers, strict=True) for _ in range(group.count))

    def distinct_layers(self) -> tuple[tuple[int, int], ...]:
        """Index of the first group of each distinct layer, and how many such layers there are in all."""
        return tuple(Counter(self.group_of_layer()).items())
