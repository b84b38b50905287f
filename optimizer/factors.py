"""The cheap bounds of every strategy at once: tables of the separable terms, combined as arrays.

Each distinct argument of a term is computed once, exactly, by the functions of `models`; an array
only gathers and adds. Whole numbers of 64 bits, checked against overflow beforehand; the tests
compare every element with `models.floors` and `models.bounds`.
"""

from collections.abc import Hashable
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bounds import Bounds
from models.enumeration import Block
from models.floors import Floors
from models.strategy import Strategy
from models.terms import Terms

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

LARGEST = 1 << 62


class Survey(NamedTuple):
    """Every strategy of some blocks, in the stated order, one element each."""

    blocks: list[Block]
    block: Integers
    """index of its block"""
    microbatches: Integers
    within: Integers
    """position among the sides and orders of its block and micro-batches"""
    step_ns: Integers
    """`Floors.step_ns` of its side"""
    fits: Flags
    """whether some split fits memory"""

    @property
    def size(self) -> int:
        return len(self.block)

    def strategy(self, number: int) -> Strategy:
        block = self.blocks[int(self.block[number])]
        side, order = divmod(int(self.within[number]), len(block.orders))
        return block.strategy(int(self.microbatches[number]), block.sides[side], block.orders[order])


class _Part(NamedTuple):
    """A block with one choice of micro-batches."""

    number: int
    block: Block
    microbatches: int
    sequences: int
    """per data-parallel rank and micro-batch"""

    @property
    def size(self) -> int:
        return len(self.block.sides) * len(self.block.orders)


def survey(bounds: Bounds, floors: Floors, blocks: list[Block]) -> Survey:
    """All strategies of `blocks` with their floors and whether they fit."""
    total = floors.instance.workload.sequences
    parts = [_Part(n, b, m, total // (b.replicas * b.dp * m)) for n, b in enumerate(blocks) if b.size for m in b.microbatches]
    each = [part.size for part in parts]
    block, microbatches = _spread([p.number for p in parts], each), _spread([p.microbatches for p in parts], each)
    starts = _spread([0, *accumulate(each[:-1])] if each else [], each)
    within = np.arange(len(block), dtype=np.int64) - starts
    found = Survey(blocks, block, microbatches, within, _steps(floors, parts), np.ones(len(block), dtype=np.bool_))
    return found._replace(fits=_fitting(bounds, parts, found))


def joined(tables: list[Survey]) -> Survey:
    """One table of the strategies of all, in order."""
    offsets = [0, *accumulate(len(table.blocks) for table in tables)]
    return Survey(
        [block for table in tables for block in table.blocks],
        np.concatenate([table.block + offset for table, offset in zip(tables, offsets, strict=False)]),
        np.concatenate([table.microbatches for table in tables]),
        np.concatenate([table.within for table in tables]),
        np.concatenate([table.step_ns for table in tables]),
        np.concatenate([table.fits for table in tables]),
    )


def _spread(values: list[int], each: list[int]) -> Integers:
    """Each value of a part, once for every strategy of the part."""
    return np.repeat(_array(values), each)


def _array(values: list[int]) -> Integers:
    """64-bit integers; Python's own where one is too large."""
    large = max(map(abs, values), default=0) >= LARGEST
    return np.array(values, dtype=object if large else np.int64)


def _steps(floors: Floors, parts: list[_Part]) -> Integers:
    """(m + PP - 1) * max(ceil((attention + experts) / PP), ceil(layers / PP) * least layer), element by element."""
    attention = [floors.attention(p.sequences, p.block.tp, p.block.cp) for p in parts]
    sides = [[f for f in floors.sides(p.sequences, p.block) for _ in p.block.orders] for p in parts]
    layers, each = floors.instance.architecture.layer_count, [p.size for p in parts]
    dearest = max((f.total for f in attention), default=0) + max((f.total for side in sides for f in side), default=0)
    exact = object if dearest * layers * max((p.microbatches + p.block.pp for p in parts), default=0) >= LARGEST else np.int64
    pp, m = _spread([p.block.pp for p in parts], each).astype(exact), _spread([p.microbatches for p in parts], each)
    total = _spread([f.total for f in attention], each) + _array([f.total for side in sides for f in side])
    least = _spread([f.least for f in attention], each) + _array([f.least for side in sides for f in side])
    found: Integers = (m + pp - 1) * np.maximum(-(-total // pp), -(-layers // pp) * least)
    return found


def _fitting(bounds: Bounds, parts: list[_Part], found: Survey) -> Flags:
    """`Bounds.fits`: by its closed forms where they decide, by itself elsewhere."""
    each, distinct = [p.size for p in parts], bounds.terms.arch.distinct_layers()
    counts = [count for _, count in distinct]
    pp, sizes = _spread([p.block.pp for p in parts], each), [_sizes(bounds.terms, parts, g) for g, _ in distinct]
    fixed, first, last = zip(*(_stage(bounds.terms, p) for p in parts), strict=True) if parts else ((), (), ())
    memory = bounds.terms.pool.accelerator.memory_bytes
    ends = _spread(list(first), each) + _spread(list(last), each)
    total = sum((n * size for n, size in zip(counts, sizes, strict=True)), start=ends)
    room = np.minimum(memory - _spread(list(fixed), each), int(total.max(initial=0)))
    even = -(-sum(counts) // pp) * np.maximum.reduce(sizes) + ends <= room
    never = total > pp * room
    sure: Flags = np.asarray(~never & ((pp == 1) | even), dtype=np.bool_)
    for number in np.flatnonzero(~never & ~sure):
        sure[number] = bounds.fits(found.strategy(int(number)))
    return sure


def _sizes(terms: Terms, parts: list[_Part], group: int) -> Integers:
    """Weights and KV cache of one layer of a group, bytes, for every strategy."""
    weights: dict[Hashable, list[int]] = {}
    columns = []
    for p in parts:
        key = (p.block.tp, p.block.sides, p.block.orders)
        if key not in weights:
            weights[key] = [terms.weight_bytes(group, p.block.tp, etp, ep, r) for etp, ep, _, r in p.block.sides for _ in p.block.orders]
        columns.append(weights[key])
    cache = [terms.cache_bytes(group, p.block.tp, p.block.cp) * p.sequences * p.microbatches for p in parts]
    return _array([w for column in columns for w in column]) + _spread(cache, [p.size for p in parts])


def _stage(terms: Terms, p: _Part) -> tuple[int, int, int]:
    """Bytes of a stage besides its layers, of the embedding, and of the head."""
    side, order = p.block.sides[0], p.block.orders[0]
    return terms.stage_bytes(terms.shape(p.block.strategy(p.microbatches, side, order)), p.block.pp == 1)
