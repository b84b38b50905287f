"""What the operator files of `aiconfigurator-core` hold, in the terms of our own operators.

Only the operator tables below `systems/data` are read. Latencies are milliseconds; they become whole ns, rounded up.
"""

from collections.abc import Callable, Iterator, Sequence
from math import ceil, isfinite
from typing import Any, NamedTuple

from models.operators import Kind
from models.units import WHOLE

Row = dict[str, Any]

FORMATS = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "int8_wo": "w8a16",
    "sq": "int8",
    "int4_wo": "int4",
    "nvfp4": "nvfp4",
    "w4a16_mxfp4": "mxfp4",
    "w4a8_mxfp4_mxfp8": "mxfp4",
}
"""Their names of number formats -> ours; of two with one name the first that was measured counts, and other names are left out."""


EVEN = ("balanced", "uniform")  # their names of tokens spread evenly over experts


class Series(NamedTuple):
    """What one table is made of."""

    kind: Kind
    storage: str
    measured_as: str
    width: int
    matrices: int


class Timed(NamedTuple):
    """One measured operator, at its coordinates in the order of `models.measured.AXES`."""

    series: Series
    point: tuple[int, ...]
    ns: int
    curve: tuple[int, ...] = ()
    """what is constant along one measured curve of experts: (experts on the rank, width of an expert there)"""


class Family(NamedTuple):
    """One file of each engine, and how its rows are read."""

    folder: str
    file: str
    columns: tuple[str, ...]
    read: Callable[[Row], Timed | None]


def _ns(row: Row) -> int | None:
    latency = row["latency"]
    return ceil(latency * 1_000_000) if isinstance(latency, float) and isfinite(latency) and latency > 0 else None


def _gemm(row: Row) -> Timed | None:
    name, ns = row["gemm_dtype"], _ns(row)
    if name not in FORMATS or ns is None:
        return None
    return Timed(Series("gemm", FORMATS[name], name, 0, 0), (row["m"], row["k"], row["n"]), ns)


def _experts(row: Row) -> Timed | None:
    """Tokens of all ranks spread evenly: this rank's share of the inputs on its share of the experts."""
    name, ns = row["moe_dtype"], _ns(row)
    inputs, experts = row["num_tokens"] * row["topk"], row["num_experts"]
    ep, tp = row["moe_ep_size"], row["moe_tp_size"]
    if name not in FORMATS or ns is None or row["distribution"] not in EVEN or inputs % ep or experts % ep or row["inter_size"] % tp:
        return None
    rows, local, width = inputs // ep, experts // ep, row["inter_size"] // tp
    matrices = 2 if "nongated" in row["kernel_source"] else 3
    series = Series("expert_gemm", FORMATS[name], name, row["hidden_size"], matrices)
    return Timed(series, (rows, min(rows, local) * WHOLE, width), ns, (local, width))


def _attention(row: Row, kind: Kind, along: int) -> Timed | None:
    cache, ns = row["kv_cache_dtype"], _ns(row)
    if cache not in FORMATS or ns is None or row.get("window_size") or row.get("beam_width", 1) != 1:
        return None
    heads, kv = row["num_heads"], row["num_key_value_heads"] or row["num_heads"]
    series = Series(kind, FORMATS[cache], f"{row['attn_dtype']} on {cache}", row["head_dim"], 0)
    return Timed(series, (row["batch_size"], along, heads, kv), ns)


def _prompts(row: Row) -> Timed | None:
    return _attention(row, "prefill_attention", row["isl"]) if row["step"] == 0 else None


def _steps(row: Row) -> Timed | None:
    return _attention(row, "decode_attention", row["isl"] + row["step"])


def _latent(row: Row, kind: Kind, along: int) -> Timed | None:
    cache, ns = row["kv_cache_dtype"], _ns(row)
    if cache not in FORMATS or ns is None:
        return None
    series = Series(kind, FORMATS[cache], f"{row['mla_dtype']} on {cache}", 512 + 64, 0)
    return Timed(series, (row["batch_size"], along, row["num_heads"]), ns)


def _latent_prompts(row: Row) -> Timed | None:
    return _latent(row, "mla_prefill", row["isl"]) if row["step"] == 0 else None


def _latent_steps(row: Row) -> Timed | None:
    return _latent(row, "mla_decode", row["isl"] + row["step"])


OPTIONAL = ("window_size",)  # columns that older files lack: nothing in them has a window

_CORE = ("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim", "beam_width", "attn_dtype")
_EXPERTS = ("hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size", "distribution", "kernel_source")
_LATENT = ("mla_dtype", "kv_cache_dtype", "num_heads", "batch_size", "isl", "step")

FAMILIES = (
    Family("gemm", "gemm_perf", ("gemm_dtype", "m", "n", "k"), _gemm),
    Family("moe", "moe_perf", ("moe_dtype", "num_tokens", *_EXPERTS), _experts),
    Family("moe", "wideep_generation_moe_perf", ("moe_dtype", "num_tokens", *_EXPERTS), _experts),
    Family("attention", "context_attention_perf", (*_CORE, "kv_cache_dtype"), _prompts),
    Family("attention", "generation_attention_perf", (*_CORE, "kv_cache_dtype"), _steps),
    Family("mla", "context_mla_perf", _LATENT, _latent_prompts),
    Family("mla", "generation_mla_perf", _LATENT, _latent_steps),
)


def timed_rows(family: Family, rows: Sequence[Row]) -> Iterator[Timed]:
    """The rows that can be said in our terms; of two sources of one format, those of the one named first in `FORMATS`."""
    found = [timed for row in evenly_spread(family, rows) if (timed := family.read(row)) is not None]
    order = {name: n for n, name in enumerate(FORMATS)}
    named: dict[tuple[Kind, str], set[str]] = {}
    for timed in found:
        named.setdefault(timed.series[:2], set()).add(timed.series.measured_as)
    chosen = {key: min(names, key=lambda name: order[name.split(" on ")[0]]) for key, names in named.items()}
    return (timed for timed in found if timed.series.measured_as == chosen[timed.series[:2]])


def evenly_spread(family: Family, rows: Sequence[Row]) -> list[Row]:
    """Without the shares of several ranks of a model whose "balanced" tokens were not: where the share of two takes as long as all.

    On its most tokens, a rank of two must take a tenth less than one that has all of them.
    """
    if family.read is not _experts:
        return list(rows)
    times: dict[tuple[Any, ...], dict[tuple[int, int], float]] = {}
    for row in rows:
        if row["moe_tp_size"] == 1 and row["moe_ep_size"] <= 2 and row["distribution"] in EVEN:
            times.setdefault(_model(row), {})[row["num_tokens"], row["moe_ep_size"]] = row["latency"]
    uneven = set()
    for model, found in times.items():
        both = [tokens for tokens, ep in found if ep == 1 and (tokens, 2) in found]
        if both and 10 * found[max(both), 2] > 9 * found[max(both), 1]:
            uneven.add(model)
    return [row for row in rows if row["moe_ep_size"] == 1 or _model(row) not in uneven]


def _model(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("moe_dtype", "hidden_size", "inter_size", "topk", "num_experts"))
