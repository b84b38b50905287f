"""All workers of one role on one pool: their degrees and batches, what each yields, and the most that none of many exceeds.

A worker is one replica; as many micro-batches are in flight as it has stages. Rates are requests in 10**9 s. Times never fall
with the batch, so over batches low..high no rate exceeds that of `high` sequences in the times of `low`.
"""

from collections.abc import Hashable, Iterator
from copy import copy
from functools import cached_property
from typing import Literal, NamedTuple

from models.cuts import Cut, every_cut, worker_blocks, worker_sizes
from models.fleet import Role
from models.passes import Passes, Times
from models.rules import context_covers, strategy_violations
from models.service import Service, chunk_numbers, chunk_tokens, decode_pass, prefill_pass
from models.serving import cache_ns, chunked_ns, cycle_ns, gathering_ns, per_giga_second, requests_ns, token_ns
from models.splits import Stages, fastest_stages, unbeaten_stages
from models.strategy import Strategy
from models.units import PPM, ceil_div
from models.violation import Violation

MOST_BATCH = 4_096  # sequences per data-parallel rank and micro-batch
FLOOR_BITS = 5  # of a batch that the floor of its times looks at: few batches are shared by all workers
Level = Literal["floor", "quick"]
"""How closely times are bounded: computation alone; with communication, an even split."""


class Range(NamedTuple):
    """Batches from low to high."""

    low: int
    high: int
    rate: int
    """of each data-parallel rank, requests in 10**9 s that are counted on, at most"""


class Split(NamedTuple):
    """Layers per stage, and the times that follow."""

    stages: Stages
    times: Times


class Figures(NamedTuple):
    """What one worker yields, and what its requests see."""

    rank_rate: int
    """requests in 10**9 s of each data-parallel rank, before the share that is counted on"""
    ranks: int
    ttft_ns: int
    """0 of a decode worker"""
    tpot_ns: int
    """0 of a prefill worker"""
    in_flight: int
    """requests that it works on at a time"""

    @property
    def rate(self) -> int:
        """Requests in 10**9 s of all ranks."""
        return self.ranks * self.rank_rate

    def counted(self, share_ppm: int) -> int:
        """The share of the rate that is counted on, rounded down for each rank: a worker of twice the ranks yields twice as much."""
        return self.ranks * (self.rank_rate * share_ppm // PPM)


class Workers:
    """The workers of one role on one pool of a service."""

    def __init__(self, service: Service, pool: int, role: Role) -> None:
        self.service, self.role, self.pool = service, role, service.cluster.pools[pool]
        self._prefill: dict[int, Passes] = {}
        self._decode: dict[int, Passes] = {}
        self._batches: dict[Hashable, int] = {}
        self._floors: dict[Hashable, int] = {}
        self._ranges: dict[Hashable, tuple[Range, ...]] = {}
        self._cuts: dict[int, tuple[Cut, ...]] = {}
        self._caches: dict[tuple[int, int], int] = {}

    def under(self, service: Service) -> "Workers":
        """The workers of the same service under other limits; prices are shared."""
        found = copy(self)
        found.service = service
        found.__dict__.pop("_longest_token", None)
        found._ranges = {}
        return found

    def prefill(self, chunks: int) -> Passes:
        """Prefill passes of one chunk of each prompt."""
        found = self._prefill.get(chunks)
        if found is None:
            found = self._prefill[chunks] = Passes(prefill_pass(self.service, self.pool, chunks))
        return found

    def decode(self, chunks: int) -> Passes:
        """Decode steps, beside one chunk of a prompt on an aggregated worker."""
        found = self._decode.get(chunks)
        if found is None:
            beside = chunk_tokens(self.service, chunks) if self.role == "aggregated" else 0
            found = self._decode[chunks] = Passes(decode_pass(self.service, self.pool, beside))
        return found

    def sizing(self, cut: Cut) -> Passes:
        """The passes whose memory and split count."""
        return self.prefill(cut.chunks) if self.role == "prefill" else self.decode(cut.chunks)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of GPUs that a worker may have, ascending."""
        return worker_sizes(self.service, self.pool)

    def cuts(self, gpus: int) -> tuple[Cut, ...]:
        """Every worker of so many GPUs but for its batch."""
        if gpus not in self._cuts:
            every = every_cut(self.decode(1).instance, gpus, self.chunk_choice)
            self._cuts[gpus] = tuple(cut for cut in every if not self.context_short(cut.strategy.cp, cut.chunks))
        return self._cuts[gpus]

    @property
    def size(self) -> int:
        """How many workers there are, each of any batch."""
        return sum(self.count(gpus) for gpus in self.sizes)

    def count(self, gpus: int) -> int:
        """How many of them have so many GPUs; none is made for it."""
        if gpus in self._cuts:
            return len(self._cuts[gpus])
        lengths = [
            (block.size, sum(not self.context_short(block.cp, n) for n in self.chunk_choice))
            for block in worker_blocks(self.decode(1).instance, gpus)
        ]
        return sum(strategies * chunks for strategies, chunks in lengths)

    def context_short(self, cp: int, chunks: int) -> bool:
        passes = {"prefill": (self.prefill,), "decode": (self.decode,), "aggregated": (self.prefill, self.decode)}[self.role]
        return any(context_covers(kind(chunks).instance, cp) for kind in passes)

    def most_batch(self, cut: Cut) -> int:
        """The largest batch that fits memory and the limit on sequences in flight; 0 where none does."""
        s, passes, limit = cut.strategy, self.sizing(cut), self.service.workers.max_sequences
        key = (s.tp, s.cp, s.ep, s.etp, s.redundant, s.pp, s.dp > 1, cut.chunks)
        found = self._batches.get(key)
        if found is None:
            most = MOST_BATCH if limit is None else min(MOST_BATCH, limit // s.pp)
            low, high = 0, min(1, most)
            while high and passes.of(high * s.dp * s.pp).fits(s):
                if high == most:
                    low = most
                    break
                low, high = high, min(2 * high, most)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if passes.of(middle * s.dp * s.pp).fits(s) else (low, middle)
            self._batches[key] = found = low
        return found

    def ranges(self, cut: Cut) -> tuple[Range, ...]:
        """Every batch that may keep memory and limits, in ranges, and what computation alone says of each: the same for all DP degrees."""
        s = cut.strategy
        key = (s.tp, s.cp, s.ep, s.etp, s.redundant, s.pp, s.dp > 1, cut.chunks)
        found = self._ranges.get(key)
        if found is None:
            self._ranges[key] = found = tuple(self._every_range(Cut(s._replace(dp=1), cut.chunks), self.most_batch(cut)))
        return found

    def _every_range(self, alone: Cut, most: int) -> Iterator[Range]:
        low, share_ppm = 1, self.service.workload.utilisation_ppm(self.role)
        while low <= most:
            high = min(most, low + low // 4)
            times = self.times(alone, low, "floor")
            figures = self.figures(alone, times, low, high)
            if self.broken(figures):
                return
            yield Range(low, high, figures.counted(share_ppm))
            low = high + 1

    def times(self, cut: Cut, batch: int, level: Level) -> Times:
        """No more than the times of a worker's passes, whatever its split."""
        return self._times(cut, batch, level, None)

    def _times(self, cut: Cut, batch: int, level: Level, stages: Stages | None) -> Times:
        s, n = cut.strategy, cut.chunks
        own = batch if self.role == "prefill" else 1  # an aggregated worker prefills one prompt per rank at a time
        prefill, decode = (0, 0), (0, 0)
        sent = level != "floor" and s.pp > 1
        if self.role != "prefill":
            decode = self._slowest(self.decode(n), s, batch, level, stages), self.decode(n).sent_ns(s, batch) if sent else 0
        if self.role != "decode":
            prefill = self._slowest(self.prefill(n), s, own, level, stages), self.prefill(n).sent_ns(s, own) if sent else 0
        return Times(*prefill, *decode)

    def splits(self, cut: Cut, batch: int) -> tuple[Split, ...]:
        """The splits to choose from, the fastest or those that none beats, each with its times; none where none fits."""
        s = cut.strategy
        if self.role == "aggregated" and s.pp > 1:
            found = unbeaten_stages(self.decode(cut.chunks), self.prefill(cut.chunks), s, batch)
        else:
            fastest = fastest_stages(self.sizing(cut), s, batch)
            found = fastest if isinstance(fastest, str) else (fastest,)
        return () if isinstance(found, str) else tuple(Split(stages, self._times(cut, batch, "quick", stages)) for stages in found)

    def best_split(self, cut: Cut, batch: int) -> tuple[Split, Figures] | None:
        """The split of the highest rate among those that keep the limits; None where none does."""
        priced = [(split, self.figures(cut, split.times, batch, batch)) for split in self.splits(cut, batch)]
        return max(((s, f) for s, f in priced if not self.broken(f)), key=lambda sf: sf[1].rank_rate, default=None)

    def broken_rules(self, s: Strategy) -> Iterator[Violation]:
        """The rules on strategies that a worker breaks, whatever its batch."""
        passes = self.prefill(1) if self.role == "prefill" else self.decode(1)
        return strategy_violations(passes.of(s.dp * s.pp).instance, s)

    def _slowest(self, passes: Passes, s: Strategy, batch: int, level: Level, stages: Stages | None) -> int:
        if stages is not None:
            return passes.slowest_on(s, batch, stages)
        if level == "quick":
            return passes.quick_ns(s, batch)
        rough = batch >> (low := max(0, batch.bit_length() - FLOOR_BITS)) << low
        key = (id(passes), s.tp, s.cp, s.etp, s.ep, s.redundant, rough)
        found = self._floors.get(key)
        if found is None:
            found = self._floors[key] = passes.floor_ns(s, rough)
        return ceil_div(found, s.pp)

    def figures(self, cut: Cut, times: Times, low: int, high: int) -> Figures:
        """What the worker yields with `high` sequences per rank and micro-batch in the times, and the waits, of `low`."""
        match self.role:
            case "prefill":
                return self._of_prefill(cut, times, low, high)
            case "decode":
                return self._of_decode(cut, times, high)
            case "aggregated":
                return self._of_aggregated(cut, times, low, high)

    def _of_prefill(self, cut: Cut, t: Times, low: int, high: int) -> Figures:
        """A pass of every prompt's chunks, then their caches leave while the next pass runs.

        rate = prompts / max(chunks * slowest stage, sending); TTFT = pass + sending.
        """
        s, n = cut.strategy, cut.chunks
        sending = self.sending_ns(s, low)
        wait = chunked_ns(t.slowest_prefill, t.sent_prefill, s.pp, n) + sending + self.pool.scale_out.latency_ns
        return Figures(per_giga_second(high, max(n * t.slowest_prefill, sending)), s.dp, wait, 0, high * s.dp * s.pp)

    def _of_decode(self, cut: Cut, t: Times, high: int) -> Figures:
        """rate = sequences in flight / (output tokens * step), no more than caches arrive."""
        s = cut.strategy
        step = cycle_ns(t.slowest_decode, t.sent_decode, s.pp)
        served = per_giga_second(high * s.pp, self.service.workload.output_tokens * step)
        return Figures(min(served, per_giga_second(1, self.sending_ns(s, 1))), s.dp, 0, step, high * s.dp * s.pp)

    def _of_aggregated(self, cut: Cut, t: Times, low: int, high: int) -> Figures:
        """As `models.serving` has it: prefills come between decode steps, and a prompt's chunks each wait for one.

        TTFT = until every data-parallel rank has a prompt + pass + a step for each chunk.
        """
        s, n, out = cut.strategy, cut.chunks, self.service.workload.output_tokens
        share = self.service.runtime.interference_ppm
        step, prompt = cycle_ns(t.slowest_decode, t.sent_decode, s.pp), n * t.slowest_prefill
        first = chunked_ns(t.slowest_prefill, t.sent_prefill, s.pp, n) + n * step
        each = requests_ns(step, prompt, first, high * s.pp, out, share)
        ttft = gathering_ns(s.dp, high * s.pp, each) + first
        tpot = token_ns(step, prompt, low * s.pp, out, share)
        return Figures(per_giga_second(high * s.pp, each), s.dp, ttft, tpot, high * s.dp * s.pp)

    def sending_ns(self, s: Strategy, prompts: int) -> int:
        """The caches of so many prompts of each rank through its own ports, ns, without latency."""
        cache = self._caches.get((s.tp, s.cp))
        if cache is None:
            terms = self.prefill(1).bounds.terms
            cache = sum(count * terms.cache_bytes(g, s.tp, s.cp) for g, count in self.service.architecture.distinct_layers())
            self._caches[s.tp, s.cp] = cache
        return cache_ns(prompts * cache, s.pp, self.pool.scale_out)

    def waits(self, figures: Figures) -> Iterator[tuple[str, int, int]]:
        """The limits on waits of this role: rule, ns that requests wait, ns that they may."""
        limits, together = self.service.objective.limits, self.role == "aggregated"
        if limits.ttft_ns is not None:
            yield "ttft", figures.ttft_ns, limits.ttft_ns
        tpot = limits.tpot_ns if together else self._longest_token
        if tpot is not None:
            yield "tpot", figures.tpot_ns, tpot
        if together and limits.request_ns is not None:
            yield "request", figures.ttft_ns + self.service.workload.output_tokens * figures.tpot_ns, limits.request_ns

    def broken(self, figures: Figures) -> str | None:
        """The first limit that a worker with these figures misses."""
        return next((rule for rule, need, have in self.waits(figures) if need > have), None)

    @cached_property
    def _longest_token(self) -> int | None:
        return self.service.longest_token_ns()

    @cached_property
    def chunk_choice(self) -> tuple[int, ...]:
        """Numbers of chunks that a prompt may be prefilled in."""
        return (1,) if self.role == "decode" else chunk_numbers(self.service)
