"""Variants solved in spawned processes, each known to work on one variant at a time.

A process that dies, killed or out of memory, costs the variant it was at one more try in a fresh process; if that dies too,
the variant fails and all others go on. A process ends after some hundreds of variants and a fresh one takes its place, which
bounds what it can hold on to.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread, current_thread, main_thread
from types import TracebackType
from typing import Self

from optimizer.batching.solver import Job, Solved, Solver, Task, failure

TRIES = 2
VARIANTS_PER_PROCESS = 1_000
GRACE_S = 30.0  # beyond the wall limit of a variant, before its process is ended
_SPAWN = get_context("spawn")


class Crew:
    """Some processes that solve variants of one job, as often as they are asked to."""

    def __init__(self, job: Job, workers: int) -> None:
        self.job, self.workers = job, workers
        self._crew: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._crew:
            worker.end()

    def solve(self, groups: Sequence[Sequence[Task]]) -> Iterator[Solved]:
        """Each variant's row as it comes. A group: variants that share a landscape, in the order to solve them in."""
        pieces, tries = deque(_cut(groups, self.workers)), dict[int, int]()
        self._crew += [_Worker(self.job) for _ in range(min(self.workers, len(pieces)) - len(self._crew))]
        for worker in self._crew:
            worker.next(pieces)
        while busy := {w.connection: w for w in self._crew if w.task is not None}:
            ready = wait(list(busy), timeout=1.0)
            for connection, worker in busy.items():
                if connection in ready:
                    yield from worker.receive(tries)
                elif worker.overdue():
                    yield worker.give_up()
                else:
                    continue
                worker.next(pieces)


def _cut(groups: Sequence[Sequence[Task]], workers: int) -> Iterator[deque[Task]]:
    """The groups, large ones in several pieces so that no process waits long for another at the end."""
    most = max(1, sum(map(len, groups)) // (4 * workers))
    for group in groups:
        for start in range(0, len(group), most):
            yield deque(group[start : start + most])


class _Worker:
    """A place for one process after another."""

    def __init__(self, job: Job) -> None:
        self.job, self.piece = job, deque[Task]()
        self.task: Task | None = None
        self._start()

    def _start(self) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, self.job), daemon=True)
        with _deaf_to_ctrl_c():
            self.process.start()
        theirs.close()
        self.solved, self.since = 0, time.monotonic()

    def next(self, pieces: deque[deque[Task]]) -> None:
        """Set to work on the next variant of this worker's piece, or of the next piece; idle when there is none."""
        if not self.piece and pieces:
            self.piece = pieces.popleft()
        if not self.piece:
            self.task = None
            return
        if self.solved >= VARIANTS_PER_PROCESS or not self.process.is_alive():
            self.end()
            self._start()
        self.task, self.since = self.piece.popleft(), time.monotonic()
        with suppress(OSError):  # it died idle, which `receive` will notice
            self.connection.send(self.task)

    def receive(self, tries: dict[int, int]) -> Iterator[Solved]:
        """The row that the process sends; when it died instead, none at first: its variant is tried once more."""
        task = self.task
        assert task is not None, "only busy workers are listened to"
        try:
            found: Solved = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            tries[task.number] = tries.get(task.number, 0) + 1
            if tries[task.number] < TRIES:
                self.piece.appendleft(task)
            else:
                yield failure(task.number, None, _how_it_died(self.process.exitcode))
        else:
            self.solved += 1
            yield found

    def overdue(self) -> bool:
        """Whether the variant takes far longer than its wall limit."""
        seconds = self.job.options.seconds
        return seconds is not None and time.monotonic() - self.since > 2 * seconds + GRACE_S

    def give_up(self) -> Solved:
        """End the process; its variant fails."""
        assert self.task is not None, "only busy workers are overdue"
        self.end()
        return failure(self.task.number, None, f"not solved within {2 * (self.job.options.seconds or 0) + GRACE_S:g} s; raise --seconds")

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.connection.close()
        self.process.terminate()
        self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _how_it_died(exitcode: int | None) -> str:
    by = f"signal {-exitcode}" if exitcode is not None and exitcode < 0 else f"exit code {exitcode}"
    memory = ", as when memory runs out" if exitcode == -signal.SIGKILL else ""
    return f"the process that solved it died twice ({by}{memory}); use a smaller space or more memory"


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """A process started meanwhile never hears of Ctrl-C, which is left to the driver; the driver hears of it afterwards."""
    resource_tracker.ensure_running()  # starting it would let Ctrl-C through again
    heard, handler = list[int](), signal.getsignal(signal.SIGINT)
    held = callable(handler) and current_thread() is main_thread()  # another thread of ours may be given the signal
    if held:
        signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if held:
            signal.signal(signal.SIGINT, handler)
    if heard:
        signal.raise_signal(signal.SIGINT)


def _serve(connection: Connection, job: Job) -> None:
    """In the process: solve what comes until the other end is closed."""
    Thread(target=_end_with_driver, daemon=True).start()
    solver = Solver(job)
    while True:
        try:
            connection.send(solver.solve(connection.recv()))
        except (EOFError, OSError):  # the driver is gone
            return


def _end_with_driver() -> None:
    """End this process when the driver is gone, in the middle of a variant too."""
    driver = parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
