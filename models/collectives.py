"""Alpha-beta costs of the collectives, over the tiers that a group really crosses.

A collective of n ranks takes ceil(log2 n) rounds of latency on each tier and moves the bytes of the
bandwidth-optimal algorithm (Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005, sections 4.1-4.4). A
group that spans domains works in two levels: inside the domains, and across them between ranks of
equal position, each moving its share.
"""

from typing import Literal, NamedTuple

from models.cluster import Collective, Law, Link, Pool
from models.layout import Pattern, domain_counts
from models.units import PPM, WHOLE, ceil_div, combine, log2_ceil, transfer_ns


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


def _scale_up(pool: Pool, collective: Collective, ranks: int, size_bytes: int) -> Comm:
    link, bandwidth = pool.scale_up, pool.scale_up.bandwidth_bytes_per_s
    if link.topology == "full_mesh" and ranks < pool.scale_up_domain_gpus:
        bandwidth = max(1, bandwidth * (ranks - 1) // (pool.scale_up_domain_gpus - 1))  # links to GPUs outside the group idle
    return Comm(tier_ns(link, bandwidth, collective, ranks, size_bytes), size_bytes, 0)


def _scale_out(pool: Pool, collective: Collective, ranks: int, size_bytes: int) -> Comm:
    link = pool.scale_out
    return Comm(tier_ns(link, link.bandwidth_bytes_per_s, collective, ranks, size_bytes), 0, size_bytes)


def tier_ns(link: Link, bandwidth: int, collective: Collective, ranks: int, size_bytes: int) -> int:
    """One tier's part of a collective among `ranks` ranks, `size_bytes` through each port: the fastest of the measured laws.

    Without a law, ceil(log2 ranks) rounds of latency plus bytes over bandwidth.
    """
    laws = link.laws.get(collective) if link.laws else None
    if laws is None:
        return log2_ceil(ranks) * link.latency_ns + transfer_ns(size_bytes, bandwidth)
    return min(_law_ns(law, bandwidth, ranks, size_bytes) for law in laws)


def _law_ns(law: Law, bandwidth: int, ranks: int, size_bytes: int) -> int:
    """norm(fixed + (g - 1) * per rank, bytes / (bandwidth * efficiency)); one shot moves g / 2 times the bytes of two phases."""
    moved = ceil_div(size_bytes * ranks, 2) if law.one_shot else size_bytes
    return combine(law.norm, law.fixed_ns + (ranks - 1) * law.per_rank_ns, transfer_ns(moved * PPM, bandwidth * law.efficiency_ppm))


def worst(costs: list[Comm]) -> Comm:
    """Component-wise maximum over the groups that run at the same time."""
    if len(costs) == 1:
        return costs[0]
    return Comm(*map(max, zip(*costs, strict=True))) if costs else NOTHING


def all_gather(pool: Pool, size_bytes: int, pattern: Pattern, collective: Collective = "all_gather") -> Comm:
    """Every rank ends with all `size_bytes`: (g-1)/g inside its domain, (d-1)/d / g across domains.

    With g ranks per domain and d domains; uneven groups take the worst of each.
    """
    if len(pattern) == 1:
        return NOTHING
    counts = domain_counts(pattern)
    d, most, least = len(counts), max(counts), min(counts)
    cost = NOTHING
    if d > 1:
        cost += _scale_out(pool, collective, d, ceil_div(size_bytes * (d - 1), d * least))
    if most > 1:
        cost += _scale_up(pool, collective, most, ceil_div(size_bytes * (most - 1), most))
    return cost


def reduce_scatter(pool: Pool, size_bytes: int, pattern: Pattern) -> Comm:
    """The mirror image of `all_gather`: the same steps backwards, with a sum."""
    return all_gather(pool, size_bytes, pattern, "reduce_scatter")


def all_reduce(pool: Pool, size_bytes: int, pattern: Pattern) -> Comm:
    """Reduce-scatter, then all-gather (Rabenseifner); inside one domain by its own law where there is one."""
    if len(pattern) > 1 and "all_reduce" in pool.scale_up.laws and len(domain_counts(pattern)) == 1:
        return _scale_up(pool, "all_reduce", len(pattern), 2 * ceil_div(size_bytes * (len(pattern) - 1), len(pattern)))
    return reduce_scatter(pool, size_bytes, pattern) + all_gather(pool, size_bytes, pattern)


Way = Literal["dispatch", "combine"]


def all_to_all(pool: Pool, way: Way, tokens: int, received: int, token_bytes: int, copies: int, pattern: Pattern) -> Comm:
    """Hierarchical dispatch (or combine, backwards) of `tokens` tokens per rank.

    Across domains each token travels once per destination domain: `copies` (2**-20) per token
    through the busiest port, to the rank of its own position there. Inside a domain of g ranks the
    most loaded one takes `received` expert inputs, 1/g of which lie on it already. DeepEP's two-hop
    forwarding (github.com/deepseek-ai/DeepEP) is the model. The hops follow one another; where the
    scale-out hop has a measured law they are pipelined, and add up as the law was fitted: by squares.
    """
    counts = domain_counts(pattern)
    most = max(counts)
    across = _scale_out(pool, way, len(counts), ceil_div(tokens * copies * token_bytes, WHOLE)) if len(counts) > 1 else NOTHING
    inside = _scale_up(pool, way, most, ceil_div(received * token_bytes * (most - 1), most)) if most > 1 else NOTHING
    ns = combine("square", across.ns, inside.ns) if way in pool.scale_out.laws else across.ns + inside.ns
    return Comm(ns, inside.scale_up_bytes, across.scale_out_bytes)


def direct_all_to_all(pool: Pool, way: Way, sent: int, received: int, token_bytes: int, pattern: Pattern) -> Comm:
    """Every copy straight to its rank (DeepEP low latency): `sent` copies leave a rank, the most loaded one takes `received`.

    Of n ranks, g in one domain, 1 - g/n of the copies cross domains; the rest go over scale-up meanwhile.
    """
    n, counts = len(pattern), domain_counts(pattern)
    if n == 1:
        return NOTHING
    busiest, most, least = max(sent, received), max(counts), min(counts)
    straight: Collective = "direct_dispatch" if way == "dispatch" else "direct_combine"
    inside = _scale_up(pool, straight, most, ceil_div(busiest * token_bytes * (most - 1), n)) if most > 1 else NOTHING
    if len(counts) == 1:
        return inside
    across = _scale_out(pool, straight, n, ceil_div(busiest * token_bytes * (n - least), n))
    return Comm(max(inside.ns, across.ns), inside.scale_up_bytes, across.scale_out_bytes)


def send(pool: Pool, size_bytes: int, crosses_domains: bool) -> Comm:
    """One message to a peer: latency + bytes / bandwidth of the tier between them."""
    return _scale_out(pool, "send", 2, size_bytes) if crosses_domains else _scale_up(pool, "send", 2, size_bytes)
