"""Times collectives among the GPUs of this machine: one process per GPU, NCCL."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optimizer.calibrating.clock import REPEATS, Call, graph_ns, load_torch
from optimizer.calibrating.grid import Case, collective_cases
from optimizer.calibrating.timings import Timing

ELEMENT_BYTES = 2  # everything is sent in bf16


def time_collectives(gpus: int, quick: bool, say: Callable[[str], None]) -> list[Timing]:
    """Collectives among 2 GPUs to all; none, and it says so, where the processes fail."""
    processes = importlib.import_module("torch.multiprocessing")
    cases = collective_cases(gpus, quick)
    say(f"timing collectives among up to {gpus} GPUs, {len(cases)} cases")
    with TemporaryDirectory() as folder:
        try:
            processes.spawn(_run_rank, args=(gpus, quick, folder), nprocs=gpus, join=True)
        except (processes.ProcessRaisedException, processes.ProcessExitedException) as error:
            reason = str(error).strip().splitlines()[-1:] or ["no reason given"]
            say(f"collectives are left out, their processes failed: {reason[0][:200]}")
            return []
        rows = json.loads((Path(folder) / "times.json").read_text(encoding="utf-8"))
    return [Timing.model_validate_json(json.dumps(row)) for row in rows]


def _run_rank(rank: int, gpus: int, quick: bool, folder: str) -> None:
    """One GPU's part in every case; the first one writes the times down."""
    torch = load_torch()
    dist = importlib.import_module("torch.distributed")
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", init_method=f"file://{folder}/meeting", rank=rank, world_size=gpus)
    cases, rows = collective_cases(gpus, quick), []
    groups = {ranks: dist.new_group(list(range(ranks))) for ranks in sorted({case.shape[0] for case in cases})}
    for case in cases:
        if rank < case.shape[0]:
            group = groups[case.shape[0]]
            call = collective_call(torch, dist, case, rank, group, "cuda")

            def meet(group: Any = group) -> None:
                dist.barrier(group)
                torch.cuda.synchronize()

            ns = graph_ns(torch, [call], meet)
            rows.append({"kind": case.kind, "storage": case.storage, "shape": case.shape, "ns": max(1, ns), "repeats": REPEATS})
    dist.barrier()
    if rank == 0:
        (Path(folder) / "times.json").write_text(json.dumps(rows), encoding="utf-8")
    dist.destroy_process_group()


def collective_call(torch: Any, dist: Any, case: Case, rank: int, group: Any, device: str) -> Call:
    """A call that does this rank's part of the collective on tensors of its own."""
    ranks, size = case.shape
    whole = size // ELEMENT_BYTES

    def zeros(elements: int) -> Any:
        return torch.zeros(elements, dtype=torch.bfloat16, device=device)

    match case.kind:
        case "all_reduce":
            summed = zeros(whole)
            return lambda: dist.all_reduce(summed, group=group)
        case "all_gather":
            gathered, part = zeros(whole), zeros(whole // ranks)
            return lambda: dist.all_gather_into_tensor(gathered, part, group=group)
        case "reduce_scatter":
            given, kept = zeros(whole), zeros(whole // ranks)
            return lambda: dist.reduce_scatter_tensor(kept, given, group=group)
        case "all_to_all":
            sent, received = zeros(whole), zeros(whole)
            return lambda: dist.all_to_all_single(received, sent, group=group)
        case _:
            message = zeros(whole)
            return (lambda: dist.send(message, 1, group=group)) if rank == 0 else (lambda: dist.recv(message, 0, group=group))
