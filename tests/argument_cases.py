"""Random claims about placements near the edge of what holds, and the text format of the extracted checker."""

from collections.abc import Callable
from random import Random

from models.arguments import Argument, Branch, Budget, Prices, Problem, Refused, Split, refute
from models.assignment import contradicts, system
from models.packing import RankClass, closed_bound
from models.stages import Item, Runs

Case = tuple[Problem, int, Argument | None]
"""a problem, a bound, and what is said to prove it: an argument, or the closed forms"""


def refusal(problem: Problem, bound: int, argument: Argument) -> Refused | None:
    try:
        refute(problem, bound - 1, argument, Budget())
    except Refused as refused:
        return refused
    return None


# The format of proofs/driver.ml.


def line(case: Case) -> str:
    problem, bound, argument = case
    return f"bound {bound} {of_problem(problem)} {'closed' if argument is None else of_argument(argument)}"


def listed(items: list[str]) -> str:
    return " ".join([str(len(items)), *items])


def numbers(values: tuple[int, ...]) -> str:
    return listed([str(v) for v in values])


def optional(text: str | None) -> str:
    return "0" if text is None else f"1 {text}"


def of_problem(p: Problem) -> str:
    classes = [f"{c.ranks} {c.slots} {c.speed} {optional(None if c.memory is None else str(c.memory))}" for c in p.classes]
    return f"{numbers(p.loads)} {numbers(p.sizes or ())} {p.replicas} {listed(classes)}"


def of_runs(runs: Runs, pp: int, ns: int, limits: tuple[int, int, int]) -> str:
    layers = [listed([numbers((c[0], item.memory, *c[1:])) for c in item.choices]) for n, item in runs for _ in range(n)]
    return f"stages {pp} {numbers((ns, *limits))} {listed(layers)}"


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


def random_contents(rng: Random, problem: Problem) -> tuple[tuple[int, ...], ...]:
    """Experts on ranks with room, mostly: now and then one too few, one too many or on the wrong rank."""
    room = [c.slots for c in problem.classes for _ in range(c.ranks)]
    held: list[list[int]] = [[] for _ in room]
    for e in range(len(problem.loads)):
        free = [j for j, rank in enumerate(held) if len(rank) < room[j] + (rng.random() < 0.02)]
        for j in rng.sample(free, min(len(free), rng.randint(1, problem.replicas))):
            held[j].append(e if rng.random() < 0.98 else rng.randrange(len(problem.loads)))
    return tuple(map(tuple, held))


def random_runs(rng: Random) -> tuple[Runs, int, tuple[int, int, int]]:
    """Layers in runs, a number of stages not above theirs, and what a stage may take of memory and traffic."""
    runs = tuple(
        (rng.randint(1, 3), Item(rng.randint(0, 5), tuple((rng.randint(1, 9), rng.randint(0, 4), rng.randint(0, 4)) for _ in range(ways))))
        for ways in [rng.choice([1, 1, 2]) for _ in range(rng.randint(1, 3))]
    )
    return runs, rng.randint(1, sum(n for n, _ in runs)), (rng.randint(2, 15), rng.randint(2, 12), rng.randint(2, 12))


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
