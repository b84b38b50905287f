"""The report as data: a summary of single figures with their intervals, the same per held-out kind, and every table."""

from typing import Any, NamedTuple

from benchmarks.fidelity.errors import ErrorLine, absolute_error, error_lines, of_quantity, worst_rows
from benchmarks.fidelity.intervals import Estimate, share
from benchmarks.fidelity.outcomes import Outcome
from benchmarks.fidelity.ranking import TRIVIAL, Judged, RankingLine, mean_regret, pair_share, ranking_lines


class Report(NamedTuple):
    """Everything the report says; the renderers add nothing."""

    files: dict[str, str]
    figures: dict[str, Estimate | None]
    figures_by_heldout_kind: dict[str, dict[str, Estimate | None]]
    counts: dict[str, int]
    errors: list[ErrorLine]
    other_errors: list[ErrorLine]
    ranking: list[RankingLine]
    other_ranking: list[RankingLine]
    worst: list[Outcome]
    unpriced: list[tuple[str, list[str]]]


def priced_share(outcomes: list[Outcome]) -> Estimate | None:
    """Percentage of rows with a prediction."""
    cells = [o.row.case.cell if o.row.case else (o.row.problem, o.row.hardware, o.row.family) for o in outcomes]
    return share([o.predicted is not None for o in outcomes], [o.row.case or o.row.row_id for o in outcomes], cells)


def figures_of(outcomes: list[Outcome], judged: list[Judged]) -> dict[str, Estimate | None]:
    """The figures that a judge reads first; None where there are no such rows."""

    def pairs(question: str, *kinds: str) -> Estimate | None:
        return pair_share([j for j in judged if j.group.kind == question and (not kinds or j.kind in kinds)])

    tpot = of_quantity(outcomes, "TPOT")
    ttft = of_quantity(outcomes, "TTFT at low concurrency")
    return {
        "tpot_median_error_pct": absolute_error(tpot, 0.5),
        "tpot_p90_error_pct": absolute_error(tpot, 0.9),
        "ttft_low_concurrency_median_error_pct": absolute_error(ttft, 0.5),
        "throughput_median_error_pct": absolute_error(of_quantity(outcomes, "throughput"), 0.5),
        "batch_latency_median_error_pct": absolute_error(of_quantity(outcomes, "batch latency"), 0.5),
        "pairs_fixed_budget_dense_pct": pairs("fixed_gpu_budget", "dense"),
        "pairs_fixed_budget_moe_pct": pairs("fixed_gpu_budget", "MoE"),
        "pairs_max_throughput_dense_pct": pairs("max_throughput_per_gpu", "dense"),
        "pairs_max_throughput_moe_pct": pairs("max_throughput_per_gpu", "MoE"),
        "pairs_same_gpus_pct": pairs("same_load_same_gpus"),
        "mean_regret_pct": mean_regret([j for j in judged if j.group.kind != TRIVIAL]),
        "priced_rows_pct": priced_share(outcomes),
    }


def unpriced_of(outcomes: list[Outcome], judged: list[Judged]) -> list[tuple[str, list[str]]]:
    """Row ids by reason, the most frequent reason first; group members that the rows file lacks are among them."""
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.predicted is None:
            reasons.setdefault(outcome.reason or "no reason given", []).append(outcome.row.row_id)
    known = {o.row.row_id for o in outcomes}
    lacking = sorted({row_id for j in judged for row_id in j.group.row_ids if row_id not in known})
    if lacking:
        reasons["a ranking group names the row, but the rows file lacks it"] = lacking
    return sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))


def report_of(files: dict[str, str], outcomes: list[Outcome], judged: list[Judged]) -> Report:
    """All figures and tables of one run."""
    headline, groups = [o for o in outcomes if o.row.headline], [j for j in judged if j.headline]
    heldout = sorted({o.row.heldout_kind for o in headline} | {j.heldout_kind for j in groups} - {""})
    return Report(
        files=files,
        figures=figures_of(headline, groups),
        figures_by_heldout_kind={
            kind: figures_of([o for o in headline if o.row.heldout_kind == kind], [j for j in groups if j.heldout_kind == kind])
            for kind in heldout
            if kind
        },
        counts={
            "rows": len(outcomes),
            "headline_rows": len(headline),
            "priced_rows": sum(o.predicted is not None for o in outcomes),
            "distinct_cases": len({o.row.case for o in outcomes if o.row.case}),
            "groups": len(judged),
            "headline_groups": len(groups),
            "groups_with_an_unpriced_member": sum(j.unpriced > 0 for j in judged),
            "members_whose_score_is_not_their_rows_value": sum(j.rescored for j in judged),
        },
        errors=error_lines(headline),
        other_errors=error_lines([o for o in outcomes if not o.row.headline]),
        ranking=ranking_lines(groups),
        other_ranking=ranking_lines([j for j in judged if not j.headline]),
        worst=worst_rows(headline),
        unpriced=unpriced_of(outcomes, judged),
    )


def rounded(value: float | None) -> float | None:
    """Three decimals: more would be noise."""
    return None if value is None else round(value, 3)


def plain(value: Any) -> Any:
    """Estimates and lines as JSON values."""
    if isinstance(value, Estimate):
        return {"value": rounded(value.value), **interval(value)}
    return {k: plain(v) for k, v in value._asdict().items()} if hasattr(value, "_asdict") else value


def interval(estimate: Estimate) -> dict[str, float | int | None]:
    """How many values a figure is of, and its 95 % limits."""
    return {"n": estimate.n, "low": rounded(estimate.low), "high": rounded(estimate.high)}


def values_of(figures: dict[str, Estimate | None]) -> dict[str, float | None]:
    """Figures without their intervals."""
    return {name: rounded(e.value) if e else None for name, e in figures.items()}


def intervals_of(figures: dict[str, Estimate | None]) -> dict[str, Any]:
    """n and limits of every figure."""
    return {name: interval(e) if e else None for name, e in figures.items()}


def worst_row(outcome: Outcome) -> dict[str, Any]:
    """A badly predicted row as JSON."""
    row, case = outcome.row, outcome.row.case
    assert case is not None
    return {
        "row_id": row.row_id,
        **{
            name: getattr(case, name)
            for name in ("model", "precision", "accelerator", "engine", "num_gpus", "tp", "pp", "dp", "ep", "moe_tp")
        },
        **{name: getattr(case, name) for name in ("mode", "concurrency", "isl", "osl")},
        "metric": row.metric,
        "measured": row.value,
        "predicted": rounded(outcome.predicted),
        "error_pct": rounded(100 * outcome.error),
        "dominating_term": outcome.dominating_term,
        "terms_ms": {name: rounded(ms) for name, ms in sorted(outcome.terms.items())},
    }


def as_json(report: Report) -> dict[str, Any]:
    """The whole report as JSON values."""
    return {
        "files": report.files,
        "summary": values_of(report.figures),
        "intervals": intervals_of(report.figures),
        "summary_by_heldout_kind": {kind: values_of(f) for kind, f in report.figures_by_heldout_kind.items()},
        "intervals_by_heldout_kind": {kind: intervals_of(f) for kind, f in report.figures_by_heldout_kind.items()},
        "counts": report.counts,
        "errors": [plain(line) for line in report.errors],
        "errors_of_other_quality": [plain(line) for line in report.other_errors],
        "ranking": [plain(line) for line in report.ranking],
        "ranking_of_other_quality": [plain(line) for line in report.other_ranking],
        "worst_rows": [worst_row(o) for o in report.worst],
        "unpriced": [{"reason": reason, "rows": len(ids), "row_ids": ids} for reason, ids in report.unpriced],
    }
