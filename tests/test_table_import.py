"""Measured rows to tables: strays, gaps, what is left out, which file of which version, and how an instance names the file."""

import json
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.errors import InputError
from models.instance import Instance
from models.measured import OperatorTables, Table
from models.units import WHOLE
from optimizer.cli import app
from optimizer.doctor import TINY
from optimizer.measuring import importing
from optimizer.measuring.building import build_table
from optimizer.measuring.grids import fill_grid
from optimizer.measuring.importing import run_import_tables
from optimizer.measuring.needed import needed
from optimizer.measuring.sources import FAMILIES, FORMATS, Family, Series, Timed, timed_rows
from optimizer.reading import read_record, validate

Json = dict[str, Any]
ATTENTION = {"batch_size": 2, "isl": 1, "step": 127, "num_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "window_size": 0}
ATTENTION |= {"beam_width": 1, "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16"}
EXPERTS = {"moe_dtype": "bfloat16", "num_tokens": 8, "topk": 2, "num_experts": 8, "moe_ep_size": 2, "moe_tp_size": 2, "hidden_size": 256}
EXPERTS |= {"inter_size": 128, "distribution": "balanced", "kernel_source": "one"}


def family(file: str) -> Family:
    return next(f for f in FAMILIES if f.file == file)


def gemm_rows(dtype: str = "bfloat16", ms: float = 0.003) -> list[Json]:
    """Times of a made-up machine on a small grid."""
    grid = product((1, 2, 4, 8, 64), (256, 512, 1024), (64, 512, 2048))
    return [{"gemm_dtype": dtype, "m": m, "k": k, "n": n, "latency": ms + m * k * n / 1e9} for m, k, n in grid]


MEASURED = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), st.integers(1, 500), min_size=1)


@given(MEASURED)
def test_whatever_was_measured_the_grid_never_falls(times: dict[tuple[int, ...], int]) -> None:
    grid = ((1, 2, 5, 9), (1, 3, 4), (2, 3, 8))
    filled = fill_grid({tuple(g[n] for g, n in zip(grid, at, strict=True)): ns for at, ns in times.items()}, grid, (1, 2, 1))
    value = dict(zip(product(*grid), filled.ns, strict=True))
    for axis, points in enumerate(grid):
        for point in value:
            for a, b in pairwise(points):
                low, high = (tuple(x if n == axis else p for n, p in enumerate(point)) for x in (a, b))
                assert value[low] <= value[high]


def test_times_that_never_fall_stay_as_they_were_measured() -> None:
    times = {(a, b): 100 * a + b for a in (1, 2, 3) for b in (1, 2, 3) if (a, b) != (2, 2)}
    filled = fill_grid(times, ((1, 2, 3), (1, 2, 3)), (1, 1))
    assert filled.moved_ppm == []
    assert filled.ns == [101, 102, 103, 201, 202, 203, 301, 302, 303]


def test_beyond_the_last_measured_point_times_grow_in_proportion() -> None:
    assert fill_grid({(1,): 10, (2,): 15}, ((1, 2, 8),), (1,)).ns == [10, 15, 60]
    assert fill_grid({(1,): 10, (2,): 15}, ((1, 2, 8),), (2,)).ns == [10, 15, 240]


def test_filling_in_moves_no_measured_point() -> None:
    filled = fill_grid({(1, 1): 10, (9, 2): 12}, ((1, 9), (1, 2)), (1, 1))
    assert (filled.ns[0], filled.ns[3], filled.moved_ppm) == (10, 12, [])


def test_a_stray_is_dropped_and_what_lies_above_it_is_kept() -> None:
    times = {(a, b): 10 + a + b for a in (1, 2, 3, 4) for b in (1, 2, 3, 4)} | {(2, 2): 9000}
    filled = fill_grid(times, ((1, 2, 3, 4), (1, 2, 3, 4)), (1, 1))
    assert filled.ns == [10 + a + b for a in (1, 2, 3, 4) for b in (1, 2, 3, 4)]
    assert len(filled.moved_ppm) == 1


def test_two_times_that_contradict_each_other_meet_at_their_geometric_mean() -> None:
    assert fill_grid({(1,): 120, (2,): 100}, ((1, 2),), (1,)).ns == [110, 110]


def test_milliseconds_become_whole_nanoseconds_rounded_up() -> None:
    row = {"gemm_dtype": "fp8_block", "m": 3, "k": 5, "n": 7, "latency": 0.0012345671}
    (timed,) = timed_rows(family("gemm_perf"), [row])
    assert timed == Timed(Series("gemm", "fp8_block", "fp8_block", 0, 0), (3, 5, 7), 1235)


def test_experts_spread_evenly_are_a_ranks_share_of_inputs_and_experts() -> None:
    (few,) = timed_rows(family("moe_perf"), [EXPERTS | {"latency": 0.02}])
    assert (few.point, few.series.width, few.series.matrices, few.curve) == ((8, 4 * WHOLE, 64), 256, 3, (4, 64))
    (fewer,) = timed_rows(family("moe_perf"), [EXPERTS | {"latency": 0.02, "num_tokens": 2}])
    assert fewer.point == (2, 2 * WHOLE, 64)
    (plain,) = timed_rows(family("moe_perf"), [EXPERTS | {"latency": 0.02, "kernel_source": "x_nongated"}])
    assert plain.series.matrices == 2


@pytest.mark.parametrize(
    "change",
    [
        {"distribution": "power_law_1.2"},
        {"moe_dtype": "unheard_of"},
        {"latency": 0.0},
        {"latency": float("nan")},
        {"num_tokens": 7, "moe_ep_size": 4},
    ],
)
def test_rows_that_cannot_be_said_in_our_terms_are_left_out(change: Json) -> None:
    assert list(timed_rows(family("moe_perf"), [EXPERTS | {"latency": 0.02} | change])) == []


def test_ranks_of_a_model_whose_tokens_were_not_spread_evenly_are_left_out() -> None:
    def measured(second: float) -> list[int]:
        rows = [
            EXPERTS | {"moe_tp_size": 1, "num_tokens": 64, "moe_ep_size": ep, "latency": ms} for ep, ms in ((1, 1.0), (2, second), (4, 0.3))
        ]
        return [timed.point[0] for timed in timed_rows(family("moe_perf"), rows)]

    assert measured(0.6) == [128, 64, 32]
    assert measured(0.95) == [128]


def test_a_step_of_attention_sees_its_cache_and_itself_and_windows_are_left_out() -> None:
    steps = family("generation_attention_perf")
    (timed,) = timed_rows(steps, [ATTENTION | {"latency": 0.01}])
    assert timed.point == (2, 128, 8, 2)
    assert list(timed_rows(steps, [ATTENTION | {"latency": 0.01, "window_size": 128}])) == []
    older = {name: value for name, value in ATTENTION.items() if name != "window_size"}
    assert list(timed_rows(steps, [older | {"latency": 0.01}])) == [timed]
    (alone,) = timed_rows(steps, [ATTENTION | {"latency": 0.01, "num_key_value_heads": 0}])
    assert alone.point == (2, 128, 8, 8)


def test_of_two_measurements_of_one_format_the_first_in_the_list_counts() -> None:
    rows = [ATTENTION | {"latency": 0.01, "attn_dtype": dtype, "kv_cache_dtype": "fp8"} for dtype in ("fp8", "bfloat16")]
    assert [t.series.measured_as for t in timed_rows(family("generation_attention_perf"), rows)] == ["bfloat16 on fp8"]
    assert list(FORMATS).index("w4a16_mxfp4") < list(FORMATS).index("w4a8_mxfp4_mxfp8")


def test_a_table_counts_the_rows_left_out_of_its_rival_and_their_errors() -> None:
    timed = list(timed_rows(family("gemm_perf"), gemm_rows()))
    made = build_table(timed[0].series, timed)
    assert made is not None
    assert made.quality.measured == len(timed)
    assert 0 < made.quality.held_out < len(timed)
    assert 0 < made.quality.held_out_p90_ppm < 10**6
    assert {made.ns_at(t.point, 0) for t in timed} == {t.ns for t in timed}


def tiny() -> Instance:
    return validate(json.loads(json.dumps(TINY)), Instance, "test")


def test_only_tables_that_the_model_asks_for_are_kept() -> None:
    def made(storage: str) -> Table:
        timed = [t._replace(series=t.series._replace(storage=storage)) for t in timed_rows(family("gemm_perf"), gemm_rows())]
        found = build_table(timed[0].series, timed)
        assert found is not None
        return found

    assert [t.storage for t in needed([made("int4"), made("bf16")], tiny().architecture)] == ["bf16"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up package with one system; its files hold JSON, read in place of parquet."""
    systems = tmp_path / "aiconfigurator_core" / "systems"
    for version, rows in (("1.9", gemm_rows()), ("1.10", gemm_rows()[:4])):
        folder = systems / "data" / "toy_sxm" / "gemm" / "vllm" / version
        folder.mkdir(parents=True)
        (folder / "gemm_perf.parquet").write_text(json.dumps(rows))
    monkeypatch.setattr(importing, "_read", lambda path, _columns: json.loads(path.read_text()))
    monkeypatch.setattr(importing, "_systems", lambda: systems / "data")
    return tmp_path


def test_the_file_with_most_rows_is_imported_and_read_back_by_an_instance(package: Path) -> None:
    out = package / "toy.json"
    result = run_import_tables("toy_sxm", "vllm", None, tiny(), out, False)
    assert result["versions"] == {"gemm_perf": "1.9"}
    assert [t["kind"] for t in result["tables"]] == ["gemm"]
    assert any("expert_gemm" in said for said in result["unpriced"])
    data = json.loads(json.dumps(TINY))
    data["cluster"]["pools"][0]["accelerator"]["tables"] = "toy.json"
    (package / "instance.json").write_text(json.dumps(data))
    read = read_record(package / "instance.json", Instance).cluster.pool.accelerator
    assert read.tables == OperatorTables.model_validate_json(out.read_text())
    assert read.source_of("tables") == result["source"]
    assert result["source"].startswith("measured: ")


def test_a_version_can_be_asked_for(package: Path) -> None:
    assert run_import_tables("toy_sxm", "vllm", "1.10", tiny(), package / "toy.json", False)["tables"][0]["measured"] == 4


def test_what_cannot_be_imported_is_said(package: Path) -> None:
    asked = {
        "write one of trtllm": ("toy_sxm", "none", None),
        'has no system "x"; write one of toy_sxm': ("x", "vllm", None),
        "no operator tables for this model of toy_sxm under vllm 7": ("toy_sxm", "vllm", "7"),
        "no operator tables for this model of toy_sxm under sglang": ("toy_sxm", "sglang", None),
    }
    for sentence, (system, engine, version) in asked.items():
        with pytest.raises(InputError, match=sentence):
            run_import_tables(system, engine, version, tiny(), package / "toy.json", False)
    (package / "toy.json").write_text("kept")
    with pytest.raises(InputError, match="is there already"):
        run_import_tables("toy_sxm", "vllm", None, tiny(), package / "toy.json", False)


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "cannot be read"), ("{", "is no table file"), ('{"format": 1}', "is no table file")]
)
def test_a_table_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, sentence: str) -> None:
    data = json.loads(json.dumps(TINY))
    data["cluster"]["pools"][0]["accelerator"]["tables"] = "t.json"
    (tmp_path / "instance.json").write_text(json.dumps(data))
    if content is not None:
        (tmp_path / "t.json").write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_record(tmp_path / "instance.json", Instance)


def test_the_real_package_gives_tables_that_hold_most_of_what_it_measured(tmp_path: Path) -> None:
    pytest.importorskip("aiconfigurator_core", reason="needs the optional extra [measured]")
    pytest.importorskip("pyarrow", reason="needs the optional extra [measured]")
    result = run_import_tables("h200_sxm", "trtllm", None, tiny(), tmp_path / "t.json", False)
    assert {"gemm", "decode_attention"} <= {t["kind"] for t in result["tables"]}
    assert all(t["held_out_median_ppm"] < 250_000 for t in result["tables"] if t["kind"] == "gemm")


def test_the_command_says_what_it_wrote_and_what_the_tables_lack(package: Path) -> None:
    (package / "i.json").write_text(json.dumps(TINY))
    asked = ["import-tables", "toy_sxm", "--engine", "vllm", "--instance", str(package / "i.json"), "--out", str(package / "t.json")]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0
    assert "Wrote" in told.output
    assert "Not in the tables: expert_gemm" in told.output
    assert CliRunner().invoke(app, asked).exit_code == 2
    assert json.loads(CliRunner().invoke(app, [*asked, "--force", "--json"]).output)["status"] == "WRITTEN"
