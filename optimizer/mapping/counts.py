"""Token counts from any file: whole, bounded, and summed by layer."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

MOST_BYTES = 200_000_000  # of one file
MOST_JSON_BYTES = 32_000_000  # of one JSON document, which is held as objects many times its size
MOST_EXPERTS = 4096
MOST_LAYERS = 1000
MOST_ROWS = 1_000_000  # of one text, all passes together
BELOW = 2**53  # every sum is exact as a float, too
_CHUNK = 1_000_000  # counts looked at together

Ints = NDArray[np.int64]


class Tally:
    """Counts summed by layer number; `origin` begins every sentence about what cannot be added."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.rows: dict[int, Ints] = {}

    def add(self, layer: int, counts: Ints, where: str) -> None:
        """Adds the counts [experts] of a layer, found at `where`. Raises InputError."""
        check_shape(layer + 1, len(counts), f"{self.origin}: {where}")
        width = len(next(iter(self.rows.values()), counts))
        if len(counts) != width:
            raise InputError(f"{self.origin}: {where} has {len(counts)} counts, the first has {width}; every layer needs the same number")
        if layer not in self.rows:
            self.rows[layer] = np.zeros(width, np.int64)
        add_passes(self.rows[layer], counts[np.newaxis], f"{self.origin}: {where}")

    def matrix(self) -> Ints:
        """[layers, experts] from layer 0 on; zero where a layer has no counts."""
        if not self.rows:
            raise InputError(f"{self.origin}: holds no token counts; record some and save them again")
        return np.stack([self.rows.get(n, np.zeros_like(next(iter(self.rows.values())))) for n in range(max(self.rows) + 1)])


def check_shape(layers: int, experts: int, origin: str) -> None:
    """Raises InputError for no layers or experts, or more than any model has."""
    if layers < 1 or experts < 1:
        raise InputError(f"{origin}: holds no token counts; write one row per layer, one count per expert")
    if layers > MOST_LAYERS or experts > MOST_EXPERTS:
        raise InputError(f"{origin}: {layers} layers of {experts} experts; at most {MOST_LAYERS} of {MOST_EXPERTS} are read")


def add_passes(total: Ints, passes: Ints, origin: str) -> None:
    """Adds the sum over the first axis of `passes` to `total`. Raises InputError where a sum reaches 2**53."""
    rough = total + passes.sum(axis=0, dtype=np.float64)
    if rough.max(initial=0) >= BELOW:
        raise InputError(f"{origin}: an expert's tokens add up to {rough.max():.0f}; give fewer passes, sums must stay below 2**53")
    total += passes.sum(axis=0)


def sum_passes(values: NDArray[Any], origin: str, first_layer: int = 0) -> Ints:
    """[passes, layers, experts] of any type summed over passes. Raises InputError naming the first value that is no count."""
    total = np.zeros(values.shape[1:], np.int64)
    step = max(1, _CHUNK // max(1, total.size))
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        floats = chunk.astype(np.float64)
        wrong = ~((floats >= 0) & (floats < BELOW) & (floats == np.floor(floats)))  # NaN is in no order
        if wrong.any():
            n, layer, expert = (int(i) for i in np.argwhere(wrong)[0])
            where = (f"pass {start + n}, " if len(values) > 1 else "") + f"layer {first_layer + layer}"
            raise not_a_count(chunk[n, layer, expert].item(), f"{origin}: {where}, expert {expert}")
        add_passes(total, chunk.astype(np.int64), origin)
    return total


def row_of(values: Any, origin: str) -> Ints:
    """A list of numbers as counts [experts]. Raises InputError naming the first that is no count."""
    if not isinstance(values, list):
        raise InputError(f"{origin}: must be a list of token counts, one per expert, got {shown(values)}")
    for n, value in enumerate(values):
        if type(value) not in (int, float) or not 0 <= value < BELOW or value != int(value):
            raise not_a_count(value, f"{origin}, expert {n}")
    return np.array(values, np.int64)


def from_lists(value: Any, origin: str) -> Ints:
    """Nested lists [experts], [layers][experts] or [passes][layers][experts] as [layers, experts]. Raises InputError."""
    depth, first = 0, value
    while isinstance(first, list) and depth < 4:
        depth, first = depth + 1, first[0] if first else None
    if not 1 <= depth <= 3:
        raise InputError(f"{origin}: must be a list of layers, each a list of token counts")
    passes: Sequence[Any] = value if depth == 3 else [value] if depth == 2 else [[value]]
    if len(passes) * len(passes[0]) > MOST_ROWS:
        raise InputError(f"{origin}: {len(passes)} passes of {len(passes[0])} layers; add them up, at most {MOST_ROWS} rows are read")
    tally = Tally(origin)
    for n, rows in enumerate(passes):
        if not isinstance(rows, list) or len(rows) != len(passes[0]):
            raise InputError(f"{origin}: pass {n} must be a list of {len(passes[0])} layers, as the first is, got {shown(rows)}")
        for layer, row in enumerate(rows):
            where = (f"pass {n}, " if len(passes) > 1 else "") + f"layer {layer}"
            tally.add(layer, row_of(row, f"{origin}: {where}"), where)
    return tally.matrix()


def number(cell: str) -> int | float | str:
    """What a cell of text says; what is no number stays text."""
    if cell.isascii() and cell.removeprefix("-").isdigit() and len(cell) <= 30:
        return int(cell)
    try:
        return float(cell)
    except ValueError:
        return cell


def not_a_count(value: Any, origin: str) -> InputError:
    """The refusal of a value that is not a whole number of tokens."""
    share = ", shares times the number of tokens" if isinstance(value, float) and 0 < value < BELOW else ""
    return InputError(f"{origin}: {shown(value)} is not a count of tokens; write whole numbers, at least 0 and below 2**53{share}")


def shown(value: Any) -> str:
    """A value as a sentence quotes it: short, and lists and objects by kind."""
    if isinstance(value, list | dict):
        return f"a list of {len(value)}" if isinstance(value, list) else "an object"
    return json.dumps(value)[:40]
