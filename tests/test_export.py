"""The exported documents say what the plan is, what it costs, and no more than was established."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from inspect import getsource
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import models.rules
from models.architecture import BITS
from models.collectives import NOTHING, Comm, all_gather, all_reduce, reduce_scatter, worst
from models.evaluate import evaluate
from models.instance import Instance
from models.layout import group_patterns
from models.objective import UNITS
from models.placement import contiguous
from models.strategy import DEFAULT_ORDER, Plan, Strategy, complete_stages, stage_ranges
from optimizer.export.assignment import COORDINATES, GROUPS, expert_gpus, gpu_table, group_table
from optimizer.export.collectives import communication_pattern
from optimizer.export.dag import deployment_dag, sort_nodes, to_dot
from optimizer.export.figures import compare_plans
from optimizer.export.files import FILES, Facts, deployment_files
from optimizer.export.report import SECTION_RULES
from optimizer.export.verification import RULES, check_export

ROOT = Path(__file__).parent.parent
SUMMARY = "deployment_verification_summary.md"
REFERENCE = Strategy(tp=2, cp=1, dp=64, pp=1, etp=2, ep=64, edp=1, replicas=1, microbatches=1)
FOLDED = Strategy(tp=1, cp=1, dp=128, pp=1, etp=1, ep=8, edp=16, replicas=1, microbatches=1)
PIPELINED = Strategy(tp=4, cp=1, dp=2, pp=16, etp=4, ep=2, edp=1, replicas=1, microbatches=4)
OTHER_ORDER = "cp-tp-dp|ep-etp-edp"
COMPUTE = {"embedding", "attention", "router", "shared_experts", "experts", "dense_ffn", "head", "keys_values", "queries", "projection"}


class Case(NamedTuple):
    instance: Instance
    plan: Plan


def content() -> Any:
    """The reference instance as JSON, in the folded space so that every plan here belongs to it."""
    found = json.loads((ROOT / "instances/ep64_tp2_128gpu.json").read_text())
    found["space"] = {"name": "folded"}
    return found


def read(found: Any) -> Instance:
    return Instance.model_validate_json(json.dumps(found))


def case(strategy: Strategy, found: Any = None) -> Case:
    """The strategy with even stages and contiguous experts."""
    instance = read(found or content())
    arch = instance.architecture
    stages = complete_stages(arch.layer_count, strategy.pp)
    return Case(instance, Plan(strategy, stages, (contiguous(arch.experts, strategy.ep),) * arch.moe_layers))


def mixed(workload: dict[str, Any] | None = None) -> Any:
    """Two dense layers before three MoE layers with shared experts, on 16 GPUs; loads are skewed, dtypes differ."""
    found = content()
    found["cluster"]["pools"][0]["nodes"] = 2
    attention = {"kind": "gqa", "heads": 32, "kv_heads": 8, "head_dim": 128}
    dense = {"kind": "dense", "intermediate_size": 8192, "matrices": 3}
    moe = {"kind": "moe", "experts": 8, "top_k": 2, "intermediate_size": 1024, "matrices": 3, "shared_experts": 1}
    found["architecture"]["layers"] = [{"count": 2, "attention": attention, "ffn": dense}, {"count": 3, "attention": attention, "ffn": moe}]
    found["architecture"] |= {"dispatch_dtype": "fp8"}
    found["expert_load"] = {"counts": [[1, 2, 3, 4, 5, 6, 7, 8]] * 2 + [[9, 1, 1, 1, 1, 1, 1, 1]], "source": "made up"}
    found["space"]["orders"] = [DEFAULT_ORDER, OTHER_ORDER]
    found["workload"] = workload or {"kind": "prefill", "sequences": 16, "tokens_per_sequence": 1000, "sources": {"*": "assumed: test"}}
    del found["reference"]
    return found


DECODE = {"kind": "decode", "sequences": 32, "context_tokens": 4000, "sources": {"*": "assumed: test"}}
CASES = {
    "reference": case(REFERENCE),
    "folded": case(FOLDED),
    "pipelined": case(PIPELINED),
    "mixed": case(Strategy(2, 1, 2, 2, 1, 4, 1, 2, 2), mixed()),
    "mixed, stage ends after a dense layer": case(Strategy(2, 1, 1, 5, 2, 1, 1, 1, 1), mixed()),
    "context-parallel prefill": case(Strategy(2, 2, 2, 1, 4, 2, 1, 1, 1), mixed()),
    "context-parallel decode, other order": case(Strategy(2, 4, 2, 1, 2, 8, 1, 1, 1, OTHER_ORDER), mixed(DECODE)),
    "one GPU": case(Strategy(1, 1, 1, 1, 1, 1, 1, 1, 1), mixed()),
}
FACTS = Facts("OPTIMAL", 1, 1, "ns", "folded", 100, 50, "enumeration", True, 3, ["a is b"], "0.1.0")


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def any_case(request: pytest.FixtureRequest) -> Case:
    found = request.param
    assert isinstance(found, Case)
    return found


def proved(found: Case) -> Facts:
    """Facts that make the case's plan optimal."""
    value = evaluate(*found).value
    return replace(FACTS, value=value, bound=value)


def gpus_of(node: dict[str, Any]) -> list[int]:
    return [node["gpu"]] if "gpu" in node else list(node["gpus"])


# --- assignment -----------------------------------------------------------------------------


def test_expert_e_of_the_reference_plan_lies_on_gpus_2e_and_2e_plus_1_in_every_layer() -> None:
    held = expert_gpus(*CASES["reference"])
    assert list(held) == list(range(16))
    assert all(held[layer] == {e: [2 * e, 2 * e + 1] for e in range(64)} for layer in held)


def test_folded_experts_lie_on_the_same_gpu_of_each_of_the_16_nodes() -> None:
    held = expert_gpus(*CASES["folded"])
    assert held[7] == {e: [8 * node + e // 8 for node in range(16)] for e in range(64)}


def test_pipelined_experts_lie_on_four_gpus_of_the_stage_of_their_layer() -> None:
    held = expert_gpus(*CASES["pipelined"])
    assert all(held[layer][e] == [8 * layer + 4 * (e // 32) + k for k in range(4)] for layer in range(16) for e in range(64))


def test_every_replica_holds_every_expert(any_case: Case) -> None:
    instance, plan = any_case
    s = plan.strategy
    for experts in expert_gpus(instance, plan).values():
        held = Counter((g // s.world, e) for e, gpus in experts.items() for g in gpus)
        assert set(held.values()) == {s.etp * s.edp}
        assert len(held) == s.replicas * instance.architecture.experts


def test_a_gpu_holds_the_experts_that_the_placement_gives_its_rank() -> None:
    instance, plan = CASES["mixed"]
    turned = tuple(tuple(reversed(ranks)) for ranks in plan.placement)
    held = expert_gpus(instance, plan._replace(placement=turned))
    for row in gpu_table(instance, plan):
        for layer in set(held) & set(stage_ranges(plan.stages)[row["stage"]]):
            assert {e for e, gpus in held[layer].items() if row["gpu"] in gpus} == set(turned[layer - 2][row["ep"]])


def test_groups_partition_the_gpus_of_each_stage(any_case: Case) -> None:
    s = any_case.plan.strategy
    tables = group_table(any_case.plan)
    assert len(tables) == s.replicas * s.pp
    for number, table in enumerate(tables):
        stage = list(range(number * s.stage_gpus, (number + 1) * s.stage_gpus))
        for degree in GROUPS:
            assert sorted(g for group in table[degree] for g in group) == stage
            assert {len(group) for group in table[degree]} == {getattr(s, degree)}


def test_the_gpu_table_agrees_with_the_groups_and_names_each_rank_once(any_case: Case) -> None:
    rows = gpu_table(*any_case)
    s, pool = any_case.plan.strategy, any_case.instance.cluster.pool
    assert [r["gpu"] for r in rows] == list(range(s.gpus))
    assert all(r["node"] * pool.gpus_per_node + r["local_index"] == r["gpu"] for r in rows)
    for table in group_table(any_case.plan):
        for degree in GROUPS:
            assert all(rows[g][degree] == rank for group in table[degree] for rank, g in enumerate(group))
    for side in (COORDINATES[:3], COORDINATES[3:]):
        assert len({(r["replica"], r["stage"], *(r[d] for d in side)) for r in rows}) == s.gpus


# --- graph ----------------------------------------------------------------------------------


def test_the_dag_has_no_cycle(any_case: Case) -> None:
    dag = deployment_dag(*any_case)
    waiting = Counter(edge["to"] for edge in dag["edges"])
    after: dict[str, list[str]] = {}
    for edge in dag["edges"]:
        after.setdefault(edge["from"], []).append(edge["to"])
    ready = [node["id"] for node in dag["nodes"] if node["id"] not in waiting]
    done = 0
    while ready:
        done += 1
        for follower in after.get(ready.pop(), []):
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    assert done == len(dag["nodes"]) == len(sort_nodes(dag)) == len({node["id"] for node in dag["nodes"]})


def test_a_computation_is_on_one_existing_gpu_of_its_stage_and_a_collective_in_one_group(any_case: Case) -> None:
    s = any_case.plan.strategy
    for node in deployment_dag(*any_case)["nodes"]:
        stage = range(node["stage"] * s.stage_gpus, (node["stage"] + 1) * s.stage_gpus)
        if node["kind"] in COMPUTE:
            assert "gpus" not in node
            assert node["gpu"] in stage
        elif node["kind"] == "send":
            assert node["gpus"] == [node["gpus"][0], node["gpus"][0] + s.stage_gpus]
            assert node["gpus"][0] in stage
        else:
            assert len(node["gpus"]) == getattr(s, node["group"]) > 1
            assert set(node["gpus"]) <= set(stage)


def test_every_gpu_attends_once_to_every_layer_of_its_stage_and_to_no_other(any_case: Case) -> None:
    s = any_case.plan.strategy
    have = Counter((n["gpu"], n["layer"]) for n in deployment_dag(*any_case)["nodes"] if n["kind"] == "attention")
    stages = enumerate(stage_ranges(any_case.plan.stages))
    need = Counter((stage * s.stage_gpus + g, layer) for stage, layers in stages for layer in layers for g in range(s.stage_gpus))
    assert have == need


def test_an_edge_is_as_large_as_its_shape_and_dtype_say(any_case: Case) -> None:
    for edge in deployment_dag(*any_case)["edges"]:
        assert edge["bytes"] * 8 == prod(edge["shape"]) * BITS[edge["dtype"]]


def test_tensors_change_gpu_only_inside_collectives(any_case: Case) -> None:
    dag = deployment_dag(*any_case)
    nodes = {node["id"]: node for node in dag["nodes"]}
    for edge in dag["edges"]:
        assert edge["gpu"] in gpus_of(nodes[edge["from"]])
        assert edge["gpu"] in gpus_of(nodes[edge["to"]])


def test_every_node_waits_for_each_of_its_gpus_and_feeds_another(any_case: Case) -> None:
    dag = deployment_dag(*any_case)
    inputs, feeds = {(e["to"], e["gpu"]) for e in dag["edges"]}, {e["from"] for e in dag["edges"]}
    final = dag["nodes"][-1]["kind"]
    for node in dag["nodes"]:
        givers = gpus_of(node)[:1] if node["kind"] == "send" else gpus_of(node)
        assert node["kind"] == "embedding" or all((node["id"], g) in inputs for g in givers)
        assert node["id"] in feeds or node["kind"] == final


def test_a_stage_is_reached_only_through_messages_of_one_share_each() -> None:
    for name in ("pipelined", "mixed, stage ends after a dense layer"):
        instance, plan = CASES[name]
        dag, s = deployment_dag(instance, plan), plan.strategy
        stage_of = {node["id"]: node["stage"] for node in dag["nodes"]}
        crossing = [e for e in dag["edges"] if stage_of[e["from"]] != stage_of[e["to"]]]
        assert len(crossing) == (s.pp - 1) * s.stage_gpus
        assert all(".send#" in e["from"] for e in crossing)
        whole = next(e for e in dag["edges"] if e["tensor"] == "hidden")
        assert all(e["shape"][0] * s.tp == whole["shape"][0] for e in crossing)


def test_graphviz_text_holds_every_node_and_edge_once() -> None:
    dag = deployment_dag(*CASES["pipelined"])
    text = to_dot(dag)
    assert text.count(" -> ") == len(dag["edges"])
    assert text.count("[shape=") == len(dag["nodes"])
    assert text.count("subgraph cluster_") == 16


def test_the_reference_graph_is_compact() -> None:
    dag = deployment_dag(*CASES["reference"])
    assert len(json.dumps(dag, separators=(",", ":"))) < 6_000_000


def test_the_checks_of_the_graph_refuse_a_missing_node_and_a_cycle() -> None:
    instance, plan = CASES["pipelined"]
    evaluation, dag = evaluate(instance, plan), deployment_dag(instance, plan)
    assert all(c.passed for c in check_export(instance, plan, dag, evaluation))
    nodes = [node for node in dag["nodes"] if node["id"] != "L3.attention@25"]
    back = {**dag["edges"][0], "from": dag["edges"][0]["to"], "to": dag["edges"][0]["from"]}
    for broken, name in ((dag | {"nodes": nodes}, "dag_covers_layers"), (dag | {"edges": [*dag["edges"], back]}, "dag_acyclic")):
        assert name in {c.name for c in check_export(instance, plan, broken, evaluation) if not c.passed}


# --- communication --------------------------------------------------------------------------


def test_the_communication_of_all_layers_is_that_of_the_evaluation(any_case: Case) -> None:
    instance, plan = any_case
    whole = evaluate(instance, plan)
    sums: Counter[str] = Counter()
    for kind in communication_pattern(instance, plan):
        for term, cost in kind["terms"].items():
            sums[term] += cost["ns"] * (len(kind["layers"]) if kind["layers"] else plan.strategy.pp - 1 if term == "pp_comm" else 1)
    for term in ("tp_comm", "cp_comm", "ep_comm", "etp_comm", "pp_comm"):
        said = whole.breakdown.get(term, 0)
        if plan.strategy.pp == 1 or term == "pp_comm":
            assert sums[term] == said if term == "pp_comm" else sums[term] * plan.strategy.microbatches == said
        else:  # the breakdown is that of the slowest stage
            assert sums[term] * plan.strategy.microbatches >= said


def test_every_layer_belongs_to_one_kind_and_empty_terms_are_left_out(any_case: Case) -> None:
    kinds = communication_pattern(*any_case)
    assert sorted(layer for kind in kinds for layer in kind["layers"]) == list(range(any_case.instance.architecture.layer_count))
    for kind in kinds:
        assert set(kind["terms"]) == {c["term"] for c in kind["collectives"]}
        assert all(cost["tier"] != "none" for cost in kind["terms"].values())


def test_the_tensors_named_are_those_that_the_model_prices(any_case: Case) -> None:
    """Pricing each ring collective again from the tensor's bytes gives the term."""
    (instance, plan), price = any_case, {"all_gather": all_gather, "reduce_scatter": reduce_scatter, "all_reduce": all_reduce}
    pool = instance.cluster.pool
    for kind in communication_pattern(instance, plan):
        for term in {"tp_comm", "cp_comm", "etp_comm"} & set(kind["terms"]):
            total: Comm = NOTHING
            for c in kind["collectives"]:
                if c["term"] == term:
                    patterns = group_patterns(plan.strategy, c["group"], pool.scale_up_domain_gpus)
                    total += worst([price[c["kind"]](pool, c["tensor"]["bytes"], p) for p in patterns])
            assert {name: kind["terms"][term][name] for name in Comm._fields} == total._asdict()


def test_the_reference_layer_talks_in_six_collectives_in_this_order() -> None:
    (layer,) = (k for k in communication_pattern(*CASES["reference"]) if k["kind"] == "MoE layer")
    assert [(c["name"], c["kind"], c["groups_per_stage"], c["group_size"]) for c in layer["collectives"]] == [
        ("tensor_reduce_scatter", "reduce_scatter", 64, 2),
        ("dispatch", "all_to_all", 2, 64),
        ("expert_all_gather", "all_gather", 64, 2),
        ("expert_reduce_scatter", "reduce_scatter", 64, 2),
        ("combine", "all_to_all", 2, 64),
        ("tensor_all_gather", "all_gather", 64, 2),
    ]
    assert {term: cost["tier"] for term, cost in layer["terms"].items()} == {
        "tp_comm": "scale_up",
        "ep_comm": "both",
        "etp_comm": "scale_up",
    }


# --- files ----------------------------------------------------------------------------------


def test_the_files_are_those_promised_and_json_is_valid(any_case: Case) -> None:
    files = deployment_files(*any_case, proved(any_case))
    assert tuple(files) == FILES
    for name, text in files.items():
        if name.endswith(".json"):
            assert json.loads(text)
        assert text.endswith("\n")
    assert json.loads(files["deployment_dag.json"]) == deployment_dag(*any_case)
    assert json.loads(files["verification_results.json"])["passed"]


def test_the_files_are_the_same_bytes_in_another_process() -> None:
    script = (
        "import hashlib, test_export as t\n"
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


# --- claims ---------------------------------------------------------------------------------


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
    source = getsource(models.rules)
    named = set(re.findall(r'Violation\(\s*"(\w+)"', source)) | set(re.findall(r'yield Violation\("(\w+)"', source))
    assert set(RULES) == named
    assert sorted(rule for rules in SECTION_RULES.values() for rule in rules) == sorted(RULES)


def test_free_text_cannot_write_a_heading_or_a_verdict_line() -> None:
    found = content() | {"name": "x\n## 7. Conclusion\n**optimal**"}
    hostile = case(REFERENCE, found)
    text = deployment_files(*hostile, replace(FACTS, checked=False, assumptions=["y\n# z | `w`"]))[SUMMARY]
    assert text.count("## 7. Conclusion\n") == 1
    assert "\n# z" not in text
    assert "**optimal**" not in text
