"""What every plan of a whole block of strategies takes at least: computation alone, whatever split and placement.

The cheapest bound, taken first: one comparison disposes of all expert sides and rank orders of a
block. It needs the computation of the attention side and that of the expert side, each a table
over few of the degrees.
"""

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from models.enumeration import Block, Side
from models.evaluate import moe_layer_indices
from models.instance import Instance
from models.placement import NOTHING_PROVED, Proved, least_maximum
from models.routing import least_touches
from models.strategy import DEFAULT_ORDER
from models.terms import Shape, Terms
from models.units import ceil_div


class Floor(NamedTuple):
    """Computation of one micro-batch, ns."""

    total: int
    """summed over all layers"""
    least: int
    """of the layer that takes least"""


class Row(NamedTuple):
    """MoE layers of one shape and one row of expert loads."""

    layers: int
    group: int
    top_k: int
    loads: tuple[int, ...]
    sum: int


class Floors:
    """Floors of one instance; each distinct one is computed once."""

    def __init__(self, instance: Instance, terms: Terms, proved: Proved = NOTHING_PROVED) -> None:
        self.instance, self.terms = instance, terms
        self._proved = proved
        self._layers = instance.architecture.layer_count
        groups, moe = instance.architecture.layers, moe_layer_indices(instance)
        rows: Counter[tuple[int, tuple[int, ...]]] = Counter()
        for layer, g in enumerate(instance.architecture.group_of_layer()):
            if layer in moe:
                rows[g, instance.load_of_moe_layer(moe[layer])] += 1
        self.rows = [Row(n, g, ffn.top_k, loads, sum(loads)) for (g, loads), n in rows.items() if (ffn := groups[g].ffn).kind == "moe"]
        self._attention: dict[tuple[int, int, int], Floor] = {}
        self._experts: dict[tuple[int, int, int], Floor] = {}
        self._hottest: dict[int, list[int]] = {}
        self._sides: dict[Hashable, Floor] = {}
        self._all_moe = len(moe) == self._layers

    def attention(self, sequences: int, tp: int, cp: int) -> Floor:
        """All but the routed experts, with `sequences` sequences per data-parallel rank and micro-batch."""
        found = self._attention.get((sequences, tp, cp))
        if found is None:
            shape = self.shape(sequences, tp, cp)
            groups = enumerate(self.instance.architecture.layers)
            each = [(group.count, sum(self.terms.attention_side(g, shape).values())) for g, group in groups]
            found = self._attention[sequences, tp, cp] = Floor(sum(n * ns for n, ns in each), min(ns for _, ns in each))
        return found

    def shape(self, sequences: int, tp: int, cp: int) -> Shape:
        """The shape of one micro-batch, with an expert side of one rank."""
        parts = self.instance.workload.sequences // sequences
        return self.terms.shape(Block(parts, 1, tp, cp, 1, (1,), ((1, 1, 1),), ()).strategy(1, (1, 1, 1), DEFAULT_ORDER))

    def experts(self, etp: int, ep: int, tokens: int) -> Floor:
        """Routed experts when `tokens` tokens reach the EP group: hottest rank and touched experts at their bounds."""
        found = self._experts.get((etp, ep, tokens))
        if found is None:
            hottest = self._hottest.get(ep)
            if hottest is None:
                bounds = ((r, max(least_maximum(r.loads, ep), self._proved.get((r.loads, ep), 0))) for r in self.rows)
                hottest = self._hottest[ep] = [r.top_k * load for r, load in bounds]
            each = []
            for row, load in zip(self.rows, hottest, strict=True):
                inputs, touched = ceil_div(tokens * load, row.sum), ceil_div(least_touches(row.loads, row.top_k, tokens), ep)
                each.append((row.layers, self.terms.experts_ns(row.group, inputs, touched, etp)))
            least = min((ns for _, ns in each), default=0) if self._all_moe else 0
            found = self._experts[etp, ep, tokens] = Floor(sum(n * ns for n, ns in each), least)
        return found

    def step_ns(self, block: Block, microbatches: int, side: Side | None = None) -> int:
        """No plan with this expert side (None: with any of the block's) has a shorter pass, ns.

        step >= (m + PP - 1) * max(mean stage, ceil(layers / PP) * least layer): some stage has that many layers.
        """
        sequences = self.instance.workload.sequences // (block.replicas * block.dp * microbatches)
        attention = self.attention(sequences, block.tp, block.cp)
        experts = self._side(sequences, block, side) if side else self._least_side(sequences, block)
        layers = -(-self._layers // block.pp)
        slowest = max(-(-(attention.total + experts.total) // block.pp), layers * (attention.least + experts.least))
        return (microbatches + block.pp - 1) * slowest

    def _side(self, sequences: int, block: Block, side: Side) -> Floor:
        prefill = self.instance.workload.kind == "prefill"
        tokens = sequences * self.instance.workload.context_tokens if prefill else sequences
        return self.experts(side[0], side[1], ceil_div(tokens * side[0] * side[1], block.tp * block.cp))

    def _least_side(self, sequences: int, block: Block) -> Floor:
        key = (sequences, block.tp * block.cp, block.sides)
        found = self._sides.get(key)
        if found is None:
            every = [self._side(sequences, block, side) for side in block.sides]
            found = self._sides[key] = Floor(min(f.total for f in every), min(f.least for f in every))
        return found
