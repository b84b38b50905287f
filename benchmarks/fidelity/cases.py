"""What is asked of a cost model, one measured configuration, and what it may answer.

`price(case)` returns a `Prediction` in the units of the measurement, or `Unpriced` with the reason in one clause.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Workers:
    """`count` equal engine instances of one role; each spans `tp * pp * dp` GPUs."""

    count: int
    tp: int
    pp: int
    dp: int
    ep: int
    moe_tp: int

    @property
    def gpus(self) -> int:
        """GPUs of all instances together."""
        return self.count * self.tp * self.pp * self.dp


@dataclass(frozen=True)
class Case:
    """One distinct measured configuration; rows that agree in all of it share one prediction.

    model, accelerator   catalogue names (`names.py`), never an unmatched one
    precision            bf16, fp16, fp8, fp4, int8, w8a16 (8-bit weights, 16-bit arithmetic), w4a16, ...
    num_gpus             GPUs of the whole deployment; gpus_per_node: GPUs that share a host
    engine               vllm, sglang, trtllm, ...; engine_version as printed, "" when not stated
    tp, pp, cp           tensor, pipeline, context degrees; dp: attention replicas inside one engine
    ep, moe_tp           expert degree, tensor degree inside an expert (means nothing for a dense model)
    mode                 aggregated | disaggregated | static_batch | offline_max | offline | disagg_prefill | disagg_decode
    concurrency          requests in flight in the whole deployment (static_batch: the batch); None: as many as fit, or not stated
    requests             all submitted at once, where the source says how many
    tokens_per_gpu       prompt tokens of one step per GPU, where the load is stated so
    isl, osl             nominal mean prompt and output tokens; None when not stated
    random_range         true lengths are drawn from 80 % to 100 % of nominal: their mean is about 0.9 of it
    prefill, decode      the workers of a disaggregated row (tp, dp, ep of the row are then the decode worker's)
    """

    model: str
    precision: str
    accelerator: str
    num_gpus: int
    gpus_per_node: int
    engine: str
    engine_version: str
    tp: int
    pp: int
    dp: int
    ep: int
    moe_tp: int
    cp: int
    mode: str
    concurrency: int | None
    requests: int | None
    tokens_per_gpu: int | None
    isl: float | None
    osl: float | None
    family: str
    random_range: bool = False
    prefill: Workers | None = None
    decode: Workers | None = None
    mtp: int = 0  # draft tokens per step
    redundant_experts: int = 0
    expert_slots: int | None = None  # physical slots per MoE layer, where the source counts those
    two_batch_overlap: bool = False
    kv_length: float | None = None  # mean cached tokens per request during decode
    kv_precision: str = ""  # "" when not stated
    cached_share: float = 0.0  # share of prompt tokens found in the prefix cache and still counted in the throughput
    max_batch_per_rank: int | None = None

    @property
    def cell(self) -> tuple[str, str, str, str, str]:
        """What errors are shared over: model, precision, accelerator, engine, family."""
        return self.model, self.precision, self.accelerator, self.engine, self.family


@dataclass(frozen=True)
class Prediction:
    """Predicted values; None where the model does not predict that quantity for that case.

    Throughputs are tokens per second of the whole deployment (the report divides by GPUs or nodes). `terms` are milliseconds of one
    output token (or of the one step measured) by named term, `prefill_terms` those of the time to first token; the largest is named beside
    a bad row. `moe`: the model has experts.
    """

    tpot_ms: float | None = None
    ttft_ms: float | None = None
    batch_latency_s: float | None = None
    output_throughput: float | None = None
    input_throughput: float | None = None
    total_throughput: float | None = None
    prefill_time_ms: float | None = None
    token_time_ms: float | None = None
    moe: bool | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    prefill_terms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Unpriced:
    """Why a case has no prediction, as a clause that rows can be counted by."""

    reason: str


Price = Callable[[Case], Prediction | Unpriced]


class Pricing(NamedTuple):
    """A cost model under test, and the names it knows."""

    price: Price
    models: tuple[str, ...]
    accelerators: tuple[str, ...]
