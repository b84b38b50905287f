"""The unknowns of the joint model, and the only reader of their values."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from ortools.sat.python.cp_model import CpModel, CpSolver, IntVar

from models.strategy import DEGREES, Plan, RankContents, Strategy
from optimizer.encoding.tables import LARGEST, Key, Tables


@dataclass(frozen=True)
class Variables:
    """Literals are 1 iff their sentence holds.

    `strategy[s]`: strategy s is chosen. `degree[d, v]`: degree d has value v. `stage[n, p]`: layer n
    lies in stage p. `holds[u, ep, e, r]`: with EP degree ep, rank r holds expert e in the layers that
    share placement u. `option[u, key, o]`: they keep the thresholds of option o of the key.
    `uses[n, key, o, p]`: layer n lies in stage p and keeps option o of a key that has several.
    `slowest`: steps of one micro-batch in the slowest stage. `cost`: the objective, in steps.
    """

    strategy: dict[Strategy, IntVar]
    degree: dict[tuple[str, int], IntVar]
    stage: dict[tuple[int, int], IntVar]
    holds: dict[tuple[int, int, int, int], IntVar]
    option: dict[tuple[int, Key, int], IntVar]
    uses: dict[tuple[int, Key, int, int], IntVar]
    slowest: IntVar
    cost: IntVar


Constraint = Callable[[CpModel, Tables, Variables], None]
"""Adds the rows of one equation to the model."""


def create(model: CpModel, t: Tables) -> Variables:
    """All variables of an instance, named."""
    i = t.instance
    strategy = {s: model.new_bool_var(f"strategy[{n}]") for n, s in enumerate(t.world)}
    values = sorted({(d, getattr(s, d)) for s in t.world for d in DEGREES})
    degree = {(d, v): model.new_bool_var(f"degree[{d},{v}]") for d, v in values}
    stages = max((s.pp for s in t.alive), default=1)
    stage = {(n, p): model.new_bool_var(f"stage[{n},{p}]") for n in range(i.architecture.layer_count) for p in range(stages)}
    units = sorted(set(t.units.values()))
    experts, degrees = i.architecture.experts, sorted({s.ep for s in t.alive})
    holds = {
        (u, ep, e, r): model.new_bool_var(f"holds[{u},{ep},{e},{r}]")
        for u in units
        for ep in degrees
        for e in range(experts)
        for r in range(ep)
    }
    option, uses = dict[tuple[int, Key, int], IntVar](), dict[tuple[int, Key, int, int], IntVar]()
    for u in units:
        members = [t.layer_of(position) for position, unit in t.units.items() if unit == u]
        for number, key in enumerate(dict.fromkeys(t.key(s, u) for s in t.alive)):
            choices = range(len(t.front(key).options))
            option |= {(u, key, o): model.new_bool_var(f"option[{u},{number},{o}]") for o in choices}
            if len(choices) > 1:
                places = product(members, choices, range(stages))
                uses |= {(n, key, o, p): model.new_bool_var(f"uses[{n},{number},{o},{p}]") for n, o, p in places}
    most = LARGEST if t.ceiling is None else t.ceiling // (t.divisor * t.quantum)
    slowest, cost = model.new_int_var(0, LARGEST, "slowest"), model.new_int_var(0, most, "cost")
    return Variables(strategy, degree, stage, holds, option, uses, slowest, cost)


def extract(solver: CpSolver, t: Tables, v: Variables) -> Plan:
    """The plan of a solution."""
    chosen = next(s for s, literal in v.strategy.items() if solver.boolean_value(literal))
    layers = t.instance.architecture.layer_count
    sizes = tuple(sum(solver.boolean_value(v.stage[n, p]) for n in range(layers)) for p in range(chosen.pp))
    placement = tuple(_contents(solver, t, v, unit, chosen.ep) for unit in t.units.values())
    return Plan(chosen, sizes, placement)


def _contents(solver: CpSolver, t: Tables, v: Variables, unit: int, ep: int) -> RankContents:
    experts = range(t.instance.architecture.experts)
    return tuple(tuple(e for e in experts if solver.boolean_value(v.holds[unit, ep, e, r])) for r in range(ep))
