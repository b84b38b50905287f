"""The objective as a linear row per strategy."""

from ortools.sat.python.cp_model import CpModel

from optimizer.encoding.tables import Tables
from optimizer.encoding.variables import Variables


def minimise_cost(model: CpModel, t: Tables, v: Variables) -> None:
    """cost >= factor ((m + pp - 1) slowest + (pp - 1) transfer) + constant for the chosen s, in steps; minimise cost."""
    for s in t.alive:
        factor, constant = t.value(s)
        fixed = factor * (s.pp - 1) * t.transfer(s) + constant // t.quantum
        row = model.add(v.cost >= factor * (s.microbatches + s.pp - 1) * v.slowest + fixed)
        row.only_enforce_if(v.strategy[s]).with_name(f"cost[{v.strategy[s].name}]")
    model.minimize(v.cost)
