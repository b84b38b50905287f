"""Every strategy of a space with one cheap bound: surveyed afresh, or taken from a landscape that many instances share."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from models.bounds import Bounds
from models.enumeration import Block, blocks
from models.floors import Floors
from models.instance import Instance
from models.landscape import Landscape
from models.objective import value_of
from models.rules import longest_step
from models.strategy import Strategy
from optimizer.factors import LARGEST, Survey, joined, survey

Progress = Callable[[str], None]

AT_ONCE = 200_000  # strategies in one table


class Effort(NamedTuple):
    """How far to look: strategies (deterministic) and seconds (not)."""

    strategies: int
    seconds: float | None


class Looked(NamedTuple):
    """Every strategy looked at."""

    size: int
    """strategies in all"""
    candidates: Callable[[], Iterator[tuple[int, Strategy | None]]]
    """those that no rule has refuted, least bound on the objective first; without a strategy, a bound on all later ones"""
    refuted: Counter[str]
    limited: bool
    wall_limited: bool
    deadline: float | None
    """of the search, on the monotonic clock"""
    counted: bool
    """every strategy left has a plan that runs; else some are not refuted by bounds, and may yet have none"""
    unfit: bool
    """some of them may not fit memory"""


def look(instance: Instance, bounds: Bounds, floors: Floors, effort: Effort, progress: Progress) -> Looked:
    """Bound every strategy cheaply; stop early when the effort is spent.

    With limits or link caps every strategy is priced at once, so that the count of feasible ones is exact.
    """
    deadline = None if effort.seconds is None else time.monotonic() + effort.seconds
    tables, chosen, waiting, steps, spent, late = list[Survey](), list[Block](), 0, 0, False, False
    for number, block in enumerate(blocks(instance)):
        late = number % 64 == 63 and deadline is not None and time.monotonic() > deadline
        spent = steps >= effort.strategies
        if late or spent:
            break
        steps += block.size + 1
        waiting += block.size
        chosen.append(block)
        if waiting >= AT_ONCE:
            tables.append(survey(bounds, floors, chosen))
            chosen, waiting = [], 0
            progress(f"{sum(t.size for t in tables)} strategies bounded")
    table = joined([*tables, survey(bounds, floors, chosen)])
    progress(f"{table.size} strategies, {int(table.fits.sum())} fit memory")
    refuted = Counter({"memory": int((~table.fits).sum())})
    alive = [int(n) for n in np.flatnonzero(table.fits)]
    counted = True
    if bounds.constrained:
        alive, late, counted = _keep_limits(table, bounds, floors, alive, refuted, deadline, late)
    values = _objectives(instance, table)
    order = sorted(alive, key=lambda n: values[n])
    ranked = [(values[n], n) for n in order]
    return Looked(
        table.size, lambda: ((v, table.strategy(n)) for v, n in ranked), refuted, late or spent, late, deadline, counted, unfit=False
    )


def look_over(landscape: Landscape, instance: Instance, effort: Effort) -> Looked:
    """The candidates of a landscape; how many of its strategies are feasible is left uncounted."""
    deadline = None if effort.seconds is None else time.monotonic() + effort.seconds
    return Looked(landscape.size, lambda: landscape.candidates(instance), Counter(), False, False, deadline, counted=False, unfit=True)


def _keep_limits(
    table: Survey, bounds: Bounds, floors: Floors, alive: list[int], refuted: Counter[str], deadline: float | None, late: bool
) -> tuple[list[int], bool, bool]:
    """The strategies whose bounds keep link caps and limits; whether the clock ended the look; whether all those bounds are attained."""
    kept, counted, pool = list[int](), True, bounds.instance.cluster.pool
    capped = (pool.scale_up.cap_bytes_per_pass, pool.scale_out.cap_bytes_per_pass) != (None, None)
    limit = None if capped else longest_step(bounds.instance)  # with caps, which rule refutes takes the exact bound
    for n in alive:
        if n % 512 == 511 and deadline is not None and time.monotonic() > deadline:
            return kept, True, counted
        s = table.strategy(n)
        if limit is not None and (table.step_ns[n] > limit[1] or floors.priced_ns(s) > limit[1]):
            refuted[limit[0]] += 1
            continue
        solution = bounds.exact(s)
        if isinstance(solution, str):
            refuted[solution] += 1
        else:
            kept.append(n)
            counted = counted and solution.exact
    return kept, late, counted


def _objectives(instance: Instance, table: Survey) -> list[int]:
    """The objective at each strategy's floor."""
    of_block = [value_of(instance, b.strategy(1, b.sides[0], b.orders[0])) if b.size else None for b in table.blocks]
    factors = [0 if v is None else v.factor for v in of_block]
    constants = [0 if v is None else v.constant for v in of_block]
    most = max(factors, default=0) * int(table.step_ns.max(initial=0)) + max(constants, default=0)
    exact = np.int64 if most < LARGEST else object
    found = np.array(factors, dtype=exact)[table.block] * table.step_ns + np.array(constants, dtype=exact)[table.block]
    return [int(v) for v in found]
