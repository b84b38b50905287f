"""Timings of one device as `calibrate` records them: what ran, in which shape, and how long it took."""

from math import prod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.formats import DType
from models.record import Name, Record, StopAtFirst
from models.units import MAX_INT, Bytes

OPERATORS = ("copy", "gemm", "expert_gemm", "prefill_attention", "decode_attention")
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send")
FEWEST_ROWS = 8  # of one kind and format, for a fit
MOST_ROWS = 20_000

TimedKind = Literal[
    "copy",
    "gemm",
    "expert_gemm",
    "prefill_attention",
    "decode_attention",
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "send",
]
Extent = Annotated[int, Field(ge=1, le=1 << 40)]

AXES: dict[str, tuple[str, ...]] = {
    "copy": ("elements",),
    "gemm": ("rows", "inputs", "outputs"),
    "expert_gemm": ("rows", "experts", "inputs", "width", "matrices"),
    "prefill_attention": ("sequences", "query tokens", "context", "heads", "KV heads", "head width"),
    "decode_attention": ("sequences", "query tokens", "context", "heads", "KV heads", "head width"),
    **dict.fromkeys(COLLECTIVES, ("ranks", "bytes")),
}
"""What the numbers of a shape are. Bytes of a collective: the whole tensor; of all_to_all and send, what one rank sends."""

MOST = {"experts": 4096, "ranks": 1024, "rows": 10_000_000, "sequences": 10_000_000}
MOST_OF_A_SIZE = 10_000_000  # of the others but elements and bytes, as in an architecture


class Device(Record):
    """The GPU that was timed, as its driver states it."""

    name: Name
    memory_bytes: Bytes = Field(gt=0)
    multiprocessors: Annotated[int, Field(ge=1, le=4096)]
    cache_bytes: Bytes = Field(description="last-level cache; copies of less tell nothing about the memory's bandwidth")
    gpus: Annotated[int, Field(ge=1, le=1024)] = Field(description="GPUs of this kind that took part in collectives")
    software: Name = Field(description="versions of what ran the operators")


class Timing(Record):
    """One operator or collective in one shape: the median of `repeats` measurements."""

    kind: TimedKind
    storage: DType = Field(description="number format of the weights; of the cache, for attention; of what is moved")
    shape: tuple[Extent, ...] = Field(min_length=1, max_length=6)
    ns: Annotated[int, Field(ge=1, le=10**12)]
    repeats: Annotated[int, Field(ge=1, le=1_000_000)]

    @model_validator(mode="after")
    def _shape_is_one_of_its_kind(self) -> Self:
        axes = AXES[self.kind]
        if len(self.shape) != len(axes):
            raise ValueError(f"shape of {self.kind} has {len(self.shape)} numbers; write {', '.join(axes)}")
        for axis, extent in zip(axes, self.shape, strict=True):
            if axis not in ("elements", "bytes") and extent > MOST.get(axis, MOST_OF_A_SIZE):
                raise ValueError(f"{axis} {extent} of {self.kind} is more than {MOST.get(axis, MOST_OF_A_SIZE)}; correct it")
        if prod(self.shape) > MAX_INT // 64:
            raise ValueError(f"shape {list(self.shape)} of {self.kind} is larger than any machine holds; correct it")
        wrong = self._contradiction()
        if wrong:
            raise ValueError(f"{wrong}, in {self.kind} of shape {list(self.shape)}; correct it")
        return self

    def _contradiction(self) -> str:
        """Which two numbers of the shape do not go together; "" where all do."""
        shape = self.shape
        if self.kind in COLLECTIVES and shape[0] < 2:
            return "a collective needs at least 2 ranks"
        if self.kind == "send" and shape[0] != 2:
            return "a send is between 2 ranks"
        if self.kind == "expert_gemm" and shape[4] not in (2, 3):
            return "an expert has 2 or 3 matrices"
        if self.kind.endswith("attention") and shape[3] % shape[4]:
            return "heads are not a multiple of KV heads"
        if self.kind == "prefill_attention" and shape[1] > shape[2]:
            return "query tokens are more than the context"
        if self.kind == "decode_attention" and shape[1] != 1:
            return "decode has one query token"
        return ""


class Timings(Record):
    """A timings file."""

    format: Literal["shardproof-timings/1"]
    device: Device
    timings: Annotated[tuple[Timing, ...], StopAtFirst(), Field(min_length=1, max_length=MOST_ROWS)]

    @model_validator(mode="after")
    def _collectives_fit_the_device(self) -> Self:
        for row in self.timings:
            if row.kind in COLLECTIVES and row.shape[0] > self.device.gpus:
                raise ValueError(f"a {row.kind} of {row.shape[0]} ranks, but the device has {self.device.gpus} gpus; correct one of them")
        return self
