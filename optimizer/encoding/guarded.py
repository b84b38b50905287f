"""One guarded run of CP-SAT on one thread, for models whose answers are only candidates."""

from ortools.sat.python import cp_model

from optimizer.encoding.guard import UnsafeModel, guard


def solve_guarded(model: cp_model.CpModel, deterministic: float, seed: int, gap: float = 0.0) -> cp_model.CpSolver | None:
    """The solver with a solution found within deterministic seconds; None where there is none, or a row is too large to be safe."""
    try:
        guard(model)
    except UnsafeModel:
        return None
    solver = cp_model.CpSolver()
    p = solver.parameters
    p.num_workers, p.max_deterministic_time, p.random_seed, p.relative_gap_limit = 1, deterministic, seed, gap
    status = solver.solve(model)
    assert status != cp_model.MODEL_INVALID, "the model is built wrongly"
    return solver if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else None
