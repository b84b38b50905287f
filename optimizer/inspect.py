"""`shardproof check`: read a certificate, have it checked, say what it proves."""

import time
from pathlib import Path
from typing import Any

from models.certificate import Bounded, Broken, Certificate, Infeasible, NotACertificate, Optimal, Placement, StatedPlan, parse
from models.errors import InputError
from models.evaluate import COST_MODEL_ASSUMPTIONS
from models.expert_map import ExpertMap
from models.fleet_claim import FleetClaim
from models.fleet_plan import FleetFile
from models.instance import Instance
from models.objective import UNITS
from models.packing import Refused
from models.service import SERVING_ASSUMPTIONS, Service
from models.service_claim import ServiceClaim, fleet_problem, speaks_of
from models.standalone import Standalone
from models.strategy import PlanFile, Strategy, fill_degrees
from optimizer.check import Verdict, check
from optimizer.reading import read_record, read_text
from optimizer.versions import tool_versions

MOST_BYTES = 64_000_000

Json = dict[str, Any]


def run_check(path: Path, instance: Instance | Service | None, plan_path: Path | None) -> Json:
    """The verdict on a certificate file; with a plan, also whether the certificate speaks of it."""
    started = time.monotonic()
    text = read_text(path, MOST_BYTES)
    try:
        certificate = parse(text)
    except NotACertificate as error:
        raise InputError(f"{path}: not a certificate ({error}); give a file that `search` or `prove` wrote with --certificate") from error
    except Refused as refusal:
        return _json(None, Verdict(False, "none", refusal.reason, refusal.where, {}), instance, started)
    if isinstance(certificate.claim, ServiceClaim):
        return _json(certificate, _of_service(certificate.claim, certificate, instance, plan_path), certificate.claim.service, started)
    if isinstance(instance, Service):
        return _json(certificate, Verdict(False, certificate.claim.kind, "is about no service", "claim", {}), instance, started)
    verdict = check(certificate, instance)
    subject = instance or certificate.instance
    if verdict.where == "instance_sha256" and instance is not None and certificate.instance is not None:
        where = _first_difference(certificate.instance.model_dump(mode="json"), instance.model_dump(mode="json"))
        verdict = verdict._replace(reason=f"{verdict.reason}; the instance inside differs at {'.'.join(where)}")
    if verdict.valid and plan_path is not None:
        verdict = _about(verdict, certificate, read_record(plan_path, PlanFile), subject)
    return _json(certificate, verdict, subject, started)


def _of_service(claim: ServiceClaim, certificate: Certificate, given: Instance | Service | None, plan_path: Path | None) -> Verdict:
    """The verdict on a claim about a service, refused where it is about another one, or lists another fleet than the plan."""
    verdict = check(certificate, None)
    if verdict.valid and given is not None and given.digest() != claim.service.digest():
        where = _first_difference(claim.service.model_dump(mode="json"), given.model_dump(mode="json"))
        reason = f"is about another instance: the one inside differs at {'.'.join(where)}"
        return verdict._replace(valid=False, reason=reason, where="claim.service")
    if verdict.valid and plan_path is not None and not speaks_of(claim, read_record(plan_path, FleetFile)):
        return verdict._replace(valid=False, reason="says nothing about the plan", where="claim.fleet")
    return verdict


def _first_difference(inside: Any, given: Any) -> list[str]:
    """The path to the first field that differs, in the order of the instance inside."""
    if isinstance(inside, dict) and isinstance(given, dict):
        keys = next((k for k in [*inside, *given] if k not in inside or k not in given or inside[k] != given[k]), None)
        return [] if keys is None else [str(keys), *_first_difference(inside.get(keys), given.get(keys))]
    if isinstance(inside, list) and isinstance(given, list) and len(inside) == len(given):
        at = next((n for n, (a, b) in enumerate(zip(inside, given, strict=True)) if a != b), None)
        return [] if at is None else [str(at), *_first_difference(inside[at], given[at])]
    return []


def _about(verdict: Verdict, certificate: Certificate, stated: PlanFile, instance: Instance | None) -> Verdict:
    """The verdict, refused where the certificate says nothing about the plan."""
    strategy, _ = fill_degrees(stated.degrees, stated.order, dense=instance is not None and not instance.architecture.experts)
    if _speaks_of(certificate, strategy, stated):
        return verdict
    return verdict._replace(valid=False, reason=f"says nothing about the plan {strategy.label()}", where="claim")


def _speaks_of(certificate: Certificate, s: Strategy, stated: PlanFile) -> bool:
    """Whether the claim is about what the file states.

    A plan file that leaves stages or placement open means the best completion: one that is listed
    will do; it is refuted where no optimal plan has its strategy, and broken where all completions are.
    """
    claim = certificate.claim
    match claim:
        case Optimal() | Bounded():
            best = {p.plan.strategy for p in claim.plans if p.value == claim.value}
            unlisted = isinstance(claim, Optimal) and s not in best
            refuted = claim.refuted is not None and _is(claim.refuted.plan, s, stated, may_be_open=unlisted)
            return refuted or any(_is(p.plan, s, stated, may_be_open=True) for p in claim.plans)
        case Broken():
            return _is(claim.plan, s, stated, may_be_open=False)
        case _:
            return False


def _is(plan: StatedPlan, s: Strategy, stated: PlanFile, may_be_open: bool) -> bool:
    """Whether the file states this plan; one part of a plan that is null covers whatever the file states of it."""
    parts = [(stated.stages, plan.stages, s.pp == 1), (stated.placement, plan.placement, plan.placement == ())]
    return plan.strategy == s and all(
        ours is None or given == ours or (given is None and (only_one or may_be_open)) for given, ours, only_one in parts
    )


def _json(certificate: Certificate | None, verdict: Verdict, instance: Instance | Service | None, started: float) -> Json:
    return {
        "schema": "shardproof/check/1",
        "status": "VALID" if verdict.valid else "INVALID",
        "tool": tool_versions(0),
        "instance": None if instance is None else {"name": instance.name, "sha256": instance.digest()},
        "assumptions": [] if instance is None else [*instance.stated_assumptions(), *_serving(instance), *COST_MODEL_ASSUMPTIONS],
        "claim": None if certificate is None else _claim_json(certificate, instance),
        "reason": verdict.reason,
        "where": verdict.where,
        "strategies": verdict.strategies,
        "seconds": round(time.monotonic() - started, 3),
    }


def _serving(instance: Instance | Service) -> tuple[str, ...]:
    return SERVING_ASSUMPTIONS if isinstance(instance, Service) else ()


def _claim_json(certificate: Certificate, instance: Instance | Service | None) -> Json:
    """The claim without plans and arguments."""
    claim = certificate.claim
    found: Json = {"kind": claim.kind, "facts": len(certificate.facts)}
    if isinstance(instance, Instance) and not isinstance(claim, Standalone):
        found |= {"space": instance.space.name, "objective": instance.objective.name, "unit": UNITS[instance.objective.name]}
    match claim:
        case Optimal():
            found |= {"value": claim.value, "bound": claim.value, "complete_to": claim.complete_to, "strategies": claim.strategies}
        case Bounded():
            found |= {"value": claim.value, "bound": claim.bound, "complete_to": claim.complete_to, "strategies": claim.strategies}
        case Infeasible():
            found |= {"strategies": claim.strategies}
        case Broken():
            found |= {"rules": [r.rule for r in claim.rules], "plan": claim.plan.strategy.label()}
        case Placement():
            found |= {"value": claim.value, "bound": claim.bound}
        case ExpertMap():
            values, bounds = ([max(getattr(layer, kind)) for layer in claim.layers] for kind in ("values", "bounds"))
            found |= {"facts": sum(len(layer.facts) for layer in claim.layers), "layers": len(claim.layers)}
            found |= {
                "value": max(values),
                "bound": max(bounds),
                "gap_pct": max(100 * (v - b) / b for v, b in zip(values, bounds, strict=True)),
            }
        case FleetClaim():
            found |= {
                "value": claim.value,
                "bound": claim.bound,
                "objective": claim.problem.objective,
                "gpus": sum(p.gpus for p in claim.problem.pools),
            }
        case ServiceClaim():
            objective = fleet_problem(claim.service, ()).objective
            found |= {"value": claim.value, "bound": claim.bound, "objective": objective, "gpus": claim.service.gpus}
            found |= {"ceilings": len(claim.ceilings), "refutes": claim.refuted is not None, "load": claim.service.load()}
    if isinstance(claim, Optimal | Bounded):
        found["plans"] = [{"label": p.plan.strategy.label(), "value": p.value} for p in claim.plans]
        found["refuted"] = claim.refuted and {"label": claim.refuted.plan.strategy.label(), "value": claim.refuted.value}
    return found


def check_text(r: Json) -> str:
    """What `check` prints."""
    name = r["instance"]["name"] if r["instance"] else "certificate"
    if r["status"] == "INVALID":
        return f"{name}: INVALID at {r['where']}: {r['reason']}"
    claim = r["claim"]
    lines = [f"{name}: VALID, {_sentence(claim)}"]
    lines += [f"  listed   {p['label']}  {p['value']:,} {claim['unit']}" for p in claim.get("plans", [])[:8]]
    if len(claim.get("plans", [])) > 8:
        lines.append(f"  ... and {len(claim['plans']) - 8} more (--json lists them)")
    if claim.get("refuted"):
        lines.append(f"  refuted  {claim['refuted']['label']}  {claim['refuted']['value']:,} {claim['unit']}")
    if r["strategies"]:
        lines.append("strategies disposed of: " + ", ".join(f"{n} {how}" for how, n in sorted(r["strategies"].items())))
    lines.append(f"no solver, no search, no floats; {claim['facts']} placement arguments in the file")
    return "\n".join(lines)


def _sentence(claim: Json) -> str:
    match claim["kind"]:
        case "optimal":
            near = "" if claim["complete_to"] == claim["value"] else f", and every strategy up to {claim['complete_to']:,} is listed"
            return f"no plan in {claim['space']} is below {claim['value']:,} {claim['unit']}; all optimal strategies are listed{near}"
        case "bounded":
            best = "no plan is listed" if claim["value"] is None else f"the best plan listed has {claim['value']:,}"
            return f"no plan in {claim['space']} is below {claim['bound']:,} {claim['unit']}; {best}"
        case "infeasible":
            return f"each of the {claim['strategies']} strategies in {claim['space']} breaks a rule"
        case "broken":
            return f"the plan {claim['plan']} breaks {', '.join(claim['rules'])}"
        case "expert_map":
            return f"each of {claim['layers']} layers is placed within {claim['gap_pct']:.3f} % of any other placement"
        case "fleet":
            return _fleet_sentence(claim)
        case "service":
            return _service_sentence(claim)
        case _:
            value = "" if claim["value"] is None else f", and a placement with {claim['value']:,} is listed"
            return f"no placement is below {claim['bound']:,}{value}"


def _fleet_sentence(claim: Json) -> str:
    if claim["bound"] is None:
        return f"no fleet on {claim['gpus']} GPUs reaches the load"
    listed = "" if claim["value"] is None else f", and one with {claim['value']:,} is listed"
    said = {
        "rate": "yields more than",
        "rate_per_gpu": "yields more per GPU in use than",
        "cost_per_rate": "yields as much for less, in micro-USD/h per 10^12 of rate, than",
        "gpus": "reaches the load on fewer GPUs than",
        "cost": "reaches the load for less per hour, in micro-USD, than",
    }
    return f"no fleet on {claim['gpus']} GPUs {said[claim['objective']]} {claim['bound']:,}{listed}"


def _service_sentence(claim: Json) -> str:
    if claim["bound"] is None:
        what = "serves a request within the limits" if claim["load"] is None else "serves the load within the limits"
        return f"no fleet on {claim['gpus']} GPUs {what}"
    units = {
        "rate": "requests in 10^9 s",
        "rate_per_gpu": "requests in 10^9 s per GPU in use",
        "gpus": "GPUs",
        "cost": "micro-USD/h",
        "cost_per_rate": "micro-USD/h per 1,000 requests/s",
    }
    better = "more than" if claim["objective"] in ("rate", "rate_per_gpu") else "less than"
    listed = "" if claim["value"] is None else f", and a fleet with {claim['value']:,} is listed"
    refuted = "; another fleet, which is worse, is refuted" if claim["refutes"] else ""
    return f"no fleet on {claim['gpus']} GPUs has {better} {claim['bound']:,} {units[claim['objective']]}{listed}{refuted}"
