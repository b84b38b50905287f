"""Files that claim too much about expert maps are refused at the right place."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from map_cases import Layer, admitted, contents_of, keeps, largest, least, value_of
from map_certificates import BILLION, COUNTS, NODES, PRICES, STEPS, VALID, G, refusal
from mutants import mutants, replaced

Json = Any
Path = tuple[str | int, ...]
L0: Path = ("claim", "layers", 0)
FACT: Path = (*L0, "facts", 0)
BIG = 10**60 - 1


@pytest.mark.parametrize("name", VALID)
def test_the_certificates_to_change_are_valid(name: str) -> None:
    assert refusal(VALID[name]) is None


def put(content: Json, path: Path, new: Json) -> Json:
    """The document with a value at a path whose last name may be new."""
    *before, last = path
    inside = content
    for step in before:
        inside = inside[step]
    return replaced(content, path[:-1], inside | {last: new}) if isinstance(inside, dict) else replaced(content, path, new)


PLACEMENT, VALUES, BOUNDS = "claim.layers.0.placement", "claim.layers.0.values", "claim.layers.0.bounds"
ARGUMENT = "claim.layers.0.facts.0.argument"
FALSE: list[tuple[str, Path, Json, str]] = [
    ("mean", (*L0, "values", 0), BILLION - 1, VALUES),
    ("mean", (*L0, "values", 0), BILLION + 1, VALUES),
    ("mean", (*L0, "values", 0), -1, VALUES),
    ("mean", (*L0, "values"), [], "claim.layers.0"),
    ("mean", (*L0, "values"), [BILLION, BILLION], "claim.layers.0"),
    ("mean", (*L0, "bounds", 0), BILLION + 1, BOUNDS),
    ("mean", (*L0, "bounds"), [], "claim.layers.0"),
    ("mean", (*L0, "placement"), [[0, 1], [2, 2]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 0], [1, 2]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 1], [0, 1]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 1], [0, 3]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 1], [0]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 1, 2], [0]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 1], [0, 1, 2]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 1], [0, 2], [0, 1]], PLACEMENT),
    ("mean", (*L0, "placement"), [[0, 1]], PLACEMENT),
    ("mean", (*L0, "placement"), [], PLACEMENT),
    ("mean", (*L0, "placement"), [[1, 2], [0, 1]], VALUES),
    ("mean", (*L0, "placement", 0, 0), -1, PLACEMENT),
    ("mean", (*L0, "placement", 0, 0), BIG, PLACEMENT),
    ("mean", (*L0, "loads"), [], "claim.layers.0.loads"),
    ("mean", (*L0, "loads"), [[]], "claim.layers.0"),
    ("mean", (*L0, "loads"), [[0, 0, 0]], "claim.layers.0"),
    ("mean", (*L0, "loads"), [[6, 3]], PLACEMENT),
    ("mean", (*L0, "loads"), [[6, 3, 3, 1]], PLACEMENT),
    ("mean", (*L0, "loads", 0, 1), 4, VALUES),
    ("mean", (*L0, "loads", 0, 0), -6, "claim.layers.0.loads"),
    ("mean", (*L0, "loads", 0, 1), BIG, VALUES),
    ("mean", (*L0, "loads", 0, 0), BIG + 1, "not a certificate"),
    ("mean", (*L0, "loads", 0, 0), 6.0, "not a certificate"),
    ("mean", (*L0, "fixed"), [2, 1, 2], PLACEMENT),
    ("mean", (*L0, "fixed"), [2, 1], PLACEMENT),
    ("mean", (*L0, "fixed"), [], PLACEMENT),
    ("mean", (*L0, "off_home_ppm"), 1, "claim.layers.0.off_home_ppm"),
    ("mean", (*L0, "homes"), [0, 0, 1], "claim.layers.0"),
    ("mean", ("claim", "setting", "ranks"), 3, PLACEMENT),
    ("mean", ("claim", "setting", "ranks"), 0, "claim.setting.ranks"),
    ("mean", ("claim", "setting", "slots"), 1, PLACEMENT),
    ("mean", ("claim", "setting", "slots"), 0, "claim.setting.slots"),
    ("mean", ("claim", "setting", "nodes"), 3, "claim.setting"),
    ("mean", ("claim", "setting", "nodes"), 0, "claim.setting.nodes"),
    ("mean", ("claim", "setting", "dispatch"), "first", "claim.setting.dispatch"),
    ("mean", ("claim", "layers"), [], "claim.layers"),
    ("mean", ("instance_sha256",), "0" * 64, "instance_sha256"),
    ("mean", ("facts",), [{"row": 0, "ranks": 1, "least": 1, "argument": PRICES}], "facts"),
    ("workloads", (*L0, "loads", 1), [3, 6], "claim.layers.0"),
    ("workloads", (*L0, "loads", 1), [0, 0, 0], "claim.layers.0"),
    ("workloads", (*L0, "loads"), [[6, 3, 3]], "claim.layers.0"),
    ("workloads", (*L0, "values", 1), BILLION, "claim.layers.0.values.1"),
    ("workloads", (*L0, "bounds", 1), BILLION + 1, "claim.layers.0.bounds.1"),
    ("workloads", ("claim", "layers", 1, "bounds", 0), BILLION + 1, "claim.layers.1.bounds.0"),
    ("workloads", ("claim", "layers", 1, "placement"), [[0, 1], [1, 2]], "claim.layers.1.values.0"),
    ("replicas", (*L0, "bounds", 0), 1_227_272_729, BOUNDS),
    ("full", (*L0, "bounds", 0), 1_250_000_001, BOUNDS),
    ("given", (*L0, "bounds", 0), 1_058_823_531, BOUNDS),
    ("given", (*L0, "fixed"), None, BOUNDS),
    ("given", (*L0, "fixed"), [2, 2, 2, 0], PLACEMENT),
    ("given", ("claim", "setting", "dispatch"), "free", "claim.layers.0"),
    ("homes", (*L0, "bounds", 0), 1_272_727_274, BOUNDS),
    ("homes", (*L0, "off_home_ppm"), 1, BOUNDS),
    ("homes", (*L0, "off_home_ppm"), -1, "claim.layers.0.off_home_ppm"),
    ("homes", (*L0, "off_home_ppm"), 10**6 + 1, "claim.layers.0.off_home_ppm"),
    ("homes", (*L0, "homes"), None, "claim.layers.0.off_home_ppm"),
    ("homes", (*L0, "homes"), [0, 1], PLACEMENT),
    ("homes", (*L0, "homes"), [0, 1, 1, 0], PLACEMENT),
    ("homes", (*L0, "homes"), [1, 1, 1], PLACEMENT),
    ("homes", (*L0, "homes"), [0, 2, 1], PLACEMENT),
    ("homes", (*L0, "placement"), [[0, 1], [1, 2]], PLACEMENT),
    ("steps", (*FACT, "least"), 2402308 * 2, ARGUMENT),
    ("steps", (*FACT, "least"), 0, "claim.layers.0.facts.0.least"),
    ("steps", (*FACT, "workload"), 1, "claim.layers.0.facts.0.workload"),
    ("steps", (*FACT, "workload"), -1, "claim.layers.0.facts.0.workload"),
    ("steps", (*FACT, "argument", "base"), 10**6, ARGUMENT),
    ("steps", (*FACT, "argument", "base"), -(10**6), ARGUMENT),
    ("steps", (*FACT, "argument", "steps"), STEPS["steps"][::-1], ARGUMENT),
    ("steps", (*FACT, "argument", "steps"), [], ARGUMENT),
    ("steps", (*FACT, "argument", "steps"), [[1]], ARGUMENT),
    ("steps", (*FACT, "argument", "steps", 0, 0), 0, ARGUMENT),
    ("steps", (*FACT, "argument", "steps", 0, 1), -1, ARGUMENT),
    ("steps", (*FACT, "argument", "kind"), "stairs", ARGUMENT),
    ("steps", (*FACT, "argument"), COUNTS, ARGUMENT),
    ("steps", (*FACT, "argument"), {"kind": "nodes", "load": [1], "slots": [0], "off_home": 0}, ARGUMENT),
    ("steps", (*FACT, "argument"), PRICES, "claim.layers.0.facts.0.argument.kind"),
    ("steps", (*L0, "facts"), [], BOUNDS),
    ("steps", (*L0, "bounds", 0), 1025601751, BOUNDS),
    ("steps", ("claim", "setting", "dispatch"), "nearest", "claim.layers.0.facts.0"),
    ("steps", ("claim", "setting", "dispatch"), "free", "claim.layers.0.facts.0"),
    ("one of two", (*L0, "bounds"), [BILLION, 1025601749], "claim.layers.0.bounds.1"),
    ("one of two", (*FACT, "workload"), 1, ARGUMENT),
    ("off home", (*L0, "off_home_ppm"), 199_999, PLACEMENT),
    ("off home", (*L0, "loads"), [[4, 2, 4], [2, 6, 2]], "claim.layers.0.values.0"),
    ("off home", (*L0, "loads", 1), [41, 19, 40], PLACEMENT),
    ("off home", (*L0, "loads", 0), [41, 19, 40], PLACEMENT),
    ("counts", (*FACT, "argument", "expert"), 5, ARGUMENT),
    ("counts", (*FACT, "argument", "expert"), 0, f"{ARGUMENT}.fewer"),
    ("counts", (*FACT, "argument", "most"), 2, f"{ARGUMENT}.fewer"),
    ("counts", (*FACT, "argument", "most"), 0, f"{ARGUMENT}.more"),
    ("counts", (*FACT, "argument", "most"), BIG, f"{ARGUMENT}.fewer"),
    ("counts", (*FACT, "argument"), COUNTS["more"], ARGUMENT),
    ("counts", (*FACT, "argument", "more"), COUNTS["fewer"], f"{ARGUMENT}.more"),
    ("counts", (*FACT, "argument", "fewer"), COUNTS["more"], f"{ARGUMENT}.fewer"),
    ("counts", (*FACT, "argument", "more"), PRICES, f"{ARGUMENT}.more"),
    ("nodes", (*FACT, "least"), 5513508 + G, ARGUMENT),
    ("nodes", (*FACT, "argument", "load"), [10**7, 10**7], ARGUMENT),
    ("nodes", (*FACT, "argument", "load"), [10**7], ARGUMENT),
    ("nodes", (*FACT, "argument", "load"), [-1, 10**7], f"{ARGUMENT}.load.0"),
    ("nodes", (*FACT, "argument", "slots"), [0, 0, 0], ARGUMENT),
    ("nodes", (*FACT, "argument", "slots"), [10**13, 0], ARGUMENT),
    ("nodes", (*FACT, "argument", "off_home"), 0, ARGUMENT),
    ("nodes", (*FACT, "argument", "off_home"), -1, f"{ARGUMENT}.off_home"),
    ("nodes", (*L0, "off_home_ppm"), None, f"{ARGUMENT}.off_home"),
    ("nodes", (*L0, "off_home_ppm"), 1000, PLACEMENT),
    ("nodes", (*L0, "off_home_ppm"), 250_000, ARGUMENT),
    ("nodes", ("claim", "setting", "nodes"), 1, PLACEMENT),
    ("nodes", ("claim", "setting", "nodes"), 4, PLACEMENT),
    ("nodes", (*L0, "homes", 0), 0, PLACEMENT),
    ("prices", (*FACT, "least"), 13 * G + 1, "claim.layers.0.facts.0.argument.caps.0"),
    ("prices", (*FACT, "argument", "caps"), [5], f"{ARGUMENT}.values"),
    ("prices", (*FACT, "argument", "caps"), [3], f"{ARGUMENT}.caps.0"),
    ("prices", (*FACT, "argument", "values", 0), [3], f"{ARGUMENT}.caps.0"),
    ("prices", (*FACT, "argument", "values", 0), [1], f"{ARGUMENT}.values"),
    ("prices", (*FACT, "argument", "values"), [[2]], f"{ARGUMENT}.values"),
    ("prices", (*FACT, "argument"), NODES, ARGUMENT),
    ("nearest", ("claim", "setting", "nodes"), 1, VALUES),
    ("nearest", ("claim", "setting", "dispatch"), "equal", VALUES),
    ("free", ("claim", "setting", "dispatch"), "equal", VALUES),
    ("free", (*L0, "values", 0), BILLION - 1, VALUES),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "new", "where"), FALSE)
def test_a_change_that_is_false_or_not_proved_is_refused_in_its_place(name: str, path: Path, new: Json, where: str) -> None:
    refused = refusal(put(VALID[name], path, new))
    assert refused is not None
    assert refused[0].startswith(where), refused
    assert 5 <= len(refused[1]) <= 400


def judged(content: Json) -> bool:
    """Whether every value and bound of an accepted document is true, by looking at all placements."""
    s = content["claim"]["setting"]
    rule, nodes = s.get("dispatch", "equal"), s.get("nodes", 1)
    for stated in content["claim"]["layers"]:
        held, rows = tuple(map(tuple, stated["placement"])), tuple(map(tuple, stated["loads"]))
        fixed, homes = (None if stated.get(name) is None else tuple(stated[name]) for name in ("fixed", "homes"))
        case = Layer(s["ranks"], s["slots"], nodes, rows, fixed, homes, stated.get("off_home_ppm"))
        assert keeps(case, held)
        for w, row in enumerate(rows):
            best = least(case, w) if rule == "equal" else min(largest(contents_of(p), row, rule, nodes) for p in admitted(case))
            assert best is not None
            if stated["values"][w] != value_of(case, largest(held, row, rule, nodes), w) or stated["bounds"][w] > value_of(case, best, w):
                return False
    return True


MOST_MUTANTS = 700


@pytest.mark.parametrize("name", VALID)
def test_every_change_that_is_accepted_leaves_a_true_claim(name: str) -> None:
    every = list(mutants(VALID[name]))
    found = Counter[bool]()
    for mutant in Random(name).sample(every, min(len(every), MOST_MUTANTS)):
        refused = refusal(mutant.content)
        found[refused is None] += 1
        assert refused is None or all(refused)
        assert refused is not None or judged(mutant.content), mutant
    assert min(found[True], found[False]) >= 5, found
