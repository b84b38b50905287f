"""The rows of `optimizer.encoding.node_level` in whole numbers, for all workloads at once (CP-SAT)."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from ortools.sat.python import cp_model

from models.units import ceil_div
from optimizer.encoding.guarded import solve_guarded
from optimizer.encoding.node_level import NodeLevel

SCALE = 1 << 18  # a workload's total
UNIT = 60  # of a replica's share: up to 6 replicas share exactly

Replicas = tuple[tuple[int, ...], ...]
"""[expert][node]"""


class Limits(NamedTuple):
    """When to stop."""

    bound: float
    """theta is known to be no smaller"""
    gap: float
    deterministic: float
    seed: int


def solve_nodes(p: NodeLevel, kept: dict[int, tuple[int, ...]], hint: Replicas | None, limits: Limits) -> Replicas | None:
    """Replicas with a small theta, those of the experts `kept` as given; None where none is found, or the rows are too large."""
    model = _Model(p, kept)
    if hint is not None:
        model.add_hint(hint)
    return model.solve(limits)


class _Model:
    """The rows and variables of the experts that are free; those kept are constants."""

    def __init__(self, p: NodeLevel, kept: dict[int, tuple[int, ...]]) -> None:
        self.p, self.kept, self.model = p, kept, cp_model.CpModel()
        self.theta = self.model.new_int_var(0, SCALE * UNIT, "theta")
        self.chosen: dict[tuple[int, int], cp_model.IntVar] = {}
        self.y: dict[tuple[int, int, int], cp_model.IntVar] = {}
        for e, options in enumerate(p.options):
            if e not in kept:
                self._expert(e, options)
        for n in range(p.nodes):
            counts = [y for (_, _, at), y in self.y.items() if at == n]
            left = p.per_node * p.slots - sum(nodes[n] for nodes in kept.values())
            self.model.add(cp_model.LinearExpr.sum(counts) == left)
        for shares in p.shares:
            self._workload([round(share * SCALE) for share in shares], [ceil(share * SCALE * UNIT) for share in shares])
        self.model.minimize(self.theta)

    def _expert(self, e: int, options: Sequence[int]) -> None:
        """One number of replicas, as many of them placed, one at least at home."""
        for t in options:
            chosen = self.chosen[e, t] = self.model.new_bool_var(f"T[{e},{t}]")
            counts = [self.model.new_int_var(0, min(t, self.p.per_node), f"y[{e},{t},{n}]") for n in range(self.p.nodes)]
            self.model.add(cp_model.LinearExpr.sum(counts) == t * chosen)
            self.model.add(counts[self.p.homes[e]] >= chosen)
            self.y.update({(e, t, n): count for n, count in enumerate(counts)})
        self.model.add_exactly_one([self.chosen[e, t] for t in options])

    def _workload(self, row: list[int], fine: list[int]) -> None:
        """Load of every node, and load off home, which is rounded up (`fine`: UNIT times the row)."""
        loads, away = [0] * self.p.nodes, 0
        for e, nodes in self.kept.items():
            share = row[e] * UNIT // sum(nodes)
            loads = [load + share * count for load, count in zip(loads, nodes, strict=True)]
            away += ceil_div(fine[e], sum(nodes)) * (sum(nodes) - nodes[self.p.homes[e]])
        shares = {key: row[key[0]] * UNIT // key[1] for key in self.y}
        for n in range(self.p.nodes):
            here = [key for key in self.y if key[2] == n]
            terms = cp_model.LinearExpr.weighted_sum([self.y[k] for k in here], [shares[k] for k in here])
            self.model.add(terms + loads[n] <= self.theta)
        if self.p.off_home is not None:
            off = [key for key in self.y if key[2] != self.p.homes[key[0]]]
            terms = cp_model.LinearExpr.weighted_sum([self.y[k] for k in off], [ceil_div(fine[e], t) for e, t, _ in off])
            self.model.add(terms <= int(self.p.off_home * SCALE) * UNIT - away)

    def add_hint(self, hint: Replicas) -> None:
        for (e, t), chosen in self.chosen.items():
            self.model.add_hint(chosen, int(sum(hint[e]) == t))
        for (e, t, n), count in self.y.items():
            self.model.add_hint(count, hint[e][n] if sum(hint[e]) == t else 0)

    def solve(self, limits: Limits) -> Replicas | None:
        self.model.add(self.theta >= int(limits.bound * SCALE) * UNIT)
        solver = solve_guarded(self.model, limits.deterministic, limits.seed, limits.gap)
        if solver is None:
            return None
        found = [list(self.kept.get(e, (0,) * self.p.nodes)) for e in range(len(self.p.options))]
        for (e, _, n), count in self.y.items():
            found[e][n] += solver.value(count)
        return tuple(map(tuple, found))
