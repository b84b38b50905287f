"""C14, C20-C24: which layers lie in which stage, and what a stage takes."""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import gcd

from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

from models.bounds import Case
from models.evaluate import moe_layer_indices
from models.rules import longest_step
from models.strategy import Strategy
from optimizer.encoding.guard import ROW_LIMIT
from optimizer.encoding.tables import LARGEST, Key, Tables, TooLarge
from optimizer.encoding.variables import Variables

Terms = list[list[tuple[Callable[[int], IntVar], int]]]
"""Per layer: (literal by stage, need) of each option."""


def stages(model: CpModel, t: Tables, v: Variables) -> None:
    """(C14)  Layers lie in stages 0 .. pp-1, in order, none empty.   Encodes R13."""
    layers, most = t.instance.architecture.layer_count, 1 + max(p for _, p in v.stage)
    for n in range(layers):
        model.add_exactly_one([v.stage[n, p] for p in range(most)]).with_name(f"C14 one_stage[{n}]")
    model.add_bool_and(v.stage[0, 0]).with_name("C14 first")
    for n, p in product(range(1, layers), range(most)):
        before = [v.stage[n - 1, p]] + ([v.stage[n - 1, p - 1]] if p else [])
        model.add_bool_or(~v.stage[n, p], *before).with_name(f"C14 in_order[{n},{p}]")
    for (d, pp), literal in v.degree.items():
        if d == "pp" and pp <= most:
            model.add_implication(literal, v.stage[layers - 1, pp - 1]).with_name(f"C14 last[{pp}]")


def uses(model: CpModel, t: Tables, v: Variables) -> None:
    """(C20)  uses[n, key, o, p] = option[u, key, o] and stage[n, p]."""
    moe = moe_layer_indices(t.instance)
    for (n, key, o, p), literal in v.uses.items():
        option, stage = v.option[t.units[moe[n]], key, o], v.stage[n, p]
        model.add_implication(literal, option).with_name(f"C20 option[{literal.name}]")
        model.add_implication(literal, stage).with_name(f"C20 stage[{literal.name}]")
        model.add_bool_or(~option, ~stage, literal).with_name(f"C20 both[{literal.name}]")


def memory(model: CpModel, t: Tables, v: Variables) -> None:
    """(C21)  sum_n bytes_n stage[n, p] + ends <= memory of a GPU, for every stage of the chosen s.   Encodes R15."""
    for s, case in t.cases():
        sizes = [item.memory for count, item in t.bounds.runs(s, case) for _ in range(count)]
        terms: Terms = [[(partial(_in_stage, v, n), size)] for n, size in enumerate(sizes)]
        _limit_stages(model, v, s, terms, t.bounds.room(s).memory, "C21 memory")


def links(model: CpModel, t: Tables, v: Variables) -> None:
    """(C22)  sum_n bytes_{n,o} uses[n, key, o, p] + ends <= cap of the port, on each tier.   Encodes R16."""
    for tier in ("scale_up", "scale_out"):
        if getattr(t.instance.cluster.pool, tier).cap_bytes_per_pass is not None:
            for s, case in t.cases():
                column = 1 if tier == "scale_up" else 2
                terms = _choice_terms(t, v, s, case, column)
                _limit_stages(model, v, s, terms, t.bounds.room(s)[column], f"C22 link {tier}")


def slowest_stage(model: CpModel, t: Tables, v: Variables) -> None:
    """(C23)  sum_n floor(ns_{n,o} / quantum) uses[n, key, o, p] <= slowest, for every stage of the chosen s."""
    for s, case in t.cases():
        terms = _choice_terms(t, v, s, case, 0)
        scaled = [[(literal, ns // t.quantum) for literal, ns in layer] for layer in terms]
        if sum(min(ns for _, ns in layer) for layer in scaled) >= LARGEST:  # dearer than the incumbent, see tables
            model.add_bool_and(~v.strategy[s]).with_name(f"C23 hopeless[{v.strategy[s].name}]")
            continue
        _guard_row(scaled, "C23 slowest_stage")
        for p in range(s.pp):
            needs = LinearExpr.sum([ns * literal(p) for layer in scaled for literal, ns in layer])
            row = model.add(needs <= v.slowest)
            row.only_enforce_if(v.strategy[s]).with_name(f"C23 slowest_stage[{v.strategy[s].name},{p}]")


def limits(model: CpModel, t: Tables, v: Variables) -> None:
    """(C24)  (m + pp - 1) slowest + (pp - 1) transfer <= longest step allowed.   Encodes R17-R19."""
    longest = longest_step(t.instance)
    if longest is None:
        return
    for s in t.alive:
        most = (longest[1] // t.quantum - (s.pp - 1) * t.transfer(s)) // (s.microbatches + s.pp - 1)
        model.add(v.slowest <= most).only_enforce_if(v.strategy[s]).with_name(f"C24 {longest[0]}[{v.strategy[s].name}]")


def _in_stage(v: Variables, n: int, p: int) -> IntVar:
    return v.stage[n, p]


def _uses(v: Variables, n: int, key: Key, o: int, p: int) -> IntVar:
    return v.uses[n, key, o, p]


def _choice_terms(t: Tables, v: Variables, s: Strategy, case: Case, column: int) -> Terms:
    """The needs of each layer's options, as in `bounds.runs`: 0 ns, 1 scale-up bytes, 2 scale-out bytes."""
    found: Terms = []
    moe = moe_layer_indices(t.instance)
    items = (item for count, item in t.bounds.runs(s, case) for _ in range(count))
    for n, item in enumerate(items):
        needs = [choice[column] for choice in item.choices]
        if len(needs) == 1:
            found.append([(partial(_in_stage, v, n), needs[0])])
        else:
            key = t.key(s, moe[n])
            found.append([(partial(_uses, v, n, key, o), need) for o, need in enumerate(needs)])
    return found


def _guard_row(terms: Terms, name: str) -> None:
    if sum(need for layer in terms for _, need in layer) >= ROW_LIMIT:
        raise TooLarge(f"{name}: coefficients too large for a row of the joint model; use the enumeration route")


def _limit_stages(model: CpModel, v: Variables, s: Strategy, terms: Terms, most: int, name: str) -> None:
    """What the layers of each stage of s take <= most, exact in the common unit of the coefficients."""
    unit = gcd(*(need for layer in terms for _, need in layer)) or 1
    scaled = [[(literal, need // unit) for literal, need in layer] for layer in terms]
    if sum(max(need for _, need in layer) for layer in scaled) <= most // unit:
        return  # (redundant) all layers together fit
    _guard_row(scaled, name)
    for p in range(s.pp):
        needs = LinearExpr.sum([need * literal(p) for layer in scaled for literal, need in layer])
        model.add(needs <= most // unit).only_enforce_if(v.strategy[s]).with_name(f"{name}[{v.strategy[s].name},{p}]")
