"""The fleet as one integer program: workers of each shape within the pools, for the objective.

Rates and money are scaled, rates down and the load up, so that every row stays below the guard's limit: what comes out is a candidate,
and whether it is the best is decided elsewhere in exact integers.
"""

from ortools.sat.python import cp_model

from models.fleet import ROLES, Chosen, FleetProblem, undominated
from models.units import ceil_div
from optimizer.encoding.guarded import solve_guarded

LARGEST = 1 << 28  # of any rate, expense or sum of them in the model


def propose_fleet(problem: FleetProblem, deterministic: float, seed: int) -> tuple[Chosen, ...] | None:
    """A fleet that CP-SAT takes for the best; None without one. Objectives are rate, gpus and cost: ratios are not linear."""
    shapes = [n for role in ROLES for n in undominated(problem, role)]
    pools, workers = problem.pools, problem.workers
    most = {n: pools[workers[n].pool].gpus // workers[n].gpus for n in shapes}
    scale = max(1, ceil_div(sum(most[n] * workers[n].rate for n in shapes), LARGEST))
    model = cp_model.CpModel()
    count = {n: model.new_int_var(0, most[n], f"workers_{n}") for n in shapes}
    used = [sum(workers[n].gpus * count[n] for n in shapes if workers[n].pool == p) for p in range(len(pools))]
    for gpus, pool in zip(used, pools, strict=True):
        model.add(gpus <= pool.gpus)
    rate = {role: sum(workers[n].rate // scale * count[n] for n in shapes if workers[n].role == role) for role in ROLES}
    paired = model.new_int_var(0, LARGEST, "paired")
    model.add(paired <= rate["prefill"])
    model.add(paired <= rate["decode"])
    if problem.load is not None:
        model.add(rate["aggregated"] + paired >= ceil_div(problem.load, scale))
    for role in ROLES if problem.least_workers > 1 else ():
        of_role = [n for n in shapes if workers[n].role == role]
        in_use = model.new_bool_var(f"{role}_in_use")
        for n in of_role:
            model.add(count[n] <= most[n] * in_use)
        model.add(sum(count[n] for n in of_role) >= problem.least_workers * in_use)
    match problem.objective:
        case "rate":
            model.maximize(rate["aggregated"] + paired)
        case "gpus":
            model.minimize(sum(used))
        case _:
            prices = [pool.price_uusd_per_gpu_hour for pool in pools]
            cheap = max(1, ceil_div(sum(price * pool.gpus for price, pool in zip(prices, pools, strict=True)), LARGEST))
            model.minimize(sum(ceil_div(price, cheap) * gpus for price, gpus in zip(prices, used, strict=True)))
    solver = solve_guarded(model, deterministic, seed)
    if solver is None:
        return None
    chosen = ((n, solver.value(variable)) for n, variable in count.items())
    return tuple(Chosen(worker=n, count=k) for n, k in sorted(chosen) if k)
