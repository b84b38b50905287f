"""Fleets: how many workers of which shape serve requests on pools of GPUs, and the most that any fleet yields.

Every worker has a rate in one unit, millionths of a token per second say. Aggregated workers serve requests by themselves; prefill and
decode workers serve them in turn, so what they yield together is the lesser of their sums. All rates are whole
numbers; what a worker's rate is worth (queueing margins, output tokens per request) is in the rate already.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import product
from operator import add
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from models.cluster import MAX_GPUS
from models.packing import Natural, Refused
from models.record import Name, Record, StopAtFirst
from models.units import MicroUsdPerHour

Role = Literal["aggregated", "prefill", "decode"]
ROLES: tuple[Role, ...] = ("aggregated", "prefill", "decode")
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
    objective: Literal["rate", "gpus", "cost"] = "rate"
    load: Natural | None = Field(default=None, description="rate that must be reached; needed by the objectives gpus and cost")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        wrong = next((w for w in self.workers if w.pool >= len(self.pools)), None)
        if wrong is not None:
            raise ValueError(f"worker {wrong.name} is of pool {wrong.pool}, there are {len(self.pools)}; number pools from 0")
        if self.objective != "rate" and self.load is None:
            raise ValueError(f"objective {self.objective} needs a load; add load")
        return self


class Chosen(Record):
    """So many workers of one shape, by its position in the problem."""

    worker: Annotated[int, Field(ge=0, le=100_000)]
    count: Annotated[int, Field(ge=1, le=MAX_GPUS)]


Fleet = Annotated[tuple[Chosen, ...], StopAtFirst(), Field(max_length=100_000)]

Budget = tuple[int, ...]
"""GPUs of each pool."""


class Yield(NamedTuple):
    """What a fleet uses and yields."""

    gpus: Budget
    rate: int


def yield_of(problem: FleetProblem, fleet: Sequence[Chosen]) -> Yield:
    """GPUs by pool, and aggregated + min(prefill, decode). Raises Refused for a fleet that the pools cannot hold."""
    gpus, rates = [0] * len(problem.pools), dict.fromkeys(ROLES, 0)
    if len({c.worker for c in fleet}) < len(fleet):
        raise Refused("a shape is listed twice")
    for chosen in fleet:
        if chosen.worker >= len(problem.workers):
            raise Refused(f"there is no worker {chosen.worker}")
        worker = problem.workers[chosen.worker]
        gpus[worker.pool] += chosen.count * worker.gpus
        rates[worker.role] += chosen.count * worker.rate
    for used, pool in zip(gpus, problem.pools, strict=True):
        if used > pool.gpus:
            raise Refused(f"{used} GPUs of pool {pool.name}, there are {pool.gpus}")
    return Yield(tuple(gpus), rates["aggregated"] + min(rates["prefill"], rates["decode"]))


def value_of_fleet(problem: FleetProblem, found: Yield) -> int:
    """The objective of a fleet: its rate; its GPUs; micro-USD per hour."""
    match problem.objective:
        case "rate":
            return found.rate
        case "gpus":
            return sum(found.gpus)
        case "cost":
            return sum(used * pool.price_uusd_per_gpu_hour for used, pool in zip(found.gpus, problem.pools, strict=True))


class Tables:
    """The most that each role yields within every budget of GPUs, by induction over budgets: exact, and no search."""

    def __init__(self, problem: FleetProblem) -> None:
        """Raises Refused where there are too many budgets and shapes."""
        self.problem = problem
        self.shapes = {role: undominated(problem, role) for role in ROLES}
        self.sizes = [pool.gpus + 1 for pool in problem.pools]
        self.strides = [1] * len(self.sizes)
        for n in range(len(self.sizes) - 2, -1, -1):
            self.strides[n] = self.strides[n + 1] * self.sizes[n + 1]
        self.budgets = self.strides[0] * self.sizes[0]
        steps = self.budgets * (self.budgets + sum(map(len, self.shapes.values())))
        if steps > MOST_STEPS:
            raise Refused(f"{self.budgets} budgets of GPUs are too many for tables")
        self.of = {role: self._fill(self.shapes[role]) for role in ROLES}

    def _fill(self, shapes: Sequence[int]) -> list[int]:
        """The most rate of these shapes within each budget."""
        workers = [(w.pool, w.gpus, w.gpus * self.strides[w.pool], w.rate) for w in (self.problem.workers[n] for n in shapes)]
        found = [0] * self.budgets
        for place, budget in enumerate(product(*map(range, self.sizes))):
            best = 0
            for n, have in enumerate(budget):
                if have and found[place - self.strides[n]] > best:
                    best = found[place - self.strides[n]]
            for pool, gpus, less, rate in workers:
                if budget[pool] >= gpus and found[place - less] + rate > best:
                    best = found[place - less] + rate
            found[place] = best
        return found

    def splits(self, place: int) -> Iterator[tuple[int, int]]:
        """Every way to divide a budget in two, as places in the tables."""
        parts = (range(0, (have + 1) * stride, stride) for have, stride in zip(self.budget(place), self.strides, strict=True))
        return ((one, place - one) for one in map(sum, product(*parts)))

    def _runs(self, place: int) -> Iterator[tuple[int, int, int]]:
        """The same, of the last pool all ways together: of n GPUs there, parts one + k and other + n - k, for k = 0..n."""
        *others, n = self.budget(place)
        parts = (range(0, (have + 1) * stride, stride) for have, stride in zip(others, self.strides[:-1], strict=True))
        return ((one, place - n - one, n) for one in map(sum, product(*parts)))

    def budget(self, place: int) -> Budget:
        """The budget at a place of the tables."""
        return tuple(place // stride % size for stride, size in zip(self.strides, self.sizes, strict=True))

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
    if problem.objective == "rate":
        return joint[-1] if problem.load is None or joint[-1] >= problem.load else None
    assert problem.load is not None, "checked when the problem was read"
    reached = (value_of_fleet(problem, Yield(tables.budget(n), rate)) for n, rate in enumerate(joint) if rate >= problem.load)
    return min(reached, default=None)


def undominated(problem: FleetProblem, role: Role) -> list[int]:
    """Shapes of a role that fit their pool, and of which no other there has as much rate on as few GPUs; of equals the first."""
    least: dict[tuple[int, int], int] = {}
    fitting = (n for n, w in enumerate(problem.workers) if w.role == role and w.gpus <= problem.pools[w.pool].gpus)
    order = sorted(fitting, key=lambda n: (_size(problem, n), n))
    best: dict[int, int] = {}
    for n in order:
        worker = problem.workers[n]
        if worker.rate > best.get(worker.pool, 0):
            best[worker.pool] = worker.rate
            least[worker.pool, worker.gpus] = n
    return sorted(least.values())


def _size(problem: FleetProblem, n: int) -> tuple[int, int]:
    return problem.workers[n].gpus, -problem.workers[n].rate
