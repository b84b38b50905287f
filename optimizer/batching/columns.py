"""The columns of the table: what is kept of each solved variant, in a fixed order."""

from typing import Any

from models.evaluate import evaluate
from models.instance import Instance
from models.result import Claim
from models.strategy import DEGREES
from optimizer.report import metrics, reference_json
from optimizer.search import gap_ppm

Json = dict[str, Any]

METRICS = (
    "step_ns",
    "tokens_per_s",
    "tokens_per_s_per_gpu",
    "gpus",
    "memory_mib_per_gpu",
    "memory_pct",
    "scale_up_bytes_per_gpu",
    "scale_out_bytes_per_gpu",
    "uusd_per_million_tokens",
)
COLUMNS = (
    "status",
    "best",
    *DEGREES,
    "redundant",
    "order",
    "objective",
    "value",
    "bound",
    "gap_ppm",
    "strategies",
    "optimal_strategies",
    "optimal",
    *METRICS,
    "reference",
    "reference_value",
    "reference_excess",
    "reference_excess_pct",
    "reproducible",
    "instance_sha256",
    "certificate_sha256",
    "error",
)
"""Every column after the varied fields."""

BETWEEN = " | "  # labels of strategies that tie


def result_columns(instance: Instance, claim: Claim, certificate_sha256: str) -> Json:
    """One row without its varied fields; what is not known is None."""
    value = claim.optimal[0].value if claim.optimal else None
    row: Json = dict.fromkeys(COLUMNS)
    row |= {
        "status": str(claim.status),
        "objective": instance.objective.name,
        "value": value,
        "bound": claim.bound,
        "gap_ppm": gap_ppm(value, claim.bound),
        "strategies": claim.strategies,
        "optimal_strategies": len(claim.optimal),
        "optimal": BETWEEN.join(c.plan.strategy.label() for c in claim.optimal) or None,
        "reproducible": not claim.wall_limited,
        "instance_sha256": instance.digest(),
        "certificate_sha256": certificate_sha256,
    }
    if claim.optimal:
        best = claim.optimal[0].plan
        measured = metrics(instance, best, evaluate(instance, best))
        row |= {"best": best.strategy.label(), "order": best.strategy.order, **best.strategy.degrees()}
        row |= {name: measured.get(name) for name in METRICS}
    reference = reference_json(instance, claim)
    if reference is not None:
        row |= {
            "reference": reference["standing"],
            "reference_value": reference.get("value"),
            "reference_excess": reference.get("excess"),
            "reference_excess_pct": reference.get("excess_pct"),
        }
    return row
