"""`place`: what it prints and writes is what its placements are worth, recomputed from the files alone with fractions."""

import json
from collections import Counter
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml
from map_cases import Contents, Layer, largest, value_of
from test_cli import COMMON, run

from optimizer.mapping.map_files import WRITERS
from optimizer.mapping.maps import contents_of, read_map

EXPERTS, RANKS, SLOTS, NODES, GROUPS = 52, 8, 8, 2, 4
BUDGET, LAYERS, EMPTY = 2, 3, 1  # percent off home; rows, of which this one has no tokens
FLAT = ("--ranks", RANKS, "--slots", SLOTS, "--effort", 50)
HOMES = (*FLAT, "--nodes", NODES, "--groups", GROUPS, "--hierarchy")
CASES: dict[str, tuple[object, ...]] = {
    "flat": ("A", *FLAT),
    "flat B": ("B", *FLAT),
    "strict": ("A", *HOMES, "strict"),
    "soft": ("A", *HOMES, "soft", "--off-home", BUDGET),
    "anywhere": ("A", *HOMES, "soft"),
    "nearest": ("A", *FLAT, "--nodes", NODES, "--dispatch", "nearest"),
    "two": ("A", "B", *FLAT),
    "three weighted": ("A", "B", "C", *FLAT, "--weights", "3,2,1"),
    "soft of two": ("A", "B", *HOMES, "soft", "--off-home", BUDGET, "--effort", 1),
    "replicas": ("A", *FLAT, "--replicas", "R"),
    "pairs": ("P", "--ranks", 12, "--slots", 2),
    "free": ("F", "--ranks", 4, "--slots", 3, "--dispatch", "free"),
    "few ranks": ("F", "--ranks", 2, "--slots", 6),
    "numbered": ("A", *FLAT, "--first-layer", 3, "--model-layers", 9),
    "in no time": ("A", *HOMES, "soft", "--seconds", 0),
}

FIRST = {"numbered": 3}
Json = dict[str, Any]


NAMES = tuple("ABCFGPRSU")  # of load matrices
KEPT = TemporaryDirectory(prefix="shardproof-place-")  # until the tests end


def drawn(seed: int, layers: int = LAYERS, experts: int = EXPERTS, spread: float = 1.0) -> np.ndarray[Any, Any]:
    """Tokens with some hot experts; the second row of several has none."""
    found = (np.random.default_rng(seed).lognormal(0, spread, (layers, experts)) * 100_000).astype(np.int64)
    if layers > 1:
        found[EMPTY] = 0
    return found


def saved(name: str) -> Path:
    """The load matrix of that name as a file."""
    path = Path(KEPT.name) / f"{name}.npy"
    if not path.exists():
        given = {
            "P": drawn(4, 1, 18),
            "F": drawn(5, 2, 8),
            "G": drawn(6, 2, 8),
            "S": drawn(0, 1),
            "R": _replicas(),
            "U": np.full((LAYERS, EXPERTS - 4), 5_000),
        }
        np.save(path, given.get(name, drawn(ord(name), spread=1.0)))
    return path


def _replicas() -> np.ndarray[Any, Any]:
    """Two replicas of the first experts, one of the others."""
    return np.array([[1 + (e < RANKS * SLOTS - EXPERTS) for e in range(EXPERTS)]] * LAYERS)


def files(*args: object) -> tuple[object, ...]:
    return tuple(saved(a) if a in NAMES else a for a in args)


def placed(*args: object) -> Json:
    """The JSON object of a run that succeeds; with a time limit it may be reached."""
    result = run("place", *files(*args), "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (4 if "--seconds" in args else 0, ""), result.output
    found: Json = json.loads(result.stdout)
    return found


@cache
def made(name: str) -> tuple[Path, Json, Json]:
    """Folder, result and certificate of a case."""
    out = Path(KEPT.name) / name.replace(" ", "_")
    found = placed(*CASES[name], "--out", out)
    return out, found, json.loads((out / "certificate.json").read_text(encoding="utf-8"))


def layers_of(name: str) -> list[tuple[Json, Contents]]:
    """Each layer of the certificate with its placement."""
    return [(layer, tuple(map(tuple, layer["placement"]))) for layer in made(name)[2]["claim"]["layers"]]


def value(result: Json, contents: Contents, loads: Any) -> int:
    """Parts per billion of the mean rank load, from the definition."""
    s = result["setting"]
    row = tuple(int(w) for w in loads)
    layer = Layer(s["ranks"], s["slots"], s["nodes"], (row,))
    return value_of(layer, largest(contents, row, s["dispatch"], s["nodes"]))


def default_order(result: Json) -> Contents:
    ranks, slots, experts = result["setting"]["ranks"], result["setting"]["slots"], len(made_loads(result)[0])
    return tuple(tuple((r * slots + s) % experts for s in range(slots)) for r in range(ranks))


def made_loads(result: Json) -> Any:
    """The first workload's rows that have tokens."""
    rows = np.load(saved(result["workloads"][0]["name"]))
    return rows[rows.any(axis=1)]


# What is written and printed, case by case


@pytest.mark.parametrize("name", CASES)
def test_every_slot_is_filled_and_no_expert_lies_twice_on_a_rank(name: str) -> None:
    _, result, _ = made(name)
    for layer, contents in layers_of(name):
        assert len(contents) == result["setting"]["ranks"]
        assert {len(rank) for rank in contents} == {len(set(rank)) for rank in contents} == {result["setting"]["slots"]}
        assert {e for rank in contents for e in rank} == set(range(len(layer["loads"][0])))


@pytest.mark.parametrize("name", CASES)
def test_reported_figures_are_those_of_the_placement(name: str) -> None:
    _, result, _ = made(name)
    names = [w["name"] for w in result["workloads"]]
    values = []
    for layer, contents in layers_of(name):
        given = [np.load(saved(w))[layer["layer"] - FIRST.get(name, 0)] for w in names]
        assert [list(map(int, row)) for row in given] == layer["loads"]
        values.append([value(result, contents, row) for row in given])
        assert values[-1] == layer["values"]
        assert all(b <= v for b, v in zip(layer["bounds"], layer["values"], strict=True))
    worst, bounds = [max(v) for v in values], [max(layer["bounds"]) for layer, _ in layers_of(name)]
    assert result["max_over_mean"] == pytest.approx({"mean": np.mean(worst) / 1e9, "worst": max(worst) / 1e9}, rel=1e-12)
    shared = name in ("soft", "soft of two")  # then the totals bound every way to share the budget, and are no larger than these
    own = {"mean": np.mean(bounds) / 1e9, "worst": max(bounds) / 1e9}
    assert all(result["bound_over_mean"][k] <= own[k] if shared else result["bound_over_mean"][k] == pytest.approx(own[k]) for k in own)
    assert [r["max_over_mean"] for r in result["rows"]] == [v / 1e9 for v in worst]
    gaps = [100 * (v - b) / b for v, b in zip(worst, bounds, strict=True)]
    mean_gap = 100 * (result["max_over_mean"]["mean"] / result["bound_over_mean"]["mean"] - 1) if shared else np.mean(gaps)
    assert result["gap_pct"] == pytest.approx({"mean": mean_gap, "worst": max(gaps)})
    assert result["proved"] == sum(g <= result["proved_within_pct"] for g in gaps)
    assert result["status"] == ("OPTIMAL" if worst == bounds and not shared else "FEASIBLE")
    for s, w in enumerate(result["workloads"]):
        assert w["max_over_mean"]["mean"] == pytest.approx(np.mean([v[s] for v in values]) / 1e9, rel=1e-12)
    order = default_order(result)
    baseline = [max(value(result, order, row) for row in layer["loads"]) for layer, _ in layers_of(name)]
    assert result["baseline"]["max_over_mean"] == pytest.approx({"mean": np.mean(baseline) / 1e9, "worst": max(baseline) / 1e9})


@pytest.mark.parametrize("name", CASES)
def test_the_json_keeps_the_contract(name: str) -> None:
    out, result, _ = made(name)
    assert result.keys() >= COMMON | {"layers", "max_over_mean", "bound_over_mean", "gap_pct", "proved"}
    assert result["schema"] == "shardproof/place/1"
    assert all(result[k].keys() == {"mean", "worst"} for k in ("max_over_mean", "bound_over_mean", "gap_pct"))
    assert result["layers"] == len(result["rows"]) == len(layers_of(name))
    assert result["instance"].keys() == {"name", "sha256"}
    assert result["assumptions"]
    assert result["limited"] == (name == "in no time")
    assert json.loads((out / "result.json").read_text(encoding="utf-8")) == result
    assert {p.name for p in out.iterdir()} == {"result.json", "certificate.json", *(file for file, _ in WRITERS.values())}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", CASES)
def test_an_engines_file_holds_the_placement_that_is_proved(name: str, kind: str) -> None:
    out, result, _ = made(name)
    rows = [r["layer"] for r in result["rows"]]
    experts, ranks = len(layers_of(name)[0][0]["loads"][0]), result["setting"]["ranks"]
    found = read_map(out / WRITERS[kind][0])
    assert found.kind == kind
    assert list(contents_of(found, rows, experts, ranks).values()) == [contents for _, contents in layers_of(name)]


@pytest.mark.parametrize("name", CASES)
def test_check_accepts_the_certificate_and_refuses_a_better_value_or_bound(name: str, tmp_path: Path) -> None:
    out, _, certificate = made(name)
    assert run("check", out / "certificate.json").exit_code == 0
    for field, change in (("values", -1), ("values", 1), ("bounds", 10**7)):
        text = json.loads(json.dumps(certificate))
        text["claim"]["layers"][-1][field][0] += change
        (tmp_path / "c.json").write_text(json.dumps(text, separators=(",", ":")), encoding="utf-8")
        assert run("check", tmp_path / "c.json").exit_code == 5
    text = json.loads(json.dumps(certificate))
    rank = text["claim"]["layers"][0]["placement"][0]
    rank[0] = rank[1]
    (tmp_path / "c.json").write_text(json.dumps(text, separators=(",", ":")), encoding="utf-8")
    assert run("check", tmp_path / "c.json").exit_code == 5


def test_the_text_says_all_of_it(tmp_path: Path) -> None:
    # Layer 0: 6 + 1 on one rank and 4 + 1 on the other are best, 7 / 6; the default order has 6 + 4, 10 / 6. Layer 1: even in any order.
    (tmp_path / "small.json").write_text("[[600000, 400000, 100000, 100000], [300000, 300000, 300000, 300000]]", encoding="utf-8")
    args = ("place", tmp_path / "small.json", "--ranks", 2, "--slots", 2, "--memory", "3 GB", "--expert-size", "100 MB")
    result = run(*args, "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    expected = (
        "small: 2 layers on 2 ranks of 2 slots, dispatch equal: largest load 1.0833 of the mean, within 0.000 % of any placement",
        "",
        "                            mean of layers  worst layer",
        "  largest load / mean load  1.0833          1.1667",
        "  bound, proved             1.0833          1.1667",
        "  gap                       0.000 %         0.000 %",
        "  layers within 0.1 % of their bound: 2 of 2",
        "",
        "the engines' default order: 1.3333 of the mean, 23.08 % above the bound; 18.75 % less load on the busiest rank",
        "routed experts: 0.40 of 3.00 GB per GPU; 15 slots would fit, less what else the memory holds",
        "",
        "each layer confirmed by the solver-free checker; 2 assumptions (--json lists them)",
        "",
    )
    assert result.stdout.split("\n") == list(expected)


# Rules


@pytest.mark.parametrize("name", ["strict", "soft", "soft of two", "anywhere", "in no time"])
def test_each_expert_has_a_replica_at_home_and_few_tokens_leave_it(name: str) -> None:
    _, result, _ = made(name)
    away, size = [], EXPERTS // GROUPS
    for layer, contents in layers_of(name):
        homes = layer["homes"]
        assert all(len(set(homes[g * size : (g + 1) * size])) == 1 for g in range(GROUPS))
        assert set(Counter(homes).values()) == {EXPERTS // NODES}
        nodes = [[r * NODES // RANKS for r, rank in enumerate(contents) if e in rank] for e in range(EXPERTS)]
        assert all(home in held for home, held in zip(homes, nodes, strict=True))
        shares = [Fraction(sum(n != home for n in held), len(held)) for home, held in zip(homes, nodes, strict=True)]
        away.append(max(sum(w * s for w, s in zip(row, shares, strict=True)) / sum(row) for row in layer["loads"]))
    assert result["off_home_pct"] == pytest.approx({"mean": 100 * float(sum(away)) / len(away), "worst": 100 * float(max(away))})
    most = {"strict": 0, "soft": BUDGET, "soft of two": BUDGET}.get(name, 100)
    assert 100 * sum(away) <= most * len(away)


def test_homes_cost_the_more_the_fewer_tokens_may_leave_them() -> None:
    strict, soft, anywhere, flat = (made(name)[1]["max_over_mean"]["mean"] for name in ("strict", "soft", "anywhere", "flat"))
    assert strict > soft > 1.0
    assert max(anywhere, flat) < 1.002 < soft < 1.1


@pytest.mark.parametrize("budget", ["0.4", "3"])
def test_a_budget_off_home_is_used_to_the_last_part(budget: str) -> None:
    found = placed("P", "--ranks", 8, "--slots", 4, "--nodes", 2, "--hierarchy", "soft", "--off-home", budget, "--effort", 2)
    assert sum(r["off_home_limit_pct"] for r in found["rows"]) == pytest.approx(float(budget) * len(found["rows"]))
    assert 0 < found["off_home_pct"]["mean"] <= float(budget)


def test_given_replicas_are_kept() -> None:
    for _, contents in layers_of("replicas"):
        counts = Counter(e for rank in contents for e in rank)
        assert [counts[e] for e in range(EXPERTS)] == _replicas()[0].tolist()
    assert made("replicas")[1]["bound_over_mean"]["mean"] >= made("flat")[1]["bound_over_mean"]["mean"]


def test_the_nearest_replica_serves_and_free_splits_do_no_worse() -> None:
    assert made("nearest")[1]["setting"]["dispatch"] == "nearest"
    equal = placed("F", "--ranks", 4, "--slots", 3)
    assert made("free")[1]["max_over_mean"]["mean"] <= equal["max_over_mean"]["mean"]


def test_layers_without_tokens_are_dense_and_numbered_as_in_the_model() -> None:
    assert [r["layer"] for r in made("flat")[1]["rows"]] == [0, 2]
    out, result, _ = made("numbered")
    assert [r["layer"] for r in result["rows"]] == [3, 5]
    order = [slot % EXPERTS for slot in range(RANKS * SLOTS)]
    rows = json.loads((out / WRITERS["sglang"][0]).read_text(encoding="utf-8"))["physical_to_logical_map"]
    assert [n for n, row in enumerate(rows) if row != order] == [3, 5]
    assert len(rows) == len(json.loads((out / WRITERS["vllm"][0]).read_text(encoding="utf-8"))) == 9
    assert list(yaml.safe_load((out / WRITERS["trtllm"][0]).read_text(encoding="utf-8"))["initial_global_assignments"]) == [3, 5]
    assert json.loads((out / WRITERS["vllm-ascend"][0]).read_text(encoding="utf-8"))["moe_layer_count"] == 2
    assert layers_of("numbered")[0][1] == layers_of("flat")[0][1]


def test_no_time_gives_a_placement_and_says_that_another_run_may_differ() -> None:
    texts = [run("place", *files(*CASES[name]), "--quiet").stdout.splitlines() for name in ("in no time", "flat")]
    assert ["another run may" in text[-1] for text in texts] == [True, False]
