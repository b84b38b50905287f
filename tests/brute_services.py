"""The slow answer about services: every worker priced under every split, every fleet laid out, from docs/serving.md alone.

Knows the problem through the passes of `models.service`, `strategy_violations` and `evaluate`; nothing is bounded.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, product
from random import Random
from typing import NamedTuple

from brute import degree_tuples, splits

from models.cluster import Pool
from models.evaluate import evaluate, stage_memory
from models.fleet import Role
from models.instance import Instance
from models.rules import strategy_violations
from models.service import Service, decode_pass, prefill_pass
from models.strategy import Plan, RankContents, Strategy
from models.terms import Terms

GIGA_SECOND = 10**18  # ns in 10**9 s
MOST_BATCH = 4_096
Place = Callable[[Instance, Strategy], tuple[RankContents, ...]]


class Priced(NamedTuple):
    """A worker that keeps the rules on memory and degrees, whatever the limits."""

    pool: int
    role: Role
    strategy: Strategy
    chunks: int
    batch: int
    stages: tuple[int, ...]
    placement: tuple[RankContents, ...]
    rate: int
    """requests in 10**9 s that are counted on"""
    ttft_ns: int
    tpot_ns: int
    memory_bytes: int
    """of the fullest stage"""


def ceil(a: int, b: int) -> int:
    return -(-a // b)


def sizes(service: Service, pool: Pool) -> list[int]:
    """R21: equal parts of a domain, or whole domains; any number where the pool is one domain."""
    domain, listed = pool.scale_up_domain_gpus, service.workers.gpus
    fit = [g for g in range(1, pool.gpus + 1) if domain % g == 0 or g % domain == 0 or pool.gpus <= domain]
    return [g for g in fit if listed is None or g in listed]


def contiguous(instance: Instance, s: Strategy) -> tuple[RankContents, ...]:
    """Experts in order; with redundant slots each rank also holds those that follow its own."""
    experts = instance.architecture.experts
    slots = experts // s.ep + s.redundant
    held = tuple(tuple(sorted((r * (experts // s.ep) + j) % experts for j in range(slots))) for r in range(s.ep)) if experts else ()
    return (held,) * instance.architecture.moe_layers


def shuffled(rng: Random) -> Place:
    """Placements drawn at random, another for every layer."""

    def place(instance: Instance, s: Strategy) -> tuple[RankContents, ...]:
        plain, found = contiguous(instance, s), []
        for layer in plain:
            names = rng.sample(range(instance.architecture.experts), instance.architecture.experts)
            found.append(tuple(tuple(sorted(names[e] for e in rank)) for rank in layer))
        return tuple(found)

    return place


def strategies(service: Service, gpus: int) -> Iterator[Strategy]:
    """Degrees whose product is `gpus`, with as many micro-batches as stages; rules are not looked at yet."""
    for tp, cp, dp, pp in degree_tuples(4, gpus):
        if tp * cp * dp * pp != gpus:
            continue
        sides = [e for e in degree_tuples(3, gpus) if e[0] * e[1] * e[2] == tp * cp * dp]
        for (etp, ep, edp), order, redundant in product(sides, service.space.orders, service.space.redundant_slots):
            yield Strategy(tp, cp, dp, pp, etp, ep, edp, 1, pp, order, redundant)


def chunk_choice(service: Service, role: Role) -> list[int]:
    """Numbers of chunks none of which is empty; a decode worker prefills nothing."""
    if role == "decode":
        return [1]
    length = service.workload.input_tokens
    return [n for n in sorted(service.workers.chunks) if (n - 1) * ceil(length, n) < length]


class Passes:
    """The passes of a service on one pool, with any number of sequences."""

    def __init__(self, service: Service, pool: Pool) -> None:
        self.service, self.pool = service, pool
        self._found: dict[tuple[int | None, int, int], Terms] = {}

    def terms(self, prefilled_chunks: int | None, beside: int, sequences: int) -> Terms:
        """Prefill in so many chunks; None: decode, with activations of `beside` tokens beside it."""
        key = (prefilled_chunks, beside, sequences)
        if key not in self._found:
            service, pool = self.service, self.pool
            one = decode_pass(service, pool, beside) if prefilled_chunks is None else prefill_pass(service, pool, prefilled_chunks)
            workload = one.workload.model_copy(update={"sequences": sequences})
            self._found[key] = Terms(one.model_copy(update={"workload": workload}))
        return self._found[key]


def slowest_and_sent(terms: Terms, plan: Plan) -> tuple[int, int]:
    """Time of the slowest stage and of a transfer between stages, ns."""
    found = evaluate(terms.instance, plan, terms)
    pp = plan.strategy.pp
    return max(stage.ns for stage in found.stages), found.breakdown["pp_comm"] // (pp - 1) if pp > 1 else 0


def sending_ns(pool: Pool, passes: Passes, plan: Plan, prompts: int) -> int:
    """Caches of `prompts` prompts, all stages at once in equal parts, over the pool's scale-out port."""
    s = plan.strategy
    stages = stage_memory(passes.terms(1, 0, s.dp * s.pp), plan)  # PP prompts on a data-parallel rank
    on_gpu = sum(stage["kv_cache"] for stage in stages) // s.pp * prompts
    return ceil(ceil(on_gpu, s.pp) * 10**9, pool.scale_out.bandwidth_bytes_per_s)


class _Candidate(NamedTuple):
    strategy: Strategy
    chunks: int
    batch: int
    stages: tuple[int, ...]
    memory_bytes: int


def _fitting(service: Service, passes: Passes, p: int, role: Role, most_batch: int) -> Iterator[_Candidate]:
    """Every worker and split that keeps R1-R16, R20, R21 and R23."""
    pool, length = service.cluster.pools[p], service.workload.input_tokens
    most_flight = service.workers.max_sequences
    for gpus in sizes(service, pool):
        for s, n in product(strategies(service, gpus), chunk_choice(service, role)):
            asked = [(n, 0)] if role == "prefill" else [(None, 0)] if role == "decode" else [(None, ceil(length, n)), (n, 0)]
            if any(any(strategy_violations(passes.terms(*kind, s.dp * s.pp).instance, s)) for kind in asked):
                continue
            for batch in range(1, most_batch + 1):
                if most_flight is not None and batch * s.pp > most_flight:
                    break
                fits = False
                for stages in splits(service.architecture.layer_count, s.pp):
                    terms = passes.terms(*asked[0], batch * s.dp * s.pp)
                    need = max(sum(part.values()) for part in stage_memory(terms, Plan(s, stages, ())))
                    if need <= pool.accelerator.memory_bytes:
                        fits = True
                        yield _Candidate(s, n, batch, stages, need)
                if not fits:  # a larger batch needs no less
                    break


def memory_needs(service: Service, p: int, role: Role, most: int) -> list[int]:
    """Bytes of the fullest stage of some workers with batch 1."""
    passes = Passes(service, service.cluster.pools[p])
    return [found.memory_bytes for found in islice(_fitting(service, passes, p, role, 1), most)]


def looked_at(service: Service, p: int, role: Role, most: int) -> int:
    """How many plans there are to price, at most a little over `most`."""
    passes, count = Passes(service, service.cluster.pools[p]), 0
    for _ in _fitting(service, passes, p, role, MOST_BATCH):
        count += 1
        if count > most:
            break
    return count


def every_worker(service: Service, p: int, role: Role, place: Place = contiguous, any_split: bool = False) -> Iterator[Priced]:
    """Every worker that fits, under its fastest splits or under any; limits on time are not looked at.

    An aggregated worker has two passes, of which neither split is the best by itself: all are looked at.
    """
    pool = service.cluster.pools[p]
    passes = Passes(service, pool)
    best: dict[tuple[Strategy, int, int], list[tuple[int, _Candidate, Plan]]] = {}
    for found in _fitting(service, passes, p, role, MOST_BATCH):
        s = found.strategy
        beside = ceil(service.workload.input_tokens, found.chunks) if role == "aggregated" else 0
        terms = passes.terms(found.chunks if role == "prefill" else None, beside, found.batch * s.dp * s.pp)
        plan = Plan(s, found.stages, place(terms.instance, s))
        slowest, _ = slowest_and_sent(terms, plan)
        best.setdefault((s, found.chunks, found.batch), []).append((slowest, found, plan))
    for options in best.values():
        least, every = min(slowest for slowest, _, _ in options), any_split or role == "aggregated"
        yield from (_priced(service, passes, p, role, found, plan) for slowest, found, plan in options if every or slowest == least)


def some_workers(rng: Random, service: Service, p: int, role: Role, most: int) -> list[Priced]:
    """A few workers that fit, each under any split."""
    passes = Passes(service, service.cluster.pools[p])
    every = list(_fitting(service, passes, p, role, MOST_BATCH))
    some = rng.sample(every, min(most, len(every)))
    instance = passes.terms(None, 0, 1).instance
    return [_priced(service, passes, p, role, f, Plan(f.strategy, f.stages, contiguous(instance, f.strategy))) for f in some]


def _priced(service: Service, passes: Passes, p: int, role: Role, found: _Candidate, plan: Plan) -> Priced:
    """The equations of docs/serving.md, What a worker costs."""
    s, n, b, osl = found.strategy, found.chunks, found.batch, service.workload.output_tokens
    i, share = service.runtime.interference_ppm, service.workload.utilisation_ppm(role)
    pool = service.cluster.pools[p]
    beside = ceil(service.workload.input_tokens, n) if role == "aggregated" else 0
    rates, ttft, tpot = [], 0, 0
    if role != "decode":
        s_prefill, x_prefill = slowest_and_sent(passes.terms(n, 0, (b if role == "prefill" else 1) * s.dp * s.pp), plan)
        ttft = prefill = (n + s.pp - 1) * s_prefill + (s.pp - 1) * x_prefill
    if role != "prefill":
        s_decode, x_decode = slowest_and_sent(passes.terms(None, beside, b * s.dp * s.pp), plan)
        tpot = step = s.pp * s_decode + (s.pp - 1) * x_decode
    if role == "prefill":
        sending = sending_ns(pool, passes, plan, b)
        ttft = prefill + sending + pool.scale_out.latency_ns
        rates = [(b, max(n * s_prefill, sending))]
    elif role == "decode":
        rates = [(b * s.pp, osl * step), (1, sending_ns(pool, passes, plan, 1))]
    else:
        other, own = ceil(i * n * s_prefill, 10**6), prefill + n * step
        held = max(other, own) + (b * s.pp - 1) * other + osl * step
        rates = [(b * s.pp, held)]
        ttft = ceil((s.dp - 1) * held, 2 * s.dp * b * s.pp) + own
        tpot = step + ceil(i * (b * s.pp - 1) * n * s_prefill, osl * 10**6)
    of_rank = min(requests * GIGA_SECOND // max(1, ns) for requests, ns in rates)
    return Priced(p, role, s, n, b, found.stages, plan.placement, s.dp * (of_rank * share // 10**6), ttft, tpot, found.memory_bytes)


def keeps_limits(service: Service, worker: Priced) -> bool:
    """R17, R18 and R24."""
    limits, osl = service.objective.limits, service.workload.output_tokens
    if worker.role != "decode" and limits.ttft_ns is not None and worker.ttft_ns > limits.ttft_ns:
        return False
    if worker.role != "prefill" and limits.tpot_ns is not None and worker.tpot_ns > limits.tpot_ns:
        return False
    if limits.request_ns is not None and worker.role == "aggregated":
        return worker.ttft_ns + osl * worker.tpot_ns <= limits.request_ns
    if limits.request_ns is not None and worker.role == "decode":
        assert limits.ttft_ns is not None
        return worker.tpot_ns * osl <= limits.request_ns - limits.ttft_ns
    return True


Kinds = dict[tuple[int, Role, int], int]
"""The best rate of a worker by pool, role and GPUs: of two that take the same GPUs, the faster one serves no less in any fleet."""


def kinds_of(service: Service, workers: list[Priced]) -> Kinds:
    found: Kinds = {}
    for w in workers:
        if keeps_limits(service, w):
            key = (w.pool, w.role, w.strategy.gpus)
            found[key] = max(found.get(key, 0), w.rate)
    return {key: rate for key, rate in found.items() if rate}


class Best(NamedTuple):
    """Of all fleets, as exhaustive search finds it."""

    value: int | None
    """that can be laid out"""
    anywhere: int | None
    """wherever the workers lie: as many GPUs as there are, and workers as are asked for"""


def best_fleet(service: Service, kinds: Kinds) -> Best:
    """Looks at every fleet, the best first, until one can be laid out."""
    if sum(ceil(pool.gpus, pool.gpus_per_node) for pool in service.cluster.pools) < service.objective.limits.min_workers:
        return Best(None, None)  # R25: there are too few nodes, which the bound knows
    maximal = service.objective.name in ("throughput", "throughput_per_gpu")
    valued = sorted(_valued(service, kinds), key=lambda found: -found[0] if maximal else found[0])
    anywhere = valued[0][0] if valued else None
    for value, counts in valued:
        if laid_out(service, counts):
            return Best(value, anywhere)
    return Best(None, anywhere)


Counts = dict[tuple[int, Role, int], int]


def _valued(service: Service, kinds: Kinds) -> Iterator[tuple[int, Counts]]:
    """Fleets that serve the load with enough workers of each role, with their values."""
    per_pool = [list(_counts([k for k in kinds if k[0] == p], pool.gpus)) for p, pool in enumerate(service.cluster.pools)]
    asked, k = service.workload.requests_per_hour, service.objective.limits.min_workers
    load = max(1, ceil(asked * 10**9, 3600) if asked is not None else 1)
    for parts in product(*per_pool):
        counts: Counts = {kind: n for part in parts for kind, n in part.items()}
        of = {role: sum(n for (_, r, _), n in counts.items() if r == role) for role in ("aggregated", "prefill", "decode")}
        if any(0 < n < k for n in of.values()):
            continue
        rates = {role: sum(kinds[kind] * n for kind, n in counts.items() if kind[1] == role) for role in of}
        served = rates["aggregated"] + min(rates["prefill"], rates["decode"])
        if served < load:
            continue
        used = sum(gpus * n for (_, _, gpus), n in counts.items())
        cost = sum(gpus * n * (service.cluster.pools[p].price_uusd_per_gpu_hour or 0) for (p, _, gpus), n in counts.items())
        match service.objective.name:
            case "throughput":
                yield served, counts
            case "throughput_per_gpu":
                yield served // used, counts
            case "gpus":
                yield used, counts
            case "cost":
                yield (cost if asked is not None else ceil(cost * 10**12, served)), counts


def _counts(kinds: list[tuple[int, Role, int]], gpus: int) -> Iterator[Counts]:
    if not kinds:
        yield {}
        return
    for n in range(gpus // kinds[0][2] + 1):
        for rest in _counts(kinds[1:], gpus - n * kinds[0][2]):
            yield {kinds[0]: n} | rest if n else rest


def laid_out(service: Service, counts: Counts) -> bool:
    """R22 and R25: every worker inside a domain or from the start of one, and k workers of each role in use that share no node.

    Going through the GPUs from the first to the last, the workers whose nodes end first are as many as can be without a shared one.
    """
    wanted = tuple(sorted((kind, n) for kind, n in counts.items() if n))
    k = service.objective.limits.min_workers
    roles = tuple(sorted({role for (_, role, _), _ in wanted}))
    pools = service.cluster.pools

    @cache
    def fits(p: int, at: int, left: tuple[int, ...], apart: tuple[tuple[int, int], ...]) -> bool:
        """From GPU `at` of pool `p`; `apart`: per role, workers that share no node so far, and the last node of the last one."""
        if not any(left):
            return all(n >= k for n, _ in apart)
        if p == len(pools):
            return False
        pool = pools[p]
        if at >= pool.gpus:
            return not any(n for (kind, _), n in zip(wanted, left, strict=True) if kind[0] == p) and fits(
                p + 1, 0, left, tuple((n, -1) for n, _ in apart)
            )
        domain, node = pool.scale_up_domain_gpus, pool.gpus_per_node
        for place, ((of, role, gpus), _) in enumerate(wanted):
            if of != p or not left[place] or at + gpus > pool.gpus:
                continue
            if at % domain and at // domain != (at + gpus - 1) // domain:
                continue
            which = roles.index(role)
            n, last = apart[which]
            now = (min(k, n + 1), (at + gpus - 1) // node) if at // node > last else (n, last)
            fewer = (*left[:place], left[place] - 1, *left[place + 1 :])
            if fits(p, at + gpus, fewer, (*apart[:which], now, *apart[which + 1 :])):
                return True
        return fits(p, at + 1, left, apart)

    return fits(0, 0, tuple(n for _, n in wanted), tuple((0, -1) for _ in roles))
