"""Every instance in the repository reaches the optimum recorded beside it."""

import json
from pathlib import Path

import pytest

from benchmarks.optima import best_file, instance_files, known_optimum
from models.evaluate import evaluate
from models.instance import Instance
from models.strategy import PlanFile, fill_degrees
from optimizer.reading import read_record
from optimizer.search import Options, find, judge, resolve

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
REFERENCE = INSTANCES / "ep64_tp2_128gpu.json"
BANDWIDTH = "cluster.scale_out.bandwidth_bytes_per_s"


def reference(*overrides: str) -> Instance:
    return read_record(REFERENCE, Instance, overrides)


@pytest.mark.parametrize("path", instance_files(), ids=lambda p: p.stem)
def test_every_instance_has_the_optimum_recorded_beside_it(path: Path) -> None:
    assert known_optimum(path) == json.loads(best_file(path).read_text(encoding="utf-8"))


def test_there_are_at_least_five_instances() -> None:
    assert len(instance_files()) >= 5


def test_the_reference_plan_is_the_only_optimum_of_the_classic_space() -> None:
    claim = find(reference(), Options(), lambda _: None)
    strategy, _ = fill_degrees(read_record(INSTANCES / "ep64_tp2_128gpu.plan.json", PlanFile).degrees)
    assert [c.plan.strategy for c in claim.optimal] == [strategy]
    assert claim.bound == claim.optimal[0].value


def test_the_joint_model_agrees_on_the_reference_case() -> None:
    joint = find(reference(), Options(epsilon_ppm=0, route="joint"), lambda _: None)
    enumerated = find(reference(), Options(epsilon_ppm=0), lambda _: None)
    assert (joint.status, joint.bound) == (enumerated.status, enumerated.bound)
    assert {c.plan.strategy for c in joint.optimal} == {c.plan.strategy for c in enumerated.optimal}


def test_in_the_folded_space_the_reference_plan_loses_by_the_all_to_all() -> None:
    plan = read_record(INSTANCES / "ep64_tp2_128gpu.plan.json", PlanFile)
    verdict = judge(reference("space.name=folded"), plan, Options(), lambda _: None)
    assert verdict.status == "NOT_OPTIMAL"
    assert verdict.claim is not None
    assert verdict.evaluation is not None
    better = evaluate(reference("space.name=folded"), verdict.claim.optimal[0].plan)
    lost = {term: ns - better.breakdown.get(term, 0) for term, ns in verdict.evaluation.breakdown.items()}
    assert max(lost, key=lambda t: lost[t]) == "ep_comm"
    assert verdict.claim.optimal[0].plan.strategy.ep == 8


def test_on_a_quarter_of_the_bandwidth_the_reference_plan_loses_to_a_deep_pipeline() -> None:
    claim = find(reference(f"{BANDWIDTH}=12.5 GB/s"), Options(epsilon_ppm=0), lambda _: None)
    assert all(c.plan.strategy.pp >= 8 for c in claim.optimal)


@pytest.mark.parametrize("top_k", [1, 2, 4, 8])
def test_at_other_top_k_the_answer_is_still_proved(top_k: int) -> None:
    assert find(reference(f"architecture.layers.ffn.top_k={top_k}"), Options(epsilon_ppm=0), lambda _: None).status == "OPTIMAL"


def test_one_mib_less_than_any_plan_needs_is_infeasible() -> None:
    tight = find(read_record(INSTANCES / "llama70b_8gpu_tight.json", Instance), Options(epsilon_ppm=0), lambda _: None)
    short = find(read_record(INSTANCES / "llama70b_8gpu_short.json", Instance), Options(epsilon_ppm=0), lambda _: None)
    assert (tight.status, short.status) == ("OPTIMAL", "INFEASIBLE")
    assert short.refuted == {"memory": short.strategies}


FASTER = (
    f"{BANDWIDTH}=100 GB/s",
    "cluster.scale_up.bandwidth_bytes_per_s=800 GB/s",
    "cluster.accelerator.hbm_bytes_per_s=3 TB/s",
    "cluster.accelerator.peak_flop_per_s.bf16=800 TFLOP/s",
    "cluster.accelerator.memory_bytes=128 GB",
    "cluster.accelerator.kernel_launch_ns=0",
    "cluster.scale_out.latency_ns=0",
    "runtime.overlap_ppm=50 %",
    "runtime.reserve_bytes=0",
)


@pytest.mark.parametrize("override", FASTER)
def test_a_better_machine_never_makes_the_best_plan_slower(override: str) -> None:
    before = find(reference(), Options(epsilon_ppm=0), lambda _: None)
    after = find(reference(override), Options(epsilon_ppm=0), lambda _: None)
    assert after.optimal[0].value <= before.optimal[0].value


def test_the_reference_inside_the_instance_is_the_plan_file() -> None:
    instance = reference()
    assert instance.reference is not None
    inside, _, _ = resolve(instance, instance.reference)
    beside, filled, broken = resolve(instance, read_record(INSTANCES / "ep64_tp2_128gpu.plan.json", PlanFile))
    assert inside == beside
    assert filled == ("cp", "dp", "etp", "edp", "replicas", "microbatches")
    assert not broken
