"""Valid certificates of kind expert_map, as plain JSON: one for every kind of bound."""

import json
from typing import Any

from models.certificate import NotACertificate
from optimizer.check import check

Json = Any
G, BILLION = 720_720, 10**9
STEPS: Json = {
    "kind": "steps",
    "base": 444444,
    "steps": [[720628, 222223], [960868, 166666], [1141048, 166667], [1261260, 166667], [1441440, 166666], [1681680, 222223]],
}
COUNTS: Json = {
    "kind": "counts",
    "expert": 2,
    "most": 1,
    "fewer": {"kind": "steps", "base": 0, "steps": [[1076901, 666667], [2518341, 333333], [3603600, 333333], [5045040, 666667]]},
    "more": {"kind": "steps", "base": 666667, "steps": [[2518341, 333333], [3603600, 333333]]},
}
NODES: Json = {"kind": "nodes", "load": [0, 10000000], "slots": [0, 0], "off_home": 10000000}
PRICES: Json = {"kind": "prices", "values": [[2], [2], [2], [1], [1], [1]], "caps": [4]}


def setting(ranks: int, slots: int, **more: Any) -> Json:
    return {"ranks": ranks, "slots": slots, **more}


def layer(loads: list[list[int]], placement: list[list[int]], values: list[int], bounds: list[int], **more: Any) -> Json:
    return {"layer": 7, "loads": loads, "placement": placement, "values": values, "bounds": bounds, **more}


def fact(least: int, argument: Json, workload: int = 0) -> list[Json]:
    return [{"workload": workload, "least": least, "argument": argument}]


def document(setting: Json, *layers: Json) -> Json:
    head = {"format": "shardproof-certificate/1", "cost_model": "shardproof-cost/2", "instance_sha256": None, "instance": None}
    return head | {"claim": {"kind": "expert_map", "setting": setting, "layers": list(layers)}, "facts": [], "provenance": {}}


PAIRED = layer([[6, 4, 2, 5, 7]], [[0, 2], [3, 4], [1, 4]], [1062500000], [1061775204], facts=fact(6121941, COUNTS))
VALID: dict[str, Json] = {
    "mean": document(setting(2, 2), layer([[6, 3, 3]], [[0, 1], [0, 2]], [BILLION], [BILLION])),
    "workloads": document(
        setting(2, 2, nodes=1, dispatch="equal"),
        layer([[6, 3, 3], [3, 6, 3]], [[0, 1], [0, 2]], [BILLION, 1_250_000_000], [BILLION, BILLION]),
        layer([[1, 1, 9]], [[2, 0], [1, 2]], [BILLION], [BILLION]),
    ),
    "replicas": document(setting(3, 1), layer([[9, 2]], [[0], [1], [0]], [1_227_272_728], [1_227_272_728])),
    "full": document(setting(2, 2), layer([[5, 5, 5, 1]], [[0, 3], [1, 2]], [1_250_000_000], [1_250_000_000])),
    "given": document(setting(3, 2), layer([[6, 6, 4, 1]], [[0, 1], [0, 1], [2, 3]], [1_058_823_530], [1_058_823_530], fixed=[2, 2, 1, 1])),
    "homes": document(
        setting(2, 2, nodes=2),
        layer([[7, 4, 0]], [[0, 2], [1, 2]], [1_272_727_273], [1_272_727_273], homes=[0, 1, 1], off_home_ppm=0),
    ),
    "steps": document(
        setting(4, 2),
        layer([[4, 2, 7]], [[0, 2], [0, 1], [0, 2], [0, 2]], [1025641026], [1025601749], facts=fact(2402308, STEPS)),
    ),
    "one of two": document(
        setting(4, 2),
        layer(
            [[4, 2, 7], [4, 1, 3]],
            [[0, 2], [0, 1], [0, 2], [0, 2]],
            [1025641026, BILLION],
            [1025601749, BILLION],
            facts=fact(2402308, STEPS),
        ),
    ),
    "off home": document(
        setting(2, 2, nodes=2),
        layer(
            [[2, 6, 2], [4, 2, 4]],
            [[0, 1], [2, 0]],
            [1_400_000_000, 1_200_000_000],
            [BILLION, BILLION],
            homes=[0, 0, 1],
            off_home_ppm=200_000,
        ),
    ),
    "counts": document(setting(3, 2), PAIRED),
    "nodes": document(
        setting(4, 3, nodes=2),
        layer(
            [[12, 6, 4, 3, 2]],
            [[1, 2, 3], [1, 2, 4], [0, 2, 4], [0, 2, 4]],
            [1135802470],
            [1133333334],
            homes=[1, 0, 1, 0, 1],
            off_home_ppm=100000,
            facts=fact(5513508, NODES),
        ),
    ),
    "prices": document(
        setting(2, 3),
        layer([[5, 5, 5, 3, 3, 3]], [[0, 1, 3], [2, 4, 5]], [1_083_333_334], [1_083_333_334], facts=fact(13 * G, PRICES)),
    ),
    "nearest": document(setting(4, 1, nodes=2, dispatch="nearest"), layer([[6, 2]], [[0], [1], [0], [0]], [1_500_000_000], [BILLION])),
    "free": document(setting(3, 2, dispatch="free"), layer([[6, 3, 3, 1]], [[0, 1], [0, 2], [0, 3]], [BILLION], [BILLION])),
}
"""every one is accepted"""


def text(content: Json) -> str:
    return json.dumps(content)


def refusal(content: Json) -> tuple[str, str] | None:
    """Where and why a file is refused; None where it is accepted."""
    try:
        found = check(content if isinstance(content, str) else text(content))
    except NotACertificate as error:
        return "not a certificate", str(error)
    return None if found.valid else (found.where or "", found.reason or "")
