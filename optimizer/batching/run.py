"""`batch run`: every variant solved, each row on disk before the next is waited for, then the table."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import InputError
from models.instance import Instance
from optimizer.batching.changes import describe
from optimizer.batching.columns import COLUMNS
from optimizer.batching.journal import Journal
from optimizer.batching.request import Batch, Shard, claim_folder, write_record
from optimizer.batching.schedule import plan, share
from optimizer.batching.solver import Job, Solved, Task, sentence
from optimizer.batching.table import head_text, records, rows_of, write_tables
from optimizer.batching.variants import Variants
from optimizer.batching.workers import Crew
from optimizer.reading import validate
from optimizer.report import header

Json = dict[str, Any]
Progress = Callable[[str], None]
SAY_EVERY_S = 1.0
EXECUTORS = ("local", "ray")


class Way(NamedTuple):
    """Where and how to run a batch."""

    out: Path
    resume: bool = False
    force: bool = False
    shard: Shard | None = None
    workers: int = 1
    executor: str = "local"
    ray_address: str | None = None


def run_batch(batch: Batch, way: Way, progress: Progress) -> Json:
    """Solve the variants. Ctrl-C keeps every row that is done: KeyboardInterrupt says how many."""
    started = time.monotonic()
    result = header("batch", "RUNNING", batch.instance(), batch.options, 0)
    claim_folder(way.out, way.resume, way.force)
    with Journal(way.out) as journal:
        finished = journal.keys() if way.resume else frozenset[str]()
        journal.begin(batch.to_json())
        write_record(way.out, batch, result)
        counts = _solve_all(batch, way, journal, finished, progress)
        result |= {"status": "DONE", "seconds": round(time.monotonic() - started, 3), **counts}
        result |= {"missing": 0, "shard": None if way.shard is None else f"{way.shard.number}/{way.shard.of}"}
        result |= conclude(batch, way.out, journal)
    write_record(way.out, batch, result)
    return result


def conclude(batch: Batch, out: Path, journal: Journal) -> Json:
    """Write the tables; where they are, how they begin, and where the best strategy changes."""
    paths = write_tables(out, records(batch.variants, journal.rows()), table_columns(batch.variants))
    found = rows_of(batch.variants, journal.rows())
    return {
        "rows": len(found),
        "proved": sum(row.status in ("OPTIMAL", "INFEASIBLE") for row in found.values()),
        "results": str(paths[0]),
        "table": head_text(batch.variants, records(batch.variants, journal.rows()), len(found)),
        "verdict": describe(batch.variants, found),
    }


def table_columns(variants: Variants) -> list[str]:
    """Names of the table's columns."""
    return ["variant", *(["scenario"] if variants.has_scenarios else []), *variants.columns, *COLUMNS]


def _solve_all(batch: Batch, way: Way, journal: Journal, finished: frozenset[str], progress: Progress) -> Json:
    """Solve the variants of the run's shard into the journal; how many were solved, kept from before, and failed."""
    schedule = plan(batch.variants, batch.origin)
    groups = schedule.groups if way.shard is None else share(schedule.groups, way.shard)
    job = Job(batch.variants, batch.origin, batch.options, schedule.corner, finished)
    pace, counts = _Pace(sum(map(len, groups)), progress), {"solved": 0, "skipped": 0, "failed": 0}
    try:
        for solved in _solved(way, job, groups):
            journal.put(solved)
            counts["failed" if solved.failed else "skipped" if solved.row is None else "solved"] += 1
            pace.step(counts)
    except KeyboardInterrupt:
        kept = len(journal.numbers() & {task.number for group in groups for task in group})
        raise KeyboardInterrupt(f"interrupted: {kept} of {pace.total} rows are kept in {way.out}; --resume goes on from there") from None
    return counts


def _solved(way: Way, job: Job, groups: list[list[Task]]) -> Iterator[Solved]:
    """Each variant's row as it comes, from here or from a cluster."""
    if way.executor == "ray":
        from optimizer.batching.on_ray import solve_on_ray

        yield from solve_on_ray(job, groups, way.ray_address)
        return
    with Crew(job, way.workers) as crew:
        yield from crew.solve(groups)


class _Pace:
    """Says how many rows are done, at which rate, and how long the rest will take."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.progress = total, progress
        self.done = 0
        self.started = self.said = time.monotonic()

    def step(self, counts: dict[str, int]) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.said < SAY_EVERY_S and self.done < self.total and self.done > 1:
            return
        self.said = now
        rate = self.done / max(now - self.started, 1e-9)
        left = f", {_duration((self.total - self.done) / rate)} left" if self.done < self.total else ""
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        self.progress(f"{self.done}/{self.total} rows, {rate:.1f} rows/s{left}{failed}")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 5400 else f"{whole // 3600} h {whole % 3600 // 60} min"


def list_variants(batch: Batch, progress: Progress) -> Json:
    """What would be solved: every variant with its fields, and the sentence of each that is no valid instance."""
    variants, listed = batch.variants, list[Json]()
    for number in range(len(variants)):
        error = None
        try:
            validate(variants.data(number), Instance, str(batch.origin))
        except InputError as refusal:
            error = sentence(refusal, batch.origin)
        named = {"scenario": variants.scenario(number)} if variants.has_scenarios else {}
        listed.append({"variant": number + 1, **named, **{s.path: s.text for s in variants.settings(number)}, "error": error})
        if number % 1000 == 999:
            progress(f"{number + 1}/{len(variants)} variants read")
    invalid = sum(v["error"] is not None for v in listed)
    result = header("batch", "LISTED", batch.instance(), batch.options, 0)
    return result | {"variants": len(listed), "valid": len(listed) - invalid, "invalid": invalid, "list": listed}


def dry_run_text(r: Json) -> str:
    """One line per variant, then the count."""
    lines = []
    for v in r["list"]:
        fields = ", ".join(f"{path} = {text}" for path, text in v.items() if path not in ("variant", "error") and text is not None)
        lines.append(f"{v['variant']:>6}  {fields}" + (f"  INVALID: {v['error']}" if v["error"] else ""))
    return "\n".join([*lines, "", f"{r['variants']} variants: {r['valid']} valid, {r['invalid']} invalid; nothing was solved"])


def batch_text(r: Json) -> str:
    """What `batch run` and `batch merge` print: the table, the counts, and last the sentence."""
    missing = f", {r['missing']} missing" if r["missing"] else ""
    counts = f"{r['rows']} rows, {r['proved']} proved: {r['solved']} solved, {r['skipped']} kept from before, {r['failed']} failed{missing}"
    return f"{r['table']}\n\n{counts}; {r['results']}\n{r['verdict']}"
