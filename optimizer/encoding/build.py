"""Tables to a guarded model."""

from ortools.sat.python.cp_model import CpModel

from optimizer.encoding.constraints import CONSTRAINTS
from optimizer.encoding.guard import guard
from optimizer.encoding.objective import minimise_cost
from optimizer.encoding.tables import Tables
from optimizer.encoding.variables import Constraint, Variables, create


def build(tables: Tables, constraints: tuple[Constraint, ...] = CONSTRAINTS) -> tuple[CpModel, Variables]:
    """The joint model over degrees, stages and placement. Raises UnsafeModel when the guard refuses it."""
    model = CpModel()
    variables = create(model, tables)
    if tables.alive:
        for constraint in constraints:
            constraint(model, tables, variables)
        minimise_cost(model, tables, variables)
    else:
        model.add_bool_or([])  # no strategy keeps the rules
    guard(model)
    return model, variables
