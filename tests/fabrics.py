"""The catalogue's fabrics as links and pools."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from models.cluster import Collective, Link, Pool
from models.collectives import tier_ns
from models.instance import Instance

ROOT = Path(__file__).resolve().parent.parent
FABRICS = ROOT / "models" / "catalogue" / "fabrics"
POOL = Instance.model_validate_json((ROOT / "instances" / "ep64_tp2_128gpu.json").read_text(encoding="utf-8")).cluster.pool
NAMES = sorted(path.stem for path in FABRICS.glob("*.json"))
SCALE_UP = [name for name in NAMES if name != "nic"]
GB = 10**9


@cache
def record(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FABRICS / f"{name}.json").read_text(encoding="utf-8"))
    return found


@cache
def link(name: str, bandwidth: int = 450 * GB) -> Link:
    fields = {
        "bandwidth_bytes_per_s": bandwidth,
        "latency_ns": 1000,
        "sources": {"*": record(name)["source"]},
        "laws": record(name)["laws"],
    }
    return Link.model_validate_json(json.dumps(fields))


def pool(scale_up: str, bandwidth: int, scale_out: str = "nic") -> Pool:
    tiers = {"scale_up": link(scale_up, bandwidth), "scale_out": link(scale_out, 50 * GB)}
    return POOL.model_copy(update={**tiers, "gpus_per_node": 8, "scale_up_domain_gpus": 8, "nodes": 8})


def ns(name: str, collective: Collective, ranks: int, size: int, bandwidth: int = 450 * GB) -> int:
    return tier_ns(link(name, bandwidth), bandwidth, collective, ranks, size)
