"""What produced a result: our version, that of the cost model, and the solver's."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from models.instance import COST_MODEL

Json = dict[str, Any]


def tool_versions(seed: int) -> Json:
    """What produced a result."""
    return {"shardproof": _version("shardproof"), "cost_model": COST_MODEL, "ortools": _version("ortools"), "seed": seed}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
