"""The operator curves against measured rows: each row is the operator that a search would price."""

import pytest

from benchmarks.fidelity import kernels
from benchmarks.fidelity.kernels import Error, as_text, kernel_errors, main, work_of
from models.catalogue.files import read, stems
from models.units import WHOLE
from optimizer.measuring.sources import FAMILIES, Series, Timed, timed_rows

MLA = 512 + 64


@pytest.fixture(autouse=True)
def _without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row of the package is read, whether it is installed or not."""
    monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    kernels._timed.cache_clear()


def timed(kind: str, point: tuple[int, ...], storage: str = "bf16", width: int = 0, matrices: int = 0) -> Timed:
    return Timed(Series(kind, storage, "made up", width, matrices), point, 1000)


def test_a_row_is_the_operator_with_its_flop_and_bytes() -> None:
    rows = {
        timed("gemm", (16, 512, 64), "fp8"): (2 * 16 * 512 * 64, 512 * 64 + 2 * 16 * (512 + 64)),
        timed("expert_gemm", (8, 4 * WHOLE, 128), "fp8", 256, 3): (2 * 8 * 3 * 256 * 128, 4 * 3 * 256 * 128 + 2 * 8 * (512 + 384)),
        timed("decode_attention", (4, 1000, 8, 2), "fp8", 64): (4 * 4 * 8 * 64 * 1000, 4 * 1000 * 2 * 2 * 64 + 2 * 4 * 2 * 8 * 64),
        timed("prefill_attention", (4, 100, 8, 2), "bf16", 64): (4 * 2 * 8 * 64 * 100**2, 2 * 4 * 100 * (2 * 8 * 64 + 2 * 2 * 64)),
        timed("mla_decode", (4, 1000, 16), "bf16", MLA): (2 * 4 * 16 * (MLA + 512) * 1000, 2 * (4 * 1000 * MLA + 4 * 16 * (192 + 128))),
        timed("mla_prefill", (4, 100, 16), "bf16", MLA): (4 * 16 * 320 * 100**2, 2 * 4 * 100 * (16 * 320 + MLA)),
    }
    assert {row: (work.flop, work.bytes) for row in rows for work in [work_of(row)]} == rows


def test_every_row_keeps_its_place_in_the_tables() -> None:
    from models.measured import place

    for row in (
        timed("gemm", (16, 512, 64)),
        timed("decode_attention", (4, 1000, 8, 2), width=64),
        timed("mla_prefill", (4, 100, 16), width=MLA),
    ):
        found = place(work_of(row))
        assert found is not None
        assert found.point == row.point


def test_rows_are_read_as_our_operators_and_what_is_not_plain_is_left_out() -> None:
    families = {family.file: family for family in FAMILIES}
    moe = {"moe_dtype": "fp8", "num_tokens": 64, "hidden_size": 512, "inter_size": 256, "topk": 4, "num_experts": 32}
    moe |= {"moe_tp_size": 2, "moe_ep_size": 4, "distribution": "balanced", "kernel_source": "any", "latency": 0.25}
    step = {"batch_size": 4, "isl": 1, "step": 127, "num_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "beam_width": 1}
    step |= {"attn_dtype": "bfloat16", "kv_cache_dtype": "fp8", "latency": 0.5, "window_size": 0}
    (expert,) = timed_rows(families["moe_perf"], [moe, moe | {"distribution": "power_law_1.01"}, moe | {"moe_dtype": "unheard of"}])
    (decode,) = timed_rows(families["generation_attention_perf"], [step, step | {"window_size": 128}, step | {"latency": float("nan")}])
    assert (expert.point, expert.ns, expert.series.width, expert.series.matrices) == ((64, 8 * WHOLE, 128), 250_000, 512, 3)
    assert (decode.point, decode.ns, decode.series.storage) == ((4, 128, 8, 2), 500_000, "fp8")


def test_without_the_package_only_what_the_files_record_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "not installed: only what the kernel files record" in shown
    assert len(kernel_errors()) == sum(len(read("kernels", stem)["chosen"]) for stem in stems("kernels"))
    assert main(["--nonsense"]) == 2


def test_the_report_states_medians_by_kind_of_operator() -> None:
    errors = [Error("a", "gemm.bf16", "vllm", 5.0, 10, 6.0, 20.0, -1.0), Error("b", "gemm.fp8", "vllm", 7.0, 10, 8.0, 20.0, -1.0)]
    assert as_text(errors).splitlines()[-1] == "gemm: median over 2 curves: recorded 6.0, ours 7.0 (2 with rows)"
