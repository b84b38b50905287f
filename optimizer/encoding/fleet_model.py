"""The fleet as one integer program: how many workers of each shape, and where they lie, for the objective.

Rates and money are scaled, rates down and the load and prices up, so that every row stays below the guard's limit: what comes out is a
candidate, and whether it is the best is decided elsewhere in exact integers.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ortools.sat.python import cp_model

from models.cluster import Pool
from models.fleet import ROLES, Budget, Chosen, FleetProblem, Tables, Yield, undominated, yield_of
from models.units import ceil_div
from optimizer.encoding.guarded import solve_guarded
from optimizer.encoding.places_model import Kind, Places, TooLarge

LARGEST = 1 << 28  # of any rate, expense or sum of them in the model
MOST_STEPS = 4  # of an objective that is a ratio
RATIOS = ("rate_per_gpu", "cost_per_rate")


class Laid(NamedTuple):
    """Workers of one shape, with the first GPU of each in its pool."""

    chosen: Chosen
    first_gpus: tuple[int, ...]


class Worth(NamedTuple):
    """What is maximised: so much for the rate, and for every GPU of each pool."""

    of_rate: int
    of_gpu: tuple[int, ...]

    def of(self, rate: int, gpus: Budget) -> int:
        """The worth of a fleet."""
        return self.of_rate * rate + sum(each * n for each, n in zip(self.of_gpu, gpus, strict=True))


def propose_fleet(
    problem: FleetProblem, pools: Sequence[Pool], deterministic: float, seed: int, progress: Callable[[str], None]
) -> tuple[Laid, ...] | None:
    """A fleet with places that keep R22 and R25 and that CP-SAT takes for the best; None without one.

    A ratio is not linear: where rate / expense = q is reached, one of rate - q * expense > 0 is better (Dinkelbach); some steps are taken.
    """
    model = _MixModel(problem, pools, progress)
    if problem.objective not in RATIOS:
        return model.solve(model.worth(None), deterministic, seed)
    best: tuple[Laid, ...] | None = None
    reached = 0, 1  # rate, expense
    for _ in range(MOST_STEPS):
        found = model.solve(model.worth(reached), deterministic / 3, seed)
        if found is None:
            break
        got = yield_of(problem, [laid.chosen for laid in found])
        rate, expense = got.rate, model.expense(got)
        if best is not None and rate * reached[1] <= reached[0] * expense:
            break
        best, reached = found, (rate, expense)
        if expense == 0:
            break
    return best


class _MixModel:
    """Scales of a problem, and its rows anew for everything that may be maximised."""

    def __init__(self, problem: FleetProblem, pools: Sequence[Pool], progress: Callable[[str], None]) -> None:
        self.problem, self.pools, self.progress = problem, pools, progress
        self._last = list[int]()
        self.shapes = [n for role in ROLES for n in undominated(problem, role)]
        workers = problem.workers
        most = sum(problem.pools[workers[n].pool].gpus // workers[n].gpus * workers[n].rate for n in self.shapes)
        self.scale, self.finer = max(1, ceil_div(most, LARGEST)), max(1, LARGEST // max(1, most))
        scaled = {"workers": tuple(w.model_copy(update={"rate": w.rate // self.scale}) for w in problem.workers)}
        tables = Tables(problem.model_copy(update=scaled))
        self.least = ceil_div(max(problem.load or 0, problem.objective in RATIOS), self.scale)
        self.most = [(rate, tables.budget(place)) for place, rate in enumerate(tables.joint()) if rate >= self.least]
        """the most that fleets serve within each budget of GPUs, wherever their workers lie"""
        self.prices = [p.price_uusd_per_gpu_hour if problem.objective in ("cost", "cost_per_rate") else 1 for p in problem.pools]

    def expense(self, used: Yield) -> int:
        """Money or GPUs of a fleet."""
        return sum(price * gpus for price, gpus in zip(self.prices, used.gpus, strict=True))

    def worth(self, reached: tuple[int, int] | None) -> Worth:
        """What the objective maximises; of a ratio, the rate beyond what the expense bears at the rate and expense reached."""
        if reached is not None:
            rate, expense = reached
            return Worth(self.finer, tuple(-min(LARGEST, self.finer * rate * price // (expense * self.scale)) for price in self.prices))
        if self.problem.objective == "rate":
            return Worth(1, (0,) * len(self.prices))
        dearest = sum(price * pool.gpus for price, pool in zip(self.prices, self.problem.pools, strict=True))
        cheap = max(1, ceil_div(dearest, LARGEST))
        return Worth(0, tuple(-ceil_div(price, cheap) for price in self.prices))

    def solve(self, worth: Worth, deterministic: float, seed: int) -> tuple[Laid, ...] | None:
        """The fleet of the most worth found; None where none was. No more is worth looking for than fleets reach wherever they lie."""
        if not self.most:
            return None
        problem, workers, model = self.problem, self.problem.workers, cp_model.CpModel()
        try:
            kinds = [Kind(workers[n].pool, workers[n].role, workers[n].gpus) for n in self.shapes]
            places = Places(model, self.pools, kinds, problem.least_workers)
        except TooLarge:
            return None
        count = dict(zip(self.shapes, places.counts, strict=True))
        used = list[cp_model.IntVar]()
        for p, pool in enumerate(problem.pools):
            used.append(model.new_int_var(0, pool.gpus, f"gpus_{p}"))
            model.add(sum(workers[n].gpus * count[n] for n in self.shapes if workers[n].pool == p) == used[p])
        rate = {role: sum(workers[n].rate // self.scale * count[n] for n in self.shapes if workers[n].role == role) for role in ROLES}
        paired, served = (model.new_int_var(0, LARGEST, name) for name in ("paired", "served"))
        model.add(paired <= rate["prefill"])
        model.add(paired <= rate["decode"])
        model.add(served == rate["aggregated"] + paired)
        model.add(served >= self.least)
        reached = worth.of_rate * served + sum(each * gpus for each, gpus in zip(worth.of_gpu, used, strict=True))
        model.add(reached <= max(worth.of(*most) for most in self.most))
        model.maximize(reached)
        self.progress(f"mix and places as one model: {len(model.proto.variables)} variables, {len(model.proto.constraints)} rows")
        variables = [model.get_int_var_from_proto_index(n) for n in range(len(model.proto.variables))]
        for variable, value in zip(variables, self._last, strict=False):  # of the last step, if there was one: the same variables
            model.add_hint(variable, value)
        solver = solve_guarded(model, deterministic, seed)
        if solver is None:
            return None
        self._last = [solver.value(variable) for variable in variables]
        firsts = zip(self.shapes, places.firsts(solver), strict=True)
        return tuple(Laid(Chosen(worker=n, count=len(at)), tuple(sorted(at))) for n, at in sorted(firsts) if at)
