"""Figures that a deployment document may claim, each derived from instance and plan alone."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from models.evaluate import Evaluation, evaluate
from models.formats import computes_in
from models.instance import Instance
from models.result import Status
from models.roofline import peak_flop_per_s
from models.rules import ON_PRICED_PLANS, Violation
from models.strategy import Plan
from optimizer.look import Progress
from optimizer.search import Options, find, resolve


class Figure(NamedTuple):
    """A derived figure and how it came about; no value where nothing in the inputs gives one."""

    value: Fraction | None
    how: str


class NoPriceError(Exception):
    """A figure was asked of a plan whose degrees, stages and placement do not fit together."""


class Subject:
    """The plan under audit; what several figures need is worked out once."""

    def __init__(self, instance: Instance, plan: Plan, broken: tuple[Violation, ...], options: Options, progress: Progress) -> None:
        self.instance, self.plan, self.broken = instance, plan, broken
        self.options, self.progress = options, progress

    def require_layout(self) -> None:
        """Raises NoPriceError unless degrees, stages and placement fit together."""
        unpriced = [v for v in self.broken if v.rule not in ON_PRICED_PLANS]
        if unpriced:
            raise NoPriceError(f"the plan cannot be laid out, so it has no such figure: {unpriced[0].sentence}")

    @cached_property
    def evaluation(self) -> Evaluation:
        self.require_layout()
        return evaluate(self.instance, self.plan)

    @cached_property
    def tokens_per_s(self) -> Fraction:
        return Fraction(self.instance.workload.tokens * 10**9, self.evaluation.step_ns)

    def share_pct(self, *terms: str) -> Fraction:
        """Share of the pass that some terms of the breakdown take, percent."""
        return Fraction(100 * sum(self.evaluation.breakdown.get(t, 0) for t in terms), self.evaluation.step_ns)


def gpus_available(s: Subject) -> Figure:
    pool = s.instance.cluster.pool
    return Figure(Fraction(pool.gpus), f"{pool.nodes} nodes x {pool.gpus_per_node} GPUs")


def gpu_memory_gb(s: Subject) -> Figure:
    return Figure(Fraction(s.instance.cluster.pool.accelerator.memory_bytes, 10**9), "memory of one GPU in the instance, GB = 1e9 bytes")


def gpu_tflops(s: Subject) -> Figure:
    dtype = computes_in(s.instance.architecture.weight_dtype)
    return Figure(Fraction(peak_flop_per_s(s.instance.cluster.pool.accelerator, dtype), 10**12), f"dense {dtype} peak in the instance")


def gpus_used(s: Subject) -> Figure:
    t = s.plan.strategy
    return Figure(Fraction(t.gpus), f"tp*cp*dp*pp*replicas = {t.tp}*{t.cp}*{t.dp}*{t.pp}*{t.replicas}")


def gpus_used_pct(s: Subject) -> Figure:
    used, have = s.plan.strategy.gpus, s.instance.cluster.pool.gpus
    return Figure(Fraction(100 * used, have), f"{used} of {have} GPUs have work; this says nothing about how busy they are")


def compute_utilization_pct(s: Subject) -> Figure:
    bubble = s.share_pct("pipeline_bubble")
    busy = 100 - s.share_pct("tp_comm", "cp_comm", "ep_comm", "etp_comm", "pp_comm", "overlap") - bubble
    return Figure(busy, "share of the pass in which a GPU of the slowest stage computes")


def communication_pct(s: Subject) -> Figure:
    share = s.share_pct("tp_comm", "cp_comm", "ep_comm", "etp_comm", "pp_comm", "overlap")
    return Figure(share, "exposed communication over the time of the pass")


def overlap_pct(s: Subject) -> Figure:
    stated = s.instance.runtime.overlap_ppm
    return Figure(None, f"an input of the cost model ({stated / 10_000:g} % here), not something that a plan determines")


def experts_per_gpu(s: Subject) -> Figure:
    experts, t = s.instance.architecture.experts, s.plan.strategy
    held = Fraction(experts + t.ep * t.redundant, t.ep * t.etp)
    more = f" and {t.redundant} redundant slots per rank" if t.redundant else ""
    return Figure(held, f"{experts} experts over ep*etp = {t.ep}*{t.etp} GPUs{more}: weights of {held} expert per GPU and layer")


def experts_total(s: Subject) -> Figure:
    arch = s.instance.architecture
    return Figure(Fraction(arch.experts), f"experts of one layer; {arch.experts * arch.moe_layers} in all {arch.moe_layers} MoE layers")


def experts_mapped(s: Subject) -> Figure:
    layers = [{e for rank in layer for e in rank} for layer in s.plan.placement]
    return Figure(Fraction(min(map(len, layers), default=0)), f"experts with a GPU, fewest over {len(layers)} MoE layers")


def experts_max_over_mean(s: Subject) -> Figure:
    s.require_layout()
    sizes = [len(rank) for layer in s.plan.placement for rank in layer]
    if not sizes:
        return Figure(None, "the model has no experts")
    return Figure(Fraction(max(sizes) * len(sizes), sum(sizes)), "experts on the fullest rank over the mean")


def load_max_over_mean(s: Subject) -> Figure:
    s.require_layout()
    ratios = []
    for number, layer in enumerate(s.plan.placement):
        loads = s.instance.load_of_moe_layer(number)
        replicas = Counter(e for rank in layer for e in rank)
        held = [sum(Fraction(loads[e], replicas[e]) for e in rank) for rank in layer]
        ratios.append(Fraction(max(held) * len(held), sum(held)))
    if not ratios:
        return Figure(None, "the model has no experts")
    given = "the instance's expert loads" if s.instance.expert_load else "the assumption that all experts are equally popular"
    return Figure(max(ratios), f"tokens on the most loaded rank over the mean, under {given}")


def memory_utilization_pct(s: Subject) -> Figure:
    stage = max(s.evaluation.stages, key=lambda x: x.memory_bytes)
    have = s.instance.cluster.pool.accelerator.memory_bytes
    parts = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in stage.memory.items())
    return Figure(Fraction(100 * stage.memory_bytes, have), f"all layers of the fullest stage ({parts}) over {have / 1e9:g} GB")


def tokens_per_s(s: Subject) -> Figure:
    return Figure(s.tokens_per_s, f"{s.instance.workload.tokens} tokens in a pass of {s.evaluation.step_ns} ns")


def ms_per_token(s: Subject) -> Figure:
    w = s.instance.workload
    if w.kind == "decode":
        return Figure(Fraction(s.evaluation.step_ns, 10**6), "time of one decode step")
    each = Fraction(s.evaluation.step_ns, 10**6 * w.context_tokens)
    return Figure(
        each, f"time of the pass over the {w.context_tokens} tokens of one prompt; over all tokens it is {float(each) / w.sequences:.6f} ms"
    )


def _improvement(s: Subject, what: str) -> Figure:
    if s.instance.baseline is None:
        return Figure(None, f"the instance states no baseline plan, so there is nothing to compare the {what} with")
    baseline, _, broken = resolve(s.instance, s.instance.baseline)
    if broken:
        return Figure(None, f"the baseline plan cannot run: {broken[0].sentence}")
    other = evaluate(s.instance, baseline)
    return Figure(Fraction(other.step_ns, s.evaluation.step_ns), f"pass of the baseline {baseline.strategy.label()} over that of the plan")


def throughput_improvement(s: Subject) -> Figure:
    return _improvement(s, "throughput")


def latency_improvement(s: Subject) -> Figure:
    return _improvement(s, "latency")


def plan_runs(s: Subject) -> Figure:
    if s.broken:
        return Figure(Fraction(0), "it breaks " + "; ".join(v.sentence for v in s.broken))
    return Figure(Fraction(1), "every rule is kept: identities, divisibility, memory, links, slots")


def dag_derivable(s: Subject) -> Figure:
    from optimizer.export.dag import deployment_dag

    s.require_layout()
    dag = deployment_dag(s.instance, s.plan)
    return Figure(Fraction(1), f"a graph of {len(dag['nodes'])} nodes and {len(dag['edges'])} edges was derived from the plan")


def _optimal(s: Subject, space: str) -> Figure:
    if s.broken:
        return Figure(Fraction(0), "the plan cannot run")
    there = s.instance.model_copy(update={"space": s.instance.space.model_copy(update={"name": space})})
    claim = find(there, s.options._replace(epsilon_ppm=0), s.progress)
    mine = evaluate(there, s.plan).value
    if claim.optimal and claim.optimal[0].value < mine:
        better = claim.optimal[0]
        gain = 100 * (mine - better.value) / mine
        return Figure(Fraction(0), f"{better.plan.strategy.label()} is {gain:.1f} % faster in the space {space}")
    if claim.status is not Status.OPTIMAL:
        return Figure(None, f"the search of the space {space} was cut short")
    return Figure(Fraction(1), f"no plan of the space {space} is faster; {claim.strategies} strategies, confirmed by the checker")


def optimal_in_classic(s: Subject) -> Figure:
    return _optimal(s, "classic")


def optimal_in_folded(s: Subject) -> Figure:
    return _optimal(s, "folded")


QUANTITIES: dict[str, Callable[[Subject], Figure]] = {
    f.__name__: f
    for f in (
        gpus_available,
        gpu_memory_gb,
        gpu_tflops,
        gpus_used,
        gpus_used_pct,
        compute_utilization_pct,
        communication_pct,
        overlap_pct,
        experts_per_gpu,
        experts_total,
        experts_mapped,
        experts_max_over_mean,
        load_max_over_mean,
        memory_utilization_pct,
        tokens_per_s,
        ms_per_token,
        throughput_improvement,
        latency_improvement,
        plan_runs,
        dag_derivable,
        optimal_in_classic,
        optimal_in_folded,
    )
}
"""Every quantity that a claims file may name."""
