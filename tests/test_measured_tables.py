"""Measured tables: monotone, exact at their points, extrapolated aloud; search, proof and checker run on them."""

import json
from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from brute import solve
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from random_instances import random_instance

from models.architecture import GroupedQuery, MultiHead
from models.attention import Shard, decode_core, prefill_core
from models.coefficients import is_plain
from models.errors import InputError
from models.evaluate import evaluate
from models.floors import root_bound
from models.instance import Instance
from models.measured import AXES, OperatorTables, Table, place, shortfall, table_ns
from models.operators import Kind, Work, gemm, routed_experts
from models.roofline import operator_ns
from models.terms import Terms
from models.units import PPM, WHOLE
from optimizer.certify import certificate_of
from optimizer.check import confirm
from optimizer.doctor import TINY
from optimizer.reading import read_record, validate
from optimizer.render import search_text
from optimizer.report import search_json
from optimizer.search import Options, find

Json = dict[str, Any]
UNASKED = {"measured": 0, "moved": 0, "moved_p90_ppm": 0, "held_out": 0, "held_out_median_ppm": 0, "held_out_p90_ppm": 0}


def table(kind: Kind, grid: Sequence[Sequence[int]], ns: Sequence[int], width: int = 0, matrices: int = 0) -> Json:
    whole = {"kind": kind, "storage": "bf16", "measured_as": "made up", "width": width, "matrices": matrices}
    return whole | {"grid": [list(g) for g in grid], "ns": list(ns), "quality": UNASKED}


def tables(*made: Json) -> Json:
    head = {"format": "shardproof-tables/1", "system": "toy", "engine": "none", "versions": {}, "source": "measured: made up for a test"}
    return head | {"tables": list(made)}


def read(content: Json) -> OperatorTables:
    return OperatorTables.model_validate_json(json.dumps(content))


def sizes(*grid: Sequence[int], per_unit: int = 1) -> list[int]:
    """Times that grow with the product of the coordinates, on top of a launch."""
    return [3000 + per_unit * prod(point) // 1000 for point in product(*grid)]


GEMM_GRID = ((1, 16, 256), (64, 512), (64, 512, 2048))
EXPERT_GRID = ((1, 8, 64), (WHOLE, 4 * WHOLE), (64, 512))
DECODE_GRID = ((1, 8, 64), (128, 4096), (1, 4), (1, 4))
PREFILL_GRID = ((1, 8), (128, 1024, 4096), (1, 4), (1, 4))
TOY = tables(
    table("gemm", GEMM_GRID, sizes(*GEMM_GRID)),
    table("expert_gemm", EXPERT_GRID, [5000 + n * 700 for n in range(12)], width=256, matrices=3),
    table("decode_attention", DECODE_GRID, sizes(*DECODE_GRID, per_unit=3), width=64),
    table("prefill_attention", PREFILL_GRID, sizes(*PREFILL_GRID, per_unit=9), width=64),
)


DECODE = {"kind": "decode", "sequences": 8, "context_tokens": 512, "sources": {"*": "assumed: a test"}}


def instance(with_tables: Json | None = TOY, workload: Json | None = None) -> Instance:
    """The tiny instance of `shardproof doctor`, priced by tables."""
    data = json.loads(json.dumps(TINY))
    if with_tables is not None:
        data["cluster"]["pools"][0]["accelerator"]["tables"] = with_tables
    data["workload"] = workload or data["workload"]
    return validate(data, Instance, "test")


@st.composite
def grids(draw: st.DrawFn) -> Table:
    """Any GEMM table: times made to grow by adding what is never below zero along each axis."""
    grid = [sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=4))) for _ in range(3)]
    steps = [[draw(st.integers(0, 50)) for _ in axis] for axis in grid]
    ns = [1 + prod(1 + sum(s[: n + 1]) for s, n in zip(steps, at, strict=True)) for at in product(*(range(len(g)) for g in grid))]
    return Table.model_validate_json(json.dumps(table("gemm", grid, ns)))


POINTS = st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400))


@given(grids(), POINTS, st.integers(0, 2), st.integers(1, 300))
def test_a_time_never_falls_when_a_coordinate_grows(made: Table, point: tuple[int, ...], axis: int, more: int) -> None:
    larger = tuple(x + more if n == axis else x for n, x in enumerate(point))
    assert made.ns_at(point, 0) <= made.ns_at(larger, 0)


@given(grids())
def test_a_table_says_at_its_points_what_it_holds(made: Table) -> None:
    assert [made.ns_at(point, 0) for point in product(*made.grid)] == list(made.ns)


def test_between_points_it_is_linear_below_it_stays_beyond_it_is_in_proportion() -> None:
    made = Table.model_validate_json(json.dumps(table("gemm", ((10, 20), (7,), (9,)), (1000, 1501))))
    asked = [(10, 7, 9), (15, 7, 9), (1, 1, 1), (20, 7, 9), (40, 7, 9), (40, 14, 18)]
    assert [made.ns_at(point, 0) for point in asked] == [1000, 1251, 1000, 1501, 3002, 12008]


def test_beyond_the_grid_prompts_grow_with_the_square_and_experts_with_their_width() -> None:
    prompts = Table.model_validate_json(json.dumps(table("prefill_attention", ((1,), (100,), (1,), (1,)), (1000,), width=64)))
    assert prompts.ns_at((1, 300, 1, 1), 64) == 9000
    experts = Table.model_validate_json(json.dumps(table("expert_gemm", ((1,), (WHOLE,), (64,)), (1000,), width=256, matrices=3)))
    assert experts.ns_at((1, WHOLE, 64), 512) == 2000


def test_every_plain_operator_of_a_model_has_its_place() -> None:
    arch = instance().architecture
    attention = arch.layers[0].attention
    ffn = arch.layers[0].moe
    assert attention is not None
    assert ffn is not None
    (decode,) = decode_core(arch, attention, Shard(8, 8, 8), 1, 4096, 1)
    (prefill,) = prefill_core(arch, attention, Shard(8, 8192, 8192), 1, 1024, 1024, 1)
    (later,) = prefill_core(arch, attention, Shard(8, 512, 8192), 1, 1024, 64, 1)
    found = [place(work) for work in (decode, prefill, later, gemm(arch, "ffn", 16, 512, 64), routed_experts(arch, ffn, 8, WHOLE, 1))]
    assert [None if p is None else p.point for p in found] == [
        (8, 4096, 4, 4),
        (8, 1024, 4, 4),
        (8, 357, 4, 4),  # 1024**2 - 960**2 = 356.3**2 pairs
        (16, 512, 64),
        (8, WHOLE, 512),
    ]


def test_what_is_not_plain_attention_is_left_to_the_roofline() -> None:
    recurrence = Work("decode_attention", 4 * 8 * 4 * 64 * 64, 100, "bf16", "bf16", (8, 1, 1, 4, 4, 64))
    index = Work("decode_attention", 2 * 8 * 4 * 64 * 4096, 100, "bf16", "bf16", (8, 1, 4096, 4, 1, 64))
    wide = Work("decode_attention", 4 * 8 * 4 * 128 * 4096, 100, "bf16", "bf16", (8, 1, 4096, 4, 1, 128))
    assert [table_ns(read(TOY), work) for work in (recurrence, index, wide)] == [None, None, None]


def test_an_operator_outside_the_tables_is_said_to_be() -> None:
    arch, toy = instance().architecture, read(TOY)
    inside, beyond = gemm(arch, "ffn", 16, 512, 64), gemm(arch, "ffn", 512, 512, 32)
    assert shortfall(toy, inside) is None
    assert shortfall(toy, beyond) == "gemm in bf16: rows beyond 256 in proportion, outputs below 64 as there"
    assert shortfall(toy, inside._replace(storage="fp8")) == "gemm in fp8: no table holds it, priced by the roofline"


def test_a_measured_time_replaces_the_curve_and_keeps_the_engines_scale() -> None:
    measured = instance()
    work = gemm(measured.architecture, "ffn", 256, 512, 2048)
    accelerator, runtime = measured.cluster.pool.accelerator, measured.runtime
    slower = runtime.model_copy(update={"operator_scale_ppm": 1_500_000})
    assert operator_ns(accelerator, runtime, work) == 3000 + 256 * 512 * 2048 // 1000
    assert operator_ns(accelerator, slower, work) == -(-operator_ns(accelerator, runtime, work) * 1_500_000 // PPM)
    plain = instance(with_tables=None).cluster.pool.accelerator
    assert operator_ns(plain, runtime, work) != operator_ns(accelerator, runtime, work)


@pytest.mark.parametrize("workload", [DECODE, None], ids=["decode", "prefill"])
def test_search_proof_and_checker_run_on_measured_times(workload: Json | None) -> None:
    measured, plain = instance(workload=workload), instance(with_tables=None, workload=workload)
    claims = [find(i, Options(route=route), lambda _: None) for i in (measured, plain) for route in ("enumeration", "joint")]
    values = [claim.optimal[0].value for claim in claims]
    assert values[0] == values[1] != values[2] == values[3]
    certificate = certificate_of(measured, claims[0])
    confirm(certificate, measured)
    assert certificate.instance_sha256 == measured.digest() != plain.digest()
    assert root_bound(measured) <= values[0]
    assert not is_plain(measured)


def test_no_plan_is_below_the_bound_of_all_gpus() -> None:
    fast = json.loads(json.dumps(TOY))
    for made in fast["tables"]:
        made["ns"] = [1] * len(made["ns"])  # measured times far below what the peaks allow
    measured = instance(with_tables=fast)
    claim = find(measured, Options(), lambda _: None)
    assert root_bound(measured) <= claim.optimal[0].value


def test_an_instance_without_tables_is_written_as_it_always_was() -> None:
    assert "tables" not in instance(with_tables=None).model_dump(mode="json")["cluster"]["pools"][0]["accelerator"]
    measured = instance()
    again = Instance.model_validate_json(json.dumps(measured.model_dump(mode="json")))
    assert again.digest() == measured.digest()


def changed(path: str, value: object) -> Json:
    content = json.loads(json.dumps(TOY))
    node = content
    *steps, last = path.split(".")
    for step in steps:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[int(last) if isinstance(node, list) else last] = value
    return content


HOSTILE = {
    "times fall along axis": changed("tables.0.ns.17", 3000),
    "does not ascend": changed("tables.0.grid.0", [1, 256, 16]),
    "times for a grid of": changed("tables.0.ns", [1, 2, 3]),
    "has 3 axes": changed("tables.0.grid", [[1], [2]]),
    "less than or equal to": changed("tables.0.ns.17", 10**30),
    "greater than or equal to 1": changed("tables.0.ns.0", 0),
    "valid integer": changed("tables.0.ns.0", 3000.5),
    "Input should be": changed("format", "shardproof-tables/9"),
    "two tables of one kind": tables(TOY["tables"][0], TOY["tables"][0]),
    "width is 0 for a gemm only": changed("tables.0.width", 7),
    "at most 20000": changed("tables.0.ns", [1] * 20_001),
}


@pytest.mark.parametrize("sentence", HOSTILE)
def test_tables_that_could_break_a_proof_are_refused(sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        read(HOSTILE[sentence])


def test_every_kind_but_elementwise_has_axes() -> None:
    assert set(AXES) | {"elementwise"} == set(get_args(Kind))


def test_the_operators_of_a_plan_are_remembered_where_there_are_tables() -> None:
    kinds = []
    for problem in (instance(workload=DECODE), instance(with_tables=None, workload=DECODE)):
        terms = Terms(problem)
        evaluate(problem, find(problem, Options(), lambda _: None).optimal[0].plan, terms)
        kinds.append({work.kind for work in terms.works})
    assert kinds == [{"gemm", "expert_gemm", "decode_attention", "elementwise"}, set()]


def test_results_say_what_the_tables_price_and_which_operators_lie_outside() -> None:
    for problem in (instance(), instance(with_tables=None)):
        claim = find(problem, Options(), lambda _: None)
        result = search_json(problem, claim, certificate_of(problem, claim), Options(), 0.0)
        said = result["optimal"][0]["outside_tables"]
        stated = [s for s in result["assumptions"] if s.startswith("Measured tables of toy under none price gemm in bf16, ")]
        if problem.cluster.pool.accelerator.tables is None:
            assert (said, stated) == ([], [])
            assert "outside the measured tables" not in search_text(result)
            continue
        assert len(stated) == 1
        assert "gemm in bf16: outputs beyond 2048 in proportion" not in said
        assert any(s.startswith("gemm in bf16: ") and "below" in s for s in said)
        assert f"outside the measured tables: {said[0]}" in search_text(result)
        assert result["optimal"][0]["metrics"]["error_band"] is None


def test_a_table_file_beside_the_instance_is_part_of_it_and_one_elsewhere_is_refused(tmp_path: Path) -> None:
    data = json.loads(json.dumps(TINY))
    data["cluster"]["pools"][0]["accelerator"]["tables"] = "toy.json"
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "instance.json").write_text(json.dumps(data))
    for place_of in (folder, tmp_path):
        (place_of / "toy.json").write_text(json.dumps(TOY))
    assert read_record(folder / "instance.json", Instance).cluster.pool.accelerator.tables == read(TOY)
    for outside in ("../toy.json", str(tmp_path / "toy.json")):
        with pytest.raises(InputError, match="lies outside the folder of that file"):
            read_record(folder / "instance.json", Instance, [f"cluster.pools.0.accelerator.tables={outside}"])


def with_random_tables(seed: int) -> Instance:
    """A tiny random instance, nearly all of whose operators are priced by small random tables, within and beyond their grids."""
    rng, problem = Random(f"tables {seed}"), random_instance(seed)
    arch = problem.architecture
    widths = {a.head_dim for a in arch.attentions() if isinstance(a, MultiHead | GroupedQuery)}
    series: list[tuple[Kind, int, int]] = [("gemm", 0, 0)]
    series += [("expert_gemm", arch.hidden_size, m) for m in sorted({g.moe.matrices for g in arch.layers if g.moe})]
    attention: Kind = "decode_attention" if problem.workload.kind == "decode" else "prefill_attention"
    series += [(attention, width, 0) for width in sorted(widths)]
    made = [
        random_table(rng, kind, width, matrices) | {"storage": storage}
        for kind, width, matrices in series
        for storage in ("bf16", "fp8")
        if rng.random() < 0.8
    ]
    data = problem.model_dump(mode="json")
    if made:
        data["cluster"]["pools"][0]["accelerator"]["tables"] = tables(*made)
    return Instance.model_validate_json(json.dumps(data))


def random_table(rng: Random, kind: Kind, width: int, matrices: int) -> Json:
    """Times that grow along every axis, by nothing at times."""
    units = [WHOLE if name == "experts_read" else 1 for name in AXES[kind]]
    grid = [[unit * x for x in sorted(rng.sample(range(1, 20), rng.randint(1, 3)))] for unit in units]
    steps = [[rng.choice([0, 0, 1, 3, 40]) for _ in axis] for axis in grid]
    least = rng.choice([1, 50, 2000])
    ns = [least * prod(1 + sum(s[: n + 1]) for s, n in zip(steps, at, strict=True)) for at in product(*(range(len(g)) for g in grid))]
    return table(kind, grid, ns, width, matrices)


@pytest.mark.parametrize("seed", range(60))
def test_search_on_random_tables_agrees_with_brute_force_and_its_proof_is_confirmed(seed: int) -> None:
    problem = with_random_tables(seed)
    answer, claim = solve(problem), find(problem, Options(), lambda _: None)
    assert claim.bound == answer.value
    assert sorted((c.plan.strategy, c.value) for c in claim.optimal) == [(s, answer.value) for s in answer.optimal]
    assert answer.value is None or root_bound(problem) <= answer.value
    confirm(certificate_of(problem, claim), problem)


def test_random_tables_price_most_operators_of_the_random_instances() -> None:
    held = []
    for seed in range(20):
        problem = with_random_tables(seed)
        toy, claim, terms = problem.cluster.pool.accelerator.tables, find(problem, Options(), lambda _: None), Terms(problem)
        if toy is None or not claim.optimal:
            continue
        evaluate(problem, claim.optimal[0].plan, terms)
        held += [table_ns(toy, work) is not None for work in terms.works if work.kind != "elementwise"]
    assert len(held) >= 50
    assert 2 * sum(held) > len(held)
