"""Solvers, floors and heuristics that lie: what is printed is still true, or the search ends with our verification's refusal.

Statuses, bounds, optima, duals and tables are falsified one at a time; truth is found by exhaustive search.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from brute import dearer_plans, plans
from certificate_cases import instance_of, large_layers, problem, quiet
from ortools.sat.python import cp_model
from truth import answer_of, attainable, falsehood
from typer.testing import CliRunner

import optimizer.completion
import optimizer.encoding.elastic
import optimizer.encoding.master
import optimizer.enumerate
import optimizer.look
import optimizer.placing.prices
import optimizer.placing.rounding
import optimizer.placing.solve
import optimizer.solve
from models.bounds import Bounds, Solution
from models.errors import VerificationError
from models.floors import Floors
from models.instance import Instance
from models.packing import RankClass, closed_bound
from models.result import Claim, Status
from models.rules import violations
from models.strategy import Degrees, Plan, PlanFile, Strategy
from optimizer.certify import certificate_of
from optimizer.cli import app
from optimizer.encoding.master import Column, Duals
from optimizer.factors import Survey
from optimizer.placing.solve import solve_placement
from optimizer.search import Options, Verdict, find, judge

SEEDS = (1, 3, 5, 9, 10, 12, 13, 16, 18, 24, 27)  # all kinds: dense, experts, infeasible, several optima
LARGE = (71, 83, 200, 224)  # with large layers, arguments on placements are sought
EPSILON_PPM = 50_000

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """What a solver said before is not remembered, nor what it says here."""
    solve_placement.cache_clear()
    yield
    solve_placement.cache_clear()


def reversed_objective(model: Any) -> Any:
    """The model with what it minimises maximised."""
    changed, objective = model.clone(), model.proto.objective
    variables = [changed.get_int_var_from_proto_index(v) for v in objective.vars]
    changed.maximize(cp_model.LinearExpr.weighted_sum(variables, [round(c * (objective.scaling_factor or 1)) for c in objective.coeffs]))
    return changed


class LyingSolver(cp_model.CpSolver):
    """CP-SAT that does not say what it found; it has solved the model before it lies."""

    worst = False
    """the dearest solution is called optimal, with its cost for a bound"""
    infeasible_from = 10**9
    """number of the call from which on there is said to be no solution"""
    status: Any = None
    """what is returned whatever happened, where there is a solution"""
    bound: Callable[[float], float] = staticmethod(lambda bound: bound)
    flips: Random | None = None
    """now and then a variable is reported with the other value"""
    calls = 0

    def solve(self, model: Any, solution_callback: Any = None) -> Any:
        LyingSolver.calls += 1
        if LyingSolver.calls >= self.infeasible_from:
            return cp_model.INFEASIBLE
        found = super().solve(reversed_objective(model) if self.worst else model, solution_callback)
        if found not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return found
        return self.status or found

    @property
    def best_objective_bound(self) -> float:
        return self.bound(super().best_objective_bound)

    def boolean_value(self, literal: Any) -> bool:
        value = super().boolean_value(literal)
        return value != (self.flips is not None and self.flips.random() < 0.02)


def cp_sat(patch: Patch, **lies: Any) -> None:
    """The joint route's solver lies."""
    lying = type("Lying", (LyingSolver,), lies)
    patch.setattr(optimizer.solve.cp_model, "CpSolver", lying)


def survey(patch: Patch, lie: Callable[[Survey], Survey]) -> None:
    honest = optimizer.look.survey
    patch.setattr(optimizer.look, "survey", lambda *args: lie(honest(*args)))


def lying_floors(patch: Patch, factor: int) -> None:
    class Lying(Floors):
        def priced_ns(self, s: Strategy) -> int:
            return super().priced_ns(s) * factor

    patch.setattr(optimizer.enumerate, "Floors", Lying)


def lying_bounds(patch: Patch, quick: Callable[[int | str], int | str], exact: Callable[[Solution | str], Solution | str]) -> None:
    class Lying(Bounds):
        def quick(self, s: Strategy) -> int | str:
            return quick(super().quick(s))

        def exact(self, s: Strategy) -> Solution | str:
            return exact(super().exact(s))

    patch.setattr(optimizer.enumerate, "Bounds", Lying)


def dearer(solution: Solution | str) -> Solution | str:
    """A bound that is twice what it is."""
    return solution if isinstance(solution, str) else solution._replace(step_ns=solution.step_ns * 2, exact=False)


def shuffled(table: Survey) -> Survey:
    return table._replace(step_ns=np.random.default_rng(1).permutation(table.step_ns))


class Lie(NamedTuple):
    """One falsification."""

    route: str
    apply: Callable[[Patch], None]
    harmless: bool = False
    """no answer can be wrong by it, only slower or weaker"""


LIES = {
    "CP-SAT: the worst solution is called optimal": Lie("joint", lambda p: cp_sat(p, worst=True)),
    "CP-SAT: infeasible at once": Lie("joint", lambda p: cp_sat(p, infeasible_from=1)),
    "CP-SAT: infeasible after one solution": Lie("joint", lambda p: cp_sat(p, infeasible_from=2)),
    "CP-SAT: infeasible after two solutions": Lie("joint", lambda p: cp_sat(p, infeasible_from=3)),
    "CP-SAT: the bound is twice what it is": Lie("joint", lambda p: cp_sat(p, bound=staticmethod(lambda b: 2 * b + 1))),
    "CP-SAT: the bound is one more": Lie("joint", lambda p: cp_sat(p, bound=staticmethod(lambda b: b + 1))),
    "CP-SAT: the bound is nothing": Lie("joint", lambda p: cp_sat(p, bound=staticmethod(lambda _: 0.0))),
    "CP-SAT: feasible only": Lie("joint", lambda p: cp_sat(p, status=cp_model.FEASIBLE), harmless=True),
    "CP-SAT: unknown": Lie("joint", lambda p: cp_sat(p, status=cp_model.UNKNOWN), harmless=True),
    "CP-SAT: the worst solution is called optimal, its bound nothing": Lie(
        "joint", lambda p: cp_sat(p, worst=True, bound=staticmethod(lambda _: 0.0))
    ),
    "CP-SAT: values of variables are flipped": Lie("joint", lambda p: cp_sat(p, flips=Random(1))),
    "survey: floors twice what they are": Lie("enumeration", lambda p: survey(p, lambda t: t._replace(step_ns=t.step_ns * 2))),
    "survey: floors in another order": Lie("enumeration", lambda p: survey(p, shuffled)),
    "survey: no floors": Lie("enumeration", lambda p: survey(p, lambda t: t._replace(step_ns=t.step_ns * 0)), harmless=True),
    "survey: nothing fits": Lie("enumeration", lambda p: survey(p, lambda t: t._replace(fits=t.fits & False))),
    "survey: everything fits": Lie("enumeration", lambda p: survey(p, lambda t: t._replace(fits=t.fits | True)), harmless=True),
    "survey: what fits does not": Lie("enumeration", lambda p: survey(p, lambda t: t._replace(fits=~t.fits))),
    "floors twice what they are": Lie("enumeration", lambda p: lying_floors(p, 2)),
    "floors with the wrong sign": Lie("enumeration", lambda p: lying_floors(p, -1), harmless=True),
    "quick bounds twice what they are": Lie(
        "enumeration", lambda p: lying_bounds(p, lambda b: b if isinstance(b, str) else 2 * b, lambda s: s)
    ),
    "quick bounds refute everything": Lie("enumeration", lambda p: lying_bounds(p, lambda _: "memory", lambda s: s)),
    "exact bounds twice what they are": Lie("enumeration", lambda p: lying_bounds(p, lambda b: b, dearer)),
    "exact bounds refute everything": Lie("enumeration", lambda p: lying_bounds(p, lambda b: b, lambda _: "link")),
}


NEEDS_NEAR = {"CP-SAT: infeasible after two solutions"}
"""lies that do not touch a search for optimal strategies alone"""


def options(lie: Lie) -> Options:
    return Options(epsilon_ppm=EPSILON_PPM, effort=10_000, route=lie.route)


def assert_true(instance: Instance, claim: Claim) -> None:
    """The claim's certificate states nothing false, and its status nothing more."""
    answer = answer_of(instance)
    assert falsehood(certificate_of(instance, claim)) is None
    match claim.status:
        case Status.OPTIMAL:
            assert claim.bound == answer.value
            assert sorted(c.plan.strategy for c in claim.optimal) == list(answer.optimal)
        case Status.FEASIBLE:
            assert answer.value is not None
            assert claim.bound is not None
            assert claim.bound <= answer.value <= claim.optimal[0].value
        case Status.INFEASIBLE:
            assert answer.feasible == 0
        case Status.UNKNOWN:
            assert answer.value is None or claim.bound is None or claim.bound <= answer.value
    if claim.near_complete and claim.near_limit is not None:
        within = {s: v for s, v in answer.values.items() if v <= claim.near_limit}
        assert set(within) == {c.plan.strategy for c in (*claim.optimal, *claim.near)}


def judged(instance: Instance) -> Iterator[Plan]:
    """An optimal plan, a dearer one and one that breaks a rule; those there are."""
    answer = answer_of(instance)
    for s in answer.optimal[:1]:
        kept = (p for p in plans(instance, s) if not violations(instance, p))
        yield from islice(kept, 1)
        assert answer.value is not None
        yield from (plan for plan, _ in islice(dearer_plans(instance, s, answer.value), 1))
    others = (p for s, v in answer.values.items() if v != answer.value for p in plans(instance, s) if not violations(instance, p))
    yield from islice(others, 1)


def assert_true_verdict(instance: Instance, verdict: Verdict) -> None:
    answer, broken = answer_of(instance), violations(instance, verdict.plan)
    assert verdict.certificate is None or falsehood(verdict.certificate) is None
    match verdict.status:
        case "OPTIMAL":
            assert verdict.evaluation is not None
            assert (broken, verdict.evaluation.value) == ([], answer.value)
        case "NOT_OPTIMAL":
            assert verdict.evaluation is not None
            assert answer.value is not None
            assert verdict.evaluation.value > answer.value
        case "INFEASIBLE":
            assert broken


@pytest.mark.parametrize("name", LIES)
def test_a_search_that_is_lied_to_says_the_truth_or_that_its_verification_failed(name: str, monkeypatch: Patch) -> None:
    lie, became = LIES[name], Counter[str]()
    lie.apply(monkeypatch)
    for seed in SEEDS:
        instance = instance_of(seed)
        LyingSolver.calls = 0
        try:
            claim = find(instance, options(lie), quiet)
        except VerificationError:
            became["refused"] += 1
            continue
        assert_true(instance, claim)
        became["true"] += 1
    assert (became["refused"] == 0) if lie.harmless else became["refused"] > 0, became


@pytest.mark.parametrize("name", LIES)
def test_a_verdict_on_a_plan_by_a_search_that_is_lied_to_is_true_or_none(name: str, monkeypatch: Patch) -> None:
    lie, became = LIES[name], Counter[str]()
    cases = [(instance_of(seed), plan) for seed in SEEDS for plan in judged(instance_of(seed))]
    lie.apply(monkeypatch)
    for instance, plan in cases:
        s, stages, placement = plan
        stated = PlanFile(degrees=Degrees(**s.degrees()), order=s.order, stages=stages, placement=placement)
        LyingSolver.calls = 0
        try:
            verdict = judge(instance, stated, options(lie), quiet)
        except VerificationError:
            became["refused"] += 1
            continue
        assert_true_verdict(instance, verdict)
        became["true"] += 1
    assert (became["refused"] == 0) if lie.harmless or name in NEEDS_NEAR else became["refused"] > 0, became


@pytest.mark.parametrize("name", ["survey: nothing fits", "CP-SAT: infeasible at once"])
def test_the_command_line_prints_nothing_of_a_refused_answer(name: str, monkeypatch: Patch, tmp_path: Path) -> None:
    path, proof, out = tmp_path / "instance.json", tmp_path / "certificate.json", tmp_path / "out"
    path.write_text(instance_of(12).model_dump_json(), encoding="utf-8")
    LIES[name].apply(monkeypatch)
    args = ["search", path, "--quiet", "--route", LIES[name].route, "--certificate", proof, "--out", out, "--json"]
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "our own answer failed its verification" in result.stderr
    assert not proof.exists()
    assert not out.exists()


# Placements: duals, partitions, tables and improvement that lie.


def random_duals(rng: Random, master: Any) -> Duals:
    groups, options, classes = len(master.cover), len(master.cover[0]), len(master.caps)
    draw = lambda: rng.choice([0.0, 1e-9, rng.random(), rng.random() * 1e6, 1e18])  # noqa: E731
    values = tuple(tuple(draw() for _ in range(options)) for _ in range(groups))
    return Duals(rng.choice([0.0, 0.5, 7.0]), values, tuple(draw() for _ in range(classes)))


def lying_duals(patch: Patch) -> None:
    rng = Random(5)

    def solve(self: Any) -> Duals | None:
        return random_duals(rng, self) if rng.random() < 0.9 else None

    patch.setattr(optimizer.encoding.master.Master, "solve", solve)
    patch.setattr(optimizer.encoding.master.Master, "used", lambda self: [(c, rng.random()) for c in self.columns if rng.random() < 0.5])


def scaled_duals(patch: Patch, factor: float) -> None:
    honest = optimizer.encoding.master.Master.solve

    def solve(self: Any) -> Duals | None:
        found = honest(self)
        return None if found is None else Duals(found.uncovered * factor, found.values, tuple(cap * factor for cap in found.caps))

    patch.setattr(optimizer.encoding.master.Master, "solve", solve)


def lying_partition(patch: Patch) -> None:
    rng = Random(6)

    def partition(demand: Any, columns: list[Column], *_: Any) -> Any:
        chosen = tuple(rng.choice(columns) for _ in range(sum(demand.ranks))) if columns else ()
        counts = tuple((n, *[0] * (demand.options - 1)) for n in demand.groups)
        return optimizer.encoding.master.Partition(chosen, counts)

    patch.setattr(optimizer.placing.rounding, "partition", partition)


def lying_elastic(patch: Patch) -> None:
    rng = Random(7)

    def solve(self: Any) -> Any:
        point = [rng.choice([0.0, 1.0, rng.random()]) for _ in self.variables]
        return rng.choice([0.0, 1.0]), point, [rng.uniform(-1, 1) for _ in self.rows]

    patch.setattr(optimizer.encoding.elastic.Elastic, "solve", solve)


def worth_less(patch: Patch) -> None:
    honest = optimizer.placing.prices.Pricing.worth
    patch.setattr(optimizer.placing.prices.Pricing, "worth", lambda self: tuple(w / 2 for w in honest(self)))


def worst_placement(patch: Patch) -> None:
    """The heaviest experts together, and said to be the result of improvement."""

    def improve(loads: tuple[int, ...], ranks: int, *_: Any) -> tuple[tuple[int, ...], ...]:
        order, slots = sorted(range(len(loads)), key=lambda e: -loads[e]), len(loads) // ranks
        return tuple(tuple(sorted(order[r * slots : (r + 1) * slots])) for r in range(ranks))

    patch.setattr(optimizer.placing.solve, "improve", improve)
    patch.setattr(optimizer.completion, "place", lambda loads, ranks: improve(loads, ranks))


PLACEMENT_LIES: dict[str, Callable[[Patch], None]] = {
    "duals at random": lying_duals,
    "duals that see no gap": lambda p: scaled_duals(p, 0.0),
    "duals ten times as large": lambda p: scaled_duals(p, 10.0),
    "partitions at random": lying_partition,
    "elastic programs at random": lying_elastic,
    "contents worth half of what they are": worth_less,
    "the worst placement for a good one": worst_placement,
}

PROBLEMS = (
    problem((5, 12, 12, 12), RankClass(ranks=2, slots=4)),
    problem((9, 5, 5, 5, 1, 1), RankClass(ranks=2, slots=3)),
    problem((4, 12, 7, 1), RankClass(ranks=2, slots=2), RankClass(ranks=2, slots=1), replicas=2),
    problem((6, 3, 4, 2), RankClass(ranks=2, slots=4, memory=7), sizes=(6, 1, 6, 3)),
    problem((5, 2, 6, 6, 9, 10), RankClass(ranks=1, slots=2), RankClass(ranks=2, slots=5, memory=15), sizes=(6, 5, 0, 3, 0, 2)),
    problem((11, 3), RankClass(ranks=1, slots=2, speed=2, memory=5), RankClass(ranks=1, slots=1), replicas=2, sizes=(6, 5)),
    problem((58, 57, 52, 51, 50, 45, 42, 28), RankClass(ranks=3, slots=8, memory=14), sizes=(5, 3, 6, 4, 5, 6, 3, 7)),
)


@pytest.mark.parametrize("name", PLACEMENT_LIES)
def test_bounds_and_values_of_placements_stay_true(name: str, monkeypatch: Patch) -> None:
    PLACEMENT_LIES[name](monkeypatch)
    for p in PROBLEMS:
        found = solve_placement(p, 60)
        assert found.bound >= closed_bound(p)
        assert not attainable(p, found.bound - 1)
        assert found.value is None or attainable(p, found.value)


@pytest.mark.parametrize("name", PLACEMENT_LIES)
def test_searches_with_large_layers_stay_true(name: str, monkeypatch: Patch) -> None:
    with large_layers():
        PLACEMENT_LIES[name](monkeypatch)
        for seed in LARGE:
            assert_true(instance_of(seed), find(instance_of(seed), Options(epsilon_ppm=EPSILON_PPM), quiet))


def claims_more(patch: Patch) -> None:
    honest = solve_placement
    patch.setattr(optimizer.placing.solve, "solve_placement", lambda *args: (lambda p: p._replace(bound=p.bound + 1))(honest(*args)))


def argues_nothing(patch: Patch) -> None:
    """An argument that the prover says the checker took."""
    patch.setattr(optimizer.placing.solve, "accepted", lambda *_: True)
    patch.setattr(optimizer.placing.prices, "accepted", lambda *_: True)
    worth_less(patch)


@pytest.mark.parametrize("lie", [claims_more, argues_nothing], ids=lambda f: f.__name__)
def test_a_false_argument_is_not_printed(lie: Callable[[Patch], None], monkeypatch: Patch) -> None:
    refused = 0
    with large_layers():
        lie(monkeypatch)
        for seed in (*LARGE, 98, 194):
            try:
                claim = find(instance_of(seed), Options(epsilon_ppm=EPSILON_PPM), quiet)
            except VerificationError:
                refused += 1
                continue
            assert_true(instance_of(seed), claim)
    assert refused >= 2


def test_the_lies_are_told_of_instances_of_every_kind() -> None:
    answers = [answer_of(instance_of(seed)) for seed in SEEDS]
    assert any(a.feasible == 0 for a in answers)
    assert any(len(a.optimal) > 1 for a in answers)
    assert any(0 < a.feasible < a.strategies for a in answers)
