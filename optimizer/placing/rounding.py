"""From a solution of the configuration relaxation to a placement: price and round. Not a proof."""

from collections import Counter
from fractions import Fraction

from models.arguments import Problem
from models.strategy import RankContents
from optimizer.encoding.master import Column, Partition, Use, partition
from optimizer.placing.kinds import View
from optimizer.placing.prices import Relaxation

MOST_COLUMNS = 4_000  # offered to CP-SAT, the latest ones generated


def round_to_placement(problem: Problem, threshold: int, relaxation: Relaxation, effort: float, seed: int = 0) -> RankContents | None:
    """A placement made of generated contents that keeps the threshold; None where CP-SAT finds none in its effort."""
    seen = relaxation.view
    within = [c for c in relaxation.columns if _keeps(problem, threshold, seen, c)]
    chosen = partition(seen.demand, within[-MOST_COLUMNS:], effort, seed)
    return None if chosen is None else _contents(problem, seen, chosen)


def most_used(problem: Problem, relaxation: Relaxation) -> RankContents:
    """The contents that the relaxed solution uses most, as long as their experts are free; the other ranks empty.

    Mostly they are a placement but for a few ranks.
    """
    seen = relaxation.view
    fresh = [list(kind.groups) for kind in seen.kinds]
    begun: dict[Use, list[tuple[int, ...]]] = {}  # one entry per replica that is still to be placed
    left = [c.ranks for c in problem.classes]
    held: list[list[RankContents]] = [[] for _ in problem.classes]
    for column, ranks in sorted(relaxation.used, key=lambda used: (-used[1], used[0])):
        for _ in range(max(1, round(ranks))):
            groups = _match(column, fresh, begun) if left[column.rank_class] else None
            if groups is None or not _fits(problem, column.rank_class, groups):
                break
            left[column.rank_class] -= 1
            held[column.rank_class].append(groups)
            for use, group in zip(column.uses, groups, strict=True):
                if group in begun.get(use, []):
                    begun[use].remove(group)
                else:
                    fresh[use[0]].remove(group)
                    begun.setdefault(use, []).extend([group] * use[1])
    empty: list[list[RankContents]] = [[()] * n for n in left]
    return tuple(tuple(e for g in groups for e in g) for g in range(len(left)) for groups in held[g] + empty[g])


def _match(column: Column, fresh: list[list[tuple[int, ...]]], begun: dict[Use, list[tuple[int, ...]]]) -> RankContents | None:
    """Different groups for the uses of a content, begun ones first; None where some are all placed."""
    chosen: list[tuple[int, ...]] = []
    for use in column.uses:
        group = next((g for g in [*begun.get(use, []), *fresh[use[0]]] if g not in chosen), None)
        if group is None:
            return None
        chosen.append(group)
    return tuple(chosen)


def _fits(problem: Problem, rank_class: int, groups: RankContents) -> bool:
    """Whether the memory suffices."""
    memory, sizes = problem.classes[rank_class].memory, problem.sizes
    return memory is None or sizes is None or sum(sizes[e] for g in groups for e in g) <= memory


def _keeps(problem: Problem, threshold: int, seen: View, column: Column) -> bool:
    """Whether it is within load and memory: a grid rounds down, a surrogate adds both up."""
    c = problem.classes[column.rank_class]
    load, size, sizes = Fraction(0), 0, problem.sizes or (0,) * len(problem.loads)
    for (kind, option), count in Counter(column.uses).items():
        for group in seen.kinds[kind].groups[:count]:
            load += Fraction(sum(problem.loads[e] for e in group), option + 1)
            size += sum(sizes[e] for e in group)
    return load <= threshold * c.speed and (c.memory is None or size <= c.memory)


def _contents(problem: Problem, seen: View, chosen: Partition) -> RankContents | None:
    """Experts for the groups that each rank's content asks for; None where some expert would be twice on a rank."""
    first = [0]
    for c in problem.classes:
        first.append(first[-1] + c.ranks)
    held: list[list[int]] = [[] for _ in range(problem.ranks)]
    ranks = [first[c.rank_class] + sum(d.rank_class == c.rank_class for d in chosen.columns[:i]) for i, c in enumerate(chosen.columns)]
    for k, kind in enumerate(seen.kinds):
        start = 0
        for option, groups in enumerate(chosen.replicated[k]):
            places = [r for r, c in zip(ranks, chosen.columns, strict=True) for _ in range(c.uses.count((k, option)))]
            wanted = (option + 1) * groups  # places beyond it stay empty
            if len(places) < wanted:
                return None
            for i, rank in enumerate(places[:wanted]):
                held[rank] += kind.groups[start + i % groups]
            start += groups
    if any(len(set(rank)) < len(rank) for rank in held):
        return None
    return tuple(tuple(sorted(rank)) for rank in held)
