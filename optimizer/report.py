"""Results as JSON-able objects: the contract of the command line, one function per object."""

from hashlib import sha256
from typing import Any

from models.certificate import Certificate
from models.evaluate import COST_MODEL_ASSUMPTIONS, EQUAL_SPLIT, Evaluation, evaluate, tokens_per_s, usd_per_million_tokens
from models.instance import Instance
from models.measured import OperatorTables, shortfall
from models.objective import UNITS
from models.result import Candidate, Claim, Status
from models.rules import Violation
from models.strategy import Plan
from models.terms import Terms
from optimizer.bands import error_band
from optimizer.search import Options, Verdict, gap_ppm, resolve
from optimizer.versions import tool_versions as tool_versions

MIB = 1 << 20
Json = dict[str, Any]


def header(command: str, status: str, instance: Instance, options: Options, seconds: float) -> Json:
    """The fields that every result has."""
    return {
        "schema": f"shardproof/{command}/1",
        "status": status,
        "tool": tool_versions(options.seed),
        "instance": {"name": instance.name, "sha256": instance.digest()},
        "assumptions": [
            *instance.stated_assumptions(),
            *about_tables(instance.cluster.pool.accelerator.tables),
            *COST_MODEL_ASSUMPTIONS,
            *([EQUAL_SPLIT] if any(instance.space.redundant_slots) else []),
        ],
        "weakest_source": instance.weakest_source(),
        "seconds": round(seconds, 3),
    }


def about_tables(tables: OperatorTables | None) -> list[str]:
    """What measured tables price, and how, in a sentence."""
    if tables is None:
        return []
    held = ", ".join(dict.fromkeys(f"{table.kind} in {table.storage}" for table in tables.tables))
    between = "linear between measured points, constant below the first, in proportion to the work beyond the last"
    return [f"Measured tables of {tables.system} under {tables.engine} price {held}: {between}. The roofline prices other operators."]


def outside_tables(instance: Instance, plan: Plan) -> list[str]:
    """How operators of the plan lie outside the accelerator's measured tables; empty where all are inside, or there are no tables."""
    tables, terms = instance.cluster.pool.accelerator.tables, Terms(instance)
    if tables is None:
        return []
    evaluate(instance, plan, terms)
    return sorted({said for work in terms.works if (said := shortfall(tables, work))})


def metrics(instance: Instance, plan: Plan, evaluation: Evaluation) -> Json:
    """What a plan delivers and needs; ratios are rounded for reading."""
    memory = instance.cluster.pool.accelerator.memory_bytes
    rate = tokens_per_s(instance, evaluation.step_ns)
    found: Json = {
        "step_ns": evaluation.step_ns,
        "tokens_per_s": rate,
        "tokens_per_s_per_gpu": rate // plan.strategy.gpus,
        "gpus": plan.strategy.gpus,
        "memory_mib_per_gpu": -(-evaluation.peak_memory_bytes // MIB),
        "memory_pct": percent(evaluation.peak_memory_bytes, memory),
        "memory_bytes_by_stage": [s.memory for s in evaluation.stages],
        "scale_up_bytes_per_gpu": max(s.scale_up_bytes for s in evaluation.stages),
        "scale_out_bytes_per_gpu": max(s.scale_out_bytes for s in evaluation.stages),
        "breakdown_ns": evaluation.breakdown,
        "error_band": error_band(instance),
    }
    price = usd_per_million_tokens(instance, plan.strategy, evaluation.step_ns)
    return found if price is None else found | {"uusd_per_million_tokens": price}


def percent(part: int, whole: int) -> float:
    """100 * part / whole to two decimals, rounded half up."""
    return (part * 20_000 // whole + 1) // 2 / 100


def plan_json(instance: Instance, plan: Plan, evaluation: Evaluation | None = None) -> Json:
    """A plan with its metrics."""
    evaluation = evaluation or evaluate(instance, plan)
    return {
        "degrees": plan.strategy.degrees(),
        "order": plan.strategy.order,
        "label": plan.strategy.label(),
        "stages": list(plan.stages),
        "placement": [[list(rank) for rank in layer] for layer in plan.placement],
        "value": evaluation.value,
        "metrics": metrics(instance, plan, evaluation),
        "outside_tables": outside_tables(instance, plan),
    }


def _near_json(candidate: Candidate) -> Json:
    plan = candidate.plan
    return {"degrees": plan.strategy.degrees(), "order": plan.strategy.order, "label": plan.strategy.label(), "value": candidate.value}


def objective_json(instance: Instance, value: int | None, bound: int | None) -> Json:
    name = instance.objective.name
    return {"name": name, "unit": UNITS[name], "value": value, "bound": bound}


def search_json(instance: Instance, claim: Claim, certificate: Certificate, options: Options, seconds: float) -> Json:
    """The result of `search`."""
    value = claim.optimal[0].value if claim.optimal else None
    return header("search", claim.status, instance, options, seconds) | {
        "objective": objective_json(instance, value, claim.bound),
        "gap_ppm": gap_ppm(value, claim.bound),
        "space": {
            "name": instance.space.name,
            "strategies": claim.strategies,
            "feasible": claim.feasible,
            "refuted_by_rule": claim.refuted,
            "whole": not claim.limited,
        },
        "reproducible": not claim.wall_limited,
        "optimal": [plan_json(instance, c.plan) for c in claim.optimal],
        "near_optimal": [_near_json(c) for c in claim.near],
        "near_optimal_complete": claim.near_complete,
        "epsilon_ppm": options.epsilon_ppm,
        "proof": proof_json(certificate, claim.route),
        "reference": reference_json(instance, claim),
    }


def proof_json(certificate: Certificate | None, route: str) -> Json:
    """What confirmed the result: the checker, over a certificate of this hash; nothing is confirmed without one."""
    text = None if certificate is None else certificate.text()
    digest = None if text is None else sha256(text.encode()).hexdigest()
    return {
        "checked": certificate is not None,
        "certificate_sha256": digest,
        "certificate_bytes": text and len(text.encode()),
        "route": route,
    }


def reference_json(instance: Instance, claim: Claim) -> Json | None:
    """How the instance's reference plan compares with the best one found."""
    if instance.reference is None:
        return None
    plan, filled, broken = resolve(instance, instance.reference)
    found: Json = {"name": instance.reference.name, "label": plan.strategy.label(), "filled_in": list(filled)}
    if broken:
        return found | {"standing": "infeasible", "broken": [violation_json(v) for v in broken]}
    evaluation = evaluate(instance, plan)
    if not claim.optimal:
        return found | {"standing": "feasible", "value": evaluation.value}
    best = evaluate(instance, claim.optimal[0].plan)
    behind = evaluation.value - best.value
    standing = "optimal" if behind == 0 and claim.status is Status.OPTIMAL else "best found" if behind == 0 else "not optimal"
    return found | {
        "standing": standing,
        "value": evaluation.value,
        "excess": behind,
        "excess_pct": percent(behind, best.value) if best.value else None,
        "difference_ns": difference(evaluation, best),
    }


def difference(ours: Evaluation, better: Evaluation) -> dict[str, int]:
    """Term by term, ns of the pass: positive where `ours` is slower."""
    names = list(dict.fromkeys([*ours.breakdown, *better.breakdown]))
    return {name: ours.breakdown.get(name, 0) - better.breakdown.get(name, 0) for name in names}


def violation_json(v: Violation) -> Json:
    return {"rule": v.rule, "need": v.need, "have": v.have, "sentence": v.sentence}


def prove_json(instance: Instance, verdict: Verdict, options: Options, seconds: float) -> Json:
    """The result of `prove`."""
    plan, evaluation, claim = verdict.plan, verdict.evaluation, verdict.claim
    found = header("prove", verdict.status, instance, options, seconds) | {
        "space": instance.space.name,
        "filled_in": list(verdict.filled),
    }
    if evaluation is None:
        stated = {"degrees": plan.strategy.degrees(), "order": plan.strategy.order, "label": plan.strategy.label()}
        return (
            found
            | {"plan": stated, "value": None, "bound": None, "broken": [violation_json(v) for v in verdict.broken]}
            | {"proof": proof_json(verdict.certificate, "rules")}
        )
    assert claim is not None, "a plan that runs is compared with the space"
    found |= {
        "plan": plan_json(instance, plan, evaluation),
        "objective": objective_json(instance, evaluation.value, claim.bound),
        "value": evaluation.value,
        "bound": claim.bound,
        "gap_ppm": gap_ppm(evaluation.value, claim.bound),
        "strategies": claim.strategies,
        "whole": not claim.limited,
        "reproducible": not claim.wall_limited,
        "proof": proof_json(verdict.certificate, claim.route),
    }
    if claim.optimal and claim.optimal[0].value < evaluation.value:
        better = evaluate(instance, claim.optimal[0].plan)
        found |= {"better": plan_json(instance, claim.optimal[0].plan, better), "difference_ns": difference(evaluation, better)}
        found["gain_pct"] = percent(evaluation.value - better.value, evaluation.value)
        found["better_is_optimal"] = claim.status is Status.OPTIMAL
    return found
