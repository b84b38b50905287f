"""Which strategies win a grid: in how many of its rows each is optimal, and how many rows say nothing of that."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from models.units import PPM
from optimizer.batching.rows import Row


class Win(NamedTuple):
    """One strategy: rows in which it is optimal, rows in which no other is, and the former over all OPTIMAL rows, rounded down."""

    label: str
    wins: int
    alone: int
    share_ppm: int


class Tally(NamedTuple):
    """Rows by what is proved of them. Unproved: FEASIBLE or UNKNOWN."""

    optimal: int
    infeasible: int
    unproved: int
    failed: int


def rank(rows: Sequence[Row]) -> list[Win]:
    """Every strategy that is optimal in some OPTIMAL row: most wins first, then most wins alone, then by label."""
    winners = [frozenset(row.optimal) for row in rows if row.status == "OPTIMAL"]
    wins = Counter(label for labels in winners for label in labels)
    alone = Counter(label for labels in winners if len(labels) == 1 for label in labels)
    found = [Win(label, count, alone[label], PPM * count // len(winners)) for label, count in wins.items()]
    return sorted(found, key=lambda win: (-win.wins, -win.alone, win.label))


class Group(NamedTuple):
    """Strategies that are optimal in exactly the same OPTIMAL rows, how many those are, and in how many no other strategy is."""

    labels: tuple[str, ...]
    wins: int
    alone: int
    share_ppm: int


def group(rows: Sequence[Row]) -> list[Group]:
    """The strategies of `rank` with those that always tie together, each group in the order of its first row; most wins first."""
    winners = [row.optimal for row in rows if row.status == "OPTIMAL"]
    places: dict[str, list[int]] = {}
    for n, labels in enumerate(winners):
        for label in labels:
            places.setdefault(label, []).append(n)
    together: dict[tuple[int, ...], list[str]] = {}
    for label, numbers in places.items():
        together.setdefault(tuple(numbers), []).append(label)
    found = []
    for where, tied in together.items():
        alone = sum(set(winners[n]) <= set(tied) for n in where)
        found.append(Group(tuple(tied), len(where), alone, PPM * len(where) // len(winners)))
    return sorted(found, key=lambda g: (-g.wins, -g.alone, g.labels))


def tally(rows: Sequence[Row]) -> Tally:
    """The four counts add up to the rows. Raises ValueError for a status that is none of the five."""
    count = Counter(row.status for row in rows)
    unknown = count.keys() - {"OPTIMAL", "INFEASIBLE", "FEASIBLE", "UNKNOWN", "FAILED"}
    if unknown:
        raise ValueError(f"row status {min(unknown)!r}: must be OPTIMAL, FEASIBLE, INFEASIBLE, UNKNOWN or FAILED")
    return Tally(count["OPTIMAL"], count["INFEASIBLE"], count["FEASIBLE"] + count["UNKNOWN"], count["FAILED"])


def tally_text(t: Tally) -> str:
    """`114 rows: 90 proved optimal, 20 proved infeasible, 4 not proved`; what there is none of is left out."""
    kinds = (t.optimal, "proved optimal"), (t.infeasible, "proved infeasible"), (t.unproved, "not proved"), (t.failed, "failed")
    return f"{sum(t):,} row{'' if sum(t) == 1 else 's'}: {', '.join(f'{n:,} {kind}' for n, kind in kinds if n) or 'nothing solved'}"
