"""The map of a grid: one cell per combination of two fields, coloured by the strategy that is best there, as one SVG without links."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from textwrap import wrap
from zlib import crc32

from optimizer.batching.contours import Point, contour, round_levels
from optimizer.batching.lettering import cut, safe, text_at, widest, width_of
from optimizer.batching.margins import digits, readable
from optimizer.batching.ranking import rank, tally, tally_text
from optimizer.batching.rows import Cell, Row, is_numeric, place, values_of
from optimizer.settings import short_name

Lines = dict[float, list[list[Point]]]  # polylines over cell centres, by level
Entry = tuple[str, str, str]  # of the legend: its sign within 14 x 14 px, what it stands for, in how many cells

# Found by a search: with each kind of colour blindness (Machado's simulation) any two differ by more than 17 (CIE76).
PALETTE = ("#5a90e0", "#b8b153", "#f59fb6", "#1f6658", "#b8c0f5", "#7a7312", "#b877ab", "#abf5ab", "#4f4f8f", "#79a36a")
MOST_TICKS, MOST_NAMES, PLOT = 30, 40, 150  # PLOT: px, height of the line plot above a single line of cells
MOST_POINTS, MOST_TOOLTIP_BYTES = 12_000, 900_000  # of all contours, of all tooltips: both keep the file below 2 MB
BOLD, NAME, NOTE = 'font-size="17" font-weight="bold"', 'font-weight="bold"', 'fill="#666" font-size="11"'
END, MIDDLE, LINE = 'text-anchor="end"', 'text-anchor="middle"', 'fill="none" stroke="#222" stroke-width="1.1"'
HALO = 'fill="none" stroke="#fff" stroke-width="3.5" stroke-opacity=".8" stroke-linejoin="round"'


def draw_map(rows: Sequence[Row], columns: Sequence[str], x: str, y: str | None, title: str, unit: str, reference: str | None) -> str:
    """The whole SVG; with `y` None a single line of cells, and above it the proved values.

    `unit` is that of the objective, `reference` the name of the reference plan. Raises ValueError for a field that is no
    column and for two rows in one cell: filter the rows by the other fields first.
    """
    m = _Map(rows, columns, x, y, unit)
    lines = _lines(m) if y and m.numeric else {}
    legend, about = list(_legend(m, lines, reference or "the reference")), _about(m, lines)
    above = PLOT + 28 if m.proved and not y else 0
    left = max(80, 36 + widest(m.up.values()), 24 + 0.77 * widest(m.across.values()) - m.pitch[0] // 2)
    aside = left + max(m.wide, widest(m.titles)) + 36
    numbers = 34 + widest([number for *_, number in legend]) + max(130, widest([text for _, text, _ in legend]))
    width = max(640, math.ceil(aside + numbers + 24))
    heads, notes = wrap(title, (width - 48) // 11, max_lines=2, placeholder=" …"), wrap(about, (width - 48) // 6)
    top = 78 + 22 * len(heads)
    foot = top + max(above + m.high + _depth(m) + 52, 21 * len(legend) + 56)
    height = foot + 15 * len(notes) + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'style="max-width:100%;height:auto" aria-labelledby="{m.id}t {m.id}d" font-family="Helvetica, Arial, sans-serif" font-size="12">',
        f'<title id="{m.id}t">{safe(title)}</title><desc id="{m.id}d">{safe(f"{m.counts}. {about}")}</desc>',
        f'<path d="M0 0h{width}v{height}H0z" fill="#fff"/><g fill="#222">',
        *(text_at(24, 36 + 22 * i, head, BOLD) for i, head in enumerate(heads)),
        text_at(24, 36 + 22 * len(heads), m.counts, NOTE),
        text_at(24, top - 12, f"value, {m.unit}" if above else m.titles[-1] if y else "", NAME),
        f'<g transform="translate({left:.0f} {top + above})">',
        *(*_cells(m), *_contours(lines, m)),
        *(_sign(sign, [m.corner(cell) for cell in cells], *m.box) for sign, cells in m.marked.items()),
        *(*_labels(lines, m), *_axes(m), *(_plot(m) if above else ())),
        f'</g><g transform="translate({aside:.0f} {top})">{"".join(_key(legend, numbers))}</g>',
        *(text_at(24, foot + 15 * i, note, NOTE) for i, note in enumerate(notes)),
    ]
    return "\n".join([*parts, "</g></svg>\n"])


class _Map:
    """What lies where, in px from the upper left corner of the cells, and in which colour."""

    def __init__(self, rows: Sequence[Row], columns: Sequence[str], x: str, y: str | None, unit: str) -> None:
        drawn = [x] if y is None else [x, y]
        if x == y or not set(drawn) <= set(columns):
            raise ValueError(f"cannot draw {' against '.join(drawn)}: name one or two of {', '.join(columns)}")
        at = [columns.index(path) for path in drawn]
        self.cells, self.numeric = place(rows, at[0], at[1] if y else None), all(is_numeric(rows, column) for column in at)
        self.xs, self.ys = values_of(rows, at[0]), values_of(rows, at[1]) if y else ("",)
        every = [max(1, -(-len(texts) // MOST_TICKS)) for texts in (self.xs, self.ys)]
        self.across, self.up = ({i: cut(t[i], 24) for i in range(0, len(t), n)} for t, n in zip((self.xs, self.ys), every, strict=True))
        self.names, self.counts = [short_name(path) for path in columns], tally_text(tally(rows))
        self.titles = [self.names[column] for column in at]
        self.pitch = max(7, min(64 if y else 96, 760 // max(1, len(self.xs)))), max(7, min(44, 560 // max(1, len(self.ys))))
        self.box = self.pitch if min(self.pitch) < 10 else (self.pitch[0] - 1, self.pitch[1] - 1)
        self.wide, self.high = self.pitch[0] * len(self.xs), self.pitch[1] * len(self.ys)
        found = {cell: row.value for cell, row in self.cells.items() if row.status == "OPTIMAL" and row.value is not None}
        sizes = sorted(abs(row.value) for row in rows if row.value is not None) or [0]
        self.size, self.unit = readable(unit, sizes[len(sizes) // 2])
        self.proved = {cell: value / self.size for cell, value in found.items()}
        self.least, self.most = min(self.proved.values(), default=0.0), max(self.proved.values(), default=0.0)
        self.logarithmic = 0 < 10 * self.least < self.most
        first = {row.optimal[0] for row in rows if _won(row)}
        self.wins = {win.label: win.wins for win in rank(rows) if win.label in first}
        self.marked = _marked(self.cells)
        self.id = f"m{crc32(repr((x, y, rows)).encode()):08x}"  # begins every id, so that several maps can stand in one page

    def corner(self, cell: Cell) -> Cell:
        """The upper left one."""
        return self.pitch[0] * cell[0], self.pitch[1] * (len(self.ys) - 1 - cell[1])

    def centre(self, at: Point) -> Point:
        return self.pitch[0] * (at[0] + 0.5), self.pitch[1] * (len(self.ys) - 0.5 - at[1])

    def fill(self, label: str) -> str:
        """A colour by wins; from the second use of a colour on, hatched."""
        turn, colour = divmod(list(self.wins).index(label), len(PALETTE))
        return f"url(#{self.id}-{turn}-{colour})" if turn else PALETTE[colour]

    def scaled(self, value: float) -> float:
        """On the scale of contours and of the line plot."""
        return math.log10(value) if self.logarithmic else value


def _won(row: Row) -> bool:
    return row.status == "OPTIMAL" and bool(row.optimal)


def _lines(m: _Map) -> Lines:
    """At some six levels; fewer, or none, where the lines would be too many to read."""
    values = {cell: m.scaled(value) for cell, value in m.proved.items()}
    levels = round_levels(m.least, m.most, m.logarithmic)
    lines = {level: chains for level in levels if m.least < level < m.most and (chains := contour(values, m.scaled(level)))}
    while sum(len(chain) for chains in lines.values() for chain in chains) > MOST_POINTS:
        lines = dict(list(lines.items())[1::2])
    return lines


def _cells(m: _Map) -> Iterator[str]:
    """One path per cell, by fill, with a tooltip; before them the hatchings in use."""
    for number in range(len(PALETTE), len(m.wins)):
        turn, colour = divmod(number, len(PALETTE))
        shape = f'width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate({45 * turn})"'
        lines = f'<path d="M0 0h6v6H0z" fill="{PALETTE[colour]}"/><path d="M3 0v6" stroke="#fff" stroke-width="1.6"/>'
        yield f'<pattern id="{m.id}-{turn}-{colour}" {shape}>{lines}</pattern>'
    wide, high = m.box
    looks: dict[str, list[str]] = {}
    for cell, row in m.cells.items():
        x, y = m.corner(cell)
        tip = safe(_tooltip(m, row), MOST_TOOLTIP_BYTES // len(m.cells))
        looks.setdefault(_look(m, row), []).append(f'<path d="M{x} {y}h{wide}v{high}h-{wide}z"><title>{tip}</title></path>')
    for look, paths in looks.items():
        yield from (f"<g {look}>", *paths, "</g>")


def _look(m: _Map, row: Row) -> str:
    if _won(row):
        return f'fill="{m.fill(row.optimal[0])}"'
    return 'fill="#dedede"' if row.status == "INFEASIBLE" else 'fill="#fff" stroke="#999" stroke-dasharray="3 2"'


def _tooltip(m: _Map, row: Row) -> str:
    amount = "" if row.value is None else f" {digits(row.value / m.size, 5)} {m.unit}"
    said = {"FEASIBLE": "FEASIBLE, not proved; best found"}.get(row.status, row.status) + amount
    settings = ", ".join(f"{name} = {text}" for name, text in zip(m.names, row.settings, strict=True))
    return "\n".join((settings, said, *row.optimal[:4], *([f"and {len(row.optimal) - 4} more"] if len(row.optimal) > 4 else [])))


def _marked(cells: Mapping[Cell, Row]) -> dict[str, list[Cell]]:
    """Cells by what is drawn on them besides the fill."""
    kinds: dict[str, Callable[[Row], bool]] = {
        "infeasible": lambda row: row.status == "INFEASIBLE",
        "unproved": lambda row: row.status != "INFEASIBLE" and not _won(row),
        "several": lambda row: _won(row) and len(set(row.optimal)) > 1,
        "reference": lambda row: _won(row) and row.reference == "optimal",
    }
    found = {kind: [cell for cell, row in cells.items() if holds(row)] for kind, holds in kinds.items()}
    return {kind: marked for kind, marked in found.items() if marked}


def _sign(sign: str, corners: Sequence[Cell], wide: int, high: int) -> str:
    """The same sign on boxes with these upper left corners."""
    size, centres = min(wide, high), [(x + wide / 2, y + high / 2) for x, y in corners]
    arm, edge, across = size / 4, max(3, min(8, size // 3)), max(2.5, min(8, size / 3))
    match sign:
        case "infeasible":
            cross = f"l{2 * arm:g} {2 * arm:g}m0-{2 * arm:g}l-{2 * arm:g} {2 * arm:g}"
            return f'<path d="{"".join(f"M{x - arm:g} {y - arm:g}{cross}" for x, y in centres)}" fill="none" stroke="#999"/>'
        case "several":
            path = "".join(f"M{x + wide - edge} {y}h{edge}v{edge}z" for x, y in corners)
            return f'<path d="{path}" fill="#222" stroke="#fff" stroke-width=".6"/>'
        case "reference":
            dots = "".join(f"M{x:g} {y:g}h0" for x, y in centres)
            outer = f'<path d="{dots}" stroke="#222" stroke-width="{across + 2.4:g}"/>'
            return f'<g fill="none" stroke-linecap="round">{outer}<path d="{dots}" stroke="#fff" stroke-width="{across:g}"/></g>'
        case _:
            body = min(12, size - 1)
            marks = "".join(text_at(x, y + 0.36 * body, "?") for x, y in centres)
            return f'<g {MIDDLE} font-size="{body}" fill="#666">{marks}</g>'


def _contours(lines: Lines, m: _Map) -> Iterator[str]:
    for chains in lines.values():
        path = "".join("M" + " ".join("{:.1f} {:.1f}".format(*m.centre(at)) for at in chain) for chain in chains)
        yield f'<path d="{path}" {HALO}/><path d="{path}" {LINE}/>'


def _labels(lines: Lines, m: _Map) -> Iterator[str]:
    """Up to four a level, apart from each other, and from the rings where there is room."""
    ringed, taken = set(m.marked.get("reference", ())), list[tuple[float, float, float]]()
    for level, chains in lines.items():
        text = f"{digits(level)} {m.unit}"
        half, same = width_of(text) / 2 + 4, list[Point]()
        for chain in sorted(chains, key=len, reverse=True)[:4]:
            found = []
            for index, ((a, b), (c, d)) in enumerate(pairwise(chain)):
                (x, y), reach = m.centre(((a + c) / 2, (b + d) / 2)), (half + 6) / m.pitch[0]
                apart = all(abs(x - u) > half + other or abs(y - v) > 18 for u, v, other in taken)
                if apart and half <= x <= m.wide - half and 9 <= y <= m.high - 9 and all(math.hypot(x - u, y - v) > 120 for u, v in same):
                    hidden = sum((i, round((b + d) / 2)) in ringed for i in range(round(a - reach), round(c + reach) + 1))
                    found.append((hidden, abs(2 * index - len(chain)), x, y))
            if found:
                *_, x, y = min(found)
                taken.append((x, y, half))
                same.append((x, y))
                yield f'<rect x="{x - half:.1f}" y="{y - 8:.1f}" width="{2 * half:.1f}" height="16" rx="3" fill="#fff" fill-opacity=".88"/>'
                yield text_at(x, y + 4, text, MIDDLE)


def _plot(m: _Map) -> Iterator[str]:
    """The proved values of a single line of cells, above it; neighbours joined by dots."""
    low, high = m.scaled(m.least), m.scaled(m.most)
    ticks = round_levels(m.least, m.most, m.logarithmic) or [m.least]
    level = {v: -38 - (PLOT - 20) * ((m.scaled(v) - low) / (high - low) if high > low else 0.5) for v in (*ticks, *m.proved.values())}
    for tick in ticks:
        yield f'<path d="M0 {level[tick]:.1f}h{m.wide}" stroke="#e2e2e2"/>' + text_at(-8, level[tick] + 4, digits(tick), END)
    points = {x: (m.centre((x, 0))[0], level[value]) for (x, _), value in sorted(m.proved.items())}
    for (a, (x, y)), (b, (u, v)) in pairwise(points.items()):
        if b == a + 1 and m.numeric:
            yield f'<path d="M{x:g} {y:.1f}L{u:g} {v:.1f}" stroke="#888" stroke-dasharray="1 4" stroke-linecap="round"/>'
    yield from (f'<circle cx="{x:g}" cy="{y:.1f}" r="{min(4, m.pitch[0] / 3):.1f}"/>' for x, y in points.values())


def _axes(m: _Map) -> Iterator[str]:
    turned = _depth(m) > 20
    for i, text in m.across.items():
        x = m.centre((i, 0))[0] + 4 * turned
        yield text_at(x, m.high + 17, text, f'{END} transform="rotate(-40 {x:g} {m.high + 17})"' if turned else MIDDLE)
    yield from (text_at(-8, m.centre((0, j))[1] + 4, text, END) for j, text in m.up.items())
    yield text_at(max(0.0, (m.wide - widest(m.titles[:1])) / 2), m.high + _depth(m) + 22, m.titles[0], NAME)


def _depth(m: _Map) -> int:
    """Of the tick labels below the cells, px: 20, more where they are turned for want of room."""
    most, every = widest(m.across.values()), math.ceil(len(m.xs) / max(1, len(m.across)))
    return 20 if most + 8 <= m.pitch[0] * every else 22 + round(0.62 * most)


def _legend(m: _Map, lines: Lines, reference: str) -> Iterator[Entry]:
    for label, wins in list(m.wins.items())[:MOST_NAMES]:
        yield f'<path d="M0 0h14v14H0z" fill="{m.fill(label)}"/>', cut(label, 44), f"{wins:,}"
    if len(m.wins) > MOST_NAMES:
        yield "", f"and {len(m.wins) - MOST_NAMES} more strategies", ""
    yield "", "", ""
    names = {"infeasible": "proved infeasible", "unproved": "not proved, or failed", "several": "several strategies optimal"}
    for sign, cells in m.marked.items():
        look = _look(m, m.cells[cells[0]]) if sign in ("infeasible", "unproved") else 'fill="#fff" stroke="#ccc"'
        box = f'<path d="M0 0h14v14H0z" {look}/>{_sign(sign, [(0, 0)], 14, 14)}'
        yield box, names.get(sign, f"{cut(reference, 36)} is optimal"), f"{len(cells):,}"
    if lines:
        yield f'<path d="M0 7h14" {LINE}/>', f"equal value, {m.unit}", ""


def _key(legend: Sequence[Entry], right: float) -> Iterator[str]:
    if any(text for _, text, _ in legend):
        yield text_at(0, 11, "Optimal strategy", NAME) + text_at(right, 11, "cells", f"{END} {NOTE}")
    for i, (sign, text, number) in enumerate(legend):
        yield f'<g transform="translate(0 {24 + 21 * i})">{sign}{text_at(22, 11, text)}{text_at(right, 11, number, END)}</g>'


def _about(m: _Map, lines: Lines) -> str:
    """What the picture claims, and what it does not."""
    said = (
        "Colour: the strategy that is proved optimal in the cell, the first where several are." if m.wins else "No optimum is proved here."
    )
    said += " From the 51st strategy on colours repeat; the tooltips name them." if len(m.wins) > 5 * len(PALETTE) else ""
    said += " Lines of equal value are interpolated between cell centres; only the cell centres are proved." if lines else ""
    return f"{said} Points are proved values; nothing is claimed between them." if len(m.titles) == 1 and m.proved else said
