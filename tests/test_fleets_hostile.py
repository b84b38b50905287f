"""`fleet` from outside: known answers, and files and certificates made to break it, each of which ends soon in one clear sentence."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from test_reading import refused
from test_second_fleets import agreed, document
from typer.testing import CliRunner

from models.certificate import NotACertificate
from models.fleet import ROLES
from optimizer.check import check
from optimizer.cli import app

ROOT = Path(__file__).parent.parent
SECONDS = 60  # a hang, not a speed: nothing here takes a twentieth of it
MEMORY = 1_500 * 2**20  # of address space
HEADER = "role,num_total_gpus,seq/s,tokens/s,parallel,bs"
ROWS = """\
aggregated,2,2,200,tp2,8
aggregated,4,4.3,430,tp4,8
aggregated,8,9,900,tp8,16
aggregated,8,8.5,850,tp8,8
prefill,1,3,0,tp1,1
prefill,2,8,0,tp2,1
prefill,4,15,0,tp4,1
decode,2,3,300,tp2,32
decode,4,7,700,tp4,64
decode,8,16,1600,tp8,128
"""
ROW = ROWS.splitlines()[0]
BIG = 10**60 - 1

Json = Any


def run(*args: object) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.csv"
    path.write_text(f"{HEADER}\n{ROWS}", encoding="utf-8")
    return path


def answer(path: Path, *more: object, gpus: int = 16, code: int = 0) -> Json:
    result = run("fleet", path, "--gpus", gpus, "--output-tokens", 100, "--json", *more)
    assert (result.exit_code, result.stderr) == (code, "")
    return json.loads(result.stdout)


def mix(found: Json) -> list[tuple[str, int]]:
    return [(w["name"], w["count"]) for w in found["workers"]]


# Known answers


def test_the_best_mix_of_ten_shapes_is_the_known_one(shapes: Path) -> None:
    """430 of one worker, and 16 requests/s of two prefill workers and one decode worker, 100 tokens each."""
    found = answer(shapes)
    assert (found["status"], found["value"], found["bound"]) == ("OPTIMAL", 2_030_000_000, 2_030_000_000)
    assert mix(found) == [("tp4 bs8", 1), ("tp2 bs1", 2), ("tp8 bs128", 1)]
    assert (found["gpus_used"], found["tokens_per_s"], found["rows"]) == (16, 2030, 10)
    assert found["proof"]["checked"] is True
    assert any("shapes.csv" in text for text in found["assumptions"])


def test_a_cell_keeps_the_shares_of_its_workers(shapes: Path) -> None:
    found = answer(shapes, "--prefill-share", "90", "--decode-share", "92.5%")
    assert found["value"] == 1_870_000_000  # 430 + 0.9 * 1600
    assert any("90 %" in text and "92.5 %" in text for text in found["assumptions"])


@pytest.mark.parametrize(("load", "gpus"), [(0, 0), (1, 2), (1900, 15), (1901, 16), (2030, 16)])
def test_a_load_is_reached_on_the_fewest_gpus(shapes: Path, load: int, gpus: int) -> None:
    found = answer(shapes, "--load", load)
    assert (found["status"], found["value"], found["bound"], found["gpus_used"]) == ("OPTIMAL", gpus, gpus, gpus)
    assert found["tokens_per_s"] >= load


def test_a_load_out_of_reach_ends_with_exit_3_and_the_most_there_is(shapes: Path) -> None:
    found = answer(shapes, "--load", 2031, code=3)
    assert (found["status"], found["value"], found["bound"], found["workers"]) == ("INFEASIBLE", None, None, [])
    assert found["most_tokens_per_s"] == 2030
    said = run("fleet", shapes, "--gpus", 16, "--output-tokens", 100, "--load", 2031)
    assert (said.exit_code, said.stderr, said.stdout.count("\n")) == (3, "", 1)
    assert "2,030.00 tokens/s" in said.stdout


@pytest.mark.parametrize("load", [None, 1900, 2031])
def test_check_accepts_the_certificate_that_was_written(shapes: Path, tmp_path: Path, load: int | None) -> None:
    proof, more = tmp_path / "proof.json", () if load is None else ("--load", load)
    found = answer(shapes, "--certificate", proof, *more, code=3 if load == 2031 else 0)
    said = run("check", proof, "--json")
    assert said.exit_code == 0
    seen = json.loads(said.stdout)
    assert (seen["status"], seen["claim"]["kind"]) == ("VALID", "fleet")
    assert (seen["claim"]["value"], seen["claim"]["bound"]) == (found["value"], found["bound"])
    assert agreed(proof.read_text(encoding="utf-8"))
    assert found["proof"]["certificate_bytes"] == proof.stat().st_size


def test_rows_of_several_files_are_taken_together(shapes: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"{role}.csv" for role in ROLES]
    for role, path in zip(ROLES, parts, strict=True):
        path.write_text("\n".join([HEADER, *(row for row in ROWS.splitlines() if row.startswith(role))]), encoding="utf-8")
    assert mix(answer(parts[0], *parts[1:])) == mix(answer(shapes))


def test_a_certificate_replaces_another_but_nothing_else_without_force(shapes: Path, tmp_path: Path) -> None:
    proof, before = tmp_path / "proof.json", shapes.read_text(encoding="utf-8")
    for path in (shapes, tmp_path, tmp_path / "nowhere" / "proof.json"):
        refused("fleet", shapes, "--gpus", 16, "--output-tokens", 100, "--certificate", path, naming=("--certificate",))
    assert shapes.read_text(encoding="utf-8") == before
    answer(shapes, "--certificate", proof)
    answer(shapes, "--certificate", proof, gpus=8)
    assert json.loads(proof.read_text(encoding="utf-8"))["claim"]["problem"]["pools"][0]["gpus"] == 8
    proof.write_text("notes", encoding="utf-8")
    refused("fleet", shapes, "--gpus", 16, "--output-tokens", 100, "--certificate", proof, naming=("--force",))
    assert proof.read_text(encoding="utf-8") == "notes"
    answer(shapes, "--certificate", proof, "--force")
    assert run("check", proof).exit_code == 0


# Files


def with_row(row: str) -> bytes:
    return f"{HEADER}\n{row}\n".encode()


def with_rate(text: str) -> bytes:
    return with_row(f"aggregated,2,0,{text},tp2,8")


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no column role"),
    "blank lines": (b"\n\n \n", "no column role"),
    "no header": (ROWS.encode(), "no column role"),
    "a header alone": (f"{HEADER}\n\n".encode(), "no rows"),
    "columns missing": (b"role,seq/s\nprefill,1\n", "no column num_total_gpus"),
    "a column twice": (f"role,{HEADER}\nprefill,{ROW}\n".encode(), "2 columns are role"),
    "100000 columns": (",".join(f"c{n}" for n in range(100_000)).encode(), "no column role"),
    "semicolons": (f"{HEADER}\n{ROWS}".replace(",", ";").encode(), "no column role"),
    "JSON": (b'{"role": "decode"}', "no column role"),
    "NaN": (with_rate("NaN"), "line 2: tokens/s 'NaN'"),
    "a signalling NaN": (with_rate("sNaN"), "sNaN"),
    "infinite": (with_rate("inf"), "'inf'"),
    "negative": (with_rate("-1"), "'-1'"),
    "no rate": (with_rate(""), "tokens/s ''"),
    "1e400": (with_rate("1e400"), "'1e400'"),
    "an exponent of 20 digits": (with_rate("1e" + "9" * 20), "is not a rate"),
    "an exponent below all": (with_rate("1e-" + "9" * 20), "is not a rate"),
    "underscores": (with_rate("1_000"), "'1_000'"),
    "digits of another script": (with_rate("\u0663"), "is not a rate"),
    "130000 digits": (with_rate("9" * 130_000), "is not a rate"),
    "130000 digits after the point, often": (f"{HEADER}\n".encode() + (with_rate("1." + "0" * 130_000 + "1") * 30), "is not a rate"),
    "millions of digits": (with_rate("9" * 4_000_000), "field larger than"),
    "no GPUs": (with_row("decode,0,1,1,a,1"), "gpus"),
    "half a GPU": (with_row("decode,0.5,1,1,a,1"), "num_total_gpus '0.5'"),
    "GPUs below zero": (with_row("decode,-1,1,1,a,1"), "num_total_gpus '-1'"),
    "GPUs of a million digits": (with_row(f"decode,{'1' * 100_000},1,1,a,1"), "num_total_gpus"),
    "more GPUs than any cluster has": (with_row("decode,999999999,1,1,a,1"), "65536"),
    "another role": (with_row("Decode,1,1,1,a,1"), "role"),
    "a role of 100000 characters": (with_row(f"{'x' * 100_000},1,1,1,a,1"), "role"),
    "a row too short": (with_row("decode,1"), "2 values for 6 columns"),
    "a row too long": (with_row("decode,1,1,1,a,1,2"), "7 values for 6 columns"),
    "a NUL in a name": (with_row("decode,1,1,1,a\0b,1"), "printed"),
    "an escape in a name": (with_row("decode,1,1,1,a\x1b[2Jb,1"), "printed"),
    "a line break in a name": (with_row('decode,1,1,1,"a\nb",1'), "line 3"),
    "a long name": (with_row(f"decode,1,1,1,{'x' * 121},1"), "120"),
    "NULs": (b"\0" * 1000, "no column role"),
    "Latin-1": (with_row("decode,1,1,1,caf\u00e9,1").decode().encode("latin-1"), "UTF-8"),
    "UTF-16": (f"{HEADER}\n{ROWS}".encode("utf-16"), "UTF-8"),
    "an open quote": (with_row('decode,1,1,1,"a,1'), "not CSV"),
    "an open quote over much": (f'{HEADER}\n"'.encode() + ROWS.encode() * 9000, "not CSV"),
    "above 5 MB": (f"{HEADER}\n{ROWS}".encode() * 20_000, "bytes"),
    "100001 rows": (f"{HEADER}\n".encode() + b"decode,1,1,1,,\n" * 100_001, "100000 rows"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_one_sentence(name: str, tmp_path: Path) -> None:
    content, said = HOSTILE[name]
    path, start = tmp_path / "hostile.csv", perf_counter()
    path.write_bytes(content)
    refused("fleet", path, "--gpus", 8, "--output-tokens", 100, naming=("hostile.csv", said))
    assert perf_counter() - start < SECONDS


@pytest.mark.parametrize("kind", ["a folder", "nothing", "a pipe", "a dangling link", "a name too long"])
def test_what_is_not_a_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300 if kind == "a name too long" else "hostile.csv")
    match kind:
        case "a folder":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a dangling link":
            path.symlink_to(tmp_path / "nowhere")
    refused("fleet", path, "--gpus", 8, "--output-tokens", 100)


def test_names_that_are_not_utf_8_are_escaped(shapes: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.csv")
    path.write_bytes(shapes.read_bytes())
    assert "\\udcff.csv" in answer(path)["assumptions"][0]
    path.write_bytes(b"")
    refused("fleet", path, "--gpus", 8, "--output-tokens", 100)


HARMLESS = {
    "a byte order mark": f"\ufeff{HEADER}\n{ROW}\n",
    "no line break at the end": f"{HEADER}\n{ROW}",
    "breaks of other systems": f"{HEADER}\r\n{ROW}\r\n",
    "blanks around cells": f"{HEADER.replace(',', ' , ')}\n{ROW.replace(',', ' , ')}\n",
    "quotes": '"role","num_total_gpus","seq/s","tokens/s","parallel","bs"\n"aggregated","2","2","200.0","tp2","8"\n',
    "blank lines": f"\n{HEADER}\n\n{ROW}\n\n",
    "further columns": f"{HEADER},memory\n{ROW},\n",
    "an exponent": f"{HEADER}\naggregated,2,,2e+2,tp2,8\n",
    "a rate of nearly nothing beside it": f"{HEADER}\n{ROW}\naggregated,1,0,1e-400,,\n",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_spreadsheets_write_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "shapes.csv"
    path.write_text(HARMLESS[name], encoding="utf-8", newline="")
    assert mix(answer(path, gpus=4)) == [("tp2 bs8", 2)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--prefill-share", v) for v in ("101", "-1", "nan", "inf", "x", "1" * 1000, "1e400")),
        ("--decode-share", "100.0001"),
        ("--gpus", "65536"),
        ("--gpus", "14142"),
    ],
)
def test_options_out_of_range_are_refused_in_a_sentence(shapes: Path, option: str, value: str) -> None:
    start = perf_counter()
    refused("fleet", shapes, "--gpus", 8, "--output-tokens", 100, option, value, naming=(option,))
    assert perf_counter() - start < SECONDS


@pytest.mark.parametrize("more", [("--gpus", "0"), ("--gpus", "65537"), ("--gpus", "9" * 5000), ("--load", "-1"), ("--output-tokens", "0")])
def test_options_of_no_meaning_end_with_exit_2(shapes: Path, more: tuple[str, str]) -> None:
    result = run("fleet", shapes, "--gpus", 8, "--output-tokens", 100, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert more[0] in result.stderr


def test_rows_whose_certificate_no_checker_would_read_are_refused(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand rows with long names, say."""
    monkeypatch.setattr("models.certificate.MOST_CHARACTERS", 1000)
    refused("fleet", shapes, "--gpus", 8, "--output-tokens", 100, naming=("10 rows",))


# Certificates


def pool(gpus: int, **more: Any) -> Json:
    return {"name": "p", "gpus": gpus, **more}


def worker(gpus: int = 1, rate: int = 1, role: str = "aggregated", **more: Any) -> Json:
    return {"name": "w", "role": role, "gpus": gpus, "rate": rate, **more}


def claim(pools: Json, workers: Json, fleet: Json = (), value: int | None = 0, bound: int | None = 0, **more: Any) -> Json:
    problem = {"pools": pools, "workers": workers, **more}
    return {"kind": "fleet", "problem": problem, "fleet": None if fleet is None else list(fleet), "value": value, "bound": bound}


def chosen(worker: int, count: int) -> Json:
    return {"worker": worker, "count": count}


def stairs(count: int, most_gpus: int) -> Json:
    """Shapes of which none is dominated, as far as there are sizes."""
    return [worker(n % most_gpus + 1, 10 * (n % most_gpus + 1) + n, ROLES[n % 3]) for n in range(count)]


REFUSED: dict[str, tuple[Json, str]] = {
    "16 pools of 65536": (claim([pool(65_536)] * 16, [worker()]), "too many"),
    "16 pools of one": (claim([pool(1)] * 16, [worker()]), "too many"),
    "17 pools": (claim([pool(1)] * 17, [worker()]), "16"),
    "no pools": (claim([], []), "at least 1"),
    "65536 GPUs": (claim([pool(65_536)], [worker()]), "too many"),
    "65537 GPUs": (claim([pool(65_537)], [worker()]), "65536"),
    "GPUs of 60 digits": (claim([pool(BIG)], [worker()]), "65536"),
    "100000 workers on 65536 GPUs": (claim([pool(65_536)], stairs(100_000, 65_536)), "too many"),
    "100001 workers": (claim([pool(1)], [worker()] * 100_001), "100000"),
    "100000 workers of another pool": (claim([pool(1)], [worker(pool=1)] * 100_000), "pool"),
    "pool 10^60 - 1": (claim([pool(1)], [worker(pool=BIG)]), "15"),
    "pool -1": (claim([pool(1)], [worker(pool=-1)]), "0"),
    "a worker of no GPUs": (claim([pool(1)], [worker(0)]), "1"),
    "a rate below zero": (claim([pool(1)], [worker(rate=-1)]), "0"),
    "a load below zero": (claim([pool(1)], [worker()], load=-1), "0"),
    "no load": (claim([pool(1)], [worker()], objective="gpus"), "add load"),
    "rates of 60 digits, summed": (claim([pool(2)], [worker(rate=BIG)], [chosen(0, 2)], BIG, BIG), "the value"),
    "rates of 60 digits above any bound": (claim([pool(2)], [worker(rate=BIG)], [chosen(0, 1)], BIG, BIG), "some fleet"),
    "a load of 60 digits": (claim([pool(2)], [worker(rate=BIG)], None, None, None, load=BIG), "a fleet reaches"),
    "a price above all": (claim([pool(1, price_uusd_per_gpu_hour=10**18 + 1)], []), "1000000000000000000"),
    "a count of 60 digits": (claim([pool(1)], [worker()], [chosen(0, BIG)], BIG, BIG), "65536"),
    "65536 workers on one GPU": (claim([pool(1)], [worker()], [chosen(0, 65_536)], 65_536, 65_536), "65536 GPUs"),
    "workers that do not exist": (claim([pool(1)], [], [chosen(0, 1)], 1, 1), "no worker 0"),
    "worker 10^60 - 1": (claim([pool(1)], [worker()], [chosen(BIG, 1)], 1, 1), "100000"),
    "a shape twice": (claim([pool(2)], [worker()], [chosen(0, 1)] * 2, 2, 2), "twice"),
    "a shape 100001 times": (claim([pool(2)], [worker()], [chosen(0, 1)] * 100_001, 2, 2), "100000"),
    "a count of none": (claim([pool(1)], [worker()], [chosen(0, 0)], 0, 1), "1"),
    "rates of zero, worth one": (claim([pool(2)], [worker(rate=0)], [chosen(0, 2)], 1, 1), "the value"),
    "a name that clears the screen": (claim([{"name": "\x1b[2J", "gpus": 1}], []), "printed"),
    "a name of a million characters": (claim([{"name": "x" * 10**6, "gpus": 1}], []), "at most"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_certificate_is_refused_soon(name: str) -> None:
    content, said = REFUSED[name]
    text, start = json.dumps(document(content)), perf_counter()
    verdict = check(text)
    assert not verdict.valid
    assert said in (verdict.reason or ""), verdict
    assert len(verdict.reason or "") < 500
    assert (verdict.reason or "").isprintable()
    assert perf_counter() - start < SECONDS


ODD: dict[str, str] = {
    "a rate of 61 digits": json.dumps(document(claim([pool(1)], [worker(rate=BIG + 1)]))),
    "a rate with a point": json.dumps(document(claim([pool(1)], [worker()]))).replace('"rate": 1', '"rate": 1.0'),
    "nested pools": json.dumps(document(claim("here", []))).replace('"here"', "[" * 10_000 + "]" * 10_000),
    "above 16 million characters": json.dumps(document(claim([pool(1)], [worker()] * 350_000))),
}


@pytest.mark.parametrize("name", ODD)
def test_what_no_checker_reads_is_no_certificate(name: str) -> None:
    start = perf_counter()
    with pytest.raises(NotACertificate):
        check(ODD[name])
    assert perf_counter() - start < SECONDS


ACCEPTED: dict[str, Json] = {
    "100000 workers on 500 GPUs": claim([pool(500)], stairs(100_000, 65_536), None, None, BIG),
    "100000 equal workers": claim([pool(3)], [worker()] * 100_000, [chosen(99_999, 3)], 3, 3),
    "a rate of 60 digits": claim([pool(1)], [worker(rate=BIG)], [chosen(0, 1)], BIG, BIG),
    "a load of 60 digits": claim([pool(1)], [worker(rate=BIG)], [chosen(0, 1)], 1, 1, objective="gpus", load=BIG),
    "a load out of reach": claim([pool(1)], [worker(rate=BIG - 1)], None, None, None, load=BIG),
    "rates of zero": claim([pool(2)], [worker(rate=0)], [chosen(0, 2)], 0, 0),
    "a load of zero": claim([pool(2)], [worker()], objective="cost", load=0),
    "no shapes": claim([pool(2)], []),
    "shapes larger than the pool": claim([pool(2)], [worker(3, BIG)]),
    "11 pools": claim([pool(1)] * 11, [worker(pool=10)], [chosen(0, 1)], 1, 1),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_strange_certificate_that_is_true_is_accepted_soon(name: str) -> None:
    text, start = json.dumps(document(ACCEPTED[name])), perf_counter()
    verdict = check(text)
    assert verdict.valid, verdict
    assert perf_counter() - start < SECONDS


@pytest.mark.parametrize("name", ["100000 workers on 65536 GPUs", "a shape 100001 times"])
def test_check_needs_little_memory_for_a_hostile_certificate(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(document(REFUSED[name][0])), encoding="utf-8")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    command = [sys.executable, "-m", "optimizer", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, preexec_fn=limit)
    assert (done.returncode, done.stderr) == (5, "")
    assert done.stdout.count("\n") == 1
    assert REFUSED[name][1] in done.stdout
