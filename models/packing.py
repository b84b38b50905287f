"""Placement problems on their own: experts with loads to put on ranks, with the closed forms that bound them."""

from collections import Counter
from collections.abc import Sequence
from math import lcm
from typing import Annotated, Self

from pydantic import Field, model_validator

from models.placement import least_maximum
from models.record import Record, StopAtFirst
from models.units import ceil_div

MOST_DIGITS = 60
LARGEST = 10**MOST_DIGITS
MOST_EXPERTS = 4096
MOST_RANKS = 65_536

Natural = Annotated[int, Field(ge=0, lt=LARGEST)]
Naturals = Annotated[tuple[Natural, ...], StopAtFirst()]


class Refused(Exception):
    """Not proved: what fails, and where. Never says that the statement is false."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason)
        self.reason, self.where = reason, where


class RankClass(Record):
    """`ranks` ranks alike: each holds at most `slots` replicas, of at most `memory` in all, at a relative `speed`."""

    ranks: Annotated[int, Field(ge=1, le=MOST_RANKS)]
    slots: Annotated[int, Field(ge=1, le=MOST_EXPERTS)]
    speed: Annotated[int, Field(ge=1, le=10**9)] = 1
    memory: Natural | None = None


class Problem(Record):
    """Experts with loads (and sizes) to place on ranks; each gets 1 to `replicas` replicas on different ranks."""

    loads: Annotated[Naturals, Field(min_length=1, max_length=MOST_EXPERTS)]
    classes: tuple[RankClass, ...] = Field(min_length=1, max_length=64)
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    sizes: Annotated[Naturals, Field(max_length=MOST_EXPERTS)] | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.sizes is not None and len(self.sizes) != len(self.loads):
            raise ValueError(f"{len(self.sizes)} sizes for {len(self.loads)} loads; give one each")
        if self.sizes is None and any(c.memory is not None for c in self.classes):
            raise ValueError("a class has a memory, but the experts have no sizes; give both or neither")
        if self.ranks > MOST_RANKS:
            raise ValueError(f"{self.ranks} ranks; at most {MOST_RANKS} are supported")
        if self.slots < len(self.loads):
            raise ValueError(f"{self.slots} slots for {len(self.loads)} experts; every expert needs one")
        return self

    @property
    def ranks(self) -> int:
        return sum(c.ranks for c in self.classes)

    @property
    def slots(self) -> int:
        return sum(c.ranks * c.slots for c in self.classes)

    @property
    def full(self) -> bool:
        """Every slot of every rank is taken in every placement."""
        return self.replicas == 1 and self.slots == len(self.loads)


def area_bound(problem: Problem) -> int:
    """Least T with T * sum of ranks * speed >= sum of loads: no placement is below it."""
    return ceil_div(sum(problem.loads), sum(c.ranks * c.speed for c in problem.classes))


def closed_bound(problem: Problem) -> int:
    """The largest of the closed forms: area, the heaviest expert spread as far as it goes, and those of full equal ranks."""
    heaviest = ceil_div(max(problem.loads), problem.replicas * max(c.speed for c in problem.classes))
    best = max(area_bound(problem), heaviest)
    if problem.full and len(problem.classes) == 1:
        best = max(best, ceil_div(least_maximum(problem.loads, problem.ranks), problem.classes[0].speed))
    return best


def value_of_placement(problem: Problem, contents: Sequence[Sequence[int]]) -> int:
    """Least T such that no rank carries more than T * speed. Raises Refused where the contents are no placement."""
    classes = [c for c in problem.classes for _ in range(c.ranks)]
    count = Counter(e for rank in contents for e in rank)
    if len(contents) != len(classes):
        raise Refused(f"{len(contents)} ranks, the problem has {len(classes)}", "claim.placement")
    if sorted(count) != list(range(len(problem.loads))) or max(count.values()) > problem.replicas:
        raise Refused(f"each of {len(problem.loads)} experts needs 1 to {problem.replicas} replicas", "claim.placement")
    scale, value = lcm(*count.values()), 0
    for n, (rank, c) in enumerate(zip(contents, classes, strict=True)):
        if len(set(rank)) != len(rank) or len(rank) > c.slots:
            raise Refused(f"a rank holds at most {c.slots} experts, each once", f"claim.placement.{n}")
        if c.memory is not None and problem.sizes is not None and sum(problem.sizes[e] for e in rank) > c.memory:
            raise Refused(f"the experts of this rank exceed its memory {c.memory}", f"claim.placement.{n}")
        value = max(value, ceil_div(sum(problem.loads[e] * (scale // count[e]) for e in rank), scale * c.speed))
    return value
