"""The workers of a fleet on the GPUs of their pools: whole domains first and spread over nodes; where that fails, by integer program."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from models.cluster import Pool
from models.fleet_places import nodes_apart


class Piece(NamedTuple):
    """One worker that needs a place."""

    pool: int
    gpus: int
    kind: int
    """the member of the fleet that it belongs to"""
    role: str


def place_workers(pools: Sequence[Pool], wanted: Sequence[Piece], apart: int = 1) -> dict[int, list[int]] | None:
    """The first GPU of each worker, by kind, with `apart` of each role on nodes of their own.

    None where no way to lay them out was found.
    """
    pieces = sorted(wanted, key=lambda w: (w.pool, -w.gpus, w.kind))
    firsts = _each_largest_first(pools, pieces)
    if firsts is None or not _are_apart(pools, pieces, firsts, apart):
        from optimizer.encoding.places_model import Kind, propose_places  # loads the solver

        firsts = propose_places(pools, [Kind(w.pool, w.role, w.gpus) for w in pieces], apart)
    if firsts is None:
        return None
    found = sorted((piece.kind, first) for piece, first in zip(pieces, firsts, strict=True))
    return {kind: [first for _, first in each] for kind, each in groupby(found, key=lambda kf: kf[0])}


def _are_apart(pools: Sequence[Pool], pieces: Sequence[Piece], firsts: Sequence[int], apart: int) -> bool:
    for role in {piece.role for piece in pieces} if apart > 1 else ():
        its = ((p, first, pools[p.pool].gpus_per_node) for p, first in zip(pieces, firsts, strict=True) if p.role == role)
        if nodes_apart((str(p.pool), first // each, (first + p.gpus - 1) // each) for p, first, each in its) < apart:
            return False
    return True


def _each_largest_first(pools: Sequence[Pool], pieces: Sequence[Piece]) -> list[int] | None:
    """The first GPU of each, pool by pool as they are listed; None where some do not fit."""
    found = list[int]()
    for p, pool in enumerate(pools):
        firsts = _largest_first(pool, [piece for piece in pieces if piece.pool == p])
        if firsts is None:
            return None
        found += firsts
    return found


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
