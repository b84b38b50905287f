"""A variants file: rows of fields and the values that they take, each row perhaps with a name.

.csv            the first line names the fields, and `scenario` if rows have names; an empty cell leaves the instance's own value
.json, .yaml    [{PATH: VALUE, "scenario": NAME}, ...], or {NAME: {PATH: VALUE}, ...}

A value `@FILE` is what that JSON or YAML file holds; it lies in the folder of the variants file or below.
"""

import csv
import json
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import InputError
from optimizer.batching.axes import MOST_VALUES
from optimizer.confined import path_beside
from optimizer.reading import MAX_DEPTH, parse_value, read_data, read_text

MOST_CHARACTERS = 120  # of a scenario's name, and of a path
NAME = "scenario"  # the column, or the field of a row, that holds its name
SHAPE = "write a list of objects PATH: VALUE, or one object of such objects by name"


class Setting(NamedTuple):
    """One field, the value that it takes (shared: not to be changed), and that value as a table shows it."""

    path: str
    value: Any
    text: str


class Scenario(NamedTuple):
    """One row: its name if it has one, where it stands in the file, and what it sets."""

    name: str | None
    place: str
    settings: tuple[Setting, ...]


class ValueFiles:
    """Makes settings; the files that values `@FILE` name are read once each, beside a document or from the current folder."""

    def __init__(self, document: Path | None = None) -> None:
        self._document = document
        self._read: dict[Path, Any] = {}

    def from_text(self, path: str, text: str, where: str) -> Setting:
        """A value of a command line or a table. Raises InputError, naming `where`, for what no instance file could hold."""
        value = self._content(text, where) if text.startswith("@") else parse_value(text, where)
        if _depth(value) > MAX_DEPTH:
            raise InputError(f"{where}: nested too deeply; at most {MAX_DEPTH} levels are read")
        return _checked(Setting(path, value, text), where)

    def from_value(self, path: str, value: Any, where: str) -> Setting:
        """A value of a JSON or YAML file. Raises InputError, naming `where`, for a file that cannot be read."""
        if not isinstance(value, str):
            return Setting(path, value, json.dumps(value, separators=(",", ":")))
        return _checked(Setting(path, self._content(value, where) if value.startswith("@") else value, value), where)

    def _content(self, text: str, where: str) -> Any:
        """What the file of `@FILE` holds."""
        name = text[1:].strip()
        if not name:
            raise InputError(f"{where}: @ alone names no file; write @FILE")
        try:
            path = Path(name) if self._document is None else path_beside(self._document, name, "@FILE")
            if path not in self._read:
                self._read[path] = read_data(path)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        return self._read[path]


def read_scenarios(file: Path) -> tuple[Scenario, ...]:
    """The rows of a variants file, at least one. Raises InputError naming file, row, field and remedy."""
    rows = tuple(islice(_table_rows(file) if file.suffix.lower() == ".csv" else _object_rows(file), MOST_VALUES + 1))
    if len(rows) > MOST_VALUES:
        raise InputError(f"{file}: more than {MOST_VALUES} rows; at most so many variants are solved in one batch, give fewer")
    if not any(row.settings for row in rows):
        raise InputError(f"{file}: holds no values; {SHAPE}, or a CSV file with a line of paths and lines of values")
    seen: set[object] = set()
    for row in rows:
        where = f"{file}: {row.place}"
        if row.name is None and not row.settings:
            raise InputError(f"{where}: sets nothing; give a value or remove it")
        key = row.name or tuple((setting.path, setting.text) for setting in row.settings)
        if key in seen:
            raise InputError(f"{where}: {'its name' if row.name else 'the same row'} is given before; keep one")
        seen.add(key)
    return rows


def _table_rows(file: Path) -> Iterator[Scenario]:
    """The rows of a CSV file."""
    files, lines = ValueFiles(file), _lines(file)
    number, header = next(lines, (1, []))
    for column, path in enumerate(header, start=1):
        _check_path_text(path, f"{file}: line {number}: column {column}")
    twice = next((path for path in header if header.count(path) > 1), None) if len(set(header)) < len(header) else None
    if twice is not None:
        raise InputError(f"{file}: line {number}: two columns are {twice}; keep one")
    for number, cells in lines:
        where = f"{file}: line {number}"
        if len(cells) != len(header):
            raise InputError(f"{where}: has {len(cells)} values for {len(header)} columns; give one for each, or an empty one")
        row = dict(zip(header, cells, strict=True))
        name = _checked_name(row.pop(NAME), where) if NAME in row else None
        settings = (files.from_text(path, text, f"{where}: {path}") for path, text in row.items() if text)
        yield Scenario(name, f"line {number}", tuple(settings))


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file that are not blank, by their numbers; cells stripped."""
    lines = csv.reader(StringIO(read_text(file).removeprefix("\ufeff"), newline=""), strict=True, skipinitialspace=True)
    try:
        for cells in lines:
            if cells not in ([], [""]):
                yield lines.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise InputError(f"{file}: line {lines.line_num}: not CSV ({error}); correct it there") from error


def _object_rows(file: Path) -> Iterator[Scenario]:
    """The rows of a JSON or YAML file."""
    files, data = ValueFiles(file), read_data(file)
    if not isinstance(data, list | dict):
        raise InputError(f"{file}: holds no rows; {SHAPE}")
    named = data.items() if isinstance(data, dict) else ((None, row) for row in data)
    for number, (key, row) in enumerate(named, start=1):
        place = f"row {number}" if key is None else f'scenario "{key[:40]}"'
        where = f"{file}: {place}"
        if not isinstance(row, dict):
            raise InputError(f"{where}: is no object; {SHAPE}")
        if key is not None and NAME in row:
            raise InputError(f"{where}: has a name already; remove its field {NAME}")
        name = _checked_name(row.get(NAME, key), where) if NAME in row or key is not None else None
        fields = {path: value for path, value in row.items() if path != NAME}
        for path in fields:
            _check_path_text(path, where)
        settings = (files.from_value(path, value, f"{where}: {path}") for path, value in fields.items())
        yield Scenario(name, place, tuple(settings))


def _checked_name(name: Any, where: str) -> str:
    """The name of a row, stripped. Raises InputError when it is none."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > MOST_CHARACTERS:
        shown = json.dumps(name)[:40]
        raise InputError(f"{where}: {shown} names no scenario; write plain text of 1 to {MOST_CHARACTERS} characters in one line")
    return name.strip()


def _check_path_text(path: str, where: str) -> None:
    """Raises InputError for what is no path whatever the instance."""
    if not path or not path.isprintable() or len(path) > MOST_CHARACTERS:
        raise InputError(f"{where}: {json.dumps(path)[:40]} is no field; write its path, e.g. cluster.nodes")


def _checked(setting: Setting, where: str) -> Setting:
    """The setting, if it can be shown in a table."""
    if not setting.text.isprintable():
        raise InputError(f"{where}: holds characters that cannot be printed; write it in one line of plain text")
    return setting


def _depth(value: Any) -> int:
    """Levels of nesting, counted level by level, of which there may be thousands."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v if isinstance(v, list) else ())]
    return depth
