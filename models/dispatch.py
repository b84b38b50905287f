"""Where the tokens of a replicated expert go: the load of every rank under the engines' dispatch rules."""

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import Literal

from models.strategy import RankContents
from models.units import ceil_div

Dispatch = Literal["equal", "nearest", "free"]
"""equal: all replicas of an expert share its tokens alike (vLLM, TensorRT-LLM, SGLang `dynamic`); nearest: SGLang `static`;
free: any split, chosen per batch by a linear program (SGLang `lp`, LPLB)."""


def heaviest_load(contents: RankContents, loads: Sequence[int], dispatch: Dispatch, nodes: int = 1) -> int:
    """Least whole number that no rank's load exceeds, in the unit of `loads`; every rank sends equally many tokens to each expert."""
    match dispatch:
        case "equal":
            return _heaviest(*equal_split(contents, loads))
        case "nearest":
            return _heaviest(*nearest_split(contents, loads, nodes))
        case "free":
            return free_split(contents, loads)


def _heaviest(rank_loads: list[int], scale: int) -> int:
    return ceil_div(max(rank_loads), scale)


def homes_of(contents: RankContents, experts: int) -> list[list[int]]:
    """The ranks that hold each expert, ascending."""
    found: list[list[int]] = [[] for _ in range(experts)]
    for rank, held in enumerate(contents):
        for e in held:
            found[e].append(rank)
    return found


def equal_split(contents: RankContents, loads: Sequence[int]) -> tuple[list[int], int]:
    """Load of each rank times a scale, and the scale: sum of w_e / c_e over the experts it holds."""
    counts = [len(ranks) for ranks in homes_of(contents, len(loads))]
    scale = lcm(*(c for c in counts if c))
    share = [w * (scale // c) if c else 0 for w, c in zip(loads, counts, strict=True)]
    return [sum(share[e] for e in rank) for rank in contents], scale


def nearest_split(contents: RankContents, loads: Sequence[int], nodes: int) -> tuple[list[int], int]:
    """Load of each rank times a scale, and the scale, where each rank sends to the nearest replica.

    A rank that holds the expert keeps its tokens; otherwise, where some but not all replicas lie on
    its node, they go to the first of those; otherwise all replicas share them alike. (SGLang,
    `--ep-dispatch-algorithm static`; the last choice is random there, here its mean.)
    """
    ranks, per_node = len(contents), len(contents) // nodes
    homes = homes_of(contents, len(loads))
    scale = lcm(*(len(h) for h in homes if h))
    found = [0] * ranks
    for w, home in zip(loads, homes, strict=True):
        by_node: dict[int, list[int]] = {}
        for r in home:
            by_node.setdefault(r // per_node, []).append(r)
        shared = ranks - per_node * len(by_node)  # ranks whose tokens all replicas share
        for local in by_node.values():
            senders = per_node - len(local)
            if len(by_node) == 1:
                shared += senders
            else:
                found[local[0]] += w * scale * senders
            for r in local:
                found[r] += w * scale
        part = w * (scale // len(home)) * shared if home else 0
        for r in home:
            found[r] += part
    return found, scale * ranks


def free_split(contents: RankContents, loads: Sequence[int]) -> int:
    """Least whole T such that some split of every expert's load among its replicas leaves no rank above T.

    T is max over sets A of experts of w(A) / (ranks that hold some of A) (Hall). Starting from the mean, a
    threshold that no flow keeps yields such a set with a larger ratio, from its minimum cut.
    """
    threshold = Fraction(sum(loads), len(contents))
    while True:
        stuck = _stuck_experts(contents, loads, threshold)
        if not stuck:
            return ceil_div(threshold.numerator, threshold.denominator)
        ranks = sum(any(e in stuck for e in rank) for rank in contents)
        threshold = Fraction(sum(loads[e] for e in stuck), ranks)


def _stuck_experts(contents: RankContents, loads: Sequence[int], threshold: Fraction) -> set[int]:
    """Experts on the source's side of a minimum cut: they load the ranks that hold them above the threshold; empty where all fits."""
    unit = threshold.denominator
    left = [w * unit for w in loads]
    room = [threshold.numerator] * len(contents)
    flow: list[dict[int, int]] = [dict.fromkeys(rank, 0) for rank in contents]
    homes = homes_of(contents, len(loads))
    while True:
        path, seen = _augmenting_path(left, room, flow, homes)
        if not path:
            return seen if any(left) else set()
        first, last = path[0][0], path[-1][1]
        amount = min(left[first], room[last], *(flow[r][e] for (_, r), (e, _) in pairwise(path)))
        left[first] -= amount
        room[last] -= amount
        for step, (e, r) in enumerate(path):
            flow[r][e] += amount
            if step + 1 < len(path):
                flow[r][path[step + 1][0]] -= amount


def _augmenting_path(
    left: list[int], room: list[int], flow: list[dict[int, int]], homes: list[list[int]]
) -> tuple[list[tuple[int, int]], set[int]]:
    """The shortest path (expert, rank), (expert moved off that rank, rank), ... to a rank with room; and the experts reached."""
    queue = deque(e for e, w in enumerate(left) if w)
    came: dict[int, tuple[int, int] | None] = dict.fromkeys(queue)
    visited: dict[int, int] = {}
    while queue:
        e = queue.popleft()
        for r in homes[e]:
            if r in visited:
                continue
            visited[r] = e
            if room[r]:
                path = [(e, r)]
                while (before := came[path[0][0]]) is not None:
                    path.insert(0, before)
                return path, set(came)
            for other, amount in flow[r].items():
                if amount and other not in came:
                    came[other] = (e, r)
                    queue.append(other)
    return [], set(came)
