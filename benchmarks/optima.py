"""Known optima: solve every instance, one pass in both spaces, and compare with the file beside it.

python -m benchmarks.optima [--write] [INSTANCE ...]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from models.instance import COST_MODEL, Instance
from models.service import Service
from optimizer.output import to_json
from optimizer.reading import read_problem, read_record
from optimizer.search import Options, find
from optimizer.serving.report import status_of
from optimizer.serving.run import proof_text, solve

FOLDER = Path(__file__).resolve().parent.parent / "instances"


def instance_files() -> list[Path]:
    """The instances in the repository, by name."""
    return sorted(p for p in FOLDER.glob("*.json") if p.name.count(".") == 1)


def best_file(instance: Path) -> Path:
    """Where the known optimum of an instance is kept."""
    return instance.with_suffix(".best.json")


def known_optimum(path: Path) -> dict[str, Any]:
    """Status, value and optimal strategies of an instance in each space, or the best fleet of a service, confirmed by the checker."""
    problem = read_problem(path)
    if isinstance(problem, Service):
        return known_fleet(problem)
    found: dict[str, Any] = {"cost_model": COST_MODEL, "spaces": {}}
    for space in ("classic", "folded"):
        instance = read_record(path, Instance, [f"space.name={space}"])
        claim = find(instance, Options(epsilon_ppm=0), lambda _: None)
        found["spaces"][space] = {
            "status": claim.status,
            "objective": instance.objective.name,
            "value": claim.optimal[0].value if claim.optimal else None,
            "bound": claim.bound,
            "strategies": claim.strategies,
            "feasible": claim.feasible,
            "optimal": [c.plan.strategy.label() for c in claim.optimal],
        }
    return found


def known_fleet(service: Service) -> dict[str, Any]:
    """Status and value of a service, and its best fleet, confirmed by the checker."""
    _, claim = solve(service, Options(), lambda _: None)
    proof_text(claim)
    pools = [pool.name for pool in service.cluster.pools]
    fleet = [
        f"{len(m.first_gpus)} x {m.role} {pools[m.pool]} {m.plan.strategy.label()} batch {m.batch} chunks {m.chunks}"
        for m in claim.fleet or ()
    ]
    figures = {"status": status_of(claim), "objective": service.objective.name, "value": claim.value, "bound": claim.bound}
    return {"cost_model": COST_MODEL, **figures, "fleet": fleet}


def main() -> int:
    """Exit 1 when an instance's optimum differs from the file beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is found instead of comparing")
    parser.add_argument("instances", nargs="*", type=Path)
    arguments = parser.parse_args()
    differing = 0
    for path in arguments.instances or instance_files():
        found = known_optimum(path)
        if arguments.write:
            best_file(path).write_text(to_json(found), encoding="utf-8")
        same = json.loads(best_file(path).read_text(encoding="utf-8")) == found
        differing += not same
        print(f"{path.name}: {'as recorded' if same else 'DIFFERS from the record'}")
    return min(differing, 1)


if __name__ == "__main__":
    raise SystemExit(main())
