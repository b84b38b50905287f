"""Changes along a line: found where ties form a chain, and narrowed down to neighbouring values with nothing unproved said."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from optimizer.batching.changes import Bracket, best, brackets, describe, sharpen
from optimizer.batching.rows import Row
from optimizer.batching.variants import Setting, Variants, read_variants

PATH = "cluster.nodes"
Best = Callable[[int], tuple[str, ...]]


def variants(*values: int) -> Variants:
    base = {"cluster": {"pools": [{"nodes": 1}]}}
    return read_variants(base, [f"{PATH}={','.join(map(str, values))}"], None, Path("instance.json"))


def row(number: int, value: int, labels: tuple[str, ...], status: str = "OPTIMAL") -> Row:
    status = status if labels else "INFEASIBLE"
    return Row(number, (str(value),), (value,), status, labels, 1, 1, 1, None, None, None)


def rows(winners: Best, *values: int) -> dict[int, Row]:
    return {n: row(n, value, winners(value)) for n, value in enumerate(values)}


def narrowed(winners: Best, *values: int) -> list[tuple[int, int, list[str], list[str]]]:
    """Low, high, what held and what holds after each change, by value."""

    def solve(wanted: list[tuple[Setting, ...]]) -> list[Row]:
        return [row(-1, int(settings[-1].text), winners(int(settings[-1].text))) for settings in wanted]

    found = sharpen(brackets(variants(*values), rows(winners, *values), 0, best), best, solve, 1000)
    assert all(b.sharp for b in found)
    return [(b.low, b.high, sorted(b.held), sorted(best(b.after))) for b in sorted(found, key=lambda b: b.low)]


def test_a_change_is_narrowed_down_to_neighbouring_values() -> None:
    assert narrowed(lambda v: ("A",) if v <= 537 else ("B",), 1, 1000) == [(537, 538, ["A"], ["B"])]


def test_a_third_strategy_between_two_has_a_bracket_at_each_end() -> None:
    def winners(v: int) -> tuple[str, ...]:
        return ("A",) if v < 300 else ("C",) if v < 700 else ("B",)

    assert narrowed(winners, 1, 1000) == [(299, 300, ["A"], ["C"]), (699, 700, ["C"], ["B"])]


def test_what_runs_nowhere_is_a_side_like_any_other() -> None:
    assert narrowed(lambda v: ("A",) if v >= 8 else (), 4, 16) == [(7, 8, ["nothing (infeasible)"], ["A"])]


def test_a_chain_of_ties_is_a_change_where_the_first_is_optimal_no_more() -> None:
    def winners(v: int) -> tuple[str, ...]:
        return ("A",) if v < 10 else ("A", "B") if v < 20 else ("B",)

    assert narrowed(winners, 1, 15, 30) == [(19, 20, ["A"], ["B"])]
    assert narrowed(winners, 1, 30) == [(19, 20, ["A"], ["B"])]
    said = describe(variants(1, 15, 30), rows(winners, 1, 15, 30))
    assert said.startswith("The best strategy changes between cluster.nodes = 15 and 30, from A to B")


def test_one_strategy_optimal_everywhere_is_no_change_whatever_ties_with_it() -> None:
    def winners(v: int) -> tuple[str, ...]:
        return ("B", "A") if v < 10 else ("A", "C")

    assert narrowed(winners, 1, 5, 15, 30) == []
    assert "same for every value" in describe(variants(1, 5, 15, 30), rows(winners, 1, 5, 15, 30))


def test_a_middle_that_is_not_proved_leaves_the_bracket_as_it_is() -> None:
    found = brackets(variants(1, 1000), rows(lambda v: ("A",) if v < 500 else ("B",), 1, 1000), 0, best)
    left = sharpen(found, best, lambda wanted: [row(-1, 0, ("A",), "FEASIBLE") for _ in wanted], 10)
    assert left == found
    assert not left[0].sharp


@pytest.mark.parametrize(("low", "high"), [(3, 9), (9, 3), (0, 2), (5, 7)])
def test_the_middle_lies_strictly_between(low: int, high: int) -> None:
    end = row(0, low, ("A",))
    value, settings = Bracket(PATH, (), end, end, low, high, str(low), frozenset("A")).middle()
    assert min(low, high) < value < max(low, high)
    assert settings[-1].value == value


def test_a_best_strategy_that_changes_at_every_value_ends_after_so_many_brackets() -> None:
    solved: list[int] = []

    def solve(wanted: list[tuple[Setting, ...]]) -> list[Row]:
        values = [int(settings[-1].text) for settings in wanted]
        solved.extend(values)
        return [row(-1, value, (f"S{value}",)) for value in values]

    found = sharpen(brackets(variants(1, 100_000), rows(lambda v: (f"S{v}",), 1, 100_000), 0, best), best, solve, 20)
    assert sum(b.sharp for b in found) <= 20
    assert len(solved) < 20 * 20
    ends = sorted((b.low, b.high) for b in found)
    assert ends[0][0] == 1
    assert ends[-1][1] == 100_000
    assert all(a[1] == b[0] for a, b in pairwise(ends))  # nothing is left out
