"""The best worker of a size, by branching over ranges of batches: what no worker of so many GPUs exceeds; and the least wait of any."""

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from models.cuts import Cut
from models.workers import Figures, Level, Range, Workers

WHOLE_CUT = -1  # all ranges of a worker together
LEVELS: tuple[Level, ...] = ("floor", "quick")
EXACT = len(LEVELS)  # the level after them: every split
NARROW_BITS = 6  # ranges of at most a 64th of their least batch are bounded by every split before they are halved further


class Found(NamedTuple):
    """A worker, by its place among those of its size, with its batch and what it yields."""

    cut: Cut
    batch: int
    figures: Figures
    rate: int
    """requests in 10**9 s that are counted on"""


class Stopped(Exception):
    """The search ended early; no worker has a higher rate than `bound`."""

    def __init__(self, bound: int) -> None:
        super().__init__(bound)
        self.bound = bound


def never() -> bool:
    """Does not end a search."""
    return False


def best_worker(workers: Workers, gpus: int, above: int = 0, spent: Callable[[], bool] = never) -> Found | None:
    """The worker of `gpus` GPUs with the highest rate above `above`, of equals the first; None where there is none."""
    return best_among(workers, workers.cuts(gpus), above, spent)


def best_among(workers: Workers, choice: Iterable[Cut], above: int = 0, spent: Callable[[], bool] = never) -> Found | None:
    """The best of these workers, each with its best batch, if it is above `above`. Raises Stopped when `spent` says so.

    Every range of batches is bounded by computation alone, then with communication, then halved, then by every split of its least
    batch, then halved down to one batch, which is priced so; the highest bound first.
    """
    cuts, heap = tuple(choice), list[tuple[int, int, int, int, int]]()  # -bound, place of the cut, low, high, level
    for place, cut in enumerate(cuts):
        bound = max((counted(cut, r) for r in workers.ranges(cut)), default=0)
        if bound > above:
            heap.append((-bound, place, 0, 0, WHOLE_CUT))
    heapify(heap)
    while heap:
        if spent():
            raise Stopped(-heap[0][0])
        rate, place, low, high, level = heappop(heap)
        cut = cuts[place]
        if level == WHOLE_CUT:
            bounded = ((counted(cut, r), r) for r in workers.ranges(cut))
            for bound, r in bounded:
                if bound > above:
                    heappush(heap, (-bound, place, r.low, r.high, 0))
            continue
        if level == EXACT and low == high:
            priced = _bound(workers, cut, low, high, level)
            assert priced is not None, "it was bounded before"
            return Found(cut, low, priced[1], priced[0])
        middle = (low + high + 1) // 2
        halves = ((low, middle - 1, level), (middle, high, level))
        wide = level > 0 and high - low > (0 if level == EXACT else low >> NARROW_BITS)
        for part in halves if wide else ((low, high, level + 1),):
            closer = _bound(workers, cut, *part)
            if closer is not None and closer[0] > above:
                heappush(heap, (max(rate, -closer[0]), place, *part))
    return None


def counted(cut: Cut, r: Range) -> int:
    """No batch of a range has a higher rate that is counted on."""
    return r.rate * cut.strategy.dp


def _bound(workers: Workers, cut: Cut, low: int, high: int, level: int) -> tuple[int, Figures] | None:
    """No batch from low to high has a higher rate than this, with the figures it rests on; None where none keeps the limits."""
    if level == EXACT:
        priced = (workers.figures(cut, split.times, low, high) for split in workers.splits(cut, low))
        kept = max((f for f in priced if not workers.broken(f)), key=lambda f: f.rank_rate, default=None)
        if kept is None:
            return None
        figures = kept
    else:
        figures = workers.figures(cut, workers.times(cut, low, LEVELS[level]), low, high)
        if workers.broken(figures):
            return None
    return figures.counted(workers.service.workload.utilisation_ppm(workers.role)), figures


class Wait(NamedTuple):
    """The least wait that any worker of a role achieves, ns, and the worker."""

    ns: int
    cut: Cut
    batch: int
    figures: Figures


def least_wait(workers: Workers, rule: str) -> Wait | None:
    """The least time to the first token (`ttft`) or per token (`tpot`); None where no worker fits memory."""
    return least_by(workers, lambda f: f.ttft_ns if rule == "ttft" else f.tpot_ns)


def least_by(workers: Workers, worth: Callable[[Figures], int | None]) -> Wait | None:
    """The worker whose waits are worth least, of equals the first; None where none fits memory and is worth anything.

    `worth` must not fall as waits rise, nor come back from None. But for the gathering of prompts, which larger batches shorten, waits
    never fall with the batch. Ranges of batches are bounded better in turn, then halved, the least bound first.
    """
    cuts = [cut for gpus in workers.sizes for cut in workers.cuts(gpus) if workers.most_batch(cut)]
    gathering = [workers.role == "aggregated" and cut.strategy.dp > 1 for cut in cuts]
    first = [(n, 1, workers.most_batch(cut) if gathering[n] else 1, 0) for n, cut in enumerate(cuts)]
    heap = [(found[0], *part, found[1]) for part in first if (found := _worth(workers, cuts[part[0]], *part[1:], worth)) is not None]
    heapify(heap)
    while heap:
        ns, n, low, high, level, figures = heappop(heap)
        if level == EXACT:
            return Wait(ns, cuts[n], low, figures)
        middle = (low + high + 1) // 2
        for part in ((low, middle - 1, level), (middle, high, level)) if level and low < high else ((low, high, level + 1),):
            closer = _worth(workers, cuts[n], *part, worth)
            if closer is not None:
                heappush(heap, (closer[0], n, *part, closer[1]))
    return None


def _worth(
    workers: Workers, cut: Cut, low: int, high: int, level: int, worth: Callable[[Figures], int | None]
) -> tuple[int, Figures] | None:
    """No batch from low to high is worth less, with the waits it rests on; None where none is worth anything."""
    all_times = [split.times for split in workers.splits(cut, low)] if level == EXACT else [workers.times(cut, low, LEVELS[level])]
    found = ((worth(figures), figures) for figures in (workers.figures(cut, times, low, high) for times in all_times))
    return min(((ns, figures) for ns, figures in found if ns is not None), default=None)
