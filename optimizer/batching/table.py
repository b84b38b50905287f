"""The tidy table of a batch: one row per variant, varied fields first. Written as CSV, and as Parquet where pyarrow is installed."""

import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from optimizer.batching.axes import number_of
from optimizer.batching.columns import BETWEEN, COLUMNS
from optimizer.batching.rows import Row
from optimizer.batching.variants import Variants

Json = dict[str, Any]
AT_ONCE = 5_000  # rows held in memory


def records(variants: Variants, rows: Iterable[tuple[int, Json]]) -> Iterator[Json]:
    """Rows of a journal with their variants' fields, every column present."""
    named = variants.has_scenarios
    for number, row in rows:
        head: Json = {"variant": number + 1} | ({"scenario": variants.scenario(number)} if named else {})
        fields = dict(zip(variants.columns, variants.texts(number), strict=True))
        yield head | fields | {name: row.get(name) for name in COLUMNS}


def as_row(number: int, columns: Sequence[str], texts: tuple[str, ...], row: Json) -> Row:
    """A journal's row as the report reads it; `texts`: what each varied field is set to."""
    numbers = tuple(number_of(path, text) for path, text in zip(columns, texts, strict=True))
    labels = tuple(row["optimal"].split(BETWEEN)) if row.get("optimal") else ()
    figures = (row.get(name) for name in ("value", "bound", "step_ns", "uusd_per_million_tokens", "reference", "reference_excess"))
    return Row(number, texts, numbers, row["status"], labels, *figures)


def rows_of(variants: Variants, rows: Iterable[tuple[int, Json]]) -> dict[int, Row]:
    """All rows of a journal, by number."""
    return {number: as_row(number, variants.columns, variants.texts(number), row) for number, row in rows}


def write_tables(folder: Path, found: Iterable[Json], columns: list[str]) -> list[Path]:
    """results.csv, and results.parquet where that can be written; both whole or as they were."""
    import pandas as pd

    paths = [folder / "results.csv", *([folder / "results.parquet"] if find_spec("pyarrow") else [])]
    staging = [path.with_name(f".{path.name}.{os.getpid()}") for path in paths]
    found, kept = iter(found), list[pd.DataFrame]()
    try:
        for number in range(1 << 30):
            chunk = list(islice(found, AT_ONCE))
            if not chunk and number:
                break
            frame = pd.DataFrame(chunk, columns=columns, dtype=object)
            frame.to_csv(staging[0], index=False, mode="a" if number else "w", header=not number, lineterminator="\n")
            if len(paths) > 1:
                kept.append(frame.convert_dtypes())
        if len(paths) > 1:
            pd.concat(kept).convert_dtypes().to_parquet(staging[1], index=False)
        for path, made in zip(paths, staging, strict=True):
            os.replace(made, path)
    finally:
        for made in staging:
            made.unlink(missing_ok=True)
    return paths


def head_text(variants: Variants, found: Iterable[Json], total: int, most: int = 60) -> str:
    """The first rows as a text: varied fields by their short names, the best strategy, the value."""
    import pandas as pd

    from optimizer.settings import short_name

    shown = []
    for record in islice(found, most):
        fields = {short_name(path): record[path] for path in variants.columns}
        named = {"scenario": record["scenario"]} if variants.has_scenarios else {}
        figures = {"status": record["status"], "best": record["best"], "value": record["value"], "tokens/s": record["tokens_per_s"]}
        reference = {"reference": record["reference"]} if record["reference"] is not None else {}
        shown.append(named | fields | figures | reference)
    text: str = pd.DataFrame(shown, dtype=object).fillna("-").to_string(index=False)
    return text + (f"\n... and {total - most} more rows in results.csv" if total > most else "")
