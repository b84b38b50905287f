"""Redundant expert slots: bounds and fronts against exhaustive search, the trade-off they make, and what they are refused for."""

import json
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any

import pytest
from brute import replicated_placements
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_instances import INSTANCES

from models.bounds import Bounds
from models.certificate import AllDegrees
from models.enumeration import strategies
from models.errors import InputError
from models.evaluate import evaluate
from models.instance import Instance
from models.layout import Pattern
from models.load_bounds import least_load
from models.placement import contiguous
from models.replica_bounds import least_copies, least_inputs, least_rank_load, least_touched, touches_below
from models.replicas import least_profile, replicated_front
from models.replicas import replicated_placements as every_class
from models.result import Claim, Status
from models.routing import Profile, expected_touches, profile
from models.rules import violations
from models.strategy import DEGREES, Degrees, Plan, PlanFile, RankContents, Strategy, fill_degrees
from models.terms import Terms
from optimizer.completion import Completion
from optimizer.placing.dealing import WAYS, deal, lighten
from optimizer.search import Options, claim_of, find, judge

SMALL = settings(max_examples=60, deadline=None)
SHAPES = [(4, 2, 1), (4, 2, 2), (4, 4, 1), (3, 3, 1), (3, 3, 2), (2, 2, 1), (6, 2, 1)]  # experts, ranks, redundant slots
PATTERNS: dict[int, list[tuple[Pattern, ...]]] = {
    2: [((0, 0),), ((0, 1),)],
    3: [((0, 0, 1),), ((0, 1, 2),), ((0, 0, 1), (0, 1, 1))],
    4: [((0, 0, 1, 1),), ((0, 1, 1, 2),), ((0, 0, 0, 1), (0, 0, 1, 1)), ((0, 1, 2, 3),)],
}

Layer = tuple[tuple[int, ...], int, int, int, int, tuple[Pattern, ...]]
"""loads, top-k, ranks, redundant slots, tokens, patterns"""

Json = dict[str, Any]


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    experts, ranks, redundant = draw(st.sampled_from(SHAPES))
    loads = draw(st.lists(st.sampled_from([0, 0, 1, 2, 3, 5, 9, 40]), min_size=experts, max_size=experts).filter(any).map(tuple))
    tokens = draw(st.sampled_from([1, 2, 3, 7, 40, 1000]))
    return loads, draw(st.integers(1, experts)), ranks, redundant, tokens, draw(st.sampled_from(PATTERNS[ranks]))


def profiles(layer: Layer) -> set[Profile]:
    """Those of all placements."""
    loads, top_k, ranks, redundant, tokens, patterns = layer
    every = replicated_placements(len(loads), ranks, len(loads) // ranks + redundant)
    return {profile(p, loads, top_k, tokens, patterns) for p in every}


@SMALL
@given(layers())
def test_no_placement_with_replicas_is_below_the_bounds(layer: Layer) -> None:
    low = least_profile(*layer)
    assert all(low.within(found) for found in profiles(layer))


@SMALL
@given(layers())
def test_the_front_with_replicas_holds_the_best_of_all_placements(layer: Layer) -> None:
    loads, top_k, ranks, redundant, tokens, patterns = layer
    found, every = replicated_front(*layer), profiles(layer)
    assert found.exact
    assert all(any(option.within(mine) for option, _ in found.options) for mine in every)
    for option, witness in found.options:
        assert witness is not None
        assert is_placement(witness, len(loads), len(loads) // ranks + redundant)
        assert profile(witness, loads, top_k, tokens, patterns) == option


def is_placement(contents: RankContents, experts: int, slots: int) -> bool:
    return {e for rank in contents for e in rank} == set(range(experts)) and all(len(set(r)) == len(r) == slots for r in contents)


@SMALL
@given(st.sampled_from(SHAPES), st.randoms(use_true_random=False))
def test_the_least_share_is_that_of_the_best_replica_counts(shape: tuple[int, int, int], rng: Random) -> None:
    experts, ranks, redundant = shape
    loads, slots = tuple(rng.randint(0, 60) for _ in range(experts)), experts // ranks + redundant
    assume(any(loads))
    counts = (c for c in product(range(1, ranks + 1), repeat=experts) if sum(c) == ranks * slots)
    share = min(max(Fraction(w, n) for w, n in zip(loads, c, strict=True)) for c in counts)
    found = least_rank_load(loads, ranks, slots)
    assert found == max(share, Fraction(sum(loads), ranks))
    assert least_load(loads, ranks, slots) == -(-found.numerator // found.denominator)


@SMALL
@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 8), st.sampled_from([1, 2, 9, 64, 1000]), st.integers(1, 5))
def test_touches_below_are_at_most_the_exact_ones_and_those_at_most_the_expected(
    load: int, rest: int, top_k: int, tokens: int, replicas: int
) -> None:
    loads = (load, rest)
    exact = 1 - (1 - min(Fraction(1), Fraction(top_k * load, sum(loads) * replicas))) ** tokens
    low, high = touches_below(loads, top_k, tokens, replicas)[0], expected_touches(load, sum(loads), top_k, tokens, replicas)
    assert Fraction(low, 1 << 64) <= exact <= Fraction(high, 1 << 20)
    assert exact - Fraction(low, 1 << 64) <= Fraction(2 * tokens, 1 << 64)


def test_bounds_on_a_large_layer_are_close_to_a_placement_of_it() -> None:
    rng = Random(5)
    loads = tuple(round(1000 * 2 ** rng.gauss(0, 1.2)) for _ in range(64))
    for ranks, redundant in ((16, 1), (16, 2), (32, 1)):
        slots, patterns = 64 // ranks + redundant, ((0,) * ranks,)
        found = profile(deal(0, loads, ranks, redundant, 8, 20_000), loads, 8, 20_000, patterns)
        low = least_profile(loads, 8, ranks, redundant, 20_000, patterns)
        assert low.within(found)
        assert found.tokens <= low.tokens * 1.01
        assert low.touched >= 0.9 * slots * 2**20  # nearly every replica is touched by so many tokens
        assert least_inputs(loads, 8, ranks, slots, 20_000) == low.tokens
        assert least_touched(loads, 8, ranks, slots, 20_000) == low.touched


def test_more_redundant_slots_never_raise_the_bounds_on_load_and_copies() -> None:
    loads, pattern = (40, 9, 9, 5, 3, 2, 1, 1), (0, 0, 1, 1)
    found = [(least_rank_load(loads, 4, slots), least_copies(loads, 2, slots, pattern)) for slots in range(2, 9)]
    assert found == sorted(found, reverse=True)
    touched = [least_touched(loads, 2, 4, slots, 50) for slots in range(2, 9)]
    assert touched == sorted(touched)


@pytest.mark.parametrize("redundant", range(7))
def test_the_default_placement_of_equal_loads_carries_the_mean_on_every_rank(redundant: int) -> None:
    loads, contents = (5,) * 8, contiguous(8, 4, redundant)
    assert is_placement(contents, 8, 2 + redundant)
    assert profile(contents, loads, 1, 40, ((0,) * 4,)).tokens == 10


def test_dealt_placements_fill_every_slot_with_different_experts() -> None:
    rng = Random(3)
    for _ in range(300):
        experts, ranks = rng.choice([(4, 2), (6, 3), (8, 4), (12, 4), (6, 6), (9, 3)])
        redundant = rng.randint(1, experts - experts // ranks)
        loads = (1, *(rng.choice([0, 1, 2, 3, 50]) for _ in range(experts - 1)))
        for contents in (deal(way, loads, ranks, redundant, 2, 5) for way in WAYS):
            assert is_placement(contents, experts, experts // ranks + redundant)


def test_lighter_placements_hold_the_same_replicas() -> None:
    rng = Random(4)
    for _ in range(20):
        loads = tuple(rng.randint(1, 10**6) for _ in range(32))
        dealt = deal(0, loads, 8, 1, 2, 100)
        lighter = lighten(dealt, loads)
        assert is_placement(lighter, 32, 5)
        assert sorted(e for rank in lighter for e in rank) == sorted(e for rank in dealt for e in rank)
        one_domain = ((0,) * 8,)
        assert profile(lighter, loads, 2, 10**6, one_domain).tokens <= profile(dealt, loads, 2, 10**6, one_domain).tokens


def test_a_layer_too_large_to_enumerate_with_replicas_is_told_so() -> None:
    assert every_class(tuple(range(1, 18)), 17, 1, ((0,) * 17,)) is None
    assert every_class(tuple(range(1, 17)), 8, 1, ((0,) * 8,)) is None


# Instances: a model of 8 experts on 4 GPUs, of which one is hot; small enough for exact fronts.


def skewed(**changes: Any) -> Instance:
    """Two MoE layers whose first expert gets five times the tokens of every other."""
    content: Json = json.loads((INSTANCES / "mixtral8x7b_8gpu.json").read_text(encoding="utf-8"))
    del content["reference"]
    layer = content["architecture"]["layers"][0]
    layer["count"] = 2
    content["cluster"]["pools"][0] |= {"gpus_per_node": 4, "scale_up_domain_gpus": 4}
    content["workload"] |= {"kind": "decode", "sequences": 8192, "context_tokens": 16}
    content["workload"].pop("tokens_per_sequence", None)
    content["expert_load"] = {"counts": [[50, *[10] * 7]], "source": "made up"}
    content["space"] = {"name": "folded", "ep": [4], "pp": [1], "tp": [1], "microbatches": [1], "redundant_slots": [0, 1, 2]}
    content["objective"] = {"name": "latency"}
    for path, value in changes.items():
        target, (*parts, last) = content, path.split("__")
        for part in parts:
            target = target[part]
        target[last] = value
    return Instance.model_validate_json(json.dumps(content))


def quiet(_: str) -> None:
    pass


def best(instance: Instance) -> Claim:
    return find(instance, Options(epsilon_ppm=0), quiet)


def test_a_large_skewed_batch_is_worth_redundant_slots() -> None:
    claim = best(skewed())
    assert claim.status is Status.OPTIMAL
    assert all(c.plan.strategy.redundant for c in claim.optimal)
    alone = best(skewed(space__redundant_slots=[0]))
    assert claim.optimal[0].value < alone.optimal[0].value


def test_a_small_batch_pays_for_the_weights_of_redundant_slots() -> None:
    claim = best(skewed(workload__sequences=8))
    assert claim.status is Status.OPTIMAL
    assert all(c.plan.strategy.redundant == 0 for c in claim.optimal)
    forced = best(skewed(workload__sequences=8, space__redundant_slots=[2]))
    assert forced.bound is not None
    assert forced.bound > claim.optimal[0].value


def test_redundant_slots_take_memory_from_the_cache() -> None:
    instance = skewed()
    plan = best(instance).optimal[0].plan
    without = plan._replace(strategy=plan.strategy._replace(redundant=0), placement=(contiguous(8, 4),) * 2)
    more, less = (evaluate(instance, p).stages[0].memory["weights"] for p in (plan, without))
    slot = 3 * 4096 * 14336 * 2  # three matrices of BF16
    assert more - less == 2 * plan.strategy.redundant * slot
    need = evaluate(instance, without).peak_memory_bytes
    tight = json.loads(instance.model_dump_json())
    tight["cluster"]["pools"][0]["accelerator"]["memory_bytes"] = need + slot
    claim = best(Instance.model_validate_json(json.dumps(tight)))
    assert claim.status is Status.OPTIMAL
    assert all(c.plan.strategy.redundant == 0 for c in claim.optimal)
    assert claim.refuted["memory"] > 0


def random_skewed(seed: int) -> Instance:
    rng = Random(seed)
    counts = [round(100 * 2 ** rng.gauss(0, 1.5)) + 1 for _ in range(8)]
    space = {"name": "folded", "etp": [1], "replicas": [1], "redundant_slots": [0, 1, 2], "microbatches": [1, 2]}
    pool = json.loads(skewed().model_dump_json())["cluster"]["pools"][0] | {"scale_up_domain_gpus": rng.choice([4, 4, 2])}
    return skewed(
        workload__sequences=rng.choice([64, 512, 8192]),
        expert_load={"counts": [counts], "source": "made up"},
        space=space,
        cluster__pools=[pool],
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_joint_search_is_never_worse_than_redundant_slots_added_after_choosing(seed: int) -> None:
    joint = random_skewed(seed)
    chosen = claim_of(joint.model_copy(update={"space": joint.space.model_copy(update={"redundant_slots": (0,)})}), Options(), quiet)
    found = best(joint)
    terms = Terms(joint)
    bounds, completion = Bounds(joint, terms), Completion(joint, terms)
    kept = set(strategies(joint))
    later = [s._replace(redundant=n) for c in chosen.optimal for s in (c.plan.strategy,) for n in joint.space.redundant_slots]
    values = [
        made[1].value for s in later if s in kept and not isinstance(made := completion.complete(bounds, s), str) and made[1] is not None
    ]
    assert found.optimal[0].value <= min(values)
    assert found.bound is not None
    assert found.bound <= min(values)


def test_the_joint_route_refuses_redundant_slots_and_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"^space\.redundant_slots: .*; list 0 alone, or use the enumeration route$"):
        find(skewed(), Options(route="joint"), quiet)
    assert (
        find(skewed(space__redundant_slots=[0], workload__sequences=8), Options(route="joint", epsilon_ppm=0), quiet).status
        is Status.OPTIMAL
    )


def test_a_plan_file_may_state_redundant_slots_and_has_none_where_it_does_not() -> None:
    stated, filled = fill_degrees(Degrees(tp=1, ep=8, redundant=2))
    assert (stated.redundant, stated.label()) == (2, "EP8+2 TP1 PP1 DP8")
    assert fill_degrees(Degrees(tp=1, ep=8))[0] == stated._replace(redundant=0)
    assert "redundant" not in filled
    assert AllDegrees(**dict.fromkeys(DEGREES, 1)).redundant == 0


@pytest.mark.parametrize(("redundant", "status"), [(0, "NOT_OPTIMAL"), (1, None), (2, None), (3, "INFEASIBLE"), (7, "INFEASIBLE")])
def test_a_stated_number_of_redundant_slots_is_judged(redundant: int, status: str | None) -> None:
    verdict = judge(skewed(), PlanFile(degrees=Degrees(tp=1, ep=4, redundant=redundant)), Options(), quiet)
    assert verdict.status == status if status else verdict.status in ("OPTIMAL", "NOT_OPTIMAL")
    assert {v.rule for v in verdict.broken} <= {"space", "redundant_slots"}
    assert ("redundant_slots" in {v.rule for v in verdict.broken}) == (redundant > 6)


def test_wrong_contents_of_redundant_slots_break_the_rule_slots() -> None:
    instance = skewed()
    s = Strategy(1, 1, 4, 1, 1, 4, 1, 1, 1, redundant=1)
    good = contiguous(8, 4, 1)
    assert violations(instance, Plan(s, (2,), (good, good))) == []
    wrong = {
        "twice on one rank": ((good[0][0], good[0][0], good[0][2]), *good[1:]),
        r"ranks of 2 slots, experts / ep \+ redundant is 3": contiguous(8, 4),
        "at least once": ((0, 1, 2),) * 4,
        "different numbers": (good[0][:2], *good[1:]),
        "no other": ((0, 1, 99), *good[1:]),
    }
    for said, contents in wrong.items():
        broken = violations(instance, Plan(s, (2,), (good, contents)))
        assert [v.rule for v in broken] == ["slots"], said
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(broken[0].sentence)
    told = violations(instance, Plan(s._replace(redundant=0), (2,), (good, good)))[0].sentence
    assert told.endswith("exactly once (degrees.redundant states redundant slots)")


def test_without_experts_there_are_no_redundant_slots() -> None:
    content = json.loads((INSTANCES / "llama70b_8gpu.json").read_text(encoding="utf-8"))
    content["space"]["redundant_slots"] = [0, 1]
    instance = Instance.model_validate_json(json.dumps(content))
    assert all(s.redundant == 0 for s in strategies(instance))
