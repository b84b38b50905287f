"""Coefficients: read and replaced where the file states them, and dearer in one direction only."""

import json
from random import Random

import pytest
from brute import plans
from brute import strategies as every_strategy
from random_instances import random_instance

from models.bounds import Bounds
from models.coefficients import MOST_SKEW, SKEW, Coefficient, blend, coefficient_named, coefficients, value_of, with_value
from models.evaluate import evaluate
from models.instance import Instance
from models.rules import violations
from models.units import PPM
from optimizer.settings import set_path

SEEDS = range(40)


def values(rng: Random, instance: Instance, c: Coefficient) -> list[int]:
    """Values of a coefficient in ascending order: the ends of its field, near and far from what is stated, and odd ones."""
    now = value_of(instance, c)
    drawn = {c.least, c.most, now, now - 1, now + 1, now // 7, now * 3, rng.randint(now // 2, now * 2), rng.randint(c.least, c.most)}
    return sorted(v for v in drawn if c.least <= v <= c.most)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_coefficient_is_read_and_written_where_set_does_it(seed: int) -> None:
    instance, rng = random_instance(seed), Random(seed)
    for c in coefficients(instance):
        if c == SKEW:
            continue
        for value in values(rng, instance, c):
            content = json.loads(instance.model_dump_json())
            set_path(content, c.path, value, "--set")
            by_file = Instance.model_validate_json(json.dumps(content))
            ours = with_value(instance, c, value)
            assert value_of(ours, c) == value == value_of(by_file, c)
            assert _without_sources(ours) == _without_sources(by_file)


def _without_sources(instance: Instance) -> object:
    def strip(node: object) -> object:
        if isinstance(node, dict):
            return {k: strip(v) for k, v in node.items() if k != "sources"}
        return [strip(v) for v in node] if isinstance(node, list) else node

    return strip(json.loads(instance.model_dump_json()))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_changed_instance_is_one_that_a_file_could_hold_and_the_old_one_stays(seed: int) -> None:
    instance, rng = random_instance(seed), Random(seed)
    before = instance.model_dump_json()
    for c in coefficients(instance):
        for value in values(rng, instance, c):
            changed = with_value(instance, c, value).model_dump_json()
            assert Instance.model_validate_json(changed).model_dump_json() == changed
        for value in (c.least - 1, c.most + 1):
            with pytest.raises(ValueError, match="outside"):
                with_value(instance, c, value)
    assert instance.model_dump_json() == before


@pytest.mark.parametrize("seed", SEEDS)
def test_every_plan_gets_dearer_in_the_stated_direction_only(seed: int) -> None:
    instance, rng = random_instance(seed), Random(seed)
    some = [rng.choice(list(plans(instance, s))) for s in rng.choices(list(every_strategy(instance)) or [None], k=6) if s]
    for c in coefficients(instance):
        if c.more_is in ("faster", "slower"):
            variants = [with_value(instance, c, v) for v in values(rng, instance, c)]
            for plan in some:
                costs = [evaluate(v, plan) for v in variants]
                steps = [cost.step_ns for cost in costs]
                assert steps == sorted(steps, reverse=c.more_is == "faster"), (c.name, plan)
                assert len({cost.stages[0].memory_bytes for cost in costs}) == 1
                assert len({cost.stages[0].scale_out_bytes for cost in costs}) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bounds_of_a_strategy_move_in_the_stated_direction_only(seed: int) -> None:
    instance, rng = random_instance(seed), Random(seed)
    found = list(every_strategy(instance))
    some = rng.sample(found, min(8, len(found)))
    for c in coefficients(instance):
        if c.more_is in ("faster", "slower"):
            ordered = values(rng, instance, c)
            tables = [Bounds(with_value(instance, c, v)) for v in (ordered if c.more_is == "slower" else reversed(ordered))]
            for s in some:
                for bounded in ("work", "quick"):
                    steps = [getattr(table, bounded)(s) for table in tables if table.work(s) != "memory"]
                    bad = [isinstance(step, str) for step in steps]
                    assert bad == sorted(bad), "a strategy that breaks a rule breaks it at every dearer value"
                    numbers = [step for step in steps if not isinstance(step, str)]
                    assert numbers == sorted(numbers)


@pytest.mark.parametrize("seed", SEEDS)
def test_more_memory_changes_no_cost_and_never_breaks_a_plan(seed: int) -> None:
    instance, rng = random_instance(seed), Random(seed)
    memory = coefficient_named(instance, "memory")
    assert memory is not None
    assert memory.more_is == "roomier"
    variants = [with_value(instance, memory, v) for v in values(rng, instance, memory)]
    for s in rng.choices(list(every_strategy(instance)) or [None], k=6):
        if s is not None:
            plan = rng.choice(list(plans(instance, s)))
            assert len({evaluate(v, plan).value for v in variants}) == 1
            runs = [not violations(v, plan) for v in variants]
            assert runs == sorted(runs)


def test_skew_blends_from_even_loads_through_the_given_ones_to_the_steeper() -> None:
    assert blend((0, 2, 4, 10), 0) == (1, 1, 1, 1)
    assert blend((0, 2, 4, 10), PPM) == (0, 2, 4, 10)
    assert blend((0, 2, 4, 10), PPM // 2) == (2, 3, 4, 7)
    assert blend((1, 2, 3), 2 * PPM) == (0, 1, 2)
    assert blend((0, 2, 4, 10), 2 * PPM) == (0, 0, 1, 4), "no load falls below 0"
    large = (10**12, 10**12 - 1, 3)
    assert max(blend(large, 333_333)) <= 10**12
    assert blend(large, 333_333)[2] > 10**11
    assert blend(large, PPM) == large


def test_skew_is_varied_from_the_given_loads_only_where_there_are_some() -> None:
    instances = [random_instance(seed) for seed in SEEDS]
    with_loads = [i for i in instances if i.expert_load is not None]
    assert 0 < len(with_loads) < len(instances)
    for instance in instances:
        assert (coefficient_named(instance, "skew") is not None) == (instance.expert_load is not None)
    for instance in with_loads:
        assert value_of(instance, SKEW) == PPM
        assert with_value(instance, SKEW, PPM) == instance
        even = with_value(instance, SKEW, 0).expert_load
        assert even is not None
        assert {w for row in even.counts for w in row} == {1}
        assert MOST_SKEW > PPM
    without = next(i for i in instances if i.expert_load is None)
    with pytest.raises(ValueError, match="expert_load"):
        with_value(without, SKEW, 0)


def test_only_coefficients_that_matter_are_listed() -> None:
    for seed in SEEDS:
        instance = random_instance(seed)
        names = [c.name for c in coefficients(instance)]
        assert ("expert_gemm_efficiency" in names) == bool(instance.architecture.experts)
        dtypes = {instance.architecture.weight_dtype, instance.architecture.activation_dtype}
        assert {n.removesuffix("_peak") for n in names if n.endswith("_peak")} == dtypes
        assert len(set(names)) == len(names)
