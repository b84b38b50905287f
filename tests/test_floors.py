"""Floors and factor tables: below every exact bound, and equal element by element to the terms they gather."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from random_instances import random_instance, redundant_instance

from models.bounds import Bounds
from models.enumeration import Block, blocks, strategies
from models.floors import Floors
from models.instance import Instance
from models.routing import expected_touches, least_touches
from models.strategy import Strategy
from models.terms import Terms
from optimizer.factors import Survey, survey
from optimizer.reading import read_record

COUNT = int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "60"))
SEEDS = [*range(COUNT), *range(-1, -1 - COUNT // 6, -1)]  # below 0: with redundant expert slots
INSTANCES = Path(__file__).resolve().parent.parent / "instances"


@cache
def tables(seed: int) -> tuple[Instance, Bounds, Floors, list[Block], Survey]:
    instance = random_instance(seed) if seed >= 0 else redundant_instance(-seed)
    terms = Terms(instance)
    bounds, floors, space = Bounds(instance, terms), Floors(instance, terms), list(blocks(instance))
    return instance, bounds, floors, space, survey(bounds, floors, space)


def with_side(space: list[Block]) -> Iterator[tuple[Block, Strategy]]:
    return ((block, s) for block in space for s in block.strategies())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_floor_is_below_the_exact_bound_of_its_strategy(seed: int) -> None:
    _, bounds, floors, space, _ = tables(seed)
    for block, s in with_side(space):
        exact, side = bounds.exact(s), (s.etp, s.ep, s.edp, s.redundant)
        assert floors.step_ns(block, s.microbatches) <= floors.step_ns(block, s.microbatches, side)
        if not isinstance(exact, str):
            assert floors.step_ns(block, s.microbatches, side) <= exact.step_ns
            assert floors.priced_ns(s) <= exact.step_ns


@pytest.mark.parametrize("seed", SEEDS)
def test_factor_tables_equal_the_exact_terms_element_by_element(seed: int) -> None:
    instance, bounds, floors, space, table = tables(seed)
    assert [table.strategy(n) for n in range(table.size)] == list(strategies(instance))
    for n, (block, s) in enumerate(with_side(space)):
        assert int(table.step_ns[n]) == floors.step_ns(block, s.microbatches, (s.etp, s.ep, s.edp, s.redundant))
        assert bool(table.fits[n]) == bounds.fits(s)


def test_factor_tables_of_a_large_space_equal_the_exact_terms() -> None:
    instance = read_record(INSTANCES / "ep64_tp2_128gpu.json", Instance, ["space.name=folded"])
    terms = Terms(instance)
    bounds, floors, space = Bounds(instance, terms), Floors(instance, terms), list(blocks(instance))
    table = survey(bounds, floors, space)
    assert table.size == sum(block.size for block in space)
    assert table.step_ns.dtype == np.int64
    for n in range(0, table.size, 97):
        s = table.strategy(n)
        assert int(table.step_ns[n]) == floors.step_ns(space[table.block[n]], s.microbatches, (s.etp, s.ep, s.edp, s.redundant))
        assert bool(table.fits[n]) == bounds.fits(s)


def test_tables_beyond_64_bits_fall_back_to_whole_numbers_of_any_size() -> None:
    slow = ["cluster.accelerator.peak_flop_per_s.bf16=1", "cluster.accelerator.memory_bytes=1000000000000000000", "workload.sequences=1024"]
    instance = read_record(INSTANCES / "ep64_tp2_128gpu.json", Instance, slow)
    terms = Terms(instance)
    bounds, floors, space = Bounds(instance, terms), Floors(instance, terms), list(blocks(instance))
    table = survey(bounds, floors, space)
    assert table.step_ns.dtype == object
    for n in range(table.size):
        s = table.strategy(n)
        assert table.step_ns[n] == floors.step_ns(space[table.block[n]], s.microbatches, (s.etp, s.ep, s.edp, s.redundant))


@pytest.mark.parametrize("tokens", [1, 2, 3, 5, 8, 100, 4096, 5000])
def test_least_touches_is_at_most_the_touches_of_all_experts(tokens: int) -> None:
    loads, top_k = (900, 10, 0, 3, 3, 77, 1, 250), 2
    total = sum(loads)
    touches = sum(expected_touches(w, total, top_k, tokens) for w in loads)
    least = least_touches(loads, top_k, tokens)
    assert least <= touches
    assert tokens & (tokens - 1) or touches - least < len(loads)
