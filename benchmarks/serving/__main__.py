"""Clusters that serve DeepSeek-V3 on H200: the peer's answer, the exact best mix of the peer's own rows, and our own search.

python -m benchmarks.serving --peer PYTHON [--keep DIR] [--model NAME] [--gpus N ...] [--json]
python -m benchmarks.serving --keep DIR [--model NAME] [--gpus N ...] [--tables FILE] [--json]

With --tables our own search takes its operator times from FILE, which `shardproof import-tables` made of the peer's measurements.
PYTHON is that of an environment with aiconfigurator 0.12, made for it alone; DIR keeps what it gave, and without --peer is read instead.
4096 / 512 tokens, TTFT 2 s, TPOT 30 ms, SGLang. Tokens/s are output tokens per second and GPU of the cluster, idle GPUs counted.
CPU is user and system seconds of the whole process, its start included; the peer and we run one after the other on the same machine.
The peer's rates and those of its rows are by its own measured operators, ours by our cost model: compare their times, not their rates.
"""

import argparse
import json
import shutil
import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.serving.packing import Packing, pack
from benchmarks.serving.peer import PeerResult, Question, read_peer, run_peer
from benchmarks.serving.processes import ROOT, Failed, Measured, run
from optimizer.report import tool_versions

ISL, OSL, TTFT_MS, TPOT_MS = 4096, 512, 2000, 30
MODELS = {"deepseek_v3": ("deepseek-ai/DeepSeek-V3", (32, 40, 64, 128)), "qwen3_235b": ("Qwen/Qwen3-235B-A22B", (16,))}


class Own(NamedTuple):
    """Our own search, and what it took."""

    tokens_per_s_per_gpu: float
    """of the cluster"""
    checked: bool
    workers: int
    """priced"""
    cpu_s: float
    wall_s: float


class Line(NamedTuple):
    """One cluster."""

    peer: PeerResult
    packing: Packing
    own: Own | str
    """or why there is none"""


def own_answer(found: dict[str, Any], took: Measured) -> Own:
    """Our result as `search --json` prints it."""
    best = found["optimal"][0]["metrics"]["tokens_per_s_per_gpu"]
    return Own(best, found["proof"]["checked"], found["space"]["workers"], took.cpu_s, took.wall_s)


def search_ours(name: str, gpus: int, tables: Path | None) -> Own | str:
    """Our own search of the same cluster, or a sentence that says why there is none."""
    instance = ROOT / "instances" / f"{name}_{gpus}h200_serving.json"
    if not instance.exists():
        return f"skipped: no {instance.relative_to(ROOT)}"
    try:
        with TemporaryDirectory() as folder:
            settings = [] if tables is None else ["--set", f"cluster.accelerator.tables={shutil.copy(tables, folder).rpartition('/')[2]}"]
            beside = shutil.copy(instance, folder)  # an instance finds its tables in its own folder
            took = run([sys.executable, "-m", "optimizer", "search", beside, *settings, "--json", "--quiet"])
        return own_answer(json.loads(took.stdout), took)
    except Failed as error:
        return f"failed: {error}"


def measure(python: Path | None, keep: Path, name: str, gpus: int, tables: Path | None) -> Line:
    """The peer, or what it once gave; the packing of its rows; our search."""
    question = Question(MODELS[name][0], "h200_sxm", "sglang", gpus, ISL, OSL, TTFT_MS, TPOT_MS)
    folder = keep / f"{name}_{gpus}"
    peer = run_peer(python, question, folder) if python else read_peer(question, folder)
    return Line(peer, pack(peer, OSL), search_ours(name, gpus, tables))


HEAD = (
    f"{'GPUs':>4}  {'peer':>8} {'CPU s':>7} {'wall s':>7} {'priced':>6}  {'its rows':>8} {'gain':>7} {'CPU s':>6} {'rows':>5}  own search"
)


def text(line: Line) -> str:
    """One row of the table, and below it the three mixes."""
    peer, best, own = line.peer, line.packing, line.own
    gain = f"{100 * (best.tokens_per_s_per_gpu / peer.tokens_per_s_per_gpu - 1):+.1f} %"
    row = f"{peer.gpus:>4}  {peer.tokens_per_s_per_gpu:>8.2f} {peer.cpu_s:>7.1f} {peer.wall_s:>7.1f} {peer.priced:>6}"
    row += f"  {best.tokens_per_s_per_gpu:>8.2f} {gain:>7} {best.cpu_s:>6.2f} {best.rows:>5}  "
    if isinstance(own, str):
        row += own
    else:
        ratio = f"{peer.cpu_s / own.cpu_s:.0f} x less CPU" if own.cpu_s else "no CPU time"
        row += f"{own.tokens_per_s_per_gpu:.2f}, {own.cpu_s:.2f} s CPU ({ratio}), {own.workers} workers, "
        row += "checked" if own.checked else "NOT checked"
    proved = f"{best.status}, bound {best.bound:.2f}, {'checked' if best.checked else 'NOT checked'}"
    mixes = f"      peer: {peer.shape}; {peer.idle_gpus} GPUs idle", f"      its rows ({proved}): {'; '.join(best.workers)}"
    return "\n".join([row, *mixes])


def versions(lines: list[Line]) -> dict[str, str]:
    """Of the peer, of its data, and ours."""
    ours = tool_versions(0)
    peers = {f"aiconfigurator {line.peer.version} ({line.peer.database}), run {line.peer.date}" for line in lines}
    return {"date": date.today().isoformat(), "peer": ", ".join(sorted(peers))} | {
        "ours": f"shardproof {ours['shardproof']}, cost model {ours['cost_model']}"
    }


def as_json(lines: list[Line]) -> str:
    """All of it, for machines; the rows as file names."""
    records = []
    for line in lines:
        peer = line.peer._asdict() | {"rows": [path.name for path in line.peer.rows]}
        own = line.own if isinstance(line.own, str) else line.own._asdict()
        records.append({"peer": peer, "packing": line.packing._asdict(), "own": own})
    return json.dumps(versions(lines) | {"clusters": records}, indent=2)


def main() -> None:
    """One cluster after the other, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, metavar="PYTHON")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--model", choices=MODELS, default="deepseek_v3")
    parser.add_argument("--gpus", type=int, nargs="+")
    parser.add_argument("--tables", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.peer is None and given.keep is None:
        parser.error("give --peer, the python of an environment with aiconfigurator, or --keep, where an earlier run left its answers")
    python = given.peer and given.peer.absolute()  # not resolved: the link is what makes it that environment's
    with TemporaryDirectory() as scratch:
        keep, sizes = (given.keep or Path(scratch)).absolute(), given.gpus or MODELS[given.model][1]
        try:
            lines = [measure(python, keep, given.model, gpus, given.tables) for gpus in sizes]
        except (Failed, OSError, ValueError) as error:
            raise SystemExit(f"Error: {error}") from error
    if given.json:
        print(as_json(lines))
        return
    said = versions(lines)
    print(f"{said['date']}, {said['peer']}, {said['ours']}", HEAD, *map(text, lines), sep="\n")


if __name__ == "__main__":
    main()
