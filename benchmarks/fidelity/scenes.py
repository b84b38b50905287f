"""A measured configuration as instances of the problem: what is stated, and what has to be assumed.

Assumed, for every row alike: tokens are drawn as the row says, experts are equally popular unless a skew is stated in `SKEW`; a
prompt is prefilled alone on its data-parallel rank; the cache holds a prompt and half its output on average.
"""

from typing import Any, NamedTuple

from benchmarks.fidelity.cases import Case, Workers
from models.instance import Instance
from models.strategy import Plan, Strategy, complete_stages
from models.units import ceil_div

TRUE_LENGTH = 0.9  # mean of lengths drawn from 80 % to 100 % of the nominal one
ASSUMED = {"*": "assumed: as the measured row states"}


class Lengths(NamedTuple):
    """Mean tokens of a request."""

    prompt: int
    output: int

    @property
    def context(self) -> int:
        """Cached tokens while a request decodes, on average over its output."""
        return self.prompt + ceil_div(self.output, 2)


def lengths_of(case: Case) -> Lengths | None:
    """The true mean lengths, or None where they are not stated."""
    if case.isl is None or case.osl is None:
        return None
    share = TRUE_LENGTH if case.random_range else 1.0
    return Lengths(max(1, round(case.isl * share)), max(1, round(case.osl * share)))


def workers_of(case: Case) -> Workers:
    """The engine instances of a row that has one role."""
    gpus = case.tp * case.pp * case.dp * case.cp
    return Workers(max(1, case.num_gpus // gpus), case.tp, case.pp, case.dp, case.ep, case.moe_tp)


def strategy_of(workers: Workers, experts: int, cp: int, microbatches: int) -> Strategy:
    """The degrees of one engine instance; a dense model has no expert side of its own."""
    stage = workers.tp * cp * workers.dp
    etp, ep = (workers.moe_tp, workers.ep) if experts else (workers.tp, 1)
    return Strategy(workers.tp, cp, workers.dp, workers.pp, etp, ep, max(1, stage // (etp * ep)), 1, microbatches)


def plan_of(instance: Instance, strategy: Strategy) -> Plan:
    """The plan an engine would run: layers and experts spread in order."""
    arch = instance.architecture
    held = arch.experts // strategy.ep if arch.experts else 0
    contents = tuple(tuple(range(r * held, (r + 1) * held)) for r in range(strategy.ep))
    return Plan(strategy, complete_stages(arch.layer_count, strategy.pp), (contents,) * arch.moe_layers)


def misfit(instance: Instance, strategy: Strategy) -> str | None:
    """Why the cost model cannot lay out a row's degrees, or None."""
    s, arch = strategy, instance.architecture
    if s.tp * s.cp * s.dp != s.etp * s.ep * s.edp:
        return "the attention side and the expert side do not fill the same GPUs"
    if arch.experts and arch.experts % s.ep:
        return "the expert degree does not divide the experts (spare slots are not modelled)"
    if arch.layer_count < s.pp:
        return "more stages than layers"
    return None


def exchange_of(case: Case, workers: Workers) -> str:
    """How tokens reach their experts: gathered unless attention is data-parallel and experts are on all its ranks."""
    if workers.dp == 1 or workers.ep < workers.tp * workers.dp:
        return "gather"
    return "direct" if case.mode in ("disagg_decode", "disaggregated") else "hierarchical"


def instance_of(parts: dict[str, Any], workload: dict[str, Any]) -> Instance:
    """The instance of one pass."""
    return Instance.model_validate(
        {"format": "shardproof-instance/1", "name": "row", "space": {"name": "folded"}, "workload": workload | {"sources": ASSUMED}} | parts
    )
