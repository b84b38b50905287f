"""python -m benchmarks.fidelity.kernels [--json]: the catalogue's operator curves against the measured rows they stand for.

Where `aiconfigurator-core` and pyarrow are installed, every curve prices rows of the engine it was fitted to, on the same operators
as a search would: plain GEMMs of 256 to 20000 inputs and outputs and at most 16384 rows, balanced gated experts, prompts from 16
tokens, decode of grouped queries. Beside it stands what the kernel file records: the error of the constants that were published for
the tables, on rows left out of their fit. Without the package only those are printed.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from models.architecture import Architecture
from models.attention import Shard, decode_core, prefill_core
from models.catalogue.files import read, stems
from models.catalogue.machines import machine, machine_names, pool_record
from models.cluster import Accelerator
from models.operators import Work, gemm, routed_experts
from models.roofline import operator_ns
from models.workload import Runtime
from optimizer.measuring.sources import FAMILIES, OPTIONAL, Family, Timed, timed_rows

MOST_ROWS = 4000  # of one curve, evenly spread over its table
PUBLISHED = [family for family in FAMILIES if not family.file.startswith("wideep")]  # the tables behind the published constants
Json = dict[str, Any]


class Error(NamedTuple):
    """How one curve follows the rows of its table; absolute errors in percent, None where there are no rows."""

    file: str
    """system, and the engine whose own curves the file holds"""
    curve: str
    engine: str
    recorded_pct: float
    rows: int
    median_pct: float | None
    p90_pct: float | None
    bias_pct: float | None
    """median of the signed errors: above 0 where the curve is dearer"""


def kernel_errors() -> list[Error]:
    """One line per curve of every kernel file."""
    return [error for stem in stems("kernels") for error in _file_errors(stem, read("kernels", stem))]


def _file_errors(stem: str, file: Json) -> Iterator[Error]:
    accelerator = _accelerator(file["system"], file["curves"])
    for name, said in sorted(file["chosen"].items()):
        engine, recorded = said.removesuffix(" %").split(", ")
        errors = sorted(_errors(accelerator, file["system"], engine, name))
        sizes = sorted(map(abs, errors))
        whole = (median(sizes), sizes[-(-len(sizes) * 9 // 10) - 1], median(errors)) if errors else (None, None, None)
        yield Error(stem, name, engine, float(recorded), len(errors), *whole)


def _accelerator(system: str, curves: Json) -> Accelerator:
    """The machine whose own curves those of the system are, with these curves only."""
    found = (machine(name) for name in machine_names())
    own = next(m for m in found if m.kernels[:1] == (system,) and "kernels" in m.measured)
    record = pool_record(own.name, 1)["accelerator"] | {"curves": curves}
    return Accelerator.model_validate_json(json.dumps(record))


RUNTIME = Runtime.model_validate_json(
    json.dumps(
        {"activation_bytes_per_token": 0, "collective_buffer_bytes": 0, "reserve_bytes": 0, "overlap_ppm": 0}
        | {"sources": {"*": "assumed: an operator by itself, without an engine"}}
    )
)


def _errors(accelerator: Accelerator, system: str, engine: str, curve: str) -> list[float]:
    """Signed errors of one curve on its rows, percent."""
    kind, storage = curve.split(".")
    storage = {"int8_wo": "w8a16"}.get(storage, storage)
    rows = [t for t in _timed(system, engine, kind) if t.series.storage == storage and _is_fitted(t)]
    some = rows[:: -(-len(rows) // MOST_ROWS) or 1]
    return [100 * (operator_ns(accelerator, RUNTIME, work_of(t)) / t.ns - 1) for t in some]


@cache
def _timed(system: str, engine: str, kind: str) -> tuple[Timed, ...]:
    """The rows of one kind of operator; none where the package is missing or has no such table."""
    spec = find_spec("aiconfigurator_core")
    if spec is None or find_spec("pyarrow") is None or not spec.submodule_search_locations:
        return ()
    data = Path(next(iter(spec.submodule_search_locations))) / "systems" / "data" / system
    return tuple(timed for family in PUBLISHED for timed in _family(family, data, engine) if timed.series.kind == kind)


@cache
def _family(family: Family, data: Path, engine: str) -> tuple[Timed, ...]:
    """One file's rows: of several versions the largest file, as `import-tables` takes."""
    from pyarrow.parquet import ParquetFile

    found = sorted((data / family.folder / engine).glob(f"*/{family.file}.parquet"), reverse=True)
    if not found:
        return ()
    file = ParquetFile(max(found, key=lambda p: p.stat().st_size))
    columns = [name for name in (*family.columns, *OPTIONAL, "latency") if name in file.schema_arrow.names]
    return tuple(timed_rows(family, file.read(columns=columns).to_pylist()))


def _is_fitted(timed: Timed) -> bool:
    """Whether a row is among those that the published constants are about."""
    match timed.series.kind, timed.point:
        case "gemm", (rows, inputs, outputs):
            return rows <= 16384 and all(256 <= width <= 20000 for width in (inputs, outputs))
        case "expert_gemm", _:
            return timed.series.matrices == 3
        case "decode_attention", (_, _, heads, kv_heads):
            return heads > kv_heads
        case "prefill_attention" | "mla_prefill", (_, prompt, *_):
            return prompt >= 16
    return True


def work_of(timed: Timed) -> Work:
    """The row as an operator of the cost model."""
    series, point = timed.series, timed.point
    if series.kind == "gemm":
        return gemm(_architecture(series.storage, 1), "ffn", *point)
    if series.kind == "expert_gemm":
        arch = _architecture(series.storage, series.width, ("moe", point[2], series.matrices))
        (ffn,) = (group.moe for group in arch.layers)
        assert ffn is not None, "an expert has its layer"
        return routed_experts(arch, ffn, point[0], point[1], 1)
    sequences, tokens, *heads = point
    arch = _architecture(series.storage, 1, None, (series.kind[:3] == "mla", series.width, *heads))
    attention = arch.layers[0].attention
    assert attention is not None, "attention has its layer"
    if "decode" in series.kind:
        return decode_core(arch, attention, Shard(sequences, sequences, sequences), 1, tokens, 1)[0]
    whole = sequences * tokens
    return prefill_core(arch, attention, Shard(sequences, whole, whole), 1, tokens, tokens, 1)[0]


@cache
def _architecture(storage: str, hidden: int, moe: tuple[str, int, int] | None = None, heads: tuple[Any, ...] | None = None) -> Architecture:
    """A model of one layer: an expert block of that width and number of matrices, or attention of those heads."""
    attention: Json | None = None
    ffn: Json | None = {"kind": "dense", "intermediate_size": 1, "matrices": 2}
    if moe:
        ffn = {"kind": "moe", "experts": 4096, "top_k": 1, "intermediate_size": moe[1], "matrices": moe[2]}
    if heads:
        latent, width, n, *kv = heads
        attention = {"kind": "gqa", "heads": n, "kv_heads": kv[0] if kv else n, "head_dim": width}
        if latent:  # DeepSeek-V3's widths
            widths = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": width - 512, "v_head_dim": 128}
            attention = {"kind": "mla", "heads": n, **widths}
    record = {
        "name": "one operator",
        "hidden_size": hidden,
        "vocabulary_size": 1,
        "tied_embeddings": False,
        "weight_dtype": storage if heads is None else "bf16",
        "kv_dtype": storage if heads else "bf16",
        "activation_dtype": "bf16",
        "dispatch_dtype": "bf16",
        "combine_dtype": "bf16",
        "layers": [{"count": 1, "attention": attention, "ffn": ffn}],
        "source": "assumed: the shape of a measured row",
    }
    return Architecture.model_validate_json(json.dumps(record))


def as_text(errors: Sequence[Error]) -> str:
    """One line per curve, then one per kind of operator: the medians over its curves."""
    measured = any(e.rows for e in errors)
    lines = ["absolute error of the catalogue's operator curves on measured rows, percent (bias: median signed error)"]
    lines += [] if measured else ["aiconfigurator-core and pyarrow are not installed: only what the kernel files record is shown"]
    lines.append(f"{'file':<16} {'curve':<24} {'engine':<7} {'recorded':>8} {'rows':>6} {'median':>7} {'p90':>7} {'bias':>7}")
    for e in errors:
        found = (e.median_pct, e.p90_pct, e.bias_pct)
        shown = " ".join(f"{'-' if x is None else f'{x:.1f}':>7}" for x in found)
        lines.append(f"{e.file:<16} {e.curve:<24} {e.engine:<7} {e.recorded_pct:>8.1f} {e.rows:>6} {shown}")
    for kind in sorted({e.curve.split(".")[0] for e in errors}):
        same = [e for e in errors if e.curve.startswith(f"{kind}.")]
        ours = [e.median_pct for e in same if e.median_pct is not None]
        said = f", ours {median(ours):.1f} ({len(ours)} with rows)" if ours else ""
        lines.append(f"{kind}: median over {len(same)} curves: recorded {median(e.recorded_pct for e in same):.1f}{said}")
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    """0 with the table; 2 for anything but --json."""
    if argv not in ([], ["--json"]):
        print("usage: python -m benchmarks.fidelity.kernels [--json]", file=sys.stderr)
        return 2
    errors = kernel_errors()
    sys.stdout.write(json.dumps([e._asdict() for e in errors], indent=1) + "\n" if argv else as_text(errors))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
