"""Tables from measured rows, and how well they say what was left out of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from zlib import crc32

from models.measured import AXES, SQUARED, Quality, Table
from models.units import PPM, WHOLE, ceil_div
from optimizer.measuring.grids import Filled, fill_grid
from optimizer.measuring.sources import Series, Timed

HELD_OUT = 10  # one row in ten
LEAST_SIDE = 64
KV_HEADS = frozenset({1, 2, 4, 8, 16, 64})
Times = dict[tuple[int, ...], int]


def build_table(series: Series, timed: Sequence[Timed]) -> Table | None:
    """The table of one series, and its errors on the tenth of the rows that a second table does without; None without rows."""
    whole = _filled(series, timed)
    if whole is None:
        return None
    asked = [t for t in timed if _is_held_out(t)]
    errors = _errors(series, [t for t in timed if not _is_held_out(t)], asked)
    filled, measured = whole
    quality = Quality(
        measured=measured,
        moved=len(filled.moved_ppm),
        moved_p90_ppm=_quantile(filled.moved_ppm, 90),
        held_out=len(errors),
        held_out_median_ppm=_quantile(errors, 50),
        held_out_p90_ppm=_quantile(errors, 90),
    )
    return _table(series, filled, quality)


def _table(series: Series, filled: Filled, quality: Quality) -> Table:
    data = series._asdict() | {"grid": filled.grid, "ns": tuple(filled.ns), "quality": quality}
    return Table.model_validate(data)


def _errors(series: Series, kept: Sequence[Timed], asked: Sequence[Timed]) -> list[int]:
    """Absolute errors, ppm of the measured time."""
    part = _filled(series, kept)
    if part is None:
        return []
    table = _table(series, part[0], Quality(measured=0, moved=0, moved_p90_ppm=0, held_out=0, held_out_median_ppm=0, held_out_p90_ppm=0))
    return [abs(table.ns_at(t.point, series.width) - t.ns) * PPM // t.ns for t in asked]


def _is_held_out(timed: Timed) -> bool:
    """A tenth of the rows, the same ones every time."""
    return crc32(repr((timed.series, timed.point, timed.curve)).encode()) % HELD_OUT == 0


def _quantile(values: Sequence[int], percent: int) -> int:
    """Nearest rank; 0 of nothing."""
    return sorted(values)[max(0, ceil_div(len(values) * percent, 100) - 1)] if values else 0


def _filled(series: Series, timed: Sequence[Timed]) -> tuple[Filled, int] | None:
    times = _on_coarse_rows(timed) if series.kind == "expert_gemm" else _means((t.point, t.ns) for t in timed)
    grid = _grid(series, timed, times)
    known = {p: ns for p, ns in times.items() if all(x in axis for x, axis in zip(p, map(set, grid), strict=True))}
    if not known:
        return None
    return fill_grid(known, grid, [2 if name == SQUARED else 1 for name in AXES[series.kind]]), len(known)


def _grid(series: Series, timed: Sequence[Timed], times: Mapping[tuple[int, ...], int]) -> list[tuple[int, ...]]:
    """The coordinates kept of each axis, so that a table stays small: its instance holds it.

    A GEMM's inputs and outputs from 64 on: narrower ones run other, slower kernels. Rows and heads 2**k and 3 * 2**k, KV heads
    1, 2, 4, 8, 16, 64, experts read the sizes of whole ranks; of other axes all.
    """
    grid = [sorted({point[n] for point in times}) for n in range(len(AXES[series.kind]))]
    match series.kind:
        case "gemm":
            grid = [_rounded(grid[0]), *([x for x in axis if x >= LEAST_SIDE] or axis for axis in grid[1:])]
        case "expert_gemm":
            grid[1] = sorted({t.curve[0] * WHOLE for t in timed})
        case "prefill_attention" | "decode_attention":
            grid[2] = _rounded(grid[2])
            grid[3] = [x for x in grid[3] if x in KV_HEADS]
        case _:
            pass
    return [tuple(axis) for axis in grid]


def _rounded(axis: Sequence[int]) -> list[int]:
    """Its numbers 2**k and 3 * 2**k, and its last."""
    return [x for x in axis if x in _coarse(axis[0], axis[-1]) or x == axis[-1]]


def _means(points: Iterable[tuple[tuple[int, ...], int]]) -> Times:
    """The mean of what was measured at each point, rounded up."""
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for point, ns in points:
        found[point].append(ns)
    return {point: ceil_div(sum(each), len(each)) for point, each in found.items()}


def _on_coarse_rows(timed: Sequence[Timed]) -> Times:
    """Curves of experts on rows 2**k and 3 * 2**k, between their measured points linearly.

    Models that differ in experts per token were measured at other rows; on common ones their curves make one grid.
    """
    curves: dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]] = defaultdict(list)
    for t in timed:
        curves[t.curve].append(((t.point[0],), t.ns))
    found = []
    for (local, width), points in curves.items():
        line = sorted((rows, ns) for (rows,), ns in _means(points).items())
        for (a, low), (b, high) in pairwise(line):
            inside = [rows for rows in _coarse(a, b) if rows < b or b == line[-1][0]]
            found += [((rows, min(rows, local) * WHOLE, width), ceil_div(low * (b - rows) + high * (rows - a), b - a)) for rows in inside]
    return _means(found)


def _coarse(first: int, last: int) -> list[int]:
    powers = [1 << n for n in range(last.bit_length())]
    return sorted(x for x in {*powers, *(3 * p for p in powers)} if first <= x <= last)
