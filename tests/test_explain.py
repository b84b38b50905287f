"""`explain`: break-even values against brute force on both sides, the ledger, what binds a plan and what would mend it."""

import json
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from brute import Answer, candidates, plans, solve, strategies
from random_instances import plain_instance, random_instance
from typer.testing import CliRunner

from models.coefficients import SKEW, coefficient_named, coefficients, value_of, with_value
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import near_limit
from models.operators import router
from models.rules import violations, world
from models.strategy import Degrees, PlanFile, Strategy
from models.terms import Terms
from optimizer.cli import app
from optimizer.commands import Files
from optimizer.explaining.breakeven import FINENESS, BreakEven, Defence, Side, break_evens, is_beaten, searched_range, tolerance
from optimizer.explaining.diff import diff_text
from optimizer.explaining.explain import NEAR_PPM, run_explain
from optimizer.explaining.explanation import amount, explain_text
from optimizer.explaining.ledger import ledger
from optimizer.explaining.neighbours import FACTORS, Neighbourhood, changes
from optimizer.explaining.repairs import fewest_broken, least_memory
from optimizer.explaining.resources import savings, stage_terms, term_uses
from optimizer.reading import read_record
from optimizer.search import Options, claim_of, judge

INSTANCES = Path(__file__).parent.parent / "instances"
REFERENCE, PLAN = INSTANCES / "ep64_tp2_128gpu.json", INSTANCES / "ep64_tp2_128gpu.plan.json"
TIGHT = INSTANCES / "llama70b_8gpu_tight.json"
LATE = {"ep": 8, "pp": 16, "microbatches": 16}  # loses on the reference, and wins with faster arithmetic
CROWDED = {"ep": 1, "tp": 32, "pp": 4}  # does not fit the reference
SEEDS = range(40)
BREAK_EVEN_SEEDS = range(24)  # each takes some dozens of exhaustive searches
OPTIONS = Options(epsilon_ppm=0)

Json = dict[str, Any]


def silent(_: str) -> None:
    """Says nothing."""


def stated(s: Strategy) -> PlanFile:
    """A plan file with all degrees; stages and placement are open."""
    return PlanFile(degrees=Degrees(**s.degrees()), order=s.order)


@cache
def answer(seed: int) -> Answer:
    return solve(random_instance(seed))


def losers(seed: int) -> list[Strategy]:
    """Up to two strategies that are not optimal today, of which one cannot run where there is such a one."""
    found, rng = answer(seed), Random(seed)
    every = list(strategies(random_instance(seed)))
    slow = [s for s in every if s in found.values and s not in found.optimal]
    stuck = [s for s in every if s not in found.values]
    return [rng.choice(group) for group in (slow, stuck) if group]


def defence(instance: Instance, plan: PlanFile) -> Defence:
    verdict = judge(instance, plan, OPTIONS, silent)
    return Defence(instance, plan, verdict.plan, OPTIONS, None)


def sides(found: BreakEven) -> Iterator[tuple[Side, int]]:
    yield found.up, 1
    yield found.down, -1


@cache
def sampled(seed: int) -> tuple[tuple[Instance, Strategy, BreakEven], ...]:
    """Break-even values of some coefficients for the losers of an instance."""
    instance, rng, found = random_instance(seed), Random(seed), []
    for s in losers(seed):
        ours = defence(instance, stated(s))
        every = break_evens(ours, silent)
        won = [b for b in every if b.up.wins_at is not None or b.down.wins_at is not None]
        found += [(instance, s, b) for b in {b.coefficient: b for b in [*won[:2], rng.choice(every)]}.values()]
    return tuple(found)


@pytest.mark.parametrize("seed", BREAK_EVEN_SEEDS)
def test_a_plan_is_optimal_where_it_is_said_to_win_and_nowhere_that_is_said_to_be_beaten(seed: int) -> None:
    rng = Random(seed)
    for instance, s, found in sampled(seed):
        for side, _ in sides(found):
            if side.wins_at is not None:
                assert s in solve(with_value(instance, found.coefficient, side.wins_at)).optimal, (s, found.coefficient)
            if not side.beaten:
                continue
            by_chord = [b for b in side.beaten if b.by_chord]
            pieces = [b.piece for b in (side.beaten[0], side.beaten[-1], rng.choice(by_chord or side.beaten))]
            for value in {side.beaten_to, *(rng.randint(p.low, p.high) for p in pieces)}:
                assert value is not None
                assert s not in solve(with_value(instance, found.coefficient, value)).optimal, (s, found.coefficient, value)


@pytest.mark.parametrize("seed", BREAK_EVEN_SEEDS)
def test_the_pieces_join_and_the_two_sides_are_close(seed: int) -> None:
    for _, _, found in sampled(seed):
        for side, step in sides(found):
            if found.coefficient == SKEW:
                continue
            ends = [(b.piece.low, b.piece.high)[::step] for b in side.beaten]
            assert not ends or ends[0][0] == found.now
            assert all(b[0] == a[1] + step for a, b in pairwise(ends))
            if side.wins_at is not None:
                last = found.now - step if side.beaten_to is None else side.beaten_to
                assert 0 < step * (side.wins_at - last) <= 1 + tolerance(found.coefficient, found.now)
            if side.ended == "whole range beaten":
                assert side.beaten_to == side.searched_to


def test_the_random_instances_show_wins_and_ranges_beaten_in_both_directions_and_plans_that_cannot_run() -> None:
    found = [(side, step, b) for seed in BREAK_EVEN_SEEDS for _, _, b in sampled(seed) for side, step in sides(b)]
    assert {step for side, step, _ in found if side.wins_at is not None} == {1, -1}
    assert {step for side, step, _ in found if side.ended == "whole range beaten"} == {1, -1}
    pieces = [b for side, _, _ in found for b in side.beaten]
    assert any(b.rival is None for b in pieces)
    assert any(b.rival is not None for b in pieces)
    assert any(len({b.rival for b in side.beaten}) > 1 for side, _, _ in found)
    assert sum(b.by_chord for b in pieces) > 10
    assert len({b.coefficient.name for side, _, b in found if side.wins_at is not None}) >= 5


@cache
def reference(space: str = "classic") -> Instance:
    return read_record(REFERENCE, Instance, [f"space.name={space}"])


def test_a_whole_plan_is_beaten_at_both_ends_of_every_piece_by_the_rival_named() -> None:
    instance = reference()
    open_ = PlanFile(degrees=Degrees(**LATE))
    plan = judge(instance, open_, OPTIONS, silent).plan
    whole = open_.model_copy(update={"stages": plan.stages, "placement": plan.placement})
    found = break_evens(defence(instance, whole), silent)
    pieces = [(b.coefficient, shown) for b in found for side, _ in sides(b) for shown in side.beaten]
    assert len(pieces) >= 26
    assert any(shown.by_chord for _, shown in pieces)
    for coefficient, shown in pieces:
        for value in {shown.piece.low, shown.piece.high, (shown.piece.low + shown.piece.high) // 2}:
            assert is_beaten(instance, coefficient, plan, shown, value)
    fast = next(b for b in found if b.coefficient.name == "bf16_peak").up
    assert fast.wins_at is not None
    assert not is_beaten(instance, coefficient_named(instance, "bf16_peak") or SKEW, plan, fast.beaten[-1], fast.wins_at)


def test_prove_agrees_on_both_sides_of_a_break_even_of_the_reference() -> None:
    plan = PlanFile(degrees=Degrees(**LATE))
    instance, peak = reference(), coefficient_named(reference(), "bf16_peak")
    assert peak is not None
    side = next(b for b in break_evens(defence(instance, plan), silent) if b.coefficient == peak).up
    assert side.wins_at is not None
    assert side.beaten_to is not None
    assert judge(with_value(instance, peak, side.wins_at), plan, OPTIONS, silent).status == "OPTIMAL"
    assert judge(with_value(instance, peak, side.beaten_to), plan, OPTIONS, silent).status == "NOT_OPTIMAL"
    assert side.wins_at - side.beaten_to <= value_of(instance, peak) // FINENESS + 1


def test_stages_that_are_stated_badly_never_win_as_better_ones_of_the_same_degrees_beat_them() -> None:
    degrees = Degrees(tp=2, ep=8, pp=8, microbatches=16)
    uneven = PlanFile(degrees=degrees, stages=(3, 1, 2, 2, 2, 2, 2, 2))
    found = break_evens(defence(reference(), uneven), silent)
    assert {side.ended for b in found for side, _ in sides(b)} == {"whole range beaten"}


def test_a_wall_limit_that_has_passed_leaves_the_break_evens_open_and_says_so() -> None:
    instance, plan = reference(), PlanFile(degrees=Degrees(**LATE))
    late = Defence(instance, plan, judge(instance, plan, OPTIONS, silent).plan, OPTIONS, 0.0)
    assert {side.ended for b in break_evens(late, silent) for side, _ in sides(b)} == {"wall clock"}


def test_coefficients_are_varied_within_their_fields() -> None:
    for seed in SEEDS:
        instance = random_instance(seed)
        for c in coefficients(instance):
            now, searched = value_of(instance, c), searched_range(c, value_of(instance, c))
            assert c.least <= searched.low <= now <= searched.high <= c.most
            with_value(instance, c, searched.low)
            with_value(instance, c, searched.high)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ledger_adds_up_and_agrees_with_brute_force(seed: int) -> None:
    instance, true = random_instance(seed), answer(seed)
    claim = claim_of(instance, OPTIONS, silent)
    found = ledger(instance, true.value, NEAR_PPM, claim.facts)
    assert found.strategies == true.strategies
    limits = sum(n for rule, n in found.rules.items() if rule not in ("memory", "link"))
    assert {"memory": found.rules.get("memory", 0), "link": found.rules.get("link", 0), "limit": limits} == {
        rule: true.refuted[rule] for rule in ("memory", "link", "limit")
    }
    assert found.best == len(true.optimal)
    most = None if true.value is None else near_limit(true.value, NEAR_PPM)
    assert found.near == sum(most is not None and true.value < v <= most for v in true.values.values())


def test_the_ledger_of_the_reference_names_what_each_strategy_died_by() -> None:
    instance = reference()
    best = claim_of(instance, OPTIONS, silent)
    found = ledger(instance, best.optimal[0].value, NEAR_PPM)
    assert found.rules == best.refuted
    assert min(found.bounds["computation"], found.bounds["communication"]) > 0
    assert found.strategies == best.strategies
    tighter = ledger(instance, best.optimal[0].value, 0)
    assert tighter.near == 0
    assert tighter.best == len(best.optimal)


@pytest.mark.parametrize("seed", SEEDS)
def test_terms_of_the_slowest_stage_are_those_of_the_evaluation(seed: int) -> None:
    instance, rng = random_instance(seed), Random(seed)
    for s in rng.sample(every := list(strategies(instance)), min(3, len(every))):
        plan = rng.choice(list(plans(instance, s)))
        priced = evaluate(instance, plan)
        times = [stage.ns for stage in priced.stages]
        terms = stage_terms(instance, plan, times.index(max(times)))
        assert {n: ns * s.microbatches for n, ns in terms.items() if ns} == {
            n: ns for n, ns in priced.breakdown.items() if ns and n not in ("overlap", "pp_comm", "pipeline_bubble")
        }
        uses = term_uses(instance, plan)
        assert uses.keys() == {n for n, ns in terms.items() if ns}
        assert all(0 < saved <= uses[n].ns for n in uses for saved in uses[n].spent_on.values())
        assert all(ns >= 0 for ns in savings(instance, plan).values())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_router_is_bound_by_the_side_of_the_roofline_on_which_its_operator_lies(seed: int) -> None:
    instance, rng = plain_instance(seed), Random(seed)
    accelerator, arch = instance.cluster.pool.accelerator, instance.architecture
    moe = [(n, g.ffn) for n, g in enumerate(arch.layers) if g.ffn.kind == "moe"]
    every = list(strategies(instance))
    if len(moe) != 1 or not every:
        return
    plan = rng.choice(list(plans(instance, rng.choice(every))))
    (work,) = router(arch, moe[0][1], Terms(instance).shape(plan.strategy).dispatched)
    arithmetic = work.flop * accelerator.hbm_bytes_per_s * accelerator.hbm_efficiency_ppm
    memory = work.bytes * accelerator.peak_flop_per_s[work.dtype] * accelerator.gemm_efficiency_ppm
    spent = term_uses(instance, plan).get("router")
    if spent is not None and max(arithmetic, memory) > 1.5 * min(arithmetic, memory) and spent.ns > 100:
        assert ("arithmetic" in spent.spent_on) == (arithmetic > memory)
        assert ("memory bandwidth" in spent.spent_on) == (memory > arithmetic)


def test_a_collective_is_spent_on_the_tiers_that_it_crosses() -> None:
    instance = reference("folded")
    wide = judge(instance, read_record(PLAN, PlanFile), OPTIONS, silent).plan
    near = judge(instance, PlanFile(degrees=Degrees(tp=1, dp=128, ep=8)), OPTIONS, silent).plan
    assert term_uses(instance, wide)["ep_comm"].bound_by == "scale-out, scale-up"
    assert term_uses(instance, wide)["tp_comm"].bound_by == "scale-up"
    assert term_uses(instance, near)["ep_comm"].bound_by == "scale-up"
    assert savings(instance, near)["scale-out"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_neighbours_are_one_doubling_away_and_stand_as_brute_force_says(seed: int) -> None:
    instance, true = random_instance(seed), answer(seed)
    every = list(strategies(instance))
    for s in Random(seed).sample(every, min(3, len(every))):
        for move in Neighbourhood(instance, s).moves():
            other = move.outcome.strategy
            assert getattr(other, move.degree) == getattr(s, move.degree) * move.factor
            assert world(instance, other) is None
            assert other.gpus == s.gpus
            assert (move.outcome.rule is None) == (other in true.values)
            assert move.outcome.value == true.values.get(other)
            assert bool(move.outcome.sentence) == (move.outcome.rule is not None)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_move_changes_as_few_other_degrees_as_it_takes_to_run(seed: int) -> None:
    instance, true = random_instance(seed), answer(seed)
    every = list(strategies(instance))
    for s in Random(seed).sample(every, min(2, len(every))):
        around = [c for c in candidates(instance) if c.gpus == s.gpus and c.order == s.order and world(instance, c) is None]
        around = [c for c in around if all(Fraction(a, b) in FACTORS for a, b in zip(c[:9], s[:9], strict=True))]
        for move in Neighbourhood(instance, s).moves():
            same = [c for c in around if getattr(c, move.degree) == getattr(s, move.degree) * move.factor]
            same = [c for c in same if c in true.values] or same
            assert len(move.outcome.changed) <= min((len(changes(s, c)) for c in same), default=len(Strategy._fields))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_strategy_that_runs_is_nearer_than_those_listed(seed: int) -> None:
    instance, true = random_instance(seed), answer(seed)
    every = list(strategies(instance))
    for s in Random(seed).sample(every, min(2, len(every))):
        found = Neighbourhood(instance, s).nearest_that_run(2)
        counts = sorted(len(changes(s, other)) for other in true.values if other != s)
        assert [len(o.changed) for o in found] == counts[:2]
        assert all(o.value == true.values[o.strategy] for o in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_strategy_runs_with_the_memory_named_and_not_with_a_byte_less(seed: int) -> None:
    instance, memory = random_instance(seed), coefficient_named(random_instance(seed), "memory")
    assert memory is not None
    every = list(strategies(instance))
    for s in Random(seed).sample(every, min(2, len(every))):
        found = least_memory(instance, s)
        roomy = with_value(instance, memory, memory.most)
        running = [p for p in plans(instance, s) if not violations(roomy, p)]
        if isinstance(found, str):
            assert not running
        else:
            assert found.need == min(evaluate(instance, p).peak_memory_bytes for p in running)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_completion_breaks_fewer_rules_where_the_set_is_said_to_be_smallest(seed: int) -> None:
    instance, true = random_instance(seed), answer(seed)
    for s in [s for s in strategies(instance) if s not in true.values][:4]:
        plan = stated(s)
        found = fewest_broken(instance, plan, judge(instance, plan, OPTIONS, silent))
        every = [{v.rule for v in violations(instance, p)} for p in plans(instance, s)]
        assert set(found.rules) in every
        assert all(
            len(found.rules) <= len({v.rule for v in violations(instance, p)})
            for p in plans(instance, s)
            if p.placement == found.plan.placement
        )
        if found.smallest:
            assert len(found.rules) == min(map(len, every))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_plan_file_leaves_open_its_explanation_agrees_with_brute_force(seed: int) -> None:
    instance, true, rng = random_instance(seed), answer(seed), Random(seed)
    every = list(strategies(instance))
    if not every:
        return
    plan = rng.choice(list(plans(instance, s := rng.choice(every))))
    runs = not violations(instance, plan)
    best = runs and evaluate(instance, plan).value == true.value
    whole = stated(s).model_copy(update={"stages": plan.stages, "placement": plan.placement})
    found = run_explain(instance, whole, OPTIONS, Files(None, False, None), silent)
    assert found["status"] == ("OPTIMAL" if best else "NOT_OPTIMAL" if runs else "INFEASIBLE")
    assert bool(found["break_even"]) == (not best)
    for open_ in ({"stages": None}, {"placement": None}, {"stages": None, "placement": None}):
        found = run_explain(instance, whole.model_copy(update=open_), OPTIONS, Files(None, False, None), silent)
        assert found["status"] in (("OPTIMAL", "NOT_OPTIMAL") if s in true.values else ("INFEASIBLE", "UNKNOWN")) or len(open_) == 1
        assert found["instance"]["name"] in explain_text(found)


def test_an_empty_space_has_an_empty_ledger(tmp_path: Path) -> None:
    code, found = explain(REFERENCE, plan_file(tmp_path, ep=64, tp=2), "--set", "space.tp=[7]")
    assert code == 3
    assert found["ledger"]["strategies"] == 0
    assert found["nearest_that_run"] == []
    assert found["best"] is None
    assert "ledger of 0 strategies" in explain_text(found)


def explain(*args: object) -> tuple[int, Json]:
    result = CliRunner().invoke(app, ["explain", *map(str, args), "--json", "--quiet"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}


def plan_file(folder: Path, **degrees: int) -> Path:
    path = folder / "plan.json"
    path.write_text(json.dumps({"degrees": degrees}))
    return path


COMMON = {"schema", "status", "tool", "instance", "assumptions", "seconds", "neighbours", "break_even", "ledger", "reproducible"}


def test_an_optimal_plan_exits_0_with_nothing_to_change() -> None:
    code, found = explain(REFERENCE, PLAN)
    assert (code, found["status"], found["schema"]) == (0, "OPTIMAL", "shardproof/explain/1")
    assert found.keys() >= COMMON | {"limits", "terms", "saved_if_free_ns", "plan", "value", "bound"}
    assert found["break_even"] == []
    assert sum(t["ns"] for t in found["terms"]) == found["plan"]["metrics"]["step_ns"]
    memory = found["limits"][0]
    assert memory["need"] == sum(memory["parts"].values())
    assert memory["slack"] == memory["have"] - memory["need"]


def test_a_plan_that_loses_exits_5_and_every_coefficient_is_looked_at(tmp_path: Path) -> None:
    code, found = explain(REFERENCE, plan_file(tmp_path, **LATE))
    assert (code, found["status"]) == (5, "NOT_OPTIMAL")
    assert [b["coefficient"] for b in found["break_even"]] == [c.name for c in coefficients(reference())]
    peak = next(b for b in found["break_even"] if b["coefficient"] == "bf16_peak")
    assert peak["now"] < peak["not_optimal_to"] < peak["wins_at"]
    assert peak["up"]["ended"] == "won"
    assert {b["rival"]["label"] for b in peak["up"]["beaten_by"]} >= {found["better"]["label"]}
    assert sum(t["ns"] - t["best_ns"] for t in found["terms"]) == found["value"] - found["bound"]


def test_a_plan_that_cannot_run_exits_3_with_the_smallest_set_and_what_would_mend_it(tmp_path: Path) -> None:
    code, found = explain(REFERENCE, plan_file(tmp_path, **CROWDED))
    assert (code, found["status"]) == (3, "INFEASIBLE")
    assert found.keys() >= COMMON | {"smallest_set", "least_memory", "nearest_that_run", "best"}
    assert found["smallest_set"]["rules"] == ["memory"]
    assert found["smallest_set"]["proved_smallest"]
    need = found["least_memory"]["need"]
    path = f"cluster.accelerator.memory_bytes={need}"
    assert explain(REFERENCE, plan_file(tmp_path, **CROWDED), "--set", path)[0] == 5
    assert explain(REFERENCE, plan_file(tmp_path, **CROWDED), "--set", f"{path[:-1]}{int(path[-1]) - 1}")[0] == 3
    assert found["nearest_that_run"][0]["changed"] == ["microbatches"]


def test_a_plan_that_fits_together_with_nothing_breaks_rules_that_no_coefficient_mends(tmp_path: Path) -> None:
    code, found = explain(REFERENCE, plan_file(tmp_path, ep=63, tp=2))
    assert code == 3
    assert {"world", "experts_divide"} <= set(found["smallest_set"]["rules"])
    assert found["break_even"] == []
    assert found["least_memory"] is None


def test_a_search_that_is_cut_short_claims_nothing_and_exits_4(tmp_path: Path) -> None:
    code, found = explain(REFERENCE, plan_file(tmp_path, tp=1, dp=128, ep=8), "--space", "folded", "--effort", "1")
    assert (code, found["status"]) == (4, "UNKNOWN")
    assert found["ledger"] is None
    assert found["break_even"] == []


def test_dense_models_are_explained_too(tmp_path: Path) -> None:
    code, found = explain(TIGHT, plan_file(tmp_path, tp=4, dp=2))
    assert code == 3
    assert found["smallest_set"]["rules"] == ["memory"]
    assert found["ledger"]["rules"]["memory"] > 0
    assert "experts" not in str(found["break_even"])


def test_the_result_is_written_and_the_same_each_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, found = explain(REFERENCE, plan_file(tmp_path, **LATE), "--out", out)
    again = explain(REFERENCE, plan_file(tmp_path, **LATE))[1]
    assert code == 5
    assert {p.name for p in out.iterdir()} == {"explain.json", "certificate.json"}
    written = json.loads((out / "explain.json").read_text())
    assert {**written, "seconds": 0} == {**found, "seconds": 0} == {**again, "seconds": 0}


def test_the_text_answers_each_question_with_figures(tmp_path: Path) -> None:
    _, losing = explain(REFERENCE, plan_file(tmp_path, **LATE))
    text = explain_text(losing)
    for heading in (
        "NOT OPTIMAL in classic",
        "limits, tightest first",
        "where the time goes",
        "what would have to change",
        "ledger of 136",
    ):
        assert heading in text
    assert "bf16_peak" in text.split("what would have to change")[1].split("no value in these ranges")[0]
    _, stuck = explain(REFERENCE, plan_file(tmp_path, **CROWDED))
    text = explain_text(stuck)
    for words in (
        "INFEASIBLE: the plan cannot run",
        "smallest set of broken rules: memory",
        "nearest strategies that run",
        "not with less",
    ):
        assert words in text


def compared(*args: object) -> tuple[int, Json]:
    result = CliRunner().invoke(app, ["diff", *map(str, args), "--instance", str(REFERENCE), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_diff_sets_two_plans_side_by_side(tmp_path: Path) -> None:
    code, found = compared(PLAN, other := plan_file(tmp_path, **LATE))
    back = compared(other, PLAN)[1]
    assert (code, found["status"], found["schema"]) == (0, "COMPARED", "shardproof/diff/1")
    assert found["difference"] == sum(found["difference_ns"].values()) == -back["difference"] > 0
    assert set(found["changed"]) == {"tp", "dp", "pp", "etp", "ep", "microbatches"}
    assert [sum(m.values()) for m in found["memory_bytes"]] == [
        max(sum(s.values()) for s in p["metrics"]["memory_bytes_by_stage"]) for p in found["plans"]
    ]
    assert "is dearer by 406.948 ms (64.37 %)" in diff_text(found)
    assert "is cheaper by" in diff_text(back)
    assert "costs the same" in diff_text(compared(PLAN, PLAN)[1])


def test_diff_with_a_plan_that_cannot_run_exits_3_and_says_which_rules_it_breaks(tmp_path: Path) -> None:
    code, found = compared(PLAN, plan_file(tmp_path, **CROWDED))
    assert (code, found["status"]) == (3, "INFEASIBLE")
    assert [bool(b) for b in found["broken"]] == [False, True]
    assert "memory" in diff_text(found)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (64 * 10**9, "bytes", "64 GB"),
        (1_800_000_000_000, "bytes/s", "1.8 TB/s"),
        (5_000, "ns", "5 us"),
        (0, "ns", "0 ns"),
        (600_000, "ppm", "60 %"),
        (0, "ppm", "0 %"),
        (989 * 10**12, "FLOP/s", "989 TFLOP/s"),
    ],
)
def test_amounts_are_shown_in_a_unit_that_suits(value: int, unit: str, text: str) -> None:
    assert amount(value, unit) == text
