"""Strategies completed to plans: the best split, and for large layers a good placement with what is proved about it."""

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
from optimizer.place import arrange, place

WORTHWHILE = 2_000  # a layer is left alone when its heaviest rank is within one part in this of the closed forms
ROUNDS = 150  # of column generation, for one layer
MOST_ATTEMPTS = 400  # layers attacked in one search


class Completion:
    """Plans of one instance's strategies, and the arguments found for its placements."""

    def __init__(self, instance: Instance, terms: Terms, seed: int = 0) -> None:
        self.instance, self.terms, self.seed = instance, terms, seed
        self.proved: dict[tuple[tuple[int, ...], int], int] = {}
        self.facts: dict[tuple[tuple[int, ...], int], Fact] = {}
        self._contents: dict[tuple[tuple[int, ...], int], RankContents] = {}
        self._tried: set[tuple[tuple[int, ...], int]] = set()

    def complete(self, bounds: Bounds, s: Strategy) -> tuple[int, Candidate | None] | str:
        """The strategy's bound and its best plan found; or the rule that no plan of it keeps.

        No plan where placements are too large to enumerate and the one tried breaks a limit.
        """
        solution = bounds.exact(s)
        if isinstance(solution, str):
            return solution
        bound = value_of(self.instance, s).of(solution.step_ns)
        given = zip(solution.placements, self._rows(), strict=True)
        patterns = self.terms.groups(s).ep
        placements = tuple(p if p is not None else self._place(loads, top_k, s.ep, patterns) for p, (loads, top_k) in given)
        plan = Plan(s, solution.split.stages, placements)
        evaluation = evaluate(self.instance, plan, self.terms)
        if solution.exact:
            assert evaluation.step_ns == solution.step_ns, "exact bounds are attained"
        elif any(plan_violations(self.instance, plan, evaluation)):
            return bound, None
        return bound, Candidate(plan, evaluation.value)

    def _rows(self) -> list[tuple[tuple[int, ...], int]]:
        """Loads and top-k of each MoE layer."""
        ffns = [self.instance.architecture.layers[g].ffn for g in self.instance.architecture.group_of_layer()]
        moe = [ffn for ffn in ffns if ffn.kind == "moe"]
        return [(self.instance.load_of_moe_layer(n), ffn.top_k) for n, ffn in enumerate(moe)]

    def _place(self, loads: tuple[int, ...], top_k: int, ep: int, patterns: tuple[Pattern, ...]) -> RankContents:
        contents = self._contents.get((loads, ep)) or place(loads, ep)
        return arrange(contents, loads, top_k, patterns)

    def strengthen(self, plan: Plan) -> bool:
        """Attack the layers of a plan whose heaviest rank is well above what is proved; whether anything was gained."""
        from optimizer.placing import solve_placement

        gained, ranks = False, plan.strategy.ep
        for n, contents in enumerate(plan.placement):
            loads = self.instance.load_of_moe_layer(n)
            key, heaviest = (loads, ranks), max(sum(loads[e] for e in rank) for rank in contents)
            closed = least_maximum(loads, ranks)
            near = heaviest - closed <= closed // WORTHWHILE
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
