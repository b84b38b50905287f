"""The use case `place`: experts to ranks for every layer, compared with what is in use, written for the engines."""

import os
import time
from collections.abc import Callable
from typing import Any

from models.certificate import Certificate
from models.errors import VerificationError
from models.expert_map import BILLION, ExpertMap, Setting, in_grains
from models.units import PPM
from optimizer.certify import certificate_alone
from optimizer.check import check
from optimizer.commands import Files
from optimizer.mapping.budgets import front_of_layer, share_budget
from optimizer.mapping.figures import Placed, compare, head_of, layer_row, off_home_pct, status_of, total_figures
from optimizer.mapping.hierarchy import homes_of_groups
from optimizer.mapping.layers import PlacedLayer, Task, place_tasks, record_of
from optimizer.mapping.map_files import WRITERS
from optimizer.mapping.movement import move_little
from optimizer.mapping.parallel import run_tasks
from optimizer.mapping.request import Request, Wanted
from optimizer.output import to_json

Json = dict[str, Any]
Progress = Callable[[str], None]

FRONT = (0, 25_000, 50_000, 100_000, 200_000, PPM)  # budgets off home, parts per million


def run_place(request: Request, wanted: Wanted, files: Files, progress: Progress) -> Json:
    """Place, compare, write. Raises VerificationError where the checker refuses what was found."""
    files.check_free()
    started = time.monotonic()
    memory = _memory(request, request.setting.slots)
    if memory is not None and memory["need_bytes"] > memory["have_bytes"] and request.rules.target_ppm is None:
        return head_of(request, "INFEASIBLE", started) | {"broken": [_broken(memory)], "memory": memory}
    if request.rules.target_ppm is None:
        placed: Placed | None = _place(request, request.setting, progress)
        tried: list[Json] = []
    else:
        placed, tried = _search_slots(request, progress)
    if placed is None:
        open_ = any(t["verdict"] == "not reached" for t in tried)
        return head_of(request, "UNKNOWN" if open_ else "INFEASIBLE", started) | {"target": _target(request, tried, None)}
    moves = None
    if wanted.loss_ppm is not None:
        placed, moves = _near_current(request, placed, wanted.loss_ppm)
    certificate = _certificate(placed) if files.certificate or files.out else None
    result = head_of(request, status_of(placed), started) | total_figures(request, placed)
    result |= {"baseline": compare(request, placed, wanted.judged), "moves": moves, "memory": _memory(request, placed.setting.slots)}
    result["target"] = None if request.rules.target_ppm is None else _target(request, tried, placed.setting.slots)
    result["front"] = _front(request, placed.setting, progress) if wanted.front else None
    result["rows"] = [layer_row(placed.setting, p) for p in placed.layers]
    result["limited"] = request.options.expired()
    result["seconds"] = round(time.monotonic() - started, 3)
    files.write(_texts(request, placed, result) if files.out else {}, None if certificate is None else certificate.text())
    return result


def _place(request: Request, setting: Setting, progress: Progress, off_home_ppm: int | None = None) -> Placed:
    """All layers with tokens under one setting, and one budget off home."""
    budget = request.rules.off_home_ppm if off_home_ppm is None else off_home_ppm
    shared = budget if request.rules.hierarchy == "soft" and budget not in (None, 0, PPM) else None
    return Placed(setting, place_tasks(_tasks(request, setting, budget, progress), request.options, progress), shared)


def _tasks(request: Request, setting: Setting, budget_ppm: int | None, progress: Progress) -> list[Task]:
    """One task per layer with tokens."""
    rows, first = {n: tuple(w.counts[n] for w in request.workloads) for n in request.layers}, request.numbering.first_layer
    tasks = [
        Task(n + first, loads, setting, request.options, None if request.fixed is None else request.fixed[n], weights=request.rules.weights)
        for n, loads in rows.items()
    ]
    if request.rules.hierarchy == "none":
        return tasks
    tasks = [t._replace(homes=homes_of_groups(t.loads, request.groups, setting.nodes)) for t in tasks]
    if request.rules.hierarchy == "strict" or budget_ppm == 0:
        return [t._replace(off_home_ppm=0) for t in tasks]
    if budget_ppm is None or budget_ppm == PPM:
        return tasks
    progress(f"sharing {budget_ppm / 10_000:g} % off home among {len(tasks)} layers")
    workers = request.options.workers or os.cpu_count() or 1
    fronts = run_tasks(front_of_layer, tasks, workers, request.options.haste, lambda *_: None)
    return [t._replace(off_home_ppm=limit) for t, limit in zip(tasks, share_budget(fronts, budget_ppm), strict=True)]


def _search_slots(request: Request, progress: Progress) -> tuple[Placed | None, list[Json]]:
    """The fewest slots per rank whose placement reaches the target; for each number below, what is proved of it."""
    target, tried = (request.rules.target_ppm or PPM) * BILLION // PPM, list[Json]()
    for slots in range(request.setting.slots, request.experts + 1):
        memory = _memory(request, slots)
        if memory is not None and memory["need_bytes"] > memory["have_bytes"]:
            tried.append({"slots": slots, "verdict": "memory"} | memory)
            return None, tried
        placed = _place(request, request.setting.model_copy(update={"slots": slots}), progress)
        value, bound = placed.values()["mean"], placed.bounds()["mean"]
        reached = sum(p.value for p in placed.layers) <= target * len(placed.layers)
        verdict = "reached" if reached else "proved out of reach" if bound > target / BILLION else "not reached"
        tried.append({"slots": slots, "verdict": verdict, "max_over_mean": value, "bound_over_mean": bound})
        progress(f"{slots} slots per rank: {verdict}")
        if reached:
            return placed, tried
    return None, tried


def _target(request: Request, tried: list[Json], slots: int | None) -> Json:
    below = [t["slots"] for t in tried if t["verdict"] == "not reached"]
    return {
        "wanted": (request.rules.target_ppm or 0) / PPM,
        "slots": slots,
        "proved_smallest": slots is not None and not below,
        "tried": tried,
    }


def _near_current(request: Request, placed: Placed, loss_ppm: int) -> tuple[Placed, Json]:
    """Each layer changed as little as the loss admits; the best placement where the changes do not get there."""
    layers, rows = [], []
    for p in placed.layers:
        current, loads = request.baseline[p.record.layer], in_grains(p.record.loads[0])
        limit = sum(loads) * p.value * (PPM + loss_ppm) // (PPM * BILLION * placed.setting.ranks)
        usable = all(len(set(rank)) == len(rank) for rank in current) and len(p.record.loads) == 1
        moved = move_little(current, loads, limit) if usable else None
        best = sum(len(set(new) - set(old)) for new, old in zip(p.contents, current, strict=True))
        if moved is not None and moved.loaded <= best:
            record = record_of(placed.setting, p.record, moved.contents)
            layers.append(PlacedLayer(record))
            rows.append({"layer": p.record.layer, "loaded": moved.loaded, "at_least": moved.at_least, "instead_of": best})
        else:
            layers.append(p)
            rows.append({"layer": p.record.layer, "loaded": best, "at_least": 0, "instead_of": best})
    total = {key: sum(row[key] for row in rows) for key in ("loaded", "at_least", "instead_of")}
    return Placed(placed.setting, layers), {"loss_pct": loss_ppm / 10_000} | total | {"rows": rows}


def _certificate(placed: Placed) -> Certificate:
    """The certificate of all layers, accepted by the checker. Raises VerificationError where it is not."""
    claim = ExpertMap(kind="expert_map", setting=placed.setting, layers=tuple(p.record for p in placed.layers))
    certificate = certificate_alone(claim, "place")
    verdict = check(certificate)
    if not verdict.valid:
        raise VerificationError(f"{verdict.where}: {verdict.reason}")
    return certificate


def _memory(request: Request, slots: int) -> Json | None:
    """Weights of the slots of one GPU, and what there is; None where it is not told."""
    if request.slot_bytes is None or request.memory_bytes is None:
        return None
    most = request.memory_bytes // request.slot_bytes
    return {"slots": slots, "need_bytes": slots * request.slot_bytes, "have_bytes": request.memory_bytes, "most_slots": most}


def _broken(memory: Json) -> Json:
    return {"rule": "memory", "need": memory["need_bytes"], "have": memory["have_bytes"]}


def _front(request: Request, setting: Setting, progress: Progress) -> list[Json]:
    """Largest load against load off home: for each budget the best that was placed within it, and the bound."""
    found: list[Json] = []
    best: Placed | None = None
    for budget in FRONT:
        placed = _place(request, setting, progress, budget)
        best = placed if best is None or placed.values()["mean"] < best.values()["mean"] else best
        away = [off_home_pct(setting, p) or 0.0 for p in best.layers]
        found.append(
            {
                "off_home_budget_pct": budget / 10_000,
                "off_home_pct": sum(away) / len(away),
                "max_over_mean": best.values()["mean"],
                "bound_over_mean": placed.bounds()["mean"],
            }
        )
    return found


def _texts(request: Request, placed: Placed, result: Json) -> dict[str, str]:
    """The files: the result, and the map in each engine's format."""
    layers = {p.record.layer: p.contents for p in placed.layers}
    maps = {name: write(layers, request.experts, request.numbering.model_layers or 0) for name, write in WRITERS.values()}
    return {"result.json": to_json(result)} | maps
