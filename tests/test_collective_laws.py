"""The laws of the catalogue's fabrics: whole, monotone, each in use somewhere."""

from itertools import pairwise
from typing import get_args

import pytest
from fabrics import GB, NAMES, SCALE_UP, link, ns, pool, record
from hypothesis import given
from hypothesis import strategies as st

from models.cluster import Collective
from models.collectives import all_gather, all_reduce, all_to_all, direct_all_to_all, reduce_scatter, tier_ns
from models.units import WHOLE

MOST_RANKS = {"nvlink5_rack": 72}
LAWS = [(name, collective) for name in NAMES for collective in record(name)["laws"]]
sizes, group_sizes = st.integers(1, 2**30), st.integers(2, 71)


@pytest.mark.parametrize("name", NAMES)
def test_every_fabric_has_a_law_of_every_collective_and_the_network_of_every_exchange(name: str) -> None:
    every = set(get_args(Collective))
    assert record(name)["fabric"] == name
    assert set(link(name).laws) == (every - {"all_reduce", "all_gather", "reduce_scatter"} if name == "nic" else every)


@pytest.mark.parametrize("name", NAMES)
def test_a_law_was_fitted_to_rows_or_says_where_it_is_borrowed(name: str) -> None:
    fits, borrowed = record(name)["fits"], record(name).get("borrowed", {})
    assert all(fit["rows"] > 0 and fit["held_out_median_ppm"] <= fit["held_out_p90_ppm"] for fit in fits.values())
    for collective in record(name)["laws"]:
        assert (collective in fits) or collective in borrowed or "*" in borrowed, collective
    assert fits or record(name)["source"].startswith("assumed")


@given(st.sampled_from(LAWS), sizes, sizes, group_sizes)
def test_more_bytes_never_take_less_time(law: tuple[str, Collective], a: int, b: int, ranks: int) -> None:
    assert ns(*law, ranks, min(a, b)) <= ns(*law, ranks, max(a, b))


@given(st.sampled_from(LAWS), sizes, group_sizes)
def test_a_larger_group_never_takes_less_time_for_the_same_bytes(law: tuple[str, Collective], size: int, ranks: int) -> None:
    assert ns(*law, ranks, size) <= ns(*law, ranks + 1, size)


@given(st.sampled_from(LAWS), sizes, group_sizes, st.integers(1, 2000), st.integers(1, 2000))
def test_more_bandwidth_never_takes_more_time(law: tuple[str, Collective], size: int, ranks: int, a: int, b: int) -> None:
    assert ns(*law, ranks, size, max(a, b) * GB) <= ns(*law, ranks, size, min(a, b) * GB)


@given(st.sampled_from(SCALE_UP), sizes, st.integers(2, 7))
def test_reducing_one_tensor_over_more_gpus_never_takes_less_time(name: str, size: int, ranks: int) -> None:
    machine = pool(name, 450 * GB)
    for collective in (all_reduce, all_gather, reduce_scatter):
        assert collective(machine, size, (0,) * ranks).ns <= collective(machine, size, (0,) * (ranks + 1)).ns


@given(st.sampled_from(SCALE_UP), st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 4))
def test_exchanging_more_tokens_never_takes_less_time(name: str, a: int, b: int, nodes: int) -> None:
    machine, pattern = pool(name, 450 * GB), tuple(d for d in range(nodes) for _ in range(8))
    few, many = sorted((a, b))
    assert (
        all_to_all(machine, "dispatch", few, few * 8, 7392, (nodes - 1) * WHOLE, pattern).ns
        <= all_to_all(machine, "dispatch", many, many * 8, 7392, (nodes - 1) * WHOLE, pattern).ns
    )
    assert (
        direct_all_to_all(machine, "combine", few * 8, few * 8, 14336, pattern).ns
        <= direct_all_to_all(machine, "combine", many * 8, many * 8, 14336, pattern).ns
    )


@pytest.mark.parametrize(("name", "collective"), LAWS)
def test_each_of_several_laws_is_the_fastest_somewhere(name: str, collective: Collective) -> None:
    whole = link(name)
    laws = whole.laws[collective]
    alone = [whole.model_copy(update={"laws": {collective: (law,)}}) for law in laws]
    best = set()
    for ranks in range(2, MOST_RANKS.get(name, 8) + 1):
        for size in (2**k for k in range(6, 31)):
            times = [tier_ns(one, 450 * GB, collective, ranks, size) for one in alone]
            best.add(times.index(min(times)))
    assert best == set(range(len(laws)))


@pytest.mark.parametrize("name", SCALE_UP)
def test_small_tensors_are_reduced_in_one_shot_and_large_ones_in_two_phases(name: str) -> None:
    laws = link(name).laws["all_reduce"]
    assert [law.one_shot for law in laws] == [True, False]
    alone = [link(name).model_copy(update={"laws": {"all_reduce": (law,)}}) for law in laws]
    first = [[tier_ns(one, 450 * GB, "all_reduce", 8, 2**k) for one in alone] for k in range(6, 31)]
    wins = [one <= two for one, two in first]
    assert wins[0]
    assert not wins[-1]
    assert all(earlier or not later for earlier, later in pairwise(wins))  # it never returns
