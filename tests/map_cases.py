"""The slow answer about small expert maps: every placement, one by one, written from docs/certificate.md alone."""

from fractions import Fraction
from functools import cache
from itertools import combinations, combinations_with_replacement, product
from math import lcm
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PARTS = 12  # lcm of 1 to 4: loads are counted in 1/PARTS here, so that equal shares on up to 4 ranks are whole
GRAIN = 720_720
MOST_OF_A_SHAPE = 50_000  # placements

Contents = tuple[tuple[int, ...], ...]
Array = NDArray[Any]


class Layer(NamedTuple):
    """What is to be placed, and under which loads [workload][expert]."""

    ranks: int
    slots: int
    nodes: int
    loads: tuple[tuple[int, ...], ...]
    fixed: tuple[int, ...] | None = None
    homes: tuple[int, ...] | None = None
    off_home_ppm: int | None = None

    @property
    def experts(self) -> int:
        return len(self.loads[0])


@cache
def every(ranks: int, slots: int, experts: int, nodes: int) -> Array:
    """All placements but for the order of the ranks of a node: 1 where a rank holds an expert, [placement, rank, expert]."""
    contents = np.array([[e in held for e in range(experts)] for held in combinations(range(experts), slots)], dtype=np.int64)
    of_node = list(combinations_with_replacement(range(len(contents)), ranks // nodes))
    chosen = np.array([sum(parts, ()) for parts in product(of_node, repeat=nodes)])
    placed: Array = contents[chosen]
    return placed[placed.any(axis=1).all(axis=1)]


@cache
def size_of_shape(ranks: int, slots: int, experts: int, nodes: int) -> int:
    """How many placements `every` looks at."""
    contents = sum(1 for _ in combinations(range(experts), slots))
    of_node = 1
    for k in range(ranks // nodes):
        of_node = of_node * (contents + k) // (k + 1)
    return int(of_node**nodes)


def admitted(layer: Layer) -> Array:
    """Every placement with the replicas given, the homes, and no more load off them than allowed."""
    placed = every(layer.ranks, layer.slots, layer.experts, layer.nodes)
    keeps = np.ones(len(placed), dtype=np.bool_)
    counts = placed.sum(axis=1)
    if layer.fixed is not None:
        keeps &= (counts == np.array(layer.fixed)).all(axis=1)
    if layer.homes is not None:
        node = np.arange(layer.ranks) // (layer.ranks // layer.nodes)
        at_home = placed * (node[:, None] == np.array(layer.homes)[None, :])
        keeps &= at_home.any(axis=1).all(axis=1)
        if layer.off_home_ppm is not None:
            for row in layer.loads:
                away = (counts - at_home.sum(axis=1)) * (np.array(row) * PARTS) // counts
                keeps &= away.sum(axis=1) * 10**6 <= layer.off_home_ppm * PARTS * sum(row)
    return placed[keeps]


def keeps(layer: Layer, contents: Contents) -> bool:
    """Whether one placement is admitted."""
    held = [[r for r in range(layer.ranks) if e in contents[r]] for e in range(layer.experts)]
    filled = len(contents) == layer.ranks and all(len(rank) == len(set(rank)) == layer.slots for rank in contents)
    if not filled or not all(held) or (layer.fixed is not None and [len(h) for h in held] != list(layer.fixed)):
        return False
    if layer.homes is None:
        return True
    away = [sum(r // (layer.ranks // layer.nodes) != home for r in h) for h, home in zip(held, layer.homes, strict=True)]
    served = [sum(Fraction(w * a, len(h)) for w, a, h in zip(row, away, held, strict=True)) for row in layer.loads]
    limit = 10**6 if layer.off_home_ppm is None else layer.off_home_ppm
    home = all(a < len(h) for a, h in zip(away, held, strict=True))
    return home and all(part * 10**6 <= limit * sum(row) for part, row in zip(served, layer.loads, strict=True))


def tops(layer: Layer) -> Array:
    """The largest rank load of every placement admitted, equal shares, [workload, placement], in 1/PARTS."""
    placed = admitted(layer)
    counts = placed.sum(axis=1)
    return np.array([(placed * (np.array(row) * PARTS // counts)[:, None, :]).sum(axis=2).max(axis=1, initial=0) for row in layer.loads])


def least(layer: Layer, workload: int = 0) -> Fraction | None:
    """The smallest largest rank load under one workload; None where nothing is admitted."""
    found = tops(layer)[workload]
    return Fraction(int(found.min()), PARTS) if len(found) else None


def random_loads(rng: Random, experts: int, most: int = 12) -> tuple[int, ...]:
    """Tokens of each expert: zeros, ties and hot ones among them."""
    drawn = rng.choice(
        [
            [rng.randint(0, most) for _ in range(experts)],
            [rng.choice([0, 1, most]) for _ in range(experts)],
            [rng.choice([rng.randint(1, most), rng.randint(1, 4 * most)]) for _ in range(experts)],
            [most // (k + 1) for k in range(experts)],
        ]
    )
    return tuple(drawn) if sum(drawn) else (1, *drawn[1:])


def random_shape(rng: Random, most: int = MOST_OF_A_SHAPE, redundant: bool | None = None) -> tuple[int, int, int, int]:
    """(ranks, slots, experts, nodes) with as many slots as experts, or more."""
    while True:
        ranks, slots, experts = rng.randint(2, 4), rng.randint(1, 3), rng.randint(3, 6)
        nodes = rng.choice([1, 2]) if ranks % 2 == 0 else 1
        fits = slots <= experts <= ranks * slots and redundant in (None, experts < ranks * slots)
        if fits and size_of_shape(ranks, slots, experts, nodes) <= most:
            return ranks, slots, experts, nodes


def random_layer(
    rng: Random, kind: str = "free", workloads: int = 1, most: int = MOST_OF_A_SHAPE, redundant: bool | None = None, load: int = 12
) -> Layer:
    """A layer that some placement keeps; kind: free, fixed, homes, or limit (homes with a limit off them)."""
    while True:
        ranks, slots, experts, nodes = random_shape(rng, most, redundant)
        nodes = nodes if kind in ("homes", "limit") else 1
        loads = tuple(random_loads(rng, experts, load) for _ in range(workloads))
        layer = Layer(ranks, slots, nodes, loads)
        example = every(*layer[:2], experts, nodes)
        example = example[rng.randrange(len(example))]
        if kind == "fixed":
            return layer._replace(fixed=tuple(int(c) for c in example.sum(axis=0)))
        if kind in ("homes", "limit"):
            node = [r // (ranks // nodes) for r in range(ranks)]
            homes = tuple(rng.choice([node[r] for r in range(ranks) if example[r, e]]) for e in range(experts))
            layer = layer._replace(homes=homes)
            if kind == "limit":
                layer = layer._replace(off_home_ppm=rng.choice([0, 0, 20_000, 100_000, 250_000, 333_333, 1_000_000]))
                if not len(admitted(layer)):
                    continue
        return layer


# The dispatch rules as the document defines them.


def shares(contents: Contents, loads: tuple[int, ...], dispatch: str, nodes: int) -> list[Fraction]:
    """The load of every rank under the rules equal and nearest."""
    ranks, found = len(contents), [Fraction(0)] * len(contents)
    per_node = ranks // nodes
    for e, w in enumerate(loads):
        holders = [r for r in range(ranks) if e in contents[r]]
        if dispatch == "equal":
            for r in holders:
                found[r] += Fraction(w, len(holders))
            continue
        for sender in range(ranks):
            own = [r for r in holders if r // per_node == sender // per_node]
            if sender in holders:
                to = [sender]
            elif own and len(own) < len(holders):
                to = [min(own)]
            else:
                to = holders
            for r in to:
                found[r] += Fraction(w, ranks * len(to))
    return found


def largest(contents: Contents, loads: tuple[int, ...], dispatch: str, nodes: int) -> Fraction:
    """The largest rank load; of the free rule the max over sets A of experts of w(A) / the ranks that hold some of A."""
    if dispatch != "free":
        return max(shares(contents, loads, dispatch, nodes))
    best = Fraction(0)
    for chosen in range(1, 1 << len(loads)):
        inside = {e for e in range(len(loads)) if chosen >> e & 1}
        touched = sum(not inside.isdisjoint(rank) for rank in contents)
        best = max(best, Fraction(sum(loads[e] for e in inside), touched))
    return best


def contents_of(placed: Array) -> Contents:
    """One placement as lists of experts."""
    return tuple(tuple(int(e) for e in np.flatnonzero(rank)) for rank in placed)


def value_of(layer: Layer, load: Fraction, workload: int = 0) -> int:
    """`values` of the document: parts per billion of the mean rank load, both roundings up."""
    whole = -(-load * GRAIN // 1)
    return int(-(-(10**9 * whole * layer.ranks) // (GRAIN * sum(layer.loads[workload]))))


assert lcm(*range(1, 5)) == PARTS
assert lcm(*range(1, 17)) == GRAIN
