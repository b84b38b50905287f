"""Soft hierarchy: every expert keeps a replica on its home node, further ones may lie anywhere.

First replicas per node: a linear program bounds the largest node load, a CP-SAT model improves whole
numbers near its solution part by part. Then the replicas of each node go to its ranks.
"""

from collections.abc import Sequence
from math import ceil
from random import Random
from typing import NamedTuple

from models.map_arguments import MapProblem, NodePrices, borne, cost_of_replicas, holds, least_node_cost
from models.strategy import RankContents
from models.units import PPM, ceil_div
from optimizer.encoding.node_level import NodeLevel, price_nodes
from optimizer.encoding.node_level import NodePrices as Relaxed
from optimizer.encoding.node_model import Limits, Replicas, solve_nodes
from optimizer.placing.improve import improve_all
from optimizer.placing.replicate import pack, share_slots

WHOLE = 10**7  # of prices
HOT = 96  # experts that may have further replicas in the linear program, unless slots ask for more
SPAN = 4  # numbers of replicas looked at beyond the fewest
ROUNDS = 40  # of improvement, at most
FREE = 24  # experts whose replicas one round decides
FULL = 0.97  # of the mean rank load: the largest replica that may pack at all
PACKED = 10_000  # ranks of a node within one part in so many of their target
DETERMINISTIC = 0.3  # seconds of CP-SAT per round
NEAR = 9e-4  # of the bound: good enough
MARGIN = 1e-3  # of the limit off home, for the model's rounding
GROWTHS = 12  # of the numbers of replicas, until the prices hold for all


def homes_of_groups(rows: tuple[tuple[int, ...], ...], groups: int, nodes: int) -> tuple[int, ...]:
    """The home node of each expert: groups of consecutive experts on nodes, equally many on each, as balanced as they can be."""
    size = len(rows[0]) // groups
    loads = tuple(tuple(sum(row[g * size : (g + 1) * size]) for g in range(groups)) for row in rows)
    if groups == nodes:
        return tuple(e // size for e in range(len(rows[0])))
    on_node = improve_all(loads, nodes, tuple(ceil_div(sum(row), nodes) for row in loads), 300)
    of_group = {g: n for n, held in enumerate(on_node) for g in held}
    return tuple(of_group[e // size] for e in range(len(rows[0])))


class NodeBound(NamedTuple):
    """A load that some rank carries at least (0: none was shown), the prices that show it, and the program's solution."""

    least: int
    prices: NodePrices
    relaxed: Relaxed


class SoftLayer:
    """One layer's node level under one or several workloads."""

    def __init__(self, problems: tuple[MapProblem, ...], effort: int, seed: int) -> None:
        self.problems, self.effort, self.random = problems, effort, Random(seed)
        first = problems[0]
        assert first.homes is not None
        self.peak = [max(p.loads[e] / sum(p.loads) for p in problems) for e in range(len(first.loads))]
        self.order = sorted(range(len(self.peak)), key=lambda e: (-self.peak[e], e))
        lightest = sorted(self.peak)[: len(self.peak) // 4 + 1]
        packed = max(0.5, 1 - (first.slots - 1) * first.ranks * sum(lightest) / len(lightest))
        self.fills = (max(packed, FULL), packed)
        """largest replica over the mean rank load: the first may not pack well, the second leaves room for light experts beside it"""
        self.options = self._options(first)

    def _options(self, p: MapProblem) -> list[set[int]]:
        """Numbers of replicas worth looking at: few enough that each fits a rank, and some more of hot experts."""
        spare = p.ranks * p.slots - len(p.loads)
        hot = set(self.order[: max(HOT, spare)])
        found = []
        for e, (few, packing) in enumerate(zip(*(self.fewest(fill) for fill in self.fills), strict=True)):
            more = range(few, min(p.most_replicas, few + SPAN - 1) + 1) if e in hot else range(few, few + 1)
            found.append({*more, packing})
        return found

    def fewest(self, fill: float) -> list[int]:
        """Replicas of each expert with which none is larger than `fill` of the mean rank load."""
        p = self.problems[0]
        return [min(p.most_replicas, max(1, ceil(share * p.ranks / fill))) for share in self.peak]

    def level(self, workloads: tuple[int, ...]) -> NodeLevel:
        """The node level under some of the workloads."""
        p = self.problems[0]
        shares = tuple(tuple(w / sum(self.problems[s].loads) for w in self.problems[s].loads) for s in workloads)
        limit = None if p.off_home_ppm is None else p.off_home_ppm / PPM
        assert p.homes is not None
        return NodeLevel(shares, p.homes, p.nodes, p.per_node, p.slots, tuple(tuple(sorted(o)) for o in self.options), limit)

    def theta(self, workload: int) -> float:
        """The linear program's largest node load, as a share; 1 where it has no optimum."""
        relaxed = price_nodes(self.level((workload,)))
        return 1.0 if relaxed is None else relaxed.theta

    def bound(self, workload: int) -> NodeBound | None:
        """What the linear program shows under one workload; None where it has no optimum."""
        problem = self.problems[workload]
        relaxed = price_nodes(self.level((workload,)))
        for _ in range(GROWTHS):
            if relaxed is None or not self._grow(problem, _whole(relaxed, sum(problem.loads)), relaxed):
                break
            relaxed = price_nodes(self.level((workload,)))
        if relaxed is None:
            return None
        prices = _whole(relaxed, sum(problem.loads))
        threshold = int(relaxed.theta * sum(problem.loads) / problem.per_node) + 1
        costs = [least_node_cost(problem, prices, e, threshold) or 0 for e in range(len(problem.loads))]
        spare = sum(costs) - 1 - borne(problem, prices, 0)
        refuted = min(threshold, spare // max(1, problem.per_node * sum(prices.load)))
        proved = refuted > 0 and holds(problem, refuted, prices)
        return NodeBound(refuted + 1 if proved else 0, prices, relaxed)

    def _grow(self, problem: MapProblem, prices: NodePrices, relaxed: Relaxed) -> bool:
        """Numbers of replicas that cost less at these prices than any looked at; whether there are any."""
        threshold = int(relaxed.theta * sum(problem.loads) / problem.per_node)
        grown = False
        for e, options in enumerate(self.options):
            costs = {t: cost_of_replicas(problem, prices, e, t) for t in problem.replicas(e) if problem.loads[e] // t <= threshold}
            known = min((costs[t] for t in options if t in costs), default=None)
            if costs and (known is None or min(costs.values()) < known):
                options.add(min(costs, key=lambda t: (costs[t], t)))
                grown = True
        return grown

    def replicas(self, relaxed: Relaxed, bound: float, fill: float) -> Replicas | None:
        """Whole numbers near the relaxed solution, improved part by part, no replica above `fill`; None where none are found."""
        fewest = self.fewest(fill)
        level = self.level(tuple(range(len(self.problems))))
        if level.off_home is not None:
            level = level._replace(off_home=level.off_home * (1 - MARGIN))
        level = level._replace(
            options=tuple(tuple(t for t in o if t >= few) or (few,) for o, few in zip(level.options, fewest, strict=True))
        )
        whole = [
            all(abs(y - round(y)) < 1e-6 for y in nodes) and sum(nodes) > few - 0.5
            for nodes, few in zip(relaxed.replicas, fewest, strict=True)
        ]
        current: Replicas = tuple(tuple(round(y) for y in nodes) for nodes in relaxed.replicas)
        found: Replicas | None = None
        for round_ in range(min(ROUNDS, self.effort)):
            free = {e for e, is_whole in enumerate(whole) if not is_whole} if found is None else set()
            free |= self._sample(free, 12 * (round_ + 1)) if found is None else self._around_heaviest(level, found)
            kept = {e: nodes for e, nodes in enumerate(current) if e not in free}
            better = solve_nodes(level, kept, found, Limits(bound, NEAR, DETERMINISTIC, round_))
            if better is not None:
                found = current = better
                if _largest(level, found)[0] <= bound * (1 + NEAR):
                    break
        return found

    def _sample(self, apart: set[int], number: int) -> set[int]:
        pool = [e for e in self.order[:HOT] if e not in apart]
        return set(self.random.sample(pool, min(len(pool), number)))

    def _around_heaviest(self, level: NodeLevel, replicas: Replicas) -> set[int]:
        """Hot experts to place anew: half of them from those on the heaviest node."""
        node = _largest(level, replicas)[1]
        there = [e for e in self.order[:HOT] if replicas[e][node]]
        chosen = set(self.random.sample(there, min(len(there), FREE // 2)))
        return chosen | self._sample(chosen, FREE - len(chosen))

    def strict(self) -> Replicas | None:
        """Each node's slots shared out among its own experts; where those are too few, the lightest others fill what is left.

        None where a node has more experts than slots, or more than the limit would be served off home.
        """
        p, found = self.problems[0], [[0] * self.problems[0].nodes for _ in self.peak]
        assert p.homes is not None
        for n in range(p.nodes):
            own, left = [e for e, home in enumerate(p.homes) if home == n], p.per_node * p.slots
            if len(own) > left:
                return None
            peaks = [int(self.peak[e] * (1 << 40)) for e in own]
            for e, copies in zip(own, share_slots(peaks, min(left, p.per_node * len(own)), p.per_node), strict=True):
                found[e][n] = copies
                left -= copies
            for e in (e for e in reversed(self.order) if p.homes[e] != n):
                found[e][n] = min(left, p.per_node)
                left -= found[e][n]
        return tuple(map(tuple, found)) if self._keeps_limit(found) else None

    def _keeps_limit(self, replicas: Sequence[Sequence[int]]) -> bool:
        """Whether no more than the limit is served off home, under every workload."""
        homes, limit = self.problems[0].homes, self.problems[0].off_home_ppm
        assert homes is not None
        counts = [(sum(nodes) - nodes[home], sum(nodes)) for nodes, home in zip(replicas, homes, strict=True)]
        away = (sum(ceil_div(w * a, c) for w, (a, c) in zip(q.loads, counts, strict=True)) for q in self.problems)
        return limit is None or all(a * PPM <= limit * sum(q.loads) for a, q in zip(away, self.problems, strict=True))

    def contents(self, replicas: Replicas, bounds: tuple[int, ...]) -> RankContents:
        """The replicas of every node on its ranks, none twice on one; ranks near `bounds`, one per workload, are light enough."""
        p, found = self.problems[0], list[tuple[int, ...]]()
        counts = [sum(nodes) for nodes in replicas]
        for n in range(p.nodes):
            experts = [e for e, nodes in enumerate(replicas) if nodes[n]]
            copies = [replicas[e][n] for e in experts]
            rows = tuple(tuple(q.loads[e] // counts[e] for e in experts) for q in self.problems)
            means = [sum(w * c for w, c in zip(row, copies, strict=True)) // p.per_node for row in rows]
            targets = tuple(max(mean, bound) for mean, bound in zip(means, bounds, strict=True))
            packed = pack(rows, copies, p.per_node, p.slots, tuple(range(p.per_node)), targets, self.effort, 0, PACKED)
            found += [tuple(experts[i] for i in rank) for rank in packed]
        return tuple(found)


def _whole(relaxed: Relaxed, total: int) -> NodePrices:
    """The duals of shares as whole prices of loads that add up to `total`."""
    return NodePrices(
        kind="nodes",
        load=tuple(max(0, round(x * WHOLE)) for x in relaxed.load),
        slots=tuple(round(x * WHOLE * total) for x in relaxed.slots),
        off_home=max(0, round(relaxed.off_home * WHOLE)),
    )


def _largest(level: NodeLevel, replicas: Replicas) -> tuple[float, int]:
    """The largest node load of any workload, as a share, and its node."""
    return max(
        (sum(share * nodes[n] / sum(nodes) for share, nodes in zip(shares, replicas, strict=True)), n)
        for shares in level.shares
        for n in range(level.nodes)
    )
