"""`search` of a service: solve, confirm, report, write."""

import time
from collections.abc import Callable
from hashlib import sha256

from models.errors import InputError
from models.packing import Refused
from models.service import Service
from models.service_claim import ServiceClaim
from optimizer.certify import proof_alone
from optimizer.commands import Files
from optimizer.output import to_json
from optimizer.search import EFFORT_DETERMINISTIC_S, EFFORT_STRATEGIES, Options
from optimizer.serving.report import Json, service_search_json
from optimizer.serving.solve import DETERMINISTIC_S, Solved


class Spending:
    """Whether the effort, or the time, of a search is spent; asked once per range of batches."""

    def __init__(self, options: Options) -> None:
        self._deadline = None if options.seconds is None else time.monotonic() + options.seconds
        self._left = options.effort * EFFORT_STRATEGIES
        self.late = False
        """the wall clock ended the search"""

    def __call__(self) -> bool:
        self._left -= 1
        self.late = self.late or (self._deadline is not None and self._left % 64 == 0 and time.monotonic() > self._deadline)
        return self._left < 0 or self.late


def solve(service: Service, options: Options, progress: Callable[[str], None], known: Solved | None = None) -> tuple[Solved, ServiceClaim]:
    """The service with its ceilings, and the claim about its best fleet; `known` is the same service under other limits.

    Raises InputError where there are too many workers or fleets.
    """
    solved, spending = Solved(service, known), Spending(options)
    try:
        solved.bound_workers(progress, spending)
        solved.wall_limited = spending.late
        joint = options.route == "joint"
        deterministic = options.effort * EFFORT_DETERMINISTIC_S if joint else DETERMINISTIC_S
        claim = solved.claim(joint, deterministic, options.seed, progress)
    except Refused as refusal:
        raise InputError(f"cluster.pools: {refusal.reason}; use fewer GPUs, sizes (workers.gpus) or degrees (space)") from refusal
    return solved, claim


def proof_text(claim: ServiceClaim) -> str:
    """The claim as a certificate that the solver-free checker has confirmed. Raises VerificationError where it does not."""
    return proof_alone(claim, "ceilings", "use a smaller service")


def run_service_search(service: Service, options: Options, files: Files, progress: Callable[[str], None]) -> Json:
    """The best fleet of a service, confirmed by the solver-free checker; result files where they are wanted."""
    files.check_free()
    started = time.monotonic()
    solved, claim = solve(service, options, progress)
    progress("fleet claimed; checking")
    text = proof_text(claim)
    route = "joint" if options.route == "joint" else "ceilings"
    proof = {"checked": True, "certificate_sha256": sha256(text.encode()).hexdigest(), "route": route}
    result = service_search_json(solved, claim, proof, options.seed, time.monotonic() - started)
    plans = {"fleet.json": to_json(plan_of(result["optimal"][0]))} if result["optimal"] else {}
    files.write({"search.json": to_json(result)} | plans, text)
    return result


def plan_of(fleet: Json) -> Json:
    """A fleet of a result as a plan file, for `prove`, `explain` and `simulate`."""
    kept = ("role", "pool", "count", "degrees", "order", "batch", "chunks", "stages", "placement")
    return {"workers": [{name: worker[name] for name in kept} for worker in fleet["workers"]]}
