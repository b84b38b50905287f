"""What `search` says of a service, as JSON-able objects."""

from typing import Any

from models.evaluate import COST_MODEL_ASSUMPTIONS, EQUAL_SPLIT
from models.fleet import ROLES, Tables, Yield, more_is_better
from models.fleet_plan import Deployed, counted_rate, figures_of, memory_of, passes_of
from models.service import SERVING_ASSUMPTIONS, Service
from models.service_claim import Member, ServiceClaim, deployed, fleet_problem, fleet_yield
from models.units import NS_PER_S, PPM, ceil_div
from models.workers import Workers
from optimizer.report import MIB, about_tables, outside_tables, percent
from optimizer.serving.deployment import Unit
from optimizer.serving.losses import NodeLoss, worst_node_loss
from optimizer.serving.queueing import NAME, gathers, waiting
from optimizer.serving.shortfall import shortfall_json
from optimizer.serving.solve import Solved
from optimizer.versions import tool_versions

Json = dict[str, Any]

UNITS = {
    "rate": "requests in 10^9 s",
    "rate_per_gpu": "requests in 10^9 s per GPU in use",
    "gpus": "gpus",
    "cost": "micro-USD/h",
    "cost_per_rate": "micro-USD/h per 1000 requests/s",
}


def service_header(command: str, status: str, service: Service, seed: int, seconds: float) -> Json:
    """The fields that every result has."""
    redundant = [EQUAL_SPLIT] if any(service.space.redundant_slots) else []
    tables = dict.fromkeys(said for pool in service.cluster.pools for said in about_tables(pool.accelerator.tables))
    return {
        "schema": f"shardproof/{command}/1",
        "status": status,
        "tool": tool_versions(seed),
        "instance": {"name": service.name, "sha256": service.digest()},
        "assumptions": [*service.stated_assumptions(), *tables, *SERVING_ASSUMPTIONS, *COST_MODEL_ASSUMPTIONS, *redundant],
        "weakest_source": service.weakest_source(),
        "seconds": round(seconds, 3),
    }


def status_of(claim: ServiceClaim) -> str:
    """What a claim that holds says."""
    if claim.fleet is None:
        return "INFEASIBLE" if claim.bound is None else "UNKNOWN"
    return "OPTIMAL" if claim.value == claim.bound else "FEASIBLE"


def gap_ppm(claim: ServiceClaim) -> int | None:
    """How far the value may be from the best, parts per million of the value, rounded up."""
    if claim.value is None or claim.bound is None:
        return None
    return ceil_div(abs(claim.bound - claim.value) * PPM, max(1, claim.value))


def per_second(rate: int) -> float:
    """Requests in 10**9 s as requests per second, for reading."""
    return round(rate / NS_PER_S, 6)


def worker_json(workers: Workers, worker: Deployed, copies: int) -> Json:
    """One kind of worker with its figures."""
    s, figures = worker.plan.strategy, figures_of(workers, worker)
    stages, have = memory_of(workers, worker), workers.pool.accelerator.memory_bytes
    peak = max(sum(stage.values()) for stage in stages)
    return {
        "role": workers.role,
        "pool": workers.pool.name,
        "count": copies,
        "gpus": s.gpus,
        "label": s.label(),
        "degrees": {name: n for name, n in s.degrees().items() if name not in ("replicas", "microbatches")},
        "order": s.order,
        "batch": worker.batch,
        "chunks": worker.cut.chunks,
        "stages": list(worker.plan.stages),
        "placement": [[list(rank) for rank in layer] for layer in worker.plan.placement],
        "metrics": {
            "requests_per_s": per_second(counted_rate(workers, figures)),
            "ttft_ns": figures.ttft_ns or None,
            "tpot_ns": figures.tpot_ns or None,
            "in_flight": figures.in_flight,
            "memory_mib_per_gpu": ceil_div(peak, MIB),
            "memory_pct": percent(peak, have),
        },
        "outside_tables": sorted(
            {said for passes, n in passes_of(workers, worker) for said in outside_tables(passes.of(n).instance, worker.plan)}
        ),
    }


def fleet_metrics(service: Service, found: Yield, workers: list[Json]) -> Json:
    """What a fleet delivers; waits are those of its slowest workers."""
    out, rate, used = service.workload.output_tokens, found.rate, sum(found.gpus)
    ttft = max((w["metrics"]["ttft_ns"] or 0 for w in workers), default=0)
    tpot = max((w["metrics"]["tpot_ns"] or 0 for w in workers), default=0)
    sums = {role: round(sum(w["count"] * w["metrics"]["requests_per_s"] for w in workers if w["role"] == role), 6) for role in ROLES}
    prices = [pool.price_uusd_per_gpu_hour for pool in service.cluster.pools]
    figures: Json = {
        "requests_per_s": per_second(rate),
        "tokens_per_s": round(rate * out / NS_PER_S, 3),
        "tokens_per_s_per_gpu": round(rate * out / NS_PER_S / service.gpus, 3),
        "tokens_per_s_per_gpu_in_use": round(rate * out / NS_PER_S / max(1, used), 3),
        "tokens_per_s_per_user": round(NS_PER_S / tpot, 3) if tpot else None,
        "ttft_ns": ttft,
        "tpot_ns": tpot,
        "request_ns": ttft + out * tpot,
        "gpus_in_use": used,
        "gpus_idle": service.gpus - used,
        "in_flight": sum(w["count"] * w["metrics"]["in_flight"] for w in workers if w["role"] != "prefill"),
        "requests_per_s_by_role": sums,
    }
    if all(price is not None for price in prices):
        money = sum(n * (price or 0) for n, price in zip(found.gpus, prices, strict=True))
        figures["uusd_per_hour"] = money
        figures["uusd_per_million_tokens"] = ceil_div(money * PPM * NS_PER_S, max(1, rate * out * 3600))
    return figures


def fleet_json(service: Service, fleet: tuple[Member, ...], solved: Solved) -> Json:
    """The fleet of a claim, with its figures."""
    workers, units = [], list[Unit]()
    for member in fleet:
        worker = deployed(member)
        assert worker is not None, "the workers of a claim are complete"
        units.append(Unit(solved.workers[member.pool, member.role], worker, len(member.first_gpus)))
        workers.append(worker_json(*units[-1]) | {"first_gpus": list(member.first_gpus)})
    found = fleet_yield(service, fleet)
    figures = {"metrics": fleet_metrics(service, found, workers), "queueing": queueing_json(service, units, found.rate)}
    return (
        {"workers": workers} | figures | {"after_worst_node_loss": _after_loss(service, worst_node_loss(service, fleet, units), found.rate)}
    )


def _after_loss(service: Service, loss: NodeLoss, rate: int) -> Json:
    """What is left of a fleet's rate without the node that costs it most."""
    return {
        "pool": service.cluster.pools[loss.pool].name,
        "node": loss.node,
        "requests_per_s": per_second(loss.rate),
        "left_pct": round(100 * loss.rate / max(1, rate), 2),
        "min_workers": service.objective.limits.min_workers,
    }


def queueing_json(service: Service, units: list[Unit], rate: int) -> Json:
    """Time to the first token with queues, by a formula, at the load or at all that is counted on; nulls where queues never end."""
    load = (service.load() or rate) / NS_PER_S
    found = waiting(units, load)
    mean, most = (None, None) if found is None else (round(found.ttft_mean_ns), round(max(found.ttft_mean_ns, found.ttft_p95_ns)))
    return {"model": NAME, "requests_per_s": round(load, 6), "ttft_mean_ns": mean, "ttft_p95_ns": most} | {
        "gathers": gathers(units),
    }


def service_search_json(solved: Solved, claim: ServiceClaim, proof: Json, seed: int, seconds: float) -> Json:
    """The result of `search`."""
    service, status = solved.service, status_of(claim)
    problem = fleet_problem(service, claim.ceilings)
    sizes = sum(1 for c in claim.ceilings if c.rate)
    result = service_header("search", status, service, seed, seconds) | {
        "objective": {
            "name": service.objective.name,
            "unit": UNITS[problem.objective],
            "value": claim.value,
            "bound": claim.bound,
            "more_is_better": more_is_better(problem),
        },
        "gap_ppm": gap_ppm(claim),
        "space": {
            "name": service.space.name,
            "workers": sum(workers.size for workers in solved.workers.values()),
            "sizes": len(claim.ceilings),
            "sizes_that_serve": sizes,
            "sizes_worth_having": len(solved.best),
        },
        "optimal": [] if claim.fleet is None else [fleet_json(service, claim.fleet, solved)],
        "near_optimal": None,
        "limited": solved.limited,
        "wall_limited": solved.wall_limited,
        "proof": proof,
    }
    return result if status != "INFEASIBLE" else result | _why_infeasible(solved, claim)


def _why_infeasible(solved: Solved, claim: ServiceClaim) -> Json:
    """The most that any fleet yields; where that is nothing, why, or what stops each role."""
    most = _most(solved.service, claim)
    if most:
        return {"most_requests_per_s": per_second(most)}
    limits = solved.service.objective.limits.model_copy(update={"min_workers": 1})
    alone = solved.service.model_copy(update={"objective": solved.service.objective.model_copy(update={"limits": limits})})
    if _most(alone, claim):
        least = solved.service.objective.limits.min_workers
        return {"why": f"there is no room, or there are not the nodes, for {least} workers of every role"}
    return {"closest": [shortfall_json(workers) for workers in solved.workers.values()]}


def _most(service: Service, claim: ServiceClaim) -> int:
    """The most requests in 10**9 s that any fleet serves, whatever the load."""
    problem = fleet_problem(service, claim.ceilings).model_copy(update={"load": 0, "objective": "rate"})
    return Tables(problem).joint()[-1]
