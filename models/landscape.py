"""The strategies of an instance in order of a lower bound on their value, worked out as far as it is asked for.

One landscape serves every instance that its own is a relaxation of (`models.relaxation`): what it says
of a strategy is a lower bound there too, and what does not fit its memory fits none of them. So thousands of variants of
one machine look at the few strategies that may matter to each, and the rest is disposed of once.
"""

from bisect import bisect_right
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import accumulate, count
from typing import NamedTuple

from models.bounds import Bounds
from models.enumeration import Block, Side, blocks
from models.floors import Floors
from models.instance import Instance
from models.objective import value_of
from models.rules import longest_step
from models.strategy import Strategy
from models.terms import Terms
from models.units import ceil_div

FEW = 2_000  # strategies that are looked at one by one rather than in order


class _Part(NamedTuple):
    """A block with one choice of micro-batches."""

    block: Block
    microbatches: int
    need_bytes: int
    """no strategy of it fits less memory"""


class _Sided(NamedTuple):
    """A part with one of its expert sides."""

    part: _Part
    side: Side


class Landscape:
    """The strategies of one relaxed instance, least bound first."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.terms = Terms(instance)
        self.floors, self.bounds = Floors(instance, self.terms), Bounds(instance, self.terms)
        self.size = 0
        """strategies of the space"""
        self.steps = 0
        """strategies and blocks, as the effort of an enumeration counts them"""
        self._by_need: list[_Part] = []
        self._up_to: list[int] = [0]
        """strategies of the first so many of those"""
        self._latest: tuple[int, list[tuple[int, Strategy]]] | None = None
        """how many of those were looked at one by one last, and what came of it"""
        self._queue: list[tuple[int, int, _Part | _Sided | Strategy]] = []
        self._numbers = count()
        self._found: list[tuple[int, Strategy]] = []

    @classmethod
    def of(cls, instance: Instance, most_steps: int) -> "Landscape | None":
        """The landscape of a relaxed instance; None where its space takes more than `most_steps` to enumerate."""
        found = cls(instance)
        return found if found._enumerate(most_steps) else None

    def candidates(self, instance: Instance) -> Iterator[tuple[int, Strategy | None]]:
        """The strategies that memory and limits of `instance` may admit, each with a lower bound on its value, ascending.

        Without a strategy: no later one has a lower bound. The landscape must be of a relaxation of `instance`.
        """
        pool, limit = instance.cluster.pool, longest_step(instance)
        longest = limit[1] if limit and instance.objective.name in ("latency", "throughput") else None
        price = (pool.price_uusd_per_gpu_hour or 0) if instance.objective.name == "cost" else 1  # 1 in the relaxation
        few = self._few(pool.accelerator.memory_bytes)
        for bound, s in self._all() if few is None else few:
            if longest is not None and bound > longest:
                return
            yield bound * price, s

    def _enumerate(self, most_steps: int) -> bool:
        """Whether the whole space was enumerated within `most_steps`."""
        memory, parts = self.instance.cluster.pool.accelerator.memory_bytes, list[_Part]()
        needs = _Needs(self.instance, self.terms)
        for block in blocks(self.instance):
            self.size += block.size
            self.steps += block.size + 1
            if self.steps > most_steps:
                return False
            if block.size:
                found = (_Part(block, m, needs.least(block, m)) for m in block.microbatches)
                parts += [part for part in found if part.need_bytes <= memory]
        self._queue = [(self._value(p, self.floors.step_ns(p.block, p.microbatches)), next(self._numbers), p) for p in parts]
        heapify(self._queue)
        self._by_need = sorted(parts, key=lambda p: p.need_bytes)
        self._up_to = list(accumulate((len(p.block.sides) * len(p.block.orders) for p in self._by_need), initial=0))
        return True

    def _value(self, part: _Part, step_ns: int) -> int:
        block = part.block
        return value_of(self.instance, block.strategy(1, block.sides[0], block.orders[0])).of(step_ns)

    def _few(self, memory: int) -> list[tuple[int, Strategy]] | None:
        """The strategies that `memory` may admit, by their bounds; None where they are many."""
        parts = bisect_right(self._by_need, memory, key=lambda part: part.need_bytes)
        if self._up_to[parts] > FEW:
            return None
        if self._latest is None or self._latest[0] != parts:
            self._latest = parts, sorted(s for part in self._by_need[:parts] for s in self._strategies_of(part))
        return self._latest[1]

    def _strategies_of(self, part: _Part) -> Iterator[tuple[int, Strategy]]:
        """All strategies of a part by the floors of their expert sides."""
        for side in part.block.sides:
            bound = self._value(part, self.floors.step_ns(part.block, part.microbatches, side))
            yield from ((bound, part.block.strategy(part.microbatches, side, order)) for order in part.block.orders)

    def _all(self) -> Iterator[tuple[int, Strategy | None]]:
        """Every strategy that fits the relaxed memory, ascending; worked out once, as far as it is asked for."""
        for number in count():
            while number == len(self._found):
                if not self._queue:
                    return
                yield self._queue[0][0], None
                if self._queue and number == len(self._found):
                    self._advance()
            yield self._found[number]

    def _advance(self) -> None:
        """Takes the entry of least bound one step further: a part to its expert sides, a side to strategies, a strategy to those found.

        The entry leaves the queue when all that follows from it is known: an exception on the way loses nothing.
        """
        bound, _, entry = self._queue[0]
        if isinstance(entry, Strategy):
            self._found.append((bound, entry))
            heappop(self._queue)
            return
        following = self._sided(bound, entry) if isinstance(entry, _Part) else self._strategies(bound, entry)
        heappop(self._queue)
        for least, what in following:
            heappush(self._queue, (least, next(self._numbers), what))

    def _sided(self, bound: int, part: _Part) -> list[tuple[int, _Sided | Strategy]]:
        """A part's expert sides with their bounds."""
        steps = [(side, self.floors.step_ns(part.block, part.microbatches, side)) for side in part.block.sides]
        return [(max(bound, self._value(part, step)), _Sided(part, side)) for side, step in steps]

    def _strategies(self, bound: int, sided: _Sided) -> list[tuple[int, _Sided | Strategy]]:
        """The strategies of an expert side that fit, with their bounds."""
        part, side = sided
        each = (part.block.strategy(part.microbatches, side, order) for order in part.block.orders)
        return [(max(bound, self._value(part, self.floors.priced_ns(s))), s) for s in each if self.bounds.fits(s)]


class _Needs:
    """The memory that strategies need at least: layers and ends spread evenly over the stages."""

    def __init__(self, instance: Instance, terms: Terms) -> None:
        self.terms, self.sequences = terms, instance.workload.sequences
        self._distinct = instance.architecture.distinct_layers()
        self._weights: dict[tuple[int, tuple[Side, ...]], int] = {}
        self._cache: dict[tuple[int, int], int] = {}
        self._stages: dict[tuple[int, bool, int, int, bool], tuple[int, int]] = {}

    def least(self, block: Block, microbatches: int) -> int:
        """max over stages >= fixed + ceil((weights + KV cache + embedding + head) / PP), bytes of one GPU."""
        fixed, ends = self._stage_bytes(block, microbatches)
        cache = self._cache_bytes(block.tp, block.cp) * (self.sequences // (block.replicas * block.dp))
        return fixed + ceil_div(self._weight_bytes(block) + cache + ends, block.pp)

    def _stage_bytes(self, block: Block, microbatches: int) -> tuple[int, int]:
        """What every stage takes besides layers, and what embedding and head add."""
        key = block.replicas * block.dp * microbatches, block.dp > 1, block.tp, block.cp, block.pp == 1
        if key not in self._stages:
            shape = self.terms.shape(block.strategy(microbatches, block.sides[0], block.orders[0]))
            fixed, first, last = self.terms.stage_bytes(shape, block.pp == 1)
            self._stages[key] = fixed, first + last
        return self._stages[key]

    def _weight_bytes(self, block: Block) -> int:
        """All layers, with the expert side that takes least."""
        key = block.tp, block.sides
        if key not in self._weights:
            sides = ((etp, ep, redundant) for etp, ep, _, redundant in block.sides)
            self._weights[key] = min(sum(n * self.terms.weight_bytes(g, block.tp, *side) for g, n in self._distinct) for side in sides)
        return self._weights[key]

    def _cache_bytes(self, tp: int, cp: int) -> int:
        """All layers, one sequence."""
        if (tp, cp) not in self._cache:
            self._cache[tp, cp] = sum(n * self.terms.cache_bytes(g, tp, cp) for g, n in self._distinct)
        return self._cache[tp, cp]
