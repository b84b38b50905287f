"""What a fleet yields, and what its requests see, when every worker is as busy as it can be: the figures that are proved of it."""

from collections.abc import Sequence
from typing import NamedTuple

from models.fleet import ROLES
from models.fleet_plan import figures_of
from optimizer.serving.deployment import Unit

MISSING_ROLES = "add aggregated workers, or both prefill and decode workers"
"""What a fleet that serves no request lacks."""


class MeanField(NamedTuple):
    """Rates in requests per 10**9 s, before any share that is counted on; waits in ns, of the slowest workers, as `search` says them."""

    aggregated: int
    prefill: int
    decode: int
    ttft_ns: int
    tpot_ns: int

    @property
    def disaggregated(self) -> int:
        """What prefill and decode workers yield together."""
        return min(self.prefill, self.decode)

    @property
    def rate(self) -> int:
        """aggregated + min(prefill, decode)."""
        return self.aggregated + self.disaggregated

    def request_ns(self, output_tokens: int) -> int:
        """Time of a whole request."""
        return self.ttft_ns + output_tokens * self.tpot_ns


def mean_field(units: Sequence[Unit]) -> MeanField:
    """The means of a fleet."""
    rates, ttft_ns, tpot_ns = dict.fromkeys(ROLES, 0), 0, 0
    for unit in units:
        figures = figures_of(unit.workers, unit.worker)
        rates[unit.workers.role] += unit.copies * figures.rate
        ttft_ns, tpot_ns = max(ttft_ns, figures.ttft_ns), max(tpot_ns, figures.tpot_ns)
    return MeanField(rates["aggregated"], rates["prefill"], rates["decode"], ttft_ns, tpot_ns)
