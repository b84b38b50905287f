"""The map as a picture that can be read back: cells, colours, marks, lines and words, and that no label breaks out of it."""

import math
import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from optimizer.batching.map import MOST_POINTS, MOST_TICKS, PALETTE, draw_map
from optimizer.batching.rows import Row

SVG = "{http://www.w3.org/2000/svg}"
X, Y = "cluster.scale_out.bandwidth_bytes_per_s", "workload.sequences"
COLUMNS = (X, Y)


def row(x: int, y: int, value: int | None, *optimal: str, status: str = "OPTIMAL", reference: str | None = None) -> Row:
    return Row(100 * x + y, (f"{x} GB/s", f"{y}"), (x * 10**9, y), status, optimal, value, value, value, None, reference, None)


def without(x: int, y: int, status: str) -> Row:
    return row(x, y, None, status=status)


def plane(wide: int, high: int) -> list[Row]:
    """100 + 20 x + 10 y, ms."""
    return [row(x, y, (100 + 20 * x + 10 * y) * 10**6, "EP4") for x in range(wide) for y in range(high)]


def draw(rows: list[Row], y: str | None = Y, title: str = "t", unit: str = "ns", reference: str | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(draw_map(rows, COLUMNS if y else COLUMNS[:1], X, y, title, unit, reference))


def one_field(rows: list[Row]) -> list[Row]:
    return [r._replace(settings=r.settings[:1], numbers=r.numbers[:1]) for r in rows]


def cells(svg: ElementTree.Element) -> dict[str, tuple[ElementTree.Element, ElementTree.Element]]:
    """Tooltip -> group and path of the cell."""
    found = {}
    for group in svg.iter(f"{SVG}g"):
        for path in group.findall(f"{SVG}path"):
            if (tip := path.find(f"{SVG}title")) is not None:
                found[tip.text or ""] = group, path
    return found


def corner(path: ElementTree.Element) -> tuple[float, float]:
    match = re.match(r"M(\d+) (\d+)h", path.attrib["d"])
    assert match
    return float(match[1]), float(match[2])


def words(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


def test_each_row_is_one_cell_numbers_to_the_right_and_upwards() -> None:
    rows = [row(x, y, 5 * 10**6, "EP4") for x in (20, 5, 100) for y in (512, 64)]
    found = cells(draw(rows))
    assert len(found) == 6
    at = {tip.split("\n")[0]: corner(path) for tip, (_, path) in found.items()}
    name = "scale_out.bandwidth_bytes_per_s = {} GB/s, sequences = {}"
    assert at[name.format(5, 64)][0] < at[name.format(20, 64)][0] < at[name.format(100, 64)][0]
    assert at[name.format(5, 512)][1] < at[name.format(5, 64)][1]
    assert at[name.format(5, 512)][0] == at[name.format(5, 64)][0]


def test_names_stay_in_the_order_they_appear() -> None:
    rows = [row(0, 0, 1, "EP4")._replace(settings=(name, "1"), numbers=(None, 1)) for name in ("H200", "H100", "B200")]
    svg = draw(rows)
    at = [next(corner(path)[0] for tip, (_, path) in cells(svg).items() if name in tip) for name in ("H200", "H100", "B200")]
    assert at == sorted(at)
    assert {"H200", "H100", "B200"} <= set(words(svg))


def test_tooltips_say_settings_status_value_and_strategies() -> None:
    (tip,) = cells(draw([row(5, 64, 12_345_678, "EP4 TP2", "EP8 TP1")]))
    assert tip == "scale_out.bandwidth_bytes_per_s = 5 GB/s, sequences = 64\nOPTIMAL 12.346 ms\nEP4 TP2\nEP8 TP1"
    (tip,) = cells(draw([row(5, 64, 2 * 10**6, "EP4", status="FEASIBLE")]))
    assert tip.split("\n")[1:] == ["FEASIBLE, not proved; best found 2 ms", "EP4"]


def test_colours_go_by_wins() -> None:
    rows = [row(1, 1, 1, "rare"), row(2, 1, 1, "often"), row(3, 1, 1, "often")]
    fills = {tip.split("\n")[2]: group.attrib["fill"] for tip, (group, _) in cells(draw(rows)).items()}
    assert fills == {"often": PALETTE[0], "rare": PALETTE[1]}
    svg = draw(rows)
    assert words(svg).index("often") < words(svg).index("rare")
    assert words(svg)[words(svg).index("often") + 1] == "2"


def test_the_eleventh_strategy_is_hatched() -> None:
    rows = [row(x, 1, 1, f"EP{x:02}") for x in range(11)]
    svg = draw(rows)
    fills = [group.attrib["fill"] for group, _ in cells(svg).values()]
    assert len(set(fills)) == 11
    (pattern,) = svg.iter(f"{SVG}pattern")
    assert fills.count(f"url(#{pattern.attrib['id']})") == 1


def test_infeasible_and_unproved_cells_look_different_from_proved_ones() -> None:
    rows = [row(1, 1, 1, "EP4"), *(without(x, 1, status) for x, status in enumerate(("INFEASIBLE", "UNKNOWN", "FAILED"), start=2))]
    rows.append(row(5, 1, 3, "EP8", status="FEASIBLE"))
    svg = draw(rows)
    look = {tip.split("\n")[1].split(",")[0].split()[0]: group.attrib for tip, (group, _) in cells(svg).items()}
    assert look["INFEASIBLE"]["fill"] not in (*PALETTE, "#fff")
    assert all(look[s]["fill"] == "#fff" and "stroke-dasharray" in look[s] for s in ("UNKNOWN", "FAILED", "FEASIBLE"))
    assert words(svg).count("?") == 3 + 1  # the cells and the legend
    assert "EP8" not in words(svg)
    assert {"proved infeasible", "not proved, or failed"} <= set(words(svg))
    assert "5 rows: 1 proved optimal, 1 proved infeasible, 2 not proved, 1 failed" in words(svg)


def test_missing_cells_are_blank() -> None:
    assert len(cells(draw([row(1, 1, 1, "EP4"), row(2, 2, 1, "EP4")]))) == 2


def rings(svg: ElementTree.Element) -> int:
    """Dots of all rings, without the one of the legend."""
    paths = [p.attrib["d"] for g in svg.iter(f"{SVG}g") if g.get("stroke-linecap") == "round" for p in g if p.attrib["stroke"] == "#fff"]
    return sum(d.count("M") for d in paths) - 1


def test_rings_mark_where_the_reference_is_optimal() -> None:
    rows = [row(x, 1, 1, "EP4", reference=r) for x, r in enumerate(("optimal", "not optimal", "optimal", None))]
    svg = draw(rows, reference="the report's plan")
    assert rings(svg) == 2
    at = words(svg).index("the report's plan is optimal")
    assert words(svg)[at + 1] == "2"
    assert not any("is optimal" in word for word in words(draw(rows[1:2])))


def test_several_strategies_leave_a_mark() -> None:
    assert "several strategies optimal" in words(draw([row(1, 1, 1, "EP4", "EP8")]))
    assert "several strategies optimal" not in words(draw([row(1, 1, 1, "EP4", "EP4"), row(2, 1, 1, "EP8")]))


def test_the_legend_names_the_strategies_that_fill_a_cell() -> None:
    said = words(draw([row(1, 1, 1, "EP4", "EP8"), row(2, 1, 1, "EP4", "EP2"), row(3, 1, 1, "EP2")]))
    assert [word for word in said if word.startswith("EP")] == ["EP2", "EP4"]


def contours(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    drawn = [p for p in svg.iter(f"{SVG}path") if p.get("stroke-width") == "1.1" and p.attrib["d"] != "M0 7h14"]
    chains = [chain for path in drawn for chain in path.attrib["d"].split("M") if chain]
    return [[(n[i], n[i + 1]) for i in range(0, len(n), 2)] for n in (list(map(float, chain.split())) for chain in chains)]


def test_the_lines_of_a_plane_are_where_the_value_is_round() -> None:
    svg = draw(plane(6, 5))
    (wide, high), lines = (64, 44), contours(svg)
    levels = []
    for line in lines:
        values = [100 + 20 * (x / wide - 0.5) + 10 * (5 - 0.5 - y / high) for x, y in line]
        assert max(values) - min(values) < 0.1
        levels.append(round(values[0]))
    assert levels == [120, 140, 160, 180, 200, 220]
    assert {f"{level} ms" for level in levels} <= set(words(svg))
    assert "only the cell centres are proved" in " ".join(words(svg))


def test_levels_are_logarithmic_where_values_span_more_than_a_factor_of_ten() -> None:
    svg = draw([row(x, y, 10 ** (6 + x) + 10**5 * y, "EP4") for x in range(4) for y in range(3)])
    assert {word for word in words(svg) if re.fullmatch("[0-9.,]+ ms", word)} == {"5 ms", "20 ms", "100 ms", "500 ms"}


@pytest.mark.parametrize("status", ["INFEASIBLE", "UNKNOWN", "FAILED", "FEASIBLE"])
def test_no_line_crosses_a_square_with_an_unproved_corner(status: str) -> None:
    rows = [r if r.settings != ("1 GB/s", "1") else r._replace(status=status) for r in plane(3, 3)]
    assert contours(draw(plane(3, 3)))
    assert contours(draw(rows)) == []
    assert "interpolated" not in " ".join(words(draw(rows)))


def test_nothing_is_interpolated_between_names() -> None:
    rows = [r._replace(numbers=(None, r.numbers[1])) for r in plane(4, 4)]
    assert contours(draw(plane(4, 4)))
    assert contours(draw(rows)) == []


def test_one_field_gives_a_line_of_cells_and_a_point_per_proved_value() -> None:
    rows = one_field([*plane(3, 1), without(3, 0, "INFEASIBLE"), row(4, 0, 9 * 10**6, "EP4")])
    svg = draw(rows, y=None)
    points = [(float(p.attrib["cx"]), float(p.attrib["cy"])) for p in svg.iter(f"{SVG}circle")]
    assert [x for x, _ in points] == [48, 144, 240, 432]
    assert points[0][1] > points[1][1] > points[2][1]  # 100 < 120 < 140 ms, upwards
    assert points[3][1] > points[0][1]
    dotted = [p for p in svg.iter(f"{SVG}path") if p.get("stroke-dasharray") == "1 4"]
    assert len(dotted) == 2  # none across the infeasible cell
    assert len(cells(svg)) == 5
    assert "nothing is claimed between them" in " ".join(words(svg))


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "\"'&lt;]]>--><!--", "\x00\x1b[31m\ud800\uffff", "</title></svg>", "&#0;"]
)
def test_hostile_text_stays_text(hostile: str) -> None:
    r = row(1, 1, 1, hostile, "b", reference="optimal")._replace(settings=(hostile, hostile))
    text = draw_map([r, row(2, 2, 1, "b")], COLUMNS, X, Y, hostile, hostile, hostile)
    svg = ElementTree.fromstring(text.encode())
    assert {element.tag.removeprefix(SVG) for element in svg.iter()} <= {"svg", "title", "desc", "path", "g", "text", "rect"}
    assert not re.search("<script|javascript:|href|@import|<style|onload", text)
    shown = re.sub("[\x00-\x08\x0b-\x1f\ud800-\udfff\uffff]", "\ufffd", hostile)
    assert svg.findtext(f"{SVG}title") == shown
    assert any(shown in tip for tip in cells(svg))


def test_the_picture_stands_alone_and_says_what_it_is() -> None:
    text = draw_map(plane(3, 3), COLUMNS, X, Y, "Best strategies", "ns", None)
    svg = ElementTree.fromstring(text)
    assert svg.attrib["role"] == "img"
    named = {e.attrib["id"]: e for e in svg if e.tag in (f"{SVG}title", f"{SVG}desc")}
    title, said = (named[identity] for identity in svg.attrib["aria-labelledby"].split())
    assert title.text == "Best strategies"
    assert said.text
    assert said.text.startswith("9 rows: 9 proved optimal.")
    assert re.findall("http[^\"']*", text) == ["http://www.w3.org/2000/svg"]
    assert text == draw_map(plane(3, 3), COLUMNS, X, Y, "Best strategies", "ns", None)


def test_text_stays_inside_the_picture_and_tick_labels_are_few() -> None:
    rows = [row(x, y, x + y + 1, "EP64 TP2 PP1 DP4 x2 mb8 [a very long order of ranks]") for x in range(40) for y in range(40)]
    svg = draw(rows, title="long " * 60)
    _, _, wide, high = map(float, svg.attrib["viewBox"].split())
    assert wide < 1400
    assert high < 900
    assert sum(word.endswith(" GB/s") for word in words(svg)) <= MOST_TICKS
    assert sum(word.isdigit() and int(word) < 40 for word in words(svg)) <= MOST_TICKS
    assert max(map(len, words(svg))) < 240
    assert sum(word.startswith("long long") for word in words(svg)) == 2


def test_ten_thousand_cells_stay_below_two_megabytes_however_long_the_text() -> None:
    labels = tuple(f"EP{i} " + "<&>" * 30 for i in range(6))
    rows = [row(x, y, (x * 7919 + y * 104_729) % 1_000_003 + 1, *labels, reference="optimal") for x in range(100) for y in range(100)]
    assert len(draw_map(rows, COLUMNS, X, Y, "t", "ns", None).encode()) < 2_000_000


def test_lines_too_many_to_read_are_left_out() -> None:
    svg = draw([row(x, y, 10**6 + (x * 7919 + y * 104_729) ** 2 % 1_000_003, "EP4") for x in range(70) for y in range(70)])
    assert sum(map(len, contours(svg))) <= MOST_POINTS


@pytest.mark.parametrize("y", [Y, None])
def test_no_rows_and_one_row_are_drawn(y: str | None) -> None:
    only = [row(1, 1, 1, "EP4")] if y else one_field([row(1, 1, 1, "EP4")])
    assert len(cells(draw(only, y))) == 1
    assert cells(draw([], y)) == {}
    assert "0 rows: nothing solved" in words(draw([], y))


def test_rows_of_one_cell_and_unknown_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="share a cell"):
        draw([row(1, 1, 1, "EP4"), row(1, 1, 2, "EP4")])
    with pytest.raises(ValueError, match="share a cell"):
        draw_map([row(1, 1, 1, "EP4"), row(1, 2, 2, "EP4")], COLUMNS, X, None, "t", "ns", None)
    for x, y in ((X, X), (X, "workload.kind"), ("nothing", None)):
        with pytest.raises(ValueError, match=f"name one or two of {X}, {Y}"):
            draw_map([row(1, 1, 1, "EP4")], COLUMNS, x, y, "t", "ns", None)


SIGHT = {  # Machado, Oliveira and Fernandes 2009, severity 1
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def seen(colour: str, sight: str) -> tuple[float, float, float]:
    """CIE L*a*b* of a colour (D65) as seen."""
    srgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb]
    r, g, b = (min(1.0, max(0.0, sum(w * c for w, c in zip(line, linear, strict=True)))) for line in SIGHT[sight])
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_are_told_apart(sight: str) -> None:
    shades = [*PALETTE, "#dedede", "#ffffff"]  # infeasible, unproved
    assert min(math.dist(seen(a, sight), seen(b, sight)) for a, b in combinations(shades[:10], 2)) > 17
    assert min(math.dist(seen(a, sight), seen(b, sight)) for a, b in combinations(shades, 2)) > 9
