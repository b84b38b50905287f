"""Which rows of a batch its map shows: two dimensions of the grid, the others at one value."""

from pathlib import Path
from typing import NamedTuple

from models.errors import InputError
from models.objective import UNITS
from optimizer.batching.axes import Axis, number_of
from optimizer.batching.map import draw_map
from optimizer.batching.request import Batch
from optimizer.batching.rows import Row
from optimizer.batching.variants import Variants
from optimizer.output import write_file

SCENARIO = "scenario"


class _Dimension(NamedTuple):
    """What varies together: the rows of a file, or the fields of an axis."""

    paths: tuple[str, ...]
    """by which it may be named; the first is written at the map's edge"""
    texts: list[str]
    """of its positions"""


def write_map(path: Path, batch: Batch, rows: dict[int, Row], x: str | None, y: str | None, at: tuple[str, ...]) -> Path:
    """Draw the map of two fields: the first two that vary, unless `x` and `y` name others.

    Every other field is at the value that `at` says, or at its first.
    Raises InputError for fields that do not vary and values that they do not take.
    """
    dimensions = _dimensions(batch.variants)
    across = 0 if x is None else _named(dimensions, x, "--x")
    up = next((n for n in range(len(dimensions)) if n != across), None) if y is None else _named(dimensions, y, "--y")
    if up == across:
        raise InputError(f"--y {y}: is along the map already; name another field")
    fixed = _fixed(dimensions, at, {across, up})
    shown = list[Row]()
    for number, row in rows.items():
        where = batch.variants.positions(number)
        if all(where[n] == position for n, position in fixed.items()):
            chosen = [across, *([] if up is None else [up])]
            texts = tuple(dimensions[n].texts[where[n]] for n in chosen)
            numbers = tuple(number_of(dimensions[n].paths[0], text) for n, text in zip(chosen, texts, strict=True))
            shown.append(row._replace(settings=texts, numbers=numbers))
    instance = batch.instance()
    columns = [dimensions[across].paths[0], *([] if up is None else [dimensions[up].paths[0]])]
    said = ", ".join(f"{dimensions[n].paths[0]} = {dimensions[n].texts[position]}" for n, position in fixed.items())
    title = f"{instance.name}: best strategy" + (f" at {said}" if said else "")
    reference = None if instance.reference is None else instance.reference.name or "reference plan"
    drawn = draw_map(shown, columns, columns[0], None if up is None else columns[1], title, UNITS[instance.objective.name], reference)
    write_file(path, drawn)
    return path


def _dimensions(variants: Variants) -> list[_Dimension]:
    found = []
    if variants.scenarios:
        paths = tuple(dict.fromkeys(s.path for row in variants.scenarios for s in row.settings))
        found.append(_Dimension((SCENARIO, *paths), [row.name or f"row {n + 1}" for n, row in enumerate(variants.scenarios)]))
    return found + [_Dimension(axis.paths, _texts(axis)) for axis in variants.axes]


def _texts(axis: Axis) -> list[str]:
    """The first field's values; all fields' where those are not distinct."""
    firsts = [row[0] for row in axis.rows]
    return firsts if len(set(firsts)) == len(firsts) else [" / ".join(row) for row in axis.rows]


def _named(dimensions: list[_Dimension], path: str, option: str) -> int:
    for n, dimension in enumerate(dimensions):
        if path in dimension.paths:
            return n
    known = ", ".join(p for d in dimensions for p in d.paths)
    raise InputError(f"{option} {path[:80]}: does not vary in this batch; name one of {known[:300]}")


def _fixed(dimensions: list[_Dimension], at: tuple[str, ...], shown: set[int | None]) -> dict[int, int]:
    """The position of each dimension that the map does not show."""
    found = {n: 0 for n in range(len(dimensions)) if n not in shown}
    for text in at:
        path, _, value = text.partition("=")
        n = _named(dimensions, path.strip(), "--at")
        if n not in found:
            raise InputError(f'--at "{text[:80]}": that field is on the map; name it for neither --x nor --y')
        if value.strip() not in dimensions[n].texts:
            raise InputError(f'--at "{text[:80]}": is none of its values; write one of {", ".join(dimensions[n].texts[:20])}')
        found[n] = dimensions[n].texts.index(value.strip())
    return found
