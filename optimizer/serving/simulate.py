"""A fleet under given arrivals, event by event: prefill workers, decode workers and aggregated ones behind one router."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from models.fleet import Role
from models.units import PPM
from optimizer.serving.agenda import Agenda, Request
from optimizer.serving.arrivals import Arrival
from optimizer.serving.decoding import StepCell
from optimizer.serving.means import MeanField
from optimizer.serving.prefilling import PrefillCell
from optimizer.serving.prices import Prices

REPLAY_ASSUMPTIONS = (
    "Prefill workers take prompts from one queue, first come, first served, as many as wait and their batch holds, whenever their first "
    "stage is free and the caches before have left.",
    "A prefilled request takes a free slot of the decode worker with fewest slots taken, or waits for one; its cache waits without limit.",
    "An aggregated worker with waiting prompts and free slots prefills one prompt on each data-parallel rank, with a decode step after "
    "each chunk; a prompt goes to the worker with fewest prompts before it, then with fewest slots taken.",
    "A request makes as many decode steps as it has output tokens, as in the mean-field figures; its time per token contains its waits.",
    "Sequences are spread evenly over ranks and micro-batches; more than 127 of one are priced at up to 1.6 % more than there are.",
)
GATHERS = (
    "An aggregated worker holds prompts back until every data-parallel rank has one, for as many decode steps as lie between rounds at its "
    "full rate at most: an engine does so if told to (TensorRT-LLM: attention_dp_config, enable_balance and timeout_iters)."
)
EAGER = "No worker waits for more prompts than there are; data-parallel ranks without one idle meanwhile (--eager)."
ROUTER = (
    "The router sends a request to the side, aggregated or disaggregated, with the fewest waiting requests for its rate; of equals to "
    "the one that was sent fewest for its rate."
)


class Cell(Protocol):
    """Workers with a queue."""

    @property
    def pending(self) -> int:
        """Requests that wait."""

    def give(self, now: int, request: Request) -> None:
        """One more request."""


class Side:
    """A way through the fleet, and what waits along it."""

    def __init__(self, entry: Cell, cells: Sequence[Cell], rate: int) -> None:
        self.entry, self._cells, self.rate, self.sent = entry, cells, rate, 0

    def eagerness(self) -> tuple[int, int]:
        """What waits, and what was sent, for the rate; the least is sent the next request."""
        return sum(cell.pending for cell in self._cells) * PPM * PPM // self.rate, self.sent * PPM * PPM // self.rate


class Fleet(NamedTuple):
    """Priced workers, each as often as it is there, and what they yield on average."""

    workers: Sequence[tuple[Prices, int]]
    means: MeanField
    eager: bool = False
    """prefills what has come, whether or not every data-parallel rank of an aggregated worker has a prompt"""

    def of(self, role: Role) -> list[Prices]:
        """Every worker of a role."""
        return [prices for prices, copies in self.workers if prices.unit.workers.role == role for _ in range(copies)]


def replay(fleet: Fleet, arrivals: Sequence[Arrival]) -> list[Request]:
    """The requests, in order of arrival, with the times of their first tokens and ends. Deterministic."""
    agenda = Agenda()
    sides = tuple(_sides(fleet, agenda))
    requests = [Request(n, *arrival) for n, arrival in enumerate(arrivals)]

    def arrive(n: int, now: int) -> None:
        side = sides[0] if len(sides) == 1 else min(sides, key=Side.eagerness)
        side.sent += 1
        side.entry.give(now, requests[n])
        expect(n + 1)

    def expect(n: int) -> None:
        if n < len(requests):
            agenda.enter(requests[n].arrived_ns, partial(arrive, n))

    expect(0)
    agenda.run()
    return requests


def _sides(fleet: Fleet, agenda: Agenda) -> Iterator[Side]:
    """The ways through the fleet that lead to the end."""
    means = fleet.means
    if means.aggregated:
        cell = StepCell(agenda, fleet.of("aggregated"), fleet.eager)
        yield Side(cell, (cell,), means.aggregated)
    if means.disaggregated:
        decode = StepCell(agenda, fleet.of("decode"), fleet.eager)
        prefill = PrefillCell(agenda, fleet.of("prefill"), decode.give)
        yield Side(prefill, (prefill, decode), means.disaggregated)
