"""`place` refuses what is wrong with a file or an option: exit 2, one sentence that names it and what to do, nothing written."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_cli import MIXTRAL, run
from test_place import CASES, FLAT, HOMES, files, made, saved
from test_reading import refused

from optimizer.mapping.map_files import WRITERS

OPTIONS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "no ranks": (("A", "--slots", 8), ("--ranks",)),
    "no slots": (("A", "--ranks", 8), ("--slots", "7", "52")),
    "slots too few": (("A", "--ranks", 8, "--slots", 6), ("--slots 6", "7", "52")),
    "slots too many": (("A", "--ranks", 8, "--slots", 53), ("--slots 53", "52")),
    "slots and ranks by the million": (("A", "--ranks", 65_536, "--slots", 52), ("--slots 52", "1,000,000")),
    "slots searched and given": ((*CASES["flat"], "--target", "1.05"), ("--slots 8", "--target")),
    "nodes of different sizes": ((*CASES["flat"], "--nodes", 3), ("--nodes 3", "8 ranks")),
    "nodes without ranks": ((*CASES["flat"], "--nodes", 16), ("--nodes 16", "8 ranks")),
    "groups that do not divide the experts": (("A", *HOMES, "soft", "--groups", 6), ("6 groups", "52 experts")),
    "groups on more nodes": (("A", *FLAT, "--nodes", 8, "--groups", 4, "--hierarchy", "soft"), ("4 groups", "8 nodes")),
    "homes on one node": (("A", *FLAT, "--hierarchy", "strict"), ("--hierarchy strict", "--nodes")),
    "hierarchy unknown": (("A", *HOMES, "maybe"), ("--hierarchy", "maybe", "strict")),
    "off home without homes": ((*CASES["flat"], "--off-home", 5), ("--off-home", "--hierarchy soft")),
    "off home under strict": (("A", *HOMES, "strict", "--off-home", 5), ("--off-home", "strict")),
    "off home negative": (("A", *HOMES, "soft", "--off-home", "-1"), ("--off-home", "-1")),
    "off home above all": (("A", *HOMES, "soft", "--off-home", "101"), ("--off-home", "101")),
    "off home nan": (("A", *HOMES, "soft", "--off-home", "nan"), ("--off-home", "nan")),
    "off home no number": (("A", *HOMES, "soft", "--off-home", "few"), ("--off-home", "few")),
    "dispatch unknown": ((*CASES["flat"], "--dispatch", "random"), ("--dispatch", "random", "nearest")),
    "dispatch with homes": (("A", *HOMES, "soft", "--dispatch", "nearest"), ("--dispatch nearest", "--hierarchy")),
    "replicas missing": ((*CASES["flat"], "--replicas", "no.npy"), ("no.npy",)),
    "replicas of other experts": ((*CASES["flat"], "--replicas", "F"), ("--replicas", "F.npy", "8 experts")),
    "replicas that do not fill": (("A", "--ranks", 8, "--slots", 9, "--replicas", "R"), ("R.npy", "64 replicas", "72 slots")),
    "replicas and homes": (("A", *HOMES, "soft", "--replicas", "R"), ("--replicas", "--hierarchy")),
    "replicas and target": (("A", "--ranks", 8, "--target", 2, "--replicas", "R"), ("--target", "--replicas")),
    "weights of two": ((*CASES["flat"], "--weights", "1,2"), ("--weights", "2 for 1")),
    "weights of one": ((*CASES["two"], "--weights", "1"), ("--weights", "1 for 2")),
    "weights no numbers": ((*CASES["two"], "--weights", "1,x"), ("--weights", "1,x")),
    "weights empty": ((*CASES["two"], "--weights", ""), ("--weights",)),
    "weights 0": ((*CASES["two"], "--weights", "0,1"), ("--weights", "1,000,000")),
    "weights negative": ((*CASES["two"], "--weights=-1,1"), ("--weights", "-1,1")),
    "weights huge": ((*CASES["two"], "--weights", "1,1000001"), ("--weights", "1,000,000")),
    "memory no size": ((*CASES["flat"], "--expert-size", 1, "--memory", "lots"), ("--memory", "lots")),
    "memory 0": ((*CASES["flat"], "--expert-size", 1, "--memory", "0"), ("--memory", "0")),
    "memory negative": ((*CASES["flat"], "--expert-size", 1, "--memory", "-5 GB"), ("--memory", "-5 GB")),
    "memory in another unit": ((*CASES["flat"], "--expert-size", 1, "--memory", "20 GB/s"), ("--memory", "20 GB/s")),
    "memory alone": ((*CASES["flat"], "--memory", "20 GB"), ("--memory", "--expert-size")),
    "expert size alone": ((*CASES["flat"], "--expert-size", "20 MB"), ("--memory", "--expert-size")),
    "expert size no size": ((*CASES["flat"], "--memory", 1, "--expert-size", "nan GB"), ("--expert-size", "nan")),
    "current missing": ((*CASES["flat"], "--current", "no.json"), ("no.json",)),
    "current no map": ((*CASES["flat"], "--current", MIXTRAL), (MIXTRAL.name,)),
    "current no json": ((*CASES["flat"], "--current", "A"), ("A.npy",)),
    "current and judge": ((*CASES["flat"], "--current", "a.json", "--judge", "b.json"), ("--current", "--judge")),
    "loss alone": ((*CASES["flat"], "--loss", 5), ("--loss", "--current")),
    "loss beside judge": ((*CASES["flat"], "--loss", 5, "--judge", "a.json"), ("--loss", "--current")),
    "loss negative": ((*CASES["flat"], "--current", "a.json", "--loss", "-1"), ("--loss", "-1")),
    "loss no number": ((*CASES["flat"], "--current", "a.json", "--loss", "none"), ("--loss", "none")),
    "target below the mean": (("A", "--ranks", 8, "--target", "0.99"), ("--target", "0.99")),
    "target nan": (("A", "--ranks", 8, "--target", "nan"), ("--target", "nan")),
    "target huge": (("A", "--ranks", 8, "--target", "1e9999999999"), ("--target", "1e9999999999")),
    "target no number": (("A", "--ranks", 8, "--target", "good"), ("--target", "good")),
    "front without homes": ((*CASES["flat"], "--front"), ("--front", "--hierarchy soft")),
    "front of strict homes": (("A", *HOMES, "strict", "--front"), ("--front", "--hierarchy soft")),
    "fewer layers than rows": ((*CASES["flat"], "--model-layers", 2), ("--model-layers 2", "3")),
    "fewer layers than numbers": ((*CASES["flat"], "--first-layer", 7, "--model-layers", 9), ("--model-layers 9", "10")),
    "loads missing": (("no.npy", *FLAT), ("no.npy",)),
    "loads of two models": (("A", "F", *FLAT), ("A.npy", "F.npy", "8 experts")),
    "an instance among loads": (("A", MIXTRAL, *FLAT), (MIXTRAL.name, "alone")),
    "an instance without loads": ((MIXTRAL, *FLAT), (MIXTRAL.name, "expert_load")),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_option_is_named_with_a_remedy(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    args, naming = OPTIONS[name]
    refused("place", *files(*args), "--out", "out", "--certificate", "proof.json", naming=naming)
    assert list(tmp_path.iterdir()) == []


NUMBERS = ("ranks", "slots", "nodes", "groups", "model-layers", "effort", "workers")


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "99999999999999999999", "nan", ""])
@pytest.mark.parametrize("option", NUMBERS)
def test_an_option_that_is_no_number_within_its_limits_is_named(option: str, value: str, tmp_path: Path) -> None:
    result = run("place", *files(*CASES["flat"]), f"--{option}={value}", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"(Usage:[^\n]*\n[^\n]*\n\n)?Error: [^\n]+\n", result.stderr)
    assert f"--{option}" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--rank=8", "--first-layer=-1", "--first-layer=99999", "--seconds=-1", "--seconds=soon", "--seed=-1"])
def test_an_option_that_there_is_not_or_that_is_negative_is_named(option: str) -> None:
    result = run("place", *files(*CASES["flat"]), option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert option.partition("=")[0] in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[[]]", "[[1, -1]]", "[[1, 2], [3]]", "[[0, 0]]", '[["1", "x"]]', "[[1.5, 2]]", "[[NaN, 1]]", "[[1e300]]"]
)
def test_loads_that_are_no_counts_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "loads.json").write_text(text, encoding="utf-8")
    refused("place", tmp_path / "loads.json", "--ranks", 2, "--slots", 1, "--out", tmp_path / "out", naming=("loads.json",))
    assert not (tmp_path / "out").exists()


def test_loads_in_a_pickle_or_below_zero_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    np.save(tmp_path / "negative.npy", -np.ones((2, 2)))
    (tmp_path / "loads.pt").write_bytes(b"\x80\x04.")
    for name in ("objects.npy", "negative.npy", "loads.pt"):
        refused("place", tmp_path / name, "--ranks", 2, "--slots", 1, naming=(name,))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[0, 1, 2, 3]], ("map.json",)),  # 8 ranks of no whole number of slots
        ([[e % 51 for e in range(64)]], ("map.json", "expert 51")),
        ([[e % 53 for e in range(64)]], ("map.json", "expert 52")),
        ([[e % 52 for e in range(72)]], ("map.json", "--slots 8", "9")),
        ([[e % 52 for e in range(64)]] * 2, ("map.json", "layer 2")),
        ([[0.5] * 64], ("map.json", "0.5")),
        ({"physical_to_logical_map": []}, ("map.json", "physical_to_logical_map")),
        ({"layer_list": [], "model_maps": {}}, ("map.json", "layer_list", "model_maps")),
    ],
)
def test_a_map_of_something_else_is_not_judged(rows: object, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps(rows), encoding="utf-8")
    for option in ("--judge", "--current"):
        refused("place", *files(*CASES["flat"]), option, tmp_path / "map.json", "--out", tmp_path / "out", naming=words)
    assert not (tmp_path / "out").exists()


def test_a_map_for_other_ranks_is_not_judged() -> None:
    path = made("flat")[0] / WRITERS["vllm-ascend"][0]
    refused("place", saved("A"), "--ranks", 4, "--judge", path, naming=(path.name, "8 ranks"))


@pytest.mark.parametrize("rules", [("B",), ("--nodes", 2, "--hierarchy", "soft"), ("--dispatch", "nearest"), ("--replicas", "R")])
def test_little_movement_is_for_plain_placements_of_one_workload(rules: tuple[object, ...]) -> None:
    current = ("--current", made("flat")[0] / WRITERS["vllm"][0], "--loss", 5)
    refused("place", *files("A", *rules, *FLAT), *current, naming=("--loss", "remove"))


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x", encoding="utf-8")
    (tmp_path / "proof.json").write_text("precious", encoding="utf-8")
    refused("place", *files(*CASES["flat"]), "--out", tmp_path / "out", naming=("out", "--force"))
    refused("place", *files(*CASES["flat"]), "--certificate", tmp_path / "proof.json", naming=("proof.json",))
    refused("place", *files(*CASES["flat"]), "--certificate", tmp_path / "no" / "proof.json", naming=("no",))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["precious"]
    assert (tmp_path / "proof.json").read_text(encoding="utf-8") == "precious"


def test_more_slots_than_a_nodes_experts_are_filled_or_refused_but_never_a_crash() -> None:
    for homes in (("strict",), ("soft",), ("soft", "--off-home", 1)):
        args = files("F", "--ranks", 4, "--slots", 6, "--nodes", 2, "--effort", 1, "--hierarchy", *homes)
        assert run("place", *args, "--quiet").exit_code in (0, 2, 3)
