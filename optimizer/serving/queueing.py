"""Waits for a first token by a formula instead of a replay: M/G/k, approximated. Nothing here is part of a proof.

Mean: Lee and Longton, Operational Research Quarterly 10(1), 1959, pp. 56-71, for Poisson arrivals; with the variation of
arrivals beside that of service, Allen and Cunneen (Allen, Probability, Statistics, and Queueing Theory, 2nd ed., 1990): the wait
of M/M/k (Erlang's C formula) times half the sum of the squared coefficients of variation. Exact for M/M/k and, by Pollaczek and
Khinchine, for M/G/1. Tail: who waits at all waits an exponential time, as in M/M/k.
"""

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

from models.fleet_plan import figures_of
from models.serving import gathering_ns
from models.units import NS_PER_S
from optimizer.serving.arrivals import Lengths
from optimizer.serving.deployment import Unit
from optimizer.serving.means import mean_field
from optimizer.serving.prices import Prices

NAME = "M/G/k, Allen-Cunneen"
POISSON = 1.0  # squared coefficient of variation of the gaps of a Poisson process
GATHERING = (
    "Aggregated workers of several data-parallel ranks yield what is said while every rank has a prompt in each round of prefills: have "
    "the engine hold prompts back until then (TensorRT-LLM: attention_dp_config, enable_balance and timeout_iters); one that prefills "
    "whatever has come yields far less (`simulate --eager`)."
)
QUEUEING_ASSUMPTIONS = (
    "M/G/k: prefill workers are k equal servers of prompts behind one queue, each as fast as on full passes; of aggregated workers the "
    "slots are, each held by a request for as long as when all are; who waits at all waits an exponential time.",
    "Then a prompt of a prefill worker waits, where passes hold c > 1 prompts, for the next pass: (1 - 1/c) of half a pass for each of k "
    "workers, when all are busy; and takes the largest pass that the prompts which come during it suffice for. One of an aggregated worker "
    "waits until every data-parallel rank has a prompt, as at the full rate.",
)


class Wait(NamedTuple):
    """The wait in one queue."""

    waits: float
    """share of requests that wait at all"""
    mean_ns: float
    """over all requests"""

    def beyond(self, ns: float) -> float:
        """Share of requests that wait longer: waits * exp(-t * waits / mean)."""
        if ns < 0:
            return 1.0
        return self.waits * exp(-ns * self.waits / self.mean_ns) if self.mean_ns else 0.0

    def quantile_ns(self, share: float) -> float:
        """What this share of requests waits at most."""
        return 0.0 if self.waits <= 1 - share else self.mean_ns / self.waits * log(self.waits / (1 - share))


class Waiting(NamedTuple):
    """Waits of a fleet's requests before their prefill, and their times to the first token, ns."""

    mean_ns: float
    p95_ns: float
    ttft_mean_ns: float
    ttft_p95_ns: float
    assumed: tuple[str, ...]


class _Queue(NamedTuple):
    """One side of a fleet, ns."""

    share: float
    wait: Wait
    gate_ns: float
    """mean wait for the next pass of those that need not queue for it, the longest being twice as long"""
    pass_ns: float
    """to the first token, from the beginning of the prefill"""


def erlang_c(servers: int, offered: float) -> float:
    """Probability that a customer of M/M/k waits; `offered` is arrival rate * service time, below `servers`.

    By the recursion of Erlang's loss formula, B(n) = a B(n-1) / (n + a B(n-1)); C = k B / (k - a (1 - B)).
    """
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return servers * blocked / (servers - offered * (1 - blocked))


def queue_wait(servers: int, service_ns: float, requests_per_s: float, arrivals_cv2: float, service_cv2: float) -> Wait | None:
    """The wait of G/G/k: C(k, a) * service / (k - a) * (Ca^2 + Cs^2) / 2; None where it grows without end."""
    offered = requests_per_s * service_ns / NS_PER_S
    if offered >= servers:
        return None
    waits = erlang_c(servers, offered)
    return Wait(waits, waits * service_ns / (servers - offered) * (arrivals_cv2 + service_cv2) / 2)


def waiting(
    units: Sequence[Unit], requests_per_s: float, arrivals_cv2: float = POISSON, prompts_cv2: float = 0.0, outputs_cv2: float = 0.0
) -> Waiting | None:
    """The waits of a fleet at a load, shared out in proportion to what its sides yield; None where the load is more than it bears.

    Squared coefficients of variation: of the gaps between requests, and of the lengths of their prompts and outputs.
    """
    means = mean_field(units)
    if requests_per_s * NS_PER_S >= means.rate:
        return None
    found = []
    for role, rate, queue_of in (("aggregated", means.aggregated, _slot_queue), ("prefill", means.disaggregated, _pass_queue)):
        if rate:
            share = rate / means.rate
            side = [unit for unit in units if unit.workers.role == role]
            queue = queue_of(side, share, share * requests_per_s, arrivals_cv2, outputs_cv2 if role == "aggregated" else prompts_cv2)
            if queue is None:
                return None
            found.append(queue)
    mean_ns = sum(q.share * (q.wait.mean_ns + q.gate_ns) for q in found)
    p95_ns = _quantile_ns([q._replace(pass_ns=0.0) for q in found], 0.95)
    ttft_ns = mean_ns + sum(q.share * q.pass_ns for q in found)
    return Waiting(mean_ns, p95_ns, ttft_ns, _quantile_ns(found, 0.95), QUEUEING_ASSUMPTIONS)


def gathers(units: Sequence[Unit]) -> bool:
    """Whether prompts have to wait for others: some aggregated worker has several data-parallel ranks."""
    return any(unit.workers.role == "aggregated" and unit.worker.cut.strategy.dp > 1 for unit in units)


def _slot_queue(units: Sequence[Unit], share: float, requests_per_s: float, arrivals_cv2: float, length_cv2: float) -> _Queue | None:
    """The queue before the slots of aggregated workers; then until every rank has a prompt, and the first token."""
    workers = [(unit.copies, figures_of(unit.workers, unit.worker)) for unit in units]
    rate, slots = sum(n * f.rate for n, f in workers), sum(n * f.in_flight for n, f in workers)
    held_ns = slots * NS_PER_S * NS_PER_S / rate
    of_requests = [(n * f.rate / rate, f) for n, f in workers]
    spread = sum(weight * (f.in_flight * NS_PER_S * NS_PER_S / max(1, f.rate) / held_ns) ** 2 for weight, f in of_requests)
    wait = queue_wait(slots, held_ns, requests_per_s, arrivals_cv2, spread * (1 + length_cv2) - 1)
    gate_ns = sum(weight * gathering_ns(f.ranks, 1, NS_PER_S * NS_PER_S // max(1, f.rank_rate)) for weight, f in of_requests)
    first_ns = sum(weight * f.ttft_ns for weight, f in of_requests)
    return None if wait is None else _Queue(share, wait, gate_ns, first_ns - gate_ns)


class _Server(NamedTuple):
    """Workers alike, as servers of prompts."""

    prices: Prices
    copies: int
    service_ns: float
    """of one prompt, on full passes"""


def _server(unit: Unit) -> _Server:
    asked = unit.workers.service.workload
    prices = Prices(unit, Lengths(asked.input_tokens, asked.output_tokens))
    return _Server(prices, unit.copies, NS_PER_S * NS_PER_S / max(1, prices.figures.rate))


def _pass_queue(units: Sequence[Unit], share: float, requests_per_s: float, arrivals_cv2: float, length_cv2: float) -> _Queue | None:
    """The queue before prefill workers of several speeds: as many of their mean speed, whose times vary as theirs do."""
    servers = [_server(unit) for unit in units]
    number, rate = sum(s.copies for s in servers), sum(s.copies / s.service_ns for s in servers)
    service_ns = number / rate
    spread = sum(s.copies * s.service_ns for s in servers) / rate / service_ns**2  # mean square over squared mean
    wait = queue_wait(number, service_ns, requests_per_s, arrivals_cv2, spread * (1 + length_cv2) - 1)
    if wait is None:
        return None
    gate_ns = pass_ns = 0.0
    for server in servers:
        weight = server.copies / server.service_ns / rate
        held, period_ns, first_ns = _largest_pass(server, requests_per_s / rate / server.service_ns)
        busy = min(1.0, requests_per_s / rate / server.service_ns * period_ns / NS_PER_S)
        gate_ns += weight * (1 - 1 / held) * period_ns / (2 * number) * erlang_c(number, busy * number)
        pass_ns += weight * first_ns
    return _Queue(share, wait, gate_ns, pass_ns)


def _largest_pass(server: _Server, requests_per_s: float) -> tuple[int, float, float]:
    """Prompts that a worker's passes have room for; then of the largest pass that so many requests fill, ns: it, and to its first tokens.

    A pass of b prompts on the busiest of r ranks has more than (b - 1) r prompts: as many must come in its time.
    """
    prices, ranks = server.prices, server.prices.ranks
    batch = prices.unit.worker.batch
    passes = [prices.prefill(b, prices.stated_tokens) for b in range(1, batch + 1)]
    kept = (p for b, p in reversed(tuple(enumerate(passes))) if requests_per_s * prices.period_ns(p) / NS_PER_S >= b * ranks + 1)
    found = next(kept, passes[0])
    return batch * ranks, prices.period_ns(found), prices.first_token_ns(found)


def _quantile_ns(queues: Sequence[_Queue], share: float) -> float:
    """What this share of all requests waits at most, by bisection: in the queue, for the longest time to the next pass, and for its end."""

    def later(ns: float) -> float:
        return sum(q.share * q.wait.beyond(ns - 2 * q.gate_ns - q.pass_ns) for q in queues)

    low, high = 0.0, max(2 * q.gate_ns + q.pass_ns + q.wait.quantile_ns(share) for q in queues)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if later(middle) > 1 - share else (low, middle)
    return high
