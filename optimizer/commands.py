"""What `search`, `prove` and `schema` do between parsing and printing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from models.certificate import Certificate
from models.errors import InputError
from models.fleet_plan import FleetFile
from models.instance import Instance
from models.result import Claim
from models.service import Service
from models.strategy import PlanFile
from optimizer.catalogued import instance_schema
from optimizer.certify import certificate_of
from optimizer.check import confirm
from optimizer.output import check_free, check_replaceable, to_json, write_file, write_folder
from optimizer.report import prove_json, search_json
from optimizer.robustness.records import parse_share, robust_json, robustness_json
from optimizer.search import Options, find, judge

Json = dict[str, Any]


class Files(NamedTuple):
    """Where results go besides stdout."""

    out: Path | None
    force: bool
    certificate: Path | None
    whole: bool = False
    """the certificate lists the near-optimal strategies too"""

    def check_free(self) -> None:
        """Raises InputError before the work, not after it, where something is in the way."""
        if self.out is not None:
            check_free(self.out, self.force)
        if self.certificate is not None:
            check_replaceable(self.certificate, self.force)

    def write(self, files: dict[str, str], certificate: str | None) -> None:
        """Write the result files, and the certificate where there is one."""
        if self.out is not None:
            proof = {} if certificate is None else {"certificate.json": certificate}
            write_folder(self.out, files | proof, self.force)
        if self.certificate is not None and certificate is not None:
            write_file(self.certificate, certificate)


def run_search(instance: Instance, options: Options, files: Files, progress: Callable[[str], None], robust: str | None = None) -> Json:
    """Search, report, and write the result and the deployment of the best plan; with `robust` (percent) the plan of least regret too."""
    files.check_free()
    share_ppm = None if robust is None else parse_share(robust)
    started = time.monotonic()
    claim = find(instance, options, progress)
    certificate = certificate_of(instance, claim, near=files.whole)
    if not files.whole and (files.certificate or files.out):
        confirm(certificate, instance)
    extra = {} if share_ppm is None else {"robust": robust_json(instance, claim, share_ppm, progress)}
    result = search_json(instance, claim, certificate, options, time.monotonic() - started) | extra
    deployment = _deployment(instance, claim, result) if files.out is not None else {}
    files.write({"search.json": to_json(result)} | deployment, certificate.text())
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


def run_prove(
    instance: Instance, plan: PlanFile, options: Options, files: Files, progress: Callable[[str], None], robustness: bool = False
) -> Json:
    """Judge a plan and report; with `robustness`, how far each coefficient may be off too."""
    files.check_free()
    started = time.monotonic()
    verdict = judge(instance, plan, options, progress)
    extra = {"robustness": robustness_json(instance, verdict.plan, verdict.status, progress)} if robustness else {}
    result = prove_json(instance, verdict, options, time.monotonic() - started) | extra
    files.write({"prove.json": to_json(result)}, None if verdict.certificate is None else verdict.certificate.text())
    return result


def file_schema(name: str) -> Json:
    """The JSON Schema of an instance, a service, a plan, a fleet, a claims file or a certificate."""
    from optimizer.audit import Claims

    records: dict[str, Any] = {"plan": PlanFile, "fleet": FleetFile, "claims": Claims, "certificate": Certificate}
    if name in ("instance", "service"):
        return instance_schema(Instance if name == "instance" else Service)
    if name not in records:
        raise InputError(f'schema "{name[:40]}": write one of instance, service, {", ".join(records)}')
    schema: Json = records[name].model_json_schema()
    return schema
