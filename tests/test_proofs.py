"""The formal core: its theorems rest on no axiom, and the checker extracted from it decides as `models.arguments` does."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from models.arguments import Argument, Branch, Budget, Prices, Problem, Refused, Split, refute
from models.assignment import contradicts, system
from models.certificate import Placement, parse
from models.packing import RankClass, closed_bound
from optimizer.placing import solve_placement

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
    "enumeration_sound",
    "candidates_sound",
}

Case = tuple[Problem, int, Argument | None]
"""a problem, a bound, and what is said to prove it: an argument, or the closed forms"""


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


def refusal(problem: Problem, bound: int, argument: Argument) -> Refused | None:
    try:
        refute(problem, bound - 1, argument, Budget())
    except Refused as refused:
        return refused
    return None


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


# The format of proofs/driver.ml.


def line(case: Case) -> str:
    problem, bound, argument = case
    return f"{bound} {of_problem(problem)} {'closed' if argument is None else of_argument(argument)}"


def listed(items: list[str]) -> str:
    return " ".join([str(len(items)), *items])


def numbers(values: tuple[int, ...]) -> str:
    return listed([str(v) for v in values])


def optional(text: str | None) -> str:
    return "0" if text is None else f"1 {text}"


def of_problem(p: Problem) -> str:
    classes = [f"{c.ranks} {c.slots} {c.speed} {optional(None if c.memory is None else str(c.memory))}" for c in p.classes]
    return f"{numbers(p.loads)} {numbers(p.sizes or ())} {p.replicas} {listed(classes)}"


def of_argument(a: Argument) -> str:
    match a:
        case Prices():
            surrogate = None if a.surrogate is None else f"{a.surrogate[0]} {a.surrogate[1]}"
            values = listed([numbers(v) for v in a.values])
            return f"prices {a.scale[0]} {a.scale[1]} {values} {numbers(a.caps)} {optional(surrogate)}"
        case Split():
            return f"split {a.pair[0]} {a.pair[1]} {of_argument(a.together)} {of_argument(a.apart)}"
        case Branch():
            return "branch " + listed([f"v {n}" if isinstance(n, int) else "l " + listed([f"{r} {m}" for r, m in n]) for n in a.nodes])


# Random claims near the edge of what holds: the tightest caps, and those and their neighbours.


def random_problem(rng: Random, most: int, replicas: int) -> Problem:
    n, sized = rng.randint(2, most), rng.random() < 0.4
    loads = tuple(rng.randint(0, 12) for _ in range(n))
    if rng.random() < 0.5:
        ranks = rng.choice([m for m in range(1, n + 1) if n % m == 0])
        shapes = [(ranks, n // ranks)]
    else:
        shapes = [(rng.randint(1, 2), rng.randint(1, n)) for _ in range(rng.randint(1, 2))]
    shapes[0] = (shapes[0][0], max(shapes[0][1], n - sum(r * s for r, s in shapes[1:])))
    classes = tuple(
        RankClass(ranks=r, slots=s, speed=rng.choice([1, 1, 2]), memory=rng.randint(4, 20) if sized and rng.random() < 0.8 else None)
        for r, s in shapes
    )
    return Problem(loads=loads, classes=classes, replicas=replicas, sizes=tuple(rng.randint(0, 6) for _ in loads) if sized else None)


def random_prices(rng: Random, problem: Problem) -> Prices:
    share, noise = rng.choice([1, 2, 3]), rng.randint(0, 2)
    values = tuple(
        tuple(max(0, w // share // (r + 1) + rng.randint(-noise, noise)) for r in range(problem.replicas)) for w in problem.loads
    )
    surrogate = (rng.randint(0, 2), rng.randint(0, 2)) if problem.sizes is not None and rng.random() < 0.6 else None
    scale = (rng.randint(1, 3), rng.randint(1, 3))
    return Prices(kind="prices", scale=scale, values=values, caps=(0,) * len(problem.classes), surrogate=surrogate)


def raised(argument: Argument, where: list[str]) -> Argument:
    """The argument with the cap at `where` one larger."""
    if isinstance(argument, Prices):
        caps = tuple(cap + (g == int(where[1])) for g, cap in enumerate(argument.caps))
        return argument.model_copy(update={"caps": caps})
    side: Argument = getattr(argument, where[0])
    return argument.model_copy(update={where[0]: raised(side, where[1:])})


def tightened(problem: Problem, bound: int, argument: Argument) -> list[Case]:
    """The argument on its way to the least caps with which it is accepted or contradicts nothing; and there, of larger bounds."""
    steps = [argument]
    while (refused := refusal(problem, bound, argument)) is not None and ".caps." in refused.where:
        argument = raised(argument, refused.where.split(".")[1:])
        steps.append(argument)
    return [*((problem, bound, a) for a in steps[-2:]), (problem, bound + 1, argument), (problem, bound + 4, argument)]


def price_cases(rng: Random) -> list[Case]:
    problem = random_problem(rng, 7, rng.choice([1, 1, 2, 3]))
    return tightened(problem, max(0, closed_bound(problem) - rng.randint(-2, 3)), random_prices(rng, problem))


def split_cases(rng: Random) -> list[Case]:
    problem = random_problem(rng, 6, 1)
    bound = max(0, closed_bound(problem) - rng.randint(-2, 3))

    def split(depth: int) -> Argument:
        if depth == 0:
            return random_branch(rng, problem, bound) if rng.random() < 0.1 else random_prices(rng, problem)
        pair = (rng.randrange(len(problem.loads)), rng.randrange(len(problem.loads)))
        return Split(kind="split", pair=pair, together=split(rng.randrange(depth)), apart=split(rng.randrange(depth)))

    return tightened(problem, bound, split(rng.randint(1, 3)))


def random_branch(rng: Random, problem: Problem, bound: int, most: int = 120) -> Branch:
    """A tree in which single rows, or two at once, close the branches; cut off when it grows too large."""
    rows, upper = system(problem, bound - 1)
    nodes: list[int | tuple[tuple[int, int], ...]] = []
    single = [((i, m),) for i, row in enumerate(rows) for m in ((1, -1) if row.equality else (1,))]

    def grow(fixed: dict[int, int]) -> None:
        doubles = [a + b for a in rng.sample(single, min(6, len(single))) for b in rng.sample(single, min(6, len(single)))]
        leaf = next((leaf for leaf in (*single, *doubles) if contradicts(rows, upper, fixed, leaf)), None)
        free = [v for v in range(len(upper)) if v not in fixed and (upper[v] or rng.random() < 0.1)]
        if leaf is not None or not free or len(nodes) > most:
            nodes.append(leaf or ())
            return
        v = rng.choice(free[: len(free) // 2 + 1])
        nodes.append(v)
        grow({**fixed, v: 0})
        grow({**fixed, v: 1})

    grow({})
    return Branch(kind="branch", nodes=tuple(nodes))


def branch_cases(rng: Random) -> list[Case]:
    problem = random_problem(rng, 4, rng.choice([1, 1, 2]))
    bound = max(0, closed_bound(problem) - rng.randint(-2, 2))
    tree = random_branch(rng, problem, bound)
    nodes, at = tree.nodes, rng.randrange(len(tree.nodes))
    node = nodes[at]
    bent = node if isinstance(node, int) else tuple((i, m + rng.randint(-2, 2)) for i, m in node)
    others = [nodes[:-1], (*nodes, ()), (*nodes[:at], bent, *nodes[at + 1 :])]
    return [(problem, bound, tree), (problem, bound + 1, tree)] + [
        (problem, bound, tree.model_copy(update={"nodes": other})) for other in others
    ]


def closed_cases(rng: Random) -> list[Case]:
    problem = random_problem(rng, 12, rng.choice([1, 1, 1, 2]))
    return [(problem, closed_bound(problem) + more, None) for more in (0, 1)]


CASES: dict[str, Callable[[Random], list[Case]]] = {
    "prices": price_cases,
    "split": split_cases,
    "branch": branch_cases,
    "closed": closed_cases,
}
ROUNDS = {"prices": 300, "split": 300, "branch": 100, "closed": 150}
