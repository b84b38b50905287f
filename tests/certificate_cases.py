"""Certificates of every kind of claim and argument, made by the program on tiny instances and problems."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from random import Random
from typing import Any

from brute import candidates, dearer_plans, plans, strategies
from random_instances import plain_instance

import models.placement as placement
import models.replicas as replicas
from models.arguments import Argument, Problem
from models.bounds import Bounds
from models.certificate import Bounded, Certificate, Fact, Optimal, Placement, parse
from models.instance import Instance
from models.packing import RankClass
from models.result import Candidate
from models.rules import Violation, strategy_violations, violations
from optimizer.certify import certificate_alone, certificate_of, certificate_of_broken, stated
from optimizer.enumerate import enumerate_space
from optimizer.look import Effort
from optimizer.placing.prices import Effort as Rounds
from optimizer.placing.solve import refutation, solve_placement

EPSILON_PPM = 50_000
WHOLE = Effort(10**9, None)

Json = dict[str, Any]


@contextmanager
def large_layers() -> Iterator[None]:
    """Every MoE layer counts as too large to enumerate its placements: bounds rest on closed forms and facts."""
    kept = placement.MOST_STATES
    _forget()
    placement.MOST_STATES = 0
    try:
        yield
    finally:
        placement.MOST_STATES = kept
        _forget()


def _forget() -> None:
    for memo in (placement.front, placement.all_placements, replicas.replicated_front, replicas.replicated_placements):
        memo.cache_clear()


def quiet(_: str) -> None:
    pass


def searched(instance: Instance, seed: int = 0, near: bool = True, refuted: bool = True) -> Certificate:
    """The certificate of a search, with a dearer plan refuted where the best strategy has one."""
    claim = enumerate_space(instance, EPSILON_PPM, WHOLE, quiet, seed)
    dearer: Iterator[Candidate] = iter(())
    if refuted and claim.optimal:
        best = claim.optimal[0]
        dearer = (Candidate(*found) for found in dearer_plans(instance, best.plan.strategy, best.value))
    return certificate_of(instance, claim, next(dearer, None), near)


def limited(instance: Instance) -> Certificate:
    """The certificate of a search that stopped early."""
    return certificate_of(instance, enumerate_space(instance, EPSILON_PPM, Effort(1, None), quiet))


def bounded(certificate: Certificate, slack: int, complete: bool) -> Certificate:
    """An optimal claim weakened to a bound; `complete`: with the list still called complete."""
    claim = certificate.claim
    assert isinstance(claim, Optimal)
    weaker = Bounded(
        kind="bounded",
        value=claim.value,
        bound=max(0, claim.value - slack),
        complete_to=claim.complete_to if complete else None,
        plans=claim.plans if complete else claim.plans[:1],
        strategies=claim.strategies,
        refuted=claim.refuted,
    )
    return certificate.model_copy(update={"claim": weaker})


def broken(instance: Instance, rng: Random) -> Iterator[Certificate]:
    """A strategy that breaks rules, a plan that does, and a strategy that no split and placement completes; those there are."""
    every = list(islice(candidates(instance), 3000))
    tried = ((s, list(strategy_violations(instance, s))) for s in rng.sample(every, min(len(every), 60)))
    yield from islice((certificate_of_broken(instance, stated(s, None, None), found) for s, found in tried if found), 1)
    bounds, kept = Bounds(instance), list(strategies(instance))
    some = (plan for s in kept for plan in islice(plans(instance, s), 20))
    failed = ((plan, found) for plan in some if (found := violations(instance, plan)))
    yield from islice((certificate_of_broken(instance, stated(*plan), found) for plan, found in failed), 1)
    rules = ((s, bounds.exact(s)) for s in kept)
    open_ = (certificate_of_broken(instance, stated(s, None, None), [Violation(rule, "")]) for s, rule in rules if isinstance(rule, str))
    yield from islice(open_, 1)


def problem(loads: tuple[int, ...], *classes: RankClass, replicas: int = 1, sizes: tuple[int, ...] | None = None) -> Problem:
    return Problem(loads=loads, classes=classes, replicas=replicas, sizes=sizes)


def placed(p: Problem, effort: int = 400, argument: Argument | None = None) -> Certificate:
    """The certificate of a solved placement problem; with an `argument`, that one."""
    found = solve_placement(p, effort)
    claim = Placement(
        kind="placement", problem=p, placement=found.contents, value=found.value, bound=found.bound, argument=argument or found.argument
    )
    return certificate_alone(claim, "placing")


def with_facts(certificate: Certificate) -> Certificate:
    """The certificate with a fact for each row of loads on two ranks, by prices at the largest bound that they show."""
    instance = certificate.instance
    assert instance is not None
    rows = 1 if instance.expert_load is None else len(instance.expert_load.counts)
    facts = tuple(fact for row in range(rows) if (fact := _fact(instance, row, 2)) is not None)
    return certificate.model_copy(update={"facts": facts})


def _fact(instance: Instance, row: int, ranks: int) -> Fact | None:
    loads = instance.load_of_moe_layer(row)
    if len(loads) % ranks:
        return None
    layer = problem(loads, RankClass(ranks=ranks, slots=len(loads) // ranks))
    least = solve_placement(layer, 50).bound
    argument = refutation(layer, least - 1, Rounds(50)).argument if least else None
    return None if argument is None else Fact(row=row, ranks=ranks, least=least, argument=argument)


def document(certificate: Certificate) -> Json:
    found: Json = json.loads(certificate.text())
    assert parse(certificate.text()) == certificate
    return found


@cache
def instance_of(seed: int) -> Instance:
    return plain_instance(seed)
