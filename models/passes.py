"""Passes of one kind on one pool with any number of sequences, as a worker makes them."""

from typing import NamedTuple

from models.bounds import Bounds, Case
from models.floors import Floors
from models.instance import Instance
from models.shape import Groups
from models.strategy import Strategy, stage_ranges
from models.units import ceil_div


class Times(NamedTuple):
    """Of the passes of one worker, ns."""

    slowest_prefill: int
    """of the slowest stage, one chunk of each prompt"""
    sent_prefill: int
    """from stage to stage"""
    slowest_decode: int
    sent_decode: int


class Passes:
    """Passes of one kind with any number of sequences; what does not depend on it is computed once."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.bounds = Bounds(instance)
        self.floors = Floors(instance, self.bounds.terms)
        self._sized: dict[int, Bounds] = {}
        self._groups: dict[Strategy, Groups] = {}

    def of(self, sequences: int) -> Bounds:
        """The bounds of a pass of so many sequences."""
        found = self._sized.get(sequences)
        if found is None:
            found = self._sized[sequences] = self.bounds.resized(sequences)
        return found

    def floor_ns(self, s: Strategy, batch: int) -> int:
        """Computation of one micro-batch over all layers, ns, at least."""
        tokens = batch * self.instance.workload.new_tokens
        experts = self.floors.experts(s.etp, s.ep, s.redundant, ceil_div(tokens * s.etp * s.ep, s.tp * s.cp))
        return self.floors.attention(batch, s.tp, s.cp).total + experts.total

    def sent_ns(self, s: Strategy, batch: int) -> int:
        """From a stage to the next, ns."""
        terms = self.bounds.terms
        return terms.transfer(s, terms.shape_of(batch, s)).ns

    def case(self, s: Strategy, batch: int) -> Case:
        """One micro-batch through the whole model."""
        groups = self._groups.get(s)
        if groups is None:
            groups = self._groups[s] = self.bounds.terms.groups(s)
        return self.bounds.case_of(self.bounds.terms.shape_of(batch, s), groups)

    def quick_ns(self, s: Strategy, batch: int) -> int:
        """The slowest stage, ns, at least: max(mean stage, longest layer)."""
        case = self.case(s, batch)
        return max(ceil_div(case.total_ns, s.pp), case.longest_ns)

    def slowest_on(self, s: Strategy, batch: int, stages: tuple[int, ...]) -> int:
        """The slowest of these very stages, ns; every layer at its fastest placement."""
        case = self.case(s, batch)
        layers = [min(ns for ns, _, _ in run.choices) for run in case.layers for _ in range(run.length)]
        layers[0] += case.first.ns
        layers[-1] += case.last.ns
        return max(sum(layers[n] for n in stage) for stage in stage_ranges(stages))
