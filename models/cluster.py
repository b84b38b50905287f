"""The machine: accelerators, links and pools of identical nodes."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer, model_validator

from models.measured import OperatorTables
from models.record import Name, Record, SourcedRecord
from models.units import (
    PPM,
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    MicroUsdPerHour,
    Multiple,
    Nanoseconds,
    Norm,
    PositivePpm,
    Ppm,
)

MAX_GPUS = 65_536

CurveName = Annotated[
    str, StringConstraints(pattern=r"^(gemm|expert_gemm|prefill_attention|decode_attention|mla_prefill|mla_decode)\.\w{1,20}$")
]
"""Operator kind and number format of its weights (of its cache, for attention), such as "gemm.fp8"."""


class Curve(Record):
    """How one kind of operator runs in one number format.

    time = fixed + units * unit + norm(FLOP / (peak * efficiency), bytes / (bandwidth * efficiency))
    """

    fixed_ns: Nanoseconds = Field(description="launch, and what every call costs however small")
    flop_efficiency_ppm: Multiple = Field(description="attained share of the peak")
    byte_efficiency_ppm: Multiple = Field(description="attained share of the memory bandwidth; above 1 where caches help")
    norm: Norm = Field(default="max", description="how the two add up")
    unit_ns: Nanoseconds = Field(default=0, description="per expert read, or per sequence of decode attention")
    wave_ppm: Ppm = Field(default=0, description="gemm: share of the FLOP time that runs in whole waves of tiles over the multiprocessors")
    half_rate_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = Field(default=0, description="prefill: prompt length at half the rate")


class Accelerator(SourcedRecord):
    """One GPU: its memory, its peaks, and the share of each peak that operators attain."""

    name: Name
    memory_bytes: Bytes = Field(gt=0, description="memory of one GPU, bytes")
    hbm_bytes_per_s: BytesPerSecond = Field(description="peak memory bandwidth")
    peak_flop_per_s: dict[str, FlopPerSecond] = Field(min_length=1, description="dense peak per dtype (bf16, fp8, ...)")
    gemm_efficiency_ppm: PositivePpm = Field(description="attained share of the peak in projections and dense FFN")
    expert_gemm_efficiency_ppm: PositivePpm = Field(description="attained share of the peak in grouped expert GEMMs")
    attention_efficiency_ppm: PositivePpm = Field(description="attained share of the peak in the attention core")
    hbm_efficiency_ppm: PositivePpm = Field(description="attained share of the memory bandwidth")
    kernel_launch_ns: Nanoseconds = Field(description="fixed cost of one operator")
    multiprocessors: Annotated[int, Field(ge=1, le=4096)] | None = Field(default=None, description="compute units that share tiles")
    curves: dict[CurveName, Curve] = Field(default={}, max_length=200, description="where there is one, it replaces the shares above")
    tables: OperatorTables | None = Field(default=None, description="measured times; where they hold an operator, they replace its curve")

    @model_validator(mode="after")
    def _waves_have_a_width(self) -> Self:
        for name, curve in self.curves.items():
            if curve.wave_ppm and self.multiprocessors is None:
                raise ValueError(f"curves.{name}.wave_ppm needs the number of multiprocessors; add multiprocessors")
        return self

    @model_serializer(mode="wrap")
    def _without_absent_tables(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Tables that are absent are not written, so that an instance without them has the digest it always had."""
        written: dict[str, Any] = write(self)
        if written.get("tables") is None:
            written.pop("tables", None)
        return written


Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "dispatch", "combine", "direct_dispatch", "direct_combine", "send"]


class Law(Record):
    """A measured law of one collective: norm(fixed + (ranks - 1) * per rank, bytes / (bandwidth * efficiency))."""

    fixed_ns: Nanoseconds
    per_rank_ns: Nanoseconds = 0
    efficiency_ppm: Multiple = Field(default=PPM, description="attained share of the link's bandwidth")
    norm: Norm = "sum"
    one_shot: bool = Field(default=False, description="all_reduce: every rank reads the whole of all others, V (g - 1) bytes")


class Link(SourcedRecord):
    """One tier of the network as one GPU sees it, in one direction."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(description="per GPU, one direction")
    latency_ns: Nanoseconds = Field(description="start-up of one round of a collective")
    cap_bytes_per_pass: Bytes | None = Field(default=None, description="traffic allowed through one GPU's port in one pass")
    topology: Literal["switched", "full_mesh"] = Field(
        default="switched", description="full_mesh: a group of g of the domain's n GPUs has (g - 1) / (n - 1) of the bandwidth"
    )
    laws: dict[Collective, Annotated[tuple[Law, ...], Field(min_length=1, max_length=8)]] = Field(
        default={}, description="measured laws; of several the fastest holds; a collective without one takes rounds of latency"
    )


class Pool(Record):
    """Identical nodes; GPU g sits on node g // gpus_per_node, in domain g // scale_up_domain_gpus."""

    name: Name
    accelerator: Accelerator
    nodes: int = Field(ge=1, le=MAX_GPUS)
    gpus_per_node: int = Field(ge=1, le=1024)
    scale_up_domain_gpus: int = Field(ge=1, le=1024, description="GPUs that share the scale-up fabric")
    scale_up: Link
    scale_out: Link
    price_uusd_per_gpu_hour: MicroUsdPerHour | None = Field(default=None, description="micro-USD per GPU-hour")

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @model_validator(mode="after")
    def _domains_tile_nodes(self) -> Self:
        if self.scale_out.topology != "switched":
            raise ValueError("scale_out.topology must be switched; a full mesh joins the GPUs of one scale-up domain only")
        if self.gpus > MAX_GPUS:
            raise ValueError(f"{self.nodes} nodes x {self.gpus_per_node} GPUs is more than {MAX_GPUS} GPUs; use fewer nodes")
        small, large = sorted((self.scale_up_domain_gpus, self.gpus_per_node))
        if large % small:
            raise ValueError(
                f"scale_up_domain_gpus {self.scale_up_domain_gpus} and gpus_per_node {self.gpus_per_node}: one must divide the other"
            )
        return self


class Cluster(Record):
    """Pools of nodes. A prefill or decode pass runs inside one pool."""

    pools: tuple[Pool, ...] = Field(min_length=1, max_length=1, description="exactly one pool in this version")

    @property
    def pool(self) -> Pool:
        return self.pools[0]
