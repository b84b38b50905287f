"""What one forward pass processes, and how tokens spread over experts."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.record import Record, SourcedRecord, StopAtFirst
from models.units import Bytes, Ppm

Count = Annotated[int, Field(ge=1, le=10_000_000)]


class Prefill(SourcedRecord):
    """One pass over `sequences` prompts of `tokens_per_sequence` tokens each; one token leaves per prompt."""

    kind: Literal["prefill"]
    sequences: Count
    tokens_per_sequence: Count

    @property
    def tokens(self) -> int:
        """Tokens that one pass processes."""
        return self.sequences * self.tokens_per_sequence

    @property
    def context_tokens(self) -> int:
        """Tokens whose keys and values one sequence holds: the whole prompt."""
        return self.tokens_per_sequence


class Decode(SourcedRecord):
    """One step that adds one token to each of `sequences` sequences of `context_tokens` tokens."""

    kind: Literal["decode"]
    sequences: Count
    context_tokens: Count

    @property
    def tokens(self) -> int:
        """Tokens that one pass processes."""
        return self.sequences


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


class Runtime(SourcedRecord):
    """What the serving engine adds: memory it takes, and communication it hides."""

    activation_bytes_per_token: Bytes = Field(description="working memory per token in flight on one rank")
    collective_buffer_bytes: Bytes = Field(description="buffers of the communication library, per GPU")
    reserve_bytes: Bytes = Field(description="memory kept free, per GPU")
    overlap_ppm: Ppm = Field(description="share of a layer's communication hidden behind its computation")
