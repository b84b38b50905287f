"""Experts to EP ranks: all placements of a small layer, and bounds on every placement of a large one."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from math import ceil, prod
from typing import NamedTuple

from models.layout import Pattern, domain_counts
from models.routing import Profile, expected_touches, load_classes, profile, routing_probability
from models.strategy import RankContents
from models.units import CERTAIN, WHOLE, ceil_div

MOST_STATES = 2_000  # partial placements kept before a layer counts as large
MOST_EXPERTS = 16  # a layer with more experts of more than a few different loads counts as large at once
FEW_LOADS = 3


Proved = Mapping[tuple[tuple[int, ...], int], int]
"""(loads, ranks) -> a load that some rank carries at least, in every placement without replicas: what arguments have shown."""

NOTHING_PROVED: Proved = {}


class Front(NamedTuple):
    """Profiles such that every placement's profile is no better than one of them.

    `exact`: each profile belongs to the placement beside it. Otherwise there is one profile, a
    lower bound in each component, and no placement.
    """

    options: tuple[tuple[Profile, RankContents | None], ...]
    exact: bool


def contiguous(experts: int, ep: int, redundant: int = 0) -> RankContents:
    """Expert e on rank e // (experts / ep): the engines' default. Redundant slots hold the experts that follow, in a circle.

    With equal loads every rank then carries the mean: it holds as many of each place of a block as every other.
    """
    slots = experts // ep
    return tuple(tuple(sorted((r * slots + n) % experts for n in range(slots + redundant))) for r in range(ep))


@lru_cache(maxsize=20_000)
def front(loads: tuple[int, ...], top_k: int, ep: int, tokens: int, patterns: tuple[Pattern, ...]) -> Front:
    """The non-dominated profiles of one MoE layer over `ep` ranks that `tokens` tokens reach."""
    found = every_profile(loads, top_k, ep, tokens, patterns)
    best: list[tuple[Profile, RankContents | None]] = []
    for candidate in found.options:  # sorted, so that no later profile dominates an earlier one
        if not any(kept.within(candidate[0]) for kept, _ in best):
            best.append(candidate)
    return Front(tuple(best), found.exact)


def every_profile(loads: tuple[int, ...], top_k: int, ep: int, tokens: int, patterns: tuple[Pattern, ...]) -> Front:
    """As `front`, with the dominated profiles too, sorted and each once."""
    if ep == 1 or load_classes(loads) == 1:  # every placement has the same profile
        only = contiguous(len(loads), ep)
        return Front(((profile(only, loads, top_k, tokens, patterns), only),), True)
    found = all_placements(loads, ep, patterns)
    if found is None:
        return ideal_front(loads, top_k, ep, tokens, patterns, NOTHING_PROVED)
    distinct = {profile(p, loads, top_k, tokens, patterns): p for p in found}
    return Front(tuple(sorted(distinct.items())), True)


def ideal_front(loads: tuple[int, ...], top_k: int, ep: int, tokens: int, patterns: tuple[Pattern, ...], proved: Proved) -> Front:
    """The front of a large layer: one profile that no placement undercuts."""
    return Front(((ideal_profile(loads, top_k, ep, tokens, patterns, proved), None),), False)


@lru_cache(maxsize=65_536)
def all_placements(loads: tuple[int, ...], ep: int, patterns: tuple[Pattern, ...]) -> list[RankContents] | None:
    """One representative of every class of placements with the same loads per rank and domain.

    None when the layer is too large for that.
    """
    if len(loads) > MOST_EXPERTS and load_classes(loads) > FEW_LOADS:
        return None
    slots = len(loads) // ep
    states: dict[object, tuple[tuple[int, ...], ...]] = {(): ((),) * ep}
    for expert in sorted(range(len(loads)), key=lambda e: (-loads[e], e)):
        grown: dict[object, tuple[tuple[int, ...], ...]] = {}
        for state in states.values():
            for rank in _open_ranks(state, loads, slots, patterns):
                new = (*state[:rank], (*state[rank], expert), *state[rank + 1 :])
                grown.setdefault(_alike(new, loads, patterns), new)
            if len(grown) > MOST_STATES:
                return None
        states = grown
    return [tuple(tuple(sorted(rank)) for rank in state) for state in states.values()]


def _open_ranks(state: RankContents, loads: tuple[int, ...], slots: int, patterns: tuple[Pattern, ...]) -> Iterator[int]:
    """Ranks with a free slot, one of each kind: same domains, same loads held."""
    seen: set[object] = set()
    for rank, held in enumerate(state):
        kind = (tuple(pattern[rank] for pattern in patterns), tuple(loads[e] for e in held))
        if len(held) < slots and kind not in seen:
            seen.add(kind)
            yield rank


def _alike(state: RankContents, loads: tuple[int, ...], patterns: tuple[Pattern, ...]) -> object:
    """Equal for states that differ by experts of equal load, or ranks and domains of equal role."""
    weights = [tuple(loads[e] for e in rank) for rank in state]
    if len(patterns) > 1:
        return tuple(weights)
    domains: dict[int, list[tuple[int, ...]]] = {}
    for rank, domain in zip(weights, patterns[0], strict=True):
        domains.setdefault(domain, []).append(rank)
    return tuple(sorted(tuple(sorted(ranks)) for ranks in domains.values()))


def ideal_profile(
    loads: tuple[int, ...], top_k: int, ep: int, tokens: int, patterns: tuple[Pattern, ...], proved: Proved = NOTHING_PROVED
) -> Profile:
    """Lower bounds on each component, over every placement without replicas."""
    copies = least_copies(loads, top_k, patterns)
    hottest = ceil_div(tokens * top_k * max(least_maximum(loads, ep), proved.get((loads, ep), 0)), sum(loads))
    return Profile(hottest, least_maximum(touches_of(loads, top_k, tokens), ep), copies)


@lru_cache(maxsize=4096)
def touches_of(loads: tuple[int, ...], top_k: int, tokens: int) -> tuple[int, ...]:
    """Expected touches of each expert, 2**-20."""
    total = sum(loads)
    touch = {w: expected_touches(w, total, top_k, tokens) for w in set(loads)}
    return tuple(touch[w] for w in loads)


@lru_cache(maxsize=65_536)
def least_maximum(weights: tuple[int, ...], ranks: int) -> int:
    """Lower bound on the heaviest rank when each of `ranks` ranks takes equally many items.

    Area: the mean. Pigeonhole: of the q * ranks + 1 heaviest items some rank holds q + 1, which
    weigh at least the lightest q + 1 of them; its other slots weigh at least the lightest items.
    Counting: the k heaviest items lie on at most k ranks; those hold k * (slots - 1) others.
    """
    slots = len(weights) // ranks
    down = sorted(weights, reverse=True)
    if down[0] == down[-1]:
        return slots * down[0]
    heaviest = [0, *accumulate(down)]  # heaviest[n]: the n heaviest together
    lightest = [0, *accumulate(reversed(down))]
    best = ceil_div(heaviest[-1], ranks)
    for q in range(slots):
        best = max(best, heaviest[q * ranks + 1] - heaviest[q * ranks - q] + lightest[slots - q - 1])
    for k in range(1, ranks + 1):
        best = max(best, ceil_div(heaviest[k] + lightest[k * (slots - 1)], k))
    return best


@lru_cache(maxsize=65_536)
def _least_copies(loads: tuple[int, ...], top_k: int, pattern: Pattern) -> int:
    """Lower bound on the copies through the busiest scale-out port.

    Equal domains: the chances to miss a domain multiply to Q = prod(1 - p_e) whatever the
    placement, so some domain is missed with at most the d-th root of Q and reached with the rest.
    Unequal ones: a domain with n of the ranks is reached at least as often as if it held the
    lightest experts.
    """
    counts = domain_counts(pattern)
    d, size = len(counts), sum(counts)
    if d == 1:
        return 0
    if len(set(counts)) == 1:
        return (d - 1) * ceil_div(least_reach(_missed_by_all(loads, top_k), d) * WHOLE, CERTAIN)
    total, slots = sum(loads), len(loads) // size
    missing = [CERTAIN - routing_probability(w, total, top_k) for w in sorted(loads)]
    bound = 0
    for n in counts:
        lightest = Fraction(prod(missing[: n * slots]), CERTAIN ** (n * slots))
        reach = ceil((1 - lightest) * WHOLE)
        bound = max(bound, ceil_div((size - n) * reach, n))
    return bound


@lru_cache(maxsize=4096)
def _missed_by_all(loads: tuple[int, ...], top_k: int) -> int:
    """prod(1 - p_e), 2**-64 fixed point, rounded up."""
    total = sum(loads)
    return ceil_div(prod(CERTAIN - routing_probability(w, total, top_k) for w in loads) << 64, CERTAIN ** len(loads))


def least_reach(missed: int, domains: int) -> int:
    """Smallest x, 2**-32 fixed point, with (1 - x)**domains <= missed, which is 2**-64 fixed point."""
    low, high = 0, CERTAIN
    while low < high:
        middle = (low + high) // 2
        if (CERTAIN - middle) ** domains << 64 <= missed * CERTAIN**domains:
            high = middle
        else:
            low = middle + 1
    return low


def least_copies(loads: tuple[int, ...], top_k: int, patterns: tuple[Pattern, ...]) -> int:
    """Lower bound on the copies component of every placement's profile."""
    return max(_least_copies(loads, top_k, pattern) for pattern in patterns)
