"""What the passes of a deployed worker take with fewer requests, or other lengths, than it is sized for; each is priced once."""

from typing import NamedTuple

from models.fleet_plan import Deployed, figures_of, times_of
from models.service import Service, chunk_tokens
from models.serving import chunked_ns, cycle_ns
from models.units import NS_PER_S, PPM, ceil_div
from models.workers import Workers
from optimizer.serving.arrivals import Lengths
from optimizer.serving.deployment import Unit

BUCKETS = 8  # lengths of prompts are told apart in eighths of the service's
EXACT_BITS = 7  # numbers of sequences below 2**7 are priced as they are, larger ones rounded up by at most one in 2**6


class PrefillPass(NamedTuple):
    """Prompts of each data-parallel rank through a worker, ns."""

    chunks: int
    chunk_ns: int
    """of one chunk of each prompt on the slowest stage"""
    through_ns: int
    """of all chunks through all stages"""
    sending_ns: int
    """of the caches to where they are decoded, without latency"""


class Prices:
    """The times of one worker: its plan as it stands, its passes as large as they are."""

    def __init__(self, unit: Unit, mean: Lengths) -> None:
        self.unit = resized(unit, mean)
        self.figures = figures_of(self.unit.workers, self.unit.worker)
        self.slots = self.figures.in_flight
        self._stated, self._strategy = unit, unit.worker.cut.strategy
        self._steps: dict[int, int] = {}
        self._passes: dict[tuple[int, int], PrefillPass] = {}
        self._sized: dict[int, Unit] = {}

    @property
    def ranks(self) -> int:
        """Data-parallel ranks."""
        return self._strategy.dp

    @property
    def stated_tokens(self) -> int:
        """Length of a prompt that the worker is sized for."""
        return self._stated.workers.service.workload.input_tokens

    @property
    def interference_ppm(self) -> int:
        """Share of a prefill that delays the decode steps of others."""
        return self.unit.workers.service.runtime.interference_ppm

    @property
    def receiving_ns(self) -> int:
        """Time between two caches that arrive at a decode worker, ns, at least: as many are received at once as there are ranks."""
        return ceil_div(self.unit.workers.sending_ns(self._strategy, 1), self.ranks)

    @property
    def steps_between_rounds(self) -> int:
        """Decode steps from one round of prefills to the next at the full rate of an aggregated worker, each rank with a prompt."""
        return ceil_div(NS_PER_S * NS_PER_S, max(1, self.figures.rank_rate) * self.step_ns(self.slots))

    def step_ns(self, active: int) -> int:
        """A decode step of so many sequences, spread evenly over ranks and micro-batches."""
        batch = min(self.unit.worker.batch, _on_grid(ceil_div(active, self.ranks * self._strategy.pp)))
        found = self._steps.get(batch)
        if found is None:
            times = times_of(self.unit.workers, self.unit.worker._replace(batch=batch))
            found = self._steps[batch] = max(1, cycle_ns(times.slowest_decode, times.sent_decode, self._strategy.pp))
        return found

    def prefill(self, prompts: int, tokens: int) -> PrefillPass:
        """A pass of so many prompts of each rank, all of so many tokens, rounded up to eighths of the service's length."""
        key = min(self.unit.worker.batch, _on_grid(prompts)), bucket_tokens(self._stated.workers.service, tokens)
        found = self._passes.get(key)
        if found is None:
            found = self._passes[key] = self._priced(*key)
        return found

    def _priced(self, prompts: int, tokens: int) -> PrefillPass:
        if tokens not in self._sized:
            self._sized[tokens] = resized(self._stated, Lengths(tokens, self._stated.workers.service.workload.output_tokens))
        workers, worker, _ = self._sized[tokens]
        s, chunks = self._strategy, worker.cut.chunks
        times = times_of(workers, worker._replace(batch=prompts if workers.role == "prefill" else 1))
        through = chunked_ns(times.slowest_prefill, times.sent_prefill, s.pp, chunks)
        return PrefillPass(chunks, times.slowest_prefill, through, workers.sending_ns(s, prompts))

    def period_ns(self, found: PrefillPass) -> int:
        """From one pass of a prefill worker to the next: its first stage is free, and the caches of the one before have left."""
        return max(1, found.chunks * found.chunk_ns, found.sending_ns)

    def first_token_ns(self, found: PrefillPass) -> int:
        """From the beginning of a prefill worker's pass to when the caches, and the first tokens, have left."""
        return found.through_ns + found.sending_ns + self.unit.workers.pool.scale_out.latency_ns

    def delay_ns(self, found: PrefillPass) -> int:
        """What one chunk of a prompt adds to a decode step of an aggregated worker."""
        return ceil_div(found.chunk_ns * self.interference_ppm, PPM)


def bucket_tokens(service: Service, tokens: int) -> int:
    """The length that a prompt is priced at: the next eighth of the service's."""
    whole = service.workload.input_tokens
    return ceil_div(ceil_div(tokens * BUCKETS, whole) * whole, BUCKETS)


def resized(unit: Unit, lengths: Lengths) -> Unit:
    """The same workers for requests of other lengths; a prompt's chunks stay as long as they are."""
    service, (cut, batch, plan) = unit.workers.service, unit.worker
    asked = service.workload
    if lengths == (asked.input_tokens, asked.output_tokens):
        return unit
    other = service.model_copy(update={"workload": asked.model_copy(update=lengths._asdict())})
    chunks = ceil_div(lengths.input_tokens, chunk_tokens(service, cut.chunks))
    workers = Workers(other, service.cluster.pools.index(unit.workers.pool), unit.workers.role)
    return Unit(workers, Deployed(cut._replace(chunks=chunks), batch, plan), unit.copies)


def _on_grid(n: int) -> int:
    """The next number with at most 7 significant bits."""
    step = 1 << max(0, n.bit_length() - EXACT_BITS)
    return ceil_div(n, step) * step
