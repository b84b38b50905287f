"""The search and the checker against brute force, on tiny random instances.

SHARDPROOF_RANDOM_INSTANCES sets how many; a failure names the seed, `random_instance(seed)` repeats it, or
`redundant_instance(-seed)` one below 0: an instance with redundant expert slots.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, product
from typing import NamedTuple

import pytest
from brute import Answer, dearer_plans, plans, solve, strategies
from random_instances import random_instance, redundant_instance

from models.errors import VerificationError
from models.evaluate import evaluate
from models.instance import Instance
from models.result import Candidate, Claim, Status
from models.rules import violations
from optimizer.certify import certificate_of
from optimizer.check import confirm
from optimizer.enumerate import enumerate_space
from optimizer.look import Effort

COUNT = int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "150"))
SEEDS = [*range(COUNT), *range(-1, -1 - COUNT // 4, -1)]
EPSILON_PPM = 50_000


class Case(NamedTuple):
    """An instance, what is true of it, and what the search claims."""

    instance: Instance
    answer: Answer
    claim: Claim


@cache
def case(seed: int) -> Case:
    instance = random_instance(seed) if seed >= 0 else redundant_instance(-seed)
    claim = enumerate_space(instance, EPSILON_PPM, Effort(10**9, None), lambda _: None)
    return Case(instance, solve(instance), claim)


@pytest.mark.parametrize("seed", SEEDS)
def test_search_claims_infeasible_exactly_when_no_plan_runs(seed: int) -> None:
    _, answer, claim = case(seed)
    assert claim.status is (Status.OPTIMAL if answer.feasible else Status.INFEASIBLE)


@pytest.mark.parametrize("seed", SEEDS)
def test_search_finds_the_least_value_and_every_strategy_that_attains_it(seed: int) -> None:
    _, answer, claim = case(seed)
    assert claim.bound == answer.value
    assert sorted((c.plan.strategy, c.value) for c in claim.optimal) == [(s, answer.value) for s in answer.optimal]


@pytest.mark.parametrize("seed", SEEDS)
def test_search_lists_every_near_optimal_strategy_with_its_least_value(seed: int) -> None:
    _, answer, claim = case(seed)
    cut = 0 if answer.value is None else answer.value + answer.value * EPSILON_PPM // 1_000_000
    near = {s: v for s, v in answer.values.items() if s not in answer.optimal and v <= cut}
    assert claim.near_complete or not answer.feasible
    assert {c.plan.strategy: c.value for c in claim.near} == near


@pytest.mark.parametrize("seed", SEEDS)
def test_search_counts_strategies_and_why_they_cannot_run(seed: int) -> None:
    _, answer, claim = case(seed)
    assert (claim.strategies, claim.feasible) == (answer.strategies, answer.feasible)
    assert (sum(claim.refuted.values()), answer.refuted.total()) == (answer.strategies - answer.feasible,) * 2
    assert all(claim.refuted.get(rule, 0) == answer.refuted[rule] for rule in ("memory", "link"))


@pytest.mark.parametrize("seed", SEEDS)
def test_plans_of_the_search_run_at_the_value_claimed(seed: int) -> None:
    instance, _, claim = case(seed)
    for plan, value in (*claim.optimal, *claim.near):
        assert violations(instance, plan) == []
        assert evaluate(instance, plan).value == value


@pytest.mark.parametrize("seed", SEEDS)
def test_checker_accepts_every_claim_of_the_search(seed: int) -> None:
    instance, _, claim = case(seed)
    confirm(certificate_of(instance, claim), instance)


@pytest.mark.skipif(len(SEEDS) < 100, reason="too few instances to ask for all kinds")
def test_random_instances_are_of_every_kind() -> None:
    kinds: Counter[str] = Counter()
    for instance, answer, claim in map(case, SEEDS):
        kinds["infeasible"] += not answer.feasible
        kinds["some strategies run"] += 0 < answer.feasible < answer.strategies
        kinds["several optima"] += len(answer.optimal) > 1
        kinds["near-optimal strategies"] += bool(claim.near)
        kinds["a cap"] += instance.cluster.pool.scale_out.cap_bytes_per_pass is not None
        kinds["experts spread under a given load"] += instance.expert_load is not None and any(s.ep > 1 for s in answer.values)
        kinds["best with a pipeline"] += any(s.pp > 1 for s in answer.optimal)
        slots = len(instance.space.redundant_slots) > 1 and {s.redundant > 0 for s in answer.optimal}
        kinds["best with redundant slots only"] += slots == {True}
        kinds["best without redundant slots only"] += slots == {False}
    few = {"best with redundant slots only": 2, "best without redundant slots only": 2}
    assert all(n >= few.get(kind, 5) for kind, n in kinds.items()), kinds


# Mutations: each yields claims that do not hold, and that the checker must refuse.


def claim_that(c: Case, status: Status, optimal: tuple[Candidate, ...], bound: int | None) -> Claim:
    """A claim with nothing near-optimal in it."""
    return Claim(status, optimal, bound, (), None, False, c.claim.strategies, c.claim.feasible, {}, False, "test")


def costlier(c: Case, listed: Candidate) -> list[Candidate]:
    """A dearer plan of the same strategy that runs, if there is one."""
    return [Candidate(*found) for found in islice(dearer_plans(c.instance, listed.plan.strategy, listed.value), 1)]


def value_off_by_one(c: Case) -> Iterator[Claim]:
    for field, wrong in product(("optimal", "near"), (-1, 1)):
        listed = getattr(c.claim, field)
        for n, kept in enumerate(listed):
            yield c.claim._replace(**{field: (*listed[:n], kept._replace(value=kept.value + wrong), *listed[n + 1 :])})


def bound_off_by_one(c: Case) -> Iterator[Claim]:
    if c.claim.bound is not None:
        yield from (c.claim._replace(bound=c.claim.bound + wrong) for wrong in (-1, 1))


def bound_and_values_off_by_one(c: Case) -> Iterator[Claim]:
    for wrong in bound_off_by_one(c):
        yield wrong._replace(optimal=tuple(o._replace(value=wrong.bound) for o in c.claim.optimal))


def bound_above_the_optimum(c: Case) -> Iterator[Claim]:
    """Without a claim to optimality; a limited search may not even reach the optimum."""
    for best in c.claim.optimal[:1]:
        lies = [claim_that(c, Status.UNKNOWN, (), best.value + 1)]
        lies += [claim_that(c, Status.FEASIBLE, (dearer,), best.value + 1) for dearer in costlier(c, best)]
        yield from lies
        yield from (lie._replace(limited=True) for lie in lies)


def optimal_strategy_dropped(c: Case) -> Iterator[Claim]:
    listed = c.claim.optimal
    for n in range(len(listed)):
        yield c.claim._replace(optimal=(*listed[:n], *listed[n + 1 :]))


def runner_up_called_optimal(c: Case) -> Iterator[Claim]:
    for second in c.claim.near[:1]:
        yield claim_that(c, Status.OPTIMAL, (second,), second.value)


def near_strategy_dropped(c: Case) -> Iterator[Claim]:
    listed = c.claim.near
    if c.claim.near_complete:
        yield from (c.claim._replace(near=(*listed[:n], *listed[n + 1 :])) for n in range(len(listed)))


def near_limit_raised_past_a_strategy(c: Case) -> Iterator[Claim]:
    beyond = (v for v in sorted(c.answer.values.values()) if c.claim.near_limit is not None and v > c.claim.near_limit)
    yield from (c.claim._replace(near_limit=value) for value in islice(beyond, 1))


def completeness_without_proof(c: Case) -> Iterator[Claim]:
    """One plan or none is listed and the list called complete, where the checker need not look at the space."""
    far = max(c.answer.values.values(), default=0)
    if c.answer.value is not None and far > c.answer.value:
        short = claim_that(c, Status.FEASIBLE, c.claim.optimal[:1], 0)._replace(near_limit=far, near_complete=True)
        yield short._replace(limited=True)
        yield short._replace(status=Status.UNKNOWN, optimal=(), bound=None)


def strategy_listed_twice(c: Case) -> Iterator[Claim]:
    for field in ("optimal", "near"):
        yield from (c.claim._replace(**{field: (*getattr(c.claim, field), twice)}) for twice in getattr(c.claim, field)[:1])


def costlier_plan_at_the_old_value(c: Case) -> Iterator[Claim]:
    for field in ("optimal", "near"):
        listed = getattr(c.claim, field)
        for n, kept in enumerate(listed):
            for dearer in costlier(c, kept):
                yield c.claim._replace(**{field: (*listed[:n], kept._replace(plan=dearer.plan), *listed[n + 1 :])})


def costlier_plan_called_optimal(c: Case) -> Iterator[Claim]:
    for best in c.claim.optimal[:1]:
        yield from (claim_that(c, Status.OPTIMAL, (dearer,), dearer.value) for dearer in costlier(c, best))


def plan_that_breaks_a_rule(c: Case) -> Iterator[Claim]:
    refused = (p for s in strategies(c.instance) if s not in c.answer.values for p in plans(c.instance, s))
    for plan in islice(refused, 1):
        lie = Candidate(plan, evaluate(c.instance, plan).value)
        yield claim_that(c, Status.OPTIMAL, (lie,), lie.value)
        yield claim_that(c, Status.FEASIBLE, (lie,), 0)
        yield claim_that(c, Status.FEASIBLE, (lie,), 0)._replace(limited=True)


def expert_held_by_nobody(c: Case) -> Iterator[Claim]:
    for plan, value in c.claim.optimal[:1]:
        if plan.placement:
            (first, *others), *layers = plan.placement
            broken = plan._replace(placement=((first[1:], *others), *layers))
            yield c.claim._replace(optimal=(Candidate(broken, value), *c.claim.optimal[1:]))


def feasible_called_infeasible(c: Case) -> Iterator[Claim]:
    if c.answer.feasible:
        yield c.claim._replace(status=Status.INFEASIBLE)
        yield claim_that(c, Status.INFEASIBLE, (), None)


def strategies_miscounted(c: Case) -> Iterator[Claim]:
    yield c.claim._replace(strategies=c.claim.strategies - 1)
    yield c.claim._replace(strategies=c.claim.strategies + 1)


MUTATIONS: tuple[Callable[[Case], Iterator[Claim]], ...] = (
    value_off_by_one,
    bound_off_by_one,
    bound_and_values_off_by_one,
    bound_above_the_optimum,
    optimal_strategy_dropped,
    runner_up_called_optimal,
    near_strategy_dropped,
    near_limit_raised_past_a_strategy,
    completeness_without_proof,
    strategy_listed_twice,
    costlier_plan_at_the_old_value,
    costlier_plan_called_optimal,
    plan_that_breaks_a_rule,
    expert_held_by_nobody,
    feasible_called_infeasible,
    strategies_miscounted,
)


def accepts(instance: Instance, claim: Claim) -> bool:
    try:
        confirm(certificate_of(instance, claim), instance)
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_checker_refuses_each_mutation_of_each_claim(mutation: Callable[[Case], Iterator[Claim]]) -> None:
    wrong = [(seed, claim) for seed in SEEDS for claim in mutation(case(seed))]
    assert wrong, "the mutation applies to no instance"
    assert [seed for seed, claim in wrong if accepts(case(seed).instance, claim)] == []
