"""How far coefficients may be off: pieces, refuting values and records, against exhaustive search at single values."""

import copy
import json
import os
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import brute
import pytest
from random_instances import plain_instance, random_instance, redundant_instance

from models.bounds import Bounds
from models.coefficients import SKEW, Coefficient, coefficient_named, coefficients, value_of, with_value
from models.enumeration import strategies
from models.errors import InputError, VerificationError
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import value_of as weight_of
from models.result import Status
from models.rules import violations
from models.strategy import Degrees, Plan, PlanFile, Strategy
from models.terms import Terms
from optimizer.commands import Files, run_prove, run_search
from optimizer.reading import read_record
from optimizer.render import prove_text, search_text
from optimizer.robustness.chords import Point, bound_point, place_of, roundings, stays_above, without_limits
from optimizer.robustness.intervals import Interval, certified_interval, intervals
from optimizer.robustness.records import check_interval, interval_json
from optimizer.robustness.rivals import is_best_of_its_strategy, is_outdone, is_twin, likeness
from optimizer.search import Options, find

COUNT = min(int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "40")), 400)
SEEDS = range(COUNT)
EFFORT = 5_000  # strategies bounded per coefficient


class Case(NamedTuple):
    """A random instance with a proved optimum and what is certified about it."""

    instance: Instance
    plan: Plan
    found: tuple[Interval, ...]


@cache
def case(seed: int) -> Case | None:
    """None where nothing runs, or the optimum is not proved."""
    instance = random_instance(seed)
    claim = find(instance, Options(epsilon_ppm=0), lambda _: None)
    if claim.status is not Status.OPTIMAL:
        return None
    plan = Random(seed).choice(claim.optimal).plan
    return Case(instance, plan, intervals(instance, plan, EFFORT))


def cases() -> Iterator[Case]:
    return (found for seed in SEEDS if (found := case(seed)) is not None)


def sampled(rng: Random, interval: Interval) -> list[int]:
    """Both ends of what is certified, and a value inside some piece."""
    piece = rng.choice(interval.pieces)
    ends = (interval.low, interval.high) if interval.coefficient != SKEW else ()
    return sorted({v for v in (*ends, rng.randint(piece.low, piece.high)) if v is not None})


@pytest.mark.parametrize("seed", SEEDS)
def test_at_every_value_inside_a_certified_piece_exhaustive_search_finds_the_plan_optimal(seed: int) -> None:
    looked_at, rng = case(seed), Random(seed)
    if looked_at is None:
        pytest.skip("nothing runs here")
    instance, plan, found = looked_at
    for interval in found if len(list(brute.strategies(instance))) < 40 else rng.sample(found, 5):
        for value in sampled(rng, interval):
            changed = with_value(instance, interval.coefficient, value)
            truth = brute.solve(changed)
            assert plan.strategy in truth.optimal, (interval.coefficient.name, value)
            if interval.whole_plan:
                assert not violations(changed, plan)
                assert evaluate(changed, plan).value == truth.value


@pytest.mark.parametrize("seed", SEEDS)
def test_at_every_refuting_value_exhaustive_search_finds_the_better_plan_and_not_ours(seed: int) -> None:
    looked_at, rng = case(seed), Random(seed)
    if looked_at is None:
        pytest.skip("nothing runs here")
    instance, plan, found = looked_at
    refuted = [(i.coefficient, r) for i in found for r in (i.below, i.above) if r is not None]
    for coefficient, r in rng.sample(refuted, min(4, len(refuted))):
        truth = brute.solve(with_value(instance, coefficient, r.value))
        assert plan.strategy not in truth.optimal
        assert truth.values.get(plan.strategy) == r.ours
        if r.better is None:
            assert r.ours is None
        else:
            assert truth.values[r.better.plan.strategy] == r.better.value
            assert r.ours is None or r.better.value < r.ours


def test_certified_ranges_hold_the_stated_value_and_meet_the_refuting_ones() -> None:
    tally: Counter[str] = Counter()
    for _, _, found in cases():
        for i in found:
            assert i.low is not None, i.coefficient.name
            assert i.high is not None, i.coefficient.name
            assert i.low <= i.now <= i.high
            if i.coefficient == SKEW:
                continue
            for refuted, end, limit in ((i.below, i.low, i.searched.low), (i.above, i.high, i.searched.high)):
                if refuted is None:
                    tally["to the limit" if end == limit else "open"] += 1
                else:
                    assert (refuted.value < i.low) if refuted is i.below else (refuted.value > i.high)
                    tally["adjacent" if abs(refuted.value - end) == 1 else "gap"] += 1
    assert tally["to the limit"] > 100
    assert tally["adjacent"] > 20
    assert tally["open"] + tally["gap"] < tally["adjacent"], tally


@pytest.mark.parametrize("seed", SEEDS)
def test_strategies_called_alike_cost_the_same_under_all_coefficients(seed: int) -> None:
    instance, rng = random_instance(seed), Random(seed)
    terms, every = Terms(instance), list(brute.strategies(instance))
    alike: dict[object, list[Any]] = {}
    for s in every:
        alike.setdefault(likeness(terms, s), []).append(s)
    groups = [g for g in alike.values() if len(g) > 1]
    for first, *others in rng.sample(groups, min(4, len(groups))):
        plan, changed = rng.choice(list(brute.plans(instance, first))), instance
        for c in coefficients(instance):
            if c != SKEW:
                changed = with_value(changed, c, min(c.most, rng.randint(1, 3 * value_of(instance, c) + 2)))
        for other in others:
            a, b = evaluate(changed, plan), evaluate(changed, plan._replace(strategy=other))
            assert (a.step_ns, a.stages) == (b.step_ns, b.stages)
            assert is_twin(terms, first, other)
            assert a.value == b.value
            assert weight_of(instance, other) == weight_of(instance, first)


def test_a_strategy_outdone_in_redundant_slots_is_never_cheaper_under_any_rates() -> None:
    rng, tally = Random(2), Counter[str]()
    for seed in range(1, 25):
        instance = redundant_instance(seed)
        bounds, every = Bounds(instance), list(strategies(instance))
        for s, other in ((a, b) for a in every for b in every if a.redundant < b.redundant):
            solution = bounds.exact(s)
            if isinstance(solution, str) or not solution.exact:
                continue
            plan = Plan(s, solution.split.stages, tuple(p for p in solution.placements if p is not None))
            if not is_outdone(bounds.terms, plan, other):
                tally["not outdone"] += other._replace(redundant=s.redundant) == s
                continue
            tally["outdone"] += 1
            for _ in range(4):
                changed = instance
                for c in coefficients(instance):
                    if c != SKEW:
                        changed = with_value(changed, c, min(c.most, rng.randint(1, 3 * value_of(instance, c) + 2)))
                ours, theirs = (Bounds(changed).exact(x) for x in (s, other))
                assert isinstance(theirs, str) or (not isinstance(ours, str) and ours.step_ns <= theirs.step_ns)
    assert min(tally.values()) >= 5
    assert len(tally) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_rounding_adds_no_more_than_is_counted(seed: int) -> None:
    """All rates a million times slower, all latencies as much longer: the cost is a million times the unrounded one, and a little."""
    instance, rng, scale = plain_instance(seed), Random(seed), 10**6
    coarse = fine = without_limits(instance)
    for c in coefficients(instance):
        if c.unit in ("bytes/s", "FLOP/s"):
            now = value_of(instance, c) % 10_000 + 1
            coarse, fine = with_value(coarse, c, now * scale), with_value(fine, c, now)
        elif c.unit == "ns":
            coarse, fine = with_value(coarse, c, value_of(instance, c) % 50), with_value(fine, c, value_of(instance, c) % 50 * scale)
    every = list(brute.strategies(instance))
    tables = Bounds(coarse), Bounds(fine)
    for s in rng.sample(every, min(12, len(every))):
        weight = weight_of(instance, s)
        slack, plan = roundings(instance, s, weight), rng.choice(list(brute.plans(instance, s)))
        rounded, exact = evaluate(coarse, plan).value, Fraction(evaluate(fine, plan).value - weight.constant, scale) + weight.constant
        assert exact <= rounded + 1  # the fine one is rounded too, a millionth as much
        assert rounded - slack <= exact
        points = [bound_point(table, s, Fraction(1)) for table in tables]
        if points[0] is not None and points[1] is not None:
            assert points[0].least <= Fraction(points[1].cost - weight.constant, scale) + weight.constant


@pytest.mark.parametrize("seed", SEEDS)
def test_the_unrounded_bound_is_convex_in_its_coordinate(seed: int) -> None:
    instance, rng = without_limits(plain_instance(seed)), Random(seed)
    every = list(brute.strategies(instance))
    for c in coefficients(instance):
        if c.more_is not in ("faster", "slower"):
            continue
        now = value_of(instance, c)
        at = sorted({min(c.most, max(c.least, v)) for v in (now // 3, now, now * 2, rng.randint(0, now * 4 + 9))})
        tables = [Bounds(with_value(instance, c, v)) for v in at]
        for s in rng.sample(every, min(4, len(every))):
            points = [bound_point(table, s, place_of(c, v)) for table, v in zip(tables, at, strict=True)]
            for a, b, d in zip(points, points[1:], points[2:], strict=False):
                if a and b and d:
                    t = (b.x - a.x) / (d.x - a.x)
                    assert b.least <= a.cost * (1 - t) + d.cost * t


def test_a_chord_and_secants_never_certify_a_piece_with_a_dearer_value_in_it() -> None:
    """Sums of quotients rounded up, and of quotients or constants, whichever is larger: tried at every value."""
    rng, above = Random(5), 0
    for _ in range(4_000):
        a = rng.randint(5, 40)
        b, shift = a + rng.randint(1, 30), rng.randint(-3, 3)
        ours = [rng.randint(1, 300) for _ in range(rng.randint(1, 4))]
        theirs = [(rng.choice([0, 0, rng.randint(1, 12)]), max(1, w + rng.randint(-1, 1))) for w in ours]

        def cost(v: int, terms: list[int] = ours, more: int = shift) -> int:
            return sum(-(-w // v) for w in terms) - more

        def bound(v: int, terms: list[tuple[int, int]] = theirs) -> int:
            return sum(max(least, -(-w // v)) for least, w in terms)

        x = {v: Fraction(1, v) for v in range(1, 3 * b)}
        points = [Point(x[v], bound(v), len(ours)) for v in (a - rng.randint(1, a - 1), a, b, b + rng.randint(1, b))]
        if stays_above((Point(x[a], cost(a), len(ours)), Point(x[b], cost(b), len(ours))), (points[0], points[1], points[2], points[3])):
            above += 1
            assert all(cost(v) <= bound(v) for v in range(a, b + 1))
    assert above > 100


def records(seed: int) -> Iterator[tuple[Case, Any]]:
    found = case(seed)
    if found is not None:
        for interval in found.found:
            yield found, json.loads(json.dumps(interval_json(interval)))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_record_is_confirmed_without_the_search(seed: int) -> None:
    for (instance, plan, _), record in records(seed):
        check_interval(instance, plan, record)


def mutated(record: Any) -> Iterator[tuple[str, Any]]:
    """Records that say something untrue."""

    def changed(**fields: Any) -> Any:
        return copy.deepcopy(record) | fields

    low, high = record["certified"]
    for side, refuted in (("below", record["below"]), ("above", record["above"])):
        if refuted is None:
            continue
        pieces = copy.deepcopy(record["pieces"])
        if record["coefficient"] == SKEW.name:
            wider = sorted([*pieces, [refuted["value"]] * 2])
            yield "widened", changed(pieces=wider, certified=_joined(wider, record["now"]))
        elif side == "above":
            last = max(n for n, piece in enumerate(pieces) if piece[0] <= high)
            yield "widened", changed(pieces=[*pieces[:last], [pieces[last][0], refuted["value"]]], certified=[low, refuted["value"]])
            yield "new piece", changed(pieces=[*pieces, [high + 1, refuted["value"]]], certified=[low, refuted["value"]])
        else:
            yield "widened", changed(pieces=[[refuted["value"], pieces[0][1]], *pieces[1:]], certified=[refuted["value"], high])
        yield "refuted where it is certified", changed(**{side: refuted | {"value": record["now"]}})
        yield "ours cheaper", changed(**{side: refuted | {"ours": (refuted["ours"] or 0) + 1}})
        if refuted["better"] is not None:
            better = refuted["better"]
            yield "better still", changed(**{side: refuted | {"better": better | {"value": better["value"] - 1}}})
            yield "no strategy", changed(**{side: refuted | {"better": better | {"degrees": better["degrees"] | {"tp": 5040}}}})
        if refuted["ours"] is not None:
            yield "better than nothing", changed(**{side: refuted | {"better": None}})
    yield "another now", changed(now=record["now"] + 1)
    yield "another range", changed(searched=[record["searched"][0], record["searched"][1] + 1])
    yield "joined by hand", changed(certified=[low, high + 1])
    yield "out of order", changed(pieces=[*record["pieces"], record["pieces"][0]])
    yield "no such coefficient", changed(coefficient="speed_of_light")
    yield "another unit", changed(unit="parsec")
    yield "not a record", {}
    if not record["whole_plan"]:
        yield "the whole plan", changed(whole_plan=True)


def _joined(pieces: list[list[int]], now: int) -> list[int] | None:
    return [now, now] if [now, now] in pieces else None


def confirmed(instance: Instance, plan: Plan, record: Any) -> bool:
    try:
        check_interval(instance, plan, record)
    except VerificationError:
        return False
    return True


def test_each_mutation_of_a_record_is_refused() -> None:
    refused: Counter[str] = Counter()
    for seed in range(25):
        for (instance, plan, _), record in records(seed):
            for name, changed in mutated(record):
                assert not confirmed(instance, plan, changed), f"{name}: {record['coefficient']} of seed {seed}"
                refused[name] += 1
    assert min(refused.values()) >= 5, refused
    assert len(refused) == 15


def test_a_plan_that_is_not_optimal_has_no_certified_range_and_is_refuted_where_it_stands() -> None:
    seen = 0
    for instance, plan, _ in cases():
        truth = brute.solve(instance)
        worse = [s for s, value in truth.values.items() if truth.value is not None and value > truth.value]
        if not worse:
            continue
        loser = next(brute.plans(instance, worse[0]))
        c: Coefficient = Random(seen).choice([c for c in coefficients(instance) if c != SKEW])
        interval = certified_interval(instance, loser, c)
        assert interval.low is None
        assert interval.pieces == ()
        assert interval.above is not None
        assert interval.above.value == interval.now
        assert plan.strategy != loser.strategy
        seen += 1
    assert seen > COUNT // 2


def test_a_small_effort_certifies_less_but_never_wrongly() -> None:
    instance, plan, found = next(c for c in cases() if any(len(i.pieces) > 6 for i in c.found))
    whole = max(found, key=lambda i: len(i.pieces))
    part = certified_interval(instance, plan, whole.coefficient, most_bounded=10)
    assert len(part.pieces) < len(whole.pieces)
    check_interval(instance, plan, interval_json(part))
    assert coefficient_named(instance, whole.coefficient.name) == whole.coefficient


def test_prove_prints_where_each_coefficient_may_lie_and_refuses_where_nothing_is_proved() -> None:
    folder = Path(__file__).parent.parent / "instances"
    instance = read_record(folder / "ep64_tp2_128gpu.json", Instance)
    plan = read_record(folder / "ep64_tp2_128gpu.plan.json", PlanFile)
    result = run_prove(instance, plan, Options(), Files(None, False, None), lambda _: None, robustness=True)
    records = result["robustness"]["intervals"]
    assert [r["coefficient"] for r in records] == [c.name for c in coefficients(instance)]
    bandwidth = next(r for r in records if r["coefficient"] == "scale_out_bandwidth")
    assert bandwidth["certified"] == [21_111_736_505, 200_000_000_000]
    assert bandwidth["below"]["value"] == 21_111_736_504
    assert "21.111 GB/s" in prove_text(result)
    optimum = find(instance, Options(), lambda _: None).optimal[0].plan
    for record in records:
        check_interval(instance, optimum, json.loads(json.dumps(record)))
    worse = PlanFile(degrees=Degrees(tp=4, ep=32))
    lost = run_prove(instance, worse, Options(), Files(None, False, None), lambda _: None, robustness=True)
    assert lost["robustness"]["intervals"] == []
    assert "robustness: none, the plan is not proved optimal" in prove_text(lost)


def test_search_prints_the_plan_of_least_regret() -> None:
    instance = read_record(Path(__file__).parent.parent / "instances" / "ep64_tp2_128gpu.json", Instance)
    result = run_search(instance, Options(), Files(None, False, None), lambda _: None, "40")
    assert result["robust"]["regret_at_least_ppm"] <= result["robust"]["best"]["regret_at_most_ppm"] < 60_000
    assert "every plan has at least 5.8" in search_text(result)
    for wrong in ("0", "100", "-3", "ten"):
        with pytest.raises(InputError, match="--robust"):
            run_search(instance, Options(), Files(None, False, None), lambda _: None, wrong)


def best_plan(instance: Instance, s: Strategy) -> Plan:
    return min(brute.plans(instance, s), key=lambda plan: evaluate(instance, plan).step_ns)


def test_a_plan_called_best_of_its_strategy_is_so_under_all_coefficients() -> None:
    tally: Counter[tuple[bool, bool]] = Counter()
    for seed in range(120):
        instance, rng = random_instance(seed), Random(seed)
        split = [s for s in brute.strategies(instance) if s.pp > 1 or s.ep > 1]
        for s in rng.sample(split, min(3, len(split))):
            plan = best_plan(instance, s)
            called = is_best_of_its_strategy(instance, plan)
            tally[called, s.pp > 1] += 1
            for _ in range(3 if called else 0):
                changed = instance
                for c in coefficients(instance):
                    if c.more_is in ("faster", "slower"):
                        changed = with_value(changed, c, min(c.most, max(c.least, rng.randint(1, 9) * value_of(instance, c) // 3)))
                assert evaluate(changed, plan).step_ns == evaluate(changed, best_plan(changed, s)).step_ns
    assert min(tally.values()) > 10, tally
    assert len(tally) == 4


def test_plans_for_long_latencies_lose_at_short_ones() -> None:
    lost = 0
    for instance, _, found in cases():
        for i in found:
            if i.coefficient.more_is != "slower" or i.above is None or i.above.better is None:
                continue
            longer = with_value(instance, i.coefficient, i.above.value)
            claim = find(longer, Options(epsilon_ppm=0), lambda _: None)
            if claim.status is not Status.OPTIMAL:
                continue
            plan = claim.optimal[0].plan
            interval = certified_interval(longer, plan, i.coefficient, EFFORT)
            for value in sampled(Random(lost), interval):
                assert plan.strategy in brute.solve(with_value(instance, i.coefficient, value)).optimal
            lost += interval.below is not None and interval.low == interval.below.value + 1 > i.now
    assert lost >= 5
