"""95 % intervals that do not pretend that related measurements are independent.

Each interval is the widest of (a) the one for independent values (Wilson for a share, order statistics for a quantile), (b) the
percentile bootstrap that draws whole groups, (c) the one that draws whole cells (one model, precision, accelerator, engine, family).
Draws are seeded and of a frozen generator, so a report repeats exactly. A limit that the data do not give is None.
"""

from collections.abc import Hashable, Sequence
from math import exp, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np

Z = 1.959963984540054  # normal quantile of 97.5 %
TAIL = 0.025
DRAWS = 1000
SEED = 4
Limits = tuple[float | None, float | None]


class Estimate(NamedTuple):
    """A statistic, of how many values, with its 95 % limits."""

    value: float
    n: int
    low: float | None
    high: float | None


def wilson(right: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of `right` successes in `n` trials, as shares."""
    share, spread = right / n, Z * Z / n
    half = Z * sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, (share + spread / 2 - half) / (1 + spread)), min(1.0, (share + spread / 2 + half) / (1 + spread))


def order_limits(ordered: np.ndarray, q: float) -> Limits:
    """Distribution-free limits of the q-quantile: order statistics that binomial tails of 2.5 % leave out."""
    n = len(ordered)
    below, low, high = 0.0, None, None
    for k in range(n + 1):
        below += chance(k, n, q)
        if below <= TAIL:
            low = k
        if below >= 1 - TAIL:
            high = k
            break
    return (None if low is None else float(ordered[low])), (None if high is None or high >= n else float(ordered[high]))


def chance(k: int, n: int, q: float) -> float:
    """Binomial probability of k of n, through logarithms so that large n do not overflow."""
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(q) + (n - k) * log(1 - q))


def widest(limits: Sequence[Limits | None]) -> Limits:
    """The envelope; a side that the first, independent, interval leaves open stays open."""
    known = [one for one in limits if one is not None]
    if not known:
        return None, None
    lows, highs = zip(*known, strict=True)
    low = None if None in lows else min(lows)
    return low, (None if None in highs else max(highs))


def draws_of(clusters: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray] | None:
    """How often each cluster is drawn in each resample (draws x clusters), and each value's cluster; None for a single cluster."""
    order = {cluster: k for k, cluster in enumerate(dict.fromkeys(clusters))}
    if len(order) < 2:
        return None
    times = np.random.RandomState(SEED).multinomial(len(order), [1 / len(order)] * len(order), size=DRAWS)
    return times, np.array([order[c] for c in clusters])


def spread_of(statistics: np.ndarray) -> Limits | None:
    """Percentile limits of the resamples; None when all are alike, for then they say nothing."""
    low, high = np.quantile(statistics, [TAIL, 1 - TAIL])
    return None if statistics.min() == statistics.max() else (float(low), float(high))


def resampled_means(values: np.ndarray, clusters: Sequence[Hashable]) -> Limits | None:
    """Limits of the mean when whole clusters are drawn."""
    drawn = draws_of(clusters)
    if drawn is None:
        return None
    times, of = drawn
    sums, counts = np.bincount(of, weights=values), np.bincount(of)
    return spread_of(times @ sums / (times @ counts))


def resampled_quantiles(values: np.ndarray, clusters: Sequence[Hashable], q: float) -> Limits | None:
    """Limits of the q-quantile (linear between neighbours) when whole clusters are drawn."""
    drawn = draws_of(clusters)
    if drawn is None:
        return None
    times, of = drawn
    order = np.argsort(values, kind="stable")
    ordered, statistics = values[order], np.empty(DRAWS)
    for k, row in enumerate(times):
        reached = np.cumsum(row[of[order]])
        place = q * (reached[-1] - 1)
        at = np.searchsorted(reached, [np.floor(place), np.ceil(place)], side="right")
        low, high = ordered[at[0]], ordered[at[1]]
        statistics[k] = low + (high - low) * (place - np.floor(place))
    return spread_of(statistics)


def share(right: Sequence[bool], groups: Sequence[Hashable], cells: Sequence[Hashable]) -> Estimate | None:
    """Percentage right; where all or none are, each group counts as one trial, for resampling then says nothing."""
    if not right:
        return None
    values = np.array(right, dtype=float)
    trials = len(set(groups)) if values.min() == values.max() else len(values)
    limits = [wilson(values.mean() * trials, trials), resampled_means(values, groups), resampled_means(values, cells)]
    low, high = widest(limits)
    assert low is not None
    assert high is not None
    return Estimate(100 * float(values.mean()), len(values), 100 * low, 100 * high)


def mean(values: Sequence[float], groups: Sequence[Hashable], cells: Sequence[Hashable]) -> Estimate | None:
    """Mean of values with resampled limits."""
    if not values:
        return None
    array = np.array(values, dtype=float)
    low, high = widest([resampled_means(array, groups), resampled_means(array, cells)])
    return Estimate(float(array.mean()), len(array), low, high)


def quantile(values: Sequence[float], cells: Sequence[Hashable], q: float) -> Estimate | None:
    """The q-quantile of values, linear between neighbours."""
    if not values:
        return None
    array = np.array(values, dtype=float)
    low, high = widest([order_limits(np.sort(array), q), resampled_quantiles(array, cells, q)])
    return Estimate(float(np.quantile(array, q)), len(array), low, high)
