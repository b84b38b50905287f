"""The report as text: every percentage beside its n and its 95 % interval."""

from collections.abc import Iterable

from benchmarks.fidelity.errors import LOW_CONCURRENCY, ErrorLine
from benchmarks.fidelity.intervals import Estimate
from benchmarks.fidelity.outcomes import Outcome
from benchmarks.fidelity.ranking import RankingLine
from benchmarks.fidelity.summary import Report

SHOWN_IDS = 6
NOTES = f"""Percent, with n and 95 % interval: the widest of independent values, whole groups drawn, whole cells drawn.
Headline figures are of rows of quality A and B. TTFT at low concurrency: at most {LOW_CONCURRENCY} requests in flight.
Pairs: measured scores more than 10 % apart; a pair with an unpriced row is wrong. A group with an unpriced member is charged its worst.
mean_regret_pct leaves out same_load_any_gpus, where more GPUs are faster whatever the model says."""


def limit(value: float | None) -> str:
    """An interval's limit; "?" where the data give none."""
    return "?" if value is None else f"{value:.1f}"


def figure(estimate: Estimate | None) -> str:
    """Value, interval, n."""
    if estimate is None:
        return "no such rows"
    return f"{estimate.value:.1f} [{limit(estimate.low)}, {limit(estimate.high)}] n={estimate.n}"


def table(header: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell."""
    rows = [header, *body]
    widths = [max(len(row[k]) for row in rows) for k in range(len(header))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def figures_text(title: str, figures: dict[str, Estimate | None]) -> list[str]:
    """One section of single figures."""
    return ["", title, *table(("figure", "percent [95 % interval] n"), [(name, figure(e)) for name, e in figures.items()])]


def errors_text(title: str, lines: list[ErrorLine]) -> list[str]:
    """One section of errors; a breakdown with a single class is left out."""
    if not lines:
        return []
    classes: dict[tuple[str, str], int] = {}
    for line in lines:
        classes[line.quantity, line.breakdown] = classes.get((line.quantity, line.breakdown), 0) + 1
    kept = [line for line in lines if line.breakdown == "all" or classes[line.quantity, line.breakdown] > 1]
    header = ("quantity", "by", "class", "median |error|", "p90 |error|", "bias (median)")
    body = [(i.quantity, i.breakdown, i.value, figure(i.median), figure(i.p90), figure(i.bias)) for i in kept]
    return ["", title, *table(header, body)]


def ranking_text(title: str, lines: list[RankingLine]) -> list[str]:
    """One section of rankings."""
    if not lines:
        return []
    header = ("question", "models", "by", "class", "pairs right", "mean regret", "p90 regret", "good picks", "unpriced groups")
    body = [
        (
            i.question,
            i.kind,
            i.breakdown,
            i.value,
            figure(i.pairs),
            figure(i.mean_regret),
            figure(i.p90_regret),
            figure(i.good_picks),
            str(i.unpriced_groups),
        )
        for i in lines
    ]
    return ["", title, *table(header, body)]


def layout_text(outcome: Outcome) -> str:
    """A case in a few words."""
    case = outcome.row.case
    assert case is not None
    degrees = f"{case.num_gpus} GPUs tp{case.tp} pp{case.pp} dp{case.dp} ep{case.ep}"
    load = "max" if case.concurrency is None else str(case.concurrency)
    return f"{case.model} {case.precision} {case.accelerator} {case.engine} {degrees} c={load} {case.isl or 0:g}/{case.osl or 0:g}"


def worst_text(outcomes: list[Outcome]) -> list[str]:
    """The worst rows, each with the term that dominates its prediction."""
    header = ("row", "metric", "measured", "predicted", "error", "dominating term", "case")
    body = [
        (
            o.row.row_id,
            o.row.metric,
            f"{o.row.value:.4g}",
            f"{o.predicted or 0:.4g}",
            f"{100 * o.error:+.0f} %",
            o.dominating_term,
            layout_text(o),
        )
        for o in outcomes
    ]
    return ["", f"Worst {len(body)} headline rows, by factor (TTFT under load left out)", *table(header, body)] if body else []


def unpriced_text(unpriced: list[tuple[str, list[str]]]) -> list[str]:
    """Rows without a prediction by reason; all ids are in the JSON."""
    if not unpriced:
        return ["", "Every row is priced."]
    body = [(str(len(ids)), reason, " ".join(ids[:SHOWN_IDS]) + (" ..." if len(ids) > SHOWN_IDS else "")) for reason, ids in unpriced]
    return ["", "Rows without a prediction, by reason (of any quality)", *table(("rows", "reason", "ids"), body)]


def as_text(report: Report) -> str:
    """The whole report as text."""
    lines = [f"Fidelity of the cost model on {report.files['rows']} and {report.files['groups']}", "", NOTES, ""]
    lines += table(("count", ""), [(name.replace("_", " "), str(n)) for name, n in report.counts.items()])
    lines += figures_text("Summary", report.figures)
    for kind, figures in report.figures_by_heldout_kind.items():
        lines += figures_text(f"Summary, held-out kind {kind}", figures)
    lines += errors_text("Errors of single predictions", report.errors)
    lines += ranking_text("Ranking", report.ranking)
    lines += worst_text(report.worst)
    lines += unpriced_text(report.unpriced)
    lines += errors_text("Errors of rows of other quality", report.other_errors)
    lines += ranking_text("Ranking in groups with rows of other quality", report.other_ranking)
    return "\n".join(lines) + "\n"
