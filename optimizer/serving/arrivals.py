"""When requests come and how long they are: drawn from a Poisson process, or given."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from models.service import Service
from models.units import NS_PER_S, ceil_div


class Arrival(NamedTuple):
    """One request as it comes."""

    at_ns: int
    input_tokens: int
    output_tokens: int


class Lengths(NamedTuple):
    """Tokens of a request, of the mean one for instance."""

    input_tokens: int
    output_tokens: int


def draw_poisson(service: Service, requests_per_s: float, requests: int, seed: int) -> tuple[Arrival, ...]:
    """So many arrivals of a Poisson process, each of the service's lengths; the first comes after one gap."""
    rng, asked, at = Random(seed), service.workload, 0
    found = []
    for _ in range(requests):
        at += round(rng.expovariate(requests_per_s) * NS_PER_S)
        found.append(Arrival(at, asked.input_tokens, asked.output_tokens))
    return tuple(found)


def mean_lengths(arrivals: Sequence[Arrival]) -> Lengths:
    """The mean lengths, rounded up."""
    return Lengths(*(ceil_div(sum(tokens), len(arrivals)) for tokens in zip(*(a[1:] for a in arrivals), strict=True)))


def offered_per_s(arrivals: Sequence[Arrival]) -> float | None:
    """Requests per second over the span of the arrivals; None where all come at once."""
    span = arrivals[-1].at_ns - arrivals[0].at_ns
    return (len(arrivals) - 1) * NS_PER_S / span if span else None
