"""`calibrate`: what is fitted to timings prices like the machine that gave them; nothing here needs a GPU."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from calibration_cases import FIXTURE, pool_of, text_of, timings_of, true_ns
from typer.testing import CliRunner

from models.cluster import Accelerator, Link
from models.errors import InputError
from models.evaluate import evaluate
from models.instance import Instance
from models.roofline import curve_of, operator_ns
from models.strategy import Plan, Strategy, complete_stages
from models.units import PPM
from optimizer.calibrating import calibrate, clock, device, ranks
from optimizer.calibrating.fitting import EXTRAS, NO_ENGINE, columns, rows_ns, split, terms_of
from optimizer.calibrating.grid import Case, collective_cases, operator_cases
from optimizer.calibrating.timings import COLLECTIVES, Timing, Timings
from optimizer.calibrating.works import work_of
from optimizer.calibrating.writing import calibration
from optimizer.cli import app
from optimizer.reading import read_record

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
MACHINES = ("H100-SXM-80GB", "H200-SXM-141GB", "A100-SXM-80GB", "L40S", "B200-SXM-180GB")


def silent(_message: str) -> None:
    pass


@cache
def record_of(machine: str, quick: bool = False) -> Json:
    return calibration(timings_of(machine, quick), machine, silent)


def accelerator_of(record: Json) -> Accelerator:
    return Accelerator.model_validate_json(json.dumps(record["pool"]["accelerator"]))


def link_of(record: Json) -> Link:
    return Link.model_validate_json(json.dumps(record["pool"]["scale_up"]))


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def one_line(result: Any) -> str:
    """The sentence of a refusal."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return str(result.stderr)


# The fit.


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("quick", [False, True])
def test_a_fit_prices_like_the_machine_that_gave_the_timings(machine: str, quick: bool) -> None:
    record, pool = record_of(machine, quick), pool_of(machine)
    made = pool.model_copy(update={"accelerator": accelerator_of(record), "scale_up": link_of(record)})
    errors: dict[str, list[float]] = {}
    for row in timings_of(machine, quick=False).timings:
        errors.setdefault(f"{row.kind}.{row.storage}", []).append(abs(true_ns(made, row) / true_ns(pool, row) - 1))
    for key, found in errors.items():
        assert np.median(found) < 0.05 if quick else np.median(found) < 0.03, key
        assert np.quantile(found, 0.9) < 0.15 if quick else np.quantile(found, 0.9) < 0.08, key


@pytest.mark.parametrize("machine", MACHINES)
def test_stated_errors_are_those_of_the_noise(machine: str) -> None:
    for key, fit in record_of(machine)["fits"].items():
        assert 0 < fit["median_ppm"] < 50_000, key
        assert fit["median_ppm"] <= fit["p90_ppm"] < 100_000, key
        assert fit["held_out"] == sum(1 for n in range(fit["rows"]) if n % 5 == 2), key


@pytest.mark.parametrize("machine", MACHINES)
def test_the_vectorised_form_is_the_cost_models_own(machine: str) -> None:
    accelerator = pool_of(machine).accelerator
    compared = 0
    for kind in EXTRAS:
        for storage in {row.storage for row in timings_of(machine).timings if row.kind == kind}:
            works = [work_of(row) for row in timings_of(machine).timings if (row.kind, row.storage) == (kind, storage)]
            curve = curve_of(accelerator, works[0])
            if curve is None:
                continue
            floats = rows_ns(curve.norm, terms_of(curve), columns(accelerator, works))
            whole = np.array([operator_ns(accelerator, NO_ENGINE, work) for work in works])
            assert np.all(np.abs(floats - whole) <= 6 + 1e-9 * whole), (kind, storage)
            compared += len(works)
    assert compared > 100


def test_the_same_timings_in_any_order_give_the_same_record() -> None:
    timings = timings_of("H100-SXM-80GB", quick=True)
    backwards = timings.model_copy(update={"timings": timings.timings[::-1]})
    assert calibration(backwards, "x", silent) == calibration(timings, "x", silent)


def test_every_fifth_row_takes_no_part_in_a_fit() -> None:
    rows = [row for row in timings_of("L40S").timings if row.kind == "gemm"]
    kept, asked = split(rows)
    assert sorted(kept + asked, key=rows.index) == rows
    assert asked == sorted(rows, key=lambda row: (row.ns, row.shape))[2::5]
    assert not set(kept) & set(asked)


def test_peaks_and_bandwidths_are_rates_that_were_attained() -> None:
    made, true = accelerator_of(record_of("H200-SXM-141GB")), pool_of("H200-SXM-141GB").accelerator
    assert made.hbm_bytes_per_s * 100 < true.hbm_bytes_per_s * true.hbm_efficiency_ppm * 104 // PPM
    assert {"bf16", "fp8"} == set(made.peak_flop_per_s)
    assert all(true.peak_flop_per_s[dtype] // 3 < peak < true.peak_flop_per_s[dtype] for dtype, peak in made.peak_flop_per_s.items())


def test_a_faster_machine_never_gets_a_slower_record_of_its_memory() -> None:
    slow, fast = accelerator_of(record_of("A100-SXM-80GB")), accelerator_of(record_of("H200-SXM-141GB"))
    assert slow.hbm_bytes_per_s * slow.hbm_efficiency_ppm < fast.hbm_bytes_per_s * fast.hbm_efficiency_ppm


# The record.


def test_every_constant_says_that_it_was_measured() -> None:
    record = record_of("H100-SXM-80GB")
    for made in (accelerator_of(record), link_of(record)):
        assert all(made.source_of(constant).startswith("measured: ") for constant in made.constants())


def test_what_was_not_timed_is_assumed_or_left_out_and_said() -> None:
    timings = timings_of("H100-SXM-80GB", quick=True, gpus=1)
    only = timings.model_copy(update={"timings": tuple(t for t in timings.timings if t.kind in ("copy", "gemm"))})
    record = calibration(only, "x", silent)
    made = accelerator_of(record)
    assert set(record["pool"]) == {"accelerator"}
    assert made.source_of("attention_efficiency_ppm").startswith("assumed: ")
    assert made.attention_efficiency_ppm == made.gemm_efficiency_ppm
    assert any("scale-up" in said for said in record["lacks"])
    assert any("decode_attention" in said for said in record["lacks"])


def test_an_instance_runs_on_the_record_as_on_the_machine() -> None:
    data: Json = json.loads((ROOT / "instances" / "llama70b_8gpu.json").read_text(encoding="utf-8"))
    strategy = Strategy(**data["reference"]["degrees"])

    def step_ns(over: Json) -> int:
        changed = data | {"cluster": {"pools": [data["cluster"]["pools"][0] | over]}}
        instance = Instance.model_validate_json(json.dumps(changed))
        return evaluate(instance, Plan(strategy, complete_stages(instance.architecture.layer_count, strategy.pp), ())).step_ns

    true = pool_of("H100-SXM-80GB")
    machine = {part: getattr(true, part).model_dump(mode="json") for part in ("accelerator", "scale_up")}
    assert step_ns(record_of("H100-SXM-80GB")["pool"]) == pytest.approx(step_ns(machine), rel=0.04)


# The command.


def test_recorded_timings_are_fitted_without_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "machine.json"
    result = run("calibrate", "--timings", FIXTURE, "--out", out, "--name", "mine", "--json")
    assert result.exit_code == 0
    record, said = json.loads(out.read_text(encoding="utf-8")), json.loads(result.stdout)
    assert (record["name"], record["pool"]["accelerator"]["name"], said["status"]) == ("mine", "mine", "CALIBRATED")
    assert said["fits"] == record["fits"]
    assert all(fit["median_ppm"] < 50_000 for fit in record["fits"].values())
    assert "fitting gemm.bf16" in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["machine.json"]


def test_the_text_names_every_fit_and_what_is_lacking(tmp_path: Path) -> None:
    result = run("calibrate", "--timings", FIXTURE, "--out", tmp_path / "m.json", "--quiet")
    assert result.stderr == ""
    for word in (
        "gemm.bf16",
        "decode_attention.bf16",
        "all_reduce",
        "held out",
        "no curve of multi-head latent attention",
        "no scale-out link",
    ):
        assert word in result.stdout


def test_a_file_that_is_there_is_kept_without_force(tmp_path: Path) -> None:
    out = tmp_path / "machine.json"
    out.write_text("mine", encoding="utf-8")
    assert "--force" in one_line(run("calibrate", "--timings", FIXTURE, "--out", out))
    assert "--force" in one_line(run("calibrate", "--timings", FIXTURE, "--out", tmp_path / "x", "--save-timings", out))
    assert out.read_text(encoding="utf-8") == "mine"
    assert run("calibrate", "--timings", FIXTURE, "--out", out, "--force").exit_code == 0
    assert "folder" in one_line(run("calibrate", "--timings", FIXTURE, "--out", tmp_path / "no" / "x.json"))
    assert "--out too" in one_line(run("calibrate", "--timings", FIXTURE, "--out", tmp_path / "y", "--save-timings", tmp_path / "y"))


def test_saved_timings_give_the_same_record_again(tmp_path: Path) -> None:
    first, second, saved = (tmp_path / name for name in ("a.json", "b.json", "t.json"))
    assert run("calibrate", "--timings", FIXTURE, "--out", first, "--save-timings", saved).exit_code == 0
    assert run("calibrate", "--timings", saved, "--out", second).exit_code == 0
    assert second.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")
    assert read_record(saved, Timings) == read_record(FIXTURE, Timings)


def fixture() -> Json:
    content: Json = json.loads(FIXTURE.read_text(encoding="utf-8"))
    return content


def with_row(**changes: Any) -> Json:
    content = fixture()
    content["timings"][20] |= changes
    return content


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "another format": (lambda: fixture() | {"format": "shardproof-timings/9"}, "format"),
    "no rows": (lambda: fixture() | {"timings": []}, "timings"),
    "not a list": (lambda: fixture() | {"timings": {"a": 1}}, "timings"),
    "a list at the top": (lambda: [1, 2], "top level"),
    "an unknown field": (lambda: fixture() | {"extra": 1}, "extra"),
    "an unknown kind": (lambda: with_row(kind="sort"), "kind"),
    "an unknown format of numbers": (lambda: with_row(storage="bf17"), "storage"),
    "no time at all": (lambda: with_row(ns=0), "ns"),
    "a time below zero": (lambda: with_row(ns=-5), "ns"),
    "a time that is a fraction": (lambda: with_row(ns=1.5), "ns"),
    "a time that is a truth": (lambda: with_row(ns=True), "ns"),
    "a shape too short": (lambda: with_row(kind="gemm", shape=[4, 4]), "rows, inputs, outputs"),
    "a shape too large": (lambda: with_row(kind="gemm", shape=[10**7, 10**7, 10**7]), "larger than any machine"),
    "a size beyond measure": (lambda: with_row(kind="gemm", shape=[1, 1, 10**11]), "outputs"),
    "heads that do not divide": (lambda: with_row(kind="decode_attention", shape=[1, 1, 64, 8, 3, 64]), "KV heads"),
    "more queries than context": (lambda: with_row(kind="prefill_attention", shape=[1, 65, 64, 8, 8, 64]), "context"),
    "experts of four matrices": (lambda: with_row(kind="expert_gemm", shape=[8, 2, 64, 64, 4]), "matrices"),
    "more experts than exist": (lambda: with_row(kind="expert_gemm", shape=[8, 5000, 64, 64, 2]), "experts"),
    "ranks that the device lacks": (lambda: with_row(kind="all_reduce", shape=[16, 64]), "ranks"),
    "a collective of one": (lambda: with_row(kind="all_reduce", shape=[1, 64]), "2 ranks"),
    "a name that forges lines": (lambda: fixture() | {"device": fixture()["device"] | {"name": "a\nError: b"}}, "name"),
    "one row of a kind": (lambda: with_row(kind="gemm", storage="int8"), "gemm.int8"),
    "no copies": (lambda: fixture() | {"timings": [t for t in fixture()["timings"] if t["kind"] != "copy"]}, "copies"),
    "no GEMMs": (lambda: fixture() | {"timings": [t for t in fixture()["timings"] if t["kind"] != "gemm"]}, "GEMMs"),
    "a GEMM in no time": (lambda: with_row(kind="gemm", storage="bf16", shape=[10**7, 10**5, 10**4], ns=1), "no machine runs like this"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_of_timings_that_cannot_be_used_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    make, word = HOSTILE[case]
    path, out = tmp_path / "timings.json", tmp_path / "machine.json"
    path.write_text(json.dumps(make()), encoding="utf-8")
    assert word in one_line(run("calibrate", "--timings", path, "--out", out, "--quiet"))
    assert not out.exists()


@pytest.mark.parametrize("text", ["", "{", "[" * 5000, "nul", '{"a": NaN}', '{"a": 1, "a": 2}'])
def test_a_file_that_is_no_object_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    path.write_text(text, encoding="utf-8")
    one_line(run("calibrate", "--timings", path, "--out", tmp_path / "machine.json"))


@pytest.mark.parametrize("name", ["", "x" * 121, "a\tb"])
def test_a_name_that_no_record_can_hold_is_refused(name: str, tmp_path: Path) -> None:
    assert "name" in one_line(run("calibrate", "--timings", FIXTURE, "--out", tmp_path / "m.json", "--name", name))


@pytest.mark.parametrize("times", [lambda _ns: 1, lambda _ns: 10**12, lambda ns: max(1, 10**9 // ns)])
def test_times_of_no_machine_end_in_a_record_or_in_one_line(times: Callable[[int], int], tmp_path: Path) -> None:
    content = fixture()
    for row in content["timings"]:
        row["ns"] = times(row["ns"])
    path, out = tmp_path / "timings.json", tmp_path / "machine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    result = run("calibrate", "--timings", path, "--out", out, "--quiet")
    if result.exit_code == 0:
        accelerator_of(json.loads(out.read_text(encoding="utf-8")))
    else:
        one_line(result)


# Measuring, with a stand-in for PyTorch.


@dataclass
class Stream:
    def wait_stream(self, _other: object) -> None:
        pass


@dataclass
class Cuda:
    """As much of torch.cuda as measuring asks for; a graph that is replayed takes 2 us per call in it, each time 1 us more."""

    gpus: int = 1
    calls: int = 0
    captured: int = 0
    replays: int = 0
    now_ms: float = 0.0
    free_bytes: int = 80 * 2**30
    modes: list[str] = field(default_factory=list)

    def is_available(self) -> bool:
        return self.gpus > 0

    def device_count(self) -> int:
        return self.gpus

    def get_device_capability(self, _gpu: int) -> tuple[int, int]:
        return 9, 0

    def get_device_properties(self, _gpu: int) -> SimpleNamespace:
        return SimpleNamespace(name="Stand-in", total_memory=80 * 2**30, multi_processor_count=132, L2_cache_size=50 * 2**20)

    def mem_get_info(self, _gpu: int) -> tuple[int, int]:
        return self.free_bytes, 80 * 2**30

    def empty_cache(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def Stream(self) -> Stream:
        return Stream()

    current_stream = Stream

    def stream(self, _stream: Stream) -> Any:
        return _Context(lambda: None, lambda: None)

    def CUDAGraph(self) -> Any:
        def replay() -> None:
            self.replays += 1
            self.now_ms += (2e-3 + 1e-3 * self.replays) * self.captured

        return SimpleNamespace(replay=replay)

    def graph(self, _graph: Any, capture_error_mode: str) -> Any:
        self.modes.append(capture_error_mode)
        before = self.calls

        def leave() -> None:
            self.captured = self.calls - before

        return _Context(lambda: None, leave)

    def Event(self, enable_timing: bool) -> Any:
        assert enable_timing
        event = SimpleNamespace(at=0.0, synchronize=lambda: None)
        event.record = lambda: setattr(event, "at", self.now_ms)
        event.elapsed_time = lambda end: end.at - event.at
        return event


@dataclass
class _Context:
    enter: Callable[[], None]
    leave: Callable[[], None]

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_error: object) -> None:
        self.leave()


def stand_in(cuda: Cuda) -> Any:
    nothing = _Context(lambda: None, lambda: None)
    return SimpleNamespace(cuda=cuda, __version__="0.0", version=SimpleNamespace(cuda="0.0", hip=None), inference_mode=lambda: nothing)


def test_the_time_of_a_call_is_the_median_over_the_calls_of_a_graph() -> None:
    cuda = Cuda()

    def call() -> None:
        cuda.calls += 1

    met: list[int] = []
    ns = clock.graph_ns(stand_in(cuda), [call] * 3, lambda: met.append(cuda.replays))
    assert cuda.captured == 21, "every set of operands in turn, at least 20 calls"
    assert cuda.replays == clock.WARM_UPS + clock.REPEATS
    assert met == list(range(clock.WARM_UPS, clock.WARM_UPS + clock.REPEATS))
    middle = clock.WARM_UPS + clock.REPEATS // 2 + 1
    assert ns == 2000 + 1000 * middle


def measured_as(monkeypatch: pytest.MonkeyPatch, machine: str, cuda: Cuda) -> None:
    """From now on measuring runs on a stand-in that takes as long as a machine of the catalogue would."""
    pool = pool_of(machine)

    def ns_of(case: Case) -> int:
        return true_ns(pool, Timing(kind=case.kind, storage=case.storage, shape=case.shape, ns=1, repeats=1))

    def time_all(gpus: int, quick: bool, _say: Callable[[str], None]) -> list[Timing]:
        cases = collective_cases(gpus, quick)
        return [Timing(kind=c.kind, storage=c.storage, shape=c.shape, ns=ns_of(c), repeats=1) for c in cases]

    monkeypatch.setattr(device, "load_torch", lambda: stand_in(cuda))
    monkeypatch.setattr(device, "operator_call", lambda _torch, case, _device: lambda: ns_of(case))
    monkeypatch.setattr(device, "graph_ns", lambda _torch, calls: calls[0]())
    monkeypatch.setattr(device, "time_collectives", time_all)


def test_measuring_times_the_whole_grid_and_the_record_prices_like_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured_as(monkeypatch, "H100-SXM-80GB", Cuda(gpus=8))
    out, saved = tmp_path / "machine.json", tmp_path / "timings.json"
    result = run("calibrate", "--quick", "--out", out, "--save-timings", saved)
    assert result.exit_code == 0, result.output
    record, timings = json.loads(out.read_text(encoding="utf-8")), read_record(saved, Timings)
    wanted = [*operator_cases(("bf16", "fp8"), True), *collective_cases(8, True)]
    assert [(t.kind, t.storage, t.shape) for t in timings.timings] == wanted
    assert record["pool"]["accelerator"]["name"] == "Stand-in"
    assert record["device"]["software"] == "PyTorch 0.0, CUDA 0.0"
    assert max(fit["median_ppm"] for fit in record["fits"].values()) < 20_000
    assert "timing gemm in fp8" in result.stderr


def test_one_gpu_times_no_collectives_and_small_memory_leaves_shapes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    measured_as(monkeypatch, "H100-SXM-80GB", Cuda(free_bytes=2**30))
    found = device.measure(True, said.append)
    assert not {t.kind for t in found.timings} & set(COLLECTIVES)
    assert any("left out" in line for line in said)
    assert len(found.timings) < len(operator_cases(("bf16", "fp8"), True))
    assert all(device.operand_bytes(Case(t.kind, t.storage, t.shape)) < 2**30 for t in found.timings)


def test_an_operator_that_does_not_run_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    measured_as(monkeypatch, "H100-SXM-80GB", Cuda())

    def refuse(_torch: Any, case: Case, _device: str) -> Callable[[], int]:
        if case.storage == "fp8":
            raise RuntimeError("no kernel")
        return lambda: 1000

    monkeypatch.setattr(device, "operator_call", refuse)
    assert {t.storage for t in device.measure(True, silent).timings} == {"bf16"}


def test_an_operator_that_runs_in_few_shapes_does_not_spoil_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    measured_as(monkeypatch, "H100-SXM-80GB", Cuda())
    true = device.operator_call

    def refuse_most(torch: Any, case: Case, where: str) -> Callable[[], object]:
        if case.storage == "fp8" and case.shape[0] > 16:
            raise RuntimeError("no kernel")
        return true(torch, case, where)

    monkeypatch.setattr(device, "operator_call", refuse_most)
    said: list[str] = []
    record = calibration(device.measure(True, said.append), "x", silent)
    assert set(accelerator_of(record).peak_flop_per_s) == {"bf16"}
    assert any("gemm in fp8 is left out" in line for line in said)


def test_without_pytorch_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    said = one_line(run("calibrate", "--out", tmp_path / "m.json"))
    assert "PyTorch" in said
    assert "--timings FILE" in said
    assert not (tmp_path / "m.json").exists()


def test_without_a_gpu_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", stand_in(Cuda(gpus=0)))
    assert "GPU" in one_line(run("calibrate", "--out", tmp_path / "m.json"))


def test_a_file_in_the_way_is_found_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "measure", lambda *_: pytest.fail("measured first"))
    (tmp_path / "m.json").write_text("", encoding="utf-8")
    one_line(run("calibrate", "--out", tmp_path / "m.json"))


def test_processes_that_fail_leave_the_collectives_out_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed(Exception):
        pass

    def spawn(*_arguments: object, **_options: object) -> None:
        raise Failed("traceback\nNCCL error: no route")

    processes = SimpleNamespace(spawn=spawn, ProcessRaisedException=Failed, ProcessExitedException=Failed)
    monkeypatch.setattr(ranks.importlib, "import_module", lambda _name: processes)
    said: list[str] = []
    assert ranks.time_collectives(2, True, said.append) == []
    assert said[-1].endswith("NCCL error: no route")


# Where PyTorch is installed, every operator runs on the CPU.

SMALL = (
    (Case("copy", "bf16", (1000,)), (1000,)),
    (Case("gemm", "bf16", (3, 64, 32)), (3, 32)),
    (Case("gemm", "fp8", (16, 64, 32)), (16, 32)),
    (Case("expert_gemm", "bf16", (8, 4, 64, 32, 3)), (4, 2, 64)),
    (Case("expert_gemm", "bf16", (8, 4, 64, 32, 2)), (4, 2, 64)),
    (Case("prefill_attention", "bf16", (2, 16, 16, 4, 2, 32)), (2, 4, 16, 32)),
    (Case("decode_attention", "bf16", (2, 1, 16, 4, 2, 32)), (2, 4, 1, 32)),
)


@pytest.mark.parametrize(("case", "shape"), SMALL, ids=lambda x: getattr(x, "kind", ""))
def test_operators_give_results_of_their_shape(case: Case, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, an optional extra")
    with torch.inference_mode():
        assert tuple(device.operator_call(torch, case, "cpu")().shape) == shape


def test_timings_files_are_what_their_writer_makes_of_them() -> None:
    timings = timings_of("H100-SXM-80GB", quick=True)
    assert Timings.model_validate_json(text_of(timings)) == timings


def test_a_rate_that_no_machine_attains_is_refused() -> None:
    timings = timings_of("H100-SXM-80GB", quick=True)
    rows = tuple(t.model_copy(update={"ns": 1}) if t.kind == "copy" else t for t in timings.timings)
    huge = tuple(t.model_copy(update={"shape": (1 << 40,)}) if t.kind == "copy" else t for t in rows)
    with pytest.raises(InputError, match="no machine runs like this"):
        calibration(timings.model_copy(update={"timings": huge}), "x", silent)
