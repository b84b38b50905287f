"""Alpha-beta costs of the collectives, over the tiers that a group really crosses.

A collective of n ranks takes ceil(log2 n) rounds of latency on each tier and moves the bytes of the
bandwidth-optimal algorithm (Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005, sections 4.1-4.4). A
group that spans domains works in two levels: inside the domains, and across them between ranks of
equal position, each moving its share.
"""

from typing import NamedTuple

from models.cluster import Pool
from models.layout import Pattern, domain_counts
from models.units import WHOLE, ceil_div, log2_ceil, transfer_ns


class Comm(NamedTuple):
    """Time of a communication, and the bytes through one GPU's port of each tier."""

    ns: int
    scale_up_bytes: int
    scale_out_bytes: int

    def __add__(self, other: object) -> "Comm":
        assert isinstance(other, Comm)
        return Comm(self.ns + other.ns, self.scale_up_bytes + other.scale_up_bytes, self.scale_out_bytes + other.scale_out_bytes)

    def times(self, n: int) -> "Comm":
        return Comm(self.ns * n, self.scale_up_bytes * n, self.scale_out_bytes * n)


NOTHING = Comm(0, 0, 0)


def _scale_up(pool: Pool, rounds: int, size_bytes: int) -> Comm:
    link = pool.scale_up
    return Comm(rounds * link.latency_ns + transfer_ns(size_bytes, link.bandwidth_bytes_per_s), size_bytes, 0)


def _scale_out(pool: Pool, rounds: int, size_bytes: int) -> Comm:
    link = pool.scale_out
    return Comm(rounds * link.latency_ns + transfer_ns(size_bytes, link.bandwidth_bytes_per_s), 0, size_bytes)


def worst(costs: list[Comm]) -> Comm:
    """Component-wise maximum over the groups that run at the same time."""
    if len(costs) == 1:
        return costs[0]
    return Comm(*map(max, zip(*costs, strict=True))) if costs else NOTHING


def all_gather(pool: Pool, size_bytes: int, pattern: Pattern) -> Comm:
    """Every rank ends with all `size_bytes`: (g-1)/g inside its domain, (d-1)/d / g across domains.

    With g ranks per domain and d domains; uneven groups take the worst of each.
    """
    if len(pattern) == 1:
        return NOTHING
    counts = domain_counts(pattern)
    d, most, least = len(counts), max(counts), min(counts)
    cost = NOTHING
    if d > 1:
        cost += _scale_out(pool, log2_ceil(d), ceil_div(size_bytes * (d - 1), d * least))
    if most > 1:
        cost += _scale_up(pool, log2_ceil(most), ceil_div(size_bytes * (most - 1), most))
    return cost


def reduce_scatter(pool: Pool, size_bytes: int, pattern: Pattern) -> Comm:
    """The mirror image of `all_gather`: the same steps backwards, with a sum."""
    return all_gather(pool, size_bytes, pattern)


def all_reduce(pool: Pool, size_bytes: int, pattern: Pattern) -> Comm:
    """Reduce-scatter, then all-gather (Rabenseifner)."""
    return all_gather(pool, size_bytes, pattern).times(2)


def all_to_all(pool: Pool, tokens: int, received: int, token_bytes: int, copies: int, pattern: Pattern) -> Comm:
    """Hierarchical dispatch (or combine, backwards) of `tokens` tokens per rank.

    Across domains each token travels once per destination domain: `copies` (2**-20) per token
    through the busiest port, to the rank of its own position there. Inside a domain of g ranks the
    most loaded one takes `received` expert inputs, 1/g of which lie on it already. DeepEP's two-hop
    forwarding (github.com/deepseek-ai/DeepEP) is the model; the hops are not overlapped.
    """
    counts = domain_counts(pattern)
    most, cost = max(counts), NOTHING
    if len(counts) > 1:
        cost += _scale_out(pool, log2_ceil(len(counts)), ceil_div(tokens * copies * token_bytes, WHOLE))
    if most > 1:
        cost += _scale_up(pool, log2_ceil(most), ceil_div(received * token_bytes * (most - 1), most))
    return cost


def send(pool: Pool, size_bytes: int, crosses_domains: bool) -> Comm:
    """One message to a peer: latency + bytes / bandwidth of the tier between them."""
    return _scale_out(pool, 1, size_bytes) if crosses_domains else _scale_up(pool, 1, size_bytes)
