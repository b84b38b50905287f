"""Tasks in several processes: order, a killed worker, Ctrl-C."""

import multiprocessing
import os
import signal

import pytest

from optimizer.mapping.parallel import Haste, run_tasks


def doubled(n: int) -> int:
    """In a further process, 3 kills it, as a lack of memory would."""
    if n == 3 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * n


def test_a_killed_worker_costs_no_result() -> None:
    reported: list[int] = []
    assert run_tasks(doubled, range(6), 2, None, lambda found, _: reported.append(found)) == [0, 2, 4, 6, 8, 10]
    assert sorted(reported) == [0, 2, 4, 6, 8, 10]


class Interrupted:
    """Work that is interrupted at given calls."""

    def __init__(self, at: set[int]) -> None:
        self.at, self.calls = at, 0

    def __call__(self, n: int) -> int:
        self.calls += 1
        if self.calls in self.at:
            raise KeyboardInterrupt
        return 2 * n


def test_the_first_interrupt_makes_haste_and_the_second_ends() -> None:
    haste = Haste()
    assert run_tasks(Interrupted({2}), range(3), 1, haste, lambda *_: None) == [0, 2, 4]
    assert haste.due()
    with pytest.raises(KeyboardInterrupt):
        run_tasks(Interrupted({2, 3}), range(3), 1, Haste(), lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        run_tasks(Interrupted({1}), range(3), 1, None, lambda *_: None)
