"""The most that one rank's content can be worth: exact tables over integers."""

from collections.abc import Sequence
from typing import NamedTuple


class Item(NamedTuple):
    """What may enter a rank once: it takes `slots` slots and has one of `options` (weight, value)."""

    slots: int
    options: tuple[tuple[int, int], ...]


LEAST_WIDTH = 16  # narrower rows take no less time


def table_steps(items: Sequence[Item], slots: int, cap: int, limit: int | None) -> int:
    """Steps of the smaller of the two tables, and a few to set it up."""
    width = cap + 2 if limit is None else min(cap + 2, limit + 1)
    return (1 + sum(len(item.options) for item in items)) * slots * max(LEAST_WIDTH, width)


def dearest_pattern_exceeds(items: Sequence[Item], slots: int, full: bool, cap: int, limit: int | None) -> bool:
    """Whether some content of at most (exactly, if `full`) `slots` slots and of weight <= limit is worth more than `cap`."""
    if limit is not None and limit < 0:
        return False
    if limit is not None and limit + 1 < cap + 2:
        return _most_value(items, slots, full, limit) > cap
    least = _least_weight(items, slots, full, cap + 1)
    return least is not None and (limit is None or least <= limit)


def _least_weight(items: Sequence[Item], slots: int, full: bool, worth: int) -> int | None:
    """The least weight of a content worth at least `worth`; None when there is none.

    least[c][v]: least weight of c slots worth v, with v capped at `worth`.
    """
    never = 1 + sum(max((w for w, _ in item.options), default=0) for item in items)
    least = [[never] * (worth + 1) for _ in range(slots + 1)]
    least[0][0] = 0
    for taken, options in items:
        for c in range(slots - taken, -1, -1):
            old, new = least[c], least[c + taken]
            for w, v in options:
                v = min(v, worth)
                new[v:worth] = [a if a <= b + w else b + w for a, b in zip(new[v:worth], old, strict=False)]
                new[worth] = min(new[worth], min(old[worth - v :]) + w)
    found = least[slots][worth] if full else min(row[worth] for row in least)
    return None if found >= never else found


def _most_value(items: Sequence[Item], slots: int, full: bool, limit: int) -> int:
    """The largest value of a content of weight <= limit; -1 when there is none.

    most[c][w]: largest value of c slots that weigh w.
    """
    never = -1 - sum(max((v for _, v in item.options), default=0) for item in items)
    most = [[never] * (limit + 1) for _ in range(slots + 1)]
    most[0][0] = 0
    for taken, options in items:
        for c in range(slots - taken, -1, -1):
            old, new = most[c], most[c + taken]
            for w, v in options:
                if w <= limit:
                    new[w:] = [a if a >= b + v else b + v for a, b in zip(new[w:], old, strict=False)]
    found = max(most[slots]) if full else max(max(row) for row in most)
    return max(found, -1)
