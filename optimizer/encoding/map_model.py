"""A whole layer of redundant slots as one CP-SAT model, for small ones.

x[e, c, j] is 1 iff expert e has c replicas, one of them on rank j:

    sum_c z[e, c] = 1;  sum_j x[e, c, j] = c z[e, c];  sum over e, c of x[e, c, j] = slots, for each rank j
    load of rank j under workload s: sum M / c load_se x[e, c, j] <= top_s, M = lcm of the counts
    with homes: sum over c and the ranks of the home node of x >= 1;  load off home within its limit

Equal ranks are numbered by first use, heaviest expert first, where nothing tells nodes apart.
"""

from collections.abc import Iterable
from math import lcm

from ortools.sat.python import cp_model

from models.expert_map import BILLION
from models.map_arguments import MapProblem
from models.strategy import RankContents
from models.units import PPM, ceil_div
from optimizer.encoding.guarded import solve_guarded

MOST_REPLICAS = 6
LARGEST = 1 << 28  # of a workload's total times M; larger ones are scaled down


class MapModel:
    """The rows and variables of one layer; `bounds` are proved ones, of each workload, parts per billion of the mean."""

    def __init__(
        self, problem: MapProblem, loads: tuple[tuple[int, ...], ...], weights: tuple[int, ...] | None, bounds: tuple[int, ...]
    ) -> None:
        self.problem, self.model = problem, cp_model.CpModel()
        self.counts = [[c for c in problem.replicas(e) if c <= MOST_REPLICAS] for e in range(len(problem.loads))]
        self.unit = lcm(*(c for counts in self.counts for c in counts))
        self.x = {
            (e, c, j): self.model.new_bool_var(f"x[{e},{c},{j}]")
            for e, counts in enumerate(self.counts)
            for c in counts
            for j in range(problem.ranks)
        }
        self._place()
        if problem.homes is None:
            self._number_ranks()
        room = max(1, LARGEST // self.unit)
        exact = max(map(sum, loads)) <= room and len({sum(row) for row in loads}) == 1
        totals = [sum(row) if exact else room for row in loads]
        down = [[w * total // sum(row) for w in row] for row, total in zip(loads, totals, strict=True)]
        lost = 0 if exact else problem.slots * self.unit  # at most, of a rank's load by rounding
        least = [max(0, (b - 1) * t * self.unit // (BILLION * problem.ranks) - lost) for b, t in zip(bounds, totals, strict=True)]
        self._weigh(down, weights, least)
        if problem.homes is not None and problem.off_home_ppm is not None:
            for row, total in zip(loads, totals, strict=True):
                self._limit_off_home(problem.homes, [ceil_div(w * total, sum(row)) for w in row], total * problem.off_home_ppm)

    def _place(self) -> None:
        """Every expert its replicas, every rank its slots, every home a replica."""
        p = self.problem
        for e, counts in enumerate(self.counts):
            chosen = {c: self.model.new_bool_var(f"z[{e},{c}]") for c in counts}
            self.model.add_exactly_one(chosen.values())
            for c, picked in chosen.items():
                self.model.add(_sum(self.x[e, c, j] for j in range(p.ranks)) == c * picked)
            if p.homes is not None:
                here = range(p.homes[e] * p.per_node, (p.homes[e] + 1) * p.per_node)
                self.model.add(_sum(self.x[e, c, j] for c in counts for j in here) >= 1)
        for j in range(p.ranks):
            self.model.add(_sum(self.x[e, c, j] for e, counts in enumerate(self.counts) for c in counts) == p.slots)

    def _weigh(self, rows: list[list[int]], weights: tuple[int, ...] | None, least: list[int]) -> None:
        """The largest load of each workload, no less than is proved; the worst of them, or their weighted sum, is minimised."""
        tops = []
        for s, row in enumerate(rows):
            top = self.model.new_int_var(least[s], sum(row) * self.unit, f"top[{s}]")
            tops.append(top)
            share = {(e, c): row[e] * (self.unit // c) for e, counts in enumerate(self.counts) for c in counts}
            for j in range(self.problem.ranks):
                self.model.add(cp_model.LinearExpr.weighted_sum([self.x[e, c, j] for e, c in share], list(share.values())) <= top)
        if weights is not None:
            self.model.minimize(cp_model.LinearExpr.weighted_sum(tops, list(weights)))
            return
        worst = self.model.new_int_var(0, max(sum(row) for row in rows) * self.unit, "worst")
        for top in tops:
            self.model.add(worst >= top)
        self.model.minimize(worst)

    def _limit_off_home(self, homes: tuple[int, ...], row: list[int], most_ppm: int) -> None:
        """A workload's load off home; scaled loads are rounded up here."""
        away = [(e, c, j) for e, c, j in self.x if j // self.problem.per_node != homes[e]]
        terms = [self.x[k] for k in away], [row[e] * (self.unit // c) for e, c, _ in away]
        self.model.add(cp_model.LinearExpr.weighted_sum(*terms) <= most_ppm * self.unit // PPM)

    def _number_ranks(self) -> None:
        """The i-th heaviest expert lies on the first (i + 1) * most ranks."""
        order = sorted(range(len(self.counts)), key=lambda e: (-self.problem.loads[e], e))
        first = 0
        for e in order:
            first += max(self.counts[e])
            for c in self.counts[e]:
                for j in range(first, self.problem.ranks):
                    self.model.add(self.x[e, c, j] == 0)

    def solve(self, hint: RankContents, deterministic: float, seed: int) -> RankContents | None:
        """The best contents found within deterministic seconds; None where there are none, or a row is too large to be safe."""
        count = [sum(e in rank for rank in hint) for e in range(len(self.counts))]
        for (e, c, j), literal in self.x.items():
            self.model.add_hint(literal, int(e in hint[j] and count[e] == c))
        solver = solve_guarded(self.model, deterministic, seed)
        if solver is None:
            return None
        held: list[list[int]] = [[] for _ in range(self.problem.ranks)]
        for (e, _, j), literal in self.x.items():
            if solver.boolean_value(literal):
                held[j].append(e)
        return tuple(tuple(sorted(rank)) for rank in held)


def _sum(literals: Iterable[cp_model.IntVar]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.sum(list(literals))
