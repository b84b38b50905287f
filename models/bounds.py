"""What every plan of a strategy costs at least, whatever its split and placements.

Three bounds, each at least as large and as dear to compute as the one before: `work` (memory, and
computation alone), `quick` (with communication, closed-form split) and `exact`, which is attained
where every layer's placement front is exact (uniform loads and small layers).
"""

from collections.abc import Callable, Hashable
from copy import copy
from itertools import groupby
from typing import NamedTuple

from models.collectives import Comm
from models.evaluate import layer_profile, moe_layer_indices
from models.instance import Instance
from models.layout import Pattern
from models.placement import NOTHING_PROVED, Front, Proved, front, ideal_front
from models.replicas import least_profile, replicated_front
from models.routing import Profile
from models.rules import longest_step
from models.shape import Groups, Shape
from models.stages import UNLIMITED, Item, Runs, Split, best_split, fewest_stages
from models.strategy import Plan, RankContents, Strategy
from models.terms import Terms
from models.units import ceil_div

Choice = tuple[int, int, int]
"""ns, scale-up bytes and scale-out bytes of one layer and micro-batch under one placement."""


Fronts = Callable[[tuple[int, ...], int, int, int, tuple[Pattern, ...]], Front]
"""The profiles to consider for a layer: arguments as in `models.placement.front`."""


class LayerRun(NamedTuple):
    """Consecutive layers that cost the same: what one micro-batch takes in each."""

    length: int
    group: int
    choices: tuple[Choice, ...]
    placements: tuple[RankContents | None, ...]


class Sketch(NamedTuple):
    """Memory of one micro-batch's shape: what few of the degrees already tell."""

    layers: tuple[tuple[int, int, int], ...]
    """layers in order as (count, weight bytes, KV cache bytes per sequence)"""
    weights: int
    cache: int
    """sums over all layers"""
    room: int
    """bytes that the layers and ends of one stage may take"""
    first_bytes: int
    last_bytes: int


class Case(NamedTuple):
    """One micro-batch through the whole model under some degrees, before it is cut into stages."""

    layers: tuple[LayerRun, ...]
    exact: bool
    first: Comm
    last: Comm
    """embedding and head: time and traffic"""
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

    def __init__(self, instance: Instance, terms: Terms | None = None, fronts: Fronts = front, proved: Proved = NOTHING_PROVED) -> None:
        self.instance = instance
        self._proved = proved
        self.terms = terms or Terms(instance)
        self._fronts = fronts
        self._domain = instance.cluster.pool.scale_up_domain_gpus
        self._sketches: dict[Hashable, Sketch] = {}
        self._times: dict[Hashable, tuple[int, int]] = {}
        self._cases: dict[Hashable, Case] = {}
        self._built: dict[tuple[Shape, Groups], Case] = {}
        self._ideals: dict[Hashable, Profile] = {}
        self._limit = longest_step(instance)
        self._alike = instance.architecture.first_alike()
        self._tied = instance.architecture.tied_embeddings
        pool = instance.cluster.pool
        caps = (pool.scale_up.cap_bytes_per_pass, pool.scale_out.cap_bytes_per_pass)
        self.constrained = caps != (None, None) or self._limit is not None
        self._caps = tuple(UNLIMITED if c is None else c for c in caps)
        moe = moe_layer_indices(instance)
        groups = enumerate(instance.architecture.group_of_layer())
        kinds = [(g, instance.load_of_moe_layer(moe[n]) if n in moe else None) for n, g in groups]
        self._kinds = [(len(list(same)), *kind) for kind, same in groupby(kinds)]

    def resized(self, sequences: int) -> "Bounds":
        """The bounds with another number of sequences in the workload; cases of equal micro-batches are shared."""
        found = copy(self)
        found.terms = self.terms.resized(sequences)
        found.instance = found.terms.instance
        return found

    def _mean(self, s: Strategy) -> int:
        """Sequences per data-parallel rank and micro-batch."""
        return ceil_div(self.instance.workload.sequences, s.replicas * s.dp * s.microbatches)

    def work(self, s: Strategy) -> int | str:
        """A lower bound on the step of a strategy that keeps R1-R12 and R20, ns; or "memory" where no split fits.

        step >= (m + PP - 1) * max(mean stage, longest layer), counting computation alone.
        """
        key = (self._mean(s), s.dp > 1, s.tp, s.cp, s.ep, s.etp, s.redundant)
        if not self.fits(s):
            return "memory"
        times = self._times.get(key)
        if times is None:
            shape = self.terms.shape(s)
            found = [(count, self._least_compute(group, loads, shape)) for count, group, loads in self._kinds]
            self._times[key] = times = sum(n * ns for n, ns in found), max(ns for _, ns in found)
        return (s.microbatches + s.pp - 1) * max(-(-times[0] // s.pp), times[1])

    def fits(self, s: Strategy) -> bool:
        """Whether some split of a strategy that keeps R1-R12 and R20 fits memory."""
        key = (self._mean(s), s.dp > 1, s.tp, s.cp, s.ep, s.etp, s.redundant, self._tied and s.pp == 1)
        sketch = self._sketches.get(key)
        if sketch is None:
            self._sketches[key] = sketch = self.sketch(s)
        return memory_suffices(sketch, s.pp, self.terms.sequences_per_rank(s))

    def sketch(self, s: Strategy) -> Sketch:
        """What the layers and ends take under a strategy, and what a stage leaves them."""
        terms, shape = self.terms, self.terms.shape(s)
        fixed, first, last = terms.stage_bytes(shape, s.pp == 1)
        alike = zip(self._alike, terms.arch.layers, strict=True)
        sizes = tuple((group.count, *terms.layer_bytes(g, shape)) for g, group in alike)
        room = terms.pool.accelerator.memory_bytes - fixed
        return Sketch(sizes, sum(n * w for n, w, _ in sizes), sum(n * c for n, _, c in sizes), room, first, last)

    def _least_compute(self, group: int, loads: tuple[int, ...] | None, shape: Shape) -> int:
        """Computation of one layer under any placement, ns."""
        profile, ffn = None, self.terms.arch.layers[group].moe
        if loads is not None and ffn is not None:
            key = (loads, ffn.top_k, shape.ep, shape.redundant, shape.group_tokens)
            profile = self._ideals.get(key)
            if profile is None:
                self._ideals[key] = profile = least_profile(*key, ((0,) * shape.ep,), self._proved)
        return sum(self.terms.compute(group, shape, profile).values())

    def case(self, s: Strategy) -> Case:
        """The case of a strategy; strategies that differ only in stages and replicas often share one."""
        stage = s.stage_gpus
        blocks = 1 if stage % self._domain == 0 else min(s.pp * s.replicas, self._domain)
        key = (self._mean(s), s.tp, s.cp, s.dp, s.ep, s.etp, blocks, s.order, s.redundant)
        found = self._cases.get(key)
        if found is None:
            self._cases[key] = found = self.case_of(self.terms.shape(s), self.terms.groups(s))
        return found

    def case_of(self, shape: Shape, groups: Groups) -> Case:
        """The case of one micro-batch's shape on groups that lie so."""
        found = self._built.get((shape, groups))
        if found is None:
            self._built[shape, groups] = found = self._build(shape, groups)
        return found

    def _build(self, shape: Shape, groups: Groups) -> Case:
        fronts = [self._front(group, loads, shape, groups) for _, group, loads in self._kinds]
        layers = tuple(self._run(count, group, found, shape, groups) for (count, group, _), found in zip(self._kinds, fronts, strict=True))
        first, last = self.terms.first(shape, groups).cost, self.terms.last(shape, groups).cost
        least = [(run.length, min(c[0] for c in run.choices)) for run in layers]
        longest = max([ns for _, ns in least] + [least[0][1] + first.ns, least[-1][1] + last.ns])
        total = sum(n * ns for n, ns in least) + first.ns + last.ns
        return Case(layers, all(f is None or f.exact for f in fronts), first, last, total, longest)

    def _front(self, group: int, loads: tuple[int, ...] | None, shape: Shape, groups: Groups) -> Front | None:
        ffn = self.terms.arch.layers[group].moe
        if loads is None or ffn is None:
            return None
        if shape.redundant:
            return replicated_front(loads, ffn.top_k, shape.ep, shape.redundant, shape.group_tokens, groups.ep)
        found = self._fronts(loads, ffn.top_k, shape.ep, shape.group_tokens, groups.ep)
        if found.exact or not self._proved:
            return found
        return ideal_front(loads, ffn.top_k, shape.ep, shape.group_tokens, groups.ep, self._proved)

    def _run(self, count: int, group: int, found: Front | None, shape: Shape, groups: Groups) -> LayerRun:
        options = found.options if found else ((None, None),)
        prices = [self.terms.layer(group, shape, groups, profile) for profile, _ in options]
        choices = tuple(p.cost for p in prices)
        return LayerRun(count, group, choices, tuple(placement for _, placement in options))

    def quick(self, s: Strategy) -> int | str:
        """A lower bound on the step of a strategy that passed `work`, ns; or the rule no plan of it keeps.

        step >= (m + PP - 1) * max(mean stage, longest layer) + (PP - 1) * transfer.
        """
        if self.constrained:
            exact = self.exact(s)
            return exact if isinstance(exact, str) else exact.step_ns
        case = self.case(s)
        return self._step(s, max(ceil_div(case.total_ns, s.pp), case.longest_ns))

    def _step(self, s: Strategy, slowest_ns: int) -> int:
        step = (s.microbatches + s.pp - 1) * slowest_ns
        return step if s.pp == 1 else step + (s.pp - 1) * self.terms.transfer(s, self.terms.shape(s)).ns

    def room(self, s: Strategy) -> Room:
        """What a stage leaves for its layers (and the ends of the model)."""
        shape = self.terms.shape(s)
        fixed, _, _ = self.terms.stage_bytes(shape, s.pp == 1)
        transfer, m = self.terms.transfer(s, shape), s.microbatches
        up, out = (cap - m * sent for cap, sent in zip(self._caps, transfer[1:], strict=True))
        return Room(self.terms.pool.accelerator.memory_bytes - fixed, up, out)

    def runs(self, s: Strategy, case: Case) -> Runs:
        """Layers as the split sees them: ns of one micro-batch, bytes of the whole pass."""
        shape, m, sequences = self.terms.shape(s), s.microbatches, self.terms.sequences_per_rank(s)
        _, first_bytes, last_bytes = self.terms.stage_bytes(shape, s.pp == 1)
        items = []
        for run in case.layers:
            weights, cache = self.terms.layer_bytes(run.group, shape)
            choices = tuple((ns, up * m, out * m) for ns, up, out in run.choices)
            items.append((run.length, Item(weights + cache * sequences, choices)))
        first, last = ((ns, up * m, out * m) for ns, up, out in (case.first, case.last))
        return _with_ends(items, first_bytes, last_bytes, first, last)

    def exact(self, s: Strategy) -> Solution | str:
        """The best split under the bounds on placements; or the rule that no plan of `s` keeps."""
        case = self.case(s)
        runs, room = self.runs(s, case), self.room(s)
        split = best_split(runs, s.pp, *room)
        if split is None:
            free = best_split(runs, s.pp, room.memory, UNLIMITED, UNLIMITED)
            return "memory" if free is None else "link"
        step = self._step(s, split.slowest_ns)
        if self._limit and step > self._limit[1]:
            return self._limit[0]
        return Solution(step, split, self._placements(case, split), case.exact)

    def split_of(self, s: Strategy, placement: tuple[RankContents, ...]) -> Split | None:
        """The best split under this very placement; None when none fits memory and caps."""
        shape, groups, moe = self.terms.shape(s), self.terms.groups(s), moe_layer_indices(self.instance)
        plan, layers = Plan(s, (), placement), []
        for layer, g in enumerate(self.terms.arch.group_of_layer()):
            profile = layer_profile(self.terms, s, plan, moe[layer], g) if layer in moe else None
            layers.append(LayerRun(1, g, (self.terms.layer(g, shape, groups, profile).cost,), (None,)))
        ends = self.terms.first(shape, groups).cost, self.terms.last(shape, groups).cost
        return best_split(self.runs(s, Case(tuple(layers), True, *ends, 0, 0)), s.pp, *self.room(s))

    def _placements(self, case: Case, split: Split) -> tuple[RankContents | None, ...]:
        kinds = [(run, c) for run in case.layers for c in range(run.length)]
        moe = self.terms.arch.layers
        return tuple(run.placements[chosen] for (run, _), chosen in zip(kinds, split.choices, strict=True) if moe[run.group].moe)


def memory_suffices(sketch: Sketch, pp: int, sequences: int) -> bool:
    """Whether some split into `pp` stages fits; the even split is tried before counting stages."""
    ends, room = sketch.first_bytes + sketch.last_bytes, sketch.room
    total = sketch.weights + sketch.cache * sequences + ends
    if pp == 1 or total > pp * room:
        return total <= room
    sizes = [(count, weights + cache * sequences) for count, weights, cache in sketch.layers]
    layers = sum(count for count, _ in sizes)
    if -(-layers // pp) * max(size for _, size in sizes) + ends <= room:
        return True
    runs = _with_ends([(count, Item(size, ((0, 0, 0),))) for count, size in sizes], sketch.first_bytes, sketch.last_bytes)
    needed = fewest_stages(runs, room)
    return needed is not None and needed <= pp


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
