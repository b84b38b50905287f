"""Workers but for their batch: the sizes they may have, and their degrees."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from models.cluster import Pool
from models.enumeration import Block, divisors, expert_sides, in_domain, tensor_degrees, values_of
from models.instance import Instance
from models.rules import layers_cover
from models.service import Service
from models.strategy import Strategy


class Cut(NamedTuple):
    """A worker but for its batch."""

    strategy: Strategy
    """one replica, as many micro-batches as stages"""
    chunks: int
    """of a prompt"""


def worker_sizes(service: Service, pool: Pool) -> tuple[int, ...]:
    """(R21 worker_domain) Numbers of GPUs of a worker, ascending: an equal part of a scale-up domain, or whole domains.

    Where the pool is one domain, any number.
    """
    have, domain, listed = pool.gpus, pool.scale_up_domain_gpus, service.workers.gpus
    within = (g for g in range(1, have + 1) if domain >= have or domain % g == 0 or g % domain == 0)
    return tuple(g for g in within if listed is None or g in listed)


def every_cut(i: Instance, gpus: int, chunks: Sequence[int]) -> Iterator[Cut]:
    """Every worker of so many GPUs, in a stated order: stages, tensor, context, expert side, rank order, chunks.

    `i` is any pass of the service on the pool; how long its context is does not count.
    """
    return (Cut(s, n) for block in worker_blocks(i, gpus) for s in block.strategies() for n in chunks)


def worker_blocks(i: Instance, gpus: int) -> Iterator[Block]:
    """The workers of so many GPUs but for their chunks, in the order of `every_cut`, in blocks of equal stages, tensor and context."""
    tensor = tensor_degrees(i, gpus)
    for pp in values_of(i, "pp", divisors(gpus)):
        if layers_cover(i, pp):
            break
        stage = gpus // pp
        for tp in (t for t in tensor if stage % t == 0):
            every_side = expert_sides(i, tp, stage)
            for cp in values_of(i, "cp", divisors(stage // tp)):
                dp = stage // (tp * cp)
                sides = every_side if i.space.admits("dp", dp) else ()
                yield in_domain(i, Block(1, pp, tp, cp, dp, (pp,), sides, i.space.orders))
