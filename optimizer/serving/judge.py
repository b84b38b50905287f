"""Whether a fleet that a user states is the best one: its own figures, every rule it breaks, and a better fleet."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from models.fleet import more_is_better, serves, value_of_fleet
from models.fleet_plan import FleetFile, worker_violations
from models.packing import Refused
from models.service import Service
from models.service_claim import Member, ServiceClaim, examine_places, examine_replicas, fleet_problem, fleet_yield
from models.violation import Violation
from optimizer.certify import stated
from optimizer.search import Options
from optimizer.serving.deployment import Unit, complete
from optimizer.serving.places import Wanted, place_workers
from optimizer.serving.run import solve
from optimizer.serving.solve import Solved


class Broken(NamedTuple):
    """A rule that a fleet breaks, and which of its workers; None where all together do."""

    worker: int | None
    violation: Violation


class Judgement(NamedTuple):
    """What `prove` found out about a fleet."""

    status: str
    """OPTIMAL, NOT_OPTIMAL, INFEASIBLE or UNKNOWN"""
    units: tuple[Unit, ...]
    members: tuple[Member, ...] | None
    """with their places; None where a rule is broken"""
    broken: tuple[Broken, ...]
    value: int | None
    solved: Solved
    best: ServiceClaim
    """the best fleet found, with the ceilings that bound every one; the stated fleet where it is no worse"""


def judge_fleet(service: Service, stated_fleet: FleetFile, origin: str, options: Options, progress: Callable[[str], None]) -> Judgement:
    """Whether the fleet is optimal; nothing is confirmed yet. Raises InputError for workers that cannot be meant."""
    units = complete(service, stated_fleet, origin)
    pools = [_pool_index(service, unit) for unit in units]
    broken = [Broken(n, v) for n, unit in enumerate(units) for v in worker_violations(unit.workers, unit.worker)]
    broken += [Broken(None, v) for v in _too_many(service, units, pools)]
    members = None if broken else _placed(service, units, pools)
    if members is None and not broken:
        broken.append(Broken(None, Violation("pool", "the workers' GPUs cannot be laid out within scale-up domains, the largest first")))
    if members is not None:
        broken += [Broken(None, v) for v in _together(service, members)]
    solved, claim = solve(service, options, progress)
    if broken or members is None:
        return Judgement("INFEASIBLE", units, None, tuple(broken), None, solved, claim)
    problem = fleet_problem(service, claim.ceilings)
    value = value_of_fleet(problem, fleet_yield(service, members))
    better = claim.value is not None and (claim.value > value if more_is_better(problem) else claim.value < value)
    if not better:
        claim = claim.model_copy(update={"fleet": members, "value": value})
    status = "NOT_OPTIMAL" if better else "OPTIMAL" if value == claim.bound else "UNKNOWN"
    return Judgement(status, units, members, (), value, solved, claim)


def _pool_index(service: Service, unit: Unit) -> int:
    return [pool.name for pool in service.cluster.pools].index(unit.workers.pool.name)


def _too_many(service: Service, units: Sequence[Unit], pools: Sequence[int]) -> list[Violation]:
    """(R22 pool) The GPUs of each pool suffice."""
    found = []
    for p, pool in enumerate(service.cluster.pools):
        need = sum(unit.copies * unit.worker.plan.strategy.gpus for unit, at in zip(units, pools, strict=True) if at == p)
        if need > pool.gpus:
            found.append(Violation("pool", f"the workers need {need} GPUs of pool {pool.name}, it has {pool.gpus}", need, pool.gpus))
    return found


def _placed(service: Service, units: Sequence[Unit], pools: Sequence[int]) -> tuple[Member, ...] | None:
    places = dict[int, list[int]]()
    for p, pool in enumerate(service.cluster.pools):
        kinds = [(n, unit) for n, (unit, at) in enumerate(zip(units, pools, strict=True)) if at == p]
        wanted = [Wanted(unit.worker.plan.strategy.gpus, n, unit.workers.role) for n, unit in kinds for _ in range(unit.copies)]
        found = place_workers(pool, wanted)
        if found is None:
            return None
        places |= found
    return tuple(
        Member(
            pool=at,
            role=unit.workers.role,
            plan=stated(*unit.worker.plan),
            chunks=unit.worker.cut.chunks,
            batch=unit.worker.batch,
            first_gpus=tuple(places[n]),
        )
        for n, (unit, at) in enumerate(zip(units, pools, strict=True))
    )


def _together(service: Service, members: tuple[Member, ...]) -> list[Violation]:
    """(R19 rate, R25 min_workers) What the fleet as a whole must keep."""
    for p, pool in enumerate(service.cluster.pools):
        examine_places(pool, [(m.plan.strategy.gpus, first) for m in members if m.pool == p for first in m.first_gpus])
    try:
        examine_replicas(service, members)
        found = fleet_yield(service, members)
    except Refused as refusal:
        return [Violation("min_workers", refusal.reason)]
    problem = fleet_problem(service, ())
    if serves(problem, found.rate):
        return []
    sentence = f"the fleet serves {found.rate} requests in 10^9 s, at least {problem.load} are asked for"
    return [Violation("rate", sentence, problem.load, found.rate)]
