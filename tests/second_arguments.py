"""A second check of placement claims and their arguments, written from docs/certificate.md alone: recursive, on plain JSON."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import chain
from math import ceil, lcm
from typing import NamedTuple

from second_grammar import Json, need

Groups = tuple[frozenset[int], ...]
Pairs = frozenset[frozenset[int]]


class Class(NamedTuple):
    ranks: int
    slots: int
    speed: int
    memory: int | None


class Shape(NamedTuple):
    """A placement problem with its defaults."""

    loads: list[int]
    classes: list[Class]
    replicas: int
    sizes: list[int] | None
    full: bool
    """every slot is taken"""

    @property
    def ranks(self) -> list[Class]:
        return [c for c in self.classes for _ in range(c.ranks)]


def shape_of(problem: Json) -> Shape:
    classes = [Class(c["ranks"], c["slots"], c.get("speed", 1), c.get("memory")) for c in problem["classes"]]
    loads, sizes, replicas, slots = problem["loads"], problem.get("sizes"), problem.get("replicas", 1), sum(c[0] * c[1] for c in classes)
    need(loads and classes and slots >= len(loads), "no experts, or too few slots")
    need(len(sizes) == len(loads) if sizes is not None else all(c.memory is None for c in classes), "sizes and memory do not fit together")
    return Shape(loads, classes, replicas, sizes, replicas == 1 and slots == len(loads))


def placement(claim: Json) -> None:
    """The placement has its value, and the bound is one of the closed forms (or below) or proved by the argument."""
    shape, contents, value, bound = shape_of(claim["problem"]), claim["placement"], claim["value"], claim["bound"]
    need((contents is None) == (value is None), "value and placement go together")
    if contents is not None:
        need(load_of(shape, contents) == value, "a placement of another value")
        need(bound <= value, "a bound above the value")
    if bound > closed(shape):
        need(claim["argument"] is not None, "above the closed forms")
        need(refutes(shape, bound - 1, claim["argument"]), "the argument does not hold")


def load_of(shape: Shape, contents: list[list[int]]) -> int:
    """Least T such that no rank carries more than T * speed."""
    held = list(chain.from_iterable(contents))
    count = [held.count(e) for e in range(len(shape.loads))]
    need(len(contents) == len(shape.ranks) and sum(count) == len(held), "other ranks or experts")
    need(all(1 <= c <= shape.replicas for c in count), "an expert without a replica, or with too many")
    for c, rank in zip(shape.ranks, contents, strict=True):
        need(len(set(rank)) == len(rank) <= c.slots, "a rank holds an expert twice, or too many")
        need(c.memory is None or sum((shape.sizes or [])[e] for e in rank) <= c.memory, "a rank without the memory")
    carried = (sum((Fraction(shape.loads[e], count[e]) for e in rank), Fraction(0)) for rank in contents)
    return max(ceil(load / c.speed) for load, c in zip(carried, shape.ranks, strict=True))


def closed(shape: Shape) -> int:
    """The largest closed form."""
    down, (m, k, speed, _), n = sorted(shape.loads, reverse=True), shape.classes[0], len(shape.loads)
    area = ceil(Fraction(sum(down), sum(c.speed for c in shape.ranks)))
    single = ceil(Fraction(down[0], shape.replicas * max(c.speed for c in shape.classes)))
    if not shape.full or len(shape.classes) > 1:
        return max(area, single)
    pigeonhole = [ceil(Fraction(sum(down[q * m - q : q * m + 1]) + sum(down[n - (k - q - 1) :]), speed)) for q in range(k)]
    counting = [ceil(Fraction(ceil(Fraction(sum(down[:j]) + sum(down[n - j * (k - 1) :]), j)), speed)) for j in range(1, m + 1)]
    return max(area, single, *pigeonhole, *counting)


def refutes(shape: Shape, t: int, argument: Json) -> bool:
    """Whether the argument proves that in every placement some rank carries more than t * speed."""
    return holds(shape, t, argument, tuple(frozenset({e}) for e in range(len(shape.loads))), frozenset())


def holds(shape: Shape, t: int, a: Json, groups: Groups, apart: Pairs) -> bool:
    """The same of those placements in which every group lies on one rank and no pair of `apart` does."""
    if a["kind"] == "prices":
        return prices(shape, t, a, groups, apart)
    if a["kind"] == "branch":
        return tree(shape, t, a["nodes"])
    pair = frozenset(a["pair"])
    both = [g for g in groups if g & pair]
    if shape.replicas > 1 or len(a["pair"]) != 2 or not pair <= set().union(*both) or len(both) != 2 or rivals(both[0], both[1], apart):
        return False
    merged = (*(g for g in groups if not g & pair), both[0] | both[1])
    return holds(shape, t, a["together"], merged, apart) and holds(shape, t, a["apart"], groups, apart | {pair})


def rivals(g: frozenset[int], h: frozenset[int], apart: Pairs) -> bool:
    return any(pair & g and pair & h for pair in apart)


def prices(shape: Shape, t: int, a: Json, groups: Groups, apart: Pairs) -> bool:
    """Whether no admissible content of a rank is worth more than the cap, and all experts are worth more than all caps."""
    values, caps, surrogate, experts = a["values"], a["caps"], a.get("surrogate"), range(len(shape.loads))
    fitting = len(a.get("scale", [1, 1])) == 2 and len(caps) == len(shape.classes) and (surrogate is None or len(surrogate) == 2)
    if not fitting or [len(v) for v in values] != [shape.replicas for _ in experts] or (surrogate is not None and shape.sizes is None):
        return False
    (p, q), (x, y), sizes = a.get("scale", [1, 1]), surrogate or (1, 0), shape.sizes or [0 for _ in experts]
    weights = [[x * (p * shape.loads[e] // (q * r)) + y * sizes[e] for r in range(1, shape.replicas + 1)] for e in experts]
    options = [[(sum(weights[e][r] for e in g), sum(values[e][r] for e in g)) for r in range(shape.replicas)] for g in groups]
    enemies = [sum(1 << k for k, h in enumerate(groups[n:]) if k and rivals(g, h, apart)) for n, g in enumerate(groups)]
    unlimited = sum(max(w for w, _ in of) for of in options)

    @cache
    def dearest(n: int, slots: int, room: int, banned: int) -> int:
        """The most that groups from n on are worth; bit k of `banned` bars group n + k; -1 where nothing fits."""
        if room < 0 or (full and slots > after[n]):
            return -1
        if n == len(groups):
            return 0
        size = len(groups[n])
        entering = options[n] if size <= slots and not banned & 1 else []
        rests = ((v, dearest(n + 1, slots - size, room - w, (banned | enemies[n]) >> 1)) for w, v in entering)
        return max(dearest(n + 1, slots, room, banned >> 1), *(v + rest if rest >= 0 else -1 for v, rest in rests), -1)

    full, after = shape.full, [sum(map(len, groups[n:])) for n in range(len(groups) + 1)]
    limits = [unlimited if y and c.memory is None else x * (p * t * c.speed // q) + y * (c.memory or 0) for c in shape.classes]
    supply = sum(min(r * v for r, v in enumerate(of, 1)) for of in values)
    capped = all(dearest(0, c.slots, limit, 0) <= cap for c, limit, cap in zip(shape.classes, limits, caps, strict=True))
    return capped and supply > sum(c.ranks * cap for c, cap in zip(shape.classes, caps, strict=True))


class Row(NamedTuple):
    """sum of weight * x <= most (or = most) over variables x."""

    weight: dict[int, int]
    most: int
    equal: bool = False


def rows_of(shape: Shape, t: int) -> Iterator[Row]:
    """The rows of a placement that keeps t, as the document numbers them."""
    m, experts, copies, unit = len(shape.ranks), range(len(shape.loads)), range(shape.replicas), lcm(*range(1, shape.replicas + 1))
    at = {(e, r, j): (e * shape.replicas + r) * m + j for e in experts for r in copies for j in range(m)}
    for e in experts:
        yield Row({at[e, r, j]: unit // (r + 1) for r in copies for j in range(m)}, unit, True)
    for j, c in enumerate(shape.ranks):
        here = [(e, r, at[e, r, j]) for e in experts for r in copies]
        yield Row({v: unit // (r + 1) * shape.loads[e] for e, r, v in here}, unit * t * c.speed)
        yield Row({v: 1 for _, _, v in here}, c.slots, shape.full)
        if shape.sizes is not None and c.memory is not None:
            yield Row({v: shape.sizes[e] for e, _, v in here}, c.memory)
    if shape.replicas > 1:
        yield from (Row({at[e, r, j]: 1 for r in copies}, 1) for e in experts for j in range(m))


def zeros_of(shape: Shape) -> set[int]:
    """Variables that are 0 where the ranks of a class are numbered by first use."""
    order = sorted(range(len(shape.loads)), key=lambda e: (-shape.loads[e], e))
    position = [k for c in shape.classes for k in range(c.ranks)]
    late = ((e, j) for i, e in enumerate(order) for j, k in enumerate(position) if k >= (i + 1) * shape.replicas)
    return {(e * shape.replicas + r) * len(position) + j for e, j in late for r in range(shape.replicas)}


def tree(shape: Shape, t: int, nodes: Json) -> bool:
    """Whether every leaf contradicts the rows, and the list is exactly one tree."""
    rows, zeros, variables = list(rows_of(shape, t)), zeros_of(shape), len(shape.loads) * shape.replicas * len(shape.ranks)

    def contradiction(leaf: Json, fixed: dict[int, int]) -> bool:
        if not all(len(pair) == 2 and 0 <= pair[0] < len(rows) and (pair[1] >= 0 or rows[pair[0]].equal) for pair in leaf):
            return False
        slopes = ((v, sum(y * rows[k].weight.get(v, 0) for k, y in leaf)) for v in set().union(*(rows[k].weight for k, _ in leaf)))
        least = sum(slope * fixed[v] if v in fixed else 0 if v in zeros else min(slope, 0) for v, slope in slopes)
        return least > sum(y * rows[k].most for k, y in leaf) or any(fixed.get(v) for v in zeros)

    def end(at: int, fixed: dict[int, int]) -> int:
        """Where the subtree that begins here ends; beyond the list where a leaf fails or one is missing."""
        node: Json = nodes[at] if at < len(nodes) else None
        if isinstance(node, list):
            return at + 1 if contradiction(node, fixed) else len(nodes) + 1
        return end(end(at + 1, fixed | {node: 0}), fixed | {node: 1}) if node in range(variables) else len(nodes) + 1

    return end(0, {}) == len(nodes)
