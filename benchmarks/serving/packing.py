"""The exact best mix of the peer's own rows on the same GPUs: `shardproof fleet`, one process.

A mix may run several shapes of each role side by side behind one router, which the peer never looks at.
"""

import json
import sys
from typing import NamedTuple

from benchmarks.serving.peer import PeerResult
from benchmarks.serving.processes import run


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
    rows: int
    cpu_s: float
    wall_s: float


def pack(peer: PeerResult, output_tokens: int) -> Packing:
    """The best mix of the rows of `peer` on its number of GPUs. Raises Failed."""
    shares = ["--prefill-share", peer.prefill_pct, "--decode-share", peer.decode_pct]
    size = ["--gpus", str(peer.gpus), "--output-tokens", str(output_tokens)]
    took = run([sys.executable, "-m", "optimizer", "fleet", *map(str, peer.rows), *size, *shares, "--json"])
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
