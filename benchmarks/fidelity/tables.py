"""CSV files as lines of named cells; a bad file is one sentence that names file, field, value and remedy."""

import csv
from pathlib import Path
from typing import NamedTuple


class InputError(Exception):
    """The user's file cannot be read as it stands; the message is the whole explanation."""


class Line(NamedTuple):
    """One line of a CSV file; a cell that is absent, empty or "nan" reads as ""."""

    file: str
    number: int
    cells: dict[str, str]

    def text(self, field: str, default: str = "") -> str:
        """A cell, or the default."""
        value = (self.cells.get(field) or "").strip()
        return default if value.casefold() in ("", "nan", "none", "null") else value

    def refuse(self, field: str, value: str, must: str, remedy: str) -> InputError:
        """The sentence about one bad cell."""
        return InputError(f"{self.file}: line {self.number}: {field}: {must}, got {value!r}; {remedy}")

    def real(self, field: str) -> float | None:
        """A positive number, or None when the cell is empty."""
        value = self.text(field)
        if not value:
            return None
        try:
            read = float(value)
        except ValueError:
            read = -1.0
        if not 0 < read < float("inf"):
            raise self.refuse(field, value, "must be a positive number", "correct the cell or leave it empty")
        return read

    def whole(self, field: str, default: int) -> int:
        """A positive whole number ("8" or "8.0"), or the default when the cell is empty."""
        read = self.real(field)
        if read is None:
            return default
        if read != int(read):
            raise self.refuse(field, self.text(field), "must be a whole number", f"correct the cell or leave it empty for {default}")
        return int(read)


def read_lines(path: Path, required: tuple[str, ...]) -> list[Line]:
    """Every line of a CSV file that has the required columns; at least one line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = [name for name in reader.fieldnames or [] if name is not None]
            lines = [Line(path.name, reader.line_num, row) for row in reader]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a CSV file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: is not UTF-8 text at byte {error.start}; save it as plain CSV in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path.name}: is not CSV ({error}); save it as comma-separated text with one header line") from None
    for field in required:
        if field not in header:
            raise InputError(f"{path.name}: column {field!r} is missing, got columns {', '.join(header)[:200] or 'none'}; add the column")
    if not lines:
        raise InputError(f"{path.name}: has a header but no lines, got 0; give a file with at least one line")
    for line in lines:
        if None in line.cells or None in line.cells.values():
            raise InputError(f"{path.name}: line {line.number}: must have {len(header)} cells, got another number; quote cells with commas")
    return lines
