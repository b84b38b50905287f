"""The fidelity report on small files worked by hand, with cost models made for the purpose."""

import csv
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fidelity.__main__ import main, measure
from benchmarks.fidelity.cases import Case, Prediction, Pricing, Unpriced, Workers
from benchmarks.fidelity.intervals import mean, order_limits, quantile, share, wilson
from benchmarks.fidelity.metrics import metric_of, predicted_value
from benchmarks.fidelity.names import engine_of, find_accelerator, find_model, precision_of
from benchmarks.fidelity.notes import draft_tokens, facts_in, workers_in
from benchmarks.fidelity.ranking import apart, pairs_of, regret_of
from benchmarks.fidelity.rows import Group, load_of, read_rows
from benchmarks.fidelity.summary import Report, as_json

MODELS = [
    "DeepSeek-R1",
    "DeepSeek-V3",
    "DeepSeek-V3.2",
    "GLM-4.5",
    "GLM-4.5-Air",
    "Kimi-K2",
    "Kimi-K2.5",
    "Llama-2-7b",
    "Llama-3.1-70B",
    "Llama-3.1-8B",
    "Llama-4-Maverick",
    "MiniMax-M2.5",
    "Mixtral-8x7B",
    "Nemotron-3-Nano-30B-A3B",
    "Qwen3-235B-A22B",
    "Qwen3-235B-A22B-FP8",
    "Qwen3-30B-A3B",
    "Qwen3-32B",
    "bloom-176b",
    "gpt-oss-120b",
    "gpt-oss-20b",
]
ACCELERATORS = [
    "A100-SXM-80GB",
    "A100-SXM-40GB",
    "A100-PCIe-80GB",
    "H100-SXM-80GB",
    "H100-PCIe-80GB",
    "H200-SXM-141GB",
    "H800-SXM-80GB",
    "H20-96GB",
    "B200-SXM-180GB",
    "GB200-NVL72",
    "GB300-NVL72",
    "MI300X",
    "MI355X",
    "L40S",
    "RTX-PRO-6000-Blackwell-Server",
    "GH200-96GB",
    "Ascend-910B",
    "Ascend-910C (2 dies)",
    "TPU-v5p",
    "TPU7x",
]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ROWS, GROUPS = DATA / "measured_calibration.csv", DATA / "ranking_groups_calibration.csv"
needs_data = pytest.mark.skipif(not ROWS.is_file(), reason="needs the measured rows in ../shared/data")


def hundred_per_gpu(case: Case) -> Prediction | Unpriced:
    """A cost model that is easy to work by hand: 100 ms shared by the GPUs."""
    return Prediction(
        tpot_ms=100 / case.num_gpus,
        ttft_ms=50,
        output_throughput=1000 * case.num_gpus,
        moe=False,
        terms={"weights": 7, "attention": 3},
        prefill_terms={"gemm": 50},
    )


HUNDRED = Pricing(hundred_per_gpu, tuple(MODELS), tuple(ACCELERATORS))


def row(row_id: str, value: float, **cells: object) -> dict[str, object]:
    """A complete measured row of Qwen3-32B on H100, with other cells as given."""
    return {
        "row_id": row_id,
        "model": "Qwen/Qwen3-32B",
        "precision": "fp8",
        "hardware": "H100-SXM-80GB",
        "num_gpus": 2,
        "gpus_per_node": 8,
        "engine": "vllm 0.12.0",
        "tp": 2,
        "batch_or_concurrency": 16,
        "isl": 1024,
        "osl": 256,
        "metric": "tpot_mean",
        "value": value,
        "unit": "ms",
        "quality": "A",
        "family": "bench",
    } | cells


def group(group_id: str, row_ids: str, scores: str, **cells: object) -> dict[str, object]:
    """A complete ranking group, with other cells as given."""
    return {"group_id": group_id, "kind": "fixed_gpu_budget", "better": "lower", "moe": 0, "row_ids": row_ids, "scores": scores} | cells


def write(path: Path, lines: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def report(folder: Path, rows: list[dict[str, object]], groups: list[dict[str, object]], pricing: Pricing = HUNDRED) -> Report:
    return measure(write(folder / "rows.csv", rows), write(folder / "groups.csv", groups), pricing)


def document(folder: Path, rows: list[dict[str, object]], groups: list[dict[str, object]], pricing: Pricing = HUNDRED) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(as_json(report(folder, rows, groups, pricing))))
    return read


def judged_pairs(scores: tuple[float, ...], predicted: list[float | None], lower: bool = True) -> tuple[tuple[bool, ...], float]:
    asked = Group("g", "fixed_gpu_budget", lower, tuple("abcdef"[: len(scores)]), scores, None, "", "", "", "")
    return pairs_of(asked, predicted), regret_of(asked, predicted)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "Qwen3-235B-A22B"),
        ("Qwen/Qwen3-235B-A22B-FP8", "Qwen3-235B-A22B-FP8"),
        ("meta-llama/Meta-Llama-3-70B", "Llama-3.1-70B"),
        ("nvidia/Llama-3.3-70B-Instruct-FP8", "Llama-3.1-70B"),
        ("llama3.1-8b", "Llama-3.1-8B"),
        ("meta-llama/Llama-2-7b-chat-hf", "Llama-2-7b"),
        ("nvidia/DeepSeek-R1-0528-FP4-v2", "DeepSeek-R1"),
        ("deepseek-ai/DeepSeek-V3.1-Terminus", "DeepSeek-V3"),
        ("deepseek-ai/DeepSeek-V3.2-Exp", "DeepSeek-V3.2"),
        ("zai-org/GLM-4.6-FP8", "GLM-4.5"),
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "Llama-4-Maverick"),
        ("moonshotai/Kimi-K2-Thinking", "Kimi-K2"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "Nemotron-3-Nano-30B-A3B"),
        ("Qwen/Qwen3-30B", "Qwen3-30B-A3B"),
        ("bigscience/bloom", "bloom-176b"),
        ("gpt-oss-120b (MXFP4)", "gpt-oss-120b"),
    ],
)
def test_a_model_is_found_under_the_names_that_benchmarks_write(written: str, found: str) -> None:
    assert find_model(written, tuple(MODELS)) == found


@pytest.mark.parametrize(
    "written",
    [
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        "Qwen/Qwen3-VL-235B-A22B",
        "gpt-oss",
        "Qwen/Qwen3-14B",
        "zai-org/GLM-4.7-Flash",
        "FP8",
        "",
    ],
)
def test_a_model_with_other_tensors_is_not_found(written: str) -> None:
    assert find_model(written, tuple(MODELS)) is None


@pytest.mark.parametrize("name", MODELS)
def test_every_catalogue_model_is_found_under_its_own_name(name: str) -> None:
    assert find_model(name, tuple(MODELS)) == name


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("A100-SXM-40GB (assumed; not stated)", "A100-SXM-40GB"),
        ("A100-SXM-40/80GB (see paper)", "A100-SXM-40GB"),
        ("A100", "A100-SXM-80GB"),
        ("a100_pcie", "A100-PCIe-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM-80GB"),
        ("8xH100", "H100-SXM-80GB"),
        ("H800", "H800-SXM-80GB"),
        ("gb200_sxm", "GB200-NVL72"),
        ("B200-192GB", "B200-SXM-180GB"),
        ("AMD Instinct MI355X", "MI355X"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000-Blackwell-Server"),
        ("Huawei Ascend 910B3", "Ascend-910B"),
        ("Ascend 910C", "Ascend-910C (2 dies)"),
        ("TPU v5p", "TPU-v5p"),
    ],
)
def test_an_accelerator_is_found_under_the_names_that_benchmarks_write(written: str, found: str) -> None:
    assert find_accelerator(written, tuple(ACCELERATORS)) == found


@pytest.mark.parametrize("written", ["H100 NVL", "H20-3e-141GB", "GH200-144GB", "L40", "V100-SXM2-32GB", "MI250X", "8x", ""])
def test_another_part_of_the_same_family_is_not_taken_for_it(written: str) -> None:
    assert find_accelerator(written, tuple(ACCELERATORS)) is None


@pytest.mark.parametrize("name", ACCELERATORS)
def test_every_catalogue_accelerator_is_found_under_its_own_name(name: str) -> None:
    assert find_accelerator(name, tuple(ACCELERATORS)) == name


@pytest.mark.parametrize(
    ("column", "model", "precision"),
    [
        ("fp8", "x/M", "fp8"),
        ("16-bit (fp16/bf16)", "x/M", "bf16"),
        ("w8a16 (fp8 weights, Marlin)", "x/M-FP8", "w8a16"),
        ("", "x/M-NVFP4", "fp4"),
        ("", "x/M", "bf16"),
        ("bf16", "x/M-FP8", "w8a16"),
        ("fp16", "x/M-AWQ", "w4a16"),
        ("fp8", "x/M-NVFP4", "fp8"),
        ("fp6", "x/M", "fp6"),
    ],
)
def test_precision_is_the_columns_and_a_quantized_name_only_changes_16_bit(column: str, model: str, precision: str) -> None:
    assert precision_of(column, model) == precision


def test_engines_are_told_from_their_versions() -> None:
    assert engine_of("TensorRT-LLM 0.14.0") == ("trtllm", "0.14.0")
    assert engine_of("trtllm 1.1.0rc2.post2") == ("trtllm", "1.1.0rc2.post2")
    assert engine_of("SGLang v0.5.4.post2") == ("sglang", "0.5.4.post2")
    assert engine_of("vLLM (some characterization)") == ("vllm", "")
    assert engine_of("Acme in-house") == ("acme-in-house", "")


def test_loads_are_read_in_every_form_that_occurs() -> None:
    assert load_of("16", 8) == (16, None, None)
    assert load_of("16.0", 8) == (16, None, None)
    assert load_of("256/GPU", 72) == (256 * 72, None, None)
    assert load_of("16384 tokens/device", 32) == (None, None, 16384)
    assert load_of("max (infinite rate)", 8) == (None, None, None)
    assert load_of("max (1000 ShareGPT requests at once)", 8) == (None, 1000, None)
    assert load_of("", 8) == (None, None, None)


def test_workers_of_a_disaggregated_row_come_from_its_notes() -> None:
    found = workers_in("P1x[tp1 adp8 moe_tp1 ep8] + D4x[tp8 adp1 moe_tp1 ep8]; prefill GPUs 8, decode GPUs 32")
    assert found == {"prefill": Workers(1, 1, 1, 8, 8, 1), "decode": Workers(4, 8, 1, 1, 8, 1)}
    assert found["prefill"].gpus + found["decode"].gpus == 40


def test_facts_that_only_the_notes_state_are_read() -> None:
    assert draft_tokens("min-latency TP8 EP4 with MTP 3") == 3
    assert draft_tokens("EAGLE3 draft") == 1
    assert draft_tokens("moe_tp1") == 0
    facts = facts_in("decode unit EP144, 32 redundant experts; avg KV length 4989; TBO", "tok/s/node (incl. 56.3% cache hits)", "fp8")
    assert facts["redundant_experts"] == 32
    assert facts["kv_length"] == 4989
    assert facts["two_batch_overlap"]
    assert facts["cached_share"] == pytest.approx(0.563)
    assert facts_in("EPLB 288 experts", "", "fp8")["expert_slots"] == 288
    assert facts_in("fp8 also means fp8 KV cache", "", "fp8")["kv_precision"] == "fp8"
    assert facts_in("fp8 also means fp8 KV cache", "", "fp16")["kv_precision"] == ""


def case(**fields: Any) -> Case:
    base = Case("m", "fp8", "a", 16, 8, "vllm", "", 8, 1, 1, 1, 8, 1, "aggregated", 8, None, None, 1, 1, "f")
    return replace(base, **fields)


def test_predictions_are_compared_in_the_metrics_own_share_and_unit() -> None:
    priced = Prediction(tpot_ms=20, output_throughput=1600, batch_latency_s=2)
    assert predicted_value("tpot_mean", "ms", case(), priced) == 20
    assert predicted_value("tpot_median", "s", case(), priced) == pytest.approx(0.02)
    assert predicted_value("output_throughput", "tok/s", case(), priced) == 1600
    assert predicted_value("output_throughput_per_gpu", "tok/s/GPU", case(), priced) == 100
    assert predicted_value("output_throughput_per_node", "tok/s/node (8 GPUs)", case(), priced) == 800
    assert predicted_value("batch_latency", "ms", case(), priced) == 2000


def test_a_value_that_cannot_be_compared_is_a_reason_not_a_number() -> None:
    assert predicted_value("tpot_p99", "ms", case(), Prediction(tpot_ms=1)) == "metric 'tpot_p99' is not predicted"
    assert "unit 'tok/s'" in str(predicted_value("tpot_mean", "tok/s", case(), Prediction(tpot_ms=1)))
    assert "no ttft_ms" in str(predicted_value("ttft_mean", "ms", case(), Prediction(tpot_ms=1)))
    assert "not a positive number" in str(predicted_value("tpot_mean", "ms", case(), Prediction(tpot_ms=0.0)))
    assert metric_of("energy_per_token") is None


def test_a_file_with_only_the_needed_columns_gets_the_documented_defaults(tmp_path: Path) -> None:
    bare = {"row_id": "r", "model": "Qwen3-32B-FP8", "hardware": "H200", "metric": "tpot_mean", "value": "9", "num_gpus": "4.0"}
    found = read_rows(write(tmp_path / "rows.csv", [bare]), HUNDRED)[0]
    assert found.headline
    assert found.case == case(
        model="Qwen3-32B",
        accelerator="H200-SXM-141GB",
        num_gpus=4,
        engine="unstated",
        tp=4,
        moe_tp=4,
        concurrency=None,
        isl=None,
        osl=None,
        family="unstated",
    )


def test_expert_tensor_degree_is_derived_only_where_it_is_not_stated(tmp_path: Path) -> None:
    rows = [row("a", 1, tp=2, dp=4, ep=8, moe_tp="nan"), row("b", 1, tp=2, dp=4, ep=1, moe_tp=""), row("c", 1, tp=8, ep=4, dp=1, moe_tp=8)]
    found = [r.case.moe_tp for r in read_rows(write(tmp_path / "rows.csv", rows), HUNDRED) if r.case]
    assert found == [1, 8, 8]


def test_errors_are_the_ones_worked_by_hand(tmp_path: Path) -> None:
    # Predicted 50 ms on 2 GPUs; measured 40, 50, 100, 25: signed +25, 0, -50, +100 %; absolute 0, 25, 50, 100.
    rows = [row("a", 40), row("b", 50), row("c", 100), row("d", 25)]
    found = report(tmp_path, rows, [group("g", "a c", "40 100")])
    line = next(i for i in found.errors if i.quantity == "TPOT" and i.breakdown == "all")
    assert line.median.value == pytest.approx(37.5)
    assert line.p90.value == pytest.approx(85.0)  # position 2.7 of 0, 25, 50, 100
    assert line.bias.value == pytest.approx(12.5)
    assert line.median.n == 4


def test_time_to_first_token_is_low_concurrency_up_to_eight(tmp_path: Path) -> None:
    cells: dict[str, Any] = {"metric": "ttft_mean"}
    rows = [
        row("a", 40, batch_or_concurrency=8, **cells),
        row("b", 25, batch_or_concurrency=9, **cells),
        row("c", 20, batch_or_concurrency="max", **cells),
    ]
    found = {i.quantity: i.median for i in report(tmp_path, rows, [group("g", "a b", "40 25")]).errors if i.breakdown == "all"}
    assert found["TTFT at low concurrency"].n == 1
    assert found["TTFT at low concurrency"].value == pytest.approx(25.0)
    assert found["TTFT"].n == 3


def test_pairs_count_when_scores_differ_by_more_than_a_tenth_of_their_mean() -> None:
    assert not apart(95, 105)
    assert apart(94.9, 105)
    assert not apart(105, 95)
    assert judged_pairs((95, 105), [1, 2])[0] == ()


def test_a_pair_is_right_only_when_predictions_differ_the_same_way() -> None:
    assert judged_pairs((10, 20), [1, 2])[0] == (True,)
    assert judged_pairs((10, 20), [2, 1])[0] == (False,)
    assert judged_pairs((10, 20), [1, 1])[0] == (False,)
    assert judged_pairs((10, 20, 40), [1, None, 2])[0] == (False, True, False)


def test_regret_is_the_loss_of_the_strategy_predicted_best() -> None:
    assert judged_pairs((10, 12, 20), [2, 1, 3])[1] == pytest.approx(0.2)
    assert judged_pairs((10, 12, 20), [1, 2, 3])[1] == 0
    assert judged_pairs((100, 80, 50), [1, 3, 2], lower=False)[1] == pytest.approx(0.25)


def test_equal_predictions_are_charged_the_worst_of_them() -> None:
    assert judged_pairs((10, 12, 20), [1, 1, 3])[1] == pytest.approx(0.2)


def test_a_group_with_an_unpriced_member_is_charged_its_worst_member() -> None:
    assert judged_pairs((10, 12, 20), [1, 2, None])[1] == pytest.approx(1.0)
    assert judged_pairs((100, 80, 50), [3, None, 1], lower=False)[1] == pytest.approx(1.0)


def test_throughput_is_ranked_per_gpu_where_the_question_is_per_gpu(tmp_path: Path) -> None:
    # 1000 tok/s per GPU whatever their number: a tie per GPU (wrong), but more GPUs look better when not divided.
    cells: dict[str, Any] = {"metric": "output_throughput", "unit": "tok/s"}
    rows = [row("a", 1000, num_gpus=1, tp=1, **cells), row("b", 1600, num_gpus=2, tp=2, **cells)]
    per_gpu = group("g", "a b", "1000 800", kind="max_throughput_per_gpu", better="higher")
    whole = group("h", "b a", "1600 1000", kind="same_load_any_gpus", better="higher")
    found = report(tmp_path, rows, [per_gpu, whole])
    assert found.counts["members_whose_score_is_not_their_rows_value"] == 0
    figures = {i.question: i.pairs for i in found.ranking if i.breakdown == "all"}
    assert figures["max_throughput_per_gpu"] is not None
    assert figures["max_throughput_per_gpu"].value == 0
    assert figures["same_load_any_gpus"] is not None
    assert figures["same_load_any_gpus"].value == 100


def test_a_score_that_is_not_its_rows_value_is_counted(tmp_path: Path) -> None:
    found = report(tmp_path, [row("a", 40), row("b", 60)], [group("g", "a b", "40 66")])
    assert found.counts["members_whose_score_is_not_their_rows_value"] == 1


def test_no_row_is_dropped(tmp_path: Path) -> None:
    def price(case: Case) -> Prediction | Unpriced:
        return Unpriced("too deep") if case.pp > 1 else hundred_per_gpu(case)

    rows = [
        row("a", 40, pp=1),
        row("b", 40, pp=2, num_gpus=4),
        row("c", 40, pp=1, model="x/Unheard-7B"),
        row("d", 40, pp=1, hardware="V100"),
        row("e", 40, pp=1, metric="tpot_p99"),
    ]
    groups = [group("g", "a b", "40 80"), group("h", "a z", "40 80")]
    found = document(tmp_path, rows, groups, HUNDRED._replace(price=price))
    unpriced = {u["reason"]: u["row_ids"] for u in found["unpriced"]}
    assert unpriced == {
        "too deep": ["b"],
        "model 'x/Unheard-7B' is not in the catalogue": ["c"],
        "accelerator 'V100' is not in the catalogue": ["d"],
        "metric 'tpot_p99' is not predicted": ["e"],
        "a ranking group names the row, but the rows file lacks it": ["z"],
    }
    assert found["counts"]["priced_rows"] == 1
    assert found["summary"]["priced_rows_pct"] == 20
    assert found["summary"]["pairs_fixed_budget_dense_pct"] == 0
    assert found["summary"]["mean_regret_pct"] == 100
    assert found["counts"]["groups_with_an_unpriced_member"] == 2


def test_only_rows_of_quality_a_and_b_make_the_headline(tmp_path: Path) -> None:
    rows = [row("a", 50), row("b", 100, quality="C"), row("c", 100, quality=""), row("d", 50, quality="b")]
    groups = [group("g", "a d", "50 50"), group("h", "a b", "50 100")]
    found = document(tmp_path, rows, groups)
    assert found["summary"]["tpot_median_error_pct"] == 0
    assert found["intervals"]["tpot_median_error_pct"]["n"] == 2
    assert found["counts"]["headline_groups"] == 1
    others = next(line for line in found["errors_of_other_quality"] if line["breakdown"] == "all")
    assert others["median"]["value"] == 50
    assert others["median"]["n"] == 2
    assert found["summary"]["pairs_fixed_budget_dense_pct"] is None  # the only pair that counts has a row of quality C


def test_a_figure_without_rows_is_null_and_every_other_has_n_and_limits(tmp_path: Path) -> None:
    found = document(tmp_path, [row("a", 40), row("b", 50)], [group("g", "a b", "40 50")])
    nulls = {name for name, value in found["summary"].items() if value is None}
    assert {"pairs_fixed_budget_moe_pct", "pairs_max_throughput_dense_pct", "pairs_max_throughput_moe_pct", "pairs_same_gpus_pct"} <= nulls
    assert {"tpot_median_error_pct", "tpot_p90_error_pct", "pairs_fixed_budget_dense_pct", "mean_regret_pct", "priced_rows_pct"}.isdisjoint(
        nulls
    )
    for name, value in found["summary"].items():
        limits = found["intervals"][name]
        assert (limits is None) == (value is None)
        assert limits is None or set(limits) == {"n", "low", "high"}


def test_dense_and_moe_are_never_pooled_but_for_same_gpus(tmp_path: Path) -> None:
    rows = [row("a", 40), row("b", 80, num_gpus=1, tp=1), row("c", 80), row("d", 40, num_gpus=1, tp=1)]
    groups = [group("g", "a b", "40 80"), group("h", "c d", "80 40", moe=1)]
    same = [group(f"s{g['group_id']}", str(g["row_ids"]), str(g["scores"]), moe=g["moe"], kind="same_load_same_gpus") for g in groups]
    found = document(tmp_path, rows, groups + same)["summary"]
    assert found["pairs_fixed_budget_dense_pct"] == 100
    assert found["pairs_fixed_budget_moe_pct"] == 0
    assert found["pairs_same_gpus_pct"] == 50


def test_whether_a_group_is_moe_comes_from_the_prediction_where_the_file_does_not_say(tmp_path: Path) -> None:
    rows = [row("a", 40), row("b", 80, num_gpus=1, tp=1)]
    asked = {k: v for k, v in group("g", "a b", "40 80").items() if k != "moe"}
    pricing = HUNDRED._replace(price=lambda c: replace(hundred_per_gpu(c), moe=True))
    found = document(tmp_path, rows, [asked], pricing)["summary"]
    assert found["pairs_fixed_budget_moe_pct"] == 100
    assert found["pairs_fixed_budget_dense_pct"] is None


def test_the_trivial_question_does_not_enter_the_mean_regret(tmp_path: Path) -> None:
    rows = [row("a", 40), row("b", 80, num_gpus=1, tp=1), row("c", 20, num_gpus=1, tp=1)]
    groups = [group("g", "a b", "40 80", kind="same_load_any_gpus"), group("h", "a c", "40 20")]
    assert document(tmp_path, rows, groups)["summary"]["mean_regret_pct"] == 100


def test_each_held_out_kind_has_the_same_summary(tmp_path: Path) -> None:
    rows = [
        row("a", 50, heldout_kind="unseen_model"),
        row("b", 100, num_gpus=1, tp=1, heldout_kind="unseen_model"),
        row("c", 25, heldout_kind="unseen_gpu"),
    ]
    groups = [group("g", "a b", "50 100"), group("h", "a c", "50 25")]
    found = document(tmp_path, rows, groups)
    by_kind = found["summary_by_heldout_kind"]
    assert set(by_kind) == set(found["intervals_by_heldout_kind"]) == {"unseen_model", "unseen_gpu", "mixed"}
    assert set(by_kind["unseen_gpu"]) == set(found["summary"])
    assert by_kind["unseen_model"]["tpot_median_error_pct"] == 0
    assert by_kind["unseen_gpu"]["tpot_median_error_pct"] == 100
    assert by_kind["unseen_model"]["pairs_fixed_budget_dense_pct"] == 100
    assert by_kind["unseen_gpu"]["pairs_fixed_budget_dense_pct"] is None
    assert by_kind["mixed"]["pairs_fixed_budget_dense_pct"] == 0


def test_a_groups_own_held_out_kind_goes_before_its_rows(tmp_path: Path) -> None:
    rows = [row("a", 50, heldout_kind="x"), row("b", 100, num_gpus=1, tp=1, heldout_kind="x")]
    found = document(tmp_path, rows, [group("g", "a b", "50 100", heldout_kind="y")])["summary_by_heldout_kind"]
    assert found["y"]["pairs_fixed_budget_dense_pct"] == 100
    assert found["x"]["pairs_fixed_budget_dense_pct"] is None


def test_the_worst_rows_name_the_term_that_dominates(tmp_path: Path) -> None:
    rows = [
        row("a", 49),
        row("b", 500),
        row("c", 10),
        row("d", 5, metric="ttft_mean", batch_or_concurrency=4),
        row("e", 5000, metric="ttft_mean"),
    ]
    found = document(tmp_path, rows, [group("g", "a b", "49 500")])["worst_rows"]
    assert [w["row_id"] for w in found] == ["b", "d", "c", "a"]  # ten times too low, ten and five times too high; e is queueing
    assert [w["dominating_term"] for w in found] == ["weights", "gemm", "weights", "weights"]
    assert found[0]["error_pct"] == -90


def test_at_most_twenty_worst_rows_are_listed(tmp_path: Path) -> None:
    found = report(tmp_path, [row(f"r{k:02}", 10 + k) for k in range(25)], [group("g", "r00 r20", "10 30")])
    assert [o.row.row_id for o in found.worst] == [f"r{k:02}" for k in range(20)]


def test_wilson_gives_the_textbook_interval() -> None:
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_order_statistics_bound_the_median_of_ten_by_the_second_and_the_ninth() -> None:
    assert order_limits(np.arange(10.0), 0.5) == (1.0, 8.0)  # P(Bin(10, 1/2) <= 1) = 11/1024 <= 2.5 % < P(<= 2)
    assert order_limits(np.arange(5.0), 0.5) == (None, None)
    assert order_limits(np.arange(35.0), 0.9)[1] is None  # 0.9 ** 35 > 2.5 %
    assert order_limits(np.arange(36.0), 0.9)[1] == 35.0


def test_intervals_hold_the_truth_about_as_often_as_they_claim() -> None:
    rng, held = random.Random(1), 0
    for _ in range(200):
        values = [rng.expovariate(1) for _ in range(60)]
        found = quantile(values, list(range(60)), 0.5)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.6931 <= found.high
    assert 185 <= held <= 200


def test_related_values_never_narrow_an_interval() -> None:
    rng = random.Random(2)
    right = [rng.random() < 0.7 for _ in range(60)]
    alone = share(right, list(range(60)), list(range(60)))
    right = sorted(right)
    grouped = share(right, [k // 10 for k in range(60)], [k // 20 for k in range(60)])
    assert alone is not None
    assert grouped is not None
    assert alone.value == grouped.value
    assert grouped.low is not None
    assert alone.low is not None
    assert grouped.low < alone.low
    assert wilson(sum(right), 60)[0] * 100 >= alone.low


def test_pairs_that_are_all_right_count_as_many_trials_as_groups() -> None:
    found = share([True] * 20, ["g"] * 10 + ["h"] * 10, ["c"] * 20)
    assert found is not None
    assert found.low == pytest.approx(100 * wilson(2, 2)[0])
    assert found.high == 100
    assert found.n == 20


def test_the_mean_of_one_value_has_no_interval() -> None:
    found = mean([5.0], ["g"], ["c"])
    assert found is not None
    assert (found.value, found.n, found.low, found.high) == (5.0, 1, None, None)


BAD = [
    ({"value": "fast"}, {}, "rows.csv: line 3: value: must be a positive number, got 'fast'"),
    ({"value": ""}, {}, "rows.csv: line 3: value: must be a positive number, got ''"),
    ({"value": "-4"}, {}, "rows.csv: line 3: value: must be a positive number, got '-4'"),
    ({"value": "inf"}, {}, "rows.csv: line 3: value: must be a positive number, got 'inf'"),
    ({"tp": "2.5"}, {}, "rows.csv: line 3: tp: must be a whole number, got '2.5'"),
    ({"tp": "1e400"}, {}, "rows.csv: line 3: tp: must be a positive number, got '1e400'"),
    ({"row_id": "a"}, {}, "rows.csv: line 3: row_id: must be present and unique, got 'a'"),
    ({}, {"better": "faster"}, "groups.csv: line 2: better: must be lower or higher, got 'faster'"),
    ({}, {"scores": "1 2 3"}, "groups.csv: line 2: scores: must be one positive number per row id (2)"),
    ({}, {"scores": "1 x"}, "groups.csv: line 2: scores: must be one positive number per row id (2)"),
    ({}, {"scores": "1 0"}, "groups.csv: line 2: scores: must be one positive number per row id (2)"),
    ({}, {"moe": "maybe"}, "groups.csv: line 2: moe: must be 0 or 1, got 'maybe'"),
]


@pytest.mark.parametrize(("row_cells", "group_cells", "sentence"), BAD)
def test_a_bad_cell_is_one_sentence_and_exit_code_two(
    row_cells: dict[str, object], group_cells: dict[str, object], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(tmp_path / "rows.csv", [row("a", 40), row("b", 50) | row_cells])
    groups = write(tmp_path / "groups.csv", [group("g", "a b", "40 50") | group_cells])
    assert main([str(rows), str(groups)], HUNDRED) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"Error: {sentence}")
    assert shown.err.count("\n") == 1
    assert ";" in shown.err  # the remedy


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "column 'row_id' is missing, got columns none"),
        (b"row_id,model\n", "column 'hardware' is missing, got columns row_id, model"),
        (b"row_id,model,hardware,metric,value\n", "has a header but no lines"),
        (b"row_id,model,hardware,metric,value\na,b\n", "line 2: must have 5 cells"),
        (b"row_id,model,hardware,metric,value\na,b,c,d,1,extra\n", "line 2: must have 5 cells"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b'row_id,model,hardware,metric,value\n"a"b,c,d,e,1\n', "is not CSV"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(
    content: bytes | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    if content is not None:
        rows.write_bytes(content)
    groups = write(tmp_path / "groups.csv", [group("g", "a b", "40 50")])
    assert main([str(rows), str(groups)], HUNDRED) == 2
    shown = capsys.readouterr().err
    assert "rows.csv" in shown
    assert sentence in shown
    assert shown.count("\n") == 1


def test_a_report_repeats_byte_for_byte_and_goes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(3)
    rows = write(tmp_path / "rows.csv", [row(f"r{k}", rng.uniform(20, 90), num_gpus=1 + k % 4, tp=1 + k % 4) for k in range(40)])
    values = {r["row_id"]: r["value"] for r in csv.DictReader(rows.open())}
    pairs = [(f"r{k}", f"r{k + 1}") for k in range(0, 40, 2)]
    groups = write(tmp_path / "groups.csv", [group(f"g{a}", f"{a} {b}", f"{values[a]} {values[b]}") for a, b in pairs])
    for extra in ([], ["--json"]):
        assert main([str(rows), str(groups), *extra], HUNDRED) == 0
        first = capsys.readouterr().out
        assert main([str(rows), str(groups), *extra, "--out", str(tmp_path / "report")], HUNDRED) == 0
        assert capsys.readouterr().out == ""
        assert (tmp_path / "report").read_text() == first
    assert main([str(rows), str(groups), "--out", str(tmp_path / "none" / "report")], HUNDRED) == 2
    assert capsys.readouterr().err.startswith("Error: --out: ")


def test_every_percentage_of_the_text_stands_beside_its_n(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write(tmp_path / "rows.csv", [row("a", 40), row("b", 80, num_gpus=1, tp=1)])
    groups = write(tmp_path / "groups.csv", [group("g", "a b", "40 80")])
    assert main([str(rows), str(groups)], HUNDRED) == 0
    shown = capsys.readouterr().out
    assert "pairs_fixed_budget_dense_pct           100.0 [20.7, 100.0] n=1" in shown
    assert "pairs_fixed_budget_moe_pct             no such rows" in shown
    assert "Every row is priced." in shown


@needs_data
def test_every_recorded_row_is_understood_and_their_own_values_are_ranked_right() -> None:
    models = (*(p.name for p in (DATA / "models").iterdir() if p.is_dir()), "Llama-2-7b", "Llama-2-70b", "bloom-176b")
    accelerators = tuple(r["name"] for r in csv.DictReader((DATA / "hardware.csv").open(encoding="utf-8")))
    rows = read_rows(ROWS, Pricing(hundred_per_gpu, models, accelerators))
    assert [r.problem for r in rows if r.problem] == []
    measured: dict[Case, dict[str, list[float]]] = {}
    for r in rows:
        metric = metric_of(r.metric)
        assert metric is not None
        assert r.case is not None
        whole = {"": 1, "gpu": r.case.num_gpus, "node": r.case.num_gpus / r.case.gpus_per_node}[metric.share]
        measured.setdefault(r.case, {}).setdefault(metric.quantity.field, []).append(r.value * whole)
    repeats = {c: {name: float(np.median(v)) for name, v in found.items()} for c, found in measured.items()}
    found = measure(ROWS, GROUPS, Pricing(lambda c: Prediction(**repeats[c]), models, accelerators))
    values = as_json(found)["summary"]
    assert found.counts["members_whose_score_is_not_their_rows_value"] == 0
    assert values["priced_rows_pct"] == 100
    assert values["tpot_median_error_pct"] < 0.1
    assert all(values[name] > 95 for name in values if name.startswith("pairs_"))
    assert values["mean_regret_pct"] < 0.5
