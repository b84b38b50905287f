"""A whole process as its user pays for it: what it printed, its CPU and its wall seconds, the processes it started included."""

import os
import resource
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 3600


class Measured(NamedTuple):
    """One finished process."""

    stdout: str
    cpu_s: float
    """user and system, of it and of all it waited for"""
    wall_s: float


class Failed(Exception):
    """A process that ended with another status than 0, or not in time."""


def run(command: list[str]) -> Measured:
    """The process, run to its end from the repository's root. Raises Failed with the last lines of what it said."""
    before, started = _children_cpu_s(), time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from error
    wall_s = time.monotonic() - started
    if done.returncode:
        said = "; ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Failed(f"status {done.returncode}: {said}")
    return Measured(done.stdout, round(_children_cpu_s() - before, 2), round(wall_s, 2))


def _children_cpu_s() -> float:
    """User and system seconds of all finished children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environment() -> dict[str, str]:
    """Ours, with the package found from the repository's root."""
    return os.environ | {"PYTHONPATH": str(ROOT)}
