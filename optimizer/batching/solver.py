"""One variant after another, with what they share worked out once: the landscape of a machine and its relaxations."""

import hashlib
import json
import time
import zlib
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import InputError, VerificationError
from models.instance import Instance
from models.landscape import Landscape
from models.relaxation import Grade, easier, grade, relaxed, relaxes
from optimizer.batching.columns import result_columns
from optimizer.batching.variants import Setting, Variants
from optimizer.certify import certificate_of
from optimizer.check import confirm
from optimizer.enumerate import enumerate_space
from optimizer.look import Effort
from optimizer.reading import validate
from optimizer.search import EFFORT_STRATEGIES, Options
from optimizer.versions import tool_versions

Json = dict[str, Any]
LANDSCAPES = 2  # kept at a time, the latest used
FAILED = "FAILED"
ONE_IN, MOST_AFRESH = 64, 1_000_000
"""One row in so many, of a space of at most so many strategies, is confirmed once more without its landscape."""


class Job(NamedTuple):
    """What the processes of a batch have in common."""

    variants: Variants
    origin: Path
    """the instance file, for refusals and for paths beside it"""
    options: Options
    corner: Grade | None
    """at least this good are the landscapes: the best of what is varied"""
    finished: frozenset[str]
    """keys of the rows that an earlier run left"""


class Task(NamedTuple):
    """One variant: its number, and what it sets."""

    number: int
    settings: tuple[Setting, ...]


class Solved(NamedTuple):
    """What became of a variant."""

    number: int
    key: str | None
    """None where there is no valid instance"""
    row: Json | None
    """None where an earlier run left it"""
    certificate: bytes | None
    """zlib over the text that `check` reads"""

    @property
    def failed(self) -> bool:
        return self.row is not None and self.row["error"] is not None


class Solver:
    """Solves variants of one job; nothing but the time taken depends on which it solved before."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._landscapes: deque[Landscape] = deque(maxlen=LANDSCAPES)
        self._too_large: deque[Instance] = deque(maxlen=LANDSCAPES)
        """relaxations whose spaces are more than the effort allows"""

    def solve(self, task: Task) -> Solved:
        """The row of a variant. One that is not a valid instance becomes a row with its sentence."""
        job, number = self.job, task.number
        try:
            instance = validate(job.variants.with_settings(task.settings), Instance, str(job.origin))
        except InputError as error:
            return failure(number, None, sentence(error, job.origin))
        key = key_of(instance, job.options)
        if key in job.finished:
            return Solved(number, key, None, None)
        try:
            return self._solved(number, key, instance)
        except InputError as error:
            return failure(number, key, sentence(error, job.origin))
        except VerificationError as error:
            return failure(number, key, f"our own answer failed its verification: {error}; please report it with the instance")

    def _solved(self, number: int, key: str, instance: Instance) -> Solved:
        options, started = self.job.options, time.monotonic()
        landscape = self._landscape(instance)
        left = None if options.seconds is None else max(0.0, options.seconds - (time.monotonic() - started))
        effort = Effort(options.effort * EFFORT_STRATEGIES, left)
        claim = enumerate_space(instance, options.epsilon_ppm, effort, lambda _: None, options.seed, landscape)
        certificate = certificate_of(instance, claim, near=False)
        confirm(certificate, instance, landscape)
        if landscape is not None and landscape.size <= MOST_AFRESH and int(key[:8], 16) % ONE_IN == 0:
            confirm(certificate, instance)
        text = certificate.text().encode()
        row = result_columns(instance, claim, hashlib.sha256(text).hexdigest())
        return Solved(number, key, row, zlib.compress(text))

    def _landscape(self, instance: Instance) -> Landscape | None:
        """One of a relaxation of the instance; None where its space is more than the effort allows."""
        for found in self._landscapes:
            if relaxes(found.instance, instance):
                self._landscapes.remove(found)
                self._landscapes.append(found)
                return found
        if any(relaxes(known, instance) for known in self._too_large):
            return None
        best = grade(instance) if self.job.corner is None else easier(grade(instance), self.job.corner)
        made = Landscape.of(relaxed(instance, best), self.job.options.effort * EFFORT_STRATEGIES)
        if made is None:
            self._too_large.append(relaxed(instance, best))
        else:
            self._landscapes.append(made)
        return made


def key_of(instance: Instance, options: Options) -> str:
    """What determines a row: SHA-256 over the canonical instance, the options and the versions of tool, cost model and solver."""
    identity = [instance.digest(), list(options), tool_versions(options.seed)]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def failure(number: int, key: str | None, sentence: str) -> Solved:
    """The row of a variant that could not be solved."""
    return Solved(number, key, {"status": FAILED, "error": sentence}, None)


def sentence(error: InputError, origin: Path) -> str:
    """A refusal with the instance file's name alone, so that it is the same wherever the file lies."""
    return str(error).replace(str(origin), origin.name)
