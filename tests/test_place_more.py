"""`place` beside what is in use: judged, moved little, fewer slots, several workloads, real loads; and whatever is wrong is refused."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from map_cases import Layer, least
from test_cli import COMMON, MIXTRAL, run
from test_place import CASES, EXPERTS, FLAT, HOMES, LAYERS, RANKS, SLOTS, files, layers_of, made, placed, saved, value

from optimizer.mapping.map_files import WRITERS

LOADS = Path(__file__).parent.parent.parent / "shared" / "data" / "loads"
EVERY_24TH = slice(0, None, 24)
needs_loads = pytest.mark.skipif(not LOADS.is_dir(), reason="needs the recorded expert loads in ../shared/data/loads")


def engine_file(name: str, kind: str = "vllm") -> Path:
    """The map of a case, in the format of an engine."""
    return made(name)[0] / WRITERS[kind][0]


def written(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


# The same question, the same answer


def test_runs_and_numbers_of_processes_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*options: object) -> str:
        text = run("place", *files(*CASES["flat"]), "--json", "--quiet", *options).stdout
        return re.sub(r'"seconds": [0-9.]+', "", text)

    first = said("--workers", 1)
    assert said("--workers", 1) == first
    monkeypatch.setattr("optimizer.mapping.layers.PARALLEL", 1)
    assert said("--workers", 2) == first


def test_the_format_of_the_loads_does_not_matter(tmp_path: Path) -> None:
    rows = np.load(saved("A")).tolist()
    text = "\n".join(",".join(map(str, row)) for row in rows)
    given = [saved("A"), written(tmp_path / "A.json", rows), written(tmp_path / "A.csv", text)]
    found = [placed(path, *FLAT) for path in given]
    assert [f["instance"] for f in found] == [found[0]["instance"]] * 3
    assert [f["rows"] for f in found] == [found[0]["rows"]] * 3


# What is in use


@pytest.mark.parametrize("kind", WRITERS)
def test_a_map_of_every_engine_is_judged_with_its_own_figures(kind: str) -> None:
    ranks = () if kind == "vllm-ascend" else ("--ranks", RANKS)
    found = placed("A", "--judge", engine_file("strict", kind), *ranks, "--effort", 50)
    judged, result = found["baseline"], made("strict")[1]
    assert (judged["judged"], judged["name"], judged["twice_on_a_rank"]) == (True, WRITERS[kind][0], 0)
    assert judged["max_over_mean"] == pytest.approx(result["max_over_mean"], rel=1e-12)
    assert found["setting"]["slots"] == SLOTS
    assert judged["gain_pct"] > 0
    assert judged["above_bound_pct"] == pytest.approx(100 * (result["max_over_mean"]["mean"] / found["bound_over_mean"]["mean"] - 1))


def test_a_map_with_an_expert_twice_on_a_rank_is_judged_and_said_to_be(tmp_path: Path) -> None:
    loads = written(tmp_path / "loads.json", [[600_000, 300_000, 300_000], [100_000, 100_000, 1_000_000]])
    path = written(tmp_path / "map.json", [[0, 0, 1, 2], [1, 0, 2, 2]])
    found = placed(loads, "--ranks", 2, "--judge", path)
    assert found["baseline"]["twice_on_a_rank"] == 2
    assert found["baseline"]["max_over_mean"] == pytest.approx({"mean": (1 + 10 / 6) / 2, "worst": 10 / 6})
    text = run("place", loads, "--ranks", 2, "--judge", path, "--quiet").stdout
    assert "2 of its slots hold an expert that their rank holds already" in text


def test_uniform_loads_leave_no_gain_to_expect() -> None:
    found = placed("U", "--ranks", 8, "--slots", 6)
    assert found["baseline"]["verdict"].startswith("no gain expected")
    assert (found["status"], found["proved"], found["max_over_mean"]["worst"]) == ("OPTIMAL", LAYERS, 1.0)
    assert "% less load" in made("flat")[1]["baseline"]["verdict"]


@pytest.mark.parametrize("loss", [100, 20, 5, 0])
def test_few_experts_are_loaded_for_a_loss_that_is_admitted(loss: int, tmp_path: Path) -> None:
    found = placed("A", "--ranks", RANKS, "--current", engine_file("flat B"), "--loss", loss, "--effort", 50, "--out", tmp_path / "o")
    moves, best = found["moves"], [r["max_over_mean"] for r in made("flat")[1]["rows"]]
    assert all(r["max_over_mean"] <= b * (1 + loss / 100) + 1e-8 for r, b in zip(found["rows"], best, strict=True))
    layers = json.loads((tmp_path / "o" / "certificate.json").read_text(encoding="utf-8"))["claim"]["layers"]
    loaded = [
        sum(len({*new} - {*old}) for new, old in zip(layer["placement"], before, strict=True))
        for layer, (_, before) in zip(layers, layers_of("flat B"), strict=True)
    ]
    assert [r["loaded"] for r in moves["rows"]] == loaded
    assert moves["loaded"] == sum(loaded) <= moves["instead_of"]
    assert all(r["at_least"] <= r["loaded"] for r in moves["rows"])
    assert (loss < 100) == (moves["loaded"] > 0)
    assert [v for layer in layers for v in layer["values"]] == [value(found, layer["placement"], layer["loads"][0]) for layer in layers]


def test_the_less_loss_is_admitted_the_more_experts_are_loaded() -> None:
    found = [
        placed("A", "--ranks", RANKS, "--current", engine_file("flat B"), "--loss", p, "--effort", 50)["moves"] for p in (40, 20, 5, 1)
    ]
    assert [m["loaded"] for m in found] == sorted(m["loaded"] for m in found)
    assert [m["at_least"] for m in found] == sorted(m["at_least"] for m in found)
    assert 0 < found[0]["loaded"] < found[-1]["loaded"] < found[-1]["instead_of"]


def test_moves_number_layers_as_the_other_rows_do() -> None:
    path = engine_file("numbered")
    numbers = ("--first-layer", 3, "--model-layers", 9)
    found = placed("A", "--ranks", RANKS, *numbers, "--current", path, "--loss", 5, "--effort", 1)
    assert [r["layer"] for r in found["moves"]["rows"]] == [r["layer"] for r in found["rows"]] == [3, 5]


def test_a_map_is_judged_beside_a_target_too(tmp_path: Path) -> None:
    path = written(tmp_path / "map.json", [[slot % EXPERTS for slot in range(72)][::-1]])
    alone, beside = (placed("A", "--ranks", RANKS, "--judge", path, "--effort", 1, *t)["baseline"] for t in ((), ("--target", 2)))
    assert beside["max_over_mean"] == alone["max_over_mean"]


# Slots, memory


def test_the_fewest_slots_that_reach_a_target_are_found_and_proved() -> None:
    found = placed("F", "--ranks", 4, "--target", "1.05")
    target, tried = found["target"], found["target"]["tried"]
    assert [t["slots"] for t in tried] == list(range(2, target["slots"] + 1))
    assert [t["verdict"] for t in tried] == ["proved out of reach"] * (len(tried) - 1) + ["reached"]
    assert target["proved_smallest"]
    assert found["setting"]["slots"] == target["slots"] == 3
    assert found["max_over_mean"]["mean"] <= 1.05 < tried[0]["bound_over_mean"]
    hot = max(Fraction(int(row.max()), int(row.sum())) for row in np.load(saved("F")) if row.any())
    assert hot > Fraction(105, 400), "more than 1.05 of the mean of 4 ranks, so that the expert needs a further slot"


def test_memory_that_does_not_hold_the_slots_is_a_proof_with_numbers(tmp_path: Path) -> None:
    size = ("--memory", "100 MB", "--expert-size", "10 MB")  # 2 layers of 8 slots: 160 MB
    args = ("place", *files("A", *FLAT), *size, "--quiet", "--out", tmp_path / "out")
    result = run(*args, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"]) == (3, "INFEASIBLE")
    assert found.keys() >= COMMON
    assert found["broken"] == [{"rule": "memory", "need": 160_000_000, "have": 100_000_000}]
    assert found["memory"]["most_slots"] == 5
    text = run(*args)
    assert text.exit_code == 3
    assert re.fullmatch(r"A: INFEASIBLE, memory: 8 slots [^\n]* 160,000,000 [^\n]* 100,000,000; 5 slots would fit\n", text.stdout)
    assert not (tmp_path / "out").exists()
    assert placed("A", *FLAT, "--memory", "160 MB", "--expert-size", "10 MB")["memory"]["most_slots"] == SLOTS


def test_a_target_that_memory_puts_out_of_reach_is_infeasible() -> None:
    size = ("--memory", "2 GB", "--expert-size", "1 GB")
    result = run("place", *files("F", "--ranks", 4, "--target", "1.05", *size), "--json", "--quiet")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (3, "INFEASIBLE")
    assert [t["verdict"] for t in json.loads(result.stdout)["target"]["tried"]] == ["proved out of reach", "memory"]


def test_a_target_that_was_not_reached_is_not_called_infeasible() -> None:
    size = ("--memory", "3 GB", "--expert-size", "1 GB")
    result = run("place", *files("F", "--ranks", 4, "--target", "1.0001", *size), "--json", "--quiet")
    assert "not reached" in [t["verdict"] for t in json.loads(result.stdout)["target"]["tried"]]
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (4, "UNKNOWN")


# Homes, workloads, instances


def test_a_front_falls_as_more_tokens_may_leave_their_homes() -> None:
    front = placed("S", *HOMES, "soft", "--front")["front"]
    budgets, away, values, bounds = zip(*(p.values() for p in front), strict=True)
    assert list(budgets) == sorted(set(budgets))
    assert away[0] == 0
    assert all(a <= b for a, b in zip(away, budgets, strict=True))
    assert all(1 <= b <= v for b, v in zip(bounds, values, strict=True))
    assert list(bounds) == sorted(bounds, reverse=True)
    assert all(after <= before * 1.001 for n, after in enumerate(values) for before in values[:n])
    assert values[0] > values[-1] * 1.1


def test_no_shares_of_a_budget_off_home_undercut_its_bound(tmp_path: Path) -> None:
    rows = ((1, 1, 1, 24, 12, 1), (6, 24, 2, 6, 24, 1))
    loads = written(tmp_path / "loads.json", [[120_000 * w for w in row] for row in rows])
    homes = ("--nodes", 2, "--hierarchy", "soft", "--off-home", 15)
    found = placed(loads, "--ranks", 4, "--slots", 2, *homes, "--effort", 1)
    given = [Layer(4, 2, 2, (row,), homes=(0, 0, 0, 1, 1, 1), off_home_ppm=ppm) for row, ppm in zip(rows, (300_000, 0), strict=True)]
    possible = sum(4 * (least(layer) or 0) / sum(layer.loads[0]) for layer in given) / 2  # of every placement, one by one
    assert found["bound_over_mean"]["mean"] <= float(possible) + 1e-6


@pytest.mark.parametrize("alone", ["flat", "flat B"])
def test_no_placement_for_one_workload_does_better_under_the_worst(alone: str) -> None:
    found = placed(*CASES["two"], "--judge", engine_file(alone))
    assert made("two")[1]["max_over_mean"]["mean"] == found["max_over_mean"]["mean"] < found["baseline"]["max_over_mean"]["mean"]
    assert any("worst workload" in a for a in found["assumptions"])


def test_the_weighted_mean_is_that_of_the_weights() -> None:
    found = made("three weighted")[1]
    each = [w["max_over_mean"]["mean"] for w in found["workloads"]]
    assert found["weighted"]["value"] == pytest.approx((3 * each[0] + 2 * each[1] + each[2]) / 6)
    assert 1 <= found["weighted"]["bound"] <= found["weighted"]["value"]
    assert "weighted" not in made("two")[1]


def test_weights_decide_for_whom_is_placed() -> None:
    given = {w: placed("F", "G", "--ranks", 4, "--slots", 3, "--weights", ",".join(map(str, w))) for w in ((5, 1), (1, 5))}
    each = {w: [x["max_over_mean"]["mean"] for x in found["workloads"]] for w, found in given.items()}
    assert each[5, 1] != each[1, 5]
    for w in given:
        assert all(np.dot(w, each[w]) <= np.dot(w, other) + 1e-9 for other in each.values())


def test_weights_decide_in_large_layers_too() -> None:
    found = placed("A", "B", *FLAT, "--weights", "1,1000000")
    assert found["workloads"][1]["max_over_mean"]["mean"] < made("flat B")[1]["max_over_mean"]["mean"] * 1.005


def test_an_instance_says_ranks_slots_and_loads_and_a_map_of_it_is_judged(tmp_path: Path) -> None:
    content = json.loads(MIXTRAL.read_text(encoding="utf-8"))
    content |= {"expert_load": {"counts": [[900, 100, 300, 200, 500, 400, 200, 100]], "source": "made up"}}
    plan = {"degrees": {"tp": 1, "dp": 8, "pp": 1, "ep": 4, "etp": 1}}
    path = written(tmp_path / "instance.json", content | {"reference": content["reference"] | plan})
    found = placed(path)
    assert found["setting"] == {"ranks": 4, "slots": 2, "nodes": 1, "dispatch": "equal"}
    assert found["instance"]["name"] == content["name"]
    assert found["layers"] == 32
    assert found["memory"]["have_bytes"] > found["memory"]["need_bytes"] > 0
    row = [0, 1, 2, 0, 3, 4, 0, 5, 6, 0, 4, 7]
    judged = placed(path, "--judge", written(tmp_path / "map.json", [row]))
    assert judged["setting"]["slots"] == 3
    assert judged["baseline"]["max_over_mean"]["mean"] == pytest.approx(4 * (225 + 400 + 200) / 2700)


# Real loads


def recorded(path: Path, rows: slice, name: str = "dsv3_sglang_prefill_in4096") -> Path:
    np.save(path / name, np.load(LOADS / f"{name}.npy")[rows])
    return path / f"{name}.npy"


@needs_loads
@pytest.mark.parametrize(("ranks", "slots", "gap"), [(32, 9, 0.1), (64, 5, 0.1), (144, 2, 1.0)])
def test_real_loads_are_placed_near_their_bound(ranks: int, slots: int, gap: float, tmp_path: Path) -> None:
    found = placed(recorded(tmp_path, EVERY_24TH), "--ranks", ranks, "--slots", slots)
    assert found["layers"] == 3
    assert found["gap_pct"]["worst"] <= gap


@needs_loads
def test_real_loads_stay_at_home_for_the_most_part(tmp_path: Path) -> None:
    homes = ("--nodes", 4, "--groups", 8, "--hierarchy", "soft", "--off-home", 10)
    found = placed(recorded(tmp_path, EVERY_24TH), "--ranks", 32, "--slots", 9, "--effort", 2, *homes)
    assert found["max_over_mean"]["mean"] <= 1.05
    assert found["off_home_pct"]["mean"] <= 10


@needs_loads
def test_one_placement_serves_all_recorded_workloads(tmp_path: Path) -> None:
    paths = [recorded(tmp_path, EVERY_24TH, path.stem) for path in sorted(LOADS.glob("dsv3_*.npy"))]
    assert len(paths) >= 5
    found = placed(*paths, "--ranks", 32, "--slots", 9)
    assert found["max_over_mean"]["worst"] <= 1.02
