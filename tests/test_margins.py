"""What one more unit of a field is worth, against differences worked out by hand; and where a value passes a level."""

from fractions import Fraction
from itertools import pairwise

import pytest

from optimizer.batching.contours import contour, round_levels
from optimizer.batching.margins import Gain, digits, margin_text, margins, margins_text, readable
from optimizer.batching.rows import Row

BANDWIDTH, MACHINE = "cluster.scale_out.bandwidth_bytes_per_s", "cluster.machine"
GB, MS = 10**9, 10**6


def row(gb: int, machine: str, value: int | None, status: str = "OPTIMAL", price: int | None = None, step_ns: int | None = None) -> Row:
    settings, numbers = (f"{gb} GB/s", machine), (gb * GB, None)
    return Row(0, settings, numbers, status, (), value, value, value if step_ns is None else step_ns, price, None, None)


GRID = [
    row(20, "H100", 50 * MS),
    row(10, "H100", 100 * MS),
    row(15, "H100", 80 * MS),
    row(10, "H200", 40 * MS),
    row(15, "H200", 40 * MS),
    row(20, "H200", 42 * MS),
]


def test_gains_per_byte_per_second_are_exact() -> None:
    first, second = margins(GRID, (BANDWIDTH, MACHINE))
    assert (first.before, first.after, first.step) == ("10 GB/s", "15 GB/s", 5 * GB)
    assert first.value == Gain(2, Fraction(0), Fraction(2 * MS, GB), Fraction(4 * MS, GB))
    assert first.relative_ppm == 100_000
    assert (second.before, second.after) == ("15 GB/s", "20 GB/s")
    assert second.value == Gain(2, Fraction(-2 * MS, 5 * GB), Fraction(28 * MS, 10 * GB), Fraction(6 * MS, GB))
    assert second.relative_ppm == (Fraction(30_000_000, 80) - Fraction(2_000_000, 40)) / 2


def test_lines_name_the_unit_that_the_axis_is_written_in() -> None:
    assert margins_text(margins(GRID, (BANDWIDTH, MACHINE)), "ns") == [
        "scale_out.bandwidth_bytes_per_s  10 GB/s -> 15 GB/s  saves 2 ms per GB/s (10 % for the step), over 2 pairs: 0 to 4",
        "scale_out.bandwidth_bytes_per_s  15 GB/s -> 20 GB/s  saves 2.8 ms per GB/s (16 % for the step), over 2 pairs: -0.4 to 6",
    ]


def test_a_rise_is_a_cost_and_its_range_is_of_costs() -> None:
    rows = [row(10, "A", 10 * MS), row(15, "A", 20 * MS), row(10, "B", 10 * MS), row(15, "B", 9 * MS)]
    (line,) = margins_text(margins(rows, (BANDWIDTH, MACHINE)), "ns")
    assert line.endswith("costs 900 us per GB/s (45 % for the step), over 2 pairs: -200 to 2,000")


def test_only_proved_neighbours_make_a_pair() -> None:
    rows = [row(10, "A", 10), row(15, "A", 9, "FEASIBLE"), row(20, "A", 8), row(25, "A", 7)]
    found = margins(rows, (BANDWIDTH, MACHINE))
    assert [(m.before, m.after, m.value and m.value.pairs) for m in found] == [
        ("10 GB/s", "15 GB/s", None),
        ("15 GB/s", "20 GB/s", None),
        ("20 GB/s", "25 GB/s", 1),
    ]
    assert margin_text(found[0], "ns").endswith("no two proved rows to compare")


def test_rows_that_differ_in_another_field_are_not_compared() -> None:
    assert margins([row(10, "A", 10), row(15, "B", 5)], (BANDWIDTH, MACHINE)) == []


def test_columns_with_a_value_that_is_no_number_have_no_margin() -> None:
    assert {m.path for m in margins(GRID, (BANDWIDTH, MACHINE))} == {BANDWIDTH}
    unset = row(10, "H300", 1)._replace(settings=("", "H300"), numbers=(None, None))
    assert margins([*GRID, unset], (BANDWIDTH, MACHINE)) == []


def test_rows_that_open_and_close_are_counted_apart() -> None:
    rows = [row(10, "A", None, "INFEASIBLE"), row(15, "A", 9), row(10, "B", 9), row(15, "B", None, "INFEASIBLE")]
    rows += [row(10, "C", None, "INFEASIBLE"), row(15, "C", 9), row(10, "D", None, "UNKNOWN"), row(15, "D", 9)]
    (only,) = margins(rows, (BANDWIDTH, MACHINE))
    assert (only.opens, only.closes, only.value) == (2, 1, None)
    assert margin_text(only, "ns").endswith("no two proved rows to compare; opens 2 infeasible rows; closes 1 feasible row")


def test_pass_and_price_have_gains_of_their_own() -> None:
    rows = [row(10, "A", 1000 * MS, price=400_000, step_ns=10 * MS), row(15, "A", 500 * MS, price=150_000, step_ns=20 * MS)]
    (only,) = margins(rows, (BANDWIDTH, MACHINE))
    assert only.step_ns == Gain(1, *[Fraction(-10 * MS, 5 * GB)] * 3)
    assert only.uusd_per_million_tokens == Gain(1, *[Fraction(250_000, 5 * GB)] * 3)
    assert margin_text(only, "gpu-ns").endswith(
        "saves 100 GPU-ms per GB/s (50 % for the step), over 1 pair; pass: costs 2 ms per GB/s, over 1 pair; "
        "million tokens: saves 50 milli-USD per GB/s, over 1 pair"
    )
    without = margins([rows[0], rows[1]._replace(uusd_per_million_tokens=None)], (BANDWIDTH, MACHINE))
    assert without[0].uusd_per_million_tokens is None


def test_no_change_is_said_plainly() -> None:
    (line,) = margins_text(margins([row(10, "A", 7), row(15, "A", 7)], (BANDWIDTH, MACHINE)), "ns")
    assert line.endswith("changes nothing, over 1 pair")


@pytest.mark.parametrize(
    ("written", "numbers", "expected"),
    [
        (("900 GB/s", "1 TB/s"), (900 * GB, 1000 * GB), (GB, "GB/s")),
        (("0 ns", "2.5 us"), (0, 2500), (1000, "us")),
        (("80%", "90%"), (800_000, 900_000), (10_000, "%")),
        (("64", "128"), (64, 128), (1, "unit")),
        (("4_096", "8192"), (4096, 8192), (1000, "thousand")),
        (("80000000000", "90000000000"), (80 * GB, 90 * GB), (GB, "billion")),
        (("1e9", "2e9"), (GB, 2 * GB), (GB, "billion")),
    ],
)
def test_the_unit_is_that_of_the_text(written: tuple[str, str], numbers: tuple[int, int], expected: tuple[int, str]) -> None:
    rows = [Row(0, (w,), (n,), "OPTIMAL", (), 5, 5, 5, None, None, None) for w, n in zip(written, numbers, strict=True)]
    (only,) = margins(rows, (BANDWIDTH,))
    assert (only.per, only.per_name) == expected


def test_nothing_follows_from_no_rows() -> None:
    assert margins([], (BANDWIDTH,)) == []
    assert margins_text([], "ns") == []


def test_rows_of_equal_numbers_are_one_place_and_the_first_counts() -> None:
    again = row(10, "A", 1)._replace(settings=("10000 MB/s", "A"))
    (only,) = margins([row(10, "A", 100), again, row(15, "A", 50)], (BANDWIDTH, MACHINE))
    assert only.value == Gain(1, *[Fraction(50, 5 * GB)] * 3)


@pytest.mark.parametrize(
    ("unit", "size", "expected"),
    [
        ("ns", 999, (1, "ns")),
        ("ns", 1000, (1000, "us")),
        ("ns", Fraction(-3, 2) * 10**9, (10**9, "s")),
        ("ns", Fraction(1, 7), (1, "ns")),
        ("gpu-ns x micro-USD/h", 3600 * 10**9 * 10**6, (36 * 10**17, "USD")),
        ("furlongs", 10**9, (1, "furlongs")),
    ],
)
def test_readable_units(unit: str, size: Fraction | int, expected: tuple[int, str]) -> None:
    assert readable(unit, size) == expected


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (3.2149, "3.21"), (99.96, "100"), (1234.5, "1,234"), (0.0000123, "0.0000123"), (-0.25, "-0.25")]
)
def test_digits(number: float, shown: str) -> None:
    assert digits(number) == shown


def test_levels_are_round_few_and_inside() -> None:
    assert round_levels(0.0, 10.0, False) == [0, 2, 4, 6, 8, 10]
    assert round_levels(0.11, 0.33, False) == [0.15, 0.2, 0.25, 0.3]
    assert round_levels(3.0, 250.0, True) == [5, 10, 20, 50, 100, 200]
    assert round_levels(1.0, 10_000_000.0, True) == [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]
    assert round_levels(5.0, 5.0, False) == []


@pytest.mark.parametrize("most", [1.07 * 1.3**n for n in range(40)])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_levels_number_about_six(most: float, logarithmic: bool) -> None:
    levels = round_levels(1.0, most, logarithmic)
    assert all(1 <= level <= most for level in levels)
    assert len(levels) <= 9
    assert len(levels) >= (3 if most > 10 or not logarithmic else 1)


def plane(wide: int, high: int) -> dict[tuple[int, int], float]:
    """2 i + j."""
    return {(i, j): 2.0 * i + j for i in range(wide) for j in range(high)}


def test_the_contour_of_a_plane_is_one_straight_line_at_the_right_place() -> None:
    (line,) = contour(plane(5, 4), 4.5)
    assert all(abs(2 * x + y - 4.5) < 1e-12 for x, y in line)
    assert {line[0], line[-1]} == {(0.75, 3.0), (2.25, 0.0)}


def test_the_contour_of_a_hill_is_a_ring() -> None:
    hill = {(i, j): -float((i - 3) ** 2 + (j - 3) ** 2) for i in range(7) for j in range(7)}
    (ring,) = contour(hill, -4.5)
    assert ring[0] == ring[-1]
    assert len(set(ring)) == len(ring) - 1
    assert all(1.9 < (x - 3) ** 2 + (y - 3) ** 2 < 5.1 for x, y in ring)


def test_no_contour_crosses_a_square_with_a_corner_missing() -> None:
    full = contour(plane(5, 4), 4.5)
    holed = plane(5, 4)
    del holed[2, 1]
    crossed = [(int(min(a[0], b[0])), int(min(a[1], b[1]))) for line in contour(holed, 4.5) for a, b in pairwise(line)]
    assert crossed
    assert not {(1, 0), (2, 0), (1, 1), (2, 1)} & set(crossed)
    assert sum(map(len, contour(holed, 4.5))) < sum(map(len, full))


@pytest.mark.parametrize(("peak", "joined"), [(12.0, True), (8.0, False)])
def test_at_a_saddle_the_mean_decides_which_corners_are_joined(peak: float, joined: bool) -> None:
    saddle = {(0, 0): peak, (1, 1): peak, (1, 0): 0.0, (0, 1): 0.0}
    lines = contour(saddle, 5.0)
    low_corners_cut_off = any(all(x + (1 - y) > 1 for x, y in line) for line in lines)
    assert len(lines) == 2
    assert low_corners_cut_off is joined


def test_flat_values_and_no_values_have_no_contour() -> None:
    assert contour({(i, j): 1.0 for i in range(3) for j in range(3)}, 1.0) == []
    assert contour({}, 1.0) == []
