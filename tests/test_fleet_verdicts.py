"""What `prove`, `explain` and `check` say of fleets: both fleets of a verdict are in its certificate, losses add up, limits are named."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.packing import Refused
from models.service_claim import ServiceClaim, examine_service
from optimizer.cli import app

LLAMA = Path(__file__).resolve().parent.parent / "instances" / "llama70b_8h100_serving.json"
Json = Any


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and standard output of a command; an exception that is no exit fails the test."""
    found = CliRunner().invoke(app, [str(a) for a in arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout


def written(folder: Path, *workers: Json) -> Path:
    path = folder / "fleet.json"
    path.write_text(json.dumps({"workers": workers}), encoding="utf-8")
    return path


def aggregated(count: int = 1, tp: int = 4, **more: Json) -> Json:
    return {"role": "aggregated", "count": count, "degrees": {"tp": tp}} | more


def verdict(folder: Path, command: str, fleet: Path, *settings: str) -> tuple[int, Json, Path]:
    proof = folder / f"{command}.certificate.json"
    code, text = run(command, LLAMA, fleet, "--json", "--quiet", "--certificate", proof, *settings)
    return code, json.loads(text), proof


def test_the_certificate_of_a_refuted_fleet_speaks_of_it_and_of_the_best(tmp_path: Path) -> None:
    fleet = written(tmp_path, aggregated(2))
    code, found, proof = verdict(tmp_path, "prove", fleet)
    assert (code, found["status"]) == (5, "NOT_OPTIMAL")
    assert run("check", proof, "--instance", LLAMA, "--plan", fleet)[0] == 0
    best = tmp_path / "best"
    assert run("search", LLAMA, "--out", best, "--quiet")[0] == 0
    assert run("check", proof, "--plan", best / "fleet.json")[0] == 0
    other = written(tmp_path, aggregated(1, tp=8))
    code, text = run("check", proof, "--plan", other)
    assert code == 5
    assert "says nothing about the plan" in text


def test_one_entry_of_two_workers_is_two_entries_of_one(tmp_path: Path) -> None:
    _, _, proof = verdict(tmp_path, "prove", written(tmp_path, aggregated(2)))
    assert run("check", proof, "--plan", written(tmp_path, aggregated(), aggregated(batch=19)))[0] == 0
    assert run("check", proof, "--plan", written(tmp_path, aggregated(), aggregated(batch=18)))[0] == 5
    assert run("check", proof, "--plan", written(tmp_path, aggregated(3)))[0] == 5


def test_a_fleet_that_is_no_worse_cannot_be_refuted(tmp_path: Path) -> None:
    _, _, proof = verdict(tmp_path, "prove", written(tmp_path, aggregated(2)))
    claim = ServiceClaim.model_validate_json(json.dumps(json.loads(proof.read_text())["claim"]))
    examine_service(claim)
    with pytest.raises(Refused):
        examine_service(claim.model_copy(update={"refuted": claim.fleet}))
    with pytest.raises(Refused):
        examine_service(claim.model_copy(update={"fleet": None, "value": None}))


def test_the_loss_of_a_fleet_is_told_by_what_other_fleets_may_be_of(tmp_path: Path) -> None:
    code, found, _ = verdict(tmp_path, "explain", written(tmp_path, aggregated(1, tp=8, batch=3)))
    rates = {a["of"]: a["requests_per_s"] for a in found["alternatives"]}
    assert code == 5
    own, best, alone, split, any_ = rates.values()
    assert own < best <= alone <= any_
    assert split <= any_ == found["better"]["metrics"]["requests_per_s"]
    assert found["explanation"][0]["is_best"] is False


def test_what_binds_a_worker_is_named_with_what_it_would_take(tmp_path: Path) -> None:
    _, found, _ = verdict(tmp_path, "explain", written(tmp_path, aggregated(2)))
    (binding,) = found["explanation"][0]["binding"]
    assert binding["rule"] == "tpot"
    assert binding["need"] > binding["have"] == 30_000_000
    _, wider, _ = verdict(
        tmp_path, "prove", written(tmp_path, aggregated(2, batch=20)), "--set", f"objective.limits.tpot_ns={binding['need']}"
    )
    assert wider["status"] == "NOT_OPTIMAL"
    code, tight, _ = verdict(tmp_path, "prove", written(tmp_path, aggregated(2, batch=20)))
    assert (code, [b["rule"] for b in tight["broken"]]) == (3, ["tpot"])


@pytest.mark.parametrize(
    ("workers", "settings", "rules"),
    [
        ([aggregated(3)], (), ["pool"]),
        ([aggregated(1, tp=1)], (), ["memory", "tpot"]),
        ([aggregated(2, degrees={"tp": 3})], (), ["space", "heads_divide", "kv_heads"]),
        ([aggregated(1)], ("--set", "objective.limits.min_workers=2", "--set", "cluster.nodes=2"), ["min_workers"]),
        ([aggregated(2)], ("--set", "workload.requests_per_hour=36000"), ["rate"]),
        ([aggregated(2, batch=6)], ("--set", "workers.max_sequences=5"), ["in_flight"]),
        ([aggregated(2, chunks=3)], (), ["chunks"]),
    ],
)
def test_every_rule_that_a_fleet_breaks_is_named(workers: list[Json], settings: tuple[str, ...], rules: list[str], tmp_path: Path) -> None:
    code, found, proof = verdict(tmp_path, "prove", written(tmp_path, *workers), *settings)
    assert (code, found["status"]) == (3, "INFEASIBLE")
    assert [b["rule"] for b in found["broken"]][: len(rules)] == rules
    assert run("check", proof)[0] == 0


def test_values_of_other_objectives_are_said_first() -> None:
    load = ("--set", "workload.requests_per_hour=3600")
    _, text = run("search", LLAMA, "--objective", "gpus", *load, "--quiet")
    assert text.startswith("llama70b_8h100_serving: 4 GPUs: ")
    _, text = run("search", LLAMA, "--objective", "cost", *load, "--set", "cluster.price_uusd_per_gpu_hour=2 USD/h", "--quiet")
    assert text.startswith("llama70b_8h100_serving: 8.00 USD/h: ")
    _, text = run("search", LLAMA, "--objective", "throughput_per_gpu", "--quiet")
    assert "requests/s per GPU in use: " in text.splitlines()[0]


def test_ranks_that_idle_in_partly_full_rounds_are_noted(tmp_path: Path) -> None:
    service = LLAMA.parent / "deepseek_v3_16h200_serving.json"
    code, text = run("search", service, "--quiet", "--out", tmp_path / "out")
    assert code == 0
    assert "note: aggregated workers of several data-parallel ranks" in text
    whole, eager = (
        json.loads(run("simulate", service, tmp_path / "out" / "fleet.json", "--requests", "1500", "--json", *how)[1])
        for how in ((), ("--eager",))
    )
    assert whole["notes"] == []
    assert whole["requests_per_s"] > 1.3 * eager["requests_per_s"]
    assert "the fleet yields less than its means" in eager["notes"][0]


def test_the_limit_of_the_effort_is_named() -> None:
    service = LLAMA.parent / "qwen3_235b_16h200_serving.json"
    code, text = run("search", service, "--seconds", "0", "--json", "--quiet")
    found = json.loads(text)
    assert code == 4
    assert (found["limited"], found["wall_limited"]) == (True, True)
    assert found["status"] in ("FEASIBLE", "UNKNOWN")


def test_the_fleet_file_of_the_documentation_is_one_of_the_instance_named_there(tmp_path: Path) -> None:
    # once: "workers.0.pool: missing" on instances of two pools, "H20 is no pool" on those of one.
    text = (LLAMA.parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")
    shown = re.search(r'One for `(instances/\S+\.json)`:\n\n( +\{"workers".*?)\n\n', text, re.DOTALL)
    assert shown is not None
    fleet = tmp_path / "fleet.json"
    fleet.write_text(shown[2], encoding="utf-8")
    service = LLAMA.parent.parent / shown[1]
    code, said = run("prove", service, fleet, "--quiet")
    assert (code, said.split(":")[0]) == (5, "NOT_OPTIMAL")
    code, said = run("simulate", service, fleet, "--requests", "500")
    assert (code, said.split(":")[0]) == (0, "SIMULATED")


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_fleet_of_one_role_that_serves_nothing_is_told_what_it_lacks(role: str, tmp_path: Path) -> None:
    # once: "the fleet serves 0 requests in 10^9 s, at least 1 are asked for".
    code, found, _ = verdict(tmp_path, "prove", written(tmp_path, aggregated(1, tp=8, role=role)))
    assert (code, [b["rule"] for b in found["broken"]]) == (3, ["rate"])
    assert found["broken"][0]["sentence"].endswith("serve no request; add aggregated workers, or both prefill and decode workers")
