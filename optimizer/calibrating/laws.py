"""Laws of the scale-up fabric from timed collectives: the parameters of `models.cluster.Law` that explain them best.

Bytes through a port and times are those of `models.collectives`; only the search runs over floats.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.cluster import Accelerator, Collective, Law, Link, Pool
from models.collectives import Comm, all_gather, all_reduce, direct_all_to_all, reduce_scatter, send
from models.units import NS_PER_S, PPM
from optimizer.calibrating.descent import Fit, Floats, descend
from optimizer.calibrating.fitting import Quality, quality, split
from optimizer.calibrating.timings import Timing

LAWS_OF: dict[str, tuple[Collective, ...]] = {
    "all_reduce": ("all_reduce",),
    "all_gather": ("all_gather",),
    "reduce_scatter": ("reduce_scatter",),
    "all_to_all": ("dispatch", "combine", "direct_dispatch", "direct_combine"),
    "send": ("send",),
}
"""Which collectives of the cost model a timed one stands for; the expert exchanges are taken to run as a plain all-to-all does."""

LEAST = np.array([np.log(200.0), np.log(0.5), np.log(0.005)])
MOST = np.array([np.log(1e8), np.log(1e6), np.log(1.2)])  # the bandwidth is the fastest collective's; an endless one may be faster
OF_A_LAW = len(LEAST)
WORTH = 0.9  # a second law must leave at most this share of the error


class Messages(NamedTuple):
    """Timed collectives of one kind as columns."""

    ranks: Floats
    bytes: Floats
    """through one GPU's port"""


def among(pool: Pool, row: Timing) -> Comm:
    """A timed collective as the cost model prices it inside one scale-up domain."""
    ranks, size = row.shape
    pattern = (0,) * ranks
    match row.kind:
        case "all_reduce":
            return all_reduce(pool, size, pattern)
        case "all_gather":
            return all_gather(pool, size, pattern)
        case "reduce_scatter":
            return reduce_scatter(pool, size, pattern)
        case "all_to_all":
            return direct_all_to_all(pool, "dispatch", size, size, 1, pattern)
        case "send":
            return send(pool, size, crosses_domains=False)
        case _:
            raise AssertionError(f"{row.kind} is no collective")


def one_domain(accelerator: Accelerator, link: Link, gpus: int) -> Pool:
    """A node whose GPUs share one scale-up domain; its scale-out link is never crossed."""
    return Pool(
        name="timed", accelerator=accelerator, nodes=1, gpus_per_node=gpus, scale_up_domain_gpus=gpus, scale_up=link, scale_out=link
    )


def fit_laws(pool: Pool, timed: Sequence[Timing]) -> tuple[tuple[Law, ...], Quality]:
    """One law or two of one kind of collective, and their errors on every fifth row, which took no part."""
    kept, asked = split(timed)
    messages = Messages(
        np.array([row.shape[0] for row in kept], dtype=float), np.array([among(pool, row).scale_up_bytes for row in kept], dtype=float)
    )
    measured = np.array([row.ns for row in kept], dtype=float)
    rate = pool.scale_up.bandwidth_bytes_per_s / NS_PER_S
    kind = timed[0].kind
    best = _fit_one(messages, measured, rate, one_shot=False)
    shots: tuple[bool, ...] = (False,)
    for first in (False, True) if kind == "all_reduce" else (False,):
        two = _fit_two(messages, measured, rate, first)
        if two.loss < WORTH * best.loss:
            best, shots = two, (first, False)
    laws = tuple(_law(best.at[OF_A_LAW * n : OF_A_LAW * (n + 1)], shot) for n, shot in enumerate(shots))
    link = pool.scale_up.model_copy(update={"laws": dict.fromkeys(LAWS_OF[kind], laws)})
    priced = pool.model_copy(update={"scale_up": link})
    return laws, quality(len(timed), [(among(priced, row).ns, row.ns) for row in asked])


def _law_ns(at: Floats, messages: Messages, rate: float, one_shot: bool) -> Floats:
    """`models.collectives` of every message by one law, before rounding; the norm is `sum`."""
    fixed, per_rank, share = np.exp(at)
    moved = messages.bytes * messages.ranks / 2 if one_shot else messages.bytes
    return np.asarray(fixed + (messages.ranks - 1) * per_rank + moved / (rate * share), dtype=float)


def _fit_one(messages: Messages, measured: Floats, rate: float, one_shot: bool) -> Fit:
    start = np.array([np.log(measured.min()), np.log(20.0), np.log(0.6)])
    return descend(lambda at: np.asarray(np.log(_law_ns(at, messages, rate, one_shot))), measured, start, LEAST, MOST)


def _fit_two(messages: Messages, measured: Floats, rate: float, one_shot: bool) -> Fit:
    """The faster of two laws: first each on its half of the messages, small and large, then both on all."""
    small = messages.bytes <= np.median(messages.bytes)
    halves = [
        _fit_one(Messages(*(column[half] for column in messages)), measured[half], rate, shot)
        for half, shot in ((small, one_shot), (~small, False))
    ]
    start = np.concatenate([half.at for half in halves])

    def log_ns(at: Floats) -> Floats:
        first, second = _law_ns(at[:OF_A_LAW], messages, rate, one_shot), _law_ns(at[OF_A_LAW:], messages, rate, one_shot=False)
        return np.asarray(np.log(np.minimum(first, second)), dtype=float)

    return descend(log_ns, measured, start, np.tile(LEAST, 2), np.tile(MOST, 2))


def _law(at: Floats, one_shot: bool) -> Law:
    fixed, per_rank, share = np.exp(at).tolist()
    return Law(fixed_ns=round(fixed), per_rank_ns=round(per_rank), efficiency_ppm=max(1, int(share * PPM)), one_shot=one_shot)
