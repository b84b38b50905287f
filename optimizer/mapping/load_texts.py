"""Counts as text: CSV, JSON, JSON lines, and OmniPlacement's log."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from optimizer.mapping.counts import MOST_BYTES, MOST_JSON_BYTES, MOST_LAYERS, MOST_ROWS, Ints, Tally, from_lists, number, row_of, shown
from optimizer.mapping.plain_json import parse_json
from optimizer.reading import read_text

_DUMP = re.compile(
    r"\[dump activation\] (?:prefill|decode) step [0-9]+ in rank ([0-9]{1,5}) for layer ([0-9]{1,6}) get ([0-9]{1,6}) experts data:(.*)"
)
_BETWEEN = re.compile(r"(?:\s|,|\\t)+")
_LAYER = re.compile(r"(?:layer_)?([0-9]{1,6})")
_LAYER_COLUMNS = ("", "layer", "layer_id", "layer_idx")  # the first as pandas and OmniPlacement write it
_MOST_RANKS = 4096
_LONGEST_LINE = 1_000_000  # characters
_KEYS = ("logical_count", "expert_load", "counts")


def read_csv(path: Path) -> Ints:
    """One line per layer of comma-separated counts; a header line and a first column `layer` (3 or layer_3) may be there.

    Without that column, lines are layers 0, 1, ... in order; with it, layers that are not named are zero. Raises InputError.
    """
    lines = list(_lines(path, MOST_JSON_BYTES))
    first = _cells(lines[0][1]) if lines else []
    named = first[:1] != [] and first[0].lower() in _LAYER_COLUMNS
    header = named or all(isinstance(number(cell), str) for cell in first)
    if len(first) > 3 and first == [str(n) for n in range(len(first))]:
        raise InputError(f"{path}: line {lines[0][0]} counts 0, 1, 2 ... as column numbers do; write names, such as expert_0, or remove it")
    tally = Tally(str(path))
    for position, (n, line) in enumerate(lines[1:] if header else lines):
        cells = _cells(line)
        layer = _layer_of(cells[0], f"{path}: line {n}") if named else position
        if layer in tally.rows:
            raise InputError(f"{path}: line {n}: layer {layer} is there twice; keep one line per layer")
        counts = row_of([number(cell) for cell in cells[named:]], f"{path}: line {n}")
        tally.add(layer, counts, f"line {n}")
    return tally.matrix()


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(",")]


def _layer_of(cell: str, origin: str) -> int:
    match = _LAYER.fullmatch(cell)
    if match is None:
        raise InputError(f"{origin}: {shown(cell)} is not the number of a layer; write 0, 1, 2 ... in the column layer")
    return int(match.group(1))


def read_json(path: Path) -> Ints:
    """Nested lists of counts, alone or as `logical_count` (SGLang's dump), `counts`, `expert_load` or `expert_load.counts` (an instance).

    [experts], [layers][experts], or [passes][layers][experts] to be summed. Raises InputError.
    """
    value, field = parse_json(read_text(path, MOST_JSON_BYTES), str(path)), ""
    while isinstance(value, dict):
        given = [key for key in _KEYS if key in value]
        if len(given) != 1:
            what = " and ".join(given) or ("a placement" if "physical_to_logical_map" in value else "no counts")
            raise InputError(f"{path}: {field}holds {what}; give a list of counts per layer as one of {', '.join(_KEYS)}")
        value, field = value[given[0]], f"{field}{given[0]}: "
    return from_lists(value, f"{path}: {field}".removesuffix(": "))


def read_json_lines(path: Path) -> Ints:
    """Lines {"layer": int, "counts": [...]}, summed by layer; other fields are left alone. Raises InputError."""
    tally = Tally(str(path))
    for n, line in _lines(path, MOST_BYTES):
        entry = parse_json(line, f"{path}: line {n}")
        layer: Any = entry.get("layer") if isinstance(entry, dict) else None
        if type(layer) is not int or not 0 <= layer < MOST_LAYERS:
            remedy = f'write {{"layer": 3, "counts": [...]}}, layers below {MOST_LAYERS}'
            raise InputError(f"{path}: line {n}: {shown(layer)} is not the number of a layer; {remedy}")
        tally.add(layer, row_of(entry.get("counts"), f"{path}: line {n}: counts"), f"line {n}")
    return tally.matrix()


def read_log(path: Path) -> Ints:
    """OmniPlacement's lines, summed over steps of prefill and decode; rank r's experts follow those of the lower ranks.

    `[dump activation] decode step 1 in rank 0 for layer 0 get 8 experts data: 128<tab>256...`
    (OmniPlacement, "log" input mode); other lines are left alone. Raises InputError.
    """
    ranks: dict[int, Tally] = {}
    for n, line in _lines(path, MOST_BYTES):
        if "[dump activation]" not in line:
            continue
        match = _DUMP.search(line)
        if match is None:
            raise InputError(f"{path}: line {n}: a dump of activations that cannot be read; remove the line or record again, keep none cut")
        rank, layer, stated = (int(group) for group in match.groups()[:3])
        counts = row_of([number(cell) for cell in _BETWEEN.split(match.group(4)) if cell], f"{path}: line {n}")
        if len(counts) != stated or rank >= _MOST_RANKS:
            raise InputError(f"{path}: line {n}: {len(counts)} counts of {stated} experts in rank {rank}; remove the line or record again")
        ranks.setdefault(rank, Tally(str(path))).add(layer, counts, f"line {n}")
    return _side_by_side(ranks, path)


def _side_by_side(ranks: dict[int, Tally], path: Path) -> Ints:
    if not ranks:
        raise InputError(
            f'{path}: no line has "[dump activation] ... experts data:"; give a log of OmniPlacement, or counts as .csv or .npy'
        )
    for rank in range(len(ranks)):
        if rank not in ranks:
            raise InputError(f"{path}: rank {rank} of {max(ranks) + 1} has no line; put the lines of all ranks into one file")
        odd = sorted(ranks[rank].rows.keys() ^ ranks[0].rows.keys())
        if odd:
            raise InputError(f"{path}: layer {odd[0]} is there for rank 0 or rank {rank} only; put the lines of all ranks into one file")
    return np.hstack([ranks[rank].matrix() for rank in range(len(ranks))])


def _lines(path: Path, most_bytes: int) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, each with its number from 1."""
    text = read_text(path, most_bytes).removeprefix("\ufeff")
    if text.count("\n") > MOST_ROWS:
        raise InputError(f"{path}: {text.count(chr(10))} lines; add steps up, at most {MOST_ROWS} are read")
    for n, line in enumerate(text.split("\n"), 1):
        if len(line) > _LONGEST_LINE:
            raise InputError(f"{path}: line {n} has {len(line)} characters; write one line per layer, at most {_LONGEST_LINE} are read")
        if line.strip():
            yield n, line
