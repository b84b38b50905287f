"""Times operators on the GPU at hand.

The calls of one case take turns on as many sets of operands as twice the cache holds: what a call reads has been pushed out of it
meanwhile, as a layer's weights are between two steps.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any

from models.formats import DType, stored_bytes
from models.units import ceil_div
from optimizer.calibrating.clock import REPEATS, Call, graph_ns, load_torch
from optimizer.calibrating.grid import Case, operator_cases
from optimizer.calibrating.ranks import time_collectives
from optimizer.calibrating.timings import FEWEST_ROWS, Device, Timing, Timings

MOST_SETS = 64
FREE_SHARE = 0.6  # of the free memory that the operands may take
CACHE_BYTES = 64 * 2**20  # where the driver does not say
FP8_SINCE = (8, 9)  # compute capability


def measure(quick: bool, say: Callable[[str], None]) -> Timings:
    """Timings of this machine: operators on its first GPU, collectives among all of them."""
    torch = load_torch()
    properties = torch.cuda.get_device_properties(0)
    gpus = int(torch.cuda.device_count())
    cache_bytes = int(getattr(properties, "L2_cache_size", 0)) or CACHE_BYTES
    formats: tuple[DType, ...] = ("bf16", "fp8") if torch.cuda.get_device_capability(0) >= FP8_SINCE else ("bf16",)
    timed: list[Timing] = []
    for kind, cases in groupby(operator_cases(formats, quick), lambda case: (case.kind, case.storage)):
        several = list(cases)
        say(f"timing {kind[0]} in {kind[1]}, {len(several)} shapes")
        found = [t for case in several if (t := _time(torch, case, cache_bytes)) is not None]
        if len(found) < len(several):
            say(f"{len(several) - len(found)} shapes left out: they do not fit, or PyTorch does not run them here")
        if len(found) < FEWEST_ROWS:
            say(f"{kind[0]} in {kind[1]} is left out: {len(found)} shapes are too few to fit")
        else:
            timed += found
    if gpus > 1:
        timed += time_collectives(gpus, quick, say)
    device = Device(
        name=str(properties.name)[:120],
        memory_bytes=int(properties.total_memory),
        multiprocessors=int(properties.multi_processor_count),
        cache_bytes=cache_bytes,
        gpus=gpus,
        software=f"PyTorch {torch.__version__}, CUDA {torch.version.cuda or torch.version.hip}"[:120],
    )
    return Timings(format="shardproof-timings/1", device=device, timings=tuple(timed))


def _time(torch: Any, case: Case, cache_bytes: int) -> Timing | None:
    """One case; None where its operands do not fit or there is no kernel for it."""
    one = operand_bytes(case)
    free = int(torch.cuda.mem_get_info(0)[0] * FREE_SHARE)
    if one > free:
        return None
    sets = max(1, min(MOST_SETS, ceil_div(2 * cache_bytes, one), free // one))
    try:
        with torch.inference_mode():
            ns = graph_ns(torch, [operator_call(torch, case, "cuda") for _ in range(sets)])
    except RuntimeError:  # out of memory; no kernel for this format or shape
        return None
    finally:
        torch.cuda.empty_cache()
    return Timing(kind=case.kind, storage=case.storage, shape=case.shape, ns=max(1, ns), repeats=REPEATS)


def operand_bytes(case: Case) -> int:
    """Bytes that one set of operands and its results take."""
    shape = case.shape
    match case.kind:
        case "copy":
            return stored_bytes(2 * shape[0], case.storage)
        case "gemm":
            rows, inputs, outputs = shape
            return stored_bytes(inputs * outputs, case.storage) + stored_bytes(rows * (inputs + outputs), "bf16")
        case "expert_gemm":
            rows, experts, inputs, width, matrices = shape
            return stored_bytes(experts * inputs * width * matrices + rows * (2 * inputs + matrices * width), case.storage)
        case _:
            sequences, queries, context, heads, kv_heads, width = shape
            return stored_bytes(2 * sequences * width * (queries * heads + context * kv_heads), case.storage)


def operator_call(torch: Any, case: Case, device: str) -> Call:
    """A call that runs the operator on operands of its own."""

    def numbers(*shape: int) -> Any:
        return torch.randn(*shape, dtype=torch.bfloat16, device=device)

    match case.kind:
        case "copy":
            source, target = numbers(*case.shape), numbers(*case.shape)
            return lambda: target.copy_(source)
        case "gemm":
            return _gemm(torch, case, numbers, device)
        case "expert_gemm":
            rows, experts, inputs, width, matrices = case.shape
            tokens = numbers(experts, rows // experts, inputs)
            up, down = numbers(experts, inputs, (matrices - 1) * width), numbers(experts, width, inputs)
            return lambda: torch.bmm(torch.bmm(tokens, up)[:, :, :width], down)
        case _:
            sequences, queries, context, heads, kv_heads, width = case.shape
            query = numbers(sequences, heads, queries, width)
            key, value = (numbers(sequences, kv_heads, context, width) for _ in range(2))
            attend, causal = torch.nn.functional.scaled_dot_product_attention, case.kind == "prefill_attention"
            return lambda: attend(query, key, value, is_causal=causal, enable_gqa=True)


def _gemm(torch: Any, case: Case, numbers: Callable[..., Any], device: str) -> Call:
    """Rows times weights, stored by outputs; in fp8 with one scale for each operand, results in bf16."""
    rows, inputs, outputs = case.shape
    tokens, weights = numbers(rows, inputs), numbers(outputs, inputs)
    if case.storage == "bf16":
        return lambda: torch.mm(tokens, weights.t())
    narrow, kept = (x.to(torch.float8_e4m3fn) for x in (tokens, weights))
    scale = torch.ones((), dtype=torch.float32, device=device)
    return lambda: torch._scaled_mm(narrow, kept.t(), scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16)
