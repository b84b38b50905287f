"""Places for the workers of one pool as an integer program: where each begins, no GPU twice, domains whole, replicas on nodes of their own.

What comes out is a candidate, and is looked at again without the solver.
"""

from collections.abc import Sequence
from itertools import combinations, pairwise

from ortools.sat.python import cp_model

from models.cluster import Pool
from optimizer.encoding.guarded import solve_guarded

DETERMINISTIC_S = 5.0

Piece = tuple[int, int, str]
"""One worker that needs a place: its GPUs, the kind of worker that it is, its role"""


def propose_places(pool: Pool, pieces: Sequence[Piece], apart: int, seed: int = 0) -> list[int] | None:
    """The first GPU of each piece; `apart` pieces of each role, or all it has, share no node. None where none was found."""
    model = cp_model.CpModel()
    starts = [model.new_int_var_from_domain(_allowed(pool, piece[0]), f"first_{n}") for n, piece in enumerate(pieces)]
    model.add_no_overlap(
        [model.new_fixed_size_interval_var(s, p[0], f"on_{n}") for n, (s, p) in enumerate(zip(starts, pieces, strict=True))]
    )
    for n, (one, other) in enumerate(pairwise(pieces)):
        if one == other:  # alike: in order
            model.add(starts[n] < starts[n + 1])
    for role in {role for _, _, role in pieces} if apart > 1 else ():
        _spread(model, pool, pieces, starts, role, apart)
    solver = solve_guarded(model, DETERMINISTIC_S, seed)
    return None if solver is None else [solver.value(start) for start in starts]


def _allowed(pool: Pool, gpus: int) -> cp_model.Domain:
    """Where a worker of so many GPUs may begin: inside a domain, or where one begins."""
    domain, have = min(pool.scale_up_domain_gpus, pool.gpus), pool.gpus
    if gpus > domain:
        return cp_model.Domain.from_values(list(range(0, have - gpus + 1, domain)))
    return cp_model.Domain.from_intervals([[at, min(at + domain, have) - gpus] for at in range(0, have, domain) if have - at >= gpus])


def _spread(model: cp_model.CpModel, pool: Pool, pieces: Sequence[Piece], starts: list[cp_model.IntVar], role: str, apart: int) -> None:
    """`apart` pieces of the role are chosen among the first ones of each kind, and of two of them one ends on a node before the other's."""
    of_role = [n for n, piece in enumerate(pieces) if piece[2] == role]
    first_ones = [n for k, n in enumerate(of_role) if k < apart or pieces[of_role[k - apart]][1] != pieces[n][1]]
    nodes = pool.gpus // pool.gpus_per_node
    chosen, spans = dict[int, cp_model.IntVar](), dict[int, tuple[cp_model.IntVar, cp_model.IntVar]]()
    for n in first_ones:
        chosen[n] = model.new_bool_var(f"apart_{role}_{n}")
        first, last = model.new_int_var(0, nodes, f"node_{n}"), model.new_int_var(0, nodes, f"last_node_{n}")
        model.add_division_equality(first, starts[n], pool.gpus_per_node)
        model.add_division_equality(last, starts[n] + (pieces[n][0] - 1), pool.gpus_per_node)
        spans[n] = first, last
    model.add(sum(chosen.values()) >= min(apart, len(of_role)))
    for a, b in combinations(first_ones, 2):
        before = model.new_bool_var(f"before_{role}_{a}_{b}")
        model.add(spans[a][1] < spans[b][0]).only_enforce_if(chosen[a], chosen[b], before)
        model.add(spans[b][1] < spans[a][0]).only_enforce_if(chosen[a], chosen[b], ~before)
