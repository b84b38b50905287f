"""Proved variants per second of `batch run`, against the same variants searched one by one, and its memory over many rows.

python -m benchmarks.batch [--json] [--many N]

Each grid runs as a whole process, start-up included, on all cores. Its ratio is that of CPU seconds per row: of `search` of a few
of its variants, each for itself in one process without start-up, over the batch's. `--many`: N variants of the reference
instance in `folded`, with the memory of all processes together as the rows pass.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from models.instance import Instance
from optimizer.reading import read_with_overrides, validate
from optimizer.search import Options, find

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
OUT, MEMORY = "cluster.scale_out.bandwidth_bytes_per_s", "cluster.accelerator.memory_bytes"
SAMPLE = 4  # variants searched one by one


class Grid(NamedTuple):
    """Variants of an instance, and how many rows per second are wanted of it."""

    instance: str
    settings: tuple[str, ...]
    vary: tuple[str, ...]
    wanted: int | None


GRIDS = {
    "reference, classic": Grid("ep64_tp2_128gpu", (), (f"{OUT}=10..100 GB/s:+5", f"{MEMORY}=16,24,32,48,64,80 GB"), None),
    "reference, folded": Grid("ep64_tp2_128gpu", ("space.name=folded",), (f"{OUT}=10..100 GB/s:+5", f"{MEMORY}=16,24,32,48,64,80 GB"), 20),
    "DeepSeek-V3, 128 H200": Grid("deepseek_v3_128h200", (), (f"{OUT}=10..100 GB/s:+10", f"{MEMORY}=64,80,100,120,141,192 GB"), 5),
    "reference, folded, batch and chip": Grid(
        "ep64_tp2_128gpu", ("space.name=folded",), ("workload.sequences=32..512:*2", "cluster.accelerator=A100,H100,H200,B200"), None
    ),
    "DeepSeek-V3, 64 GB200, skewed loads": Grid(
        "deepseek_v3_64gb200_skewed", (), (f"{OUT}=25,50,100 GB/s", f"{MEMORY}=160,192,288 GB"), None
    ),
}


def run_grid(grid: Grid, folder: Path) -> dict[str, Any]:
    """Rows per second of the whole process, and how many times as fast that is as searching."""
    vary = [argument for text in grid.vary for argument in ("--vary", text)]
    settings = [argument for text in grid.settings for argument in ("--set", text)]
    path = INSTANCES / f"{grid.instance}.json"
    command = [sys.executable, "-m", "optimizer", "batch", "run", str(path), *vary, *settings, "--out", str(folder), "--quiet", "--json"]
    started, before = time.monotonic(), _cpu_seconds()
    result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    seconds, cpu = time.monotonic() - started, _cpu_seconds() - before
    each = _seconds_of_search(path, grid)
    rate = result["rows"] / seconds
    found = {
        "rows": result["rows"],
        "proved": result["proved"],
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu, 2),
        "rows_per_s": round(rate, 1),
    }
    return found | {"wanted": grid.wanted, "times_search": round(result["rows"] * each / cpu, 1), "search_s": round(each, 3)}


def _cpu_seconds() -> float:
    """Of all processes that ended below this one: what other work on the machine takes away is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds_of_search(path: Path, grid: Grid) -> float:
    """Mean time of one search of the grid's first variants along its last field."""
    field, _, values = grid.vary[-1].partition("=")
    unit = values.rpartition(" ")[2] if " " in values else ""
    first = [v.split("..")[0].strip() for v in values.removesuffix(unit).split(",")][:SAMPLE]
    started = time.process_time()
    for value in first:
        data = read_with_overrides(path, [*grid.settings, f"{field}={value} {unit}".rstrip()])
        find(validate(data, Instance, str(path)), Options(0), lambda _: None)
    return (time.process_time() - started) / len(first)


def run_many(count: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Rows per second and MiB of all processes at every tenth of `count` rows."""
    side = round(count**0.5)
    vary = (f"{OUT}=10..{9 + side} GB/s:+1", f"{MEMORY}=16..{15 + -(-count // side)} GB:+1")
    command = [sys.executable, "-m", "optimizer", "batch", "run", str(INSTANCES / "ep64_tp2_128gpu.json"), "--space", "folded"]
    command += [a for text in vary for a in ("--vary", text)]
    started, memory = time.monotonic(), list[tuple[int, int]]()
    with subprocess.Popen([*command, "--out", str(folder)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            done, _, total = line.split("] ")[-1].split(" ")[0].partition("/")
            if total.isdecimal() and int(done) >= (len(memory) + 1) * int(total) // 10 - 1:
                memory.append((int(done), _resident_mib(process.pid)))
                say(f"{line.strip()}: {memory[-1][1]} MiB")
    seconds = time.monotonic() - started
    return {"rows": int(total), "seconds": round(seconds), "rows_per_s": round(int(total) / seconds, 1), "mib_at_rows": memory}


def _resident_mib(root: int) -> int:
    """Memory of a process and all below it, each page shared by several counted in parts (PSS)."""
    found, todo = 0, [root]
    while todo:
        pid = todo.pop()
        try:
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return found // 1024


def main() -> None:
    """Print one line per grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--many", type=int, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if arguments.many:
            print(json.dumps(run_many(arguments.many, Path(place) / "many", lambda line: print(line, file=sys.stderr))))
            return
        results = {name: run_grid(grid, Path(place) / str(n)) for n, (name, grid) in enumerate(GRIDS.items())}
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for name, r in results.items():
        wanted = f" (wanted {r['wanted']})" if r["wanted"] else ""
        rate = f"{r['rows_per_s']:6.1f} rows/s{wanted}, {r['times_search']} times as fast as `search`"
        print(f"{name:36} {r['proved']:4}/{r['rows']:<4} proved in {r['seconds']:6.2f} s ({r['cpu_s']:.1f} s of CPU): {rate}")


if __name__ == "__main__":
    main()
