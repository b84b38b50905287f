"""Every measured row with its prediction, or with the reason why it has none."""

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.fidelity.cases import Case, Prediction, Price, Unpriced
from benchmarks.fidelity.metrics import metric_of, predicted_value
from benchmarks.fidelity.rows import Row


class Outcome(NamedTuple):
    """A row, its prediction in the row's own metric and unit, and the pricing it came from; or the reason why there is none."""

    row: Row
    predicted: float | None
    pricing: Prediction | None
    reason: str | None

    @property
    def error(self) -> float:
        """Signed relative error, predicted / measured - 1."""
        assert self.predicted is not None
        return self.predicted / self.row.value - 1

    @property
    def factor(self) -> float:
        """How many times too large or too small, at least 1."""
        assert self.predicted is not None
        return max(self.predicted / self.row.value, self.row.value / self.predicted)

    @property
    def quantity(self) -> str:
        """The report's name of what was measured."""
        metric = metric_of(self.row.metric)
        return metric.quantity.label if metric else self.row.metric

    @property
    def terms(self) -> Mapping[str, float]:
        """The terms of what was measured, ms: of prefill for a time to first token or a prefill time, else of an output token."""
        if self.pricing is None:
            return {}
        return self.pricing.prefill_terms if self.quantity in ("TTFT", "prefill time") else self.pricing.terms

    @property
    def dominating_term(self) -> str:
        """The largest term; the first by name of equals; "-" when no terms are given."""
        return min(self.terms, key=lambda name: (-self.terms[name], name)) if self.terms else "-"

    @property
    def kind(self) -> str:
        """dense, MoE, or unstated, as the prediction says."""
        return kind_of(self.pricing.moe if self.pricing else None)


def kind_of(moe: bool | None) -> str:
    """The report's word for a model with or without experts."""
    return {True: "MoE", False: "dense", None: "unstated"}[moe]


def outcome_of(row: Row, priced: dict[Case, Prediction | Unpriced], price: Price) -> Outcome:
    """Prices a row's case once."""
    if row.case is None:
        return Outcome(row, None, None, row.problem)
    if row.case not in priced:
        priced[row.case] = price(row.case)
    answer = priced[row.case]
    if isinstance(answer, Unpriced):
        return Outcome(row, None, None, answer.reason)
    value = predicted_value(row.metric, row.unit, row.case, answer)
    return Outcome(row, None, answer, value) if isinstance(value, str) else Outcome(row, value, answer, None)


def price_rows(rows: list[Row], price: Price) -> list[Outcome]:
    """Every row's outcome, in the order of the rows; each distinct case is priced once."""
    priced: dict[Case, Prediction | Unpriced] = {}
    return [outcome_of(row, priced, price) for row in rows]
