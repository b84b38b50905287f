"""What one forward pass processes, and how tokens spread over experts."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from models.record import Record, SourcedRecord, StopAtFirst
from models.units import PPM, Bytes, Multiple, Nanoseconds, Ppm

Count = Annotated[int, Field(ge=1, le=10_000_000)]


class Pass(SourcedRecord):
    """What the passes have in common."""

    growth_tokens: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=0, description="tokens that each sequence will still add; room for them in its cache is held from the start"
    )

    @model_serializer(mode="wrap")
    def _without_growth(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """No growth is not written, so that an instance without it has the digest it always had."""
        written: dict[str, Any] = write(self)
        if not written.get("growth_tokens"):
            written.pop("growth_tokens", None)
        return written


class Prefill(Pass):
    """One pass over `sequences` prompts of `tokens_per_sequence` tokens each; one token leaves per prompt."""

    kind: Literal["prefill"]
    sequences: Count
    tokens_per_sequence: Count
    prefix_tokens: Annotated[int, Field(ge=0, le=10_000_000, description="tokens before the prompt whose cache is held already")] = 0

    @property
    def tokens(self) -> int:
        """Tokens that one pass processes."""
        return self.sequences * self.tokens_per_sequence

    @property
    def context_tokens(self) -> int:
        """Tokens whose keys and values one sequence holds: the cached prefix and the whole prompt."""
        return self.prefix_tokens + self.tokens_per_sequence

    @property
    def new_tokens(self) -> int:
        """Tokens of one sequence that the pass processes."""
        return self.tokens_per_sequence


class Decode(Pass):
    """One step that adds one token to each of `sequences` sequences of `context_tokens` tokens."""

    kind: Literal["decode"]
    sequences: Count
    context_tokens: Count

    @property
    def tokens(self) -> int:
        """Tokens that one pass processes."""
        return self.sequences

    @property
    def new_tokens(self) -> int:
        """Tokens of one sequence that the pass processes."""
        return 1


Workload = Annotated[Prefill | Decode, Field(discriminator="kind")]


Row = Annotated[tuple[Annotated[int, Field(ge=0, le=10**12)], ...], Field(max_length=4096), StopAtFirst()]
Rows = Annotated[tuple[Row, ...], StopAtFirst()]


class ExpertLoad(Record):
    """Tokens routed to each expert: one row per MoE layer, or a single row that holds for all."""

    counts: Rows = Field(min_length=1, max_length=1000)
    source: str = Field(min_length=1, max_length=400)

    @model_validator(mode="after")
    def _rows_agree(self) -> Self:
        for r, row in enumerate(self.counts):
            if len(row) != len(self.counts[0]):
                raise ValueError(f"row {r} has {len(row)} counts, row 0 has {len(self.counts[0])}; give one count per expert")
            if not any(row):
                raise ValueError(f"row {r} has no tokens at all; give at least one positive count")
        return self


Exchange = Literal["hierarchical", "direct", "gather"]
"""How tokens reach their experts: once per destination domain and then inside it; each copy straight to its rank; or every
rank of the expert group takes every token and keeps its own experts' share of the sum."""


class Runtime(SourcedRecord):
    """What the serving engine adds: memory it takes, time of its own, and communication it hides.

    The four scalars `step_ns`, `launch_share_ppm`, `operator_scale_ppm` and `interference_ppm` are the engine's overheads.
    """

    activation_bytes_per_token: Bytes = Field(description="working memory per token in flight on one rank")
    collective_buffer_bytes: Bytes = Field(description="buffers of the communication library, per GPU")
    reserve_bytes: Bytes = Field(description="memory kept free, per GPU")
    overlap_ppm: Ppm = Field(description="share of a layer's communication hidden behind its computation")
    expert_exchange: Exchange = "hierarchical"
    dp_imbalance_ppm: Ppm = Field(default=0, description="how many more sequences the busiest data-parallel rank has than the mean")
    step_ns: Nanoseconds = Field(default=0, description="host time of one micro-batch: scheduling, sampling, output")
    launch_share_ppm: Multiple = Field(
        default=PPM, description="share of every operator's fixed time that remains, e.g. in a captured graph"
    )
    operator_scale_ppm: Multiple = Field(default=PPM, description="time of an operator beyond its fixed part, over that of the curve")
    interference_ppm: Multiple = Field(
        default=PPM, description="share of the prefills of others that delays a decode step, see `models.serving`"
    )
