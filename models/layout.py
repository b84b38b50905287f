"""Where a group's ranks lie: which of its members share a scale-up domain.

GPU id = replica * world + stage * stage_gpus + index in the stage; the index is mixed-radix in the
strategy's rank order, innermost first. A *pattern* is the domain of each member of a group,
relabelled 0, 1, ... by first appearance: it is all that a collective's cost depends on.
"""

from functools import lru_cache
from math import gcd

from models.strategy import Strategy

Pattern = tuple[int, ...]


def stride_of(strategy: Strategy, degree: str) -> int:
    """Distance in GPU ids between neighbours of a `degree` group."""
    if degree == "pp":
        return strategy.stage_gpus
    stride = 1
    for name in _inside(strategy.order, degree):
        stride *= getattr(strategy, name)
    return stride


@lru_cache(maxsize=1024)
def _inside(order: str, degree: str) -> tuple[str, ...]:
    """The degrees that vary faster than `degree` on its side. Raises KeyError where no side has it."""
    for side in order.split("|"):
        names = tuple(side.split("-"))
        if degree in names:
            return names[: names.index(degree)]
    raise KeyError(degree)


def group_members(strategy: Strategy, degree: str, replica: int, stage: int) -> list[tuple[int, ...]]:
    """GPU ids of every `degree` group (tp, cp, dp, etp, ep or edp) of one stage."""
    size, stride = getattr(strategy, degree), stride_of(strategy, degree)
    base = replica * strategy.world + stage * strategy.stage_gpus
    starts = (b * stride * size + a for b in range(strategy.stage_gpus // (stride * size)) for a in range(stride))
    return [tuple(base + s + k * stride for k in range(size)) for s in starts]


@lru_cache(maxsize=65_536)
def patterns(size: int, stride: int, stage_gpus: int, blocks: int, domain: int) -> tuple[Pattern, ...]:
    """Every distinct pattern of the groups of `size` ranks, `stride` apart.

    `blocks` stages of `stage_gpus` GPUs lie end to end over domains of `domain` GPUs.
    """
    if size == 1:
        return ((0,),)
    if stride * size <= domain and domain % (stride * size) == 0 and _aligned(stage_gpus, blocks, domain):
        return ((0,) * size,)
    period = domain // gcd(stage_gpus, domain)
    offsets = {(b * stage_gpus) % domain for b in range(min(blocks, period))}
    starts = {(o + b * stride * size + a) % domain for o in offsets for b in range(stage_gpus // (stride * size)) for a in range(stride)}
    return tuple(sorted({_relabel([(s + k * stride) // domain for k in range(size)]) for s in starts}))


def expert_group_members(strategy: Strategy, replica: int, stage: int) -> list[tuple[int, ...]]:
    """GPU ids of every group of etp * ep ranks of one stage, where they lie side by side, see `expert_group_patterns`."""
    size, first = strategy.etp * strategy.ep, replica * strategy.world + stage * strategy.stage_gpus
    return [tuple(range(start, start + size)) for start in range(first, first + strategy.stage_gpus, size)]


def expert_group_patterns(strategy: Strategy, domain: int) -> tuple[Pattern, ...]:
    """Patterns of the groups of etp * ep ranks, which lie side by side. Raises ValueError in an order in which they do not."""
    if strategy.edp > 1 and not strategy.order.endswith("-edp"):
        raise ValueError(f"rank order {strategy.order} tears expert groups apart; edp must be outermost where tokens are gathered")
    return patterns(strategy.etp * strategy.ep, 1, strategy.stage_gpus, strategy.pp * strategy.replicas, domain)


def _aligned(stage_gpus: int, blocks: int, domain: int) -> bool:
    return blocks == 1 or stage_gpus % domain == 0 or domain % stage_gpus == 0


def _relabel(domains: list[int]) -> Pattern:
    seen: dict[int, int] = {}
    return tuple(seen.setdefault(d, len(seen)) for d in domains)


def group_patterns(strategy: Strategy, degree: str, domain: int) -> tuple[Pattern, ...]:
    """Distinct patterns of the strategy's `degree` groups over all stages and replicas."""
    blocks = strategy.pp * strategy.replicas
    return patterns(getattr(strategy, degree), stride_of(strategy, degree), strategy.stage_gpus, blocks, domain)


def stage_neighbours_cross(strategy: Strategy, domain: int) -> bool:
    """Whether some GPU and its peer in the next stage lie in different domains."""
    if strategy.pp == 1:
        return False
    n = strategy.stage_gpus
    return any(
        (replica * strategy.world + g) // domain != (replica * strategy.world + g + n) // domain
        for replica in range(min(strategy.replicas, domain))
        for g in range(strategy.world - n)
    )


@lru_cache(maxsize=8192)
def domain_counts(pattern: Pattern) -> tuple[int, ...]:
    """Members of the group in each domain it touches."""
    return tuple(pattern.count(d) for d in range(max(pattern) + 1))
