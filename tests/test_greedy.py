"""The greedy balancer that placements are compared with: worked by hand, by its properties, and against published figures."""

from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.greedy import balance_flat, balance_hierarchical, duplicates, max_over_mean

LOADS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "loads"


def test_without_spare_slots_the_heaviest_goes_to_the_lightest_rank_with_room() -> None:
    contents = balance_flat([9, 7, 4, 4, 1, 3], ranks=2, slots=3)
    # 9 -> 0; 7 -> 1; 4 -> 1 (11); 4 -> 0 (13); 3 -> 1 (14, full); 1 -> 0
    assert contents == ((0, 3, 4), (1, 2, 5))
    assert max_over_mean(contents, [9, 7, 4, 4, 1, 3]) == 1


def test_spare_slots_go_to_the_largest_load_per_replica() -> None:
    # 12: 6 + 6, then 8: 4 + 4, then 12 again: 4 + 4 + 4
    contents = balance_flat([12, 8, 3, 1], ranks=7, slots=1)
    assert Counter(e for rank in contents for e in rank) == {0: 3, 1: 2, 2: 1, 3: 1}
    assert max_over_mean(contents, [12, 8, 3, 1]) == Fraction(4 * 7, 24)


def test_equal_loads_go_to_the_lower_number_first() -> None:
    assert balance_flat([5, 5, 5], ranks=2, slots=2) == ((0, 1), (0, 2))


def test_two_replicas_of_an_expert_may_share_a_rank() -> None:
    # two replicas of 5: one on each rank
    assert duplicates(balance_flat([10, 4, 1], ranks=2, slots=2)) == 0
    # three replicas of 33.3: first, second, first; then 6 and 5 -> second (full), 4 -> first
    contents = balance_flat([100, 6, 5, 4], ranks=2, slots=3)
    assert contents == ((0, 0, 3), (0, 1, 2))
    assert duplicates(contents) == 1
    assert max_over_mean(contents, [100, 6, 5, 4]) == Fraction(200 + 12, 3) * 2 / 115


def test_hierarchical_packs_whole_groups_to_nodes_first() -> None:
    loads = [10, 10, 1, 1, 6, 6, 2, 2]  # groups of 20, 2, 12, 4
    # 20 -> node 0; 12 -> node 1; 4 -> node 1 (full); 2 -> node 0
    contents = balance_hierarchical(loads, ranks=4, slots=2, nodes=2, groups=4)
    assert contents == ((0, 2), (1, 3), (4, 6), (5, 7))
    assert max_over_mean(contents, loads) == Fraction(11 * 4, 38)
    assert max_over_mean(balance_hierarchical([8, 8, 2, 2], ranks=2, slots=2, nodes=2, groups=2), [8, 8, 2, 2]) == Fraction(16 * 2, 20)
    assert max_over_mean(balance_flat([8, 8, 2, 2], ranks=2, slots=2), [8, 8, 2, 2]) == 1


def test_hierarchical_replicates_within_a_node_only() -> None:
    # node 0 gets 40, and its two spare slots go to 30: 10, 10, 10 beside 10; node 1 replicates 1 and 1
    contents = balance_hierarchical([30, 10, 1, 1], ranks=4, slots=2, nodes=2, groups=2)
    assert contents == ((0, 0), (0, 1), (2, 3), (2, 3))
    assert duplicates(contents) == 1


@pytest.mark.parametrize(("experts", "ranks", "nodes", "groups"), [(9, 4, 2, 4), (8, 4, 3, 4), (8, 3, 2, 4)])
def test_what_cannot_be_shared_equally_is_refused(experts: int, ranks: int, nodes: int, groups: int) -> None:
    with pytest.raises(ValueError, match="cannot be shared equally"):
        balance_hierarchical([1] * experts, ranks, 4, nodes, groups)


def test_too_few_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="5 experts do not fit in 4 slots"):
        balance_flat([1] * 5, ranks=2, slots=2)


CASES = st.tuples(st.sampled_from([(1, 1), (2, 2), (2, 4), (4, 4)]), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.randoms())


@settings(max_examples=150, deadline=None)
@given(CASES)
def test_ranks_hold_equally_many_every_expert_is_held_and_groups_stay_together(case) -> None:
    (nodes, groups), size, ranks_of_node, spare, random = case
    ranks, experts = nodes * ranks_of_node, groups * size
    slots = -(-experts // ranks) + spare
    loads = [random.choice([0, 1, random.randint(1, 40)]) for _ in range(experts)]
    flat, hierarchical = balance_flat(loads, ranks, slots), balance_hierarchical(loads, ranks, slots, nodes, groups)
    for contents in (flat, hierarchical):
        assert [len(rank) for rank in contents] == [slots] * ranks
        assert {e for rank in contents for e in rank} == set(range(experts))
        if sum(loads):
            assert 1 <= max_over_mean(contents, loads) <= ranks
    homes = [(e // size, r // ranks_of_node) for r, rank in enumerate(hierarchical) for e in rank]
    assert len(set(homes)) == groups
    if nodes == 1:
        assert hierarchical == flat


PUBLISHED = [  # ranks, slots per rank, nodes (1: flat), max/mean over all DeepSeek-V3 matrices: least, largest
    (32, 8, 1, 1.090, 1.221),
    (32, 8, 4, 1.243, 1.414),
    (32, 9, 1, 1.006, 1.008),
    (32, 9, 4, 1.126, 1.339),
    (16, 18, 2, 1.025, 1.062),
    (64, 5, 1, 1.016, 1.023),
    (64, 5, 8, 1.565, 2.114),
    (144, 2, 1, 1.103, 1.264),
]


@pytest.mark.skipif(not LOADS.is_dir(), reason="needs the recorded expert loads in ../shared/data/loads")
@pytest.mark.parametrize("trace", ["decode_in1000out1000", "prefill_in4096"])
def test_recorded_loads_give_what_the_original_gives(trace: str) -> None:
    """Figures of the original code, mean over 58 layers, measured by others on these matrices and four more."""
    layers = np.load(LOADS / f"dsv3_sglang_{trace}.npy").astype(int).tolist()
    for ranks, slots, nodes, least, largest in PUBLISHED:
        contents = [balance_flat(w, ranks, slots) if nodes == 1 else balance_hierarchical(w, ranks, slots, nodes, 8) for w in layers]
        mean = float(np.mean([float(max_over_mean(c, w)) for c, w in zip(contents, layers, strict=True)]))
        assert least - 0.0005 <= mean <= largest + 0.0005, (ranks, slots, nodes, mean)
