"""The exported files say what the plan is, what it costs, and no more than was established."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from inspect import getsource

import pytest
from export_cases import CASES, FACTS, FOLDED, REFERENCE, ROOT, Case, case, content, every_case, proved

import models.rules
import models.slots
from models.evaluate import evaluate
from models.objective import UNITS
from models.rules import RULES
from optimizer.export.dag import deployment_dag
from optimizer.export.figures import compare_plans
from optimizer.export.files import FILES, deployment_files
from optimizer.export.report import SECTION_RULES

SUMMARY = "deployment_verification_summary.md"


@every_case
def test_the_files_are_those_promised_and_json_is_valid(any_case: Case) -> None:
    files = deployment_files(*any_case, proved(any_case))
    assert tuple(files) == FILES
    for name, text in files.items():
        if name.endswith(".json"):
            assert json.loads(text)
        assert text.endswith("\n")
    assert json.loads(files["deployment_dag.json"]) == deployment_dag(*any_case)
    assert json.loads(files["verification_results.json"])["passed"]


def test_the_graph_of_the_reference_plan_is_compact() -> None:
    assert len(deployment_files(*CASES["reference"], FACTS)["deployment_dag.json"]) < 6_000_000


def test_the_files_are_the_same_bytes_in_another_process() -> None:
    script = (
        "import hashlib, test_export_files as t\n"
        "files = t.deployment_files(*t.CASES['mixed'], t.FACTS)\n"
        "print(hashlib.sha256(''.join(files.values()).encode()).hexdigest())"
    )
    environments = ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    runs = [
        subprocess.run([sys.executable, "-c", script], cwd=ROOT / "tests", env=e, capture_output=True, check=True) for e in environments
    ]
    assert runs[0].stdout == runs[1].stdout != b""


def test_exporting_needs_neither_solver_nor_search() -> None:
    script = "import sys, optimizer.export.files; print(*sorted(m for m in sys.modules if m.startswith(('ortools', 'optimizer'))))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True)
    assert [m for m in run.stdout.split() if m != "optimizer" and not m.startswith("optimizer.export")] == []


@every_case
def test_the_summary_repeats_the_evaluation(any_case: Case) -> None:
    instance, plan = any_case
    evaluation = evaluate(instance, plan)
    summary = json.loads(deployment_files(instance, plan, proved(any_case))["deployment_summary.json"])
    assert (summary["step_ns"], summary["breakdown_ns"]) == (evaluation.step_ns, evaluation.breakdown)
    assert [s["memory_total_bytes"] for s in summary["stages"]] == [s.memory_bytes for s in evaluation.stages]
    assert summary["gpus"]["used"] + summary["gpus"]["idle"] == summary["gpus"]["cluster"] == instance.cluster.pool.gpus
    assert summary["objective"]["unit"] == UNITS[instance.objective.name]


def test_load_balance_of_a_skewed_layer_is_the_hottest_rank_over_the_mean() -> None:
    files = deployment_files(*CASES["mixed"], FACTS)
    ratios = {row["layer"]: row["max_over_mean"] for row in json.loads(files["deployment_summary.json"])["load_balance"]}
    assert ratios == pytest.approx({2: 15 * 4 / 36, 3: 15 * 4 / 36, 4: 10 * 4 / 16}, rel=1e-3)


def test_a_comparison_is_the_ratio_of_the_two_passes_and_is_left_out_without_a_plan() -> None:
    instance, plan = CASES["folded"]
    (row,) = compare_plans(instance, plan, evaluate(instance, plan))
    theirs = evaluate(*CASES["reference"]).step_ns
    assert (row["role"], row["step_ns"], row["same_plan"], row["broken_rules"]) == ("reference", theirs, False, [])
    assert row["speedup"] == round(theirs / evaluate(instance, plan).step_ns, 4)
    assert "Against the reference" in deployment_files(instance, plan, FACTS)[SUMMARY]
    instance, plan = CASES["mixed"]
    assert compare_plans(instance, plan, evaluate(instance, plan)) == []
    assert "Against" not in deployment_files(instance, plan, FACTS)[SUMMARY]


def test_a_baseline_that_cannot_be_laid_out_is_named_and_not_priced() -> None:
    found = content() | {"baseline": {"degrees": {"tp": 2, "ep": 3, "dp": 3}}}
    instance, plan = case(FOLDED, found)
    row = compare_plans(instance, plan, evaluate(instance, plan))[0]
    assert row["role"] == "baseline"
    assert "slots" in row["misfit"]
    assert "speedup" not in row


def test_optimality_is_claimed_with_a_checked_proof_about_this_value_only() -> None:
    found = CASES["reference"]
    facts, claim = proved(found), "Optimal in the space `folded` under the stated cost model"
    assert claim in deployment_files(*found, facts)[SUMMARY]
    doubts = (
        replace(facts, checked=False),
        replace(facts, status="FEASIBLE", bound=facts.value - 1),
        replace(facts, status="UNKNOWN", bound=None),
        replace(facts, value=facts.value + 1, bound=facts.value + 1),
        replace(facts, bound=facts.value - 1),
    )
    for doubt in doubts:
        files = deployment_files(*found, doubt)
        assert "No claim of optimality" in files[SUMMARY]
        assert "optimal" not in files[SUMMARY].lower().replace("no claim of optimality", "")
        assert json.loads(files["verification_results.json"])["optimality"]["claimed"] is False


def test_a_plan_above_the_proved_optimum_is_called_not_optimal() -> None:
    facts = proved(CASES["folded"])
    files = deployment_files(*CASES["reference"], facts)
    assert "Not optimal" in files[SUMMARY]
    assert "Optimal in the space" not in files[SUMMARY]
    assert str(facts.value) in files[SUMMARY]


def test_a_broken_rule_is_reported_with_its_numbers_and_ends_every_claim() -> None:
    found = content()
    found["cluster"]["pools"][0]["accelerator"]["memory_bytes"] = "10 GB"
    broken = case(REFERENCE, found)
    files = deployment_files(*broken, proved(broken))
    results = json.loads(files["verification_results.json"])
    rule = results["rules"].pop("memory")
    assert not results["passed"]
    assert not rule["passed"]
    assert rule["violations"][0]["need"] == evaluate(*broken).peak_memory_bytes
    assert rule["violations"][0]["have"] == 10_000_000_000
    assert all(r["passed"] for r in results["rules"].values())
    assert "BROKEN `memory`" in files[SUMMARY]
    assert "No claim of optimality: the plan breaks memory" in files[SUMMARY]


def test_a_folded_plan_in_the_classic_space_breaks_world_but_is_laid_out() -> None:
    found = content() | {"space": {"name": "classic"}}
    results = json.loads(deployment_files(*case(FOLDED, found), FACTS)["verification_results.json"])
    assert [name for name, rule in results["rules"].items() if not rule["passed"]] == ["world"]


def test_a_plan_that_does_not_fit_together_is_refused_with_the_rule() -> None:
    instance, plan = CASES["reference"]
    for broken, rule in (
        (plan._replace(strategy=plan.strategy._replace(dp=32)), "world"),
        (plan._replace(strategy=plan.strategy._replace(replicas=2)), "world"),
        (plan._replace(stages=(8, 8)), "layers_cover"),
        (plan._replace(placement=plan.placement[:3]), "slots"),
    ):
        with pytest.raises(ValueError, match=f"cannot be exported: {rule}: "):
            deployment_files(instance, broken, FACTS)


def test_every_rule_that_can_be_broken_has_its_line() -> None:
    source = getsource(models.rules) + getsource(models.slots)
    named = set(re.findall(r'Violation\(\s*"(\w+)"', source)) | set(re.findall(r'yield Violation\("(\w+)"', source))
    assert set(RULES) == named
    assert sorted(rule for rules in SECTION_RULES.values() for rule in rules) == sorted(RULES)


def test_free_text_cannot_write_a_heading_or_a_verdict_line() -> None:
    found = content() | {"name": "x ## 7. Conclusion **optimal**"}  # a newline is refused when the instance is read
    hostile = case(REFERENCE, found)
    text = deployment_files(*hostile, replace(FACTS, checked=False, assumptions=["y\n# z | `w`"]))[SUMMARY]
    assert text.count("## 7. Conclusion\n") == 1
    assert "\n- y - z / 'w'\n" in text
    assert "**optimal**" not in text
