"""`batch report`: every claim is looked up again with other commands, or by looking at every plan."""

import hashlib
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import brute
import pytest
from random_instances import random_instance
from test_batch_rows import BANDWIDTH, GRID, LLAMA, MIXTRAL, REFERENCE, Here, Json, batch, refused, run, searched, table

from models.instance import Instance
from optimizer.batching.axes import number_of
from optimizer.reading import read_record

MEMORY = "cluster.accelerator.memory_bytes"
NOTHING = ["nothing (infeasible)"]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants are solved in this process."""
    for module in ("run", "probes"):
        monkeypatch.setattr(f"optimizer.batching.{module}.Crew", Here)


def report(folder: Path, *args: object) -> Json:
    """The JSON of `batch report`, which is also in the folder."""
    result = run("batch", "report", folder, "--json", "--quiet", *args)
    assert (result.exit_code, result.stderr) == (0, "")
    found: Json = json.loads(result.stdout)
    assert found == json.loads((folder / "report.json").read_text(encoding="utf-8"))
    ElementTree.fromstring((folder / "map.svg").read_text(encoding="utf-8"))
    assert found["map"] == str(folder / "map.svg")
    return found


def solved(instance: Path, settings: dict[str, str], *args: object) -> Json:
    return searched(instance, *args, *(word for path, text in settings.items() for word in ("--set", f"{path}={text}")))


def best(found: Json) -> list[str]:
    return [plan["label"] for plan in found["optimal"]] or NOTHING


def optimal(row: dict[str, str]) -> set[str]:
    return set(row["optimal"].split(" | ")) if row["optimal"] else set(NOTHING)


# Changes

SCENARIOS = {"small": {"workload.sequences": 8}, "large": {"workload.sequences": 64, "workload.context_tokens": 2048}}
CHANGING: dict[str, tuple[Path, tuple[str, ...]]] = {
    "one field, falling": (LLAMA, ("--vary", f"{BANDWIDTH}=445,100,20 GB/s")),
    "two fields": (LLAMA, GRID),
    "nothing fits": (LLAMA, ("--vary", f"{MEMORY}=32.67,32.6741,32.6744 GB")),
    "both at one value": (MIXTRAL, ("--vary", f"{BANDWIDTH}=2,2.2 GB/s", "--set", "workload.tokens_per_sequence=16")),
    "of a file's rows": (LLAMA, ("--variants", "v.json", "--vary", f"{BANDWIDTH}=20,445 GB/s")),
    "with names beside": (LLAMA, ("--vary", "architecture=Llama-3.1-8B,nothing of the kind", "--vary", f"{BANDWIDTH}=20,445 GB/s")),
    "together with others": (LLAMA, ("--vary", f"{BANDWIDTH}=20,445 GB/s; cluster.nodes=1,2")),
}


@pytest.mark.parametrize("name", CHANGING)
def test_both_ends_of_every_change_hold_when_solved_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.json").write_text(json.dumps(SCENARIOS), encoding="utf-8")
    instance, args = CHANGING[name]
    more = [word for n, word in enumerate(args) if "--set" in args[max(0, n - 1) : n + 1]]
    batch(instance, tmp_path / "b", *args)
    changes, ties = report(tmp_path / "b")["changes"], False
    text = run("batch", "report", tmp_path / "b", "--quiet").stdout
    for change in changes:
        path, low, high = (change[k] for k in ("path", "low", "high"))
        assert change["sharp"]
        assert high - low == 1
        ends = [set(best(solved(instance, change["others"] | {path: change[f"{end}_text"]}, *more))) for end in ("low", "high")]
        assert [number_of(path, change[f"{end}_text"]) for end in ("low", "high")] == [low, high]
        assert set(change["from"]) <= ends[0]  # those that were optimal at every point before
        assert set(change["to"]) == ends[1]
        assert not set(change["from"]) & set(change["to"])
        ties = ties or set(change["from"]) < ends[0]
        assert f"{change['low_text']} and {change['high_text']}" in text
    assert bool(changes) == (name != "together with others")
    assert ties or name != "both at one value"


@pytest.mark.parametrize("name", ["one field, falling", "two fields", "nothing fits"])
def test_changes_lead_from_every_proved_row_to_its_neighbour(name: str, tmp_path: Path) -> None:
    instance, args = CHANGING[name]
    batch(instance, tmp_path / "b", *args)
    changes, rows = report(tmp_path / "b")["changes"], [r for r in table(tmp_path / "b") if r["status"] in ("OPTIMAL", "INFEASIBLE")]
    fields = list(rows[0])[1 : list(rows[0]).index("status")]
    found = 0
    for path in fields:
        lines: dict[tuple[tuple[str, str], ...], list[tuple[int, set[str]]]] = {}
        for row in rows:
            others = tuple((f, row[f]) for f in fields if f != path)
            lines.setdefault(others, []).append((number_of(path, row[path]) or 0, optimal(row)))
        for others, points in lines.items():
            for (low, before), (high, after) in pairwise(sorted(points, key=lambda point: point[0])):
                inside = [c for c in changes if c["path"] == path and tuple(c["others"].items()) == others and low <= c["low"] < high]
                found += len(inside)
                if before & after:
                    assert not inside
                    continue
                chain = [before, *(set(c[side]) for c in sorted(inside, key=lambda c: c["low"]) for side in ("from", "to")), after]
                assert len(chain) > 2
                assert all(left & right for left, right in list(pairwise(chain))[::2])
    assert found == len(changes) > 0


def test_only_as_many_changes_as_wanted_are_narrowed_down(tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", "--vary", f"{BANDWIDTH}=20,445 GB/s", "--vary", "workload.sequences=7,64")
    coarse = report(tmp_path / "b", "--changes", 0)
    assert {c["low_text"] for c in coarse["changes"] if c["path"] == BANDWIDTH} == {"20 GB/s"}
    assert not any(c["sharp"] for c in coarse["changes"])
    assert "not narrowed down" in run("batch", "report", tmp_path / "b", "--quiet", "--changes", 0).stdout
    assert [c["sharp"] for c in report(tmp_path / "b", "--changes", 1)["changes"]] == [True, False]
    assert len(coarse["changes"]) == 2


# The reference plan


def test_the_verdict_names_where_the_reference_plan_stops_being_optimal(tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", "--vary", f"{BANDWIDTH}=445,20 GB/s")
    found = report(tmp_path / "b")
    (change,) = found["reference"]["changes"]
    assert found["reference"]["optimal_rows"] == 1
    standing = {end: solved(LLAMA, {BANDWIDTH: change[end]}) for end in ("optimal_at", "not_at")}
    assert standing["optimal_at"]["reference"]["standing"] == "optimal"
    assert standing["not_at"]["reference"]["standing"] == "not optimal"
    assert change["instead"] == best(standing["not_at"])
    assert (number_of(BANDWIDTH, change["optimal_at"]) or 0) - (number_of(BANDWIDTH, change["not_at"]) or 0) == 1
    assert found["verdict"] == (
        f"The reference plan the rule of thumb: tensor parallelism over the node stops being optimal below scale_up.bandwidth_bytes_per_s "
        f"= {change['optimal_at']} (proved there and at {change['not_at']}, where {change['instead'][0]} wins)."
    )
    assert run("batch", "report", tmp_path / "b", "--quiet").stdout.splitlines()[-1] == found["verdict"]


def test_other_verdicts(tmp_path: Path) -> None:
    content = json.loads(LLAMA.read_text(encoding="utf-8"))
    del content["reference"]
    (tmp_path / "plain.json").write_text(json.dumps(content), encoding="utf-8")
    for name, instance, vary, says in (
        ("wins", LLAMA, f"{BANDWIDTH}=445,400 GB/s", "is optimal in every row in which a plan runs."),
        ("loses", LLAMA, f"{BANDWIDTH}=20,19 GB/s", "is optimal in 0 of 2 rows in which a plan runs."),
        ("fails", LLAMA, "workload.sequences=-1,-2", "No row has a proved optimum"),
        ("never", LLAMA, f"{MEMORY}=1,2 GB", "No row has a proved optimum"),
        ("plain", tmp_path / "plain.json", f"{BANDWIDTH}=445,20 GB/s", "The best strategy changes at 1 point along the numbers that vary."),
        ("same", tmp_path / "plain.json", f"{BANDWIDTH}=445,400 GB/s", "The best strategy changes at 0 points"),
    ):
        batch(instance, tmp_path / name, "--vary", vary)
        assert says in report(tmp_path / name)["verdict"], name


def test_nothing_is_claimed_of_rows_that_are_not_proved(tmp_path: Path) -> None:
    batch(REFERENCE, tmp_path / "b", "--space", "folded", "--effort", 1, "--vary", "workload.sequences=64,128")
    assert all(row["best"] for row in table(tmp_path / "b"))
    found = report(tmp_path / "b")
    assert found["rows"] == {"optimal": 0, "infeasible": 0, "unproved": 2, "failed": 0, "missing": 0}
    assert (found["changes"], found["wins"], found["regret"]["strategies"]) == ([], [], [])
    assert "No row has a proved optimum" in found["verdict"]
    assert run("batch", "report", tmp_path / "b", "--quiet").stdout.startswith("2 rows: 2 not proved\n")


# Figures


def test_wins_and_margins_follow_from_the_table(tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", *GRID)
    found, rows = report(tmp_path / "b"), [r for r in table(tmp_path / "b") if r["status"] == "OPTIMAL"]
    assert found["rows"] == {"optimal": 6, "infeasible": 0, "unproved": 0, "failed": 3, "missing": 0}
    for win in found["wins"]:
        assert {sum(label in optimal(row) for row in rows) for label in win["labels"]} == {win["wins"]}
        assert win["share_ppm"] == win["wins"] * 1_000_000 // len(rows)
    assert {label for win in found["wins"] for label in win["labels"]} == set[str]().union(*map(optimal, rows))
    values = {(row[BANDWIDTH], row["workload.sequences"]): int(row["value"]) for row in rows}
    steps = {(m["before"], m["after"]): m["value"] for m in found["margins"]["intervals"]}
    for (low, high), step in {("20 GB/s", "100 GB/s"): 80 * 10**9, ("100 GB/s", "445 GB/s"): 345 * 10**9}.items():
        gains = [Fraction(values[low, s] - values[high, s], step) for s in ("7", "64")]
        expected = {"pairs": 2, "least": float(min(gains)), "mean": float(sum(gains) / 2), "greatest": float(max(gains))}
        assert steps[low, high] == expected
    assert steps["-1", "7"] is None
    assert steps["7", "64"]["pairs"] == 3


def price(instance: Instance) -> dict[str, int]:
    """What every strategy that runs costs at least."""
    return {strategy.label(): value for strategy, value in brute.solve(instance).values.items()}


@pytest.mark.parametrize("seed", [0, 7, 11, 21, 33, 61, 87, 94])
def test_rows_and_regret_are_what_looking_at_every_plan_gives(seed: int, tmp_path: Path) -> None:
    file = tmp_path / "tiny.json"
    file.write_text(random_instance(seed).model_dump_json(), encoding="utf-8")
    paths = (BANDWIDTH, "cluster.scale_out.bandwidth_bytes_per_s", "cluster.accelerator.hbm_bytes_per_s")
    batch(file, tmp_path / "b", *(word for path in paths for word in ("--vary", f"{path}=1000000,1000000000000")))
    rows = table(tmp_path / "b")
    costs = [price(read_record(file, Instance, [f"{path}={row[path]}" for path in paths])) for row in rows]
    for row, values in zip(rows, costs, strict=True):
        least = min(values.values(), default=None)
        assert row["status"] == ("INFEASIBLE" if least is None else "OPTIMAL")
        assert optimal(row) == ({label for label, value in values.items() if value == least} or set(NOTHING))
    costs = [values for values in costs if values]
    everywhere = set(costs[0]).intersection(*costs[1:])
    losses = {label: [Fraction(v[label] - min(v.values()), min(v.values())) for v in costs if label in v] for v in costs for label in v}
    worst = {label: -(-10_000 * max(found) // 1) / 100 for label, found in losses.items()}
    regret = report(tmp_path / "b", "--changes", 0)["regret"]
    assert regret["variants"] == len(costs)
    for s in regret["strategies"]:
        assert (s["runs_in"], s["worst_regret_pct"]) == (len(losses[s["label"]]), worst[s["label"]])
        at = costs[[{path: row[path] for path in paths} for row in rows if row["status"] == "OPTIMAL"].index(s["at"])]
        assert (
            not s["worst_regret_pct"]
            or -(-10_000 * Fraction(at[s["label"]] - min(at.values()), min(at.values())) // 1) / 100 == worst[s["label"]]
        )
    first = regret["strategies"][0]
    assert regret["proved_least"] == (first["runs_in"] == len(costs))
    assert (first["label"] in everywhere) == regret["proved_least"]
    if seed > 60:  # a strategy that wins nowhere loses least
        assert regret["proved_least"]
        assert not any(first["label"] in optimal(row) for row in rows)
    if regret["proved_least"]:
        assert first["worst_regret_pct"] == min(worst[label] for label in everywhere)
        assert "no strategy of the space does better" in (text := run("batch", "report", tmp_path / "b", "--changes", 0).stdout) or (
            "optimal in every variant" in text
        )


# Certificates


def test_certificates_of_all_rows_pass_the_check(tmp_path: Path) -> None:
    fields = {BANDWIDTH: "445,20 GB/s", "workload.sequences": "64,-1", MEMORY: "10,80 GB"}
    batch(LLAMA, tmp_path / "b", *(word for path, values in fields.items() for word in ("--vary", f"{path}={values}")))
    found, rows = report(tmp_path / "b", "--certificates", tmp_path / "c", "--changes", 0), table(tmp_path / "b")
    proved = [row for row in rows if row["status"] != "FAILED"]
    assert found["certificates"] == str(tmp_path / "c")
    assert sorted(f.name for f in (tmp_path / "c").iterdir()) == sorted(f"{row['variant']}.json" for row in proved)
    for row in proved:
        file = tmp_path / "c" / f"{row['variant']}.json"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["certificate_sha256"]
        sets = [word for path in fields for word in ("--set", f"{path}={row[path]}")]
        result = run("check", file, "--instance", LLAMA, *sets, "--json")
        claim = json.loads(result.stdout)["claim"]
        assert result.exit_code == 0
        assert [plan["label"] for plan in claim.get("plans", ())] == [label for label in row["optimal"].split(" | ") if label]
    assert run("check", tmp_path / "c" / "1.json", "--instance", LLAMA, "--set", "workload.sequences=63").exit_code == 5


def test_a_folder_for_certificates_that_is_not_empty_is_refused_before_any_work(tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", "--vary", "workload.sequences=1,2")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.json").write_text("mine")
    assert "is not empty" in refused("batch", "report", tmp_path / "b", "--certificates", tmp_path / "c")
    assert not (tmp_path / "b" / "map.svg").exists()
    report(tmp_path / "b", "--certificates", tmp_path / "c", "--force")
    assert run("check", tmp_path / "c" / "1.json").exit_code == 0


# Which report


def test_a_report_is_the_same_again_and_needs_no_instance_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inst.json").write_bytes(LLAMA.read_bytes())
    batch(tmp_path / "inst.json", tmp_path / "b", *GRID)
    (tmp_path / "inst.json").unlink()
    table_before = (tmp_path / "b" / "results.csv").read_bytes()
    report(tmp_path / "b")
    before = {name: (tmp_path / "b" / name).read_bytes() for name in ("report.json", "map.svg", "results.csv")}
    with monkeypatch.context() as patch:
        patch.setattr("optimizer.batching.solver.enumerate_space", None)  # what was solved between is not solved again
        report(tmp_path / "b")
    assert before == {name: (tmp_path / "b" / name).read_bytes() for name in before}
    assert before["results.csv"] == table_before
    monkeypatch.undo()
    result = run("batch", "report", tmp_path / "b", "--workers", 2, "--quiet")
    assert result.exit_code == 0
    assert before == {name: (tmp_path / "b" / name).read_bytes() for name in before}


def test_processes_find_the_same_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(LLAMA, tmp_path / "b", *GRID)
    (tmp_path / "here").mkdir()
    for file in (tmp_path / "b").iterdir():
        (tmp_path / "here" / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path / "here")
    expected = report(Path())
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "b")
    assert report(Path(), "--workers", 2) == expected


def test_a_report_finds_models_beside_the_instance_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    content = json.loads(LLAMA.read_text(encoding="utf-8"))
    Path("inst.json").write_text(json.dumps(content), encoding="utf-8")
    Path("m.json").write_text(json.dumps(content["architecture"]), encoding="utf-8")
    batch(Path("inst.json"), Path("b"), "--vary", "architecture=m.json,Llama-3.1-8B", "--vary", f"{BANDWIDTH}=20,445 GB/s")
    monkeypatch.chdir(tmp_path)
    assert report(Path("a/b"))["rows"]["optimal"] == 4


def test_a_part_can_be_reported_on_and_what_is_missing_is_said(tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", "--vary", f"{BANDWIDTH}=445,20 GB/s", "--vary", "workload.sequences=7,64", "--shard", "1/2")
    found = report(tmp_path / "b")
    assert found["rows"] == {"optimal": 2, "infeasible": 0, "unproved": 0, "failed": 0, "missing": 2}
    text = run("batch", "report", tmp_path / "b", "--quiet").stdout
    assert text.startswith("2 rows: 2 proved optimal, 2 not solved yet\n")


def interrupted_after(rows: int) -> type[Here]:
    """Ctrl-C when so many rows are there."""

    class Stops(Here):
        def solve(self, groups: Any) -> Iterator[Any]:
            for number, found in enumerate(super().solve(groups)):
                if number == rows:
                    raise KeyboardInterrupt
                yield found

    return Stops


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_an_interrupted_batch_can_be_reported_on(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.batching.run.Crew", interrupted_after(rows))
    result = run("batch", "run", LLAMA, "--vary", f"{BANDWIDTH}=20..420 GB/s:+100", "--out", tmp_path / "b", "--quiet")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == f"interrupted: {rows} of 5 rows are kept in {tmp_path / 'b'}; --resume goes on from there\n"
    found = report(tmp_path / "b")
    assert (found["rows"]["optimal"], found["rows"]["missing"]) == (rows, 5 - rows)
    assert bool(found["changes"]) == (rows > 1)


@pytest.mark.parametrize(
    ("args", "naming"),
    [
        (("--x", "workload.colour"), "--x workload.colour: does not vary"),
        (("--y", "workload.context_tokens"), "--y workload.context_tokens: does not vary"),
        (("--y", BANDWIDTH), "--y"),
        (("--x", MEMORY, "--y", MEMORY), "--y"),
        (("--at", f"{MEMORY}=81 GB"), "write one of 10 GB, 80 GB"),
        (("--at", f"{BANDWIDTH}=20 GB/s"), "is on the map"),
        (("--at", "nonsense"), "--at nonsense: does not vary"),
        (("--at", ""), "--at"),
    ],
)
def test_a_map_of_what_does_not_vary_is_refused(args: tuple[str, ...], naming: str, tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", "--vary", f"{BANDWIDTH}=445,20 GB/s", "--vary", "workload.sequences=-1", "--vary", f"{MEMORY}=10,80 GB")
    assert naming in refused("batch", "report", tmp_path / "b", *args)
    assert not {"report.json", "map.svg"} & {f.name for f in (tmp_path / "b").iterdir()}


def test_the_map_shows_the_fields_and_values_that_are_asked_for(tmp_path: Path) -> None:
    batch(LLAMA, tmp_path / "b", "--vary", f"{BANDWIDTH}=445,20 GB/s", "--vary", "workload.sequences=7,64", "--vary", f"{MEMORY}=10,80 GB")
    for args, fixed in (
        ((), f"{MEMORY} = 10 GB"),
        (("--at", f"{MEMORY}=80 GB"), f"{MEMORY} = 80 GB"),
        (("--x", MEMORY), "workload.sequences = 7"),
        (("--x", MEMORY, "--y", "workload.sequences", "--at", f"{BANDWIDTH}=20 GB/s"), f"{BANDWIDTH} = 20 GB/s"),
    ):
        report(tmp_path / "b", "--changes", 0, *args)
        texts = "\n".join(ElementTree.parse(tmp_path / "b" / "map.svg").getroot().itertext())
        assert f"best strategy at {fixed}" in texts, args


def test_folders_without_a_batch_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "batch.json").write_text('{"schema": "another/1"}')
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "notes.txt"):
        assert "holds no batch" in refused("batch", "report", folder)
    assert sorted(os.listdir(tmp_path)) == ["batch.json", "notes.txt"]
