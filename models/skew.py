"""A stated skew: expert popularity where no load has been recorded."""

from math import exp, gcd
from statistics import NormalDist

from models.units import PPM

GROUPS = 8  # neighbouring experts are popular together: blocks of an eighth, as recorded loads of group-limited routers show
COUNTS = 1_000_000  # tokens of an expert of median popularity


def skewed_counts(experts: int, spread_ppm: int, group_spread_ppm: int) -> tuple[int, ...]:
    """Tokens routed to each expert when popularity is log-normal, at the quantiles of the normal distribution.

    load_e = exp(spread * z(place of e in its block) + group spread * z(block)), z the standard normal quantile at the middle of
    each equal share. Places are dealt with a stride, so that no order is left inside a block. Recorded loads of DeepSeek-V3
    (58 layers, 256 experts, eight workloads) look like 0.75 and 0.4: the hottest expert 6.6 times the mean, of 8 ranks in order 1.8.
    """
    blocks = GROUPS if experts % GROUPS == 0 and experts > GROUPS else 1
    size, normal = experts // blocks, NormalDist()
    within, between = _dealt(size), _dealt(blocks)

    def load(e: int) -> int:
        block, place = divmod(e, size)
        z = normal.inv_cdf((within[(place + 5 * block) % size] + 0.5) / size)
        z_block = normal.inv_cdf((between[block] + 0.5) / blocks)
        return max(1, round(COUNTS * exp(z * spread_ppm / PPM + z_block * group_spread_ppm / PPM)))

    return tuple(load(e) for e in range(experts))


def _dealt(n: int) -> list[int]:
    """0 .. n - 1 in a fixed order without runs: multiples of a stride near n * 0.618 that shares no factor with n."""
    stride = next(s for s in range(max(1, round(n * 0.618)), 2 * n + 2) if gcd(s, n) == 1)
    return [(k * stride) % n for k in range(n)]
