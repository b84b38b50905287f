"""Ranks of two slots as a linear program (GLOP): the fewest slots with which no rank exceeds a threshold.

A replica larger than half the threshold needs a partner of at most the rest. Replicas can be paired iff, for
every size t above the half, as many replicas as are at least t have partners of at most 1 - t (Hall). In the
order of falling t these are prefix sums, chained so that every column has one entry.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]

ANY = 1 << 30  # more replicas than any expert has
WARM = "use_preprocessing: false use_dual_simplex: true"  # each solution starts from the last
FILLER_COST = 30.0  # of an empty partner, in slots: keeps the program feasible


class Relaxed(NamedTuple):
    """A solution: slots, the mean number of replicas of each expert, and the value of the prefix rows."""

    slots: float
    uses: dict[int, list[tuple[int, float]]]
    """expert -> (replicas, share) with share above 0"""
    rises: list[tuple[int, int, bool, float]]
    """(expert, replicas, larger than the half, dual of the prefix that ends there)"""


class _Event(NamedTuple):
    """Where a number of replicas of an expert enters the prefix sums; they sort in the order of the chain."""

    falling: float
    """minus the size of a large one, minus the largest partner of a small one"""
    large: bool
    expert: int
    replicas: int


class Pairing:
    """min sum c * z[e, c]: z[e, c] = 1 iff expert e has c replicas, of size loads[e] / c; sizes are relative to the threshold."""

    def __init__(self, sizes: Sequence[float], options: Sequence[Iterable[int]]) -> None:
        self.sizes, self.solver = sizes, pywraplp.Solver.CreateSolver("GLOP")
        self.solver.SetSolverSpecificParametersAsString(WARM)
        self.infinity = self.solver.infinity()
        self.objective = self.solver.Objective()
        self.objective.SetMinimization()
        self.ones = [self.solver.Constraint(1.0, 1.0) for _ in sizes]
        self.columns: dict[tuple[int, int], pywraplp.Variable] = {}
        self.allowed = [(0, ANY)] * len(sizes)
        empty = self.solver.NumVar(0.0, self.infinity, "")
        self.objective.SetCoefficient(empty, FILLER_COST)
        self.events: list[_Event] = []
        self.rows: list[tuple[pywraplp.Constraint, pywraplp.Variable]] = []
        row, self.start = self.solver.Constraint(0.0, 0.0), self.solver.NumVar(-self.infinity, 0.0, "")
        row.SetCoefficient(self.start, 1.0)
        row.SetCoefficient(empty, 1.0)
        for e, of_expert in enumerate(options):
            for c in of_expert:
                self.add(e, c)

    def add(self, e: int, c: int) -> None:
        """A column for c replicas of expert e, with a row of its own in the chain; nothing where there is one."""
        if (e, c) in self.columns:
            return
        column = self.columns[e, c] = self.solver.NumVar(0.0, self.infinity if self._admits(e, c) else 0.0, "")
        self.ones[e].SetCoefficient(column, 1.0)
        self.objective.SetCoefficient(column, float(c))
        size, large = self.sizes[e] / c, 2 * self.sizes[e] > c
        event = _Event(-size if large else size - 1, large, e, c)
        at = bisect_left(self.events, event)
        prefix, row = self.solver.NumVar(-self.infinity, 0.0, ""), self.solver.Constraint(0.0, 0.0)
        before = self.rows[at - 1][1] if at else self.start
        row.SetCoefficient(prefix, 1.0)
        row.SetCoefficient(before, -1.0)
        row.SetCoefficient(column, float(-c if large else c))
        if at < len(self.rows):
            self.rows[at][0].SetCoefficient(before, 0.0)
            self.rows[at][0].SetCoefficient(prefix, -1.0)
        self.events.insert(at, event)
        self.rows.insert(at, (row, prefix))

    def _admits(self, e: int, c: int) -> bool:
        low, high = self.allowed[e]
        return low <= c <= high

    def solve(self, bounds: dict[int, tuple[int, int]]) -> Relaxed | None:
        """With least and most replicas of some experts; None where GLOP reports no optimum."""
        changed = {e for e, allowed in enumerate(self.allowed) if allowed != bounds.get(e, (0, ANY))}
        for e in changed:
            self.allowed[e] = bounds.get(e, (0, ANY))
        for (e, c), column in self.columns.items():
            if e in changed:
                column.SetUb(self.infinity if self._admits(e, c) else 0.0)
        if self.solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        uses: dict[int, list[tuple[int, float]]] = {}
        for (e, c), column in self.columns.items():
            if (share := column.solution_value()) > 1e-9:
                uses.setdefault(e, []).append((c, share))
        rises = [(v.expert, v.replicas, v.large, row.dual_value()) for v, (row, _) in zip(self.events, self.rows, strict=True)]
        return Relaxed(self.solver.Objective().Value(), uses, rises)
