"""The numbers that the constraints use, all taken from `models`: no variables here.

A *key* is what a MoE layer's placement problem depends on; an *option* of a key is a profile that
some placement attains, as thresholds on every rank and domain. Costs are in steps of `quantum` ns,
rounded down, so that the solver's optimum never exceeds the true one; with quantum 1 it is exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import gcd

from models.bounds import Bounds, Case, Fronts
from models.errors import InputError
from models.evaluate import evaluate, moe_layer_indices
from models.instance import Instance
from models.layout import Pattern
from models.objective import Value, near_limit, value_of
from models.placement import Front, contiguous, every_profile, front
from models.routing import load_classes
from models.rules import strategy_violations, violations
from models.strategy import Plan, Strategy, complete_stages

MOST_STRATEGIES = 20_000
MOST_PLACEMENT_LITERALS = 200_000
LARGEST = 1 << 30  # largest scaled cost; the guard's limit is twice that


class TooLarge(InputError):
    """The instance is beyond the joint model; the message says by which measure."""


@dataclass(frozen=True)
class Key:
    """One placement problem: expert loads, top-k, EP ranks, tokens that reach the group, where ranks lie."""

    loads: tuple[int, ...]
    top_k: int
    ep: int
    tokens: int
    patterns: tuple[Pattern, ...]

    @property
    def uniform(self) -> bool:
        """Every placement has the same profile."""
        return self.ep == 1 or load_classes(self.loads) == 1


@dataclass(frozen=True)
class Tables:
    """Everything the encoding knows about one instance."""

    instance: Instance
    bounds: Bounds
    fronts: Fronts
    world: tuple[Strategy, ...]
    """strategies that satisfy the identities of the space (R2), whatever their other rules"""
    alive: tuple[Strategy, ...]
    """those that also keep R1 and R3-R12"""
    units: dict[int, int]
    """MoE layer -> the first MoE layer that shares its placement"""
    quantum: int
    divisor: int
    """common divisor of all objective factors"""
    ceiling: int | None
    """dearer plans are left out: some feasible plan's value plus epsilon"""

    def cases(self) -> Iterator[tuple[Strategy, Case]]:
        """Each live strategy with its case."""
        return ((s, self.bounds.case(s)) for s in self.alive)

    def layer_of(self, moe_layer: int) -> int:
        """The model layer of a MoE layer."""
        return {position: layer for layer, position in moe_layer_indices(self.instance).items()}[moe_layer]

    def key(self, s: Strategy, moe_layer: int) -> Key:
        """The placement problem of one MoE layer under a strategy."""
        arch = self.instance.architecture
        ffn = arch.layers[arch.group_of_layer()[self.layer_of(moe_layer)]].moe
        assert ffn is not None
        loads = self.instance.load_of_moe_layer(moe_layer)
        return Key(loads, ffn.top_k, s.ep, self.bounds.terms.shape(s).group_tokens, self.bounds.terms.groups(s).ep)

    def front(self, key: Key) -> Front:
        """The options of a key."""
        return self.fronts(key.loads, key.top_k, key.ep, key.tokens, key.patterns)

    def transfer(self, s: Strategy) -> int:
        """Steps of one transfer between stages, rounded down."""
        return self.bounds.terms.transfer(s, self.bounds.terms.shape(s)).ns // self.quantum

    def value(self, s: Strategy) -> Value:
        """The objective of a strategy, divided by `divisor`."""
        factor, constant = value_of(self.instance, s)
        return Value(factor // self.divisor, constant // self.divisor)


def prepare(instance: Instance, epsilon_ppm: int | None) -> Tables:
    """The tables of an instance. Raises TooLarge when the joint model would not be worth building, or cannot express the space.

    Plans dearer than a first incumbent plus epsilon, and placements that another dominates, are
    left out; with None, none are, and the solutions are exactly the plans that keep the rules.
    """
    if any(instance.space.redundant_slots):
        raise TooLarge("space.redundant_slots: the joint model places each expert once; list 0 alone, or use the enumeration route")
    world = tuple(_world(instance))
    alive = tuple(s for s in world if not any(strategy_violations(instance, s)))
    fronts: Fronts = every_profile if epsilon_ppm is None else front
    bounds = Bounds(instance, fronts=fronts)
    units = _placement_units(instance)
    literals = len(set(units.values())) * instance.architecture.experts * sum({s.ep for s in alive})
    if literals > MOST_PLACEMENT_LITERALS:
        raise TooLarge(f"{literals} placement literals; the joint model takes up to {MOST_PLACEMENT_LITERALS}, use the enumeration route")
    divisor = gcd(*(value_of(instance, s).factor or value_of(instance, s).constant for s in alive)) or 1
    incumbent = None if epsilon_ppm is None else _incumbent(instance, bounds, alive)
    ceiling = None if incumbent is None else near_limit(incumbent, epsilon_ppm or 0)
    largest = max((_dearest(bounds, s, value_of(instance, s)) for s in alive), default=0) // divisor
    reach = largest if ceiling is None else min(largest, ceiling // divisor)
    quantum = 1
    while reach // quantum >= LARGEST:
        quantum *= 2
    tables = Tables(instance, bounds, fronts, world, alive, units, quantum, divisor, ceiling)
    for unit in set(units.values()):
        if any(not tables.front(tables.key(s, unit)).exact for s in alive):
            raise TooLarge("expert loads with too many different placements for the joint model; use the enumeration route")
    return tables


def _world(i: Instance) -> Iterator[Strategy]:
    """All tuples that the identities of the space admit, with every count of micro-batches."""
    gpus, classic = i.cluster.pool.gpus, i.space.name == "classic"
    found = 0
    for replicas, pp in product((1,) if classic else range(1, gpus + 1), range(1, gpus + 1)):
        room = gpus // (replicas * pp)
        for sides in _classic_sides(gpus, pp) if classic else _folded_sides(room):
            for m, order in product(range(1, i.workload.sequences + 1), i.space.orders):
                found += 1
                if found > MOST_STRATEGIES:
                    raise TooLarge(
                        f"more than {MOST_STRATEGIES} strategies; the joint model is for small spaces, use the enumeration route"
                    )
                tp, cp, dp, etp, ep, edp = sides
                yield Strategy(tp, cp, dp, pp, etp, ep, edp, replicas, m, order)


def _classic_sides(gpus: int, pp: int) -> Iterator[tuple[int, ...]]:
    for tp in range(1, gpus // pp + 1):
        if gpus % (pp * tp) == 0:
            ep = gpus // (pp * tp)
            yield tp, 1, ep, tp, ep, 1


def _folded_sides(room: int) -> Iterator[tuple[int, ...]]:
    for stage in range(1, room + 1):
        triples = [(a, b, stage // (a * b)) for a in range(1, stage + 1) for b in range(1, stage // a + 1) if stage % (a * b) == 0]
        for attention, experts in product(triples, triples):
            yield (*attention, *experts)


def _placement_units(i: Instance) -> dict[int, int]:
    """MoE layers that may share one placement: same group and loads, unless link caps trade them off."""
    pool = i.cluster.pool
    capped = pool.scale_up.cap_bytes_per_pass is not None or pool.scale_out.cap_bytes_per_pass is not None
    groups, first, units = i.architecture.group_of_layer(), dict[object, int](), dict[int, int]()
    for layer, position in moe_layer_indices(i).items():
        loads = i.load_of_moe_layer(position)
        alone = capped and load_classes(loads) > 1
        units[position] = first.setdefault((groups[layer], loads, position if alone else None), position)
    return units


def _incumbent(i: Instance, bounds: Bounds, alive: tuple[Strategy, ...]) -> int | None:
    """The best plan with even stages and contiguous placement."""
    layers, moe, experts = i.architecture.layer_count, i.architecture.moe_layers, i.architecture.experts
    plans = (Plan(s, complete_stages(layers, s.pp), (contiguous(experts, s.ep),) * moe) for s in alive)
    return min((evaluate(i, p, bounds.terms).value for p in plans if not violations(i, p, bounds.terms)), default=None)


def _dearest(bounds: Bounds, s: Strategy, value: Value) -> int:
    """The most that any plan of a strategy costs."""
    case = bounds.case(s)
    layers = sum(run.length * max(c[0] for c in run.choices) for run in case.layers)
    transfer = bounds.terms.transfer(s, bounds.terms.shape(s)).ns
    return value.of((s.microbatches + s.pp - 1) * (layers + case.first.ns + case.last.ns) + (s.pp - 1) * transfer)
