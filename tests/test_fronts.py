"""The front is what separate searches give, its files hold; places and the integer program agree with what is proved."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from test_fleets import random_problem

from models.cluster import Pool
from models.fleet import value_of_fleet, yield_of
from models.fleet_places import examine_places
from models.packing import Refused
from models.service import Service
from optimizer.cli import main
from optimizer.encoding.fleet_model import propose_fleet
from optimizer.fleets.solve import solve_fleet
from optimizer.reading import read_record
from optimizer.search import Options
from optimizer.serving.front import knee, points, status_of_all, undominated, within
from optimizer.serving.places import Piece, place_workers
from optimizer.serving.run import solve

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
LLAMA = INSTANCES / "llama70b_8h100_serving.json"
STEP = 10


def quiet(_: str) -> None:
    """No progress."""


def test_the_front_is_what_a_search_at_every_multiple_gives() -> None:
    service = read_record(LLAMA, Service)
    found = list(points(service, STEP, Options(), quiet))
    assert status_of_all(found) == "OPTIMAL"
    most = 10**9 // found[-1].limit_ns
    for limit_ns in (*(10**9 // multiple for multiple in range(STEP, most + 3 * STEP, STEP)), 30_000_000):
        _, claim = solve(within(service, limit_ns), Options(), quiet)
        of_front = next((p for p in found if p.fleet is not None and p.tpot_ns <= limit_ns <= p.limit_ns), None)
        assert claim.value == (of_front.claim.value if of_front else None), limit_ns
        assert claim.bound == claim.value
    front = undominated(found)
    assert all(a.kept < b.kept and a.per_gpu > b.per_gpu for a, b in pairwise(front))


class Corner(NamedTuple):
    """What `knee` looks at."""

    kept: float
    per_gpu: float


def test_the_knee_is_where_yield_times_speed_is_largest() -> None:
    front = [Corner(1, 10), Corner(4, 9), Corner(7, 6), Corner(10, 1)]
    assert knee(front) == 2
    assert knee(front[:1]) == 0
    assert knee([]) is None


def test_a_front_with_a_gap_is_not_called_optimal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spread = ["--set", "objective.limits.min_workers=2", "--set", "cluster.nodes=3", "--set", 'workers.roles=["prefill","decode"]']
    code, text = run(capsys, monkeypatch, "search", str(LLAMA), "--front", "20", *spread, "--quiet")
    assert code == 4
    assert "FEASIBLE: at " in text


def test_a_front_without_a_fleet_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ["--set", "objective.limits.ttft_ns=1 ms"]
    code, text = run(capsys, monkeypatch, "search", str(LLAMA), "--front", "10", *nothing, "--quiet")
    assert code == 3
    assert "INFEASIBLE: no fleet gives its users 10 tokens/s each" in text


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """Exit code and standard output of a command."""
    monkeypatch.setattr("sys.argv", ["shardproof", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0), capsys.readouterr().out


def test_files_of_a_front_are_plans_and_certificates_that_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "front"
    code, text = run(capsys, monkeypatch, "search", str(LLAMA), "--front", "20", "--out", str(folder), "--quiet", "--json")
    assert code == 0
    front = json.loads((folder / "front.json").read_text())
    assert front == json.loads(text)
    assert (folder / "front.svg").read_text().startswith("<svg")
    limit = front["points"][front["limit"]]
    assert limit["fleet"]["metrics"]["tpot_ns"] <= 30_000_000
    for point in front["points"]:
        plan, proof = (str(folder / f"{kind}_{point['number']:03}.json") for kind in ("fleet", "certificate"))
        code, said = run(capsys, monkeypatch, "check", proof, "--plan", plan)
        assert code == 0, said


@pytest.mark.parametrize("block", range(4))
def test_the_integer_program_finds_the_best_fleet(block: int) -> None:
    compared = 0
    for seed in range(3000 + block, 3120, 4):
        problem = random_problem(seed)
        pools = [pool_of(pool.gpus, 1, pool.gpus) for pool in problem.pools]  # nodes of one GPU: every mix has places
        fleet, claim = propose_fleet(problem, pools, 10, 0, quiet), solve_fleet(problem)
        assert (None if fleet is None else value_of_fleet(problem, yield_of(problem, [laid.chosen for laid in fleet]))) == claim.value
        compared += 1
    assert compared >= 10


def pool_of(nodes: int, node: int, domain: int | None = None) -> Pool:
    base = read_record(LLAMA, Service).cluster.pools[0]
    return base.model_copy(update={"nodes": nodes, "gpus_per_node": node, "scale_up_domain_gpus": domain or node})


@pytest.mark.parametrize("domain", [1, 2, 4, 8])
def test_sizes_that_divide_each_other_fit_wherever_their_sum_does(domain: int) -> None:
    rng = Random(domain)
    for _ in range(200):
        pool = pool_of(rng.randint(1, 6), domain)
        sizes = [g for g in range(1, pool.gpus + 1) if (domain % g == 0 or g % domain == 0)]
        wanted, left = list[Piece](), pool.gpus
        while left and len(wanted) < 12:
            gpus = rng.choice([g for g in sizes if g <= left])
            wanted.append(Piece(0, gpus, len(wanted), rng.choice(["prefill", "decode"])))
            left -= gpus
        if any(w.gpus > domain for w in wanted):  # whole domains first, so that parts fill what is left
            wanted = [w for w in wanted if w.gpus <= domain or w.gpus % domain == 0]
        places = place_workers([pool], wanted)
        assert places is not None
        examine_places(pool, [(w.gpus, first) for w in wanted for first in places[w.kind]])


def test_places_that_overlap_or_tear_a_domain_are_refused() -> None:
    pool = pool_of(2, 4)
    examine_places(pool, [(2, 0), (2, 2), (4, 4)])
    for places in ([(2, 0), (2, 1)], [(4, 2)], [(8, 4)], [(1, 8)]):
        with pytest.raises(Refused):
            examine_places(pool, places)


def test_roles_are_spread_over_nodes() -> None:
    wanted = [Piece(0, 2, 0, "prefill"), Piece(0, 2, 0, "prefill"), Piece(0, 2, 1, "decode"), Piece(0, 2, 1, "decode")]
    places = place_workers([pool_of(2, 4)], wanted)
    assert places is not None
    assert all({first // 4 for first in firsts} == {0, 1} for firsts in places.values())
