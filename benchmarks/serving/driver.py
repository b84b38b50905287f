"""Run inside the peer's environment, by the peer's python: one search of aiconfigurator 0.12, and every worker row that it priced.

PYTHON -I driver.py QUESTION FOLDER

QUESTION is a JSON object: model, system, backend, gpus, isl, osl (tokens), ttft_ms, tpot_ms. FOLDER receives answer.json and, per role,
ROLE.csv: the rows that the peer prices as feasible. The search is the peer's `cli_default`, unchanged; its functions are only listened to.
"""

import functools
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

SHAPE = ["parallel", "bs", "tp", "pp", "dp", "moe_tp", "moe_ep", "num_total_gpus"]
COLUMNS = [*SHAPE, "seq/s", "tokens/s", "tokens/s/gpu", "tokens/s/user", "ttft", "tpot", "memory", "concurrency"]
Question = dict[str, Any]


class Heard:
    """What one search priced: distinct points per role, and the rows of all that fit in memory; nothing else of the peer is kept alive."""

    def __init__(self) -> None:
        self.points = {"aggregated": 0, "prefill": 0, "decode": 0}
        self.rows: dict[str, list[tuple[Any, ...]]] = {role: [] for role in self.points}
        self._engine: Any = None

    def engine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which makes the engine of the next few workers."""

        @functools.wraps(function)
        def listening(*given: Any) -> Any:
            self.collect()
            self._engine = function(*given)
            return self._engine

        return listening

    def collect(self) -> None:
        """The aggregated workers of the last engine: the search asks for each some eighty times, the engine prices and keeps it once."""
        found = self._engine._agg_cache.values() if self._engine else ()
        self.points["aggregated"] += len(found)
        fit = (priced.get_result_dict() for priced in found if not priced.check_oom() and not priced.check_kv_cache_oom())
        self.rows["aggregated"] += [tuple(row[name] for name in COLUMNS) for row in fit]
        self._engine = None

    def count(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which prices one prefill or decode worker."""

        @functools.wraps(function)
        def listening(**given: Any) -> Any:
            self.points[given["role"]] += 1
            return function(**given)

        return listening

    def tabulate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which prices all prefill or decode workers and returns those that fit."""

        @functools.wraps(function)
        def listening(**given: Any) -> Any:
            found = function(**given)
            self.rows[given["role"]] += found[COLUMNS].itertuples(index=False, name=None)
            return found

        return listening


def listen() -> Heard:
    """The peer's sweep, wrapped where it makes an engine and where it prices disaggregated workers; nothing in its inner loop."""
    from aiconfigurator.sdk import sweep

    heard = Heard()
    sweep.get_backend = heard.engine(sweep.get_backend)
    sweep.predict_disagg_worker = heard.count(sweep.predict_disagg_worker)
    sweep._get_disagg_worker_candidates = heard.tabulate(sweep._get_disagg_worker_candidates)
    return heard


def feasible(role: str, rows: list[tuple[Any, ...]], question: Question) -> Any:
    """The rows that meet both limits as the peer tests them, rounded as it rounds them, each once: a data frame.

    A prefill row has the peer's allowance for queueing; decode rows are tested strictly.
    """
    from aiconfigurator.sdk import sweep
    from pandas import DataFrame

    frame = DataFrame(rows, columns=COLUMNS)
    match role:
        case "aggregated":
            frame = frame[(frame["tpot"] <= question["tpot_ms"]) & (frame["ttft"] <= question["ttft_ms"])]
        case "prefill":
            frame = frame[frame["ttft"] * sweep._AUTOSCALE_TTFT_CORRECTION_FACTOR < question["ttft_ms"]]
        case _:
            frame = frame[(frame["tpot"] > 0) & (frame["tpot"] < question["tpot_ms"])]
    return frame.round(3).assign(role=role).drop_duplicates()


def search(question: Question) -> Any:
    """The peer's own answer, aggregated against disaggregated."""
    from aiconfigurator.cli.api import cli_default

    return cli_default(
        model_path=question["model"],
        total_gpus=question["gpus"],
        system=question["system"],
        backend=question["backend"],
        isl=question["isl"],
        osl=question["osl"],
        ttft=question["ttft_ms"],
        tpot=question["tpot_ms"],
    )


def wide_experts(tasks: dict[str, Any]) -> dict[str, list[int]] | None:
    """Per role, the expert degrees of workers that may pair with one of another tensor degree; None where any two workers may.

    Under SGLang the peer pairs a prefill with a decode worker of the same tensor degree only, unless one of them keeps its experts
    whole, at an expert degree that the peer's all-to-all tables cover.
    """
    task = tasks.get("disagg")
    if task is None or task.prefill_backend_name != "sglang":
        return None
    shapes = {role: task.iter_parallel(role) for role in ("prefill", "decode")}
    return {role: sorted({s[4] for s in found if task._resolve_moe_comm_backend(role, s) is not None}) for role, found in shapes.items()}


def described(result: Any, heard: Heard) -> dict[str, Any]:
    """What the peer printed, and how much it priced. Rates are tokens/s per GPU of the cluster."""
    from aiconfigurator.sdk import sweep

    task = result.tasks[result.chosen_exp]
    return {
        "version": version("aiconfigurator"),
        "database": f"{task.primary_system_name} {task.primary_backend_name} {task.primary_backend_version}",
        "tokens_per_s_per_gpu": float(result.best_throughputs[result.chosen_exp]),
        "per_mode": {name: float(value) for name, value in result.best_throughputs.items()},
        "mode": result.chosen_exp,
        "best": json.loads(result.best_configs[result.chosen_exp].iloc[0].to_json()),
        "priced": heard.points,
        "prefill_share": sweep._RATE_MATCH_PREFILL_DEGRADATION,
        "wide_experts": wide_experts(result.tasks),
        "decode_share": sweep._RATE_MATCH_DECODE_DEGRADATION,
    }


def main() -> None:
    """Search, then write what was heard."""
    question, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    heard = listen()
    result = search(question)
    heard.collect()
    answer = described(result, heard) | {"rows": {}}
    for role, rows in heard.rows.items():
        kept = feasible(role, rows, question)
        kept.to_csv(folder / f"{role}.csv", index=False)
        answer["rows"][role] = len(kept)
    (folder / "answer.json").write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
