"""The load matrices of a folder, and the configurations that suit their numbers of experts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

Matrix = list[list[int]]
"""[layers][experts]"""


class Configuration(NamedTuple):
    """Ranks, slots on each, and nodes: None where none is assumed."""

    ranks: int
    slots: int
    nodes: int | None


EXPERT_GROUPS = {256: 8}  # DeepSeek-V3 config.json: n_routed_experts, n_group
DEPLOYED = {256: ((8, 32, 1), (16, 16, 2), (32, 8, 4), (32, 9, 4), (36, 8, None), (64, 5, 8), (72, 4, None), (144, 2, None))}
RANKS, RANKS_OF_NODE = (4, 8, 16), 8  # for other numbers of experts
LEAST_SLOTS = 2  # with one, there is nothing to choose
REDUNDANCY = 8  # one redundant slot to so many experts


def configurations(experts: int) -> tuple[Configuration, ...]:
    """As deployed, or else a few ranks without redundant slots and with about one to REDUNDANCY experts."""
    if experts in DEPLOYED:
        return tuple(Configuration(*c) for c in DEPLOYED[experts])
    found = []
    for ranks in RANKS:
        slots = experts // ranks
        if experts % ranks == 0 and slots >= LEAST_SLOTS:
            nodes = max(1, ranks // RANKS_OF_NODE)
            found += [Configuration(ranks, s, nodes) for s in (slots, slots + max(1, round(slots / REDUNDANCY)))]
    return tuple(found)


def expert_groups(experts: int) -> int:
    """Groups that the hierarchical policy keeps together; without groups each expert is its own."""
    return EXPERT_GROUPS.get(experts, experts)


def read_matrices(folder: Path) -> tuple[dict[str, Matrix], dict[str, str]]:
    """Whole-number [layers, experts] matrices by name, and why other .npy files are none."""
    found: dict[str, Matrix] = {}
    skipped: dict[str, str] = {}
    for path in sorted(folder.glob("*.npy")):
        array = np.load(path, allow_pickle=False)
        if array.ndim != 2:
            skipped[path.stem] = f"shape {list(array.shape)}, not [layers, experts]"
        elif array.dtype.kind not in "iuf" or not (np.isfinite(array) & (array >= 0) & (array == np.floor(array))).all():
            skipped[path.stem] = "not whole numbers"
        elif not array.any():
            skipped[path.stem] = "no load"
        elif not configurations(array.shape[1]):
            skipped[path.stem] = f"no configuration for {array.shape[1]} experts"
        else:
            found[path.stem] = [[int(x) for x in row] for row in array.tolist()]
    return found, skipped
