"""A placement problem as one CP-SAT model: every expert's ranks, the largest load. The baseline, and the fallback for small ones."""

from math import lcm
from typing import NamedTuple

from ortools.sat.python import cp_model

from models.arguments import Problem
from models.strategy import RankContents
from optimizer.encoding.guard import UnsafeModel, guard


class Answer(NamedTuple):
    """What CP-SAT says; nothing of it is checked."""

    contents: RankContents | None
    bound: int


def solve_makespan(problem: Problem, hint: RankContents | None, deterministic: float, seconds: float | None, workers: int) -> Answer | None:
    """Minimise the largest load; None where the loads are too large for a row.

    x[e, r, j] is 1 iff expert e has r + 1 replicas, one of them on rank j.
    sum_r z[e, r] = 1;  sum_j x[e, r, j] = (r + 1) z[e, r];  slots and memory per rank;
    sum_{e, r} M / (r + 1) load_e x[e, r, j] <= M speed_j T.  Equal ranks are numbered by first use,
    heaviest expert first.
    """
    model = cp_model.CpModel()
    n, ranks, unit = len(problem.loads), [c for c in problem.classes for _ in range(c.ranks)], lcm(*range(1, problem.replicas + 1))
    x = {(e, r, j): model.new_bool_var(f"x[{e},{r},{j}]") for e in range(n) for r in range(problem.replicas) for j in range(len(ranks))}
    top = model.new_int_var(0, sum(problem.loads), "T")
    for e in range(n):
        z = [model.new_bool_var(f"z[{e},{r}]") for r in range(problem.replicas)]
        model.add_exactly_one(z)
        for r, chosen in enumerate(z):
            model.add(cp_model.LinearExpr.sum([x[e, r, j] for j in range(len(ranks))]) == (r + 1) * chosen)
    for j, c in enumerate(ranks):
        held = [(e, r) for e in range(n) for r in range(problem.replicas)]
        literals = [x[e, r, j] for e, r in held]
        slots = cp_model.LinearExpr.sum(literals)
        model.add(slots == c.slots if problem.full else slots <= c.slots)
        loads = [unit // (r + 1) * problem.loads[e] for e, r in held]
        model.add(cp_model.LinearExpr.weighted_sum(literals, loads) <= unit * c.speed * top)
        if c.memory is not None and problem.sizes is not None:
            model.add(cp_model.LinearExpr.weighted_sum(literals, [problem.sizes[e] for e, _ in held]) <= c.memory)
    _number_by_first_use(model, problem, x)
    if hint is not None:
        count = [sum(e in rank for rank in hint) for e in range(n)]
        for (e, r, j), literal in x.items():
            model.add_hint(literal, int(e in hint[j] and count[e] == r + 1))
    model.minimize(top)
    try:
        guard(model)
    except UnsafeModel:
        return None
    solver = cp_model.CpSolver()
    p = solver.parameters
    p.num_workers, p.interleave_search, p.max_deterministic_time, p.presolve_inclusion_work_limit = workers, workers > 1, deterministic, 0
    if seconds is not None:
        p.max_time_in_seconds, p.interleave_search = seconds, False
    status = solver.solve(model)
    assert status != cp_model.MODEL_INVALID, "the makespan model is built wrongly"
    bound = max(0, round(solver.best_objective_bound)) if status != cp_model.UNKNOWN else 0
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Answer(None, bound)
    contents = tuple(
        tuple(e for e in range(n) if any(solver.boolean_value(x[e, r, j]) for r in range(problem.replicas))) for j in range(len(ranks))
    )
    return Answer(contents, bound)


def _number_by_first_use(model: cp_model.CpModel, problem: Problem, x: dict[tuple[int, int, int], cp_model.IntVar]) -> None:
    """The i-th heaviest expert lies on the first (i + 1) * replicas ranks of each class."""
    order = sorted(range(len(problem.loads)), key=lambda e: (-problem.loads[e], e))
    first = 0
    for c in problem.classes:
        for i, e in enumerate(order):
            for j in range(first + (i + 1) * problem.replicas, first + c.ranks):
                for r in range(problem.replicas):
                    model.add(x[e, r, j] == 0)
        first += c.ranks
