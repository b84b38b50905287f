"""Least median-like errors by damped least squares: what both fits, of curves and of laws, search with.

Everything here is floating-point heuristics; what it finds is rounded to a record, and the record's errors are computed exactly.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 60
STEP = 1e-4  # of a numerical derivative
SOFT = 0.02  # errors well above this count by their size, those below by their square
PULL = 1e-3  # towards the start, so that what no row tells stays where it began


class Fit(NamedTuple):
    """Parameters, and the mean of |log(predicted / measured)| that they leave."""

    at: Floats
    loss: float


def descend(log_time: Callable[[Floats], Floats], measured: Floats, start: Floats, least: Floats, most: Floats) -> Fit:
    """From one start to parameters within the bounds with small |log(predicted / measured)|; the same from run to run.

    Levenberg-Marquardt over rows reweighted by 1 / |error| (so that outliers pull like one row, not like its square).
    """
    wanted = np.log(measured)
    at, damping = np.clip(start, least, most), 1e-2
    error = log_time(at) - wanted
    for _ in range(ROUNDS):
        weights = 1.0 / np.maximum(np.abs(error), SOFT)
        slopes = _slopes(log_time, at, error + wanted, least, most)
        pulled = PULL * len(measured) * np.eye(len(at))
        curvature = slopes.T @ (weights[:, None] * slopes) + pulled
        slope = slopes.T @ (weights * error) + pulled @ (at - start)
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), slope)
        tried = np.clip(at - step, least, most)
        after = log_time(tried) - wanted
        if _loss(after, tried - start) < _loss(error, at - start):
            at, error, damping = tried, after, max(damping / 4, 1e-6)
        else:
            damping *= 4
            if damping > 1e6:
                break
    return Fit(at, float(np.mean(np.abs(error))))


def _loss(error: Floats, moved: Floats) -> float:
    """Huber's, of the errors, and the pull towards the start."""
    size = np.abs(error)
    huber = np.where(size < SOFT, size * size / (2 * SOFT), size - SOFT / 2)
    return float(np.sum(huber) + PULL * len(error) * np.sum(moved * moved) / 2)


def _slopes(log_time: Callable[[Floats], Floats], at: Floats, value: Floats, least: Floats, most: Floats) -> Floats:
    """Derivatives of every row by every parameter, taken towards the inside of the bounds."""
    columns = []
    for i in range(len(at)):
        step = STEP if at[i] + STEP <= most[i] else -STEP
        moved = at.copy()
        moved[i] += step
        columns.append((log_time(np.clip(moved, least, most)) - value) / step)
    return np.stack(columns, axis=1)
