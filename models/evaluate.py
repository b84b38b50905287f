"""One plan, priced: named additive terms, memory and traffic of every stage."""

from collections.abc import Iterable
from typing import NamedTuple

from models.collectives import NOTHING
from models.instance import Instance
from models.objective import value_of
from models.routing import Profile, profile
from models.strategy import Plan, Strategy, stage_ranges
from models.terms import Price, Terms
from models.units import NS_PER_S, ceil_div

COST_MODEL_ASSUMPTIONS = (
    "Operators are priced by a roofline, with the accelerator's curves where it has them; collectives by latency and bandwidth, "
    "with the links' measured laws where they have them, without contention.",
    "Every rank routes alike: expert loads hold for the tokens of each GPU; replicas and EP groups see the same loads.",
    "The hottest rank's expert inputs and the largest set of touched experts are charged together, even if they lie on different ranks.",
    "Experts are drawn independently, each with its own probability: a token's copies per node are those of k independent choices.",
    "Micro-batches of one pass are of equal size; transfers between stages are exposed only while the pipeline fills.",
)


EQUAL_SPLIT = "The tokens of an expert in several slots are split equally over its replicas."


class Stage(NamedTuple):
    """One stage for one micro-batch, and its memory and traffic for the whole pass."""

    ns: int
    memory: dict[str, int]
    """bytes of one GPU: weights, kv_cache, activations_and_buffers, embedding_and_head"""
    scale_up_bytes: int
    scale_out_bytes: int

    @property
    def memory_bytes(self) -> int:
        return sum(self.memory.values())


class Evaluation(NamedTuple):
    """What a plan costs."""

    step_ns: int
    value: int
    breakdown: dict[str, int]
    """ns of the pass by term; the terms add up to step_ns"""
    stages: tuple[Stage, ...]

    @property
    def peak_memory_bytes(self) -> int:
        return max(s.memory_bytes for s in self.stages)


def moe_layer_indices(instance: Instance) -> dict[int, int]:
    """Model layer -> position among the MoE layers."""
    groups = instance.architecture.layers
    moe = (layer for layer, g in enumerate(instance.architecture.group_of_layer()) if groups[g].moe)
    return {layer: position for position, layer in enumerate(moe)}


def layer_profile(terms: Terms, strategy: Strategy, plan: Plan, moe_layer: int, group_index: int) -> Profile:
    """The profile of one MoE layer under the plan's placement."""
    ffn = terms.arch.layers[group_index].moe
    assert ffn is not None
    loads, tokens = terms.instance.load_of_moe_layer(moe_layer), terms.shape(strategy).group_tokens
    return profile(plan.placement[moe_layer], loads, ffn.top_k, tokens, terms.groups(strategy).ep)


def evaluate(instance: Instance, plan: Plan, terms: Terms | None = None) -> Evaluation:
    """Cost and needs of a plan whose degrees, stages and placement fit together.

    step = (m + PP - 1) * slowest stage + (PP - 1) * transfer, for m micro-batches (GPipe, arXiv
    1811.06965, section 2.3): the bubble is (PP - 1) * slowest stage, and a transfer is exposed only
    while the pipeline fills.
    """
    terms = terms or Terms(instance)
    s = plan.strategy
    shape = terms.shape(s)
    prices = _stage_prices(terms, plan)
    transfer = terms.transfer(s, shape)
    times = [sum(p.cost.ns for p in stage) for stage in prices]
    slowest = max(times)
    m = s.microbatches
    step = (m + s.pp - 1) * slowest + (s.pp - 1) * transfer.ns
    breakdown = {name: ns * m for name, ns in _named_ns(prices[times.index(slowest)]).items()}
    breakdown["pp_comm"] = (s.pp - 1) * transfer.ns
    breakdown["pipeline_bubble"] = (s.pp - 1) * slowest
    memory = stage_memory(terms, plan)
    traffic = [(sum((p.traffic for p in stage), NOTHING) + transfer).times(m) for stage in prices]
    stages = tuple(Stage(ns, b, t.scale_up_bytes, t.scale_out_bytes) for ns, b, t in zip(times, memory, traffic, strict=True))
    return Evaluation(step, value_of(instance, s).of(step), breakdown, stages)


def _stage_prices(terms: Terms, plan: Plan) -> list[list[Price]]:
    """The prices of each stage's layers and ends, for one micro-batch."""
    shape, lie, groups = terms.shape(plan.strategy), terms.groups(plan.strategy), terms.arch.group_of_layer()
    position = moe_layer_indices(terms.instance)
    profiles = {layer: layer_profile(terms, plan.strategy, plan, at, groups[layer]) for layer, at in position.items()}
    stages = [[terms.layer(groups[n], shape, lie, profiles.get(n)) for n in layers] for layers in stage_ranges(plan.stages)]
    stages[0].insert(0, terms.first(shape, lie))
    stages[-1].append(terms.last(shape, lie))
    return stages


def _named_ns(prices: Iterable[Price]) -> dict[str, int]:
    total: dict[str, int] = {}
    for price in prices:
        for name, ns in price.compute:
            total[name] = total.get(name, 0) + ns
        for name, comm in price.comm:
            total[name] = total.get(name, 0) + comm.ns
        hidden = price.compute_ns + price.traffic.ns - price.cost.ns
        total["overlap"] = total.get("overlap", 0) - hidden
    return total


def stage_memory(terms: Terms, plan: Plan) -> list[dict[str, int]]:
    """Bytes of one GPU of each stage by part; they do not depend on the placement."""
    s, groups = plan.strategy, terms.arch.group_of_layer()
    sequences, shape = terms.sequences_per_rank(s), terms.shape(s)
    fixed, first, last = terms.stage_bytes(shape, s.pp == 1)
    found = []
    for number, layers in enumerate(stage_ranges(plan.stages)):
        sizes = [terms.layer_bytes(groups[n], shape) for n in layers]
        ends = (first if number == 0 else 0) + (last if number == s.pp - 1 else 0)
        found.append(
            {
                "weights": sum(w for w, _ in sizes),
                "kv_cache": sum(c for _, c in sizes) * sequences,
                "activations_and_buffers": fixed,
                "embedding_and_head": ends,
            }
        )
    return found


def tokens_per_s(instance: Instance, step_ns: int) -> int:
    """Tokens of the pass over its time, rounded down."""
    return instance.workload.tokens * NS_PER_S // step_ns


def usd_per_million_tokens(instance: Instance, strategy: Strategy, step_ns: int) -> int | None:
    """Micro-USD per million tokens, rounded up; None without a price."""
    price = instance.cluster.pool.price_uusd_per_gpu_hour
    if price is None:
        return None
    return ceil_div(step_ns * strategy.gpus * price * 1_000_000, 3600 * NS_PER_S * instance.workload.tokens)
