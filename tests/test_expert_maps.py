"""Expert maps: what a writer writes, the reader reads back; what no engine could load is refused in one helpful sentence."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loads import checked

from models.errors import InputError
from models.strategy import RankContents
from optimizer.mapping.map_files import WRITERS
from optimizer.mapping.maps import BY_MOE_LAYER, EngineMap, contents_of, ranks_of, read_map

Layers = Mapping[int, RankContents]

PLACED: Layers = {1: ((0, 3), (1, 2), (0, 1)), 3: ((2, 1), (3, 0), (2, 3))}
EXPERTS, TOTAL = 4, 5


def write(folder: Path, kind: str, layers: Layers = PLACED, experts: int = EXPERTS, total: int = TOTAL) -> Path:
    name, writer = WRITERS[kind]
    path = folder / name
    path.write_text(writer(layers, experts, total), encoding="utf-8")
    return path


@st.composite
def placements(draw: st.DrawFn) -> tuple[dict[int, RankContents], int, int]:
    """(layers, experts, layers of the model): every expert somewhere, none twice on a rank."""
    experts, ranks, total = draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    slots = draw(st.integers(-(-experts // ranks), experts))
    layers = {}
    for layer in draw(st.sets(st.integers(0, total - 1), min_size=1)):
        order = draw(st.permutations(range(experts)))
        layers[layer] = tuple(tuple(order[(r * slots + s) % experts] for s in range(slots)) for r in range(ranks))
    return layers, experts, total


@pytest.mark.parametrize("kind", WRITERS)
@given(made=placements())
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read_back(kind: str, made: tuple[dict[int, RankContents], int, int]) -> None:
    layers, experts, total = made
    ranks = len(next(iter(layers.values())))
    with tempfile.TemporaryDirectory() as folder:
        found = read_map(write(Path(folder), kind, layers, experts, total))
    assert found.kind == kind
    assert found.ranks == (ranks if kind == "vllm-ascend" else None)
    for position, layer in enumerate(sorted(layers)):
        assert ranks_of(found.layers[position if kind in BY_MOE_LAYER else layer], ranks) == layers[layer]
    assert contents_of(found, sorted(layers), experts, ranks) == layers


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_layers_without_experts_get_the_experts_in_turn(kind: str, tmp_path: Path) -> None:
    found = read_map(write(tmp_path, kind))
    assert [found.layers[n] for n in (0, 2, 4)] == [(0, 1, 2, 3, 0, 1)] * 3
    assert sorted(found.layers) == list(range(TOTAL))


def test_each_file_is_what_the_engine_parses(tmp_path: Path) -> None:
    """Read with the engines' own parsers, by key."""
    sglang = json.loads(write(tmp_path, "sglang").read_text())
    assert sglang == {"physical_to_logical_map": json.loads(write(tmp_path, "vllm").read_text())}
    assert sglang["physical_to_logical_map"][3] == [2, 1, 3, 0, 2, 3]
    assert yaml.safe_load(write(tmp_path, "trtllm").read_text()) == {
        "initial_global_assignments": {1: [0, 3, 1, 2, 0, 1], 3: [2, 1, 3, 0, 2, 3]},
        "num_slots": 6,
        "layer_updates_per_iter": 0,
    }
    ascend = json.loads(write(tmp_path, "vllm-ascend").read_text())
    assert ascend["moe_layer_count"] == len(ascend["layer_list"]) == 2
    assert [layer["device_count"] for layer in ascend["layer_list"]] == [3, 3]
    assert ascend["layer_list"][1]["device_list"][0] == {"device_id": 0, "device_expert": [2, 1]}


@pytest.mark.parametrize("kind", WRITERS)
def test_numbers_of_arrays_become_plain_and_the_order_of_layers_does_not_matter(kind: str) -> None:
    writer = WRITERS[kind][1]
    arrays = {n: tuple(tuple(np.array(held)) for held in PLACED[n]) for n in reversed(PLACED)}
    assert writer(arrays, EXPERTS, TOTAL) == writer(PLACED, EXPERTS, TOTAL)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({}, "no layer"),
        ({5: PLACED[1]}, "layer 5"),
        ({-1: PLACED[1]}, "layer -1"),
        ({1: ((0, 1), (2,), (3,))}, "equally many"),
        ({1: PLACED[1], 3: ((0, 1), (2, 3))}, "layer 3"),
        ({1: PLACED[1], 3: ((0,), (1,), (2,))}, "layer 3"),
        ({1: ((0, 1), (2, 2))}, "expert 3"),
        ({1: ((0, 1), (2, 3), (4, 0))}, "expert 4"),
        ({1: ()}, "expert 0"),
    ],
)
def test_what_no_engine_can_load_is_not_written(kind: str, layers: Layers, said: str) -> None:
    with pytest.raises(InputError) as error:
        WRITERS[kind][1](layers, EXPERTS, TOTAL)
    checked(str(error.value), said)


def test_an_expert_twice_on_a_device_is_not_written_for_ascend() -> None:
    twice = {1: ((0, 0), (1, 2), (3, 1))}
    assert WRITERS["sglang"][1](twice, EXPERTS, TOTAL)
    with pytest.raises(InputError) as error:
        WRITERS["vllm-ascend"][1](twice, EXPERTS, TOTAL)
    checked(str(error.value), "layer 1", "rank 0", "twice")


# Reading


def plugin(**models: Any) -> dict[str, Any]:
    return {"version": 2, "format": "vllm_offline_eplb_physical_to_logical_by_model", "model_maps": models}


def ascend(*layers: list[list[int]], **changes: Any) -> dict[str, Any]:
    """vllm-ascend's object; `changes` replaces fields of the object, or, by number as `layer_0`, of a layer."""
    listed = [
        {"layer_id": n, "device_count": len(devices)}
        | {"device_list": [{"device_id": d, "device_expert": held} for d, held in enumerate(devices)]}
        | changes.pop(f"layer_{n}", {})
        for n, devices in enumerate(layers)
    ]
    return {"moe_layer_count": len(listed), "layer_list": listed} | changes


@pytest.mark.parametrize(
    ("content", "kind", "layers"),
    [
        ([[2, 0, 1], [1, 0, 2]], "vllm", {0: (2, 0, 1), 1: (1, 0, 2)}),
        ([2, 0, 1], "vllm", {0: (2, 0, 1)}),
        ([[2, 0, 1]], "vllm", {0: (2, 0, 1)}),
        (plugin(M={"physical_to_logical_map": [[0, 1]], "num_logical_experts": 2}), "vllm-plugin", {0: (0, 1)}),
        ({"version": 1, "format": "vllm_offline_eplb_physical_to_logical", "physical_to_logical_map": [[1]]}, "vllm-plugin", {0: (1,)}),
        ({"physical_to_logical_map": [[0, 1]], "note": "x"}, "sglang", {0: (0, 1)}),
        ({"initial_global_assignments": {"7": [1, 0], "3": [0, 1]}}, "trtllm", {3: (0, 1), 7: (1, 0)}),
    ],
)
def test_the_kind_is_told_by_content(content: Any, kind: str, layers: dict[int, tuple[int, ...]], tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_map(path) == EngineMap(kind, layers, None)


def test_a_yaml_of_the_engine_is_read_in_either_style(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    content = {"num_slots": 2, "initial_global_assignments": {3: [0, 1], 12: [1, 0]}, "layer_updates_per_iter": 2}
    for flow in (True, False, None):
        path.write_text(yaml.dump(content, default_flow_style=flow), encoding="utf-8")
        assert read_map(path) == EngineMap("trtllm", {3: (0, 1), 12: (1, 0)}, None)


WRONG: dict[str, tuple[object, str]] = {
    "nothing": (b"", "JSON"),
    "a number": (5, "no expert map"),
    "an empty list": ([], "list of experts"),
    "an object": ({}, "no expert map"),
    "loads": ({"logical_count": [[1, 2]]}, "token counts"),
    "two maps": ({"physical_to_logical_map": [[0]], "layer_list": []}, "physical_to_logical_map and layer_list"),
    "rows and numbers": ([[0, 1], 2], "layer 1"),
    "an empty row": ([[], []], "layer 0"),
    "ragged rows": ([[0, 1], [0]], "layer 1 has 1"),
    "a negative expert": ({"physical_to_logical_map": [[0, 1], [0, -1]]}, "layer 1, slot 1: -1"),
    "an expert out of range": ([[0, 4096]], "4096"),
    "a fraction": ([[0, 1.0]], "1.0"),
    "a truth": ([[0, True]], "true"),
    "a text": ([[0, "1"]], '"1"'),
    "null": ([[0, None]], "null"),
    "NaN": (b"[[0, NaN]]", "NaN"),
    "100 digits": (b"[[0, " + b"9" * 100 + b"]]", "999"),
    "a row of rows": ([[[0]]], "a list"),
    "a map that is none": ({"physical_to_logical_map": {"0": [1]}}, "an object"),
    "a key twice": (b'{"physical_to_logical_map": [[0]], "physical_to_logical_map": [[0]]}', "twice"),
    "deep": (b"[" * 10_000 + b"]" * 10_000, "nested"),
    "long": (b"[" + b"[0]," * 2_000_000 + b"[0]]", "bytes"),
    "1001 layers": ([[0]] * 1001, "1000"),
    "no model": (plugin(), "none"),
    "two models": (plugin(A={}, B={}), '"A", "B"'),
    "models that are none": (plugin() | {"model_maps": [1]}, "a list"),
    "a model without a map": (plugin(A={"expert_map": [[0]]}), "A.physical_to_logical_map"),
    "a model that is none": (plugin(A=5), "A.physical_to_logical_map"),
    "no assignments": ({"initial_global_assignments": {}, "num_slots": 2}, "each layer"),
    "assignments in a list": ({"initial_global_assignments": [[0]]}, "a list"),
    "a layer that is none": ({"initial_global_assignments": {"a": [0]}}, '"a"'),
    "a layer -1": ({"initial_global_assignments": {"-1": [0]}}, '"-1"'),
    "a layer 03": ({"initial_global_assignments": {"03": [0]}}, '"03"'),
    "a layer 1000": ({"initial_global_assignments": {"1000": [0]}}, '"1000"'),
    "other slots": ({"initial_global_assignments": {"3": [0, 1]}, "num_slots": 3}, "num_slots: is 3"),
    "slots of true": ({"initial_global_assignments": {"3": [0]}, "num_slots": True}, "num_slots: is true"),
    "ragged assignments": ({"initial_global_assignments": {"3": [0, 1], "4": [0]}}, "layer 4 has 1"),
    "no layer list": (ascend(layer_list=[]), "layer_list"),
    "a layer list of numbers": (ascend(layer_list=[1]), "layer_list.0"),
    "a missing layer": (ascend([[0]], [[0]], layer_1={"layer_id": 2}), "layer_list.1: layer_id is 2"),
    "another count of layers": (ascend([[0]], moe_layer_count=2), "moe_layer_count: is 2"),
    "another count of devices": (ascend([[0], [1]], layer_0={"device_count": 3}), "device_count 3"),
    "fewer devices": (ascend([[0], [1]], [[0]]), "layer_list.1"),
    "devices out of order": (ascend([[0]], layer_0={"device_list": [{"device_id": 1, "device_expert": [0]}]}), "device_id is 1"),
    "no devices": (ascend([[0]], layer_0={"device_list": None}), "device_list"),
    "a device without experts": (ascend([[0]], layer_0={"device_list": [{"device_id": 0}]}), "device_expert"),
    "ragged devices": (ascend([[0], [1, 2]]), "device 1 has 2"),
    "ragged layers": (ascend([[0], [1]], [[0, 1], [1, 0]]), "layer 1 has 4"),
    "an expert twice on a device": (ascend([[0, 0], [1, 2]]), "twice"),
    "a negative expert on a device": (ascend([[0, -5], [1, 2]]), "-5"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_holds_no_map_is_refused_with_a_remedy(name: str, tmp_path: Path) -> None:
    content, said = WRONG[name]
    path = tmp_path / "hostile.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError) as error:
        read_map(path)
    checked(str(error.value), "hostile.json", said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("initial_global_assignments: !!python/object/apply:os.abort []", "tag"),
        ("initial_global_assignments: {3: &a [0], 4: *a}", "alias"),
        ("initial_global_assignments: {3: [0], 3: [0]}", "twice"),
        ("initial_global_assignments: {3: [0x1]}", '"0x1"'),
        ("initial_global_assignments: {3: [0}", "line 1"),
        ("[" * 10_000, "nested"),
        ("", "no expert map"),
    ],
)
def test_yaml_is_read_safely(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_map(path)
    checked(str(error.value), "hostile.yaml", said)


@pytest.mark.parametrize("name", ["missing.json", "folder.json", "map.pt", "map.npy", "x" * 300 + ".json"])
def test_what_is_no_file_of_maps_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError) as error:
        read_map(tmp_path / name)
    checked(str(error.value), name)


# A map and a model


@pytest.mark.parametrize(("row", "ranks"), [((0, 1, 2), 2), ((0, 1), 0), ((0, 1), -1), ((0, 1), 4)])
def test_slots_that_do_not_divide_are_refused(row: tuple[int, ...], ranks: int) -> None:
    with pytest.raises(InputError) as error:
        ranks_of(row, ranks)
    checked(str(error.value), str(ranks))


def test_a_shared_row_holds_for_every_layer_and_a_plugin_takes_the_last() -> None:
    assert contents_of(EngineMap("vllm", {0: (1, 0)}, None), [3, 5], 2, 2) == {3: ((1,), (0,)), 5: ((1,), (0,))}
    rows = {0: (0, 1), 1: (1, 0), 2: (0, 1)}
    assert contents_of(EngineMap("vllm-plugin", rows, None), [3, 5], 2, 2) == {3: ((1,), (0,)), 5: ((0,), (1,))}
    assert contents_of(EngineMap("vllm-ascend", rows, 2), [3, 5], 2, 2) == {3: ((0,), (1,)), 5: ((1,), (0,))}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (EngineMap("sglang", {0: (0, 1), 1: (0, 1)}, None), "no layer 3"),
        (EngineMap("trtllm", {3: (0, 1), 6: (0, 1)}, None), "no layer 5"),
        (EngineMap("vllm-ascend", {0: (0, 1)}, 2), "1 MoE layers"),
        (EngineMap("vllm-plugin", {0: (0, 1)}, None), "1 MoE layers"),
        (EngineMap("vllm-ascend", {0: (0, 1), 1: (0, 1)}, 1), "1 ranks"),
        (EngineMap("trtllm", {3: (0, 1), 5: (0, 0)}, None), "layer 5: expert 1 has no slot"),
        (EngineMap("trtllm", {3: (0, 1, 2, 1), 5: (0, 1, 0, 1)}, None), "layer 3: expert 2 is not"),
        (EngineMap("trtllm", {3: (0, 1, 1), 5: (0, 1, 1)}, None), "3 slots"),
    ],
)
def test_a_map_of_another_model_is_refused(found: EngineMap, said: str) -> None:
    with pytest.raises(InputError) as error:
        contents_of(found, [3, 5], 2, 2)
    checked(str(error.value), said)
