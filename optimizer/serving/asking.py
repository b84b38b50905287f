"""Which arrivals a command line asks for."""

from math import ceil, isfinite
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError
from models.units import NS_PER_S, PPM

DEFAULT_UTILISATION_PPM = 800_000
LEAST_REQUESTS, MOST_BY_DEFAULT, MOST_REQUESTS = 2_000, 50_000, 1_000_000
LEAST_LIVES = 5  # request times that the arrivals span, or the fleet is never seen as full as it gets
LEAST_PER_S, MOST_PER_S = 1e-6, 1e6


class Asked(NamedTuple):
    """Which arrivals to replay: those of a file, or drawn at a rate, or at a share of what the fleet yields on average."""

    trace: Path | None
    requests_per_s: float | None
    utilisation_ppm: int | None
    """neither: the load of the service, or else 80 % of what the fleet yields"""
    requests: int | None
    """to draw; absent: as many as fill the fleet twice over what is needed to see it full"""
    seed: int
    eager: bool = False
    """prompts do not wait for one on every data-parallel rank of an aggregated worker"""


def parse_asked(trace: Path | None, rate: float | None, utilisation: str | None, requests: int | None, seed: int, eager: bool) -> Asked:
    """The options of `simulate` together. Raises InputError for those that exclude each other, and for what is no rate."""
    drawn = {"--rate": rate, "--utilisation": utilisation, "--requests": requests}
    beside = next((name for name, value in drawn.items() if value is not None), None)
    if trace is not None and beside is not None:
        raise InputError(f"{beside}: is of drawn arrivals, --trace gives recorded ones; leave one out")
    if rate is not None and utilisation is not None:
        raise InputError("--rate and --utilisation: both say how many requests come; leave one out")
    if rate is not None and not (isfinite(rate) and LEAST_PER_S <= rate <= MOST_PER_S):
        raise InputError(f"--rate {rate:g}: write requests per second, from {LEAST_PER_S:g} to {MOST_PER_S:g}")
    return Asked(trace, rate, _share(utilisation), requests, seed, eager)


def enough_requests(requests_per_s: float, request_ns: float) -> int:
    """How many to draw where nothing is said: those of twice the least number of request times, within limits."""
    needed = 2 * LEAST_LIVES * requests_per_s * request_ns / NS_PER_S
    return min(MOST_BY_DEFAULT, max(LEAST_REQUESTS, ceil(needed / 1000) * 1000))


def _share(text: str | None) -> int | None:
    if text is None:
        return None
    from optimizer.search import parse_percent

    try:
        share = parse_percent(text, "--utilisation")
    except InputError:
        share = 0
    if not 0 < share < PPM:
        raise InputError(f'--utilisation "{text[:40]}": write a percentage above 0 and below 100, or give --rate for an overload')
    return share
