"""Further variants solved for a report: their rows go into the journal, so that none is solved twice."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from optimizer.batching.journal import Journal
from optimizer.batching.request import Batch
from optimizer.batching.rows import Row
from optimizer.batching.schedule import grouped, plan
from optimizer.batching.solver import Job, Task
from optimizer.batching.table import as_row
from optimizer.batching.variants import Setting
from optimizer.batching.workers import Crew

SAY_EVERY_S = 1.0
Settings = tuple[Setting, ...]
Key = tuple[tuple[str, str], ...]


class Probes:
    """Rows of variants of a batch that need not be among those it lists."""

    def __init__(self, batch: Batch, journal: Journal, workers: int, progress: Callable[[str], None]) -> None:
        self.batch, self.journal, self.progress = batch, journal, progress
        self._said = 0.0
        schedule = plan(batch.variants, batch.origin)
        self._absorbed, self._known = schedule.absorbed, dict[Key, Row]()
        self._crew = Crew(Job(batch.variants, batch.origin, batch.options, schedule.corner, journal.keys()), workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._crew.__exit__(kind, error, trace)

    def solve(self, wanted: list[Settings]) -> list[Row]:
        """The rows of variants, in order; each distinct one is solved once."""
        new = {key: settings for settings in wanted if (key := _key(settings)) not in self._known}
        keys = list(new)
        for solved in self._crew.solve(grouped((Task(n, new[key]) for n, key in enumerate(keys)), self._absorbed)):
            self.journal.put(solved, entry=False)
            row = solved.row if solved.row is not None else self.journal.row(solved.key or "")
            assert row is not None, "what is kept from before is in the journal"
            columns, texts = self.batch.variants.columns, dict(keys[solved.number])
            self._known[keys[solved.number]] = as_row(-1, columns, tuple(texts.get(path, "") for path in columns), row)
        if new and time.monotonic() - self._said > SAY_EVERY_S:
            self.progress(f"{len(self._known)} variants between those of the grid solved")
            self._said = time.monotonic()
        return [self._known[_key(settings)] for settings in wanted]


def _key(settings: Settings) -> Key:
    """What tells settings apart."""
    return tuple(sorted((s.path, s.text) for s in settings))
