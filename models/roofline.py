"""Time of one operator on one GPU."""

from models.cluster import Accelerator, Curve
from models.formats import STAND_INS
from models.measured import table_ns
from models.operators import Kind, Work
from models.units import NS_PER_S, PPM, WHOLE, ceil_div, combine
from models.workload import Runtime

TILE = 128  # rows and columns of a GEMM's tile; 64 rows where there are no more (CUTLASS tile shapes)


def operator_ns(accelerator: Accelerator, runtime: Runtime, work: Work) -> int:
    """fixed * launch share + norm(FLOP / (peak * efficiency), bytes / (bandwidth * efficiency)) * scale, ns, each rounded up.

    Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009. Without a curve, one launch and the larger of the two. Grows
    with FLOP, bytes and every number of the shape but the context of a prefill, which slows its short prompts; falls with peaks,
    bandwidth and efficiencies. Where measured tables hold the operator, their time * scale, which has its launch in it.
    """
    if accelerator.tables is not None and (measured := table_ns(accelerator.tables, work)) is not None:
        return ceil_div(measured * runtime.operator_scale_ppm, PPM)
    curve = curve_of(accelerator, work)
    if curve is None:
        fixed = accelerator.kernel_launch_ns
        flop_ns = _compute_ns(accelerator, work, work.flop, flat_efficiency_ppm(accelerator, work.kind))
        running = max(flop_ns, _memory_ns(accelerator, work.bytes, accelerator.hbm_efficiency_ppm))
    else:
        fixed = curve.fixed_ns
        flop_ns = _compute_ns(accelerator, work, paced_flop(accelerator, curve, work), curve.flop_efficiency_ppm)
        running = combine(curve.norm, flop_ns, _memory_ns(accelerator, work.bytes, curve.byte_efficiency_ppm))
        running += ceil_div(units(work) * curve.unit_ns, WHOLE)
    return ceil_div(fixed * runtime.launch_share_ppm, PPM) + ceil_div(running * runtime.operator_scale_ppm, PPM)


def curve_of(accelerator: Accelerator, work: Work) -> Curve | None:
    """The accelerator's curve for this kind of operator and number format, or for one that stands in for the format.

    Arithmetic that the accelerator lacks is done in the activations' format: eight bits or four of weights are widened first.
    """
    curves = accelerator.curves
    if not curves:
        return None
    storage = work.storage
    if work.kind in ("gemm", "expert_gemm") and work.dtype not in accelerator.peak_flop_per_s:
        storage = "int4" if work.dtype == "fp4" else "w8a16"
    return next((curve for s in (storage, *STAND_INS.get(storage, ())) if (curve := curves.get(f"{work.kind}.{s}"))), None)


def peak_format(accelerator: Accelerator, dtype: str) -> str:
    """The format whose peak arithmetic in `dtype` has: its own, or 16 bits where the accelerator has no such arithmetic."""
    peaks = accelerator.peak_flop_per_s
    return next((known for known in (dtype, "bf16", "fp16") if known in peaks), min(peaks, key=lambda name: (peaks[name], name)))


def peak_flop_per_s(accelerator: Accelerator, dtype: str) -> int:
    """The dense peak that arithmetic in `dtype` has."""
    return accelerator.peak_flop_per_s[peak_format(accelerator, dtype)]


def flop_efficiency_ppm(accelerator: Accelerator, work: Work) -> int:
    """The share of the peak that this operator attains at most."""
    curve = curve_of(accelerator, work)
    return flat_efficiency_ppm(accelerator, work.kind) if curve is None else curve.flop_efficiency_ppm


def flat_efficiency_ppm(accelerator: Accelerator, kind: Kind) -> int:
    """The share of the peak that an operator without a curve attains."""
    match kind:
        case "gemm" | "elementwise":
            return accelerator.gemm_efficiency_ppm
        case "expert_gemm":
            return accelerator.expert_gemm_efficiency_ppm
        case _:
            return accelerator.attention_efficiency_ppm


def paced_flop(accelerator: Accelerator, curve: Curve, work: Work) -> int:
    """FLOP as the curve counts them: partly in whole waves of tiles, and slower for short prompts; rounded up."""
    flop = work.flop
    if work.kind == "gemm" and curve.wave_ppm:
        flop = ceil_div((PPM - curve.wave_ppm) * flop + curve.wave_ppm * wave_flop(accelerator.multiprocessors or 1, work.shape), PPM)
    if curve.half_rate_tokens and work.kind in ("prefill_attention", "mla_prefill"):
        context = work.shape[2]
        if context > 1:  # a recurrence has no context to be short: 1 stands in its place
            flop = ceil_div(flop * (context + curve.half_rate_tokens), context)
    return flop


def wave_flop(multiprocessors: int, shape: tuple[int, ...]) -> int:
    """FLOP of a GEMM whose tiles fill whole waves: every multiprocessor computes a full tile as often as the busiest one."""
    rows, inputs, outputs = shape
    height = TILE // 2 if rows <= TILE // 2 else TILE
    tiles = ceil_div(rows, TILE) * ceil_div(outputs, TILE)
    return 2 * ceil_div(tiles, multiprocessors) * multiprocessors * height * TILE * inputs


def units(work: Work) -> int:
    """What `Curve.unit_ns` counts, 2**-20: experts read, or sequences of decode attention."""
    match work.kind:
        case "expert_gemm":
            return work.shape[1]
        case "decode_attention" | "mla_decode":
            return work.shape[0] * WHOLE
        case _:
            return 0


def _compute_ns(accelerator: Accelerator, work: Work, flop: int, efficiency_ppm: int) -> int:
    return ceil_div(flop * NS_PER_S * PPM, peak_flop_per_s(accelerator, work.dtype) * efficiency_ppm)


def _memory_ns(accelerator: Accelerator, size_bytes: int, efficiency_ppm: int) -> int:
    return ceil_div(size_bytes * NS_PER_S * PPM, accelerator.hbm_bytes_per_s * efficiency_ppm)
