"""One placement problem: a good placement, the best bound found, and the argument that proves it.

Closed forms and improvement first; then one less than the value is attacked: refuted, it proves the
value. Otherwise thresholds between bound and value are, each either refuted by prices or kept by
what the relaxed solution rounds to. What is left is a gap, by the best argument.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import gcd, lcm
from typing import NamedTuple

from models.arguments import Argument, Problem
from models.packing import Refused, closed_bound, value_of_placement
from models.strategy import RankContents
from optimizer.encoding.makespan import solve_makespan
from optimizer.placing.branching import branch
from optimizer.placing.filling import fill
from optimizer.placing.improve import improve
from optimizer.placing.kinds import undecided
from optimizer.placing.prices import Effort, Relaxation, accepted, price
from optimizer.placing.rounding import most_used, round_to_placement
from optimizer.placing.splitting import split

RESPLITS = 10  # of improvement, per unit of effort
ROUNDING = 0.5  # deterministic seconds of CP-SAT per set of contents
MOST_SPLIT = 48  # experts of a problem that is split on
NODES = 20  # of a branch tree, per round of column generation
MOST_MODELLED = 2_000  # variables of a problem that CP-SAT looks at as a whole
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


@lru_cache(maxsize=512)
def solve_placement(problem: Problem, effort: int, seed: int = 0) -> Placed:
    """The best placement and bound within about `effort` rounds of column generation. Deterministic.

    Never claims more than the checker accepts: `argument` refutes `bound` - 1, or is None where
    `bound` is a closed form.
    """
    return _Contest(problem, effort, seed).decide()


class _Contest:
    """The gap between the best placement and the best bound, closed from both sides."""

    def __init__(self, problem: Problem, effort: int, seed: int) -> None:
        self.problem, self.left, self.seed = problem, Effort(effort), seed
        self.bound = closed_bound(problem)
        self.argument: Argument | None = None
        self.value: int | None = None
        self.contents: RankContents | None = None
        self.resplits = RESPLITS * effort
        self.offer(_improved(problem, self.bound + self.bound // FINENESS, self.resplits, seed, None))

    def decide(self) -> Placed:
        """Value less one first: its refutation ends it. Then halve the gap; then all means at value less one again."""
        self.attack(None if self.value is None else self.value - 1)
        high = sum(self.problem.loads) if self.value is None else self.value
        while self.open() and high - self.bound > max(1, high // FINENESS):
            middle = (self.bound + high) // 2
            if not self.attack(middle):
                high = middle
            high = high if self.value is None else min(high, self.value)
        while self.open() and self.value is not None:
            found = refutation(self.problem, self.value - 1, self.left, self.contents, self.seed)
            if found.argument is not None:
                self.bound, self.argument = self.value, found.argument
            elif not self.offer(found.contents):
                break
        return Placed(self.contents, self.value, self.bound, self.argument)

    def open(self) -> bool:
        """Whether there is a gap, and effort left."""
        return self.left.rounds > 0 and (self.value is None or self.value > self.bound)

    def attack(self, threshold: int | None) -> bool:
        """Refute a threshold by prices, and maybe higher ones; or else round the relaxed solution. Whether it is refuted."""
        if threshold is None or not self.open():
            return False
        for surrogate in _surrogates(self.problem, threshold):
            found = price(self.problem, threshold, self.left, undecided(self.problem), surrogate, self.contents)
            if found.prices is not None and accepted(self.problem, threshold, found.prices):
                most = sum(self.problem.loads) if self.value is None else self.value - 1
                self.bound, self.argument = _lift(self.problem, threshold, most, found.prices) + 1, found.prices
                return True
            if found.used:
                self.offer(_improved(self.problem, threshold, self.resplits // 2, self.seed, most_used(self.problem, found)))
        return False

    def offer(self, contents: RankContents | None) -> bool:
        """Take a placement if it is better than the best so far."""
        value = _value(self.problem, contents)
        if value is None or (self.value is not None and value >= self.value):
            return False
        self.value, self.contents = value, contents
        return True


def refutation(problem: Problem, threshold: int, effort: Effort, contents: RankContents | None = None, seed: int = 0) -> Attack:
    """An argument that the checker accepts, or a placement that keeps the threshold, or neither: by all means there are.

    `contents` is a placement near the threshold, from which to start.
    """
    solvable: Relaxation | None = None
    for surrogate in _surrogates(problem, threshold):
        found = price(problem, threshold, effort, undecided(problem), surrogate, contents)
        if found.prices is not None and accepted(problem, threshold, found.prices):
            return Attack(argument=found.prices)
        if found.used:
            solvable = found if surrogate is None else solvable
            rounded = round_to_placement(problem, threshold, found, ROUNDING, seed)
            if _within(problem, threshold, rounded):
                return Attack(contents=rounded)
    if solvable is not None and problem.replicas == 1 and len(problem.loads) <= MOST_SPLIT:
        below = split(problem, threshold, undecided(problem), solvable, Effort(effort.rounds // 2))
        if isinstance(below, tuple):
            return Attack(contents=below if _within(problem, threshold, below) else None)
        if below is not None and accepted(problem, threshold, below):
            return Attack(argument=below)
    variables = len(problem.loads) * problem.replicas * problem.ranks
    if variables <= MOST_MODELLED and _within(problem, threshold, (modelled := _modelled(problem, contents))):
        return Attack(contents=modelled)
    if variables <= MOST_BRANCHED:
        tree = branch(problem, threshold, Effort(effort.rounds * NODES))
        if isinstance(tree, tuple):
            return Attack(contents=tree if _within(problem, threshold, tree) else None)
        if tree is not None and accepted(problem, threshold, tree):
            return Attack(argument=tree)
    return Attack()


def _modelled(problem: Problem, hint: RankContents | None) -> RankContents | None:
    """What CP-SAT finds by itself."""
    answer = solve_makespan(problem, hint, ROUNDING, seconds=None, workers=1)
    return None if answer is None else answer.contents


def _improved(problem: Problem, threshold: int, resplits: int, seed: int, given: RankContents | None) -> RankContents | None:
    """A placement by improvement alone, from contents given for some ranks."""
    if problem.full and len(problem.classes) == 1 and problem.classes[0].memory is None:
        held = tuple(rank for rank in given or () if rank)
        return improve(problem.loads, problem.ranks, threshold * problem.classes[0].speed, resplits, seed, held)
    return fill(problem, resplits // RESPLITS, given)


def _value(problem: Problem, contents: RankContents | None) -> int | None:
    """The value of a placement; None where the contents are none."""
    try:
        return None if contents is None else value_of_placement(problem, contents)
    except Refused:
        return None


def _within(problem: Problem, threshold: int, contents: RankContents | None) -> bool:
    value = _value(problem, contents)
    return value is not None and value <= threshold


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


def _lift(problem: Problem, refuted: int, most: int, argument: Argument) -> int:
    """The largest threshold up to `most` that the argument refutes: it keeps refuting every lower one."""
    while refuted < most:
        middle = (refuted + most + 1) // 2
        if accepted(problem, middle, argument):
            refuted = middle
        else:
            most = middle - 1
    return refuted
