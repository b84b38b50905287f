"""A placement problem as linear rows over 0-1 variables: what the leaves of a branch tree combine."""

from math import lcm
from typing import NamedTuple

from models.packing import Problem


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


def contradicts(rows: list[Row], upper: list[int], fixed: dict[int, int], leaf: tuple[tuple[int, int], ...]) -> bool:
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
