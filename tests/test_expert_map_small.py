"""Small layers placed: the value is the best of all placements, the bound is below it, and the checker takes the file."""

from fractions import Fraction
from random import Random

import pytest
from map_cases import PARTS, Layer, admitted, contents_of, largest, random_layer, tops, value_of

from models.certificate import Certificate
from models.expert_map import ExpertMap, MapLayer, Setting
from optimizer.certify import certificate_alone
from optimizer.check import check
from optimizer.mapping.layers import PlacedLayer, PlaceOptions, Task, place_layer

OPTIONS = PlaceOptions(effort=60)  # re-splits; the rest is left to the exact model
CASES = [("free", 1, 180), ("fixed", 1, 50), ("homes", 1, 80), ("limit", 1, 110), ("free", 2, 40), ("homes", 3, 20), ("limit", 2, 40)]
CHUNK = 20
CHUNKS = [(kind, workloads, n) for kind, workloads, cases in CASES for n in range(-(-cases // CHUNK))]
MOST = 15_000  # placements of a shape


def task_of(layer: Layer, weights: tuple[int, ...] | None = None, dispatch: str = "equal") -> Task:
    setting = Setting.model_validate({"ranks": layer.ranks, "slots": layer.slots, "nodes": layer.nodes, "dispatch": dispatch})
    return Task(3, layer.loads, setting, OPTIONS, layer.fixed, layer.homes, layer.off_home_ppm, weights)


def certificate_of(setting: Setting, *records: MapLayer) -> Certificate:
    return certificate_alone(ExpertMap(kind="expert_map", setting=setting, layers=records), "test")


def confirmed(layer: Layer, task: Task) -> PlacedLayer:
    """What is placed, once the checker has taken the whole file."""
    placed = place_layer(task)
    assert check(certificate_of(task.setting, placed.record).text())[:3] == (True, "expert_map", None)
    dispatch = task.setting.dispatch
    shown = [value_of(layer, largest(placed.contents, row, dispatch, layer.nodes), s) for s, row in enumerate(layer.loads)]
    assert list(placed.record.values) == shown
    return placed


def drawn(rng: Random, kind: str, workloads: int) -> Layer:
    """A layer, under further workloads with the same loads in another order."""
    while True:
        layer = random_layer(rng, kind, most=MOST, load=rng.choice([12, 12, 500, 40_000]))
        further = [tuple(rng.sample(layer.loads[0], layer.experts)) for _ in range(workloads - 1)]
        layer = layer._replace(loads=(layer.loads[0], *further))
        if len(admitted(layer)):
            return layer


@pytest.mark.parametrize(("kind", "workloads", "chunk"), CHUNKS)
def test_a_small_layer_gets_the_best_of_all_placements(kind: str, workloads: int, chunk: int) -> None:
    rng = Random(f"{kind} {workloads} {chunk}")
    for _ in range(CHUNK):
        layer = drawn(rng, kind, workloads)
        placed, every = confirmed(layer, task_of(layer)), tops(layer)
        assert placed.value == value_of(layer, Fraction(int(every.max(axis=0).min()), PARTS)), (layer, placed.record)
        for s, bound in enumerate(placed.record.bounds):
            assert bound <= value_of(layer, Fraction(int(every[s].min()), PARTS), s), (layer, placed.record)


def test_a_weighted_mean_of_workloads_is_the_least_but_for_the_rounding_of_values() -> None:
    rng = Random("weights")
    for _ in range(20):
        layer, weights = drawn(rng, rng.choice(["free", "limit"]), 2), (rng.randint(0, 3), rng.randint(1, 3))
        task = task_of(layer, weights)
        placed, every = confirmed(layer, task), tops(layer)
        means = [task.objective([value_of(layer, Fraction(int(t), PARTS), s) for s, t in enumerate(column)]) for column in every.T]
        assert min(means) <= task.objective(placed.record.values) <= min(means) + sum(weights)


@pytest.mark.parametrize("dispatch", ["nearest", "free"])
def test_other_dispatch_rules_get_true_values_and_bounds(dispatch: str) -> None:
    rng = Random(dispatch)
    for n in range(24):
        layer = random_layer(rng, ("free", "fixed")[n % 2], most=200)
        placed = confirmed(layer, task_of(layer, dispatch=dispatch))
        best = min(largest(contents_of(p), layer.loads[0], dispatch, layer.nodes) for p in admitted(layer))
        assert placed.bound <= value_of(layer, best) <= placed.value


@pytest.mark.parametrize("dispatch", ["nearest", "free"])
def test_homes_go_with_every_dispatch_rule(dispatch: str) -> None:
    layer = Layer(2, 3, 2, ((0, 1, 1, 0, 1),), homes=(1, 1, 0, 1, 0), off_home_ppm=20_000)
    best = min(largest(contents_of(p), layer.loads[0], dispatch, layer.nodes) for p in admitted(layer))
    placed = confirmed(layer, task_of(layer, dispatch=dispatch))
    assert placed.bound <= value_of(layer, best) <= placed.value


FEW_AT_HOME = {
    "one expert on a node of two slots": Layer(2, 2, 2, ((38, 1, 13),), homes=(0, 1, 1)),
    "two experts on a rank of three slots": Layer(2, 3, 2, ((12, 6, 4, 3, 2),), homes=(1, 0, 0, 0, 1)),
    "two experts on two ranks of three slots": Layer(4, 3, 2, ((8, 4, 23, 5, 46),), homes=(0, 1, 1, 1, 0)),
    "none on a node": Layer(2, 3, 2, ((12, 6, 4),), homes=(1, 1, 1)),
    "idle ones only, off home": Layer(2, 2, 2, ((1, 1, 0),), homes=(1, 0, 1), off_home_ppm=0),
}


@pytest.mark.parametrize("name", FEW_AT_HOME)
def test_a_node_with_fewer_experts_than_slots_is_filled_from_others(name: str) -> None:
    layer = FEW_AT_HOME[name]
    assert confirmed(layer, task_of(layer)).value == value_of(layer, Fraction(int(tops(layer)[0].min()), PARTS))


def test_a_limit_off_home_holds_for_loads_that_the_model_scales_down() -> None:
    """Expert 1 would serve 0.1000001 % off home, which the model's rounding must not let pass."""
    loads = (6 * 10**9, 20_000_018, 19_000_000, 2 * 10**9, 1_960_999_982)
    layer = Layer(2, 3, 2, (loads,), homes=(0, 0, 0, 1, 1), off_home_ppm=1000)
    assert confirmed(layer, task_of(layer)).contents == ((0, 1, 2), (2, 3, 4))
