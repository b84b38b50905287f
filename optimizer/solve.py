"""CP-SAT: the joint model's answer, as a claim for the checker. The only mapping of solver statuses."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ortools.sat.python import cp_model

from models.enumeration import position
from models.errors import VerificationError
from models.evaluate import evaluate
from models.floors import root_bound
from models.instance import Instance
from models.objective import near_limit
from models.result import Candidate, Claim, Status
from models.rules import violations
from models.strategy import Plan
from optimizer.encoding.build import build
from optimizer.encoding.tables import Tables, prepare
from optimizer.encoding.variables import Variables, extract
from optimizer.look import Progress


class SolverLimits(NamedTuple):
    """Limits, seed and workers of one CP-SAT run."""

    deterministic: float
    """deterministic seconds"""
    seconds: float | None
    """wall limit"""
    seed: int
    workers: int


def make_solver(limits: SolverLimits) -> cp_model.CpSolver:
    """A solver whose answer depends on the model and the seed alone, unless the wall limit bites."""
    solver = cp_model.CpSolver()
    p = solver.parameters
    p.random_seed, p.num_workers = limits.seed, limits.workers
    p.interleave_search = limits.workers > 1
    p.max_deterministic_time = limits.deterministic
    p.presolve_inclusion_work_limit = 0  # google/or-tools issue 5293
    if limits.seconds is not None:
        p.max_time_in_seconds = limits.seconds
    return solver


def read_status(code: cp_model.CpSolverStatus) -> Status:
    """CP-SAT's status in our terms. Raises AssertionError on MODEL_INVALID."""
    match code:
        case cp_model.OPTIMAL:
            return Status.OPTIMAL
        case cp_model.FEASIBLE:
            return Status.FEASIBLE
        case cp_model.INFEASIBLE:
            return Status.INFEASIBLE
        case cp_model.UNKNOWN:
            return Status.UNKNOWN
        case _:
            raise AssertionError(f"CP-SAT calls the model invalid ({code})")


def solve_jointly(instance: Instance, epsilon_ppm: int, limits: SolverLimits, progress: Progress) -> Claim:
    """Every strategy within epsilon of the optimum, cheapest first, by solving and excluding in turn.

    Raises TooLarge when the instance is beyond the joint model. What the solver proves is only
    claimed: the bound holds in steps of the tables' quantum, and the checker decides.
    """
    tables = prepare(instance, epsilon_ppm)
    model, variables = build(tables)
    progress(f"joint model: {len(model.proto.variables)} variables, {len(model.proto.constraints)} rows")
    found: list[Candidate] = []
    bound: int | None = None
    left, late = limits, False
    while True:
        solver = make_solver(left)
        status = _run(solver, model)
        if status in (Status.FEASIBLE, Status.UNKNOWN):
            late = left.seconds is not None and solver.deterministic_time < 0.99 * left.deterministic
        if status in (Status.INFEASIBLE, Status.UNKNOWN):
            break
        proved = round(solver.best_objective_bound) * tables.quantum * tables.divisor
        bound = proved if bound is None else min(bound, proved)
        if found and proved > near_limit(min(c.value for c in found), epsilon_ppm):
            break
        plan = _plan(solver, tables, variables)
        found.append(Candidate(plan, evaluate(instance, plan).value))
        progress(f"{plan.strategy.label()}: {found[-1].value}")
        if status is Status.FEASIBLE:
            break
        model.add_bool_and(~variables.strategy[plan.strategy])
        left = _less(left, solver)
    whole = status in (Status.OPTIMAL, Status.INFEASIBLE)
    claim = _claim(tables, found, bound if whole else root_bound(instance), whole, epsilon_ppm)
    return claim._replace(wall_limited=late)


def _less(limits: SolverLimits, solver: cp_model.CpSolver) -> SolverLimits:
    """What a solve has left of the limits of the whole."""
    seconds = None if limits.seconds is None else max(0.0, limits.seconds - solver.wall_time)
    return limits._replace(deterministic=max(0.0, limits.deterministic - solver.deterministic_time), seconds=seconds)


def _run(solver: cp_model.CpSolver, model: cp_model.CpModel) -> Status:
    """Solve in a thread, so that Ctrl-C stops it and is not swallowed: CP-SAT would keep the signal to itself."""
    solver.parameters.catch_sigint_signal = False
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(solver.solve, model)
        try:
            return read_status(running.result())
        except KeyboardInterrupt:
            solver.stop_search()
            raise


def _plan(solver: cp_model.CpSolver, tables: Tables, variables: Variables) -> Plan:
    """The plan of a solution. Raises VerificationError where it is none, or breaks a rule."""
    try:
        plan = extract(solver, tables, variables)
    except (KeyError, StopIteration) as error:
        raise VerificationError("the solution of CP-SAT is no plan") from error
    broken = violations(tables.instance, plan)
    if broken:
        raise VerificationError(f"the solution of CP-SAT breaks {broken[0].rule}: {broken[0].sentence}")
    return plan


def _claim(tables: Tables, found: list[Candidate], bound: int | None, whole: bool, epsilon_ppm: int) -> Claim:
    """OPTIMAL only where the scaled model is exact; otherwise the bound that rounding leaves."""
    seen = len(tables.alive)
    if not found or bound is None:
        status = Status.INFEASIBLE if whole else Status.UNKNOWN
        return Claim(status, (), None if whole else bound, (), None, False, seen, None, {}, not whole, "joint")
    found = sorted(found, key=lambda c: (c.value, position(tables.instance, c.plan.strategy)))
    best = found[0].value
    cut = near_limit(best, epsilon_ppm)
    exact = whole and tables.quantum == 1
    optimal = tuple(c for c in found if c.value == best)
    near = tuple(c for c in found if best < c.value <= cut)
    status = Status.OPTIMAL if exact else Status.FEASIBLE
    return Claim(status, optimal if exact else optimal[:1], min(best, bound), near, cut, exact, seen, None, {}, not whole, "joint")
