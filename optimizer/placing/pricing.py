"""What a rank's content can be worth at given values: tables over slots and weight, in floating point.

Values that are whole numbers below 2**53 give exact results. Nothing here is trusted.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimizer.encoding.master import Column, Use
from optimizer.placing.kinds import View

Floats = NDArray[np.float64]
Values = tuple[tuple[float, ...], ...]
"""of each kind and option"""

NEVER = -1e18


class _Copy(NamedTuple):
    """One group that may enter a content."""

    kind: int
    slots: int
    options: tuple[tuple[int, float], ...]
    """(weight, value)"""


class Pricing:
    """Tables for one vector of values."""

    def __init__(self, view: View, values: Values) -> None:
        self.view, self.values = view, values
        unlimited = sorted({limit is None for limit in view.limits})
        self.tables = {(u, out): _Table(view, values, out, u) for u, out in product(unlimited, _leaving_out(view.apart))}

    def worth(self) -> tuple[float, ...]:
        """The most that a content of a rank of each class is worth; NEVER where nothing fits."""
        return tuple(
            max(t.worth(g) for (u, _), t in self.tables.items() if u == (limit is None)) for g, limit in enumerate(self.view.limits)
        )

    def best_columns(self) -> Iterator[Column]:
        """For each class and each kind and option, a most valuable content with it, where there is one."""
        for (unlimited, _), table in self.tables.items():
            backward = table.reverse()
            for g, limit in enumerate(self.view.limits):
                if unlimited == (limit is None):
                    yield from table.columns(g, backward)


def _leaving_out(pairs: tuple[tuple[int, int], ...]) -> list[frozenset[int]]:
    """Sets of kinds such that a content without both of any pair avoids one of them."""
    found = {frozenset(choice) for choice in product(*pairs)}
    return sorted((out for out in found if not any(other < out for other in found)), key=sorted)


class _Table:
    """best[i, c, w]: most value of c slots (at most c, where slots may stay empty) and weight <= w among the first i copies."""

    def __init__(self, view: View, values: Values, out: frozenset[int], unlimited: bool) -> None:
        self.view = view
        self.most_slots = max(view.slots)
        self.limits = [0 if unlimited else limit for limit in view.limits]
        self.width = max(limit for limit in self.limits if limit is not None) + 1
        self.copies = [
            _Copy(k, kind.slots, tuple((0 if unlimited else w, v) for w, v in zip(kind.weights, values[k], strict=True)))
            for k, kind in enumerate(view.kinds)
            if k not in out
            for _ in range(min(len(kind.groups), self.most_slots // kind.slots))
        ]
        self.best = self._fill(self.copies)

    def _fill(self, copies: list[_Copy]) -> Floats:
        slots, width = self.most_slots, self.width
        best = np.full((len(copies) + 1, slots + 1, width), NEVER)
        best[0, : 1 if self.view.demand.full else slots + 1] = 0.0
        for i, copy in enumerate(copies):
            old, new = best[i], best[i + 1]
            new[:] = old
            for w, v in copy.options:
                if w < width:
                    part = new[copy.slots :, w:]
                    np.maximum(part, old[: slots + 1 - copy.slots, : width - w] + v, out=part)
        return best

    def reverse(self) -> Floats:
        """The table over the last i copies."""
        return self._fill(self.copies[::-1])

    def worth(self, g: int) -> float:
        """The most that a content of a rank of class g is worth."""
        limit = self.limits[g]
        return NEVER if limit is None else float(self.best[-1, self.view.slots[g], limit])

    def columns(self, g: int, backward: Floats) -> Iterator[Column]:
        """For the last copy of each kind and each option, a most valuable content with it."""
        limit, slots = self.limits[g], self.view.slots[g]
        assert limit is not None
        for i, copy in enumerate(self.copies):
            if i + 1 < len(self.copies) and self.copies[i + 1].kind == copy.kind:
                continue
            left = slots - copy.slots
            for option, (w, _) in enumerate(copy.options):
                if w > limit or left < 0:
                    continue
                rest = limit - w
                before = self.best[i, : left + 1, : rest + 1]
                after = backward[len(self.copies) - 1 - i, : left + 1, : rest + 1]
                both = before + after[::-1, ::-1]
                at = int(both.argmax())
                if both.flat[at] >= 0:
                    c, t = divmod(at, rest + 1)
                    uses = [(copy.kind, option)]
                    uses += self._trace(self.best[: i + 1], self.copies, c, t)
                    uses += self._trace(backward[: len(self.copies) - i], self.copies[::-1], left - c, rest - t)
                    yield Column(g, tuple(sorted(uses)))

    def _trace(self, best: Floats, copies: list[_Copy], c: int, t: int) -> list[Use]:
        """A content that attains best[-1, c, t]."""
        uses: list[Use] = []
        last = len(best) - 1
        while True:
            column = best[: last + 1, c, t]
            changed = np.flatnonzero(column != column[last])
            if not len(changed):
                return uses
            last = int(changed[-1])
            copy, value = copies[last], column[last + 1]
            for option, (w, v) in enumerate(copy.options):
                if w <= t and copy.slots <= c and best[last, c - copy.slots, t - w] + v == value:
                    uses.append((copy.kind, option))
                    c, t = c - copy.slots, t - w
                    break
            else:
                raise AssertionError("every entry comes from one before it")
