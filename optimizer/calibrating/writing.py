"""From timings to the record of the machine: peaks and curves of its GPU, laws of its fabric, each with its source and its errors."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from models.cluster import Accelerator, Collective, Curve, Law, Link
from models.errors import InputError
from models.units import MAX_INT, NS_PER_S, PPM
from optimizer.calibrating.fitting import Quality, fit_copies, fit_curve
from optimizer.calibrating.laws import LAWS_OF, among, fit_laws, one_domain
from optimizer.calibrating.timings import COLLECTIVES, FEWEST_ROWS, Timing, Timings
from optimizer.calibrating.works import work_of

Json = dict[str, Any]
Series = dict[str, list[Timing]]
Fits = dict[str, Quality]
FORMAT = "shardproof-calibration/1"
CACHED = 4  # a copy of at least so many caches is one of the memory


def calibration(timings: Timings, name: str, say: Callable[[str], None]) -> Json:
    """The record of a machine: what may be written into a pool of an instance, the errors of each fit, and what was not measured.

    Raises InputError where the timings do not suffice or no machine can have made them.
    """
    series = _series(timings)
    fits: Fits = {}
    try:
        accelerator = _accelerator(timings, name, series, fits, say)
        scale_up = _scale_up(timings, accelerator, series, fits, say)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"timings: no machine runs like this ({where}: {first['msg']}); check the times and shapes") from error
    pool: Json = {"accelerator": _dump(accelerator)}
    if scale_up is not None:
        gpus = timings.device.gpus
        pool |= {"gpus_per_node": gpus, "scale_up_domain_gpus": gpus, "scale_up": _dump(scale_up)}
    return {
        "format": FORMAT,
        "name": name,
        "device": timings.device.model_dump(mode="json"),
        "fits": {key: found._asdict() for key, found in fits.items()},
        "lacks": _lacks(accelerator, scale_up),
        "pool": pool,
    }


def _dump(record: Accelerator | Link) -> Json:
    found: Json = record.model_dump(mode="json", exclude_defaults=True)
    return found


def _series(timings: Timings) -> Series:
    """Rows by kind and format, or by kind for collectives; enough of each. Raises InputError where there are not."""
    series: Series = defaultdict(list)
    for row in timings.timings:
        series[row.kind if row.kind in (*COLLECTIVES, "copy") else f"{row.kind}.{row.storage}"].append(row)
    if "copy" not in series or not any(key.startswith("gemm.") for key in series):
        raise InputError("timings: copies and GEMMs must be among them; measure them too")
    for key, rows in series.items():
        if len(rows) < FEWEST_ROWS:
            raise InputError(f"timings: {len(rows)} of {key}; a fit needs at least {FEWEST_ROWS}, measure more or leave them out")
    return dict(sorted(series.items()))


def _accelerator(timings: Timings, name: str, series: Series, fits: Fits, say: Callable[[str], None]) -> Accelerator:
    """The GPU: fastest rates as peaks, then shares of them by copies and by a curve for each kind of operator and format."""
    device, how = timings.device, _how(timings)
    draft = Accelerator(
        name=name,
        memory_bytes=device.memory_bytes,
        hbm_bytes_per_s=_fastest_copy(series["copy"], device.cache_bytes),
        peak_flop_per_s=_peaks(series),
        gemm_efficiency_ppm=PPM,
        expert_gemm_efficiency_ppm=PPM,
        attention_efficiency_ppm=PPM,
        hbm_efficiency_ppm=PPM,
        kernel_launch_ns=0,
        multiprocessors=device.multiprocessors,
        sources={"*": how},
    )
    draft, fits["copy"] = fit_copies(draft, series["copy"])
    curves: dict[str, Curve] = {}
    for key, rows in series.items():
        if "." in key:
            say(f"fitting {key}, {len(rows)} rows")
            curves[key], fits[key] = fit_curve(draft, rows)
    flat, sources = _flat(curves, how)
    fastest = "measured: the fastest {} of the grid, " + how.removeprefix("measured: ")
    sources |= {
        "memory_bytes": "measured: total memory that the driver reports",
        "multiprocessors": "measured: as the driver reports",
        "hbm_bytes_per_s": fastest.format("copy larger than the cache"),
        "peak_flop_per_s": fastest.format("GEMM in each format"),
        "*": how,
    }
    return Accelerator.model_validate(
        draft.model_dump() | flat | {"curves": {k: c.model_dump() for k, c in curves.items()}, "sources": sources}
    )


def _how(timings: Timings) -> str:
    return f"measured: shardproof calibrate on {timings.device.name}, {timings.device.software}; median of repeats"


def _fastest_copy(copies: Sequence[Timing], cache_bytes: int) -> int:
    """Bytes read and written per second by the fastest copy that no cache holds; by the largest where all fit."""
    sized = [(work_of(row).bytes, row.ns) for row in copies]
    beyond = [(size, ns) for size, ns in sized if size >= CACHED * cache_bytes] or [max(sized)]
    return max(_rate(size, ns, "copy") for size, ns in beyond)


def _peaks(series: Series) -> dict[str, int]:
    """FLOP per second of the fastest GEMM in each arithmetic."""
    peaks: dict[str, int] = {}
    for key, rows in series.items():
        if key.startswith(("gemm.", "expert_gemm.")):
            for row in rows:
                work = work_of(row)
                peaks[work.dtype] = max(peaks.get(work.dtype, 0), _rate(work.flop, row.ns, key))
    return peaks


def _rate(amount: int, ns: int, what: str) -> int:
    """Per second, at least 1. Raises InputError for what no machine attains."""
    rate = max(1, amount * NS_PER_S // ns)
    if rate > MAX_INT:
        raise InputError(f"timings: {what} at {rate:.3g} bytes or FLOP per second; no machine runs like this, check its times and shapes")
    return rate


def _flat(curves: dict[str, Curve], how: str) -> tuple[Json, dict[str, str]]:
    """Shares that hold for formats without a curve: those of the bf16 curve of their kind, else of the GEMMs."""
    efficiency, sources = {}, {}
    gemm = curves.get("gemm.bf16") or next(c for key, c in curves.items() if key.startswith("gemm."))
    kinds = {"gemm": "gemm", "expert_gemm": "expert_gemm", "attention": "prefill_attention"}
    for field, kind in kinds.items():
        own = next((c for key, c in curves.items() if key.startswith(f"{kind}.")), None)
        chosen = curves.get(f"{kind}.bf16") or own or gemm
        efficiency[f"{field}_efficiency_ppm"] = min(PPM, chosen.flop_efficiency_ppm)
        sources[f"{field}_efficiency_ppm"] = how if own else "assumed: that of the GEMMs; none of these operators was timed"
    return efficiency, sources


def _scale_up(timings: Timings, accelerator: Accelerator, series: Series, fits: Fits, say: Callable[[str], None]) -> Link | None:
    """The fabric between the GPUs: the fastest rate as its bandwidth, then a law or two of each collective; None where none was timed."""
    timed = {key: rows for key, rows in series.items() if key in COLLECTIVES}
    if not timed:
        return None
    how = _how(timings)
    blank = Link(bandwidth_bytes_per_s=1, latency_ns=0, sources={"*": how})
    bare = one_domain(accelerator, blank, timings.device.gpus)
    fastest = max(_rate(among(bare, row).scale_up_bytes, row.ns, key) for key, rows in timed.items() for row in rows)
    pool = bare.model_copy(update={"scale_up": blank.model_copy(update={"bandwidth_bytes_per_s": fastest})})
    laws: dict[Collective, tuple[Law, ...]] = {}
    for key, rows in timed.items():
        say(f"fitting {key}, {len(rows)} rows")
        found, fits[key] = fit_laws(pool, rows)
        laws |= dict.fromkeys(LAWS_OF[key], found)
    sources = {
        "bandwidth_bytes_per_s": "measured: the fastest collective of the grid, " + how.removeprefix("measured: "),
        "latency_ns": "measured: the least start-up of the laws",
        "laws": how + ("; dispatch and combine as NCCL's all-to-all" if "all_to_all" in timed else ""),
    }
    latency = min(law.fixed_ns for several in laws.values() for law in several)
    made = Link(bandwidth_bytes_per_s=fastest, latency_ns=latency, laws=laws, sources=sources)
    return Link.model_validate(made.model_dump())


def _lacks(accelerator: Accelerator, scale_up: Link | None) -> list[str]:
    """What the record does not know, in sentences."""
    kinds = {key.split(".")[0] for key in accelerator.curves}
    lacks = [
        f"no curve of {kind}: the flat shares hold"
        for kind in ("expert_gemm", "prefill_attention", "decode_attention")
        if kind not in kinds
    ]
    lacks.append("no curve of multi-head latent attention: attention_efficiency_ppm and the bandwidth hold")
    if scale_up is None:
        lacks.append("no scale-up link: collectives were not timed, copy it from the catalogue or a data sheet")
    else:
        lacks.append("scale-up is taken to be switched; where the GPUs form a full mesh, say so in scale_up.topology")
    return [*lacks, "no scale-out link: one node was timed, copy it from the catalogue or a data sheet"]
