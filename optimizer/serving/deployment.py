"""Workers with every decision made: what a fleet file leaves open is chosen best."""

from typing import NamedTuple

from models.ceilings import best_among
from models.cuts import Cut
from models.errors import InputError
from models.fleet_plan import Deployed, FleetFile, WorkerFile
from models.placement import contiguous
from models.rules import redundant_slots
from models.service import Service
from models.strategy import Plan, Strategy, complete_stages, fill_degrees
from models.workers import Workers
from optimizer.completion import Completion


class Unit(NamedTuple):
    """So many workers alike."""

    workers: Workers
    worker: Deployed
    copies: int


def complete(service: Service, fleet: FleetFile, origin: str) -> tuple[Unit, ...]:
    """The fleet that a file means. Raises InputError for what no worker can be."""
    return tuple(_unit(service, worker, f"{origin}: workers.{n}") for n, worker in enumerate(fleet.workers))


def _unit(service: Service, stated: WorkerFile, where: str) -> Unit:
    workers = Workers(service, _pool(service, stated, where), stated.role)
    cuts = [Cut(_strategy(service, stated, where), n) for n in ((stated.chunks,) if stated.chunks else workers.chunk_choice)]
    if stated.batch is not None:
        return Unit(workers, settle(workers, cuts[0], stated.batch, stated), stated.count)
    keeps = not any(True for _ in workers.broken_rules(cuts[0].strategy))
    found = best_among(workers, cuts) if keeps else None
    return Unit(workers, settle(workers, *(found[:2] if found else (cuts[0], 1)), stated), stated.count)


def _pool(service: Service, stated: WorkerFile, where: str) -> int:
    names = [pool.name for pool in service.cluster.pools]
    if stated.pool is None and len(names) > 1:
        raise InputError(f"{where}.pool: missing; name one of {', '.join(names)}")
    if stated.pool is not None and stated.pool not in names:
        raise InputError(f'{where}.pool: "{stated.pool}" is no pool of the service; name one of {", ".join(names)}')
    return 0 if stated.pool is None else names.index(stated.pool)


def _strategy(service: Service, stated: WorkerFile, where: str) -> Strategy:
    s, _ = fill_degrees(stated.degrees, stated.order, dense=not service.architecture.experts)
    if s.replicas != 1:
        raise InputError(f"{where}.degrees.replicas: {s.replicas}, but a worker is one replica; write count {s.replicas} instead")
    if stated.degrees.microbatches not in (None, s.pp):
        raise InputError(f"{where}.degrees.microbatches: a worker has as many in flight as stages; write {s.pp} or leave it out")
    return s._replace(microbatches=s.pp)


def settle(workers: Workers, cut: Cut, batch: int, stated: WorkerFile | None = None) -> Deployed:
    """The worker with its best split and placement, or those that are stated; some that break a rule where none keeps all."""
    s, arch = cut.strategy, workers.service.architecture
    stages, placement = (stated.stages, stated.placement) if stated else (None, None)
    if (stages is None or placement is None) and not any(True for _ in workers.broken_rules(s)):
        bounds = workers.sizing(cut).of(batch * s.dp * s.pp)
        found = Completion(bounds.instance, bounds.terms).complete(bounds, s)
        plan = None if isinstance(found, str) or found[1] is None else found[1].plan
        if plan is not None:
            best = workers.best_split(cut, batch)
            split = stages or (best[0].stages if best else plan.stages)
            return Deployed(cut, batch, plan._replace(stages=split, placement=placement or plan.placement))
    ep = s.ep if arch.experts and arch.experts % s.ep == 0 else 1
    redundant = 0 if redundant_slots(workers.decode(1).instance, ep, s.redundant) else s.redundant
    even = complete_stages(arch.layer_count, s.pp) if s.pp <= arch.layer_count else ()
    return Deployed(cut, batch, Plan(s, stages or even, placement or (contiguous(arch.experts, ep, redundant),) * arch.moe_layers))
