"""Certificates from the command line: written, checked, refused for another instance or plan."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from models.bounds import Bounds
from models.certificate import parse
from models.instance import Instance
from models.result import Status
from models.strategy import PlanFile
from optimizer.check import check
from optimizer.cli import app
from optimizer.reading import read_record
from optimizer.search import Options, judge

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
REFERENCE, PLAN = INSTANCES / "ep64_tp2_128gpu.json", INSTANCES / "ep64_tp2_128gpu.plan.json"
LLAMA, SHORT = INSTANCES / "llama70b_8gpu.json", INSTANCES / "llama70b_8gpu_short.json"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


def check_json(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("check", *arguments, "--json")[1])
    return found


def test_prove_writes_a_certificate_that_check_confirms(tmp_path: Path) -> None:
    code, out, _ = run("prove", REFERENCE, PLAN, "--certificate", tmp_path / "c.json", "--json", "--quiet")
    result = json.loads(out)
    assert (code, result["status"]) == (0, "OPTIMAL")
    text = (tmp_path / "c.json").read_text(encoding="utf-8")
    assert len(text.encode()) == result["proof"]["certificate_bytes"] <= 50_000
    verdict = check_json(tmp_path / "c.json", "--instance", REFERENCE, "--plan", PLAN)
    assert (verdict["status"], verdict["claim"]["kind"], verdict["claim"]["value"]) == ("VALID", "optimal", result["value"])


def test_in_the_folded_space_the_certificate_holds_the_refutation(tmp_path: Path) -> None:
    code, _, _ = run("prove", REFERENCE, PLAN, "--space", "folded", "--certificate", tmp_path / "c.json", "--quiet")
    assert code == 5
    assert (tmp_path / "c.json").stat().st_size <= 50_000
    claim = check_json(tmp_path / "c.json", "--plan", PLAN)["claim"]
    assert (claim["kind"], claim["strategies"], claim["refuted"]["label"]) == ("optimal", 138_853, "EP64 TP2 PP1 DP64 ETP2")
    assert claim["refuted"]["value"] > claim["value"]


def test_the_whole_epsilon_set_is_certified_on_request(tmp_path: Path) -> None:
    arguments = ("search", LLAMA, "--space", "folded", "--epsilon", "40", "--quiet", "--json")
    best = json.loads(run(*arguments, "--certificate", tmp_path / "best.json")[1])
    run(*arguments, "--all", "--certificate", tmp_path / "all.json")
    near = len(best["near_optimal"])
    assert near > 0
    of_best, of_all = (check_json(tmp_path / name)["claim"] for name in ("best.json", "all.json"))
    assert len(of_best["plans"]) == len(best["optimal"])
    assert of_best["complete_to"] == of_best["value"]
    assert len(of_all["plans"]) == len(best["optimal"]) + near
    assert of_all["complete_to"] == of_all["value"] * 140 // 100


def test_an_infeasible_instance_is_certified_by_its_rules(tmp_path: Path) -> None:
    assert run("search", SHORT, "--certificate", tmp_path / "c.json", "--quiet")[0] == 3
    verdict = check_json(tmp_path / "c.json")
    assert (verdict["status"], verdict["claim"]["kind"]) == ("VALID", "infeasible")
    assert set(verdict["strategies"]) == {"rule"}


@pytest.mark.parametrize(
    ("plan", "rules"),
    [
        ({"degrees": {"tp": 3, "ep": 64}}, {"world", "heads_divide", "expert_width_divides"}),
        ({"degrees": {"tp": 64, "ep": 2, "pp": 1}}, {"heads_divide"}),
        ({"degrees": {"tp": 1, "pp": 1, "ep": 1, "dp": 128, "edp": 128}}, {"world"}),
    ],
)
def test_a_plan_that_cannot_run_is_certified_by_the_rules_it_breaks(plan: Any, rules: set[str], tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    code, out, _ = run("prove", REFERENCE, tmp_path / "plan.json", "--certificate", tmp_path / "c.json", "--quiet", "--json")
    result = json.loads(out)
    assert (code, result["status"], result["proof"]["checked"]) == (3, "INFEASIBLE", True)
    verdict = check_json(tmp_path / "c.json", "--plan", tmp_path / "plan.json")
    assert (verdict["status"], verdict["claim"]["kind"]) == ("VALID", "broken")
    assert rules & set(verdict["claim"]["rules"])


def test_a_strategy_that_no_split_fits_is_certified_by_that_rule(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"degrees": {"tp": 1, "dp": 8}}), encoding="utf-8")
    assert run("prove", LLAMA, tmp_path / "plan.json", "--space", "folded", "--certificate", tmp_path / "c.json", "--quiet")[0] == 3
    claim = check_json(tmp_path / "c.json")["claim"]
    assert (claim["kind"], claim["rules"]) == ("broken", ["memory"])


def test_only_a_completion_that_was_tried_and_fails_is_no_proof(tmp_path: Path) -> None:
    instance = json.loads((INSTANCES / "mixtral8x7b_8gpu.json").read_text(encoding="utf-8"))
    pool = instance["cluster"]["pools"][0]
    pool["nodes"], pool["gpus_per_node"], pool["scale_up_domain_gpus"] = 4, 2, 2
    for group in instance["architecture"]["layers"]:
        group["ffn"]["experts"] = 32
    counts = [[(7 * e * e + 13 * e) % 101 + 1 for e in range(32)]]
    instance |= {"expert_load": {"counts": counts, "source": "made up"}, "reference": None}
    plan = PlanFile.model_validate_json(json.dumps({"degrees": {"tp": 1, "dp": 8, "ep": 8}}))
    (tmp_path / "i.json").write_text(json.dumps(instance), encoding="utf-8")
    free = read_record(tmp_path / "i.json", Instance, ["space.name=folded"])
    used = judge(free, plan, Options(effort=1), lambda _: None)
    assert used.evaluation is not None
    low, high = 0, max(stage.scale_out_bytes for stage in used.evaluation.stages)
    while high - low > 1:  # the least cap that the bounds do not refute
        middle = (low + high) // 2
        refuted = isinstance(Bounds(with_cap(tmp_path, middle)).exact(used.plan.strategy), str)
        low, high = (middle, high) if refuted else (low, middle)
    verdict = judge(with_cap(tmp_path, high), plan, Options(effort=1), lambda _: None)
    assert (verdict.status, verdict.certificate) == ("UNKNOWN", None)
    verdict = judge(with_cap(tmp_path, low), plan, Options(effort=1), lambda _: None)
    assert verdict.status == "INFEASIBLE"
    assert verdict.certificate is not None


def with_cap(folder: Path, cap: int) -> Instance:
    return read_record(folder / "i.json", Instance, ["space.name=folded", f"cluster.scale_out.cap_bytes_per_pass={cap}"])


def test_a_search_cut_short_certifies_the_root_bound_only(tmp_path: Path) -> None:
    arguments = ("search", REFERENCE, "--space", "folded", "--effort", "1", "--quiet")
    assert run(*arguments, "--certificate", tmp_path / "c.json")[0] == 4
    claim = check_json(tmp_path / "c.json")["claim"]
    assert (claim["kind"], claim["strategies"], claim["complete_to"]) == ("bounded", None, None)
    assert claim["bound"] < claim["value"]


def test_a_certificate_for_another_instance_is_refused(tmp_path: Path) -> None:
    run("search", LLAMA, "--certificate", tmp_path / "c.json", "--quiet")
    code, out, _ = run("check", tmp_path / "c.json", "--instance", REFERENCE)
    assert code == 5
    assert "INVALID at instance_sha256" in out


def test_a_plan_that_the_certificate_does_not_speak_of_is_refused(tmp_path: Path) -> None:
    run("prove", REFERENCE, PLAN, "--certificate", tmp_path / "c.json", "--quiet")
    (tmp_path / "other.json").write_text(json.dumps({"degrees": {"tp": 4, "ep": 32}}), encoding="utf-8")
    code, out, _ = run("check", tmp_path / "c.json", "--plan", tmp_path / "other.json")
    assert code == 5
    assert "says nothing about the plan" in out


def test_a_certificate_replaces_a_certificate_but_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "c.json"
    for _ in range(2):
        assert run("search", LLAMA, "--certificate", target, "--quiet")[0] == 0
    target.write_text("precious", encoding="utf-8")
    code, _, err = run("search", LLAMA, "--certificate", target, "--quiet")
    assert (code, target.read_text(encoding="utf-8")) == (2, "precious")
    assert "holds no certificate" in err
    assert run("search", LLAMA, "--certificate", target, "--force", "--quiet")[0] == 0


def test_the_same_search_writes_the_same_certificate(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        run("search", INSTANCES / "mixtral8x7b_8gpu.json", "--certificate", tmp_path / name, "--quiet")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_certificate_without_its_instance_needs_the_file(tmp_path: Path) -> None:
    run("search", LLAMA, "--certificate", tmp_path / "c.json", "--quiet")
    data = json.loads((tmp_path / "c.json").read_text(encoding="utf-8")) | {"instance": None}
    assert not check(parse(json.dumps(data))).valid
    assert check(parse(json.dumps(data)), read_record(LLAMA, Instance)).valid


def test_out_folders_hold_the_certificate_of_their_result(tmp_path: Path) -> None:
    run("search", LLAMA, "--out", tmp_path / "out", "--quiet")
    result = json.loads((tmp_path / "out" / "search.json").read_text(encoding="utf-8"))
    assert result["status"] == Status.OPTIMAL
    assert check_json(tmp_path / "out" / "certificate.json")["status"] == "VALID"


LOADS = INSTANCES.parent.parent / "shared" / "data" / "loads"


@pytest.mark.skipif(not LOADS.is_dir(), reason="needs the recorded expert loads in ../shared/data/loads")
@pytest.mark.parametrize("trace", ["decode_in1000out1000", "prefill_in4096"])
@pytest.mark.parametrize("nodes", [8, 16])
def test_real_loads_are_proved_within_a_thousandth(trace: str, nodes: int, tmp_path: Path) -> None:
    counts = np.load(LOADS / f"dsv3_sglang_{trace}.npy").astype(int).tolist()
    instance = json.loads((INSTANCES / "deepseek_v3_64gpu.json").read_text(encoding="utf-8"))
    instance["cluster"]["pools"][0]["nodes"] = nodes
    instance |= {"expert_load": {"counts": counts, "source": "recorded"}, "reference": None}
    (tmp_path / "i.json").write_text(json.dumps(instance), encoding="utf-8")
    result = json.loads(run("search", tmp_path / "i.json", "--certificate", tmp_path / "c.json", "--quiet", "--json")[1])
    assert result["gap_ppm"] <= 1000
    claim = check_json(tmp_path / "c.json")["claim"]
    assert claim["value"] - claim["bound"] <= claim["value"] // 1000
