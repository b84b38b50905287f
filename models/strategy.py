"""One decision: the degrees, micro-batches and rank order, and the plan that completes them."""

from collections.abc import Sequence
from itertools import permutations
from typing import Annotated, NamedTuple

from pydantic import Field, field_validator

from models.record import Name, Record, StopAtFirst

Degree = Annotated[int, Field(ge=1, le=10_000_000)]  # micro-batches may be as many as sequences
Redundant = Annotated[int, Field(ge=0, le=10_000_000)]  # the rule R20 bounds it by the experts
DEGREES = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "replicas", "microbatches")
DEFAULT_ORDER = "tp-cp-dp|etp-ep-edp"
ORDERS = tuple(f"{'-'.join(a)}|{'-'.join(e)}" for a in permutations(("tp", "cp", "dp")) for e in permutations(("etp", "ep", "edp")))

RANK_ORDER = "^(" + "|".join(order.replace("|", r"\|") for order in ORDERS) + ")$"


class Strategy(NamedTuple):
    """Degrees, micro-batches, rank order and redundant slots. What was chosen, not what it costs.

    Attention side tp * cp * dp and expert side etp * ep * edp fill the same GPUs of each of `pp`
    stages; `replicas` copies of the whole split the sequences. In `order`, each side is listed
    innermost first; stages are outside both, replicas outside all. Each EP rank has experts / ep + `redundant`
    slots in every MoE layer.
    """

    tp: int
    cp: int
    dp: int
    pp: int
    etp: int
    ep: int
    edp: int
    replicas: int
    microbatches: int
    order: str = DEFAULT_ORDER
    redundant: int = 0

    @property
    def stage_gpus(self) -> int:
        return self.tp * self.cp * self.dp

    @property
    def world(self) -> int:
        """GPUs of one replica."""
        return self.stage_gpus * self.pp

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.world * self.replicas

    def degrees(self) -> dict[str, int]:
        """All that is a number, the redundant slots last."""
        return {d: getattr(self, d) for d in (*DEGREES, "redundant")}

    def label(self) -> str:
        """Compact name, e.g. `EP64 TP2 PP1`, or `EP32+2 TP1 PP1` with 2 redundant slots per rank; other degrees above 1 after them."""
        main = f"EP{self.ep}{f'+{self.redundant}' if self.redundant else ''} TP{self.tp} PP{self.pp}"
        rest = "".join(f" {d.upper()}{getattr(self, d)}" for d in ("dp", "cp", "etp", "edp") if getattr(self, d) > 1)
        tail = (f" x{self.replicas}" if self.replicas > 1 else "") + (f" mb{self.microbatches}" if self.microbatches > 1 else "")
        return main + rest + tail + ("" if self.order == DEFAULT_ORDER else f" [{self.order}]")


class Degrees(Record):
    """The degrees of a plan as a file states them; absent ones are filled in."""

    tp: Degree | None = None
    cp: Degree | None = None
    dp: Degree | None = None
    pp: Degree | None = None
    etp: Degree | None = None
    ep: Degree | None = None
    edp: Degree | None = None
    replicas: Degree | None = None
    microbatches: Degree | None = None
    redundant: Redundant | None = Field(default=None, description="redundant expert slots per EP rank, 0 where absent")


RankContents = tuple[tuple[int, ...], ...]
"""Experts held by each EP rank of one MoE layer."""


Held = Annotated[tuple[Annotated[int, Field(ge=0, le=4095)], ...], StopAtFirst()]
Ranks = Annotated[tuple[Held, ...], StopAtFirst()]


def rank_order(order: str | None) -> str | None:
    """The order, where there is such a one. Raises ValueError."""
    if order is not None and order not in ORDERS:
        raise ValueError(f'not a rank order; write one such as "{DEFAULT_ORDER}"')
    return order


class PlanFile(Record):
    """A plan as a user writes it: only `degrees` is needed; the rest is chosen best when absent."""

    name: Name | None = None
    degrees: Degrees
    order: str | None = Field(default=None, description="rank order, innermost first, e.g. " + DEFAULT_ORDER)
    stages: Annotated[tuple[Degree, ...], StopAtFirst()] | None = Field(
        default=None, max_length=1000, description="layers of each stage, in order"
    )
    placement: Annotated[tuple[Ranks, ...], StopAtFirst()] | None = Field(
        default=None, max_length=1000, description="experts of each EP rank, for each MoE layer"
    )

    _order_exists = field_validator("order")(rank_order)


class Plan(NamedTuple):
    """A complete decision: strategy, layers per stage, and each MoE layer's experts per EP rank."""

    strategy: Strategy
    stages: tuple[int, ...]
    placement: tuple[RankContents, ...]


def fill_degrees(stated: Degrees, order: str | None = None, dense: bool = False) -> tuple[Strategy, tuple[str, ...]]:
    """The strategy that `stated` means, and the names of the degrees that were filled in.

    cp, pp, replicas and microbatches default to 1, redundant slots to 0, which is not named. When neither dp nor edp is stated, the plan is
    read as in the classic space (dp = ep, edp = 1, etp = tp); otherwise the identity
    tp * cp * dp = etp * ep * edp gives what is missing, with ep = 1, and etp = 1 (etp = tp for a
    `dense` model) where it leaves a choice.
    """
    given = {name: value for name in DEGREES if (value := getattr(stated, name)) is not None}
    d = dict.fromkeys(("tp", "cp", "pp", "ep", "replicas", "microbatches"), 1) | given
    if "dp" not in given and "edp" not in given:
        d = {"etp": d["tp"], "edp": 1} | d
    d = {"etp": d["tp"] if dense else 1} | d
    attention, experts = d["tp"] * d["cp"], d["etp"] * d["ep"]
    if "dp" not in d:
        d["dp"] = max(1, experts * d["edp"] // attention)
    if "edp" not in d:
        d["edp"] = max(1, attention * d["dp"] // experts)
    strategy = Strategy(**d, order=order or DEFAULT_ORDER, redundant=stated.redundant or 0)
    return strategy, tuple(name for name in DEGREES if name not in given)


def complete_stages(layers: int, pp: int) -> tuple[int, ...]:
    """As even a split as possible, longer stages first."""
    return tuple(layers // pp + (p < layers % pp) for p in range(pp))


def stage_ranges(stages: Sequence[int]) -> list[range]:
    """Layer indices of each stage."""
    starts = [sum(stages[:p]) for p in range(len(stages))]
    return [range(s, s + n) for s, n in zip(starts, stages, strict=True)]
