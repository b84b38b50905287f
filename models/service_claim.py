"""What a certificate about a service must show, and the check: no worker above its ceiling, and no fleet of such workers better.

The ceilings say, for every pool and role, how much no worker of so many GPUs yields more than. With a worker at each ceiling the
best fleet is that of `models.fleet`; the fleet listed is priced as it stands, worker by worker, and put onto its GPUs.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from models.ceilings import best_worker
from models.certified_plan import StatedPlan
from models.cluster import MAX_GPUS, Pool
from models.cuts import Cut
from models.fleet import ROLES, FleetObjective, FleetProblem, GpuPool, Role, Worker, Yield, value_of_fleet
from models.fleet_claim import examine_bound, examine_value, is_better
from models.fleet_places import examine_places, nodes_apart
from models.fleet_plan import Deployed, FleetFile, WorkerFile, counted_rate, figures_of, worker_violations
from models.packing import Natural, Refused
from models.record import Record, StopAtFirst
from models.service import Service
from models.strategy import Degree, Plan, fill_degrees
from models.units import ceil_div
from models.workers import Workers

MOST_WORKERS = 500_000  # of a service, each of any batch


class Ceiling(Record):
    """No worker of this pool and role on so many GPUs has a higher rate, requests in 10**9 s that are counted on."""

    pool: Annotated[int, Field(ge=0, le=3)]
    role: Role
    gpus: Annotated[int, Field(ge=1, le=MAX_GPUS)]
    rate: Natural


class Member(Record):
    """Workers alike, and the first GPU of each in its pool."""

    pool: Annotated[int, Field(ge=0, le=3)]
    role: Role
    plan: StatedPlan
    chunks: Degree
    batch: Degree
    first_gpus: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_GPUS)], ...], StopAtFirst(), Field(min_length=1, max_length=MAX_GPUS)]


class ServiceClaim(Record):
    """No fleet is better than `bound`, and this one has `value`; a bound of null: no fleet reaches the load."""

    kind: Literal["service"]
    service: Service
    ceilings: Annotated[tuple[Ceiling, ...], StopAtFirst(), Field(max_length=20_000)]
    fleet: Annotated[tuple[Member, ...], StopAtFirst(), Field(max_length=10_000)] | None
    value: Natural | None
    bound: Natural | None
    refuted: Annotated[tuple[Member, ...], StopAtFirst(), Field(max_length=10_000)] | None = Field(
        default=None, description="a fleet that keeps the rules and is worse than the one listed"
    )


class Objective(NamedTuple):
    """What a service asks of its fleet."""

    name: FleetObjective
    load: int
    """requests in 10**9 s, at least one"""


def objective_of(service: Service) -> Objective:
    """Rate, rate per GPU in use, fewest GPUs; money per hour with a load, per rate without."""
    load = service.load()
    names: dict[str, FleetObjective] = {"throughput": "rate", "throughput_per_gpu": "rate_per_gpu", "gpus": "gpus"}
    return Objective(names.get(service.objective.name, "cost_per_rate" if load is None else "cost"), max(1, load or 0))


def fleet_problem(service: Service, ceilings: Sequence[Ceiling]) -> FleetProblem:
    """The fleet problem with one worker at each ceiling."""
    wanted = objective_of(service)
    pools = (GpuPool(name=p.name, gpus=p.gpus, price_uusd_per_gpu_hour=p.price_uusd_per_gpu_hour or 0) for p in service.cluster.pools)
    reached = [c for c in ceilings if c.rate]
    least = service.objective.limits.min_workers
    if sum(ceil_div(p.gpus, p.gpus_per_node) for p in service.cluster.pools) < least:
        reached = []  # R25: there are too few nodes
    workers = (Worker(name=f"{c.role} on {c.gpus}", role=c.role, pool=c.pool, gpus=c.gpus, rate=c.rate) for c in reached)
    return FleetProblem(pools=tuple(pools), workers=tuple(workers), objective=wanted.name, load=wanted.load, least_workers=least)


def examine_service(claim: ServiceClaim) -> None:
    """Raises Refused at the first part that does not hold."""
    problem = fleet_problem(claim.service, claim.ceilings)
    examine_value(problem, None if claim.fleet is None else fleet_yield(claim.service, claim.fleet), claim.value, claim.bound)
    if claim.refuted is not None:
        worse = value_of_fleet(problem, fleet_yield(claim.service, claim.refuted))
        if claim.value is None or not is_better(problem, claim.value, worse):
            raise Refused("the fleet is not worse than the one listed", "claim.refuted")
    _examine_ceilings(claim)
    examine_bound(problem, claim.bound)


def _examine_ceilings(claim: ServiceClaim) -> None:
    """Every size of every role on every pool has one ceiling, and no worker is above it."""
    stated = {(c.pool, c.role, c.gpus): (c.rate, n) for n, c in enumerate(claim.ceilings)}
    if len(stated) < len(claim.ceilings):
        raise Refused("a size has two ceilings", "claim.ceilings")
    roles = [role for role in ROLES if role in claim.service.workers.roles]
    every = {(p, role): Workers(claim.service, p, role) for p in range(len(claim.service.cluster.pools)) for role in roles}
    refuse_too_many(every.values())
    for (pool, role), workers in every.items():
        for gpus in workers.sizes:
            if (pool, role, gpus) not in stated:
                raise Refused(f"{role} workers of {gpus} GPUs of pool {pool} have no ceiling", "claim.ceilings")
            rate, n = stated[pool, role, gpus]
            above = best_worker(workers, gpus, rate)
            if above is not None:
                text = f"{above.cut.strategy.label()} with batch {above.batch} may yield {above.rate}"
                raise Refused(f"{text}, which is above {rate}", f"claim.ceilings.{n}")


def refuse_too_many(every: Iterable[Workers]) -> None:
    """Raises Refused where these have more workers than can be gone through. They are counted, none is made."""
    left = MOST_WORKERS
    for workers in every:
        for gpus in workers.sizes:
            left -= workers.count(gpus)
            if left < 0:
                raise Refused(f"more than {MOST_WORKERS:,} workers, each of any batch, are too many")


def fleet_yield(service: Service, fleet: Sequence[Member]) -> Yield:
    """What a fleet uses and yields. Raises Refused where a worker breaks a rule or two want one GPU."""
    gpus, rates = [0] * len(service.cluster.pools), dict.fromkeys(ROLES, 0)
    for n, member in enumerate(fleet):
        if member.pool >= len(service.cluster.pools) or member.role not in service.workers.roles:
            raise Refused("no such pool or role in the service", f"claim.fleet.{n}")
        workers, worker = Workers(service, member.pool, member.role), deployed(member)
        if worker is None or worker.plan.strategy.replicas != 1 or worker.plan.strategy.microbatches != worker.plan.strategy.pp:
            raise Refused("a worker is one replica with stages, placement, and as many micro-batches as stages", f"claim.fleet.{n}.plan")
        broken = worker_violations(workers, worker)
        if broken:
            raise Refused(f"the worker breaks {broken[0].rule}: {broken[0].sentence}", f"claim.fleet.{n}")
        gpus[member.pool] += worker.plan.strategy.gpus * len(member.first_gpus)
        rates[member.role] += counted_rate(workers, figures_of(workers, worker)) * len(member.first_gpus)
    for number, pool in enumerate(service.cluster.pools):
        examine_places(pool, [(m.plan.strategy.gpus, first) for m in fleet if m.pool == number for first in m.first_gpus])
    examine_replicas(service, fleet)
    return Yield(tuple(gpus), rates["aggregated"] + min(rates["prefill"], rates["decode"]))


def deployed(member: Member) -> Deployed | None:
    """The member's worker, or None where its stages or placement are left open."""
    if member.plan.stages is None or member.plan.placement is None:
        return None
    s = member.plan.strategy
    return Deployed(Cut(s, member.chunks), member.batch, Plan(s, member.plan.stages, member.plan.placement))


def examine_replicas(service: Service, fleet: Sequence[Member]) -> None:
    """(R25 min_workers) Every role in use has as many workers as are asked for, no two of which share a node. Raises Refused."""
    least = service.objective.limits.min_workers
    for role in ROLES:
        spans = [_nodes(service.cluster.pools[m.pool], m, first) for m in fleet if m.role == role for first in m.first_gpus]
        apart = nodes_apart(spans)
        if spans and apart < least:
            raise Refused(f"{apart} {role} workers on nodes of their own, at least {least} are asked for", "claim.fleet")


def _nodes(pool: Pool, member: Member, first: int) -> tuple[str, int, int]:
    """The pool, the first and the last node of a worker."""
    return pool.name, first // pool.gpus_per_node, (first + member.plan.strategy.gpus - 1) // pool.gpus_per_node


def speaks_of(claim: ServiceClaim, stated: FleetFile) -> bool:
    """Whether the fleet listed, or the one refuted, is what a file states; what the file leaves open may be anything."""
    return any(fleet is not None and _is_fleet(claim.service, fleet, stated) for fleet in (claim.fleet, claim.refuted))


def _is_fleet(service: Service, fleet: Sequence[Member], stated: FleetFile) -> bool:
    """Whether every copy of every member is one of the file's workers: those that say most choose first."""
    names, dense = [pool.name for pool in service.cluster.pools], not service.architecture.experts
    left = [len(member.first_gpus) for member in fleet]
    for worker in sorted(stated.workers, key=lambda w: sum(v is None for v in (w.pool, w.stages, w.placement, w.batch, w.chunks))):
        wanted = worker.count
        for n, member in enumerate(fleet):
            if _is_of(member, worker, names[member.pool], dense):
                wanted -= (taken := min(wanted, left[n]))
                left[n] -= taken
        if wanted:
            return False
    return not any(left)


def _is_of(member: Member, stated: WorkerFile, pool: str, dense: bool) -> bool:
    s, _ = fill_degrees(stated.degrees, stated.order, dense=dense)
    parts = (
        (stated.pool, pool),
        (stated.stages, member.plan.stages),
        (stated.placement, member.plan.placement),
        (stated.batch, member.batch),
        (stated.chunks, member.chunks),
    )
    same = (member.role, member.plan.strategy) == (stated.role, s._replace(microbatches=s.pp))
    return same and all(given is None or given == ours for given, ours in parts)
