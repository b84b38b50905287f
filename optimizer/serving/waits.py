"""What the counted requests of a replay saw: percentiles, rates, shares within the limits."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from models.service import ServiceLimits
from models.units import NS_PER_S, ceil_div
from optimizer.serving.agenda import Request

WARM_UP_PCT = 10
"""First requests that are left out: they find the fleet emptier than it will be."""

BEHIND_PCT = 3


class Spread(NamedTuple):
    """Of one kind of wait, ns."""

    p50: int
    p95: int
    p99: int
    mean: int


class Seen(NamedTuple):
    """What a replay shows."""

    counted: int
    ttft: Spread
    tpot: Spread
    request: Spread
    requests_per_s: float
    tokens_per_s: float
    within: dict[str, float | None]
    """share of the counted requests within each limit; None where there is no limit"""


def counted(requests: Sequence[Request]) -> Sequence[Request]:
    """The requests after the warm-up; one at least."""
    return requests[len(requests) * WARM_UP_PCT // 100 :]


def summary(requests: Sequence[Request], limits: ServiceLimits) -> Seen:
    """The statistics of a replay."""
    kept = counted(requests)
    waits = {name: sorted(getattr(r, f"{name}_ns") for r in kept) for name in ("ttft", "tpot", "request")}
    within: dict[str, float | None] = {}
    for name, found in waits.items():
        limit = getattr(limits, f"{name}_ns")
        within[name] = None if limit is None else sum(ns <= limit for ns in found) / len(found)
    spreads = {name: spread(found) for name, found in waits.items()}
    return Seen(len(kept), spreads["ttft"], spreads["tpot"], spreads["request"], *rates(requests), within)


def falls_behind(requests: Sequence[Request]) -> bool:
    """Whether more requests wait for their first token at the end of the arrivals than half-way, by more than 3 % of those that came since.

    And by more than chance explains: twice the standard deviation of a Poisson count.
    """
    since = requests[len(requests) // 2 :]
    grown = _waiting_at(requests, since[-1].arrived_ns) - _waiting_at(requests, since[0].arrived_ns)
    return grown > max(len(since) * BEHIND_PCT / 100, 2 * sqrt(len(since)))


def _waiting_at(requests: Sequence[Request], ns: int) -> int:
    return sum(r.arrived_ns <= ns < r.first_ns for r in requests)


def spread(found: Sequence[int]) -> Spread:
    """Percentiles of sorted values, and their mean rounded down."""
    p50, p95, p99 = (percentile(found, p) for p in (50, 95, 99))
    return Spread(p50, p95, p99, sum(found) // len(found))


def percentile(found: Sequence[int], percent: int) -> int:
    """The least of sorted values that so many percent of them do not exceed (nearest rank)."""
    return found[ceil_div(len(found) * percent, 100) - 1]


def rates(requests: Sequence[Request]) -> tuple[float, float]:
    """Requests and output tokens per second while the fleet is as full as it gets.

    From when the warm-up's number of requests have ended to when the last begins to decode; or, where that is no time at all, from
    the first arrival to the last end. A request counts by the share of its decoding that lies in between.
    """
    ends = sorted(r.done_ns for r in requests)
    begin, end = ends[len(ends) * WARM_UP_PCT // 100], max(r.joined_ns for r in requests)
    if begin >= end:
        begin, end = min(r.arrived_ns for r in requests), ends[-1]
    shares = [(max(0, min(end, r.done_ns) - max(begin, r.joined_ns)) / (r.done_ns - r.joined_ns), r.output_tokens) for r in requests]
    seconds = (end - begin) / NS_PER_S
    return sum(share for share, _ in shares) / seconds, sum(share * tokens for share, tokens in shares) / seconds
