"""What one `--vary` says: fields and the values they take, listed, as ranges, or of several fields side by side.

PATH=V1,V2              commas inside [], {} and double quotes belong to the value; in 16,32,64 GB the unit is that of all three
PATH=A..B:+STEP         A, A + STEP, ... up to B, exact decimals; :-STEP falls
PATH=A..B:*FACTOR       A, A * FACTOR, ... up to B; :/FACTOR falls; a unit behind any number of a range holds for all of it
PATH=...; PATH=...      fields that vary together: the first values of all, the second values of all, ...
"""

import re
from collections.abc import Iterator
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction
from typing import NamedTuple

from models.errors import InputError
from models.units import parse_quantity
from optimizer.reading import parse_value

MOST_VALUES = 100_000
MOST_DECIMALS = 30  # of a value of a range, as of any quantity
SHORT_DECIMALS = 12  # of a value between two others

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}
_NUMBER, _UNIT = r"[0-9]{1,30}(?:\.[0-9]{1,30})?", r"[A-Za-z\u00b5\u03bc$%][A-Za-z$%/]{0,11}"
_RANGE = re.compile(rf"(-?{_NUMBER})\s*({_UNIT})?\s*\.\.\s*(-?{_NUMBER})\s*({_UNIT})?\s*(?::\s*([-+*/])\s*({_NUMBER})\s*({_UNIT})?)?")
_QUANTITY, _BARE = re.compile(rf"-?{_NUMBER}\s*({_UNIT})"), re.compile(rf"-?{_NUMBER}")
_NEARLY_RANGE = re.compile(rf"[0-9]\s*(?:{_UNIT})?\s*\.\.+\s*[-+]?\.?[0-9]")

_DIMENSIONS = {
    "_bytes_per_s": "bytes/s",
    "_flop_per_s": "FLOP/s",
    "_tokens_per_s": "tokens/s",
    "_uusd_per_gpu_hour": "micro-USD/h",
    "_bytes": "bytes",
    "_bytes_per_token": "bytes",
    "_bytes_per_pass": "bytes",
    "_ns": "ns",
    "_ppm": "ppm",
}
"""What a field is counted in, by the end of its name."""
_BASE_UNITS = {"bytes": "B", "bytes/s": "B/s"}
_WRITE_OUT = "list the values, or give another step"


class Axis(NamedTuple):
    """Fields that vary together, most often one, and their values as written: one row per variant, one value per field in it."""

    paths: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class _Range(NamedTuple):
    """The numbers of `first..last:step`, and the unit of all three."""

    first: Decimal
    last: Decimal
    kind: str
    step: Decimal
    unit: str


def parse_axis(text: str) -> Axis:
    """One `--vary` option. Raises InputError, quoting it, with the remedy."""
    try:
        fields = [_parse_field(part) for part in _split(text, ";")]
        return _side_by_side(fields)
    except InputError as error:
        raise InputError(f'--vary "{text[:80]}": {error}') from error


def _side_by_side(fields: list[tuple[str, list[str]]]) -> Axis:
    paths = tuple(path for path, _ in fields)
    if len(set(paths)) != len(paths):
        raise InputError("a field is varied twice; give all its values at once")
    (first, values), *others = fields
    odd = next(((path, more) for path, more in others if len(more) != len(values)), None)
    if odd is not None:
        raise InputError(f"{first} has {len(values)} values and {odd[0]} has {len(odd[1])}; give each as many as the other")
    rows = tuple(zip(*(more for _, more in fields), strict=True))
    if len(set(rows)) != len(rows):
        what = "a value is given twice" if len(paths) == 1 else "the same values are given twice together"
        raise InputError(f"{what}; list each once")
    return Axis(paths, rows)


def _parse_field(text: str) -> tuple[str, list[str]]:
    """The path and the values of `PATH=V1,V2,...`, ranges expanded."""
    path, _, rest = text.partition("=")
    pieces = _split(rest, ",")
    if not path.strip() or not all(pieces):
        raise InputError("write PATH=V1,V2, e.g. workload.sequences=64,128")
    if not all(part.isprintable() for part in (path.strip(), *pieces)):
        raise InputError("holds characters that cannot be printed; write it in one line of plain text")
    values = [value for piece in _with_unit_of_last(pieces) for value in _expand(piece)]
    if len(values) > MOST_VALUES:
        raise InputError(f"{len(values)} values; at most {MOST_VALUES} of one field are solved in one batch, give fewer")
    return path.strip(), values


def _with_unit_of_last(pieces: list[str]) -> list[str]:
    """`16, 32, 64 GB` with the unit on each number; anything else as it is."""
    *bare, last = pieces
    found = _QUANTITY.fullmatch(last)
    if found is None or not bare or not all(_BARE.fullmatch(piece) for piece in bare):
        return pieces
    return [*(f"{piece} {found[1]}" for piece in bare), last]


def _split(text: str, mark: str) -> list[str]:
    """The pieces between the marks outside brackets and double quotes, stripped. Raises InputError where one of those is not closed."""
    pieces, awaited, start = [], list[str](), 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{" as opening:
                awaited.append(_CLOSING[opening])
            case "]" | "}" as closing:
                if not awaited or awaited.pop() != closing:
                    raise InputError(f"{closing} closes nothing; correct it, or put the value in double quotes")
            case '"':
                raise InputError("a double quote is not closed; add the other one")
            case found if found == mark and not awaited:
                pieces.append(text[start : token.start()].strip())
                start = token.end()
    if awaited:
        raise InputError(f"{awaited[-1]} is missing; add it, or put the value in double quotes")
    return [*pieces, text[start:].strip()]


def _expand(piece: str) -> list[str]:
    """The values that a piece stands for: those of a range, or the piece itself."""
    if piece.startswith(("@", '"', "[", "{")):
        return [piece]
    found = _RANGE.fullmatch(piece)
    if found is None:
        if _NEARLY_RANGE.search(piece):
            raise InputError(f'"{piece[:40]}" is no range; write e.g. 64..1024:*2 or 10..100 GB/s:+5, or put text in double quotes')
        return [piece]
    first, unit, last, second_unit, kind, step, third_unit = found.groups()
    if kind is None:
        raise InputError(f"{piece} has no step; write e.g. {piece}:+10 or {piece}:*2")
    units = sorted({u.replace("\u03bc", "\u00b5") for u in (unit, second_unit, third_unit) if u})
    if len(units) > 1:
        raise InputError(f"{piece} mixes {' and '.join(units)}; use one unit in a range")
    if third_unit and kind in "*/":
        raise InputError(f"{piece} has a factor with a unit; write it as a number, as in :{kind}2")
    with localcontext(Context(prec=2 * MOST_DECIMALS + 6, traps=[Inexact])):
        numbers = _Range(Decimal(first) + 0, Decimal(last) + 0, kind, Decimal(step), "".join(units))
        try:
            return list(_values(numbers, piece))
        except Inexact:
            raise InputError(f"{piece} has a value that no decimal says exactly; {_WRITE_OUT}") from None


def _values(of: _Range, piece: str) -> Iterator[str]:
    """The range's values as text, from the first to the last that does not pass the end."""
    tail = f" {of.unit}" if of.unit else ""
    for value in _additive(of, piece) if of.kind in "+-" else _geometric(of, piece):
        text = f"{value.normalize():f}"
        if len(text.partition(".")[2]) > MOST_DECIMALS:
            raise InputError(f"{piece} has values of more than {MOST_DECIMALS} decimals; {_WRITE_OUT}")
        yield text + tail


def _additive(of: _Range, piece: str) -> Iterator[Decimal]:
    """first, first + step, ..., or falling."""
    step = of.step if of.kind == "+" else -of.step
    if not step:
        raise InputError(f"{piece} has a step of 0, which does not move; give another")
    if of.last != of.first and (of.last > of.first) != (step > 0):
        raise InputError(f"{piece} steps away from its end; write :+STEP to rise and :-STEP to fall")
    count = int((Fraction(of.last) - Fraction(of.first)) // Fraction(step)) + 1
    if count > MOST_VALUES:
        raise InputError(f"{piece} has {count} values; at most {MOST_VALUES} are solved in one batch, give a larger step")
    return (of.first + number * step for number in range(count))


def _geometric(of: _Range, piece: str) -> Iterator[Decimal]:
    """first, first * factor, ..., or divided by it; few values, as each factor moves the decimal point or adds a decimal."""
    if of.step <= 1:
        raise InputError(f"{piece} has a factor that is not above 1; give a larger one")
    if min(of.first, of.last) <= 0:
        raise InputError(f"{piece} multiplies, which needs numbers above 0; write a step such as :+10")
    rising = of.kind == "*"
    if of.last != of.first and (of.last > of.first) != rising:
        raise InputError(f"{piece} moves away from its end; write :*FACTOR to rise and :/FACTOR to fall")
    value = of.first
    while value <= of.last if rising else value >= of.last:
        yield value
        value = value * of.step if rising else value / of.step


def number_of(path: str, text: str) -> int | None:
    """A value as an integer in the field's own unit, bytes or nanoseconds say; None where it is no whole number of them."""
    try:
        value = parse_value(text, path)
        if isinstance(value, str) and (dimension := _dimension(path)):
            value = parse_quantity(value, dimension)
    except (InputError, ValueError):
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def written(path: str, number: int, like: str) -> str:
    """A number of the field's own unit as a value: in the unit of `like` where that is exact and short, else in the field's own.

    The inverse of `number_of`, whose result for `like` and whose numbers have at most 30 digits.
    """
    dimension, value = _dimension(path), parse_value(like, path)
    if dimension is None or number < 0 or not isinstance(value, str) or number_of(path, like) is None:
        return str(number)
    unit = value.strip().lstrip("0123456789_.").lstrip()
    eighth = parse_quantity(f"8 {unit}", dimension)
    assert isinstance(eighth, int), "a unit that number_of has read"
    scaled = Fraction(number * 8 * 10**SHORT_DECIMALS, eighth)
    if scaled.denominator > 1:
        return f"{number} {_BASE_UNITS.get(dimension, dimension)}"
    whole, part = divmod(scaled.numerator, 10**SHORT_DECIMALS)
    return f"{whole}.{part:0{SHORT_DECIMALS}d}".rstrip("0").rstrip(".") + f" {unit}"


def _dimension(path: str) -> str | None:
    """What the field at a path is counted in; of a mapping of such numbers, its values are."""
    for name in reversed(path.split(".")[-2:]):
        for end, dimension in _DIMENSIONS.items():
            if name.endswith(end):
                return dimension
    return None
