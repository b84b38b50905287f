"""Certificates of every kind of claim and argument, written by the program: `python tests/make_fixtures.py`.

Two checkers must agree on the files in `fixtures/`; both judge what is stored, so that a better prover changes no test.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from typer.testing import CliRunner

from models.certificate import Placement
from models.packing import Problem, RankClass
from optimizer.certify import certificate_alone
from optimizer.cli import app
from optimizer.placing.prices import Effort
from optimizer.placing.solve import solve_placement

FOLDER = Path(__file__).resolve().parent / "fixtures"
INSTANCES = FOLDER.parent.parent / "instances"
REFERENCE, PLAN = INSTANCES / "ep64_tp2_128gpu.json", INSTANCES / "ep64_tp2_128gpu.plan.json"
LLAMA, SHORT, MIXTRAL = (INSTANCES / f"{name}.json" for name in ("llama70b_8gpu", "llama70b_8gpu_short", "mixtral8x7b_8gpu"))
EFFORT = 200  # rounds of column generation

Json = dict[str, Any]

# Closed forms give 425 on eight ranks of three; the heaviest rank of every placement carries at least 428.
SKEWED = [131, 184, 272, 15, 239, 128, 27, 81, 58, 191, 241, 127, 195, 279, 53, 294, 7, 111, 209, 144, 94, 200, 82, 37]


def skewed() -> Json:
    """A model of 24 experts of distinct loads, too many to enumerate their placements."""
    found: Json = json.loads(MIXTRAL.read_text(encoding="utf-8"))
    del found["reference"]
    layers = found["architecture"]["layers"][0]
    layers["count"] = 2
    layers["ffn"] |= {"experts": 24, "top_k": 4, "intermediate_size": 1536}
    found["architecture"] |= {"name": "two layers of 24 experts", "hidden_size": 2048, "source": "assumed: a small model of skewed loads"}
    degrees = {"ep": [8], "etp": [1], "edp": [1], "cp": [1], "replicas": [1], "microbatches": [1, 2]}
    return found | {
        "name": "skewed_8gpu",
        "assumptions": ["Expert loads are made up."],
        "expert_load": {"counts": [SKEWED], "source": "made up"},
        "space": {"name": "folded"} | degrees,
    }


def hot() -> Json:
    """A model of 8 experts on 4 GPUs, of which one is hot, with redundant slots to choose."""
    found: Json = json.loads(MIXTRAL.read_text(encoding="utf-8"))
    del found["reference"]
    found["architecture"]["layers"][0]["count"] = 2
    found["cluster"]["pools"][0] |= {"gpus_per_node": 4, "scale_up_domain_gpus": 4}
    degrees = {"ep": [4], "tp": [1], "pp": [1], "microbatches": [1, 2]}
    return found | {
        "name": "hot_4gpu",
        "assumptions": ["Expert loads are made up."],
        "expert_load": {"counts": [[50, *[10] * 7]], "source": "made up"},
        "space": {"name": "folded", "redundant_slots": [0, 1, 2]} | degrees,
    }


# Plans that cannot run, as their authors would write them.
BROKEN: dict[str, tuple[Path, Json]] = {
    "broken_degrees": (
        REFERENCE,
        {"degrees": {"tp": 7, "cp": 90_000, "dp": 3, "pp": 1000, "etp": 5, "ep": 9, "edp": 1, "replicas": 2, "microbatches": 5}},
    ),
    "broken_dense": (LLAMA, {"degrees": {"tp": 16, "dp": 1, "etp": 2, "ep": 4, "edp": 2}}),
    "broken_memory": (LLAMA, {"degrees": {"tp": 1, "dp": 1, "pp": 2, "edp": 1}, "stages": [50, 30]}),
    "broken_whole_strategy": (LLAMA, {"degrees": {"tp": 1, "dp": 1, "pp": 2, "edp": 1}}),
}


def problem(*loads: int, classes: list[Json], replicas: int = 1, sizes: tuple[int, ...] | None = None) -> Problem:
    return Problem(loads=loads, classes=tuple(RankClass(**c) for c in classes), replicas=replicas, sizes=sizes)


FAST_AND_SLOW: list[Json] = [{"ranks": 2, "slots": 3, "speed": 2}, {"ranks": 2, "slots": 2}]
PLACEMENTS = {
    "prices": problem(30, 53, 54, 9, 23, 16, 19, 19, 3, 24, 4, 57, 12, 17, 31, 24, 9, 54, classes=[{"ranks": 6, "slots": 3}]),
    "prices_scaled": problem(5, 6, 7, 6, classes=[{"ranks": 3, "slots": 2}], replicas=2),
    "prices_replicas": problem(20, 21, 20, 12, 6, 10, 20, 31, classes=[{"ranks": 4, "slots": 3}], replicas=2),
    "prices_surrogate": problem(
        *(37, 24, 15, 33, 16, 18, 25, 11, 30), classes=[{"ranks": 3, "slots": 4, "memory": 16}], sizes=(7, 7, 3, 5, 6, 2, 9, 6, 3)
    ),
    "no_room": problem(
        *(36, 3, 27, 30, 23, 25, 40, 5, 38), classes=[{"ranks": 3, "slots": 4, "memory": 15}], sizes=(4, 6, 1, 6, 7, 5, 7, 2, 9)
    ),
    "prices_classes": problem(31, 31, 12, 4, 17, 2, 23, 26, 2, 36, classes=FAST_AND_SLOW),
    "split": problem(61, 195, 55, 73, 32, 198, 146, 3, 195, 10, 160, 81, 23, 136, 167, 46, classes=[{"ranks": 4, "slots": 4}]),
    "branch": problem(
        *(25, 20, 2, 24, 27, 11, 10, 17, 5), classes=[{"ranks": 3, "slots": 4, "memory": 16}], sizes=(5, 1, 6, 2, 5, 6, 5, 8, 6)
    ),
    "closed": problem(8, 24, 31, 16, 25, 35, 7, 37, 16, 1, classes=FAST_AND_SLOW),
    "gap": problem(
        *(54140, 74414, 84687, 71067, 48923, 61772, 19126, 21048, 78610, 50667, 74406, 63025, 26603, 17930, 80271, 12405),
        classes=[{"ranks": 4, "slots": 4}],
    ),
}


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exit_code not in (0, 3, 4, 5):
        raise RuntimeError(f"{arguments}: {result.output}")


def of_instances(folder: Path) -> Iterator[tuple[str, str]]:
    """What the commands write."""
    skew, warm = folder / "skewed.json", folder / "hot.json"
    skew.write_text(json.dumps(skewed()), encoding="utf-8")
    warm.write_text(json.dumps(hot()), encoding="utf-8")
    commands: dict[str, tuple[object, ...]] = {
        "optimal_classic": ("prove", REFERENCE, PLAN),
        "optimal_folded": ("prove", REFERENCE, PLAN, "--space", "folded"),
        "epsilon_set": ("search", LLAMA, "--space", "folded", "--epsilon", "40", "--all"),
        "optimal_by_fact": ("search", skew, "--epsilon", "5", "--all"),
        "optimal_redundant": ("search", warm, "--epsilon", "10", "--all"),
        "infeasible": ("search", SHORT),
        "bounded": ("search", REFERENCE, "--space", "folded", "--effort", "1"),
    }
    for name, (path, plan) in BROKEN.items():
        stated = folder / f"{name}.plan.json"
        stated.write_text(json.dumps(plan), encoding="utf-8")
        commands[name] = ("prove", path, stated)
    for name, command in commands.items():
        written = folder / f"{name}.json"
        run(*command, "--quiet", "--certificate", written)
        yield name, written.read_text(encoding="utf-8")


def of_problems() -> Iterator[tuple[str, str]]:
    """Placement problems, solved; one also by a tree where prices suffice."""
    for name, p in PLACEMENTS.items():
        found = solve_placement(p, EFFORT)
        claim = Placement(
            kind="placement", problem=p, placement=found.contents, value=found.value, bound=found.bound, argument=found.argument
        )
        yield f"placement_{name}", text_of(claim)
    yield "placement_branch_replicas", text_of(by_tree(PLACEMENTS["prices_scaled"]))


def by_tree(p: Problem) -> Placement:
    """A solved problem whose bound a branch tree proves."""
    from optimizer.placing.branching import branch

    found = solve_placement(p, EFFORT)
    tree = branch(p, found.bound - 1, Effort(100 * EFFORT))
    if tree is None or isinstance(tree, tuple):
        raise RuntimeError("no tree")
    return Placement(kind="placement", problem=p, placement=found.contents, value=found.value, bound=found.bound, argument=tree)


def text_of(claim: Placement) -> str:
    return certificate_alone(claim, "placing").text()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        for name, text in (*of_instances(Path(folder)), *of_problems()):
            (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
            print(f"{name}: {len(text)} characters")


if __name__ == "__main__":
    main()
