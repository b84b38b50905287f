"""Experts in redundant slots: all placements of a small layer, and what no placement of a large one undercuts."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import TypeVar

import models.placement as placement
from models.layout import Pattern
from models.placement import NOTHING_PROVED, Front, Proved, front, ideal_front, ideal_profile
from models.replica_bounds import least_copies, least_inputs, least_touched
from models.routing import Profile, profile
from models.strategy import RankContents

MOST_REPLICATED = 16  # a layer with more experts counts as large at once, where slots are redundant
TRIES = 10  # per state that may be kept: ways to place one expert, before the layer counts as large

T = TypeVar("T")

Share = tuple[int, int]
"""(load, replicas) of an expert"""


class State:
    """Some of the experts placed: what each rank holds, and each as (load, replicas)."""

    def __init__(self, held: RankContents, shares: tuple[tuple[Share, ...], ...]) -> None:
        self.held, self.shares = held, shares

    def plus(self, expert: int, load: int, ranks: frozenset[int]) -> "State":
        """One more expert, a replica on each of these ranks."""
        held = tuple((*h, expert) if r in ranks else h for r, h in enumerate(self.held))
        return State(held, tuple((*s, (load, len(ranks))) if r in ranks else s for r, s in enumerate(self.shares)))

    def alike(self, patterns: tuple[Pattern, ...]) -> object:
        """Equal for states that differ by experts of equal load and replicas, or by ranks and domains of equal role."""
        places = [[self._domain(pattern, d) for d in range(max(pattern) + 1)] for pattern in patterns]
        if len(patterns) > 1:
            return tuple(map(sorted_tuple, self.shares)), tuple(tuple(held for held, _ in domains) for domains in places)
        return sorted_tuple(places[0])

    def _domain(self, pattern: Pattern, d: int) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[Share, ...], ...]]:
        """What a domain holds of each expert, as (load, replicas, of them here), and what its ranks hold."""
        inside = [r for r, at in enumerate(pattern) if at == d]
        here = Counter((e, *share) for r in inside for e, share in zip(self.held[r], self.shares[r], strict=True))
        return sorted_tuple((*key[1:], n) for key, n in here.items()), sorted_tuple(sorted_tuple(self.shares[r]) for r in inside)


def sorted_tuple(items: Iterable[T]) -> tuple[T, ...]:
    """The items in their order."""
    return tuple(sorted(items))  # type: ignore[type-var]


def layer_front(
    loads: tuple[int, ...], top_k: int, ep: int, redundant: int, tokens: int, patterns: tuple[Pattern, ...], proved: Proved = NOTHING_PROVED
) -> Front:
    """Profiles such that no placement with `redundant` slots per rank is better than one of them; `proved` counts without any."""
    if redundant:
        return replicated_front(loads, top_k, ep, redundant, tokens, patterns)
    found = front(loads, top_k, ep, tokens, patterns)
    return found if found.exact or not proved else ideal_front(loads, top_k, ep, tokens, patterns, proved)


def least_profile(
    loads: tuple[int, ...], top_k: int, ep: int, redundant: int, tokens: int, patterns: tuple[Pattern, ...], proved: Proved = NOTHING_PROVED
) -> Profile:
    """Lower bounds on each component, over every placement with `redundant` slots per rank."""
    if not redundant:
        return ideal_profile(loads, top_k, ep, tokens, patterns, proved)
    slots, copies = len(loads) // ep + redundant, least_copies_on(loads, top_k, redundant, patterns)
    return Profile(least_inputs(loads, top_k, ep, slots, tokens), least_touched(loads, top_k, ep, slots, tokens), copies)


def least_copies_on(loads: tuple[int, ...], top_k: int, redundant: int, patterns: tuple[Pattern, ...]) -> int:
    """Lower bound on the copies of every placement over groups of these patterns."""
    if not redundant:
        return placement.least_copies(loads, top_k, patterns)
    slots = len(loads) // len(patterns[0]) + redundant
    return max(least_copies(loads, top_k, slots, pattern) for pattern in patterns)


@lru_cache(maxsize=20_000)
def replicated_front(loads: tuple[int, ...], top_k: int, ep: int, redundant: int, tokens: int, patterns: tuple[Pattern, ...]) -> Front:
    """As `models.placement.front`, where slots are redundant: exact for small layers."""
    every = replicated_placements(loads, ep, redundant, patterns)
    if every is None:
        return Front(((least_profile(loads, top_k, ep, redundant, tokens, patterns), None),), False)
    best: list[tuple[Profile, RankContents | None]] = []
    for found in sorted({profile(p, loads, top_k, tokens, patterns): p for p in every}.items()):
        if not any(kept.within(found[0]) for kept, _ in best):
            best.append(found)
    return Front(tuple(best), True)


@lru_cache(maxsize=4096)
def replicated_placements(loads: tuple[int, ...], ep: int, redundant: int, patterns: tuple[Pattern, ...]) -> list[RankContents] | None:
    """One representative of every class of placements with the same shares per rank and domain, all slots filled.

    None when the layer is too large for that.
    """
    if len(loads) > MOST_REPLICATED:
        return None
    slots = len(loads) // ep + redundant
    states = [State(((),) * ep, ((),) * ep)]
    for n, expert in enumerate(sorted(range(len(loads)), key=lambda e: (-loads[e], e))):
        grown, tries = dict[object, State](), 0
        for state in states:
            for ranks in _choices(state, slots, len(loads) - n - 1, patterns):
                new, tries = state.plus(expert, loads[expert], ranks), tries + 1
                grown.setdefault(new.alike(patterns), new)
                if len(grown) > placement.MOST_STATES or tries > TRIES * placement.MOST_STATES:
                    return None
        states = list(grown.values())
    return [tuple(tuple(sorted(rank)) for rank in state.held) for state in states]


def _choices(state: State, slots: int, left: int, patterns: tuple[Pattern, ...]) -> Iterator[frozenset[int]]:
    """Ranks for the replicas of the next expert, one choice of each kind; the `left` experts after it can still fill all slots.

    A rank with more than `left` free slots must take this expert, as it holds none twice; and each later one needs a slot.
    """
    kinds: dict[object, list[int]] = {}
    forced = set[int]()
    for rank, held in enumerate(state.held):
        if len(held) < slots:
            kinds.setdefault((tuple(p[rank] for p in patterns), sorted_tuple(state.shares[rank])), []).append(rank)
        if slots - len(held) > left:
            forced.add(rank)
    free, groups = sum(slots - len(held) for held in state.held), list(kinds.values())
    for counts in product(*(range(len(group) + 1) for group in groups)):
        if sum(counts) and free - sum(counts) >= left:
            ranks = frozenset(r for group, count in zip(groups, counts, strict=True) for r in group[:count])
            if forced <= ranks:
                yield ranks
