"""The strategies around a plan: what doubling or halving a degree would bring, and the nearest ones that run."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, product
from math import prod
from typing import NamedTuple

from models.bounds import Bounds
from models.enumeration import strategies
from models.instance import Instance
from models.rules import strategy_violations, world
from models.strategy import DEGREES, Strategy
from models.terms import Terms
from optimizer.completion import Completion
from optimizer.explaining.repairs import least_memory

FACTORS = (Fraction(1), Fraction(2), Fraction(1, 2))
SIDES = (("tp", "cp", "dp"), ("etp", "ep", "edp"))


class Outcome(NamedTuple):
    """What becomes of one strategy."""

    strategy: Strategy
    changed: tuple[str, ...]
    rule: str | None
    """the rule that it breaks; None where a plan of it runs"""
    sentence: str
    """how it breaks it, where that is looked into; empty where it runs"""
    value: int | None
    """objective of its best plan found; None where it cannot run or none was found"""


class Move(NamedTuple):
    """A degree doubled or halved, on as many GPUs, with as few other degrees changed as it takes to run."""

    degree: str
    factor: Fraction
    outcome: Outcome
    """the cheapest of the alternatives; where none runs, the first one refused"""
    alternatives: int


class Neighbourhood:
    """The strategies of one instance, seen from one of them."""

    def __init__(self, instance: Instance, ours: Strategy) -> None:
        self.instance, self.ours = instance, ours
        terms = Terms(instance)
        self._bounds, self._completion = Bounds(instance, terms), Completion(instance, terms)

    def outcome(self, s: Strategy) -> Outcome:
        """Whether a strategy runs, and what its best plan costs."""
        changed = changes(self.ours, s)
        broken = next(strategy_violations(self.instance, s), None)
        if broken is not None:
            return Outcome(s, changed, broken.rule, broken.sentence, None)
        found = self._completion.complete(self._bounds, s) if self._bounds.fits(s) else "memory"
        if isinstance(found, str):
            return Outcome(s, changed, found, "", None)
        return Outcome(s, changed, None, "", None if found[1] is None else found[1].value)

    def _in_words(self, outcome: Outcome) -> Outcome:
        """With a sentence where no split and placement keeps a rule, and with numbers where it is memory."""
        if outcome.rule is None or outcome.sentence:
            return outcome
        sentence = "no split and placement of it keeps the rule"
        if outcome.rule == "memory" and not isinstance(room := least_memory(self.instance, outcome.strategy), str):
            have = self.instance.cluster.pool.accelerator.memory_bytes
            sentence = f"every split needs at least {room.need} bytes per GPU, a GPU has {have}"
        return outcome._replace(sentence=sentence)

    def moves(self) -> list[Move]:
        """Every degree doubled and halved; moves that no combination of other degrees makes up for are left out."""
        around = [self.outcome(s) for s in _around(self.instance, self.ours)]
        found = []
        for degree, factor in product(DEGREES, FACTORS[1:]):
            made = [o for o in around if getattr(o.strategy, degree) == getattr(self.ours, degree) * factor]
            made = [o for o in made if o.value is not None] or made
            fewest = min((len(o.changed) for o in made), default=0)
            made = sorted((o for o in made if len(o.changed) == fewest), key=lambda o: o.value or 0)
            if made:
                found.append(Move(degree, factor, self._in_words(made[0]), len(made)))
        return found

    def nearest_that_run(self, most: int) -> list[Outcome]:
        """The strategies of the space that run and differ in the fewest degrees, then least in proportion; by enumeration."""
        by_changes: dict[int, list[Strategy]] = {}
        for s in strategies(self.instance):
            by_changes.setdefault(len(changes(self.ours, s)), []).append(s)
        ranked = (s for n in sorted(by_changes) if n for s in sorted(by_changes[n], key=lambda s: (ratio(self.ours, s), s)))
        return list(islice((o for o in map(self.outcome, ranked) if o.value is not None), most))


def changes(ours: Strategy, other: Strategy) -> tuple[str, ...]:
    """The degrees in which two strategies differ, and the order."""
    return tuple(name for name in Strategy._fields if getattr(ours, name) != getattr(other, name))


def ratio(ours: Strategy, other: Strategy) -> Fraction:
    """The product of the ratios of their degrees, each at least 1."""
    pairs = [(getattr(ours, d), getattr(other, d)) for d in DEGREES]
    return Fraction(prod(max(p) for p in pairs), prod(min(p) for p in pairs))


def _around(instance: Instance, ours: Strategy) -> Iterator[Strategy]:
    """Every strategy on as many GPUs whose degrees are ours, doubled or halved, and that keeps the rule `world`."""
    attention, experts = (list(_scaled(ours, side)) for side in SIDES)
    slots = [{"redundant": n} for n in sorted({ours.redundant, *instance.space.redundant_slots})]
    for rest in _scaled(ours, ("pp", "replicas", "microbatches")):
        for a, e, r in product(attention, experts, slots):
            s = Strategy(**(ours.degrees() | rest | a | e | r), order=ours.order)
            if s != ours and s.gpus == ours.gpus and s.tp * s.cp * s.dp == s.etp * s.ep * s.edp and world(instance, s) is None:
                yield s


def _scaled(ours: Strategy, degrees: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """These degrees, each as it is, doubled or halved."""
    for factors in product(FACTORS, repeat=len(degrees)):
        scaled = {d: f * int(getattr(ours, d)) for d, f in zip(degrees, factors, strict=True)}
        if all(v.denominator == 1 for v in scaled.values()):
            yield {d: v.numerator for d, v in scaled.items()}
