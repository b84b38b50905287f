"""What a plan must satisfy: each rule a predicate over few arguments, and a sentence with its numbers.

Rules R1-R12 and R20 concern the strategy alone, R13-R19 the finished plan. `None` means satisfied.
"""

from collections.abc import Iterator, Sequence
from math import prod

from models.attention import replicated_heads
from models.evaluate import Evaluation, evaluate, stage_memory, tokens_per_s
from models.instance import Instance
from models.layout import group_patterns
from models.operators import dense_width
from models.slots import redundant_slots as redundant_slots
from models.slots import slots as slots
from models.strategy import DEGREES, Plan, Strategy
from models.terms import Terms
from models.violation import Violation as Violation

RULES = (
    "space",
    "world",
    "heads_divide",
    "kv_heads",
    "ffn_divides",
    "experts_divide",
    "expert_width_divides",
    "dense_model",
    "layers_cover",
    "batch_divides",
    "context_covers",
    "tp_in_domain",
    "slots",
    "memory",
    "link",
    "ttft",
    "tpot",
    "rate",
    "redundant_slots",
)
"""Every rule by name, in the order of R1-R20."""

ON_PRICED_PLANS = ("memory", "link", "ttft", "tpot", "rate")
"""R15-R19: a plan that breaks only these can still be laid out and priced."""


def space(i: Instance, s: Strategy) -> Violation | None:
    """(R1) Every degree, the redundant slots and the rank order are among those the space lists."""
    for degree in DEGREES:
        value = getattr(s, degree)
        if not i.space.admits(degree, value):
            allowed = ", ".join(map(str, getattr(i.space, degree)[:12]))
            return Violation("space", f"{degree} = {value} is not among the allowed values {allowed}")
    if s.redundant not in i.space.redundant_slots:
        allowed = ", ".join(map(str, i.space.redundant_slots[:12]))
        return Violation("space", f"redundant = {s.redundant} is not among the values {allowed} of redundant_slots")
    if s.order not in i.space.orders:
        return Violation("space", f"rank order {s.order} is not listed in the space")
    return None


def world(i: Instance, s: Strategy) -> Violation | None:
    """(R2) tp * cp * dp = etp * ep * edp, and world * replicas <= GPUs; classic: ep * tp * pp = GPUs, dp = ep, etp = tp."""
    gpus = i.cluster.pool.gpus
    attention, experts = prod((s.tp, s.cp, s.dp)), prod((s.etp, s.ep, s.edp))
    if attention != experts:
        return Violation("world", f"tp*cp*dp = {attention} GPUs per stage but etp*ep*edp = {experts}", attention, experts)
    if i.space.name == "classic":
        if s.ep * s.tp * s.pp != gpus:
            used = s.ep * s.tp * s.pp
            return Violation("world", f"ep*tp*pp = {used}, the classic space uses all {gpus} GPUs", used, gpus)
        if (s.cp, s.edp, s.replicas, s.dp, s.etp) != (1, 1, 1, s.ep, s.tp):
            return Violation("world", "the classic space fixes cp = edp = replicas = 1, dp = ep, etp = tp")
    if s.gpus > gpus:
        return Violation("world", f"needs {s.gpus} GPUs, the cluster has {gpus}", s.gpus, gpus)
    return None


def heads_divide(i: Instance, tp: int) -> Violation | None:
    """(R3) tp divides the attention heads of every layer."""
    for attention in i.architecture.attentions():
        if attention.heads % tp:
            return Violation("heads_divide", f"tp = {tp} does not divide {attention.heads} attention heads", tp, attention.heads)
    return None


def kv_heads(i: Instance, tp: int) -> Violation | None:
    """(R4) tp divides the KV heads, or is a multiple of them (then they are replicated)."""
    for attention in i.architecture.attentions():
        heads = replicated_heads(attention)
        if heads is not None and heads % tp and tp % heads:
            return Violation("kv_heads", f"tp = {tp} and {heads} KV heads: neither divides the other", tp, heads)
    return None


def ffn_divides(i: Instance, tp: int) -> Violation | None:
    """(R5) tp divides the width of dense FFNs and of the shared experts."""
    for group in i.architecture.layers:
        if dense_width(group.ffn) % tp:
            return Violation("ffn_divides", f"tp = {tp} does not divide the FFN width {dense_width(group.ffn)}", tp, dense_width(group.ffn))
    return None


def experts_divide(i: Instance, ep: int) -> Violation | None:
    """(R6) ep divides the experts; a dense model has ep = 1."""
    experts = i.architecture.experts
    if experts == 0 and ep > 1:
        return Violation("experts_divide", f"ep = {ep}, but the model has no experts", ep, 0)
    if experts % ep:
        return Violation("experts_divide", f"ep = {ep} does not divide {experts} experts", ep, experts)
    return None


def expert_width_divides(i: Instance, etp: int) -> Violation | None:
    """(R7) etp divides the width of the routed experts."""
    for group in i.architecture.layers:
        if group.moe is not None and group.moe.intermediate_size % etp:
            width = group.moe.intermediate_size
            return Violation("expert_width_divides", f"etp = {etp} does not divide the expert width {width}", etp, width)
    return None


def dense_model(i: Instance, tp: int, etp: int) -> Violation | None:
    """(R8) Without experts the expert side has one meaning only: etp = tp."""
    if i.architecture.experts == 0 and etp != tp:
        return Violation("dense_model", f"the model has no experts, so etp = {etp} must equal tp = {tp}", etp, tp)
    return None


def layers_cover(i: Instance, pp: int) -> Violation | None:
    """(R9) Every stage has a layer: pp <= layers."""
    layers = i.architecture.layer_count
    if pp > layers:
        return Violation("layers_cover", f"pp = {pp} stages need at least {pp} layers, the model has {layers}", pp, layers)
    return None


def batch_divides(i: Instance, replicas: int, dp: int, microbatches: int) -> Violation | None:
    """(R10) replicas * dp * microbatches divides the sequences: none is split."""
    parts, sequences = replicas * dp * microbatches, i.workload.sequences
    if sequences % parts:
        sentence = f"replicas*dp*microbatches = {replicas}*{dp}*{microbatches} = {parts} does not divide {sequences} sequences"
        return Violation("batch_divides", sentence, parts, sequences)
    return None


def context_covers(i: Instance, cp: int) -> Violation | None:
    """(R11) Every context-parallel rank holds some context: cp <= tokens of one sequence."""
    tokens = i.workload.context_tokens
    if cp > tokens:
        return Violation("context_covers", f"cp = {cp} ranks share a context of {tokens} tokens", cp, tokens)
    return None


def tp_in_domain(i: Instance, s: Strategy) -> Violation | None:
    """(R12) Where the space asks for it, no tensor-parallel group leaves its scale-up domain."""
    if not i.space.tp_in_domain:
        return None
    domain = i.cluster.pool.scale_up_domain_gpus
    spread = max(max(p) + 1 for p in group_patterns(s, "tp", domain))
    if spread > 1:
        return Violation(
            "tp_in_domain", f"a tensor-parallel group of {s.tp} spans {spread} scale-up domains of {domain} GPUs", s.tp, domain
        )
    return None


def strategy_violations(i: Instance, s: Strategy) -> Iterator[Violation]:
    """R1-R12 and R20, all that are broken."""
    laid_out = world(i, s)
    found = (
        space(i, s),
        laid_out,
        heads_divide(i, s.tp),
        kv_heads(i, s.tp),
        ffn_divides(i, s.tp),
        experts_divide(i, s.ep),
        expert_width_divides(i, s.etp),
        dense_model(i, s.tp, s.etp),
        layers_cover(i, s.pp),
        batch_divides(i, s.replicas, s.dp, s.microbatches),
        context_covers(i, s.cp),
        tp_in_domain(i, s) if laid_out is None else None,
        redundant_slots(i, s.ep, s.redundant),
    )
    return (v for v in found if v is not None)


def stages_cover(i: Instance, plan: Plan) -> Violation | None:
    """(R13) `pp` non-empty stages that hold every layer once, in order."""
    layers, pp = i.architecture.layer_count, plan.strategy.pp
    if len(plan.stages) != pp or any(n < 1 for n in plan.stages) or sum(plan.stages) != layers:
        sentence = f"stages {list(plan.stages)[:20]} must be {pp} positive numbers that add up to {layers} layers"
        return Violation("layers_cover", sentence, sum(plan.stages), layers)
    return None


def memory(i: Instance, pp: int, stage: int, need: int, detail: str) -> Violation | None:
    """(R15) Weights + KV cache + activations + buffers + reserve <= memory, on every GPU of every stage."""
    have = i.cluster.pool.accelerator.memory_bytes
    if need <= have:
        return None
    sentence = f"stage {stage + 1} of {pp} needs {need} bytes per GPU ({detail}), a GPU has {have} (short {need - have})"
    return Violation("memory", sentence, need, have)


def links(i: Instance, stage: int, scale_up_bytes: int, scale_out_bytes: int) -> Iterator[Violation]:
    """(R16) Traffic of the pass through one GPU's port <= its cap, on each tier."""
    pool = i.cluster.pool
    for tier, link, need in (("scale_up", pool.scale_up, scale_up_bytes), ("scale_out", pool.scale_out, scale_out_bytes)):
        cap = link.cap_bytes_per_pass
        if cap is not None and need > cap:
            yield Violation("link", f"stage {stage + 1} moves {need} bytes through one {tier} port per pass, the cap is {cap}", need, cap)


def longest_step(i: Instance) -> tuple[str, int] | None:
    """The tightest limit on the time of the pass, as (rule, ns): R17 ttft, R18 tpot, R19 rate."""
    limits, found = i.objective.limits, []
    if limits.ttft_ns is not None:
        found.append((limits.ttft_ns, "ttft"))
    if limits.tpot_ns is not None:
        found.append((limits.tpot_ns, "tpot"))
    if limits.min_tokens_per_s is not None:
        found.append((i.workload.tokens * 1_000_000_000 // limits.min_tokens_per_s, "rate"))
    return (min(found)[1], min(found)[0]) if found else None


def limits(i: Instance, step_ns: int) -> Iterator[Violation]:
    """(R17 ttft, R18 tpot, R19 rate) The pass is short enough."""
    wanted = i.objective.limits
    if wanted.ttft_ns is not None and step_ns > wanted.ttft_ns:
        yield Violation("ttft", f"the prefill pass takes {step_ns} ns, the limit is {wanted.ttft_ns} ns", step_ns, wanted.ttft_ns)
    if wanted.tpot_ns is not None and step_ns > wanted.tpot_ns:
        yield Violation("tpot", f"the decode step takes {step_ns} ns, the limit is {wanted.tpot_ns} ns", step_ns, wanted.tpot_ns)
    least = wanted.min_tokens_per_s
    if least is not None and step_ns * least > i.workload.tokens * 1_000_000_000:
        rate = tokens_per_s(i, step_ns)
        yield Violation("rate", f"the pass yields {rate} tokens/s, at least {least} are asked for", least, rate)


def memory_violations(i: Instance, plan: Plan, stages: Sequence[dict[str, int]]) -> Iterator[Violation]:
    """R15 of each stage, given what its parts take."""
    for n, parts in enumerate(stages):
        detail = ", ".join(f"{name} {size}" for name, size in parts.items())
        broken = memory(i, plan.strategy.pp, n, sum(parts.values()), detail)
        if broken is not None:
            yield broken


def plan_violations(i: Instance, plan: Plan, evaluation: Evaluation) -> Iterator[Violation]:
    """R15-R19 of a plan that has been priced."""
    yield from memory_violations(i, plan, [stage.memory for stage in evaluation.stages])
    for n, stage in enumerate(evaluation.stages):
        yield from links(i, n, stage.scale_up_bytes, stage.scale_out_bytes)
    yield from limits(i, evaluation.step_ns)


def violations(i: Instance, plan: Plan, terms: Terms | None = None) -> list[Violation]:
    """Every rule the plan breaks; empty means that it can run.

    Time and traffic are computed only for a plan whose degrees, stages and placement fit together,
    memory only where its degrees and stages do.
    """
    terms = terms or Terms(i)
    found = [*strategy_violations(i, plan.strategy), *filter(None, [stages_cover(i, plan)])]
    if found:
        return found + list(filter(None, [slots(i, plan)]))
    misplaced = slots(i, plan)
    if misplaced is not None:
        return [misplaced, *memory_violations(i, plan, stage_memory(terms, plan))]
    return list(plan_violations(i, plan, evaluate(i, plan, terms)))
