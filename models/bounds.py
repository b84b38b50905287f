"""What every plan of a strategy costs at least, whatever its split and placements.

`Bounds.quick` is closed-form and never above `Bounds.exact`; `exact` is attained where every
layer's placement front is exact (uniform loads and small layers).
"""

from collections.abc import Hashable
from itertools import groupby
from typing import NamedTuple

from models.instance import Instance
from models.operators import attention_weights, dense_width
from models.placement import Front, front
from models.rules import longest_step
from models.stages import UNLIMITED, Item, Runs, Split, best_split, fewest_stages
from models.strategy import RankContents, Strategy
from models.terms import Price, Shape, Terms
from models.units import NS_PER_S, PPM, ceil_div

Choice = tuple[int, int, int]
"""ns, scale-up bytes and scale-out bytes of one layer and micro-batch under one placement."""


class LayerRun(NamedTuple):
    """Consecutive layers that cost the same: what one micro-batch takes in each."""

    count: int
    group: int
    choices: tuple[Choice, ...]
    placements: tuple[RankContents | None, ...]


class Case(NamedTuple):
    """One micro-batch through the whole model under some degrees, before it is cut into stages."""

    shape: Shape
    layers: tuple[LayerRun, ...]
    exact: bool
    first: Price
    last: Price
    total_ns: int
    longest_ns: int


class Room(NamedTuple):
    """What the layers of one stage may take together."""

    memory: int
    scale_up_bytes: int
    scale_out_bytes: int


class Solution(NamedTuple):
    """The best split and placements of a strategy (placements None where only bounded)."""

    step_ns: int
    split: Split
    placements: tuple[RankContents | None, ...]
    exact: bool


class Bounds:
    """Lower bounds for the strategies of one instance; each distinct case is built once."""

    def __init__(self, instance: Instance, terms: Terms | None = None) -> None:
        self.instance = instance
        self.terms = terms or Terms(instance)
        self._domain = instance.cluster.pool.scale_up_domain_gpus
        self._cases: dict[Hashable, Case] = {}
        self._sizes: dict[Hashable, tuple[int, int]] = {}
        self._limit = longest_step(instance)
        pool = instance.cluster.pool
        caps = (pool.scale_up.cap_bytes_per_pass, pool.scale_out.cap_bytes_per_pass)
        self._capped = caps != (None, None)
        self._caps = tuple(UNLIMITED if c is None else c for c in caps)
        self._group_of_layer = instance.architecture.group_of_layer()

    def case(self, s: Strategy) -> Case:
        """The case of a strategy; strategies that differ only in stages and replicas often share one."""
        stage = s.tp * s.cp * s.dp
        blocks = 1 if stage % self._domain == 0 else min(s.pp * s.replicas, self._domain)
        sequences = self.instance.workload.sequences // (s.replicas * s.dp * s.microbatches)
        key = (sequences, s.tp, s.cp, s.dp, s.ep, s.etp, blocks, s.order)
        found = self._cases.get(key)
        if found is None:
            self._cases[key] = found = self._build(s)
        return found

    def _build(self, s: Strategy) -> Case:
        shape = self.terms.shape(s)
        layers, exact = self._layer_runs(s, shape)
        first, last = self.terms.first(shape), self.terms.last(shape)
        least = [(run.count, min(c[0] for c in run.choices)) for run in layers]
        ends = first.ns + last.ns
        longest = max([ns for _, ns in least] + [least[0][1] + first.ns, least[-1][1] + last.ns])
        return Case(shape, layers, exact, first, last, sum(n * ns for n, ns in least) + ends, longest)

    def _layer_runs(self, s: Strategy, shape: Shape) -> tuple[tuple[LayerRun, ...], bool]:
        arch, moe_layer, exact = self.terms.arch, 0, True
        described: list[tuple[int, Front | None]] = []
        for group in self._group_of_layer:
            ffn, found = arch.layers[group].ffn, None
            if ffn.kind == "moe":
                loads = self.instance.load_of_moe_layer(moe_layer)
                found = front(loads, ffn.top_k, s.ep, shape.group_tokens, shape.ep_groups)
                exact, moe_layer = exact and found.exact, moe_layer + 1
            described.append((group, found))
        runs = [(len(list(same)), *key) for key, same in groupby(described)]
        return tuple(self._run(count, group, found, shape) for count, group, found in runs), exact

    def _run(self, count: int, group: int, found: Front | None, shape: Shape) -> LayerRun:
        options = found.options if found else ((None, None),)
        prices = [self.terms.layer(group, shape, profile) for profile, _ in options]
        choices = tuple((p.ns, p.traffic.scale_up_bytes, p.traffic.scale_out_bytes) for p in prices)
        return LayerRun(count, group, choices, tuple(placement for _, placement in options))

    def quick(self, s: Strategy) -> int | str:
        """A lower bound on the step of a strategy that keeps R1-R12, ns; or the rule no plan of it keeps.

        step >= (m + PP - 1) * max(mean stage, longest layer) + (PP - 1) * transfer.
        """
        case = self.case(s)
        if not self._memory_suffices(s, case):
            return "memory"
        if self._capped or self._limit:
            exact = self.exact(s)
            return exact if isinstance(exact, str) else exact.step_ns
        return self._step(s, case, max(ceil_div(case.total_ns, s.pp), case.longest_ns))

    def _step(self, s: Strategy, case: Case, slowest_ns: int) -> int:
        step = (s.microbatches + s.pp - 1) * slowest_ns
        return step if s.pp == 1 else step + (s.pp - 1) * self.terms.transfer(s, case.shape).ns

    def _memory_suffices(self, s: Strategy, case: Case) -> bool:
        runs, room = self._memory_runs(s, case), self._room(s, case)
        if s.pp == 1:
            return sum(n * item.memory for n, item in runs) <= room.memory
        needed = fewest_stages(runs, room.memory)
        return needed is not None and needed <= s.pp

    def _layer_memory(self, group: int, s: Strategy) -> int:
        key = (group, s.tp, s.cp, s.etp, s.ep)
        found = self._sizes.get(key)
        if found is None:
            self._sizes[key] = found = self.terms.layer_bytes(group, s)
        weights, cache = found
        return weights + cache * self.terms.sequences_per_rank(s)

    def _memory_runs(self, s: Strategy, case: Case) -> Runs:
        """Layers with their memory only, the ends merged into the outermost layers."""
        _, first, last = self.terms.stage_bytes(s, case.shape)
        return _with_ends([(run.count, Item(self._layer_memory(run.group, s), ((0, 0, 0),))) for run in case.layers], first, last)

    def _room(self, s: Strategy, case: Case) -> Room:
        fixed, _, _ = self.terms.stage_bytes(s, case.shape)
        memory = self.instance.cluster.pool.accelerator.memory_bytes - fixed
        if not self._capped:
            return Room(memory, UNLIMITED, UNLIMITED)
        transfer = self.terms.transfer(s, case.shape)
        m = s.microbatches
        return Room(memory, self._caps[0] - m * transfer.scale_up_bytes, self._caps[1] - m * transfer.scale_out_bytes)

    def runs(self, s: Strategy, case: Case) -> Runs:
        """Layers as the split sees them: ns of one micro-batch, bytes of the whole pass."""
        _, first_bytes, last_bytes = self.terms.stage_bytes(s, case.shape)
        m = s.microbatches
        items = []
        for run in case.layers:
            choices = tuple((ns, up * m, out * m) for ns, up, out in run.choices)
            items.append((run.count, Item(self._layer_memory(run.group, s), choices)))
        ends = [(p.ns, p.traffic.scale_up_bytes * m, p.traffic.scale_out_bytes * m) for p in (case.first, case.last)]
        return _with_ends(items, first_bytes, last_bytes, ends[0], ends[1])

    def exact(self, s: Strategy) -> Solution | str:
        """The best split under the bounds on placements; or the rule that no plan of `s` keeps."""
        case = self.case(s)
        runs, room = self.runs(s, case), self._room(s, case)
        split = best_split(runs, s.pp, *room)
        if split is None:
            free = best_split(runs, s.pp, room.memory, UNLIMITED, UNLIMITED)
            return "memory" if free is None else "link"
        step = self._step(s, case, split.slowest_ns)
        if self._limit and step > self._limit[1]:
            return self._limit[0]
        return Solution(step, split, self._placements(case, split), case.exact)

    def _placements(self, case: Case, split: Split) -> tuple[RankContents | None, ...]:
        kinds = [(run, c) for run in case.layers for c in range(run.count)]
        moe = self.terms.arch.layers
        return tuple(
            run.placements[chosen] for (run, _), chosen in zip(kinds, split.choices, strict=True) if moe[run.group].ffn.kind == "moe"
        )


def root_bound(instance: Instance) -> int:
    """A lower bound on the objective of any plan, from the GEMM FLOP of the pass alone.

    GPUs * step >= sum of FLOP / (peak * efficiency): sharding divides this work at best evenly,
    and the slowest of PP stages takes at least their mean.
    """
    arch, acc = instance.architecture, instance.cluster.pool.accelerator
    tokens = instance.workload.tokens
    peak = acc.peak_flop_per_s[arch.weight_dtype]
    gemm, expert = 0, 0
    for group in arch.layers:
        per_token = attention_weights(arch.hidden_size, group.attention, 1) + group.ffn.matrices * arch.hidden_size * dense_width(group.ffn)
        gemm += group.count * 2 * tokens * per_token
        if group.ffn.kind == "moe":
            routed = group.ffn.top_k * group.ffn.matrices * arch.hidden_size * group.ffn.intermediate_size
            expert += group.count * 2 * tokens * routed
    scale = NS_PER_S * PPM
    gpu_ns = gemm * scale // (peak * acc.gemm_efficiency_ppm) + expert * scale // (peak * acc.expert_gemm_efficiency_ppm)
    match instance.objective.name:
        case "latency" | "throughput":
            return gpu_ns // instance.cluster.pool.gpus
        case "throughput_per_gpu":
            return gpu_ns
        case "cost":
            return gpu_ns * (instance.cluster.pool.price_uusd_per_gpu_hour or 0)
        case "gpus":
            return 1


def _with_ends(items: list[tuple[int, Item]], first: int, last: int, first_cost: Choice = (0, 0, 0), last_cost: Choice = (0, 0, 0)) -> Runs:
    """The embedding added to the first layer, the head to the last."""
    found = list(items)
    count, item = found[0]
    found[0:1] = [(1, _plus(item, first, first_cost)), (count - 1, item)] if count > 1 else [(1, _plus(item, first, first_cost))]
    count, item = found[-1]
    found[-1:] = [(count - 1, item), (1, _plus(item, last, last_cost))] if count > 1 else [(1, _plus(item, last, last_cost))]
    return tuple(found)


def _plus(item: Item, memory: int, cost: Choice) -> Item:
    choices = tuple((ns + cost[0], up + cost[1], out + cost[2]) for ns, up, out in item.choices)
    return Item(item.memory + memory, choices)
