"""Every strategy that keeps the rules on strategies (R1-R12, R20), in a stated order.

Order: replicas, pp, tp, cp, dp, microbatches, ep, etp, redundant slots, rank order, each ascending.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

from models.instance import Instance
from models.rules import (
    batch_divides,
    context_covers,
    dense_model,
    expert_width_divides,
    experts_divide,
    ffn_divides,
    heads_divide,
    kv_heads,
    layers_cover,
    redundant_slots,
    tp_in_domain,
)
from models.strategy import Strategy

R = TypeVar("R")

Side = tuple[int, int, int, int]
"""etp, ep, edp, redundant slots per EP rank"""


class Block(NamedTuple):
    """Strategies that share all but micro-batches, expert side and rank order; each combination of those is one."""

    replicas: int
    pp: int
    tp: int
    cp: int
    dp: int
    microbatches: tuple[int, ...]
    sides: tuple[Side, ...]
    orders: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.microbatches) * len(self.sides) * len(self.orders)

    def strategy(self, microbatches: int, side: Side, order: str) -> Strategy:
        etp, ep, edp, redundant = side
        return Strategy(self.tp, self.cp, self.dp, self.pp, etp, ep, edp, self.replicas, microbatches, order, redundant)

    def strategies(self) -> Iterator[Strategy]:
        """In the stated order."""
        return (self.strategy(m, side, order) for m in self.microbatches for side in self.sides for order in self.orders)


def strategies(i: Instance) -> Iterator[Strategy]:
    """All strategies of the instance's space; memory, links and limits are not looked at."""
    return (s for block in blocks(i) for s in block.strategies())


def blocks(i: Instance) -> Iterator[Block]:
    """The space in blocks; empty ones too, so that a caller can stop where strategies are few and far between."""
    return _classic(i) if i.space.name == "classic" else _folded(i)


def position(i: Instance, s: Strategy) -> tuple[int, ...]:
    """Sorts strategies into the stated order."""
    return s.replicas, s.pp, s.tp, s.cp, s.dp, s.microbatches, s.ep, s.etp, s.redundant, i.space.orders.index(s.order)


def divisors(n: int) -> list[int]:
    """Divisors of n >= 1, ascending."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def values_of(i: Instance, degree: str, candidates: list[int]) -> list[int]:
    return [v for v in candidates if i.space.admits(degree, v)]


def tensor_degrees(i: Instance, most: int) -> list[int]:
    heads = next((a.heads for a in i.architecture.attentions()), None)
    candidates = range(1, most + 1) if heads is None else divisors(heads)  # without attention no heads limit them
    fits = (v for v in candidates if v <= most and not (heads_divide(i, v) or kv_heads(i, v) or ffn_divides(i, v)))
    return values_of(i, "tp", list(fits))


def _expert_degrees(i: Instance, most: int) -> list[int]:
    return values_of(i, "ep", [v for v in divisors(i.architecture.experts or 1) if v <= most and not experts_divide(i, v)])


def _microbatches(i: Instance, replicas: int, dp: int) -> tuple[int, ...]:
    sequences = i.workload.sequences
    if sequences % (replicas * dp):
        return ()
    values = divisors(sequences // (replicas * dp))
    return tuple(values_of(i, "microbatches", [m for m in values if not batch_divides(i, replicas, dp, m)]))


def _classic(i: Instance) -> Iterator[Block]:
    gpus = i.cluster.pool.gpus
    if not all(i.space.admits(d, 1) for d in ("cp", "edp", "replicas")):
        return
    tensor = tensor_degrees(i, gpus)
    for pp in values_of(i, "pp", divisors(gpus)):
        if layers_cover(i, pp):
            continue
        for tp in tensor:
            ep, rest = divmod(gpus, pp * tp)
            if rest or experts_divide(i, ep) or expert_width_divides(i, tp):
                continue
            if not (i.space.admits("ep", ep) and i.space.admits("dp", ep) and i.space.admits("etp", tp)):
                continue
            yield in_domain(i, Block(1, pp, tp, 1, ep, _microbatches(i, 1, ep), _with_slots(i, tp, ep, 1), i.space.orders))


def _folded(i: Instance) -> Iterator[Block]:
    gpus = i.cluster.pool.gpus
    experts, micro = _memoised(partial(expert_sides, i)), _memoised(partial(_microbatches, i))
    tensor = tensor_degrees(i, gpus)
    for replicas in values_of(i, "replicas", [r for r in divisors(i.workload.sequences) if r <= gpus]):
        parallel = values_of(i, "dp", divisors(i.workload.sequences // replicas))
        for pp in values_of(i, "pp", list(range(1, min(gpus // replicas, i.architecture.layer_count) + 1))):
            room = gpus // (replicas * pp)
            for tp in tensor:
                for cp in values_of(i, "cp", list(range(1, room // tp + 1))):
                    if context_covers(i, cp):
                        break
                    yield Block(replicas, pp, tp, cp, 1, (), (), ())
                    for dp in parallel:
                        if dp > room // (tp * cp):
                            break
                        sides = experts(tp, tp * cp * dp)
                        if sides:
                            yield in_domain(i, Block(replicas, pp, tp, cp, dp, micro(replicas, dp), sides, i.space.orders))


def in_domain(i: Instance, block: Block) -> Block:
    """The block without the rank orders in which a tensor-parallel group leaves its domain, where that is asked for."""
    if not i.space.tp_in_domain or not block.size:
        return block
    return block._replace(orders=tuple(o for o in block.orders if not tp_in_domain(i, block.strategy(1, block.sides[0], o))))


def expert_sides(i: Instance, tp: int, stage_gpus: int) -> tuple[Side, ...]:
    """(etp, ep, edp) with product `stage_gpus`, each with every number of redundant slots."""
    found = list[Side]()
    for ep in _expert_degrees(i, stage_gpus):
        if stage_gpus % ep:
            continue
        parts = divisors(stage_gpus // ep) if i.architecture.experts else [tp] * (stage_gpus % tp == 0)  # R8: without experts etp = tp
        for etp in values_of(i, "etp", parts):
            edp = stage_gpus // (ep * etp)
            if not (expert_width_divides(i, etp) or dense_model(i, tp, etp)) and i.space.admits("edp", edp):
                found += _with_slots(i, etp, ep, edp)
    return tuple(found)


def _with_slots(i: Instance, etp: int, ep: int, edp: int) -> tuple[Side, ...]:
    """An expert side with each number of redundant slots that the space lists and the experts can fill."""
    return tuple((etp, ep, edp, n) for n in sorted(i.space.redundant_slots) if not redundant_slots(i, ep, n))


def _memoised(function: Callable[[int, int], R]) -> Callable[[int, int], R]:
    found: dict[tuple[int, int], R] = {}

    def wrapped(a: int, b: int) -> R:
        if (a, b) not in found:
            found[a, b] = function(a, b)
        return found[a, b]

    return wrapped
