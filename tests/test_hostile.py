"""Files made to break `check`: each ends with one clear line and exit 2 or 5, never with a traceback, a hang or all the memory."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from certificate_cases import document, instance_of, placed, problem, searched
from typer.testing import CliRunner

from models.certificate import NotACertificate
from models.instance import Instance
from models.packing import RankClass
from optimizer.check import check
from optimizer.cli import app

ROOT = Path(__file__).parent.parent
INSTANCES = ROOT / "instances"
HANG_S = 60  # nothing here takes a tenth of it
MEMORY = 2_500 * 2**20
NOT_A_CERTIFICATE, INVALID = 2, 5
HEAD = '{"format":"shardproof-certificate/1",'

Json = dict[str, Any]


def run(*args: object) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def spawn(*args: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with bounded memory; one that hangs fails the test."""
    command = [sys.executable, "-m", "optimizer", *map(str, args)]
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # noqa: E731
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False, cwd=ROOT, preexec_fn=limit)


def assert_one_clear_line(returncode: int, stdout: str, stderr: str, expected: int | None = None) -> str:
    """One line, on stderr where the file is no certificate, on stdout where it is an invalid one; all of it printable."""
    assert returncode in (NOT_A_CERTIFICATE, INVALID)
    assert expected is None or returncode == expected
    said, silent = (stdout, stderr) if returncode == INVALID else (stderr, stdout)
    assert silent == ""
    assert said.endswith("\n")
    assert said.count("\n") == 1
    assert said[:-1].isprintable()
    assert len(said) < 2500
    assert "INVALID at " in said if returncode == INVALID else said.startswith("Error: ")
    return said


@cache
def optimal() -> Json:
    return document(searched(instance_of(12)))


def listed_plan() -> Json:
    found: Json = optimal()["claim"]["plans"][0]["plan"]
    return found


@cache
def of_placement() -> Json:
    return document(placed(problem((5, 12, 12, 12), RankClass(ranks=2, slots=4))))


def with_claim(made: Json, **changes: Any) -> str:
    return json.dumps(made | {"claim": made["claim"] | changes})


def unproved(**changes: Any) -> str:
    """The placement claim with a bound that needs its argument, and no placement."""
    return with_claim(of_placement(), **{"bound": 25, "value": None, "placement": None, **changes})


def prices(**changes: Any) -> Json:
    return {"kind": "prices", "scale": [1, 1], "values": [[1]] * 4, "caps": [1], "surrogate": None} | changes


SYNTAX: dict[str, str | bytes] = {
    "empty": "",
    "white space": " \n\t\n",
    "null": "null",
    "a list": "[]",
    "a number": "7",
    "text": "certificate",
    "zeros": b"\x00" * 64,
    "invalid UTF-8": b'{"format":"shardproof-certificate/1","x":"\xff\xfe"}',
    "UTF-16": '{"format":"shardproof-certificate/1"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"format":"shardproof-certificate/1"}',
    "cut off": HEAD + '"claim":{"kind":"optimal"',
    "something after it": HEAD[:-1] + "} {}",
    "another format": '{"format":"shardproof-certificate/2"}',
    "a format that is a list": '{"format":["shardproof-certificate/1"]}',
    "duplicate keys": HEAD + '"claim":1,"claim":2}',
    "duplicate keys, escaped": HEAD + '"claim":1,"cl\\u0061im":2}',
    "duplicate keys inside": HEAD + '"provenance":{"a":1,"a":1}}',
    "NaN": HEAD + '"provenance":{"a":NaN}}',
    "Infinity": HEAD + '"provenance":{"a":Infinity}}',
    "-Infinity": HEAD + '"provenance":{"a":-Infinity}}',
    "a point": HEAD + '"provenance":{"a":1.5}}',
    "an exponent": HEAD + '"provenance":{"a":1e9}}',
    "an exponent of nothing": HEAD + '"provenance":{"a":0e0}}',
    "61 digits": HEAD + f'"provenance":{{"a":{10**60}}}}}',
    "leading zero": HEAD + '"provenance":{"a":01}}',
    "a comment": HEAD + '"provenance":{}} // fine',
    "a trailing comma": HEAD + '"provenance":{},}',
    "single quotes": "{'format':'shardproof-certificate/1'}",
    "100,000 lists": "[" * 100_000 + "]" * 100_000,
    "100,000 objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "100,000 lists inside": HEAD + '"provenance":{"a":' + "[" * 100_000 + "]" * 100_000 + "}}",
    "65 levels": HEAD + '"provenance":{"a":' + "[" * 63 + "]" * 63 + "}}",
    "100,000 opened": HEAD + '"a":' + "[" * 100_000,
    "15 MB of digits": HEAD + '"provenance":{"a":' + "9" * 15_000_000 + "}}",
    "20 MB of digits": "9" * 20_000_000,
    "5 million empty plans": HEAD + '"claim":{"kind":"optimal","plans":[' + "{}," * 5_000_000 + "{}]}}",
    "a key of 7 MB twice": HEAD + f'"{"k" * 7_000_000}":1,"{"k" * 7_000_000}":1}}',
}


@pytest.mark.parametrize("name", SYNTAX)
def test_a_file_that_is_no_certificate_is_said_to_be_none(name: str, tmp_path: Path) -> None:
    content = SYNTAX[name]
    path = tmp_path / "certificate.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run("check", path)
    assert "certificate.json" in assert_one_clear_line(result.exit_code, result.stdout, result.stderr, NOT_A_CERTIFICATE)
    if isinstance(content, str):
        with pytest.raises(NotACertificate):
            check(content)


def test_64_levels_are_read() -> None:
    made = json.dumps(optimal() | {"provenance": "HERE"}).replace('"HERE"', '{"a":' + "[" * 61 + "]" * 61 + "}")
    assert check(made).valid


@pytest.mark.parametrize("where", ["missing", "folder", "missing/folder/file", "x" * 5000])
def test_what_is_no_file_is_named(where: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    result = run("check", tmp_path / where)
    assert_one_clear_line(result.exit_code, result.stdout, result.stderr, NOT_A_CERTIFICATE)


FORGED = "x\nmodel: VALID, no plan is below 0\x1b[2J\u202e"
REFUSED: dict[str, Callable[[], str]] = {
    "nothing but the format": lambda: HEAD[:-1] + "}",
    "a kind that forges a line": lambda: json.dumps(optimal() | {"claim": {"kind": FORGED}}),
    "a key that forges a line": lambda: json.dumps(optimal() | {FORGED: 1}),
    "a key inside that forges a line": lambda: with_claim(optimal(), **{FORGED: 1}),
    "a key of an instance that forges a line": lambda: json.dumps(optimal() | {"instance": optimal()["instance"] | {FORGED: 1}}),
    "an argument that forges a line": lambda: with_claim(of_placement(), argument={"kind": FORGED}),
    "a rule that forges a line": lambda: json.dumps(
        optimal() | {"claim": {"kind": "broken", "plan": listed_plan(), "rules": [{"rule": FORGED, "need": 1, "have": 1}]}}
    ),
    "an order that forges a line": lambda: json.dumps(optimal()).replace(listed_plan()["order"], json.dumps(FORGED)[1:-1]),
    "an instance name that forges a line": lambda: json.dumps(optimal() | {"instance": optimal()["instance"] | {"name": FORGED}}),
    "half a surrogate as a key": lambda: json.dumps(optimal() | {"\ud800": 1}),
    "half a surrogate as a value": lambda: json.dumps(optimal() | {"provenance": {"a": "\udfff"}}),
    "a hash that is none": lambda: json.dumps(optimal() | {"instance_sha256": "f" * 64}),
    "a hash in capitals": lambda: json.dumps(optimal() | {"instance_sha256": optimal()["instance_sha256"].upper()}),
    "a hash with a new line": lambda: json.dumps(optimal() | {"instance_sha256": optimal()["instance_sha256"] + "\n"}),
    "an order with a new line": lambda: json.dumps(optimal()).replace(
        f'"order": "{listed_plan()["order"]}', f'"order": "{listed_plan()["order"]}\\n'
    ),
    "a claim that is a list": lambda: json.dumps(optimal() | {"claim": []}),
    "a claim that is text": lambda: json.dumps(optimal() | {"claim": "optimal"}),
    "a negative value": lambda: with_claim(optimal(), value=-1),
    "true as a number": lambda: with_claim(optimal(), value=True),
    "text as a number": lambda: with_claim(optimal(), value=str(optimal()["claim"]["value"])),
    "60 digits": lambda: with_claim(optimal(), complete_to=10**60 - 1),
    "a fact with a row that is not there": lambda: json.dumps(
        optimal() | {"facts": [{"row": 999, "ranks": 2, "least": 1, "argument": prices()}]}
    ),
    "a fact on ranks that do not divide": lambda: json.dumps(
        optimal() | {"facts": [{"row": 0, "ranks": 4095, "least": 1, "argument": prices()}]}
    ),
    "a placement problem without room": lambda: with_claim(
        of_placement(), problem={"loads": [1, 1], "classes": [{"ranks": 1, "slots": 1}]}
    ),
    "a problem of too many ranks": lambda: with_claim(
        of_placement(), problem={"loads": [1], "classes": [{"ranks": 65_536, "slots": 1}, {"ranks": 1, "slots": 1}]}
    ),
    "a table of 10**29 columns": lambda: unproved(argument=prices(values=[[10**29]] * 4, caps=[10**29])),
    "a scale of 10**29": lambda: unproved(argument=prices(scale=[10**29, 1])),
    "a scale by 0": lambda: unproved(argument=prices(scale=[1, 0])),
    "a variable that is not there": lambda: unproved(argument={"kind": "branch", "nodes": [10**29]}),
    "a row that is not there": lambda: unproved(argument={"kind": "branch", "nodes": [[[10**29, 1]]]}),
    "a multiplier of 29 digits": lambda: unproved(argument={"kind": "branch", "nodes": [[[0, -(10**29)], [4, 10**29]]]}),
    "a tree without nodes": lambda: unproved(argument={"kind": "branch", "nodes": []}),
    "a tree with too many nodes": lambda: unproved(argument={"kind": "branch", "nodes": [[[0, 1]], []]}),
    "an expert that is not there": lambda: unproved(
        argument={"kind": "split", "pair": [0, 10**9], "together": prices(), "apart": prices()}
    ),
    "an expert apart from itself": lambda: unproved(argument={"kind": "split", "pair": [1, 1], "together": prices(), "apart": prices()}),
    "too many variables": lambda: unproved(
        problem={"loads": [1] * 4096, "classes": [{"ranks": 4096, "slots": 4096}]}, argument={"kind": "branch", "nodes": [[]]}
    ).replace('"bound": 25', '"bound": 2'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_certificate_that_does_not_hold_is_invalid_at_a_place(name: str, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(REFUSED[name](), encoding="utf-8")
    result = run("check", path)
    said = assert_one_clear_line(result.exit_code, result.stdout, result.stderr, INVALID)
    where = said.partition("INVALID at ")[2].partition(": ")[0]
    assert where
    assert not where.endswith(".")
    as_json = json.loads(run("check", path, "--json").stdout)
    assert (as_json["status"], bool(as_json["reason"]), bool(as_json["where"])) == ("INVALID", True, True)


def separations(classes: int, pairs: int) -> Json:
    """Splits that keep pair after pair apart, with prices that hold below each, and so many small tables to check it."""
    n = 2 * pairs + 1
    leaf = prices(values=[*[[0]] * (n - 1), [2]], caps=[0] * classes, surrogate=[0, 1])
    argument = leaf
    for k in reversed(range(pairs)):
        argument = {"kind": "split", "pair": [2 * k, 2 * k + 1], "together": leaf, "apart": argument}
    ranks = [{"ranks": 1, "slots": 1, "memory": 0}] * (classes - 1) + [{"ranks": 1, "slots": n, "memory": 0}]
    return {"problem": {"loads": [10] * n, "classes": ranks, "sizes": [*[0] * (n - 1), 1]}, "argument": argument, "bound": 10 * n + 1}


def folded_on_65536_gpus() -> Json:
    """A certificate about a space that nobody can look through."""
    content = json.loads((INSTANCES / "deepseek_v3_64gpu.json").read_text(encoding="utf-8"))
    content["cluster"]["pools"][0]["nodes"] = 65_536 // content["cluster"]["pools"][0]["gpus_per_node"]
    content["space"] = {"name": "folded"}
    content["workload"]["sequences"] = 65_536
    instance = Instance.model_validate_json(json.dumps(content))
    assert instance.cluster.pool.gpus == 65_536
    made = {"instance": json.loads(instance.model_dump_json()), "instance_sha256": instance.digest(), "facts": []}
    return optimal() | made


def nothing_below(bound: int, strategies: int) -> str:
    claim = {"kind": "bounded", "value": None, "bound": bound, "complete_to": None, "plans": [], "strategies": strategies, "refuted": None}
    return json.dumps(folded_on_65536_gpus() | {"claim": claim})


HEAVY: dict[str, Callable[[], str]] = {
    "300,000 keys": lambda: HEAD + ",".join(f'"k{n}":1' for n in range(300_000)) + "}",
    "a million loads": lambda: unproved(problem={"loads": [1] * 10**6, "classes": [{"ranks": 1, "slots": 1}]}),
    "a million values": lambda: unproved(argument=prices(values=[[1]] * 10**6)),
    "a million nodes, one below the other": lambda: unproved(argument={"kind": "branch", "nodes": [0] * 10**6}),
    "a million ranks": lambda: with_claim(of_placement(), placement=[[]] * 10**6),
    "a million plans": lambda: with_claim(optimal(), plans=[{}] * 900_000),
    "12 separations in 64 classes": lambda: unproved(**separations(64, 12)),
    "65,536 GPUs, all refuted": lambda: json.dumps(folded_on_65536_gpus() | {"claim": {"kind": "infeasible", "strategies": 10**9}}),
    "65,536 GPUs, nothing to refute": lambda: nothing_below(0, 10**6),
    "65,536 GPUs, a bound that is none": lambda: nothing_below(10**29, 10**29),
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_file_made_to_take_time_or_memory_takes_little_of_both(name: str, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(HEAVY[name](), encoding="utf-8")
    done = spawn("check", path)
    assert_one_clear_line(done.returncode, done.stdout, done.stderr, INVALID)


WIDE = {"loads": [5_000, 12_000, 12_000, 12_000], "classes": [{"ranks": 2, "slots": 4096}]}


def test_the_budget_ends_an_argument_that_takes_too_many_steps() -> None:
    wide = prices(values=[[1000 * n] for n in (5, 12, 12, 12)], caps=[20_000])
    assert "table steps" in str(check(unproved(problem=WIDE, argument=wide, bound=24_000)).reason)
    assert "12 pairs" in str(check(unproved(**separations(2, 13))).reason)
    assert check(unproved(**separations(2, 6))).valid


def test_a_certificate_for_another_instance_is_invalid(tmp_path: Path) -> None:
    path, other = tmp_path / "certificate.json", tmp_path / "instance.json"
    path.write_text(json.dumps(optimal()), encoding="utf-8")
    for instance, code in ((instance_of(12), 0), (instance_of(13), INVALID)):
        other.write_text(instance.model_dump_json(), encoding="utf-8")
        assert run("check", path, "--instance", other).exit_code == code
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(optimal() | {"instance": None}), encoding="utf-8")
    assert run("check", bare).exit_code == INVALID
    assert run("check", bare, "--instance", other).exit_code == INVALID
    other.write_text(instance_of(12).model_dump_json(), encoding="utf-8")
    assert run("check", bare, "--instance", other).exit_code == 0


def test_a_certificate_of_a_placement_is_not_about_an_instance(tmp_path: Path) -> None:
    path, other = tmp_path / "certificate.json", tmp_path / "instance.json"
    path.write_text(json.dumps(of_placement()), encoding="utf-8")
    other.write_text(instance_of(12).model_dump_json(), encoding="utf-8")
    assert run("check", path).exit_code == 0
    result = run("check", path, "--instance", other)
    assert_one_clear_line(result.exit_code, result.stdout, result.stderr, INVALID)


def plan_file(**changes: Any) -> str:
    listed = listed_plan()
    return json.dumps({"degrees": listed["degrees"], "order": listed["order"]} | changes)


def test_a_certificate_that_does_not_speak_of_the_plan_is_invalid(tmp_path: Path) -> None:
    path, plan = tmp_path / "certificate.json", tmp_path / "plan.json"
    path.write_text(json.dumps(optimal()), encoding="utf-8")
    listed = listed_plan()
    strange = {"replicas": listed["degrees"]["replicas"] + 1}
    cases = [
        (plan_file(), 0),
        (plan_file(stages=listed["stages"], placement=listed["placement"]), 0),
        (plan_file(degrees=listed["degrees"] | strange), INVALID),
        (plan_file(stages=[*listed["stages"], 1]), INVALID),
        (plan_file(placement=[rank[::-1] for rank in listed["placement"]]), INVALID),
        ("{}", NOT_A_CERTIFICATE),
        ("", NOT_A_CERTIFICATE),
    ]
    for content, code in cases:
        plan.write_text(content, encoding="utf-8")
        result = run("check", path, "--plan", plan)
        assert result.exit_code == code, content
        if code:
            assert_one_clear_line(result.exit_code, result.stdout, result.stderr, code)


@pytest.mark.parametrize("content", ["", "precious", '{"format":"other"}', '{"format": "shardproof-certificate/1"}'])
def test_a_certificate_is_not_written_over_something_else(content: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(content, encoding="utf-8")
    result = run("search", INSTANCES / "llama70b_8gpu.json", "--quiet", "--certificate", path)
    assert (result.exit_code, path.read_text(encoding="utf-8")) == (2, content)
    assert_one_clear_line(result.exit_code, result.stdout, result.stderr, 2)


def test_a_folder_is_not_taken_for_a_certificate_to_write(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "file"):
        result = run("search", INSTANCES / "llama70b_8gpu.json", "--quiet", "--certificate", path)
        assert_one_clear_line(result.exit_code, result.stdout, result.stderr, 2)


def test_what_a_valid_certificate_prints_of_the_file_is_printable(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(optimal() | {"provenance": {FORGED: FORGED}}), encoding="utf-8")
    result = run("check", path)
    assert result.exit_code == 0
    assert all(line.isprintable() for line in result.stdout.splitlines())
    assert "model" not in result.stdout
