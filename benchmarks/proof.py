"""Proved placements against CP-SAT alone: layers of 256 experts with two kinds of load, on 64 ranks of 4 slots.

python -m benchmarks.proof [--layers N] [--cp-sat-seconds S] [--json]

Three heavy experts do not fit on a rank and counting alone does not see how far they push the
optimum above the mean. CP-SAT gets the makespan model with equal ranks numbered by first use and
our greedy placement as a hint, two workers and S seconds a layer (0: skipped). Our bound is
certified: the argument is checked in exact arithmetic. CP-SAT's is what the solver says.
"""

import argparse
import json
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from models.arguments import Budget, Problem, RankClass, refute
from models.packing import area_bound, closed_bound, value_of_placement
from optimizer.encoding.makespan import solve_makespan
from optimizer.placing.improve import improve
from optimizer.placing.solve import solve_placement

EXPERTS, RANKS = 256, 64
LIGHT, HEAVY, HEAVY_SHARE = (2, 17), (44, 54), 0.42
EFFORT = 120
WORKERS = 2


def layers() -> Iterator[tuple[int, Problem]]:
    """Seeded layers whose best placement found is above the closed forms, with the seed."""
    seed = 0
    while True:
        random = Random(seed)
        loads = tuple(random.randint(*(HEAVY if random.random() < HEAVY_SHARE else LIGHT)) for _ in range(EXPERTS))
        problem = Problem(loads=loads, classes=(RankClass(ranks=RANKS, slots=EXPERTS // RANKS),))
        contents = improve(loads, RANKS, closed_bound(problem), EFFORT)
        if value_of_placement(problem, contents) > closed_bound(problem):
            yield seed, problem
        seed += 1


def prove(problem: Problem) -> dict[str, Any]:
    """Our value, bound and argument, and what they cost."""
    started = time.perf_counter()
    placed = solve_placement(problem, EFFORT)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    if placed.argument is not None:
        refute(problem, placed.bound - 1, placed.argument, Budget())
    return {
        "value": placed.value,
        "bound": placed.bound,
        "seconds": round(seconds, 3),
        "argument": "closed form" if placed.argument is None else placed.argument.kind,
        "argument_bytes": 0 if placed.argument is None else len(placed.argument.model_dump_json()),
        "check_seconds": round(time.perf_counter() - started, 3),
    }


def ask_cp_sat(problem: Problem, seconds: float) -> dict[str, Any]:
    """Value and bound of CP-SAT alone within the wall limit."""
    hint = improve(problem.loads, RANKS, 0, 0)
    started = time.perf_counter()
    answer = solve_makespan(problem, hint, deterministic=1e9, seconds=seconds, workers=WORKERS)
    assert answer is not None, "these loads fit CP-SAT's rows"
    value = None if answer.contents is None else value_of_placement(problem, answer.contents)
    return {"value": value, "bound": answer.bound, "seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    """Print one row per layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--cp-sat-seconds", type=float, default=0.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for (seed, problem), _ in zip(layers(), range(arguments.layers), strict=False):
        row: dict[str, Any] = {"seed": seed, "area": area_bound(problem), "closed_form": closed_bound(problem), "ours": prove(problem)}
        if arguments.cp_sat_seconds > 0:
            row["cp_sat"] = ask_cp_sat(problem, arguments.cp_sat_seconds)
        rows.append(row)
        if not arguments.json:
            print(("" if len(rows) > 1 else HEADER + "\n") + _line(row), flush=True)
    if arguments.json:
        print(json.dumps({"cp_sat_seconds": arguments.cp_sat_seconds, "cp_sat_workers": WORKERS, "layers": rows}, indent=2))


HEADER = "seed  area  closed | value bound (certified)    s   argument   bytes  check s | CP-SAT: value bound (claimed)  gap     s"


def _line(row: dict[str, Any]) -> str:
    ours, cp_sat = row["ours"], row.get("cp_sat")
    text = f"{row['seed']:4d} {row['area']:5d} {row['closed_form']:7d} | {ours['value']:5d} {ours['bound']:5d} {'':8s}"
    text += f" {ours['seconds']:8.2f} {ours['argument']:>10s} {ours['argument_bytes']:7d} {ours['check_seconds']:8.3f} |"
    if cp_sat is None:
        return text + " not asked"
    value = "none" if cp_sat["value"] is None else cp_sat["value"]
    gap = "" if cp_sat["value"] is None else f"{cp_sat['value'] - cp_sat['bound']}"
    return text + f" {value:>12} {cp_sat['bound']:5d} {'':9s} {gap:>5s} {cp_sat['seconds']:6.1f}"


if __name__ == "__main__":
    main()
