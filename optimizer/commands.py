"""What `search`, `prove` and `schema` do between parsing and printing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.instance import Instance
from models.result import Claim
from models.strategy import PlanFile
from optimizer.output import check_free, to_json, write_folder
from optimizer.report import prove_json, search_json
from optimizer.search import Options, find, judge

Json = dict[str, Any]


def run_search(instance: Instance, options: Options, out: Path | None, force: bool, progress: Callable[[str], None]) -> Json:
    """Search, report, and write the result and the deployment of the best plan to `out`."""
    if out is not None:
        check_free(out, force)
    started = time.monotonic()
    claim = find(instance, options, progress)
    result = search_json(instance, claim, options, time.monotonic() - started)
    if out is not None:
        write_folder(out, {"search.json": to_json(result)} | _deployment(instance, claim, result), force)
    return result


def _deployment(instance: Instance, claim: Claim, result: Json) -> dict[str, str]:
    if not claim.optimal:
        return {}
    from optimizer.export.files import Facts, deployment_files

    facts = Facts(
        status=claim.status,
        value=claim.optimal[0].value,
        bound=claim.bound,
        unit=result["objective"]["unit"],
        space=instance.space.name,
        strategies=claim.strategies,
        feasible=claim.feasible or 0,
        route=claim.route,
        checked=True,
        near=len(claim.near),
        assumptions=result["assumptions"],
        tool_version=str(result["tool"]["shardproof"]),
    )
    return deployment_files(instance, claim.optimal[0].plan, facts)


def run_prove(instance: Instance, plan: PlanFile, options: Options, out: Path | None, force: bool, progress: Callable[[str], None]) -> Json:
    """Judge a plan and report."""
    if out is not None:
        check_free(out, force)
    started = time.monotonic()
    verdict = judge(instance, plan, options, progress)
    result = prove_json(instance, verdict, options, time.monotonic() - started)
    if out is not None:
        write_folder(out, {"prove.json": to_json(result)}, force)
    return result


def file_schema(name: str) -> Json:
    """The JSON Schema of an instance, a plan or a claims file."""
    from optimizer.audit import Claims

    records: dict[str, Any] = {"instance": Instance, "plan": PlanFile, "claims": Claims}
    if name not in records:
        raise InputError(f'schema "{name[:40]}": write one of {", ".join(records)}')
    schema: Json = records[name].model_json_schema()
    return schema
