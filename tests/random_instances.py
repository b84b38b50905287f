"""Tiny instances, different in every respect that the rules and the cost model look at."""

import json
from math import factorial
from random import Random
from typing import Any, NamedTuple

from brute import plans, solvable, strategies
from random_engines import add_engine

from models.evaluate import evaluate
from models.instance import Instance
from models.strategy import DEGREES, ORDERS

MOST_GPUS = 8
KINDS = (("dense", "dense"), ("moe", "moe"), ("moe", "moe"), ("dense", "moe"), ("moe", "dense"))
EXPERTS_OF = {2: 4, 3: 3, 4: 4}  # with redundant slots, by the largest degree of expert parallelism
SIZES = ((0, 60), (3, 300), (6, 300), (12, 300), (12, 800))  # strategies at least, plans at most


class Theme(NamedTuple):
    """What is decided before anything is drawn again, so that large instances are not the rarer ones."""

    kinds: tuple[str, str]
    """of the first and the last layers"""
    space: str
    placement: bool
    """few strategies, but experts that can be placed well or badly"""


def random_instance(seed: int) -> Instance:
    """The same instance for the same seed; small enough to look at every plan. Half of them have what `random_engines` draws."""
    engine = Random(f"engine {seed}")
    return _find(seed, engine if engine.random() < 0.5 else None)


def plain_instance(seed: int) -> Instance:
    """As `random_instance`, all times in proportion to demands: flat efficiencies, rounds of latency, no overheads."""
    return _find(seed, None)


def redundant_instance(seed: int) -> Instance:
    """Few strategies over few experts, with redundant slots to choose: small enough to look at every placement with replicas."""
    rng = Random(f"redundant {seed}")
    theme = Theme(rng.choice(KINDS[1:]), rng.choice(["classic", "folded", "folded", "folded"]), True)
    engine = Random(f"redundant engine {seed}") if rng.random() < 0.4 else None
    while True:
        content = _draw(rng, seed, theme)
        slots, ep = rng.choice([[0, 1], [0, 1], [0, 1, 2], [1], [2, 0]]), rng.choice([[2], [2], [1, 2], [2, 4], [3], [4]])
        content["space"] |= {"redundant_slots": slots, "ep": ep, "microbatches": [1, 2], "replicas": [1], "tp": [1], "cp": [1]}
        for group in content["architecture"]["layers"]:
            if group["ffn"]["kind"] == "moe":
                group["ffn"] |= {"experts": EXPERTS_OF[max(ep)], "top_k": min(group["ffn"]["top_k"], EXPERTS_OF[max(ep)])}
        if content["expert_load"] is not None:
            counts = [row[: EXPERTS_OF[max(ep)]] for row in content["expert_load"]["counts"]]
            content["expert_load"]["counts"] = [row if any(row) else [*row[:-1], 1] for row in counts]
        if engine is not None:
            add_engine(engine, content)
        instance = _read(content)
        if solvable(instance, 2, 500) and any(s.redundant for s in strategies(instance)):
            return _tighten(rng, instance, 0.3)


def _find(seed: int, engine: Random | None) -> Instance:
    """Draws until there is enough to decide."""
    rng = Random(seed)
    least, most = rng.choice(SIZES)
    theme = Theme(rng.choice(KINDS), rng.choice(["classic", "folded", "folded", "folded"]), False)
    if rng.random() < 0.4:
        theme, least, most = Theme(rng.choice(KINDS[1:]), "folded", True), 1, rng.choice([300, 300, 800])
    elif theme.space == "classic":  # a small space
        least //= 4
    while True:
        content = _draw(rng, seed, theme)
        if engine is not None:
            add_engine(engine, content)
        instance = _read(content)
        if _placements(instance) <= most and solvable(instance, least, most):
            return _tighten(rng, instance, 0.5 if theme.placement else 0.25)


def _read(content: dict[str, Any]) -> Instance:
    return Instance.model_validate_json(json.dumps(content))


def _draw(rng: Random, seed: int, theme: Theme) -> dict[str, Any]:
    """An instance in which everything fits."""
    objective = rng.choice(["latency", "latency", "throughput", "throughput_per_gpu", "cost", "gpus"])
    layers = _layers(rng, theme)
    return {
        "format": "shardproof-instance/1",
        "name": f"random {seed}",
        "cluster": {"pools": [_pool(rng, theme, objective == "cost" or rng.random() < 0.3)]},
        "architecture": _architecture(rng, layers),
        "workload": _workload(rng),
        "runtime": {
            "activation_bytes_per_token": rng.choice([0, 1, 64, 500]),
            "collective_buffer_bytes": rng.choice([0, 100]),
            "reserve_bytes": rng.choice([0, 100]),
            "overlap_ppm": rng.choice([0, 0, 0, 250_000, 333_333, 1_000_000]),
            "sources": {"*": "assumed: random"},
        },
        "expert_load": _expert_load(rng, layers, theme),
        "space": _space(rng, theme),
        "objective": {"name": objective},
    }


def _pool(rng: Random, theme: Theme, priced: bool) -> dict[str, Any]:
    sizes = (1, 2, 3, 4, 8)
    domains = (1, 2, 3, 3) if theme.placement else sizes
    node, domain = rng.choice([(n, d) for n in sizes for d in domains if n % d == 0 or d % n == 0])
    nodes = rng.randint(1, MOST_GPUS // node)
    efficiency = [333_333, 600_000, 1_000_000]
    accelerator = {
        "name": "tiny",
        "memory_bytes": 10**15,
        "hbm_bytes_per_s": _rate(rng, 10**9 if theme.placement else 3 * 10**9),
        "peak_flop_per_s": {"bf16": _rate(rng, 2 * 10**10), "fp8": _rate(rng, 4 * 10**10)},
        "gemm_efficiency_ppm": rng.choice(efficiency),
        "expert_gemm_efficiency_ppm": rng.choice(efficiency),
        "attention_efficiency_ppm": rng.choice(efficiency),
        "hbm_efficiency_ppm": rng.choice(efficiency),
        "kernel_launch_ns": rng.choice([0, 1, 20, 200]),
        "sources": {"*": "assumed: random"},
    }
    return {
        "name": "main",
        "accelerator": accelerator,
        "nodes": nodes,
        "gpus_per_node": node,
        "scale_up_domain_gpus": domain,
        "scale_up": _link(rng, 6 * 10**9),
        "scale_out": _link(rng, 2 * 10**9),
        "price_uusd_per_gpu_hour": rng.randint(1, 9) * 500_000 if priced else None,
    }


def _link(rng: Random, typical: int) -> dict[str, Any]:
    return {
        "bandwidth_bytes_per_s": _rate(rng, typical),
        "latency_ns": rng.choice([0, 1, 10, 100, 1000]),
        "sources": {"*": "assumed: random"},
    }


def _rate(rng: Random, typical: int) -> int:
    """Within a factor of eight of `typical`, either way."""
    return int(typical * 8 ** rng.uniform(-1, 1))


def _architecture(rng: Random, layers: list[dict[str, Any]]) -> dict[str, Any]:
    dtypes = ("weight_dtype", "kv_dtype", "activation_dtype", "dispatch_dtype", "combine_dtype")
    return {
        "name": "tiny",
        "hidden_size": rng.choice([4, 6, 16, 24]),
        "vocabulary_size": rng.choice([7, 16, 30]),
        "tied_embeddings": rng.random() < 0.5,
        **{name: rng.choice(["bf16", "bf16", "fp8"]) for name in dtypes},
        "layers": layers,
        "source": "assumed: random",
    }


def _layers(rng: Random, theme: Theme) -> list[dict[str, Any]]:
    """One or two groups of one to four layers in all."""
    both = theme.kinds[0] != theme.kinds[1]
    total = rng.choice([2, 2, 3, 3, 4] if both else [1, 2, 2, 3, 3, 4])
    first = rng.randint(1, total - both)
    counts = [n for n in (first, total - first) if n]
    attention, experts = _attention(rng), rng.choice([4, 6, 6, 6, 8] if theme.placement else [2, 3, 4, 4, 6])
    groups = []
    for count, kind in zip(counts, theme.kinds, strict=False):
        ffn = _moe(rng, experts) if kind == "moe" else {"kind": "dense", "intermediate_size": _width(rng), "matrices": rng.choice([2, 3])}
        groups.append({"count": count, "attention": attention if rng.random() < 0.7 else _attention(rng), "ffn": ffn})
    return groups


def _width(rng: Random) -> int:
    return rng.choice([6, 8, 12, 24, 24])


def _moe(rng: Random, experts: int) -> dict[str, Any]:
    return {
        "kind": "moe",
        "experts": experts,
        "top_k": rng.randint(1, min(experts, rng.choice([2, 6]))),
        "intermediate_size": _width(rng),
        "matrices": rng.choice([2, 3]),
        "shared_experts": rng.choice([0, 0, 1, 2]),
        "shared_intermediate_size": rng.choice([None, 4, 12]),
    }


def _attention(rng: Random) -> dict[str, Any]:
    heads = rng.choice([2, 3, 4, 6, 8, 12])
    match rng.choice(["mha", "gqa", "mla"]):
        case "mha":
            return {"kind": "mha", "heads": heads, "head_dim": rng.choice([1, 4])}
        case "gqa":
            return {
                "kind": "gqa",
                "heads": heads,
                "kv_heads": rng.choice([n for n in (1, 2, 3, 4) if heads % n == 0]),
                "head_dim": rng.choice([2, 4]),
            }
        case _:
            return {
                "kind": "mla",
                "heads": heads,
                "q_lora_rank": rng.choice([None, 3]),
                "kv_lora_rank": rng.choice([2, 5]),
                "qk_nope_head_dim": 3,
                "qk_rope_head_dim": rng.choice([1, 2]),
                "v_head_dim": rng.choice([2, 4]),
            }


def _workload(rng: Random) -> dict[str, Any]:
    length = "tokens_per_sequence", "context_tokens"
    kind = rng.choice(["prefill", "decode"])
    return {
        "kind": kind,
        "sequences": rng.choice([1, 2, 3, 4, 6, 8]),
        length[kind == "decode"]: rng.choice([1, 2, 5, 16, 40]),
        "sources": {"*": "assumed: random"},
    }


def _expert_load(rng: Random, layers: list[dict[str, Any]], theme: Theme) -> dict[str, Any] | None:
    """None, one row for all MoE layers, or one row each; zeros are likely."""
    moe = [group for group in layers if group["ffn"]["kind"] == "moe"]
    every = sum(group["count"] for group in moe)
    rows = rng.choice([1, every, every] if theme.placement else [0, 1, every])
    if not moe or not rows:
        return None
    popular = rng.choice([[0, 0, 4, 5, 12], [0, 0, 0, 3, 4, 4, 9], [1, 3], [2, 3, 5, 8, 13, 21]])
    counts = [[rng.choice(popular) for _ in range(moe[0]["ffn"]["experts"])] for _ in range(rows)]
    for row in counts:
        if not any(row):  # is refused
            row[rng.randrange(len(row))] = 1
    return {"counts": counts, "source": "random"}


def _space(rng: Random, theme: Theme) -> dict[str, Any]:
    found: dict[str, Any] = {"name": theme.space, "tp_in_domain": rng.random() < 0.2}
    if theme.space == "folded" and rng.random() < 0.5:
        found["orders"] = rng.sample(ORDERS, rng.choice([1, 2, 2]))
    if theme.placement:
        return (
            found
            | {"ep": rng.choice([[2], [2], [2, 4], [3, 6]]), "microbatches": [1, 2], "replicas": [1]}
            | ({"tp": [1], "cp": [1]} if rng.random() < 0.7 else {})
        )
    if rng.random() < 0.3:
        for degree in rng.sample(DEGREES, rng.choice([1, 2, 3])):
            found[degree] = rng.sample(range(1, MOST_GPUS + 1), rng.randint(2, 6))
    return found


def _placements(instance: Instance) -> int:
    """The most placements that some degree of expert parallelism leaves, over all MoE layers."""
    experts, most = instance.architecture.experts, min(instance.architecture.experts, instance.cluster.pool.gpus)
    degrees = [ep for ep in range(1, most + 1) if experts % ep == 0 and instance.space.admits("ep", ep)]
    of_layer = [factorial(experts) // factorial(experts // ep) ** ep for ep in degrees]
    return max(of_layer, default=1) ** instance.architecture.moe_layers


def _tighten(rng: Random, instance: Instance, capped: float) -> Instance:
    """Memory, link caps and limits that some plan meets exactly, or misses by one."""
    found = list(strategies(instance))
    if not found:
        return instance
    priced = [evaluate(instance, rng.choice(list(plans(instance, rng.choice(found))))) for _ in range(4)]
    content = json.loads(instance.model_dump_json())
    pool, limits = content["cluster"]["pools"][0], content["objective"]["limits"]
    if rng.random() < 0.5:
        pool["accelerator"]["memory_bytes"] = max(1, priced[0].peak_memory_bytes - rng.choice([0, 1]))
    for tier, example in (("scale_up", priced[1]), ("scale_out", priced[2])):
        if rng.random() < capped:
            most = max(getattr(stage, f"{tier}_bytes") for stage in example.stages)
            pool[tier]["cap_bytes_per_pass"] = max(0, most - rng.choice([0, 1]))
    longest = priced[3].step_ns - rng.choice([0, 1])
    if rng.random() < 0.2:
        limits["ttft_ns" if instance.workload.kind == "prefill" else "tpot_ns"] = longest
    if rng.random() < 0.1:
        limits["min_tokens_per_s"] = instance.workload.tokens * 10**9 // longest
    return _read(content)
