"""Priced worker shapes from CSV files, as planners write them: one row a shape, with its role, GPUs and rate.

Columns: role (aggregated, prefill, decode), num_total_gpus, `tokens/s` of an aggregated row, `seq/s` of the others; parallel and bs
make the name. Rates become whole millionths of an output token per second, rounded down.
"""

import csv
import re
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
MOST_ROWS = 100_000  # as many as a problem may have
MOST_DIGITS = 60  # characters of one number
LARGEST_RATE = 10**30
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


class Worth(NamedTuple):
    """What a request per second of a role counts for."""

    output_tokens: int
    """of one request"""
    prefill_ppm: int
    decode_ppm: int
    """share of a worker's rate that a disaggregated cell keeps, parts per million"""


def read_candidates(files: Iterable[Path], worth: Worth) -> tuple[Worker, ...]:
    """The rows of all files, in order. Raises InputError naming file, line, column and remedy."""
    found: list[Worker] = []
    for path in files:
        before = len(found)
        for where, row in _rows(path):
            if len(found) == MOST_ROWS:
                raise InputError(f"{where}: more than {MOST_ROWS} rows in all; keep the best of them")
            found.append(_worker(row, where, worth))
        if len(found) == before:
            raise InputError(f"{path}: holds no rows below its header; add a shape of worker")
    return tuple(found)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a file, cells stripped, each with where it stands; blank lines are left out."""
    lines = csv.reader(StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True, skipinitialspace=True)
    header: list[str] = []
    try:
        for cells in lines:
            if cells in ([], [""]):
                continue
            if not header:
                header = _checked_header([cell.strip() for cell in cells], path)
                continue
            where = f"{path}: line {lines.line_num}"
            if len(cells) != len(header):
                raise InputError(f"{where}: has {len(cells)} values for {len(header)} columns; give one for each, or an empty one")
            yield where, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: line {lines.line_num}: not CSV ({error}); correct it there") from error
    _checked_header(header, path)


def _checked_header(header: list[str], path: Path) -> list[str]:
    for name in NEEDED:
        if header.count(name) != 1:
            wrong = f"{header.count(name)} columns are {name}" if name in header else f"no column {name}"
            raise InputError(f"{path}: {wrong}; give {', '.join(NEEDED)}, each once")
    return header


def _worker(row: dict[str, str], where: str, worth: Worth) -> Worker:
    role, share = row["role"], {"prefill": worth.prefill_ppm, "decode": worth.decode_ppm}
    rate = _number(row, "tokens/s" if role == "aggregated" else "seq/s", where)
    tokens = 1 if role == "aggregated" else worth.output_tokens
    batch = f"bs{row['bs']}" if row.get("bs") else None
    name = " ".join(text for text in (row.get("parallel"), batch) if text) or f"row {where.rpartition(' ')[2]}"
    fields = {"name": name, "role": role, "gpus": _whole(row, where), "rate": int(rate * tokens * share.get(role, MICRO))}
    try:
        return Worker.model_validate(fields)
    except ValidationError as error:
        wrong = error.errors()[0]
        reason = wrong["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {'.'.join(map(str, wrong['loc']))}: {reason[:1].lower()}{reason[1:]}; correct it") from error


def _number(row: dict[str, str], column: str, where: str) -> Fraction:
    """A number from 0 to the largest rate, exactly."""
    text = row[column]
    value = Decimal(text) if len(text) <= MOST_DIGITS and _NUMBER.fullmatch(text) else None
    if value is None or value > LARGEST_RATE:
        raise InputError(f"{where}: {column} {text[:40]!r} is not a rate; write a number from 0 to 1e30")
    return Fraction(value)


def _whole(row: dict[str, str], where: str) -> int:
    text = row["num_total_gpus"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InputError(f"{where}: num_total_gpus {text[:40]!r} is not a number of GPUs; write a whole one")
    return int(text)
