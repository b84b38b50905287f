"""Fields of an instance by dotted path, as `--set` and `--vary` name them: found in the file, or known to the schema."""

import copy
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

from models.errors import InputError
from models.service import Service
from optimizer.catalogued import instance_schema, make_room

Json = dict[str, Any]


class _Place(NamedTuple):
    """A value of the file with the parts of the schema that may describe it: several where it is a union."""

    value: Any
    parts: tuple[Json, ...]

    def child(self, step: str | int) -> "_Place":
        """The element or field `step`, which the value has."""
        return _Place(self.value[step], _child_parts(self.parts, str(step)))


@cache
def _schema() -> Json:
    """The schema of instances, with the definitions that services have too."""
    found, services = instance_schema(), instance_schema(Service)
    return found | {"$defs": services["$defs"] | found["$defs"], "service": {k: v for k, v in services.items() if k != "$defs"}}


def _root(data: Any) -> Json:
    """The schema of a file's value: of a service where its workload is one."""
    workload = data.get("workload") if isinstance(data, dict) else None
    serving = isinstance(workload, dict) and workload.get("kind") == "serving"
    root: Json = _schema()["service"] if serving else _schema()
    return root


def _alternatives(part: Json) -> Iterator[Json]:
    """The part without references and unions."""
    if "$ref" in part:
        yield from _alternatives(_schema()["$defs"][part["$ref"].rpartition("/")[2]])
    elif several := part.get("anyOf") or part.get("oneOf"):
        for one in several:
            yield from _alternatives(one)
    else:
        yield part


def _child_parts(parts: tuple[Json, ...], step: str) -> tuple[Json, ...]:
    """What the schema says of the field or element `step`; empty where it knows none."""
    found: list[Json] = []
    for part in parts:
        child = part.get("items") if part.get("type") == "array" else part.get("properties", {}).get(step, part.get("additionalProperties"))
        found += _alternatives(child) if isinstance(child, dict) else ()
    return tuple(found)


def set_path(data: Any, path: str, value: Any, option: str) -> None:
    """Set one field of an instance's data, in place; `option` is named when that fails.

    Steps are separated by dots; list positions are numbers. A list of one element may be stepped
    through without its index: `cluster.scale_out.latency_ns` skips `pools.0`. An object that the file
    leaves out is created where the schema knows it; a name from the catalogue takes the place of a record
    written out. A constant so set is marked as assumed in the
    `sources` beside it.
    """
    owner, last = _reach(data, path, option)
    node = owner.value
    if isinstance(node, list):
        node[int(last)] = value
    else:
        if _child_parts(owner.parts, last):
            make_room(node, last)
        node[last] = value
        if isinstance(node.get("sources"), dict) and last != "sources":
            node["sources"][last] = "assumed: set on the command line"


def check_path(data: Any, path: str, option: str) -> None:
    """Raises InputError, naming `option`, when there is nothing to set at a path, or no such field in the schema."""
    owner, last = _reach(copy.deepcopy(data), path, option)
    if isinstance(owner.value, dict) and not _child_parts(owner.parts, last):
        close = get_close_matches(last[:60], _known_names(owner), n=1)
        remedy = f'did you mean "{close[0]}"?' if close else "see `shardproof schema instance` for the fields"
        raise InputError(f"{option} {path}: no such field {last!r}; {remedy}")


def _known_names(place: _Place) -> list[str]:
    return sorted({name for part in place.parts for name in part.get("properties", {})})


def _reach(data: Any, path: str, option: str) -> tuple[_Place, str]:
    """The object or list that holds the last step of a path, and that step."""
    *steps, last = path.split(".")
    place = _Place(data, tuple(_alternatives(_root(data))))
    for step in steps:
        place = _step(place, step, path, option)
    place = _owner(place, last)
    if isinstance(place.value, dict) or (isinstance(place.value, list) and _position(last, place.value) is not None):
        return place, last
    raise InputError(f"{option} {path}: nothing to set at {last!r}; see `shardproof schema instance` for the fields")


def _position(step: str, items: list[Any]) -> int | None:
    """The list position that a step names; None when it names none."""
    number = int(step) if step.isascii() and step.isdigit() and len(step) < 8 else len(items)
    return number if number < len(items) else None


def _owner(place: _Place, name: str) -> _Place:
    """The object that has `name`, looking through lists of one and objects that only hold such a list."""
    while True:
        if isinstance(place.value, list) and len(place.value) == 1 and not name.isdigit():
            place = place.child(0)
        elif isinstance(place.value, dict) and name not in place.value and set(place.value) == {"pools"}:
            place = place.child("pools")
        else:
            return place


def _step(place: _Place, step: str, path: str, option: str) -> _Place:
    """One step down; into an object that is known but left out, by creating it."""
    place = _owner(place, step)
    node = place.value
    if isinstance(node, list) and (position := _position(step, node)) is not None:
        return place.child(position)
    if isinstance(node, dict):
        if node.get(step) is None and any(part.get("type") == "object" for part in _child_parts(place.parts, step)):
            node[step] = {}
        if isinstance(node.get(step), dict | list):
            return place.child(step)
    known = "nothing" if not isinstance(node, list) else f"0..{len(node) - 1}"
    if isinstance(node, dict):
        known = ", ".join(sorted({*node, *_known_names(place)}))
    raise InputError(f"{option} {path}: no {step!r} to step into; there is {known[:300]}")


@cache
def short_name(path: str) -> str:
    """The shortest end of a path that names one field of the schema: `sequences`, but `space.name`."""
    steps = tuple(path.split("."))
    for length in range(1, len(steps)):
        if sum(names[-length:] == steps[-length:] for names in _all_names()) == 1:
            return ".".join(steps[-length:])
    return path


@cache
def _all_names() -> frozenset[tuple[str, ...]]:
    """Every field of the schema by its steps, without `pools` and positions."""
    return frozenset(_fields(tuple(_alternatives(_schema())), ()))


def _fields(parts: tuple[Json, ...], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for part in parts:
        if part.get("type") == "array":
            yield from _fields(_child_parts((part,), "0"), above)
        for name in part.get("properties", {}):
            here = above if name == "pools" else (*above, name)
            if name != "pools":
                yield here
            yield from _fields(_child_parts((part,), name), here)
