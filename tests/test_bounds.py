"""The pieces that bounds rest on, against exhaustive search and exact fractions."""

from fractions import Fraction
from itertools import combinations, product

import pytest
from brute import layer_placements, splits
from hypothesis import given, settings
from hypothesis import strategies as st
from random_instances import random_instance
from test_instances import INSTANCES

from models.enumeration import strategies
from models.instance import Instance
from models.layout import patterns
from models.placement import front, ideal_profile, least_maximum
from models.routing import profile, routing_probability, touch_probability
from models.stages import Item, best_split, fewest_stages
from models.units import CERTAIN
from optimizer.placing.place import place
from optimizer.reading import read_record

SMALL = settings(max_examples=150, deadline=None)


def heaviest(placement: tuple[tuple[int, ...], ...], weights: tuple[int, ...]) -> int:
    return max(sum(weights[e] for e in rank) for rank in placement)


@SMALL
@given(st.lists(st.integers(0, 30), min_size=6, max_size=6).map(tuple), st.sampled_from([1, 2, 3, 6]))
def test_no_placement_beats_the_bound_on_the_heaviest_rank(weights: tuple[int, ...], ranks: int) -> None:
    best = min(heaviest(p, weights) for p in layer_placements(frozenset(range(6)), ranks))
    assert least_maximum(weights, ranks) <= best
    assert best <= heaviest(place(weights, ranks), weights)


LOADS = st.lists(st.integers(0, 9), min_size=6, max_size=6).filter(any).map(tuple)
GROUPS = st.sampled_from([((0,) * 3,), ((0, 0, 1),), ((0, 1, 2),), ((0, 0, 1), (0, 1, 1))])


@SMALL
@given(LOADS, st.integers(1, 6), st.integers(1, 40), GROUPS)
def test_the_ideal_profile_is_no_larger_than_any_placements(
    loads: tuple[int, ...], top_k: int, tokens: int, groups: tuple[tuple[int, ...], ...]
) -> None:
    ideal = ideal_profile(loads, top_k, 3, tokens, groups)
    assert all(ideal.within(profile(p, loads, top_k, tokens, groups)) for p in layer_placements(frozenset(range(6)), 3))


@SMALL
@given(LOADS, st.integers(1, 6), st.integers(1, 40), st.sampled_from([((0, 0, 1, 1, 2, 2),), ((0, 0, 0, 1, 1, 1),)]))
def test_the_ideal_profile_of_single_experts_over_nodes_is_no_larger_than_any_placements(
    loads: tuple[int, ...], top_k: int, tokens: int, groups: tuple[tuple[int, ...], ...]
) -> None:
    ideal = ideal_profile(loads, top_k, 6, tokens, groups)
    assert all(ideal.within(profile(p, loads, top_k, tokens, groups)) for p in layer_placements(frozenset(range(6)), 6))


@SMALL
@given(LOADS, st.integers(1, 6), st.integers(1, 40), GROUPS)
def test_the_front_holds_a_profile_at_least_as_good_as_every_placements(
    loads: tuple[int, ...], top_k: int, tokens: int, groups: tuple[tuple[int, ...], ...]
) -> None:
    found = front(loads, top_k, 3, tokens, groups)
    assert found.exact
    for p in layer_placements(frozenset(range(6)), 3):
        mine = profile(p, loads, top_k, tokens, groups)
        assert any(option.within(mine) for option, _ in found.options)
    for option, witness in found.options:
        assert witness is not None
        assert profile(witness, loads, top_k, tokens, groups) == option


ITEMS = st.lists(
    st.tuples(st.integers(0, 9), st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=2)),
    min_size=1,
    max_size=5,
)


@SMALL
@given(ITEMS, st.integers(1, 5), st.integers(0, 25), st.integers(0, 15), st.integers(0, 15))
def test_the_best_split_is_that_of_exhaustive_search(
    drawn: list[tuple[int, list[tuple[int, int, int]]]], pp: int, memory: int, up: int, out: int
) -> None:
    items = [Item(m, tuple(choices)) for m, choices in drawn]
    best: int | None = None
    for sizes in splits(len(items), pp):
        for chosen in product(*(range(len(i.choices)) for i in items)):
            slowest = _slowest(items, sizes, chosen, (memory, up, out))
            if slowest is not None and (best is None or slowest < best):
                best = slowest
    found = best_split(tuple((1, i) for i in items), pp, memory, up, out)
    assert (None if found is None else found.slowest_ns) == best
    if found is not None:
        assert _slowest(items, found.stages, found.choices, (memory, up, out)) == best


def _slowest(items: list[Item], sizes: tuple[int, ...], chosen: tuple[int, ...], room: tuple[int, ...]) -> int | None:
    times, start = [], 0
    for n in sizes:
        stage = range(start, start + n)
        needs = [sum(items[k].memory for k in stage)] + [sum(items[k].choices[chosen[k]][c] for k in stage) for c in (1, 2)]
        if any(need > have for need, have in zip(needs, room, strict=True)):
            return None
        times.append(sum(items[k].choices[chosen[k]][0] for k in stage))
        start += n
    return max(times)


@SMALL
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=4), st.integers(0, 25))
def test_fewest_stages_is_that_of_exhaustive_search(drawn: list[tuple[int, int]], memory: int) -> None:
    sizes = [m for n, m in drawn for _ in range(n)]
    fits = [
        pp
        for pp in range(1, len(sizes) + 1)
        for cuts in combinations(range(1, len(sizes)), pp - 1)
        if all(sum(sizes[a:b]) <= memory for a, b in zip((0, *cuts), (*cuts, len(sizes)), strict=True))
    ]
    assert fewest_stages(tuple((n, Item(m, ((0, 0, 0),))) for n, m in drawn), memory) == (min(fits) if fits else None)


@SMALL
@given(st.integers(0, CERTAIN), st.integers(0, 300))
def test_touch_probability_is_rounded_up_and_close(p: int, tokens: int) -> None:
    exact = 1 - (1 - Fraction(p, CERTAIN)) ** tokens
    found = Fraction(touch_probability(p, tokens), CERTAIN)
    assert exact <= found <= exact + Fraction(2 * max(tokens, 1), CERTAIN)


@SMALL
@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 8))
def test_routing_probability_is_rounded_up_and_at_most_certain(load: int, rest: int, top_k: int) -> None:
    total = max(load + rest, 1)
    exact = min(Fraction(1), Fraction(top_k * load, total))
    assert exact <= Fraction(routing_probability(load, total, top_k), CERTAIN) < exact + Fraction(1, CERTAIN)


@SMALL
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2, 3, 4, 6, 8]))
def test_patterns_are_those_of_every_group_laid_out(size: int, stride: int, more: int, blocks: int, domain: int) -> None:
    stage = size * stride * more
    laid = set()
    for block, b, a in product(range(blocks), range(more), range(stride)):
        members = [block * stage + b * size * stride + a + k * stride for k in range(size)]
        first: dict[int, int] = {}
        laid.add(tuple(first.setdefault(gpu // domain, len(first)) for gpu in members))
    assert set(patterns(size, stride, stage, blocks, domain)) == laid


@pytest.mark.parametrize("name", ["ep64_tp2_128gpu", "mixtral8x7b_8gpu", "llama70b_8gpu", "deepseek_v3_64gpu"])
def test_the_classic_space_is_part_of_the_folded_one(name: str) -> None:
    classic, folded = (
        set(strategies(read_record(INSTANCES / f"{name}.json", Instance, [f"space.name={space}"]))) for space in ("classic", "folded")
    )
    assert classic < folded


def test_random_instances_repeat_under_their_seed() -> None:
    assert random_instance(7) == random_instance(7)
