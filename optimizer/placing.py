"""One placement problem: a good placement, the best bound found, and the argument that proves it.

Closed forms and improvement first; then the value itself is attacked: either one less is refuted,
which proves it, or a better placement is found. What is left is a gap, by the best argument.
"""

from collections.abc import Iterator
from math import gcd, lcm
from typing import NamedTuple

from models.arguments import Argument, Problem
from models.packing import Refused, closed_bound, value_of_placement
from models.strategy import RankContents
from optimizer.branching import branch
from optimizer.filling import fill
from optimizer.improve import improve
from optimizer.kinds import undecided
from optimizer.prices import Effort, Relaxation, accepted, price
from optimizer.rounding import round_to_placement
from optimizer.splitting import split

RESPLITS = 10  # of improvement, per unit of effort
MOST_BRANCHED = 600  # variables of a problem that is branched on
FINENESS = 4_000  # bounds closer to each other than one part in this are not told apart


class Placed(NamedTuple):
    """A placement with its value, and a bound that a closed form or the argument (at bound - 1) proves."""

    contents: RankContents | None
    value: int | None
    bound: int
    argument: Argument | None


class Attack(NamedTuple):
    """What became of a threshold: refuted, or kept by a placement, or neither."""

    argument: Argument | None = None
    contents: RankContents | None = None


def solve_placement(problem: Problem, effort: int, seed: int = 0) -> Placed:
    """The best placement and bound within `effort` rounds of column generation, about. Deterministic.

    Never claims more than the checker accepts: `argument` refutes `bound` - 1, or is None where
    `bound` is a closed form.
    """
    left, bound = Effort(effort), closed_bound(problem)
    contents = _start(problem, bound, effort, seed)
    value = None if contents is None else value_of_placement(problem, contents)
    while value is not None and value > bound and left.rounds > 0:
        attack = refutation(problem, value - 1, left, contents, seed)
        if attack.argument is not None:
            return Placed(contents, value, value, attack.argument)
        if attack.contents is None:
            break
        contents, value = attack.contents, value_of_placement(problem, attack.contents)
    bound, argument = _bisect(problem, bound, value, contents, left) if value is None or value > bound else (bound, None)
    return Placed(contents, value, bound, argument)


def refutation(problem: Problem, threshold: int, effort: Effort, contents: RankContents | None = None, seed: int = 0) -> Attack:
    """An argument that the checker accepts, or a placement that keeps the threshold, or neither.

    `contents` is a placement near the threshold, from which to start.
    """
    solvable: Relaxation | None = None
    for surrogate in _surrogates(problem, threshold):
        found = price(problem, threshold, effort, undecided(problem), surrogate, contents)
        if found.prices is not None and accepted(problem, threshold, found.prices):
            return Attack(argument=found.prices)
        if found.used:
            solvable = found
            attack = _keep(problem, threshold, round_to_placement(problem, threshold, found, effort.rounds / 100, seed))
            if attack.contents is not None:
                return attack
    if solvable is not None and problem.replicas == 1 and solvable.view.surrogate is None:
        found_by_splits = split(problem, threshold, undecided(problem), solvable, effort)
        if isinstance(found_by_splits, tuple):
            return _keep(problem, threshold, found_by_splits)
        if found_by_splits is not None and accepted(problem, threshold, found_by_splits):
            return Attack(argument=found_by_splits)
    if len(problem.loads) * problem.replicas * problem.ranks <= MOST_BRANCHED:
        tree = branch(problem, threshold, effort)
        if isinstance(tree, tuple):
            return _keep(problem, threshold, tree)
        if tree is not None and accepted(problem, threshold, tree):
            return Attack(argument=tree)
    return Attack()


def _start(problem: Problem, bound: int, effort: int, seed: int) -> RankContents | None:
    """A placement by improvement alone."""
    if problem.full and len(problem.classes) == 1 and problem.classes[0].memory is None:
        return improve(problem.loads, problem.ranks, bound * problem.classes[0].speed, RESPLITS * effort, seed)
    return _keep(problem, None, fill(problem, effort)).contents


def _keep(problem: Problem, threshold: int | None, contents: RankContents | None) -> Attack:
    """The contents, if they are a placement that keeps the threshold."""
    if contents is None:
        return Attack()
    try:
        value = value_of_placement(problem, contents)
    except Refused:
        return Attack()
    return Attack(contents=contents if threshold is None or value <= threshold else None)


def _surrogates(problem: Problem, threshold: int) -> Iterator[tuple[int, int] | None]:
    """Loads alone; then, where memory counts, loads and sizes that fill a rank alike, more of the one, more of the other, sizes alone."""
    yield None
    memory = max((c.memory for c in problem.classes if c.memory is not None), default=0)
    load = lcm(*range(1, problem.replicas + 1)) * threshold * max(c.speed for c in problem.classes)
    if memory and load:
        common = gcd(memory, load)
        for of_load, of_size in ((1, 1), (3, 1), (1, 3)):
            yield of_load * memory // common, of_size * load // common
    if memory:
        yield 0, 1


def _bisect(problem: Problem, bound: int, value: int | None, contents: RankContents | None, effort: Effort) -> tuple[int, Argument | None]:
    """The largest bound that prices prove, between the closed form and the value; as (bound, argument)."""
    low, high = bound, sum(problem.loads) if value is None else value
    best: Argument | None = None
    while high - low > max(1, high // FINENESS) and effort.rounds > 0:
        middle = (low + high) // 2
        priced = (price(problem, middle, effort, undecided(problem), s, contents).prices for s in _surrogates(problem, middle))
        found = next((p for p in priced if p is not None), None)
        if found is not None and accepted(problem, middle, found):
            low, best = _lift(problem, middle, high - 1, found) + 1, found
        else:
            high = middle
    return low, best


def _lift(problem: Problem, refuted: int, most: int, argument: Argument) -> int:
    """The largest threshold up to `most` that the argument refutes: it keeps refuting every lower one."""
    while refuted < most:
        middle = (refuted + most + 1) // 2
        if accepted(problem, middle, argument):
            refuted = middle
        else:
            most = middle - 1
    return refuted
