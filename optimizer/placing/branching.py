"""A tree over the 0-1 variables of a small problem that refutes a threshold, with whole multipliers at its leaves."""

from models.arguments import MOST_VARIABLES, Branch, Problem
from models.assignment import contradicts, system
from models.strategy import RankContents
from optimizer.encoding.elastic import Elastic
from optimizer.placing.prices import Effort

Leaf = tuple[tuple[int, int], ...]
SCALES = (1, 2, 6, 60, 2520, 10**6, 10**9)  # multipliers, largest one
TOLERANCE = 1e-7


def branch(problem: Problem, threshold: int, effort: Effort) -> Branch | RankContents | None:
    """Branch on the most fractional variable until every case contradicts the rows, or a point keeps them all.

    None where the effort runs out.
    """
    if len(problem.loads) * problem.replicas * problem.ranks > MOST_VARIABLES:
        return None
    rows, upper = system(problem, threshold)
    elastic = Elastic(rows, upper)
    nodes: list[int | Leaf] = []
    pending: list[dict[int, int]] = [{}]
    fixed: dict[int, int] = {}
    while pending:
        path = pending.pop()
        for variable in fixed.keys() - path.keys():
            elastic.fix(variable, None)
        for variable, value in path.items():
            elastic.fix(variable, value)
        fixed = path
        solved = elastic.solve() if effort.take() else None
        if solved is None:
            return None
        violation, point, multipliers = solved
        leaf = next((m for m in _whole(multipliers) if contradicts(rows, upper, path, m)), None) if violation > TOLERANCE else None
        if leaf is not None:
            nodes.append(leaf)
            continue
        free = [v for v, most in enumerate(upper) if most > 0 and v not in path]
        if violation <= TOLERANCE and all(abs(x - round(x)) <= TOLERANCE for x in point):
            return _contents(problem, point)
        if not free:
            return None  # multipliers too fine to round
        chosen = min(free, key=lambda v: (abs(point[v] - 0.5), v))
        nodes.append(chosen)
        pending += [{**path, chosen: 1}, {**path, chosen: 0}]
    return Branch(kind="branch", nodes=tuple(nodes))


def _contents(problem: Problem, point: list[float]) -> RankContents:
    """The experts of each rank at a 0-1 point."""
    held: list[set[int]] = [set() for _ in range(problem.ranks)]
    for variable, x in enumerate(point):
        if round(x) == 1:
            held[variable % problem.ranks].add(variable // (problem.replicas * problem.ranks))
    return tuple(tuple(sorted(rank)) for rank in held)


def _whole(multipliers: list[float]) -> list[Leaf]:
    """Whole multipliers near the given ones, coarse ones first."""
    largest = max(abs(m) for m in multipliers)
    if largest <= 0:
        return []
    return [tuple((row, whole) for row, m in enumerate(multipliers) if (whole := round(m * scale / largest)) != 0) for scale in SCALES]
