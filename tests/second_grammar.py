"""The grammar of certificates as the second checker reads it, from docs/certificate.md alone."""

import json
from types import FunctionType
from typing import Any

from models.strategy import DEGREES, ORDERS

Json = Any


class No(Exception):
    """Why the claim is not proved."""


def need(condition: object, reason: str) -> None:
    if not condition:
        raise No(reason)


def read(text: str) -> Json:
    """A certificate as plain JSON: whole numbers only, every name once, the names and kinds of the grammar."""

    def once(pairs: list[tuple[str, Json]]) -> Json:
        need(len(dict(pairs)) == len(pairs), "a name twice")
        return dict(pairs)

    def whole(digits: str) -> int:
        need(len(digits.lstrip("-")) <= 60, "an integer of more than 60 digits")
        return int(digits)

    def never(_: str) -> Json:
        raise No("a number that is no integer")

    need(len(text) <= 16_000_000, "a file above 16 million characters")
    try:
        found = json.loads(text, object_pairs_hook=once, parse_int=whole, parse_float=never, parse_constant=never)
        need(depth(found) <= 64, "nested too deeply")
    except (ValueError, RecursionError) as error:
        raise No(f"not JSON: {error}") from error
    need(fits(CERTIFICATE, found), "not the grammar")
    return found


def depth(x: Json) -> int:
    return 1 + max(map(depth, x.values() if isinstance(x, dict) else x if isinstance(x, list) else ()), default=0)


def fits(shape: Any, x: Json) -> bool:
    """A tuple holds alternatives, a list the shape of every element; a name that ends in "=" may be left out; a function says itself."""
    match shape:
        case tuple():
            return any(fits(s, x) for s in shape)
        case list():
            return isinstance(x, list) and all(fits(shape[0], y) for y in x)
        case dict():
            wanted = {n.rstrip("="): s for n, s in shape.items() if isinstance(x, dict) and (n[-1] != "=" or n[:-1] in x)}
            return isinstance(x, dict) and set(x) == set(wanted) and all(fits(s, x[n]) for n, s in wanted.items())
        case range():
            return type(x) is int and x in shape
        case type():
            return type(x) is shape
        case FunctionType():
            return bool(shape(x))
    return type(x) is type(shape) and bool(x == shape)


NATURAL, POSITIVE, DEGREE, MAYBE = range(10**60), range(1, 10**60), range(1, 10_000_001), (None, range(10**60))
PLAN = {
    "degrees": dict.fromkeys(DEGREES, DEGREE) | {"redundant=": range(10_000_001)},
    "order": ORDERS,
    "stages": (None, [DEGREE]),
    "placement": (None, [[[NATURAL]]]),
}
PRICED = {"plan": PLAN | {"stages": [DEGREE], "placement": [[[NATURAL]]]}, "value": NATURAL}
CLASS = {"ranks": POSITIVE, "slots": POSITIVE, "speed=": POSITIVE, "memory=": MAYBE}
PROBLEM = {"loads": [NATURAL], "classes": [CLASS], "replicas=": POSITIVE, "sizes=": (None, [NATURAL])}
PRICES = {"kind": "prices", "scale=": [POSITIVE], "values": [[NATURAL]], "caps": [NATURAL], "surrogate=": (None, [NATURAL])}
SPLIT: Json = {"kind": "split", "pair": [NATURAL]}
ARGUMENT = (PRICES, {"kind": "branch", "nodes": [(NATURAL, [[int]])]}, SPLIT)
SPLIT |= {"together": ARGUMENT, "apart": ARGUMENT}
STEPS = {"kind": "steps", "base": int, "steps": [[NATURAL]]}
COUNTS: Json = {"kind": "counts", "expert": NATURAL, "most": NATURAL}
COUNTS |= {"fewer": (STEPS, COUNTS), "more": (STEPS, COUNTS)}
NODES = {"kind": "nodes", "load": [NATURAL], "slots": [int], "off_home": NATURAL}
SETTING = {"ranks": POSITIVE, "slots": POSITIVE, "nodes=": POSITIVE, "dispatch=": ("equal", "nearest", "free")}
LAYER = {"layer": NATURAL, "loads": [[NATURAL]], "placement": [[NATURAL]], "values": [NATURAL], "bounds": [NATURAL]}
LAYER |= {"fixed=": (None, [NATURAL]), "homes=": (None, [NATURAL]), "off_home_ppm=": MAYBE}
LAYER |= {"facts=": [{"workload": NATURAL, "least": POSITIVE, "argument": (*ARGUMENT, STEPS, COUNTS, NODES)}]}


def name(x: Json) -> bool:
    return isinstance(x, str) and 1 <= len(x) <= 120 and x.isprintable()


GPUS = range(1, 65_537)
POOL = {"name": name, "gpus": GPUS, "price_uusd_per_gpu_hour=": range(10**18 + 1)}
WORKER = {"name": name, "role": ("aggregated", "prefill", "decode"), "pool=": NATURAL, "gpus": GPUS, "rate": NATURAL}
OBJECTIVES = ("rate", "rate_per_gpu", "gpus", "cost", "cost_per_rate")
FLEET = {"pools": [POOL], "workers": [WORKER], "objective=": OBJECTIVES, "load=": MAYBE, "least_workers=": int}
PLANS = {"plans": [PRICED], "refuted": (None, PRICED)}
CLAIM = (
    {"kind": "optimal", "value": NATURAL, "complete_to": NATURAL, "strategies": NATURAL, **PLANS},
    {"kind": "bounded", "value": MAYBE, "bound": NATURAL, "complete_to": MAYBE, "strategies": MAYBE, **PLANS},
    {"kind": "infeasible", "strategies": NATURAL},
    {"kind": "broken", "plan": PLAN, "rules": [{"rule": str, "need": (None, int), "have": (None, int)}]},
    {"kind": "placement", "problem": PROBLEM, "placement": (None, [[NATURAL]]), "value": MAYBE}
    | {"bound": NATURAL, "argument": (None, *ARGUMENT)},
    {"kind": "expert_map", "setting": SETTING, "layers": [LAYER]},
    {"kind": "fleet", "problem": FLEET, "fleet": (None, [{"worker": NATURAL, "count": GPUS}]), "value": MAYBE, "bound": MAYBE},
)
CERTIFICATE = {"format": "shardproof-certificate/1", "cost_model": "shardproof-cost/2", "instance_sha256": (None, str)} | {
    "instance": (None, dict),
    "claim": CLAIM,
    "facts": [{"row": NATURAL, "ranks": POSITIVE, "least": NATURAL, "argument": ARGUMENT}],
    "provenance": dict,
}
