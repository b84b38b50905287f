"""The solver defect that the guard exists for: google/or-tools issue 5293, on nine Booleans.

Byte-sized coefficients on an enforced row make CP-SAT 9.15 return OPTIMAL with a wrong value. The
same model in MiB is solved correctly; the guard refuses the first and admits the second.
"""

from itertools import product
from typing import NamedTuple

from ortools.sat.python import cp_model

from optimizer.encoding.guard import UnsafeModel, guard

SIZES = (69109801798, 63958073308, 56763935787, 41193292680, 48288315434, 17436756746, 41054738318)
CAPACITY = 140085755713
COSTS = (-11, 3, -2, 16, -7, -18, -3, -13, -21)
MIB = 1 << 20


class Canary(NamedTuple):
    """What the installed solver makes of the defect's model."""

    truth: int
    claimed_in_bytes: int
    claimed_in_mib: int
    guard_refuses_bytes: bool

    @property
    def defect_present(self) -> bool:
        return self.claimed_in_bytes != self.truth

    @property
    def safe(self) -> bool:
        """The precaution works: the bad form is refused, the good form is solved correctly."""
        return self.guard_refuses_bytes and self.claimed_in_mib == self.truth


def observe() -> Canary:
    """Solve the model in both units and by exhaustion."""
    refused = False
    try:
        guard(_model(1))
    except UnsafeModel:
        refused = True
    safe = _model(MIB)
    guard(safe)
    return Canary(_exhaust(), _solve(_model(1)), _solve(safe), refused)


def _model(unit: int) -> cp_model.CpModel:
    model = cp_model.CpModel()
    x = [model.new_bool_var(f"x[{k}]") for k in range(len(COSTS))]
    model.add_exactly_one(x[:4])
    need = cp_model.LinearExpr.weighted_sum(x[:7], [-(-size // unit) for size in SIZES])
    model.add(need <= CAPACITY // unit).only_enforce_if(x[8])
    model.minimize(cp_model.LinearExpr.weighted_sum(x, list(COSTS)))
    return model


def _solve(model: cp_model.CpModel) -> int:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL, "nine Booleans are always solved"
    return round(solver.objective_value)


def _exhaust() -> int:
    points = (p for p in product((0, 1), repeat=len(COSTS)) if sum(p[:4]) == 1)
    fits = (p for p in points if not p[8] or sum(s * v for s, v in zip(SIZES, p[:7], strict=True)) <= CAPACITY)
    return min(sum(c * v for c, v in zip(COSTS, p, strict=True)) for p in fits)
