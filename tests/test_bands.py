"""The error printed beside every figure of time: where there is one, and that it is what the commands measure."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fidelity.__main__ import project_pricing
from benchmarks.fidelity.calibration import by_engine, errors_pct, fitted, sample_of
from benchmarks.fidelity.errors import of_quantity
from benchmarks.fidelity.outcomes import kind_of, price_rows
from benchmarks.fidelity.rows import read_rows
from models.catalogue.engines import engine
from models.instance import Instance
from models.skew import skewed_counts
from optimizer.bands import band_sentence, error_band
from optimizer.reading import read_record

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ROWS = DATA / "measured_calibration.csv"
needs_rows = pytest.mark.skipif(not ROWS.is_file(), reason="needs the measured rows in ../shared/data")
LOADS = sorted((DATA / "loads").glob("dsv3_*.npy"))
INSTANCE = Path(__file__).resolve().parent.parent / "instances" / "deepseek_v3_128h200.json"
STORED = json.loads((files("models.catalogue") / "errors.json").read_text(encoding="utf-8"))


def on(machine: str, tmp_path: Path, **more: Any) -> Instance:
    content = json.loads(INSTANCE.read_text(encoding="utf-8"))
    content["cluster"] = {"machine": machine, "nodes": 16, **more}
    (tmp_path / "i.json").write_text(json.dumps(content), encoding="utf-8")
    return read_record(tmp_path / "i.json", Instance)


def test_a_machine_that_served_recorded_runs_has_the_band_of_its_kind_of_model(tmp_path: Path) -> None:
    band = error_band(on("H200-SXM-141GB", tmp_path))
    assert band is not None
    assert band["median_pct"] == STORED["decode"]["moe"]["median_pct"]
    assert "decode, moe" in band_sentence(band)


@pytest.mark.parametrize("machine", ["B300-SXM-288GB", "MI300X", "H20-96GB", "TPU-v5p"])
def test_borrowed_curves_and_flat_efficiencies_have_no_band(machine: str, tmp_path: Path) -> None:
    assert error_band(on(machine, tmp_path)) is None
    assert "never been compared" in band_sentence(None)


def test_curves_written_by_hand_have_no_band(tmp_path: Path) -> None:
    own = {"curves": {"gemm.bf16": {"fixed_ns": 1, "flop_efficiency_ppm": 500_000, "byte_efficiency_ppm": 500_000}}}
    said = {"sources": {"curves": "measured: by myself"}}
    assert error_band(on("H200-SXM-141GB", tmp_path, accelerator=own | said)) is None


def test_arithmetic_that_a_machine_lacks_is_said(tmp_path: Path) -> None:
    assert any("fp8_block is computed in bf16" in a for a in on("A100-SXM-80GB", tmp_path).stated_assumptions())
    assert not any("is computed in" in a for a in on("H200-SXM-141GB", tmp_path).stated_assumptions())


@needs_rows
def test_the_bands_are_what_the_fidelity_report_measures() -> None:
    pricing = project_pricing()
    outcomes = price_rows(read_rows(ROWS, pricing), pricing.price)
    for workload, label in (("decode", "TPOT"), ("prefill", "TTFT at low concurrency")):
        for kind, moe in (("moe", True), ("dense", False)):
            errors = [abs(o.error) * 100 for o in of_quantity(outcomes, label) if o.kind == kind_of(moe)]
            stored = STORED[workload][kind]
            assert stored["n"] == len(errors)
            assert stored["median_pct"] == round(float(np.median(errors)), 1)
            assert stored["p90_pct"] == round(float(np.quantile(errors, 0.9)), 1)


@needs_rows
def test_the_overheads_of_the_engines_are_what_calibration_gives() -> None:
    samples = [s for row in read_rows(ROWS, project_pricing()) if row.headline and (s := sample_of(row)) is not None]
    for name, own in by_engine(samples).items():
        x, runtime = fitted(own), engine(name).runtime
        shown = f"{x[0] * 1000:.0f} us", f"{x[1] * 100:.1f}", f"{x[2] * 100:.1f}", f"{x[3] * 100:.1f}"
        shares = (f"{float(runtime[f].removesuffix(' %')):.1f}" for f in ("launch_share_ppm", "operator_scale_ppm", "interference_ppm"))
        assert (runtime["step_ns"], *shares) == shown
        assert np.median(errors_pct(own, x)) < 10


@pytest.mark.skipif(not LOADS, reason="needs the recorded expert loads in ../shared/data/loads")
def test_the_stated_skew_is_like_recorded_loads() -> None:
    shares = [loads / loads.sum(1, keepdims=True) for loads in (np.load(path).astype(float) for path in LOADS)]
    hottest = np.mean([s.max(1).mean() * 256 for s in shares])
    of_ranks = np.mean([s.reshape(len(s), 8, 32).sum(2).max(1).mean() * 8 for s in shares])
    ours = np.array(skewed_counts(256, 750_000, 400_000), dtype=float)
    ours /= ours.sum()
    assert abs(ours.max() * 256 / hottest - 1) < 0.1
    assert abs(ours.reshape(8, 32).sum(1).max() * 8 / of_ranks - 1) < 0.1
