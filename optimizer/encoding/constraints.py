"""C1-C24: one function per constraint, each named like the rule it encodes."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from math import gcd

from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

from models.bounds import Case
from models.evaluate import moe_layer_indices
from models.instance import Instance
from models.layout import Pattern, domain_counts
from models.routing import busiest_port, expected_touches, touch_domain
from models.rules import (
    Violation,
    batch_divides,
    context_covers,
    dense_model,
    expert_width_divides,
    experts_divide,
    ffn_divides,
    heads_divide,
    kv_heads,
    layers_cover,
    longest_step,
    tp_in_domain,
)
from models.strategy import DEGREES, Strategy
from optimizer.encoding.guard import ROW_LIMIT
from optimizer.encoding.tables import LARGEST, Key, Tables, TooLarge
from optimizer.encoding.variables import Variables

Constraint = Callable[[CpModel, Tables, Variables], None]

Terms = list[list[tuple[Callable[[int], IntVar], int]]]
"""Per layer: (literal by stage, need) of each option."""


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


def _unary(name: str, d: str, rule: Callable[[Instance, int], Violation | None]) -> Constraint:
    def constraint(model: CpModel, t: Tables, v: Variables) -> None:
        for (degree, x), literal in v.degree.items():
            if degree == d and rule(t.instance, x):
                model.add_bool_and(~literal).with_name(f"{name}[{x}]")

    constraint.__doc__ = f"({name.split()[0]})  not degree[{d}, x] where the rule {rule.__name__} refuses x."
    constraint.__name__ = rule.__name__
    return constraint


def dense(model: CpModel, t: Tables, v: Variables) -> None:
    """(C10)  not (degree[tp, a] and degree[etp, b]) where a dense model cannot have both.   Encodes R8."""
    tensor = [x for d, x in v.degree if d == "tp"]
    expert = [x for d, x in v.degree if d == "etp"]
    for a, b in product(tensor, expert):
        if dense_model(t.instance, a, b):
            model.add_bool_or(~v.degree["tp", a], ~v.degree["etp", b]).with_name(f"C10 dense_model[{a},{b}]")


def batch(model: CpModel, t: Tables, v: Variables) -> None:
    """(C11)  not (replicas = a and dp = b and microbatches = c) where a*b*c does not divide the sequences.   Encodes R10."""
    for a, b, c in sorted({(s.replicas, s.dp, s.microbatches) for s in t.world}):
        if batch_divides(t.instance, a, b, c):
            literals = v.degree["replicas", a], v.degree["dp", b], v.degree["microbatches", c]
            model.add_bool_or(*(~x for x in literals)).with_name(f"C11 batch_divides[{a},{b},{c}]")


def tensor_domain(model: CpModel, t: Tables, v: Variables) -> None:
    """(C12)  not strategy[s] where a tensor-parallel group of s leaves its domain.   Encodes R12."""
    for s, literal in v.strategy.items():
        if tp_in_domain(t.instance, s):
            model.add_bool_and(~literal).with_name(f"C12 tp_in_domain[{literal.name}]")


def stages(model: CpModel, t: Tables, v: Variables) -> None:
    """(C13)  Layers lie in stages 0 .. pp-1, in order, none empty.   Encodes R13."""
    layers, most = t.instance.architecture.layer_count, 1 + max(p for _, p in v.stage)
    for n in range(layers):
        model.add_exactly_one([v.stage[n, p] for p in range(most)]).with_name(f"C13 one_stage[{n}]")
    model.add_bool_and(v.stage[0, 0]).with_name("C13 first")
    for n, p in product(range(1, layers), range(most)):
        before = [v.stage[n - 1, p]] + ([v.stage[n - 1, p - 1]] if p else [])
        model.add_bool_or(~v.stage[n, p], *before).with_name(f"C13 in_order[{n},{p}]")
    for (d, pp), literal in v.degree.items():
        if d == "pp" and pp <= most:
            model.add_implication(literal, v.stage[layers - 1, pp - 1]).with_name(f"C13 last[{pp}]")


def slots(model: CpModel, t: Tables, v: Variables) -> None:
    """(C14)  sum_r holds[u, ep, e, r] = [ep] and sum_e holds[u, ep, e, r] = (E / ep) [ep].   Encodes R14."""
    experts = t.instance.architecture.experts
    for u, ep in sorted({(u, ep) for u, ep, _, _ in v.holds}):
        chosen = v.degree["ep", ep]
        for e in range(experts):
            model.add(LinearExpr.sum([v.holds[u, ep, e, r] for r in range(ep)]) == chosen).with_name(f"C14 held_once[{u},{ep},{e}]")
        for r in range(ep):
            held = LinearExpr.sum([v.holds[u, ep, e, r] for e in range(experts)])
            model.add(held == (experts // ep) * chosen).with_name(f"C14 full[{u},{ep},{r}]")


def options(model: CpModel, t: Tables, v: Variables) -> None:
    """(C15)  sum_o option[u, key, o] = sum of strategy[s] with that key."""
    users: dict[tuple[int, Key], list[IntVar]] = {}
    for s, u in product(t.alive, sorted(set(t.units.values()))):
        users.setdefault((u, t.key(s, u)), []).append(v.strategy[s])
    for (u, key), literals in users.items():
        choices = LinearExpr.sum([v.option[u, key, o] for o in range(len(t.front(key).options))])
        model.add(choices == LinearExpr.sum(literals)).with_name(f"C15 options[{v.option[u, key, 0].name}]")


def hottest_rank(model: CpModel, t: Tables, v: Variables) -> None:
    """(C16)  sum_e load_e holds[u, ep, e, r] <= hottest load of the option, on every rank."""
    for (u, key, o), literal in v.option.items():
        if not key.uniform:
            placement = t.front(key).options[o][0]
            # tokens = ceil(N k load / total) is at most the option's exactly when load is at most this
            most = placement.tokens * sum(key.loads) // (key.tokens * key.top_k)
            _rank_rows(model, v, u, key, list(key.loads), most, literal, "C16 hottest_rank")


def touched_experts(model: CpModel, t: Tables, v: Variables) -> None:
    """(C17)  sum_e touches_e holds[u, ep, e, r] <= touched experts of the option, on every rank, 2**-20 experts."""
    for (u, key, o), literal in v.option.items():
        if not key.uniform:
            touches = [expected_touches(w, sum(key.loads), key.top_k, key.tokens) for w in key.loads]
            _rank_rows(model, v, u, key, touches, t.front(key).options[o][0].touched, literal, "C17 touched_experts")


def _rank_rows(model: CpModel, v: Variables, u: int, key: Key, weights: list[int], most: int, literal: IntVar, name: str) -> None:
    unit = gcd(*weights) or 1
    if sum(weights) // unit >= ROW_LIMIT:
        raise TooLarge("expert loads too large for a row of the joint model; use the enumeration route")
    for r in range(key.ep):
        held = LinearExpr.weighted_sum([v.holds[u, key.ep, e, r] for e in range(len(weights))], [w // unit for w in weights])
        model.add(held <= most // unit).only_enforce_if(literal).with_name(f"{name}[{literal.name},{r}]")


def busiest_link(model: CpModel, t: Tables, v: Variables) -> None:
    """(C18)  Copies through the busiest scale-out port <= those of the option.

    What a domain draws depends on the experts it holds by a product, so each way to fill the
    domains is listed by the loads it holds, and those above the option's copies are excluded.
    """
    for (u, key, o), literal in v.option.items():
        if key.uniform:
            continue
        for number, pattern in enumerate(key.patterns):
            if max(pattern) > 0:
                _domain_rows(model, v, u, key, pattern, t.front(key).options[o][0].copies, literal, f"{literal.name},{number}")


def _domain_rows(
    model: CpModel, v: Variables, u: int, key: Key, pattern: Pattern, most: int, literal: IntVar, name: str
) -> None:
    counts, slots_per_rank = domain_counts(pattern), len(key.loads) // key.ep
    classes = sorted(set(key.loads))
    available = [key.loads.count(w) for w in classes]
    allowed = [
        fill
        for fill in _fillings(available, [n * slots_per_rank for n in counts])
        if busiest_port([_reach(classes, held, key) for held in fill], counts) <= most
    ]
    chosen = [model.new_bool_var(f"filling[{name},{f}]") for f in range(len(allowed))]
    model.add(LinearExpr.sum(chosen) == literal).with_name(f"C18 one_filling[{name}]")
    for d, c in product(range(len(counts)), range(len(classes))):
        members = [
            v.holds[u, key.ep, e, r]
            for e, w in enumerate(key.loads)
            if w == classes[c]
            for r, domain in enumerate(pattern)
            if domain == d
        ]
        filled = LinearExpr.weighted_sum(chosen, [fill[d][c] for fill in allowed])
        model.add(LinearExpr.sum(members) == filled).only_enforce_if(literal).with_name(f"C18 busiest_link[{name},{d},{c}]")


def _fillings(available: list[int], capacity: list[int]) -> Iterable[tuple[tuple[int, ...], ...]]:
    """Every way to share classes of equal experts among domains: per domain, how many of each class."""
    if len(capacity) == 1:
        yield (tuple(available),)
        return
    for held in product(*(range(n + 1) for n in available)):
        if sum(held) == capacity[0]:
            rest = [a - h for a, h in zip(available, held, strict=True)]
            yield from ((held, *others) for others in _fillings(rest, capacity[1:]))


def _reach(classes: list[int], held: tuple[int, ...], key: Key) -> int:
    shares = [(w, 1) for w, n in zip(classes, held, strict=True) for _ in range(n)]
    return touch_domain(shares, sum(key.loads), key.top_k)


def uses(model: CpModel, t: Tables, v: Variables) -> None:
    """(C19)  uses[n, key, o, p] = option[u, key, o] and stage[n, p]."""
    moe = moe_layer_indices(t.instance)
    for (n, key, o, p), literal in v.uses.items():
        option, stage = v.option[t.units[moe[n]], key, o], v.stage[n, p]
        model.add_implication(literal, option).with_name(f"C19 option[{literal.name}]")
        model.add_implication(literal, stage).with_name(f"C19 stage[{literal.name}]")
        model.add_bool_or(~option, ~stage, literal).with_name(f"C19 both[{literal.name}]")


def memory(model: CpModel, t: Tables, v: Variables) -> None:
    """(C20)  sum_n bytes_n stage[n, p] + ends <= memory of a GPU, for every stage of the chosen s.   Encodes R15."""
    for s, case in t.cases():
        sizes = [item.memory for count, item in t.bounds.runs(s, case) for _ in range(count)]
        terms: Terms = [[(partial(_in_stage, v, n), size)] for n, size in enumerate(sizes)]
        _limit_stages(model, v, s, terms, t.bounds.room(s).memory, "C20 memory")


def links(model: CpModel, t: Tables, v: Variables) -> None:
    """(C21)  sum_n bytes_{n,o} uses[n, key, o, p] + ends <= cap of the port, on each tier.   Encodes R16."""
    for tier in ("scale_up", "scale_out"):
        if getattr(t.instance.cluster.pool, tier).cap_bytes_per_pass is not None:
            for s, case in t.cases():
                column = 1 if tier == "scale_up" else 2
                terms = _choice_terms(t, v, s, case, column)
                _limit_stages(model, v, s, terms, t.bounds.room(s)[column], f"C21 link {tier}")


def slowest_stage(model: CpModel, t: Tables, v: Variables) -> None:
    """(C22)  sum_n floor(ns_{n,o} / quantum) uses[n, key, o, p] <= slowest, for every stage of the chosen s."""
    for s, case in t.cases():
        terms = _choice_terms(t, v, s, case, 0)
        scaled = [[(literal, ns // t.quantum) for literal, ns in layer] for layer in terms]
        if sum(min(ns for _, ns in layer) for layer in scaled) >= LARGEST:  # dearer than the incumbent, see tables
            model.add_bool_and(~v.strategy[s]).with_name(f"C22 hopeless[{v.strategy[s].name}]")
            continue
        _guard_row(scaled, "C22 slowest_stage")
        for p in range(s.pp):
            needs = LinearExpr.sum([ns * literal(p) for layer in scaled for literal, ns in layer])
            row = model.add(needs <= v.slowest)
            row.only_enforce_if(v.strategy[s]).with_name(f"C22 slowest_stage[{v.strategy[s].name},{p}]")


def limits(model: CpModel, t: Tables, v: Variables) -> None:
    """(C23)  (m + pp - 1) slowest + (pp - 1) transfer <= longest step allowed.   Encodes R17-R19."""
    longest = longest_step(t.instance)
    if longest is None:
        return
    for s in t.alive:
        most = (longest[1] // t.quantum - (s.pp - 1) * t.transfer(s)) // (s.microbatches + s.pp - 1)
        model.add(v.slowest <= most).only_enforce_if(v.strategy[s]).with_name(f"C23 {longest[0]}[{v.strategy[s].name}]")


def alive(model: CpModel, t: Tables, v: Variables) -> None:
    """(C24, redundant: follows from C3-C12)  strategy[s] only where s keeps R1-R12."""
    kept = set(t.alive)
    for s, literal in v.strategy.items():
        if s not in kept:
            model.add_bool_and(~literal).with_name(f"C24 alive[{literal.name}]")


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


CONSTRAINTS: tuple[Constraint, ...] = (
    world,
    degrees,
    space,
    _unary("C4 heads_divide", "tp", heads_divide),
    _unary("C5 kv_heads", "tp", kv_heads),
    _unary("C6 ffn_divides", "tp", ffn_divides),
    _unary("C7 experts_divide", "ep", experts_divide),
    _unary("C8 expert_width_divides", "etp", expert_width_divides),
    _unary("C9 layers_cover", "pp", layers_cover),
    _unary("C9b context_covers", "cp", context_covers),
    dense,
    batch,
    tensor_domain,
    stages,
    slots,
    options,
    hottest_rank,
    touched_experts,
    busiest_link,
    uses,
    memory,
    links,
    slowest_stage,
    limits,
    alive,
)
