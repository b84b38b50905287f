"""`fleet`: the best mix of priced workers on a number of GPUs, proved."""

import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from models.errors import InputError
from models.fleet import FleetProblem, GpuPool, Tables, value_of_fleet, yield_of
from models.fleet_claim import FleetClaim
from models.packing import Refused
from optimizer.certify import proof_alone
from optimizer.fleets.candidates import MICRO, Worth, read_candidates
from optimizer.fleets.solve import solve_fleet
from optimizer.output import check_replaceable, write_file
from optimizer.versions import tool_versions

Json = dict[str, Any]

UNITS = {"rate": "micro-tokens/s", "gpus": "GPUs", "cost": "micro-USD/h"}


class Wanted(NamedTuple):
    """What is asked of a fleet."""

    gpus: int
    worth: Worth
    objective: Literal["rate", "gpus"]
    load: int | None
    """output tokens per second"""


def run_fleet(files: list[Path], wanted: Wanted, certificate: Path | None, force: bool) -> Json:
    """The best fleet of the rows of `files`, confirmed by the solver-free checker."""
    started = time.monotonic()
    if certificate is not None:
        check_replaceable(certificate, force)
    workers = read_candidates(files, wanted.worth)
    load = None if wanted.load is None else wanted.load * MICRO
    try:
        pool = GpuPool(name="GPUs", gpus=wanted.gpus)
        problem = FleetProblem(pools=(pool,), workers=workers, objective=wanted.objective, load=load)
        claim = solve_fleet(problem)
    except (ValidationError, Refused) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.reason
        raise InputError(f"--gpus {wanted.gpus}: {reason}; use fewer GPUs or rows") from error
    text = proof_alone(claim, "tables", f"use fewer than {len(workers)} rows")
    if certificate is not None:
        write_file(certificate, text)
    return {
        "schema": "shardproof/fleet/1",
        "status": "INFEASIBLE" if claim.fleet is None else "OPTIMAL",
        "tool": tool_versions(0),
        "assumptions": _assumptions(files, wanted),
        **_answer(claim),
        "rows": len(workers),
        "proof": {"checked": True, "certificate_sha256": sha256(text.encode()).hexdigest(), "certificate_bytes": len(text.encode())},
        "seconds": round(time.monotonic() - started, 3),
    }


def _assumptions(files: list[Path], wanted: Wanted) -> list[str]:
    """What the figures rest on."""
    kept = f"{wanted.worth.prefill_ppm / 1e4:g} % of the prefill and {wanted.worth.decode_ppm / 1e4:g} % of the decode workers' requests/s"
    names = ", ".join(path.name.encode(errors="backslashreplace").decode() for path in files)
    return [
        f"Rates of the workers are those of {names}, taken as they are.",
        f"Disaggregated workers serve the lesser of {kept}; a request yields {wanted.worth.output_tokens} tokens.",
        "Workers run side by side behind a router and share nothing but the number of GPUs.",
    ]


def _answer(claim: FleetClaim) -> Json:
    """The fleet with its figures; without one, the most that any fleet yields."""
    problem = claim.problem
    have = sum(pool.gpus for pool in problem.pools)
    if claim.fleet is None:
        return {"value": None, "bound": None, "gpus": have, "workers": [], "most_tokens_per_s": Tables(problem).joint()[-1] / MICRO}
    found = yield_of(problem, claim.fleet)
    workers = [(problem.workers[c.worker], c.count) for c in claim.fleet]
    return {
        "objective": {"name": problem.objective, "unit": UNITS[problem.objective]},
        "value": value_of_fleet(problem, found),
        "bound": claim.bound,
        "gpus": have,
        "gpus_used": sum(found.gpus),
        "tokens_per_s": found.rate / MICRO,
        "tokens_per_s_per_gpu": round(found.rate / MICRO / have, 3),
        "workers": [{"name": w.name, "role": w.role, "count": n, "gpus": w.gpus, "tokens_per_s": w.rate / MICRO} for w, n in workers],
    }


def fleet_text(r: Json) -> str:
    """What `fleet` prints: the mix, then what is proved of it."""
    if r["status"] == "INFEASIBLE":
        most = f"the most is {r['most_tokens_per_s']:,.2f} tokens/s, proved"
        return f"INFEASIBLE: no fleet of these {r['rows']} workers on {r['gpus']} GPUs reaches the load; {most}"
    lines = [f"{'role':<10} {'workers':>7} {'GPUs each':>9} {'tokens/s each':>14}  shape"]
    lines += [f"{w['role']:<10} {w['count']:>7} {w['gpus']:>9} {w['tokens_per_s']:>14,.2f}  {w['name']}" for w in r["workers"]]
    best = "yields more" if r["objective"]["name"] == "rate" else "reaches the load on fewer GPUs"
    each = f"{r['tokens_per_s_per_gpu']:,.2f} tokens/s for each of the {r['gpus']}"
    proof = f"no mix of the {r['rows']} workers {best}, confirmed by the solver-free checker; rates taken as stated (--json says how)"
    head = f"OPTIMAL: {r['tokens_per_s']:,.2f} tokens/s on {r['gpus_used']} of {r['gpus']} GPUs, {each}"
    return "\n".join([head, "", *lines, "", proof])
