"""`batch report`: what the rows of a batch tell together, with further rows solved where the optimum changes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from models.instance import Instance
from models.objective import UNITS
from optimizer.batching.axes import written
from optimizer.batching.changes import Bracket, Side, best, brackets, numeric, optimal, sharpen, standing
from optimizer.batching.margins import Gain, Margin, margins, margins_text
from optimizer.batching.picture import write_map
from optimizer.batching.probes import SAY_EVERY_S, Probes
from optimizer.batching.ranking import group, rank, tally
from optimizer.batching.regret import Case, LeastRegret, least_regret
from optimizer.batching.report_text import verdict
from optimizer.batching.request import Batch, opened
from optimizer.batching.rows import Row
from optimizer.batching.table import rows_of
from optimizer.output import check_free, to_json, write_file, write_folder
from optimizer.reading import validate
from optimizer.report import header, percent

Json = dict[str, Any]
Progress = Callable[[str], None]


class Wanted(NamedTuple):
    """What to report."""

    x: str | None
    y: str | None
    at: tuple[str, ...]
    changes: int
    """brackets to sharpen at most"""
    certificates: Path | None
    force: bool
    workers: int


def run_report(folder: Path, wanted: Wanted, progress: Progress) -> Json:
    """The report of a batch's folder, also written there as report.json and map.svg."""
    if wanted.certificates is not None:
        check_free(wanted.certificates, wanted.force)
    with opened(folder) as (batch, journal):
        rows = rows_of(batch.variants, journal.rows())
        ordered = [rows[n] for n in sorted(rows)]
        instance = batch.instance()
        picture = write_map(folder / "map.svg", batch, rows, wanted.x, wanted.y, wanted.at)
        with Probes(batch, journal, wanted.workers, progress) as probes:
            reference = _bracketed(batch, rows, standing, wanted.changes, probes) if instance.reference else []
            changes = _bracketed(batch, rows, best, wanted.changes, probes)
        wins = rank(ordered)
        regret = least_regret(lambda: _cases(batch, ordered, progress), tally(ordered).optimal, [win.label for win in wins])
        result = header("batch-report", "REPORTED", instance, batch.options, 0) | {
            "rows": tally(ordered)._asdict() | {"missing": len(batch.variants) - len(rows)},
            "objective": {"name": instance.objective.name, "unit": UNITS[instance.objective.name]},
            "reference": None if instance.reference is None else _reference_json(instance, ordered, reference),
            "changes": [_bracket_json(batch, b) for b in changes],
            "margins": _margins_json(ordered, batch, UNITS[instance.objective.name]),
            "wins": [g._asdict() | {"labels": list(g.labels)} for g in group(ordered)],
            "regret": _regret_json(batch, ordered, regret),
            "map": str(picture),
        }
        if wanted.certificates is not None:
            files = {f"{number + 1}.json": text for number, text in journal.certificates()}
            write_folder(wanted.certificates, files, wanted.force)
            result["certificates"] = str(wanted.certificates)
    result["verdict"] = verdict(result)
    write_file(folder / "report.json", to_json(result))
    return result


def _bracketed(batch: Batch, rows: dict[int, Row], side: Side, most: int, probes: Probes) -> list[Bracket]:
    """The changes along every numeric axis, the first `most` of them sharpened."""
    axes = [n for n, axis in enumerate(batch.variants.axes) if numeric(axis)]
    found = [b for n in axes for b in brackets(batch.variants, rows, n, side)]
    return [*sharpen(found[:most], side, probes.solve, most), *found[most:]]


def _margins_json(rows: list[Row], batch: Batch, unit: str) -> Json:
    """Each interval's gains per base unit of its field (fractions as floats), and the lines that say them."""
    found = margins(rows, batch.variants.columns)
    return {"lines": margins_text(found, unit), "intervals": [_margin_json(m) for m in found]}


def _margin_json(m: Margin) -> Json:
    gains = {name: None if g is None else _gain_json(g) for name, g in _gains(m)}
    return {"path": m.path, "before": m.before, "after": m.after, "step": m.step, "opens": m.opens, "closes": m.closes, **gains}


def _gains(m: Margin) -> tuple[tuple[str, Gain | None], ...]:
    return ("value", m.value), ("step_ns", m.step_ns), ("uusd_per_million_tokens", m.uusd_per_million_tokens)


def _gain_json(g: Gain) -> Json:
    return {"pairs": g.pairs, "least": float(g.least), "mean": float(g.mean), "greatest": float(g.greatest)}


def _cases(batch: Batch, rows: list[Row], progress: Progress) -> Iterator[Case]:
    """The variants that have a proved optimum."""
    said = time.monotonic()
    for n, row in enumerate(rows):
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            progress(f"regret: {n}/{len(rows)} rows priced")
        if row.status == "OPTIMAL" and row.value:
            yield Case(validate(batch.variants.data(row.number), Instance, str(batch.origin)), row.value)


def _bracket_json(batch: Batch, b: Bracket) -> Json:
    columns = batch.variants.columns
    return {
        "path": b.path,
        "others": {s.path: s.text for s in sorted(b.others, key=lambda s: columns.index(s.path))},
        "from": [label for label in optimal(b.before) if label in b.held],
        "to": optimal(b.after),
        "low": b.low,
        "high": b.high,
        "low_text": written(b.path, b.low, b.like),
        "high_text": written(b.path, b.high, b.like),
        "sharp": b.sharp,
    }


def _reference_json(instance: Instance, rows: list[Row], found: list[Bracket]) -> Json:
    """Where the reference plan is optimal, and what it loses elsewhere."""
    assert instance.reference is not None, "asked only of instances that have one"
    losses = [(row.reference_excess, row.value) for row in rows if row.reference_excess is not None and row.value]
    return {
        "name": instance.reference.name,
        "optimal_rows": sum(row.reference == "optimal" for row in rows),
        "worst_regret_pct": max((percent(loss, value) for loss, value in losses), default=None),
        "changes": [_reference_bracket(b) for b in found],
    }


def _reference_bracket(b: Bracket) -> Json:
    return {
        "path": b.path,
        "others": {s.path: s.text for s in b.others},
        "optimal_at": written(b.path, *((b.low, b.like) if b.before.reference == "optimal" else (b.high, b.like))),
        "not_at": written(b.path, *((b.high, b.like) if b.before.reference == "optimal" else (b.low, b.like))),
        "above": (b.before.reference == "optimal") == (b.high > b.low),
        "instead": optimal(b.after if b.before.reference == "optimal" else b.before),
        "sharp": b.sharp,
    }


def _regret_json(batch: Batch, rows: list[Row], found: LeastRegret) -> Json:
    """The strategies by worst regret, percentages rounded up."""
    optimal = [row for row in rows if row.status == "OPTIMAL" and row.value]
    return {
        "variants": found.cases,
        "proved_least": found.proved,
        "winners_left_out": found.left_out,
        "strategies": [
            {
                "label": r.label,
                "runs_in": r.runs_in,
                "worst_regret": str(r.worst),
                "worst_regret_pct": -(-r.worst.numerator * 10_000 // r.worst.denominator) / 100,
                "at": dict(zip(batch.variants.columns, optimal[r.at].settings, strict=True)) if optimal else {},
            }
            for r in found.considered[:20]
        ],
    }
