"""Plans to export: the reference plan, folded and pipelined ones, and every feature of a layer once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.evaluate import evaluate
from models.instance import Instance
from models.placement import contiguous
from models.strategy import DEFAULT_ORDER, Plan, Strategy, complete_stages
from optimizer.export.files import Facts

ROOT = Path(__file__).parent.parent
REFERENCE = Strategy(tp=2, cp=1, dp=64, pp=1, etp=2, ep=64, edp=1, replicas=1, microbatches=1)
FOLDED = Strategy(tp=1, cp=1, dp=128, pp=1, etp=1, ep=8, edp=16, replicas=1, microbatches=1)
PIPELINED = Strategy(tp=4, cp=1, dp=2, pp=16, etp=4, ep=2, edp=1, replicas=1, microbatches=4)
OTHER_ORDER = "cp-tp-dp|ep-etp-edp"


class Case(NamedTuple):
    instance: Instance
    plan: Plan


def content() -> Any:
    """The reference instance as JSON, in the folded space so that every plan here belongs to it."""
    found = json.loads((ROOT / "instances/ep64_tp2_128gpu.json").read_text())
    found["space"] = {"name": "folded"}
    return found


def read(found: Any) -> Instance:
    return Instance.model_validate_json(json.dumps(found))


def exchanging(found: Any, way: str) -> Any:
    """The content with tokens sent to their experts in another way."""
    found["runtime"]["expert_exchange"] = way
    if way == "gather" and "orders" in found["space"]:
        found["space"]["orders"] = [DEFAULT_ORDER]
    return found


def case(strategy: Strategy, found: Any = None) -> Case:
    """The strategy with even stages and contiguous experts."""
    instance = read(found or content())
    arch = instance.architecture
    stages = complete_stages(arch.layer_count, strategy.pp)
    return Case(instance, Plan(strategy, stages, (contiguous(arch.experts, strategy.ep, strategy.redundant),) * arch.moe_layers))


def mixed(workload: dict[str, Any] | None = None) -> Any:
    """Two dense layers before three MoE layers with shared experts, on 16 GPUs; loads are skewed, dtypes differ."""
    found = content()
    found["cluster"]["pools"][0]["nodes"] = 2
    attention = {"kind": "gqa", "heads": 32, "kv_heads": 8, "head_dim": 128}
    dense = {"kind": "dense", "intermediate_size": 8192, "matrices": 3}
    moe = {"kind": "moe", "experts": 8, "top_k": 2, "intermediate_size": 1024, "matrices": 3, "shared_experts": 1}
    found["architecture"]["layers"] = [{"count": 2, "attention": attention, "ffn": dense}, {"count": 3, "attention": attention, "ffn": moe}]
    found["architecture"] |= {"dispatch_dtype": "fp8"}
    found["expert_load"] = {"counts": [[1, 2, 3, 4, 5, 6, 7, 8]] * 2 + [[9, 1, 1, 1, 1, 1, 1, 1]], "source": "made up"}
    found["space"] |= {"orders": [DEFAULT_ORDER, OTHER_ORDER], "redundant_slots": [0, 1]}
    found["workload"] = workload or {"kind": "prefill", "sequences": 16, "tokens_per_sequence": 1000, "sources": {"*": "assumed: test"}}
    del found["reference"]
    return found


DECODE = {"kind": "decode", "sequences": 32, "context_tokens": 4000, "sources": {"*": "assumed: test"}}
CASES = {
    "reference": case(REFERENCE),
    "folded": case(FOLDED),
    "pipelined": case(PIPELINED),
    "mixed": case(Strategy(2, 1, 2, 2, 1, 4, 1, 2, 2), mixed()),
    "mixed, stage ends after a dense layer": case(Strategy(2, 1, 1, 5, 2, 1, 1, 1, 1), mixed()),
    "context-parallel prefill": case(Strategy(2, 2, 2, 1, 4, 2, 1, 1, 1), mixed()),
    "context-parallel decode, other order": case(Strategy(2, 4, 2, 1, 2, 8, 1, 1, 1, OTHER_ORDER), mixed(DECODE)),
    "experts not spread": case(Strategy(4, 1, 1, 1, 4, 1, 1, 1, 1), mixed()),
    "redundant slots": case(Strategy(2, 1, 2, 2, 1, 4, 1, 2, 2, redundant=1), mixed()),
    "direct": case(Strategy(2, 1, 2, 2, 1, 4, 1, 2, 2), exchanging(mixed(), "direct")),
    "gathered over more than a data-parallel rank": case(Strategy(2, 1, 4, 1, 2, 2, 2, 1, 1), exchanging(mixed(), "gather")),
    "gathered over two domains, two stages": case(Strategy(1, 1, 8, 2, 1, 8, 1, 1, 2), exchanging(mixed(DECODE), "gather")),
    "gathered inside a data-parallel rank": case(Strategy(4, 1, 2, 2, 2, 2, 2, 1, 1), exchanging(mixed(DECODE), "gather")),
    "gathered, every rank with all experts": case(Strategy(4, 1, 2, 1, 1, 1, 8, 1, 1), exchanging(mixed(), "gather")),
    "one GPU": case(Strategy(1, 1, 1, 1, 1, 1, 1, 1, 1), mixed()),
}
every_case = pytest.mark.parametrize("any_case", list(CASES.values()), ids=list(CASES))
FACTS = Facts("OPTIMAL", 1, 1, "ns", "folded", 100, 50, "enumeration", True, 3, ["a is b"], "0.1.0")


def proved(found: Case) -> Facts:
    """Facts that make the case's plan optimal."""
    value = evaluate(*found).value
    return replace(FACTS, value=value, bound=value)
