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
Row = dict[str, Any]


class Heard:
    """What one search priced: the engines that keep their priced aggregated workers, and the others as they were priced."""

    def __init__(self) -> None:
        self.engines: list[Any] = []
        self.priced: dict[str, list[Any]] = {"aggregated": [], "prefill": [], "decode": []}

    def engine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which makes an engine, noting which."""

        @functools.wraps(function)
        def listening(*given: Any) -> Any:
            self.engines.append(function(*given))
            return self.engines[-1]

        return listening

    def price(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which prices one prefill or decode worker, noting its result."""

        @functools.wraps(function)
        def listening(**given: Any) -> Any:
            priced = function(**given)
            self.priced[given["role"]].append(priced)
            return priced

        return listening

    def collect(self) -> None:
        """Add the aggregated workers: the search asks for each some eighty times, and the engine prices it once."""
        self.priced["aggregated"] = [priced for engine in self.engines for priced in engine._agg_cache.values()]

    def rows(self, role: str) -> list[Row]:
        """Of all workers that fit in memory."""
        fit = [priced for priced in self.priced[role] if not priced.check_oom() and not priced.check_kv_cache_oom()]
        if role == "aggregated":
            return [priced.get_result_dict() for priced in fit]
        return [row for priced in fit for row in priced.get_summary_df().to_dict("records")]


def listen() -> Heard:
    """The peer's sweep, wrapped where it makes an engine and where it prices a worker; nothing in its inner loop."""
    from aiconfigurator.sdk import sweep

    heard = Heard()
    sweep.get_backend = heard.engine(sweep.get_backend)
    sweep.predict_disagg_worker = heard.price(sweep.predict_disagg_worker)
    return heard


def feasible(role: str, row: Row, question: Question) -> bool:
    """Whether a row meets both limits as the peer tests them: a prefill row with its allowance for queueing, a decode row strictly."""
    from aiconfigurator.sdk import sweep

    match role:
        case "aggregated":
            return bool(row["tpot"] <= question["tpot_ms"] and row["ttft"] <= question["ttft_ms"])
        case "prefill":
            return bool(row["ttft"] * sweep._AUTOSCALE_TTFT_CORRECTION_FACTOR < question["ttft_ms"])
        case _:
            return bool(0 < row["tpot"] < question["tpot_ms"])


def table(role: str, rows: list[Row]) -> Any:
    """The rows as a data frame, rounded as the peer rounds them, each once."""
    from pandas import DataFrame

    return DataFrame(rows, columns=COLUMNS).round(3).assign(role=role).drop_duplicates()


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
        "priced": {role: len(priced) for role, priced in heard.priced.items()},
        "prefill_share": sweep._RATE_MATCH_PREFILL_DEGRADATION,
        "decode_share": sweep._RATE_MATCH_DECODE_DEGRADATION,
    }


def main() -> None:
    """Search, then write what was heard."""
    question, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    heard = listen()
    result = search(question)
    heard.collect()
    answer = described(result, heard) | {"rows": {}}
    for role in heard.priced:
        kept = table(role, [row for row in heard.rows(role) if feasible(role, row, question)])
        kept.to_csv(folder / f"{role}.csv", index=False)
        answer["rows"][role] = len(kept)
    (folder / "answer.json").write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
