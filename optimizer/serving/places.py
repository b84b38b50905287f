"""The workers of a fleet on the GPUs of their pools: whole domains first and spread over nodes; where that fails, by integer program."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from models.cluster import Pool
from models.fleet_places import nodes_apart


class Piece(NamedTuple):
    """One worker that needs a place."""

    gpus: int
    kind: int
    """the member of the fleet that it belongs to"""
    role: str


def place_workers(pool: Pool, wanted: Sequence[Piece], apart: int = 1) -> dict[int, list[int]] | None:
    """The first GPU of each worker, by kind; `apart` of each role, or all it has, on nodes of their own where that was found possible.

    None where no way to lay them out was found.
    """
    pieces = sorted(wanted, key=lambda w: (-w.gpus, w.kind))
    greedy = _largest_first(pool, pieces)
    if greedy is None or not _are_apart(pool, pieces, greedy, apart):
        from optimizer.encoding.places_model import propose_places  # loads the solver

        solved = propose_places(pool, pieces, apart)
        if solved is None and greedy is None and apart > 1:
            solved = propose_places(pool, pieces, 1)
        greedy = solved or greedy
    if greedy is None:
        return None
    found = sorted((piece.kind, first) for piece, first in zip(pieces, greedy, strict=True))
    return {kind: [first for _, first in each] for kind, each in groupby(found, key=lambda kf: kf[0])}


def _are_apart(pool: Pool, pieces: Sequence[Piece], firsts: Sequence[int], apart: int) -> bool:
    each = pool.gpus_per_node
    for role in {piece.role for piece in pieces} if apart > 1 else ():
        spans = [("", f // each, (f + p.gpus - 1) // each) for p, f in zip(pieces, firsts, strict=True) if p.role == role]
        if nodes_apart(spans) < min(apart, len(spans)):
            return False
    return True


def _largest_first(pool: Pool, pieces: Sequence[Piece]) -> list[int] | None:
    """Each where the fewest of its role are, the first GPU of each; sizes that divide each other always fit."""
    domain = min(pool.scale_up_domain_gpus, pool.gpus)
    ends = [min(start + domain, pool.gpus) for start in range(0, pool.gpus, domain)]
    free, firsts = [end - n * domain for n, end in enumerate(ends)], list[int]()
    counts = dict[tuple[str, int], int]()
    for piece in pieces:
        whole = -(-piece.gpus // domain)
        starts = [n for n in range(len(free) - whole + 1) if _fits(free, n, piece.gpus, domain)]
        if not starts:
            return None
        firsts.append(min((ends[n] - free[n] for n in starts), key=lambda f: (counts.get((piece.role, f // pool.gpus_per_node), 0), f)))
        at, left = firsts[-1] // domain, piece.gpus
        for n in range(at, at + whole):
            left -= (taken := min(left, free[n]))
            free[n] -= taken
        for node in range(firsts[-1] // pool.gpus_per_node, (firsts[-1] + piece.gpus - 1) // pool.gpus_per_node + 1):
            counts[piece.role, node] = counts.get((piece.role, node), 0) + 1
    return firsts


def _fits(free: Sequence[int], at: int, gpus: int, domain: int) -> bool:
    """Whether a worker can begin in domain `at`: in its free part, or in whole domains from there on."""
    if gpus <= domain:
        return free[at] >= gpus
    return all(free[n] == domain for n in range(at, at + gpus // domain))
