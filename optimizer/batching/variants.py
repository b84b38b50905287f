"""The variants of an instance: the rows of a file crossed with what `--vary` says, each made when it is asked for."""

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, Self

from models.errors import InputError
from optimizer.batching.axes import MOST_VALUES, Axis, parse_axis
from optimizer.batching.scenarios import Scenario, ValueFiles, read_scenarios
from optimizer.batching.scenarios import Setting as Setting
from optimizer.catalogued import KEPT, spell_out
from optimizer.settings import check_path, set_path

Json = dict[str, Any]
MOST_VARIANTS = MOST_VALUES
MOST_FIELDS = 200  # that vary in one batch
OPTION = "--vary"

Choices = Sequence[tuple[Setting, ...]]  # of which one variant takes one


class Variants:
    """Every variant by its number: the file's rows outermost, the last axis varying fastest. Made by `read_variants`.

    `columns` are the varied fields, those of the file first.
    """

    def __init__(self, base: Any, scenarios: Sequence[Scenario], choices: Sequence[Choices], options: dict[str, str]):
        self.axes = tuple(_axis_of(rows) for rows in choices)
        self.columns = tuple(options)
        self._base = base
        self.scenarios = tuple(scenarios)
        self._crossed = tuple(choices)
        self._choices = ([row.settings for row in scenarios], *choices) if scenarios else self._crossed
        self._options = options

    def __len__(self) -> int:
        return prod(map(len, self._choices))

    @property
    def has_scenarios(self) -> bool:
        """Whether any row of the file has a name."""
        return any(row.name is not None for row in self.scenarios)

    def scenario(self, number: int) -> str | None:
        """The name of the file's row that a variant takes; None without a file or a name."""
        return self.scenarios[self.positions(number)[0]].name if self.scenarios else None

    def settings(self, number: int) -> tuple[Setting, ...]:
        """What a variant sets, in the order of the columns; fields that its row of the file leaves out are absent."""
        return tuple(s for choices, position in zip(self._choices, self.positions(number), strict=True) for s in choices[position])

    def texts(self, number: int) -> tuple[str, ...]:
        """One text per column, as a table shows it; "" where the instance's own value is kept."""
        found = {setting.path: setting.text for setting in self.settings(number)}
        return tuple(found.get(path, "") for path in self.columns)

    def lines(self, axis: int) -> Iterator[range]:
        """The numbers of variants that differ along one of `axes` only, in the order of its values; one range for each of the others."""
        step = prod(map(len, self._crossed[axis + 1 :]))
        span = step * len(self._crossed[axis])
        return (range(start + shift, start + shift + span, step) for start in range(0, len(self), span) for shift in range(step))

    def values(self) -> dict[str, list[Setting]]:
        """The values that each varied field takes, in order of appearance, those with the same text once."""
        found: dict[str, dict[str, Setting]] = {path: {} for path in self.columns}
        for choices in self._choices:
            for setting in (s for settings in choices for s in settings):
                found[setting.path].setdefault(setting.text, setting)
        return {path: list(by_text.values()) for path, by_text in found.items()}

    def data(self, number: int) -> Any:
        """The instance's data as a variant has it. Raises InputError when one of its settings leaves no place for another."""
        return self.with_settings(self.settings(number))

    def with_settings(self, settings: Iterable[Setting]) -> Any:
        """A copy of the instance's data with settings of varied fields applied, whole records before fields inside them."""
        data = copy.deepcopy(self._base)
        for setting in sorted(settings, key=_turn):
            set_path(data, setting.path, copy.deepcopy(setting.value), self._options[setting.path])
            spell_out(data)
        return data

    def identity(self) -> Json:
        """Which variants of the base these are, whatever the names and places of files: what they hold counts, `@FILE` by its digest."""
        digests: dict[int, Json] = {}

        def described(settings: Iterable[Setting]) -> list[Any]:
            return [[s.path, _digest(s.value, digests) if _of_file(s) else s.value] for s in settings]

        rows = [[row.name, described(row.settings)] for row in self.scenarios]
        return {"scenarios": rows, "axes": [[described(settings) for settings in choices] for choices in self._crossed]}

    def to_json(self) -> Json:
        """Everything, the base and what files hold included, each file's content once."""
        files: dict[int, tuple[int, Any]] = {}

        def stated(settings: Iterable[Setting]) -> list[Any]:
            return [[s.path, files.setdefault(id(s.value), (len(files), s.value))[0] if _of_file(s) else s.value, s.text] for s in settings]

        rows = [[row.name, row.place, stated(row.settings)] for row in self.scenarios]
        axes = [[stated(settings) for settings in choices] for choices in self._crossed]
        return {
            "base": self._base,
            "scenarios": rows,
            "axes": axes,
            "files": [v for _, v in files.values()],
            "options": [*self._options.items()],
        }

    @classmethod
    def from_json(cls, found: Json) -> Self:
        """The inverse of `to_json`. Raises ValueError for what it did not write."""

        def read(settings: Iterable[Any]) -> tuple[Setting, ...]:
            stated = (Setting(path, value, text) for path, value, text in settings)
            return tuple(s._replace(value=found["files"][s.value]) if _of_file(s) else s for s in stated)

        try:
            rows = [Scenario(name, place, read(settings)) for name, place, settings in found["scenarios"]]
            axes = [[read(settings) for settings in choices] for choices in found["axes"]]
            return cls(found["base"], rows, axes, dict(found["options"]))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"no variants: {error!r}") from error

    def positions(self, number: int) -> list[int]:
        """Which row of the file and which value of each axis a variant takes. Raises IndexError for a number of none."""
        if not 0 <= number < len(self):
            raise IndexError(f"variant {number} of {len(self)}")
        positions = []
        for choices in reversed(self._choices):
            number, position = divmod(number, len(choices))
            positions.append(position)
        return positions[::-1]


def read_variants(base: Any, vary: Sequence[str], file: Path | None, origin: Path) -> Variants:
    """The variants of an instance's data (as `read_with_overrides` gives it, from `origin`) that options and a file ask for.

    Raises InputError for options and files that do not say what they vary, for fields that there are not, and for too many variants.
    """
    if not vary and file is None:
        raise InputError("give --vary PATH=V1,V2 or --variants FILE")
    if not isinstance(base, dict):
        raise InputError(f"{origin}: no instance; write an object of its fields")
    scenarios = () if file is None else read_scenarios(file)
    axes = [parse_axis(text) for text in vary]
    _check_fields(base, scenarios, axes, file)
    count = prod(len(axis.rows) for axis in axes) * max(1, len(scenarios))
    if count > MOST_VARIANTS:
        raise InputError(f"{OPTION}: {count} variants; at most {MOST_VARIANTS} are solved in one batch, give fewer values")
    options = {setting.path: f"{file}:" for row in scenarios for setting in row.settings}
    options |= {path: OPTION for axis in axes for path in axis.paths}
    files = ValueFiles()
    return Variants(base, scenarios, [_settings_of(axis, files) for axis in axes], options)


def _settings_of(axis: Axis, files: ValueFiles) -> Choices:
    """The rows of an axis with their values read."""
    return [tuple(files.from_text(p, text, f"{OPTION} {p}") for p, text in zip(axis.paths, row, strict=True)) for row in axis.rows]


def _axis_of(rows: Choices) -> Axis:
    """The axis that such settings were read from."""
    return Axis(tuple(s.path for s in rows[0]), tuple(tuple(s.text for s in settings) for settings in rows))


def _of_file(setting: Setting) -> bool:
    """Whether the value is what a file holds that is named as `@FILE`."""
    return setting.text.startswith("@")


def _check_fields(base: Json, scenarios: Sequence[Scenario], axes: Sequence[Axis], file: Path | None) -> None:
    """Raises InputError for a field that varies twice, or that an instance does not have."""
    first: dict[str, str] = {}
    for row in scenarios:
        for setting in row.settings:
            first.setdefault(setting.path, f"{file}: {row.place}:")
    given = [*first.items(), *((path, OPTION) for axis in axes for path in axis.paths)]
    if len(given) > MOST_FIELDS:
        raise InputError(f"{given[-1][1]} {len(given)} fields vary; at most {MOST_FIELDS} do in one batch, give fewer")
    seen: set[tuple[str, ...]] = set()
    for path, option in given:
        if _steps(path) in seen:
            raise InputError(f"{option} {path}: a field is varied twice; give all its values at once")
        seen.add(_steps(path))
        check_path(base, path, option)


def _steps(path: str) -> tuple[str, ...]:
    """The steps of a path without those that may be left out: `pools`, and the position in a list of one."""
    return tuple(step for step in path.split(".") if step not in ("pools", "0"))


def _turn(setting: Setting) -> tuple[int, bool]:
    """When a setting is applied: records before their fields, and names that stand for a whole record before its other fields."""
    steps = _steps(setting.path)
    return len(steps), not {*steps[-1:]} & KEPT.keys()


def _digest(value: Any, known: dict[int, Json]) -> Json:
    """A value by the digest of its canonical JSON, computed once for each object."""
    if id(value) not in known:
        known[id(value)] = {"sha256": hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()}
    return known[id(value)]
