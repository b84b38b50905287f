"""The best fleet of a service: the best worker of every size, then the best mix of them, then places for it."""

from collections.abc import Callable, Sequence

from models.ceilings import Found, Stopped, best_worker, never
from models.fleet import ROLES, FleetProblem, Role, Tables, best_value, value_of_fleet
from models.fleet_plan import Deployed, counted_rate, figures_of, worker_violations
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


DETERMINISTIC_S = 0.6
"""deterministic CP-SAT seconds for mix and places together"""


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
        self._deployed: dict[tuple[int, Role, int], Deployed] = {}
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

    def claim(
        self,
        jointly: bool = False,
        deterministic: float = DETERMINISTIC_S,
        seed: int = 0,
        progress: Callable[[str], None] = lambda _: None,
    ) -> ServiceClaim:
        """The best fleet with the ceilings that bound every one; `jointly`: CP-SAT chooses its mix even where the tables' has places.

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
        if chosen.fleet is None:
            return self._claimed(None, None, bound)
        members = None if jointly else self._members([(real[c.worker], c.count) for c in chosen.fleet])
        value = None if members is None else self._value(problem, members)
        if value is None:
            if not jointly:
                progress("the best mix of the tables cannot be laid out as it stands; mix and places are chosen together")
            members = self._members_with_places(real, deterministic, seed, progress)
            value = None if members is None else self._value(problem, members)
        return self._claimed(members, value, bound)

    def _members_with_places(
        self, real: Sequence[Ceiling], deterministic: float, seed: int, progress: Callable[[str], None]
    ) -> tuple[Member, ...] | None:
        """The best fleet found of those that have places, of the best workers as they stand; None where none was found."""
        from optimizer.encoding.fleet_model import propose_fleet  # loads the solver

        standing = [c.model_copy(update={"rate": rate}) for c in real if (rate := self._rate(c))]
        problem = fleet_problem(self.service, standing)
        fleet = propose_fleet(problem, self.service.cluster.pools, deterministic, seed, progress)
        return None if fleet is None else tuple(self._member(standing[laid.chosen.worker], laid.first_gpus) for laid in fleet)

    def _rate(self, ceiling: Ceiling) -> int:
        """What the worker at a ceiling yields as it stands, requests in 10**9 s that are counted on; 0 where it breaks a rule."""
        workers, worker = self.workers[ceiling.pool, ceiling.role], self._settled(ceiling)
        return 0 if worker_violations(workers, worker) else counted_rate(workers, figures_of(workers, worker))

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
        """The workers with their plans and places; None where no places were found."""
        wanted = [Piece(c.pool, c.gpus, n, c.role) for n, (c, count) in enumerate(chosen) for _ in range(count)]
        places = place_workers(self.service.cluster.pools, wanted, self.service.objective.limits.min_workers)
        return None if places is None else tuple(self._member(c, tuple(places[n])) for n, (c, _) in enumerate(chosen))

    def _member(self, ceiling: Ceiling, first_gpus: tuple[int, ...]) -> Member:
        worker = self._settled(ceiling)
        plan, chunks = stated(*worker.plan), worker.cut.chunks
        return Member(pool=ceiling.pool, role=ceiling.role, plan=plan, chunks=chunks, batch=worker.batch, first_gpus=first_gpus)

    def _settled(self, ceiling: Ceiling) -> Deployed:
        """The worker at a ceiling with every decision made."""
        key = ceiling.pool, ceiling.role, ceiling.gpus
        if key not in self._deployed:
            found = self.best[key]
            self._deployed[key] = settle(self.workers[key[:2]], found.cut, found.batch)
        return self._deployed[key]
