"""Every small change to a JSON document, each with the record and the field that it concerns."""

from collections.abc import Iterator
from typing import Any, NamedTuple

RECORDS = {"plan": "StatedPlan", "plans": "PricedPlan", "refuted": "PricedPlan", "degrees": "AllDegrees", "rules": "BrokenRule"}
RECORDS |= {"facts": "Fact", "problem": "Problem", "classes": "RankClass", "instance": "Instance", "provenance": "provenance"}
BY_KIND = ("claim", "argument", "together", "apart")
CLAIMS = ("optimal", "bounded", "infeasible", "broken", "placement")
ARGUMENTS = ("prices", "split", "branch")
WORDS = (*CLAIMS, *ARGUMENTS, "tp-cp-dp|etp-ep-edp", "dp-cp-tp|edp-ep-etp", "memory", "world", "0" * 64, "shardproof-certificate/2", "")
UNKNOWN = "(unknown)"
MOST_ELEMENTS = 5  # of one list that are changed each for itself

Path = tuple[str | int, ...]


class Mutant(NamedTuple):
    """A changed document, and where and how it was changed."""

    owner: str
    """record that the field belongs to; of claims and arguments, their kind"""
    field: str
    operation: str
    content: Any


def mutants(document: dict[str, Any], skip: frozenset[str] = frozenset()) -> Iterator[Mutant]:
    """All single changes; what lies below the top-level fields `skip` stays as it is."""
    for path, owner, field, value in _walk(document, (), "Certificate", "", skip):
        for operation, new in _changes(value):
            if path:
                yield Mutant(owner, field, operation, replaced(document, path, new))
        if isinstance(value, dict):
            inside = _record(value, field) if path else "Certificate"
            for key in value:
                yield Mutant(inside, key, "removed", replaced(document, path, {k: v for k, v in value.items() if k != key}))
            yield Mutant(inside, UNKNOWN, "added", replaced(document, path, value | {"unknown": 1}))


def _record(value: dict[str, Any], field: str) -> str:
    """The record that an object under `field` is."""
    return str(value.get("kind")) if field in BY_KIND else RECORDS.get(field, field)


def _walk(value: Any, path: Path, owner: str, field: str, skip: frozenset[str]) -> Iterator[tuple[Path, str, str, Any]]:
    """Every node with the record and the field that it belongs to; of a long list, a few elements."""
    yield path, owner, field, value
    if isinstance(value, dict):
        inside = _record(value, field) if path else owner
        inside = owner if owner in ("Instance", "provenance") else inside
        for key, child in value.items():
            if path or key not in skip:
                yield from _walk(child, (*path, key), inside, key, skip)
    elif isinstance(value, list):
        for n in _some(len(value)):
            yield from _walk(value[n], (*path, n), owner, field, skip)


def _some(length: int) -> list[int]:
    return list(range(length)) if length <= MOST_ELEMENTS else [0, 1, length // 2, length - 2, length - 1]


def _changes(value: Any) -> Iterator[tuple[str, Any]]:
    """Other values in place of one."""
    if isinstance(value, bool):
        yield "flipped", not value
        yield "number", int(value)
    elif isinstance(value, int):
        for name, new in (("+1", value + 1), ("-1", value - 1), ("*2", value * 2), ("0", 0), ("negative", -value or -1)):
            if new != value:
                yield name, new
        yield from (("float", float(value)), ("true", True), ("text", str(value)), ("61 digits", 10**60))
    elif isinstance(value, str):
        yield from (("other text", new) for new in (*WORDS, value + "x", value[::-1]) if new != value)
        yield "number", 1
    elif isinstance(value, list):
        yield from _changes_of_list(value)
    elif value is None:
        yield from (("filled", new) for new in (0, 1, 7, "x", [], [0, 1], {}))
    if value is not None:
        yield "null", None


def _changes_of_list(value: list[Any]) -> Iterator[tuple[str, Any]]:
    for n in _some(len(value)):
        yield "dropped", [*value[:n], *value[n + 1 :]]
        yield "duplicated", [*value[: n + 1], *value[n:]]
        if n and value[n] != value[0]:
            yield "swapped", [value[n], *value[1:n], value[0], *value[n + 1 :]]
    if value:
        yield "emptied", []
    yield "appended", [*value, 0]
    yield "object", {}


def replaced(document: Any, path: Path, new: Any) -> Any:
    """The document with another value at `path`; the rest is shared."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(document, dict):
        return document | {step: replaced(document[step], rest, new)}
    return [replaced(child, rest, new) if n == step else child for n, child in enumerate(document)]
