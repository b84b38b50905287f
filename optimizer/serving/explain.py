"""`prove` and `explain` of a fleet: the verdict, and for each worker what binds it, what it loses, and what would have to change."""

import time
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

from models.ceilings import best_worker, least_wait
from models.fleet import Tables, Yield
from models.fleet_plan import Deployed, FleetFile, breakdown_of, counted_rate, figures_of, is_whole, limit_violations, worker_violations
from models.service import Service
from models.service_claim import Ceiling, fleet_problem, fleet_yield
from models.workers import Workers
from optimizer.commands import Files
from optimizer.output import to_json
from optimizer.reading import read_record
from optimizer.search import Options
from optimizer.serving.deployment import Unit, settle
from optimizer.serving.judge import Broken, Judgement, judge_fleet
from optimizer.serving.report import UNITS, fleet_json, fleet_metrics, gap_ppm, per_second, service_header, worker_json
from optimizer.serving.run import proof_text

Json = dict[str, Any]


def run_service_prove(service: Service, plan: Path, options: Options, files: Files, progress: Callable[[str], None]) -> Json:
    """Judge a fleet and report."""
    return _run("prove", service, plan, options, files, progress)


def run_service_explain(service: Service, plan: Path, options: Options, files: Files, progress: Callable[[str], None]) -> Json:
    """Judge a fleet, and say why it stands where it does."""
    return _run("explain", service, plan, options, files, progress)


def _run(command: str, service: Service, plan: Path, options: Options, files: Files, progress: Callable[[str], None]) -> Json:
    files.check_free()
    started = time.monotonic()
    found = judge_fleet(service, read_record(plan, FleetFile), str(plan), options, progress)
    progress(f"{found.status} claimed; checking")
    text = proof_text(found.best)
    result = service_header(command, found.status, service, options.seed, 0) | _verdict_json(service, found)
    if command == "explain":
        result |= {"explanation": [_explained(found, n, unit) for n, unit in enumerate(found.units)], "balance": _balance(found)}
        result["alternatives"] = alternatives(found)
    about = {"OPTIMAL": "this fleet", "NOT_OPTIMAL": "the best fleet found, and this one"}.get(found.status, "the best fleet found")
    proof = {"checked": True, "about": about, "certificate_sha256": sha256(text.encode()).hexdigest(), "route": "ceilings"}
    result |= {"proof": proof, "seconds": round(time.monotonic() - started, 3)}
    files.write({f"{command}.json": to_json(result)}, text)
    return result


def _verdict_json(service: Service, j: Judgement) -> Json:
    problem = fleet_problem(service, j.best.ceilings)
    workers = [worker_json(u.workers, u.worker, u.copies) if is_whole(u.workers, u.worker) else _named(u) for u in j.units]
    plan: Json = {"workers": workers, "metrics": None}
    if j.members is not None:
        plan["metrics"] = fleet_metrics(service, fleet_yield(service, j.members), workers)
    result: Json = {
        "objective": {"name": service.objective.name, "unit": UNITS[problem.objective], "value": j.value, "bound": j.best.bound},
        "gap_ppm": gap_ppm(j.best) if j.status == "UNKNOWN" else None,
        "plan": plan,
        "broken": [_broken_json(b) for b in j.broken],
        "better": None,
    }
    if j.status in ("NOT_OPTIMAL", "INFEASIBLE") and j.best.fleet is not None:
        result["better"] = fleet_json(service, j.best.fleet, j.solved) | {"value": j.best.value}
    if j.status == "NOT_OPTIMAL" and j.value is not None and j.best.value is not None:
        result["loss_pct"] = loss_pct(j.value, j.best.value)
        result["times_as_good"] = round(max(j.value, j.best.value) / max(1, min(j.value, j.best.value)), 3)
    return result


def loss_pct(value: int, best: int) -> float:
    """How far a value is from the best, per cent of the best."""
    return round(float(100 * abs(Fraction(best - value, best))), 2) if best else 0.0


def _named(unit: Unit) -> Json:
    s = unit.worker.plan.strategy
    return {"role": unit.workers.role, "pool": unit.workers.pool.name, "count": unit.copies, "gpus": s.gpus, "label": s.label()} | {
        "metrics": None,
        "batch": unit.worker.batch,
        "chunks": unit.worker.cut.chunks,
    }


def _broken_json(b: Broken) -> Json:
    v = b.violation
    return {"worker": b.worker, "rule": v.rule, "sentence": v.sentence, "need": v.need, "have": v.have}


def _explained(j: Judgement, n: int, unit: Unit) -> Json:
    """What binds one kind of worker, beside the best worker of its role on as many GPUs."""
    workers, worker = unit.workers, unit.worker
    found: Json = {"worker": n, "label": worker.plan.strategy.label(), "role": workers.role}
    if any(b.worker == n for b in j.broken):
        return found | {"stopped_by": [_broken_json(b) for b in j.broken if b.worker == n], "needed": _needed(workers, worker)}
    rate = counted_rate(workers, figures_of(workers, worker))
    rival = best_worker(workers, worker.plan.strategy.gpus)
    found |= {"requests_per_s": per_second(rate), "binding": binding(workers, worker), "breakdown_ns": breakdown_of(workers, worker)}
    if rival is not None:
        best = {
            "label": rival.cut.strategy.label(),
            "batch": rival.batch,
            "chunks": rival.cut.chunks,
            "requests_per_s": per_second(rival.rate),
        }
        found["best_on_as_many_gpus"] = best
        found |= {"is_best": rate == rival.rate, "loss_pct": loss_pct(rate, rival.rate)}
    return found


def binding(workers: Workers, worker: Deployed) -> list[Json]:
    """What one more sequence per rank and micro-batch would break, with what it would take; nothing where it would only yield less."""
    more = settle(workers, worker.cut, worker.batch + 1)
    return [_broken_json(Broken(None, v)) for v in worker_violations(workers, more)]


def _needed(workers: Workers, worker: Deployed) -> Json:
    """The least waits of this very worker, one sequence per rank; and of any worker of its role."""
    alone = settle(workers, worker.cut, 1)
    found: Json = {}
    if all(v.rule in ("ttft", "tpot", "request") for v in worker_violations(workers, alone)):
        figures = figures_of(workers, alone)
        found["of_this_worker_at_batch_1"] = {"ttft_ns": figures.ttft_ns or None, "tpot_ns": figures.tpot_ns or None}
        found["missed_at_batch_1"] = [_broken_json(Broken(None, v)) for v in limit_violations(workers, figures)]
    for rule in {"prefill": ("ttft",), "decode": ("tpot",), "aggregated": ("ttft", "tpot")}[workers.role]:
        wait = least_wait(workers, rule)
        if wait is not None:
            found[f"least_{rule}_ns_of_any"] = {"least": wait.ns, "label": wait.cut.strategy.label()}
    return found


def alternatives(j: Judgement) -> list[Json]:
    """The best fleets of other freedom, most confined first, by what they serve: where the loss of a fleet comes from.

    Places are not looked at; where no fleet serves the load, the rate is 0.
    """
    service, real = j.solved.service, [c for c in j.best.ceilings if (c.pool, c.role, c.gpus) in j.solved.best]
    names = [pool.name for pool in service.cluster.pools]
    own = [(names.index(u.workers.pool.name), u.workers.role, u.worker.plan.strategy.gpus, u) for u in j.units]
    sizes = {(p, role, gpus) for p, role, gpus, _ in own}
    ours = [
        Ceiling(pool=p, role=role, gpus=gpus, rate=counted_rate(u.workers, figures_of(u.workers, u.worker)))
        for n, (p, role, gpus, u) in enumerate(own)
        if not any(b.worker == n for b in j.broken)
    ]
    best = [Ceiling(pool=p, role=r, gpus=g, rate=f.rate) for p, r, g in sorted(sizes) if (f := best_worker(j.solved.workers[p, r], g))]
    kinds = {
        "these workers, in the best numbers": ours,
        "the best workers of these roles and sizes": best,
        "aggregated workers only": [c for c in real if c.role == "aggregated"],
        "prefill and decode workers only": [c for c in real if c.role != "aggregated"],
        "any workers": real,
    }
    return [{"of": name, "requests_per_s": per_second(_most(service, workers))} for name, workers in kinds.items()]


def _most(service: Service, workers: list[Ceiling]) -> int:
    """The most requests in 10**9 s that a mix of these serves."""
    problem = fleet_problem(service, workers).model_copy(update={"objective": "rate", "load": 0})
    return Tables(problem).joint()[-1]


def _balance(j: Judgement) -> Json | None:
    """Whether prefill and decode workers keep pace, and how many GPUs idle."""
    if j.members is None:
        return None
    sums = dict.fromkeys(("prefill", "decode"), 0)
    for unit in j.units:
        if unit.workers.role in sums:
            sums[unit.workers.role] += unit.copies * counted_rate(unit.workers, figures_of(unit.workers, unit.worker))
    found: Yield = fleet_yield(j.solved.service, j.members)
    if not any(sums.values()):
        return {"requests_per_s": {}, "slower": None, "spare_requests_per_s": 0.0, "gpus_idle": j.solved.service.gpus - sum(found.gpus)}
    slower = min(sums, key=lambda role: sums[role])
    spare = sums["decode" if slower == "prefill" else "prefill"] - sums[slower]
    return {
        "requests_per_s": {role: per_second(rate) for role, rate in sums.items()},
        "slower": slower if spare else None,
        "spare_requests_per_s": per_second(spare),
        "gpus_idle": j.solved.service.gpus - sum(found.gpus),
    }
