"""Aggregated workers: requests in flight are rate * time in flight, and full rounds of prefills as measured; pools that do no harm."""

import os
from pathlib import Path

import pytest
from random_services import random_service

from benchmarks.fidelity.__main__ import project_pricing
from benchmarks.fidelity.cases import Unpriced
from benchmarks.fidelity.pricing import engine_plan, in_flight, run
from benchmarks.fidelity.rows import read_rows
from benchmarks.fidelity.scenes import lengths_of, workers_of
from models.ceilings import best_worker
from models.cluster import Pool
from models.fleet import more_is_better
from models.service import Service
from models.service_claim import ServiceClaim, fleet_problem
from models.serving import gathering_ns, requests_ns, token_ns
from models.units import NS_PER_S
from models.workers import Workers
from optimizer.serving.solve import Solved

COUNT = int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "150"))
ROWS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "measured_calibration.csv"
MS = 1_000_000


def test_requests_in_flight_are_no_fewer_than_rate_times_the_time_that_each_takes() -> None:
    # once: a request of a worker of one sequence was said to end before its own prefill and steps do
    seen = 0
    for seed in range(COUNT // 2):
        service = random_service(seed)
        for p in range(len(service.cluster.pools)) if "aggregated" in service.workers.roles else ():
            workers, out = Workers(service, p, "aggregated"), service.workload.output_tokens
            for gpus in workers.sizes:
                found = best_worker(workers, gpus)
                if found is None:
                    continue
                f, rounding_ns = found.figures, out + 1
                request_ns = f.ttft_ns + out * f.tpot_ns - rounding_ns
                waiting_for_a_round = (f.ranks - 1) / 2
                assert f.rate * request_ns <= (f.in_flight + waiting_for_a_round) * NS_PER_S**2 * (1 + 1e-9), (seed, p, gpus)
                seen += 1
    assert seen > COUNT // 4


def bounded(service: Service) -> ServiceClaim:
    solved = Solved(service)
    solved.bound_workers(lambda _: None)
    return solved.claim()


def with_pools(service: Service, pools: tuple[Pool, ...]) -> Service:
    return service.model_copy(update={"cluster": service.cluster.model_copy(update={"pools": pools})})


def test_one_more_pool_never_makes_the_best_fleet_worse() -> None:
    # once: caches moved at the pace of the slowest ports of all pools, in use or not
    better = 0
    for seed in range(COUNT // 2):
        service = random_service(seed)
        own = service.cluster.pools[0]
        port = own.scale_out.model_copy(update={"bandwidth_bytes_per_s": max(1, own.scale_out.bandwidth_bytes_per_s // 1000)})
        slow = own.model_copy(update={"name": "slow", "scale_out": port})
        alone, beside = bounded(with_pools(service, (own,))).bound, bounded(with_pools(service, (own, slow))).bound
        if alone is None:
            continue
        assert beside is not None, seed
        assert beside >= alone if more_is_better(fleet_problem(service, ())) else beside <= alone, seed
        better += beside != alone
    assert better > COUNT // 20


@pytest.mark.skipif(not ROWS.is_file(), reason="needs the measured rows in ../shared/data")
def test_the_measured_server_of_several_ranks_fills_its_rounds_and_waits_for_them() -> None:
    # m01635 to m01637: DeepSeek-R1 on 8 H200, DP 8 EP 8, 64 requests in flight
    rows = {row.row_id: row for row in read_rows(ROWS, project_pricing()) if row.row_id in ("m01635", "m01636", "m01637")}
    case = rows["m01636"].case
    assert case is not None
    workers, lengths = workers_of(case), lengths_of(case)
    found = engine_plan(case, workers)
    assert lengths is not None
    assert not isinstance(found, Unpriced)
    sequences, share_ppm = in_flight(case, found, lengths, workers.count), found[0].runtime.interference_ppm
    step, prefill = run(found, sequences, lengths.context, steady=True).ns, run(found, 1, lengths.prompt, lengths.prompt).ns
    held = requests_ns(step, prefill, prefill + step, sequences, lengths.output, share_ppm)
    assert (workers.dp, sequences) == (8, 8)
    assert token_ns(step, prefill, sequences, lengths.output, share_ppm) / MS == pytest.approx(rows["m01636"].value, rel=0.05)
    assert (gathering_ns(8, sequences, held) + prefill + step) / MS == pytest.approx(rows["m01635"].value, rel=0.1)
    of_one_prompt = token_ns(step, prefill, 8 * sequences, lengths.output, share_ppm) / MS
    assert of_one_prompt > 3 * rows["m01636"].value
