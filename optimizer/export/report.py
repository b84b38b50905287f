"""The verification summary in Markdown: every figure from the other documents, every statement with its evidence."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from models.formats import computes_in
from models.instance import COST_MODEL, Instance
from models.roofline import peak_flop_per_s
from models.strategy import Plan
from optimizer.export.verification import Conclusion, Facts

Figures = dict[str, Any]

_UNMARKED = str.maketrans("`|<>#*", "'/()--")

SECTION_RULES = {
    "hardware": ("world", "memory", "link", "tp_in_domain"),
    "strategy": ("space", "layers_cover", "batch_divides", "context_covers"),
    "model": (
        "heads_divide",
        "kv_heads",
        "ffn_divides",
        "experts_divide",
        "expert_width_divides",
        "dense_model",
        "slots",
        "redundant_slots",
    ),
    "performance": ("ttft", "tpot", "rate"),
}


class Documents(NamedTuple):
    """The documents that the summary is drawn from."""

    strategy: Figures
    summary: Figures
    verification: Figures
    dag: Figures
    conclusion: Conclusion


def render_report(instance: Instance, plan: Plan, facts: Facts, documents: Documents, files: Sequence[str]) -> str:
    """The whole page, ending in what the facts allow to be concluded."""
    verdict = "the plan keeps every rule" if documents.verification["passed"] else "the plan or its export FAILS a check"
    lines = [
        "# Deployment verification summary",
        "",
        f"**Verdict: {verdict}.** {documents.conclusion.sentence}",
        "",
        f"Plan `{plan.strategy.label()}` for instance {_plain(instance.name)} (sha256 `{documents.summary['instance']['sha256']}`).",
        f"All figures are computed by the cost model `{COST_MODEL}` of shardproof {_plain(facts.tool_version)}; none is a measurement.",
        f"The weakest source among the constants is `{documents.summary['weakest_source']}`.",
    ]
    sections = (
        ("1. Hardware compatibility", _hardware(instance, documents)),
        ("2. Parallel strategy compatibility", _strategy(plan, documents)),
        ("3. Model compatibility", _model(instance, documents)),
        ("4. Performance", _performance(documents)),
        ("5. DAG capability", _dag(documents)),
        ("6. Checks", _checks(documents)),
        ("7. Conclusion", _conclusion(documents.conclusion, facts)),
        ("8. Files", iter(f"- `{name}`" for name in files)),
    )
    for title, body in sections:
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _hardware(instance: Instance, d: Documents) -> Iterator[str]:
    pool, gpus = instance.cluster.pool, d.summary["gpus"]
    accelerator, dtype = pool.accelerator, computes_in(instance.architecture.weight_dtype)
    fullest = max(d.summary["stages"], key=lambda stage: stage["memory_total_bytes"])
    yield f"- GPUs: {gpus['used']} of {gpus['cluster']} used, {gpus['idle']} idle ({pool.nodes} nodes x {pool.gpus_per_node})"
    need, have = _gb(fullest["memory_total_bytes"]), _gb(accelerator.memory_bytes)
    yield f"- Memory: the fullest GPU needs {need} of {have} ({fullest['memory_pct']:.1f} %)"
    peak = peak_flop_per_s(accelerator, dtype) / 1e12
    field, attained = "gemm_efficiency_ppm", f"{accelerator.gemm_efficiency_ppm / 10_000:g} % attained"
    if accelerator.curves:
        field, attained = "curves", f"attained as {len(accelerator.curves)} operator curves say"
    yield f"- Compute: {peak:g} TFLOP/s {dtype} peak per GPU, {attained} ({_plain(accelerator.source_of(field))})"
    for name, link in (("Scale-up", pool.scale_up), ("Scale-out", pool.scale_out)):
        rate = f"{link.bandwidth_bytes_per_s / 1e9:g} GB/s per GPU, {link.latency_ns} ns"
        yield f"- {name}: {rate} ({_plain(link.source_of('bandwidth_bytes_per_s'))})"
    yield f"- Scale-up domains of {pool.scale_up_domain_gpus} GPUs"
    yield from _rules("hardware", d)


def _strategy(plan: Plan, d: Documents) -> Iterator[str]:
    s = plan.strategy
    yield "| TP | CP | DP | PP | ETP | EP | EDP | replicas | micro-batches | redundant slots |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    yield "| " + " | ".join(str(n) for n in s.degrees().values()) + " |"
    yield ""
    attention, experts = f"tp*cp*dp = {s.tp}*{s.cp}*{s.dp}", f"etp*ep*edp = {s.etp}*{s.ep}*{s.edp}"
    yield f"- GPUs per stage: {attention} = {s.stage_gpus}, {experts} = {s.etp * s.ep * s.edp}"
    yield f"- GPUs in all: {s.stage_gpus} x {s.pp} stages x {s.replicas} replicas = {s.gpus}"
    yield f"- Layers per stage: {', '.join(map(str, plan.stages))}; rank order `{s.order}`"
    yield from _rules("strategy", d)


def _model(instance: Instance, d: Documents) -> Iterator[str]:
    arch, degrees, held = instance.architecture, d.strategy["degrees"], d.strategy["expert_gpus"]
    yield f"- {arch.layer_count} layers ({arch.moe_layers} MoE), hidden size {arch.hidden_size}, {arch.experts} experts per MoE layer"
    if held:
        slots, parts = arch.experts // degrees["ep"] + degrees["redundant"], degrees["etp"]
        yield f"- A GPU holds {slots} experts of each MoE layer, 1/{parts} of each: {slots / parts:g} experts' weights"
        layer, experts = next(iter(held.items()))
        last = str(arch.experts - 1)
        yield f"- Layer {layer}: expert 0 on GPUs {_gpus(experts['0'])}; expert {last} on GPUs {_gpus(experts[last])}"
    yield ""
    parts = list(d.summary["stages"][0]["memory_bytes"])
    yield f"| stage | layers | {' | '.join(p.replace('_', ' ') for p in parts)} | total | of usable |"
    yield "|---" * (len(parts) + 4) + "|"
    for number, stage in enumerate(d.summary["stages"]):
        sizes = " | ".join(_gb(stage["memory_bytes"][p]) for p in parts)
        yield f"| {number} | {stage['layers']} | {sizes} | {_gb(stage['memory_total_bytes'])} | {stage['memory_pct']:.1f} % |"
    yield ""
    yield from _rules("model", d)


def _performance(d: Documents) -> Iterator[str]:
    step, latency = d.summary["step_ns"], d.summary["latency"]
    yield f"- One pass: {_time(step)}; {d.summary['tokens_per_s']} tokens/s, {d.summary['tokens_per_s_per_gpu']} per GPU"
    for name, ns in latency.items():
        yield f"- {name.removesuffix('_ns').replace('_', ' ').capitalize()}: {_time(ns)}"
    for other in d.summary["comparisons"]:
        yield f"- {_compare(other)}"
    if not d.summary["comparisons"]:
        yield "- No improvement is stated: the instance names no plan to compare with"
    yield ""
    yield "| term of the pass | time | share |"
    yield "|---|---|---|"
    for name, ns in sorted(d.summary["breakdown_ns"].items(), key=lambda item: (-item[1], item[0])):
        if ns:
            yield f"| {name} | {_time(ns)} | {100 * ns / step:.1f} % |"
    yield ""
    yield from _rules("performance", d)


def _compare(other: Figures) -> str:
    """One comparison; both plans are priced by the same model."""
    title = f"Against the {other['role']} `{other['strategy']}`"
    if "misfit" in other:
        return f"{title}: not priced, it cannot be laid out ({other['misfit']})"
    if other["same_plan"]:
        return f"{title}: it is this plan"
    broken = f"; it breaks {', '.join(other['broken_rules'])}" if other["broken_rules"] else ""
    theirs = f"{_time(other['step_ns'])}, {other['tokens_per_s']} tokens/s{broken}"
    return f"{title}: {other['speedup']:.3g}x in latency and in throughput (it takes {theirs})"


def _dag(d: Documents) -> Iterator[str]:
    nodes, collectives = len(d.dag["nodes"]), sum("gpus" in node for node in d.dag["nodes"])
    edges = len(d.dag["edges"])
    yield f"- {nodes} nodes ({nodes - collectives} computations, {collectives} collectives), {edges} edges: one micro-batch, one replica"
    yield f"- GPU assignment: {len(d.strategy['gpus'])} rows, one per GPU, with node, domain, stage and rank in every group"
    sent = [(kind, c) for kind in d.strategy["communication"] for c in kind["collectives"]]
    if not sent:
        yield "- No GPU sends anything to another"
        return
    yield "- Collectives of one term are priced together; the last column holds their sum per layer and micro-batch"
    yield ""
    yield "| where | collective | groups of a stage | tensor | term | tiers of the term | time of the term |"
    yield "|---|---|---|---|---|---|---|"
    for kind, c in sent:
        tensor = f"{'x'.join(map(str, c['tensor']['shape']))} {c['tensor']['dtype']}"
        cost = kind["terms"][c["term"]]
        cells = kind["kind"], c["name"], f"{c['groups_per_stage']} x {c['group_size']}", tensor, c["term"], cost["tier"], _time(cost["ns"])
        yield f"| {' | '.join(cells)} |"


def _checks(d: Documents) -> Iterator[str]:
    rules = d.verification["rules"]
    asked = [name for name, rule in rules.items() if rule["asked"]]
    kept = [name for name in asked if rules[name]["passed"]]
    items = [(kept == asked, f"rules: {len(kept)} of {len(asked)} that the instance states are kept")]
    items += [(c["passed"], f"{name}: {c['evidence']}") for name, c in d.verification["export"].items()]
    for number, (passed, text) in enumerate(items, 1):
        yield f"{number}. {'pass' if passed else 'FAIL'} - {text}"
    ratios = [row["max_over_mean"] for row in d.summary["load_balance"]]
    if ratios:
        yield f"{len(items) + 1}. figure - load balance: busiest rank {max(ratios):.4f} times the mean in the worst MoE layer"


def _conclusion(end: Conclusion, facts: Facts) -> Iterator[str]:
    yield end.sentence
    if end.optimal:
        yield f"Near-optimal strategies listed beside the optimal ones: {facts.near}."
    yield ""
    yield "Assumptions:" if facts.assumptions else "No assumptions are stated."
    if facts.assumptions:
        yield ""
        yield from (f"- {_plain(text)}" for text in facts.assumptions)


def _rules(section: str, d: Documents) -> Iterator[str]:
    """The section's rules: kept, broken with numbers, or not stated by the instance."""
    rules = {name: d.verification["rules"][name] for name in SECTION_RULES[section]}
    kept = [name for name, rule in rules.items() if rule["asked"] and rule["passed"]]
    unasked = [name for name, rule in rules.items() if not rule["asked"]]
    if kept:
        yield f"- Rules kept: {', '.join(f'`{n}`' for n in kept)}"
    for name, rule in rules.items():
        yield from (f"- BROKEN `{name}`: {v['sentence']}" for v in rule.get("violations", ()))
    if unasked:
        yield f"- Not limited by the instance: {', '.join(f'`{n}`' for n in unasked)}"


def _gpus(gpus: list[int]) -> str:
    shown = ", ".join(map(str, gpus[:8]))
    return shown if len(gpus) <= 8 else f"{shown}, ... ({len(gpus)} in all)"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"


def _time(ns: int) -> str:
    unit, size = next((u, n) for u, n in (("ms", 10**6), ("us", 10**3), ("ns", 1)) if abs(ns) >= n or n == 1)
    return f"{ns / size:.6g} {unit}"


def _plain(text: str) -> str:
    """Free text on one line, without characters that Markdown gives a meaning."""
    return " ".join(text.split()).translate(_UNMARKED)
