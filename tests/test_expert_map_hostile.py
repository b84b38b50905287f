"""Hostile files about expert maps: none takes long, and none ends in anything but a refusal."""

import json
from time import perf_counter
from typing import Any

import pytest
from map_certificates import BILLION, document, fact, layer, refusal, setting, text

from models.arguments import Budget
from models.expert_map import MapLayer, Setting, examine
from models.packing import Refused

Json = Any
BIG = 10**60 - 1


def chain(depth: int, leaf: Json, most: int = BIG) -> Json:
    for _ in range(depth):
        leaf = {"kind": "counts", "expert": 0, "most": most, "fewer": leaf, "more": {"kind": "steps", "base": 0, "steps": []}}
    return leaf


def stairs(count: int) -> Json:
    return {"kind": "steps", "base": 0, "steps": [[n, 1] for n in range(count)]}


EMPTY: Json = {"kind": "steps", "base": 0, "steps": []}
TWO = [[0, 1], [0, 2]]
WIDE = 65_536


def two(argument: Json, load: int = 3, least: int = 10, **more: Any) -> Json:
    return document(setting(2, 2, nodes=2), layer([[load, load, 1]], TWO, [1], [1], facts=fact(least, argument), **more))


def huge(argument: Json, ranks: int = 2, slots: int = 1) -> Json:
    experts = list(range(ranks * slots))
    placement = [experts[r * slots : (r + 1) * slots] for r in range(ranks)]
    return document(setting(ranks, slots), layer([[BIG for _ in experts]], placement, [1], [1], facts=fact(BIG, argument)))


def path_of_ranks(ranks: int) -> Json:
    loads = [ranks + 1 - e for e in range(ranks + 1)]
    return document(setting(ranks, 2, dispatch="free"), layer([loads], [[r, r + 1] for r in range(ranks)], [1], [1]))


HOSTILE: dict[str, tuple[Json, str]] = {
    "100000 thresholds, three slots": (
        document(setting(2, 3), layer([[1] * 5], [[0, 1, 2], [2, 3, 4]], [1], [1], facts=fact(10**6, stairs(100_000)))),
        "table steps",
    ),
    "four slots": (
        document(setting(2, 4), layer([[1] * 5], [[0, 1, 2, 3], [1, 2, 3, 4]], [1], [1], facts=fact(10**6, stairs(20)))),
        "3 slots",
    ),
    "41 decisions": (two(chain(41, EMPTY)), "level 40"),
    "2000 decisions": (
        text(two("here")).replace('"here"', '{"kind":"counts","expert":0,"most":1,"more":{},"fewer":' * 2000 + "1" + "}" * 2000),
        "levels of nesting",
    ),
    "decisions on very many ranks": (
        document(setting(WIDE, 1), layer([[1, 0]], [[0]] * (WIDE - 1) + [[1]], [1], [1], facts=fact(1, chain(40, stairs(1))) * 20)),
        "value",
    ),
    "prices of loads of 60 digits": (huge({"kind": "prices", "values": [[1], [1]], "caps": [0]}), "60 digits"),
    "a branch of loads of 60 digits": (huge({"kind": "branch", "nodes": [[[0, 1]]]}), "60 digits"),
    "steps of 60 digits": (two({"kind": "steps", "base": -BIG, "steps": [[0, BIG], [BIG, BIG]]}, BIG, BIG), "value"),
    "nodes of 60 digits": (
        two({"kind": "nodes", "load": [BIG, BIG], "slots": [BIG, -BIG], "off_home": BIG}, BIG, BIG, homes=[0, 0, 1], off_home_ppm=1),
        "off home",
    ),
    "nodes of 60 digits that hold nothing": (
        two({"kind": "nodes", "load": [BIG, BIG], "slots": [BIG, BIG], "off_home": 0}, BIG, BIG, homes=[0, 0, 1]),
        "value",
    ),
    "far more slots than the placement has": (document(setting(WIDE, 4096), layer([[1]], [[0]], [1], [1])), "ranks of"),
    "too many ranks": (document(setting(WIDE * 2, 1), layer([[1]], [[0]], [1], [1])), "65536"),
    "a fixed number of 60 digits": (document(setting(2, 2), layer([[1, 1, 1]], TWO, [1], [1], fixed=[BIG, 0, 0])), "replicas"),
    "a node for each of many ranks": (
        document(setting(WIDE, 1, nodes=WIDE, dispatch="nearest"), layer([[1] * 4096], [[r % 4096] for r in range(WIDE)], [1], [1])),
        "value",
    ),
    "one expert on very many ranks": (
        document(setting(WIDE, 1, nodes=WIDE, dispatch="nearest"), layer([[1]], [[0]] * WIDE, [1], [1])),
        "value",
    ),
    "a free split that moves load over many ranks": (path_of_ranks(500), "value"),
    "a free split over too many ranks": (
        document(
            setting(16_384, 2, dispatch="free"),
            layer([[1] * 4096], [[r % 4096, (r + 1) % 4096] for r in range(16_384)], [1], [1]),
        ),
        "table steps",
    ),
    "1001 workloads": (document(setting(1, 1), layer([[1]] * 1001, [[0]], [BILLION] * 1001, [0] * 1001)), "1000"),
    "2001 layers": (document(setting(1, 1), *[layer([[1]], [[0]], [BILLION], [0])] * 2001), "2000"),
    "4097 experts": (document(setting(1, 1), layer([[1] * 4097], [[0]], [1], [1])), "4096"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_soon(name: str) -> None:
    content, said = HOSTILE[name]
    start = perf_counter()
    refused = refusal(content)
    assert refused is not None
    assert said in refused[1], refused
    assert perf_counter() - start < 5


def test_the_work_of_closed_forms_counts() -> None:
    """Rows of one huge load and zeros are bisected over all its digits."""
    record = MapLayer.model_validate_json(json.dumps(layer([[BIG] + [0] * 99] * 9, [list(range(100))] * 2, [1] * 9, [0] * 9)))
    values = (BILLION,) * 9
    for steps, reason in ((3_000, "table steps"), (10**6, None)):
        try:
            examine(Setting(ranks=2, slots=100), record.model_copy(update={"values": values}), Budget(steps), "layer")
            found = None
        except Refused as refused:
            found = refused.reason
        assert found is None if reason is None else reason in str(found)
