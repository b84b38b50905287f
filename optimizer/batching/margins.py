"""What neighbouring proved rows tell of the value between them: what one more unit of a field is worth, and where round levels lie.

Differences are exact until they are printed; level lines are for drawing, interpolated.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from models.units import PPM
from optimizer.batching.rows import Row, is_numeric
from optimizer.settings import short_name

Pair = tuple[Row, Row]

_AMOUNT = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)\s*([^\s0-9_.eE]\S*)")
_ROUND = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (1, "unit"))
_SCALES: dict[str, tuple[tuple[int, str], ...]] = {
    "ns": ((1, "ns"), (10**3, "us"), (10**6, "ms"), (10**9, "s")),
    "gpu-ns": ((1, "GPU-ns"), (10**3, "GPU-us"), (10**6, "GPU-ms"), (10**9, "GPU-s")),
    "gpu-ns x micro-USD/h": ((36 * 10**11, "micro-USD"), (36 * 10**14, "milli-USD"), (36 * 10**17, "USD")),
    "gpus": ((1, "GPUs"),),
    "micro-USD": ((1, "micro-USD"), (10**3, "milli-USD"), (10**6, "USD")),
}


class Gain(NamedTuple):
    """By how much a quantity falls per base unit of the field, over the pairs that have it; negative where it rises."""

    pairs: int
    least: Fraction
    mean: Fraction
    greatest: Fraction


class Margin(NamedTuple):
    """One interval between neighbouring values of one field, `step` base units long. None: no pair has the quantity.

    `relative_ppm` is the mean of (value before - value after) / value before. `opens` counts the pairs that go from
    INFEASIBLE to OPTIMAL, `closes` those that go back.
    """

    path: str
    before: str
    after: str
    step: int
    per: Fraction  # base units in one `per_name`
    per_name: str
    value: Gain | None
    relative_ppm: Fraction | None
    step_ns: Gain | None
    uusd_per_million_tokens: Gain | None
    opens: int
    closes: int


def margins(rows: Sequence[Row], columns: Sequence[str]) -> list[Margin]:
    """Every interval of every field whose values are all numbers, in the order of the columns, ascending.

    A pair is two rows that agree in all other fields, with no third such row between them. Of rows with equal numbers
    there, however written, the first counts.
    """
    found = []
    for at, path in enumerate(columns):
        if is_numeric(rows, at):
            intervals, per = _neighbours(rows, at), _unit_as_written(rows, at)
            found += [_margin(path, at, intervals[ends], per) for ends in sorted(intervals)]
    return found


def _neighbours(rows: Sequence[Row], at: int) -> dict[tuple[int, int], list[Pair]]:
    """Pairs by the two numbers of column `at`, least first."""
    groups: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in rows:
        groups.setdefault(row.settings[:at] + row.settings[at + 1 :], {}).setdefault(_number(row, at), row)
    found: dict[tuple[int, int], list[Pair]] = {}
    for group in groups.values():
        for low, high in pairwise(sorted(group)):
            found.setdefault((low, high), []).append((group[low], group[high]))
    return found


def _number(row: Row, at: int) -> int:
    number = row.numbers[at]
    assert number is not None, "only columns of numbers are compared"
    return number


def _margin(path: str, at: int, pairs: Sequence[Pair], per: tuple[Fraction, str]) -> Margin:
    first, second = pairs[0]
    step = _number(second, at) - _number(first, at)
    proved = [(a, b) for a, b in pairs if a.status == b.status == "OPTIMAL"]
    values = [(a.value, b.value) for a, b in proved]
    shares = [Fraction(PPM * (a - b), a) for a, b in values if a and b is not None]
    return Margin(
        path=path,
        before=first.settings[at],
        after=second.settings[at],
        step=step,
        per=per[0],
        per_name=per[1],
        value=_gain(values, step),
        relative_ppm=sum(shares, Fraction(0)) / len(shares) if shares else None,
        step_ns=_gain([(a.step_ns, b.step_ns) for a, b in proved], step),
        uusd_per_million_tokens=_gain([(a.uusd_per_million_tokens, b.uusd_per_million_tokens) for a, b in proved], step),
        opens=sum((a.status, b.status) == ("INFEASIBLE", "OPTIMAL") for a, b in pairs),
        closes=sum((a.status, b.status) == ("OPTIMAL", "INFEASIBLE") for a, b in pairs),
    )


def _gain(quantities: Iterable[tuple[int | None, int | None]], step: int) -> Gain | None:
    gains = [Fraction(a - b, step) for a, b in quantities if a is not None and b is not None]
    return Gain(len(gains), min(gains), sum(gains, Fraction(0)) / len(gains), max(gains)) if gains else None


def _unit_as_written(rows: Sequence[Row], at: int) -> tuple[Fraction, str]:
    """Of a column with `15 GB/s`: (10**9, "GB/s"); of plain numbers the largest of unit, thousand, ... that all steps hold."""
    for row in rows:
        match = _AMOUNT.fullmatch(row.settings[at].strip())
        if match and Fraction(match[1]) and _number(row, at):
            return _number(row, at) / Fraction(match[1]), match[2]
    numbers = sorted({_number(row, at) for row in rows})
    step = min((high - low for low, high in pairwise(numbers)), default=1)
    return next((Fraction(size), name) for size, name in _ROUND if size <= step)


def readable(unit: str, size: Fraction | int) -> tuple[int, str]:
    """How many of `unit` the largest unit holds in which `size` is at least 1, and its name; the smallest for less."""
    scale = _SCALES.get(unit, ((1, unit),))
    return next((s for s in reversed(scale) if s[0] <= abs(Fraction(size))), scale[0])


def digits(number: Fraction | float, most: int = 3) -> str:
    """Rounded to `most` significant digits, whole digits all kept; no exponent from a millionth up to 10**15."""
    value = float(number)
    if abs(value) >= 10 ** (most - 1):
        return f"{value:,.0f}" if abs(value) < 10**15 else f"{value:.{most}g}"
    text = f"{value:.{most}g}"
    return f"{value:.{most + 6}f}".rstrip("0") if "e" in text and abs(value) >= 1e-6 else text


def margin_text(margin: Margin, unit: str) -> str:
    """One line: field, interval, and what a unit of the field saves or costs; `unit` is that of the objective."""
    return margins_text([margin], unit)[0]


def margins_text(found: Sequence[Margin], unit: str) -> list[str]:
    """One line per interval, aligned, with one unit for each field."""
    largest: dict[str, Fraction] = {}
    for m in found:
        if m.value:
            largest[m.path] = max(largest.get(m.path, Fraction(0)), abs(m.value.mean * m.per))
    cells = [(short_name(m.path), f"{m.before} -> {m.after}", _says(m, unit, readable(unit, largest.get(m.path, 0)))) for m in found]
    field, interval = (max((len(c[i]) for c in cells), default=0) for i in (0, 1))
    return [f"{c[0]:{field}}  {c[1]:{interval}}  {c[2]}" for c in cells]


def _says(m: Margin, unit: str, scale: tuple[int, str]) -> str:
    parts = [_gain_text(m, m.value, scale, m.relative_ppm)]
    if unit != "ns" and m.step_ns:
        parts.append("pass: " + _gain_text(m, m.step_ns, readable("ns", m.step_ns.mean * m.per)))
    if price := m.uusd_per_million_tokens:
        parts.append("million tokens: " + _gain_text(m, price, readable("micro-USD", price.mean * m.per)))
    parts += [f"opens {_counted(m.opens, 'infeasible row')}"] if m.opens else []
    parts += [f"closes {_counted(m.closes, 'feasible row')}"] if m.closes else []
    return "; ".join(parts)


def _gain_text(m: Margin, gain: Gain | None, scale: tuple[int, str], relative_ppm: Fraction | None = None) -> str:
    """`saves 3.21 ms per GB/s (2.9 % for the step), over 6 pairs: 0 to 9.81`; share and range are of what the verb says."""
    if gain is None:
        return "no two proved rows to compare"
    over = f"over {_counted(gain.pairs, 'pair')}"
    if gain.least == gain.greatest == 0:
        return f"changes nothing, {over}"
    verb, sign = ("saves", 1) if gain.mean >= 0 else ("costs", -1)
    least, mean, greatest = (
        digits(sign * g * m.per / scale[0]) for g in sorted((gain.least, gain.mean, gain.greatest), key=lambda g: sign * g)
    )
    share = f" ({digits(sign * relative_ppm / 10_000, 2)} % for the step)" if relative_ppm else ""
    spread = f": {least} to {greatest}" if gain.pairs > 1 else ""
    return f"{verb} {mean} {scale[1]} per {m.per_name}{share}, {over}{spread}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
