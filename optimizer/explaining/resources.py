"""Which resource each part of a plan's time is spent on: the same plan, priced with one resource made free.

An operator is bound by arithmetic where memory without end would save nothing, and the other way round; a
collective crosses a tier where a free tier saves something. So the sides of the roofline and the tiers
come from the cost model itself, not from a second account of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from models.coefficients import HBM, LAUNCH, OUT_BANDWIDTH, OUT_LATENCY, UP_BANDWIDTH, UP_LATENCY, Coefficient, peak_of, with_value
from models.evaluate import Evaluation, evaluate, layer_profile, moe_layer_indices
from models.instance import Instance
from models.rules import longest_step
from models.strategy import Plan, stage_ranges
from models.terms import Terms

Freed = tuple[Coefficient, ...]


class TermUse(NamedTuple):
    """One named term of the slowest stage, for one micro-batch."""

    ns: int
    spent_on: dict[str, int]
    """ns that the term would save if the resource were free, by resource; those that save nothing are left out.
    They need not add up to the term: an operator takes the longer of two times"""

    @property
    def bound_by(self) -> str:
        """The resources, most first; for an operator that is never limited by more than one, just that one."""
        return ", ".join(sorted(self.spent_on, key=lambda name: -self.spent_on[name])) or "nothing"


class Limit(NamedTuple):
    """A rule with a number on both sides, met by a plan."""

    rule: str
    where: str
    need: int
    have: int
    unit: str
    parts: dict[str, int]

    @property
    def slack(self) -> int:
        return self.have - self.need


def resources(instance: Instance) -> dict[str, Freed]:
    """Each resource as the coefficients that are taken to their best value when it is free."""
    peaks = tuple(peak_of(dtype) for dtype in sorted(instance.cluster.pool.accelerator.peak_flop_per_s))
    return {
        "arithmetic": peaks,
        "memory bandwidth": (HBM,),
        "launches": (LAUNCH,),
        "scale-up": (UP_BANDWIDTH, UP_LATENCY),
        "scale-out": (OUT_BANDWIDTH, OUT_LATENCY),
    }


def freed(instance: Instance, coefficients: Sequence[Coefficient]) -> Instance:
    """The instance with each of the coefficients at its best value."""
    for c in coefficients:
        instance = with_value(instance, c, c.most if c.more_is == "faster" else c.least)
    return instance


def savings(instance: Instance, plan: Plan) -> dict[str, int]:
    """ns of the pass that each resource would save if it were free: how much of the time hangs on it."""
    now = evaluate(instance, plan).step_ns
    return {name: now - evaluate(freed(instance, c), plan).step_ns for name, c in resources(instance).items()}


def term_uses(instance: Instance, plan: Plan) -> dict[str, TermUse]:
    """Each term of the slowest stage and what it is spent on."""
    stages = [stage.ns for stage in evaluate(instance, plan).stages]
    slowest = stages.index(max(stages))
    now = stage_terms(instance, plan, slowest)
    free = {name: stage_terms(freed(instance, c), plan, slowest) for name, c in resources(instance).items()}
    spent = {term: {name: ns - terms[term] for name, terms in free.items() if terms[term] < ns} for term, ns in now.items()}
    return {term: TermUse(ns, spent[term]) for term, ns in now.items() if ns}


def stage_terms(instance: Instance, plan: Plan, stage: int) -> dict[str, int]:
    """The terms of one stage and micro-batch, ns, nothing hidden by overlap."""
    terms, s = Terms(instance), plan.strategy
    shape, lie, groups, moe = terms.shape(s), terms.groups(s), terms.arch.group_of_layer(), moe_layer_indices(instance)
    prices = [terms.first(shape, lie)] if stage == 0 else []
    for n in stage_ranges(plan.stages)[stage]:
        profile = layer_profile(terms, s, plan, moe[n], groups[n]) if n in moe else None
        prices.append(terms.layer(groups[n], shape, lie, profile))
    prices += [terms.last(shape, lie)] if stage == s.pp - 1 else []
    total: dict[str, int] = {}
    for price in prices:
        for name, ns in (*price.compute, *((name, comm.ns) for name, comm in price.comm)):
            total[name] = total.get(name, 0) + ns
    return total


def limits(instance: Instance, plan: Plan, evaluation: Evaluation) -> list[Limit]:
    """Every limit that is stated, least slack in proportion first: memory of the fullest stage, link caps, the pass."""
    pool, pp, found = instance.cluster.pool, plan.strategy.pp, list[Limit]()
    fullest = max(range(pp), key=lambda n: evaluation.stages[n].memory_bytes)
    stage = evaluation.stages[fullest]
    where = f"stage {fullest + 1} of {pp}"
    found.append(Limit("memory", where, stage.memory_bytes, pool.accelerator.memory_bytes, "bytes", stage.memory))
    for tier, link in (("scale_up", pool.scale_up), ("scale_out", pool.scale_out)):
        if link.cap_bytes_per_pass is not None:
            moved = [getattr(stage, f"{tier}_bytes") for stage in evaluation.stages]
            busiest = moved.index(max(moved))
            where = f"{tier} port, stage {busiest + 1} of {pp}"
            found.append(Limit("link", where, moved[busiest], link.cap_bytes_per_pass, "bytes", {}))
    longest = longest_step(instance)
    if longest is not None:
        found.append(Limit(longest[0], "the pass", evaluation.step_ns, longest[1], "ns", {}))
    return sorted(found, key=lambda limit: -limit.need * 1_000_000 // max(limit.have, 1))
