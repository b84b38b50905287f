"""Two more solvers on small placement problems: their verdicts agree with exhaustive search and with our arguments,
and our own checkers accept their proofs for what is true, and for nothing else.

Needs the extra `second-solver`; the tests of the checkers themselves (`test_proof_checkers.py`) do not.
"""

import random
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
from drcp_checker import LogRefused, check_log
from hypothesis import given, settings
from hypothesis import strategies as st
from opb_checker import ProofRefused, check_formula, check_proof
from placement_rows import Placement, Row, copy, heaviest_first, is_attainable, least_threshold, placement_rows, placement_value

from models.arguments import Argument, Branch, Budget, refute
from models.assignment import system
from models.packing import Problem, RankClass, Refused, closed_bound
from optimizer.placing.solve import solve_placement

EFFORT = 1_000
REASON = "the optional second solvers are not installed: pip install 'shardproof[second-solver]'"


def problem(loads: tuple[int, ...], *classes: RankClass, replicas: int = 1, sizes: tuple[int, ...] | None = None) -> Problem:
    return Problem(loads=loads, classes=classes, replicas=replicas, sizes=sizes)


LOOSE = (58, 57, 56, 52, 51, 50, 45, 42, 28)
EIGHT = (58, 57, 52, 51, 50, 45, 42, 28)
PROBLEMS = {
    "9 experts on 4 ranks": problem(LOOSE, RankClass(ranks=4, slots=9)),
    "9 experts on 3 ranks of 3 slots": problem(LOOSE, RankClass(ranks=3, slots=3)),
    "8 experts on 4 ranks of 2 slots": problem(EIGHT, RankClass(ranks=4, slots=2)),
    "12 experts on 5 ranks": problem((57, 57, 56, 54, 50, 42, 39, 34, 33, 32, 30, 27), RankClass(ranks=5, slots=12)),
    "12 experts on 4 ranks of 3 slots": problem((58, 58, 57, 56, 52, 51, 50, 48, 45, 42, 39, 28), RankClass(ranks=4, slots=3)),
    "memory": problem(EIGHT, RankClass(ranks=3, slots=8, memory=14), sizes=(5, 3, 6, 4, 5, 6, 3, 7)),
    "2 replicas": problem((50, 23, 21, 16, 9), RankClass(ranks=4, slots=2), replicas=2),
    "two speeds": problem(EIGHT, RankClass(ranks=2, slots=3, speed=3), RankClass(ranks=2, slots=2, speed=2)),
}
OPTIMUM = {name: least_threshold(p) for name, p in PROBLEMS.items()}


class Answer(NamedTuple):
    """What a solver said, and the log it wrote."""

    values: dict[str, int] | None
    """of the variables; None where it says that there is no solution"""
    log: str
    formula: str | None


def variables(rows: list[Row]) -> list[str]:
    """In the order of first appearance."""
    return list(dict.fromkeys(v for row in rows for v, _ in row.terms))


def ask_pumpkin(rows: list[Row], folder: Path) -> Answer:
    pumpkin_solver = pytest.importorskip("pumpkin_solver", reason=REASON)
    constraints = pytest.importorskip("pumpkin_solver.constraints", reason=REASON)
    model = pumpkin_solver.Model(proof=str(folder / "log.drcp"))
    booleans = {name: model.new_boolean_variable(name=name) for name in variables(rows)}
    for row in rows:
        kind = constraints.Equals if row.equal else constraints.LessThanOrEquals
        terms = [booleans[v].as_integer().scaled(a) for v, a in row.terms if a]  # a zero makes it abort the process
        model.add_constraint(kind(terms, row.right, model.new_constraint_tag()))
    values: dict[str, int] | None = None
    match model.satisfy():
        case pumpkin_solver.SatisfactionResult.Satisfiable(solution):
            values = {name: int(solution.bool_value(b)) for name, b in booleans.items()}
        case pumpkin_solver.SatisfactionResult.Unsatisfiable():
            pass
        case other:
            raise AssertionError(f"no verdict: {other}")
    del model  # closes the log
    return Answer(values, (folder / "log.drcp").read_text(), None)


def ask_exact(rows: list[Row], folder: Path) -> Answer:
    exact = pytest.importorskip("exact", reason=REASON)
    solver = exact.Exact([("proof-log", str(folder / "log"))])
    names = variables(rows)
    for name in names:
        solver.addVariable(name)
    for row in rows:
        solver.addConstraint([(a, v) for v, a in row.terms], row.equal, row.right if row.equal else 0, True, row.right)
    verdict = solver.runFull(False)
    assert verdict in ("SAT", "UNSAT")
    values = dict(zip(names, solver.getLastSolutionFor(names), strict=True)) if verdict == "SAT" else None
    del solver  # closes the log
    return Answer(values, (folder / "log.proof").read_text(), (folder / "log.formula").read_text())


class Route(NamedTuple):
    """A solver, and our checker of its logs."""

    ask: Callable[[list[Row], Path], Answer]
    check: Callable[[list[Row], str], None]


ROUTES = {"pumpkin": Route(ask_pumpkin, check_log), "exact": Route(ask_exact, check_proof)}
each_problem = pytest.mark.parametrize("name", PROBLEMS)
each_route = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)


def accepts(route: Route, rows: list[Row], log: str) -> bool:
    try:
        route.check(rows, log)
    except (LogRefused, ProofRefused):
        return False
    return True


def placement(p: Problem, values: dict[str, int]) -> Placement:
    counts = range(1, p.replicas + 1)
    return tuple(tuple(e for e in range(len(p.loads)) if any(values[copy(e, r, j)] for r in counts)) for j in range(p.ranks))


@each_problem
@each_route
def test_a_second_solver_proves_that_nothing_is_below_the_optimum(name: str, route: Route, tmp_path: Path) -> None:
    below = placement_rows(PROBLEMS[name], OPTIMUM[name] - 1)
    answer = route.ask(below, tmp_path)
    assert answer.values is None
    route.check(below, answer.log)
    if answer.formula is not None:
        check_formula(below, answer.formula)
        assert len(answer.formula.splitlines()) == 2 + sum(1 + row.equal for row in below)


@each_problem
@each_route
def test_that_proof_does_not_pass_for_the_optimum_itself(name: str, route: Route, tmp_path: Path) -> None:
    p, optimum = PROBLEMS[name], OPTIMUM[name]
    at = placement_rows(p, optimum)
    answer = route.ask(placement_rows(p, optimum - 1), tmp_path)
    assert not accepts(route, at, answer.log)
    if answer.formula is not None:
        with pytest.raises(ProofRefused, match="not that of the rows"):
            check_formula(at, answer.formula)


@each_problem
@each_route
def test_at_the_optimum_a_second_solver_finds_a_placement_of_that_value(name: str, route: Route, tmp_path: Path) -> None:
    answer = route.ask(placement_rows(PROBLEMS[name], OPTIMUM[name]), tmp_path)
    assert answer.values is not None
    assert placement_value(PROBLEMS[name], placement(PROBLEMS[name], answer.values)) == OPTIMUM[name]


class Tree:
    """A Branch argument by going through the placements, heaviest expert first; a leaf is the row that breaks."""

    def __init__(self, p: Problem, threshold: int) -> None:
        self.p, self.order = p, heaviest_first(p)
        self.rows, self.upper = system(p, threshold)
        self.rows_of: dict[int, list[int]] = {}
        for number, row in enumerate(self.rows):
            for v, _ in row.terms:
                self.rows_of.setdefault(v, []).append(number)
        self.sums = [0] * len(self.rows)
        self.nodes: list[int | tuple[tuple[int, int], ...]] = []
        self.grow(0, 0)

    def grow(self, depth: int, at: int) -> None:
        """Decide on variable number `at` and the later ones of the expert number `depth`, then on the other experts."""
        e, size = self.order[depth], self.p.replicas * self.p.ranks
        if at == size:
            self.nodes.append(((e, -1),))
            return
        v = e * size + at
        if not self.upper[v]:
            self.grow(depth, at + 1)
            return
        self.nodes.append(v)
        self.grow(depth, at + 1)
        self.add(v, 1)
        broken = next((r for r in self.rows_of[v] if self.sums[r] > self.rows[r].right), None)
        if broken is not None:
            self.nodes.append(((broken, 1),))
        elif self.sums[e] == self.rows[e].right:
            self.grow(depth + 1, 0)  # out of range where the threshold can be kept
        else:
            self.grow(depth, at + 1)
        self.add(v, -1)

    def add(self, v: int, sign: int) -> None:
        for r in self.rows_of[v]:
            self.sums[r] += sign * dict(self.rows[r].terms)[v]


def assert_refutes_only_below(p: Problem, optimum: int, argument: Argument) -> None:
    refute(p, optimum - 1, argument, Budget())
    with pytest.raises(Refused):
        refute(p, optimum, argument, Budget())


@each_problem
def test_a_branch_tree_refutes_what_the_second_solvers_refute_and_no_more(name: str) -> None:
    p, optimum = PROBLEMS[name], OPTIMUM[name]
    assert_refutes_only_below(p, optimum, Branch(kind="branch", nodes=tuple(Tree(p, optimum - 1).nodes)))


@each_problem
def test_our_prover_and_the_second_solvers_agree_on_the_optimum(name: str) -> None:
    p, optimum = PROBLEMS[name], OPTIMUM[name]
    placed = solve_placement(p, EFFORT)
    assert placed.value == placed.bound == optimum
    assert placed.contents is not None
    assert placement_value(p, placed.contents) == optimum
    if placed.argument is None:
        assert closed_bound(p) == optimum
    else:
        assert_refutes_only_below(p, optimum, placed.argument)


def random_problem(seed: int) -> Problem:
    """With a placement and a positive optimum; sometimes with replicas, memory, speeds, experts without load."""
    rng = random.Random(seed)
    while True:
        replicas = rng.choice((1, 1, 2, 3))
        n, ranks = rng.randint(3, 9 if replicas == 1 else 5), rng.randint(2, 4)
        slots = rng.randint(-(-n // ranks), n)
        memory = rng.choice((None, rng.randint(8, 25)))
        p = problem(
            tuple(rng.choice((rng.randint(0, 9), rng.randint(20, 60))) for _ in range(n)),
            RankClass(ranks=ranks - 1, slots=slots, speed=rng.randint(1, 3), memory=memory),
            RankClass(ranks=1, slots=slots, speed=rng.randint(1, 2)),
            replicas=replicas,
            sizes=None if memory is None else tuple(rng.randint(0, 9) for _ in range(n)),
        )
        if not is_attainable(p, 0) and is_attainable(p, sum(p.loads)):
            return p


@each_route
@pytest.mark.parametrize("seed", range(25))
def test_random_problems_are_decided_alike_on_both_sides_of_the_optimum(seed: int, route: Route, tmp_path: Path) -> None:
    p = random_problem(seed)
    optimum = least_threshold(p)
    below = placement_rows(p, optimum - 1)
    refuted = route.ask(below, tmp_path)
    assert refuted.values is None
    route.check(below, refuted.log)
    if refuted.formula is not None:
        check_formula(below, refuted.formula)
    found = route.ask(placement_rows(p, optimum), tmp_path)
    assert found.values is not None
    assert placement_value(p, placement(p, found.values)) == optimum


def mutants(log: str, each: int) -> Iterator[str]:
    """Logs with one line dropped, and with one number off by one."""
    rng = random.Random(1)
    lines = log.splitlines()
    for at in rng.sample(range(len(lines)), each):
        yield "\n".join(lines[:at] + lines[at + 1 :])
    numbers = list(re.finditer(r"(?<![\w.])[0-9]+(?![\w.])", log))
    for match in rng.sample(numbers, each):
        yield f"{log[: match.start()]}{int(match[0]) + rng.choice((-1, 1))}{log[match.end() :]}"


@pytest.mark.parametrize("name", ["8 experts on 4 ranks of 2 slots", "memory", "2 replicas"])
@each_route
def test_most_changes_to_a_log_are_refused_and_none_makes_it_prove_a_falsehood(name: str, route: Route, tmp_path: Path) -> None:
    p, optimum = PROBLEMS[name], OPTIMUM[name]
    below, at = placement_rows(p, optimum - 1), placement_rows(p, optimum)
    changed = list(mutants(route.ask(below, tmp_path).log, 40))
    assert sum(accepts(route, below, log) for log in changed) < len(changed) / 3
    assert not any(accepts(route, at, log) for log in changed)


TINY = st.builds(
    problem,
    st.lists(st.integers(0, 9), min_size=3, max_size=3).map(tuple),
    st.sampled_from([RankClass(ranks=2, slots=2), RankClass(ranks=2, slots=3, memory=5), RankClass(ranks=1, slots=2, speed=2)]),
    st.sampled_from([RankClass(ranks=1, slots=2, memory=4), RankClass(ranks=1, slots=1)]),
    sizes=st.lists(st.integers(0, 3), min_size=3, max_size=3).map(tuple),
)
PAIR = st.builds(problem, st.tuples(st.integers(0, 9), st.integers(0, 9)), st.just(RankClass(ranks=2, slots=2)), replicas=st.just(2))


def best(p: Problem) -> int | None:
    """The least value over all ways to choose a set of ranks for each expert; None where none is allowed."""
    sets = [s for s in product((0, 1), repeat=p.ranks) if any(s)]
    values = []
    for chosen in product(sets, repeat=len(p.loads)):
        try:
            values.append(placement_value(p, tuple(tuple(e for e, s in enumerate(chosen) if s[j]) for j in range(p.ranks))))
        except ValueError:
            continue
    return min(values, default=None)


@settings(max_examples=40, deadline=None)
@given(st.one_of(TINY, PAIR))
def test_the_rows_have_a_solution_from_the_optimum_on(p: Problem) -> None:
    optimum = best(p)
    if optimum is not None:
        assert least_threshold(p) == optimum
    for threshold in (0, 6, 12, 27) if optimum is None else (optimum - 1, optimum, optimum + 1):
        rows = placement_rows(p, threshold)
        assert any(solves(point, rows) for point in points(rows)) == (optimum is not None and threshold >= optimum)


def points(rows: list[Row]) -> Iterator[dict[str, int]]:
    names = variables(rows)
    for values in product((0, 1), repeat=len(names)):
        yield dict(zip(names, values, strict=True))


def solves(point: dict[str, int], rows: list[Row]) -> bool:
    sums = [sum(a * point[v] for v, a in row.terms) for row in rows]
    return all(total == row.right if row.equal else total <= row.right for total, row in zip(sums, rows, strict=True))
