"""`simulate`: reads the arrivals, replays them, and sets what requests saw beside the means that are proved and a queueing formula."""

import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from models.errors import InputError
from models.fleet import ROLES
from models.fleet_plan import FleetFile, worker_violations
from models.service import Service
from models.units import NS_PER_S, PPM
from optimizer.serving.agenda import Request
from optimizer.serving.arrivals import Arrival, Lengths, draw_poisson, mean_lengths, offered_per_s
from optimizer.serving.asking import DEFAULT_UTILISATION_PPM, LEAST_LIVES, LEAST_PER_S, MOST_PER_S, MOST_REQUESTS, Asked, enough_requests
from optimizer.serving.deployment import Unit, complete
from optimizer.serving.means import MISSING_ROLES, MeanField, mean_field
from optimizer.serving.prices import Prices, resized
from optimizer.serving.queueing import NAME, POISSON, Waiting, gathers, waiting
from optimizer.serving.report import service_header
from optimizer.serving.simulate import EAGER, GATHERS, REPLAY_ASSUMPTIONS, ROUTER, Fleet, replay
from optimizer.serving.traces import read_trace
from optimizer.serving.waits import WARM_UP_PCT, Seen, Spread, counted, falls_behind, summary

Json = dict[str, Any]

WAITS = ("ttft", "tpot", "request")  # limits on these are what a replay may show to be missed


class Arrivals(NamedTuple):
    """Arrivals, and how many come in a second."""

    kind: str
    arrivals: tuple[Arrival, ...]
    requests_per_s: float | None
    """None where all come at once"""
    trace: Path | None = None


def run_simulate(service: Service, plan: FleetFile, origin: str, asked: Asked) -> Json:
    """Replay and report. Raises InputError for a fleet that cannot run, and for arrivals that cannot be read."""
    started = time.monotonic()
    stated = complete(service, plan, origin)
    _check_runs(service, stated, origin)
    given = _arrivals(service, mean_field(stated), origin, asked)
    lengths = mean_lengths(given.arrivals)
    units = [resized(unit, lengths) for unit in stated]
    means = mean_field(units)
    fleet = Fleet([(Prices(unit, lengths), unit.copies) for unit in stated], means, asked.eager)
    requests = replay(fleet, given.arrivals)
    seen = summary(requests, service.objective.limits)
    queueing = None if asked.eager and gathers(units) else _queueing(units, given)
    head = service_header("simulate", "SIMULATED", service, asked.seed, time.monotonic() - started)
    return {
        **head,
        "assumptions": [*head["assumptions"], *_assumptions(service, means, queueing, lengths), *_of_rounds(units, asked.eager)],
        "notes": _notes(given, means, requests, seen),
        "arrivals": _arrivals_json(given, lengths, len(counted(requests))),
        **{f"{name}_ms": _spread_json(getattr(seen, name)) for name in WAITS},
        "tokens_per_s": round(seen.tokens_per_s, 3),
        "requests_per_s": round(seen.requests_per_s, 6),
        "utilisation": _utilisation(given, means),
        "mean_field": {
            "ttft_ms": _ms(means.ttft_ns),
            "tpot_ms": _ms(means.tpot_ns),
            "request_ms": _ms(means.request_ns(lengths.output_tokens)),
            "requests_per_s": round(means.rate / NS_PER_S, 6),
        },
        "queueing": _queueing_json(queueing),
        "limits_ms": {name: _limit_ms(service, name) for name in WAITS},
        "within_limits": _shares(seen),
    }


def _check_runs(service: Service, units: Sequence[Unit], origin: str) -> None:
    """Raises InputError where a worker breaks a rule other than a limit on waits, or a pool has too few GPUs."""
    for n, unit in enumerate(units):
        broken = next((v for v in worker_violations(unit.workers, unit.worker) if v.rule not in WAITS), None)
        if broken is not None:
            raise InputError(f"{origin}: workers.{n}: cannot run ({broken.rule}): {broken.sentence}; change its degrees, chunks or batch")
    for pool in service.cluster.pools:
        used = sum(u.copies * u.worker.cut.strategy.gpus for u in units if u.workers.pool.name == pool.name)
        if used > pool.gpus:
            raise InputError(f"{origin}: workers: take {used} GPUs of pool {pool.name}, which has {pool.gpus}; use fewer workers")
    if not mean_field(units).rate:
        raise InputError(f"{origin}: workers: serve no request; {MISSING_ROLES}")


def _arrivals(service: Service, means: MeanField, origin: str, asked: Asked) -> Arrivals:
    if asked.trace is not None:
        found = read_trace(asked.trace, service.workload.input_tokens)
        return Arrivals("trace", found, offered_per_s(found), asked.trace)
    rate, load = asked.requests_per_s, service.load()
    if rate is None and asked.utilisation_ppm is None and load is not None:
        rate = load / NS_PER_S
    elif rate is None:
        rate = means.rate / NS_PER_S * (asked.utilisation_ppm or DEFAULT_UTILISATION_PPM) / PPM
    if not LEAST_PER_S <= rate <= MOST_PER_S:
        raise InputError(f"{origin}: {rate:g} requests/s cannot be replayed; give --rate from {LEAST_PER_S:g} to {MOST_PER_S:g}")
    number = asked.requests or enough_requests(rate, means.request_ns(service.workload.output_tokens))
    return Arrivals("poisson", draw_poisson(service, rate, number, asked.seed), rate)


def _queueing(units: Sequence[Unit], given: Arrivals) -> Waiting | None:
    """The queueing formula at the rate and variation of the arrivals."""
    if given.requests_per_s is None:
        return None
    gaps = [b.at_ns - a.at_ns for a, b in zip(given.arrivals, given.arrivals[1:], strict=False)]
    of_gaps = POISSON if given.kind == "poisson" else _cv2(gaps)
    prompts, outputs = ([getattr(a, f"{name}_tokens") for a in given.arrivals] for name in ("input", "output"))
    return waiting(units, given.requests_per_s, of_gaps, _cv2(prompts), _cv2(outputs))


def _cv2(found: Sequence[int]) -> float:
    """Squared coefficient of variation."""
    mean = fmean(found)
    return fmean((x / mean - 1) ** 2 for x in found) if mean else 0.0


def _utilisation(given: Arrivals, means: MeanField) -> float | None:
    return None if given.requests_per_s is None else round(given.requests_per_s * NS_PER_S / means.rate, 4)


def _notes(given: Arrivals, means: MeanField, requests: Sequence[Request], seen: Seen) -> list[str]:
    """What the reader must know before the figures."""
    life_ns = seen.request.mean
    span_ns, own_ns = given.arrivals[-1].at_ns, means.request_ns(mean_lengths(given.arrivals).output_tokens)
    found = []
    share = _utilisation(given, means)
    if share is None or share >= 1:
        found.append("more requests come than the fleet yields on average: queues grow to the end, and waits tell how long the replay was")
    elif falls_behind(requests) and span_ns > LEAST_LIVES * own_ns:
        found.append("the fleet yields less than its means: queues grow to the end, and waits tell how long the replay was")
    elif span_ns < LEAST_LIVES * life_ns:
        needed = round(LEAST_LIVES * life_ns * (given.requests_per_s or 0) / NS_PER_S)
        remedy = (
            f"give --requests {min(MOST_REQUESTS, max(1000, round(2 * needed, -3)))}" if given.kind == "poisson" else "give a longer trace"
        )
        span = f"the arrivals span {span_ns / 1e9:.1f} s, a request takes about {life_ns / 1e9:.1f} s"
        found.append(f"{span}: the fleet was hardly ever as full as it gets; {remedy}")
    return found


def _assumptions(service: Service, means: MeanField, queueing: Waiting | None, lengths: Lengths) -> list[str]:
    """What the replay rests on, beside the cost model."""
    said, asked = list(REPLAY_ASSUMPTIONS), service.workload
    if means.aggregated and means.disaggregated:
        said.append(ROUTER)
    if any(asked.utilisation_ppm(role) < PPM for role in ROLES):
        said.append("Mean-field rates are those of workers that are always busy, before the share of them that the service counts on.")
    if lengths != (asked.input_tokens, asked.output_tokens):
        trace = f"{lengths.input_tokens} and {lengths.output_tokens} tokens on average"
        said += [
            f"The trace's lengths are {trace}, the service's {asked.input_tokens} and {asked.output_tokens}: means, formula and decode "
            "steps are those of the trace's mean; slots and batches are as stated, whether or not longer caches fit.",
            "A prompt is priced at its length rounded up to an eighth of the service's, in chunks of the stated length; a pass at the mean "
            "length on its busiest rank.",
        ]
    said.append(
        f"The first {WARM_UP_PCT} % of the requests are not counted; percentiles are by nearest rank; rates are those between the end of "
        f"{WARM_UP_PCT} % of the requests and the last one's first decode step."
    )
    return [*said, *(queueing.assumed if queueing else ())]


def _of_rounds(units: Sequence[Unit], eager: bool) -> list[str]:
    """How rounds of prefills begin, where that matters."""
    return [EAGER if eager else GATHERS] if gathers(units) else []


def _arrivals_json(given: Arrivals, lengths: Lengths, kept: int) -> Json:
    rate = given.requests_per_s
    found: Json = {
        "kind": given.kind,
        "requests": len(given.arrivals),
        "counted": kept,
        "requests_per_s": None if rate is None else round(rate, 6),
        "input_tokens_mean": lengths.input_tokens,
        "output_tokens_mean": lengths.output_tokens,
    }
    if given.trace is None:
        return found
    listed = "\n".join(f"{a.at_ns},{a.input_tokens},{a.output_tokens}" for a in given.arrivals)
    return found | {"trace": given.trace.name.encode(errors="backslashreplace").decode(), "sha256": sha256(listed.encode()).hexdigest()}


def _queueing_json(found: Waiting | None) -> Json:
    mean, p95 = (None, None) if found is None else (_ms(found.ttft_mean_ns), _ms(found.ttft_p95_ns))
    return {"model": NAME, "ttft_mean_ms": mean, "ttft_p95_ms": p95}


def _shares(seen: Seen) -> Json:
    return {name: None if share is None else round(share, 4) for name, share in seen.within.items()}


def _limit_ms(service: Service, name: str) -> float | None:
    limit: int | None = getattr(service.objective.limits, f"{name}_ns")
    return None if limit is None else _ms(limit)


def _spread_json(found: Spread) -> Json:
    return {name: _ms(ns) for name, ns in found._asdict().items()}


def _ms(ns: float) -> float:
    return round(ns / 1e6, 3)
