"""The exact front of tokens/s per GPU against tokens/s per user: one best fleet for every rate that a user may be promised."""

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import NamedTuple

from models.service import Service
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
    """The best fleet of those that keep a time per token."""

    limit_ns: int
    """time per token that was asked for"""
    claim: ServiceClaim
    text: str
    """the certificate"""
    fleet: Json | None

    @property
    def tpot_ns(self) -> int:
        """Time per token of its slowest worker."""
        assert self.fleet is not None, "only fleets have one"
        found: int = self.fleet["metrics"]["tpot_ns"]
        return found

    @property
    def kept(self) -> float:
        """Tokens/s that every user gets, at least."""
        return NS_PER_S / self.tpot_ns

    @property
    def per_gpu(self) -> float:
        """Tokens/s per GPU: of the cluster, or in use where that is the objective."""
        assert self.fleet is not None, "only fleets yield something"
        name = "tokens_per_s_per_gpu" + ("_in_use" if self.claim.service.objective.name == "throughput_per_gpu" else "")
        return float(self.fleet["metrics"][name])


def within(service: Service, tpot_ns: int) -> Service:
    """The service without a load, for the most tokens/s (per GPU), with this limit on a token's time and none on a whole request's."""
    limits = service.objective.limits.model_copy(update={"tpot_ns": tpot_ns, "request_ns": None})
    name = service.objective.name if service.objective.name == "throughput_per_gpu" else "throughput"
    objective = service.objective.model_copy(update={"name": name, "limits": limits})
    workload = service.workload.model_copy(update={"requests_per_hour": None})
    return service.model_copy(update={"objective": objective, "workload": workload})


def points(service: Service, step: int, options: Options, progress: Progress) -> Iterator[Point]:
    """The best fleet at every multiple of `step` tokens/s per user and at the service's own limit, up to what is proved to be beyond all.

    Where a fleet is proved the best and keeps more than was asked for, no other is better in between, so that those are passed over.
    """
    limit_ns, known, own = max(NS_PER_S // step, service.objective.limits.tpot_ns or 0), None, service.objective.limits.tpot_ns
    while limit_ns:
        known, claim = solve(within(service, limit_ns), options, lambda _: None, known)
        found = None if claim.fleet is None else fleet_json(known.service, claim.fleet, known)
        point = Point(limit_ns, claim, proof_text(claim), found)
        progress(f"{NS_PER_S / limit_ns:.1f} tokens/s per user: {_said(point)}")
        yield point
        if status_of(claim) == "INFEASIBLE":
            return
        reached = point.tpot_ns if status_of(claim) == "OPTIMAL" else limit_ns
        below = NS_PER_S // (NS_PER_S // reached // step * step + step)
        limit_ns = own if own is not None and below < own < reached else below


def _said(p: Point) -> str:
    return status_of(p.claim) if p.fleet is None else f"{p.per_gpu:.2f} tokens/s per GPU, {status_of(p.claim)} confirmed"


def undominated(found: Sequence[Point]) -> list[Point]:
    """The fleets that no other equals with more for the user."""
    fleets = [p for p in found if p.fleet is not None]
    return [p for p, after in zip_longest(fleets, fleets[1:]) if after is None or after.per_gpu < p.per_gpu]


def knee(front: Sequence[Point]) -> int | None:
    """The point of the most tokens/s per GPU times tokens/s per user: beside it, more of one costs a larger share of the other.

    Throughput over delay, the power of Kleinrock (ICC 1979), is largest where a system is best loaded. None of an empty front.
    """
    return max(range(len(front)), key=lambda n: (front[n].kept * front[n].per_gpu, -n), default=None)


def status_of_all(found: Sequence[Point]) -> str:
    """What all claims together say: the front is exact where every fleet is optimal and the last limit beyond all."""
    statuses = [status_of(p.claim) for p in found]
    if statuses == ["INFEASIBLE"]:
        return "INFEASIBLE"
    proved = all(status == "OPTIMAL" for status in statuses[:-1]) and statuses[-1:] == ["INFEASIBLE"]
    return "OPTIMAL" if proved else "FEASIBLE" if any(p.fleet is not None for p in found) else "UNKNOWN"


def run_front(service: Service, step: int, options: Options, files: Files, progress: Progress) -> Json:
    """The front, every claim confirmed by the solver-free checker. Files: front.json, front.svg, and every claim's plan and certificate."""
    files.check_free()
    started = time.monotonic()
    found = list(points(service, step, options, progress))
    front, own = undominated(found), service.objective.limits.tpot_ns
    result: Json = service_header("front", status_of_all(found), within(service, NS_PER_S // step), options.seed, 0) | {
        "objective": within(service, 1).objective.name,
        "ttft_limit_ns": service.objective.limits.ttft_ns,
        "tpot_limit_ns": own,
        "step_tokens_per_s_per_user": step,
        "asked": [{"limit_ns": p.limit_ns, "status": status_of(p.claim), "gap_ppm": gap_ppm(p.claim)} for p in found],
        "points": [_point_json(p, found.index(p)) for p in front],
        "knee": knee(front),
        "limit": None if own is None else next((n for n, p in enumerate(front) if p.tpot_ns <= own), None),
        "proof": {"checked": True, "route": "ceilings"},
        "seconds": round(time.monotonic() - started, 3),
    }
    texts = {f"fleet_{n:03}.json": to_json(plan_of(p.fleet)) for n, p in enumerate(found) if p.fleet is not None}
    texts |= {f"certificate_{n:03}.json": p.text for n, p in enumerate(found)}
    files.write({"front.json": to_json(result), "front.svg": draw_front(result), **texts}, None)
    return result


def _point_json(p: Point, number: int) -> Json:
    return {
        "number": number,
        "status": status_of(p.claim),
        "tokens_per_s_per_user": round(p.kept, 3),
        "limit_ns": p.limit_ns,
        "tokens_per_s_per_gpu": p.per_gpu,
        "gap_ppm": gap_ppm(p.claim),
        "certificate_sha256": sha256(p.text.encode()).hexdigest(),
        "fleet": p.fleet,
    }


def front_text(r: Json) -> str:
    """What `search --front` prints."""
    limits = [f"{name.upper()} <= {r[f'{name}_limit_ns'] / 1e6:,g} ms" for name in ("ttft",) if r[f"{name}_limit_ns"] is not None]
    per_gpu = "in use" if r["objective"] == "throughput_per_gpu" else "of the cluster"
    lines = [f"{r['instance']['name']}: tokens/s per GPU {per_gpu} against tokens/s per user" + "".join(f", {limit}" for limit in limits)]
    if r["points"]:
        lines += ["", f"{'tokens/s/user':>13} {'tokens/s/GPU':>12} {'TTFT ms':>8}  fleet"]
    for n, p in enumerate(r["points"]):
        marks = ("  <- knee" if n == r["knee"] else "") + ("  <- limit" if n == r["limit"] else "")
        gap = "" if p["status"] == "OPTIMAL" else f"  <- {p['status']}, within {p['gap_ppm'] / 10_000:.2f} %"
        ttft = p["fleet"]["metrics"]["ttft_ns"] / 1e6
        fleet = ", ".join(_worker(w) for w in p["fleet"]["workers"])
        lines.append(f"{p['tokens_per_s_per_user']:>13,.2f} {p['tokens_per_s_per_gpu']:>12,.2f} {ttft:>8,.1f}  {fleet}{marks}{gap}")
    return "\n".join([*lines, "", f"{r['status']}: {_proved(r)}"])


def _worker(w: Json) -> str:
    chunks = f" in {w['chunks']} chunks" if w["chunks"] > 1 else ""
    return f"{w['count']} x {w['role']} {w['pool']} {w['label']} batch {w['batch']}{chunks}"


def _proved(r: Json) -> str:
    step = r["step_tokens_per_s_per_user"]
    each = "whole number" if step == 1 else f"multiple of {step}"
    if r["status"] == "OPTIMAL":
        own = "" if r["tpot_limit_ns"] is None else ", and at the service's limit"
        return f"no fleet does better at any {each} of tokens/s per user{own}, confirmed by the solver-free checker (mean-field rates)"
    if r["status"] == "INFEASIBLE":
        return f"no fleet gives its users {step} tokens/s each, confirmed by the solver-free checker"
    open_ = sum(1 for asked in r["asked"] if asked["status"] in ("FEASIBLE", "UNKNOWN"))
    return f"at {open_} of {len(r['asked'])} limits a better fleet is not ruled out (--json lists them)"
