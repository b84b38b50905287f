"""Refuses a built model that CP-SAT 9.15 might mis-solve.

With byte-sized coefficients on Booleans it returns wrong proofs (google/or-tools issue 5293), and
a floating objective is scaled silently. Both are our bug if they get this far.
"""

from ortools.sat.python.cp_model import CpModel

ROW_LIMIT = 1 << 31


class UnsafeModel(AssertionError):
    """The built model breaks a precaution; the message names the row or variable."""


def guard(model: CpModel) -> None:
    """Raises UnsafeModel unless every row, bound and the objective are small integers and names are unique."""
    proto = model.proto
    if model.has_objective() and proto.has_floating_point_objective():
        raise UnsafeModel("the objective has floating-point coefficients")
    names = [v.name for v in proto.variables]
    if len(set(names)) != len(names):
        raise UnsafeModel("two variables share a name")
    booleans = [tuple(v.domain) == (0, 1) for v in proto.variables]
    for v in proto.variables:
        if any(abs(bound) >= ROW_LIMIT for bound in v.domain):
            raise UnsafeModel(f"variable {v.name} ranges beyond 2**31")
    for row in proto.constraints:
        if not row.has_linear():  # reading .linear of another kind of row would turn it into an empty linear row
            continue
        terms = list(zip(row.linear.vars, row.linear.coeffs, strict=True))
        if any(abs(c) >= ROW_LIMIT for _, c in terms):
            raise UnsafeModel(f"row {row.name} has a coefficient beyond 2**31")
        if sum(abs(c) for x, c in terms if booleans[x]) >= ROW_LIMIT:
            raise UnsafeModel(f"row {row.name}: coefficients of Booleans add up beyond 2**31")
    if sum(abs(c) for c in proto.objective.coeffs) >= ROW_LIMIT:
        raise UnsafeModel("objective coefficients add up beyond 2**31")
