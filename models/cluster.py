"""The machine: accelerators, links and pools of identical nodes."""

from typing import Self

from pydantic import Field, model_validator

from models.record import Name, Record, SourcedRecord
from models.units import (
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    MicroUsdPerHour,
    Nanoseconds,
    PositivePpm,
)

MAX_GPUS = 65_536


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


class Link(SourcedRecord):
    """One tier of the network as one GPU sees it, in one direction."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(description="per GPU, one direction")
    latency_ns: Nanoseconds = Field(description="start-up of one round of a collective")
    cap_bytes_per_pass: Bytes | None = Field(default=None, description="traffic allowed through one GPU's port in one pass")


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
