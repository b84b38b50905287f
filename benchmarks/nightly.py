"""Nightly: prover and checker against exhaustive search, on many small random cases of four kinds.

instance   a tiny instance: search, certificate and verdicts; layers enumerated, or bounded by arguments
placement  a tiny placement problem (replicas, memory, classes): value, bound and argument; the same argument for a falsehood
argument   random prices, splits, branch trees and closed forms near the edge of what holds
mutant     certificates changed in one to three places, some of them turned to a falsehood first

A certificate or argument that is accepted must be true: anything else is unsound, and the exit status is 1.
The number of a case is its seed: --first N goes on where another run ended, and repeats a case alone with --count 1.

python -m benchmarks.nightly [--count N] [--first N] [--seconds S]
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from argument_cases import CASES, random_problem, refusal
from brute import plans, strategies
from certificate_cases import document, instance_of, large_layers, limited, placed, quiet, searched
from mutants import mutants
from truth import answer_of, attainable, falsehood, optimum

from models.certificate import Certificate, NotACertificate, Placement, parse
from models.errors import VerificationError
from models.instance import Instance
from models.packing import closed_bound
from models.result import Status
from models.rules import violations
from models.strategy import Degrees, Plan, PlanFile
from optimizer.certify import certificate_of
from optimizer.check import check
from optimizer.search import Options, find, judge

EPSILON_PPM = 50_000
EFFORT = 40  # rounds of column generation
POOL = 60  # instances whose certificates are changed
NUMERIC = {"+1", "-1", "*2", "0", "dropped", "duplicated", "swapped", "emptied", "null", "filled"}
MUTANTS_OF_ONE = 6


class Tally(NamedTuple):
    """What came of one case: how often the checker accepted and refused, and what should not have been."""

    accepted: int = 0
    refused: int = 0
    unsound: tuple[str, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.accepted + other.accepted, self.refused + other.refused, self.unsound + other.unsound)


def said(accepted: bool, untrue: str | None) -> Tally:
    """A statement that the checker accepted or refused, and what is untrue in it."""
    if not accepted:
        return Tally(refused=1)
    return Tally(accepted=1, unsound=() if untrue is None else (untrue,))


def due(accepted: bool, what: str) -> Tally:
    """A true statement that our own prover made: the checker has to accept it."""
    return Tally(accepted=1) if accepted else Tally(unsound=(f"refused: {what}",))


def verdict(text: str) -> Tally:
    """The checker's verdict on a file, against the truth."""
    try:
        accepted = check(text).valid
    except NotACertificate:
        accepted = False
    return said(accepted, falsehood(parse(text)) if accepted else None)


def of_instance(rng: Random, number: int) -> Tally:
    """The search's claim is true and complete, and so is the verdict on a random plan."""
    instance = instance_of(number)
    answer, large = answer_of(instance), rng.random() < 0.4
    if large:
        with large_layers():
            return _claim(instance, number) + _verdict(rng, instance)
    claim = find(instance, Options(epsilon_ppm=EPSILON_PPM), quiet)
    expected = (Status.OPTIMAL if answer.feasible else Status.INFEASIBLE, answer.value, list(answer.optimal), answer.feasible)
    found = (claim.status, claim.bound, sorted(c.plan.strategy for c in claim.optimal), claim.feasible)
    if found != expected:
        return Tally(unsound=(f"found {found}, true is {expected}",))
    return verdict(certificate_of(instance, claim).text()) + verdict(limited(instance).text()) + _verdict(rng, instance)


def _claim(instance: Instance, number: int) -> Tally:
    """Where layers count as large, the claim may be a bound only."""
    claim = find(instance, Options(epsilon_ppm=EPSILON_PPM, seed=number), quiet)
    return verdict(certificate_of(instance, claim).text())


def _verdict(rng: Random, instance: Instance) -> Tally:
    """`judge` on a random plan, which may break rules."""
    every = list(strategies(instance))
    if not every:
        return Tally()
    answer, plan = answer_of(instance), rng.choice(list(plans(instance, rng.choice(every))))
    stated = PlanFile(degrees=Degrees(**plan.strategy.degrees()), order=plan.strategy.order, stages=plan.stages, placement=plan.placement)
    judged = judge(instance, stated, Options(), quiet)
    broken = bool(violations(instance, plan))
    value = None if judged.evaluation is None else judged.evaluation.value
    true = {
        "INFEASIBLE": broken,
        "OPTIMAL": not broken and value == answer.value,
        "NOT_OPTIMAL": not broken and answer.value is not None and value is not None and value > answer.value,
        "UNKNOWN": True,
    }[judged.status]
    wrong = Tally() if true else Tally(unsound=(f"{judged.status} is not true of {_shown(plan)}",))
    return wrong + (Tally() if judged.certificate is None else verdict(judged.certificate.text()))


def _shown(plan: Plan) -> str:
    return f"{plan.strategy.label()} {plan.stages} {plan.placement}"


def of_placement(rng: Random, _: int) -> Tally:
    """Value and bound enclose the optimum; the certificate is accepted, and the argument shows no more than is true."""
    replicas = rng.choice([1, 1, 2, 3])
    problem = random_problem(rng, 6 if replicas == 1 else 4, replicas)
    made = placed(problem, EFFORT)
    claim, best = made.claim, optimum(problem)
    assert isinstance(claim, Placement)
    tally = due(check(made.text()).valid, made.text())
    if attainable(problem, claim.bound - 1) or (best is None and claim.value is not None):
        tally += Tally(unsound=(f"bound {claim.bound}, value {claim.value}, the optimum is {best}",))
    if best is None:
        return tally
    lies = [claim.model_copy(update={"bound": best + more, "value": None, "placement": None}) for more in (1, 2)]
    for lie in lies:
        tally += verdict(made.model_copy(update={"claim": lie}).text())
    return tally


def of_argument(rng: Random, number: int) -> Tally:
    """Random arguments: what is accepted is true."""
    tally = Tally()
    for problem, bound, argument in CASES[list(CASES)[number % len(CASES)]](rng):
        accepted = bound <= closed_bound(problem) if argument is None else refusal(problem, bound, argument) is None
        tally += said(accepted, f"bound {bound} of {problem} by {argument}" if accepted and attainable(problem, bound - 1) else None)
    return tally


def of_mutant(rng: Random, _: int) -> Tally:
    """Changed certificates: what is accepted is true."""
    if rng.random() < 0.35:
        base, best = _pooled(rng.randrange(POOL)), None
    else:
        problem = random_problem(rng, 5, rng.choice([1, 1, 2]))
        base, best = document(placed(problem, EFFORT)), optimum(problem)
    tally = Tally()
    for _ in range(MUTANTS_OF_ONE):
        made = base
        if best is not None and rng.random() < 0.5:
            made = base | {"claim": base["claim"] | {"bound": best + 1, "value": None, "placement": None}}
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            every = list(mutants(made, frozenset({"instance"})))
            kept = [m for m in every if m.operation in NUMERIC] if rng.random() < 0.9 else every
            made = rng.choice(kept or every).content
        tally += verdict(json.dumps(made))
    return tally


@cache
def _pooled(number: int) -> dict[str, Any]:
    instance: Instance = instance_of(number)
    made: Certificate = searched(instance) if number % 3 else limited(instance)
    return document(made)


Case = Callable[[Random, int], Tally]
KINDS: dict[str, tuple[int, Case]] = {
    "instance": (3, of_instance),
    "placement": (16, of_placement),
    "argument": (12, of_argument),
    "mutant": (9, of_mutant),
}
"""of each kind, how many of forty cases, and the case"""
CYCLE = [kind for kind, (share, _) in KINDS.items() for _ in range(share)]


def case(number: int) -> tuple[str, Tally]:
    """The kind of a case and what came of it; an exception is a finding, too."""
    kind = CYCLE[number * 7 % len(CYCLE)]  # the kinds mixed
    try:
        return kind, KINDS[kind][1](Random(f"nightly {number}"), number)
    except VerificationError as error:
        return kind, Tally(unsound=(f"our own answer was refused: {error}",))
    except Exception as error:  # noqa: BLE001  whatever crashes on a case is a finding to report, and the run goes on
        return kind, Tally(unsound=(f"{type(error).__name__}: {error}",))


def main() -> int:
    """Exit 1 when anything false was accepted, or anything crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no further case after that")
    arguments = parser.parse_args()
    cases, tallies, spent = Counter[str](), dict.fromkeys(KINDS, Tally()), Counter[str]()
    started, number = time.monotonic(), arguments.first
    while number < arguments.first + arguments.count and time.monotonic() - started < arguments.seconds:
        begun = time.monotonic()
        kind, tally = case(number)
        cases[kind], tallies[kind] = cases[kind] + 1, tallies[kind] + tally
        spent[kind] += time.monotonic() - begun
        for finding in tally.unsound:
            print(f"UNSOUND case {number} ({kind}): {finding[:2000]}", flush=True)
        number += 1
    for kind in KINDS:
        t, figures = tallies[kind], f"{kind:10s} {cases[kind]:6d} cases"
        print(f"{figures} {t.accepted:7d} accepted {t.refused:7d} refused {len(t.unsound):4d} unsound {spent[kind]:7.0f} s")
    unsound = sum(len(t.unsound) for t in tallies.values())
    print(f"{sum(cases.values())} cases in {time.monotonic() - started:.0f} s, {unsound} unsound; go on with --first {number}")
    return 1 if unsound else 0


if __name__ == "__main__":
    raise SystemExit(main())
