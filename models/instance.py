"""One problem: cluster, architecture, workload, expert load, runtime, space, objective."""

from collections.abc import Iterable, Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from models.architecture import Architecture
from models.cluster import Cluster, Pool
from models.formats import computes_in
from models.record import SOURCE_KINDS, Name, Record, SourcedRecord, Text, digest_of
from models.roofline import peak_format
from models.space import Space
from models.strategy import PlanFile
from models.units import Nanoseconds, TokensPerSecond
from models.workload import ExpertLoad, Runtime, Workload

FORMAT = "shardproof-instance/1"
COST_MODEL = "shardproof-cost/2"

ObjectiveName = Literal["latency", "throughput", "throughput_per_gpu", "cost", "gpus"]


class Limits(Record):
    """Requirements on the pass; a plan that misses one is infeasible."""

    ttft_ns: Nanoseconds | None = Field(default=None, description="longest prefill pass")
    tpot_ns: Nanoseconds | None = Field(default=None, description="longest decode step")
    min_tokens_per_s: TokensPerSecond | None = Field(default=None, description="least tokens of the pass per second")


class Objective(Record):
    """What is minimised (see `models.objective`), and the limits that hold."""

    name: ObjectiveName = "latency"
    limits: Limits = Limits()


class Instance(Record):
    """A complete, self-contained problem."""

    format: Literal["shardproof-instance/1"]
    name: Name
    assumptions: tuple[Text, ...] = Field(default=(), max_length=100)
    cluster: Cluster
    architecture: Architecture
    workload: Workload
    runtime: Runtime
    expert_load: ExpertLoad | None = Field(default=None, description="absent: every expert is equally popular")
    space: Space
    objective: Objective = Objective()
    reference: PlanFile | None = Field(default=None, description="the plan to compare with")
    baseline: PlanFile | None = Field(default=None, description="the plan that improvements are stated against")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        peaks = self.cluster.pool.accelerator.peak_flop_per_s
        for dtype in map(computes_in, self.architecture.formats()):
            if dtype not in peaks and (dtype == self.architecture.activation_dtype or dtype in ("fp32", "bf16", "fp16")):
                raise ValueError(f"the accelerator has no peak for {dtype}; add cluster.pools.0.accelerator.peak_flop_per_s.{dtype}")
        if self.expert_load is not None:
            rows, width = len(self.expert_load.counts), len(self.expert_load.counts[0])
            if width != self.architecture.experts:
                raise ValueError(f"expert_load has {width} counts per row, the model {self.architecture.experts} experts; they must agree")
            if rows not in (1, self.architecture.moe_layers):
                raise ValueError(f"expert_load has {rows} rows; give 1 or one per MoE layer ({self.architecture.moe_layers})")
        torn = [order for order in self.space.orders if not (order.startswith("tp-") and order.endswith("-edp"))]
        if torn and self.runtime.expert_exchange == "gather":
            raise ValueError(
                f'runtime.expert_exchange gather needs tp and expert groups side by side; remove order "{torn[0]}" from space.orders'
            )
        limits = self.objective.limits
        if limits.ttft_ns is not None and self.workload.kind != "prefill":
            raise ValueError("objective.limits.ttft_ns needs a prefill workload; use tpot_ns for decode")
        if limits.tpot_ns is not None and self.workload.kind != "decode":
            raise ValueError("objective.limits.tpot_ns needs a decode workload; use ttft_ns for prefill")
        if self.objective.name == "cost" and not self.cluster.pool.price_uusd_per_gpu_hour:
            raise ValueError("objective cost needs cluster.pools.0.price_uusd_per_gpu_hour above 0")
        return self

    # Identity, not contents: the memo tables of `models.terms` key on the object.
    __hash__ = object.__hash__

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal: all fields, names sorted, no spaces, characters as they are."""
        return digest_of(self)

    def load_of_moe_layer(self, layer: int) -> tuple[int, ...]:
        """Tokens routed to each expert in the `layer`-th MoE layer; ones when no load is given."""
        if self.expert_load is None:
            return (1,) * self.architecture.experts
        counts = self.expert_load.counts
        return counts[0 if len(counts) == 1 else layer]

    def sourced(self) -> Iterator[tuple[str, SourcedRecord]]:
        """Every record of constants with the path where the file states it."""
        yield from sourced_of(self.cluster.pool, "cluster.pools.0")
        yield "workload", self.workload
        yield "runtime", self.runtime

    def stated_assumptions(self) -> list[str]:
        """The instance's own assumptions, arithmetic that the accelerator lacks, then every constant whose source is `assumed`."""
        return [*self.assumptions, *computed_otherwise(self.architecture, self.cluster.pool), *assumed(self.sourced())]

    def weakest_source(self) -> str:
        """The least trustworthy kind of source among the constants."""
        return weakest(self.sourced())


Sourced = Iterable[tuple[str, SourcedRecord]]
"""Records of constants, each with the path where the file states it."""


def sourced_of(pool: Pool, path: str) -> Iterator[tuple[str, SourcedRecord]]:
    """The records of constants of a pool."""
    yield f"{path}.accelerator", pool.accelerator
    yield f"{path}.scale_up", pool.scale_up
    yield f"{path}.scale_out", pool.scale_out


def computed_otherwise(architecture: Architecture, pool: Pool) -> Iterator[str]:
    """Arithmetic that the accelerator lacks, in sentences."""
    for stored in architecture.formats():
        if (dtype := computes_in(stored)) != (used := peak_format(pool.accelerator, dtype)):
            yield f"{stored} is computed in {used}: {pool.accelerator.name} has no peak for {dtype}."


def assumed(records: Sourced) -> Iterator[str]:
    """Every constant whose source is `assumed`, with its value."""
    for path, record in records:
        for field in record.constants():
            source = record.source_of(field)
            if source.startswith("assumed:"):
                value = getattr(record, field)
                shown = "" if field in ("curves", "laws", "tables") else f" = {value}"  # tables of records do not fit in a sentence
                yield f"{path}.{field}{shown} ({source})"


def weakest(records: Sourced) -> str:
    """The least trustworthy kind of source among the constants."""
    kinds = {r.source_of(f).split(":", 1)[0] for _, r in records for f in r.constants()}
    return max(kinds, key=SOURCE_KINDS.index)
