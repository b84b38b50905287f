"""Bounds on a MoE layer with redundant slots that hold for every placement: load, touched experts, copies.

Throughout, `ranks` ranks hold exactly `slots` replicas each, no expert twice on one rank and every expert at least once, and an
expert's tokens are split equally over its c replicas. What `models.routing.profile` computes is rounded up from the exact
expectations; everything here is rounded down from them, so no bound exceeds the integer of any placement.
"""

from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from models.layout import Pattern, domain_counts
from models.load_bounds import replica_bound
from models.placement import least_reach
from models.units import CERTAIN, WHOLE, ceil_div

ONE = 1 << 64  # certainty in the fixed point of this module
MOST_SPREAD = 32  # domains of one expert that are told apart


@lru_cache(maxsize=65_536)
def least_rank_load(loads: tuple[int, ...], ranks: int, slots: int) -> Fraction:
    """A load that some rank carries at least, not rounded: the mean, or the largest share of a replica.

    Shares: with c_e replicas of expert e some rank carries max w_e / c_e; 1 <= c_e <= ranks and sum c_e = ranks * slots. Two such
    shares that differ do so by 1 / ranks**2 at least, so the least maximum over all c is the one between (T - 1) / s and T / s,
    for s > ranks**2 and T the least whole maximum for loads s * w (`models.load_bounds.replica_bound`).
    """
    scale = ranks * ranks + 1
    most = replica_bound(tuple(w * scale for w in loads), ranks, slots)
    share = max(Fraction(w, max(1, ceil_div(w * scale, most))) for w in loads)
    return max(Fraction(sum(loads), ranks), share)


def least_inputs(loads: tuple[int, ...], top_k: int, ranks: int, slots: int, tokens: int) -> int:
    """Expert inputs of the hottest rank when `tokens` tokens reach the group, at least."""
    load = least_rank_load(loads, ranks, slots)
    return ceil_div(tokens * top_k * load.numerator, sum(loads) * load.denominator)


@lru_cache(maxsize=65_536)
def least_touched(loads: tuple[int, ...], top_k: int, ranks: int, slots: int, tokens: int) -> int:
    """Expected experts touched on the rank that touches most, 2**-20, at least: the mean over all ranks.

    c replicas of an expert are touched f(c) = c * (1 - (1 - q / c)**N) times in all, q = k * w / sum of loads, with (1 - x) taken
    as 0 above x = 1. In x that is c times a concave function of x = q / c, hence f is concave in c and at least its chord
    between c = 1 and c = ranks. Along chords, the redundant replicas cost least on the experts whose chords rise least.
    """
    once, everywhere = (touches_below(loads, top_k, tokens, c) for c in (1, ranks))
    rises = sorted(ranks * many - one for one, many in zip(once, everywhere, strict=True))
    whole, part = divmod(ranks * slots - len(loads), ranks - 1)  # experts on every rank, further replicas of one more
    total = (sum(once) + sum(rises[:whole])) * (ranks - 1) + (rises[whole] * part if part else 0)
    return ceil_div(total * WHOLE, ONE * (ranks - 1) * ranks)


@lru_cache(maxsize=4096)
def touches_below(loads: tuple[int, ...], top_k: int, tokens: int, replicas: int) -> tuple[int, ...]:
    """1 - (1 - k * w / (replicas * sum of loads))**N of each expert, 2**-64, rounded down."""
    missed = (ONE,) * len(loads)
    for bit in range(tokens.bit_length()):
        if tokens >> bit & 1:
            missed = tuple(-(-a * b >> 64) for a, b in zip(missed, missed_above(loads, top_k, replicas, bit), strict=True))
    return tuple(ONE - m for m in missed)


@lru_cache(maxsize=16_384)
def missed_above(loads: tuple[int, ...], top_k: int, replicas: int, doublings: int) -> tuple[int, ...]:
    """For each expert the chance that 2**doublings tokens miss one of its replicas, 2**-64, rounded up at every step."""
    if doublings == 0:
        total = sum(loads) * replicas
        return tuple(ONE - min(ONE, ONE * top_k * w // total) for w in loads)
    return tuple(-(-m * m >> 64) for m in missed_above(loads, top_k, replicas, doublings - 1))


@lru_cache(maxsize=65_536)
def least_copies(loads: tuple[int, ...], top_k: int, slots: int, pattern: Pattern) -> int:
    """Copies through the busiest scale-out port, 2**-20, at least.

    The chances to miss each of d domains multiply to at most Q = `_missed`, so some domain is missed with at most the d-th root
    of Q and reached with the rest r. Its n of the m ranks share what the others send: (m - n) * r / n, for the n that gives least.
    """
    counts = domain_counts(pattern)
    d, size = len(counts), sum(counts)
    if d == 1:
        return 0
    reach = ceil_div(least_reach(_missed(loads, top_k, d, size * slots - len(loads)), d) * WHOLE, CERTAIN)
    return min(ceil_div((size - n) * reach, n) for n in counts)


@lru_cache(maxsize=4096)
def _missed(loads: tuple[int, ...], top_k: int, domains: int, redundant: int) -> int:
    """The most that the chances to miss each domain multiply to, 2**-64, rounded up, with `redundant` replicas to give away.

    An expert of q = k * w / sum of loads that lies in m domains with shares x (sum 1) contributes prod(1 - q x) <= (1 - q / m)**m,
    by the inequality of the arithmetic and geometric means; 0 where q >= m. Being in m domains takes m - 1 redundant replicas,
    so of all factors (1 - q / (m + 1))**(m + 1) / (1 - q / m)**m at most the `redundant` largest enter. Where q >= 1 the expert
    is taken to lie in all domains.
    """
    total, found, gains = sum(loads), ONE, list[tuple[int, int]]()
    steps = {w: _spread(top_k * w, total, domains) for w in set(loads)}
    for w in loads:
        first, rest = steps[w]
        found = ceil_div(found * first, ONE)
        gains += rest
    for gain, times in sorted(gains, reverse=True):
        taken = min(redundant, times)
        found, redundant = ceil_div(found * _power_up(gain, taken), ONE), redundant - taken
    return min(found, ONE)


def _spread(share: int, total: int, domains: int) -> tuple[int, list[tuple[int, int]]]:
    """(1 - q / m)**m for q = share / total and m = 1; by what it grows into each m <= domains, and how often; 2**-64, rounded up.

    m * log(1 - q / m) is concave in m, so the factors fall, and the one into m = MOST_SPREAD stands for all later ones.
    """
    if share >= total:
        return ceil_div(ONE * max(0, total * domains - share) ** domains, (total * domains) ** domains), []
    most = min(domains, MOST_SPREAD)
    missed = [((total * m - share) ** m, (total * m) ** m) for m in range(1, most + 1)]
    grown = [(ceil_div(ONE * b * q, r * a), 1) for (a, q), (b, r) in pairwise(missed)]  # (b / r) / (a / q)
    return ceil_div(ONE * missed[0][0], missed[0][1]), [*grown[:-1], *((gain, domains - most + 1) for gain, _ in grown[-1:])]


def _power_up(base: int, exponent: int) -> int:
    """base**exponent, 2**-64, rounded up at every step."""
    result = ONE
    while exponent:
        if exponent & 1:
            result = ceil_div(result * base, ONE)
        base = ceil_div(base * base, ONE)
        exponent >>= 1
    return result
