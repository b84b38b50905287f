"""The commands of `batch`; `optimizer.cli` adds them to the others."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.outcomes import LIMIT, outcomes, progress

batch = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Solve variants of one instance, and say what they tell together.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="folder that `batch run` has written")]
Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="folders of all shards of one batch")]
Vary = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH=V1,V2,...", help='values or ranges (10..100 GB/s:+5, 64..1024:*2) of a field; "P1=...; P2=..." go together'),
]
Workers = Annotated[int | None, typer.Option(min=1, max=256, help="processes; one per core without it")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on stdout")]
Force = Annotated[bool, typer.Option("--force", help="write into a folder that is not empty")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress on stderr")]


@batch.command("run")
@outcomes
def run(
    instance: Annotated[Path, typer.Argument(help="instance file, JSON or YAML (see `schema instance`)")],
    out: Annotated[Path | None, typer.Option(help="folder for the journal and the tables")] = None,
    vary: Vary = None,
    variants: Annotated[Path | None, typer.Option(help="CSV, JSON or YAML: a row of fields per variant, perhaps named")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list the variants; solve nothing, write nothing")] = False,
    space: Annotated[str | None, typer.Option(help="classic or folded, instead of the instance's space")] = None,
    objective: Annotated[str | None, typer.Option(help="latency, throughput, throughput_per_gpu, cost or gpus")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="override one field of the instance")] = None,
    effort: Annotated[int, typer.Option(min=1, max=10**9, help="limit per variant: thousands of enumeration steps")] = 10_000,
    seconds: Annotated[
        float | None, typer.Option(min=0.0, help="wall limit per variant; a row that it cuts short is not reproducible")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="of the solver")] = 0,
    workers: Workers = None,
    executor: Annotated[str, typer.Option(help="local processes, or ray")] = "local",
    ray_address: Annotated[str | None, typer.Option(help='of a Ray cluster, "auto" to find it; without it a local one is started')] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="solve the I-th of N parts; `batch merge` puts them together")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on in the folder of a batch; solved rows are kept")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit 4 when a row failed")] = False,
    as_json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Solve every variant of an instance, each row proved, and say where the best strategy changes."""
    from models.errors import InputError
    from optimizer.batching.request import Batch, parse_shard
    from optimizer.batching.run import EXECUTORS, Way, batch_text, dry_run_text, list_variants, run_batch
    from optimizer.batching.variants import read_variants
    from optimizer.reading import read_with_overrides
    from optimizer.search import Options

    if executor not in EXECUTORS:
        raise InputError(f'--executor "{executor[:40]}": write one of {", ".join(EXECUTORS)}')
    if ray_address is not None and executor != "ray":
        raise InputError(f'--ray-address "{ray_address[:80]}": is for --executor ray only; add that, or leave the address out')
    part = None if shard is None else parse_shard(shard)
    chosen = [f"{name}={value}" for name, value in (("space.name", space), ("objective.name", objective)) if value is not None]
    base = read_with_overrides(instance, [*(set_ or []), *chosen])
    found = Batch(instance, read_variants(base, vary or [], variants, instance), Options(0, effort, seconds, seed))
    if dry_run:
        _emit(list_variants(found, progress(quiet)), dry_run_text, as_json)
        return 0
    if out is None:
        raise InputError("--out: missing; name a folder for the journal and the tables")
    way = Way(out, resume, force, part, workers or len(os.sched_getaffinity(0)), executor, ray_address)
    result = run_batch(found, way, progress(quiet))
    _emit(result, batch_text, as_json)
    return LIMIT if strict and result["failed"] else 0


@batch.command("report")
@outcomes
def report(
    folder: Folder,
    x: Annotated[str | None, typer.Option("--x", metavar="PATH", help="field along the map; without it the first varied one")] = None,
    y: Annotated[str | None, typer.Option("--y", metavar="PATH", help="field up the map; without it the second varied one")] = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="PATH=VALUE", help="of a field that is not on the map; without it the first"),
    ] = None,
    changes: Annotated[int, typer.Option(min=0, max=100_000, help="changes to bracket to the field's last digit, at most")] = 200,
    certificates: Annotated[Path | None, typer.Option(metavar="FOLDER", help="also write every row's certificate, for `check`")] = None,
    workers: Workers = None,
    as_json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Where the optimum changes, what each field is worth, which strategies win, and a map."""
    from optimizer.batching.report import Wanted, run_report
    from optimizer.batching.report_text import report_text

    wanted = Wanted(x, y, tuple(at or ()), changes, certificates, force, workers or len(os.sched_getaffinity(0)))
    _emit(run_report(folder, wanted, progress(quiet)), report_text, as_json)
    return 0


@batch.command("merge")
@outcomes
def merge(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="folder for the whole batch")],
    strict: Annotated[bool, typer.Option("--strict", help="exit 4 when a row failed")] = False,
    as_json: AsJson = False,
    force: Force = False,
) -> int:
    """The shards of a batch as one: the table that a single run would have written."""
    from optimizer.batching.merge import run_merge
    from optimizer.batching.run import batch_text

    result = run_merge(folders, out, force)
    _emit(result, batch_text, as_json)
    return LIMIT if result["missing"] or (strict and result["failed"]) else 0


def _emit(result: dict[str, Any], text: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    from optimizer.output import to_json

    sys.stdout.write(to_json(result) if as_json else text(result) + "\n")
