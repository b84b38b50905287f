"""Workers that decode, and those that prefill between the steps: a step after the other, each as long as its sequences make it.

Nothing is done per token: from one change of a worker's sequences to the next its steps are alike, and are taken together.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from functools import partial

from models.units import ceil_div
from optimizer.serving.agenda import Agenda, Request
from optimizer.serving.prices import PrefillPass, Prices

Entry = tuple[int, int, Request]
"""Of a heap: when, the request's number, the request."""


class StepCell:
    """Workers of one role, behind one queue: a request goes to the worker with the least to do among those with a free slot."""

    def __init__(self, agenda: Agenda, workers: Sequence[Prices], eager: bool = False) -> None:
        self._queue: deque[Request] = deque()
        self._unstarted = 0
        self._workers = [Stepper(agenda, prices, self, n, eager) for n, prices in enumerate(workers)]
        self._free = [(*worker.load, n) for n, worker in enumerate(self._workers)]
        heapq.heapify(self._free)

    @property
    def pending(self) -> int:
        """Requests that have no slot, or whose prefill has not begun."""
        return len(self._queue) + self._unstarted

    def give(self, now: int, request: Request) -> None:
        """A request joins the worker with the least to do, or the queue where no slot is free."""
        self._queue.append(request)
        self._fill(now)

    def _fill(self, now: int) -> None:
        while self._queue and (worker := self._least_loaded()) is not None:
            self._unstarted += worker.prefills
            worker.give(now, self._queue.popleft())

    def _least_loaded(self) -> "Stepper | None":
        """The heap holds every worker's present load, and past ones, which are dropped here."""
        while self._free:
            *load, n = self._free[0]
            worker = self._workers[n]
            if tuple(load) == worker.load and worker.held < worker.slots:
                return worker
            heapq.heappop(self._free)
        return None

    def begun(self, prompts: int) -> None:
        """So many prompts are being prefilled from now on."""
        self._unstarted -= prompts

    def changed(self, n: int, now: int) -> None:
        """The load of worker `n` is another; it may have a free slot."""
        heapq.heappush(self._free, (*self._workers[n].load, n))
        self._fill(now)


class Stepper:
    """One worker. A request holds one of its slots from when its prefill begins, or it comes prefilled, to when its last token is there.

    Unless `eager`, prompts wait for one on every data-parallel rank, at most as long as rounds are apart at full rate.
    """

    def __init__(self, agenda: Agenda, prices: Prices, cell: StepCell, number: int, eager: bool) -> None:
        self._agenda, self._prices, self._cell, self._number = agenda, prices, cell, number
        self.prefills = prices.unit.workers.role == "aggregated"
        self._gathers = self.prefills and prices.ranks > 1 and not eager
        self.slots, self.held = prices.slots + (prices.ranks if self._gathers else 0), 0
        self._prompts: deque[Request] = deque()
        self._round: list[Request] = []
        self._pass: PrefillPass | None = None
        self._since: int | None = None  # the step after which the prompts of the next round began to gather
        self._turns = 0  # chunks of the round still to come
        self._first_ns = 0  # when the round's first tokens are there, but for the steps between its chunks
        self._joining: list[Entry] = []  # when its cache is there
        self._running: list[Entry] = []  # after which of the worker's steps it ends
        self._steps = self._planned = 0  # made up to the last change; and from it to the next
        self._began_ns = self._step_ns = 0  # the last change; a step after it, 0 where none is made
        self._due_ns: int | None = None
        self._port_ns = 0  # when the next cache may arrive
        self._version = 0
        self._changing = False

    @property
    def load(self) -> tuple[int, float]:
        """Prompts before a new one, in rounds of the worker; then the share of its slots that is taken."""
        return ceil_div(len(self._prompts) + len(self._round), self._prices.ranks), self.held / self.slots

    def give(self, now: int, request: Request) -> None:
        """A prompt to prefill, or, on a decode worker, a prefilled request. Needs a free slot."""
        self.held += 1
        if self.prefills:
            self._prompts.append(request)
            self._be_there(now)
        else:
            ready = max(now, self._port_ns)
            self._port_ns = ready + self._prices.receiving_ns
            heapq.heappush(self._joining, (ready, request.number, request))
            self._be_there(ready)
        self._cell.changed(self._number, now)

    def _be_there(self, ns: int) -> None:
        """Have the next change no later than the first end of a step at or after `ns`."""
        if self._changing or self._round:
            return
        if self._step_ns == 0:
            if self._due_ns is None or ns < self._due_ns:
                self._plan(ns, 0)
            return
        steps = ceil_div(ns - self._began_ns, self._step_ns)
        if steps < self._planned:
            self._plan(self._began_ns + steps * self._step_ns, steps)

    def _plan(self, due_ns: int, steps: int) -> None:
        self._version += 1
        self._due_ns, self._planned = due_ns, steps
        self._agenda.enter(due_ns, partial(self._change, self._version))

    def _change(self, version: int, now: int) -> None:
        """The end of a step at which a request ends, joins, or a prompt's prefill begins or goes on."""
        if version != self._version:
            return  # an earlier change was planned since
        self._changing = True
        self._steps += self._planned
        self._began_ns, self._step_ns, self._due_ns, self._planned = now, 0, None, 0
        self._end_round(now)
        self._end_requests(now)
        self._let_join(now)
        self._go_on(now)
        self._changing = False

    def _end_requests(self, now: int) -> None:
        while self._running and self._running[0][0] <= self._steps:
            request = heapq.heappop(self._running)[2]
            request.done_ns = now
            self.held -= 1
            self._cell.changed(self._number, now)

    def _let_join(self, now: int) -> None:
        while self._joining and self._joining[0][0] <= now:
            request = heapq.heappop(self._joining)[2]
            request.joined_ns = now
            heapq.heappush(self._running, (self._steps + request.output_tokens, request.number, request))

    def _go_on(self, now: int) -> None:
        """Plan the next change: the end of a chunk and the step after it, of the steps to the next end or newcomer, or a newcomer."""
        waits = self._gather()
        if waits == 0:
            self._begin_round(now)
        if self._round:
            assert self._pass is not None
            self._turns -= 1
            step = self._prices.step_ns(self._occupancy())
            self._first_ns += step
            self._plan(now + self._prices.delay_ns(self._pass) + step, 1)
        elif self._running:
            self._step_ns = self._prices.step_ns(self._occupancy())
            steps = self._running[0][0] - self._steps
            if self._joining:
                steps = min(steps, ceil_div(self._joining[0][0] - now, self._step_ns))
            if waits is not None:
                steps = min(steps, waits)
            self._plan(now + steps * self._step_ns, steps)
        elif self._joining:
            self._plan(self._joining[0][0], 0)

    def _occupancy(self) -> int:
        """Sequences that a step is priced at: of a worker that prefills, those in the prefill too, whose caches are there."""
        return len(self._running) + (len(self._round) + len(self._joining) if self.prefills else 0)

    def _ready(self) -> int:
        """Prompts that a round may begin with: of those that have a slot, one for each rank."""
        return min(self._prices.ranks, len(self._prompts), self._prices.slots - len(self._running) - len(self._joining))

    def _gather(self) -> int | None:
        """Steps that the next round still waits for more prompts; None where it cannot begin at all."""
        if self._round or not (ready := self._ready()):
            return None
        if not self._gathers or ready == self._prices.ranks or not self._running:
            return 0
        if self._since is None:
            self._since = self._steps
        return max(0, self._since + self._prices.steps_between_rounds - self._steps)

    def _begin_round(self, now: int) -> None:
        """A prompt of each rank; the round lasts as long as its longest."""
        self._since = None
        self._round = [self._prompts.popleft() for _ in range(self._ready())]
        self._cell.begun(len(self._round))
        self._pass = self._prices.prefill(1, max(r.input_tokens for r in self._round))
        self._turns, self._first_ns = self._pass.chunks, now + self._pass.through_ns

    def _end_round(self, now: int) -> None:
        """After the last chunk: first tokens are there once the chunks are through all stages; then the requests decode."""
        if not self._round or self._turns:
            return
        for request in self._round:
            request.first_ns = self._first_ns
            heapq.heappush(self._joining, (max(now, self._first_ns), request.number, request))
        self._round = []
        self._cell.changed(self._number, now)
