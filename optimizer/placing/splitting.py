"""A tree of splits that refutes a threshold (Ryan and Foster, 1981), each leaf by prices."""

from models.arguments import MOST_SEPARATIONS, Argument, Decided, Problem, Split
from models.strategy import RankContents
from optimizer.placing.kinds import View
from optimizer.placing.prices import Effort, Relaxation, price
from optimizer.placing.rounding import round_to_placement

MOST_APART = min(6, MOST_SEPARATIONS)  # each pair kept apart doubles the tables
WHOLE_EFFORT = 1.0  # of CP-SAT, to read a placement off a solution in whole numbers


def split(problem: Problem, threshold: int, decided: Decided, relaxation: Relaxation, effort: Effort) -> Argument | RankContents | None:
    """An argument, or a placement that keeps the threshold (branch and price); None where the effort or the pairs run out."""
    if relaxation.prices is not None:
        return relaxation.prices
    pair = _pair(relaxation, decided)
    if pair is None:
        return round_to_placement(problem, threshold, relaxation, WHOLE_EFFORT) if relaxation.used else None
    sides: list[Argument] = []
    for side in decide(decided, pair):
        if len(side.apart) > MOST_APART:
            return None
        found = split(problem, threshold, side, price(problem, threshold, effort, side, None), effort)
        if found is None or isinstance(found, tuple):
            return found
        sides.append(found)
    return Split(kind="split", pair=pair, together=sides[0], apart=sides[1])


def decide(decided: Decided, pair: tuple[int, int]) -> tuple[Decided, Decided]:
    """Both cases of a split: merged, and kept apart."""
    a, b = pair
    group = tuple(a if g == b else g for g in decided.group)
    moved = {tuple(sorted(a if x == b else x for x in p)) for p in decided.apart}
    return Decided(group, frozenset((x, y) for x, y in moved)), Decided(decided.group, decided.apart | {(a, b)})


def _pair(relaxation: Relaxation, decided: Decided) -> tuple[int, int] | None:
    """Two groups that the relaxed solution puts together nearest to half of the time, heavy ones first."""
    view, shared = relaxation.view, dict[tuple[int, int], float]()
    for column, ranks in relaxation.used:
        kinds = [kind for kind, _ in column.uses]
        for i, a in enumerate(kinds):
            for b in kinds[i + 1 :]:
                shared[min(a, b), max(a, b)] = shared.get((min(a, b), max(a, b)), 0.0) + ranks
    best, found = 1e-6, None
    for (a, b), ranks in sorted(shared.items()):
        pair = _undecided(view, a, b, decided)
        if pair is not None:
            together = ranks / _pairs(view, a, b)
            if min(together, 1 - together) > best + 1e-9:
                best, found = min(together, 1 - together), pair
    return found


def _pairs(view: View, a: int, b: int) -> float:
    """How many pairs of groups the kinds have between them."""
    n, m = len(view.kinds[a].groups), len(view.kinds[b].groups)
    return n * (n - 1) / 2 if a == b else n * m


def _undecided(view: View, a: int, b: int, decided: Decided) -> tuple[int, int] | None:
    """The first groups of two kinds; None where a split has decided them, or there is only one."""
    groups = view.kinds[a].groups
    if a == b and len(groups) < 2:
        return None
    x, y = sorted((groups[0][0], groups[1][0] if a == b else view.kinds[b].groups[0][0]))
    return None if (x, y) in decided.apart else (x, y)
