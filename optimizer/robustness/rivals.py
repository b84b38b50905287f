"""Which strategies may still beat a plan's strategy somewhere in a range of one coefficient. No solver, no floats.

In a range each coefficient has a *good end*, where every plan is cheapest and most plans fit, and a
*bad end* (`models.coefficients`). What our strategy costs at the bad end it does not exceed anywhere in the
range; what another one costs at least at the good end it does not undercut anywhere in the range.
"""

from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from heapq import heappop, heappush
from typing import NamedTuple

from models.bounds import Bounds
from models.coefficients import Coefficient, is_plain, with_value
from models.evaluate import evaluate, layer_profile, moe_layer_indices
from models.instance import Instance
from models.layout import stage_neighbours_cross
from models.objective import value_of
from models.placement import Front
from models.replicas import layer_front
from models.result import Candidate
from models.rules import violations
from models.strategy import Plan, RankContents, Strategy, complete_stages
from models.terms import Terms
from optimizer.placing.dealing import deal as deal_replicas
from optimizer.robustness.chords import Point, bound_point, place_of, roundings, stays_above, without_limits

MOST_CHORDS = 20_000  # strategies compared by chords; of more, a piece is cut first
MOST_SPLITS = 500  # strategies whose best split is sought
STEEP = 2  # a piece in which our cost grows by more than this factor is cut before anything is bounded


class Piece(NamedTuple):
    """All integers from `low` to `high` as values of a coefficient."""

    low: int
    high: int

    def good(self, coefficient: Coefficient) -> int:
        """The end at which no plan is dearer, and none that fits elsewhere does not fit."""
        return self.low if coefficient.more_is == "slower" else self.high

    def bad(self, coefficient: Coefficient) -> int:
        """The end at which no plan is cheaper."""
        return self.high if coefficient.more_is == "slower" else self.low


def likeness(terms: Terms, s: Strategy) -> Hashable:
    """Equal for strategies whose plans with equal stages and placement have equal times, memory and traffic, whatever the coefficients.

    Each term of `models.terms` is a function of the shape, the groups, a profile (itself one of the placement, the shape and
    the groups) and of nothing else of the strategy; the pass adds the number of stages and of micro-batches, and
    whether neighbouring stages share a domain; the cache the sequences of a rank, shape.sequences * micro-batches by R10.
    """
    crosses = stage_neighbours_cross(s, terms.pool.scale_up_domain_gpus)
    return terms.shape(s), terms.groups(s), s.dp > 1, s.pp, s.microbatches, crosses


def is_twin(terms: Terms, ours: Strategy, other: Strategy) -> bool:
    """Whether the best plans of two strategies have equal values whatever the coefficients.

    Being alike they have equal replicas * dp, hence as many GPUs, and the objective weighs them equally.
    """
    return likeness(terms, ours) == likeness(terms, other)


def is_outdone(terms: Terms, plan: Plan, other: Strategy) -> bool:
    """Whether a strategy that differs from the plan's in more redundant slots alone is never cheaper, whatever the rates.

    It takes more memory, and each profile that its placements may have is no better than one of ours: of the best placements
    where all layers are small, of the plan's own elsewhere.
    """
    s, instance = plan.strategy, terms.instance
    if other.redundant <= s.redundant or other._replace(redundant=s.redundant) != s:
        return False
    of_layer = instance.architecture.group_of_layer()
    ours, theirs = [], []
    for layer, at in moe_layer_indices(instance).items():
        ours.append(_front_of(terms, s, at, of_layer[layer]))
        theirs.append(_front_of(terms, other, at, of_layer[layer]))
    options = [[profile for profile, _ in front.options] for front in ours]
    if not all(front.exact for front in ours):
        options = [[layer_profile(terms, s, plan, at, of_layer[layer])] for layer, at in moe_layer_indices(instance).items()]
    pairs = zip(options, theirs, strict=True)
    return all(any(a.within(b) for a in mine) for mine, front in pairs for b, _ in front.options)


def _front_of(terms: Terms, s: Strategy, moe_layer: int, group: int) -> Front:
    """The front of one MoE layer under a strategy."""
    ffn, loads = terms.arch.layers[group].moe, terms.instance.load_of_moe_layer(moe_layer)
    assert ffn is not None, "a MoE layer"
    return layer_front(loads, ffn.top_k, s.ep, s.redundant, terms.shape(s).group_tokens, terms.groups(s).ep)


def attained(bounds: Bounds, plan: Plan) -> Candidate | None:
    """A plan of our strategy that runs under the bounds' instance; where layers are small or even, the best one.

    Stages are chosen anew; placements too, except in layers too large for that, which keep those of `plan`.
    """
    solution, instance = bounds.exact(plan.strategy), bounds.instance
    if isinstance(solution, str):
        return None
    if solution.exact:
        placements = tuple(p for p in solution.placements if p is not None)
        return Candidate(Plan(plan.strategy, solution.split.stages, placements), value_of(instance, plan.strategy).of(solution.step_ns))
    tried = {plan, plan._replace(stages=solution.split.stages)}
    return min(
        (Candidate(p, evaluate(instance, p, bounds.terms).value) for p in sorted(tried) if not violations(instance, p, bounds.terms)),
        key=lambda c: c.value,
        default=None,
    )


def below(bounds: Bounds, strategies: Iterable[Strategy], cut: int) -> list[Strategy]:
    """The strategies that may have a plan of a value below `cut`; the cheapest bound that settles one is the last one taken."""
    found = []
    for s in strategies:
        value = value_of(bounds.instance, s)
        step = bounds.work(s)
        if isinstance(step, str) or value.of(step) >= cut:
            continue
        step = bounds.quick(s)
        if not isinstance(step, str) and value.of(step) < cut:
            found.append(s)
    return found


def split_below(bounds: Bounds, s: Strategy, cut: int) -> bool:
    """Whether the best split of a strategy leaves it room for a plan of a value below `cut`."""
    solution = bounds.exact(s)
    return not isinstance(solution, str) and value_of(bounds.instance, s).of(solution.step_ns) < cut


def cheapest(bounds: Bounds, strategies: Iterable[Strategy], cut: int | None) -> Candidate | None:
    """The best plan seen of these strategies, where it is below `cut`; least bound first, until the rest is out of reach."""
    best = None
    for bound, _, s in sorted(_first_bounds(bounds, strategies)):
        if cut is not None and bound >= cut:
            break
        value, step = value_of(bounds.instance, s), bounds.quick(s)
        if isinstance(step, str) or (cut is not None and value.of(step) >= cut):
            continue
        found = attained(bounds, started(bounds.instance, s))
        if found is not None and (cut is None or found.value < cut):
            best, cut = found, found.value
    return best


def _first_bounds(bounds: Bounds, strategies: Iterable[Strategy]) -> Iterator[tuple[int, int, Strategy]]:
    for number, s in enumerate(strategies):
        step = bounds.work(s)
        if not isinstance(step, str):
            yield value_of(bounds.instance, s).of(step), number, s


def started(instance: Instance, s: Strategy) -> Plan:
    """A plan of a strategy: stages as even as possible, placements by weight."""
    rows = (instance.load_of_moe_layer(n) for n in range(instance.architecture.moe_layers))
    placement = tuple(deal_replicas(0, row, s.ep, s.redundant, 1, 1) if s.redundant else deal(row, s.ep) for row in rows)
    return Plan(s, complete_stages(instance.architecture.layer_count, s.pp), placement)


@lru_cache(maxsize=4096)
def deal(loads: tuple[int, ...], ranks: int) -> RankContents:
    """Each expert, heaviest first, to the lightest rank with a free slot: a placement of large layers, not a proof."""
    held: list[list[int]] = [[] for _ in range(ranks)]
    order = sorted(range(len(loads)), key=lambda e: (-loads[e], e))
    heap = [(0, r) for r in range(ranks)]
    for e in order:
        weight, r = heappop(heap)
        held[r].append(e)
        if len(held[r]) < len(loads) // ranks:
            heappush(heap, (weight + loads[e], r))
    return tuple(tuple(sorted(rank)) for rank in held)


class Contest:
    """Our plan's strategy against all others while one coefficient varies."""

    def __init__(self, instance: Instance, plan: Plan, coefficient: Coefficient) -> None:
        self.instance, self.plan, self.coefficient = instance, plan, coefficient
        self._terms, self._free = Terms(instance), without_limits(instance)
        self.bounded = 0
        """strategies bounded so far"""

    def at(self, value: int) -> Bounds:
        """Bounds under another value of the coefficient."""
        return Bounds(with_value(self.instance, self.coefficient, value))

    def ours(self, value: int) -> Candidate | None:
        """A plan of our strategy that runs at a value of the coefficient."""
        return attained(self.at(value), self.plan)

    def rivals(self, strategies: list[Strategy], piece: Piece, thorough: bool = False) -> list[Strategy] | None:
        """Strategies that may undercut ours somewhere in a piece: none means that ours is optimal in all of it.

        None where ours is not seen to run at the bad end, so that nothing is said. Unless `thorough`, what is dear is left
        out where many strategies are left, for smaller pieces.
        """
        assert piece.low == piece.high or self.coefficient.more_is != "uneven", "ranges need a direction"
        ours = self.ours(piece.bad(self.coefficient))
        if ours is None:
            return None
        good = self.at(piece.good(self.coefficient))
        if not thorough and len(strategies) > MOST_CHORDS and ours.value > STEEP * evaluate(good.instance, ours.plan, good.terms).value:
            return strategies
        self.bounded += len(strategies)
        found = below(good, strategies, ours.value)
        found = [s for s in found if s != self.plan.strategy and not is_twin(self._terms, self.plan.strategy, s)]
        found = [s for s in found if not is_outdone(good.terms, self.plan, s)]
        if self.coefficient.more_is in ("faster", "slower") and piece.low < piece.high and (thorough or len(found) <= MOST_CHORDS):
            found = self._above_chord(found, piece, ours.plan)
        if len(found) > MOST_SPLITS and not thorough:
            return found
        return [s for s in found if split_below(good, s, ours.value)]

    def _above_chord(self, strategies: list[Strategy], piece: Piece, plan: Plan) -> list[Strategy]:
        """Those of the strategies that are not seen to stay above the plan's chord, which needs a plain instance."""
        if not strategies or not is_plain(self.instance):
            return strategies
        self.bounded += 4 * len(strategies)
        c, (low, high) = self.coefficient, piece
        step = high - low
        places = max(c.least, low - max(step, low // 64, 1)), low, high, min(c.most, high + max(step, high // 64, 1))
        tables = [Bounds(with_value(self._free, c, v)) for v in places]
        x = [place_of(c, v) for v in places]
        value = value_of(self.instance, plan.strategy)
        slack = roundings(self.instance, plan.strategy, value)
        costs = [evaluate(table.instance, plan, table.terms).value for table in tables[1:3]]
        ours = Point(x[1], costs[0], slack), Point(x[2], costs[1], slack)

        def stays_below(s: Strategy) -> bool:
            left, at_low, at_high, right = (bound_point(table, s, at) for table, at in zip(tables, x, strict=True))
            if at_low is None or at_high is None:
                return False
            return stays_above(ours, (left if places[0] < low else None, at_low, at_high, right if places[3] > high else None))

        return [s for s in strategies if not stays_below(s)]


def is_best_of_its_strategy(instance: Instance, plan: Plan) -> bool:
    """Whether no other stages and placement of the strategy are cheaper, whatever the coefficients: one split only, and
    placements whose profiles are within those of all others."""
    terms, s = Terms(instance), plan.strategy
    if s.pp not in (1, instance.architecture.layer_count):
        return False
    of_layer = instance.architecture.group_of_layer()
    for layer, at in moe_layer_indices(instance).items():
        ours = layer_profile(terms, s, plan, at, of_layer[layer])
        if not all(ours.within(other) for other, _ in _front_of(terms, s, at, of_layer[layer]).options):
            return False
    return True
