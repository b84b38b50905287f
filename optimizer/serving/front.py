"""The exact front of tokens/s per GPU against tokens/s per user: one best fleet for every rate that a user may be promised."""

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from models.service import Service, ServiceLimits
from models.service_claim import ServiceClaim
from models.units import NS_PER_S
from optimizer.commands import Files
from optimizer.output import to_json
from optimizer.search import Options
from optimizer.serving.front_picture import draw_front
from optimizer.serving.report import Json, fleet_json, gap_ppm, service_header, status_of
from optimizer.serving.run import plan_of, proof_text, solve

Progress = Callable[[str], None]


class Point(NamedTuple):
    """The best fleet of those that promise every user so many tokens/s."""

    promised: int
    """tokens/s per user that were asked for"""
    kept: float
    """tokens/s per user of its slowest worker: no less"""
    claim: ServiceClaim
    text: str
    """the certificate"""
    fleet: Json

    @property
    def per_gpu(self) -> float:
        """Tokens/s per GPU: of the cluster, or in use where that is the objective."""
        name = "tokens_per_s_per_gpu" + ("_in_use" if self.claim.service.objective.name == "throughput_per_gpu" else "")
        return float(self.fleet["metrics"][name])


def promising(service: Service, tokens_per_s: int) -> Service:
    """The service without a load, for the most tokens/s (per GPU), whose users get at least so many tokens/s each."""
    limits = service.objective.limits.model_copy(update={"tpot_ns": NS_PER_S // tokens_per_s, "request_ns": None})
    name = service.objective.name if service.objective.name == "throughput_per_gpu" else "throughput"
    objective = service.objective.model_copy(update={"name": name, "limits": limits})
    workload = service.workload.model_copy(update={"requests_per_hour": None, "concurrent_requests": None})
    return service.model_copy(update={"objective": objective, "workload": workload})


def points(service: Service, step: int, options: Options, progress: Progress) -> Iterator[Point]:
    """The best fleet at every multiple of `step` tokens/s per user, from the least to the most that any keeps.

    Between what a fleet was asked for and what it keeps no other is better, so that those multiples are passed over.
    """
    promised, known = step, None
    while True:
        known, claim = solve(promising(service, promised), options, lambda _: None, known)
        if claim.fleet is None:
            return
        found = fleet_json(known.service, claim.fleet, known)
        tpot_ns = found["metrics"]["tpot_ns"]
        progress(f"{promised} tokens/s per user: {found['metrics']['tokens_per_s_per_gpu']} tokens/s per GPU; checking")
        yield Point(promised, NS_PER_S / tpot_ns, claim, proof_text(claim), found)
        promised = NS_PER_S // tpot_ns // step * step + step


def undominated(found: Sequence[Point]) -> list[Point]:
    """The points that no other equals with more for the user."""
    return [p for p, after in zip(found, [*found[1:], None], strict=True) if after is None or after.per_gpu < p.per_gpu]


def knee(front: Sequence[Point]) -> int:
    """The point farthest above the line from the first to the last, both axes scaled to 1 (Satopaa et al., "Kneedle", ICDCSW 2011)."""
    wide = front[-1].kept - front[0].kept or 1.0
    high = front[0].per_gpu - front[-1].per_gpu or 1.0
    above = [(p.kept - front[0].kept) / wide + (p.per_gpu - front[-1].per_gpu) / high for p in front]
    return max(range(len(front)), key=lambda n: (above[n], -n))


def run_front(service: Service, step: int, options: Options, files: Files, progress: Progress) -> Json:
    """The front, every point confirmed by the solver-free checker. Files: front.json, front.svg, a plan and a certificate of each."""
    files.check_free()
    started = time.monotonic()
    found = list(points(service, step, options, progress))
    front = undominated(found)
    proved = all(status_of(p.claim) == "OPTIMAL" for p in front)
    status = "INFEASIBLE" if not front else "OPTIMAL" if proved else "FEASIBLE"
    result: Json = service_header("front", status, promising(service, step), options.seed, 0) | {
        "step_tokens_per_s_per_user": step,
        "asked": len(found),
        "points": [_point_json(p) for p in front],
        "knee": knee(front) if front else None,
        "limit": _at_limit(front, service.objective.limits),
        "proof": {"checked": True, "route": "ceilings"},
        "seconds": round(time.monotonic() - started, 3),
    }
    texts = {f"fleet_{p.promised}.json": to_json(plan_of(p.fleet)) for p in front}
    texts |= {f"fleet_{p.promised}.certificate.json": p.text for p in front}
    files.write({"front.json": to_json(result), "front.svg": draw_front(result), **texts}, None)
    return result


def _point_json(p: Point) -> Json:
    return {
        "status": status_of(p.claim),
        "tokens_per_s_per_user": round(p.kept, 3),
        "promised": p.promised,
        "tokens_per_s_per_gpu": p.per_gpu,
        "gap_ppm": gap_ppm(p.claim),
        "certificate_sha256": sha256(p.text.encode()).hexdigest(),
        "fleet": p.fleet,
    }


def _at_limit(front: Sequence[Point], limits: ServiceLimits) -> int | None:
    """The best point within the service's own limit on a token's time."""
    if limits.tpot_ns is None:
        return None
    return next((n for n, p in enumerate(front) if p.fleet["metrics"]["tpot_ns"] <= limits.tpot_ns), None)


def front_text(r: dict[str, Any]) -> str:
    """What `search --front` prints."""
    if not r["points"]:
        return f"INFEASIBLE: {r['instance']['name']}: no fleet promises {r['step_tokens_per_s_per_user']} tokens/s per user"
    lines = [f"{'tokens/s/user':>13} {'tokens/s/GPU':>12} {'TTFT ms':>8}  fleet"]
    for n, p in enumerate(r["points"]):
        marks = ("  <- knee" if n == r["knee"] else "") + ("  <- limit" if n == r["limit"] else "")
        fleet = ", ".join(f"{w['count']} x {w['role']} {w['label']} b{w['batch']}" for w in p["fleet"]["workers"])
        ttft = p["fleet"]["metrics"]["ttft_ns"] / 1e6
        lines.append(f"{p['tokens_per_s_per_user']:>13,.2f} {p['tokens_per_s_per_gpu']:>12,.2f} {ttft:>8,.1f}  {fleet}{marks}")
    step = r["step_tokens_per_s_per_user"]
    each = "whole number" if step == 1 else f"multiple of {step}"
    proof = f"no fleet does better at any {each} of tokens/s per user, confirmed by the solver-free checker (mean-field rates)"
    return "\n".join(
        [*lines, "", f"{r['status']}: {proof if r['status'] == 'OPTIMAL' else 'some points are within their gap only (--json)'}"]
    )
