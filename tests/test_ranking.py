"""Who wins a grid: rows made by hand, the answers counted by hand."""

import pytest

from optimizer.batching.ranking import Tally, Win, rank, tally, tally_text
from optimizer.batching.rows import Row, place, values_of


def row(number: int, status: str, *optimal: str) -> Row:
    return Row(number, (str(number),), (number,), status, optimal, 1, 1, 1, None, None, None)


GRID = [
    row(0, "OPTIMAL", "EP9"),
    row(1, "OPTIMAL", "EP9", "EP8"),
    row(2, "OPTIMAL", "EP8", "EP2"),
    row(3, "FEASIBLE", "EP2"),
    row(4, "INFEASIBLE"),
    row(5, "UNKNOWN"),
    row(6, "FAILED"),
    row(7, "FAILED"),
]


def test_wins_wins_alone_and_shares_are_those_counted_by_hand() -> None:
    assert rank(GRID) == [Win("EP9", 2, 1, 666_666), Win("EP8", 2, 0, 666_666), Win("EP2", 1, 0, 333_333)]


def test_equal_strategies_are_ordered_by_label_however_the_rows_lie() -> None:
    rows = [row(0, "OPTIMAL", "b"), row(1, "OPTIMAL", "a")]
    assert [win.label for win in rank(rows)] == [win.label for win in rank(rows[::-1])] == ["a", "b"]


def test_a_label_named_twice_in_a_row_wins_it_once_and_alone() -> None:
    assert rank([row(0, "OPTIMAL", "EP4", "EP4")]) == [Win("EP4", 1, 1, 1_000_000)]


def test_the_best_found_of_an_unproved_row_wins_nothing() -> None:
    assert rank([row(0, "FEASIBLE", "EP4")]) == []


def test_rows_are_counted_by_what_is_proved_of_them() -> None:
    assert tally(GRID) == Tally(optimal=3, infeasible=1, unproved=2, failed=2)
    assert tally_text(tally(GRID)) == "8 rows: 3 proved optimal, 1 proved infeasible, 2 not proved, 2 failed"


def test_nothing_is_counted_where_there_are_no_rows() -> None:
    assert rank([]) == []
    assert tally_text(tally([])) == "0 rows: nothing solved"


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="'optimal'"):
        tally([row(0, "optimal")])


def in_grid(number: int, speed: str, gb: int | None, machine: str) -> Row:
    return Row(number, (speed, machine), (gb, None), "INFEASIBLE", (), None, None, None, None, None, None)


def test_numbers_ascend_and_names_stay_in_the_order_they_appear() -> None:
    rows = [in_grid(0, "100 GB/s", 100, "H200"), in_grid(1, "20 GB/s", 20, "B200"), in_grid(2, "100 GB/s", 100, "A100")]
    assert values_of(rows, 0) == ("20 GB/s", "100 GB/s")
    assert values_of(rows, 1) == ("H200", "B200", "A100")
    assert {cell: r.number for cell, r in place(rows, 0, 1).items()} == {(1, 0): 0, (0, 1): 1, (1, 2): 2}


def test_a_column_with_one_value_that_is_no_number_stays_as_it_appears() -> None:
    rows = [in_grid(0, "9", 9, ""), in_grid(1, "", None, ""), in_grid(2, "3", 3, "")]
    assert values_of(rows, 0) == ("9", "", "3")


def test_two_rows_in_one_cell_are_refused_by_number() -> None:
    rows = [in_grid(3, "20 GB/s", 20, "H200"), in_grid(8, "20 GB/s", 20, "B200")]
    assert len(place(rows, 0, 1)) == 2
    with pytest.raises(ValueError, match="rows 3 and 8 share a cell"):
        place(rows, 0, None)
