"""aiconfigurator 0.12, run in its own environment: its answer for a cluster, what it took, and the worker rows that it priced.

Its figure is output tokens/s over ALL GPUs of the cluster: its best cell is repeated as often as it fits, the GPUs left over idle.
A cell is one aggregated worker, or some prefill workers of one shape with some decode workers of one shape.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving.processes import run

DRIVER = Path(__file__).with_name("driver.py")
ROLES = ("aggregated", "decode", "prefill")
ROLES_OF_A_CELL = (("p", "prefill"), ("d", "decode"))
Json = dict[str, Any]


class Question(NamedTuple):
    """What is asked of the peer."""

    model: str
    system: str
    backend: str
    gpus: int
    isl: int
    """tokens of a prompt"""
    osl: int
    """tokens of its answer"""
    ttft_ms: int
    tpot_ms: int


class PeerResult(NamedTuple):
    """What the peer answered, and what it took."""

    version: str
    database: str
    """system, engine and engine version whose measured operators it used"""
    gpus: int
    tokens_per_s_per_gpu: float
    """of the cluster"""
    shape: str
    idle_gpus: int
    priced: int
    """distinct workers with their batch; cells are made of these"""
    rows: tuple[Path, ...]
    """the workers that meet the limits, one file per role, as `fleet` reads them"""
    prefill_pct: str
    decode_pct: str
    """share of a worker's rate that a cell keeps"""
    wide_experts: dict[str, list[int]] | None
    """expert degrees per role that lift its rule, one tensor degree for prefill and decode; None where it has no such rule"""
    date: str
    """of the run"""
    cpu_s: float
    wall_s: float


def run_peer(python: Path, question: Question, folder: Path) -> PeerResult:
    """Ask the peer whose environment has this `python`; the folder keeps all it gave, both paths absolute. Raises Failed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-I", str(DRIVER), json.dumps(question._asdict()), str(folder)]
    took = run(command)
    measured = {"date": date.today().isoformat(), "cpu_s": took.cpu_s, "wall_s": took.wall_s}
    _write(folder / "took.json", question._asdict() | measured)
    return read_peer(question, folder)


def read_peer(question: Question, folder: Path) -> PeerResult:
    """What an earlier run left in the folder. Raises OSError where there is none, ValueError where it asked something else."""
    took, answer = _read(folder / "took.json"), _read(folder / "answer.json")
    asked = Question(**{name: took[name] for name in Question._fields})
    if asked != question:
        raise ValueError(f"{folder}: answers {asked}, not {question}")
    return _result(question, answer, took, folder)


def _result(question: Question, answer: Json, took: Json, folder: Path) -> PeerResult:
    best = answer["best"]
    cells = question.gpus // int(best["num_total_gpus"])
    return PeerResult(
        version=answer["version"],
        database=answer["database"],
        gpus=question.gpus,
        tokens_per_s_per_gpu=round(answer["tokens_per_s_per_gpu"], 3),
        shape=f"{cells} x {_cell(answer['mode'], best)}",
        idle_gpus=question.gpus - cells * int(best["num_total_gpus"]),
        priced=sum(answer["priced"].values()),
        rows=tuple(path for role in ROLES if (path := folder / f"{role}.csv").exists() and answer["rows"][role]),
        prefill_pct=f"{100 * answer['prefill_share']:g}",
        decode_pct=f"{100 * answer['decode_share']:g}",
        wide_experts=answer["wide_experts"],
        date=took["date"],
        cpu_s=took["cpu_s"],
        wall_s=took["wall_s"],
    )


def _cell(mode: str, best: Json) -> str:
    """What the peer repeats."""
    if mode == "agg":
        return f"aggregated {best['parallel']} bs{best['bs']}"
    prefill, decode = (f"{best[f'({r})workers']} x {n} {best[f'({r})parallel']} bs{best[f'({r})bs']}" for r, n in ROLES_OF_A_CELL)
    return f"({prefill} + {decode})"


def _read(path: Path) -> Json:
    found: Json = json.loads(path.read_text())
    return found


def _write(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
