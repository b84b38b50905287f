"""Variants of one instance: every combination of the varied fields, one row each, resumable."""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import InputError, VerificationError
from models.instance import COST_MODEL, Instance
from optimizer.certify import certificate_of
from optimizer.output import check_free, make_folder, to_json, write_file
from optimizer.reading import parse_value, read_record, read_with_overrides, validate
from optimizer.report import Json, header, search_json, tool_versions
from optimizer.search import Options, find
from optimizer.settings import check_path, set_path, short_name

MOST_VARIANTS = 100_000


class BatchOptions(NamedTuple):
    """What to vary and where to write."""

    instance: Path
    overrides: tuple[str, ...]
    vary: tuple[str, ...]
    out: Path
    resume: bool
    force: bool


class Axis(NamedTuple):
    """One varied field and its values, as written."""

    path: str
    values: tuple[str, ...]


class Variant(NamedTuple):
    """One combination, as (path, value) pairs, with the instance's data."""

    settings: tuple[tuple[str, str], ...]
    data: Any


def parse_axis(text: str) -> Axis:
    """`PATH=V1,V2`. Raises InputError unless there is a path and at least one value, none twice."""
    path, _, rest = text.partition("=")
    values = tuple(v.strip() for v in rest.split(","))
    if not path.strip() or not all(values):
        raise InputError(f'--vary "{text[:80]}": write PATH=V1,V2, e.g. workload.sequences=64,128')
    if len(set(values)) != len(values):
        raise InputError(f'--vary "{text[:80]}": a value is given twice; list each once')
    return Axis(path.strip(), values)


def variants(request: BatchOptions) -> Iterator[Variant]:
    """The cross product, the last field varying fastest."""
    axes = [parse_axis(v) for v in request.vary]
    if len({a.path for a in axes}) != len(axes):
        raise InputError("--vary: a field is varied twice; give all its values at once")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MOST_VARIANTS:
        raise InputError(f"--vary: {count} variants; at most {MOST_VARIANTS} are solved in one batch, give fewer values")
    base = read_with_overrides(request.instance, request.overrides)
    for axis in axes:
        check_path(base, axis.path, "--vary")
    for values in product(*(a.values for a in axes)):
        data = copy.deepcopy(base)
        settings = tuple((a.path, v) for a, v in zip(axes, values, strict=True))
        for path, value in settings:
            set_path(data, path, parse_value(value, f"--vary {path}"), "--vary")
        yield Variant(settings, data)


def run_batch(request: BatchOptions, options: Options, progress: Callable[[str], None]) -> Json:
    """Solve every variant; each finished row is on disk before the next begins."""
    started = time.monotonic()
    base = read_record(request.instance, Instance, request.overrides)
    todo = list(variants(request))
    _claim_folder(request)
    result = header("batch", "RUNNING", base, options, 0)
    write_file(request.out / "batch.json", to_json(result))
    rows, solved, skipped = [], 0, 0
    for number, variant in enumerate(todo, start=1):
        path = request.out / "rows" / f"{_key(variant, options)}.json"
        row = _finished_row(path, variant) if request.resume else None
        if row is not None:
            skipped += 1
        else:
            row = _solve(variant, options, request)
            if row["error"] is None:
                write_file(path, to_json(row))
                solved += 1
        rows.append(row)
        progress(f"{number}/{len(todo)} {_settings_text(variant.settings)}: {row['error'] or row['best'] or row['status']}")
    return _finish(request, result | {"seconds": round(time.monotonic() - started, 3)}, rows, solved, skipped)


def _claim_folder(request: BatchOptions) -> None:
    """Make sure that the folder is ours to write into."""
    marker = request.out / "batch.json"
    ours = request.resume and marker.is_file() and b'"shardproof/batch/' in marker.read_bytes()[:200]
    if not ours:
        check_free(request.out, request.force)
    make_folder(request.out / "rows")


def _finished_row(path: Path, variant: Variant) -> Json | None:
    """The row that an earlier run left; None when there is none or it is damaged."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(row, dict) and {"status", "best", "error", "value"} <= row.keys() and row["error"] is None
    return row if whole and all(row.get(name) == value for name, value in variant.settings) else None


def _key(variant: Variant, options: Options) -> str:
    """Digest of everything that determines a row."""
    identity = [variant.data, list(variant.settings), list(options), tool_versions(options.seed), COST_MODEL]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def _solve(variant: Variant, options: Options, request: BatchOptions) -> Json:
    """One row. A variant that is not a valid instance becomes a row with its sentence."""
    row: Json = dict(variant.settings) | {"status": "FAILED", "best": None, "error": None}
    try:
        instance = validate(variant.data, Instance, str(request.instance))
        claim = find(instance, options, lambda _: None)
    except (InputError, VerificationError) as error:
        return row | {"error": str(error)}
    result = search_json(instance, claim, certificate_of(instance, claim, near=False), options, 0)
    row |= {"status": result["status"], "value": result["objective"]["value"], "bound": result["objective"]["bound"]}
    row |= {"strategies": claim.strategies, "feasible": claim.feasible, "optimal_strategies": len(claim.optimal)}
    if result["optimal"]:
        best = result["optimal"][0]
        row |= {"best": best["label"]} | best["degrees"]
        row |= {k: v for k, v in best["metrics"].items() if isinstance(v, int | float)}
        row["optimal"] = [p["label"] for p in result["optimal"]]
    reference = result["reference"]
    if reference is not None:
        row |= {"reference": reference["standing"], "reference_excess_pct": reference.get("excess_pct")}
    return row


def _finish(request: BatchOptions, result: Json, rows: list[Json], solved: int, skipped: int) -> Json:
    """Tables from the rows, and the sentence."""
    import pandas as pd

    axes = [parse_axis(v) for v in request.vary]
    table = pd.DataFrame([{k: v for k, v in row.items() if k != "optimal"} for row in rows], dtype=object)
    write_file(request.out / "results.csv", table.to_csv(index=False))
    result = result | {
        "status": "DONE",
        "rows": len(rows),
        "solved": solved,
        "skipped": skipped,
        "failed": sum(row["error"] is not None for row in rows),
        "results": str(request.out / "results.csv"),
        "table": _table_text(rows, axes),
        "verdict": describe_changes(rows, axes),
    }
    write_file(request.out / "batch.json", to_json(result))
    return result


def describe_changes(rows: list[Json], axes: list[Axis]) -> str:
    """Where the best strategy changes along the last varied field, in words."""
    if not any(row["best"] for row in rows):
        return "No row has a best strategy: every variant failed or is infeasible."
    along, others = axes[-1], axes[:-1]
    groups: dict[tuple[str, ...], list[Json]] = {}
    for row in rows:
        groups.setdefault(tuple(row[a.path] for a in others), []).append(row)
    sentences = []
    for fixed, members in groups.items():
        where = ", ".join(f"{a.path} = {v}" for a, v in zip(others, fixed, strict=True))
        for before, after in pairwise(row for row in members if _decided(row)):
            if _changed(before, after):
                step = f"between {along.path} = {before[along.path]} and {after[along.path]}"
                sentences.append(f"{where + ': ' if where else ''}{step}, from {_best(before)} to {_best(after)}")
    undecided = _undecided_text(rows, axes)
    if not sentences:
        everywhere = " at each setting of the others." if others else "."
        return (
            f"The best strategy is the same for every value of {along.path} {'compared' if undecided else 'tried'}{everywhere}{undecided}"
        )
    shown = "; ".join(sentences[:5]) + (f"; and {len(sentences) - 5} more changes" if len(sentences) > 5 else "")
    return f"The best strategy changes {shown}.{undecided}"


def _decided(row: Json) -> bool:
    """Whether a row says anything of the best strategy: it did not fail, and a plan was found or proved not to exist."""
    return row["error"] is None and row["status"] != "UNKNOWN"


def _undecided_text(rows: list[Json], axes: list[Axis]) -> str:
    """The rows that were left out of the comparison."""
    left_out = [row for row in rows if not _decided(row)]
    shown = [", ".join(f"{a.path} = {row[a.path]}" for a in axes) + f" ({row['status'].lower()})" for row in left_out[:5]]
    more = [f"{len(left_out) - 5} more"] if len(left_out) > 5 else []
    return f" Not compared: {'; '.join([*shown, *more])}." if left_out else ""


def _changed(before: Json, after: Json) -> bool:
    """Whether no strategy is optimal on both sides."""
    return not set(before.get("optimal") or [_best(before)]) & set(after.get("optimal") or [_best(after)])


def _best(row: Json) -> str:
    return row["best"] or f"nothing ({row['status'].lower()})"


def _settings_text(settings: tuple[tuple[str, str], ...]) -> str:
    return " ".join(f"{short_name(path)}={value}" for path, value in settings)


def _table_text(rows: list[Json], axes: list[Axis]) -> str:
    """The rows on screen: varied fields, best strategy, value."""
    import pandas as pd

    shown = [
        {short_name(a.path): row[a.path] for a in axes}
        | {"status": row["status"], "best": row["best"] or "-", "value": row.get("value"), "tokens/s": row.get("tokens_per_s")}
        | ({"reference": row["reference"]} if "reference" in row else {})
        for row in rows[:60]
    ]
    text: str = pd.DataFrame(shown, dtype=object).fillna("-").to_string(index=False)
    return text + (f"\n... and {len(rows) - 60} more rows in results.csv" if len(rows) > 60 else "")


def batch_text(r: Json) -> str:
    """What `batch run` prints: the table, the counts, and last the sentence."""
    counts = f"{r['rows']} rows: {r['solved']} solved, {r['skipped']} kept from before, {r['failed']} failed; {r['results']}"
    return f"{r['table']}\n\n{counts}\n{r['verdict']}"
