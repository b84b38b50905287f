"""Placement problems on their own, and the arguments that no placement keeps a threshold.

`refute` accepts an argument or raises `Refused` with the place and the reason. The grammar and the
soundness of each kind: `docs/certificate.md`. Integers only; no search: the work is that of tables
whose sizes are added up beforehand and held under a budget.
"""

from collections.abc import Iterator
from math import lcm
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from models.patterns import Item, dearest_pattern_exceeds, table_steps
from models.record import Record, StopAtFirst
from models.units import ceil_div

MOST_DIGITS = 30
LARGEST = 10**MOST_DIGITS
MOST_EXPERTS = 4096
MOST_RANKS = 65_536
MOST_SEPARATIONS = 12
MOST_STEPS = 60_000_000
MOST_VARIABLES = 200_000

Natural = Annotated[int, Field(ge=0, lt=LARGEST)]
Positive = Annotated[int, Field(ge=1, lt=LARGEST)]
Signed = Annotated[int, Field(gt=-LARGEST, lt=LARGEST)]
Naturals = Annotated[tuple[Natural, ...], StopAtFirst()]


class Refused(Exception):
    """Not proved: what fails, and where in the argument. Never says that the statement is false."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason)
        self.reason, self.where = reason, where


class RankClass(Record):
    """`ranks` ranks alike: each holds at most `slots` replicas, of at most `memory` in all, at a relative `speed`."""

    ranks: Annotated[int, Field(ge=1, le=MOST_RANKS)]
    slots: Annotated[int, Field(ge=1, le=MOST_EXPERTS)]
    speed: Annotated[int, Field(ge=1, le=10**9)] = 1
    memory: Natural | None = None


class Problem(Record):
    """Experts with loads (and sizes) to place on ranks; each gets 1 to `replicas` replicas on different ranks."""

    loads: Annotated[Naturals, Field(min_length=1, max_length=MOST_EXPERTS)]
    classes: tuple[RankClass, ...] = Field(min_length=1, max_length=64)
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    sizes: Annotated[Naturals, Field(max_length=MOST_EXPERTS)] | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.sizes is not None and len(self.sizes) != len(self.loads):
            raise ValueError(f"{len(self.sizes)} sizes for {len(self.loads)} loads; give one each")
        if self.sizes is None and any(c.memory is not None for c in self.classes):
            raise ValueError("a class has a memory, but the experts have no sizes; give both or neither")
        if self.ranks > MOST_RANKS:
            raise ValueError(f"{self.ranks} ranks; at most {MOST_RANKS} are supported")
        if self.slots < len(self.loads):
            raise ValueError(f"{self.slots} slots for {len(self.loads)} experts; every expert needs one")
        return self

    @property
    def ranks(self) -> int:
        return sum(c.ranks for c in self.classes)

    @property
    def slots(self) -> int:
        return sum(c.ranks * c.slots for c in self.classes)

    @property
    def full(self) -> bool:
        """Every slot of every rank is taken in every placement."""
        return self.replicas == 1 and self.slots == len(self.loads)


class Prices(Record):
    """An integer value per expert (and replica count), and a cap that no rank's content exceeds."""

    kind: Literal["prices"]
    scale: tuple[Positive, Positive] = (1, 1)
    values: Annotated[tuple[Naturals, ...], StopAtFirst()]
    caps: Naturals
    surrogate: tuple[Natural, Natural] | None = None


class Split(Record):
    """Two experts share a rank, or they do not."""

    kind: Literal["split"]
    pair: tuple[Natural, Natural]
    together: "Argument"
    apart: "Argument"


class Branch(Record):
    """A binary tree over the variables of `system`, in preorder: the 0-side of a variable first, then its 1-side.

    A node is a variable, or a leaf: [row, multiplier] pairs that contradict the bounds on the path.
    """

    kind: Literal["branch"]
    nodes: Annotated[tuple[Natural | tuple[tuple[Natural, Signed], ...], ...], StopAtFirst()]


Argument = Annotated[Prices | Split | Branch, Field(discriminator="kind")]
Split.model_rebuild()


class Budget:
    """Table steps that may still be taken."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps

    def take(self, steps: int) -> None:
        """Raises Refused when the steps are not left."""
        self.left -= steps
        if self.left < 0:
            raise Refused(f"the arguments need more than {MOST_STEPS} table steps in all")


class Decided(NamedTuple):
    """What the splits above have decided: experts merged into groups, and pairs of groups kept apart."""

    group: tuple[int, ...]
    """for each expert, the least expert it shares a rank with"""
    apart: frozenset[tuple[int, int]]


def refute(problem: Problem, threshold: int, argument: Argument, budget: Budget) -> None:
    """Accept that in every placement some rank carries more than threshold * speed, or raise Refused."""
    start = Decided(tuple(range(len(problem.loads))), frozenset())
    _refute(problem, threshold, argument, start, budget, "argument")


def _refute(problem: Problem, threshold: int, argument: Argument, decided: Decided, budget: Budget, where: str) -> None:
    """One case of the splits above."""
    match argument:
        case Prices():
            _refute_by_prices(problem, threshold, argument, decided, budget, where)
        case Split():
            together, apart = _decide(problem, argument, decided, where)
            _refute(problem, threshold, argument.together, together, budget, f"{where}.together")
            _refute(problem, threshold, argument.apart, apart, budget, f"{where}.apart")
        case Branch():
            _refute_by_branching(problem, threshold, argument, budget, where)


def _decide(problem: Problem, split: Split, decided: Decided, where: str) -> tuple[Decided, Decided]:
    """Both cases of a split. Raises Refused where the pair is decided already."""
    n = len(problem.loads)
    if problem.replicas != 1:
        raise Refused("a split needs experts of one replica each", where)
    if max(split.pair) >= n:
        raise Refused(f"expert {max(split.pair)} of {n} does not exist", f"{where}.pair")
    a, b = sorted(decided.group[e] for e in split.pair)
    if a == b or (a, b) in decided.apart:
        raise Refused("the pair is decided already", f"{where}.pair")
    if len(decided.apart) >= MOST_SEPARATIONS:
        raise Refused(f"more than {MOST_SEPARATIONS} pairs kept apart on one branch", where)
    group = tuple(a if g == b else g for g in decided.group)
    moved = {(a if x == b else x, a if y == b else y) for x, y in decided.apart}
    together = Decided(group, frozenset((min(p), max(p)) for p in moved))
    return together, Decided(decided.group, decided.apart | {(a, b)})


def _refute_by_prices(problem: Problem, threshold: int, prices: Prices, decided: Decided, budget: Budget, where: str) -> None:
    """(1) every admissible content of a rank of class g has value <= caps[g]; (2) the supply exceeds the caps of all ranks."""
    n, classes = len(problem.loads), problem.classes
    if len(prices.values) != n or any(len(v) != problem.replicas for v in prices.values):
        raise Refused(f"needs one value for each of {n} experts and {problem.replicas} replica counts", f"{where}.values")
    if len(prices.caps) != len(classes):
        raise Refused(f"needs one cap for each of {len(classes)} classes", f"{where}.caps")
    if prices.surrogate is not None and problem.sizes is None:
        raise Refused("a surrogate needs sizes", f"{where}.surrogate")
    supply = sum(min((r + 1) * v for r, v in enumerate(values)) for values in prices.values)
    demand = sum(c.ranks * cap for c, cap in zip(classes, prices.caps, strict=True))
    if supply <= demand:
        raise Refused(f"the values supply {supply}, the caps allow {demand}: no contradiction", f"{where}.values")
    items = _items(problem, prices, decided)
    for g, (c, cap) in enumerate(zip(classes, prices.caps, strict=True)):
        limit = _limit(threshold, c, prices)
        for left_out in _leaving_out(sorted(decided.apart)):
            kept = [item for e, item in items if e not in left_out]
            budget.take(table_steps(kept, c.slots, cap, limit))
            if dearest_pattern_exceeds(kept, c.slots, problem.full, cap, limit):
                raise Refused(f"some content of a rank of class {g} is worth more than {cap}", f"{where}.caps.{g}")


def _items(problem: Problem, prices: Prices, decided: Decided) -> list[tuple[int, Item]]:
    """What may enter a rank: each group of merged experts, with its options of (weight, value) per replica count."""
    (p, q), n = prices.scale, len(problem.loads)
    a, b = prices.surrogate or (1, 0)
    sizes = problem.sizes or (0,) * n
    found: dict[int, Item] = {}
    for e in range(n):
        options = tuple((a * (p * problem.loads[e] // (q * (r + 1))) + b * sizes[e], v) for r, v in enumerate(prices.values[e]))
        first = found.get(decided.group[e])
        if first is not None:  # merged: one replica each
            options = ((first.options[0][0] + options[0][0], first.options[0][1] + options[0][1]),)
        found[decided.group[e]] = Item(1 if first is None else first.count + 1, options)
    return list(found.items())


def _limit(threshold: int, c: RankClass, prices: Prices) -> int | None:
    """The weight that a rank of class `c` may hold; None where the surrogate says nothing about it."""
    (p, q), (a, b) = prices.scale, prices.surrogate or (1, 0)
    if b and c.memory is None:
        return None
    return a * (p * threshold * c.speed // q) + b * (c.memory or 0)


def _leaving_out(pairs: list[tuple[int, int]]) -> Iterator[frozenset[int]]:
    """Ways to leave one of each pair out: a content without both of any pair lies within one of them."""
    if not pairs:
        yield frozenset()
        return
    (a, b), rest = pairs[0], pairs[1:]
    for e in (a, b):
        for others in _leaving_out([p for p in rest if e not in p]):
            yield others | {e}


class Row(NamedTuple):
    """sum of coefficient * variable <= right side, or = where `equality`."""

    terms: tuple[tuple[int, int], ...]
    """(variable, coefficient)"""
    right: int
    equality: bool


def system(problem: Problem, threshold: int) -> tuple[list[Row], list[int]]:
    """A linear relaxation of "no rank carries more than threshold * speed": rows, and upper bounds of the 0-1 variables.

    Variable (e * replicas + r) * ranks + j says that expert e has r + 1 replicas, one of them on rank
    j. With M the least common multiple of 1..replicas, the rows are, in order: for each expert
    sum M / (r + 1) x = M; for each rank its load * M, its slots (all taken where `full`), and its
    memory where it has one; for each expert and rank at most one replica, where replicas > 1. Equal
    ranks are numbered by first use, experts heaviest first: the i-th lies on the first (i + 1) * replicas
    of each class.
    """
    n, count, ranks = len(problem.loads), problem.replicas, problem.ranks
    m = lcm(*range(1, count + 1))
    of_expert = [[((e * count + r) * ranks, m // (r + 1)) for r in range(count)] for e in range(n)]
    rows = [Row(tuple((v + j, a) for v, a in of_expert[e] for j in range(ranks)), m, True) for e in range(n)]
    upper = [0] * (n * count * ranks)
    order = sorted(range(n), key=lambda e: (-problem.loads[e], e))
    first = 0
    for c in problem.classes:
        for j in range(first, first + c.ranks):
            every = [(e, v + j, a) for e in range(n) for v, a in of_expert[e]]
            rows.append(Row(tuple((v, a * problem.loads[e]) for e, v, a in every), m * threshold * c.speed, False))
            rows.append(Row(tuple((v, 1) for _, v, _ in every), c.slots, problem.full))
            if c.memory is not None and problem.sizes is not None:
                rows.append(Row(tuple((v, problem.sizes[e]) for e, v, _ in every), c.memory, False))
            for i, e in enumerate(order):
                if j - first < (i + 1) * count:
                    for v, _ in of_expert[e]:
                        upper[v + j] = 1
        first += c.ranks
    if count > 1:
        rows += [Row(tuple((v + j, 1) for v, _ in of_expert[e]), 1, False) for e in range(n) for j in range(ranks)]
    return rows, upper


def _refute_by_branching(problem: Problem, threshold: int, branch: Branch, budget: Budget, where: str) -> None:
    """Every leaf contradicts the bounds on its path, and every 0-1 assignment reaches a leaf."""
    size = len(problem.loads) * problem.replicas * problem.ranks
    if size > MOST_VARIABLES:
        raise Refused(f"a tree over {size} variables; at most {MOST_VARIABLES} are supported", where)
    budget.take(8 * size)
    rows, upper = system(problem, threshold)
    pending: list[tuple[tuple[int, int], ...]] = [()]  # (variable, value) of each decision on the path
    for number, node in enumerate(branch.nodes):
        at = f"{where}.nodes.{number}"
        if not pending:
            raise Refused("the tree is complete before this node", at)
        path = pending.pop()
        if isinstance(node, tuple):
            budget.take(len(path) + sum(len(rows[r].terms) for r, _ in node if r < len(rows)) + 1)
            if not _contradicts(rows, upper, dict(path), node):
                raise Refused("the multipliers do not contradict the bounds", at)
            continue
        if node >= size:
            raise Refused(f"variable {node} of {size} does not exist", at)
        budget.take(len(path) + 1)
        pending += [(*path, (node, 1)), (*path, (node, 0))]
    if pending:
        raise Refused("the tree ends before every case is closed", f"{where}.nodes")


def _contradicts(rows: list[Row], upper: list[int], fixed: dict[int, int], leaf: tuple[tuple[int, int], ...]) -> bool:
    """Whether the combined row is above its right side at every point of the box."""
    combined: dict[int, int] = {}
    right = 0
    for number, multiplier in leaf:
        if number >= len(rows) or (multiplier < 0 and not rows[number].equality):
            return False
        right += multiplier * rows[number].right
        for variable, coefficient in rows[number].terms:
            combined[variable] = combined.get(variable, 0) + multiplier * coefficient
    least = sum(c * (fixed[v] if v in fixed else 0 if c > 0 else upper[v]) for v, c in combined.items())
    return least > right or any(value > upper[v] for v, value in fixed.items())


def area_bound(problem: Problem) -> int:
    """Least T with T * sum of ranks * speed >= sum of loads: no placement is below it."""
    return ceil_div(sum(problem.loads), sum(c.ranks * c.speed for c in problem.classes))
