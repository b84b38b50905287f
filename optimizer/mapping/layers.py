"""Expert maps layer by layer: a placement, the best bound found, and what proves it. Layers are solved in parallel."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from models.arguments import Budget
from models.errors import InputError, VerificationError
from models.expert_map import Loads, MapFact, MapLayer, Setting, closed_bound, examine, in_grains, value_of_map
from models.map_arguments import MapProblem
from models.packing import Refused
from models.strategy import RankContents
from optimizer.mapping.parallel import Haste, run_tasks
from optimizer.placing.replicate import FINE, pack, share_slots

NEAR = 1_000  # a gap of one part in NEAR is small enough
LEAST = 1  # effort: heaviest first, and nothing more
PARALLEL = 20_000  # slots of all layers and workloads from which further processes pay,
DEEPER = 20  # those of layers with homes or two slots per rank taken so many times
MOST_VARIABLES = 400  # experts * ranks of a layer that CP-SAT looks at as a whole where the gap is not small,
FEW_VARIABLES = 60  # and where there is any gap
DETERMINISTIC = 0.5  # seconds that it may take
OF_PAIRS = 50  # re-splits that take as long as a node of a tree
OF_SEVERAL = 5  # re-splits of several workloads take so much longer

Matrix = Sequence[Sequence[int]]
"""[layer][expert]"""


class PlaceOptions(NamedTuple):
    """How hard to try."""

    effort: int = 3_000
    """re-splits per layer, at most"""
    seed: int = 0
    workers: int | None = None
    """processes; None: one per core"""
    haste: Haste | None = None
    """when to end early; a layer begun then gets the least effort"""

    def expired(self) -> bool:
        """Whether an early end is due, so that the result may depend on the machine's speed."""
        return self.haste is not None and self.haste.due()


class Task(NamedTuple):
    """One layer to place."""

    layer: int
    loads: tuple[tuple[int, ...], ...]
    """[workload][expert]"""
    setting: Setting
    options: PlaceOptions
    fixed: tuple[int, ...] | None = None
    homes: tuple[int, ...] | None = None
    off_home_ppm: int | None = None
    weights: tuple[int, ...] | None = None
    """of the workloads, where their weighted mean is to be small; None: the worst of them"""

    def problem(self, workload: int) -> MapProblem:
        """The problem under one workload."""
        s = self.setting
        return MapProblem(in_grains(self.loads[workload]), s.ranks, s.nodes, s.slots, self.fixed, self.homes, self.off_home_ppm)

    def objective(self, values: Sequence[int]) -> int:
        """What is made small, from the value under each workload."""
        return max(values) if self.weights is None else sum(w * v for w, v in zip(self.weights, values, strict=True))


class PlacedLayer(NamedTuple):
    """A layer with its placement; value and bound of the worst workload, parts per billion of the mean rank load."""

    record: MapLayer

    @property
    def contents(self) -> RankContents:
        return self.record.placement

    @property
    def value(self) -> int:
        return max(self.record.values)

    @property
    def bound(self) -> int:
        """No placement has a smaller largest value."""
        return max(self.record.bounds)


def place_layers(
    workloads: Sequence[Matrix], setting: Setting, options: PlaceOptions, progress: Callable[[str], None]
) -> tuple[PlacedLayer | None, ...]:
    """Every layer of one or several load matrices; None for a layer without tokens. Each is confirmed by the checker's own function."""
    experts, layers = len(workloads[0][0]), range(len(workloads[0]))
    if not setting.ranks * setting.slots >= experts >= setting.slots:
        raise InputError(
            f"{setting.ranks} ranks of {setting.slots} slots cannot hold {experts} experts, none twice on one; give other --slots"
        )
    if any(any(w[n]) != any(workloads[0][n]) for w in workloads for n in layers):
        raise InputError("a layer has tokens in some workloads only; give the same layers in all")
    tasks = [Task(n, tuple(tuple(w[n]) for w in workloads), setting, options) for n in layers if any(workloads[0][n])]
    placed = {p.record.layer: p for p in place_tasks(tasks, options, progress)}
    return tuple(placed.get(n) for n in layers)


def place_tasks(tasks: Sequence[Task], options: PlaceOptions, progress: Callable[[str], None]) -> list[PlacedLayer]:
    """The layers in the order of the tasks, whatever the number of processes."""
    first: dict[Task, Task] = {}  # layers that ask the same are placed once
    for task in tasks:
        first.setdefault(task._replace(layer=0), task)
    different = list(first.values())
    size = sum(len(t.loads) * t.setting.ranks * t.setting.slots * (DEEPER if t.homes or t.setting.slots == 2 else 1) for t in different)
    workers = (options.workers or os.cpu_count() or 1) if size >= PARALLEL else 1
    placed = run_tasks(place_layer, different, workers, options.haste, lambda layer, done: _report(layer, done, different, progress))
    of_task = dict(zip(first, placed, strict=True))
    return [PlacedLayer(of_task[t._replace(layer=0)].record.model_copy(update={"layer": t.layer})) for t in tasks]


def _report(placed: PlacedLayer, done: int, tasks: Sequence[Task], progress: Callable[[str], None]) -> None:
    gap = 100 * (placed.value - placed.bound) / placed.bound
    progress(f"layer {placed.record.layer}: {placed.value / 1e9:.4f} of the mean, gap {gap:.3f} % ({done + 1} of {len(tasks)})")


def place_layer(task: Task) -> PlacedLayer:
    """One layer. Raises VerificationError where the checker's function refuses what was found."""
    if task.options.expired():
        task = task._replace(options=task.options._replace(effort=LEAST))
    problems = tuple(task.problem(s) for s in range(len(task.loads)))
    facts: list[MapFact] = []
    candidates: list[RankContents] = []
    if task.homes is not None:
        candidates += _at_home(task, problems, facts)
    else:
        candidates += _anywhere(task, problems)
        if (
            task.options.effort > LEAST
            and len(problems) == 1
            and task.setting.slots == 2
            and task.setting.dispatch == "equal"
            and task.fixed is None
        ):
            candidates += _in_pairs(task, problems[0], candidates, facts)
    records = [_record(task, c, tuple(facts)) for c in candidates]
    if not records:
        raise InputError(f"layer {task.layer}: no placement keeps homes and limit; give more --slots, or a larger --off-home")
    best = min(records, key=lambda r: task.objective(r.values))
    if task.options.effort > LEAST and _calls_for_more(task, best):
        from optimizer.encoding.map_model import MapModel

        better = MapModel(problems[0], task.loads, task.weights, best.bounds).solve(best.placement, DETERMINISTIC, task.options.seed)
        if better is not None:
            records.append(_record(task, better, tuple(facts)))
            best = min(records, key=lambda r: task.objective(r.values))
    _confirm(task.setting, best)
    return PlacedLayer(best)


def _calls_for_more(task: Task, record: MapLayer) -> bool:
    """Whether there is a gap, in a layer so small that CP-SAT can look at it as a whole."""
    size, gap = len(task.loads[0]) * task.setting.ranks, max(v - b for v, b in zip(record.values, record.bounds, strict=True))
    small = size <= FEW_VARIABLES or (size <= MOST_VARIABLES and gap * NEAR > max(record.bounds))
    return task.setting.dispatch == "equal" and gap > 0 and small


def record_of(setting: Setting, like: MapLayer, contents: RankContents) -> MapLayer:
    """The same layer with another placement. Raises VerificationError where the checker's function refuses it."""
    values = tuple(value_of_map(setting, loads, contents) for loads in like.loads)
    record = like.model_copy(update={"placement": contents, "values": values})
    _confirm(setting, record)
    return record


def _confirm(setting: Setting, record: MapLayer) -> None:
    try:
        examine(setting, record, Budget(), f"layer {record.layer}")
    except Refused as refusal:
        raise VerificationError(f"{refusal.where}: {refusal.reason}") from refusal


def _record(task: Task, contents: RankContents, facts: tuple[MapFact, ...]) -> MapLayer:
    """A placement with its values, and the bounds that closed forms and facts give."""
    values, bounds = [], []
    for s, loads in enumerate(task.loads):
        problem = task.problem(s)
        least = max([closed_bound(task.setting, problem), *(f.least for f in facts if f.workload == s)])
        values.append(value_of_map(task.setting, loads, contents))
        bounds.append(Loads(problem.loads, task.setting.ranks).share(least))
    return MapLayer(
        layer=task.layer,
        loads=task.loads,
        fixed=task.fixed,
        homes=task.homes,
        off_home_ppm=task.off_home_ppm,
        placement=contents,
        values=tuple(values),
        bounds=tuple(bounds),
        facts=facts,
    )


def _anywhere(task: Task, problems: tuple[MapProblem, ...]) -> Iterable[RankContents]:
    """Placements without homes: replicas spread over nodes where the nearest serves, over ranks otherwise.

    Where a weighted mean counts, those for the mean traffic and for each workload alone are looked at, too.
    """
    s = task.setting
    alone, by_node = tuple(range(s.ranks)), tuple(r // (s.ranks // s.nodes) for r in range(s.ranks))
    spread = s.dispatch == "nearest" and s.nodes > 1
    chosen = [problems]
    if task.weights is not None and len(problems) > 1:
        chosen += [(problems[0]._replace(loads=_mean_loads(problems, task.weights)),), *((p,) for p in problems)]
    for of_workloads in chosen:
        for zones in (by_node, alone) if spread else (alone,):
            counts = task.fixed or _shared_slots(of_workloads, s, len(set(zones)))
            if max(counts) <= len(set(zones)) and sum(counts) == s.ranks * s.slots:
                yield _packed(task, of_workloads, counts, zones)


def _mean_loads(problems: tuple[MapProblem, ...], weights: tuple[int, ...]) -> tuple[int, ...]:
    """Weighted mean of the experts' shares, as loads."""
    shares = [[w * v * FINE * FINE // sum(p.loads) for v in p.loads] for p, w in zip(problems, weights, strict=True)]
    return tuple(map(sum, zip(*shares, strict=True)))


def _shared_slots(problems: tuple[MapProblem, ...], s: Setting, most: int) -> Sequence[int]:
    """Replicas of each expert, by its largest share of any workload."""
    peaks = [max(p.loads[e] * FINE // sum(p.loads) for p in problems) for e in range(len(problems[0].loads))]
    return share_slots(peaks if len(problems) > 1 else problems[0].loads, s.ranks * s.slots, most)


def _packed(task: Task, problems: tuple[MapProblem, ...], counts: Sequence[int], zones: tuple[int, ...]) -> RankContents:
    """Replicas of these numbers on ranks."""
    s, effort = task.setting, task.options.effort // (1 if len(problems) == 1 else OF_SEVERAL)
    rows = tuple(tuple(w // c for w, c in zip(p.loads, counts, strict=True)) for p in problems)
    targets = tuple(closed_bound(s, p) for p in problems)
    return pack(rows, counts, s.ranks, s.slots, zones, targets, effort, task.options.seed)


def _in_pairs(task: Task, problem: MapProblem, known: Sequence[RankContents], facts: list[MapFact]) -> list[RankContents]:
    """Two slots per rank: better replica counts, and an argument for a better bound."""
    from optimizer.mapping.pairs import place_pairs

    bound = closed_bound(task.setting, problem)
    value = min(value_of_map(task.setting, task.loads[0], c) for c in known)
    redundant = task.setting.ranks * task.setting.slots > len(problem.loads)
    if not redundant or value * NEAR <= Loads(problem.loads, task.setting.ranks).share(bound) * (NEAR + 1):
        return []
    found = place_pairs(problem, bound, max(1, task.options.effort // OF_PAIRS), task.options.seed)
    if found.argument is not None:
        facts.append(MapFact(workload=0, least=found.bound, argument=found.argument))
    return [] if found.contents is None else [found.contents]


def _at_home(task: Task, problems: tuple[MapProblem, ...], facts: list[MapFact]) -> list[RankContents]:
    """A replica of each expert on its home node, few others off it."""
    from optimizer.mapping.hierarchy import SoftLayer

    soft = SoftLayer(problems, task.options.effort, task.options.seed)
    least, theta, first = [], 0.0, None
    for s, problem in enumerate(problems):
        found = soft.bound(s)
        bound = closed_bound(task.setting, problem)
        if found is not None and found.least > 0 and task.setting.dispatch == "equal":
            facts.append(MapFact(workload=s, least=found.least, argument=found.prices))
        least.append(max(bound, found.least if found else 0))
        if found is not None and found.relaxed.theta >= theta:
            theta, first = found.relaxed.theta, found.relaxed
    placed = [soft.contents(counts, tuple(least)) for counts in (soft.strict(),) if counts is not None]
    wanted = max(Loads(p.loads, task.setting.ranks).share(b) for p, b in zip(problems, least, strict=True))
    hasty = task.options.effort <= LEAST and placed
    for fill in soft.fills if first is not None and task.off_home_ppm != 0 and not hasty else ():
        replicas = soft.replicas(first, theta, fill) if first else None
        if replicas is not None:
            placed.append(soft.contents(replicas, tuple(least)))
            if max(value_of_map(task.setting, w, placed[-1]) for w in task.loads) * NEAR <= wanted * (NEAR + 1):
                break
    return placed
