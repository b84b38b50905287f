"""Whether a fleet that a user states is the best one: its own figures, every rule it breaks, and a better fleet."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from models.fleet import ROLES, more_is_better, serves, value_of_fleet
from models.fleet_plan import FleetFile, worker_violations
from models.service import Service
from models.service_claim import Member, ServiceClaim, fleet_problem, fleet_yield
from models.violation import Violation
from optimizer.certify import stated
from optimizer.search import Options
from optimizer.serving.deployment import Unit, complete
from optimizer.serving.means import MISSING_ROLES
from optimizer.serving.places import Piece, place_workers
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
    """with their places; None where a rule is broken, or no places were found that keep R22 and R25"""
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
    broken += [Broken(None, v) for v in _too_few(service, units)]
    members = None if broken else _placed(service, units, pools)
    if members is not None:
        broken += [Broken(None, v) for v in _too_slow(service, members)]
    solved, claim = solve(service, options, progress)
    if broken or members is None:
        return Judgement("INFEASIBLE" if broken else "UNKNOWN", units, None, tuple(broken), None, solved, claim)
    problem = fleet_problem(service, claim.ceilings)
    value = value_of_fleet(problem, fleet_yield(service, members))
    better = claim.value is not None and (claim.value > value if more_is_better(problem) else claim.value < value)
    claim = claim.model_copy(update={"refuted": members} if better else {"fleet": members, "value": value})
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


def _too_few(service: Service, units: Sequence[Unit]) -> list[Violation]:
    """(R25 min_workers) As many workers of every role in use as are asked for, and as many nodes."""
    found, least = [], service.objective.limits.min_workers
    nodes = sum(-(-pool.gpus // pool.gpus_per_node) for pool in service.cluster.pools)
    for role in ROLES:
        have = min(sum(unit.copies for unit in units if unit.workers.role == role), nodes)
        if 0 < have < least:
            sentence = f"{have} {role} workers on nodes of their own at most, at least {least} are asked for"
            found.append(Violation("min_workers", sentence, least, have))
    return found


def _placed(service: Service, units: Sequence[Unit], pools: Sequence[int]) -> tuple[Member, ...] | None:
    """The workers with places that keep R22 and R25; None where none were found."""
    kinds = list(enumerate(zip(units, pools, strict=True)))
    wanted = [Piece(at, unit.worker.plan.strategy.gpus, n, unit.workers.role) for n, (unit, at) in kinds for _ in range(unit.copies)]
    places = place_workers(service.cluster.pools, wanted, service.objective.limits.min_workers)
    if places is None:
        return None
    return tuple(
        Member(
            pool=at,
            role=unit.workers.role,
            plan=stated(*unit.worker.plan),
            chunks=unit.worker.cut.chunks,
            batch=unit.worker.batch,
            first_gpus=tuple(places[n]),
        )
        for n, (unit, at) in kinds
    )


def _too_slow(service: Service, members: tuple[Member, ...]) -> list[Violation]:
    """(R19 rate) The fleet serves the load."""
    problem, found = fleet_problem(service, ()), fleet_yield(service, members)
    if serves(problem, found.rate):
        return []
    sentence = f"the fleet serves {found.rate} requests in 10^9 s, at least {problem.load} are asked for"
    roles = {member.role for member in members}
    if "aggregated" not in roles and len(roles) == 1:
        sentence = f"{roles.pop()} workers alone serve no request; {MISSING_ROLES}"
    return [Violation("rate", sentence, problem.load, found.rate)]
