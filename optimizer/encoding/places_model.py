"""Places for workers as rows of an integer program: how many of each kind in every cell, and where those begin that lie in several.

A cell is as much of a scale-up domain as nothing need be known of within: a domain, or, where workers must not share nodes, what a
domain and a node have in common. What lies inside one cell fits wherever its GPUs suffice, so that only numbers count; of workers that
lie in several cells every first GPU is a choice. What comes out is a candidate, and is looked at again without the solver.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import gcd
from typing import NamedTuple

from ortools.sat.python import cp_model

from models.cluster import Pool
from optimizer.encoding.guarded import solve_guarded

DETERMINISTIC_S = 1.0
MOST_TERMS = 300_000  # cells that workers may lie across, of all kinds and first GPUs together: beyond, no places are sought


class TooLarge(Exception):
    """There are more ways to place a worker than a model of them can hold."""


class Kind(NamedTuple):
    """Workers alike: no two of one pool have the same role and as many GPUs."""

    pool: int
    role: str
    gpus: int


class Places:
    """Rows that put workers onto the GPUs of their pools; `counts` holds how many there are of each kind."""

    def __init__(self, model: cp_model.CpModel, pools: Sequence[Pool], kinds: Sequence[Kind], apart: int) -> None:
        """`apart` workers of every role in use share no node. Raises TooLarge."""
        self.model, self.pools, self.kinds, self.apart = model, pools, kinds, apart
        self._widths = [min(p.scale_up_domain_gpus, p.gpus_per_node if apart > 1 else p.gpus) for p in pools]
        self._inside: dict[tuple[int, int], cp_model.IntVar] = {}
        """how many of a kind lie inside a cell"""
        self._across: dict[tuple[int, int], cp_model.IntVar] = {}
        """whether one of a kind that lies in several cells begins at a GPU"""
        self._terms = 0
        for n, kind in enumerate(kinds):
            self._choose(n, kind)
        self.counts = [self._count(n) for n in range(len(kinds))]
        for p, pool in enumerate(pools):
            self._fill(p, pool)
        if apart > 1:
            self._spread()

    def _choose(self, n: int, kind: Kind) -> None:
        """(R22 pool) A worker lies inside a domain, or begins one."""
        pool, width = self.pools[kind.pool], self._widths[kind.pool]
        for cell, size in enumerate(self._sizes(kind.pool)):
            if kind.gpus <= size:
                self._inside[n, cell] = self.model.new_int_var(0, size // kind.gpus, f"inside_{n}_{cell}")
        unit = gcd(width, *(k.gpus for k in self.kinds if k.pool == kind.pool))  # moved down to multiples of it, workers fit as before
        for first in _firsts(pool, kind.gpus, unit):
            if first // width != (first + kind.gpus - 1) // width:
                self._across[n, first] = self.model.new_bool_var(f"across_{n}_{first}")
                self._terms += -(-kind.gpus // width)
                if self._terms > MOST_TERMS:
                    raise TooLarge

    def _sizes(self, p: int) -> list[int]:
        """GPUs of each cell of a pool."""
        width, have = self._widths[p], self.pools[p].gpus
        return [min(width, have - at) for at in range(0, have, width)]

    def _count(self, n: int) -> cp_model.IntVar:
        kind = self.kinds[n]
        count = self.model.new_int_var(0, self.pools[kind.pool].gpus // kind.gpus, f"workers_{n}")
        its = [v for (k, _), v in (*self._inside.items(), *self._across.items()) if k == n]
        self.model.add(_sum(its) == count)
        return count

    def _fill(self, p: int, pool: Pool) -> None:
        """(R22 pool) The GPUs of a cell suffice, and at most one worker lies on both sides of where two cells meet."""
        sizes, width = self._sizes(p), self._widths[p]
        terms: list[list[tuple[cp_model.IntVar, int]]] = [[] for _ in sizes]
        crossing: list[list[cp_model.IntVar]] = [[] for _ in sizes]
        for (n, cell), count in self._inside.items():
            if self.kinds[n].pool == p:
                terms[cell].append((count, self.kinds[n].gpus))
        for (n, first), begun in self._across.items():
            if self.kinds[n].pool == p:
                end = first + self.kinds[n].gpus
                for cell in range(first // width, (end - 1) // width + 1):
                    terms[cell].append((begun, min(end, (cell + 1) * width) - max(first, cell * width)))
                    if end > (cell + 1) * width:
                        crossing[cell].append(begun)
        for its, size, both in zip(terms, sizes, crossing, strict=True):
            self.model.add(_weighted(its) <= size)
            if len(both) > 1:
                self.model.add_at_most_one(both)
        self._order(p, pool, terms)

    def _order(self, p: int, pool: Pool, terms: Sequence[Sequence[tuple[cp_model.IntVar, int]]]) -> None:
        """Equal domains are filled from the first on; not where whole domains on parts of nodes make them unequal."""
        domain, width = pool.scale_up_domain_gpus, self._widths[p]
        if self.apart > 1 and domain < pool.gpus_per_node:
            if any(k.gpus > domain for k in self.kinds if k.pool == p):
                return
            domain = pool.gpus_per_node
        each = max(1, domain // width)
        full = pool.gpus // (each * width)
        used = [[term for cell in terms[n * each : (n + 1) * each] for term in cell] for n in range(full)]
        for one, other in pairwise(used):
            self.model.add(_weighted([*one, *((v, -gpus) for v, gpus in other)]) >= 0)

    def _spread(self) -> None:
        """(R25 min_workers) Of every role in use so many workers are chosen as are asked for, no two on one node."""
        for role in sorted({kind.role for kind in self.kinds}):
            on_node: dict[tuple[int, int], list[cp_model.IntVar]] = {}
            chosen_on: dict[tuple[int, int], list[cp_model.IntVar]] = {}
            chosen = list[cp_model.IntVar]()
            for (n, cell), count in self._inside.items():
                if self.kinds[n].role == role:
                    p = self.kinds[n].pool
                    on_node.setdefault((p, cell * self._widths[p] // self.pools[p].gpus_per_node), []).append(count)
            for (n, first), begun in self._across.items():
                p, node = self.kinds[n].pool, self.pools[self.kinds[n].pool].gpus_per_node
                span = range(first // node, (first + self.kinds[n].gpus - 1) // node + 1)
                if self.kinds[n].role == role and len(span) == 1:
                    on_node.setdefault((p, span[0]), []).append(begun)
                elif self.kinds[n].role == role:
                    one = self.model.new_bool_var(f"apart_{n}_{first}")
                    self.model.add_implication(one, begun)
                    chosen.append(one)
                    for at in span:
                        chosen_on.setdefault((p, at), []).append(one)
            for (p, at), there in on_node.items():
                one = self.model.new_bool_var(f"apart_{role}_{p}_{at}")
                self.model.add(_sum(there) >= one)
                chosen.append(one)
                chosen_on.setdefault((p, at), []).append(one)
            for those in chosen_on.values():
                if len(those) > 1:
                    self.model.add_at_most_one(those)
            in_use = self.model.new_bool_var(f"in_use_{role}")
            for n, kind in enumerate(self.kinds):
                if kind.role == role:
                    self.model.add(self.counts[n] <= self.pools[kind.pool].gpus // kind.gpus * in_use)
            self.model.add(_sum(chosen) >= self.apart * in_use)

    def firsts(self, solver: cp_model.CpSolver) -> list[list[int]]:
        """The first GPU of every worker, by kind: in a cell, after what comes from the one before."""
        found: list[list[int]] = [[] for _ in self.kinds]
        free: dict[tuple[int, int], int] = {}
        for (n, first), begun in self._across.items():
            if solver.value(begun):
                found[n].append(first)
                p, end = self.kinds[n].pool, first + self.kinds[n].gpus
                free[p, (end - 1) // self._widths[p]] = end
        for (n, cell), count in self._inside.items():
            p, gpus = self.kinds[n].pool, self.kinds[n].gpus
            for _ in range(solver.value(count)):
                first = free.get((p, cell), cell * self._widths[p])
                found[n].append(first)
                free[p, cell] = first + gpus
        return found


def propose_places(pools: Sequence[Pool], pieces: Sequence[Kind], apart: int, seed: int = 0) -> list[int] | None:
    """The first GPU of each worker; `apart` of each role share no node. None where none was found."""
    wanted = Counter(pieces)
    kinds, model = list(wanted), cp_model.CpModel()
    try:
        places = Places(model, pools, kinds, apart)
    except TooLarge:
        return None
    for kind, count in zip(kinds, places.counts, strict=True):
        model.add(count == wanted[kind])
    solver = solve_guarded(model, DETERMINISTIC_S, seed)
    if solver is None:
        return None
    left = {kind: iter(firsts) for kind, firsts in zip(kinds, places.firsts(solver), strict=True)}
    return [next(left[piece]) for piece in pieces]


def _firsts(pool: Pool, gpus: int, unit: int) -> Iterable[int]:
    """Where a worker of so many GPUs may begin: inside a domain, at multiples of `unit`, or where one begins."""
    domain, have = pool.scale_up_domain_gpus, pool.gpus
    if gpus > domain:
        return range(0, have - gpus + 1, domain)
    return (first for at in range(0, have, domain) for first in range(at, min(at + domain, have) - gpus + 1, unit))


def _sum(terms: Sequence[cp_model.IntVar]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.sum(list(terms))


def _weighted(terms: Sequence[tuple[cp_model.IntVar, int]]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.weighted_sum([v for v, _ in terms], [w for _, w in terms])
