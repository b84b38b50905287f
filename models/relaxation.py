"""An instance made easier: whatever runs in the harder one runs in the easier one, and takes no longer.

Easier means more memory, faster links, less kept in reserve, no caps and no limits. Names, sources and plans to compare with
count for nothing, and the price of a GPU-hour, which values in money are in proportion to, is 1. Everything else must be
alike: then both have the same strategies, and each of them takes at least as long in the harder instance.
`tests/test_landscape.py` holds that to chance.
"""

from typing import NamedTuple

from models.cluster import Link, Pool
from models.instance import Instance, Limits
from models.workload import Runtime

_NO_SOURCES = {"*": "assumed: part of a relaxation"}


class Grade(NamedTuple):
    """What a relaxation may make better; in the order in which more is easier."""

    memory_bytes: int
    reserve_bytes: int
    """negative"""
    scale_up_bytes_per_s: int
    scale_up_latency_ns: int
    """negative"""
    scale_out_bytes_per_s: int
    scale_out_latency_ns: int
    """negative"""


def grade(i: Instance) -> Grade:
    """How good the instance is in what a relaxation may make better."""
    pool = i.cluster.pool
    up, out = pool.scale_up, pool.scale_out
    links = up.bandwidth_bytes_per_s, -up.latency_ns, out.bandwidth_bytes_per_s, -out.latency_ns
    return Grade(pool.accelerator.memory_bytes, -i.runtime.reserve_bytes, *links)


def easier(a: Grade, b: Grade) -> Grade:
    """As good as the better of both in everything."""
    return Grade(*map(max, zip(a, b, strict=True)))


def relaxed(i: Instance, to: Grade) -> Instance:
    """The instance as good as `to`, without caps and limits."""
    objective = i.objective.model_copy(update={"limits": Limits()})
    blank = {"name": "relaxed", "assumptions": (), "reference": None, "baseline": None, "objective": objective}
    cluster = i.cluster.model_copy(update={"pools": (_pool(i.cluster.pool, to),)})
    return i.model_copy(update={**blank, "cluster": cluster, "runtime": _runtime(i.runtime, to), "workload": _unsourced(i)})


def relaxes(easy: Instance, hard: Instance) -> bool:
    """Whether `easy` is a relaxation of `hard`."""
    reached = grade(easy)
    return easier(reached, grade(hard)) == reached and relaxed(hard, reached) == easy


def _pool(pool: Pool, to: Grade) -> Pool:
    accelerator = pool.accelerator.model_copy(update={"name": "relaxed", "memory_bytes": to.memory_bytes, "sources": _NO_SOURCES})
    return pool.model_copy(
        update={
            "name": "relaxed",
            "accelerator": accelerator,
            "scale_up": _link(pool.scale_up, to.scale_up_bytes_per_s, -to.scale_up_latency_ns),
            "scale_out": _link(pool.scale_out, to.scale_out_bytes_per_s, -to.scale_out_latency_ns),
            "price_uusd_per_gpu_hour": 1,
        }
    )


def _link(link: Link, bandwidth_bytes_per_s: int, latency_ns: int) -> Link:
    better = {"bandwidth_bytes_per_s": bandwidth_bytes_per_s, "latency_ns": latency_ns}
    return link.model_copy(update={**better, "cap_bytes_per_pass": None, "sources": _NO_SOURCES})


def _runtime(runtime: Runtime, to: Grade) -> Runtime:
    return runtime.model_copy(update={"reserve_bytes": -to.reserve_bytes, "sources": _NO_SOURCES})


def _unsourced(i: Instance) -> object:
    return i.workload.model_copy(update={"sources": _NO_SOURCES})
