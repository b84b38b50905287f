"""Layers to pipeline stages: the contiguous split whose slowest stage is fastest.

A stage's cost, memory and traffic are sums over its layers plus a constant, so a stage that fits a
limit still fits after losing a layer. Filling each stage as far as it goes therefore uses the
fewest stages (exchange argument), and the best limit is found by bisection.
"""

from typing import NamedTuple


class Need(NamedTuple):
    """What a layer (or a stage so far) takes: time, memory, traffic."""

    ns: int
    memory: int
    scale_up_bytes: int
    scale_out_bytes: int


class Item(NamedTuple):
    """One layer: its memory, and a choice of (ns, scale-up bytes, scale-out bytes)."""

    memory: int
    choices: tuple[tuple[int, int, int], ...]

    @property
    def least_ns(self) -> int:
        return min(c[0] for c in self.choices)


class Split(NamedTuple):
    """Layers per stage, the time of the slowest one, and the choice made in each layer."""

    slowest_ns: int
    stages: tuple[int, ...]
    choices: tuple[int, ...]


Runs = tuple[tuple[int, Item], ...]
"""Layers in order as (how many, item)."""

UNLIMITED = 1 << 256  # above any traffic that an instance can state


def best_split(runs: Runs, pp: int, memory: int, scale_up: int, scale_out: int) -> Split | None:
    """The split into `pp` non-empty stages with the fastest slowest stage; None when none fits.

    `memory`, `scale_up` and `scale_out` are what a stage's layers may take together.
    """
    if sum(n for n, _ in runs) < pp or min(memory, scale_up, scale_out) < 0:
        return None
    if any(len(item.choices) > 1 for _, item in runs) and _traffic_never_binds(runs, scale_up, scale_out):
        return _with_fastest_choices(runs, pp, memory, scale_up, scale_out)
    most = sum(n * max(c[0] for c in item.choices) for n, item in runs)
    if _fill(runs, pp, Need(most, memory, scale_up, scale_out)) is None:
        return None
    least = sum(n * item.least_ns for n, item in runs)
    low, high = max(-(-least // pp), max(item.least_ns for _, item in runs)), most
    while low < high:
        middle = (low + high) // 2
        if _fill(runs, pp, Need(middle, memory, scale_up, scale_out)) is None:
            low = middle + 1
        else:
            high = middle
    filled = _fill(runs, pp, Need(low, memory, scale_up, scale_out))
    assert filled is not None, "bisection ends on a limit that fits"
    stages, choices = filled
    return Split(low, _spread(stages, pp), choices)


def _traffic_never_binds(runs: Runs, scale_up: int, scale_out: int) -> bool:
    """Whether all layers together keep the limits on traffic, whatever is chosen."""
    up, out = (sum(n * max(c[tier] for c in item.choices) for n, item in runs) for tier in (1, 2))
    return up <= scale_up and out <= scale_out


def _with_fastest_choices(runs: Runs, pp: int, memory: int, scale_up: int, scale_out: int) -> Split | None:
    """`best_split` where only time and memory count: each layer takes its fastest choice."""
    fastest = [item.choices.index(min(item.choices)) for _, item in runs]
    single = tuple((n, Item(item.memory, (item.choices[c],))) for (n, item), c in zip(runs, fastest, strict=True))
    split = best_split(single, pp, memory, scale_up, scale_out)
    if split is None:
        return None
    return split._replace(choices=tuple(c for (n, _), c in zip(runs, fastest, strict=True) for _ in range(n)))


def fewest_stages(runs: Runs, memory: int) -> int | None:
    """Stages needed when memory alone counts; None when one layer is too large."""
    if memory < 0 or any(item.memory > memory for _, item in runs):
        return None
    stages, room = 1, memory
    for count, item in runs:
        while count and item.memory:
            if room < item.memory:
                stages, room = stages + 1, memory
            taken = min(count, room // item.memory)
            count, room = count - taken, room - taken * item.memory
    return stages


def _fill(runs: Runs, pp: int, limit: Need) -> tuple[list[int], tuple[int, ...]] | None:
    if all(len(item.choices) == 1 for _, item in runs):
        stages = _fill_single(runs, pp, limit)
        return None if stages is None else (stages, (0,) * sum(n for n, _ in runs))
    return _fill_choices(runs, pp, limit)


def _fill_single(runs: Runs, pp: int, limit: Need) -> list[int] | None:
    stages = [0]
    room = limit
    for count, item in runs:
        need = Need(item.choices[0][0], item.memory, *item.choices[0][1:])
        while count:
            fits = min([count, *(r // n for r, n in zip(room, need, strict=True) if n)])
            if fits == 0:
                if stages[-1] == 0 or len(stages) == pp:
                    return None
                stages.append(0)
                room = limit
                continue
            stages[-1] += fits
            count -= fits
            room = Need(*(r - fits * n for r, n in zip(room, need, strict=True)))
    return stages


def _fill_choices(runs: Runs, pp: int, limit: Need) -> tuple[list[int], tuple[int, ...]] | None:
    """As `_fill_single`, keeping every non-dominated way to choose within the stage so far."""
    stages: list[int] = [0]
    chosen: tuple[int, ...] = ()
    start: dict[Need, tuple[int, ...]] = {Need(0, 0, 0, 0): ()}
    states = start
    for item in (item for count, item in runs for _ in range(count)):
        grown = _extend(states, item, limit)
        if not grown:
            if stages[-1] == 0 or len(stages) == pp:
                return None
            chosen += _cheapest(states)
            stages.append(0)
            grown = _extend(start, item, limit)
            if not grown:
                return None
        stages[-1] += 1
        states = grown
    return stages, chosen + _cheapest(states)


def _cheapest(states: dict[Need, tuple[int, ...]]) -> tuple[int, ...]:
    return states[min(states)]


def _extend(states: dict[Need, tuple[int, ...]], item: Item, limit: Need) -> dict[Need, tuple[int, ...]]:
    grown: dict[Need, tuple[int, ...]] = {}
    for so_far, chosen in states.items():
        for number, (ns, up, out) in enumerate(item.choices):
            need = Need(so_far.ns + ns, so_far.memory + item.memory, so_far.scale_up_bytes + up, so_far.scale_out_bytes + out)
            if all(n <= r for n, r in zip(need, limit, strict=True)):
                grown.setdefault(need, (*chosen, number))
    kept: dict[Need, tuple[int, ...]] = {}
    for need in sorted(grown):
        if not any(all(a <= b for a, b in zip(k, need, strict=True)) for k in kept):
            kept[need] = grown[need]
    return kept


def _spread(stages: list[int], pp: int) -> tuple[int, ...]:
    """Cut the longest stages until there are `pp`; a shorter stage still fits."""
    while len(stages) < pp:
        longest = stages.index(max(stages))
        stages = [*stages[:longest], stages[longest] - 1, 1, *stages[longest + 1 :]]
    return tuple(stages)
