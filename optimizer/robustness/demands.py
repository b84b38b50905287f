"""What a pass demands of each resource: at least, under any plan of a strategy; at most, under one plan, anywhere in a box.

Every maximum in the cost model (FLOP or bytes, the dearest of several groups, hidden communication or not, the slowest stage) is
at least each of its sides, and at most one side and what another exceeds it by somewhere in the box. Which
side is taken is settled by the middle of the box; either way the bound holds. Rounding only adds, and `roundings` says how much.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from itertools import groupby

from models.coefficients import OUT_LATENCY, UP_LATENCY, with_value
from models.collectives import Comm
from models.evaluate import layer_profile, moe_layer_indices
from models.instance import Instance
from models.layout import Pattern
from models.objective import value_of
from models.operators import Kind, Work, routed_experts
from models.replicas import layer_front
from models.routing import Profile
from models.shape import Groups, Shape
from models.strategy import Plan, Strategy, stage_ranges
from models.terms import Terms
from optimizer.robustness.box import KINDS, NO_DEMAND, Box, Demand, minus, plus, times
from optimizer.robustness.chords import roundings

_FAR = 1 << 40  # a latency that tells rounds of one tier from those of the other
_ALONE: tuple[Pattern, ...] = ((0,),)

Choose = Callable[[list[Demand]], Demand]
"""A bound on the maximum of some demands' times."""


class _Ledger(Terms):
    """Terms that write down the operators they price."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._log: list[Work] = []

    def _ns(self, *works: Work) -> int:
        self._log += works
        return super()._ns(*works)

    def of_attention_side(self, group_index: int, shape: Shape) -> list[Work]:
        return self._logged(lambda: self._attention_side(self.arch.layers[group_index], shape))

    def of_first(self, shape: Shape, groups: Groups) -> list[Work]:
        return self._logged(lambda: self._first(shape, groups))

    def of_last(self, shape: Shape, groups: Groups) -> list[Work]:
        return self._logged(lambda: self._last(shape, groups))

    def _logged(self, price: Callable[[], object]) -> list[Work]:
        self._log = []
        price()
        return self._log


class Parts:
    """Operators and collectives of one instance, whatever the coefficients; each computed once."""

    def __init__(self, instance: Instance) -> None:
        self.instance, self.ledger = instance, _Ledger(instance)
        still = with_value(with_value(instance, UP_LATENCY, 0), OUT_LATENCY, 0)
        self.counted = Terms(still), Terms(with_value(with_value(still, UP_LATENCY, 1), OUT_LATENCY, _FAR))
        moe = moe_layer_indices(instance)
        kinds = (
            (g, instance.load_of_moe_layer(moe[n]) if n in moe else None) for n, g in enumerate(instance.architecture.group_of_layer())
        )
        self.kinds = [(len(list(same)), *kind) for kind, same in groupby(kinds)]
        self._works: dict[Hashable, list[Work]] = {}
        self._collectives: dict[Hashable, list[list[Demand]]] = {}

    def attention_side(self, group: int, shape: Shape) -> list[Work]:
        key = (group, shape[:5])
        if key not in self._works:
            self._works[key] = self.ledger.of_attention_side(group, shape)
        return self._works[key]

    def end_works(self, shape: Shape, groups: Groups, first: bool) -> list[Work]:
        key = ("first" if first else "last", shape.sequences, shape.tokens, shape.tp)
        if key not in self._works:
            self._works[key] = (self.ledger.of_first if first else self.ledger.of_last)(shape, groups)
        return self._works[key]

    def end_collective(self, shape: Shape, groups: Groups, first: bool) -> list[Demand]:
        """Of the embedding or the head, one demand per pattern of tensor-parallel groups."""
        every = (groups._replace(tp=(pattern,)) for pattern in groups.tp)
        return [_tiers(*((t.first(shape, g) if first else t.last(shape, g)).traffic for t in self.counted)) for g in every]

    def collectives(self, group: int, profile: Profile | None, shape: Shape, groups: Groups) -> list[list[Demand]]:
        """Of a layer: for each collective one demand per pattern of its groups."""
        key = (group, profile, shape, groups)
        if key not in self._collectives:
            kinds = ("tp", "cp") if profile is None else ("tp", "cp", "ep", "etp")
            self._collectives[key] = [sides for kind in kinds for sides in self._of_kind(kind, group, profile, shape, groups)]
        return self._collectives[key]

    def _of_kind(self, kind: str, group: int, profile: Profile | None, shape: Shape, groups: Groups) -> Iterable[list[Demand]]:
        layer, by_name = self.instance.architecture.layers[group], defaultdict[str, list[Demand]](list)
        for pattern in getattr(groups, kind):
            alone = Groups(_ALONE, _ALONE, _ALONE, _ALONE)._replace(**{kind: (pattern,)})
            still, counted = (t.collectives(layer, shape, alone, profile)[f"{kind}_comm"] for t in self.counted)
            for name, comm in still.items():
                by_name[name].append(_tiers(comm, counted[name]))
        return by_name.values()

    def transfer(self, s: Strategy, shape: Shape) -> Demand:
        return _tiers(*(t.transfer(s, shape) for t in self.counted)) if s.pp > 1 else NO_DEMAND


class Demands:
    """Bounds on the demands of plans inside one box; each distinct one is computed once."""

    def __init__(self, parts: Parts, box: Box) -> None:
        self.parts, self.box, self.instance = parts, box, parts.instance
        self._memo: dict[Hashable, Demand] = {}

    def at_least(self, s: Strategy) -> Demand:
        """No plan of a strategy takes less than this demand does, anywhere in the box, in units of the objective."""
        terms, value = self.parts.ledger, value_of(self.instance, s)
        shape, groups = terms.shape(s), terms.groups(s)
        layers = [self._least_layer(group, loads, shape, groups) for _, group, loads in self.parts.kinds]
        total, ends = NO_DEMAND, (self._end(shape, groups, True, self._one), self._end(shape, groups, False, self._one))
        for (count, _, _), layer in zip(self.parts.kinds, layers, strict=True):
            total = plus(total, times(layer, count))
        mean = tuple(n // s.pp for n in plus(plus(total, ends[0]), ends[1]))
        slowest = self._one([mean, *layers, plus(layers[0], ends[0]), plus(layers[-1], ends[1])])
        return self._objective(times(slowest, s.microbatches + s.pp - 1), s, shape, value)

    def at_most(self, plan: Plan) -> Demand:
        """The plan takes no more than this demand does, anywhere in the box, in units of the objective."""
        s, terms, instance = plan.strategy, self.parts.ledger, self.instance
        value, shape, groups, of_layer = value_of(instance, s), terms.shape(s), terms.groups(s), instance.architecture.group_of_layer()
        profiles = {n: layer_profile(terms, s, plan, at, of_layer[n]) for n, at in moe_layer_indices(instance).items()}
        stages = []
        for number, layers in enumerate(stage_ranges(plan.stages)):
            parts = [self._layer(of_layer[n], profiles.get(n), shape, groups, self._all) for n in layers]
            parts += [self._end(shape, groups, True, self._all)] if number == 0 else []
            parts += [self._end(shape, groups, False, self._all)] if number == s.pp - 1 else []
            stages.append(tuple(map(sum, zip(*parts, strict=True))))
        found = self._objective(times(self._all(stages), s.microbatches + s.pp - 1), s, shape, value)
        return (*found[:-1], found[-1] + roundings(instance, s, value))

    def _objective(self, slowest: Demand, s: Strategy, shape: Shape, value: tuple[int, int]) -> Demand:
        step = times(plus(slowest, times(self.parts.transfer(s, shape), s.pp - 1)), value[0])
        return (*step[:-1], step[-1] + value[1])

    def _one(self, sides: list[Demand]) -> Demand:
        """One side, which bounds the maximum from below: the largest in the middle of the box."""
        return sides[0] if len(sides) == 1 else max(sides, key=self.box.about)

    def _all(self, sides: list[Demand]) -> Demand:
        """That side, and by how much at most another exceeds it: a bound on the maximum from above."""
        first = self._one(sides)
        excess = max((self.box.most_ns(minus(other, first)) for other in sides if other != first), default=0)
        return (*first[:-1], first[-1] + max(0, excess))

    def _once(self, key: Hashable, compute: Callable[[], Demand]) -> Demand:
        found = self._memo.get(key)
        if found is None:
            self._memo[key] = found = compute()
        return found

    def _least_layer(self, group: int, loads: tuple[int, ...] | None, shape: Shape, groups: Groups) -> Demand:
        """At most the demand of a layer under any placement: the least of each number over the front of profiles."""
        ffn = self.instance.architecture.layers[group].moe
        if loads is None or ffn is None:
            return self._layer(group, None, shape, groups, self._one)
        key = ("least", group, loads, shape, groups)
        profiles = layer_front(loads, ffn.top_k, shape.ep, shape.redundant, shape.group_tokens, groups.ep).options
        return self._once(
            key, lambda: tuple(map(min, zip(*(self._layer(group, p, shape, groups, self._one) for p, _ in profiles), strict=True)))
        )

    def _layer(self, group: int, profile: Profile | None, shape: Shape, groups: Groups, choose: Choose) -> Demand:
        key = (group, profile, shape, groups, choose == self._one)
        return self._once(
            key,
            lambda: self._overlapped(
                self._compute(group, profile, shape, choose), self._comm(group, profile, shape, groups, choose), choose
            ),
        )

    def _compute(self, group: int, profile: Profile | None, shape: Shape, choose: Choose) -> Demand:
        def attention_side() -> Demand:
            return self._works(self.parts.attention_side(group, shape), choose)

        found = self._once(("attention", group, shape[:5], choose == self._one), attention_side)
        ffn = self.instance.architecture.layers[group].moe
        if profile is not None and ffn is not None:
            work = routed_experts(self.instance.architecture, ffn, profile.tokens, profile.touched, shape.etp)
            found = plus(found, self._works([work], choose))
        return found

    def _works(self, works: list[Work], choose: Choose) -> Demand:
        """Operators: a launch and FLOP or bytes each."""
        found = NO_DEMAND
        for work in works:
            side = choose([_only(_peak(work.kind), work.flop), _only("hbm", work.bytes)])
            found = plus(found, plus(side, _only("launch", 1)))
        return found

    def _comm(self, group: int, profile: Profile | None, shape: Shape, groups: Groups, choose: Choose) -> Demand:
        """Collectives of a layer, each that of the dearest of its groups."""
        found = NO_DEMAND
        for sides in self.parts.collectives(group, profile, shape, groups):
            found = plus(found, choose(sides))
        return found

    def _overlapped(self, compute: Demand, comm: Demand, choose: Choose) -> Demand:
        """compute + comm - min(overlap * comm, compute) = max(compute + (1 - overlap) * comm, comm)."""
        exposed = (*comm[:5], 0, 0, 0, 0, *comm[5:9], comm[13])
        together = plus(compute, exposed)
        return together if self.instance.runtime.overlap_ppm == 0 else choose([together, comm])

    def _end(self, shape: Shape, groups: Groups, first: bool, choose: Choose) -> Demand:
        """Embedding or head, with its collective; nothing of it is hidden."""

        def compute() -> Demand:
            works = self._works(self.parts.end_works(shape, groups, first), choose)
            return plus(works, choose(self.parts.end_collective(shape, groups, first)))

        return self._once(("end", first, shape, groups.tp, choose == self._one), compute)


def _peak(kind: Kind) -> str:
    """Which of the demands an operator's FLOP are: the share of the peak it attains is that of `models.roofline`."""
    match kind:
        case "gemm" | "elementwise":
            return "gemm"
        case "expert_gemm":
            return "expert_gemm"
        case _:
            return "attention"


def _only(kind: str, amount: int) -> Demand:
    at = KINDS.index(kind)
    return (*(0,) * at, amount, *(0,) * (13 - at))


def _tiers(still: Comm, counted: Comm) -> Demand:
    """Bytes and rounds of a communication, priced without latency and with one that tells the tiers apart."""
    out_rounds, up_rounds = divmod(counted.ns - still.ns, _FAR)
    return (0, 0, 0, 0, 0, still.scale_up_bytes, up_rounds, still.scale_out_bytes, out_rounds, 0, 0, 0, 0, 0)
