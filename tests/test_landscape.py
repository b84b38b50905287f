"""Landscapes: a relaxation is never dearer, no candidate is lost, and search and checker say the same with and without one."""

import os
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from random_instances import random_instance, redundant_instance

import models.landscape
from models.bounds import Bounds
from models.enumeration import strategies
from models.errors import VerificationError
from models.instance import Instance
from models.landscape import Landscape
from models.objective import value_of
from models.relaxation import Grade, easier, grade, relaxed, relaxes
from models.result import Claim, Status
from models.strategy import Strategy
from optimizer.certify import certificate_of
from optimizer.check import confirm
from optimizer.enumerate import enumerate_space
from optimizer.look import Effort

COUNT = int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "60"))
SEEDS = [*range(COUNT), *range(-1, -1 - COUNT // 6, -1)]  # below 0: with redundant expert slots
WHOLE = Effort(10**9, None)


@pytest.fixture(autouse=True, params=[-1, models.landscape.FEW], ids=["in order", "few at once"])
def _few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to go through a landscape; the instances here are small enough for the second."""
    monkeypatch.setattr(models.landscape, "FEW", request.param)


def case(seed: int) -> tuple[Instance, Instance]:
    """An instance and a relaxation of it: better in some of what may be better, in all, or in nothing."""
    instance = random_instance(seed) if seed >= 0 else redundant_instance(-seed)
    rng, here = Random(f"relaxation {seed}"), grade(instance)
    factor = [rng.choice([1, 1, 2, 10]) for _ in here]
    better = [value * f if value > 0 else -(-value // f) for value, f in zip(here, factor, strict=True)]
    return instance, relaxed(instance, Grade(*better))


@cache
def landscape(seed: int) -> Landscape:
    found = Landscape.of(case(seed)[1], 10**9)
    assert found is not None
    return found


def claims(seed: int) -> tuple[Instance, Claim, Claim]:
    """What a search says without a landscape and with one."""
    instance = case(seed)[0]
    plain = enumerate_space(instance, 0, WHOLE, lambda _: None)
    return instance, plain, enumerate_space(instance, 0, WHOLE, lambda _: None, landscape=landscape(seed))


def exact_value(instance: Instance, bounds: Bounds, s: Strategy) -> int | None:
    solution = bounds.exact(s)
    return None if isinstance(solution, str) else value_of(instance, s).of(solution.step_ns)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_strategy_is_dearer_in_a_relaxation(seed: int) -> None:
    hard, easy = case(seed)
    assert relaxes(easy, hard)
    assert list(strategies(easy)) == list(strategies(hard))
    there, here = Bounds(easy), Bounds(hard)
    for s in strategies(hard):
        value = exact_value(hard, here, s)
        if value is not None:
            found = exact_value(easy, there, s)
            assert found is not None
            assert found <= value


@pytest.mark.parametrize("seed", SEEDS)
def test_the_candidates_are_all_that_run_with_ascending_bounds_below_their_values(seed: int) -> None:
    hard, _ = case(seed)
    bounds = Bounds(hard)
    found = list(landscape(seed).candidates(hard))
    assert all(a <= b for (a, _), (b, _) in pairwise(found))
    least = {s: bound for bound, s in found if s is not None}
    assert len(least) == sum(s is not None for _, s in found)
    for s in strategies(hard):
        value = exact_value(hard, bounds, s)
        assert value is None or least[s] <= value
    assert landscape(seed).size == len(list(strategies(hard)))


@pytest.mark.parametrize("seed", SEEDS)
def test_search_and_checker_say_the_same_with_a_landscape(seed: int) -> None:
    instance, plain, shared = claims(seed)
    assert (shared.status, shared.optimal, shared.bound, shared.strategies) == (plain.status, plain.optimal, plain.bound, plain.strategies)
    assert shared.facts == plain.facts
    certificate = certificate_of(instance, shared, near=False)
    assert certificate.text() == certificate_of(instance, plain, near=False).text()
    with_landscape, without = confirm(certificate, instance, landscape(seed)), confirm(certificate, instance)
    assert sum(with_landscape.strategies.values()) == sum(without.strategies.values()) == plain.strategies


def doctored(instance: Instance, claim: Claim) -> list[Claim]:
    """Claims that say too much."""
    found = []
    if claim.status is Status.OPTIMAL:
        found += [claim._replace(optimal=claim.optimal[:-1])] if len(claim.optimal) > 1 else []
        found += [claim._replace(strategies=claim.strategies + 1)]
        dearer = [c for c in enumerate_space(instance, 500_000, WHOLE, lambda _: None).near if c.value > claim.optimal[0].value]
        found += [claim._replace(optimal=(dearer[-1],), bound=dearer[-1].value)] if dearer else []
        found += [claim._replace(status=Status.INFEASIBLE, optimal=(), bound=None)]
    if claim.status is Status.FEASIBLE and claim.bound is not None:
        found += [claim._replace(bound=claim.optimal[0].value)]
    return found


def test_the_checker_refuses_claims_that_say_too_much_with_a_landscape_too() -> None:
    tried = 0
    for seed in SEEDS:
        instance, _, claim = claims(seed)
        for false in doctored(instance, claim):
            tried += 1
            with pytest.raises(VerificationError):
                confirm(certificate_of(instance, false, near=False), instance, landscape(seed))
    assert tried > len(SEEDS)


@pytest.mark.parametrize("field", range(len(Grade._fields)))
def test_the_checker_refuses_a_landscape_that_is_worse_in_anything(field: int) -> None:
    instance = next(i for i in map(random_instance, range(100)) if all(grade(i)))
    claim, here = enumerate_space(instance, 0, WHOLE, lambda _: None), grade(instance)
    worse = here._replace(**{Grade._fields[field]: here[field] - max(1, abs(here[field]) // 10)})
    assert easier(worse, here) == here
    made = Landscape.of(relaxed(instance, worse), 10**9)
    assert made is not None
    with pytest.raises(VerificationError, match="relaxation"):
        confirm(certificate_of(instance, claim, near=False), instance, made)


def test_the_checker_refuses_the_landscape_of_another_problem() -> None:
    instance, other = random_instance(1), random_instance(2)
    claim = enumerate_space(instance, 0, WHOLE, lambda _: None)
    made = Landscape.of(relaxed(other, grade(other)), 10**9)
    assert made is not None
    with pytest.raises(VerificationError, match="relaxation"):
        confirm(certificate_of(instance, claim, near=False), instance, made)


def test_a_space_that_is_more_than_the_effort_has_no_landscape() -> None:
    instance = random_instance(3)
    whole = Landscape.of(relaxed(instance, grade(instance)), 10**9)
    assert whole is not None
    assert Landscape.of(relaxed(instance, grade(instance)), whole.steps) is not None
    assert Landscape.of(relaxed(instance, grade(instance)), whole.steps - 1) is None


def test_an_exception_on_the_way_loses_no_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = next(i for i in map(random_instance, range(100)) if len(list(strategies(i))) > 12)
    whole = Landscape.of(relaxed(instance, grade(instance)), 10**9)
    made = Landscape.of(relaxed(instance, grade(instance)), 10**9)
    assert whole is not None
    assert made is not None
    monkeypatch.setattr(models.landscape, "FEW", -1)
    expected, calls = [c for c in whole.candidates(instance) if c[1] is not None], 0

    def interrupted(s: Strategy) -> bool:
        nonlocal calls
        calls += 1
        if calls % 3 == 2:
            raise KeyboardInterrupt
        return Bounds.fits(made.bounds, s)

    monkeypatch.setattr(made.bounds, "fits", interrupted)
    found: list[tuple[int, Strategy | None]] = []
    for _ in range(10_000):
        try:
            found = [c for c in made.candidates(instance) if c[1] is not None]
            break
        except KeyboardInterrupt:
            continue
    assert found == expected
    assert calls > 3


def test_two_may_walk_a_landscape_at_once() -> None:
    for seed in range(20):
        instance, easy = case(seed)
        made = Landscape.of(easy, 10**9)
        assert made is not None
        first = made.candidates(instance)
        begun = [c for c in (next(first, None),) if c is not None]
        second = [c for c in made.candidates(instance) if c[1] is not None]
        assert [c for c in [*begun, *first] if c[1] is not None] == second


def test_a_price_scales_the_bounds() -> None:
    instance = next(i for i in map(random_instance, range(200)) if i.objective.name == "cost")
    pool = instance.cluster.pool
    priced = (pool.price_uusd_per_gpu_hour or 0) * 1_000
    dear = instance.model_copy(
        update={"cluster": instance.cluster.model_copy(update={"pools": (pool.model_copy(update={"price_uusd_per_gpu_hour": priced}),)})}
    )
    made = Landscape.of(relaxed(instance, grade(instance)), 10**9)
    assert made is not None
    assert relaxes(made.instance, dear)
    cheap_bounds = [bound for bound, s in made.candidates(instance) if s is not None]
    assert [bound for bound, s in made.candidates(dear) if s is not None] == [1_000 * bound for bound in cheap_bounds]
    claim = enumerate_space(dear, 0, WHOLE, lambda _: None, landscape=made)
    assert claim.optimal == enumerate_space(dear, 0, WHOLE, lambda _: None).optimal
    confirm(certificate_of(dear, claim, near=False), dear, made)
