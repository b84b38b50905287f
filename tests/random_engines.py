"""What machines and engines are known by beyond peaks and links: curves, laws, meshes, exchanges and overheads, at random."""

from random import Random
from typing import Any, get_args

from models.cluster import Collective
from models.operators import Kind
from models.units import Norm
from models.workload import Exchange

SHARES = (200_000, 650_000, 1_000_000, 1_400_000)
KINDS = [kind for kind in get_args(Kind) if kind != "elementwise"]


def add_engine(rng: Random, content: dict[str, Any]) -> None:
    """Changes an instance's content in place; every feature is absent about half of the time."""
    pool, runtime, workload = content["cluster"]["pools"][0], content["runtime"], content["workload"]
    if rng.random() < 0.6:
        pool["accelerator"] |= {"multiprocessors": rng.choice([1, 2, 5]), "curves": _curves(rng)}
    for tier in ("scale_up", "scale_out"):
        if rng.random() < 0.5:
            pool[tier]["laws"] = _laws(rng)
    if rng.random() < 0.4:
        pool["scale_up"]["topology"] = "full_mesh"
    runtime["expert_exchange"] = rng.choice([*get_args(Exchange), "gather"])
    overheads = {
        "dp_imbalance_ppm": (1, 100_000, 500_000),
        "step_ns": (1, 500, 3_000),
        "launch_share_ppm": (50_000, 333_333, 1_500_000),
        "operator_scale_ppm": (700_001, 1_250_000),
    }
    runtime |= {name: rng.choice(values) for name, values in overheads.items() if rng.random() < 0.4}
    if workload["kind"] == "prefill" and rng.random() < 0.6:
        workload["prefix_tokens"] = rng.choice([1, 3, 10, 50])
    if runtime["expert_exchange"] == "gather" and "orders" in content["space"]:
        kept = [
            order for order in content["space"]["orders"] if order.startswith("tp-") and order.endswith("-edp")
        ]  # others tear groups apart
        content["space"] |= {"orders": kept or ["tp-cp-dp|etp-ep-edp"]}


def _curves(rng: Random) -> dict[str, Any]:
    names = [f"{kind}.{dtype}" for kind in KINDS for dtype in ("bf16", "fp8")]
    return {name: _curve(rng, name.split(".")[0]) for name in rng.sample(names, rng.randint(3, len(names)))}


def _curve(rng: Random, kind: str) -> dict[str, Any]:
    found = {
        "fixed_ns": rng.choice([0, 3, 77, 400]),
        "flop_efficiency_ppm": rng.choice(SHARES),
        "byte_efficiency_ppm": rng.choice(SHARES),
        "norm": rng.choice(get_args(Norm)),
    }
    if kind == "gemm":
        return found | {"wave_ppm": rng.choice([0, 1_000, 30_000])}
    if kind.endswith("prefill") or kind.startswith("prefill"):
        return found | {"half_rate_tokens": rng.choice([0, 7, 200])}
    return found | {"unit_ns": rng.choice([0, 1, 60])}


def _laws(rng: Random) -> dict[str, Any]:
    every = get_args(Collective)
    return {c: [_law(rng, c) for _ in range(rng.choice([1, 1, 2, 3]))] for c in rng.sample(every, rng.randint(1, len(every)))}


def _law(rng: Random, collective: str) -> dict[str, Any]:
    return {
        "fixed_ns": rng.choice([0, 2, 40, 600]),
        "per_rank_ns": rng.choice([0, 0, 9, 100]),
        "efficiency_ppm": rng.choice(SHARES),
        "norm": rng.choice(get_args(Norm)),
        "one_shot": collective == "all_reduce" and rng.random() < 0.5,
    }
