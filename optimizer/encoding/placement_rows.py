"""C15-C19: which rank holds which expert, and what the hottest of them bears."""

from collections.abc import Iterable
from itertools import product
from math import gcd

from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

from models.layout import Pattern, domain_counts
from models.routing import busiest_port, expected_touches, touch_domain
from optimizer.encoding.guard import ROW_LIMIT
from optimizer.encoding.tables import Key, Tables, TooLarge
from optimizer.encoding.variables import Variables


def slots(model: CpModel, t: Tables, v: Variables) -> None:
    """(C15)  sum_r holds[u, ep, e, r] = [ep] and sum_e holds[u, ep, e, r] = (E / ep) [ep].   Encodes R14."""
    experts = t.instance.architecture.experts
    for u, ep in sorted({(u, ep) for u, ep, _, _ in v.holds}):
        chosen = v.degree["ep", ep]
        for e in range(experts):
            model.add(LinearExpr.sum([v.holds[u, ep, e, r] for r in range(ep)]) == chosen).with_name(f"C15 held_once[{u},{ep},{e}]")
        for r in range(ep):
            held = LinearExpr.sum([v.holds[u, ep, e, r] for e in range(experts)])
            model.add(held == (experts // ep) * chosen).with_name(f"C15 full[{u},{ep},{r}]")


def options(model: CpModel, t: Tables, v: Variables) -> None:
    """(C16)  sum_o option[u, key, o] = sum of strategy[s] with that key."""
    users: dict[tuple[int, Key], list[IntVar]] = {}
    for s, u in product(t.alive, sorted(set(t.units.values()))):
        users.setdefault((u, t.key(s, u)), []).append(v.strategy[s])
    for (u, key), literals in users.items():
        choices = LinearExpr.sum([v.option[u, key, o] for o in range(len(t.front(key).options))])
        model.add(choices == LinearExpr.sum(literals)).with_name(f"C16 options[{v.option[u, key, 0].name}]")


def hottest_rank(model: CpModel, t: Tables, v: Variables) -> None:
    """(C17)  sum_e load_e holds[u, ep, e, r] <= hottest load of the option, on every rank."""
    for (u, key, o), literal in v.option.items():
        if not key.uniform:
            placement = t.front(key).options[o][0]
            # tokens = ceil(N k load / total) is at most the option's exactly when load is at most this
            most = placement.tokens * sum(key.loads) // (key.tokens * key.top_k)
            _rank_rows(model, v, u, key, list(key.loads), most, literal, "C17 hottest_rank")


def touched_experts(model: CpModel, t: Tables, v: Variables) -> None:
    """(C18)  sum_e touches_e holds[u, ep, e, r] <= touched experts of the option, on every rank, 2**-20 experts."""
    for (u, key, o), literal in v.option.items():
        if not key.uniform:
            touches = [expected_touches(w, sum(key.loads), key.top_k, key.tokens) for w in key.loads]
            _rank_rows(model, v, u, key, touches, t.front(key).options[o][0].touched, literal, "C18 touched_experts")


def _rank_rows(model: CpModel, v: Variables, u: int, key: Key, weights: list[int], most: int, literal: IntVar, name: str) -> None:
    unit = gcd(*weights) or 1
    if sum(weights) // unit >= ROW_LIMIT:
        raise TooLarge("expert loads too large for a row of the joint model; use the enumeration route")
    for r in range(key.ep):
        held = LinearExpr.weighted_sum([v.holds[u, key.ep, e, r] for e in range(len(weights))], [w // unit for w in weights])
        model.add(held <= most // unit).only_enforce_if(literal).with_name(f"{name}[{literal.name},{r}]")


def busiest_link(model: CpModel, t: Tables, v: Variables) -> None:
    """(C19)  Copies through the busiest scale-out port <= those of the option.

    What a domain draws depends on the experts it holds by a product, so each way to fill the
    domains is listed by the loads it holds, and those above the option's copies are excluded.
    """
    for (u, key, o), literal in v.option.items():
        if key.uniform:
            continue
        for number, pattern in enumerate(key.patterns):
            if max(pattern) > 0:
                _domain_rows(model, v, u, key, pattern, t.front(key).options[o][0].copies, literal, f"{literal.name},{number}")


def _domain_rows(model: CpModel, v: Variables, u: int, key: Key, pattern: Pattern, most: int, literal: IntVar, name: str) -> None:
    counts, slots_per_rank = domain_counts(pattern), len(key.loads) // key.ep
    classes = sorted(set(key.loads))
    available = [key.loads.count(w) for w in classes]
    allowed = [
        fill
        for fill in _fillings(available, [n * slots_per_rank for n in counts])
        if busiest_port([_reach(classes, held, key) for held in fill], counts) <= most
    ]
    chosen = [model.new_bool_var(f"filling[{name},{f}]") for f in range(len(allowed))]
    model.add(LinearExpr.sum(chosen) == literal).with_name(f"C19 one_filling[{name}]")
    for d, c in product(range(len(counts)), range(len(classes))):
        members = [
            v.holds[u, key.ep, e, r] for e, w in enumerate(key.loads) if w == classes[c] for r, domain in enumerate(pattern) if domain == d
        ]
        filled = LinearExpr.weighted_sum(chosen, [fill[d][c] for fill in allowed])
        model.add(LinearExpr.sum(members) == filled).only_enforce_if(literal).with_name(f"C19 busiest_link[{name},{d},{c}]")


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
