"""Fleets: the best mix equals exhaustive search, its claim passes, and claims that say too much are refused."""

import os
from collections import Counter
from collections.abc import Iterator
from itertools import product
from random import Random

import pytest

from models.fleet import ROLES, Chosen, FleetProblem, GpuPool, Tables, Worker, more_is_better, value_of_fleet, yield_of
from models.fleet_claim import FleetClaim, examine_fleet
from models.packing import Refused
from optimizer.fleets.solve import solve_fleet

COUNT = int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "300"))


def random_problem(seed: int) -> FleetProblem:
    """Few GPUs in one or two pools, few shapes; ties, useless shapes and roles without a shape among them."""
    rng = Random(f"fleet {seed}")
    pools = [
        GpuPool(name=f"p{n}", gpus=rng.randint(1, 12 if n == 0 else 4), price_uusd_per_gpu_hour=rng.choice([0, 1, 3]))
        for n in range(rng.choice([1, 1, 2]))
    ]
    workers = [
        Worker(
            name=f"w{n}",
            role=rng.choice(ROLES),
            pool=rng.randrange(len(pools)),
            gpus=rng.randint(1, 6),
            rate=rng.choice([0, 1, 5, rng.randint(1, 40)]),
        )
        for n in range(rng.randint(1, 5))
    ]
    objective = rng.choice(["rate", "rate", "rate_per_gpu", "gpus", "cost", "cost_per_rate"])
    load = rng.randint(0, 60) if objective in ("gpus", "cost") or rng.random() < 0.2 else None
    least = rng.choice([1, 1, 2, 3])
    return FleetProblem(pools=tuple(pools), workers=tuple(workers), objective=objective, load=load, least_workers=least)


def every_fleet(problem: FleetProblem) -> Iterator[tuple[Chosen, ...]]:
    """All of them, whatever they yield."""
    most = [problem.pools[w.pool].gpus // w.gpus for w in problem.workers]
    for counts in product(*(range(m + 1) for m in most)):
        fleet = tuple(Chosen(worker=n, count=c) for n, c in enumerate(counts) if c)
        used = [
            sum(c.count * problem.workers[c.worker].gpus for c in fleet if problem.workers[c.worker].pool == p)
            for p in range(len(problem.pools))
        ]
        if all(u <= pool.gpus for u, pool in zip(used, problem.pools, strict=True)):
            yield fleet


def exhaustive(problem: FleetProblem) -> int | None:
    """The best value by looking at every fleet."""
    kept = (fleet for fleet in every_fleet(problem) if enough_workers(problem, fleet))
    found = [yield_of(problem, fleet) for fleet in kept]
    ratio = problem.objective in ("rate_per_gpu", "cost_per_rate")  # of nothing there is none
    values = [value_of_fleet(problem, y) for y in found if (problem.load is None or y.rate >= problem.load) and not (ratio and y.rate == 0)]
    return (max if more_is_better(problem) else min)(values, default=None)


def enough_workers(problem: FleetProblem, fleet: tuple[Chosen, ...]) -> bool:
    """Every role in use has as many workers as are asked for."""
    counts = Counter[str]()
    for chosen in fleet:
        counts[problem.workers[chosen.worker].role] += chosen.count
    return all(n >= problem.least_workers for n in counts.values())


@pytest.mark.parametrize("block", range(10))
def test_the_best_fleet_is_that_of_exhaustive_search_and_its_claim_passes(block: int) -> None:
    for seed in range(block * COUNT // 10, (block + 1) * COUNT // 10):
        problem = random_problem(seed)
        claim, best = solve_fleet(problem), exhaustive(problem)
        assert (claim.value, claim.bound) == (best, best), problem
        examine_fleet(claim)


def false_claims(claim: FleetClaim) -> Iterator[FleetClaim]:
    """What says too much, or does not fit together."""
    nothing = {"fleet": None, "value": None, "bound": None}
    if claim.bound is None or claim.value is None or claim.fleet is None:
        yield claim.model_copy(update={"bound": 0})
        return
    better = 1 if more_is_better(claim.problem) else -1
    if claim.bound - better >= 0:
        yield claim.model_copy(update={"bound": claim.bound - better})
    yield claim.model_copy(update=nothing)
    yield claim.model_copy(update={"value": claim.value + 1})
    yield claim.model_copy(update={"value": None})
    yield claim.model_copy(update={"fleet": (*claim.fleet, Chosen(worker=len(claim.problem.workers), count=1))})
    if claim.fleet:
        first = claim.fleet[0]
        yield claim.model_copy(update={"fleet": (first.model_copy(update={"count": 10_000}), *claim.fleet[1:])})
        yield claim.model_copy(update={"fleet": (first, *claim.fleet)})
        yield claim.model_copy(update={"fleet": claim.fleet[1:]})


def test_false_claims_are_refused() -> None:
    tried = 0
    for seed in range(COUNT):
        claim = solve_fleet(random_problem(seed))
        for false in false_claims(claim):
            harmless = false.fleet == claim.fleet[1:] if claim.fleet else False
            if harmless and enough_workers(claim.problem, false.fleet or ()):
                found = yield_of(claim.problem, false.fleet or ())
                if value_of_fleet(claim.problem, found) == claim.value and found.rate >= (claim.problem.load or 0):
                    continue  # the first shape was of no use
            tried += 1
            with pytest.raises(Refused):
                examine_fleet(false)
    assert tried > COUNT


def test_a_mix_of_aggregated_and_disaggregated_workers_beats_either() -> None:
    workers = (
        Worker(name="a", role="aggregated", gpus=3, rate=10),
        Worker(name="p", role="prefill", gpus=2, rate=25),
        Worker(name="d", role="decode", gpus=3, rate=20),
    )
    problem = FleetProblem(pools=(GpuPool(name="one", gpus=8),), workers=workers)
    claim = solve_fleet(problem)
    assert (claim.value, claim.fleet) == (30, tuple(Chosen(worker=n, count=1) for n in range(3)))


def test_pools_are_not_interchangeable() -> None:
    workers = (Worker(name="p", role="prefill", pool=0, gpus=1, rate=3), Worker(name="d", role="decode", pool=1, gpus=2, rate=4))
    problem = FleetProblem(pools=(GpuPool(name="H100", gpus=5), GpuPool(name="H20", gpus=5)), workers=workers)
    assert solve_fleet(problem).value == 8  # two decode workers on five H20


def test_too_many_budgets_are_refused_in_a_sentence() -> None:
    pools = tuple(GpuPool(name=f"p{n}", gpus=500) for n in range(3))
    workers = tuple(Worker(name=f"w{n}", role="decode", pool=n, gpus=1, rate=1) for n in range(3))
    with pytest.raises(Refused, match="too many"):
        Tables(FleetProblem(pools=pools, workers=workers))
