"""Fleets: how many workers of which shape serve requests on pools of GPUs, and the most that any fleet yields.

Every worker has a rate in one unit, millionths of a token per second say. Aggregated workers serve requests by themselves; prefill and
decode workers serve them in turn, so what they yield together is the lesser of their sums. All rates are whole
numbers; what a worker's rate is worth (queueing margins, output tokens per request) is in the rate already.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import product
from math import gcd
from operator import add
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from models.cluster import MAX_GPUS
from models.packing import Natural, Refused
from models.record import Name, Record, StopAtFirst
from models.units import MicroUsdPerHour, ceil_div

Role = Literal["aggregated", "prefill", "decode"]
ROLES: tuple[Role, ...] = ("aggregated", "prefill", "decode")
FleetObjective = Literal["rate", "rate_per_gpu", "gpus", "cost", "cost_per_rate"]
MOST_STEPS = 60_000_000  # of the tables of one problem: 7,700 GPUs in one pool, some seconds


class GpuPool(Record):
    """GPUs that workers of a pool share, and what one of them costs."""

    name: Name
    gpus: Annotated[int, Field(ge=1, le=MAX_GPUS)]
    price_uusd_per_gpu_hour: MicroUsdPerHour = 0


class Worker(Record):
    """One shape of worker: so many GPUs of one pool, for so much of one role."""

    name: Name
    role: Role
    pool: Annotated[int, Field(ge=0, le=15)] = 0
    gpus: Annotated[int, Field(ge=1, le=MAX_GPUS)]
    rate: Natural


class FleetProblem(Record):
    """Which workers to run: for the most rate, or for `load` on the fewest GPUs or for the least money."""

    pools: Annotated[tuple[GpuPool, ...], Field(min_length=1, max_length=16)]
    workers: Annotated[tuple[Worker, ...], StopAtFirst(), Field(max_length=100_000)]
    objective: FleetObjective = "rate"
    load: Natural | None = Field(default=None, description="rate that must be reached; needed by the objectives gpus and cost")
    least_workers: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="of every role in use")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        wrong = next((w for w in self.workers if w.pool >= len(self.pools)), None)
        if wrong is not None:
            raise ValueError(f"worker {wrong.name} is of pool {wrong.pool}, there are {len(self.pools)}; number pools from 0")
        if self.objective in ("gpus", "cost") and self.load is None:
            raise ValueError(f"objective {self.objective} needs a load; add load")
        return self


class Chosen(Record):
    """So many workers of one shape, by its position in the problem."""

    worker: Annotated[int, Field(ge=0, le=100_000)]
    count: Annotated[int, Field(ge=1, le=MAX_GPUS)]


Fleet = Annotated[tuple[Chosen, ...], StopAtFirst(), Field(max_length=100_000)]

RATES = 10**12  # so much rate is what `cost_per_rate` is the expense of

Budget = tuple[int, ...]
"""GPUs of each pool."""


class Yield(NamedTuple):
    """What a fleet uses and yields."""

    gpus: Budget
    rate: int


def yield_of(problem: FleetProblem, fleet: Sequence[Chosen]) -> Yield:
    """GPUs by pool, and aggregated + min(prefill, decode). Raises Refused for a fleet that the pools cannot hold."""
    gpus, rates, workers = [0] * len(problem.pools), dict.fromkeys(ROLES, 0), dict.fromkeys(ROLES, 0)
    if len({c.worker for c in fleet}) < len(fleet):
        raise Refused("a shape is listed twice")
    for chosen in fleet:
        if chosen.worker >= len(problem.workers):
            raise Refused(f"there is no worker {chosen.worker}")
        worker = problem.workers[chosen.worker]
        gpus[worker.pool] += chosen.count * worker.gpus
        rates[worker.role] += chosen.count * worker.rate
        workers[worker.role] += chosen.count
    for used, pool in zip(gpus, problem.pools, strict=True):
        if used > pool.gpus:
            raise Refused(f"{used} GPUs of pool {pool.name}, there are {pool.gpus}")
    few = next((role for role, n in workers.items() if 0 < n < problem.least_workers), None)
    if few is not None:
        raise Refused(f"{workers[few]} {few} workers, at least {problem.least_workers} are asked for")
    return Yield(tuple(gpus), rates["aggregated"] + min(rates["prefill"], rates["decode"]))


def value_of_fleet(problem: FleetProblem, found: Yield) -> int:
    """The objective of a fleet: its rate; rate per GPU in use, down; its GPUs; micro-USD per hour; that per 10**12 of rate, up."""
    money = sum(used * pool.price_uusd_per_gpu_hour for used, pool in zip(found.gpus, problem.pools, strict=True))
    match problem.objective:
        case "rate":
            return found.rate
        case "rate_per_gpu":
            return found.rate // max(1, sum(found.gpus))
        case "gpus":
            return sum(found.gpus)
        case "cost":
            return money
        case "cost_per_rate":
            return ceil_div(money * RATES, max(1, found.rate))


def serves(problem: FleetProblem, rate: int) -> bool:
    """Whether a fleet of this rate reaches the load; where the objective is a ratio, it must yield something."""
    return rate >= max(problem.load or 0, problem.objective in ("rate_per_gpu", "cost_per_rate"))


def more_is_better(problem: FleetProblem) -> bool:
    """Whether the objective is a yield, not an expense."""
    return problem.objective in ("rate", "rate_per_gpu")


NONE = -1  # in a table: no workers


class Tables:
    """The most that each role yields within every budget of GPUs, by induction over budgets: exact, and no search."""

    def __init__(self, problem: FleetProblem) -> None:
        """Raises Refused where there are too many budgets and shapes."""
        self.problem = problem
        self.shapes = {role: undominated(problem, role) for role in ROLES}
        self.units = [self._unit(n) for n in range(len(problem.pools))]
        self.sizes = [pool.gpus // unit + 1 for pool, unit in zip(problem.pools, self.units, strict=True)]
        self.strides = [1] * len(self.sizes)
        for n in range(len(self.sizes) - 2, -1, -1):
            self.strides[n] = self.strides[n + 1] * self.sizes[n + 1]
        self.budgets = self.strides[0] * self.sizes[0]
        steps = self.budgets * (self.budgets + problem.least_workers * sum(map(len, self.shapes.values())))
        if steps > MOST_STEPS:
            raise Refused(f"{self.budgets} budgets of GPUs are too many for tables")
        self.layers = {role: self._layers(self.shapes[role]) for role in ROLES}
        self.of = {role: [max(0, rate) for rate in layers[-1]] for role, layers in self.layers.items()}

    def _unit(self, pool: int) -> int:
        """What the GPUs of a pool are counted in: whatever all its shapes are multiples of."""
        sizes = (self.problem.workers[n].gpus for shapes in self.shapes.values() for n in shapes if self.problem.workers[n].pool == pool)
        return gcd(*sizes) or self.problem.pools[pool].gpus

    def _layers(self, shapes: Sequence[int]) -> list[list[int]]:
        """The most rate of at least 0, 1, ... of these shapes within each budget; NONE where so many do not fit."""
        any_number = self._fill(shapes, None)
        least = self.problem.least_workers
        if least == 1:
            return [any_number]  # a role without workers yields nothing anyhow
        found = [any_number]
        for _ in range(least):
            found.append(self._fill(shapes, found[-1]))
        return found

    def _fill(self, shapes: Sequence[int], before: list[int] | None) -> list[int]:
        """The most rate within each budget: of one of these shapes and what `before` says of the rest; without it, of any number."""
        chosen = (self.problem.workers[n] for n in shapes)
        workers = [(w.pool, n := w.gpus // self.units[w.pool], n * self.strides[w.pool], w.rate) for w in chosen]
        least = NONE if before else 0
        found = [least] * self.budgets
        rest = before or found
        for place, budget in enumerate(product(*map(range, self.sizes))):
            best = least
            for n, have in enumerate(budget):
                if have and found[place - self.strides[n]] > best:
                    best = found[place - self.strides[n]]
            for pool, gpus, less, rate in workers:
                if budget[pool] >= gpus and rest[place - less] >= 0 and rest[place - less] + rate > best:
                    best = rest[place - less] + rate
            found[place] = best
        return found

    def splits(self, place: int) -> Iterator[tuple[int, int]]:
        """Every way to divide a budget in two, as places in the tables."""
        parts = (range(0, (have + 1) * stride, stride) for have, stride in zip(self._counts(place), self.strides, strict=True))
        return ((one, place - one) for one in map(sum, product(*parts)))

    def _runs(self, place: int) -> Iterator[tuple[int, int, int]]:
        """The same, of the last pool all ways together: of n GPUs there, parts one + k and other + n - k, for k = 0..n."""
        *others, n = self._counts(place)
        parts = (range(0, (have + 1) * stride, stride) for have, stride in zip(others, self.strides[:-1], strict=True))
        return ((one, place - n - one, n) for one in map(sum, product(*parts)))

    def _counts(self, place: int) -> Budget:
        """The budget at a place of the tables, in units of each pool."""
        return tuple(place // stride % size for stride, size in zip(self.strides, self.sizes, strict=True))

    def budget(self, place: int) -> Budget:
        """The budget at a place of the tables, GPUs of each pool."""
        return tuple(n * unit for n, unit in zip(self._counts(place), self.units, strict=True))

    def paired(self) -> list[int]:
        """The most that prefill and decode workers yield together within each budget: max over splits of min."""
        return [max(self._crossing(*run) for run in self._runs(place)) for place in range(self.budgets)]

    def _crossing(self, one: int, other: int, n: int) -> int:
        """The most of min over a run: prefill does not fall with k and decode does not rise, so it is where they cross."""
        prefill, decode = self.of["prefill"], self.of["decode"]
        k = bisect_left(range(n + 1), True, key=lambda k: prefill[one + k] >= decode[other + n - k])
        return max(prefill[one + k - 1] if k > 0 else 0, decode[other + n - k] if k <= n else 0)

    def joint(self) -> list[int]:
        """The most that any fleet yields within each budget: max over splits of aggregated + paired."""
        alone, paired = self.of["aggregated"], self.paired()

        def sums(one: int, other: int, n: int) -> Iterator[int]:
            return map(add, alone[one : one + n + 1], reversed(paired[other : other + n + 1]))

        return [max(max(sums(*run)) for run in self._runs(place)) for place in range(self.budgets)]


def best_value(problem: FleetProblem, joint: Sequence[int], tables: Tables) -> int | None:
    """The objective's best value over all fleets, from the tables; None where no fleet reaches the load."""
    best: int | None = None
    for place, rate in enumerate(joint):
        if serves(problem, rate):
            value = value_of_fleet(problem, Yield(tables.budget(place), rate))
            if best is None or (value > best if more_is_better(problem) else value < best):
                best = value
    return best


def undominated(problem: FleetProblem, role: Role) -> list[int]:
    """Shapes of a role that fit their pool, and of which no other there has as much rate on as few GPUs; of equals the first."""
    least: dict[tuple[int, int], int] = {}
    fitting = (n for n, w in enumerate(problem.workers) if w.role == role and w.gpus <= problem.pools[w.pool].gpus)
    order = sorted(fitting, key=lambda n: (_size(problem, n), n))
    best: dict[int, int] = {}
    useless = 0 if problem.least_workers == 1 else NONE  # one that yields nothing still makes up the number
    for n in order:
        worker = problem.workers[n]
        if worker.rate > best.get(worker.pool, useless):
            best[worker.pool] = worker.rate
            least[worker.pool, worker.gpus] = n
    return sorted(least.values())


def _size(problem: FleetProblem, n: int) -> tuple[int, int]:
    return problem.workers[n].gpus, -problem.workers[n].rate
