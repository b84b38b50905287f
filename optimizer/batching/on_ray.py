"""Variants solved on a Ray cluster, or on a local one that is started for them. Needs the extra `ray`."""

import socket
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from models.errors import InputError
from optimizer.batching.solver import Job, Solved, Solver, Task, failure

RETRIES = 1  # of a variant whose process died
AHEAD = 4  # tasks in flight per core
ANSWERS_S = 10.0  # a cluster's address, or it is wrong; Ray itself would try for minutes


def solve_on_ray(job: Job, groups: Sequence[Sequence[Task]], address: str | None) -> Iterator[Solved]:
    """Each variant's row as it comes; a variant whose process dies twice fails alone. Raises InputError without Ray or its cluster."""
    if find_spec("ray") is None:
        raise InputError("--executor ray: Ray is not installed; pip install 'shardproof[ray]', or use --executor local")
    with redirect_stdout(sys.stderr):  # Ray would say on standard output what became of its processes
        yield from _solve_all(import_module("ray"), job, groups, address)


def _solve_all(ray: Any, job: Job, groups: Sequence[Sequence[Task]], address: str | None) -> Iterator[Solved]:
    """As `solve_on_ray`."""
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        shared = ray.put(job)
        work = ray.remote(max_retries=RETRIES)(_solve)
        todo, flying = deque(task for group in groups for task in group), dict[Any, Task]()
        most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while todo or flying:
            while todo and len(flying) < most:
                task = todo.popleft()
                flying[work.remote([shared], task)] = task
            for ready in ray.wait(list(flying), num_returns=1)[0]:
                yield _row(ray, ready, flying.pop(ready))
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    """Join a cluster, or start a local one."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), ANSWERS_S).close()
        ray.init(address=address or "local", include_dashboard=None if address else False, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, ValueError) as error:
        raise InputError(f"--ray-address {address}: no Ray cluster there ({error}); start one, or leave the address out") from error


def _row(ray: Any, ready: Any, task: Task) -> Solved:
    """The row that a task ended with."""
    try:
        found: Solved = ray.get(ready)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        return failure(
            task.number, None, f"the process that solved it died twice ({type(error).__name__}); use a smaller space or more memory"
        )
    return found


def _solve(shared: list[Any], task: Task) -> Solved:
    """In a process of the cluster; the job travels to each process once."""
    return _solver(shared[0]).solve(task)


@lru_cache(maxsize=1)
def _solver(shared: Any) -> Solver:
    return Solver(import_module("ray").get(shared))
