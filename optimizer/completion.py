"""Strategies completed to plans: the best split, and for large layers a good placement with what is proved about it."""

from collections.abc import Iterator

from models.bounds import Bounds
from models.certificate import Fact
from models.evaluate import evaluate
from models.instance import Instance
from models.layout import Pattern
from models.objective import value_of
from models.packing import Problem, RankClass
from models.placement import least_maximum
from models.result import Candidate
from models.routing import load_classes
from models.rules import plan_violations
from models.strategy import Plan, RankContents, Strategy
from models.terms import Terms
from optimizer.placing.dealing import WAYS, deal, lighten, over_domains
from optimizer.placing.place import arrange, place, place_touching

CLOSE = 2_000  # a plan within one part in this of its strategy's bound is good enough
WORTHWHILE = 2_000  # a layer is left alone when its heaviest rank is within one part in this of the closed forms
COARSE = 20_000  # counts per rank up to this are expected to be placed and proved exactly
ROUNDS = 150  # of column generation, for one layer
MOST_ATTEMPTS = 400  # layers attacked in one search


Known = tuple[RankContents | None, ...]
"""the placement of each MoE layer, where bounds are exact"""


class Completion:
    """Plans of one instance's strategies, and the arguments found for its placements."""

    def __init__(self, instance: Instance, terms: Terms, seed: int = 0) -> None:
        self.instance, self.terms, self.seed = instance, terms, seed
        self.proved: dict[tuple[tuple[int, ...], int], int] = {}
        self.facts: dict[tuple[tuple[int, ...], int], Fact] = {}
        self._contents: dict[tuple[tuple[int, ...], int], RankContents] = {}
        self._tried: set[tuple[tuple[int, ...], int]] = set()
        self._lighter: dict[tuple[tuple[int, ...], int, int], RankContents] = {}
        """with redundant slots, by loads, ranks and redundant slots: the lightest placements found, each sought once"""

    def complete(self, bounds: Bounds, s: Strategy) -> tuple[int, Candidate | None] | str:
        """The strategy's bound and its best plan found; or the rule that no plan of it keeps.

        No plan where placements are too large to enumerate and those tried break a limit.
        """
        solution = bounds.exact(s)
        if isinstance(solution, str):
            return solution
        bound = value_of(self.instance, s).of(solution.step_ns)
        placements = self._light(solution.placements, s)
        if solution.exact:
            plan = Plan(s, solution.split.stages, placements)
            evaluation = evaluate(self.instance, plan, self.terms)
            assert evaluation.step_ns == solution.step_ns, "exact bounds are attained"
            return bound, Candidate(plan, evaluation.value)
        best, near = self._candidate(s, solution.split.stages, placements), 0 if s.redundant else bound // CLOSE
        for placements in self._others(solution.placements, s):
            if best is not None and best.value - bound <= near:
                break
            found = self._candidate(s, solution.split.stages, placements)
            best = min((c for c in (best, found) if c is not None), key=lambda c: c.value, default=None)
        return bound, best

    def _candidate(self, s: Strategy, stages: tuple[int, ...], placements: tuple[RankContents, ...]) -> Candidate | None:
        """The plan with its value, if it runs."""
        plan = Plan(s, stages, placements)
        evaluation = evaluate(self.instance, plan, self.terms)
        return None if any(plan_violations(self.instance, plan, evaluation)) else Candidate(plan, evaluation.value)

    def _light(self, known: Known, s: Strategy) -> tuple[RankContents, ...]:
        """The layers' placements; where none is known, one with light ranks."""
        if s.redundant:
            return self._dealt(known, s, 0)
        patterns = self.terms.groups(s).ep
        given = zip(known, self._rows(), strict=True)
        return tuple(p if p is not None else self._place(loads, top_k, s.ep, patterns) for p, (loads, top_k) in given)

    def _others(self, known: Known, s: Strategy) -> Iterator[tuple[RankContents, ...]]:
        """Placements to try after `_light`: what counts where weights are read for few tokens."""
        if s.redundant:
            yield from (self._dealt(known, s, way) for way in WAYS[1:])
        else:
            yield self._touching_few(known, s)

    def _dealt(self, known: Known, s: Strategy, way: int) -> tuple[RankContents, ...]:
        """The layers' placements with redundant slots; where none is known, one of this kind."""
        patterns, tokens, found = self.terms.groups(s).ep, self.terms.shape(s).group_tokens, []
        for p, (loads, top_k) in zip(known, self._rows(), strict=True):
            if p is None:
                dealt = self._lighter.get((loads, s.ep, s.redundant)) if way == 0 else None
                dealt = dealt or deal(way, loads, s.ep, s.redundant, top_k, tokens)
                p = over_domains(dealt, loads, top_k, patterns)
            found.append(p)
        return tuple(found)

    def _touching_few(self, known: Known, s: Strategy) -> tuple[RankContents, ...]:
        """As `_light`, but no rank touches many experts either."""
        patterns, tokens = self.terms.groups(s).ep, self.terms.shape(s).group_tokens
        found = []
        for p, (loads, top_k) in zip(known, self._rows(), strict=True):
            found.append(p if p is not None else arrange(place_touching(loads, s.ep, top_k, tokens), loads, top_k, patterns, tokens))
        return tuple(found)

    def _rows(self) -> list[tuple[tuple[int, ...], int]]:
        """Loads and top-k of each MoE layer."""
        ffns = [self.instance.architecture.layers[g].moe for g in self.instance.architecture.group_of_layer()]
        moe = [ffn for ffn in ffns if ffn is not None]
        return [(self.instance.load_of_moe_layer(n), ffn.top_k) for n, ffn in enumerate(moe)]

    def _place(self, loads: tuple[int, ...], top_k: int, ep: int, patterns: tuple[Pattern, ...]) -> RankContents:
        contents = self._contents.get((loads, ep)) or place(loads, ep)
        return arrange(contents, loads, top_k, patterns)

    def strengthen(self, plan: Plan, coarse_only: bool) -> bool:
        """Attack the layers of a plan whose heaviest rank is well above what is proved; whether anything was gained.

        With `coarse_only`, layers of large counts are left alone: those seldom close to the last token. With redundant slots
        there are no arguments, as the mean is what their bounds rest on: placements are made lighter.
        """
        from optimizer.placing.solve import solve_placement

        if plan.strategy.redundant:
            return self._lighten(plan)
        gained, ranks = False, plan.strategy.ep
        for n, contents in enumerate(plan.placement):
            loads = self.instance.load_of_moe_layer(n)
            key, heaviest = (loads, ranks), max(sum(loads[e] for e in rank) for rank in contents)
            closed = least_maximum(loads, ranks)
            near = heaviest - closed <= closed // WORTHWHILE or (coarse_only and closed > COARSE)
            if near or key in self._tried or load_classes(loads) == 1 or len(self._tried) >= MOST_ATTEMPTS:
                continue
            self._tried.add(key)
            problem = Problem(loads=loads, classes=(RankClass(ranks=ranks, slots=len(loads) // ranks),))
            placed = solve_placement(problem, ROUNDS, self.seed)
            if placed.argument is not None and placed.bound > closed:
                row = 0 if self.instance.expert_load is None or len(self.instance.expert_load.counts) == 1 else n
                self.facts[key] = Fact(row=row, ranks=ranks, least=placed.bound, argument=placed.argument)
                self.proved[key], gained = placed.bound, True
            if placed.contents is not None and placed.value is not None and placed.value < heaviest:
                self._contents[key], gained = placed.contents, True
        return gained

    def _lighten(self, plan: Plan) -> bool:
        """Make the heaviest ranks of a plan's layers with redundant slots lighter; whether any has become so."""
        s, gained = plan.strategy, False
        for loads, top_k in self._rows():
            key = (loads, s.ep, s.redundant)
            if key in self._lighter or load_classes(loads) == 1 or len(self._lighter) >= MOST_ATTEMPTS:
                continue
            dealt = deal(0, *key, top_k, 1)
            self._lighter[key] = lighten(dealt, loads)
            gained = gained or self._lighter[key] != dealt
        return gained
