"""Services: the best worker of every size and the best fleet equal exhaustive search, and claims that say too much are refused."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from brute_services import Priced, best_fleet, contiguous, every_worker, keeps_limits, kinds_of, shuffled, sizes
from random_services import random_service, uniform
from typer.testing import CliRunner

from models.ceilings import best_worker, least_wait
from models.fleet import ROLES, more_is_better
from models.packing import Refused
from models.passes import Times
from models.service import Service
from models.service_claim import Member, ServiceClaim, examine_service, fleet_problem
from models.workers import Level, Workers
from optimizer.cli import app
from optimizer.reading import read_problem
from optimizer.serving.shortfall import shortfall_json
from optimizer.serving.solve import Solved

COUNT = int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "150"))
INSTANCES = Path(__file__).parent.parent / "instances"
BLOCKS = 10

Json = dict[str, Any]


def seeds(block: int, share: int = 1, blocks: int = BLOCKS) -> range:
    """One of so many blocks of a share of the seeds."""
    count = COUNT // share
    return range(block * count // blocks, (block + 1) * count // blocks)


def workers_of(service: Service) -> list[Priced]:
    """Of all pools and roles, as exhaustive search prices them."""
    return [w for p in range(len(service.cluster.pools)) for role in service.workers.roles for w in every_worker(service, p, role)]


def claimed(service: Service) -> ServiceClaim:
    solved = Solved(service)
    solved.bound_workers(lambda _: None)
    return solved.claim()


def always_laid_out(service: Service) -> bool:
    """Whether sizes divide each other and domains fill the pools, so that docs/serving.md leaves no gap."""
    whole = all(pool.gpus % pool.scale_up_domain_gpus == 0 or pool.gpus < pool.scale_up_domain_gpus for pool in service.cluster.pools)
    nested = all(pool.scale_up_domain_gpus in (1, 2, 3, 4, 6, 8) for pool in service.cluster.pools)
    return whole and nested and service.objective.limits.min_workers == 1


def compare_placements(seed: int, service: Service) -> None:
    """No placement that is tried beats the ceilings, or the bound."""
    claim = claimed(service)
    examine_service(claim)
    places = (contiguous, shuffled(Random(seed)))
    workers = [
        w
        for p in range(len(service.cluster.pools))
        for role in service.workers.roles
        for place in places
        for w in every_worker(service, p, role, place)
    ]
    ceilings = {(c.pool, c.role, c.gpus): c.rate for c in claim.ceilings}
    kinds = kinds_of(service, workers)
    for key, rate in kinds.items():
        assert key in ceilings, (seed, key)
        assert rate <= ceilings[key], (seed, key, rate)
    best = best_fleet(service, kinds)
    if best.anywhere is not None:
        assert claim.bound is not None, seed
        more = more_is_better(fleet_problem(service, claim.ceilings))
        assert claim.bound == best.anywhere or (claim.bound > best.anywhere) == more, (seed, claim.bound, best)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_best_workers_and_the_best_fleet_are_those_of_exhaustive_search(block: int) -> None:
    seen = Counter[str]()
    for seed in seeds(block):
        service = random_service(seed)
        if not uniform(service):
            compare_placements(seed, service)
            continue
        kinds = kinds_of(service, workers_of(service))
        for p, pool in enumerate(service.cluster.pools):
            for role in service.workers.roles:
                workers = Workers(service, p, role)
                assert list(workers.sizes) == sizes(service, pool), seed
                for gpus in workers.sizes:
                    found = best_worker(workers, gpus)
                    assert (found.rate if found else None) == kinds.get((p, role, gpus)), (seed, p, role, gpus)
        claim, best = claimed(service), best_fleet(service, kinds)
        examine_service(claim)
        assert claim.bound == best.anywhere, (seed, claim.value, claim.bound, best)
        assert claim.value == best.value, (seed, claim.value, best)
        if always_laid_out(service):
            assert claim.value == claim.bound, (seed, claim.value, best)
        seen["exact" if claim.value == claim.bound else "gap left"] += 1
    assert seen["exact"] >= 0.6 * seen.total(), seen


@pytest.mark.parametrize("block", range(BLOCKS))
def test_times_never_fall_with_the_batch(block: int) -> None:
    levels: tuple[Level, ...] = ("floor", "quick")
    for seed in seeds(block, 3):
        service, rng = random_service(seed), Random(f"times {seed}")
        p, role = rng.randrange(len(service.cluster.pools)), rng.choice(service.workers.roles)
        workers = Workers(service, p, role)
        cuts = [cut for gpus in workers.sizes for cut in workers.cuts(gpus)]
        for cut in rng.sample(cuts, min(4, len(cuts))):
            batches = sorted({*range(1, 9), *(int(2 ** rng.uniform(3, 12)) for _ in range(5)), 4_096})
            before: dict[str, Times] = {}
            refused = False
            for batch in batches:
                splits = workers.splits(cut, batch)
                assert not (refused and splits), (seed, cut, batch)
                refused = not splits
                now = {level: workers.times(cut, batch, level) for level in levels}
                if splits:
                    now |= {"any split": Times(*map(min, zip(*(split.times for split in splits), strict=True)))}
                for level, times in now.items():
                    if level in before:
                        pairs = list(zip(before[level], times, strict=True))
                        assert all(a <= b for a, b in pairs), (seed, cut, batch, level, pairs)
                    before[level] = times
                assert all(a <= b for a, b in zip(now["floor"], now["quick"], strict=True)), (seed, cut, batch, now)
                for split in splits:
                    assert all(a <= b for a, b in zip(now["quick"], split.times, strict=True)), (seed, cut, batch, now, split)


def changed(member: Member, **update: Any) -> Member:
    return member.model_copy(update=update)


def other_fleets(rng: Random, claim: ServiceClaim) -> Iterator[tuple[Member, ...]]:
    """Fleets that differ from the one claimed in one decision."""
    assert claim.fleet is not None
    layers, fleet = claim.service.architecture.layer_count, claim.fleet
    for n, m in enumerate(fleet):
        pp = m.plan.strategy.pp
        splits = [(a, layers - a) for a in range(1, layers)] if pp == 2 else []
        degrees = m.plan.degrees
        first = m.first_gpus
        options = [
            changed(m, batch=m.batch + 1),
            changed(m, batch=max(1, m.batch - 1)),
            changed(m, chunks=m.chunks + 1),
            changed(m, pool=1 - m.pool),
            changed(m, role=rng.choice(ROLES)),
            changed(m, first_gpus=(first[0], *first)),
            changed(m, first_gpus=tuple(g + 1 for g in first)),
            changed(m, first_gpus=(*first[1:], first[-1] + m.plan.strategy.gpus)),
            changed(m, first_gpus=(first[-1] + 1000,)),
            changed(m, plan=m.plan.model_copy(update={"degrees": degrees.model_copy(update={"tp": degrees.cp, "cp": degrees.tp})})),
            changed(m, plan=m.plan.model_copy(update={"degrees": degrees.model_copy(update={"microbatches": degrees.pp + 1})})),
            changed(m, plan=m.plan.model_copy(update={"degrees": degrees.model_copy(update={"replicas": 2})})),
            *(changed(m, plan=m.plan.model_copy(update={"stages": split})) for split in splits),
        ]
        for option in options:
            yield (*fleet[:n], option, *fleet[n + 1 :])
        yield (*fleet[:n], *fleet[n + 1 :])
        yield (*fleet, m)
        if len(first) > 1:
            yield (*fleet[:n], changed(m, first_gpus=first[1:]), *fleet[n + 1 :])


Known = dict[tuple[Any, ...], Priced]


def nodes_apart(spans: list[tuple[int, int, int]]) -> int:
    """How many workers, each from a node to a node of a pool, share no node: those that end first."""
    count, last = 0, (-1, -1)
    for pool, first, end in sorted(spans, key=lambda span: (span[0], span[2])):
        if (pool, first) > last:
            count, last = count + 1, (pool, end)
    return count


def value_by_hand(service: Service, known: Known, fleet: tuple[Member, ...]) -> int | None:
    """The value of a fleet by exhaustive search's prices; None where it is no fleet."""
    rates, used, cost = dict.fromkeys(ROLES, 0), 0, 0
    nodes: dict[str, list[tuple[int, int, int]]] = {}
    taken = set[tuple[int, int]]()
    for m in fleet:
        s = m.plan.strategy
        worker = known.get((m.pool, m.role, s, m.chunks, m.batch, m.plan.stages))
        if worker is None:
            return None
        pool = service.cluster.pools[m.pool]
        for first in m.first_gpus:
            its = range(first, first + s.gpus)
            domain = pool.scale_up_domain_gpus
            if its[-1] >= pool.gpus or any((m.pool, g) in taken for g in its):
                return None
            if first % domain and first // domain != its[-1] // domain:
                return None
            taken |= {(m.pool, g) for g in its}
            nodes.setdefault(m.role, []).append((m.pool, first // pool.gpus_per_node, its[-1] // pool.gpus_per_node))
            rates[m.role] += worker.rate
            used += s.gpus
            cost += s.gpus * (pool.price_uusd_per_gpu_hour or 0)
    if any(nodes_apart(spans) < service.objective.limits.min_workers for spans in nodes.values()):
        return None
    served, asked = rates["aggregated"] + min(rates["prefill"], rates["decode"]), service.workload.requests_per_hour
    if served < max(1, -(-(asked or 0) * 10**9 // 3600)):
        return None
    match service.objective.name:
        case "throughput":
            return served
        case "throughput_per_gpu":
            return served // used
        case "gpus":
            return used
        case _:
            return cost if asked is not None else -(-cost * 10**12 // served)


def accepts(claim: ServiceClaim) -> bool:
    try:
        examine_service(claim)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("block", range(2))
def test_the_checker_accepts_another_fleet_exactly_where_exhaustive_search_prices_it_so(block: int) -> None:
    tried = Counter[bool]()
    for seed in seeds(block, 5, 2):
        service = random_service(seed)
        if not uniform(service):
            continue
        claim = claimed(service)
        if claim.fleet is None:
            continue
        every = [
            w
            for p in range(len(service.cluster.pools))
            for role in service.workers.roles
            for w in every_worker(service, p, role, any_split=True)
            if keeps_limits(service, w)
        ]
        known = {(w.pool, w.role, w.strategy, w.chunks, w.batch, w.stages): w for w in every}
        for fleet in other_fleets(Random(seed), claim):
            value = value_by_hand(service, known, fleet)
            other = claim.model_copy(update={"fleet": fleet, "value": claim.value if value is None else value})
            assert accepts(other) == (value is not None), (seed, value, fleet)
            if value is not None:
                assert not accepts(other.model_copy(update={"value": value + 1})), (seed, fleet)
            tried[value is not None] += 1
    assert tried[True] > 0
    assert tried[False] > COUNT // BLOCKS, tried


def false_claims(claim: ServiceClaim, real: dict[tuple[Any, ...], int]) -> Iterator[tuple[str, ServiceClaim]]:
    """Claims that say too much of the bound or of the workers, or do not fit together."""
    for n, ceiling in enumerate(claim.ceilings):
        others = (*claim.ceilings[:n], *claim.ceilings[n + 1 :])
        yield "missing ceiling", claim.model_copy(update={"ceilings": others})
        yield "two ceilings", claim.model_copy(update={"ceilings": (*claim.ceilings, ceiling)})
        key = (ceiling.pool, ceiling.role, ceiling.gpus)
        if real.get(key):
            lower = ceiling.model_copy(update={"rate": real[key] - 1})
            yield "low ceiling", claim.model_copy(update={"ceilings": (*claim.ceilings[:n], lower, *claim.ceilings[n + 1 :])})
    if claim.bound is None:
        yield "a bound of nothing", claim.model_copy(update={"bound": 0})
        return
    better = 1 if more_is_better(fleet_problem(claim.service, claim.ceilings)) else -1
    yield "tight bound", claim.model_copy(update={"bound": claim.bound - better})
    yield "no bound", claim.model_copy(update={"bound": None})
    yield "nothing serves", claim.model_copy(update={"bound": None, "fleet": None, "value": None})
    if claim.value is not None:
        yield "value", claim.model_copy(update={"value": claim.value + 1})
        yield "value", claim.model_copy(update={"value": claim.value - 1})
        yield "no value", claim.model_copy(update={"value": None})
        yield "no fleet", claim.model_copy(update={"fleet": None})
        yield "empty fleet", claim.model_copy(update={"fleet": ()})


@pytest.mark.parametrize("block", range(2))
def test_false_claims_are_refused(block: int) -> None:
    tried = Counter[str]()
    for seed in seeds(block, 5, 2):
        service = random_service(seed)
        if not uniform(service):
            continue
        real = kinds_of(service, workers_of(service))
        for what, false in false_claims(claimed(service), real):
            tried[what] += 1
            assert not accepts(false), (seed, what)
    assert len(tried) >= 8, tried


def run(*args: object) -> Any:
    """The command in this process; an exception that is not an exit fails the test."""
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def link(bandwidth: int, latency: int) -> Json:
    return {"bandwidth_bytes_per_s": bandwidth, "latency_ns": latency, "sources": {"*": "assumed: a test"}}


def tiny(pool: Json | None = None, **parts: Json) -> Json:
    """A service of a dense model on one node of two GPUs; `pool` and `parts` are laid over it."""
    shares = ("gemm_efficiency_ppm", "expert_gemm_efficiency_ppm", "attention_efficiency_ppm", "hbm_efficiency_ppm")
    gpu = {"name": "a", "memory_bytes": 10**6, "hbm_bytes_per_s": 10**9, "peak_flop_per_s": {"bf16": 10**10}, "kernel_launch_ns": 0}
    accelerator = gpu | dict.fromkeys(shares, 10**6) | {"sources": {"*": "assumed: a test"}}
    shape = {"name": "p0", "nodes": 1, "gpus_per_node": 2, "scale_up_domain_gpus": 2, "price_uusd_per_gpu_hour": 1000}
    attention = {"kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 4}
    dtypes = ("weight_dtype", "kv_dtype", "activation_dtype", "dispatch_dtype", "combine_dtype")
    model = {"name": "t", "hidden_size": 16, "vocabulary_size": 16, "tied_embeddings": True, "source": "assumed: a test"}
    content: Json = {
        "format": "shardproof-instance/1",
        "name": "tiny",
        "cluster": {
            "pools": [shape | {"accelerator": accelerator, "scale_up": link(10**9, 10), "scale_out": link(10**9, 100)} | (pool or {})]
        },
        "architecture": model
        | dict.fromkeys(dtypes, "bf16")
        | {"layers": [{"count": 3, "attention": attention, "ffn": {"kind": "dense", "intermediate_size": 24, "matrices": 2}}]},
        "workload": {"kind": "serving", "input_tokens": 16, "output_tokens": 4, "sources": {"*": "assumed: a test"}},
        "runtime": {
            "activation_bytes_per_token": 64,
            "collective_buffer_bytes": 0,
            "reserve_bytes": 0,
            "overlap_ppm": 0,
            "sources": {"*": "assumed: a test"},
        },
        "space": {"name": "folded"},
        "workers": {"max_sequences": 4},
        "objective": {"name": "throughput"},
    }
    for name, part in parts.items():
        content[name] = content[name] | part
    return content


def service_of(content: Json) -> Service:
    return Service.model_validate_json(json.dumps(content))


def written(folder: Path, content: Json, name: str = "service.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def worker(role: str, count: int, **degrees: int) -> Json:
    return {"role": role, "count": count, "degrees": degrees, "batch": 1, "chunks": 1}


@pytest.mark.parametrize("seed", range(COUNT // 20))
def test_what_search_writes_is_proved_optimal_explained_and_checked(seed: int, tmp_path: Path) -> None:
    service = random_service(seed)
    file, out, proof = tmp_path / "service.json", tmp_path / "out", tmp_path / "proof.json"
    file.write_text(service.model_dump_json())
    searched = run("search", file, "--json", "--quiet", "--out", out, "--certificate", proof)
    status = json.loads(searched.stdout)["status"]
    assert (searched.exit_code, status) in {(0, "OPTIMAL"), (3, "INFEASIBLE"), (4, "FEASIBLE"), (4, "UNKNOWN")}
    assert run("check", proof, "--instance", file).exit_code == 0
    if (out / "fleet.json").exists():
        for command in ("prove", "explain"):
            judged = run(command, file, out / "fleet.json", "--json", "--quiet")
            assert json.loads(judged.stdout)["status"] == ("OPTIMAL" if status == "OPTIMAL" else "UNKNOWN"), command
            assert judged.exit_code == (0 if status == "OPTIMAL" else 4)


def test_the_json_of_two_runs_is_the_same_but_for_seconds(tmp_path: Path) -> None:
    for seed in range(5):
        file = tmp_path / f"{seed}.json"
        file.write_text(random_service(seed).model_dump_json())
        first, second = (re.sub(r'"seconds": ?[0-9.e-]+', "", run("search", file, "--json", "--quiet").stdout) for _ in range(2))
        assert first == second


def test_a_worse_fleet_is_refuted(tmp_path: Path) -> None:
    file, fleet = written(tmp_path, tiny()), written(tmp_path, {"workers": [worker("aggregated", 1, tp=1, dp=1)]}, "fleet.json")
    judged = run("prove", file, fleet, "--json", "--quiet")
    assert (judged.exit_code, json.loads(judged.stdout)["status"]) == (5, "NOT_OPTIMAL")


@pytest.mark.parametrize(("limit", "named"), [("ttft_ns", "least TTFT"), ("tpot_ns", "least TPOT")])
def test_limits_that_no_worker_keeps_are_infeasible_with_what_can_be_had(limit: str, named: str, tmp_path: Path) -> None:
    found = run("search", written(tmp_path, tiny(objective={"limits": {limit: 1}})), "--quiet")
    assert found.exit_code == 3
    assert named in found.stdout


HOSTILE: tuple[tuple[str, str, Any], ...] = (
    ("workload", "input_tokens", None),
    ("workload", "input_tokens", 0),
    ("workload", "input_tokens", True),
    ("workload", "input_tokens", 10**30),
    ("workload", "output_tokens", 1.5),
    ("workload", "requests_per_hour", 0),
    ("workload", "requests_per_hour", 10**13),
    ("workload", "prefill_utilisation_ppm", 0),
    ("workload", "decode_utilisation_ppm", "110 %"),
    ("workload", "sequences", 3),
    ("workers", "roles", []),
    ("workers", "roles", ["x"]),
    ("workers", "chunks", [0]),
    ("workers", "gpus", []),
    ("workers", "max_sequences", 0),
    ("workers", "batch", 3),
    ("objective", "name", "latency"),
    ("objective", "name", "gpus"),
    ("objective", "limits", {"request_ns": 10}),
    ("objective", "limits", {"ttft_ns": -1}),
    ("objective", "limits", {"ttft_ns": "2 parsecs"}),
    ("objective", "limits", {"min_workers": 17}),
    ("objective", "limits", None),
    ("cluster", "pools", []),
    ("space", "name", "classic"),
    ("space", "microbatches", [1]),
    ("space", "tp", []),
    ("space", "orders", ["a"]),
    ("runtime", "interference_ppm", 0),
    ("architecture", "layers", []),
)


@pytest.mark.parametrize(("part", "field", "value"), HOSTILE)
def test_bad_services_are_refused_in_one_sentence_with_a_remedy(part: str, field: str, value: Any, tmp_path: Path) -> None:
    content = tiny()
    if value is None and field in content[part]:
        del content[part][field]
    else:
        content[part] = content[part] | {field: value}
    refused = run("search", written(tmp_path, content), "--quiet")
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("Error: ")
    assert refused.stderr.count("\n") == 1
    assert re.search(r"; |did you mean", refused.stderr), refused.stderr
    assert part in refused.stderr or "folded" in refused.stderr or field in refused.stderr


def two_kinds_of_layers() -> Service:
    """An aggregated worker whose best split for decoding is not the best one for prefilling."""
    wide = {"kind": "gqa", "heads": 16, "kv_heads": 1, "head_dim": 16}
    layers = [
        {
            "count": 1,
            "attention": {"kind": "gqa", "heads": 1, "kv_heads": 1, "head_dim": 4},
            "ffn": {"kind": "dense", "intermediate_size": 960, "matrices": 3},
        },
        {"count": 2, "attention": wide, "ffn": {"kind": "dense", "intermediate_size": 8, "matrices": 2}},
    ]
    return service_of(
        tiny(
            architecture={"layers": layers},
            workload={"input_tokens": 256, "output_tokens": 1},
            space={"pp": [2], "tp": [1], "dp": [1], "cp": [1]},
            workers={"roles": ["aggregated"]},
        )
    )


def test_an_aggregated_worker_has_the_split_that_serves_best() -> None:
    # once that of the fastest decode step, (1, 2), which serves 102071911805
    claim = claimed(two_kinds_of_layers())
    assert claim.fleet is not None
    assert (claim.fleet[0].plan.stages, claim.value, claim.bound) == ((2, 1), 123161093262, 123161093262)


def test_a_fleet_with_a_value_beyond_the_bound_is_refused() -> None:
    claim = claimed(two_kinds_of_layers())
    assert claim.bound is not None
    low = tuple(c.model_copy(update={"rate": min(c.rate, claim.bound - 1)}) for c in claim.ceilings)
    assert not accepts(claim.model_copy(update={"ceilings": low, "bound": claim.bound - 1}))


def test_prove_does_not_say_that_none_does_better_than_less_than_the_fleet_itself(tmp_path: Path) -> None:
    # once: UNKNOWN, "155.3 tokens/s ... none does better than 128338279169 requests in 10^9 s".
    file = tmp_path / "service.json"
    file.write_text(two_kinds_of_layers().model_dump_json())
    fleet = written(tmp_path, {"workers": [worker("aggregated", 1, tp=1, pp=2, dp=1) | {"stages": [2, 1], "batch": 2}]}, "fleet.json")
    judged = json.loads(run("prove", file, fleet, "--json", "--quiet").stdout)
    assert judged["status"] == "INFEASIBLE" or judged["objective"]["value"] <= judged["objective"]["bound"]


def test_an_aggregated_worker_keeps_the_rules_of_its_prefill_too() -> None:
    # once: context_covers (R11) is looked at for the decode step only; cp = 2 of a chunk of one token is accepted in a fleet.
    content = tiny(
        workload={"input_tokens": 1, "output_tokens": 8}, space={"tp": [1], "pp": [1], "cp": [1, 2]}, workers={"roles": ["aggregated"]}
    )
    service = service_of(content)
    claim = claimed(service)
    assert claim.fleet is not None
    only = claim.fleet[0]
    degrees = only.plan.degrees.model_copy(update={"cp": 2, "dp": 1, "edp": 2})
    fleet = (changed(only, first_gpus=(0,), plan=only.plan.model_copy(update={"degrees": degrees})),)
    assert not any(w.strategy.cp == 2 for w in every_worker(service, 0, "aggregated"))
    with pytest.raises(Refused) as refusal:
        examine_service(claim.model_copy(update={"fleet": fleet, "value": 1}))
    assert "the fleet has the value" not in refusal.value.reason


def test_the_loss_of_one_node_leaves_each_role_a_worker() -> None:
    # once: workers that begin on two nodes count as two, though both lie on the node between: here GPUs 0-5 and 6-11 of nodes of 4.
    pool = {"nodes": 3, "gpus_per_node": 4, "scale_up_domain_gpus": 2}
    limits = {"limits": {"min_workers": 2}}
    service = service_of(tiny(pool, workers={"roles": ["aggregated"], "gpus": [6]}, space={"cp": [1]}, objective=limits))
    best, claim = best_fleet(service, kinds_of(service, workers_of(service))), claimed(service)
    assert best.value is None
    assert claim.value is None


def test_workers_are_spread_over_nodes_where_they_can_be(tmp_path: Path) -> None:
    # once: places are chosen by domains, not by nodes; search says UNKNOWN and prove INFEASIBLE of a fleet that can be laid out.
    pool = {"nodes": 2, "gpus_per_node": 4, "scale_up_domain_gpus": 2}
    content = tiny(
        pool,
        workers={"roles": ["prefill", "decode"], "gpus": [2], "max_sequences": 2},
        space={"tp": [1], "pp": [1], "cp": [1]},
        objective={"limits": {"min_workers": 2}},
    )
    file = written(tmp_path, content)
    fleet = written(tmp_path, {"workers": [worker("prefill", 2, tp=1, dp=2), worker("decode", 2, tp=1, dp=2)]}, "fleet.json")
    assert json.loads(run("prove", file, fleet, "--json", "--quiet").stdout)["status"] != "INFEASIBLE"
    assert json.loads(run("search", file, "--json", "--quiet").stdout)["status"] == "OPTIMAL"


def test_a_fleet_that_can_be_laid_out_is_not_called_infeasible(tmp_path: Path) -> None:
    # once: 6+3+3 and 4+4+4 fill two domains of 12; the largest first do not fit, and prove says INFEASIBLE.
    pool = {"nodes": 2, "gpus_per_node": 12, "scale_up_domain_gpus": 12}
    content = tiny(pool, workers={"roles": ["aggregated"], "gpus": [3, 4, 6], "max_sequences": 2}, space={"tp": [1], "pp": [1], "cp": [1]})
    workers = [worker("aggregated", count, tp=1, dp=gpus) for gpus, count in ((6, 1), (4, 3), (3, 2))]
    judged = run("prove", written(tmp_path, content), written(tmp_path, {"workers": workers}, "fleet.json"), "--json", "--quiet")
    assert json.loads(judged.stdout)["status"] != "INFEASIBLE"


def test_roles_that_can_serve_nothing_are_refused(tmp_path: Path) -> None:
    # once: without decode workers no request is served; it is called INFEASIBLE, "no worker keeps the limits", though there are no limits.
    assert run("search", written(tmp_path, tiny(workers={"roles": ["prefill"]})), "--quiet").exit_code == 2


def test_an_unknown_kind_of_workload_is_named(tmp_path: Path) -> None:
    # once: "workers: no such field; did you mean "orders"?" where workload.kind is misspelt.
    refused = run("search", written(tmp_path, tiny(workload={"kind": "serve"})), "--quiet")
    assert refused.exit_code == 2
    assert "workload" in refused.stderr


def test_too_long_requests_are_refused_with_field_and_remedy(tmp_path: Path) -> None:
    # once: "top level: Input should be less than or equal to 10000000".
    refused = run("search", written(tmp_path, tiny(workload={"input_tokens": 10**7, "output_tokens": 10**7})), "--quiet")
    assert refused.exit_code == 2
    assert "input_tokens" in refused.stderr


def test_sizes_that_no_worker_may_have_are_not_blamed_on_memory(tmp_path: Path) -> None:
    # once: "no worker fits memory" of two GPUs of 1 MB of which workers.gpus allows 100 only.
    found = run("search", written(tmp_path, tiny(workers={"gpus": [100]})), "--quiet")
    assert found.exit_code in (2, 3)
    assert "memory" not in found.stdout


def test_the_closest_time_to_the_first_token_is_the_least_of_all_batches() -> None:
    # once: waits can fall with the batch: a larger one may decode best on a split that prefills faster (521,828 ns, then 431,946).
    def layer(count: int, heads: int, width: int) -> Json:
        attention = {"kind": "gqa", "heads": heads, "kv_heads": heads, "head_dim": width}
        return {"count": count, "attention": attention, "ffn": {"kind": "dense", "intermediate_size": 100, "matrices": 2}}

    content = tiny(
        architecture={"layers": [layer(1, 4, 16), layer(2, 1, 4)], "vocabulary_size": 1000},
        workload={"input_tokens": 64, "output_tokens": 1},
        space={"pp": [2], "tp": [1], "cp": [1]},
        workers={"roles": ["aggregated"], "max_sequences": 12},
    )
    service = service_of(content)
    closest = least_wait(Workers(service, 0, "aggregated"), "ttft")
    assert closest is not None
    assert closest.ns == min(w.ttft_ns for w in every_worker(service, 0, "aggregated"))


def test_the_closest_waits_are_those_of_exhaustive_search() -> None:
    for seed in range(COUNT // 10):
        service = random_service(seed)
        if not uniform(service):
            continue
        for p, role in product(range(len(service.cluster.pools)), service.workers.roles):
            every, workers = list(every_worker(service, p, role)), Workers(service, p, role)
            for rule, attribute, not_of in (("ttft", "ttft_ns", "decode"), ("tpot", "tpot_ns", "prefill")):
                if role != not_of:
                    closest = least_wait(workers, rule)
                    assert (closest.ns if closest else None) == min((getattr(w, attribute) for w in every), default=None), (seed, p, role)


def waits_of(service: Service, w: Priced) -> dict[str, int]:
    """What its requests wait, by the limits that bind its role."""
    found = {"ttft": w.ttft_ns, "tpot": w.tpot_ns, "request": w.ttft_ns + service.workload.output_tokens * w.tpot_ns}
    limits = service.objective.limits
    bound = {"ttft": limits.ttft_ns, "tpot": limits.tpot_ns, "request": limits.request_ns}
    of_role = {"prefill": ("ttft",), "decode": ("tpot",), "aggregated": ("ttft", "tpot", "request")}[w.role]
    if w.role == "decode":
        bound["tpot"] = service.longest_token_ns()
    return {rule: found[rule] for rule in of_role if bound[rule] is not None}


def test_what_each_limit_leaves_beside_the_others_is_that_of_exhaustive_search() -> None:
    # once: the least TTFT and the least TPOT of different workers, both within the limits, and no request time.
    seen = Counter[str]()
    for seed in range(COUNT):
        service = random_service(seed)
        if not uniform(service):
            continue
        for p, role in product(range(len(service.cluster.pools)), service.workers.roles):
            workers = Workers(service, p, role)
            every = [waits_of(service, w) for w in every_worker(service, p, role)]
            found = shortfall_json(workers)
            assert (found["why"] is None) == bool(every), (seed, p, role, found["why"])
            limits = {limit["wait"]: limit["limit_ns"] for limit in found["limits"]}
            for limit in found["limits"]:
                rule = limit["wait"]
                beside = [w[rule] for w in every if all(w[other] <= limits[other] for other in limits if other != rule)]
                assert limit["least"]["ns"] == min(w[rule] for w in every), (seed, p, role, rule)
                assert (limit["least_beside_the_others"] or {"ns": None})["ns"] == min(beside, default=None), (seed, p, role, rule)
                missed = min(beside or [limit["least"]["ns"]]) - limit["limit_ns"]
                assert limit["missed_by_ns"] == (missed if missed > 0 else None)
                seen["missed" if missed > 0 else "kept" if beside else "alone"] += 1
            if limits:
                nearest = {w["wait"]: w["ns"] for w in found["nearest"]["waits"]}
                assert nearest in every, (seed, p, role)
                furthest = [max(-(-w[rule] * 10**9 // max(1, limits[rule])) for rule in limits) for w in (nearest, *every)]
                assert furthest[0] == min(furthest), (seed, p, role)
    assert min(seen["missed"], seen["kept"]) > 3, seen


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"workers": {"gpus": [100]}}, "none of the sizes in workers.gpus is one that a worker may have here: at most the pool's 2 GPUs"),
        (
            {"workers": {"gpus": [2]}, "space": {"pp": [1], "tp": [1], "cp": [1], "dp": [1]}},
            "no degrees that the space lists and the model",
        ),
        (
            {"workers": {"max_sequences": 1}, "space": {"pp": [2]}},
            "workers.max_sequences is 1, but every worker that fits memory has 2 stages",
        ),
        ({"runtime": {"reserve_bytes": 10**6}}, "no worker of any size fits memory: the least that one needs is 0.01 GiB on a GPU (EP1"),
    ],
)
def test_the_reason_that_leaves_no_worker_is_named(parts: Json, said: str, tmp_path: Path) -> None:
    # once: "no worker fits memory", whatever the reason.
    found = run("search", written(tmp_path, tiny(**parts)), "--quiet")
    assert found.exit_code == 3
    assert said in found.stdout, found.stdout
    assert ("memory" in found.stdout) == ("memory" in said), found.stdout


def test_sizes_too_small_for_memory_are_told_the_fewest_gpus() -> None:
    for gpus, needed in ((1, "140.19"), (3, "140.19")):
        llama, sizes = INSTANCES / "llama70b_8h100_serving.json", f"workers.gpus=[{gpus}]"
        text = run("search", llama, "--quiet", "--set", sizes).stdout
        assert f"of {gpus} GPU" in text
        assert f"needs is {needed} GiB on a GPU (EP1 TP1 PP1" in text
        assert text.count("a GPU has 79.09 GiB; the fewest GPUs with which one fits are 2\n") == 3


def test_a_limit_that_follows_from_others_says_so(tmp_path: Path) -> None:
    # once: "the limit is 1.954 ms", which nobody had stated.
    source = "(request 16 s - ttft 15 s) / 512 output tokens; a shorter objective.limits.ttft_ns leaves more"
    limits = [f"--set=objective.limits.{rule}={value}" for rule, value in (("ttft_ns", "15s"), ("tpot_ns", "null"), ("request_ns", "16s"))]
    llama, split = INSTANCES / "llama70b_8h100_serving.json", '--set=workers.roles=["prefill","decode"]'
    assert f"TPOT: the limit is 1.953 ms ({source}); the least TPOT is" in run("search", llama, "--quiet", split, *limits).stdout
    fleet = written(tmp_path, {"workers": [worker("prefill", 1, tp=4), worker("decode", 1, tp=4)]}, "fleet.json")
    for command in ("prove", "explain"):
        found = run(command, llama, fleet, "--quiet", split, *limits)
        assert found.exit_code == 3
        assert f"the limit is 1.953 ms: {source}" in found.stdout
    alone = run("search", llama, "--quiet", "--set=objective.limits={}", "--set=objective.limits.request_ns=16s")
    assert alone.exit_code == 2
    assert "add ttft_ns, as short as can be kept, or list only aggregated in workers.roles" in alone.stderr


def test_a_role_that_no_limit_leaves_is_not_blamed_on_the_number_of_workers(tmp_path: Path) -> None:
    # once: "there is no room for 2 workers of every role" where prefill workers kept the limits and decode workers did not.
    limits = {"min_workers": 2, "tpot_ns": 1}
    content = tiny({"nodes": 2}, workers={"roles": ["prefill", "decode"]}, objective={"limits": limits})
    found = run("search", written(tmp_path, content), "--quiet")
    assert "no fleet keeps the limits" in found.stdout
    assert "least TPOT" in found.stdout


def test_what_is_left_after_the_loss_of_a_node_is_that_of_the_workers_elsewhere(tmp_path: Path) -> None:
    pool = {"nodes": 3, "gpus_per_node": 4, "scale_up_domain_gpus": 2}
    sizes = {"roles": ["prefill", "decode", "aggregated"], "gpus": [1, 2, 6, 8], "max_sequences": 2}
    for least, roles in product((1, 2), (["aggregated"], ["prefill", "decode"], sizes["roles"])):
        content = tiny(pool, workers=sizes | {"roles": roles}, space={"cp": [1]}, objective={"limits": {"min_workers": least}})
        file = written(tmp_path, content)
        (fleet,) = json.loads(run("search", file, "--json", "--quiet").stdout)["optimal"]
        loss, left = fleet["after_worst_node_loss"], list[float]()
        for node in range(3):
            rates = dict.fromkeys(ROLES, 0.0)
            for w in fleet["workers"]:
                away = sum(all((first + n) // 4 != node for n in range(w["gpus"])) for first in w["first_gpus"])
                rates[w["role"]] += away * w["metrics"]["requests_per_s"]
            left.append(rates["aggregated"] + min(rates["prefill"], rates["decode"]))
        assert loss["requests_per_s"] == pytest.approx(min(left), abs=1e-4)
        assert loss["left_pct"] == pytest.approx(100 * min(left) / fleet["metrics"]["requests_per_s"], abs=0.01)
        assert left[loss["node"]] == pytest.approx(min(left), abs=1e-4)
        assert ("after the worst loss of one node" in run("search", file, "--quiet").stdout) == (least > 1)


HOSTILE_FLEETS: tuple[Json, ...] = (
    {"order": "x"},
    {"stages": [100]},
    {"stages": [1, 1, 1]},
    {"stages": [100], "batch": 65_537},
    {"stages": [100], "chunks": 3},
    {"chunks": 3},
    {"chunks": 10**7},
    {"batch": 10**7},
    {"batch": 65_537},
    {"placement": [[[99]]]},
    {"count": 65_536},
    {"pool": "elsewhere"},
    {"degrees": {"replicas": 2}},
    {"degrees": {"microbatches": 9}},
    {"degrees": {"tp": 10**7}},
    {"degrees": {"redundant": 50}},
)


# once: KeyError (order "x"), IndexError (stages that do not fit beside a broken in_flight or chunks; services all of whose numbers of
# chunks leave one empty).
@pytest.mark.parametrize("chunks", [[1], [17]])
@pytest.mark.parametrize("change", HOSTILE_FLEETS)
@pytest.mark.parametrize("role", ROLES)
def test_no_fleet_file_ends_in_a_traceback(role: str, change: Json, chunks: list[int], tmp_path: Path) -> None:
    file = written(tmp_path, tiny(workers={"chunks": chunks}, space={"tp_in_domain": True}))
    for base in ({"role": role, "degrees": {"tp": 1}}, {"role": role, "degrees": {"tp": 1}, "batch": 1, "chunks": 1}):
        found = run("prove", file, written(tmp_path, {"workers": [base | change]}, "fleet.json"), "--quiet")
        assert found.exit_code in (0, 2, 3, 4, 5)


def test_workers_are_counted_without_making_them() -> None:
    for seed in range(20):
        service = random_service(seed)
        for p, role in product(range(len(service.cluster.pools)), service.workers.roles):
            counted, made = Workers(service, p, role), Workers(service, p, role)
            assert [counted.count(gpus) for gpus in counted.sizes] == [len(made.cuts(gpus)) for gpus in made.sizes], (seed, p, role)


def test_too_many_workers_are_refused_before_any_is_priced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # once: 65,536 GPUs were refused after 66 s, the workers before the 500,000th priced.
    monkeypatch.setattr(Workers, "cuts", lambda *_: pytest.fail("a worker was made"))
    monkeypatch.setattr("models.service_claim.MOST_WORKERS", 5_000)
    refused = run("search", written(tmp_path, tiny({"nodes": 1024, "gpus_per_node": 8, "scale_up_domain_gpus": 8})), "--quiet")
    assert refused.exit_code == 2
    assert "more than 5,000 workers" in refused.stderr


def test_many_batches_that_yield_much_the_same_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    # once: every batch of a plateau was split by itself, 1,247 of them for prompts of one token (14 s where 0.6 s is usual).
    asked, splits = list[int](), Workers.splits
    monkeypatch.setattr(Workers, "splits", lambda workers, cut, batch: asked.append(batch) or splits(workers, cut, batch))
    service = read_problem(INSTANCES / "llama70b_8h100_serving.json", ["workload.input_tokens=1"])
    assert isinstance(service, Service)
    found = best_worker(Workers(service, 0, "prefill"), 2)
    assert found is not None
    assert (found.batch, found.rate) == (4_096, 9_289_991_929_041)
    assert len(asked) < 400, len(asked)
