"""Both checkers, of which one was written from the document alone, agree on fleets true and false."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

import pytest
from mutants import mutants, replaced
from second_checker import verdict
from test_fleets import random_problem

from models.certificate import NotACertificate
from models.fleet import ROLES, FleetProblem, GpuPool, Worker
from optimizer.check import check
from optimizer.fleets.solve import solve_fleet

Json = Any
SEEDS = range(1000, 1200)
MOST_MUTANTS = 20  # of one claim
HEAD = {"format": "shardproof-certificate/1", "cost_model": "shardproof-cost/2", "instance_sha256": None, "instance": None}


def document(claim: Json, **more: Any) -> Json:
    return HEAD | {"claim": claim, "facts": [], "provenance": {}} | more


def solved(problem: FleetProblem) -> Json:
    return document(json.loads(solve_fleet(problem).model_dump_json()))


def agreed(content: Json) -> bool:
    """The verdict of both."""
    text = content if isinstance(content, str) else json.dumps(content)
    try:
        first = check(text)
        ours, why = first.valid, f"{first.where}: {first.reason}"
    except NotACertificate as error:
        ours, why = False, str(error)
    theirs, reason = verdict(text)
    assert ours == theirs, (ours, why, reason, text)
    return theirs


@pytest.mark.parametrize("block", range(4))
def test_both_accept_what_the_program_proves_and_judge_its_changes_alike(block: int) -> None:
    found = Counter[bool]()
    for seed in SEEDS[block::4]:
        made = solved(random_problem(seed))
        assert agreed(made)
        every = [m.content for m in mutants(made)]
        found.update(agreed(content) for content in Random(seed).sample(every, min(len(every), MOST_MUTANTS)))
    assert min(found.values()) >= 100, found


POOLS = [{"name": "a", "gpus": 6, "price_uusd_per_gpu_hour": 3}, {"name": "b", "gpus": 4, "price_uusd_per_gpu_hour": 2}]
WORKERS = [
    {"name": "all", "role": "aggregated", "pool": 0, "gpus": 3, "rate": 10},
    {"name": "in", "role": "prefill", "pool": 1, "gpus": 1, "rate": 9},
    {"name": "out", "role": "decode", "pool": 0, "gpus": 2, "rate": 8},
    {"name": "all, slow", "role": "aggregated", "pool": 1, "gpus": 2, "rate": 4},
    {"name": "none", "role": "prefill", "pool": 0, "gpus": 5, "rate": 0},
]
LOADS: dict[str, tuple[int | None, ...]] = {
    "rate": (None, 18, 10**3),
    "rate_per_gpu": (None, 18),
    "gpus": (18, 0, 10**3),
    "cost": (18, 25, 10**3),
    "cost_per_rate": (None, 25),
}
KNOWN = [(objective, load) for objective, loads in LOADS.items() for load in loads]


def known(objective: str, load: int | None) -> Json:
    problem = {"pools": POOLS, "workers": WORKERS, "objective": objective, "load": load}
    return solved(FleetProblem.model_validate_json(json.dumps(problem)))


@pytest.mark.parametrize(("objective", "load"), KNOWN)
def test_both_judge_every_change_of_one_claim_alike(objective: str, load: int | None) -> None:
    made = known(objective, load)
    assert agreed(made)
    found = Counter(agreed(m.content) for m in mutants(made))
    assert found[False] >= 300
    assert found[True] >= 20


ROLE_WORDS = ("aggregated", "prefill", "decode")
WORDS = ("rate", "rate_per_gpu", "gpus", "cost", "cost_per_rate", *ROLE_WORDS, "fleet", "placement", "expert_map", "Rate", "", None, 0)


@pytest.mark.parametrize(("objective", "load"), KNOWN)
def test_both_judge_other_words_and_parts_left_out_alike(objective: str, load: int | None) -> None:
    made, problem = known(objective, load), ("claim", "problem")
    for path in (("claim", "kind"), (*problem, "objective"), *((*problem, "workers", n, "role") for n in range(len(WORKERS)))):
        for word in WORDS:
            agreed(replaced(made, path, word))
    inner = ((*problem, "pools", 0), "price_uusd_per_gpu_hour"), ((*problem, "workers", 1), "pool")
    for path, key in [*inner, (problem, "load"), (problem, "least_workers")]:
        inside = made
        for step in path:
            inside = inside[step]
        for new in (None, 0, 1, 2, -1, 17, 18, 19, 10**60 - 1, True, 1.0, "1", [], {}):
            agreed(replaced(made, path, inside | {key: new}))
        agreed(replaced(made, path, {k: v for k, v in inside.items() if k != key}))


def other_claims(rng: Random, claim: Json) -> Iterator[Json]:
    """Fleets and figures near those of the claim, or anywhere."""
    workers = range(len(claim["problem"]["workers"]))
    for _ in range(12):
        fleet = [{"worker": n, "count": rng.randint(1, 3)} for n in workers if rng.random() < 0.5]
        fleet = rng.choice([fleet, claim["fleet"], fleet + fleet[:1], None])
        off = [rng.choice([0, 0, 0, -2, -1, 1, 2]) for _ in range(2)]
        value, bound = (None if f is None else max(0, f + d) for f, d in zip(figures(claim, fleet), off, strict=True))
        yield claim | {"fleet": fleet, "value": value, "bound": rng.choice([bound, claim["bound"], rng.randint(0, 70), None])}


def figures(claim: Json, fleet: Json) -> tuple[int | None, int | None]:
    """What a fleet is worth, and the bound of the claim."""
    if fleet is None:
        return None, claim["bound"]
    chosen = [(claim["problem"]["workers"][c["worker"]], c["count"]) for c in fleet]
    sums = Counter[str]()
    for worker, count in chosen:
        sums[worker["role"]] += count * worker["rate"]
    prices = [pool["price_uusd_per_gpu_hour"] for pool in claim["problem"]["pools"]]
    rate = sums["aggregated"] + min(sums["prefill"], sums["decode"])
    gpus = sum(worker["gpus"] * count for worker, count in chosen)
    cost = sum(worker["gpus"] * count * prices[worker["pool"]] for worker, count in chosen)
    ratios = {"rate_per_gpu": rate // max(1, gpus), "cost_per_rate": -(-cost * 10**12 // max(1, rate))}
    values = {"rate": rate, "gpus": gpus, "cost": cost} | ratios
    return values[claim["problem"]["objective"]], claim["bound"]


@pytest.mark.parametrize("block", range(4))
def test_both_judge_other_fleets_and_figures_alike(block: int) -> None:
    found = Counter[bool]()
    for seed in SEEDS[block::4]:
        made, rng = solved(random_problem(seed)), Random(f"other {seed}")
        found.update(agreed(document(claim)) for claim in other_claims(rng, made["claim"]))
    assert min(found[True], found[False]) >= 50, found


def test_both_agree_on_the_best_fleet_of_many_pools() -> None:
    rng = Random("pools")
    for _ in range(40):
        pools = tuple(
            GpuPool(name="p", gpus=rng.randint(1, 3), price_uusd_per_gpu_hour=rng.randint(0, 3)) for _ in range(rng.randint(3, 4))
        )
        shapes = [(rng.choice(ROLES), rng.randrange(len(pools)), rng.randint(1, 3), rng.randint(0, 20)) for _ in range(8)]
        workers = tuple(Worker(name="w", role=role, pool=pool, gpus=gpus, rate=rate) for role, pool, gpus, rate in shapes)
        problem = FleetProblem(pools=pools, workers=workers, objective=rng.choice(["rate", "gpus", "cost"]), load=rng.randint(0, 40))
        made = solved(problem)
        better = 1 if problem.objective == "rate" else -1
        assert agreed(made)
        if made["claim"]["bound"]:
            assert not agreed(replaced(made, ("claim", "bound"), made["claim"]["bound"] - better))


GIVEN: dict[str, Json] = {"instance_sha256": "0" * 64, "instance": {}, "facts": [{}], "provenance": None, "format": "x", "more": 1}


@pytest.mark.parametrize("name", GIVEN)
def test_both_refuse_a_fleet_that_is_about_more_than_itself(name: str) -> None:
    made = known("rate", None)
    assert not agreed(made | {name: GIVEN[name]})


def test_both_take_names_of_any_text_and_as_many_pools_as_the_document_says() -> None:
    found = Counter[bool]()
    for pools, name in product((0, 1, 2, 11, 17), ("", "x", "caf\u00e9 " * 24, "x" * 121, "a\nb", "\x00", "\ud800")):
        problem = {"pools": [{"name": name, "gpus": 1}] * pools, "workers": [{"name": name, "role": "decode", "gpus": 1, "rate": 1}]}
        claim = {"kind": "fleet", "problem": problem, "fleet": [], "value": 0, "bound": 0}
        found[agreed(document(claim))] += 1
    assert found == {True: 6, False: 29}
