"""Arguments that no placement with redundant slots keeps a threshold: steps (a dual feasible function), counts, nodes.

A *map problem* has `ranks` ranks of `slots` slots, all filled, no expert twice on a rank, `nodes` equal nodes of consecutive ranks; the
replicas of an expert share its load equally. `refute_map` accepts an argument or raises `Refused`. Integers only, no search. The
grammar and the soundness of each kind: `docs/certificate.md`.
"""

from bisect import bisect_right
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from models.arguments import Argument, Budget, Signed, refute
from models.packing import LARGEST, MOST_DIGITS, Natural, Naturals, Problem, RankClass, Refused
from models.record import Record, StopAtFirst
from models.units import PPM, ceil_div

MOST_STEP_SLOTS = 3
MOST_COUNT_LEVELS = 40


class Steps(Record):
    """A value of a replica that depends on its size alone: `base`, and `rise` more from each threshold on."""

    kind: Literal["steps"]
    base: Signed
    steps: Annotated[tuple[tuple[Natural, Natural], ...], StopAtFirst()]
    """(threshold, rise), thresholds increasing"""


class Counts(Record):
    """An expert has at most `most` replicas, or it has more."""

    kind: Literal["counts"]
    expert: Natural
    most: Natural
    fewer: Annotated["Steps | Counts", Field(discriminator="kind")]
    more: Annotated["Steps | Counts", Field(discriminator="kind")]


class NodePrices(Record):
    """Prices of a token on each node, of a slot of each node, and of a token served off its expert's home node."""

    kind: Literal["nodes"]
    load: Naturals
    slots: Annotated[tuple[Signed, ...], StopAtFirst()]
    off_home: Natural


Counts.model_rebuild()
MapArgument = Annotated[Steps | Counts | NodePrices | Argument, Field(discriminator="kind")]


class MapProblem(NamedTuple):
    """One layer: what to place, and where."""

    loads: tuple[int, ...]
    ranks: int
    nodes: int
    slots: int
    fixed: tuple[int, ...] | None = None
    """replicas of each expert, where they are given"""
    homes: tuple[int, ...] | None = None
    """the node of each expert on which it needs a replica"""
    off_home_ppm: int | None = None
    """largest share of the load that replicas off the home node may serve"""

    @property
    def per_node(self) -> int:
        return self.ranks // self.nodes

    @property
    def most_replicas(self) -> int:
        """Of one expert: one on each rank, as far as the others leave slots."""
        return min(self.ranks, self.ranks * self.slots - len(self.loads) + 1)

    def replicas(self, e: int) -> range:
        """How many replicas an expert may have."""
        return range(1, self.most_replicas + 1) if self.fixed is None else range(self.fixed[e], self.fixed[e] + 1)


def refute_map(problem: MapProblem, threshold: int, argument: MapArgument, budget: Budget) -> None:
    """Accept that in every placement some rank carries more than `threshold`, or raise Refused."""
    match argument:
        case Steps() | Counts():
            _refute_by_steps(problem, threshold, argument, [problem.replicas(e) for e in range(len(problem.loads))], budget, "argument", 0)
        case NodePrices():
            _refute_by_nodes(problem, threshold, argument, budget)
        case _:
            if problem.ranks * problem.slots != len(problem.loads):
                raise Refused(f"an argument of kind {argument.kind} needs as many slots as experts", "argument.kind")
            if max(problem.loads) >= LARGEST:
                raise Refused(f"loads above {MOST_DIGITS} digits in 1/G tokens", "argument")
            flat = Problem(loads=problem.loads, classes=(RankClass(ranks=problem.ranks, slots=problem.slots),))
            refute(flat, threshold, argument, budget)


def holds(problem: MapProblem, threshold: int, argument: MapArgument) -> bool:
    """Whether `refute_map` accepts an argument within a whole budget."""
    try:
        refute_map(problem, threshold, argument, Budget())
    except Refused:
        return False
    return True


def _refute_by_steps(
    problem: MapProblem, threshold: int, argument: Steps | Counts, allowed: list[range], budget: Budget, where: str, level: int
) -> None:
    """Counts: both cases. Steps: all experts are worth more than all ranks can hold."""
    if isinstance(argument, Counts):
        e = argument.expert
        if e >= len(allowed) or level >= MOST_COUNT_LEVELS:
            raise Refused(f"expert {e} of {len(allowed)}, level {level} of at most {MOST_COUNT_LEVELS}", where)
        budget.take(len(allowed))
        counts = allowed[e]
        for case, part, cut in (
            ("fewer", argument.fewer, range(counts.start, min(counts.stop, argument.most + 1))),
            ("more", argument.more, range(max(counts.start, argument.most + 1), counts.stop)),
        ):
            if cut:
                narrowed = [*allowed[:e], cut, *allowed[e + 1 :]]
                _refute_by_steps(problem, threshold, part, narrowed, budget, f"{where}.{case}", level + 1)
        return
    values = Values(argument)
    budget.take(sum(map(len, allowed)) + len(argument.steps) ** max(1, problem.slots - 1))
    worth = values.dearest(problem.slots, threshold)
    if worth is None:
        raise Refused(f"steps are for up to {MOST_STEP_SLOTS} slots per rank, thresholds increasing", where)
    supply = 0
    for w, counts in zip(problem.loads, allowed, strict=True):
        least = min((c * values.of(w // c) for c in counts if w // c <= threshold), default=None)
        if least is None:
            return  # with any of these counts one replica alone is too large
        supply += least
    if supply <= problem.ranks * worth:
        raise Refused(f"the experts are worth {supply}, the ranks hold {problem.ranks * worth}: no contradiction", where)


class Values:
    """The step function of a `Steps` argument."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.thresholds = [0, *(t for t, _ in steps.steps)]
        self.totals = [steps.base]
        for _, rise in steps.steps:
            self.totals.append(self.totals[-1] + rise)

    @cached_property
    def increasing(self) -> bool:
        return all(a <= b for a, b in zip(self.thresholds, self.thresholds[1:], strict=False))

    def of(self, size: int) -> int:
        """Value of a replica of `size`, rounded down: thresholds are whole."""
        return self.totals[bisect_right(self.thresholds, size) - 1]

    def dearest(self, slots: int, room: int) -> int | None:
        """The most that `slots` replicas of at most `room` in all are worth; None where it cannot be told.

        The value rises at thresholds only, so sizes at thresholds suffice; all slots are filled.
        """
        if not self.increasing or slots > MOST_STEP_SLOTS:
            return None
        if slots == 1:
            return self.of(room)
        within = [k for k, t in enumerate(self.thresholds) if t <= room]
        if slots == 2:
            return max(self.totals[k] + self.of(room - self.thresholds[k]) for k in within)
        return max(
            self.totals[k] + self.totals[j] + self.of(room - self.thresholds[k] - self.thresholds[j])
            for k in within
            for j in within[: k + 1]
            if self.thresholds[k] + self.thresholds[j] <= room
        )


def _refute_by_nodes(problem: MapProblem, threshold: int, prices: NodePrices, budget: Budget) -> None:
    """Every expert at its cheapest costs more than all nodes may bear at the threshold."""
    homes = problem.homes
    if homes is None or len(prices.load) != problem.nodes or len(prices.slots) != problem.nodes:
        raise Refused(f"needs homes, and a price of load and of slots for each of {problem.nodes} nodes", "argument")
    if prices.off_home and problem.off_home_ppm is None:
        raise Refused("load off home has a price only where it is limited", "argument.off_home")
    budget.take(len(problem.loads) * sum(problem.nodes for _ in range(problem.most_replicas)))
    costs = [least_node_cost(problem, prices, e, threshold) for e in range(len(problem.loads))]
    if None in costs:
        return  # one replica of that expert alone is too large
    supply = sum(c for c in costs if c is not None)
    demand = borne(problem, prices, threshold)
    if supply <= demand:
        raise Refused(f"the experts cost at least {supply}, the nodes may bear {demand}: no contradiction", "argument")


def borne(problem: MapProblem, prices: NodePrices, threshold: int) -> int:
    """What all nodes may cost at most: their load at the threshold, their slots, and what may be served off home."""
    limit = ceil_div(sum(problem.loads) * (problem.off_home_ppm or 0), PPM)
    return problem.per_node * (threshold * sum(prices.load) + problem.slots * sum(prices.slots)) + limit * prices.off_home


def least_node_cost(problem: MapProblem, prices: NodePrices, e: int, threshold: int) -> int | None:
    """The cheapest number of replicas that keeps each within the threshold; None where none does."""
    fits = (t for t in problem.replicas(e) if problem.loads[e] // t <= threshold)
    return min((cost_of_replicas(problem, prices, e, t) for t in fits), default=None)


def cost_of_replicas(problem: MapProblem, prices: NodePrices, e: int, t: int) -> int:
    """Least of sum_n t_n * (w / t * (load_n + off_home where n is not home) + slots_n) over t = sum t_n replicas, one at least at home.

    The home replica is given and the others take the cheapest nodes, at most `per_node` on each. Rounded down.
    """
    assert problem.homes is not None
    w, home = problem.loads[e], problem.homes[e]
    each = [
        w * (load + (prices.off_home if n != home else 0)) + t * slot  # t times the cost of one replica
        for n, (load, slot) in enumerate(zip(prices.load, prices.slots, strict=True))
    ]
    total, left = each[home], t - 1
    for n in sorted(range(len(each)), key=lambda n: (each[n], n)):
        taken = min(left, problem.per_node - (n == home))
        total += taken * each[n]
        left -= taken
        if not left:
            break
    return total // t
