"""C1-C13, C25: which strategies may be chosen. Each function is named like the rule it encodes."""

from collections.abc import Callable
from itertools import product

from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

from models.instance import Instance
from models.rules import Violation, batch_divides, dense_model, tp_in_domain
from models.strategy import DEGREES
from optimizer.encoding.tables import Tables
from optimizer.encoding.variables import Constraint, Variables


def world(model: CpModel, t: Tables, v: Variables) -> None:
    """(C1)  sum_s strategy[s] = 1 over the tuples that satisfy the identities.   Encodes R2."""
    model.add_exactly_one(list(v.strategy.values())).with_name("C1 world")


def degrees(model: CpModel, t: Tables, v: Variables) -> None:
    """(C2)  degree[d, x] = sum of strategy[s] with s.d = x.   Channels the two views of a strategy."""
    users: dict[tuple[str, int], list[IntVar]] = {key: [] for key in v.degree}
    for s, literal in v.strategy.items():
        for d in DEGREES:
            users[d, getattr(s, d)].append(literal)
    for (d, x), literals in users.items():
        model.add(LinearExpr.sum(literals) == v.degree[d, x]).with_name(f"C2 degrees[{d},{x}]")


def space(model: CpModel, t: Tables, v: Variables) -> None:
    """(C3)  not degree[d, x] where the space does not list x.   Encodes R1."""
    for (d, x), literal in v.degree.items():
        if not t.instance.space.admits(d, x):
            model.add_bool_and(~literal).with_name(f"C3 space[{d},{x}]")


def refuse(name: str, d: str, rule: Callable[[Instance, int], Violation | None]) -> Constraint:
    def constraint(model: CpModel, t: Tables, v: Variables) -> None:
        for (degree, x), literal in v.degree.items():
            if degree == d and rule(t.instance, x):
                model.add_bool_and(~literal).with_name(f"{name}[{x}]")

    constraint.__doc__ = f"({name.split()[0]})  not degree[{d}, x] where the rule {rule.__name__} refuses x."
    constraint.__name__ = rule.__name__
    return constraint


def dense(model: CpModel, t: Tables, v: Variables) -> None:
    """(C11)  not (degree[tp, a] and degree[etp, b]) where a dense model cannot have both.   Encodes R8."""
    tensor = [x for d, x in v.degree if d == "tp"]
    expert = [x for d, x in v.degree if d == "etp"]
    for a, b in product(tensor, expert):
        if dense_model(t.instance, a, b):
            model.add_bool_or(~v.degree["tp", a], ~v.degree["etp", b]).with_name(f"C11 dense_model[{a},{b}]")


def batch(model: CpModel, t: Tables, v: Variables) -> None:
    """(C12)  not (replicas = a and dp = b and microbatches = c) where a*b*c does not divide the sequences.   Encodes R10."""
    for a, b, c in sorted({(s.replicas, s.dp, s.microbatches) for s in t.world}):
        if batch_divides(t.instance, a, b, c):
            literals = v.degree["replicas", a], v.degree["dp", b], v.degree["microbatches", c]
            model.add_bool_or(*(~x for x in literals)).with_name(f"C12 batch_divides[{a},{b},{c}]")


def tensor_domain(model: CpModel, t: Tables, v: Variables) -> None:
    """(C13)  not strategy[s] where a tensor-parallel group of s leaves its domain.   Encodes R12."""
    for s, literal in v.strategy.items():
        if tp_in_domain(t.instance, s):
            model.add_bool_and(~literal).with_name(f"C13 tp_in_domain[{literal.name}]")


def alive(model: CpModel, t: Tables, v: Variables) -> None:
    """(C25, redundant: follows from C3-C13)  strategy[s] only where s keeps R1-R12 and R20."""
    kept = set(t.alive)
    for s, literal in v.strategy.items():
        if s not in kept:
            model.add_bool_and(~literal).with_name(f"C25 alive[{literal.name}]")
