"""Prefill workers that share one queue: each takes what waits, as much as it has room for, whenever its first stage is free."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from models.units import ceil_div
from optimizer.serving.agenda import Agenda, Request
from optimizer.serving.prices import Prices

HandOver = Callable[[int, Request], None]


class PrefillCell:
    """The workers and their queue, first come, first served. Of several idle workers the one with the shortest pass goes first."""

    def __init__(self, agenda: Agenda, workers: Sequence[Prices], hand_over: HandOver) -> None:
        self._agenda, self._workers, self._hand_over = agenda, workers, hand_over
        self._queue: deque[Request] = deque()
        self._pace = [w.prefill(1, w.stated_tokens).through_ns for w in workers]
        self._idle = [(pace, n) for n, pace in enumerate(self._pace)]
        heapq.heapify(self._idle)

    @property
    def pending(self) -> int:
        """Prompts that wait."""
        return len(self._queue)

    def give(self, now: int, request: Request) -> None:
        """A prompt joins the queue."""
        self._queue.append(request)
        self._start(now)

    def _start(self, now: int) -> None:
        while self._queue and self._idle:
            _, n = heapq.heappop(self._idle)
            worker = self._workers[n]
            taken = self._take(worker)
            priced = worker.prefill(*heaviest_rank([r.input_tokens for r in taken], worker.ranks))
            self._agenda.enter(now + worker.period_ns(priced), partial(self._free, n))
            self._agenda.enter(now + worker.first_token_ns(priced), partial(self._deliver, taken))

    def _take(self, worker: Prices) -> list[Request]:
        """The next prompts: as many as the worker's batch has, and no more tokens than so many of the service's length; one at least."""
        most = worker.unit.worker.batch * worker.ranks
        room = most * worker.stated_tokens
        taken: list[Request] = []
        while self._queue and len(taken) < most:
            room -= self._queue[0].input_tokens
            if taken and room < 0:
                break
            taken.append(self._queue.popleft())
        return taken

    def _free(self, n: int, now: int) -> None:
        heapq.heappush(self._idle, (self._pace[n], n))
        self._start(now)

    def _deliver(self, taken: Sequence[Request], now: int) -> None:
        for request in taken:
            request.first_ns = now
            self._hand_over(now, request)


def heaviest_rank(lengths: Sequence[int], ranks: int) -> tuple[int, int]:
    """Prompts of each rank, and their mean length on the rank with most tokens, rounded up: the longest goes first to the lightest rank."""
    prompts = ceil_div(len(lengths), ranks)
    if prompts == 1 or min(lengths) == max(lengths):
        return prompts, max(lengths)
    loads = [0] * ranks
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(loads, loads[0] + length)
    return prompts, ceil_div(max(loads), prompts)
