"""Every small change to certificates of every kind: the checker refuses it, or what it then states is still true.

Whether it is true is found out by exhaustive search (`truth.py`), never by the checker.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from brute import solvable
from certificate_cases import bounded, broken, document, instance_of, large_layers, limited, placed, problem, searched, with_facts
from mutants import UNKNOWN, Mutant, mutants
from pydantic import ValidationError
from random_instances import redundant_instance
from truth import falsehood, optimum

from models import arguments, certificate, packing
from models.arguments import Branch, Prices, Split
from models.certificate import Bounded, Certificate, NotACertificate, Optimal, Placement, parse
from models.instance import Instance
from models.packing import RankClass
from optimizer.check import check

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))
MOST_OF_FIXTURE = 250  # mutants of one, drawn
MOST_REHASHED = 40

PROBLEMS = {
    "prices": problem((5, 12, 12, 12), RankClass(ranks=2, slots=4)),
    "prices, every slot full": problem((9, 5, 5, 5, 1, 1), RankClass(ranks=2, slots=3)),
    "prices, replicas and two classes": problem((4, 12, 7, 1), RankClass(ranks=2, slots=2), RankClass(ranks=2, slots=1), replicas=2),
    "surrogate, nothing fits": problem((6, 3, 4, 2), RankClass(ranks=2, slots=4, memory=7), sizes=(6, 1, 6, 3)),
    "branch": problem(
        (12, 7, 4, 2, 2, 7),
        RankClass(ranks=2, slots=5, speed=2, memory=5),
        RankClass(ranks=1, slots=4, memory=12),
        sizes=(6, 0, 6, 0, 5, 0),
    ),
    "branch, replicas": problem(
        (11, 3), RankClass(ranks=1, slots=2, speed=2, memory=5), RankClass(ranks=1, slots=1), replicas=2, sizes=(6, 5)
    ),
    "closed form": problem((5, 3), RankClass(ranks=1, slots=2, speed=2), replicas=2),
}
NEEDS_A_SPLIT = problem((11, 7, 1, 7), RankClass(ranks=2, slots=4))
SPLIT = Split(
    kind="split",
    pair=(1, 3),
    together=Prices(kind="prices", scale=(2, 1), values=((2,), (0,), (0,), (4,)), caps=(2,)),
    apart=Prices(kind="prices", scale=(2, 3), values=((3,), (2,), (0,), (2,)), caps=(3,)),
)

CASES: dict[str, Callable[[], Certificate]] = {
    "optimal, dense": lambda: searched(instance_of(10)),
    "optimal, experts": lambda: with_facts(searched(instance_of(12))),
    "optimal, nothing near": lambda: searched(instance_of(7), near=False),
    "optimal, redundant slots": lambda: searched(redundant_instance(26)),
    "bounded, the list complete": lambda: with_facts(bounded(searched(instance_of(12)), 1, True)),
    "bounded": lambda: bounded(searched(instance_of(25), refuted=False), 1, False),
    "bounded, without the space": lambda: limited(instance_of(3)),
    "infeasible": lambda: with_facts(searched(instance_of(9))),
    **{f"broken {n}": lambda n=n: list(broken(instance_of(3), Random(1)))[n] for n in range(3)},
    **{f"placement, {name}": lambda p=p: placed(p) for name, p in PROBLEMS.items()},
    "placement, split": lambda: placed(NEEDS_A_SPLIT, argument=SPLIT),
}
ON_FACTS: dict[str, Callable[[], Certificate]] = {
    "optimal, by a fact": lambda: searched(instance_of(200)),
    "bounded, by a fact": lambda: searched(instance_of(71)),
}

RECORDS: dict[str, Any] = {
    **{name: getattr(certificate, name) for name in ("Certificate", "StatedPlan", "AllDegrees", "PricedPlan", "BrokenRule", "Fact")},
    **{name.lower(): getattr(certificate, name) for name in ("Optimal", "Bounded", "Infeasible", "Broken", "Placement")},
    **{name.lower(): getattr(arguments, name) for name in ("Prices", "Split", "Branch")},
    **{name: getattr(packing, name) for name in ("Problem", "RankClass")},
}
FREE = {("Certificate", "provenance")}
"""what proves nothing, and may say anything"""


class Outcome(NamedTuple):
    """What became of one mutant."""

    mutant: Mutant
    accepted: bool
    untrue: str | None
    """what is not true in it, where it was accepted"""


def accepts(text: str, given: Instance | None = None) -> bool:
    """Whether the checker does; an exception other than its own is a failure of the test."""
    try:
        return check(text, given).valid
    except NotACertificate:
        return False


def outcome(mutant: Mutant, given: Instance | None = None) -> Outcome:
    text = json.dumps(mutant.content)
    accepted = accepts(text, given)
    return Outcome(mutant, accepted, falsehood(parse(text), given) if accepted else None)


def outcomes_of(certificate: Certificate, skip: frozenset[str] = frozenset({"instance"})) -> list[Outcome]:
    return [outcome(m) for m in mutants(document(certificate), skip)]


def wrong(found: list[Outcome]) -> list[tuple[object, ...]]:
    """Mutants that were accepted though what they state is not true."""
    return [(o.mutant.owner, o.mutant.field, o.mutant.operation, o.untrue) for o in found if o.untrue is not None]


@pytest.fixture(scope="module")
def every_outcome() -> dict[str, list[Outcome]]:
    """The mutants of all cases, but for those of the instance inside."""
    found = {name: outcomes_of(make()) for name, make in CASES.items()}
    with large_layers():
        return found | {name: outcomes_of(make()) for name, make in ON_FACTS.items()}


@pytest.mark.parametrize("name", [*CASES, *ON_FACTS])
def test_the_certificate_itself_is_accepted_and_true(name: str) -> None:
    with large_layers() if name in ON_FACTS else nullcontext():
        made = (CASES | ON_FACTS)[name]()
        assert accepts(made.text())
        assert falsehood(made) is None


def test_the_certificates_are_of_every_kind() -> None:
    claims = Counter(make().claim.kind for make in CASES.values())
    assert set(claims) == {"optimal", "bounded", "infeasible", "broken", "placement"}
    found = [claim.argument for make in CASES.values() if isinstance(claim := make().claim, Placement)]
    assert {type(argument) for argument in found} == {Prices, Split, Branch, type(None)}
    assert any(isinstance(argument, Prices) and argument.surrogate is not None for argument in found)


@pytest.mark.parametrize("name", [*CASES, *ON_FACTS])
def test_what_is_accepted_after_a_change_is_true(name: str, every_outcome: dict[str, list[Outcome]]) -> None:
    found = every_outcome[name]
    assert wrong(found) == []
    assert sum(not o.accepted for o in found) > len(found) / 2


def test_a_change_to_any_field_of_the_grammar_can_be_refused(every_outcome: dict[str, list[Outcome]]) -> None:
    refused: Counter[tuple[str, str]] = Counter()
    accepted: Counter[tuple[str, str]] = Counter()
    for o in (o for found in every_outcome.values() for o in found):
        (accepted if o.accepted else refused)[o.mutant.owner, o.mutant.field] += 1
    for key in sorted(refused.keys() | accepted.keys()):
        print(f"{'.'.join(key):40s} {refused[key]:6d} refused {accepted[key]:6d} accepted, true")
    fields = {(name, field) for name, record in RECORDS.items() for field in record.model_fields}
    assert fields - FREE <= {key for key in refused if refused[key] >= 2}
    assert {(owner, UNKNOWN) for owner in RECORDS} <= refused.keys()
    assert not any(accepted[owner, UNKNOWN] for owner in RECORDS), "unknown names are refused"


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("placement")])
def test_no_changed_argument_proves_more_than_the_optimum(name: str) -> None:
    made = document(CASES[name]())
    best = optimum(parse(json.dumps(made)).claim.problem)
    for mutant in mutants(made):
        content = mutant.content
        if mutant.owner not in ("prices", "split", "branch") or best is None or not isinstance(content.get("claim"), dict):
            continue
        for above in (1, 2):
            lie = content | {"claim": content["claim"] | {"bound": best + above, "value": None, "placement": None}}
            assert not accepts(json.dumps(lie)), (mutant.operation, lie)


@pytest.mark.parametrize("worth", [0, 1])
def test_prices_below_a_separation_hold_for_contents_with_either_of_the_pair(worth: int) -> None:
    """Two experts on a rank each: a content of the one that is worth something must not be forgotten."""
    pair = problem((6, 6), RankClass(ranks=2, slots=2))
    apart = Prices(kind="prices", values=tuple((int(e == worth),) for e in (0, 1)), caps=(0,))
    together = apart.model_copy(update={"values": ((1,), (1,))})
    lie = Placement(
        kind="placement",
        problem=pair,
        placement=None,
        value=None,
        bound=7,
        argument=Split(kind="split", pair=(0, 1), together=together, apart=apart),
    )
    assert optimum(pair) == 6
    made = placed(pair).model_copy(update={"claim": lie})
    assert "apart" in str(check(made).where)
    assert not check(made).valid


def test_experts_with_replicas_are_not_split() -> None:
    """Their replicas share a rank here and none there: there are more than the two cases."""
    made = placed(PROBLEMS["prices, replicas and two classes"])
    assert isinstance(made.claim, Placement)
    assert isinstance(made.claim.argument, Prices)
    argument = Split(kind="split", pair=(0, 1), together=made.claim.argument, apart=made.claim.argument)
    verdict = check(made.model_copy(update={"claim": made.claim.model_copy(update={"argument": argument})}))
    assert (verdict.valid, verdict.reason) == (False, "a split needs experts of one replica each")


def test_replicas_of_the_heaviest_expert_may_lie_on_as_many_ranks() -> None:
    """One expert, two replicas, two ranks: equal ranks are numbered by first use, but not the second one away."""
    halves = problem((6,), RankClass(ranks=2, slots=1), replicas=2)
    lie = Placement(
        kind="placement", problem=halves, placement=None, value=None, bound=4, argument=Branch(kind="branch", nodes=(((1, 1), (0, -6)),))
    )
    assert optimum(halves) == 3
    assert check(placed(halves).model_copy(update={"claim": lie})).reason == "the multipliers do not contradict the bounds"


def test_no_list_is_complete_where_the_space_was_not_visited() -> None:
    made = limited(instance_of(3))
    assert isinstance(made.claim, Bounded)
    for cut in (made.claim.bound, 10**20):
        verdict = check(made.model_copy(update={"claim": made.claim.model_copy(update={"complete_to": cut})}))
        assert (verdict.valid, verdict.where) == (False, "claim.strategies")


def test_a_plan_as_good_as_the_best_is_not_refuted() -> None:
    made = searched(instance_of(10))
    assert isinstance(made.claim, Optimal)
    for best in made.claim.plans:
        verdict = check(made.model_copy(update={"claim": made.claim.model_copy(update={"refuted": best})}))
        assert (verdict.valid, verdict.where) == (False, "claim.refuted.value")


@pytest.mark.parametrize("name", ["optimal, dense", "optimal, experts", "bounded", "infeasible", "broken 1"])
def test_a_change_to_the_instance_needs_another_hash(name: str) -> None:
    made = document(CASES[name]())
    inside = [m for m in mutants({"instance": made["instance"]}) if m.owner != "Certificate"]
    found = [outcome(m._replace(content=made | m.content)) for m in inside]
    assert wrong(found) == []
    assert sum(not o.accepted for o in found) > 0.9 * len(found)


@pytest.mark.parametrize("name", ["optimal, dense", "optimal, experts", "bounded", "infeasible", "broken 0", "broken 1"])
def test_with_the_right_hash_a_changed_instance_is_accepted_only_where_the_claim_holds_of_it(name: str) -> None:
    made = document(CASES[name]())
    inside = [m for m in mutants({"instance": made["instance"]}) if m.owner != "Certificate"]
    changed = [m for m in Random(name).sample(inside, 6 * MOST_REHASHED) if (i := instance_in(m)) is not None and solvable(i, 0, 800)]
    found = []
    for mutant in changed[:MOST_REHASHED]:
        instance = instance_in(mutant)
        assert instance is not None
        found.append(outcome(mutant._replace(content=made | mutant.content | {"instance_sha256": instance.digest()})))
    assert wrong(found) == []
    assert len(found) >= MOST_REHASHED / 2


def instance_in(mutant: Mutant) -> Instance | None:
    try:
        return Instance.model_validate_json(json.dumps(mutant.content["instance"]))
    except ValidationError:
        return None


@pytest.mark.parametrize("name", ["optimal, experts", "infeasible", "broken 2"])
def test_a_certificate_without_its_instance_is_about_the_given_one_only(name: str) -> None:
    made = CASES[name]()
    bare = document(made) | {"instance": None}
    assert accepts(json.dumps(bare), made.instance)
    assert not accepts(json.dumps(bare))
    assert not accepts(json.dumps(bare), instance_of(13))
    assert not accepts(made.text(), instance_of(13))


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("placement")])
def test_a_placement_claim_carries_nothing_about_an_instance(name: str) -> None:
    made, other = document(CASES[name]()), document(CASES["optimal, experts"]())
    for field in ("instance", "instance_sha256", "facts"):
        assert not accepts(json.dumps(made | {field: other[field]})), field
    assert not accepts(json.dumps(made), instance_of(12))


@pytest.mark.parametrize("kind", ["optimal", "bounded", "infeasible", "broken", "placement"])
def test_the_fields_of_one_claim_do_not_pass_for_another(kind: str) -> None:
    for name, make in CASES.items():
        made = document(make())
        if made["claim"]["kind"] != kind:
            assert not accepts(json.dumps(made | {"claim": made["claim"] | {"kind": kind}})), name


def drawn(path: Path) -> Iterator[Mutant]:
    """Some of the mutants of a fixture, without those of its instance; fewer where a check takes long."""
    content = json.loads(path.read_text(encoding="utf-8"))
    every = list(mutants(content, frozenset({"instance"})))
    cost = 1 + (content["claim"].get("strategies") or 0) // 500 + path.stat().st_size // 10_000
    yield from Random(path.name).sample(every, min(len(every), max(3, MOST_OF_FIXTURE // cost)))


@pytest.mark.skipif(not FIXTURES, reason="no certificates under tests/fixtures")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.name)
def test_changes_to_the_fixtures_are_refused_or_leave_the_claim_as_weak(path: Path) -> None:
    """What is accepted is true of a small placement problem, and elsewhere states no more than the fixture does."""
    stated = parse(path.read_text(encoding="utf-8"))
    for mutant in drawn(path):
        text = json.dumps(mutant.content)
        if accepts(text):
            changed = parse(text)
            untrue = falsehood(changed) is not None if small(changed) else states_more(stated, changed)
            assert not untrue, (mutant.owner, mutant.field, mutant.operation)


def small(made: Certificate) -> bool:
    """Whether it is about a placement problem that exhaustive search decides at once."""
    return isinstance(made.claim, Placement) and len(made.claim.problem.loads) <= 10 and made.claim.problem.ranks <= 4


def states_more(stated: Certificate, changed: Certificate) -> bool:
    """Whether the changed certificate claims anything that the first does not."""
    ours, theirs = stated.claim, changed.claim
    if isinstance(theirs, Placement) and isinstance(ours, Placement):
        fits = ours.placement is not None  # otherwise every bound holds
        return fits and theirs.problem == ours.problem and theirs.bound > ours.bound
    if theirs.kind != ours.kind or stated.instance_sha256 != changed.instance_sha256:
        return True
    bounds = [getattr(c, "bound", getattr(c, "value", 0)) for c in (ours, theirs)]
    return bounds[1] > bounds[0]
