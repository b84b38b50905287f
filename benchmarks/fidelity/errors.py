"""Absolute errors of single predictions: median, p90 and signed bias, per quantity and in every breakdown."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.fidelity.intervals import Estimate, quantile
from benchmarks.fidelity.outcomes import Outcome

LOW_CONCURRENCY = 8
QUANTITIES = ("TPOT", "TTFT at low concurrency", "TTFT", "throughput", "batch latency", "prefill time", "token time")
WORST = 20
BREAKDOWNS: dict[str, Callable[[Outcome], str]] = {
    "model kind": lambda o: o.kind,
    "hardware": lambda o: o.row.hardware,
    "engine": lambda o: o.row.engine,
    "family": lambda o: o.row.family,
    "model": lambda o: o.row.case.model if o.row.case else "-",
    "precision": lambda o: o.row.case.precision if o.row.case else "-",
    "serving mode": lambda o: o.row.case.mode if o.row.case else "-",
    "dominating term": lambda o: o.dominating_term,
}


class ErrorLine(NamedTuple):
    """Errors of one quantity in one class of one breakdown, in percent."""

    quantity: str
    breakdown: str
    value: str
    median: Estimate
    p90: Estimate
    bias: Estimate


def at_low_concurrency(outcome: Outcome) -> bool:
    """At most 8 requests in flight in the whole deployment: time to first token is then prefill, hardly queueing."""
    case = outcome.row.case
    return case is not None and case.concurrency is not None and case.concurrency <= LOW_CONCURRENCY


def of_quantity(outcomes: list[Outcome], quantity: str) -> list[Outcome]:
    """Priced rows of one quantity of the report."""
    priced = [o for o in outcomes if o.predicted is not None]
    if quantity == "TTFT at low concurrency":
        return [o for o in priced if o.quantity == "TTFT" and at_low_concurrency(o)]
    return [o for o in priced if o.quantity == quantity]


def absolute_error(outcomes: list[Outcome], q: float) -> Estimate | None:
    """The q-quantile of |predicted / measured - 1|, percent."""
    return quantile([100 * abs(o.error) for o in outcomes], cells_of(outcomes), q)


def bias_of(outcomes: list[Outcome]) -> Estimate | None:
    """The median of predicted / measured - 1, percent; above 0 the model is too slow (or, for a throughput, too fast)."""
    return quantile([100 * o.error for o in outcomes], cells_of(outcomes), 0.5)


def cells_of(outcomes: list[Outcome]) -> list[object]:
    """The cell that each row shares its error with."""
    return [o.row.case.cell if o.row.case else None for o in outcomes]


def line_of(quantity: str, breakdown: str, value: str, outcomes: list[Outcome]) -> ErrorLine | None:
    """Errors of some rows, or None of no rows."""
    median, p90, bias = absolute_error(outcomes, 0.5), absolute_error(outcomes, 0.9), bias_of(outcomes)
    return ErrorLine(quantity, breakdown, value, median, p90, bias) if median and p90 and bias else None


def error_lines(outcomes: list[Outcome]) -> list[ErrorLine]:
    """Every quantity, whole and broken down, largest quantity first as listed and classes by name."""
    lines = []
    for quantity in QUANTITIES:
        rows = of_quantity(outcomes, quantity)
        lines.append(line_of(quantity, "all", "all", rows))
        for breakdown, class_of in BREAKDOWNS.items():
            for value in sorted({class_of(o) for o in rows}):
                lines.append(line_of(quantity, breakdown, value, [o for o in rows if class_of(o) == value]))
    return [line for line in lines if line]


def worst_rows(outcomes: list[Outcome]) -> list[Outcome]:
    """The twenty rows predicted worst by factor, too high and too low alike; TTFT under load, mostly queueing, is left out."""
    priced = [o for o in outcomes if o.predicted is not None and (o.quantity != "TTFT" or at_low_concurrency(o))]
    return sorted(priced, key=lambda o: (-o.factor, o.row.row_id))[:WORST]
