"""Replicas per expert and node: the largest node load, homes kept. As a linear program, with its prices (GLOP).

T[e, t] is 1 iff expert e has t replicas, y[e, t, n] how many of them lie on node n:

    sum_t T[e, t] = 1;  sum_n y[e, t, n] = t T[e, t];  y[e, t, home] >= T[e, t];  y[e, t, n] <= per_node T[e, t]
    all slots of every node are filled: sum y[., ., n] = per_node * slots
    load of node n: sum share_e / t y[e, t, n] <= theta;  off home: sum over n != home of share_e / t y <= limit
"""

from typing import NamedTuple

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]


class NodeLevel(NamedTuple):
    """What is decided; a share is a part of the workload's total."""

    shares: tuple[tuple[float, ...], ...]
    """[workload][expert]"""
    homes: tuple[int, ...]
    nodes: int
    per_node: int
    slots: int
    options: tuple[tuple[int, ...], ...]
    """numbers of replicas that each expert may have"""
    off_home: float | None
    """largest share off home"""


class NodePrices(NamedTuple):
    """The optimum of the linear program and its duals: of a node's load, of its slots, of load off home."""

    theta: float
    load: tuple[float, ...]
    slots: tuple[float, ...]
    off_home: float
    replicas: tuple[tuple[float, ...], ...]
    """[expert][node], mean numbers"""


def price_nodes(p: NodeLevel) -> NodePrices | None:
    """The linear program of the first workload; None where GLOP reports no optimum."""
    return _Relaxation(p).solve()


class _Relaxation:
    """The rows and columns of the program."""

    def __init__(self, p: NodeLevel) -> None:
        self.p, self.solver = p, pywraplp.Solver.CreateSolver("GLOP")
        self.infinity = self.solver.infinity()
        theta = self.solver.NumVar(0.0, self.infinity, "")
        self.solver.Objective().SetCoefficient(theta, 1.0)
        self.solver.Objective().SetMinimization()
        filled = float(p.per_node * p.slots)
        self.load = [self.solver.Constraint(-self.infinity, 0.0) for _ in range(p.nodes)]
        for row in self.load:
            row.SetCoefficient(theta, -1.0)
        self.slots = [self.solver.Constraint(filled, filled) for _ in range(p.nodes)]
        self.away = self.solver.Constraint(-self.infinity, self.infinity if p.off_home is None else p.off_home)
        self.placed: list[list[list[pywraplp.Variable]]] = [[[] for _ in range(p.nodes)] for _ in p.options]
        for e, options in enumerate(p.options):
            one = self.solver.Constraint(1.0, 1.0)
            for t in options:
                one.SetCoefficient(self._add(e, t), 1.0)

    def _add(self, e: int, t: int) -> pywraplp.Variable:
        """T[e, t] and its y[e, t, n]."""
        p, share = self.p, self.p.shares[0][e] / t
        chosen = self.solver.NumVar(0.0, 1.0, "")
        every = self.solver.Constraint(0.0, 0.0)
        every.SetCoefficient(chosen, -float(t))
        for n in range(p.nodes):
            home = n == p.homes[e]
            y = self.solver.NumVar(0.0, self.infinity, "")
            self.placed[e][n].append(y)
            for row, coefficient in ((every, 1.0), (self.slots[n], 1.0), (self.load[n], share)):
                row.SetCoefficient(y, coefficient)
            if not home:
                self.away.SetCoefficient(y, share)
            for low, high, factor in ((-self.infinity, 0.0, p.per_node), *(((0.0, self.infinity, 1),) if home else ())):
                row = self.solver.Constraint(low, high)
                row.SetCoefficient(y, 1.0)
                row.SetCoefficient(chosen, -float(factor))
        return chosen

    def solve(self) -> NodePrices | None:
        if self.solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None
        replicas = tuple(tuple(sum(y.solution_value() for y in ys) for ys in nodes) for nodes in self.placed)
        load, slots = (tuple(-row.dual_value() for row in rows) for rows in (self.load, self.slots))
        away = 0.0 if self.p.off_home is None else -self.away.dual_value()
        return NodePrices(self.solver.Objective().Value(), load, slots, away, replicas)
