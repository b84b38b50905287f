"""Measured rows and ranking groups, read from CSV and normalised; what a missing column means is said here.

Needed in ROWS: row_id, model, hardware, metric, value. Defaults of the others, for a missing column and an empty cell alike:
tp = num_gpus / (pp * dp); num_gpus = tp * pp * dp; pp, dp, ep, cp = 1; gpus_per_node = 8; precision from the model's name, else bf16;
serving_mode aggregated; concurrency, isl, osl not stated; moe_tp = tp * dp / ep; engine "unstated"; family "unstated"; no notes.
A file without a quality column counts as all headline; an empty quality cell does not.
Needed in GROUPS: group_id, kind, better, row_ids, scores. moe, when missing, is what the priced members say.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fidelity.cases import Case, Pricing
from benchmarks.fidelity.names import engine_of, find_accelerator, find_model, precision_of
from benchmarks.fidelity.notes import expert_tensor_degree, facts_in, number, whole
from benchmarks.fidelity.tables import Line, read_lines

ROW_COLUMNS = ("row_id", "model", "hardware", "metric", "value")
GROUP_COLUMNS = ("group_id", "kind", "better", "row_ids", "scores")
HEADLINE_QUALITY = ("A", "B")


class Row(NamedTuple):
    """One measured value of one case; `problem` says why no case can be made of it."""

    row_id: str
    case: Case | None
    problem: str | None
    hardware: str
    engine: str
    metric: str
    value: float
    unit: str
    headline: bool
    family: str
    heldout_kind: str


class Group(NamedTuple):
    """Measured strategies for one question; `scores` are the file's own, in the order of `row_ids`."""

    group_id: str
    kind: str
    lower_is_better: bool
    row_ids: tuple[str, ...]
    scores: tuple[float, ...]
    moe: bool | None
    family: str
    hardware: str
    engine: str
    heldout_kind: str


class Load(NamedTuple):
    """Offered load: requests in flight, or all at once, or prompt tokens per step and GPU."""

    concurrency: int | None
    requests: int | None
    tokens_per_gpu: int | None


def load_of(text: str, num_gpus: int) -> Load:
    """ "16", "256/GPU", "16384 tokens/device", "max (1000 ShareGPT requests at once)"."""
    if re.match(r"max|inf|all", text, re.IGNORECASE):
        return Load(None, whole(number(r"(\d+)[^)\d]*requests", text)), None)
    count = whole(number(r"^(\d+)", text))
    per_gpu = bool(re.search(r"/\s*(gpu|device|rank)|per (gpu|device|rank)", text, re.IGNORECASE))
    if count and "token" in text.casefold():
        return Load(None, None, count if per_gpu else -(-count // num_gpus))
    return Load(count * num_gpus if count and per_gpu else count, None, None)


def layout_of(line: Line) -> dict[str, Any]:
    """GPU count and degrees, each with its documented default."""
    pp, dp, ep, cp = (line.whole(field, 1) for field in ("pp", "dp", "ep", "cp"))
    tp = line.whole("tp", max(1, line.whole("num_gpus", 1) // (pp * dp)))
    return {
        "tp": tp,
        "pp": pp,
        "dp": dp,
        "ep": ep,
        "cp": cp,
        "moe_tp": line.whole("moe_tp", expert_tensor_degree(tp, dp, ep)),
        "num_gpus": line.whole("num_gpus", tp * pp * dp),
        "gpus_per_node": line.whole("gpus_per_node", 8),
    }


def case_of(line: Line, model: str, accelerator: str) -> Case:
    """The configuration a line was measured at."""
    layout = layout_of(line)
    load = load_of(line.text("batch_or_concurrency"), layout["num_gpus"])
    precision = precision_of(line.text("precision"), line.text("model"))
    engine, version = engine_of(line.text("engine"))
    notes, family = line.text("notes"), line.text("family", "unstated")
    return Case(
        model=model,
        precision=precision,
        accelerator=accelerator,
        engine=engine,
        engine_version=version,
        mode=line.text("serving_mode", "aggregated"),
        isl=line.real("isl"),
        osl=line.real("osl"),
        family=family,
        random_range=family.startswith("inferencex") or "random-range" in notes.casefold().replace("_", "-"),
        **layout,
        **load._asdict(),
        **facts_in(notes, line.text("unit"), precision),
    )


def row_of(line: Line, pricing: Pricing, has_quality: bool) -> Row:
    """One line as a measured row."""
    name, hardware = line.text("model"), line.text("hardware")
    value = line.real("value")
    if value is None:
        raise line.refuse("value", line.text("value"), "must be a positive number", "give the measured value or delete the line")
    model, accelerator = find_model(name, pricing.models), find_accelerator(hardware, pricing.accelerators)
    case, problem = None, None
    if model is None:
        problem = f"model {name!r} is not in the catalogue"
    elif accelerator is None:
        problem = f"accelerator {hardware!r} is not in the catalogue"
    if model and accelerator:
        case = case_of(line, model, accelerator)
    return Row(
        row_id=line.text("row_id"),
        case=case,
        problem=problem,
        hardware=accelerator or hardware,
        engine=engine_of(line.text("engine"))[0],
        metric=line.text("metric"),
        value=value,
        unit=line.text("unit"),
        headline=not has_quality or line.text("quality").upper() in HEADLINE_QUALITY,
        family=line.text("family", "unstated"),
        heldout_kind=line.text("heldout_kind"),
    )


def read_rows(path: Path, pricing: Pricing) -> list[Row]:
    """Every measured row of a file, in its order."""
    lines = read_lines(path, ROW_COLUMNS)
    rows = [row_of(line, pricing, "quality" in line.cells) for line in lines]
    seen: set[str] = set()
    for line, row in zip(lines, rows, strict=True):
        if not row.row_id or row.row_id in seen:
            raise line.refuse("row_id", row.row_id, "must be present and unique", "give every line an id of its own")
        seen.add(row.row_id)
    return rows


def scores_of(line: Line, members: int) -> tuple[float, ...]:
    """The measured scores, one per member."""
    text = line.text("scores")
    try:
        scores = tuple(float(s) for s in text.split())
    except ValueError:
        scores = ()
    if len(scores) != members or members < 2 or not all(0 < s < float("inf") for s in scores):
        raise line.refuse("scores", text, f"must be one positive number per row id ({members}), for two rows or more", "correct the cell")
    return scores


def group_of(line: Line) -> Group:
    """One line as a ranking group."""
    better, moe = line.text("better").casefold(), line.text("moe").casefold()
    if better not in ("lower", "higher"):
        raise line.refuse("better", line.text("better"), "must be lower or higher", "correct the cell")
    if moe not in ("", "0", "1", "0.0", "1.0", "true", "false"):
        raise line.refuse("moe", line.text("moe"), "must be 0 or 1", "correct the cell or leave it empty")
    row_ids = tuple(line.text("row_ids").split())
    return Group(
        group_id=line.text("group_id"),
        kind=line.text("kind", "unstated"),
        lower_is_better=better == "lower",
        row_ids=row_ids,
        scores=scores_of(line, len(row_ids)),
        moe=moe in ("1", "1.0", "true") if moe else None,
        family=line.text("family", "unstated"),
        hardware=line.text("hardware", "unstated"),
        engine=engine_of(line.text("engine_b", line.text("engine")))[0],
        heldout_kind=line.text("heldout_kind"),
    )


def read_groups(path: Path) -> list[Group]:
    """Every ranking group of a file, in its order."""
    return [group_of(line) for line in read_lines(path, GROUP_COLUMNS)]
