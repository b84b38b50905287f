"""Arguments that no placement of a problem keeps a threshold.

`refute` accepts an argument or raises `Refused` with the place and the reason. The grammar and the
soundness of each kind: `docs/certificate.md`. Integers only; no search: the work is that of tables
whose sizes are added up beforehand and held under a budget.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from models.assignment import contradicts
from models.assignment import system as system
from models.packing import LARGEST, Natural, Naturals
from models.packing import Problem as Problem
from models.packing import RankClass as RankClass
from models.packing import Refused as Refused
from models.packing import area_bound as area_bound
from models.packing import closed_bound as closed_bound
from models.patterns import Item, dearest_pattern_exceeds, table_steps
from models.record import Record, StopAtFirst

MOST_SEPARATIONS = 12
MOST_STEPS = 60_000_000
MOST_VARIABLES = 200_000

Positive = Annotated[int, Field(ge=1, lt=LARGEST)]
Signed = Annotated[int, Field(gt=-LARGEST, lt=LARGEST)]


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
        found[decided.group[e]] = Item(1 if first is None else first.slots + 1, options)
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
            if not contradicts(rows, upper, dict(path), node):
                raise Refused("the multipliers do not contradict the bounds", at)
            continue
        if node >= size:
            raise Refused(f"variable {node} of {size} does not exist", at)
        budget.take(len(path) + 1)
        pending += [(*path, (node, 1)), (*path, (node, 0))]
    if pending:
        raise Refused("the tree ends before every case is closed", f"{where}.nodes")
