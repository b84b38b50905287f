"""The workers of a fleet on the GPUs of their pools."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from models.cluster import Pool


class Wanted(NamedTuple):
    """One worker that needs a place."""

    gpus: int
    kind: int
    """the member of the fleet that it belongs to"""
    role: str


def place_workers(pool: Pool, wanted: Sequence[Wanted]) -> dict[int, list[int]] | None:
    """The first GPU of each worker, by kind; None where the largest first do not fit.

    Whole domains first, then parts of domains, each where the fewest of its role are. Sizes that divide each other always fit.
    """
    domain = min(pool.scale_up_domain_gpus, pool.gpus)
    ends = [min(start + domain, pool.gpus) for start in range(0, pool.gpus, domain)]
    free = [end - n * domain for n, end in enumerate(ends)]
    first, roles = dict[int, list[int]](), [Counter[str]() for _ in free]
    for worker in sorted(wanted, key=lambda w: (-w.gpus, w.kind)):
        whole = -(-worker.gpus // domain)
        starts = [n for n in range(len(free) - whole + 1) if _fits(free, n, worker.gpus, domain)]
        if not starts:
            return None
        at = min(starts, key=lambda n: (roles[n][worker.role], n))
        first.setdefault(worker.kind, []).append(ends[at] - free[at])
        left = worker.gpus
        for n in range(at, at + whole):
            left -= (taken := min(left, free[n]))
            free[n] -= taken
            roles[n][worker.role] += 1
    return {kind: sorted(gpus) for kind, gpus in first.items()}


def _fits(free: Sequence[int], at: int, gpus: int, domain: int) -> bool:
    """Whether a worker can begin in domain `at`: in its free part, or in whole domains from there on."""
    if gpus <= domain:
        return free[at] >= gpus
    return all(free[n] == domain for n in range(at, at + gpus // domain))
