"""In which order variants are solved: those that can share a landscape one after another, whatever order they are listed in."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import InputError
from models.instance import Instance
from models.relaxation import Grade, easier, grade, relaxed
from optimizer.batching.axes import number_of
from optimizer.batching.request import Shard
from optimizer.batching.solver import Task
from optimizer.batching.variants import Setting, Variants
from optimizer.reading import validate

Json = dict[str, Any]
PROBED = 4  # values of a field that are looked at to learn whether it is of those that relaxations absorb


class Schedule(NamedTuple):
    """Groups of variants that a landscape may serve together, and how good it has to be for that."""

    groups: list[list[Task]]
    corner: Grade | None
    absorbed: frozenset[str]
    """the varied fields that a relaxation absorbs"""


def plan(variants: Variants, origin: Path) -> Schedule:
    """All variants by what a relaxation cannot absorb; each group in its listed order."""
    absorbed, corner = _absorbed(variants, origin)
    tasks = (Task(number, variants.settings(number)) for number in range(len(variants)))
    return Schedule(grouped(tasks, absorbed), corner, absorbed)


def grouped(tasks: Iterable[Task], absorbed: frozenset[str]) -> list[list[Task]]:
    """The tasks by what they set besides the fields that a relaxation absorbs."""
    groups: dict[tuple[tuple[str, str], ...], list[Task]] = {}
    for task in tasks:
        kind = tuple((s.path, s.text) for s in task.settings if s.path not in absorbed)
        groups.setdefault(kind, []).append(task)
    return list(groups.values())


def share(groups: list[list[Task]], shard: Shard) -> list[list[Task]]:
    """The shard's part of the groups, in their order."""
    mine, found, passed = shard.slice(sum(map(len, groups))), list[list[Task]](), 0
    for group in groups:
        part = group[max(0, mine.start - passed) : max(0, mine.stop - passed)]
        passed += len(group)
        found += [part] if part else []
    return found


def _absorbed(variants: Variants, origin: Path) -> tuple[frozenset[str], Grade | None]:
    """The varied fields that relaxations absorb, and the best that their values reach together."""
    found, corner = set[str](), None
    for path, values in variants.values().items():
        probes = [v for v in (_valid(variants, value, origin) for value in _telling(path, values)) if v is not None]
        if len(probes) < min(2, len(values)):
            continue
        best = grade(probes[0])
        for probe in probes[1:]:
            best = easier(best, grade(probe))
        if all(relaxed(probe, best) == relaxed(probes[0], best) for probe in probes):
            found.add(path)
            corner = best if corner is None else easier(corner, best)
    return frozenset(found), corner


def _telling(path: str, values: list[Setting]) -> list[Setting]:
    """A few of a field's values, the least and the greatest among them."""
    numbers = [(n, k) for k, value in enumerate(values) if (n := number_of(path, value.text)) is not None]
    ends = {k for _, k in (min(numbers), max(numbers))} if numbers else set()
    return [values[k] for k in sorted({*ends, *range(min(PROBED, len(values)))})]


def _valid(variants: Variants, setting: Setting, origin: Path) -> Instance | None:
    """The instance with one field set and the others as in the file, if it is one."""
    try:
        return validate(variants.with_settings((setting,)), Instance, str(origin))
    except InputError:
        return None
