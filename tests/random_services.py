"""Tiny services, different in every respect that workers, fleets and their limits look at."""

import json
from random import Random
from typing import Any

from brute_services import Priced, looked_at, memory_needs, some_workers
from random_engines import add_engine
from random_instances import KINDS, Theme, _architecture, _expert_load, _layers, _pool

from models.fleet import ROLES
from models.service import Service

MOST_PRICED = 300
"""plans that exhaustive search may have to price"""
MACHINES = ((1, 1), (2, 1), (2, 2), (2, 2), (4, 1), (4, 2), (4, 2), (4, 4), (8, 2), (8, 4), (2, 4), (1, 2), (3, 3), (6, 3), (6, 2), (1, 8))
"""GPUs of a node and of a scale-up domain"""


def random_service(seed: int) -> Service:
    """The same service for the same seed; small enough to price every worker. A third have uneven expert loads."""
    rng = Random(f"service {seed}")
    kinds = rng.choice(KINDS)
    uneven = rng.random() < 1 / 3
    if uneven and kinds == ("dense", "dense"):
        kinds = rng.choice(KINDS[1:])
    while True:
        content = _draw(rng, seed, Theme(kinds, "folded", False), uneven)
        roomy = _read(content)
        found = _tighten_memory(rng, content, roomy)
        if found is not None:
            return _limit(rng, content, found)


def _read(content: dict[str, Any]) -> Service:
    return Service.model_validate_json(json.dumps(content))


def _draw(rng: Random, seed: int, theme: Theme, uneven: bool) -> dict[str, Any]:
    """A service without limits on time, in which everything fits."""
    layers = _layers(rng, theme)
    objective = rng.choice(["throughput", "throughput", "throughput_per_gpu", "cost", "gpus"])
    pools = _pools(rng, theme, objective == "cost" or rng.random() < 0.3)
    orders = ["tp-cp-dp|etp-ep-edp", *rng.sample(["cp-tp-dp|ep-etp-edp", "dp-tp-cp|edp-ep-etp"], rng.choice([0, 0, 1]))]
    content = {
        "format": "shardproof-instance/1",
        "name": f"random service {seed}",
        "cluster": {"pools": pools},
        "architecture": _architecture(rng, layers),
        "workload": _workload(rng) | ({"requests_per_hour": 1} if objective == "gpus" else {}),
        "runtime": {
            "activation_bytes_per_token": rng.choice([1, 64, 500]),
            "collective_buffer_bytes": rng.choice([0, 100]),
            "reserve_bytes": rng.choice([0, 100]),
            "overlap_ppm": rng.choice([0, 0, 333_333, 1_000_000]),
            "interference_ppm": rng.choice([1_000_000, 1_000_000, 1, 333_333, 1_500_000]),
            "sources": {"*": "assumed: random"},
        },
        "expert_load": _expert_load(rng, layers, theme) if uneven else None,
        "space": {"name": "folded", "tp_in_domain": rng.random() < 0.2, "orders": orders} | _degrees(rng),
        "workers": _workers(rng),
        "objective": {"name": objective},
    }
    if content["workload"]["input_tokens"] == 1:
        content["workers"]["chunks"] = [1]  # all others leave one empty
    if uneven and rng.random() < 0.3:
        content["space"]["redundant_slots"] = rng.choice([[0, 1], [1]])
    if rng.random() < 0.5:
        _add_engine(rng, content)
    return content


def _pools(rng: Random, theme: Theme, priced: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    left = 8
    for n in range(rng.choice([1, 1, 2])):
        node, domain = rng.choice([(a, b) for a, b in MACHINES if a <= left])
        shape = {"nodes": rng.randint(1, min(4, left // node)), "gpus_per_node": node, "scale_up_domain_gpus": domain}
        found.append(_pool(rng, theme, priced) | shape | {"name": f"p{n}"})
        left -= shape["nodes"] * node
        if not left:
            break
    return found


def _workload(rng: Random) -> dict[str, Any]:
    shares = {f"{role}_utilisation_ppm": rng.choice([1, 500_000, 900_001, 1_000_000]) for role in ROLES if rng.random() < 0.3}
    return {
        "kind": "serving",
        "input_tokens": rng.choice([1, 2, 3, 5, 8, 17, 40]),
        "output_tokens": rng.choice([1, 1, 2, 3, 7, 20]),
        "sources": {"*": "assumed: random"},
    } | shares


def _degrees(rng: Random) -> dict[str, Any]:
    """Some degrees limited, so that there is little to look at."""
    found: dict[str, Any] = {}
    if rng.random() < 0.5:
        found["cp"] = rng.choice([[1], [1], [1, 2], [2]])
    if rng.random() < 0.5:
        found["etp"] = rng.choice([[1], [1, 2], [2]])
    if rng.random() < 0.5:
        found["pp"] = rng.choice([[1], [1, 2], [2, 3], [1, 2, 4]])
    if rng.random() < 0.3:
        found["tp"] = rng.choice([[1], [1, 2], [1, 3], [2]])
    if rng.random() < 0.3:
        found["dp"] = rng.choice([[1], [1, 2], [2]])
    if rng.random() < 0.2:
        found["edp"] = [1]
    return found


def _workers(rng: Random) -> dict[str, Any]:
    found: dict[str, Any] = {
        "roles": rng.sample(ROLES, rng.choice([1, 2, 3, 3, 3])),
        "chunks": rng.choice([[1], [1], [1, 2], [2, 3], [1, 4]]),
    }
    if found["roles"] in (["prefill"], ["decode"]):
        found["roles"] = ["prefill", "decode"]
    if rng.random() < 0.25:
        found["gpus"] = sorted(rng.sample(range(1, 9), rng.randint(2, 5)))
    if rng.random() < 0.4:
        found["max_sequences"] = rng.choice([1, 2, 3, 5, 8])
    return found


def _add_engine(rng: Random, content: dict[str, Any]) -> None:
    """Curves, laws and overheads, as of instances; each pool has its own."""
    first, *others = content["cluster"]["pools"]
    passing = {"workload": {"kind": "decode"}, "runtime": content["runtime"], "space": content["space"]}
    add_engine(rng, passing | {"cluster": {"pools": [first]}})
    for pool in others:
        add_engine(rng, passing | {"cluster": {"pools": [pool]}, "runtime": dict(content["runtime"]), "space": dict(content["space"])})


def _tighten_memory(rng: Random, content: dict[str, Any], roomy: Service) -> Service | None:
    """Memory that some worker with few sequences just fits into, or misses by a byte; None where there is too much to look at."""
    for p, pool in enumerate(content["cluster"]["pools"]):
        needs = [need for role in roomy.workers.roles for need in memory_needs(roomy, p, role, 60)]
        if not needs:
            return None
        loose = rng.choice([0, 5, 10, 30, 100])
        pool["accelerator"]["memory_bytes"] = max(1, rng.choice(needs) * (100 + loose) // 100 - rng.choice([0, 0, 1]))
    found = _read(content)
    total = 0
    for p in range(len(content["cluster"]["pools"])):
        for role in found.workers.roles:
            total += looked_at(found, p, role, MOST_PRICED)
            if total > MOST_PRICED:
                return None
    return found if total >= 3 else None


def _limit(rng: Random, content: dict[str, Any], service: Service) -> Service:
    """Limits and a load that some worker meets exactly, or misses by one."""
    workers = [
        w for p in range(len(service.cluster.pools)) for role in service.workers.roles for w in some_workers(rng, service, p, role, 5)
    ]
    limits: dict[str, Any] = {}
    first, tokens = [w for w in workers if w.role != "decode"], [w for w in workers if w.role != "prefill"]
    if first and rng.random() < 0.35:
        limits["ttft_ns"] = max(0, _some(rng, [w.ttft_ns for w in first]) - rng.choice([0, 0, 1]))
    if tokens and rng.random() < 0.35:
        limits["tpot_ns"] = max(0, _some(rng, [w.tpot_ns for w in tokens]) - rng.choice([0, 0, 1]))
    aggregated = [w for w in workers if w.role == "aggregated"]
    if rng.random() < 0.2 and ("ttft_ns" in limits or service.workers.roles == ("aggregated",)):
        wholes = [w.ttft_ns + service.workload.output_tokens * w.tpot_ns for w in aggregated]
        wholes += [limits.get("ttft_ns", 0) + service.workload.output_tokens * w.tpot_ns for w in tokens]
        if wholes:
            limits["request_ns"] = max(0, _some(rng, wholes) - rng.choice([0, 0, 1]))
    if rng.random() < 0.3:
        limits["min_workers"] = rng.choice([1, 2, 2, 3])
    content["objective"]["limits"] = limits
    if content["objective"]["name"] == "gpus" or rng.random() < 0.3:
        load = _some(rng, [w.rate for w in workers] or [1]) * rng.choice([1, 1, 2, 3]) * 3600 // 10**9
        content["workload"]["requests_per_hour"] = min(10**12, max(1, load + rng.choice([0, 0, 1])))
    return _read(content)


def _some(rng: Random, values: list[int]) -> int:
    """The least now and then, so that little is left; else any."""
    return sorted(values)[0] if rng.random() < 0.1 else rng.choice(values)


def uniform(service: Service) -> bool:
    """Whether the best placement is known: all experts alike, each in one slot."""
    return service.expert_load is None and service.space.redundant_slots == (0,)


def worker_line(worker: Priced) -> str:
    """For messages of failed tests."""
    return f"{worker.role} {worker.strategy} chunks {worker.chunks} batch {worker.batch} stages {worker.stages} rate {worker.rate}"
