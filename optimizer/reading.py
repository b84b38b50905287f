"""Files to records: JSON or YAML, safely, with one clear sentence when something is wrong."""

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models.errors import InputError
from models.instance import Instance
from models.service import Service
from optimizer.catalogued import resolve, spell_out
from optimizer.measuring.attaching import attach_tables
from optimizer.settings import set_path

KINDS = ("prefill", "decode", "serving")
MAX_FILE_BYTES = 5_000_000
MAX_FIELDS = 10_000  # of one object
MAX_DEPTH = 40  # levels of nesting, as in YAML

R = TypeVar("R", bound=BaseModel)


class _Unreadable(str):
    """The text of a number that cannot be used; found and refused once its field is known."""


def _read_int(text: str) -> int | _Unreadable:
    return int(text) if len(text) <= 30 else _Unreadable(text)


def _read_float(text: str) -> float | _Unreadable:
    value = float(text)
    return value if isfinite(value) else _Unreadable(text)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise InputError(f"an object has {len(pairs)} fields; at most {MAX_FIELDS} are read, correct it")
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f'"{key[:60]}" is given twice in one object; keep one')
        found[key] = value
    return found


def read_text(path: Path, most_bytes: int = MAX_FILE_BYTES) -> str:
    """The file's text. Raises InputError when it cannot be read, is too large, or is not UTF-8."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file")
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the path")
        size = path.stat().st_size
        if size > most_bytes:
            raise InputError(f"{path}: {size} bytes; files above {most_bytes} bytes are refused, shorten it")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_data(path: Path) -> Any:
    """The file's JSON or YAML value. Duplicate keys, NaN, deep nesting and YAML tags are refused."""
    text = read_text(path)
    try:
        value = _parse_yaml(text) if path.suffix.lower() in (".yaml", ".yml") else _parse_json(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}, column {error.colno}: not JSON ({error.msg}); correct it there") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply; at most {MAX_DEPTH} levels are read") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if _depth_exceeds(value, MAX_DEPTH):
        raise InputError(f"{path}: nested too deeply; at most {MAX_DEPTH} levels are read")
    unreadable = next(_find_unreadable(value, ()), None)
    if unreadable is not None:
        where, number = unreadable
        raise InputError(f"{path}: {where}: {number[:40]} is not a number that can be used; write a finite one of at most 30 digits")
    return value


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_int=_read_int, parse_float=_read_float, parse_constant=_Unreadable)


def _parse_yaml(text: str) -> Any:
    from optimizer.yaml_reading import parse_yaml

    return parse_yaml(text)


def _find_unreadable(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, _Unreadable):
        yield ".".join(path) or "top level", value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _find_unreadable(child, (*path, key))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _find_unreadable(child, (*path, str(number)))


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for v in level for child in _children(v)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_record(path: Path, record: type[R], overrides: Sequence[str] = ()) -> R:
    """The file as a record, after `PATH=VALUE` overrides. Raises InputError with one sentence."""
    return validate(read_with_overrides(path, overrides), record, str(path))


def read_problem(path: Path, overrides: Sequence[str] = ()) -> Instance | Service:
    """An instance file: a service where its workload is `serving`. Raises InputError with one sentence."""
    data = read_with_overrides(path, overrides)
    workload = data.get("workload") if isinstance(data, dict) else None
    kind = workload.get("kind") if isinstance(workload, dict) else None
    if isinstance(workload, dict) and kind not in KINDS:
        said = "missing" if kind is None else json.dumps(kind)[:60]
        raise InputError(f"{path}: workload.kind: {said}; write one of {', '.join(KINDS)}")
    return validate(data, Service, str(path)) if _is_serving(data) else validate(data, Instance, str(path))


def _is_serving(data: Any) -> bool:
    workload = data.get("workload") if isinstance(data, dict) else None
    return isinstance(workload, dict) and workload.get("kind") == "serving"


def read_with_overrides(path: Path, overrides: Sequence[str]) -> Any:
    """The file's value with each `PATH=VALUE` applied."""
    data = read_data(path)
    spell_out(data)
    for override in overrides:
        name, given, value = override.partition("=")
        if not given or not name.strip():
            raise InputError(f'--set "{override[:80]}": write PATH=VALUE, e.g. workload.sequences=64')
        set_path(data, name.strip(), parse_value(value, f"--set {name.strip()}"), "--set")
    return data


def validate(data: Any, record: type[R], origin: str) -> R:
    """`data` as a record, an instance's names from the catalogue replaced. Raises InputError naming origin, field, value and remedy."""
    if record is Instance and _is_serving(data):
        raise InputError(f"{origin}: workload.kind serving is not for this command; use search, prove, explain, simulate or check")
    if record is Instance or record is Service:
        data = attach_tables(resolve(data, origin), origin)
    try:
        return record.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise InputError(f"{origin}: {_sentence(error.errors(include_url=False, include_context=False), record, data)}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{origin}: cannot be written as JSON ({error}); use strings, integers, lists and objects") from error


def _sentence(errors: Sequence[Any], record: type[BaseModel], data: Any) -> str:
    """What is wrong, where, and the remedy; a field that does not exist explains one that is missing."""
    error = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where, message, kind = _place(error["loc"], data), error["msg"].removeprefix("Value error, "), error["type"]
    if kind == "missing":
        remedy = ', such as {"*": "assumed: why"}' if where.endswith("sources") else " (see `shardproof schema instance`)"
        return f"{where}: missing; add it{remedy}"
    if kind == "extra_forbidden":
        wrong = str(error["loc"][-1])
        absent = [e["loc"][-1] for e in errors if e["type"] == "missing" and e["loc"][:-1] == error["loc"][:-1]]
        known = [name for name in _field_names(record) if name != wrong]
        close = get_close_matches(wrong[:60], absent, n=1) or get_close_matches(wrong[:60], known, n=1)
        return f"{where}: no such field; " + (f'did you mean "{close[0]}"?' if close else "remove it")
    shown = json.dumps(error["input"], default=str)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    if kind == "value_error":
        return f"{where}: {message}" if isinstance(error["input"], dict) else f"{where}: {message}, got {shown}"
    return f"{where}: {message[:1].lower()}{message[1:]}, got {shown}; correct it (see `shardproof schema`)"


def _place(location: Sequence[str | int], data: Any) -> str:
    """The dotted path in the file: pydantic's location without the kinds of union members."""
    node, steps = data, []
    for step in location:
        if isinstance(node, dict) and step not in node and node.get("kind") == step:
            continue
        steps.append(str(step))
        if isinstance(node, dict):
            node = node.get(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
    return ".".join(steps) or "top level"


def _field_names(record: type[BaseModel]) -> list[str]:
    text = json.dumps(record.model_json_schema())
    schema: dict[str, Any] = json.loads(text)
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({name for part in parts for name in part.get("properties", {})})


def parse_value(text: str, origin: str) -> Any:
    """A value given on the command line: JSON where it parses (integers, lists, true, null), else the text itself.

    Raises InputError, naming `origin`, for numbers and texts that no file could hold.
    """
    try:
        text.encode()
        value = _parse_json(text)
    except (json.JSONDecodeError, RecursionError):
        return text.strip()
    except (InputError, UnicodeEncodeError) as error:
        raise InputError(f"{origin}: {error}; correct the value") from error
    if next(_find_unreadable(value, ()), None) is not None:
        raise InputError(f"{origin}: {text.strip()[:40]} is not a number that can be used; write a finite one of at most 30 digits")
    return text.strip() if isinstance(value, float) else value
