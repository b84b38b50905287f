"""The exact best mix of the peer's own rows on the same GPUs: `shardproof fleet`, one process.

A mix may run several shapes of each role side by side behind one router, which the peer never looks at. Where the peer pairs only workers
of one tensor degree and the best mix does not, the best mix of one tensor degree is taken, a process each; the bound stays that of all.
"""

import csv
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.serving.peer import PeerResult
from benchmarks.serving.processes import run

DEGREES = re.compile(r"tp(?P<tp>\d+)pp.*etp(?P<etp>\d+)ep(?P<ep>\d+)")


class Packing(NamedTuple):
    """The best mix, and what it took."""

    status: str
    tokens_per_s_per_gpu: float
    """of the cluster"""
    bound: float
    """no mix has more tokens/s per GPU"""
    checked: bool
    """whether the separate checker accepted the proof"""
    workers: tuple[str, ...]
    """count x role name"""
    rows: int
    cpu_s: float
    wall_s: float


def pack(peer: PeerResult, output_tokens: int) -> Packing:
    """The best mix of the rows of `peer` on its number of GPUs that it would deploy itself. Raises Failed."""
    best = _mix(peer, peer.rows, output_tokens)
    if len(_fixed_degrees(peer, best.workers)) <= 1:
        return best
    with TemporaryDirectory() as scratch:
        tried = [best] + [_mix(peer, _rows_of(peer, tp, Path(scratch)), output_tokens) for tp in _tensor_degrees(peer)]
    found = max(tried[1:], key=lambda mix: mix.tokens_per_s_per_gpu)
    status = best.status if found.tokens_per_s_per_gpu == best.tokens_per_s_per_gpu else "FEASIBLE"
    cpu_s, wall_s = (round(sum(times), 2) for times in zip(*((mix.cpu_s, mix.wall_s) for mix in tried), strict=True))
    return found._replace(status=status, bound=best.bound, rows=best.rows, cpu_s=cpu_s, wall_s=wall_s)


def _mix(peer: PeerResult, rows: Iterable[Path], output_tokens: int) -> Packing:
    """The best mix of all these rows, whatever their degrees."""
    shares = ["--prefill-share", peer.prefill_pct, "--decode-share", peer.decode_pct]
    size = ["--gpus", str(peer.gpus), "--output-tokens", str(output_tokens)]
    took = run([sys.executable, "-m", "optimizer", "fleet", *map(str, rows), *size, *shares, "--json"])
    found = json.loads(took.stdout)
    return Packing(
        status=found["status"],
        tokens_per_s_per_gpu=found["tokens_per_s_per_gpu"],
        bound=round(found["bound"] / peer.gpus / 1e6, 3),
        checked=found["proof"]["checked"],
        workers=tuple(f"{w['count']} x {w['role']} {w['name']}" for w in found["workers"]),
        rows=found["rows"],
        cpu_s=took.cpu_s,
        wall_s=took.wall_s,
    )


def _fixed_degrees(peer: PeerResult, workers: Iterable[str]) -> set[int]:
    """The tensor degrees of the prefill and decode workers of a mix that pair with their own only."""
    named = (worker.split(" ", 3)[2:] for worker in workers)
    return {tp for role, name in named if (tp := _fixed_degree(peer, role, name)) is not None}


def _fixed_degree(peer: PeerResult, role: str, name: str) -> int | None:
    """The one tensor degree that a worker pairs with; None where it pairs with any, or with nobody."""
    degrees = DEGREES.match(name)
    if peer.wide_experts is None or role not in peer.wide_experts or degrees is None:
        return None
    wide = degrees["etp"] == "1" and int(degrees["ep"]) in peer.wide_experts[role]
    return None if wide else int(degrees["tp"])


def _tensor_degrees(peer: PeerResult) -> list[int]:
    """Of all rows that pair with their own only."""
    rows = (row for path in peer.rows for row in _read(path))
    return sorted({tp for row in rows if (tp := _fixed_degree(peer, row["role"], row["parallel"])) is not None})


def _rows_of(peer: PeerResult, tp: int, scratch: Path) -> list[Path]:
    """The rows that may serve beside workers of this tensor degree, as files again."""
    written = []
    for path in peer.rows:
        rows = [row for row in _read(path) if _fixed_degree(peer, row["role"], row["parallel"]) in (None, tp)]
        if rows:
            written.append(scratch / f"{tp}_{path.name}")
            with written[-1].open("w", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)
    return written


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
