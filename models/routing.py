"""How tokens meet experts: touched experts, the hottest rank, the copies that leave a node.

Probabilities are 2**-32 fixed point. The chance that something is *not* needed is rounded down at
every step, so what is needed is rounded up.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import lcm
from typing import NamedTuple

from models.layout import Pattern, domain_counts
from models.strategy import RankContents
from models.units import CERTAIN, WHOLE, ceil_div


class Profile(NamedTuple):
    """What the cost of one MoE layer takes from its placement; smaller is never dearer."""

    tokens: int
    """expert inputs on the most loaded EP rank, per micro-batch"""
    touched: int
    """largest expected number of distinct experts that one rank reads, 2**-20 experts"""
    copies: int
    """copies of one rank's tokens through the busiest scale-out port, per token, 2**-20 copies"""

    def within(self, other: "Profile") -> bool:
        """Whether no component exceeds `other`'s."""
        return self.tokens <= other.tokens and self.touched <= other.touched and self.copies <= other.copies


def routing_probability(load: int, total: int, top_k: int, replicas: int = 1) -> int:
    """p_e = min(1, k * load_e / sum of loads), split equally over the expert's replicas; rounded up."""
    return min(CERTAIN, ceil_div(CERTAIN * top_k * load, total * replicas))


def touch_probability(probability: int, tokens: int) -> int:
    """1 - (1 - p)**N: the chance that N tokens touch an expert at least once; rounded up."""
    return CERTAIN - _power_down(CERTAIN - probability, tokens)


def expected_touches(load: int, total: int, top_k: int, tokens: int, replicas: int = 1) -> int:
    """The touch probability of one replica as an expected number of experts read, 2**-20, rounded up."""
    return ceil_div(touch_probability(routing_probability(load, total, top_k, replicas), tokens) * WHOLE, CERTAIN)


@lru_cache(maxsize=4096)
def misses_after_doublings(loads: tuple[int, ...], top_k: int, doublings: int) -> tuple[int, ...]:
    """For each expert the chance that 2**doublings tokens miss it: `touch_probability` is CERTAIN less this, exactly."""
    if doublings == 0:
        total = sum(loads)
        return tuple(CERTAIN - routing_probability(w, total, top_k) for w in loads)
    return tuple(m * m >> 32 for m in misses_after_doublings(loads, top_k, doublings - 1))


@lru_cache(maxsize=65_536)
def least_touches(loads: tuple[int, ...], top_k: int, tokens: int) -> int:
    """At most the expected touches of all experts together, 2**-20: those by the largest power of two of tokens within `tokens`.

    More tokens touch no fewer experts: in `_power_down` the largest power is the last factor, and no factor exceeds 1.
    """
    missed = sum(misses_after_doublings(loads, top_k, tokens.bit_length() - 1))
    return ceil_div((CERTAIN * len(loads) - missed) * WHOLE, CERTAIN)


def _power_down(base: int, exponent: int) -> int:
    result = CERTAIN
    while exponent and result:
        if not base:
            return 0
        if exponent & 1:
            result = result * base >> 32
        base = base * base >> 32
        exponent >>= 1
    return result


@lru_cache(maxsize=4096)
def profile(contents: RankContents, loads: tuple[int, ...], top_k: int, tokens: int, patterns: tuple[Pattern, ...]) -> Profile:
    """The profile of one layer's placement when `tokens` tokens reach its EP group."""
    replicas = [0] * len(loads)
    for rank in contents:
        for e in rank:
            replicas[e] += 1
    total, scale = sum(loads), lcm(*set(replicas))
    hottest = max(sum(loads[e] * (scale // replicas[e]) for e in rank) for rank in contents)
    touches = {(w, c): expected_touches(w, total, top_k, tokens, c) for w, c in set(zip(loads, replicas, strict=True))}
    touched = max(sum(touches[loads[e], replicas[e]] for e in rank) for rank in contents)
    copies = max(_scale_out_copies(contents, loads, top_k, replicas, pattern) for pattern in patterns)
    return Profile(ceil_div(tokens * top_k * hottest, total * scale), touched, copies)


def _scale_out_copies(contents: RankContents, loads: tuple[int, ...], top_k: int, replicas: list[int], pattern: Pattern) -> int:
    """Copies per token through the busiest scale-out port, one copy per destination domain."""
    counts = domain_counts(pattern)
    if len(counts) == 1:
        return 0
    total = sum(loads)
    held: list[dict[int, int]] = [{} for _ in counts]
    for rank, domain in zip(contents, pattern, strict=True):
        for e in rank:
            held[domain][e] = held[domain].get(e, 0) + 1
    reach = [touch_domain(((loads[e] * n, replicas[e]) for e, n in h.items()), total, top_k) for h in held]
    return busiest_port(reach, counts)


def touch_domain(shares: Iterable[tuple[int, int]], total: int, top_k: int) -> int:
    """1 - prod(1 - p_e): expected copies of a token to a domain that holds some experts, 2**-20, rounded up.

    `shares` holds (tokens, replicas) of each expert there; they are multiplied in the order of their
    sizes, so that experts of equal loads are interchangeable down to the last rounding.
    """
    missed = CERTAIN
    for load, replicas in sorted(shares):
        missed = missed * (CERTAIN - routing_probability(load, total, top_k, replicas)) >> 32
    return ceil_div((CERTAIN - missed) * WHOLE, CERTAIN)


def busiest_port(reach: list[int], counts: tuple[int, ...]) -> int:
    """Copies per token through the busiest port, when domain d takes reach[d] copies of a token.

    A rank sends one copy to every other domain that its token needs; the `counts[d]` ports of
    domain d share what arrives from the ranks elsewhere. Rounded up.
    """
    size, everywhere = sum(counts), sum(reach)
    sent = max(everywhere - r for r in reach)
    received = max(ceil_div((size - n) * r, n) for r, n in zip(reach, counts, strict=True))
    return max(sent, received)


@lru_cache(maxsize=4096)
def load_classes(loads: tuple[int, ...]) -> int:
    """How many different loads the experts have; 1 when all are equally popular."""
    return len(set(loads))
