"""The best fleet of a service: the best worker of every size, then the best mix of them, then places for it."""

from collections.abc import Callable, Sequence

from models.ceilings import Found, Stopped, best_worker, never
from models.cluster import MAX_GPUS
from models.fleet import ROLES, Chosen, FleetProblem, Role, Tables, Worker, best_value, more_is_better, value_of_fleet
from models.packing import Refused
from models.service import Service
from models.service_claim import Ceiling, Member, ServiceClaim, fleet_problem, fleet_yield, refuse_too_many
from models.workers import Workers
from optimizer.certify import stated
from optimizer.fleets.solve import solve_fleet
from optimizer.serving.deployment import settle
from optimizer.serving.places import Piece, place_workers

Best = dict[tuple[int, Role, int], Found]
"""The best worker by pool, role and GPUs, where it beats every mix of smaller ones."""


MOST_ATTEMPTS = 30  # fleets tried where the best cannot be laid out
Propose = Callable[[FleetProblem], tuple[Chosen, ...] | None]


class Solved:
    """A service with its ceilings, and the workers that reach them."""

    def __init__(self, service: Service, known: "Solved | None" = None) -> None:
        """`known`: the same service under other limits, whose prices can be shared."""
        self.service = service
        self.workers: dict[tuple[int, Role], Workers] = {
            (p, role): Workers(service, p, role) if known is None else known.workers[p, role].under(service)
            for p in range(len(service.cluster.pools))
            for role in ROLES
            if role in service.workers.roles
        }
        self.best: Best = {}
        self.ceilings: list[Ceiling] = []
        self.limited = self.wall_limited = False

    def bound_workers(self, progress: Callable[[str], None], spent: Callable[[], bool] = never) -> None:
        """The ceiling of every size: its best worker, or the best mix of smaller workers on as many GPUs where that is no less.

        Raises Refused where there are more workers than can be gone through.
        A worker that a mix of smaller ones equals is dominated: the mix fits wherever the worker does, and yields as much.
        """
        refuse_too_many(self.workers.values())
        for (p, role), workers in self.workers.items():
            mix, kept = [0] * (workers.pool.gpus + 1), list[tuple[int, int]]()
            for gpus in range(1, workers.pool.gpus + 1):
                mix[gpus] = max([mix[gpus - 1], *(mix[gpus - size] + rate for size, rate in kept)])
                if gpus not in workers.sizes:
                    continue
                try:
                    found, ceiling = best_worker(workers, gpus, mix[gpus], spent), mix[gpus]
                except Stopped as stopped:
                    found, ceiling, self.limited = None, max(mix[gpus], stopped.bound), True
                if found is not None:
                    self.best[p, role, gpus] = found
                    kept.append((gpus, found.rate))
                    mix[gpus] = ceiling = found.rate
                self.ceilings.append(Ceiling(pool=p, role=role, gpus=gpus, rate=ceiling))
            progress(f"pool {workers.pool.name}: {len(kept)} of {len(workers.sizes)} sizes of {role} worker are worth having")

    def claim(self, propose: Propose | None = None) -> ServiceClaim:
        """The best fleet, or the one that `propose` gives, with the ceilings that bound every one.

        Raises Refused where the fleets are too many for tables.
        """
        real = [c for c in self.ceilings if (c.pool, c.role, c.gpus) in self.best]
        problem = fleet_problem(self.service, real)
        chosen = solve_fleet(problem)
        bound = chosen.bound
        if self.limited:
            bounded = fleet_problem(self.service, self.ceilings)
            tables = Tables(bounded)
            bound = best_value(bounded, tables.joint(), tables)
        if propose is not None:
            fleet = propose(problem)
            return self._laid_out(problem, real, fleet, bound) or self._claimed(None, None, bound)
        first = self._laid_out(problem, real, chosen.fleet, bound)
        if first is not None or chosen.fleet is None:
            return first or self._claimed(None, None, bound)
        return self._without_some(problem, real, chosen.fleet, bound)

    def _laid_out(
        self, problem: FleetProblem, real: Sequence[Ceiling], fleet: tuple[Chosen, ...] | None, bound: int | None
    ) -> ServiceClaim | None:
        """The claim about a fleet; None where there is none, or no way to lay it out was found."""
        members = None if fleet is None else self._members([(real[c.worker], c.count) for c in fleet])
        value = None if members is None else self._value(problem, members)
        return None if value is None else self._claimed(members, value, bound)

    def _without_some(self, problem: FleetProblem, real: Sequence[Ceiling], best: tuple[Chosen, ...], bound: int | None) -> ServiceClaim:
        """The best fleet found that can be laid out, where the best of all could not: without one or two of its kinds of worker."""
        waiting: list[tuple[frozenset[int], tuple[Chosen, ...]]] = [(frozenset(), best)]
        tried, found = {frozenset[int]()}, list[ServiceClaim]()
        while waiting and len(tried) <= MOST_ATTEMPTS:
            without, fleet = waiting.pop(0)
            for banned in (without | {c.worker} for c in fleet):
                if banned in tried or len(banned) > 2:
                    continue
                tried.add(banned)
                left = problem.model_copy(update={"workers": tuple(_idle(w) if n in banned else w for n, w in enumerate(problem.workers))})
                other = solve_fleet(left).fleet
                claim = self._laid_out(problem, real, other, bound)
                if claim is not None:
                    found.append(claim)
                elif other is not None:
                    waiting.append((banned, other))
        ranked = sorted(found, key=lambda c: c.value or 0, reverse=more_is_better(problem))
        return ranked[0] if ranked else self._claimed(None, None, bound)

    def _claimed(self, fleet: tuple[Member, ...] | None, value: int | None, bound: int | None) -> ServiceClaim:
        fleet = fleet if value is not None else None
        return ServiceClaim(kind="service", service=self.service, ceilings=tuple(self.ceilings), fleet=fleet, value=value, bound=bound)

    def _value(self, problem: FleetProblem, members: tuple[Member, ...]) -> int | None:
        """The value of the fleet as it stands; None where it breaks a rule."""
        try:
            return value_of_fleet(problem, fleet_yield(self.service, members))
        except Refused:
            return None

    def _members(self, chosen: list[tuple[Ceiling, int]]) -> tuple[Member, ...] | None:
        """The workers with their plans and places; None where they do not fit."""
        places, least = dict[int, list[int]](), self.service.objective.limits.min_workers
        for p, pool in enumerate(self.service.cluster.pools):
            kinds = [(n, c, count) for n, (c, count) in enumerate(chosen) if c.pool == p]
            found = place_workers(pool, [Piece(c.gpus, n, c.role) for n, c, count in kinds for _ in range(count)], least)
            if found is None:
                return None
            places |= found
        return tuple(self._member(c, tuple(places[n])) for n, (c, _) in enumerate(chosen))

    def _member(self, ceiling: Ceiling, first_gpus: tuple[int, ...]) -> Member:
        found = self.best[ceiling.pool, ceiling.role, ceiling.gpus]
        worker = settle(self.workers[ceiling.pool, ceiling.role], found.cut, found.batch)
        plan = stated(*worker.plan)
        return Member(pool=ceiling.pool, role=ceiling.role, plan=plan, chunks=found.cut.chunks, batch=found.batch, first_gpus=first_gpus)


def _idle(worker: Worker) -> Worker:
    """A worker that no fleet has: it yields nothing on more GPUs than there are."""
    return worker.model_copy(update={"rate": 0, "gpus": MAX_GPUS})
