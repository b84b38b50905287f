"""Expert maps: placements of every MoE layer under one or several workloads, with the bounds that prove them.

Loads are counted in 1/`GRAIN` of a token, so that equal shares of up to 16 replicas are whole. Values and bounds
are parts per billion of the mean rank load, rounded up.
"""

from collections import Counter
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from models.arguments import Budget, Positive
from models.dispatch import Dispatch, heaviest_load
from models.load_bounds import fixed_bound, home_bound, least_load
from models.map_arguments import MapArgument, MapProblem, refute_map
from models.packing import MOST_EXPERTS, MOST_RANKS, Naturals, Refused
from models.record import Record, StopAtFirst
from models.strategy import RankContents, Ranks
from models.units import PPM, ceil_div

GRAIN = 720_720  # lcm of 1 to 16
BILLION = 10**9
STEPS_OF_BISECTION = 4  # of the closed forms, in the time of one table step


class Setting(Record):
    """`nodes` nodes of equally many consecutive ranks, each of which holds exactly `slots` experts, each once."""

    ranks: Annotated[int, Field(ge=1, le=MOST_RANKS)]
    slots: Annotated[int, Field(ge=1, le=MOST_EXPERTS)]
    nodes: Annotated[int, Field(ge=1, le=MOST_RANKS)] = 1
    dispatch: Dispatch = "equal"

    @model_validator(mode="after")
    def _nodes_are_equal(self) -> Self:
        if self.ranks % self.nodes:
            raise ValueError(f"{self.ranks} ranks on {self.nodes} nodes; give every node equally many")
        return self


class MapFact(Record):
    """Under one workload every placement has a rank that carries `least` (1/GRAIN tokens)."""

    workload: Annotated[int, Field(ge=0, lt=1000)]
    least: Positive
    argument: MapArgument


class MapLayer(Record):
    """One layer: its loads under each workload [workload][expert], a placement, and what it is worth."""

    layer: Annotated[int, Field(ge=0, lt=100_000)]
    loads: Annotated[tuple[Annotated[Naturals, Field(max_length=MOST_EXPERTS)], ...], StopAtFirst(), Field(min_length=1, max_length=1000)]
    fixed: Annotated[Naturals, Field(max_length=MOST_EXPERTS)] | None = None
    """replicas of each expert, where they are given"""
    homes: Annotated[Naturals, Field(max_length=MOST_EXPERTS)] | None = None
    """home node of each expert: a replica must lie there"""
    off_home_ppm: Annotated[int, Field(ge=0, le=PPM)] | None = None
    """with homes: largest share of any workload's load that replicas off the home node serve, all replicas sharing equally"""
    placement: Ranks
    values: Naturals
    """of each workload: the heaviest rank under this placement, parts per billion of the mean"""
    bounds: Naturals
    """of each workload: no placement is below it"""
    facts: Annotated[tuple[MapFact, ...], StopAtFirst(), Field(max_length=1000)] = ()


class ExpertMap(Record):
    """Placements of layers, none of which any other placement undercuts by more than its gap."""

    kind: Literal["expert_map"]
    setting: Setting
    layers: Annotated[tuple[MapLayer, ...], StopAtFirst(), Field(min_length=1, max_length=2000)]


class Loads(NamedTuple):
    """Loads of one workload in 1/GRAIN tokens."""

    grains: tuple[int, ...]
    ranks: int

    def share(self, grains: int) -> int:
        """A rank's load in parts per billion of the mean, rounded up."""
        return ceil_div(BILLION * grains * self.ranks, sum(self.grains))


def in_grains(loads: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens in 1/GRAIN."""
    return tuple(w * GRAIN for w in loads)


def map_problem(setting: Setting, layer: MapLayer, workload: int) -> MapProblem:
    """What the arguments about one workload speak of."""
    return MapProblem(
        in_grains(layer.loads[workload]), setting.ranks, setting.nodes, setting.slots, layer.fixed, layer.homes, layer.off_home_ppm
    )


def closed_bound(setting: Setting, problem: MapProblem) -> int:
    """The largest closed form; that of given replicas only where they share equally, the others whatever the dispatch rule."""
    bound = least_load(problem.loads, problem.ranks, problem.slots)
    if problem.homes is not None and problem.off_home_ppm == 0:
        bound = max(bound, home_bound(problem.loads, problem.homes, problem.ranks, problem.nodes, problem.slots))
    if problem.fixed is not None and setting.dispatch == "equal":
        bound = max(bound, fixed_bound(problem.loads, problem.fixed, problem.ranks))
    return bound


def value_of_map(setting: Setting, loads: tuple[int, ...], contents: RankContents) -> int:
    """The heaviest rank, parts per billion of the mean."""
    grains = in_grains(loads)
    return Loads(grains, setting.ranks).share(heaviest_load(contents, grains, setting.dispatch, setting.nodes))


def off_home_grains(setting: Setting, loads: tuple[int, ...], homes: tuple[int, ...], contents: RankContents) -> int:
    """Load that replicas off their expert's home node serve, 1/GRAIN tokens, rounded up once per expert."""
    per_node = setting.ranks // setting.nodes
    count = Counter(e for rank in contents for e in rank)
    away = Counter(e for r, rank in enumerate(contents) for e in rank if homes[e] != r // per_node)
    return sum(ceil_div(loads[e] * GRAIN * n, count[e]) for e, n in away.items())


def examine(setting: Setting, layer: MapLayer, budget: Budget, where: str) -> None:
    """The placement keeps the setting and has its values; each bound follows from a closed form or a fact. Raises Refused."""
    experts = len(layer.loads[0])
    if any(len(w) != experts or not sum(w) for w in layer.loads) or len({len(layer.values), len(layer.bounds), len(layer.loads)}) > 1:
        raise Refused("needs loads, values and bounds of every workload, all of as many experts, and tokens in each", where)
    _is_placement(setting, layer, experts, where)
    budget.take(len(layer.loads) * setting.ranks * setting.slots * (experts if setting.dispatch == "free" else 1))
    proved = _facts(setting, layer, budget, where)
    for s, (loads, value, bound) in enumerate(zip(layer.loads, layer.values, layer.bounds, strict=True)):
        found = value_of_map(setting, loads, layer.placement)
        if found != value:
            raise Refused(f"the placement has value {found}", f"{where}.values.{s}")
        problem = map_problem(setting, layer, s)
        budget.take(experts * max(problem.loads).bit_length() // STEPS_OF_BISECTION)
        shown = Loads(problem.loads, setting.ranks).share(max(closed_bound(setting, problem), proved.get(s, 0)))
        if bound > shown:
            raise Refused(f"closed forms and facts give {shown} only", f"{where}.bounds.{s}")


def _facts(setting: Setting, layer: MapLayer, budget: Budget, where: str) -> dict[int, int]:
    """Workload -> the largest load that the facts prove."""
    found: dict[int, int] = {}
    for n, fact in enumerate(layer.facts):
        if fact.workload >= len(layer.loads):
            raise Refused(f"there is no workload {fact.workload}", f"{where}.facts.{n}.workload")
        if setting.dispatch != "equal":
            raise Refused("arguments are about replicas that share equally", f"{where}.facts.{n}")
        try:
            refute_map(map_problem(setting, layer, fact.workload), fact.least - 1, fact.argument, budget)
        except Refused as refusal:
            raise Refused(refusal.reason, f"{where}.facts.{n}.{refusal.where or 'argument'}") from refusal
        found[fact.workload] = max(fact.least, found.get(fact.workload, 0))
    return found


def _is_placement(setting: Setting, layer: MapLayer, experts: int, where: str) -> None:
    """Every slot is filled, every expert is there, none twice on a rank; given replicas, homes and their limit are kept."""
    contents, at = layer.placement, f"{where}.placement"
    if len(contents) != setting.ranks or any(len(rank) != setting.slots or len(set(rank)) != len(rank) for rank in contents):
        raise Refused(f"needs {setting.ranks} ranks of {setting.slots} different experts each", at)
    count = Counter(e for rank in contents for e in rank)
    if sorted(count) != list(range(experts)):
        raise Refused(f"needs each of {experts} experts", at)
    if layer.fixed is not None and [count[e] for e in range(experts)] != list(layer.fixed):
        raise Refused("does not have the replicas given", at)
    if layer.homes is None:
        if layer.off_home_ppm is not None:
            raise Refused("a limit off home needs homes", f"{where}.off_home_ppm")
        return
    per_node = setting.ranks // setting.nodes
    at_home = {e for r, rank in enumerate(contents) for e in rank if layer.homes[e : e + 1] == (r // per_node,)}
    if len(layer.homes) != experts or len(at_home) != experts:
        raise Refused("needs a replica of each expert on its home node", at)
    if layer.off_home_ppm is not None:
        for s, loads in enumerate(layer.loads):
            away = off_home_grains(setting, loads, layer.homes, contents)
            if away * PPM > layer.off_home_ppm * sum(loads) * GRAIN:
                raise Refused(f"{ceil_div(away, GRAIN)} tokens of workload {s} are served off home, above the limit", at)
