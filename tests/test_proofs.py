"""The formal core: its theorems rest on no axiom, and the checker extracted from it decides as `models.arguments` does."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from argument_cases import (
    CASES,
    ROUNDS,
    Case,
    line,
    listed,
    numbers,
    of_problem,
    of_runs,
    random_contents,
    random_problem,
    random_runs,
    refusal,
)

from models.arguments import Problem, Refused
from models.certificate import Placement, parse
from models.packing import RankClass, closed_bound, value_of_placement
from models.stages import best_split
from optimizer.placing.solve import solve_placement

PROOFS = Path(__file__).parents[1] / "proofs"
FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))
MISSING = [tool for tool in ("coqc", "ocamlfind", "ocamlopt", "make") if shutil.which(tool) is None]
needs_coq = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

THEOREMS = {
    "prices_sound",
    "area_sound",
    "heaviest_sound",
    "closed_form_sound",
    "least_maximum_sound",
    "tree_sound",
    "branch_sound",
    "split_cases",
    "argument_sound",
    "bound_sound",
    "kept_sound",
    "enumeration_sound",
    "candidates_sound",
    "fits_stages_spec",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every proof was checked and the checker extracted and compiled."""
    folder = tmp_path_factory.mktemp("proofs")
    for source in [*PROOFS.glob("*.v"), PROOFS / "Makefile", PROOFS / "driver.ml"]:
        shutil.copy(source, folder)
    subprocess.run(["make", "-s", "check_arguments", "assumptions.txt"], cwd=folder, check=True, timeout=600)
    return folder


def test_no_proof_is_left_open_and_nothing_is_assumed() -> None:
    sources = list(PROOFS.glob("*.v"))
    assert sources
    for source in sources:
        text = re.sub(r"\(\*.*?\*\)", "", source.read_text(), flags=re.DOTALL)
        assert not re.search(r"\b(Admitted|admit|Axiom|Axioms|Conjecture|Parameter|Parameters|Abort|bypass_check)\b", text), source.name


@needs_coq
def test_every_theorem_is_closed_under_the_global_context(built: Path) -> None:
    asked = re.findall(r"^Print Assumptions (\w+)\.$", (PROOFS / "Assumptions.v").read_text(), flags=re.MULTILINE)
    assert set(asked) >= THEOREMS
    assert (built / "assumptions.txt").read_text().split("\n") == ["Closed under the global context"] * len(asked) + [""]


@needs_coq
@pytest.mark.parametrize("kind", ["prices", "split", "branch", "closed"])
def test_the_extracted_checker_decides_random_arguments_as_ours_does(built: Path, kind: str) -> None:
    rng = Random(f"formal core, {kind}")
    cases = [case for _ in range(ROUNDS[kind]) for case in CASES[kind](rng)]
    verdicts = Counter(agreed(built, cases))
    assert verdicts["ACCEPT"] >= 30
    assert verdicts["REFUSE"] >= 30


@needs_coq
def test_the_extracted_checker_prices_random_placements_as_ours_does(built: Path) -> None:
    rng = Random("formal core, placements")
    lines, expected = [], []
    for _ in range(200):
        problem = random_problem(rng, 8, rng.choice([1, 2, 3]))
        contents = random_contents(rng, problem)
        try:
            value = value_of_placement(problem, contents)
        except Refused:
            value = None
        held = listed([numbers(rank) for rank in contents])
        for threshold in (999, 0) if value is None else (value, value - 1):
            lines.append(f"kept {threshold} {of_problem(problem)} {held}")
            expected.append("ACCEPT" if threshold == value else "REFUSE")
    assert answers(built, lines) == expected
    assert min(expected.count("ACCEPT"), expected.count("REFUSE") - expected.count("ACCEPT")) >= 30


@needs_coq
def test_the_extracted_checker_fills_stages_as_far_as_ours_does(built: Path) -> None:
    rng = Random("formal core, stages")
    lines, expected = [], []
    for _ in range(150):
        runs, pp, limits = random_runs(rng)
        found = best_split(runs, pp, *limits)
        for ns in (999,) if found is None else (found.slowest_ns, found.slowest_ns - 1):
            lines.append(of_runs(runs, pp, ns, limits))
            expected.append("REFUSE" if found is None or ns < found.slowest_ns else "ACCEPT")
    assert answers(built, lines) == expected
    assert min(expected.count("ACCEPT"), len(expected) - 2 * expected.count("ACCEPT")) >= 20


@needs_coq
def test_arguments_that_the_prover_finds_are_accepted(built: Path) -> None:
    rng = Random("formal core, prover")
    cases: list[Case] = []
    while len(cases) < 10:
        ranks, slots = rng.randint(3, 5), rng.randint(3, 4)
        loads = tuple(rng.randint(1, 60) for _ in range(ranks * slots))
        problem = Problem(loads=loads, classes=(RankClass(ranks=ranks, slots=slots),))
        found = solve_placement(problem, 60)
        if found.argument is not None:
            cases.append((problem, found.bound, found.argument))
    assert agreed(built, cases) == ["ACCEPT"] * len(cases)


@needs_coq
@pytest.mark.skipif(not FIXTURES, reason="no certificates under tests/fixtures")
def test_the_extracted_checker_decides_every_argument_of_the_fixtures_as_ours_does(built: Path) -> None:
    cases = [case for path in FIXTURES for case in cases_of(path)]
    assert cases
    agreed(built, cases)


@needs_coq
def test_what_is_no_claim_is_malformed_and_not_accepted(built: Path) -> None:
    good = line((Problem(loads=(2, 1), classes=(RankClass(ranks=2, slots=1),)), 2, None))
    bad = [good[:-1], good + " 0", good.replace("closed", "open"), good.replace("2", "x", 1), "-", "", good.replace(" 0 ", " 9999999 ", 1)]
    assert answers(built, [good]) == ["ACCEPT"]
    assert all(answer.startswith("MALFORMED ") for answer in answers(built, bad))


def agreed(built: Path, cases: list[Case]) -> list[str]:
    """The extracted checker's verdicts, each found to be ours too."""
    verdicts = answers(built, [line(case) for case in cases])
    for case, verdict in zip(cases, verdicts, strict=True):
        assert verdict == ours(case), case
    return verdicts


def answers(built: Path, lines: list[str]) -> list[str]:
    text = "".join(f"{line}\n" for line in lines)
    run = subprocess.run([built / "check_arguments"], input=text, capture_output=True, text=True, check=True, timeout=300)
    return run.stdout.splitlines()


def ours(case: Case) -> str:
    problem, bound, argument = case
    if argument is None:
        return "ACCEPT" if bound <= closed_bound(problem) else "REFUSE"
    return "ACCEPT" if refusal(problem, bound, argument) is None else "REFUSE"


def cases_of(path: Path) -> list[Case]:
    """Every argument of a certificate, with the bound that it is to prove."""
    certificate = parse(path.read_text())
    found: list[Case] = []
    if isinstance(certificate.claim, Placement) and certificate.claim.argument is not None:
        found.append((certificate.claim.problem, certificate.claim.bound, certificate.claim.argument))
    if certificate.instance is not None:
        for fact in certificate.facts:
            loads = certificate.instance.load_of_moe_layer(fact.row)
            problem = Problem(loads=loads, classes=(RankClass(ranks=fact.ranks, slots=len(loads) // fact.ranks),))
            found.append((problem, fact.least, fact.argument))
    return found
