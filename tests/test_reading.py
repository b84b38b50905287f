"""Hostile input ends with exit 2 and one helpful line: malformed, contradictory, huge or malicious files and options."""

import json
import os
import re
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from optimizer.cli import app

INSTANCES = Path(__file__).parent.parent / "instances"
REFERENCE, LLAMA, MIXTRAL = (INSTANCES / f"{name}.json" for name in ("ep64_tp2_128gpu", "llama70b_8gpu", "mixtral8x7b_8gpu"))
TEXT = MIXTRAL.read_text(encoding="utf-8")
DATA: dict[str, Any] = json.loads(TEXT)
REMEDY = re.compile(
    r"\b(write|add|remove|keep|correct|check|shorten|save|use|give|name another|list|put|see|needs|must|at most|did you mean|there is)\b"
)
DEEP = 10_000
SECONDS = 30  # a hang, not a speed: what this guards against took minutes

Path_ = tuple[str | int, ...]


def refused(*args: object, naming: tuple[str, ...] = ()) -> str:
    """The one line that a command ends with, in time, naming these words and a remedy."""
    started = time.monotonic()
    result = CliRunner().invoke(app, [str(a) for a in args])
    seconds = time.monotonic() - started
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    _assert_helpful(result.stderr, naming)
    assert seconds < SECONDS
    return result.stderr


def _assert_helpful(line: str, naming: tuple[str, ...]) -> None:
    assert re.fullmatch(r"Error: [^\n]+\n", line), f"not one line: {line[:300]!r}"
    assert line[:-1].isprintable(), f"control characters: {line[:300]!r}"
    assert len(line) < 1500, f"{len(line)} characters: {line[:100]!r}"
    assert [word for word in naming if word not in line] == [], line
    assert REMEDY.search(line), f"no remedy: {line!r}"


def spawned(*args: object, timeout: float) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, killed (and the test failed) at the timeout."""
    command = [sys.executable, "-m", "optimizer", *map(str, args)]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"no end after {timeout} s")


def put(path: Path_, value: object, data: dict[str, Any] = DATA) -> str:
    """The instance as JSON with the value at a path replaced."""
    changed = deepcopy(data)
    node: Any = changed
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return json.dumps(changed)


def drop(path: Path_) -> str:
    """The instance as JSON without the field at a path."""
    changed = deepcopy(DATA)
    node: Any = changed
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    return json.dumps(changed)


def raw(text: str, field: str = '"sequences": 32') -> str:
    """The instance's own text with one field written differently."""
    assert TEXT.count(field) == 1
    return TEXT.replace(field, text)


POOL: Path_ = ("cluster", "pools", 0)
LAYER: Path_ = ("architecture", "layers", 0)

# Files that are not JSON, or not an object


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"hello",
        TEXT.encode()[:700],
        TEXT.encode() + b"}",
        TEXT.encode().replace(b'"format"', b"'format'"),
        b"[1, 2]",
        b"5",
        b"null",
        b'"text"',
        b"true",
        b"{}",
        b"[]",
        b"\x00" * 1000,
        bytes(range(256)) * 20,
        TEXT.encode("utf-16"),
        TEXT.encode().replace(b"mixtral8x7b_8gpu", b"caf\xe9"),
        b"\xef\xbb\xbf{",
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b"[" * 1_000_000,
        b'{"name": "' + b"x" * 6_000_000 + b'"}',
    ],
    ids=lambda c: f"{c[:12]!r} {len(c)}",
)
@pytest.mark.parametrize("kind", ["instance", "plan", "claims"])
def test_a_file_that_is_not_what_is_asked_for_is_named_with_a_remedy(kind: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    path.write_bytes(content)
    command: dict[str, list[object]] = {"instance": ["search", path], "plan": ["prove", REFERENCE, path], "claims": ["audit", path]}
    refused(*command[kind], naming=("hostile.json",))


@pytest.mark.parametrize("kind", ["a folder", "nothing", "a pipe", "a dangling link", "a link to itself", "a name too long"])
def test_what_is_not_a_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300 if kind == "a name too long" else "hostile.json")
    match kind:
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a dangling link":
            path.symlink_to(tmp_path / "nowhere")
        case "a link to itself":
            path.symlink_to(path)
    said = refused("search", path, naming=(path.name[:100],))
    assert ("is a folder" in said) == (kind == "a folder"), said


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    refused("search", path, naming=("hostile.json", "permission"))


def test_a_newline_in_a_file_name_stays_in_its_line(tmp_path: Path) -> None:
    refused("search", tmp_path / "a\nError: b.json", naming=("b.json",))


# Fields that are wrong


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (raw('"sequences": NaN'), "sequences"),
        (raw('"sequences": Infinity'), "sequences"),
        (raw('"overlap_ppm": -Infinity', '"overlap_ppm": 0'), "overlap_ppm"),
        (raw('"sequences": 1e999'), "sequences"),
        (raw('"sequences": 32.0'), "sequences"),
        (raw('"sequences": 3.2e1'), "sequences"),
        (raw('"reserve_bytes": 1.5', '"reserve_bytes": "3 GiB"'), "reserve_bytes"),
        (raw('"sequences": 32, "sequences": 64'), "sequences"),
        (raw('"kind": "prefill", "sequences": 32', '"sequences": 32'), "kind"),
        (raw(f'"sequences": {"9" * DEEP}'), "sequences"),
        (raw(f'"sequences": {"9" * 4000}'), "sequences"),
        (raw(f'"reserve_bytes": {"9" * 4000}', '"reserve_bytes": "3 GiB"'), "reserve_bytes"),
        (raw('"sequences": true'), "sequences"),
        (raw('"sequences": "32"'), "sequences"),
        (raw('"sequences": null'), "sequences"),
        (raw('"sequences": [32]'), "sequences"),
        (raw('"sequences": {"a": 1}'), "sequences"),
        (put(("workload", "sequences"), 0), "sequences"),
        (put(("workload", "sequences"), -32), "sequences"),
        (put((*POOL, "nodes"), 0), "nodes"),
        (put((*POOL, "nodes"), 10**12), "nodes"),
        (put((*POOL, "nodes"), 65_536), "nodes"),
        (put((*POOL, "gpus_per_node"), -8), "gpus_per_node"),
        (put((*POOL, "scale_up_domain_gpus"), 3), "scale_up_domain_gpus"),
        (put((*LAYER, "count"), 10**9), "count"),
        (put((*LAYER, "count"), 0), "count"),
        (put(("workload", "sequences"), 10**8), "sequences"),
        (put(("workload", "kind"), "training"), "workload"),
        (put((*LAYER, "attention", "kind"), "flash"), "attention"),
        (put((*LAYER, "attention", "kv_heads"), 5), "kv_heads"),
        (put((*LAYER, "ffn", "top_k"), 9), "top_k"),
        (put((*LAYER, "ffn", "matrices"), 4), "matrices"),
        (put((*LAYER, "ffn", "experts"), 5000), "experts"),
        (put(("architecture", "layers"), []), "layers"),
        (put(("architecture", "weight_dtype"), "fp16"), "fp16"),
        (put(("architecture", "weight_dtype"), "bf17"), "weight_dtype"),
        (put(("architecture", "source"), "somewhere"), "source"),
        (put(("architecture", "tied_embeddings"), "no"), "tied_embeddings"),
        (put(("cluster", "pools"), DATA["cluster"]["pools"] * 2), "pools"),
        (put(("cluster", "pools"), []), "pools"),
        (put(("cluster", "pools"), {}), "pools"),
        (put((*POOL, "accelerator", "memory_bytes"), "80 GFLOP/s"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "80 gigabytes"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "80"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "-80 GB"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "0 GB"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "1e9 GB"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "9" * 100 + " GB"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), " " * 1_000_000 + "GB"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "٨٠ GB"), "memory_bytes"),
        (put((*POOL, "accelerator", "memory_bytes"), "0.5 B"), "memory_bytes"),
        (put((*POOL, "accelerator", "hbm_efficiency_ppm"), "120 %"), "hbm_efficiency_ppm"),
        (put((*POOL, "accelerator", "hbm_efficiency_ppm"), "0 %"), "hbm_efficiency_ppm"),
        (put((*POOL, "accelerator", "peak_flop_per_s"), {}), "peak_flop_per_s"),
        (put((*POOL, "scale_out", "bandwidth_bytes_per_s"), "50 GB"), "bandwidth_bytes_per_s"),
        (put((*POOL, "scale_out", "bandwidth_bytes_per_s"), 0), "bandwidth_bytes_per_s"),
        (put((*POOL, "scale_out", "latency_ns"), "5 m"), "latency_ns"),
        (put(("objective",), {"name": "latency", "limits": {"tpot_ns": "1 s"}}), "tpot_ns"),
        (put(("objective",), {"name": "latency", "limits": {"min_tokens_per_s": 0}}), "min_tokens_per_s"),
        (put(("objective",), {"name": "cost"}), "price_uusd_per_gpu_hour"),
        (put(("objective",), {"name": "beauty"}), "objective.name"),
        (put(("expert_load",), {"counts": [[1] * 7], "source": "assumed: x"}), "expert_load"),
        (put(("expert_load",), {"counts": [[1] * 8] * 3, "source": "assumed: x"}), "expert_load"),
        (put(("expert_load",), {"counts": [[1] * 8, [1] * 7], "source": "assumed: x"}), "expert_load"),
        (put(("expert_load",), {"counts": [[0] * 8], "source": "assumed: x"}), "expert_load"),
        (put(("expert_load",), {"counts": [[-1] * 8], "source": "assumed: x"}), "expert_load"),
        (put(("expert_load",), {"counts": [], "source": "assumed: x"}), "expert_load"),
        (put(("space",), {"name": "vllm"}), "space.name"),
        (put(("space",), {"name": "folded", "tp": []}), "space.tp"),
        (put(("space",), {"name": "folded", "tp": [2, 2]}), "tp"),
        (put(("space",), {"name": "folded", "tp": [0]}), "space.tp"),
        (put(("space",), {"name": "folded", "orders": ["tp-tp-tp|ep-ep-ep"]}), "orders"),
        (put(("space",), {"name": "classic", "orders": ["dp-cp-tp|etp-ep-edp"]}), "orders"),
        (put(("name",), "x" * 1000), "name"),
        (put(("name",), ""), "name"),
        (put(("name",), "\ud800"), "hostile.json"),
        (put(("format",), "shardproof-instance/99"), "format"),
        (drop(("format",)), "format"),
        (drop(("cluster",)), "cluster"),
        (drop(("workload", "kind")), "workload"),
        (drop(("workload", "sources")), "sources"),
        (put(("workload", "sources"), {}), "sources"),
        (put(("workload", "sources"), {"*": "I made it up"}), "sources"),
        (put(("workload", "sources"), {"*": "assumed: x", "seqs": "assumed: x"}), "seqs"),
        (put(("reference",), {"degrees": {"tp": 0}}), "tp"),
    ],
    ids=lambda v: v if len(v) < 40 else "",
)
def test_a_wrong_field_is_named_with_file_and_remedy(text: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(text, encoding="utf-8")
    refused("search", path, naming=("hostile.json", field))


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        (("workload",), "sequnces", "sequences"),
        (("workload",), "token_per_sequence", "tokens_per_sequence"),
        (POOL, "node", "nodes"),
        ((*POOL, "scale_out"), "bandwith_bytes_per_s", "bandwidth_bytes_per_s"),
        (("runtime",), "overlap_pm", "overlap_ppm"),
        ((), "wrokload", "workload"),
        ((), "refrence", "reference"),
    ],
)
@pytest.mark.parametrize("instead", [True, False], ids=["instead of the right one", "beside the right one"])
def test_a_misspelt_field_brings_up_the_right_one(path: Path_, wrong: str, right: str, instead: bool, tmp_path: Path) -> None:
    changed = deepcopy(DATA)
    node: Any = changed
    for step in path:
        node = node[step]
    node[wrong] = node[right]
    if instead:
        del node[right]
    (tmp_path / "hostile.json").write_text(json.dumps(changed), encoding="utf-8")
    refused("search", tmp_path / "hostile.json", naming=(wrong, f'did you mean "{right}"'))


@pytest.mark.parametrize("field", ["nodes", "sources", "sequences"])
def test_a_field_in_the_wrong_place_is_not_suggested_to_itself(field: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.json").write_text(put((field,), 4), encoding="utf-8")
    assert f'did you mean "{field}"' not in refused("search", tmp_path / "hostile.json", naming=(field,))


@pytest.mark.parametrize("path", ["workload.sequences", "architecture.layers.0.attention.heads", "architecture.layers.0.ffn.experts"])
def test_the_path_in_a_message_is_the_path_in_the_file_and_of_set(path: str) -> None:
    refused("search", MIXTRAL, "--set", f"{path}=0", naming=(f"{path}:",))


def test_a_pattern_in_a_message_is_quoted_as_it_is() -> None:
    assert r"\s'" not in refused("search", MIXTRAL, "--set", "architecture.source=x", naming=("source",))


@pytest.mark.parametrize("name", ["a\nError: b", "a\rb", "\x1b[2Jx", "\u202etxt", "k" * 1_000_000], ids=lambda v: ascii(v[:20]))
@pytest.mark.parametrize("where", ["a field", "a field twice", "a source", "a dtype", "a quantity of claims", "the instance of claims"])
def test_hostile_names_cannot_forge_lines_or_flood_the_terminal(where: str, name: str, tmp_path: Path) -> None:
    quoted = json.dumps(name)
    document = {"format": "shardproof-claims/1", "name": "d", "source": "s", "instance": "i.json", "plan": {"degrees": {}}}
    text = {
        "a field": raw(f'{quoted}: 1, "sequences": 32'),
        "a field twice": raw(f'{quoted}: 1, {quoted}: 2, "sequences": 32'),
        "a source": put(("workload", "sources"), {"*": "assumed: x", name: "assumed: x"}),
        "a dtype": put((*POOL, "accelerator", "peak_flop_per_s"), {name: "fast"}),
        "a quantity of claims": json.dumps(document | {"claims": [{"claim": "c", "quantity": name, "said": "1"}]}),
        "the instance of claims": json.dumps(
            document | {"instance": name, "claims": [{"claim": "c", "quantity": "gpus_used", "said": "1"}]}
        ),
    }[where]
    (tmp_path / "i.json").write_text(TEXT, encoding="utf-8")
    (tmp_path / "hostile.json").write_text(text, encoding="utf-8")
    refused("audit" if "claims" in where else "search", tmp_path / "hostile.json")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("prove", '{"degrees": {"ep": 64}, "stages": [' + "0," * 2_400_000 + "0]}"),
        ("search", put(("expert_load",), {"counts": [[]], "source": "assumed: x"}).replace("[[]]", "[[" + "-1," * 1_500_000 + "1]]")),
        ("search", "{" + ",".join(f'"k{n}":1' for n in range(350_000)) + "}"),
        ("search", put((*POOL, "accelerator", "peak_flop_per_s"), {f"k{n}": 0 for n in range(300_000)})),
    ],
    ids=["stages", "counts", "fields", "dtypes"],
)
def test_a_million_mistakes_are_refused_as_fast_as_one(command: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(text, encoding="utf-8")
    before = [REFERENCE] if command == "prove" else []
    done = spawned(command, *before, path, timeout=SECONDS)
    assert done.returncode == 2
    _assert_helpful(done.stderr, ("hostile.json",))


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({}, "degrees"),
        ({"degrees": {"tp": 0}}, "tp"),
        ({"degrees": {"tp": 10**9}}, "tp"),
        ({"degrees": {"tp": 2.0}}, "tp"),
        ({"degrees": {"tp": "2"}}, "tp"),
        ({"degrees": {"tpp": 2}}, 'did you mean "tp"'),
        ({"degrees": {}, "stages": [0]}, "stages"),
        ({"degrees": {}, "placement": [[[-1]]]}, "placement"),
        ({"degrees": {}, "placement": [[0]]}, "placement"),
        ({"degrees": {}, "order": 5}, "order"),
        ({"degrees": {}, "order": "nonsense"}, "order"),
        ({"degrees": {}, "order": "tp\nError: x"}, "order"),
    ],
    ids=str,
)
def test_a_plan_file_that_says_nothing_usable_is_refused(plan: object, field: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.json").write_text(json.dumps(plan), encoding="utf-8")
    refused("prove", REFERENCE, tmp_path / "hostile.json", "--quiet", naming=("hostile.json", field))


# YAML


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".YAML"])
def test_an_instance_may_be_yaml(suffix: str, tmp_path: Path) -> None:
    """JSON is YAML, so the instance is its own YAML form; NO is text there, not false."""
    path = tmp_path / f"i{suffix}"
    path.write_text("# a comment\n" + TEXT.replace('"name": "mixtral8x7b_8gpu"', "name: NO"), encoding="utf-8")
    assert CliRunner().invoke(app, ["search", str(path), "--quiet"]).stdout.startswith("NO: OPTIMAL")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!python/object/apply:os.system ['touch PWNED']", ("tag", "python")),
        ("name: !!python/name:os.system ''", ("tag", "python")),
        ("!!python/object/new:os.system ['touch PWNED']", ("tag", "python")),
        ("name: !include /etc/passwd", ("tag", "!include")),
        ("name: !!binary aGVsbG8=", ("tag", "binary")),
        ("!!set {a, b}", ("tag", "set")),
        ("a: &a [x]\nb: *a", ("alias",)),
        ("\n".join(f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}" if n else "lol"] * 9) + "]" for n in range(12)), ("alias",)),
        ("a: &a\n  b: *a", ("alias",)),
        ("name: a\nname: b", ("name", "twice")),
        ('name: a\n"name": b', ("name", "twice")),
        ("workload: {sequences: 1, sequences: 2}", ("sequences", "twice")),
        ("<<: {a: 1}\nformat: x", ("hostile.yaml",)),
        ("? [a, b]\n: 1", ("key",)),
        ("? {a: b}\n: 1", ("key",)),
        ("[" * DEEP + "]" * DEEP, ("nested",)),
        ("{a: " * DEEP + "}" * DEEP, ("nested",)),
        ("- " * DEEP + "x", ("nested",)),
        ("\n".join(" " * n + "a:" for n in range(600)), ("nested",)),
        ("[" * 4_000_000, ("hostile.yaml",)),
        ("name:\n\tx: 1", ("line 2",)),
        ("a: [1, 2\nb: }", ("line 2",)),
        ('a: "x', ("line",)),
        ("a: 1\n---\na: 2", ("document",)),
        ("%YAML 3.0\n---\na: 1", ("line 1",)),
        ("name: \x1b[2J", ("hostile.yaml",)),
        ("name: a\x00b", ("hostile.yaml",)),
        ('"a\\nError: b": 1\n"a\\nError: b": 2', ("twice",)),
        ("!<tag:x%0aError:y> a", ("tag",)),
        ("", ("hostile.yaml",)),
        ("# nothing", ("hostile.yaml",)),
        ("- 1", ("hostile.yaml",)),
        ("5", ("hostile.yaml",)),
        ("hello", ("hostile.yaml",)),
        ("x" * 6_000_000, ("hostile.yaml", "bytes")),
    ],
    ids=lambda v: repr(v[:24]) if isinstance(v, str) else "",
)
def test_yaml_that_json_could_not_say_is_refused(
    text: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hostile.yaml").write_text(text, encoding="utf-8")
    refused("search", "hostile.yaml", naming=("hostile.yaml", *words))
    assert not Path("PWNED").exists()


@pytest.mark.parametrize(
    ("value", "field"),
    [(v, "sequences") for v in ("2026-01-01", "1:30", "017", "0x20", "3_2", "1e2", "32.0", ".nan", ".inf", "~", "yes", '"32"', "9" * DEEP)]
    + [(v, "tied_embeddings") for v in ("on", "NO", "yes", "False", "1", '"false"')],
)
def test_yaml_guesses_no_types(value: str, field: str, tmp_path: Path) -> None:
    old = '"sequences": 32' if field == "sequences" else '"tied_embeddings": false'
    (tmp_path / "hostile.yaml").write_text(raw(f'"{field}": {value}', old), encoding="utf-8")
    refused("search", tmp_path / "hostile.yaml", naming=("hostile.yaml", field))


@pytest.mark.parametrize(
    "text",
    ["[" + "1," * 2_400_000 + "1]", "- - - - - - -\n" * 300_000, "-\n" * 2_400_000, "".join(f"k{n}: 1\n" for n in range(400_000))],
    ids=["flow list", "nested lists", "block list", "mapping"],
)
def test_a_large_yaml_file_is_not_chewed_for_minutes(text: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.yaml").write_text(text, encoding="utf-8")
    done = spawned("search", tmp_path / "hostile.yaml", timeout=SECONDS)
    assert done.returncode == 2
    _assert_helpful(done.stderr, ("hostile.yaml",))


# Audit documents


def _document(folder: Path, **changed: object) -> Path:
    claim = {"claim": "c", "quantity": "gpus_used", "said": "128"}
    document = {"format": "shardproof-claims/1", "name": "d", "source": "s", "instance": "in/i.json", "claims": [claim]}
    document |= {"plan": {"degrees": {"ep": 64, "tp": 2}}} | changed
    (folder / "docs" / "in").mkdir(parents=True)
    (folder / "docs" / "in" / "i.json").write_bytes(REFERENCE.read_bytes())
    (folder / "outside.json").write_bytes(REFERENCE.read_bytes())
    (folder / "docs" / "link.json").symlink_to(folder / "outside.json")
    (folder / "docs" / "loop.json").symlink_to(folder / "docs" / "loop.json")
    (folder / "docs" / "up").symlink_to(folder)
    path = folder / "docs" / "doc.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "instance",
    [
        "../outside.json",
        "in/../../outside.json",
        "link.json",
        "up/outside.json",
        "/etc/passwd",
        "~/x.json",
        "",
        ".",
        "in",
        "doc.json",
        "missing.json",
        "loop.json",
        "a\x00b",
        "x" * 5000,
        "x/" * 5000,
        "\n/../../outside.json",
        "file:///etc/passwd",
        "{tmp}/outside.json",
    ],
    ids=lambda v: ascii(v[:24]),
)
def test_an_audit_reads_no_instance_outside_its_documents_folder(instance: str, tmp_path: Path) -> None:
    path = _document(tmp_path, instance=instance.replace("{tmp}", str(tmp_path)))
    refused("audit", path, "--quiet")


@pytest.mark.parametrize("instance", ["in/i.json", "in/../in/i.json", "./in/i.json", "../docs/in/i.json", "{tmp}/docs/in/i.json"])
def test_an_audit_reads_an_instance_below_its_document(instance: str, tmp_path: Path) -> None:
    path = _document(tmp_path, instance=instance.replace("{tmp}", str(tmp_path)))
    assert CliRunner().invoke(app, ["audit", str(path), "--quiet"]).exit_code == 0


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"quantity": "beauty"}, "beauty"),
        ({"said": "1e5"}, "said"),
        ({"said": 128}, "said"),
        ({"said": "NaN"}, "said"),
        ({"said": "9" * 1000}, "said"),
        ({"relation": "about"}, "relation"),
        ({"own_arithmetic": {"parts": [], "what": "x"}}, "parts"),
        ({"own_arithmetic": {"parts": ["1"], "over": "0", "what": "x"}}, "over"),
        ({"said": "1", "own_arithmetic": {"parts": ["1"], "over": "0.0", "what": "x"}}, "over"),
        ({"own_arithmetic": {"parts": ["1/0"], "what": "x"}}, "parts"),
    ],
    ids=str,
)
def test_a_claim_that_cannot_be_judged_is_refused(changed: dict[str, object], word: str, tmp_path: Path) -> None:
    claim = {"claim": "c", "quantity": "gpus_used", "said": "128"} | changed
    refused("audit", _document(tmp_path, claims=[claim]), "--quiet", naming=("doc.json", word))


def test_a_document_without_claims_is_refused(tmp_path: Path) -> None:
    refused("audit", _document(tmp_path, claims=[]), naming=("doc.json", "claims"))


# Options


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nothing", "nothing"),
        ("", "--set"),
        ("=", "--set"),
        ("=5", "--set"),
        (" =5", "--set"),
        ("bogus=1", "bogus"),
        ("bogus.x=1", "bogus"),
        ("objective.limis.ttft_ns=1", "limits, name"),
        ("objective.limits.tft_ns=1", "objective.limits.tft_ns"),
        ("objective.limits.ttft_ns.x=1", "no 'ttft_ns' to step into"),
        ("expert_load.source=x", "expert_load.counts: missing"),
        (".=1", "--set"),
        ("workload.=1", "workload"),
        ("workload..sequences=1", "workload"),
        ("workload.sequences.x=1", "sequences"),
        ("workload.sequences.0=1", "sequences"),
        ("workload.sequnces=1", 'did you mean "sequences"'),
        ("name.x=1", "name"),
        ("cluster.pools.1.nodes=1", "pools"),
        ("cluster.pools.1=1", "pools"),
        ("cluster.pools.-1.nodes=1", "pools"),
        ("cluster.pools.0.0=1", "pools"),
        ("cluster.pools.²=1", "pools"),
        ("cluster.pools.².nodes=1", "pools"),
        ("architecture.layers.7.count=1", "layers"),
        (f"cluster.pools.{'9' * 5000}.nodes=1", "pools"),
        (f"cluster.pools.{'9' * 5000}=1", "pools"),
        ("x" * 1_000_000 + "=1", "x"),
        ("x." * 100_000 + "y=1", "x"),
        ("workload.sequences=", "sequences"),
        ("workload.sequences=NaN", "sequences"),
        ("workload.sequences=-Infinity", "sequences"),
        ("workload.sequences=1.5", "sequences"),
        ('workload.sequences={"a": 1, "a": 2}', "sequences"),
        ("workload.sequences=" + "9" * DEEP, "sequences"),
        ("workload.sequences=" + "x" * 10_000_000, "sequences"),
        ("workload.sequences=a\nError: b", "sequences"),
        ("workload.sequences=\ud800", "sequences"),
        ("name=" + "[" * 900 + "]" * 900, "name"),
        ("name=" + "[" * 100_000, "name"),
        ("bogus\nError: x=1", "bogus"),
        ("bogus\nError: x.y=1", "bogus"),
        ("nothing\nError: x", "nothing"),
        ("workload=5", "workload"),
        ("cluster.pools=[]", "pools"),
        ("workload.sources=5", "sources"),
    ],
    ids=lambda v: ascii(v[:40]),
)
def test_a_set_that_cannot_be_applied_is_named(text: str, word: str) -> None:
    refused("search", MIXTRAL, "--set", text, naming=(word,))


@pytest.mark.parametrize("text", ["x=1", "x.y=1", "=1", "x"])
def test_set_on_a_file_that_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    for content in ("5", "[1, 2]", "null", '"x"'):
        (tmp_path / "hostile.json").write_text(content, encoding="utf-8")
        refused("search", tmp_path / "hostile.json", "--set", text)


@pytest.mark.parametrize(
    ("vary", "word"),
    [
        (["nothing"], "nothing"),
        ([""], "--vary"),
        (["=1,2"], "--vary"),
        (["workload.sequences="], "sequences"),
        (["workload.sequences=32,"], "sequences"),
        (["workload.sequences=,32"], "sequences"),
        (["workload.sequences=32,32"], "twice"),
        (["workload.sequences=32", "workload.sequences=64"], "twice"),
        (["workload.sequences=" + ",".join(map(str, range(1, 400))), "cluster.nodes=" + ",".join(map(str, range(1, 400)))], "at most"),
        (["bogus.x=1,2"], "--vary bogus.x"),
        (["foo=1"], "--vary foo: no such field"),
        (["workload.sequnces=1,2"], 'did you mean "sequences"'),
        (["objective.limits.tft_ns=1"], 'did you mean "ttft_ns"'),
        (["objective.limis.ttft_ns=1"], "limits, name"),
        (["workload.sequences=1", "cluster.accelerator.bogus=1,2"], "--vary cluster.accelerator.bogus"),
        (["workload.sequences.x=1"], "--vary workload.sequences.x"),
        (["cluster.pools.4=1"], "--vary cluster.pools.4"),
        (["cluster.pools.4.nodes=1"], "--vary cluster.pools.4"),
        (["cluster.pools.²=1"], "--vary cluster.pools"),
        ([f"cluster.pools.{'9' * 5000}.nodes=1"], "--vary cluster.pools"),
        (["workload.sequences=32,NaN"], "--vary"),
        (["bogus\nError: x"], "bogus"),
        (["bogus\nError: x.y=1"], "bogus"),
    ],
    ids=lambda v: ascii(v[0][:40]) if isinstance(v, list) else "",
)
def test_a_vary_that_cannot_be_applied_is_named_and_writes_nothing(vary: list[str], word: str, tmp_path: Path) -> None:
    options = [o for v in vary for o in ("--vary", v)]
    refused("batch", "run", MIXTRAL, *options, "--out", tmp_path / "out", naming=(word,))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "epsilon", ["-1", "nan", "sNaN", "abc", "", "101", "inf", "-inf", "1e400000000", "1,5", "1 000", "%", "5\nx", "1" * 9999]
)
def test_an_epsilon_that_is_no_percentage_is_refused(epsilon: str) -> None:
    refused("search", MIXTRAL, "--epsilon", epsilon, naming=("--epsilon",))


@pytest.mark.parametrize("epsilon", ["0", "0.5", "2.5%", "1e-400000000", " 1 "])
def test_an_epsilon_that_is_a_percentage_is_accepted(epsilon: str) -> None:
    assert CliRunner().invoke(app, ["search", str(LLAMA), "--quiet", "--epsilon", epsilon]).exit_code == 0


@pytest.mark.parametrize("name", ["", "x", "Instance", "../etc", "a\nError: b", "x" * 100_000], ids=lambda v: ascii(v[:20]))
def test_a_schema_that_does_not_exist_is_refused(name: str) -> None:
    refused("schema", name, naming=("instance, service, plan, fleet, claims",))


# Large but valid: the limit must bite

LARGE = ("--set", "cluster.nodes=8192", "--space", "folded", "--set", "workload.sequences=65536")


@pytest.mark.parametrize("instance", [REFERENCE, LLAMA, MIXTRAL], ids=lambda p: p.stem)
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("workload.sequences=10000000",),
        ("workload.sequences=9999991",),
        ("architecture.layers.count=1000",),
        ('objective={"name": "throughput_per_gpu"}',),
    ],
    ids=lambda s: " ".join(s) or "as is",
)
def test_the_effort_limit_bites_on_65536_gpus(instance: Path, settings: tuple[str, ...]) -> None:
    options = [o for s in settings for o in ("--set", s)]
    done = spawned("search", instance, *LARGE, *options, "--effort", "1", timeout=SECONDS)
    assert done.returncode == 4, done.stderr


@pytest.mark.parametrize("limit", [("--effort", "1"), ("--seconds", "1")], ids=" ".join)
@pytest.mark.parametrize(
    ("instance", "setting"),
    [(LLAMA, "space.microbatches=[7]"), (REFERENCE, "space.edp=[99991]")],
    ids=["no micro-batches fit", "no expert copies fit"],
)
def test_a_limit_bites_where_no_strategy_is_found_at_all(instance: Path, setting: str, limit: tuple[str, str]) -> None:
    done = spawned("search", instance, *LARGE, "--set", setting, *limit, timeout=SECONDS)
    assert done.returncode in (3, 4), done.stderr


def test_the_wall_limit_bites_on_65536_gpus() -> None:
    assert spawned("search", LLAMA, *LARGE, "--seconds", "1", timeout=SECONDS).returncode == 4


def test_the_wall_limit_covers_the_pricing_of_every_plan_within_epsilon() -> None:
    larger = ("--set", "cluster.nodes=128", "--set", "workload.sequences=1024")
    done = spawned("search", REFERENCE, "--space", "folded", *larger, "--epsilon", "100", "--seconds", "1", timeout=2 * SECONDS)
    assert done.returncode == 4, done.stderr


def _many_layers() -> str:
    """300 MoE layers, all different, each with its own skewed load over 512 experts."""
    data = json.loads(REFERENCE.read_text(encoding="utf-8"))
    layer = data["architecture"]["layers"][0]
    layers = [deepcopy(layer) | {"count": 1} for _ in range(300)]
    for n, group in enumerate(layers):
        group["attention"]["head_dim"] = 64 + n % 64
        group["ffn"] |= {"experts": 512, "top_k": 8, "intermediate_size": 256 * (1 + n % 7)}
    data["architecture"]["layers"] = layers
    counts = [[1 + (n * 7919 + e * e * 104_729) % 997 for e in range(512)] for n in range(300)]
    data["expert_load"] = {"counts": counts, "source": "assumed: skewed"}
    data["space"] = {"name": "folded"}
    return json.dumps(data)


@pytest.mark.parametrize("reference", [True, False], ids=["with a reference plan", "without"])
def test_the_effort_limit_bites_on_hundreds_of_different_layers(reference: bool, tmp_path: Path) -> None:
    data = json.loads(_many_layers())
    if not reference:
        del data["reference"]
    (tmp_path / "large.json").write_text(json.dumps(data), encoding="utf-8")
    done = spawned("search", tmp_path / "large.json", "--effort", "1", timeout=2 * SECONDS)
    assert done.returncode == 4, done.stderr
