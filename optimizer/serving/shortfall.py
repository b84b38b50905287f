"""Why no worker of a role serves: which limits all miss and by how much, or what leaves no worker at all."""

from typing import Any, NamedTuple

from models.bounds import memory_suffices
from models.ceilings import Wait, least_by
from models.cuts import Cut
from models.units import NS_PER_S, ceil_div
from models.workers import Figures, Workers

Json = dict[str, Any]

WAITS_OF = {"prefill": ("ttft",), "decode": ("tpot",), "aggregated": ("ttft", "tpot", "request")}
GIB_CENTS = 1 << 30, 100
MOST_TRIED = 20_000  # workers of sizes that are not listed


class Promise(NamedTuple):
    """One limit on the waits of a role, with the least of them."""

    limit_ns: int
    least: Wait | None
    """of any worker"""
    beside: Wait | None
    """of those that keep the other limits"""

    @property
    def missed_by_ns(self) -> int | None:
        """How much too long: with the other limits kept where a worker keeps them, else of any worker; None where it is no longer."""
        found = self.beside or self.least
        return None if found is None or found.ns <= self.limit_ns else found.ns - self.limit_ns


def shortfall_json(workers: Workers) -> Json:
    """What stops a role on a pool: `why` where it has no worker that fits; else its limits, and the worker nearest to all of them."""
    found: Json = {"role": workers.role, "pool": workers.pool.name, "why": why_no_worker(workers), "limits": [], "nearest": None}
    if found["why"] is not None:
        return found
    promises = {rule: _promise(workers, rule) for rule in _limits(workers, _NOTHING)}
    source = workers.service.why_longest_token() if workers.role == "decode" else None
    found["limits"] = [
        {
            "wait": rule,
            "limit_ns": p.limit_ns,
            "limit_from": source,
            "least": _wait_json(p.least),
            "least_beside_the_others": _wait_json(p.beside),
            "missed_by_ns": p.missed_by_ns,
        }
        for rule, p in promises.items()
    ]
    nearest = least_by(
        workers, lambda f: max((ceil_div(need * NS_PER_S, max(1, have)) for need, have in _limits(workers, f).values()), default=0)
    )
    if nearest is not None and promises:
        waits = _limits(workers, nearest.figures)
        found["nearest"] = _worker_json(nearest) | {
            "waits": [{"wait": rule, "ns": need, "missed_by_ns": max(0, need - have) or None} for rule, (need, have) in waits.items()]
        }
    return found


_NOTHING = Figures(0, 1, 0, 0, 0)


def _limits(workers: Workers, figures: Figures) -> dict[str, tuple[int, int]]:
    """The limits that bind this role: what requests wait, and what they may, ns."""
    return {rule: (need, have) for rule, need, have in workers.waits(figures) if rule in WAITS_OF[workers.role]}


def _promise(workers: Workers, rule: str) -> Promise:
    def alone(figures: Figures) -> int:
        return _limits(workers, figures)[rule][0]

    def beside(figures: Figures) -> int | None:
        waits = _limits(workers, figures)
        kept = all(need <= have for other, (need, have) in waits.items() if other != rule)
        return waits[rule][0] if kept else None

    limits = _limits(workers, _NOTHING)
    least = least_by(workers, alone)
    return Promise(limits[rule][1], least, least if len(limits) == 1 else least_by(workers, beside))


def _wait_json(found: Wait | None) -> Json | None:
    return None if found is None else {"ns": found.ns} | _worker_json(found)


def _worker_json(found: Wait) -> Json:
    return {"label": found.cut.strategy.label(), "chunks": found.cut.chunks, "batch": found.batch}


def why_no_worker(workers: Workers) -> str | None:
    """What leaves the role without a worker: sizes, degrees, memory or the sequences in flight, with the numbers; None where one fits."""
    pool, domain = workers.pool, min(workers.pool.scale_up_domain_gpus, workers.pool.gpus)
    if not workers.sizes:
        may = "" if domain == pool.gpus else f", an equal part of a scale-up domain of {domain} GPUs or whole domains"
        return f"none of the sizes in workers.gpus is one that a worker may have here: at most the pool's {pool.gpus} GPUs{may}"
    cuts = [cut for gpus in workers.sizes for cut in workers.cuts(gpus)]
    listed = workers.service.workers.gpus is not None
    of_sizes = f"of {_few(workers.sizes)} GPU{'' if workers.sizes == (1,) else 's'}" if listed else "of any size"
    if not cuts:
        return f"no degrees that the space lists and the model allows make a worker {of_sizes}"
    if any(workers.most_batch(cut) for cut in cuts):
        return None
    held = [cut.strategy.pp for cut in cuts if _fits(workers, cut)]
    if held:
        most = workers.service.workers.max_sequences
        return f"workers.max_sequences is {most}, but every worker that fits memory has {min(held)} stages or more, with a sequence in each"
    need, label = min((_least_memory(workers, cut), cut.strategy.label()) for cut in _distinct(cuts))
    said = f"no worker {of_sizes} fits memory: the least that one needs is {_gib(need, up=True)} GiB on a GPU ({label})"
    said += f", a GPU has {_gib(pool.accelerator.memory_bytes)} GiB"
    fewest = _fewest_gpus(workers) if listed else None
    return said if fewest is None else f"{said}; the fewest GPUs with which one fits are {fewest}"


def _fits(workers: Workers, cut: Cut) -> bool:
    s = cut.strategy
    return workers.sizing(cut).of(s.dp * s.pp).fits(s)


def _distinct(cuts: list[Cut]) -> list[Cut]:
    """Of workers that need as much memory the first."""
    found = dict[tuple[int | bool, ...], Cut]()
    for cut in cuts:
        s = cut.strategy
        found.setdefault((s.tp, s.cp, s.ep, s.etp, s.redundant, s.pp, s.dp > 1, cut.chunks), cut)
    return list(found.values())


def _least_memory(workers: Workers, cut: Cut) -> int:
    """Bytes of a GPU with which some split of the worker fits, one sequence per rank and micro-batch."""
    s = cut.strategy
    bounds = workers.sizing(cut).of(s.dp * s.pp)
    sketch, sequences = bounds.sketch(s), bounds.terms.sequences_per_rank(s)
    low, high = -1, sketch.weights + sketch.cache * sequences + sketch.first_bytes + sketch.last_bytes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if memory_suffices(sketch._replace(room=middle), s.pp, sequences) else (middle, high)
    return workers.pool.accelerator.memory_bytes - sketch.room + high


def _fewest_gpus(workers: Workers) -> int | None:
    """The fewest GPUs, listed or not, of a worker that fits; None where none was found among the first."""
    choice = workers.service.workers.model_copy(update={"gpus": None})
    service = workers.service.model_copy(update={"workers": choice})
    every, tried = Workers(service, service.cluster.pools.index(workers.pool), workers.role), 0
    for gpus in every.sizes:
        tried += every.count(gpus)
        if tried > MOST_TRIED:
            return None
        if any(every.most_batch(cut) for cut in every.cuts(gpus)):
            return gpus
    return None


def _few(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes[:12])) + (", ..." if len(sizes) > 12 else "")


def _gib(size: int, up: bool = False) -> str:
    """GiB to two digits, rounded down, or up."""
    whole, parts = GIB_CENTS
    cents = ceil_div(size * parts, whole) if up else size * parts // whole
    return f"{cents // parts:,}.{cents % parts:02}"
