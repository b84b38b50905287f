"""Recorded arrivals: CSV with a header, or JSON lines; columns arrival_s, input_tokens, output_tokens, others are left out.

Times count from the first request and may stand in any order.
"""

import csv
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.units import NS_PER_S
from optimizer.reading import read_text
from optimizer.serving.arrivals import Arrival

NEEDED = ("arrival_s", "input_tokens", "output_tokens")
MOST_BYTES = 50_000_000
MOST_REQUESTS = 1_000_000
LATEST_S = 10**10  # seconds since 1970 fit
MOST_TOKENS = 10_000_000
MOST_TIMES = 32  # the service's prompt: as much longer than it may a recorded one be
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)


class _Number(str):
    """A number of a JSON line as it is written, or NaN or an infinity."""


def read_trace(path: Path, input_tokens: int) -> tuple[Arrival, ...]:
    """The recorded requests in order of time, the first at 0. Raises InputError naming file, line, column, value and remedy.

    `input_tokens` is the service's length of a prompt.
    """
    text = read_text(path, MOST_BYTES).removeprefix("\ufeff")
    rows = _json_rows(text, path) if text.lstrip().startswith("{") else _csv_rows(text, path)
    found: list[Arrival] = []
    for where, row in rows:
        if len(found) == MOST_REQUESTS:
            raise InputError(f"{where}: more than {MOST_REQUESTS} requests; cut the trace")
        found.append(_arrival(row, where, input_tokens))
    if not found:
        raise InputError(f"{path}: holds no requests; give a header {','.join(NEEDED)} and a line for each request")
    found.sort(key=lambda arrival: arrival.at_ns)
    return tuple(a._replace(at_ns=a.at_ns - found[0].at_ns) for a in found)


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table, cells stripped, each with where it stands; blank lines are left out."""
    lines = csv.reader(StringIO(text, newline=""), strict=True, skipinitialspace=True)
    header: list[str] = []
    try:
        for cells in lines:
            if cells in ([], [""]):
                continue
            where = f"{path}: line {lines.line_num}"
            if not header:
                header = [cell.strip() for cell in cells]
                _check_names(header, where)
                continue
            if len(cells) != len(header):
                raise InputError(f"{where}: has {len(cells)} values for {len(header)} columns; give one for each")
            yield where, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: line {lines.line_num}: not CSV ({error}); correct it there") from error


def _json_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The objects of JSON lines, numbers as they are written; blank lines are left out."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            pairs = json.loads(line, parse_int=_Number, parse_float=_Number, parse_constant=_Number, object_pairs_hook=tuple)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not JSON ({error.msg}, column {error.colno}); write one object a line") from error
        except RecursionError as error:
            raise InputError(f"{where}: nested too deeply; write one flat object a line") from error
        if not isinstance(pairs, tuple):
            raise InputError(f"{where}: is not an object; write one with {', '.join(NEEDED)} on each line")
        _check_names([name for name, _ in pairs], where)
        yield where, {name: _written(name, value, where) for name, value in pairs if name in NEEDED}


def _written(name: str, value: Any, where: str) -> str:
    if not isinstance(value, _Number):
        shown = json.dumps(value) if isinstance(value, str | bool | None) else "a list or an object"
        raise InputError(f"{where}: {name}: {shown[:40]} is not a number; write one without quotes")
    return value


def _check_names(names: list[str], where: str) -> None:
    for name in NEEDED:
        if names.count(name) != 1:
            wrong = f"{name} is there {names.count(name)} times" if name in names else f"no column {name}"
            raise InputError(f"{where}: {wrong}; give {', '.join(NEEDED)}, each once")


def _arrival(row: dict[str, str], where: str, input_tokens: int) -> Arrival:
    prompt, output = (_tokens(row, name, where) for name in NEEDED[1:])
    if prompt > MOST_TIMES * input_tokens:
        limit = (
            f"more than {MOST_TIMES} times the service's {input_tokens}; raise workload.input_tokens to the trace's mean, or leave it out"
        )
        raise InputError(f"{where}: input_tokens: {prompt} is {limit}")
    return Arrival(_nanoseconds(row["arrival_s"], where), prompt, output)


def _nanoseconds(text: str, where: str) -> int:
    value = Decimal(text) if len(text) <= 40 and _NUMBER.fullmatch(text) else None
    if value is None or value > LATEST_S:
        raise InputError(f"{where}: arrival_s: {text[:40]!r} is not a time; write seconds, a number from 0 to 1e10")
    return int(value * NS_PER_S)


def _tokens(row: dict[str, str], name: str, where: str) -> int:
    text = row[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= 8 and 1 <= int(text) <= MOST_TOKENS):
        raise InputError(f"{where}: {name}: {text[:40]!r} is not a number of tokens; write a whole one from 1 to {MOST_TOKENS}")
    return int(text)
