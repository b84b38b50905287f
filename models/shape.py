"""What the terms of a pass depend on: the shape of one micro-batch, and where the groups of ranks lie."""

from typing import NamedTuple

from models.layout import Pattern
from models.units import ceil_div


class Shape(NamedTuple):
    """All that one micro-batch's computation in a layer depends on, besides the layer and its placement."""

    sequences: int
    """of the busiest data-parallel rank and micro-batch"""
    rank_tokens: int
    """per data-parallel rank and micro-batch, in the mean"""
    tokens: int
    """per context-parallel rank and micro-batch"""
    tp: int
    cp: int
    etp: int
    ep: int
    redundant: int = 0
    """slots per EP rank on top of experts / ep"""

    @property
    def dispatched(self) -> int:
        """Tokens of one GPU's sequence-parallel share: those it sends to the experts."""
        return ceil_div(self.tokens, self.tp)

    @property
    def group_tokens(self) -> int:
        """Tokens that reach one EP group (all its ETP ranks together), rounded up once."""
        return ceil_div(self.rank_tokens * self.ep * self.etp, self.tp * self.cp)


class Groups(NamedTuple):
    """Where the ranks of each kind of group lie: the distinct patterns over stages and replicas."""

    tp: tuple[Pattern, ...]
    cp: tuple[Pattern, ...]
    etp: tuple[Pattern, ...]
    ep: tuple[Pattern, ...]
    experts: tuple[Pattern, ...] = ()
    """of the etp * ep ranks that hold all experts once; only where tokens are gathered"""
