"""Independent tasks in several processes, with an early end that keeps what is done."""

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class Haste:
    """When to end early: at a wall clock time, or since Ctrl-C was pressed once."""

    deadline: float | None = None
    """seconds since the epoch"""
    interrupted: bool = False

    def due(self) -> bool:
        return self.interrupted or (self.deadline is not None and time.time() >= self.deadline)


def run_tasks(work: Callable[[T], R], tasks: Sequence[T], workers: int, haste: Haste | None, report: Callable[[R, int], None]) -> list[R]:
    """`work` on every task; results in the order of the tasks whatever the number of processes, reports as they come.

    Ctrl-C once: what is done is kept, the rest is worked on here and in haste, which `work` must heed by itself. Twice, or
    without `haste`: KeyboardInterrupt.
    """
    found: dict[int, R] = {}
    if workers > 1 and len(tasks) > 1:
        try:
            _run_apart(work, tasks, min(workers, len(tasks)), found, report)
        except KeyboardInterrupt:
            _hurry(haste)
        except BrokenProcessPool:  # one was killed, for want of memory perhaps: the rest is worked on here
            pass
    for n, task in enumerate(tasks):
        while n not in found:
            try:
                found[n] = work(task)
                report(found[n], len(found) - 1)
            except KeyboardInterrupt:
                _hurry(haste)
    return [found[n] for n in range(len(tasks))]


def _run_apart(work: Callable[[T], R], tasks: Sequence[T], workers: int, found: dict[int, R], report: Callable[[R, int], None]) -> None:
    """In further processes, which leave Ctrl-C to this one."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    try:
        futures = {pool.submit(work, task): n for n, task in enumerate(tasks)}
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            report(future.result(), len(found) - 1)
    except BaseException:  # whatever ends it is raised again; no process stays behind
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children():
            process.terminate()
        raise
    pool.shutdown()


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _hurry(haste: Haste | None) -> None:
    if haste is None or haste.interrupted:
        raise KeyboardInterrupt
    haste.interrupted = True
