"""Two checkers, of which one was written from the document alone, agree on certificates true and false."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from argument_cases import CASES, Case, random_contents, random_problem
from certificate_cases import bounded, broken, limited, searched, with_facts
from false_variants import FALSE, changed
from mutants import mutants
from random_instances import random_instance, redundant_instance
from second_arguments import refutes, shape_of
from second_checker import strategies, verdict

from models import enumeration
from models.arguments import Argument, Branch, Budget, Prices, Problem, Split, refute
from models.certificate import NotACertificate, Optimal, Placement
from models.instance import Instance
from models.packing import RankClass, Refused, value_of_placement
from models.strategy import RankContents
from optimizer.certify import certificate_alone
from optimizer.check import check

FOLDER = Path(__file__).resolve().parent / "fixtures"
FIXTURES = sorted(path.name.removesuffix(".json") for path in FOLDER.glob("*.json"))
INSTANCES = FOLDER.parent.parent / "instances"
LARGE = "optimal_folded"  # seconds a time
MOST_MUTANTS = 120  # of one certificate
SEEDS = range(-5, 24)  # of random instances, below 0 with redundant expert slots

Json = dict[str, Any]


def first(text: str, given: Instance | None = None) -> bool:
    """What the first checker says."""
    try:
        return check(text, given).valid
    except NotACertificate:
        return False


def agreed(text: str) -> bool:
    """The verdict of both."""
    ours, (theirs, reason) = first(text), verdict(text)
    assert ours == theirs, (ours, theirs, reason, text[-2000:])
    return ours


def stored(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


FALSE_VARIANTS = [(name, n) for name in FALSE for n in range(len(FALSE[name]))]


def test_each_fixture_is_small_and_has_false_variants() -> None:
    sizes = {name: len(stored(name).encode()) for name in FIXTURES}
    assert set(FALSE) == set(FIXTURES)
    assert max(sizes.values()) <= 50_000
    assert sum(sizes.values()) <= 400_000


@pytest.mark.parametrize("name", FIXTURES)
def test_both_accept_what_the_program_wrote(name: str) -> None:
    assert verdict(stored(name)) == (True, "proved")
    assert first(stored(name))


@pytest.mark.parametrize(("name", "n"), FALSE_VARIANTS)
def test_both_refuse_what_is_false_or_not_proved(name: str, n: int) -> None:
    text = changed(json.loads(stored(name)), FALSE[name][n])
    assert not agreed(text)
    assert verdict(text)[1] != "not the grammar"


def some_mutants(content: Json, key: object, most: int) -> list[str]:
    every = list(mutants(content, frozenset({"instance"})))
    return [json.dumps(m.content) for m in Random(str(key)).sample(every, min(len(every), most))]


@pytest.mark.parametrize("name", [name for name in FIXTURES if name != LARGE])
def test_both_judge_changed_fixtures_alike(name: str) -> None:
    found = Counter(agreed(text) for text in some_mutants(json.loads(stored(name)), name, MOST_MUTANTS))
    assert found[False] >= 30


ODD = {
    "a fraction": '{"a": 1.0}',
    "an exponent": '{"a": 1e3}',
    "not a number": '{"a": NaN}',
    "infinity": '{"a": -Infinity}',
    "a name twice": '{"a": 1, "a": 1}',
    "61 digits": '{"a": ' + "1" * 61 + "}",
    "65 levels": '{"a": ' + "[" * 63 + "1" + "]" * 63 + "}",
    "a list": "[]",
    "nothing": "",
}
PLAIN = {
    "names of its own": '{"a": {"b": [null, true, "c"]}}',
    "60 digits": '{"a": -' + "1" * 60 + "}",
    "64 levels": '{"a": ' + "[" * 61 + "1" + "]" * 61 + "}",
}


@pytest.mark.parametrize(("name", "inside", "holds"), [*((n, v, False) for n, v in ODD.items()), *((n, v, True) for n, v in PLAIN.items())])
def test_both_read_the_same_json(name: str, inside: str, holds: bool) -> None:
    text = stored("placement_closed").replace('{"route":"placing"}', inside)
    assert inside in text
    assert agreed(text) == holds, name


@pytest.mark.parametrize("name", ["infeasible", "optimal_by_fact"])
def test_both_ask_for_the_instance_that_the_certificate_is_about(name: str) -> None:
    content = json.loads(stored(name))
    own, other = json.dumps(content["instance"]), json.dumps(json.loads(stored("optimal_classic"))["instance"])
    bare = json.dumps(content | {"instance": None})
    for text, given, holds in ((bare, own, True), (bare, other, False), (stored(name), own, True), (stored(name), other, False)):
        assert verdict(text, given)[0] == first(text, Instance.model_validate_json(given)) == holds
    assert not agreed(bare)


def text_of(
    problem: Problem, bound: int, argument: Argument | None, placement: RankContents | None = None, value: int | None = None
) -> str:
    claim = Placement(kind="placement", problem=problem, placement=placement, value=value, bound=bound, argument=argument)
    return certificate_alone(claim, "test").text()


@pytest.mark.parametrize("kind", CASES)
def test_both_judge_random_arguments_alike(kind: str) -> None:
    rng, found = Random(f"second {kind}"), Counter[bool]()
    for _ in range(60):
        cases: list[Case] = CASES[kind](rng)
        found.update(agreed(text_of(*case)) for case in cases)
    assert min(found[True], found[False]) >= 30, found


def same(problem: Problem, threshold: int, argument: Argument) -> bool:
    """The verdict of both on an argument alone."""
    theirs = refutes(shape_of(json.loads(problem.model_dump_json())), threshold, json.loads(argument.model_dump_json()))
    try:
        refute(problem, threshold, argument, Budget())
    except Refused:
        assert not theirs, argument
        return False
    assert theirs, argument
    return True


SPREAD = Problem(loads=(7, 9, 4), classes=(RankClass(ranks=6, slots=3), RankClass(ranks=2, slots=2, speed=2)), replicas=2)


def area(problem: Problem) -> list[tuple[int, int]]:
    """The multipliers that show the mean of loads on ranks: the load rows together, less each expert's row times its load."""
    n = len(problem.loads)
    return [*((e, -w) for e, w in enumerate(problem.loads)), *((n + 2 * j, 1) for j in range(problem.ranks))]


def test_both_close_a_branch_at_once_where_ranks_are_numbered_by_first_use() -> None:
    variables = len(SPREAD.loads) * SPREAD.replicas * SPREAD.ranks
    trees = [Branch(kind="branch", nodes=(v, tuple(area(SPREAD)), ())) for v in range(variables + 1)]
    found = Counter(same(SPREAD, 1, tree) for tree in trees)
    assert min(found.values()) >= 10
    assert len(found) == 2


def test_both_want_multipliers_of_rows_that_exist_and_of_the_right_sign() -> None:
    leaf, rows = area(SPREAD), 3 + 2 * 8 + 3 * 8
    further = [[*leaf, (row, m)] for row in range(rows + 2) for m in (-1, 0, 1)]
    bent = [[*leaf[:n], (leaf[n][0], leaf[n][1] + m), *leaf[n + 1 :]] for n in range(len(leaf)) for m in (-2, -1, 1, 9)]
    found = Counter(same(SPREAD, t, Branch(kind="branch", nodes=(tuple(each),))) for each in further + bent for t in (-1, 0, 1, 2))
    assert min(found[True], found[False]) >= 30


def test_both_want_pairs_that_no_split_above_has_decided() -> None:
    problem = Problem(loads=(5, 4, 4, 3), classes=(RankClass(ranks=2, slots=3),))
    mean = Prices(kind="prices", values=((5,), (4,), (4,), (3,)), caps=(7,))

    def split(pair: tuple[int, int], together: Argument, apart: Argument) -> Argument:
        return Split(kind="split", pair=pair, together=together, apart=apart)

    pairs = [(a, b) for a in range(5) for b in range(5)]
    deep = [split((0, 1), *sides) for pair in pairs for under in (split(pair, mean, mean),) for sides in ((under, mean), (mean, under))]
    deeper = [split((2, 3), split((0, 2), argument, mean), mean) for argument in (split(pair, mean, mean) for pair in pairs)]
    apart = [split((2, 3), split((0, 2), mean, argument), mean) for argument in (split(pair, mean, mean) for pair in pairs)]
    found = Counter(same(problem, 7, argument) for argument in deep + deeper + apart)
    assert min(found[True], found[False]) >= 30


def test_both_weigh_a_surrogate_alike_where_a_class_has_no_memory() -> None:
    classes = (RankClass(ranks=1, slots=2, memory=5), RankClass(ranks=1, slots=2))
    problem = Problem(loads=(4, 3, 2), classes=classes, sizes=(3, 3, 3))
    weights = [(a, b) for a in range(3) for b in range(3)]
    prices = [
        Prices(kind="prices", values=((2,), (2,), (1,)), caps=(low, high), surrogate=s)
        for low in range(4)
        for high in range(5)
        for s in weights
    ]
    found = Counter(same(problem, t, argument) for argument in prices for t in (-1, 2, 4, 6))
    assert min(found[True], found[False]) >= 30


@pytest.mark.parametrize("replicas", [1, 2])
def test_both_give_every_placement_of_three_experts_the_same_value(replicas: int) -> None:
    classes = (RankClass(ranks=1, slots=2, speed=2, memory=4), RankClass(ranks=1, slots=2))
    problem = Problem(loads=(4, 3, 2), classes=classes, replicas=replicas, sizes=(3, 1, 1))
    held = [tuple(e for e in range(3) if n >> e & 1) for n in range(8)] + [(0, 0), (3,)]
    found = Counter(agreed(text_of(problem, 0, None, (a, b), value)) for a in held for b in held for value in range(8))
    assert found[True] >= 4


def test_both_judge_random_placements_alike() -> None:
    rng, found = Random(4), Counter[bool]()
    for _ in range(600):
        problem = random_problem(rng, 8, rng.choice([1, 2, 3]))
        contents = random_contents(rng, problem)
        try:
            value = value_of_placement(problem, contents)
        except Refused:
            value = rng.randint(0, 30)
        found[agreed(text_of(problem, 0, None, contents, max(0, value + rng.choice([0, 0, 1, -1]))))] += 1
    assert min(found[True], found[False]) >= 30, found


def instance_of(seed: int) -> Instance:
    return random_instance(seed) if seed >= 0 else redundant_instance(-seed)


def test_both_see_the_same_strategies() -> None:
    instances = [instance_of(seed) for seed in SEEDS]
    given = (INSTANCES / f"{name}.json" for name in ("llama70b_8gpu", "mixtral8x7b_8gpu", "ep64_tp2_128gpu"))
    instances += [Instance.model_validate_json(path.read_text(encoding="utf-8")) for path in given]
    for instance in instances:
        ours, theirs = list(enumeration.strategies(instance)), list(strategies(instance))
        assert len(ours) == len(theirs)
        assert set(ours) == set(theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_both_judge_claims_about_random_instances_alike(seed: int) -> None:
    instance = instance_of(seed)
    best = searched(instance, seed, near=seed % 2 == 0)
    best = with_facts(best) if instance.architecture.experts else best
    made = [best, limited(instance), *broken(instance, Random(seed))]
    made += [bounded(best, 1, complete) for complete in (False, True)] if isinstance(best.claim, Optimal) else []
    assert all(agreed(certificate.text()) for certificate in made)
    found = Counter(agreed(text) for c in made for text in some_mutants(json.loads(c.text()), seed, MOST_MUTANTS // len(made) // 2))
    assert found[False] > 0
