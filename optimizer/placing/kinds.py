"""A placement problem at one threshold as the prover sees it: alike experts together, weights on a coarse grid.

Every content that keeps the threshold keeps the limits here; with a coarse grid some others do too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import lcm
from typing import NamedTuple

from models.arguments import Decided, Problem
from models.strategy import RankContents
from optimizer.encoding.master import Column, Demand

MOST_CELLS = 5_000_000  # of a pricing table
FINEST = 4_000  # grid steps per limit, at most


class Kind(NamedTuple):
    """Groups of merged experts that nothing tells apart."""

    groups: tuple[tuple[int, ...], ...]
    weights: tuple[int, ...]
    """of one replica, per option (replicas - 1), in grid steps"""

    @property
    def slots(self) -> int:
        """Slots that one group takes."""
        return len(self.groups[0])


class View(NamedTuple):
    """What prices are sought for."""

    kinds: tuple[Kind, ...]
    limits: tuple[int | None, ...]
    """of each class, in grid steps; None where weights do not matter"""
    slots: tuple[int, ...]
    demand: Demand
    apart: tuple[tuple[int, int], ...]
    """pairs of kinds, of one group each, that share no rank"""
    scale: tuple[int, int]
    surrogate: tuple[int, int] | None


def undecided(problem: Problem) -> Decided:
    """No split has decided anything."""
    return Decided(tuple(range(len(problem.loads))), frozenset())


def view(problem: Problem, threshold: int, decided: Decided, surrogate: tuple[int, int] | None) -> View:
    """The problem under the decisions of splits; a content weighs its load, or the surrogate's load and size."""
    p, (a, b), options = lcm(*range(1, problem.replicas + 1)), surrogate or (1, 0), range(1, problem.replicas + 1)
    limits = [None if b and c.memory is None else a * p * threshold * c.speed + b * (c.memory or 0) for c in problem.classes]
    kinds = _alike(problem, decided)
    largest, finest = max((limit for limit in limits if limit is not None), default=0), _finest(problem, len(kinds))
    steps, per = (finest, largest) if largest > finest else (1, 1)
    weights = [
        tuple((a * sum(p * problem.loads[e] // r for e in g[0]) + b * _size(problem, g[0])) * steps // per for r in options) for g in kinds
    ]
    position = {group[0]: k for k, groups in enumerate(kinds) for group in groups}
    return View(
        tuple(Kind(groups, w) for groups, w in zip(kinds, weights, strict=True)),
        tuple(None if limit is None else limit * steps // per for limit in limits),
        tuple(c.slots for c in problem.classes),
        Demand(tuple(map(len, kinds)), problem.replicas, tuple(c.ranks for c in problem.classes), problem.full),
        tuple(sorted((position[x], position[y]) for x, y in decided.apart)),
        (p, 1),
        surrogate,
    )


def columns_of(problem: Problem, seen: View, contents: RankContents) -> Iterator[Column]:
    """The contents of a placement that are within the limits, where nothing is merged or kept apart."""
    kind_of = {group[0]: k for k, kind in enumerate(seen.kinds) for group in kind.groups if not seen.apart and len(group) == 1}
    copies = Counter(e for rank in contents for e in rank)
    classes = [g for g, c in enumerate(problem.classes) for _ in range(c.ranks)]
    for g, rank in zip(classes, contents, strict=False):
        uses = tuple(sorted((kind_of[e], copies[e] - 1) for e in rank if e in kind_of))
        limit, weight = seen.limits[g], sum(seen.kinds[kind].weights[option] for kind, option in uses)
        if len(uses) == len(rank) and (limit is None or weight <= limit):
            yield Column(g, uses)


def _alike(problem: Problem, decided: Decided) -> list[tuple[tuple[int, ...], ...]]:
    """Groups of merged experts by kind, heaviest kind first; a group that is kept apart from some other is alone."""
    members: dict[int, list[int]] = {}
    for e, group in enumerate(decided.group):
        members.setdefault(group, []).append(e)
    paired = {group for pair in decided.apart for group in pair}
    kinds: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for group, es in members.items():
        key = (sum(problem.loads[e] for e in es), _size(problem, es), len(es), group if group in paired else -1)
        kinds.setdefault(key, []).append(tuple(es))
    return [tuple(kinds[key]) for key in sorted(kinds, reverse=True)]


def _size(problem: Problem, experts: Iterable[int]) -> int:
    return 0 if problem.sizes is None else sum(problem.sizes[e] for e in experts)


def _finest(problem: Problem, kinds: int) -> int:
    """Grid steps per limit that the tables have room for."""
    return min(FINEST, max(100, MOST_CELLS // (kinds * (max(c.slots for c in problem.classes) + 1))))
