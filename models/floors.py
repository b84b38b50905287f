"""What every plan of a whole block of strategies takes at least: computation alone, whatever split and placement.

The cheapest bound, taken first: one comparison disposes of all expert sides and rank orders of a
block. It needs the computation of the attention side and that of the expert side, each a table
over few of the degrees.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from fractions import Fraction
from typing import NamedTuple

from models.architecture import Architecture, LayerGroup
from models.attention import Shard, attention_projections
from models.enumeration import Block, Side
from models.evaluate import moe_layer_indices
from models.instance import Instance
from models.layout import Pattern
from models.operators import Work, dense_width, feed_forward, routed_experts
from models.placement import NOTHING_PROVED, Proved, least_maximum
from models.replica_bounds import least_rank_load, least_touched
from models.replicas import least_copies_on
from models.roofline import flop_efficiency_ppm, peak_flop_per_s
from models.routing import Profile, least_touches
from models.shape import Groups, Shape
from models.strategy import Strategy
from models.terms import Terms
from models.units import NS_PER_S, PPM, ceil_div


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
        self._layers, self._distinct = instance.architecture.layer_count, instance.architecture.distinct_layers()
        groups, moe = instance.architecture.layers, moe_layer_indices(instance)
        rows: Counter[tuple[int, tuple[int, ...]]] = Counter()
        for layer, g in enumerate(instance.architecture.group_of_layer()):
            if layer in moe:
                rows[g, instance.load_of_moe_layer(moe[layer])] += 1
        self.rows = [Row(n, g, ffn.top_k, loads, sum(loads)) for (g, loads), n in rows.items() if (ffn := groups[g].moe)]
        self._attention: dict[tuple[int, int, int], Floor] = {}
        self._experts: dict[tuple[int, int, int, int], Floor] = {}
        self._by_row: dict[tuple[int, int, int, int], int] = {}
        self._hottest: dict[tuple[int, int], list[tuple[Row, Fraction]]] = {}
        self._of_group: dict[Hashable, Fraction | int] = {}
        self._sides: dict[Hashable, Floor] = {}
        self._every_side: dict[Hashable, tuple[Floor, ...]] = {}
        self._least_copies: dict[tuple[int, int, tuple[Pattern, ...]], int] = {}
        self._moe_layers: Counter[int] = Counter()
        for row in self.rows:
            self._moe_layers[row.group] += row.layers
        self._all_moe = len(moe) == self._layers

    def attention(self, sequences: int, tp: int, cp: int) -> Floor:
        """All but the routed experts, with `sequences` sequences per data-parallel rank and micro-batch."""
        found = self._attention.get((sequences, tp, cp))
        if found is None:
            shape = self.shape(sequences, tp, cp)
            each = [(count, sum(self.terms.attention_side(g, shape).values())) for g, count in self._distinct]
            found = self._attention[sequences, tp, cp] = Floor(sum(n * ns for n, ns in each), min(ns for _, ns in each))
        return found

    def shape(self, sequences: int, tp: int, cp: int) -> Shape:
        """The shape of one micro-batch, with an expert side of one rank."""
        return self.terms.shape_of(sequences, Strategy(tp, cp, 1, 1, 1, 1, 1, 1, 1))

    def experts(self, etp: int, ep: int, redundant: int, tokens: int) -> Floor:
        """Routed experts when `tokens` tokens reach the EP group; every row of a group is taken for its easiest one."""
        found = self._experts.get((etp, ep, redundant, tokens))
        if found is None:
            each = []
            for group, layers in self._moe_layers.items():
                hottest, touched = self._easiest(group, ep, redundant), self._fewest(group, ep, redundant, tokens)
                inputs = ceil_div(tokens * hottest.numerator, hottest.denominator)
                each.append((layers, self.terms.experts_ns(group, inputs, touched, etp)))
            shortest = min((ns for _, ns in each), default=0) if self._all_moe else 0
            found = self._experts[etp, ep, redundant, tokens] = Floor(sum(n * ns for n, ns in each), shortest)
        return found

    def _easiest(self, group: int, ep: int, redundant: int) -> Fraction:
        """Expert inputs of the hottest rank per token, in the row of the group where they are fewest."""
        key = ("inputs", group, ep, redundant)
        if key not in self._of_group:
            self._of_group[key] = min(hottest for row, hottest in self._rows_on(ep, redundant) if row.group == group)
        return Fraction(self._of_group[key])

    def _fewest(self, group: int, ep: int, redundant: int, tokens: int) -> int:
        """Mean touched experts of a rank (2**-20), in the row of the group that touches fewest."""
        key = ("touched", group, tokens.bit_length(), ep if redundant else 1, redundant)
        if key not in self._of_group:
            rows = (row for row in self.rows if row.group == group)
            if redundant:
                self._of_group[key] = min(self._touched(row, ep, redundant, tokens) for row in rows)
            else:
                self._of_group[key] = min(least_touches(row.loads, row.top_k, tokens) for row in rows)
        found = int(self._of_group[key])
        return found if redundant else ceil_div(found, ep)

    def _touched(self, row: Row, ep: int, redundant: int, tokens: int) -> int:
        """Mean touched experts of a rank (2**-20), at least: those by the largest power of two of tokens within `tokens`."""
        if not redundant:
            return ceil_div(least_touches(row.loads, row.top_k, tokens), ep)
        return least_touched(row.loads, row.top_k, ep, len(row.loads) // ep + redundant, 1 << (tokens.bit_length() - 1))

    def _rows_on(self, ep: int, redundant: int) -> list[tuple[Row, Fraction]]:
        """Each row with the least expert inputs of its hottest rank, per token."""
        found = self._hottest.get((ep, redundant))
        if found is None:
            loads = [self._least_load(row, ep, redundant) for row in self.rows]
            found = [(row, Fraction(row.top_k * load, row.sum)) for row, load in zip(self.rows, loads, strict=True)]
            self._hottest[ep, redundant] = found
        return found

    def _least_load(self, row: Row, ep: int, redundant: int) -> Fraction:
        """Load of the heaviest rank in the tokens of the row, at least."""
        if redundant:
            return least_rank_load(row.loads, ep, len(row.loads) // ep + redundant)
        return Fraction(max(least_maximum(row.loads, ep), self._proved.get((row.loads, ep), 0)))

    def _experts_by_row(self, etp: int, ep: int, redundant: int, tokens: int) -> int:
        """As the total of `experts`, each row for itself, ns."""
        found = self._by_row.get((etp, ep, redundant, tokens))
        if found is None:
            found = 0
            for row, hottest in self._rows_on(ep, redundant):
                inputs = ceil_div(tokens * hottest.numerator, hottest.denominator)
                touched = self._touched(row, ep, redundant, tokens)
                found += row.layers * self.terms.experts_ns(row.group, inputs, touched, etp)
            self._by_row[etp, ep, redundant, tokens] = found
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

    def priced_ns(self, s: Strategy) -> int:
        """As `step_ns` for one strategy, with communication: every rank at the mean of expert inputs, copies at the least of any row.

        Overlap hides at most its share of all communication. step >= (m + PP - 1) * mean stage + (PP - 1) * transfer.
        """
        terms, shape, groups = self.terms, self.terms.shape(s), self.terms.groups(s)
        comm = sum(count * self._comm_ns(g, shape, groups) for g, count in self._distinct)
        mean = shape.rank_tokens // self.instance.workload.new_tokens  # sequences of a rank, were all alike
        total = self.attention(mean, s.tp, s.cp).total + self._experts_by_row(s.etp, s.ep, s.redundant, shape.group_tokens)
        total += comm - comm * self.instance.runtime.overlap_ppm // PPM
        total += terms.first(shape, groups).cost.ns + terms.last(shape, groups).cost.ns
        return (s.microbatches + s.pp - 1) * -(-total // s.pp) + (s.pp - 1) * terms.transfer(s, shape).ns

    def _comm_ns(self, group: int, shape: Shape, groups: Groups) -> int:
        """Communication of one layer of a group, ns, at least."""
        ffn, profile = self.instance.architecture.layers[group].moe, None
        if ffn is not None:
            profile = Profile(
                ceil_div(shape.group_tokens * ffn.top_k, shape.ep), 0, self._copies(group, ffn.top_k, shape.redundant, groups.ep)
            )
        return sum(comm.ns for _, comm in self.terms.comm(group, shape, groups, profile))

    def _copies(self, group: int, top_k: int, redundant: int, patterns: tuple[Pattern, ...]) -> int:
        found = self._least_copies.get((group, redundant, patterns))
        if found is None:
            rows = [row.loads for row in self.rows if row.group == group]
            found = min(least_copies_on(loads, top_k, redundant, patterns) for loads in rows)
            self._least_copies[group, redundant, patterns] = found
        return found

    def _side(self, sequences: int, block: Block, side: Side) -> Floor:
        tokens = sequences * self.instance.workload.new_tokens
        return self.experts(side[0], side[1], side[3], ceil_div(tokens * side[0] * side[1], block.tp * block.cp))

    def sides(self, sequences: int, block: Block) -> tuple[Floor, ...]:
        """The routed experts of each expert side of the block."""
        key = (sequences, block.tp * block.cp, block.sides)
        found = self._every_side.get(key)
        if found is None:
            found = self._every_side[key] = tuple(self._side(sequences, block, side) for side in block.sides)
        return found

    def _least_side(self, sequences: int, block: Block) -> Floor:
        key = (sequences, block.tp * block.cp, block.sides)
        found = self._sides.get(key)
        if found is None:
            every = self.sides(sequences, block)
            found = self._sides[key] = Floor(min(f.total for f in every), min(f.least for f in every))
        return found


def root_bound(instance: Instance) -> int:
    """A lower bound on the objective of any plan, from the GEMM FLOP of the pass alone.

    GPUs * step >= sum of FLOP / (peak * efficiency): sharding divides this work at best evenly,
    and the slowest of PP stages takes at least their mean.
    """
    arch, acc, workload = instance.architecture, instance.cluster.pool.accelerator, instance.workload
    flop_of: Counter[int] = Counter()  # by attained FLOP/s * PPM
    for group in arch.layers:
        for work in _every_gemm(arch, group, workload.sequences, workload.tokens):
            if acc.tables is not None and work.kind in acc.tables.kinds:
                continue  # measured times are in no proportion to FLOP
            flop_of[peak_flop_per_s(acc, work.dtype) * flop_efficiency_ppm(acc, work)] += group.count * work.flop
    gpu_ns = sum(flop * NS_PER_S * instance.runtime.operator_scale_ppm // rate for rate, flop in flop_of.items())
    match instance.objective.name:
        case "latency" | "throughput":
            return gpu_ns // instance.cluster.pool.gpus
        case "throughput_per_gpu":
            return gpu_ns
        case "cost":
            return gpu_ns * (instance.cluster.pool.price_uusd_per_gpu_hour or 0)
        case "gpus":
            return 1


def _every_gemm(arch: Architecture, group: LayerGroup, sequences: int, tokens: int) -> Iterator[Work]:
    """The GEMMs of one layer over all tokens of the pass, unsharded; of the experts no weights are read."""
    ffn = group.ffn
    if group.attention is not None:
        yield from attention_projections(arch, group.attention, Shard(sequences, tokens, tokens), 1)
    if ffn is not None and dense_width(ffn):
        yield from feed_forward(arch, dense_width(ffn), ffn.matrices, tokens, 1)
    if group.moe is not None:
        yield routed_experts(arch, group.moe, tokens * group.moe.top_k, 0, 1)
