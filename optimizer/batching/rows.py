"""Solved variants, with every quantity an exact integer, and where they lie in a grid of one or two fields."""

from collections.abc import Sequence
from typing import NamedTuple

Cell = tuple[int, int]  # column from the left, line from below


class Row(NamedTuple):
    """What is known of one variant; `optimal` and the figures are empty or None where nothing was found."""

    number: int  # of the variant, from 0
    settings: tuple[str, ...]  # the varied fields' values as written, in the order of the columns
    numbers: tuple[int | None, ...]  # the same in the field's base unit; None where the value is no number
    status: str  # OPTIMAL, FEASIBLE, INFEASIBLE, UNKNOWN or FAILED
    optimal: tuple[str, ...]  # labels of every optimal strategy (OPTIMAL), or of the best found (FEASIBLE: one label)
    value: int | None  # the objective
    bound: int | None
    step_ns: int | None
    uusd_per_million_tokens: int | None  # None without a price
    reference: str | None  # "optimal", "not optimal", "infeasible", "best found", "feasible"
    reference_excess: int | None  # value of the reference plan minus the best


def values_of(rows: Sequence[Row], column: int) -> tuple[str, ...]:
    """The different values of one column, as written: ascending where all are numbers, in order of appearance otherwise."""
    seen = {row.settings[column]: row.numbers[column] for row in rows}
    numbers = {text: number for text, number in seen.items() if number is not None}
    return tuple(sorted(numbers, key=numbers.__getitem__) if len(numbers) == len(seen) else seen)


def place(rows: Sequence[Row], across: int, up: int | None) -> dict[Cell, Row]:
    """Rows by cell: the positions of their values in two columns; all on line 0 where there is no second one.

    Raises ValueError for two rows in one cell.
    """
    column = {text: position for position, text in enumerate(values_of(rows, across))}
    line = {} if up is None else {text: position for position, text in enumerate(values_of(rows, up))}
    found: dict[Cell, Row] = {}
    for row in rows:
        cell = column[row.settings[across]], 0 if up is None else line[row.settings[up]]
        if cell in found:
            raise ValueError(f"rows {found[cell].number} and {row.number} share a cell: keep one value of each field that is not drawn")
        found[cell] = row
    return found


def is_numeric(rows: Sequence[Row], column: int) -> bool:
    """Whether all values of a column are numbers."""
    return all(row.numbers[column] is not None for row in rows)
