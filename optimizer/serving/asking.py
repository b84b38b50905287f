"""Which arrivals a command line asks for."""

from math import isfinite
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError
from models.units import PPM

DEFAULT_UTILISATION_PPM = 800_000
DEFAULT_REQUESTS, MOST_REQUESTS = 2_000, 1_000_000
LEAST_PER_S, MOST_PER_S = 1e-6, 1e6


class Asked(NamedTuple):
    """Which arrivals to replay: those of a file, or drawn at a rate, or at a share of what the fleet yields on average."""

    trace: Path | None
    requests_per_s: float | None
    utilisation_ppm: int | None
    """neither: the load of the service, or else 80 % of what the fleet yields"""
    requests: int
    seed: int


def parse_asked(trace: Path | None, rate: float | None, utilisation: str | None, requests: int | None, seed: int) -> Asked:
    """The options of `simulate` together. Raises InputError for those that exclude each other, and for what is no rate."""
    drawn = {"--rate": rate, "--utilisation": utilisation, "--requests": requests}
    beside = next((name for name, value in drawn.items() if value is not None), None)
    if trace is not None and beside is not None:
        raise InputError(f"{beside}: is of drawn arrivals, --trace gives recorded ones; leave one out")
    if rate is not None and utilisation is not None:
        raise InputError("--rate and --utilisation: both say how many requests come; leave one out")
    if rate is not None and not (isfinite(rate) and LEAST_PER_S <= rate <= MOST_PER_S):
        raise InputError(f"--rate {rate:g}: write requests per second, from {LEAST_PER_S:g} to {MOST_PER_S:g}")
    return Asked(trace, rate, _share(utilisation), requests or DEFAULT_REQUESTS, seed)


def _share(text: str | None) -> int | None:
    if text is None:
        return None
    from optimizer.search import parse_percent

    share = parse_percent(text, "--utilisation")
    if not 0 < share < PPM:
        raise InputError(f'--utilisation "{text[:40]}": write a percentage above 0 and below 100, or --rate for an overload')
    return share
