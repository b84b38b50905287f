"""Two slots per rank: replica counts by branch and bound over a linear program, each refuted threshold with its argument.

With counts given, the i-th largest replica belongs with the i-th smallest; so the counts decide everything.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.map_arguments import Counts, MapProblem, Steps, Values, holds
from models.strategy import RankContents
from optimizer.encoding.pairing import Pairing, Relaxed
from optimizer.placing.replicate import share_slots

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Argued = Steps | Counts
Bounds = dict[int, tuple[int, int]]

FINENESS = 3e-4  # of the bisection by the linear program alone
NEAR = 1e-3  # gap from which no better counts are sought
CLOSE = 2.5e-3  # gap from which no better bound is sought
LARGE = 9e-3  # gap that is attacked once more, in smaller steps
USUAL = 5e-3  # gap for which the effort is meant; larger ones get more,
MOST_TIMES = 4  # at most so many times
STEP = 2e-3  # above the bound, of a threshold that is branched on
WIDTH = 4  # of the largest pairs, whose experts may take a slot
KICKS = (2, 3, 4, 6)  # slots given away at random before the next exchanges
TRIED = 8  # experts whose branches are both looked at before one is branched on
SPAN = 6  # replica counts looked at beyond the fewest, of experts that are not small
SMALL = 1 / 6  # of the threshold
ROUNDS = 30  # of new columns, at one node
WHOLE = 10**6  # of dual values
TOLERANCE = 1e-6


class Paired(NamedTuple):
    """Contents, and a bound with the argument that refutes one less (None: a closed form)."""

    contents: RankContents | None
    bound: int
    argument: Argued | None


def place_pairs(problem: MapProblem, bound: int, effort: int, seed: int) -> Paired:
    """Good contents, and a bound no worse than `bound`, within about `effort` exchanges and nodes. Deterministic."""
    return _Search(problem, bound, effort, seed).run()


class _Search:
    """The gap between the best counts and the best bound."""

    def __init__(self, problem: MapProblem, bound: int, effort: int, seed: int) -> None:
        self.problem, self.bound, self.effort, self.random = problem, bound, effort, Random(seed)
        self.argument: Argued | None = None
        self.loads = np.array([float(w) for w in problem.loads])
        self.counts = exchange(self.loads, np.array(share_slots(problem.loads, 2 * problem.ranks, problem.most_replicas)))
        self.extra: list[set[int]] = [set() for _ in problem.loads]

    @property
    def value(self) -> float:
        """The largest pair of the best counts."""
        return largest_pair(self.loads, self.counts)

    def run(self) -> Paired:
        """Bisect by the linear program alone; exchange slots; then prove a little above the bound, as far as the effort goes."""
        high = int(self.value)
        while high > self.bound * (1 + FINENESS):
            middle = (self.bound + high) // 2
            if not self._prove(middle, 1).refuted:
                high = middle
        fruitless = 0
        while fruitless < self.effort and self.value > self.bound * (1 + NEAR):
            fruitless = 0 if self._kick() else fruitless + 1
        gap = self.value / self.bound - 1
        self._raise(STEP, int(self.effort * min(MOST_TIMES, gap / USUAL)))
        if self.value > self.bound * (1 + LARGE):
            self._raise(STEP / 4, self.effort * MOST_TIMES)
        return Paired(fold(self.problem.loads, self.counts.tolist(), self.problem.ranks), self.bound, self.argument)

    def _raise(self, step: float, left: int) -> None:
        """Prove thresholds a step above the bound, as far as so many nodes go; the step is halved where a tree fails."""
        while left > 0 and step > NEAR / 4 and self.value > self.bound * (1 + CLOSE):
            tree = self._prove(min(int(self.bound * (1 + step)), int(self.value) - 1), left)
            left -= tree.used
            step = step if tree.refuted else step / 2

    def _kick(self) -> bool:
        """A few slots at random from experts that have more to heavy ones, then exchanges; kept where the largest pair is less."""
        counts = self.counts.copy()
        heavy = np.argsort(-self.loads, kind="stable")[: len(counts) // 2].tolist()
        for _ in range(self.random.choice(KICKS)):
            counts[self.random.choice(np.flatnonzero(counts > 1).tolist())] -= 1
            counts[self.random.choice(heavy)] += 1
        counts = exchange(self.loads, counts)
        better = largest_pair(self.loads, counts) < self.value and int(counts.max()) <= self.problem.most_replicas
        self.counts = counts if better else self.counts
        return better

    def offer(self, solved: Relaxed) -> None:
        """The likeliest counts of a solution, filled up and exchanged; kept where the largest pair is less."""
        counts = np.array([max(solved.uses[e], key=lambda use: use[1])[0] for e in range(len(self.loads))])
        slots = 2 * self.problem.ranks
        if int(counts.sum()) > slots:
            return
        while int(counts.sum()) < slots:
            counts[int((self.loads / counts).argmin())] += 1
        counts = exchange(self.loads, counts)
        if largest_pair(self.loads, counts) < self.value and int(counts.max()) <= self.problem.most_replicas:
            self.counts = counts

    def _prove(self, threshold: int, nodes: int) -> "_Tree":
        """A tree that may refute a threshold, which raises the bound."""
        tree = _Tree(self, threshold, nodes)
        argument = tree.explore({})
        if argument is not None and holds(self.problem, threshold, argument):
            self.bound, self.argument, tree.refuted = threshold + 1, argument, True
        return tree

    def options(self, threshold: int) -> list[set[int]]:
        """Replica counts worth a column from the start."""
        most, found = self.problem.most_replicas, []
        for w, extra in zip(self.loads.tolist(), self.extra, strict=True):
            fewest = max(1, int(np.ceil(w / threshold)))
            span = range(fewest, fewest + SPAN) if w > SMALL * threshold else range(1, 3)
            found.append({min(c, most) for c in span} | {c for c in extra if c >= fewest})
        return found


class _Tree:
    """Branch and bound on replica counts at one threshold."""

    def __init__(self, search: _Search, threshold: int, nodes: int) -> None:
        self.search, self.threshold, self.nodes, self.used = search, threshold, nodes, 0
        self.slots = search.problem.ranks * 2
        self.refuted = False
        self.program = Pairing((search.loads / threshold).tolist(), search.options(threshold))

    def explore(self, bounds: Bounds) -> Argued | None:
        """An argument for this part of the tree; None where the nodes run out or the program says that the threshold may hold."""
        self.used += 1
        solved = self.program.solve(bounds) if self.used <= self.nodes else None
        for _ in range(ROUNDS):
            if solved is None or solved.slots <= self.slots + TOLERANCE:
                break
            steps = steps_of(self.search.problem.loads, self.threshold, solved)
            supply, cheapest = _supply(self.search.problem, self.threshold, steps, bounds)
            if supply > self.slots * WHOLE:
                return steps
            if not self._grow(cheapest):
                return None
            solved = self.program.solve(bounds)
        if solved is not None:
            self.search.offer(solved)
        branching = None if solved is None or self.nodes == 1 else self._best_branching(solved, bounds)
        if branching is None:
            return None
        e, most = branching
        low, high = bounds.get(e, (1, self.search.problem.most_replicas))
        fewer = self.explore({**bounds, e: (low, most)})
        more = None if fewer is None else self.explore({**bounds, e: (most + 1, high)})
        return None if fewer is None or more is None else Counts(kind="counts", expert=e, most=most, fewer=fewer, more=more)

    def _grow(self, cheapest: dict[int, int]) -> bool:
        """Columns for numbers of replicas that have none; whether there were any."""
        new = [(e, c) for e, c in cheapest.items() if (e, c) not in self.program.columns]
        for e, c in new:
            self.program.add(e, c)
            self.search.extra[e].add(c)
        return bool(new)

    def _best_branching(self, solved: Relaxed, bounds: Bounds) -> tuple[int, int] | None:
        """The expert, and the number to cut above, whose branches both raise the slots most; None where all numbers are decided."""
        best: tuple[float, int, int] | None = None
        for _, e, most in sorted(_undecided(solved, self.search.loads))[:TRIED]:
            low, high = bounds.get(e, (1, self.search.problem.most_replicas))
            sides = [self.program.solve({**bounds, e: side}) for side in ((low, most), (most + 1, high))]
            rises = [1.0 if side is None else min(1.0, side.slots - solved.slots) for side in sides]
            found = (-(rises[0] + TOLERANCE) * (rises[1] + TOLERANCE), e, most)
            best = found if best is None or found < best else best
        return None if best is None else best[1:]


def _undecided(solved: Relaxed, loads: Floats) -> Iterator[tuple[float, int, int]]:
    """(minus the load that is undecided, expert, number of replicas to cut above)."""
    for e, uses in solved.uses.items():
        if max(share for _, share in uses) < 1 - TOLERANCE:
            mean = sum(c * share for c, share in uses)
            most = min(int(np.floor(mean)), max(c for c, _ in uses) - 1)
            yield -min(mean - most, most + 1 - mean) * float(loads[e]), e, most


def steps_of(loads: tuple[int, ...], threshold: int, solved: Relaxed) -> Steps:
    """Worth of a size: 1, and more by the prefix rows that a large size enters, less by those that a small one serves."""
    duals = [max(0, round(dual * WHOLE)) for *_, dual in solved.rises]
    rises: dict[int, int] = {}
    total = 0
    for (e, c, large, _), here, after in zip(solved.rises, duals, [*duals[1:], 0], strict=True):
        rise = here - after
        if rise > 0:
            at = loads[e] // c if large else threshold - loads[e] // c
            for key in (at, threshold - at + 1):
                rises[key] = rises.get(key, 0) + rise
            total += rise
    return Steps(kind="steps", base=WHOLE - total, steps=tuple(sorted(rises.items())))


def _supply(problem: MapProblem, threshold: int, steps: Steps, bounds: Bounds) -> tuple[int, dict[int, int]]:
    """What all experts are worth at least, and the number of replicas at which each is."""
    values, supply, cheapest = Values(steps), 0, {}
    for e, w in enumerate(problem.loads):
        low, high = bounds.get(e, (1, problem.most_replicas))
        fewest = max(low, -(-w // (threshold + 1)))
        worth = [(c * values.of(w // c), c) for c in range(fewest, high + 1) if w // c <= threshold]
        if worth:
            least, c = min(worth)
            supply += least
            cheapest[e] = c
    return supply, cheapest


def largest_pair(loads: Floats, counts: Integers) -> float:
    """The largest load of a rank when the i-th largest replica is paired with the i-th smallest."""
    sizes = np.sort(np.repeat(loads / counts, counts))
    return float((sizes + sizes[::-1]).max())


def exchange(loads: Floats, counts: Integers) -> Integers:
    """A slot given to an expert of one of the largest pairs, in the way that makes the largest pair least, as long as one does."""
    best, half = largest_pair(loads, counts), int(counts.sum()) // 2
    while True:
        owner = np.repeat(np.arange(len(loads)), counts)
        sizes = (loads / counts)[owner]
        order = np.argsort(sizes, kind="stable")
        sums = sizes[order] + sizes[order[::-1]]
        top = np.argsort(-sums[half:], kind="stable")[:WIDTH] + half
        takers = np.unique(owner[order[np.concatenate([top, 2 * half - 1 - top])]])
        givers = np.flatnonzero(counts > 1)
        give, take = (ends.ravel() for ends in np.meshgrid(givers, takers, indexing="ij"))
        give, take = give[give != take], take[give != take]
        if not len(give):
            return counts
        pairs = _pairs_after(loads, counts, give, take)
        change = int(pairs.argmin())
        if pairs[change] >= best * (1 - 1e-9):
            return counts
        best, counts = float(pairs[change]), counts.copy()
        counts[give[change]] -= 1
        counts[take[change]] += 1


def _pairs_after(loads: Floats, counts: Integers, give: Integers, take: Integers) -> Floats:
    """The largest pair after each change: a slot of expert give[i] goes to expert take[i]."""
    owner, first = np.repeat(np.arange(len(loads)), counts), np.concatenate([[0], np.cumsum(counts)[:-1]])
    less, more = loads[give] / (counts[give] - 1), loads[take] / (counts[take] + 1)
    sizes = np.tile((loads / counts)[owner], (len(give), 1))  # [change, replica]
    sizes = np.where(owner == give[:, None], less[:, None], sizes)
    sizes = np.where(owner == take[:, None], more[:, None], sizes)
    sizes[np.arange(len(give)), first[give]] = more
    sizes.sort(axis=1)
    half = sizes.shape[1] // 2
    largest: Floats = (sizes[:, :half] + sizes[:, : half - 1 : -1]).max(axis=1)
    return largest


def fold(loads: Sequence[int], counts: Sequence[int], ranks: int) -> RankContents | None:
    """The i-th largest replica with the i-th smallest; two of one expert exchange partners with the pair where it costs least."""
    order = sorted((e for e, c in enumerate(counts) for _ in range(c)), key=lambda e: (-loads[e] / counts[e], e))
    pairs = [(order[i], order[-1 - i]) for i in range(ranks)]
    size = [w / c for w, c in zip(loads, counts, strict=True)]
    for i, (a, b) in enumerate(pairs):
        if a == b:
            others = [j for j, (x, y) in enumerate(pairs) if a not in (x, y)]
            if not others:
                return None
            j = min(others, key=lambda j: max(size[a] + size[pairs[j][1]], size[pairs[j][0]] + size[b]))
            x, y = pairs[j]
            pairs[i], pairs[j] = (a, y), (x, b)
    return tuple((min(p), max(p)) for p in pairs)
