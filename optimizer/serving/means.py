"""What a fleet yields, and what its requests see, when every worker is as busy as it can be: the figures that are proved of it."""

from collections.abc import Sequence
from typing import NamedTuple

from models.fleet import Role
from models.fleet_plan import figures_of
from models.units import ceil_div
from models.workers import Figures
from optimizer.serving.deployment import Unit


class MeanField(NamedTuple):
    """Rates in requests per 10**9 s, before any share that is counted on; waits in ns, means over what each worker yields."""

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
    priced = [(unit, figures_of(unit.workers, unit.worker)) for unit in units]
    rates = {role: sum(rate for _, rate in _of(priced, role)) for role in ("aggregated", "prefill", "decode")}
    found = MeanField(rates["aggregated"], rates["prefill"], rates["decode"], 0, 0)
    ttft = _mean(priced, found, "prefill", "ttft_ns")
    tpot = _mean(priced, found, "decode", "tpot_ns")
    return found._replace(ttft_ns=ttft, tpot_ns=tpot)


def _of(priced: Sequence[tuple[Unit, Figures]], role: str) -> list[tuple[Figures, int]]:
    return [(figures, unit.copies * figures.rate) for unit, figures in priced if unit.workers.role == role]


def _mean(priced: Sequence[tuple[Unit, Figures]], found: MeanField, role: Role, name: str) -> int:
    """The mean of a wait over the requests of the aggregated workers and those of this role."""
    if not found.rate:
        return 0
    total = sum(rate * getattr(figures, name) for figures, rate in _of(priced, "aggregated"))
    if found.disaggregated:
        whole = found.prefill if role == "prefill" else found.decode
        total += found.disaggregated * sum(rate * getattr(figures, name) for figures, rate in _of(priced, role)) // whole
    return ceil_div(total, found.rate)
