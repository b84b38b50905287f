"""A second check of fleets, written from docs/certificate.md alone: lists of fleets of which none is beaten by another, no tables."""

from collections.abc import Iterable
from itertools import product

from second_grammar import Json, need

Used = tuple[int, ...]
"""GPUs of each pool"""
Rates = dict[Used, int]
"""The most that a fleet with exactly these GPUs yields; without those that another beats on no more GPUs of any pool."""


def fleet(claim: Json) -> None:
    """The fleet has its value, and none that reaches the load is better than the bound."""
    problem, stated, value, bound = claim["problem"], claim["fleet"], claim["value"], claim["bound"]
    pools, workers = problem["pools"], problem["workers"]
    objective, load, least = problem.get("objective", "rate"), problem.get("load"), problem.get("least_workers", 1)
    need(1 <= least <= 16, "no number of workers that may be asked for")
    need(1 <= len(pools) <= 16 and all(w.get("pool", 0) < len(pools) for w in workers), "no pool, too many, or another")
    need(load is not None or objective not in ("gpus", "cost"), "no load to reach")
    need((stated is None) == (value is None) and (stated is None or bound is not None), "a fleet without a value or a bound")

    def value_of(used: Used, rate: int) -> int:
        cost = sum(n * pool.get("price_uusd_per_gpu_hour", 0) for n, pool in zip(used, pools, strict=True))
        each = rate // max(1, sum(used)), -(-cost * 10**12 // max(1, rate))
        return {"rate": rate, "rate_per_gpu": each[0], "gpus": sum(used), "cost": cost, "cost_per_rate": each[1]}[str(objective)]

    def serves(rate: int) -> bool:
        return rate >= (load or 0) and (rate > 0 or objective not in ("rate_per_gpu", "cost_per_rate"))

    if stated is not None:
        used, rate = together(stated, pools, workers, least)
        need(serves(rate), "a fleet that does not reach the load")
        need(value_of(used, rate) == value, "a fleet of another value")
    found = [value_of(used, rate) for used, rate in best_fleets(pools, workers, least).items() if serves(rate)]
    need((bound is None) == (not found), "a bound without a fleet that reaches the load, or none with one")
    more = objective in ("rate", "rate_per_gpu")
    need(all(v <= bound if more else v >= bound for v in found), "some fleet is better than the bound")


def together(stated: Json, pools: Json, workers: Json, least: int) -> tuple[Used, int]:
    """The GPUs and the yield of the fleet that the claim states."""
    used, sums = [0] * len(pools), {"aggregated": 0, "prefill": 0, "decode": 0}
    counts = dict.fromkeys(sums, 0)
    need(len({c["worker"] for c in stated}) == len(stated), "a shape twice")
    for chosen in stated:
        need(chosen["worker"] < len(workers), "no such worker")
        worker = workers[chosen["worker"]]
        used[worker.get("pool", 0)] += chosen["count"] * worker["gpus"]
        sums[worker["role"]] += chosen["count"] * worker["rate"]
        counts[worker["role"]] += chosen["count"]
    need(all(n == 0 or n >= least for n in counts.values()), "too few workers of a role in use")
    need(all(n <= pool["gpus"] for n, pool in zip(used, pools, strict=True)), "more GPUs than there are")
    return tuple(used), sums["aggregated"] + min(sums["prefill"], sums["decode"])


def best_fleets(pools: Json, workers: Json, least: int) -> Rates:
    """Every fleet yields no more than one of these that uses no more GPUs of any pool."""
    have = tuple(pool["gpus"] for pool in pools)
    roles = ([w for w in workers if w["role"] == r] for r in ("aggregated", "prefill", "decode"))
    aggregated, prefill, decode = (of_role(have, shapes, least) for shapes in roles)
    cells = unbeaten(have, ((plus(a, b), min(p, d)) for (a, p), (b, d) in product(prefill.items(), decode.items())))
    return unbeaten(have, ((plus(a, b), p + d) for (a, p), (b, d) in product(aggregated.items(), cells.items())))


def of_role(have: Used, workers: Json, least: int) -> Rates:
    """Any number of each shape, one shape after the other; in all none, or at least `least`."""
    nothing: Rates = {(0,) * len(have): 0}
    by_number: dict[int, Rates] = {0: nothing}  # `least` stands for all from there on
    for w in workers:
        pool, grown = w.get("pool", 0), dict[int, list[tuple[Used, int]]]()
        more = [tuple(k * w["gpus"] * (n == pool) for n in range(len(have))) for k in range(have[pool] // w["gpus"] + 1)]
        for number, rates in by_number.items():
            for k, extra in enumerate(more):
                grown.setdefault(min(least, number + k), []).extend((plus(used, extra), r + k * w["rate"]) for used, r in rates.items())
        by_number = {number: unbeaten(have, fleets) for number, fleets in grown.items()}
    return unbeaten(have, [*nothing.items(), *by_number.get(least, {}).items()])


def plus(a: Used, b: Used) -> Used:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def unbeaten(have: Used, fleets: Iterable[tuple[Used, int]]) -> Rates:
    """Of those that fit, the ones that no other equals or beats on no more GPUs; most that are beaten are so by one of fewer GPUs."""
    most: Rates = {}
    for used, rate in fleets:
        if all(n <= h for n, h in zip(used, have, strict=True)):
            most[used] = max(rate, most.get(used, 0))
    kept: Rates = {}
    for used in sorted(most, key=sum):
        if not any(r >= most[used] and all(m <= n for m, n in zip(other, used, strict=True)) for other, r in kept.items()):
            kept[used] = most[used]
    return kept
