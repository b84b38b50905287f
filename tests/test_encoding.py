"""The joint CP-SAT model against the rules and against brute force, on tiny random instances."""

import os
from itertools import permutations
from random import Random

import pytest
from brute import candidates, plans, solve
from ortools.sat.python import cp_model
from random_instances import random_instance

from models.evaluate import evaluate
from models.instance import Instance
from models.placement import contiguous
from models.result import Status
from models.rules import strategy_violations, violations
from models.strategy import Plan, complete_stages
from optimizer.certify import certificate_of
from optimizer.check import confirm
from optimizer.doctor import TINY
from optimizer.encoding.build import build
from optimizer.encoding.constraints import CONSTRAINTS
from optimizer.encoding.guard import ROW_LIMIT, UnsafeModel, guard
from optimizer.encoding.tables import Tables, prepare
from optimizer.encoding.variables import Constraint, extract
from optimizer.reading import validate
from optimizer.solve import SolverLimits, make_solver, read_status, solve_jointly

COUNT = int(os.environ.get("SHARDPROOF_RANDOM_INSTANCES", "150"))
LIMITS = SolverLimits(deterministic=100.0, seconds=None, seed=0, workers=1)
EPSILON_PPM = 50_000


@pytest.mark.parametrize("seed", range(COUNT // 2))
def test_joint_model_finds_the_optimum_and_every_near_optimal_strategy_of_brute_force(seed: int) -> None:
    instance = random_instance(seed)
    answer, claim = solve(instance), solve_jointly(instance, EPSILON_PPM, LIMITS, lambda _: None)
    confirm(certificate_of(instance, claim), instance)
    assert claim.status is (Status.OPTIMAL if answer.feasible else Status.INFEASIBLE)
    assert claim.bound == answer.value
    assert {c.plan.strategy for c in claim.optimal} == set(answer.optimal)
    best = answer.value
    near = {} if best is None else {s: v for s, v in answer.values.items() if best < v <= best + best * EPSILON_PPM // 1_000_000}
    assert {c.plan.strategy: c.value for c in claim.near} == near


def accepts(tables: Tables, plan: Plan, constraints: tuple[Constraint, ...] = CONSTRAINTS) -> bool:
    """Whether the model has a solution with this strategy, split and placement."""
    model, v = build(tables, constraints)
    model.add_bool_and(v.strategy[plan.strategy])
    stage_of = [p for p, n in enumerate(plan.stages) for _ in range(n)]
    for (n, p), literal in v.stage.items():
        model.add(literal == int(stage_of[n] == p))
    for (unit, ep, e, r), literal in v.holds.items():
        model.add(literal == int(ep == plan.strategy.ep and e in plan.placement[unit][r]))
    return read_status(make_solver(LIMITS).solve(model)) in (Status.OPTIMAL, Status.FEASIBLE)


def sample(instance: Instance, tables: Tables, rng: Random, count: int) -> list[Plan]:
    """Plans of the world table, at least half of them with a strategy that keeps R1-R12."""
    every = list(candidates(instance))
    live = [s for s in every if not any(strategy_violations(instance, s))]
    table, layers, moe = set(tables.world), instance.architecture.layer_count, instance.architecture.moe_layers
    found = []
    for n in range(count):
        s = rng.choice(live if n % 2 and live else every)
        if s in live:
            options = [p for p in plans(instance, s) if all(p.placement[a] == p.placement[b] for a, b in tables.units.items())]
            found.append(rng.choice(options))
        elif s in table and s.pp <= layers and s.pp <= max((x.pp for x in live), default=1):
            experts = instance.architecture.experts
            placement = contiguous(experts, s.ep) if experts % s.ep == 0 else ((),) * s.ep
            found.append(Plan(s, complete_stages(layers, s.pp), (placement,) * moe))
    return found


@pytest.mark.parametrize("seed", range(max(1, COUNT // 5)))
def test_encoding_accepts_exactly_what_the_rules_accept(seed: int) -> None:
    instance = random_instance(seed)
    tables = prepare(instance, None)
    for plan in sample(instance, tables, Random(seed), 6):
        broken = violations(instance, plan)
        assert accepts(tables, plan) == (not broken), (plan, broken)


def test_some_sampled_plans_are_accepted_and_some_refused() -> None:
    verdicts = set()
    for seed in range(6):
        instance = random_instance(seed)
        verdicts |= {bool(violations(instance, p)) for p in sample(instance, prepare(instance, None), Random(seed), 6)}
    assert verdicts == {False, True}


def test_the_world_table_holds_every_strategy_of_the_identities() -> None:
    for seed in range(20):
        instance = random_instance(seed)
        if instance.space.name == "folded":
            assert set(candidates(instance)) <= set(prepare(instance, None).world)


def test_redundant_constraint_changes_no_optimum() -> None:
    alive = next(c for c in CONSTRAINTS if c.__name__ == "alive")
    rest = tuple(c for c in CONSTRAINTS if c is not alive)
    for seed in range(12):
        tables = prepare(random_instance(seed), 0)
        values = []
        for constraints in (CONSTRAINTS, rest):
            solver = make_solver(LIMITS)
            model, _ = build(tables, constraints)
            status = read_status(solver.solve(model))
            values.append((status, solver.objective_value if status is Status.OPTIMAL else None))
        assert values[0] == values[1]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_seed_gives_the_same_claim(workers: int) -> None:
    instance, limits = random_instance(3), LIMITS._replace(workers=workers)
    assert solve_jointly(instance, 0, limits, lambda _: None) == solve_jointly(instance, 0, limits, lambda _: None)


def test_a_spent_limit_is_no_claim() -> None:
    claim = solve_jointly(random_instance(3), 0, LIMITS._replace(deterministic=0.0), lambda _: None)
    assert claim.status in (Status.UNKNOWN, Status.FEASIBLE)
    assert claim.limited


def test_guard_refuses_large_rows_floats_and_doubled_names() -> None:
    large = cp_model.CpModel()
    x = [large.new_bool_var(f"x{k}") for k in range(4)]
    large.add(sum((ROW_LIMIT // 4) * v for v in x) <= ROW_LIMIT // 2)
    with pytest.raises(UnsafeModel, match="add up"):
        guard(large)
    floating = cp_model.CpModel()
    floating.minimize(0.1 * floating.new_bool_var("x"))
    with pytest.raises(UnsafeModel, match="floating"):
        guard(floating)
    doubled = cp_model.CpModel()
    doubled.new_bool_var("x")
    doubled.new_bool_var("x")
    with pytest.raises(UnsafeModel, match="share a name"):
        guard(doubled)
    wide = cp_model.CpModel()
    wide.new_int_var(0, ROW_LIMIT, "wide")
    with pytest.raises(UnsafeModel, match="wide"):
        guard(wide)


def test_guard_leaves_the_model_as_it_was() -> None:
    model, _ = build(prepare(random_instance(0), 0))
    before = str(model.proto)
    guard(model)
    assert str(model.proto) == before


def noticed_without(constraint: Constraint, seed: int) -> bool:
    """Whether an instance tells the model without this constraint (and its redundant twin) from the rules."""
    rest = tuple(c for c in CONSTRAINTS if c is not constraint and c.__name__ != "alive")
    instance = random_instance(seed)
    tables = prepare(instance, 0)
    model, variables = build(tables, rest)
    solver = make_solver(LIMITS)
    if read_status(solver.solve(model)) is Status.INFEASIBLE:
        return solve(instance).value is not None
    cost = round(solver.objective_value) * tables.quantum * tables.divisor
    chosen = [s for s, literal in variables.strategy.items() if solver.boolean_value(literal)]
    if cost != solve(instance).value or len(chosen) != 1:
        return True
    plan = extract(solver, tables, variables)
    if violations(instance, plan) or evaluate(instance, plan).value != cost:
        return True
    tables = prepare(instance, None)
    return any(accepts(tables, p, rest) == bool(violations(instance, p)) for p in sample(instance, tables, Random(seed), 4))


def test_placement_decides_which_experts_share_a_node() -> None:
    """Four experts on four ranks of two nodes: only the traffic between nodes depends on the pairing."""
    without = tuple(c for c in CONSTRAINTS if c.__name__ != "busiest_link")
    honest, blind = [], []
    for counts in permutations((6, 5, 3, 2)):
        data = TINY | {"space": {"name": "classic", "ep": [4]}, "expert_load": {"counts": [list(counts)], "source": "test"}}
        instance = validate(data, Instance, "test")
        for constraints, right in ((CONSTRAINTS, honest), (without, blind)):
            tables = prepare(instance, 0)
            model, variables = build(tables, constraints)
            solver = make_solver(LIMITS)
            assert read_status(solver.solve(model)) is Status.OPTIMAL
            right.append(evaluate(instance, extract(solver, tables, variables)).value == round(solver.objective_value) * tables.divisor)
    assert all(honest)
    assert not all(blind)


@pytest.mark.skipif(COUNT < 1000, reason="part of the nightly run: set SHARDPROOF_RANDOM_INSTANCES=2000")
@pytest.mark.parametrize("constraint", [c for c in CONSTRAINTS if c.__name__ not in ("alive", "busiest_link")], ids=lambda c: c.__name__)
def test_no_constraint_can_be_left_out_unnoticed(constraint: Constraint) -> None:
    assert any(noticed_without(constraint, seed) for seed in range(200))
