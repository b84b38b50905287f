"""Our placements and their proved bounds against the greedy balancer, on every load matrix of a folder.

python -m benchmarks.placement DIR [--json]

A load matrix is an .npy file of whole numbers, [layers, experts]. All figures are loads of the
busiest rank over the mean rank, mean over the layers; of several matrices the least and the largest
such mean. The gap is that of our placement to our proved bound, mean and worst layer. Seconds are
those of one call for all layers. Greedy hierarchical keeps each expert group on one node; of a
model without groups, each expert is a group.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.greedy import balance_flat, balance_hierarchical, duplicates, max_over_mean
from benchmarks.load_matrices import Configuration, Matrix, configurations, expert_groups, read_matrices
from models.strategy import RankContents

UNIT = 10**9  # of values and bounds: parts per billion of the mean rank


class Placed(Protocol):
    """One layer: contents of the ranks, load of the busiest and its lower bound, parts per billion of the mean."""

    @property
    def contents(self) -> RankContents: ...
    @property
    def value(self) -> int: ...
    @property
    def bound(self) -> int: ...


Place = Callable[[Matrix, Configuration], Sequence[Placed | None]]


@dataclass(frozen=True)
class Column:
    """One method: max/mean [matrix][layer], seconds, and slots that hold what their rank already has."""

    ratios: tuple[tuple[float, ...], ...]
    seconds: float = 0.0
    duplicates: int = 0

    def layers(self) -> list[float]:
        return [x for matrix in self.ratios for x in matrix]

    def means(self) -> list[float]:
        """One per matrix."""
        return [float(np.mean(matrix)) for matrix in self.ratios]


@dataclass(frozen=True)
class Comparison:
    """What the methods give for one or more matrices in one configuration."""

    matrices: tuple[str, ...]
    flat: Column
    hierarchical: Column | None
    ours: Column
    bound: Column

    def gaps_pct(self) -> list[float]:
        return [100 * (value / bound - 1) for value, bound in zip(self.ours.layers(), self.bound.layers(), strict=True)]


def compare(name: str, matrix: Matrix, c: Configuration, place: Place) -> Comparison:
    """Place one matrix by each method."""
    nodes, groups = c.nodes or 1, expert_groups(len(matrix[0]))
    flat = _greedy(matrix, lambda row: balance_flat(row, c.ranks, c.slots))
    hierarchical = None
    if nodes > 1 and groups % nodes == 0:
        hierarchical = _greedy(matrix, lambda row: balance_hierarchical(row, c.ranks, c.slots, nodes, groups))
    started = time.perf_counter()
    placed = place(matrix, c)
    seconds = time.perf_counter() - started
    ours = [_verified(p, row, c) for p, row in zip(placed, matrix, strict=True) if any(row)]
    values, bounds = (tuple(x / UNIT for x in column) for column in zip(*((p.value, p.bound) for p in ours), strict=True))
    return Comparison((name,), flat, hierarchical, Column((values,), seconds), Column((bounds,)))


def _greedy(matrix: Matrix, balance: Callable[[list[int]], RankContents]) -> Column:
    loaded = [row for row in matrix if any(row)]
    started = time.perf_counter()
    placed = [balance(row) for row in loaded]
    seconds = time.perf_counter() - started
    ratios = tuple(float(max_over_mean(contents, row)) for contents, row in zip(placed, loaded, strict=True))
    return Column((ratios,), seconds, sum(map(duplicates, placed)))


def _verified(placed: Placed | None, loads: list[int], c: Configuration) -> Placed:
    """The placement of a layer with load, if it is one and weighs what it says."""
    assert placed is not None, "a layer with load has a placement"
    assert [len(set(rank)) for rank in placed.contents] == [c.slots] * c.ranks, "a slot holds an expert that is nowhere else on its rank"
    assert {e for rank in placed.contents for e in rank} == set(range(len(loads))), "each expert is on a rank"
    assert abs(max_over_mean(placed.contents, loads) * UNIT - placed.value) <= 1, "the value is that of the contents"
    assert placed.bound <= placed.value, "no bound is above a value"
    return placed


def together(rows: Sequence[Comparison]) -> Comparison:
    """Several matrices in one configuration."""

    def join(columns: Iterable[Column]) -> Column:
        ratios, seconds, lost = zip(*((c.ratios, c.seconds, c.duplicates) for c in columns), strict=True)
        return Column(tuple(matrix for part in ratios for matrix in part), sum(seconds), sum(lost))

    hierarchical = [r.hierarchical for r in rows if r.hierarchical is not None]
    return Comparison(
        tuple(name for r in rows for name in r.matrices),
        join(r.flat for r in rows),
        join(hierarchical) if hierarchical else None,
        join(r.ours for r in rows),
        join(r.bound for r in rows),
    )


def as_json(r: Comparison) -> dict[str, Any]:
    """Max/mean over all layers and over matrices, gap in %, seconds."""

    def described(column: Column) -> dict[str, Any]:
        means, layers = column.means(), column.layers()
        numbers = {"mean": float(np.mean(layers)), "worst": max(layers), "least_matrix": min(means), "largest_matrix": max(means)}
        return {name: round(x, 9) for name, x in numbers.items()}

    def whole(column: Column) -> dict[str, Any]:
        return described(column) | {"duplicates": column.duplicates, "seconds": round(column.seconds, 3)}

    gaps = r.gaps_pct()
    return {
        "matrices": list(r.matrices),
        "layers": len(gaps),
        "greedy_flat": whole(r.flat),
        "greedy_hierarchical": None if r.hierarchical is None else whole(r.hierarchical),
        "ours": whole(r.ours),
        "bound": described(r.bound),
        "gap_pct": {"mean": round(float(np.mean(gaps)), 7), "worst": round(max(gaps), 7)},
    }


HEADER = f"{'matrix':32s}   greedy flat  hierarchical          ours         bound | gap %: mean   worst | s: flat  hier.   ours"


def as_line(r: Comparison) -> str:
    """One line of the table under HEADER."""

    def cell(column: Column | None) -> str:
        means = [] if column is None else column.means()
        text = f"{min(means):.4f}" + (f"-{max(means):.4f}" if len(means) > 1 else "") if means else "-"
        return f" {text:>13s}"

    name = r.matrices[0] if len(r.matrices) == 1 else f"all {len(r.matrices)}"
    gaps = r.gaps_pct()
    hierarchical = "-" if r.hierarchical is None else f"{r.hierarchical.seconds:.2f}"
    text = f"{name:32s}" + "".join(map(cell, (r.flat, r.hierarchical, r.ours, r.bound)))
    return f"{text} | {np.mean(gaps):11.4f} {max(gaps):7.4f} | {r.flat.seconds:7.2f} {hierarchical:>6s} {r.ours.seconds:6.2f}"


def heading(experts: int, c: Configuration) -> str:
    """What a block of the table is about."""
    nodes = "" if c.nodes is None else f" on {c.nodes} node{'s' if c.nodes > 1 else ''}"
    return f"{experts} experts, {c.ranks} ranks of {c.slots} slots{nodes}, {c.ranks * c.slots - experts} redundant"


def measure(matrices: dict[str, Matrix], place: Place, report: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A block per number of experts and configuration: a line per matrix as soon as it is there, and one over all."""
    for experts in sorted({len(matrix[0]) for matrix in matrices.values()}):
        for c in configurations(experts):
            report(f"\n{heading(experts, c)}\n{HEADER}")
            rows = []
            for name, matrix in matrices.items():
                if len(matrix[0]) == experts:
                    rows.append(compare(name, matrix, c, place))
                    report(as_line(rows[-1]))
            total = together(rows)
            if len(rows) > 1:
                report(as_line(total))
            yield {"experts": experts, **c._asdict(), "rows": [as_json(r) for r in rows], "all": as_json(total)}


def place_ours(matrix: Matrix, c: Configuration) -> Sequence[Placed | None]:
    """Our placement of each layer; progress goes to stderr."""
    from models.expert_map import Setting
    from optimizer.mapping.layers import PlaceOptions, place_layers

    setting = Setting(ranks=c.ranks, nodes=c.nodes or 1, slots=c.slots)
    return place_layers([matrix], setting, PlaceOptions(), partial(print, file=sys.stderr))


def main() -> None:
    """Print the table, or the same numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    matrices, skipped = read_matrices(arguments.folder)
    if not matrices:
        parser.error(f"no load matrix in {arguments.folder}: wanted .npy files of whole numbers, [layers, experts]")
    report: Callable[[str], None] = (lambda _: None) if arguments.json else partial(print, flush=True)
    for name, reason in skipped.items():
        report(f"skipped {name}: {reason}")
    blocks = list(measure(matrices, place_ours, report))
    if arguments.json:
        print(json.dumps({"skipped": skipped, "configurations": blocks}, indent=2))


if __name__ == "__main__":
    main()
