"""Times calls on a GPU. PyTorch is loaded here, and only when there is something to measure.

Calls are captured in a graph and replayed, so that no host time is in them.
"""

import importlib
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from models.errors import InputError
from models.units import ceil_div

Call = Callable[[], object]

REPEATS = 11
WARM_UPS = 3
CALLS = 20  # in one graph, at least


def load_torch() -> Any:
    """PyTorch with a GPU. Raises InputError without either."""
    rather = "or fit a file of timings with --timings FILE"
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(f"calibrate needs PyTorch, which is not installed; pip install 'shardproof[calibrate]', {rather}") from error
    if not torch.cuda.is_available():
        raise InputError(f"calibrate needs a GPU that PyTorch can use, and it finds none; run it on the machine to be measured, {rather}")
    return torch


def graph_ns(torch: Any, calls: Sequence[Call], before: Callable[[], None] | None = None) -> int:
    """Median time of one call, ns, when all of them run one after the other in a captured graph."""
    sequence = [*calls] * ceil_div(CALLS, len(calls))
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for call in calls:
            call()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # the watchdog of collectives may query events meanwhile
        for call in sequence:
            call()
    for _ in range(WARM_UPS):
        graph.replay()
    times_ms: list[float] = []
    for _ in range(REPEATS):
        if before is not None:
            before()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times_ms.append(start.elapsed_time(end))
    return round(median(times_ms) * 1e6 / len(sequence))
