"""A second checker of certificates, written from docs/certificate.md alone: slower, recursive, on plain JSON.

It shares with the first what the document calls definitions: instances, rules, the cost of one plan, and the bound B(s).
"""

import json
from collections.abc import Iterator
from functools import cache
from hashlib import sha256

from second_arguments import placement, refutes, shape_of
from second_fleets import fleet
from second_grammar import Json, No, need, read
from second_maps import expert_map

from models import rules
from models.attention import attention_weights
from models.bounds import Bounds
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import value_of
from models.operators import dense_width
from models.strategy import Plan, Strategy

Facts = dict[tuple[tuple[int, ...], int], int]
STANDALONE = {"placement": placement, "expert_map": expert_map, "fleet": fleet}


def verdict(text: str, instance_text: str | None = None) -> tuple[bool, str]:
    """Whether the certificate proves its claim (about this instance); and if not, why."""
    try:
        certificate = read(text)
        claim, facts, parts = certificate["claim"], certificate["facts"], (certificate["instance_sha256"], certificate["instance"])
        if claim["kind"] in STANDALONE:
            need((*parts, facts, instance_text) == (None, None, [], None), f"a claim {claim['kind']} is about no instance")
            STANDALONE[claim["kind"]](claim)
        else:
            i = instance_of(*parts, instance_text)
            shown = dict(proved(i, fact) for fact in sorted(facts, key=lambda fact: fact["least"]))
            (broken if claim["kind"] == "broken" else space)(i, claim, shown)
    except No as no:
        return False, str(no)
    return True, "proved"


def canonical_hash(instance: Instance) -> str:
    text = json.dumps(json.loads(instance.model_dump_json()), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode("utf-8")).hexdigest()


def instance_of(digest: str | None, inside: Json, given: str | None) -> Instance:
    texts = [text for text in (given, None if inside is None else json.dumps(inside)) if text is not None]
    try:
        found = [Instance.model_validate_json(text) for text in texts]
    except ValueError as error:
        raise No("not an instance") from error
    need({canonical_hash(i) for i in found} == {digest}, "no instance, or another one")
    return found[0]


def proved(i: Instance, fact: Json) -> tuple[tuple[tuple[int, ...], int], int]:
    """What a fact adds to the known loads: (loads, ranks) and the least load of the heaviest rank."""
    experts, ranks = i.architecture.experts, fact["ranks"]
    rows = i.expert_load.counts if i.expert_load else ((1,) * experts,)
    need(fact["row"] < len(rows) and experts and experts % ranks == 0, "no such row or ranks")
    loads = rows[fact["row"]]
    problem = shape_of({"loads": list(loads), "classes": [{"ranks": ranks, "slots": experts // ranks}]})
    need(refutes(problem, fact["least"] - 1, fact["argument"]), "a fact that its argument does not show")
    return (loads, ranks), fact["least"]


def plan_of(stated: Json) -> Plan:
    placed = tuple(tuple(tuple(rank) for rank in layer) for layer in stated["placement"])
    return Plan(Strategy(**stated["degrees"], order=stated["order"]), tuple(stated["stages"]), placed)


def priced(i: Instance, stated: Json) -> tuple[Strategy, int]:
    plan = plan_of(stated["plan"])
    need(not rules.violations(i, plan), "a plan that breaks a rule")
    need(evaluate(i, plan).value == stated["value"], "a plan of another value")
    return plan.strategy, stated["value"]


def broken(i: Instance, claim: Json, facts: Facts) -> None:
    stated, named = claim["plan"], {(r["rule"], r["need"], r["have"]) for r in claim["rules"]}
    s = Strategy(**stated["degrees"], order=stated["order"])
    whole = stated["stages"] is not None and stated["placement"] is not None
    found = {(v.rule, v.need, v.have) for v in (rules.violations(i, plan_of(stated)) if whole else rules.strategy_violations(i, s))}
    if not found and not whole:
        found = {(rule, None, None) for rule in [Bounds(i, proved=facts).exact(s)] if isinstance(rule, str)}
    need(named and named <= found, "a rule that some plan of the strategy keeps")


def space(i: Instance, claim: Json, facts: Facts) -> None:
    """A claim about all plans of the space; an infeasible one has neither bound nor cut."""
    plans = [priced(i, stated) for stated in claim.get("plans", ())]
    listed, best = dict(plans), min((value for _, value in plans), default=None)
    bound, complete_to, count = (claim.get("bound", claim.get("value")), claim.get("complete_to"), claim["strategies"])
    need(len(listed) == len(plans) and best == claim.get("value"), "a strategy twice, or another best value")
    need(best is None or best >= bound, "a plan below the bound")
    need(complete_to is None or complete_to >= bound, "complete to less than the bound")
    need(claim["kind"] != "optimal" or plans, "no plan is optimal")
    if claim.get("refuted"):
        need(best is not None and priced(i, claim["refuted"])[1] > best, "the plan refuted is not dearer")
    if count is None:
        need(complete_to is None and bound <= root_bound(i), "above the root bound, without a visit to the space")
        return
    cut = bound - 1 if bound is not None and complete_to is None else complete_to
    bounds, within = Bounds(i, proved=facts), frozenset(s for s, value in listed.items() if cut is not None and value <= cut)
    seen = 0
    for seen, s in enumerate(strategies(i), 1):
        need(seen <= count and disposed(bounds, s, cut, bound, s in within), f"{s.label()}, the {seen}th")
    need(seen == count, f"{seen} strategies")


def disposed(bounds: Bounds, s: Strategy, cut: int | None, bound: int | None, listed: bool) -> bool:
    """Whether a strategy breaks a rule, or lies above the cut, or is listed and not below the bound."""
    value, least = value_of(bounds.instance, s), 0
    for lower in (bounds.work, bounds.quick, bounds.exact):
        found = lower(s)
        if isinstance(found, str):
            return True
        least = value.of(found if isinstance(found, int) else found.step_ns)
        if cut is not None and least > cut:
            return True
    return listed and bound is not None and least >= bound


def strategies(i: Instance) -> Iterator[Strategy]:
    """Every strategy that keeps R1-R12 and R20: all products of degrees, sifted first by what divides what."""
    gpus, sequences, classic = i.cluster.pool.gpus, i.workload.sequences, i.space.name == "classic"

    def values(degree: str, most: int, of: int = 0) -> list[int]:
        return [n for n in range(1, most + 1) if of % n == 0 and i.space.admits(degree, n)]

    tensor = [n for n in values("tp", gpus) if not (rules.heads_divide(i, n) or rules.kv_heads(i, n) or rules.ffn_divides(i, n))]
    widths = [n for n in values("etp", gpus) if not rules.expert_width_divides(i, n)]
    experts = [n for n in values("ep", gpus) if not rules.experts_divide(i, n)]
    sides = cache(lambda n: [(ep, etp) for ep in experts if n % ep == 0 for etp in widths if n // ep % etp == 0])
    parts = cache(lambda n: values("microbatches", n, n))
    return (
        s
        for r in values("replicas", 1 if classic else gpus)
        for pp in values("pp", min(gpus // r, i.architecture.layer_count))
        for tp in tensor
        for cp in values("cp", 1 if classic else gpus // (r * pp * tp))
        for dp in values("dp", gpus // (r * pp * tp * cp))
        if sequences % (r * dp) == 0
        for ep, etp in ([(dp, tp)] if classic else sides(tp * cp * dp))
        if not rules.dense_model(i, tp, etp)
        for m in parts(sequences // (r * dp))
        for n in i.space.redundant_slots
        if n == 0 or i.architecture.experts // ep + n <= i.architecture.experts
        for s in (Strategy(tp, cp, dp, pp, etp, ep, tp * cp * dp // (etp * ep), r, m, order, n) for order in i.space.orders)
        if not any(rules.strategy_violations(i, s))
    )


def root_bound(i: Instance) -> int:
    """The least objective at which all GPUs at their peak do the GEMM FLOP of the pass."""
    chip, h, tokens, layers = i.cluster.pool.accelerator, i.architecture.hidden_size, i.workload.tokens, i.architecture.layers
    dense = sum(g.count * (attention_weights(h, g.attention, 1) + g.ffn.matrices * h * dense_width(g.ffn)) for g in layers)
    routed = sum(g.count * g.ffn.top_k * g.ffn.matrices * h * g.ffn.intermediate_size for g in layers if g.ffn.kind == "moe")
    dtype = i.architecture.weight_dtype
    shares = {"gemm": chip.gemm_efficiency_ppm, "expert_gemm": chip.expert_gemm_efficiency_ppm}
    shares |= {kind: chip.curves[f"{kind}.{dtype}"].flop_efficiency_ppm for kind in shares if f"{kind}.{dtype}" in chip.curves}
    weights: dict[int, int] = {}
    for share, count in ((shares["gemm"], dense), (shares["expert_gemm"], routed)):
        weights[share] = weights.get(share, 0) + count
    scaled = 2 * tokens * 10**9 * i.runtime.operator_scale_ppm
    gpu_ns = sum(scaled * count // (chip.peak_flop_per_s[dtype] * share) for share, count in weights.items())
    price = i.cluster.pool.price_uusd_per_gpu_hour or 0
    return {"throughput_per_gpu": gpu_ns, "cost": gpu_ns * price, "gpus": 1}.get(i.objective.name, gpu_ns // i.cluster.pool.gpus)
