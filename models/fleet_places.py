"""Where the workers of a fleet lie: no GPU twice, domains whole, replicas on nodes of their own."""

from collections.abc import Iterable, Sequence

from models.cluster import Pool
from models.packing import Refused


def examine_places(pool: Pool, places: Sequence[tuple[int, int]]) -> None:
    """(R22 pool) No GPU has two workers, and a worker lies inside one scale-up domain or begins one. Raises Refused."""
    free = 0
    for gpus, first in sorted(places, key=lambda p: p[1]):
        domain = pool.scale_up_domain_gpus
        if first < free or first + gpus > pool.gpus:
            raise Refused(f"GPUs {first} to {first + gpus - 1} of pool {pool.name} are taken or do not exist", "claim.fleet")
        if first // domain != (first + gpus - 1) // domain and first % domain:
            raise Refused(f"a worker on GPUs {first} to {first + gpus - 1} of pool {pool.name} tears a scale-up domain", "claim.fleet")
        free = first + gpus


def nodes_apart(spans: Iterable[tuple[str, int, int]]) -> int:
    """The most workers of which no two share a node: as many nodes must fail before none is left (intervals: the first to end is taken)."""
    found, ends = 0, dict[str, int]()
    for pool, first, last in sorted(spans, key=lambda span: span[2]):
        if first > ends.get(pool, -1):
            found, ends[pool] = found + 1, last
    return found
