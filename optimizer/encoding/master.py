"""The restricted master over generated contents: its linear relaxation (GLOP), and a partition by it (CP-SAT)."""

from collections import Counter
from typing import NamedTuple

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]
from ortools.sat.python import cp_model

from optimizer.encoding.guard import guard

Use = tuple[int, int]
"""(kind, option): a group of some kind, its experts with option + 1 replicas"""


class Column(NamedTuple):
    """A content that ranks of class `rank_class` may hold."""

    rank_class: int
    uses: tuple[Use, ...]


class Demand(NamedTuple):
    """What is to be covered, by what."""

    groups: tuple[int, ...]
    """groups of each kind"""
    options: int
    ranks: tuple[int, ...]
    """ranks of each class"""
    full: bool


class Duals(NamedTuple):
    """The dual solution of the relaxation."""

    uncovered: float
    """groups left uncovered; above 0, the columns do not suffice"""
    values: tuple[tuple[float, ...], ...]
    """of each kind and option"""
    caps: tuple[float, ...]
    """of each class"""


class Master:
    """min sum_k u_k with  u_k + sum_r z_kr >= groups_k,  sum_c a_krc x_c >= r z_kr,  sum of x of class g <= ranks_g.

    u_k: groups of kind k left uncovered. z_kr: groups with r replicas. x_c: ranks with content c,
    which holds a_krc replicas of groups of kind k with r replicas. All >= 0.
    """

    def __init__(self, demand: Demand) -> None:
        solver = pywraplp.Solver.CreateSolver("GLOP")
        self.solver, self.columns, self.known = solver, list[Column](), set[Column]()
        self.supply, self.cover = [], []
        infinity = solver.infinity()
        for groups in demand.groups:
            supply = solver.Constraint(float(groups), infinity)
            u = solver.NumVar(0.0, infinity, "")
            supply.SetCoefficient(u, 1.0)
            solver.Objective().SetCoefficient(u, 1.0)
            self.supply.append(supply)
            covers = []
            for option in range(demand.options):
                cover = solver.Constraint(0.0, infinity)
                z = solver.NumVar(0.0, infinity, "")
                supply.SetCoefficient(z, 1.0)
                cover.SetCoefficient(z, -float(option + 1))
                covers.append(cover)
            self.cover.append(covers)
        self.caps = [solver.Constraint(-float(ranks), infinity) for ranks in demand.ranks]
        self.variables: list[pywraplp.Variable] = []
        solver.Objective().SetMinimization()

    def add(self, column: Column) -> bool:
        """Offer one more content; False where it was offered before."""
        if column in self.known:
            return False
        x = self.solver.NumVar(0.0, self.solver.infinity(), "")
        for (kind, option), count in Counter(column.uses).items():
            self.cover[kind][option].SetCoefficient(x, float(count))
        self.caps[column.rank_class].SetCoefficient(x, -1.0)
        self.known.add(column)
        self.columns.append(column)
        self.variables.append(x)
        return True

    def solve(self) -> Duals | None:
        """The optimum over the columns so far; None where GLOP reports none."""
        if self.solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        values = tuple(tuple(max(0.0, row.dual_value()) for row in covers) for covers in self.cover)
        caps = tuple(max(0.0, row.dual_value()) for row in self.caps)
        return Duals(self.solver.Objective().Value(), values, caps)

    def used(self) -> list[tuple[Column, float]]:
        """Columns with a positive number of ranks in the optimum."""
        return [(c, x.solution_value()) for c, x in zip(self.columns, self.variables, strict=True) if x.solution_value() > 1e-9]


class Partition(NamedTuple):
    """Contents for all ranks that together cover every group."""

    columns: tuple[Column, ...]
    """one per rank; empty contents left out"""
    replicated: tuple[tuple[int, ...], ...]
    """of each kind, how many groups have option + 1 replicas"""


def partition(demand: Demand, columns: list[Column], effort: float, seed: int = 0) -> Partition | None:
    """A choice among the columns that covers every group, some perhaps too often; None where none is found.

    `effort` is CP-SAT's deterministic time.
    """
    model = cp_model.CpModel()
    ranks = [model.new_int_var(0, demand.ranks[c.rank_class], f"ranks[{i}]") for i, c in enumerate(columns)]
    for g, count in enumerate(demand.ranks):
        members = [x for x, c in zip(ranks, columns, strict=True) if c.rank_class == g]
        model.add(cp_model.LinearExpr.sum(members) <= count)
    holds: dict[Use, list[tuple[int, int]]] = {}
    for i, c in enumerate(columns):
        for use, count in Counter(c.uses).items():
            holds.setdefault(use, []).append((i, count))
    replicated = [
        [model.new_int_var(0, n, f"groups[{k},{option}]") for option in range(demand.options)] for k, n in enumerate(demand.groups)
    ]
    for kind, (groups, choice) in enumerate(zip(demand.groups, replicated, strict=True)):
        model.add(cp_model.LinearExpr.sum(choice) == groups)
        for option, z in enumerate(choice):
            held = holds.get((kind, option), [])
            covered = cp_model.LinearExpr.weighted_sum([ranks[i] for i, _ in held], [n for _, n in held])
            model.add(covered == (option + 1) * z if demand.full else covered >= (option + 1) * z)
    guard(model)
    solver = cp_model.CpSolver()
    p = solver.parameters
    p.num_workers, p.random_seed, p.max_deterministic_time, p.presolve_inclusion_work_limit = 1, seed, effort, 0
    status = solver.solve(model)
    assert status != cp_model.MODEL_INVALID, "the partition model is built wrongly"
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    chosen = tuple(c for c, x in zip(columns, ranks, strict=True) for _ in range(solver.value(x)))
    return Partition(chosen, tuple(tuple(solver.value(z) for z in choice) for choice in replicated))
