"""The strategy that loses least in the worst variant of a grid, and whether any other could lose less."""

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from models.bounds import Bounds
from models.floors import Floors
from models.instance import Instance
from models.landscape import Landscape
from models.objective import value_of
from models.relaxation import grade, relaxed
from models.rules import strategy_violations
from models.strategy import DEFAULT_ORDER, Strategy
from models.terms import Terms
from optimizer.completion import Completion

FEWEST = 3  # strategies that are always priced
MOST_CHALLENGERS = 2_000
MOST_STEPS = 10_000_000  # of an enumeration
MOST_PRICED = 40_000  # strategies times variants
_LABEL = re.compile(r"EP(\d+)(?:\+(\d+))? TP(\d+) PP(\d+)((?: (?:DP|CP|ETP|EDP)\d+)*)(?: x(\d+))?(?: mb(\d+))?(?: \[([a-z|-]+)\])?")


class Case(NamedTuple):
    """A variant with its proved optimum."""

    instance: Instance
    value: int


class Regret(NamedTuple):
    """A strategy, its stages and placement chosen anew in every variant."""

    label: str
    runs_in: int
    """variants in which some plan of it runs"""
    worst: Fraction
    """(value - optimum) / optimum at most, over those"""
    at: int
    """index of the case where that is"""


class LeastRegret(NamedTuple):
    """What was found over the cases."""

    cases: int
    considered: list[Regret]
    """best first"""
    left_out: int
    """strategies that were to be considered, but would have taken too long"""
    proved: bool
    """no strategy of the space that runs in every case has a smaller worst regret than the first"""


def strategy_of(label: str) -> Strategy:
    """The inverse of `Strategy.label`. Raises ValueError for other texts."""
    match = _LABEL.fullmatch(label)
    if match is None:
        raise ValueError(f"{label!r} is not the label of a strategy")
    ep, redundant, tp, pp, rest, replicas, microbatches, order = match.groups()
    degrees = {"dp": 1, "cp": 1, "etp": 1, "edp": 1} | {name.lower(): int(n) for name, n in re.findall(r"([A-Z]+)(\d+)", rest)}
    return Strategy(
        tp=int(tp),
        pp=int(pp),
        ep=int(ep),
        **degrees,
        replicas=int(replicas or 1),
        microbatches=int(microbatches or 1),
        order=order or DEFAULT_ORDER,
        redundant=int(redundant or 0),
    )


class Pricer:
    """Values of strategies in one variant."""

    def __init__(self, instance: Instance) -> None:
        self.instance, terms = instance, Terms(instance)
        self.bounds, self.floors, self._completion = Bounds(instance, terms), Floors(instance, terms), Completion(instance, terms)

    def bound(self, s: Strategy) -> int | None:
        """No plan of the strategy is below; None where none runs."""
        solution = None if any(strategy_violations(self.instance, s)) else self.bounds.exact(s)
        return None if solution is None or isinstance(solution, str) else value_of(self.instance, s).of(solution.step_ns)

    def value(self, s: Strategy) -> int | None:
        """Of the best plan found; None where none is known to run."""
        if any(strategy_violations(self.instance, s)):
            return None
        found = self._completion.complete(self.bounds, s)
        return None if isinstance(found, str) or found[1] is None else found[1].value


def least_regret(cases: Callable[[], Iterator[Case]], count: int, labels: Sequence[str]) -> LeastRegret:
    """The strategies of `labels`, most important first, by their worst regret over the cases; then all others that might do better.

    `cases` gives the same `count` cases every time; `labels` beyond what can be priced in reasonable time are left out.
    """
    wanted = labels[: max(FEWEST, MOST_PRICED // max(1, count))]
    considered = _regrets(cases(), [strategy_of(label) for label in wanted])
    if not considered or considered[0].runs_in < count:
        return LeastRegret(count, considered, len(labels) - len(wanted), False)
    challengers = _challengers(cases(), considered[0].worst)
    if challengers is None:
        return LeastRegret(count, considered, len(labels) - len(wanted), False)
    known = {r.label for r in considered}
    considered = sorted([*considered, *_regrets(cases(), [s for s in challengers if s.label() not in known])], key=_rank)
    return LeastRegret(count, considered, len(labels) - len(wanted), not _challengers(cases(), considered[0].worst, challengers))


def _regrets(cases: Iterator[Case], strategies: Sequence[Strategy]) -> list[Regret]:
    """The regrets of strategies over the cases, best first."""
    found = {s: Regret(s.label(), 0, Fraction(0), 0) for s in strategies}
    for n, case in enumerate(cases if strategies else ()):
        pricer = Pricer(case.instance)
        for s, sofar in found.items():
            value = pricer.value(s)
            if value is not None:
                loss = Fraction(value - case.value, case.value)
                worst, at = (loss, n) if loss > sofar.worst else (sofar.worst, sofar.at)
                found[s] = Regret(sofar.label, sofar.runs_in + 1, worst, at)
    return sorted(found.values(), key=_rank)


def _rank(r: Regret) -> tuple[int, Fraction, str]:
    return -r.runs_in, r.worst, r.label


def _challengers(cases: Iterator[Case], least: Fraction, among: list[Strategy] | None = None) -> list[Strategy] | None:
    """Every strategy (of those `among`) whose bounds leave it a worst regret below `least`; None where they are too many to look at."""
    found, priced = among, 0
    for case in cases:
        pricer, most = Pricer(case.instance), case.value + least * case.value
        if found is None:
            found = _near(case, pricer, most)
            if found is None:
                return None
        else:
            found = [s for s in found if (bound := pricer.bound(s)) is not None and bound < most]
        priced += len(found)
        if not found or priced > MOST_PRICED:
            return None if found else []
    return found


def _near(case: Case, pricer: Pricer, most: Fraction) -> list[Strategy] | None:
    """Every strategy whose bound in one case is below `most`."""
    landscape = Landscape.of(relaxed(case.instance, grade(case.instance)), MOST_STEPS)
    if landscape is None:
        return None
    found = list[Strategy]()
    for floor, s in landscape.candidates(case.instance):
        if floor >= most:
            break
        if s is not None and (bound := pricer.bound(s)) is not None and bound < most:
            found.append(s)
            if len(found) > MOST_CHALLENGERS:
                return None
    return found
