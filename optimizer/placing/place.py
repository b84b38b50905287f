"""A good placement for layers too large to enumerate: equal ranks, and equal scale-up domains. Not a proof."""

from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray

from models.layout import Pattern, domain_counts
from models.placement import least_maximum, touches_of
from models.routing import routing_probability
from models.strategy import RankContents
from models.units import CERTAIN, ceil_div
from optimizer.placing.domains import balance_domains
from optimizer.placing.improve import improve, improve_all

RESPLITS = 600  # at most, about 50 us each
RESPLITS_OF_BOTH = 250  # at most, about 120 us each
NEAR_BOTH = 1_000  # good enough for load and touched experts together
ARRANGEMENTS = 60  # re-splits of domains, at most
NEAR = 10_000  # good enough: one part in NEAR above the bound
CLIMBS = 200  # exchanges of two ranks, at most

Floats = NDArray[np.float64]


@lru_cache(maxsize=4096)
def place(loads: tuple[int, ...], ranks: int) -> RankContents:
    """Each of `ranks` ranks gets equally many experts; the heaviest rank is made light. Deterministic."""
    bound = least_maximum(loads, ranks)
    return improve(loads, ranks, bound + bound // NEAR, RESPLITS)


@lru_cache(maxsize=4096)
def place_touching(loads: tuple[int, ...], ranks: int, top_k: int, tokens: int) -> RankContents:
    """As `place`, but near the bounds of both the hottest rank's inputs and the experts it touches, of `tokens` tokens. Deterministic."""
    touches, inputs = touches_of(loads, top_k, tokens), tokens * top_k
    hottest = ceil_div(inputs * least_maximum(loads, ranks), sum(loads))
    heaviest = hottest * sum(loads) // inputs  # any load up to it gives as many inputs, which are whole
    targets = (heaviest, least_maximum(touches, ranks))
    return improve_all((loads, touches), ranks, tuple(t + t // NEAR_BOTH for t in targets), RESPLITS_OF_BOTH)


@lru_cache(maxsize=4096)
def arrange(
    contents: RankContents, loads: tuple[int, ...], top_k: int, patterns: tuple[Pattern, ...], tokens: int | None = None
) -> RankContents:
    """Near the same contents on other ranks, so that few copies pass the busiest scale-out port. Deterministic.

    A domain is missed with chance prod(1 - p_e), so equal sums of -log(1 - p_e) make equal ports.
    Neither the heaviest load nor, where `tokens` are given, the most touched experts of a rank grow.
    """
    total = sum(loads)
    missed = {w: -log(max(1, CERTAIN - routing_probability(w, total, top_k)) / CERTAIN) for w in set(loads)}
    weights = np.array([sum(missed[loads[e]] for e in rank) for rank in contents])
    crossing = tuple(p for p in patterns if max(p) > 0)
    arranged = tuple(contents[r] for r in order_ranks(weights, crossing))
    if len(crossing) != 1 or len(set(domain_counts(crossing[0]))) > 1:
        return arranged
    rows = (loads,) if tokens is None else (loads, touches_of(loads, top_k, tokens))
    return balance_domains(arranged, rows, tuple(missed[w] for w in loads), crossing[0])


def order_ranks(weights: Floats, patterns: tuple[Pattern, ...]) -> list[int]:
    """Which content lies at each position, so that the sums of each domain of every pattern are about equal."""
    order = list(range(len(weights)))
    if not patterns:
        return order
    counts = domain_counts(patterns[0])
    equal = len(set(counts)) == 1
    if equal:
        scaled = tuple(int(w * (1 << 30)) for w in weights)
        mean = ceil_div(sum(scaled), len(counts))
        domains = improve(scaled, len(counts), mean + mean // NEAR, ARRANGEMENTS)
        left = [list(d) for d in domains]
        order = [left[d].pop() for d in patterns[0]]
    return order if equal and len(patterns) == 1 else _climb(np.array(order), weights, patterns)


def _climb(order: NDArray[np.int64], weights: Floats, patterns: tuple[Pattern, ...]) -> list[int]:
    """Exchange the two positions that help most, until none does."""
    members = [np.array([[d == x for x in range(max(p) + 1)] for d in p], dtype=np.float64) for p in patterns]  # [position, domain]
    for _ in range(CLIMBS):
        placed = weights[order]
        shift = placed[None, :] - placed[:, None]  # what position a gains when a and b exchange
        after = np.zeros(shift.shape)
        for m in members:
            sums = (placed @ m)[None, None, :] + shift[:, :, None] * (m[:, None, :] - m[None, :, :])
            after = np.maximum(after, _busiest_port(sums, m.sum(axis=0)))
        a, b = divmod(int(after.argmin()), len(order))
        if after[a, b] >= after[0, 0] - 1e-12:  # exchanging a position with itself changes nothing
            break
        order[[a, b]] = order[[b, a]]
    return [int(r) for r in order]


def _busiest_port(sums: Floats, counts: Floats) -> Floats:
    """Copies per token through the busiest port, given each domain's sum of -log(1 - p), [..., domain]."""
    reach = 1 - np.exp(-sums)
    sent = reach.sum(axis=-1) - reach.min(axis=-1)
    received = ((counts.sum() - counts) * reach / counts).max(axis=-1)
    busiest: Floats = np.maximum(sent, received)
    return busiest
