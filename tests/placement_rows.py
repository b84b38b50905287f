"""A placement problem with a threshold, written as rows over 0-1 variables; and its optimum by going through all placements.

Shares with `models` only the type `Problem`: the rows, their variables and their order are
not those of `models.assignment.system`, so that two routes to one statement have nothing to err in together.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, count
from math import lcm
from typing import NamedTuple

from models.packing import Problem


class Row(NamedTuple):
    """sum of coefficient * variable <= right, or = where `equal`; every variable is 0 or 1."""

    terms: tuple[tuple[str, int], ...]
    right: int
    equal: bool = False


Placement = tuple[tuple[int, ...], ...]
"""the experts of each rank, ranks in the order of the classes"""


def copy(expert: int, copies: int, rank: int) -> str:
    """Name of the variable that is 1 iff the expert has `copies` replicas and one of them lies on the rank."""
    return f"x_{expert}_{copies}_{rank}"


def placement_rows(problem: Problem, threshold: int) -> list[Row]:
    """Rows that a placement satisfies, up to the numbering of equal ranks, iff no rank carries more than threshold * speed."""
    return [*_expert_rows(problem), *_rank_rows(problem, threshold), *_numbering_rows(problem)]


def _expert_rows(problem: Problem) -> Iterator[Row]:
    """One replica count y per expert, and as many ranks with a replica: sum y = 1, sum x_r = r * y_r."""
    ranks = range(problem.ranks)
    for e in range(len(problem.loads)):
        if problem.replicas == 1:
            yield Row(tuple((copy(e, 1, j), 1) for j in ranks), 1, equal=True)
            continue
        counts = range(1, problem.replicas + 1)
        yield Row(tuple((f"y_{e}_{r}", 1) for r in counts), 1, equal=True)
        for r in counts:
            yield Row((*((copy(e, r, j), 1) for j in ranks), (f"y_{e}_{r}", -r)), 0, equal=True)


def _rank_rows(problem: Problem, threshold: int) -> Iterator[Row]:
    """Load (times a common multiple of the replica counts), slots and memory of each rank."""
    whole = lcm(*range(1, problem.replicas + 1))
    pairs = [(e, r) for e in range(len(problem.loads)) for r in range(1, problem.replicas + 1)]
    for j, (g, _) in enumerate(_positions(problem)):
        c = problem.classes[g]
        yield Row(tuple((copy(e, r, j), whole // r * problem.loads[e]) for e, r in pairs), whole * threshold * c.speed)
        if c.slots < len(problem.loads):
            yield Row(tuple((copy(e, r, j), 1) for e, r in pairs), c.slots)
        if c.memory is not None and problem.sizes is not None:
            yield Row(tuple((copy(e, r, j), problem.sizes[e]) for e, r in pairs), c.memory)


def _numbering_rows(problem: Problem) -> Iterator[Row]:
    """Equal ranks are numbered as they fill, heaviest expert first: expert i finds at most i * replicas in use, and adds `replicas`."""
    for i, e in enumerate(heaviest_first(problem)):
        for j, (_, position) in enumerate(_positions(problem)):
            if position >= (i + 1) * problem.replicas:
                for r in range(1, problem.replicas + 1):
                    yield Row(((copy(e, r, j), 1),), 0)


def _positions(problem: Problem) -> list[tuple[int, int]]:
    """For each rank its class, and its number within the class."""
    return [(g, p) for g, c in enumerate(problem.classes) for p in range(c.ranks)]


def heaviest_first(problem: Problem) -> list[int]:
    return sorted(range(len(problem.loads)), key=lambda e: -problem.loads[e])


def placement_value(problem: Problem, placement: Placement) -> int:
    """Least integer T such that no rank carries more than T * speed. Raises ValueError where a rule of the problem is broken."""
    number = [sum(e in rank for rank in placement) for e in range(len(problem.loads))]
    if len(placement) != problem.ranks or not all(1 <= r <= problem.replicas for r in number):
        raise ValueError("not one place, or too many, for some expert")
    worst = Fraction(0)
    for (g, _), rank in zip(_positions(problem), placement, strict=True):
        c = problem.classes[g]
        size = 0 if problem.sizes is None else sum(problem.sizes[e] for e in rank)
        if len(rank) > c.slots or len(set(rank)) < len(rank) or (c.memory is not None and size > c.memory):
            raise ValueError(f"a rank of class {g} cannot hold {rank}")
        worst = max(worst, sum((Fraction(problem.loads[e], number[e]) for e in rank), Fraction(0)) / c.speed)
    return -(-worst.numerator // worst.denominator)


Rank = tuple[int, Fraction, int, int]
"""class, load, replicas and size of what a rank holds"""


def is_attainable(problem: Problem, threshold: int) -> bool:
    """Whether some placement keeps the threshold: all of them, one expert after the other; equal contents are looked at once."""
    states: set[tuple[Rank, ...]] = {tuple((g, Fraction(0), 0, 0) for g, _ in _positions(problem))}
    for e in heaviest_first(problem):
        states = {after for state in states for after in _with_expert(problem, threshold, state, e)}
    return bool(states)


def _with_expert(problem: Problem, threshold: int, state: tuple[Rank, ...], e: int) -> Iterator[tuple[Rank, ...]]:
    """Every way to add the replicas of one expert."""
    size = 0 if problem.sizes is None else problem.sizes[e]
    for r in range(1, problem.replicas + 1):
        added = Fraction(problem.loads[e], r)
        for chosen in combinations(range(len(state)), r):
            after = list(state)
            for j in chosen:
                g, load, taken, used = state[j]
                after[j] = (g, load + added, taken + 1, used + size)
            if all(_holds(problem, threshold, after[j]) for j in chosen):
                yield tuple(sorted(after))


def _holds(problem: Problem, threshold: int, rank: Rank) -> bool:
    c, (_, load, taken, used) = problem.classes[rank[0]], rank
    return load <= threshold * c.speed and taken <= c.slots and (c.memory is None or used <= c.memory)


def least_threshold(problem: Problem) -> int:
    """The optimum, by exhaustive search. The problem must have a placement."""
    total = sum(problem.loads)
    capacity = sum(c.ranks * c.speed for c in problem.classes)
    return next(t for t in count(-(-total // capacity)) if is_attainable(problem, t))
