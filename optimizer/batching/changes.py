"""Where the best strategy changes: between neighbouring variants, and bracketed by bisection to the field's last digit."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from optimizer.batching.axes import Axis, number_of, written
from optimizer.batching.rows import Row
from optimizer.batching.variants import Setting, Variants
from optimizer.reading import parse_value

P = TypeVar("P")

NOTHING = "nothing (infeasible)"
SHOWN = 5


class Bracket(NamedTuple):
    """Two proved points of one field, everything else alike: what held up to one of them no longer holds at the other."""

    path: str
    others: tuple[Setting, ...]
    """what else the variants set"""
    before: Row
    after: Row
    low: int
    """the field at `before`, in its own unit"""
    high: int
    """the field at `after`, which may be smaller"""
    like: str
    """how the field's values are written"""
    held: frozenset[str]
    """what holds at `before`, and held at every point looked at since the last change; nothing of it holds at `after`"""

    @property
    def sharp(self) -> bool:
        """Whether no value lies between."""
        return abs(self.high - self.low) <= 1

    def middle(self) -> tuple[int, tuple[Setting, ...]]:
        """The value halfway, and the settings of that variant."""
        value = (self.low + self.high) // 2
        text = written(self.path, value, self.like)
        return value, (*self.others, Setting(self.path, parse_value(text, self.path), text))


Side = Callable[[Row], frozenset[str]]
"""What holds at a point; two points differ where these share nothing."""


def optimal(row: Row) -> list[str]:
    """The optimal strategies in their order, or that nothing runs."""
    return [NOTHING] if row.status == "INFEASIBLE" else list(row.optimal)


def best(row: Row) -> frozenset[str]:
    """As `optimal`, without order."""
    return frozenset(optimal(row))


def standing(row: Row) -> frozenset[str]:
    """Whether the reference plan is optimal."""
    return frozenset({"optimal" if row.reference == "optimal" else "not optimal"})


def decided(row: Row) -> bool:
    """Whether the row is proved."""
    return row.status in ("OPTIMAL", "INFEASIBLE")


def brackets(variants: Variants, rows: dict[int, Row], axis: int, side: Side) -> list[Bracket]:
    """The changes between neighbouring proved variants along a numeric axis of one field."""
    (path,), found = variants.axes[axis].paths, []
    for line in variants.lines(axis):
        values = ((number_of(path, _text(variants, number, path)), rows[number]) for number in line if number in rows)
        points = sorted(((n, row) for n, row in values if n is not None and decided(row)), key=lambda point: point[0])
        for (low, before), (high, after), held in _breaks(points, lambda point: side(point[1])):
            others = tuple(s for s in variants.settings(before.number) if s.path != path)
            found.append(Bracket(path, others, before, after, low, high, _text(variants, before.number, path), held))
    return found


def _breaks(points: Sequence[P], side: Callable[[P], frozenset[str]]) -> Iterator[tuple[P, P, frozenset[str]]]:
    """Neighbours at whose second nothing holds any more that held at all points since the last break, and what that was."""
    held = side(points[0]) if points else frozenset()
    for before, after in pairwise(points):
        if not held & side(after):
            yield before, after, held
            held = side(after)
        held &= side(after)


def numeric(axis: Axis) -> bool:
    """Whether an axis is one field whose values are numbers."""
    return len(axis.paths) == 1 and sum(number_of(axis.paths[0], text) is not None for (text,) in axis.rows) > 1


def sharpen(open_: Sequence[Bracket], side: Side, solve: Callable[[list[tuple[Setting, ...]]], list[Row]], most: int) -> list[Bracket]:
    """Every bracket by bisection down to neighbouring values, both ends proved; all at once, one halving per round.

    Where a third thing holds in between, each of its ends gets a bracket. One whose middle is not proved stays as it is, and so
    do those that come up once there are `most`.
    """
    done, todo = list[Bracket](), list(open_)
    while todo:
        waiting = [b for b in todo if not b.sharp]
        done += [b for b in todo if b.sharp]
        middles = [b.middle() for b in waiting]
        todo = []
        for b, (value, _), row in zip(waiting, middles, solve([settings for _, settings in middles]), strict=True):
            if not decided(row):
                done.append(b)
            elif still := b.held & side(row):
                todo.append(b._replace(before=row, low=value, held=still))
            else:
                todo.append(b._replace(after=row, high=value))
                if not side(row) & side(b.after):
                    rest = b._replace(before=row, low=value, held=side(row))
                    (todo if len(done) + len(waiting) + len(todo) < most else done).append(rest)
    return done


def _text(variants: Variants, number: int, path: str) -> str:
    return variants.texts(number)[variants.columns.index(path)]


def describe(variants: Variants, rows: dict[int, Row]) -> str:
    """Where the best strategy changes along the last varied field, in words; between neighbouring variants only."""
    if not any(row.optimal for row in rows.values()):
        return "No row has a best strategy: every variant failed or is infeasible."
    if not variants.axes:
        return _describe_scenarios(variants, rows)
    along, sentences = variants.axes[-1], []
    for line in variants.lines(len(variants.axes) - 1):
        fixed = _fields(variants, line[0], [p for p in variants.columns if p not in along.paths])
        for before, after, held in _breaks([rows[n] for n in line if n in rows and _says_something(rows[n])], best):
            ends = [_values(variants, row.number, along.paths) for row in (before, after)]
            step = f"between {' and '.join(along.paths)} = {ends[0]} and {ends[1]}"
            was = next((label for label in before.optimal if label in held), _first(before))
            sentences.append(f"{fixed + ': ' if fixed else ''}{step}, from {was} to {_first(after)}")
    undecided = _undecided(variants, rows)
    if not sentences:
        everywhere = " at each setting of the others." if len(variants.columns) > len(along.paths) else "."
        tried = "compared" if undecided else "tried"
        return f"The best strategy is the same for every value of {' and '.join(along.paths)} {tried}{everywhere}{undecided}"
    more = f"; and {len(sentences) - SHOWN} more changes" if len(sentences) > SHOWN else ""
    return f"The best strategy changes {'; '.join(sentences[:SHOWN])}{more}.{undecided}"


def _describe_scenarios(variants: Variants, rows: dict[int, Row]) -> str:
    """Which strategy is best in which rows of a variants file."""
    by_best: dict[str, list[str]] = {}
    for number, row in rows.items():
        if _says_something(row):
            by_best.setdefault(_first(row), []).append(variants.scenario(number) or f"row {number + 1}")
    parts = (f"{label} in {_several(names)}" for label, names in by_best.items())
    return f"Best: {'; '.join(parts)}.{_undecided(variants, rows)}"


def _several(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _says_something(row: Row) -> bool:
    """Whether a row says anything of the best strategy: a plan was found or proved not to exist."""
    return row.status not in ("FAILED", "UNKNOWN")


def _undecided(variants: Variants, rows: dict[int, Row]) -> str:
    """The rows that were left out of the comparison."""
    left_out = [row for row in rows.values() if not _says_something(row)]
    shown = [f"{_fields(variants, row.number, variants.columns)} ({row.status.lower()})" for row in left_out[:SHOWN]]
    more = [f"{len(left_out) - SHOWN} more"] if len(left_out) > SHOWN else []
    return f" Not compared: {'; '.join([*shown, *more])}." if left_out else ""


def _fields(variants: Variants, number: int, paths: Sequence[str]) -> str:
    return ", ".join(f"{path} = {text}" for path, text in _pairs(variants, number) if path in paths and text)


def _values(variants: Variants, number: int, paths: Sequence[str]) -> str:
    return ", ".join(text for path, text in _pairs(variants, number) if path in paths)


def _pairs(variants: Variants, number: int) -> Iterator[tuple[str, str]]:
    return zip(variants.columns, variants.texts(number), strict=True)


def _first(row: Row) -> str:
    return row.optimal[0] if row.optimal else f"nothing ({row.status.lower()})"
