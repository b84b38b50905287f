"""The plan that is at most so much dearer than the best, whatever the coefficients in a box are: a certified bound.

Regret of a plan under coefficients = its cost / the least cost of any plan - 1. From above: against each strategy, the largest ratio
of the plan's greatest to the strategy's least demand over the box, exact (`optimizer.robustness.box`). From below: under finitely many
coefficients, each strategy's bound over a plan's cost.
"""

from collections.abc import Callable
from fractions import Fraction
from heapq import heappop, heappush
from typing import NamedTuple

from models.bounds import Bounds
from models.coefficients import Coefficient
from models.enumeration import strategies as every_strategy
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import value_of
from models.rules import violations
from models.strategy import Plan, Strategy
from models.terms import Terms
from optimizer.robustness.box import Box, Demand, minus, ranges_within, times
from optimizer.robustness.demands import Demands, Parts
from optimizer.robustness.rivals import attained, below, is_best_of_its_strategy, is_twin, likeness, started

MOST_CANDIDATES = 40  # plans of which a bound is computed
MOST_PARTS = 250  # of the box, looked at one by one for the plan that is optimal as stated; a fifth for every other one
MOST_DEMANDS = 240  # strategies compared per part, on average
MOST_SCENES = 60
CLOSE = Fraction(1, 2_000)  # a bound this close above what was seen is not improved
SPARE = (5, 4)  # plans this much dearer than ours at the dearest corner are not judged

Progress = Callable[[str], None]
Scenario = dict[Coefficient, int]


class Judged(NamedTuple):
    """A plan and how much dearer than the best it can be."""

    plan: Plan
    at_most: Fraction
    """certified: its regret anywhere in the box"""
    at_least: Fraction
    """its regret under `scenario`, against a plan seen there"""
    scenario: Scenario
    better: Plan | None
    """that plan; None where ours was best under every scenario tried"""


class LeastRegret(NamedTuple):
    """The best plan found, and what no plan can undercut."""

    share_ppm: int
    best: Judged
    stated: Judged
    """the plan that is optimal under the stated coefficients"""
    at_least: Fraction
    """certified: every plan of the space has at least this regret somewhere in the box"""
    scenarios: tuple[Scenario, ...]
    """where: under one of these; coefficients that are not named are as stated"""
    candidates: int
    """plans looked at, that one among them; some are given up before their bound is known"""


def least_regret(
    instance: Instance, plan: Plan, share_ppm: int, progress: Progress = lambda _: None, most_parts: int = MOST_PARTS
) -> LeastRegret | None:
    """The plan of least certified regret when every coefficient but memory and skew may be off by `share_ppm`.

    `plan` is optimal under the stated coefficients. None where no plan is known to run everywhere in the box.
    """
    return _Search(instance, plan, share_ppm, progress, most_parts).run()


class _Scene:
    """The instance under one scenario, and the cheapest plan of a growing pool there."""

    def __init__(self, instance: Instance, values: Scenario) -> None:
        self.instance, self.values = instance, values
        self.bounds = Bounds(instance)
        self._best: tuple[int, Plan] | None = None
        self._costs: dict[Plan, int | None] = {}
        self._tried = 0

    def cost(self, plan: Plan) -> int | None:
        """Of a plan that runs here."""
        if plan not in self._costs:
            terms = self.bounds.terms
            self._costs[plan] = None if violations(self.instance, plan, terms) else evaluate(self.instance, plan, terms).value
        return self._costs[plan]

    def best(self, pool: list[Plan]) -> tuple[int, Plan] | None:
        """The cheapest of the pool that runs here."""
        for plan in pool[self._tried :]:
            cost = self.cost(plan)
            if cost is not None and (self._best is None or cost < self._best[0]):
                self._best = cost, plan
        self._tried = len(pool)
        return self._best

    def bound(self, s: Strategy) -> int | None:
        """At most the cost of any plan of a strategy; None where none runs."""
        step = self.bounds.quick(s)
        return None if isinstance(step, str) else value_of(self.instance, s).of(step)


class _Part(NamedTuple):
    """A part of the box, sorted by how much dearer than the best a plan may be there."""

    order: Fraction
    number: int
    ratio: Fraction
    demands: Demands
    rivals: list[Strategy]
    """strategies not seen to stay above"""


class _Search:
    """All strategies that can be best somewhere in the box, and what is known of plans so far."""

    def __init__(self, instance: Instance, plan: Plan, share_ppm: int, progress: Progress, most_parts: int) -> None:
        self.instance, self.plan, self.share, self.progress, self.most_parts = instance, plan, share_ppm, progress, most_parts
        self.box, self.terms, self.parts = Box(instance, ranges_within(instance, share_ppm)), Terms(instance), Parts(instance)
        self.root = Demands(self.parts, self.box)
        self.dear = _Scene(self.box.under(self.box.end(dear=True)), self.box.end(dear=True))
        self.stated = _Scene(instance, {})
        self.cheap: list[tuple[int, Strategy]] = []
        self.reach = 0
        """strategies that are not among `cheap` cost at least this everywhere"""
        self.pool, self.scenes = [plan], [self.stated]
        self._parts = 0

    def run(self) -> LeastRegret | None:
        """Judge the plan that is optimal as stated, then others by their stated cost while they may do better."""
        cost, optimum = self.dear.cost(self.plan), self.stated.cost(self.plan)
        if cost is None or optimum is None:
            return None
        self._survey(cost * SPARE[0] // SPARE[1])
        first = self._judge(self.plan, None)
        assert first is not None, "without a limit a plan is judged to the end"
        best, judged, known = first, 1, {likeness(self.terms, self.plan.strategy)}
        for bound, s in self._near(first.at_most, optimum):
            if judged >= MOST_CANDIDATES or Fraction(bound, optimum) - 1 >= best.at_most:
                break
            like = likeness(self.terms, s)
            if like in known:
                continue
            known.add(like)
            found = self._candidate(s, best.at_most)
            judged += 1
            if found is not None:
                best = found
                self.progress(f"{s.label()}: regret at most {float(100 * best.at_most):.3f} %")
        least = self._least_of_all(best.at_most, optimum)
        scenarios = tuple(scene.values for scene in self.scenes)
        return LeastRegret(self.share, self._seen(best), self._seen(first), least, scenarios, judged)

    def _survey(self, reach: int) -> None:
        self.reach = reach
        cheapest = _Scene(self.box.under(self.box.end(dear=False)), {})
        for s in below(cheapest.bounds, every_strategy(self.instance), reach):
            bound = cheapest.bound(s)
            assert bound is not None, "it passed the same bound"
            self.cheap.append((bound, s))
        self.cheap.sort()
        self.progress(f"{len(self.cheap)} strategies may come near the best within {self.share / 10_000:g} % of every coefficient")

    def _near(self, regret: Fraction, optimum: int) -> list[tuple[int, Strategy]]:
        """Strategies within a regret of the best under the stated coefficients, with their bounds there, least first."""
        found = ((self.stated.bound(s), s) for _, s in self.cheap)
        return sorted((bound, s) for bound, s in found if bound is not None and Fraction(bound, optimum) - 1 < regret)

    def _candidate(self, s: Strategy, limit: Fraction) -> Judged | None:
        """A strategy's best plan under the stated coefficients, judged; None where its regret reaches the limit."""
        found = attained(self.stated.bounds, started(self.instance, s))
        if found is None or self.dear.cost(found.plan) is None:
            return None
        if any(self._regret_in(scene, found.plan)[0] >= limit for scene in self.scenes):
            return None
        return self._judge(found.plan, limit)

    def _judge(self, plan: Plan, limit: Fraction | None) -> Judged | None:
        """The largest ratio over the box and over all strategies, from above; None where it is not seen to stay below the limit.

        The part of the box with the largest ratio is halved, until it is hardly above a regret that was seen.
        """
        s, dearest, alone = plan.strategy, self.dear.cost(plan), is_best_of_its_strategy(self.instance, plan)
        assert dearest is not None, "the plan runs at the dearest corner"
        if dearest > self.reach:
            return None
        others = [o for bound, o in self.cheap if bound < dearest and not (alone and (o == s or is_twin(self.terms, s, o)))]
        parts = [self._part(self.root, plan, others, self._floor(plan))]
        most_parts = self.most_parts if limit is None else self.most_parts // 5
        left = most_parts * MOST_DEMANDS
        while True:
            floor, worst = self._floor(plan), parts[0]
            left -= len(worst.rivals)
            if limit is not None and floor - 1 >= limit:
                return None
            if worst.ratio <= floor * (1 + CLOSE) or left < 0 or len(parts) > most_parts or (halves := worst.demands.box.halves()) is None:
                break
            heappop(parts)
            for half in halves:
                heappush(parts, self._part(Demands(self.parts, half), plan, worst.rivals, floor))
        most = max(floor, worst.ratio) - 1
        return Judged(plan, most, Fraction(0), {}, None) if limit is None or most < limit else None

    def _floor(self, plan: Plan) -> Fraction:
        """1 + the largest regret of a plan that was seen."""
        return 1 + max(self._regret_in(scene, plan)[0] for scene in self.scenes)

    def _part(self, demands: Demands, plan: Plan, strategies: list[Strategy], floor: Fraction) -> "_Part":
        """The largest ratio in one part of the box, if it is above the floor; where it is attained becomes a scenario."""
        ours, ratio, rivals, against = demands.at_most(plan), floor, list[Strategy](), None
        for other in strategies:
            theirs = demands.at_least(other)
            if demands.box.most(_difference(ours, theirs, floor)) > 0:
                rivals.append(other)
                greater = _raised(demands.box, ours, theirs, ratio)
                if greater > ratio:
                    ratio, against = greater, other
        if against is not None and len(self.scenes) < MOST_SCENES:
            values = demands.box.values(*demands.box.worst(_difference(ours, demands.at_least(against), ratio)))
            self._remember(values, against)
        self._parts += 1
        return _Part(-ratio, self._parts, ratio, demands, rivals)

    def _remember(self, values: Scenario, s: Strategy) -> None:
        """A scenario, and a strategy's plan there."""
        if all(scene.values != values for scene in self.scenes):
            self.scenes.append(_Scene(self.box.under(values), values))
            found = attained(self.scenes[-1].bounds, started(self.instance, s))
            if found is not None and found.plan not in self.pool:
                self.pool.append(found.plan)

    def _regret_in(self, scene: _Scene, plan: Plan) -> tuple[Fraction, Plan | None]:
        """A plan's regret in a scenario against the best of the pool, which the true one is at least."""
        best, cost = scene.best(self.pool), scene.cost(plan)
        if best is None or cost is None or best[0] >= cost or best[0] == 0:
            return Fraction(0), None
        return Fraction(cost, best[0]) - 1, best[1]

    def _seen(self, judged: Judged) -> Judged:
        """With the scenario in which its regret was seen to be largest."""
        worst, better, scene = Fraction(0), None, self.stated
        for tried in self.scenes:
            regret, plan = self._regret_in(tried, judged.plan)
            if regret > worst:
                worst, better, scene = regret, plan, tried
        return judged._replace(at_least=worst, scenario=scene.values, better=better)

    def _least_of_all(self, limit: Fraction, optimum: int) -> Fraction:
        """At most the regret of every plan somewhere: of each strategy the largest of its bounds over a plan's cost, over all scenarios."""
        regrets = {s: max(Fraction(0), Fraction(bound, optimum) - 1) for bound, s in self._near(limit, optimum)}
        for values in self._single_ends():
            self.scenes.append(_Scene(self.box.under(values), values))
        for scene in self.scenes:
            best = scene.best(self.pool)
            for s, regret in regrets.items() if best and best[0] else ():
                bound = scene.bound(s)
                assert best is not None, "checked above"
                regrets[s] = limit if bound is None else max(regret, Fraction(bound, best[0]) - 1)
        return max(Fraction(0), min([limit, Fraction(self.reach, optimum) - 1, *regrets.values()]))

    def _single_ends(self) -> list[Scenario]:
        """Each coefficient alone at either end of its range."""
        return [{c: value} for c, ends in self.box.ranges.items() for value in ends]


def _difference(ours: Demand, theirs: Demand, ratio: Fraction) -> Demand:
    """Nowhere positive iff ours is at most `ratio` times theirs."""
    return minus(times(ours, ratio.denominator), times(theirs, ratio.numerator))


def _raised(box: Box, ours: Demand, theirs: Demand, ratio: Fraction) -> Fraction:
    """The largest ratio of ours to theirs over the box, where it is above `ratio`: Dinkelbach's iteration, exact.

    If the maximum of ours - ratio * theirs is positive, the ratio where it is attained is larger; corners are finitely many.
    """
    while box.most(difference := _difference(ours, theirs, ratio)) > 0:
        corner, prices = box.worst(difference)
        ratio = Fraction(box.at(ours, corner, prices), box.at(theirs, corner, prices))
    return ratio
