"""`batch run` and `batch merge`: what the rows say, which variants there are, and that parts make the whole.

Where processes do not matter, this process plays their part (`Here`); `test_batch_survives.py` looks at the processes.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml
from typer.testing import CliRunner

from optimizer.batching.solver import Job, Solved, Solver, Task
from optimizer.cli import app

ROOT = Path(__file__).resolve().parent.parent
LLAMA, MIXTRAL, REFERENCE, TIGHT = (
    ROOT / "instances" / f"{name}.json" for name in ("llama70b_8gpu", "mixtral8x7b_8gpu", "ep64_tp2_128gpu", "llama70b_8gpu_tight")
)
BANDWIDTH = "cluster.scale_up.bandwidth_bytes_per_s"
GRID = ("--vary", f"{BANDWIDTH}=445,100,20 GB/s", "--vary", "workload.sequences=64,-1,7")
COLUMNS = re.findall(
    r"\w+",
    """status best tp cp dp pp etp ep edp replicas microbatches redundant order objective value bound gap_ppm strategies
    optimal_strategies optimal step_ns tokens_per_s tokens_per_s_per_gpu gpus memory_mib_per_gpu memory_pct scale_up_bytes_per_gpu
    scale_out_bytes_per_gpu uusd_per_million_tokens reference reference_value reference_excess reference_excess_pct reproducible
    instance_sha256 certificate_sha256 error""",
)

Json = dict[str, Any]
Table = list[dict[str, str]]


class Here:
    """The part of the processes that solve, played by this one."""

    def __init__(self, job: Job, _workers: int) -> None:
        self.solver = Solver(job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def solve(self, groups: Sequence[Sequence[Task]]) -> Iterator[Solved]:
        return (self.solver.solve(task) for group in groups for task in group)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants are solved in this process."""
    for module in ("run", "probes"):
        monkeypatch.setattr(f"optimizer.batching.{module}.Crew", Here)


def run(*args: object) -> Any:
    """The command in this process; an exception that is not an exit fails the test."""
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def batch(instance: Path, out: Path, *args: object, code: int = 0) -> Json:
    """The JSON of `batch run`."""
    result = run("batch", "run", instance, "--out", out, "--json", "--quiet", "--workers", 1, *args)
    assert result.exit_code == code, result.stderr
    found: Json = json.loads(result.stdout)
    return found


def refused(*args: object) -> str:
    """The one sentence with which a command refuses."""
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    said: str = result.stderr
    assert said.count("\n") == 1, said
    assert said.startswith("Error: "), said
    return said


def table(folder: Path) -> Table:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def said(value: object) -> str:
    """As a table shows it."""
    return "" if value is None else str(value)


@cache
def searched(instance: Path, *args: object) -> Json:
    """The JSON of `search` with no tolerance."""
    found: Json = json.loads(run("search", instance, "--epsilon", 0, "--json", "--quiet", *args).stdout)
    return found


def as_row(found: Json) -> dict[str, str]:
    """What a row must hold if `search` says so."""
    objective, optimal = found["objective"], found["optimal"]
    row = dict.fromkeys(COLUMNS, "") | {
        "status": found["status"],
        "objective": objective["name"],
        "value": said(objective["value"]),
        "bound": said(objective["bound"]),
        "gap_ppm": said(found["gap_ppm"]),
        "strategies": said(found["space"]["strategies"]),
        "optimal_strategies": str(len(optimal)),
        "optimal": " | ".join(plan["label"] for plan in optimal),
        "reproducible": said(found["reproducible"]),
        "instance_sha256": found["instance"]["sha256"],
    }
    if optimal:
        best, metrics = optimal[0], optimal[0]["metrics"]
        row |= {"best": best["label"], "order": best["order"]} | {k: said(v) for k, v in best["degrees"].items()}
        row |= {name: said(metrics.get(name)) for name in COLUMNS[COLUMNS.index("step_ns") : COLUMNS.index("reference")]}
    if (reference := found["reference"]) is not None:
        row |= {
            "reference": reference["standing"],
            "reference_value": said(reference.get("value")),
            "reference_excess": said(reference.get("excess")),
            "reference_excess_pct": said(reference.get("excess_pct")),
        }
    return row


# Rows

SKEW = json.dumps({"counts": [[900, 50, 400, 10, 10, 300, 20, 20]], "source": "assumed: skewed"})
PRICED = ("--set", "cluster.pools.0.price_uusd_per_gpu_hour=2500000")
SAME_AS_SEARCH = {
    "dense decode, ties": (LLAMA, {BANDWIDTH: ["445 GB/s", "20 GB/s"], "workload.sequences": ["64", "7"]}, ()),
    "experts, prefill": (MIXTRAL, {BANDWIDTH: ["20 GB/s", "2.040618895 GB/s"], "workload.tokens_per_sequence": ["16", "2048"]}, ()),
    "classic on 128": (REFERENCE, {"cluster.scale_out.bandwidth_bytes_per_s": ["50 GB/s", "1 GB/s"]}, ()),
    "folded on 128": (REFERENCE, {"workload.sequences": ["128"]}, ("--space", "folded")),
    "skewed": (MIXTRAL, {"expert_load": [SKEW, "null"], "space.redundant_slots": ["[0]", "[1]"]}, ("--set", "space.pp=[1]")),
    "nothing fits": (LLAMA, {"cluster.accelerator.memory_bytes": ["10 GB", "32.67213439 GB", "32.6721344 GB"]}, ()),
    "limits": (TIGHT, {"objective.limits.tpot_ns": ["1 ms", "20 ms", "50 ms"]}, ()),
    "caps": (REFERENCE, {"cluster.scale_out.cap_bytes_per_pass": ["1 B", "100 GB"]}, ("--space", "classic")),
    "throughput": (LLAMA, {"objective.limits.min_tokens_per_s": ["1000", "3000", "100000"]}, ("--objective", "throughput")),
    "per GPU": (MIXTRAL, {"cluster.nodes": ["1", "2"]}, ("--objective", "throughput_per_gpu", "--set", "space.pp=[1]")),
    "cost": (LLAMA, {"cluster.accelerator.hbm_bytes_per_s": ["3.35 TB/s", "1 TB/s"]}, ("--objective", "cost", *PRICED)),
    "fewest GPUs": (LLAMA, {"cluster.accelerator": ["H100", "H200"]}, ("--objective", "gpus", "--set", "objective.limits.tpot_ns=60ms")),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", SAME_AS_SEARCH)
def test_a_row_is_what_search_says_of_the_same_settings(name: str, tmp_path: Path) -> None:
    instance, fields, more = SAME_AS_SEARCH[name]
    vary = [word for path, values in fields.items() for word in ("--vary", f"{path}={','.join(values)}")]
    counts = batch(instance, tmp_path / "b", *vary, *more)
    settings: list[list[tuple[str, str]]] = [[]]
    for path, values in fields.items():
        settings = [[*sofar, (path, value)] for sofar in settings for value in values]
    rows = table(tmp_path / "b")
    assert len(rows) == len(settings) == counts["rows"] == counts["solved"]
    assert counts["proved"] == sum(row["status"] in ("OPTIMAL", "INFEASIBLE") for row in rows)
    for number, (row, wanted) in enumerate(zip(rows, settings, strict=True)):
        sets = [word for path, value in wanted for word in ("--set", f"{path}={value}")]
        expected = as_row(searched(instance, *more, *sets))
        assert list(row) == ["variant", *fields, *COLUMNS]
        assert row.pop("variant") == str(number + 1)
        assert [(path, row.pop(path)) for path in fields] == wanted
        assert re.fullmatch("[0-9a-f]{64}", row["certificate_sha256"])
        assert row | {"certificate_sha256": ""} == expected


def test_variants_that_are_no_instance_become_rows_with_a_sentence(tmp_path: Path) -> None:
    args = ("batch", "run", LLAMA, *GRID, "--workers", 2)
    result = run(*args, "--out", tmp_path / "b")
    assert result.exit_code == 0
    assert "9 rows, 6 proved: 6 solved, 0 kept from before, 3 failed" in result.stdout
    rows = table(tmp_path / "b")
    assert [(row[BANDWIDTH], row["workload.sequences"]) for row in rows] == [
        (b, s) for b in ("445 GB/s", "100 GB/s", "20 GB/s") for s in ("64", "-1", "7")
    ]
    for row in rows:
        bad = row["workload.sequences"] == "-1"
        assert (row["status"] == "FAILED") == bad
        assert bool(row["error"]) == bad
        if bad:
            assert re.search(r"llama70b_8gpu\.json: workload\.sequences: .*got -1; correct it", row["error"])
            assert not any(row[name] for name in COLUMNS if name not in ("status", "error"))
    strict = run(*args, "--out", tmp_path / "b", "--resume", "--strict", "--json", "--quiet")
    counts = json.loads(strict.stdout)
    assert (strict.exit_code, strict.stderr) == (4, "")
    assert [counts[k] for k in ("rows", "proved", "solved", "skipped", "failed", "missing")] == [9, 6, 0, 6, 3, 0]
    assert counts["status"] == "DONE"


@pytest.mark.usefixtures("here")
def test_strict_forgives_what_is_proved_infeasible_and_what_is_only_not_proved(tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "a", "--vary", "cluster.accelerator.memory_bytes=1,10 GB", "--strict")
    assert {row["status"] for row in table(tmp_path / "a")} == {"INFEASIBLE"}
    counts = batch(REFERENCE, tmp_path / "b", "--vary", "workload.sequences=128,64", "--space", "folded", "--effort", 1, "--strict")
    rows = table(tmp_path / "b")
    assert {row["status"] for row in rows} <= {"FEASIBLE", "UNKNOWN"}
    assert {row["reproducible"] for row in rows} == {"True"}
    assert (counts["proved"], counts["solved"], counts["failed"]) == (0, 2, 0)


@pytest.mark.usefixtures("here")
def test_a_row_that_the_clock_cuts_short_says_so_and_claims_no_more_than_it_knows(tmp_path: Path) -> None:
    batch(REFERENCE, tmp_path / "b", "--vary", "workload.sequences=128", "--space", "folded", "--seconds", 0.02)
    (row,) = table(tmp_path / "b")
    assert row["status"] in ("FEASIBLE", "UNKNOWN")
    assert row["reproducible"] == "False"
    best = searched(REFERENCE, "--space", "folded", "--set", "workload.sequences=128")["objective"]["value"]
    assert not row["bound"] or int(row["bound"]) <= best
    assert not row["value"] or int(row["value"]) >= best
    assert row["reference"] != "optimal"


# Which variants


@pytest.mark.usefixtures("here")
def test_a_dry_run_lists_what_a_run_would_solve_and_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dry = json.loads(run("batch", "run", LLAMA, *GRID, "--dry-run", "--out", "never", "--json", "--quiet").stdout)
    assert (dry["schema"], dry["status"]) == ("shardproof/batch/1", "LISTED")
    assert (dry["variants"], dry["valid"], dry["invalid"]) == (9, 6, 3)
    text = run("batch", "run", LLAMA, *GRID, "--dry-run")
    assert text.exit_code == 0
    assert not any(tmp_path.iterdir())
    assert text.stdout.splitlines()[-1] == "9 variants: 6 valid, 3 invalid; nothing was solved"
    batch(LLAMA, tmp_path / "b", *GRID)
    rows, lines = table(tmp_path / "b"), text.stdout.splitlines()
    assert len(lines) == len(rows) + 2
    for row, listed, line in zip(rows, dry["list"], lines[: len(rows)], strict=True):
        assert {k: said(v) for k, v in listed.items()} == {k: row[k] for k in ("variant", BANDWIDTH, "workload.sequences", "error")}
        assert all(word in line for word in (row["variant"], row[BANDWIDTH], row["error"]))
        assert ("INVALID" in line) == bool(row["error"])


RANGES = {
    "workload.sequences=4..10:+3": ["4", "7", "10"],
    "workload.sequences=1..5:*2": ["1", "2", "4"],
    "workload.sequences=9..5:-2,1": ["9", "7", "5", "1"],
    f"{BANDWIDTH}=10..30 GB/s:+10": ["10 GB/s", "20 GB/s", "30 GB/s"],
    "cluster.accelerator.memory_bytes=80,141 GB": ["80 GB", "141 GB"],
    "space.tp=[1,2],[8]": ["[1,2]", "[8]"],
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("vary", RANGES)
def test_ranges_and_lists_end_to_end(vary: str, tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", "--vary", vary)
    rows, path = table(tmp_path / "b"), vary.partition("=")[0]
    assert [row[path] for row in rows] == RANGES[vary]
    assert len({row["instance_sha256"] for row in rows}) == len(rows)
    last = searched(LLAMA, "--set", f"{path}={RANGES[vary][-1]}")
    assert rows[-1]["instance_sha256"] == last["instance"]["sha256"]


@pytest.mark.usefixtures("here")
def test_fields_go_together_and_cross_with_the_others(tmp_path: Path) -> None:
    together = "cluster.nodes=1,2; workload.sequences=64,128"
    batch(LLAMA, tmp_path / "b", "--vary", together, "--vary", f"{BANDWIDTH}=20,445 GB/s")
    rows = table(tmp_path / "b")
    fields = ("cluster.nodes", "workload.sequences", BANDWIDTH)
    assert [tuple(row[f] for f in fields) for row in rows] == [
        ("1", "64", "20 GB/s"),
        ("1", "64", "445 GB/s"),
        ("2", "128", "20 GB/s"),
        ("2", "128", "445 GB/s"),
    ]
    assert list(rows[0])[1:4] == list(fields)
    sets = [word for f in fields for word in ("--set", f"{f}={rows[2][f]}")]
    assert rows[2]["value"] == str(searched(LLAMA, *sets)["objective"]["value"])


SCENARIOS: Json = {
    "chat": {"workload.sequences": 32, BANDWIDTH: "20 GB/s"},
    'long, "very" long': {"workload.context_tokens": 8192},
    "as it is": {},
    "no such": {"workload.sequences": -3},
}


@pytest.mark.usefixtures("here")
def test_scenarios_are_the_same_in_every_format(tmp_path: Path) -> None:
    columns = ["scenario", "workload.sequences", BANDWIDTH, "workload.context_tokens"]
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([name, *(said(row.get(path)) for path in columns[1:])] for name, row in SCENARIOS.items())
    listed = [{"scenario": name, **row} for name, row in SCENARIOS.items()]
    files = {"a.csv": text.getvalue(), "b.json": json.dumps(SCENARIOS), "c.yaml": yaml.safe_dump(SCENARIOS, sort_keys=False)}
    files |= {"d.json": json.dumps(listed), "e.yml": yaml.safe_dump(listed, sort_keys=False)}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        batch(LLAMA, tmp_path / name[0], "--variants", tmp_path / name)
    rows = table(tmp_path / "a")
    assert [row["scenario"] for row in rows] == list(SCENARIOS)
    assert list(rows[0]) == ["variant", *columns, *COLUMNS]
    assert [row["status"] for row in rows] == ["OPTIMAL", "OPTIMAL", "OPTIMAL", "FAILED"]
    plain = searched(LLAMA)
    assert rows[2] | {"certificate_sha256": ""} == {"variant": "3", **dict.fromkeys(columns, ""), "scenario": "as it is"} | as_row(plain)
    assert rows[0]["value"] == str(searched(LLAMA, "--set", "workload.sequences=32", "--set", f"{BANDWIDTH}=20 GB/s")["objective"]["value"])
    assert {(tmp_path / name[0] / "results.csv").read_bytes() for name in files} == {(tmp_path / "a" / "results.csv").read_bytes()}


@pytest.mark.usefixtures("here")
def test_scenarios_cross_with_fields_and_the_file_is_outermost(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(f"{BANDWIDTH},scenario\n20 GB/s,slow\n445 GB/s,fast\n", encoding="utf-8")
    batch(LLAMA, tmp_path / "b", "--variants", tmp_path / "v.csv", "--vary", "workload.sequences=8,16")
    found = [(row["scenario"], row[BANDWIDTH], row["workload.sequences"]) for row in table(tmp_path / "b")]
    assert found == [("slow", "20 GB/s", "8"), ("slow", "20 GB/s", "16"), ("fast", "445 GB/s", "8"), ("fast", "445 GB/s", "16")]


@pytest.mark.usefixtures("here")
def test_names_of_the_catalogue_and_files_stand_for_records(tmp_path: Path) -> None:
    instance = json.loads(LLAMA.read_text(encoding="utf-8"))
    for name, part in (("inst.json", instance), ("m.json", instance["architecture"] | {"name": "mine"})):
        (tmp_path / name).write_text(json.dumps(part), encoding="utf-8")
    for sequences in (3, 5):
        (tmp_path / f"w{sequences}.json").write_text(json.dumps(instance["workload"] | {"sequences": sequences}), encoding="utf-8")
    accelerators, models = ["H100", "H200", "B200", "no such thing"], ["Llama-3.1-8B", "m.json"]
    batch(tmp_path / "inst.json", tmp_path / "a", "--vary", f"cluster.accelerator={','.join(accelerators)}")
    rows = table(tmp_path / "a")
    assert [row["cluster.accelerator"] for row in rows] == accelerators
    assert [row["status"] for row in rows] == ["OPTIMAL"] * 3 + ["FAILED"]
    assert "no such thing" in rows[3]["error"]
    for row in rows[:3]:
        expected = searched(tmp_path / "inst.json", "--set", f"cluster.accelerator={row['cluster.accelerator']}")
        assert row["instance_sha256"] == expected["instance"]["sha256"]
        assert row["value"] == str(expected["objective"]["value"])
    files = [f"@{tmp_path}/w3.json", f"@{tmp_path}/w5.json"]
    batch(tmp_path / "inst.json", tmp_path / "b", "--vary", f"architecture={','.join(models)}", "--vary", f"workload={','.join(files)}")
    rows = table(tmp_path / "b")
    assert [(row["architecture"], row["workload"]) for row in rows] == [(m, w) for m in models for w in files]
    for row, sequences in zip(rows, (3, 5, 3, 5), strict=True):
        expected = searched(
            tmp_path / "inst.json", "--set", f"architecture={row['architecture']}", "--set", f"workload.sequences={sequences}"
        )
        assert row["value"] == str(expected["objective"]["value"])
    assert rows[2]["value"] == str(searched(LLAMA, "--set", "workload.sequences=3")["objective"]["value"])


@pytest.mark.usefixtures("here")
def test_set_space_and_objective_hold_for_all_variants_and_vary_wins(tmp_path: Path) -> None:
    more = (
        "--set",
        "workload.sequences=5",
        "--set",
        "workload.context_tokens=512",
        "--space",
        "folded",
        "--objective",
        "throughput_per_gpu",
    )
    batch(LLAMA, tmp_path / "b", "--vary", "workload.sequences=9,10", *more)
    for row in table(tmp_path / "b"):
        sets = ("--set", "workload.context_tokens=512", "--set", f"workload.sequences={row['workload.sequences']}")
        expected = searched(LLAMA, *sets, "--objective", "throughput_per_gpu")
        assert (row["value"], row["optimal"]) == (str(expected["objective"]["value"]), as_row(expected)["optimal"])


@pytest.mark.parametrize(
    ("args", "naming"),
    [
        ((), "--vary"),
        (("--vary", "workload.sequences=1"), "--out"),
        (("--vary", "workload.sequences=", "--out", "o"), "workload.sequences"),
        (("--vary", "workload.colour=1,2", "--out", "o"), "workload.colour"),
        (("--vary", "workload.sequences=1,1", "--out", "o"), "twice"),
        (("--vary", "workload.sequences=1..9:+0", "--out", "o"), "step"),
        (("--vary", "workload.sequences=1,2; cluster.nodes=1", "--out", "o"), "cluster.nodes has 1"),
        (("--vary", "workload.sequences=1..1000000:+1", "--out", "o"), "100000"),
        (("--vary", "workload=@nothing.json", "--out", "o"), "nothing.json"),
        (("--variants", "nothing.csv", "--out", "o"), "nothing.csv"),
        (("--variants", "bad.csv", "--out", "o"), "line 2"),
        (("--variants", "empty.json", "--out", "o"), "empty.json"),
        (("--vary", "workload.sequences=1", "--executor", "slurm", "--out", "o"), "local, ray"),
        (("--vary", "workload.sequences=1", "--objective", "beauty", "--out", "o"), "objective.name"),
        (("--vary", "workload.sequences=1", "--out", "bad.csv"), "not a folder"),
        (("--vary", "workload.sequences=1", "--out", "full"), "--force"),
        (("--vary", "workload.sequences=1", "--out", "full", "--resume"), "--force"),
        *(
            (("--vary", "workload.sequences=1,2", "--out", "o", "--shard", text), "--shard")
            for text in ("0/2", "3/2", "1", "1/", "/2", "1/0", "-1/2", "1/2/3", "a/b", "1.0/2", "1/1000000000", "\u0661/2 ", "")
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_one_sentence(
    args: tuple[str, ...], naming: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "bad.csv").write_text("workload.sequences,cluster.nodes\n1,2,3\n", encoding="utf-8")
    (tmp_path / "empty.json").write_text("[]", encoding="utf-8")
    before = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    assert naming in refused("batch", "run", LLAMA, *args)
    assert before == {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}


# What is printed


@pytest.mark.usefixtures("here")
def test_json_is_one_object_that_only_the_clock_changes(tmp_path: Path) -> None:
    args = ("batch", "run", LLAMA, *GRID, "--out", tmp_path / "b", "--force", "--workers", 1)
    texts = [run(*args, "--json", *quiet) for quiet in ((), ("--quiet",))]
    assert texts[0].stderr
    assert texts[1].stderr == ""
    found = [json.loads(text.stdout) for text in texts]
    assert {"schema", "status", "tool", "instance", "assumptions", "seconds", "rows", "solved", "skipped", "failed", "results"} <= found[
        0
    ].keys()
    assert found[0]["schema"] == "shardproof/batch/1"
    assert Path(found[0]["results"]).read_bytes() == (tmp_path / "b" / "results.csv").read_bytes()
    seconds = [f'"seconds": {one.pop("seconds")}' for one in found]
    assert found[0] == found[1]
    assert texts[0].stdout.replace(seconds[0], "") == texts[1].stdout.replace(seconds[1], "")
    record = json.loads((tmp_path / "b" / "batch.json").read_text(encoding="utf-8"))
    assert found[1].items() <= record.items()


@pytest.mark.usefixtures("here")
def test_progress_says_how_many_at_which_rate_and_how_long_it_will_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.batching.run.SAY_EVERY_S", 0.0)
    result = run("batch", "run", LLAMA, *GRID, "--out", tmp_path / "b")
    lines = result.stderr.splitlines()
    assert len(lines) == 9
    for number, line in enumerate(lines[:-1], start=1):
        assert re.fullmatch(rf"\[ *\d+\.\d s\] {number}/9 rows, \d+\.\d rows/s, \d+ s left(, \d failed)?", line), line
    assert re.fullmatch(r"\[ *\d+\.\d s\] 9/9 rows, \d+\.\d rows/s, 3 failed", lines[-1])


@pytest.mark.usefixtures("here")
def test_the_verdict_names_where_the_best_changes_and_what_was_not_compared(tmp_path: Path) -> None:
    result = run("batch", "run", LLAMA, "--vary", f"{BANDWIDTH}=445,20 GB/s", "--out", tmp_path / "a", "--quiet")
    assert result.stdout.splitlines()[-1] == (
        f"The best strategy changes between {BANDWIDTH} = 445 GB/s and 20 GB/s, from EP1 TP8 PP1 ETP8 to EP1 TP4 PP1 DP2 ETP4 EDP2."
    )
    assert "Not compared" in batch(LLAMA, tmp_path / "b", *GRID)["verdict"]


# Tables


@pytest.mark.usefixtures("here")
def test_parquet_holds_what_the_csv_says_with_numbers_as_numbers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, an optional extra")
    batch(LLAMA, tmp_path / "b", *GRID, "--vary", "cluster.accelerator.memory_bytes=10,80 GB")
    found, rows = parquet.read_table(tmp_path / "b" / "results.parquet"), table(tmp_path / "b")
    assert found.column_names == list(rows[0])
    for ours, theirs in zip(found.to_pylist(), rows, strict=True):
        assert {k: said(v) for k, v in ours.items()} == theirs
    kinds = {field.name: str(field.type) for field in found.schema}
    numbers = ("variant", "tp", "redundant", "value", "bound", "gap_ppm", "strategies", "step_ns", "memory_mib_per_gpu", "reference_excess")
    assert {kinds[name] for name in numbers} == {"int64"}
    assert {kinds[name] for name in ("memory_pct", "reference_excess_pct")} == {"double"}
    assert {kinds[name].removeprefix("large_") for name in ("status", "best", "optimal", BANDWIDTH, "certificate_sha256", "error")} == {
        "string"
    }
    assert kinds["reproducible"] == "bool"


# Parts


def in_parts(parts: int, folder: Path, *args: object) -> list[Path]:
    """The folders of a batch's shards."""
    for number in range(1, parts + 1):
        found = batch(LLAMA, folder / f"{number}of{parts}", *args, "--shard", f"{number}/{parts}")
        assert found["shard"] == f"{number}/{parts}"
    return [folder / f"{number}of{parts}" for number in range(1, parts + 1)]


@pytest.fixture
def whole(here: None, tmp_path: Path) -> Path:  # noqa: ARG001 (asked for what it sets up)
    """The batch of `GRID` in one run."""
    batch(LLAMA, tmp_path / "whole", *GRID)
    return tmp_path / "whole"


@pytest.mark.parametrize("parts", [1, 2, 5, 7, 11])
def test_parts_make_the_whole(parts: int, whole: Path, tmp_path: Path) -> None:
    folders = in_parts(parts, tmp_path, *GRID)
    variants = [row["variant"] for folder in folders for row in table(folder)]
    assert sorted(variants, key=int) == [row["variant"] for row in table(whole)], "each variant in exactly one part"
    assert max(len(table(f)) for f in folders) - min(len(table(f)) for f in folders) <= 1
    result = run("batch", "merge", *folders[::-1], "--out", tmp_path / "m", "--json")
    found, single = json.loads(result.stdout), json.loads((whole / "batch.json").read_text(encoding="utf-8"))
    assert result.exit_code == 0
    assert (tmp_path / "m" / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    assert [found[k] for k in ("status", "rows", "proved", "failed", "missing")] == ["DONE", 9, 6, 3, 0]
    assert [found[k] for k in ("table", "verdict")] == [single[k] for k in ("table", "verdict")]
    assert run("batch", "merge", *folders, "--out", tmp_path / "s", "--strict").exit_code == 4


def test_missing_parts_are_counted_and_can_come_later(whole: Path, tmp_path: Path) -> None:
    folders = in_parts(3, tmp_path, *GRID)
    result = run("batch", "merge", folders[0], folders[2], "--out", tmp_path / "m")
    assert result.exit_code == 4
    assert "6 rows," in result.stdout
    assert "3 missing" in result.stdout
    assert len(table(tmp_path / "m")) == 6
    assert "is not empty" in refused("batch", "merge", *folders, "--out", tmp_path / "m")
    assert run("batch", "merge", tmp_path / "m", folders[1], "--out", tmp_path / "n").exit_code == 0, "merged folders merge on"
    assert (tmp_path / "n" / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    assert run("batch", "merge", *folders, "--out", tmp_path / "m", "--force").exit_code == 0
    assert (tmp_path / "m" / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def test_a_merged_batch_can_be_gone_on_with(whole: Path, tmp_path: Path) -> None:
    folders = in_parts(3, tmp_path, *GRID)
    run("batch", "merge", *folders[:2], "--out", tmp_path / "m")
    found = batch(LLAMA, tmp_path / "m", *GRID, "--resume")
    assert found["solved"] == sum(row["status"] == "OPTIMAL" for row in table(folders[2])) > 0
    assert found["skipped"] == 6 - found["solved"]
    assert (tmp_path / "m" / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def test_parts_of_other_sizes_overlap_without_harm(whole: Path, tmp_path: Path) -> None:
    folders = [*in_parts(2, tmp_path, *GRID), *in_parts(3, tmp_path, *GRID)[1:], whole]
    assert run("batch", "merge", *folders, "--out", tmp_path / "m").exit_code == 0
    assert (tmp_path / "m" / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def test_what_one_part_failed_at_another_may_have_solved(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dies(Here):
        def solve(self, groups: Sequence[Sequence[Task]]) -> Iterator[Solved]:
            for found in super().solve(groups):
                dead = Solved(found.number, None, {"status": "FAILED", "error": "the process that solved it died twice"}, None)
                yield dead if found.number in (0, 3) else found

    monkeypatch.setattr("optimizer.batching.run.Crew", Dies)
    assert batch(LLAMA, tmp_path / "dead", *GRID)["failed"] == 5
    for order in ((whole, tmp_path / "dead"), (tmp_path / "dead", whole)):
        assert run("batch", "merge", *order, "--out", tmp_path / "m", "--force").exit_code == 0
        assert (tmp_path / "m" / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


OTHERS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "other values": lambda _: (LLAMA, "--vary", f"{BANDWIDTH}=445,100,21 GB/s", *GRID[2:]),
    "other fields": lambda _: (LLAMA, *GRID[:2]),
    "other order": lambda _: (LLAMA, *GRID[2:], *GRID[:2]),
    "other effort": lambda _: (LLAMA, *GRID, "--effort", 9),
    "other seed": lambda _: (LLAMA, *GRID, "--seed", 9),
    "other instance": lambda _: (TIGHT, *GRID),
    "other setting": lambda _: (LLAMA, *GRID, "--set", "cluster.nodes=2"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_parts_of_another_batch_are_refused(name: str, whole: Path, tmp_path: Path) -> None:
    instance, *args = OTHERS[name](tmp_path)
    batch(Path(str(instance)), tmp_path / "other", *args, "--shard", "1/9")
    said_of = refused("batch", "merge", whole, tmp_path / "other", "--out", tmp_path / "m")
    assert "another batch" in said_of
    assert str(tmp_path / "other") in said_of
    assert not (tmp_path / "m").exists()


def test_merging_refuses_folders_that_are_none_and_its_own(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere", LLAMA):
        assert "holds no batch" in refused("batch", "merge", whole, folder, "--out", tmp_path / "m")
    before = (whole / "results.csv").read_bytes()
    assert "is one of the folders" in refused("batch", "merge", whole, "--out", os.path.relpath(whole), "--force")
    assert run("batch", "merge", "--out", tmp_path / "m").exit_code == 2
    assert (whole / "results.csv").read_bytes() == before
    assert not (tmp_path / "m").exists()


def test_an_equal_instance_elsewhere_is_the_same_batch(whole: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied.json"
    copied.write_text(json.dumps(json.loads(LLAMA.read_text(encoding="utf-8"))), encoding="utf-8")
    batch(copied, tmp_path / "two", *GRID, "--shard", "2/2")
    assert run("batch", "merge", tmp_path / "two", whole, "--out", tmp_path / "m").exit_code == 0
