"""Layers to the stages of a worker: of one that only prefills or decodes the fastest split, of one that does both every split
that no other beats in both.
"""

from models.passes import Passes
from models.stages import UNLIMITED, Item, Runs, best_split
from models.strategy import Strategy

Stages = tuple[int, ...]


def fastest_stages(passes: Passes, s: Strategy, batch: int) -> Stages | str:
    """The split with the fastest slowest stage; or the rule that none keeps."""
    found = passes.of(batch * s.dp * s.pp).exact(s)
    return found if isinstance(found, str) else found.split.stages


def unbeaten_stages(decode: Passes, prefill: Passes, s: Strategy, batch: int) -> tuple[Stages, ...] | str:
    """Every split that no other beats in the slowest stage of a decode step and in that of a prompt's prefill, the fastest prefill first.

    The other pass is a second resource of each stage: what it may take there is lowered until nothing fits. Every layer counts at its
    fastest placement.
    """
    bounds = decode.of(batch * s.dp * s.pp)
    runs = bounds.runs(s, decode.case(s, batch)), prefill.of(s.dp * s.pp).runs(s, prefill.case(s, 1))
    room = bounds.room(s).memory
    steps = [(n, item.memory, item.least_ns, other.least_ns) for (n, item), (_, other) in zip(*runs, strict=True)]
    by_prefill: Runs = tuple((n, Item(memory, ((p, d, 0),))) for n, memory, d, p in steps)
    by_decode: Runs = tuple((n, Item(memory, ((d, p, 0),))) for n, memory, d, p in steps)
    found, most = list[Stages](), UNLIMITED
    while (prompt := best_split(by_prefill, s.pp, room, most, UNLIMITED)) is not None:
        step = best_split(by_decode, s.pp, room, prompt.slowest_ns, UNLIMITED)
        assert step is not None, "the split before keeps this"
        found.append(step.stages)
        most = step.slowest_ns - 1
    return tuple(found) or "memory"
