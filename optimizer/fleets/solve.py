"""The best fleet of a problem, read off the tables that prove it the best."""

from collections import Counter

from models.fleet import ROLES, Chosen, FleetProblem, Role, Tables, Yield, best_value, serves, value_of_fleet, yield_of
from models.fleet_claim import FleetClaim


def solve_fleet(problem: FleetProblem) -> FleetClaim:
    """The best fleet with the proof that none is better. Raises Refused where the problem is too large for tables."""
    tables = Tables(problem)
    joint = tables.joint()
    best = best_value(problem, joint, tables)
    if best is None:
        return FleetClaim(kind="fleet", problem=problem, fleet=None, value=None, bound=None)
    fleet = _fleet_within(tables, _place(problem, tables, joint, best))
    return FleetClaim(kind="fleet", problem=problem, fleet=fleet, value=value_of_fleet(problem, yield_of(problem, fleet)), bound=best)


def _place(problem: FleetProblem, tables: Tables, joint: list[int], best: int) -> int:
    """The first budget within which the best value is reached."""
    each = (n for n, rate in enumerate(joint) if serves(problem, rate))
    return next(n for n in each if value_of_fleet(problem, Yield(tables.budget(n), joint[n])) == best)


def _fleet_within(tables: Tables, place: int) -> tuple[Chosen, ...]:
    """A fleet that yields the most within a budget."""
    of, paired = tables.of, tables.paired()
    alone, both = max(tables.splits(place), key=lambda ab: of["aggregated"][ab[0]] + paired[ab[1]])
    prefill, decode = max(tables.splits(both), key=lambda ab: min(of["prefill"][ab[0]], of["decode"][ab[1]]))
    needed = min(of["prefill"][prefill], of["decode"][decode])
    counts = Counter[int]()
    for role, within in zip(ROLES, (alone, prefill, decode), strict=True):
        if role == "aggregated" or needed:
            counts += _workers_within(tables, role, within)
    return tuple(Chosen(worker=n, count=count) for n, count in sorted(counts.items()))


def _workers_within(tables: Tables, role: Role, place: int) -> Counter[int]:
    """Workers of one role that yield the most within a budget."""
    found, layers = Counter[int](), tables.layers[role]
    level = len(layers) - 1
    if layers[level][place] <= 0:
        return found
    while level or layers[level][place]:
        place, worker = _step(tables, role, place, level)
        if worker is not None:
            found[worker] += 1
            level = max(0, level - 1)
    return found


def _step(tables: Tables, role: Role, place: int, level: int) -> tuple[int, int | None]:
    """One GPU less, or one worker less: whichever explains the rate at a budget of at least `level` workers."""
    layers = tables.layers[role]
    rates, rest, budget = layers[level], layers[max(0, level - 1)], tables.budget(place)
    for n, have in enumerate(budget):
        if have >= tables.units[n] and rates[place - tables.strides[n]] == rates[place]:
            return place - tables.strides[n], None
    for number in tables.shapes[role]:
        worker = tables.problem.workers[number]
        before = place - worker.gpus // tables.units[worker.pool] * tables.strides[worker.pool]
        if budget[worker.pool] >= worker.gpus and rest[before] >= 0 and rest[before] + worker.rate == rates[place]:
            return before, number
    raise AssertionError("every rate of a table has a reason")
