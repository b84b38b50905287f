"""Priced worker shapes from CSV files, as planners write them: one row a shape, with its role, GPUs and rate.

Columns: role (aggregated, prefill, decode), num_total_gpus, `tokens/s` of an aggregated row, `seq/s` of the others; parallel and bs
make the name. Rates become whole millionths of an output token per second, rounded down.
"""

import csv
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from models.errors import InputError
from models.fleet import Worker
from optimizer.reading import read_text

MICRO = 10**6
NEEDED = ("role", "num_total_gpus", "seq/s", "tokens/s")


class Worth(NamedTuple):
    """What a request per second of a role counts for."""

    output_tokens: int
    """of one request"""
    prefill_ppm: int
    decode_ppm: int
    """share of a worker's rate that a disaggregated cell keeps, parts per million"""


def read_candidates(files: Iterable[Path], worth: Worth) -> tuple[Worker, ...]:
    """The rows of all files, in order. Raises InputError naming file, line, column and remedy."""
    return tuple(worker for path in files for worker in _workers(path, worth))


def _workers(path: Path, worth: Worth) -> Iterator[Worker]:
    rows = csv.DictReader(StringIO(read_text(path)))
    missing = [name for name in NEEDED if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: no column {missing[0]}; give {', '.join(NEEDED)}")
    for row in rows:
        where = f"{path}: line {rows.line_num}"
        role, gpus = row["role"], row["num_total_gpus"]
        rate = _number(row["tokens/s" if role == "aggregated" else "seq/s"], where)
        share = {"prefill": worth.prefill_ppm, "decode": worth.decode_ppm}.get(role or "", MICRO)
        tokens = 1 if role == "aggregated" else worth.output_tokens
        name = (
            " ".join(text for text in (row.get("parallel"), f"bs{row['bs']}" if row.get("bs") else None) if text) or f"row {rows.line_num}"
        )
        try:
            yield Worker.model_validate({"name": name, "role": role, "gpus": _whole(gpus, where), "rate": int(rate * tokens * share)})
        except ValidationError as error:
            wrong = error.errors()[0]
            raise InputError(f"{where}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}; correct it") from error


def _number(text: str | None, where: str) -> Fraction:
    """A finite number >= 0, exactly."""
    try:
        value = Decimal(text or "")
    except ArithmeticError:
        value = Decimal(-1)
    if not value.is_finite() or value < 0 or abs(value.adjusted()) > 30:
        raise InputError(f"{where}: {(text or '')[:40]!r} is not a rate; write a number >= 0")
    return Fraction(value)


def _whole(text: str | None, where: str) -> int:
    if not (text and text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InputError(f"{where}: num_total_gpus {(text or '')[:40]!r} is not a number of GPUs; write a whole one")
    return int(text)
