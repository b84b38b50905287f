"""The rows of a placement problem as an elastic linear program (GLOP): how far they are from holding, and why."""

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]

from models.assignment import Row


class Elastic:
    """min sum of violations of the rows, over a box that `fix` narrows; each row scaled to a largest coefficient of 1."""

    def __init__(self, rows: list[Row], upper: list[int]) -> None:
        self.solver = pywraplp.Solver.CreateSolver("GLOP")
        infinity = self.solver.infinity()
        self.upper, self.rows, self.scales = upper, list[pywraplp.Constraint](), list[int]()
        self.variables = [self.solver.NumVar(0.0, float(most), "") for most in upper]
        for row in rows:
            scale = max([abs(c) for _, c in row.terms] + [1])
            constraint = self.solver.Constraint(row.right / scale if row.equality else -infinity, row.right / scale)
            for variable, coefficient in row.terms:
                constraint.SetCoefficient(self.variables[variable], coefficient / scale)
            for sign in (1.0, -1.0) if row.equality else (-1.0,):
                slack = self.solver.NumVar(0.0, infinity, "")
                constraint.SetCoefficient(slack, sign)
                self.solver.Objective().SetCoefficient(slack, 1.0)
            self.rows.append(constraint)
            self.scales.append(scale)
        self.solver.Objective().SetMinimization()

    def fix(self, variable: int, value: int | None) -> None:
        """Bound a variable to one value; None frees it."""
        low, high = (0, self.upper[variable]) if value is None else (value, value)
        self.variables[variable].SetBounds(float(low), float(high))

    def solve(self) -> tuple[float, list[float], list[float]] | None:
        """The least violation, the point, and multipliers >= 0 of rows <= that show it; None where GLOP reports no optimum."""
        if self.solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        point = [x.solution_value() for x in self.variables]
        return self.solver.Objective().Value(), point, [-row.dual_value() / s for row, s in zip(self.rows, self.scales, strict=True)]
