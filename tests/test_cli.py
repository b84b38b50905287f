"""The command line keeps its contract: exit codes, streams, JSON, files. Written from the contract alone."""

import csv
import json
import os
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from optimizer.cli import app

ROOT = Path(__file__).parent.parent
INSTANCES = ROOT / "instances"
REFERENCE, PLAN, CLAIMS = (INSTANCES / f"ep64_tp2_128gpu.{kind}" for kind in ("json", "plan.json", "claims.json"))
LLAMA, MIXTRAL = INSTANCES / "llama70b_8gpu.json", INSTANCES / "mixtral8x7b_8gpu.json"
BANDWIDTHS = "cluster.scale_up.bandwidth_bytes_per_s=445 GB/s,20 GB/s"

SEARCH = ("search", LLAMA)
PROVE = ("prove", REFERENCE, PLAN)
AUDIT = ("audit", CLAIMS, "--effort", "1")
BATCH = ("batch", "run", LLAMA, "--vary", BANDWIDTHS)
SOLVING = {"search": SEARCH, "prove": PROVE, "audit": AUDIT, "batch": BATCH}
COMMANDS = (["search"], ["prove"], ["audit"], ["batch"], ["batch", "run"], ["schema"], ["doctor"], [])
FOLDED_BEST = {"tp": 1, "dp": 128, "ep": 8}
DEGREES = {"tp", "cp", "dp", "pp", "etp", "ep", "edp", "replicas", "microbatches"}
COMMON = {"schema", "status", "tool", "instance", "assumptions", "seconds"}

Json = dict[str, Any]


def run(*args: object) -> Any:
    """The command in this process; an exception that is not an exit fails the test."""
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@cache
def quiet_json(*args: object) -> Json:
    """The one JSON object of a command that writes no files."""
    found: Json = json.loads(run(*args, "--json", "--quiet").stdout)
    return found


@cache
def solved(command: str) -> Json:
    """The JSON object of one of the solving commands."""
    if command != "batch":
        return quiet_json(*SOLVING[command])
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found: Json = json.loads(run(*BATCH, "--out", Path(folder) / "b", "--json", "--quiet").stdout)
        return found


def spawn(*args: object, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user's shell starts it."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | (env or {})
    command = [sys.executable, "-m", "optimizer", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=clean, timeout=60, check=False, **options)


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def claims(path: Path, *stated: tuple[str, str], degrees: Json | None = None) -> Path:
    """A claims document beside a copy of the reference instance."""
    (path / "instance.json").write_bytes(REFERENCE.read_bytes())
    listed = [{"claim": f"{q} is {said}", "quantity": q, "said": said} for q, said in stated]
    plan = {"degrees": degrees or {"ep": 64, "tp": 2, "pp": 1}}
    document = {"format": "shardproof-claims/1", "name": "d", "source": "s", "instance": "instance.json", "plan": plan, "claims": listed}
    return write(path / "claims.json", document)


def no_leftovers(folder: Path, *expected: str) -> bool:
    return sorted(p.name for p in folder.iterdir()) == sorted(expected)


# Exit codes


@pytest.mark.parametrize(
    ("args", "code", "status"),
    [
        (("search", LLAMA), 0, "OPTIMAL"),
        (("search", LLAMA, "--set", "cluster.accelerator.memory_bytes=8 GB"), 3, "INFEASIBLE"),
        (("search", REFERENCE, "--space", "folded", "--effort", "1"), 4, "FEASIBLE"),
        (("search", REFERENCE, "--space", "folded", "--seconds", "0"), 4, None),
        (("search", REFERENCE, "--space", "folded", "--effort", "1", "--set", "workload.sequences=10000000"), 4, "UNKNOWN"),
        (("prove", REFERENCE, PLAN), 0, "OPTIMAL"),
        (("prove", REFERENCE, {"tp": 3, "ep": 5}), 3, "INFEASIBLE"),
        (("prove", REFERENCE, {"ep": 64, "tp": 2}, "--set", "cluster.accelerator.memory_bytes=8 GB"), 3, "INFEASIBLE"),
        (("prove", REFERENCE, FOLDED_BEST, "--space", "folded", "--effort", "1"), 4, "UNKNOWN"),
        (("prove", LLAMA, {"tp": 4, "dp": 2, "etp": 4}), 5, "NOT_OPTIMAL"),
        (("prove", REFERENCE, PLAN, "--space", "folded", "--effort", "1"), 5, "NOT_OPTIMAL"),
        (("audit", CLAIMS, "--effort", "1"), 5, "CONTRADICTED"),
    ],
    ids=lambda v: " ".join(a.name if isinstance(a, Path) else str(a) for a in v) if isinstance(v, tuple) else str(v),
)
def test_the_exit_code_is_that_of_the_outcome(args: tuple[object, ...], code: int, status: str | None, tmp_path: Path) -> None:
    given = [write(tmp_path / "plan.json", {"degrees": a}) if isinstance(a, dict) else a for a in args]
    result = run(*given, "--json", "--quiet")
    assert result.exit_code == code
    assert status in (None, json.loads(result.stdout)["status"])


def test_an_audit_without_a_contradiction_exits_0(tmp_path: Path) -> None:
    document = claims(tmp_path, ("gpus_used", "128"), ("experts_total", "64"), ("overlap_pct", "95"))
    result = run("audit", document, "--json", "--quiet")
    assert result.exit_code == 0
    assert [c["verdict"] for c in json.loads(result.stdout)["claims"]] == ["reproduced", "reproduced", "not_derivable"]


@pytest.mark.parametrize("command", SOLVING)
@pytest.mark.parametrize("given", ["a file that is not there", "an unknown option"])
def test_bad_input_exits_2_and_leaves_stdout_empty(command: str, given: str, tmp_path: Path) -> None:
    args: list[object] = list(SOLVING[command])
    if given == "an unknown option":
        args.append("--bogus")
    else:
        args[2 if command == "batch" else 1] = tmp_path / "nope.json"
    if command == "batch":
        args += ["--out", tmp_path / "out"]
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(r"^Error: .*(--bogus|nope\.json)", result.stderr, re.MULTILINE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--effort", "0"],
        ["--effort", "x"],
        ["--effort", "9" * 5000],
        ["--effort", "9" * 400, "--route", "joint"],
        ["--seconds", "-1"],
        ["--seconds", "nan"],
        ["--seed", "-1"],
        ["--seed", str(2**31)],
        ["--workers", "0"],
        ["--route", "x"],
        ["--space", "x"],
        ["--objective", "x"],
        ["--objective", "cost"],
    ],
    ids=lambda v: " ".join(w[:20] for w in v),
)
def test_an_option_that_cannot_be_used_exits_2_and_is_named(wrong: list[str]) -> None:
    result = run("search", LLAMA, "--quiet", *wrong)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert wrong[0].removeprefix("--") in result.stderr


@pytest.mark.parametrize("command", ["search", "prove", "audit"])
def test_an_interrupt_ends_with_130_and_leaves_nothing_behind(command: str, tmp_path: Path) -> None:
    args = {"search": ["search", REFERENCE], "prove": ["prove", REFERENCE, PLAN], "audit": ["audit", CLAIMS]}[command]
    folded = [] if command == "audit" else ["--space", "folded"]
    code, out, err = _interrupted([*args, *folded, "--out", tmp_path / "out"], "fit memory")
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert no_leftovers(tmp_path)


def test_an_interrupted_batch_keeps_its_rows_and_can_be_resumed(tmp_path: Path) -> None:
    args = ["batch", "run", REFERENCE, "--vary", "cluster.nodes=8..48:+2", "--space", "folded", "--effort", "40", "--out", tmp_path / "out"]
    code, out, err = _interrupted(args, "1/21")
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "results.csv").exists()
    said = re.search(r"interrupted: (\d+) of 21 rows are kept", err)
    assert said is not None, err
    kept = int(said[1])
    assert 1 <= kept < 21
    resumed = json.loads(run(*args, "--resume", "--json", "--quiet").stdout)
    assert (resumed["rows"], resumed["solved"], resumed["skipped"]) == (21, 21 - kept, kept)


def _interrupted(args: list[object], after: str) -> tuple[int, str, str]:
    """Exit code, stdout and the rest of stderr of a command interrupted once it has said `after`."""
    command = [sys.executable, "-m", "optimizer", *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(after in line for line in process.stderr), "it ended before it could be interrupted"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


# Streams


@pytest.mark.parametrize("command", SOLVING)
def test_progress_goes_to_stderr_and_quiet_silences_it(command: str, tmp_path: Path) -> None:
    folder = ["--out", tmp_path / "out", "--force"] if command == "batch" else []
    loud, quiet = (run(*SOLVING[command], *folder, *extra) for extra in ([], ["--quiet"]))
    assert loud.stdout == quiet.stdout
    assert loud.stderr
    assert quiet.stderr == ""
    assert "\x1b" not in loud.stdout + loud.stderr


@pytest.mark.parametrize("command", SOLVING)
def test_json_is_exactly_one_object(command: str, tmp_path: Path) -> None:
    folder = ["--out", tmp_path / "out"] if command == "batch" else []
    result = run(*SOLVING[command], *folder, "--json")
    assert isinstance(json.loads(result.stdout), dict)
    assert result.stderr


@pytest.mark.parametrize("args", [("schema", "instance"), ("search", LLAMA, "--quiet"), ("search", LLAMA, "--quiet", "--json")])
def test_a_reader_that_goes_away_causes_no_complaint(args: tuple[object, ...]) -> None:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "optimizer", *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


# JSON


@pytest.mark.parametrize("command", SOLVING)
def test_every_object_has_the_common_fields(command: str) -> None:
    found = solved(command)
    assert found.keys() >= COMMON
    assert re.fullmatch(rf"shardproof/{command}/[0-9]+", found["schema"])
    assert found["tool"].keys() >= {"ortools", "seed"}
    assert found["tool"]["ortools"] == "9.15.6755"
    assert found["instance"].keys() >= {"name", "sha256"}
    assert re.fullmatch("[0-9a-f]{64}", found["instance"]["sha256"])
    assert found["assumptions"]
    assert all(isinstance(a, str) for a in found["assumptions"])
    assert isinstance(found["seconds"], int | float)


@pytest.mark.parametrize("command", SOLVING)
def test_the_seed_is_recorded(command: str, tmp_path: Path) -> None:
    folder = ["--out", tmp_path / "out"] if command == "batch" else []
    result = run(*SOLVING[command], *folder, "--json", "--quiet", "--seed", "7")
    assert json.loads(result.stdout)["tool"]["seed"] == 7


def _assert_is_a_plan(plan: Json) -> None:
    assert plan["degrees"].keys() >= DEGREES
    assert plan.keys() >= {"stages", "placement", "metrics"}
    assert plan["metrics"].keys() >= {"step_ns", "tokens_per_s", "memory_mib_per_gpu", "memory_pct", "breakdown_ns"}
    assert sum(plan["metrics"]["breakdown_ns"].values()) == plan["metrics"]["step_ns"]
    assert all(isinstance(v, int) for v in plan["metrics"]["breakdown_ns"].values())


def test_search_names_objective_space_plans_and_proof() -> None:
    found = quiet_json("search", MIXTRAL)
    assert found["status"] == "OPTIMAL"
    value = found["objective"]["value"]
    assert found["objective"] == {"name": "latency", "unit": "ns", "value": value, "bound": value}
    assert found["space"]["name"] == "folded"
    assert found["space"]["strategies"] >= found["space"]["feasible"] >= len(found["optimal"]) >= 1
    for plan in found["optimal"]:
        _assert_is_a_plan(plan)
        assert plan["metrics"]["step_ns"] == value
    near = [p["value"] for p in found["near_optimal"]]
    assert near == sorted(near)
    assert near
    assert all(value < v <= value + value // 100 for v in near)
    assert found["proof"]["checked"] is True
    assert found["proof"].keys() >= {"certificate_sha256", "route"}


def test_epsilon_widens_the_near_optimal_list() -> None:
    sizes = [len(quiet_json("search", MIXTRAL, "--epsilon", e)["near_optimal"]) for e in ("0", "1", "5")]
    assert sizes[0] == 0 < sizes[1] < sizes[2]


def test_prove_states_the_better_plan_and_the_difference_by_term(tmp_path: Path) -> None:
    found = quiet_json("prove", LLAMA, write(tmp_path / "p.json", {"degrees": {"tp": 4, "dp": 2, "etp": 4}}))
    _assert_is_a_plan(found["plan"])
    _assert_is_a_plan(found["better"])
    assert found["bound"] == found["better"]["metrics"]["step_ns"] < found["value"] == found["plan"]["metrics"]["step_ns"]
    assert sum(found["difference_ns"].values()) == found["value"] - found["bound"]


def test_prove_agrees_with_search() -> None:
    found, searched = solved("prove"), quiet_json("search", REFERENCE)
    assert found["value"] == found["bound"] == searched["objective"]["value"]
    assert found["plan"]["degrees"] in [p["degrees"] for p in searched["optimal"]]


def test_a_limited_search_reports_plan_bound_and_gap_and_claims_nothing() -> None:
    args = ("search", REFERENCE, "--space", "folded", "--effort", "1")
    found, text = quiet_json(*args), run(*args, "--quiet").stdout
    assert found["objective"]["bound"] < found["objective"]["value"]
    assert len(found["optimal"]) == 1
    assert "gap" in text
    assert "OPTIMAL" not in text


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_result_says_when_the_wall_limit_bit_and_that_it_is_not_reproducible(form: list[str]) -> None:
    args = ("search", REFERENCE, "--quiet", *form)
    bitten, free = (run(*args, "--space", s, "--seconds", n).stdout for s, n in (("folded", "0"), ("classic", "60")))
    assert re.search("reproduc", bitten)
    assert not re.search("not.{0,6}reproduc", free)


def test_audit_judges_every_claim() -> None:
    found = solved("audit")
    document = json.loads(CLAIMS.read_text(encoding="utf-8"))
    assert [c["claim"] for c in found["claims"]] == [c["claim"] for c in document["claims"]]
    for claim in found["claims"]:
        assert claim.keys() >= {"claim", "said", "ours", "verdict", "why"}
        assert claim["why"]
        assert claim["verdict"] in ("reproduced", "contradicted", "not_derivable")
        assert claim["ours"] is None or claim["verdict"] != "not_derivable"


@pytest.mark.parametrize(
    "plan",
    [
        {"degrees": {"ep": 63}},
        {"degrees": {"ep": 2, "tp": 2, "pp": 32}},
        {"degrees": {"ep": 64, "tp": 3}},
        {"degrees": {"ep": 1, "tp": 1}},
        {"degrees": {"ep": 100_000, "tp": 100_000, "pp": 100_000}},
        {"degrees": {"ep": 64, "tp": 2}, "stages": [8, 8]},
        {"degrees": {"ep": 64, "tp": 2}, "placement": [[[0]]]},
        {"degrees": {"ep": 64, "tp": 2}, "placement": [[[]] * 64] * 16},
        {"degrees": {"ep": 64, "tp": 2}, "placement": [[[4095]] * 64] * 16},
    ],
    ids=lambda p: json.dumps(p)[:60],
)
def test_an_audit_of_a_plan_that_cannot_run_still_judges_every_claim(plan: Json, tmp_path: Path) -> None:
    quantities = sorted({c["quantity"] for c in json.loads(CLAIMS.read_text(encoding="utf-8"))["claims"]})
    path = claims(tmp_path, ("plan_runs", "1"), *((q, "1") for q in quantities))
    write(path, json.loads(path.read_text(encoding="utf-8")) | {"plan": plan})
    result = run("audit", path, "--json", "--quiet", "--effort", "1")
    assert result.exit_code == 5
    verdicts = {c["quantity"]: c["verdict"] for c in json.loads(result.stdout)["claims"]}
    assert verdicts.keys() == {"plan_runs", *quantities}
    assert verdicts["plan_runs"] == "contradicted"


@pytest.mark.parametrize("command", SOLVING)
def test_the_same_input_and_seed_give_the_same_bytes(command: str, tmp_path: Path) -> None:
    texts = []
    for hash_seed in "12":
        (tmp_path / hash_seed).mkdir()
        folder = ["--out", "out"] if command == "batch" else []
        done = spawn(*SOLVING[command], *folder, "--json", "--quiet", env={"PYTHONHASHSEED": hash_seed}, cwd=tmp_path / hash_seed)
        texts.append(re.sub(r'"seconds": [0-9.e-]+', '"seconds": 0', done.stdout))
    assert texts[0] == texts[1] != ""


# Options


@pytest.mark.parametrize("command", SOLVING)
@pytest.mark.parametrize(
    "option",
    ["--effort=10", "--seconds=60", "--seed=1", "--json", "--out", "--force", "--quiet", "--set=workload.sequences=128"],
)
def test_every_solving_command_takes_the_common_options(command: str, option: str, tmp_path: Path) -> None:
    folder = ["--out", tmp_path / "out"] if command == "batch" or option == "--out" else []
    given = [] if option == "--out" else [option]
    if command in ("search", "batch"):
        given = [g.replace("128", "64") for g in given]
    assert run(*SOLVING[command], *folder, *given).exit_code == (5 if command == "audit" else 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cluster.accelerator.memory_bytes=80 GB", "cluster.accelerator.memory_bytes=80000000000"),
        ("cluster.accelerator.memory_bytes=64 GiB", f"cluster.accelerator.memory_bytes={64 * 2**30}"),
        ("cluster.scale_up.bandwidth_bytes_per_s=400 Gbit/s", "cluster.scale_up.bandwidth_bytes_per_s=50 GB/s"),
        ("cluster.scale_up.latency_ns=1.5 us", "cluster.scale_up.latency_ns=1500"),
        ("runtime.overlap_ppm=12.5 %", "runtime.overlap_ppm=125000"),
        ("cluster.scale_out.latency_ns=7 us", "cluster.pools.0.scale_out.latency_ns=7 us"),
        ("cluster.pools.nodes=2", "cluster.pools.0.nodes=2"),
        ("architecture.layers.count=40", "architecture.layers.0.count=40"),
        ("architecture.layers.attention.kv_heads=4", "architecture.layers.0.attention.kv_heads=4"),
        ("space.tp=[1, 2]", "space.tp=[1,2]"),
        ("workload.sequences = 32", "workload.sequences=32"),
    ],
)
def test_set_takes_human_units_and_paths_through_lists_of_one(one: str, other: str) -> None:
    first, second = (dict(quiet_json("search", LLAMA, "--set", s), seconds=0) for s in (one, other))
    assert first == second
    assert first["instance"]["sha256"] != quiet_json("search", LLAMA)["instance"]["sha256"]


def test_a_constant_set_on_the_command_line_is_listed_as_assumed() -> None:
    found = quiet_json("search", LLAMA, "--set", "cluster.accelerator.hbm_bytes_per_s=3 TB/s")
    assert any("hbm_bytes_per_s" in a and "command line" in a for a in found["assumptions"])


def test_the_last_of_two_values_for_one_field_counts() -> None:
    twice = quiet_json("search", LLAMA, "--set", "cluster.nodes=4", "--set", "cluster.nodes=2")
    assert twice["optimal"] == quiet_json("search", LLAMA, "--set", "cluster.nodes=2")["optimal"]


def test_the_classic_space_is_a_subset_of_the_folded_one() -> None:
    classic, folded = (quiet_json("search", MIXTRAL, "--space", s) for s in ("classic", "folded"))
    assert classic["space"]["name"] == "classic"
    assert classic["space"]["strategies"] < folded["space"]["strategies"]
    assert classic["objective"]["value"] >= folded["objective"]["value"]


@pytest.mark.parametrize("objective", ["latency", "throughput", "throughput_per_gpu", "cost", "gpus"])
def test_each_objective_is_solved_to_optimality(objective: str) -> None:
    price = ("--set", "cluster.price_uusd_per_gpu_hour=2 USD/h") if objective == "cost" else ()
    found = quiet_json("search", LLAMA, "--objective", objective, *price)
    assert found["status"] == "OPTIMAL"
    assert found["objective"]["name"] == objective
    assert found["objective"]["value"] == found["objective"]["bound"]
    if objective == "gpus":
        assert {p["metrics"]["gpus"] for p in found["optimal"]} == {found["objective"]["value"]}


PRICED = ("--set", "cluster.price_uusd_per_gpu_hour=2 USD/h")


@pytest.mark.parametrize(
    ("objective", "headline"),
    [
        ("latency", "latency {step} ms"),
        ("throughput", "throughput {tokens_per_s:,} tokens/s ({step} ms)"),
        ("throughput_per_gpu", "{tokens_per_s_per_gpu:,} tokens/s/GPU ({gpu_ms} GPU-ms)"),
        ("cost", "cost ${usd} per million tokens ({value:,} gpu-ns x micro-USD/h)"),
        ("gpus", "{gpus} GPUs"),
    ],
)
def test_the_headline_says_what_the_objective_is_named_after(objective: str, headline: str) -> None:
    args = ("search", MIXTRAL, "--objective", objective, *PRICED)
    found, text = quiet_json(*args), run(*args, "--quiet").stdout
    m, value = found["optimal"][0]["metrics"], found["objective"]["value"]
    assert m["tokens_per_s"] == 65_536 * 10**9 // m["step_ns"]  # 32 prompts of 2048 tokens
    dollars = -(-2 * 10**6 * m["gpus"] * m["step_ns"] * 10**6 // (3600 * 10**9 * 65_536))  # micro-USD, rounded up
    shown = headline.format(
        **m, value=value, step=_thousandths(m["step_ns"]), gpu_ms=_thousandths(m["step_ns"] * m["gpus"]), usd=f"0.{dollars:06d}"
    )
    assert text.splitlines()[0] == f"mixtral8x7b_8gpu: OPTIMAL in folded, {shown}"


def _thousandths(ns: int) -> str:
    return f"{ns // 10**6:,}.{ns // 1000 % 1000:03d}"


@pytest.mark.parametrize(("objective", "sentence"), [("gpus", "uses more GPUs"), ("cost", "above the best by computation alone")])
def test_the_ledger_speaks_of_time_only_where_time_is_minimised(objective: str, sentence: str, tmp_path: Path) -> None:
    plan = write(tmp_path / "p.json", {"degrees": {"tp": 1, "dp": 8, "ep": 8}})
    text = run("explain", MIXTRAL, plan, "--objective", objective, *PRICED, "--quiet", "--seconds", "60").stdout
    assert sentence in text
    assert "too long" not in text


@pytest.mark.parametrize("objective", ["latency", "gpus"])
def test_strategies_that_tie_are_listed_in_the_stated_order(objective: str, tmp_path: Path) -> None:
    found = json.loads(run("search", MIXTRAL, "--objective", objective, "--json", "--quiet", "--out", tmp_path / "out").stdout)
    names = ("replicas", "pp", "tp", "cp", "dp", "microbatches", "ep", "etp")
    keys = [[p["degrees"][n] for n in names] for p in found["optimal"]]
    assert len(keys) > 1
    assert keys == sorted(keys)
    deployed = json.loads((tmp_path / "out" / "optimized_parallel_strategy.json").read_text(encoding="utf-8"))
    assert deployed["degrees"] == found["optimal"][0]["degrees"]


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], option: str) -> None:
    result = run(*command, option)
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_the_version_names_program_cost_model_and_solver() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"shardproof [0-9.]+ \(cost model shardproof-cost/2, ortools 9\.15\.6755\)\n", result.stdout)


def test_solver_threads_are_not_offered_where_no_solver_runs(tmp_path: Path) -> None:
    result = run(*SOLVING["audit"], "--out", tmp_path / "out", "--workers", "2")
    assert result.exit_code == 2
    assert "--workers" in result.stderr


@pytest.mark.parametrize(
    ("limit", "code", "status"),
    [("ttft_ns=600ms", 3, "INFEASIBLE"), ("ttft_ns=700 ms", 0, "OPTIMAL"), ("min_tokens_per_s=97000", 3, "INFEASIBLE")],
)
def test_a_field_of_an_object_that_the_file_leaves_out_can_be_set(limit: str, code: int, status: str) -> None:
    assert "limits" not in json.loads(MIXTRAL.read_text(encoding="utf-8"))["objective"]
    result = run("search", MIXTRAL, "--json", "--quiet", "--set", f"objective.limits.{limit}")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (code, status)


# Plan files


@pytest.mark.parametrize(
    ("stated", "space", "filled"),
    [
        ({"ep": 64, "tp": 2, "pp": 1}, "classic", {"cp": 1, "dp": 64, "etp": 2, "edp": 1, "replicas": 1, "microbatches": 1}),
        (FOLDED_BEST, "folded", {"cp": 1, "pp": 1, "etp": 1, "edp": 16, "replicas": 1, "microbatches": 1}),
        ({"tp": 2, "ep": 8, "edp": 8}, "folded", {"dp": 32, "etp": 1, "cp": 1, "pp": 1, "replicas": 1, "microbatches": 1}),
    ],
)
def test_missing_degrees_are_filled_in_and_named(stated: Json, space: str, filled: Json, tmp_path: Path) -> None:
    args = ("prove", REFERENCE, write(tmp_path / "p.json", {"degrees": stated}), "--space", space, "--effort", "1", "--quiet")
    found, text = json.loads(run(*args, "--json").stdout), run(*args).stdout
    assert found["plan"]["degrees"] == stated | filled | {"redundant": 0}
    assert sorted(found["filled_in"]) == sorted(filled)
    assert "filled in" in text
    assert all(re.search(rf"\b{name}\b", text) for name in filled)


def test_a_dense_model_fills_in_the_expert_side_that_its_rules_demand(tmp_path: Path) -> None:
    found = quiet_json("prove", LLAMA, write(tmp_path / "p.json", {"degrees": {"tp": 4, "dp": 2}}))
    assert (found["plan"]["degrees"]["etp"], found["plan"]["degrees"]["edp"]) == (4, 2)
    assert found["status"] == "NOT_OPTIMAL"


def test_a_complete_plan_file_has_nothing_filled_in(tmp_path: Path) -> None:
    full = json.loads(REFERENCE.read_text(encoding="utf-8"))["reference"]
    result = run("prove", REFERENCE, write(tmp_path / "p.json", full), "--quiet")
    assert result.exit_code == 0
    assert "filled in" not in result.stdout


def test_every_broken_rule_is_listed_with_its_numbers(tmp_path: Path) -> None:
    degrees = {"tp": 3, "ep": 7, "dp": 11, "pp": 17, "cp": 2, "microbatches": 5}
    args = ("prove", REFERENCE, write(tmp_path / "p.json", {"degrees": degrees}))
    broken = [(v["rule"], v["need"], v["have"]) for v in quiet_json(*args)["broken"]]
    wanted = [("heads_divide", 3, 32), ("experts_divide", 7, 64), ("layers_cover", 17, 16), ("batch_divides", 55, 128)]
    assert [w for w in wanted if w not in broken] == []
    assert "world" in [rule for rule, _, _ in broken]
    text = run(*args, "--quiet").stdout
    assert all(re.search(rf"{rule}\b.*[0-9]", text) for rule, _, _ in broken)


def test_a_plan_is_not_blamed_for_stages_and_placement_that_its_file_leaves_open(tmp_path: Path) -> None:
    found = quiet_json("prove", REFERENCE, write(tmp_path / "p.json", {"degrees": {"ep": 7, "tp": 2, "pp": 17}}))
    rules = [v["rule"] for v in found["broken"]]
    assert "slots" not in rules
    assert rules.count("layers_cover") == 1


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        ({"stages": [8, 8]}, "layers_cover"),
        ({"placement": [[[0] for _ in range(64)]] * 16}, "slots"),
        ({"order": "dp-cp-tp|etp-ep-edp"}, "space"),
    ],
)
def test_stated_stages_placement_and_order_are_held_to_the_rules(extra: Json, rule: str, tmp_path: Path) -> None:
    plan = write(tmp_path / "p.json", {"degrees": {"ep": 64, "tp": 2}} | extra)
    assert rule in [v["rule"] for v in quiet_json("prove", REFERENCE, plan)["broken"]]


# Files


@pytest.mark.parametrize("command", SOLVING)
def test_out_holds_the_result_and_is_not_overwritten_without_force(command: str, tmp_path: Path) -> None:
    args = (*SOLVING[command], "--out", tmp_path / "deep" / "out", "--quiet", "--json")
    first = run(*args)
    files = {p: p.read_bytes() for p in (tmp_path / "deep" / "out").rglob("*.json")}
    assert [f for f in files.values() if json.loads(f).get("schema") == json.loads(first.stdout)["schema"]]
    again = run(*args)
    assert (again.exit_code, again.stdout) == (2, "")
    assert re.fullmatch(r"Error: --out [^\n]*--force[^\n]*\n", again.stderr)
    assert files == {p: p.read_bytes() for p in (tmp_path / "deep" / "out").rglob("*.json")}
    assert run(*args, "--force").exit_code == first.exit_code
    assert no_leftovers(tmp_path / "deep", "out")


@pytest.mark.parametrize("command", SOLVING)
@pytest.mark.parametrize("kind", ["a file", "below a file", "a name too long"])
def test_an_out_that_cannot_be_a_folder_is_refused_in_one_sentence(command: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    out = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "x", "a name too long": tmp_path / ("x" * 300)}[kind]
    result = run(*SOLVING[command], "--out", out, "--quiet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"Error: --out [^\n]*\n", result.stderr)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "precious"
    assert no_leftovers(tmp_path, "file")


@pytest.mark.parametrize("command", SOLVING)
def test_a_full_disk_leaves_no_part_of_a_file(command: str, tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    done = spawn(*SOLVING[command], "--out", tmp_path / "out", "--quiet", preexec_fn=small_files)
    assert done.returncode == 2
    assert re.fullmatch(r"Error: --out [^\n]*\n", done.stderr)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_written_whole_is_not_written_at_all(tmp_path: Path) -> None:
    assert run(*SEARCH, "--out", tmp_path / "model", "--quiet").exit_code == 0
    *_, last = sorted(p.name for p in (tmp_path / "model").iterdir() if p.name != "search.json")
    (tmp_path / "out" / last).mkdir(parents=True)  # a folder where a file is to be
    (tmp_path / "out" / "search.json").write_text("old", encoding="utf-8")
    result = run(*SEARCH, "--out", tmp_path / "out", "--force", "--quiet")
    assert result.exit_code == 2
    assert (tmp_path / "out" / "search.json").read_text(encoding="utf-8") == "old"
    assert no_leftovers(tmp_path / "out", "search.json", last)


@pytest.mark.parametrize("command", SOLVING)
def test_files_are_as_readable_as_any_other(command: str, tmp_path: Path) -> None:
    run(*SOLVING[command], "--out", tmp_path / "out", "--quiet")
    (tmp_path / "plain").write_text("", encoding="utf-8")
    plain = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").rglob("*") if p.is_file()} == {plain}


# Batch


def _batch(tmp_path: Path, *vary: str, extra: tuple[object, ...] = (), instance: Path = LLAMA) -> tuple[Json, list[dict[str, str]], str]:
    """The JSON object, the rows of the table, and the last line of the text of a batch."""
    options = [o for v in vary for o in ("--vary", v)]
    found = json.loads(run("batch", "run", instance, *options, "--out", tmp_path / "json", "--json", "--quiet", *extra).stdout)
    text = run("batch", "run", instance, *options, "--out", tmp_path / "text", "--quiet", *extra).stdout
    with open(found["results"], encoding="utf-8", newline="") as table:
        return found, list(csv.DictReader(table)), text.rstrip("\n").splitlines()[-1]


def test_a_batch_has_one_row_per_variant_and_says_where_the_best_changes(tmp_path: Path) -> None:
    found, rows, last = _batch(tmp_path, "workload.sequences=32,64", BANDWIDTHS)
    assert (found["rows"], found["solved"], found["skipped"], found["failed"]) == (4, 4, 0, 0)
    varied = [(r["workload.sequences"], r["cluster.scale_up.bandwidth_bytes_per_s"]) for r in rows]
    assert varied == [("32", "445 GB/s"), ("32", "20 GB/s"), ("64", "445 GB/s"), ("64", "20 GB/s")]
    assert "445 GB/s" in last
    assert "20 GB/s" in last
    assert "TP8" in last
    assert "TP4" in last


def test_a_batch_row_is_what_search_says(tmp_path: Path) -> None:
    _, rows, _ = _batch(tmp_path, "workload.sequences=32,64")
    for row in rows:
        found = quiet_json("search", LLAMA, "--set", f"workload.sequences={row['workload.sequences']}")
        assert row["status"] == found["status"]
        assert int(row["value"]) == found["objective"]["value"]
        assert int(row["step_ns"]) == found["optimal"][0]["metrics"]["step_ns"]


def test_a_batch_whose_best_strategy_never_changes_says_so(tmp_path: Path) -> None:
    _, _, last = _batch(tmp_path, "cluster.scale_out.latency_ns=5 us,6 us")
    assert "same" in last


def test_an_invalid_variant_is_a_row_with_its_sentence(tmp_path: Path) -> None:
    vary = "cluster.accelerator.memory_bytes=81559 MiB,lots,8 GB"
    found, rows, last = _batch(tmp_path, vary)
    assert (found["rows"], found["solved"], found["failed"]) == (3, 2, 1)
    assert "memory_bytes" in rows[1]["error"]
    assert "lots" in rows[1]["error"]
    assert [bool(r["error"]) for r in rows] == [False, True, False]
    assert rows[2]["status"] == "INFEASIBLE"
    assert re.search(r"= 81559 MiB and 8 GB, from EP1 TP8 PP1 ETP8 to nothing \(infeasible\)\.", last)
    assert last.endswith("Not compared: cluster.accelerator.memory_bytes = lots (failed).")
    args = ("batch", "run", LLAMA, "--vary", vary, "--quiet")
    assert run(*args, "--out", tmp_path / "lenient").exit_code == 0
    assert run(*args, "--out", tmp_path / "strict", "--strict").exit_code == 4


def test_figures_of_the_table_stay_whole_numbers_beside_a_row_that_has_none(tmp_path: Path) -> None:
    found, rows, _ = _batch(tmp_path, "cluster.accelerator.memory_bytes=81559 MiB,8 GB,lots")
    assert f" {rows[0]['value']} " in found["table"]
    assert not re.search(r"[0-9]\.0\b|NaN|None", found["table"])
    whole = [rows[0][c] for c in ("value", "bound", "strategies", "tp", "step_ns", "tokens_per_s", "memory_mib_per_gpu")]
    assert all(re.fullmatch("[0-9]+", figure) for figure in whole), whole


def test_a_column_is_headed_by_the_shortest_path_that_names_one_field(tmp_path: Path) -> None:
    found, _, _ = _batch(tmp_path, "space.name=classic,folded", "cluster.scale_up.latency_ns=3 us", "workload.sequences=32")
    assert found["table"].split()[:3] == ["space.name", "scale_up.latency_ns", "sequences"]


def test_a_row_that_failed_is_no_change_of_the_best_strategy(tmp_path: Path) -> None:
    _, _, last = _batch(tmp_path, "cluster.scale_out.latency_ns=5 us,lots,6 us")
    assert "is the same for every value of cluster.scale_out.latency_ns compared." in last
    assert "nothing" not in last
    assert "lots (failed)" in last


def test_strict_is_content_when_every_row_was_solved(tmp_path: Path) -> None:
    assert run(*BATCH, "--out", tmp_path / "out", "--strict").exit_code == 0


def test_a_batch_in_which_every_row_failed_names_no_best_strategy(tmp_path: Path) -> None:
    found, _, last = _batch(tmp_path, "workload.sequences=0,-1")
    assert (found["solved"], found["failed"]) == (0, 2)
    assert "best strategy is the same" not in last


def test_resume_skips_what_was_solved_and_gives_the_same_table(tmp_path: Path) -> None:
    args = (*BATCH, "--out", tmp_path / "out", "--json", "--quiet")
    first = json.loads(run(*args).stdout)
    table = Path(first["results"]).read_bytes()
    again = json.loads(run(*args, "--resume").stdout)
    assert (first["solved"], first["skipped"]) == (2, 0)
    assert (again["solved"], again["skipped"]) == (0, 2)
    assert Path(first["results"]).read_bytes() == table
    other = json.loads(run(*args, "--resume", "--effort", "5").stdout)
    assert (other["solved"], other["skipped"]) == (2, 0)


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", "\x00"])
def test_resume_survives_a_damaged_row(damage: str, tmp_path: Path) -> None:
    args = (*BATCH, "--out", tmp_path / "out", "--json", "--quiet")
    before = json.loads(run(*args).stdout)
    table = Path(before["results"]).read_bytes()
    with sqlite3.connect(tmp_path / "out" / "journal.sqlite") as store:
        store.execute("UPDATE rows SET row = ? WHERE key = (SELECT min(key) FROM rows)", (damage,))
    store.close()
    after = json.loads(run(*args, "--resume").stdout)
    assert (after["solved"], after["skipped"]) == (1, 1)
    assert Path(before["results"]).read_bytes() == table


@pytest.mark.parametrize("names", [["results.csv"], ["notes.txt", "batch.json"]])
def test_resume_does_not_overwrite_the_files_of_something_else(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in names:
        (tmp_path / "out" / name).write_text("precious", encoding="utf-8")
    result = run(*BATCH, "--out", tmp_path / "out", "--resume")
    assert result.exit_code == 2
    assert {(tmp_path / "out" / n).read_text(encoding="utf-8") for n in names} == {"precious"}


# Schema, doctor, entry points


def _accepts(schema: Json, value: Any, top: Json) -> bool:
    """Whether a JSON Schema (the part of it that we use) accepts a value."""
    if "$ref" in schema:
        return _accepts(top["$defs"][schema["$ref"].rpartition("/")[2]], value, top)
    several = schema.get("anyOf") or schema.get("oneOf")
    if several:
        return any(_accepts(s, value, top) for s in several)
    kinds: dict[str, type | tuple[type, ...]] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    kind = schema.get("type")
    tests: list[Callable[[], bool]] = [
        lambda: "const" not in schema or value == schema["const"],
        lambda: "enum" not in schema or value in schema["enum"],
        lambda: kind not in kinds or isinstance(value, kinds[kind]),
        lambda: kind not in ("integer", "number") or (isinstance(value, int) and not isinstance(value, bool)),
        lambda: kind != "integer" or schema.get("minimum", value) <= value <= schema.get("maximum", value),
        lambda: kind != "string" or re.search(schema.get("pattern", ""), value) is not None,
        lambda: kind not in ("string", "array") or len(value) <= schema.get("maxLength", schema.get("maxItems", len(value))),
        lambda: kind != "array" or all(_accepts(schema["items"], v, top) for v in value),
        lambda: kind != "object" or _accepts_object(schema, value, top),
    ]
    return all(test() for test in tests)


def _accepts_object(schema: Json, value: Json, top: Json) -> bool:
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    if not set(schema.get("required", ())) <= set(value):
        return False
    known = all(_accepts(properties[k], v, top) for k, v in value.items() if k in properties)
    other = [v for k, v in value.items() if k not in properties]
    return known and (all(_accepts(rest, v, top) for v in other) if isinstance(rest, dict) else rest or not other)


def _files(name: str) -> list[Path]:
    kind = {"plan": ".plan.json", "claims": ".claims.json"}.get(name)
    if kind:
        return sorted(INSTANCES.glob("*" + kind))
    written = [p for p in sorted(INSTANCES.glob("*.json")) if "shardproof-instance/" in p.read_text(encoding="utf-8")[:100]]
    return [p for p in written if p.stem.endswith("_serving") == (name == "service")]


@pytest.mark.parametrize("name", ["instance", "service", "plan", "claims"])
def test_the_schema_accepts_our_files_and_refuses_a_misspelt_field(name: str) -> None:
    schema = json.loads(run("schema", name).stdout)
    assert schema["type"] == "object"
    assert _files(name)
    for path in _files(name):
        value = json.loads(path.read_text(encoding="utf-8"))
        assert _accepts(schema, value, schema), path
        assert not _accepts(schema, value | {"nmae": "x"}, schema)
        field = schema["required"][0]
        assert not _accepts(schema, {k: v for k, v in value.items() if k != field}, schema)


@pytest.mark.parametrize("name", ["instance", "plan", "claims"])
def test_every_reference_in_a_schema_resolves(name: str) -> None:
    text = run("schema", name).stdout
    defined = json.loads(text).get("$defs", {})
    assert set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', text)) <= set(defined)


@pytest.mark.parametrize("unit", ["GB", "GiB", "GB/s", "TFLOP/s", "us", "%", "USD/h"])
def test_the_instance_schema_states_the_units(unit: str) -> None:
    assert re.search(rf"\b{unit}" if unit != "%" else unit, run("schema", "instance").stdout)


def test_doctor_finds_this_installation_sound() -> None:
    result = run("doctor", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found.keys() >= COMMON
    assert found["status"] == "OK"
    assert found["assumptions"]
    assert re.fullmatch("[0-9a-f]{64}", found["instance"]["sha256"])
    assert "9.15.6755" in run("doctor").stdout


def test_the_module_and_the_script_do_the_same() -> None:
    script = Path(sys.executable).parent / "shardproof"
    if not script.exists():
        pytest.skip("shardproof is not installed as a script beside this interpreter")
    args = ["search", str(LLAMA), "--quiet"]
    done = subprocess.run([script, *args], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, spawn(*args).stdout)
    assert "OPTIMAL" in done.stdout


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, optimizer.cli; print(sorted({'pydantic', 'ortools', 'pandas', 'numpy', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
