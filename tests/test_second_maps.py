"""Both checkers, of which one was written from the document alone, agree on expert maps true and false."""

import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from map_argument_cases import first_of, priced_nodes, problem_of, random_counts, random_nodes, random_steps, thresholds
from map_cases import GRAIN, Layer, admitted, contents_of, least, random_layer, random_loads
from map_certificates import VALID, document, fact, refusal, setting, text
from mutants import mutants, replaced
from second_checker import verdict

from models.expert_map import Setting, value_of_map
from models.packing import Problem, RankClass
from optimizer.mapping.layers import PlaceOptions, Task, place_layer

Json = Any
MOST_MUTANTS = 30  # of one placed layer
KINDS = ("free", "fixed", "homes", "limit")


def agreed(content: Json) -> bool:
    """The verdict of both."""
    ours, (theirs, reason) = refusal(content), verdict(content if isinstance(content, str) else text(content))
    assert (ours is None) == theirs, (ours, reason, content)
    return theirs


def some(content: Json, key: object, most: int) -> list[Json]:
    every = [m.content for m in mutants(content)]
    return Random(str(key)).sample(every, min(len(every), most))


@pytest.mark.parametrize("name", VALID)
def test_both_judge_every_change_of_a_valid_certificate_alike(name: str) -> None:
    assert agreed(VALID[name])
    found = Counter(agreed(content) for content in some(VALID[name], name, 700))
    assert min(found[True], found[False]) >= 5, found


KIND_OF = ("steps", "counts", "nodes", "prices", "split", "branch", "expert_map", "placement", "equal", "nearest", "free")


@pytest.mark.parametrize("name", VALID)
def test_both_judge_other_kinds_and_missing_parts_alike(name: str) -> None:
    content = VALID[name]
    paths: list[tuple[str | int, ...]] = [("claim", "setting", "dispatch"), ("claim", "kind")]
    paths += [("claim", "layers", 0, "facts", 0, "argument", "kind")] if content["claim"]["layers"][0].get("facts") else []
    for path in paths[("dispatch" not in content["claim"]["setting"]) :]:
        for word in KIND_OF:
            agreed(replaced(content, path, word))
    for key in ("fixed", "homes", "off_home_ppm", "facts"):
        for new in (None, [], 0, [0, 0, 0], [1, 1, 1, 1], 500_000):
            layer = content["claim"]["layers"][0]
            agreed(replaced(content, ("claim", "layers", 0), layer | {key: new}))


@pytest.mark.parametrize("dispatch", ["equal", "nearest", "free"])
def test_both_judge_placed_layers_and_their_changes_alike(dispatch: str) -> None:
    rng, found = Random(f"placed {dispatch}"), Counter[bool]()
    for n in range(24):
        kinds = KINDS if dispatch == "equal" else KINDS[:2]
        drawn = random_layer(rng, kinds[n % len(kinds)], workloads=1 + n % 5 // 4, most=2000, load=rng.choice([12, 1000]))
        s = Setting.model_validate({"ranks": drawn.ranks, "slots": drawn.slots, "nodes": drawn.nodes, "dispatch": dispatch})
        task = Task(n, drawn.loads, s, PlaceOptions(effort=30), drawn.fixed, drawn.homes, drawn.off_home_ppm)
        made = document(json.loads(s.model_dump_json()), json.loads(place_layer(task).record.model_dump_json()))
        assert agreed(made)
        found.update(agreed(content) for content in some(made, n, MOST_MUTANTS))
    assert min(found[True], found[False]) >= 30, found


def stated(layer: Layer, least_load: int, argument: Json, placement: Json) -> Json:
    """A certificate whose bound is what the fact says."""
    s = Setting(ranks=layer.ranks, slots=layer.slots, nodes=layer.nodes)
    value = value_of_map(s, layer.loads[0], tuple(map(tuple, placement)))
    bound = -(-(10**9 * least_load * layer.ranks) // (GRAIN * sum(layer.loads[0])))
    more = {name: getattr(layer, name) for name in ("fixed", "homes", "off_home_ppm") if getattr(layer, name) is not None}
    record = {"layer": 0, "loads": layer.loads, "placement": placement, "values": [value], "bounds": [bound], **more}
    return document(setting(layer.ranks, layer.slots, nodes=layer.nodes), record | {"facts": fact(least_load, argument)})


ARGUED = {"steps": ("free", "fixed"), "counts": ("free", "fixed"), "nodes": ("homes", "limit"), "duals": ("homes", "limit")}


@pytest.mark.parametrize("kind", [*ARGUED, "prices", "split", "branch"])
def test_both_judge_random_arguments_alike(kind: str) -> None:
    rng, found = Random(f"second {kind}"), Counter[bool]()
    while sum(found.values()) < (120 if kind == "branch" else 300):
        drawn = random_layer(rng, rng.choice(ARGUED.get(kind, ("free",))), most=1000)
        if kind not in ARGUED:
            drawn = drawn._replace(loads=(random_loads(rng, drawn.ranks * drawn.slots),), homes=None, nodes=1)
            if drawn.experts > 8:
                continue
        problem, best = problem_of(drawn, GRAIN), least(drawn)
        assert best is not None
        placement = placed(drawn)
        for t in thresholds(rng, best * GRAIN):
            match kind:
                case "steps":
                    argument = random_steps(rng, problem, t)
                case "counts":
                    argument = random_counts(rng, problem, t, rng.randint(1, 3))
                case "nodes":
                    argument = random_nodes(rng, problem, t)
                case "duals":
                    argument = priced_nodes(rng, problem, t)
                case _:
                    flat = Problem(loads=problem.loads, classes=(RankClass(ranks=problem.ranks, slots=problem.slots),))
                    argument = first_of(kind, rng, flat, t + 1)
            found[agreed(stated(drawn, t + 1, json.loads(argument.model_dump_json()), placement))] += 1
    assert min(found[True], found[False]) >= 5, found


def placed(layer: Layer) -> list[list[int]]:
    """Some placement of the layer."""
    return [list(rank) for rank in contents_of(admitted(layer)[0])]
