"""Measured operator times as an alternative to the roofline: tables, and what they say of one operator.

A table is a full grid that never falls along any axis, which its validation makes sure of. Between the points it is
multilinear, so it never falls there either; below the grid it stays at the edge; beyond it grows in proportion from the edge.
"""

from bisect import bisect_right
from functools import cached_property
from itertools import pairwise
from math import isqrt, prod
from operator import le
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from models.formats import DType
from models.operators import Kind, Work
from models.record import Name, Record, Source, StopAtFirst, Text
from models.units import MAX_INT, ceil_div

FORMAT = "shardproof-tables/1"
MOST_POINTS = 20_000  # of one table: an instance holds its tables, and its certificate holds the instance

AXES: dict[Kind, tuple[str, ...]] = {
    "gemm": ("rows", "inputs", "outputs"),
    "expert_gemm": ("rows", "experts_read", "expert_width"),
    "prefill_attention": ("sequences", "square_side", "heads", "kv_heads"),
    "decode_attention": ("sequences", "context_tokens", "heads", "kv_heads"),
    "mla_prefill": ("sequences", "square_side", "heads"),
    "mla_decode": ("sequences", "context_tokens", "heads"),
}
"""Axes of the tables by kind of operator. experts_read counts 2**-20. square_side: tokens of the whole prompt whose causal
attention has as many FLOP. Kinds that are missing are always priced by the roofline."""

SQUARED = "square_side"  # the axis along which work grows with the square
MLA_WIDTHS = 192 + 128  # of a head's keys and values in prefill, DeepSeek-V3 (arXiv 2412.19437): what MLA tables are measured with
LATENT = 512  # width of its latent; in decode a head's pair takes latent and rope, then latent
SAME_ARITHMETIC = {"fp16": "bf16"}  # formats that run as fast as another on every accelerator

Point = Annotated[int, Field(ge=1, le=MAX_INT)]
Grid = Annotated[tuple[Point, ...], Field(min_length=1, max_length=1000), StopAtFirst()]
Times = Annotated[tuple[Point, ...], Field(min_length=1, max_length=MOST_POINTS), StopAtFirst()]


class Quality(Record):
    """How a table follows what was measured."""

    measured: int = Field(ge=0, description="points of the grid that were measured; the others are filled in")
    moved: int = Field(ge=0, description="measured points whose time had to change so that the table never falls")
    moved_p90_ppm: int = Field(ge=0, description="by how much of it, 90th percentile of those moved")
    held_out: int = Field(ge=0, description="measured rows left out of a second table, whose times it was asked")
    held_out_median_ppm: int = Field(ge=0, description="absolute error on those rows, median")
    held_out_p90_ppm: int = Field(ge=0, description="absolute error on those rows, 90th percentile")


class Table(Record):
    """Times of one kind of operator in one number format, ns, on a grid; the last axis varies fastest."""

    kind: Kind
    storage: DType = Field(description="format of the weights; of the KV cache, for attention")
    measured_as: Text = Field(description="what the source calls it")
    width: int = Field(ge=0, le=MAX_INT, description="inputs of an expert; head width; MLA's latent and rope; 0 for a GEMM")
    matrices: int = Field(ge=0, le=3, description="of an expert; 0 otherwise")
    grid: tuple[Grid, ...] = Field(min_length=1, max_length=4, description="coordinates of each axis, ascending")
    ns: Times
    quality: Quality

    @model_validator(mode="after")
    def _never_falls(self) -> Self:
        names = AXES.get(self.kind, ())
        if len(names) != len(self.grid):
            raise ValueError(f"a table of {self.kind} has {len(names)} axes, this one {len(self.grid)}")
        for name, grid in zip(names, self.grid, strict=True):
            if any(a >= b for a, b in pairwise(grid)):
                raise ValueError(f"axis {name} does not ascend")
        if len(self.ns) != prod(len(grid) for grid in self.grid):
            raise ValueError(f"{len(self.ns)} times for a grid of {prod(len(grid) for grid in self.grid)} points")
        if (self.width == 0) != (self.kind == "gemm") or (self.matrices == 0) != (self.kind != "expert_gemm"):
            raise ValueError("width is 0 for a gemm only, matrices for all but an expert_gemm")
        for name, grid, stride in zip(names, self.grid, self.strides, strict=True):
            if not never_falls(self.ns, len(grid), stride):
                raise ValueError(f"times fall along axis {name}")
        return self

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Distance in `ns` of neighbours along each axis."""
        return tuple(prod(len(grid) for grid in self.grid[n + 1 :]) for n in range(len(self.grid)))

    def ns_at(self, point: tuple[int, ...], width: int) -> int:
        """Multilinear between points, clamped below, in proportion beyond; times width / table's width; rounded up once, ns."""
        corners, above, below = [(0, 1)], 1, 1
        for name, grid, stride, x in zip(AXES[self.kind], self.grid, self.strides, point, strict=True):
            last = len(grid) - 1
            cell = min(max(bisect_right(grid, x) - 1, 0), last)
            into = max(0, x - grid[cell]) if cell < last else 0
            if into:
                span = grid[cell + 1] - grid[cell]
                corners = [c for at, w in corners for c in ((at + cell * stride, w * (span - into)), (at + (cell + 1) * stride, w * into))]
                below *= span
            else:
                corners = [(at + cell * stride, w) for at, w in corners]
            if x > grid[last]:
                power = 2 if name == SQUARED else 1
                above, below = above * x**power, below * grid[last] ** power
        if self.width:
            above, below = above * width, below * self.width
        return ceil_div(above * sum(w * self.ns[at] for at, w in corners), below)


def never_falls(ns: tuple[int, ...], length: int, stride: int) -> bool:
    """Whether times never fall along the axis of `length` points, neighbours `stride` apart."""
    block = length * stride
    return all(all(map(le, ns[b : b + block - stride], ns[b + stride : b + block])) for b in range(0, len(ns), block))


class OperatorTables(Record):
    """Measured times of operators on one system under one engine; as a file, `shardproof-tables/1`."""

    format: Literal["shardproof-tables/1"]
    system: Name
    engine: Name
    versions: dict[str, Name] = Field(max_length=20, description="engine version behind each family of tables")
    source: Source
    tables: tuple[Table, ...] = Field(min_length=1, max_length=40)

    @model_validator(mode="after")
    def _one_table_of_each(self) -> Self:
        keys = [(t.kind, t.storage, t.matrices, t.width) for t in self.tables]
        if len(set(keys)) < len(keys):
            raise ValueError("two tables of one kind, format, number of matrices and width; keep one")
        return self

    @cached_property
    def by_key(self) -> dict[tuple[str, str, int], list[Table]]:
        """(kind, storage, matrices) -> tables by ascending width."""
        found: dict[tuple[str, str, int], list[Table]] = {}
        for table in sorted(self.tables, key=lambda t: t.width):
            found.setdefault((table.kind, table.storage, table.matrices), []).append(table)
        return found

    @cached_property
    def kinds(self) -> frozenset[Kind]:
        """Kinds of operator that have a table in some format."""
        return frozenset(table.kind for table in self.tables)


class Place(NamedTuple):
    """Where an operator lies in the tables."""

    matrices: int
    width: int
    point: tuple[int, ...]


def place(work: Work) -> Place | None:
    """The operator's coordinates in the order of `AXES`; None where no table could hold it: it is not plain attention over its context."""
    match work.kind:
        case "gemm":
            return Place(0, 0, work.shape)
        case "expert_gemm":
            rows, touched, inputs, width, matrices = work.shape
            return Place(matrices, inputs, (rows, touched, width))
        case "elementwise":
            return None
    sequences, queries, context, heads, kv_heads, width = work.shape
    if context == 1:  # as recurrences have it
        return None
    mla = work.kind in ("mla_prefill", "mla_decode")
    if work.kind in ("prefill_attention", "mla_prefill"):
        twice = ceil_div(work.flop, sequences * heads * (MLA_WIDTHS if mla else 2 * width))  # pairs of a head that see each other
        if not 0 < twice <= 2 * queries * context:
            return None
        along = 1 + isqrt(twice - 1)
    else:
        pair = LATENT + width if mla else 2 * width
        if work.flop != 2 * sequences * heads * pair * context:
            return None
        along = context
    return Place(0, width, (sequences, along, heads) if mla else (sequences, along, heads, kv_heads))


def table_of(tables: OperatorTables, work: Work, at: Place) -> Table | None:
    """The table of the operator's format and head width; of experts that of their inputs, else the next larger, else the largest.

    None of what chooses depends on the numbers along the axes, so a time never falls when one of them grows.
    """
    found = tables.by_key.get((work.kind, SAME_ARITHMETIC.get(work.storage, work.storage), at.matrices), [])
    if work.kind == "expert_gemm":
        return next((t for t in found if t.width >= at.width), found[-1] if found else None)
    return next((t for t in found if t.width == at.width), None)


def table_ns(tables: OperatorTables, work: Work) -> int | None:
    """What the tables say of an operator, ns; None where they say nothing."""
    at = place(work)
    table = None if at is None else table_of(tables, work, at)
    return None if at is None or table is None else table.ns_at(at.point, at.width)


def shortfall(tables: OperatorTables, work: Work) -> str | None:
    """In which way an operator lies outside the tables; None where it is inside, or of a kind that has no tables."""
    if work.kind == "elementwise":
        return None
    at = place(work)
    table = None if at is None else table_of(tables, work, at)
    if at is None or table is None:
        return f"{work.kind} in {work.storage}: no table holds it, priced by the roofline"
    said = [] if table.width == at.width else [f"width {at.width} by that of {table.width} in proportion"]
    for name, grid, x in zip(AXES[table.kind], table.grid, at.point, strict=True):
        said += [f"{name} beyond {grid[-1]} in proportion"] if x > grid[-1] else [f"{name} below {grid[0]} as there"] if x < grid[0] else []
    return f"{work.kind} in {work.storage}: {', '.join(said)}" if said else None
