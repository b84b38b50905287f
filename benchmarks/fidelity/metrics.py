"""Which prediction a measured metric is compared with, and in which unit.

A metric's name is a quantity with an optional statistic (_mean, _median, _avg, _p50) and an optional share (_per_gpu, _per_node).
Tail statistics (p90, p99) are not predicted. A unit may be written with words after it ("tok/s/node (8 GPUs)").
"""

import re
from typing import NamedTuple

from benchmarks.fidelity.cases import Case, Prediction

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Quantity(NamedTuple):
    """What is measured: the report's name of it, the prediction's field, that field's unit in seconds (None: tokens per second)."""

    label: str
    field: str
    unit_s: float | None


QUANTITIES = {
    "tpot": Quantity("TPOT", "tpot_ms", 1e-3),
    "itl": Quantity("TPOT", "tpot_ms", 1e-3),
    "ttft": Quantity("TTFT", "ttft_ms", 1e-3),
    "batch_latency": Quantity("batch latency", "batch_latency_s", 1.0),
    "prefill_time": Quantity("prefill time", "prefill_time_ms", 1e-3),
    "token_time": Quantity("token time", "token_time_ms", 1e-3),
    "output_throughput": Quantity("throughput", "output_throughput", None),
    "input_throughput": Quantity("throughput", "input_throughput", None),
    "total_throughput": Quantity("throughput", "total_throughput", None),
}


class Metric(NamedTuple):
    """A metric's quantity and whether it is per GPU or per node ("" for the whole deployment)."""

    quantity: Quantity
    share: str


def metric_of(name: str) -> Metric | None:
    """The metric of a name, or None when nothing predicted compares with it."""
    share = re.search(r"_per_(gpu|node)$", name.casefold())
    base = name.casefold().removesuffix(share[0] if share else "")
    base = re.sub(r"_(mean|median|avg|p50)$", "", base)
    base = re.sub(r"^(mean|median|avg|p50)_", "", base)
    quantity = QUANTITIES.get(base)
    return Metric(quantity, share[1] if share else "") if quantity else None


def unit_factor(quantity: Quantity, unit: str) -> float | None:
    """What a measured value is multiplied by to be in the prediction's unit; None when the unit is of another kind."""
    word = unit.casefold().replace("tokens", "tok").split("(")[0].split()
    first = word[0].split("/")[0] if word else ""
    if not first:
        return 1.0
    if quantity.unit_s is None:
        return 1.0 if first in ("tok", "tps") else None
    return SECONDS[first] / quantity.unit_s if first in SECONDS else None


def predicted_value(name: str, unit: str, case: Case, prediction: Prediction) -> float | str:
    """The prediction in the row's own metric and unit, or why there is none."""
    metric = metric_of(name)
    if metric is None:
        return f"metric {name!r} is not predicted"
    factor = unit_factor(metric.quantity, unit)
    if factor is None:
        return f"unit {unit!r} of metric {name!r} is unknown"
    value = getattr(prediction, metric.quantity.field)
    if value is None:
        return f"the cost model gives no {metric.quantity.field} for serving mode {case.mode!r}"
    if not 0 < value < float("inf"):
        return f"the cost model gives {metric.quantity.field} = {value}, not a positive number"
    parts = {"": 1.0, "gpu": case.num_gpus, "node": case.num_gpus / case.gpus_per_node}[metric.share]
    return float(value) / factor / parts
