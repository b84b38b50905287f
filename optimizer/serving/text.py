"""What `search` prints of a service."""

from typing import Any

from models.units import PPM
from optimizer.serving.queueing import GATHERING
from optimizer.serving.shortfall_text import shortfall_lines, what_stops

Json = dict[str, Any]
MS = 1_000_000


def service_text(r: Json) -> str:
    """The fleet, what it delivers, and what is proved of it."""
    if not r["optimal"]:
        return "\n".join(_without_fleet(r))
    fleet = r["optimal"][0]
    space = r["space"]
    looked = f"{space['workers']} workers of {space['sizes']} sizes, each with every batch, {'not all ' if r['limited'] else ''}bounded"
    proof = f"{r['status']}: {_proved(r)}; {looked}"
    waits = [*_waits(fleet["metrics"]), *_queues(fleet["queueing"]), *_after_loss(fleet["after_worst_node_loss"])]
    return "\n".join([_head(r, fleet["metrics"]), "", *service_table(fleet["workers"]), "", *waits, "", proof])


def shown(unit: str, value: int) -> str:
    """A value of the objective for reading."""
    match unit:
        case "gpus":
            return f"{value} GPUs"
        case "micro-USD/h":
            return f"{value / 1e6:,.2f} USD/h"
        case "micro-USD/h per 1000 requests/s":
            return f"{value / 1e6:,.2f} USD/h per 1,000 requests/s"
        case "requests in 10^9 s per GPU in use":
            return f"{value / 1e9:,.4f} requests/s per GPU in use"
        case _:
            return f"{value / 1e9:,.3f} requests/s"


def fleet_line(m: Json, objective: Json, value: int | None) -> str:
    """What a fleet delivers on how many GPUs; first its objective, where that is another."""
    rate = f"{m['tokens_per_s']:,.1f} tokens/s ({m['requests_per_s']:,.3f} requests/s)"
    have = m["gpus_in_use"] + m["gpus_idle"]
    own = "" if value is None or objective["name"] == "throughput" else f"{shown(objective['unit'], value)}: "
    return f"{own}{rate}, {m['tokens_per_s_per_gpu']:,.2f} tokens/s for each of {have} GPUs, {m['gpus_idle']} idle"


def _head(r: Json, m: Json) -> str:
    return f"{r['instance']['name']}: {fleet_line(m, r['objective'], r['objective']['value'])}"


def _proved(r: Json) -> str:
    if r["status"] == "OPTIMAL":
        return f"no fleet of the space does better on {r['objective']['name']}, confirmed by the solver-free checker (mean-field rates)"
    bound = f"no fleet does better than {shown(r['objective']['unit'], r['objective']['bound'])}, {r['gap_ppm'] / (PPM // 100):.2f} % away"
    return bound + limit_said(r)


def limit_said(r: Json) -> str:
    """Which limit ended the search, if any."""
    if r.get("wall_limited"):
        return "; the time limit was reached, so that this is not reproducible"
    return "; the limit of the effort was reached" if r.get("limited") else ""


def service_table(workers: list[Json]) -> list[str]:
    sizes = f"{'role':<10} {'pool':<8} {'workers':>7} {'GPUs each':>9} {'requests/s':>10} {'batch':>6}"
    return [f"{sizes} {'TTFT ms':>8} {'TPOT ms':>8} {'memory':>7}  degrees", *(_row(w) for w in workers)]


def _row(w: Json) -> str:
    m = w["metrics"]
    figures = f"{w['count']:>7} {w['gpus']:>9} {m['requests_per_s']:>10,.3f} {w['batch']:>6} {_ms(m['ttft_ns']):>8} {_ms(m['tpot_ns']):>8}"
    chunks = f", {w['chunks']} chunks" if w["chunks"] > 1 else ""
    return f"{w['role']:<10} {w['pool'][:8]:<8} {figures} {m['memory_pct']:>6.1f}%  {w['label']}{chunks}"


def _ms(ns: int | None) -> str:
    return "-" if ns is None else f"{ns / MS:,.1f}"


def _waits(m: Json) -> list[str]:
    user = "" if m["tokens_per_s_per_user"] is None else f", {m['tokens_per_s_per_user']:,.1f} tokens/s per user"
    waits = f"at full batches TTFT {_ms(m['ttft_ns'])} ms, TPOT {_ms(m['tpot_ns'])} ms, request {m['request_ns'] / 1e9:,.2f} s{user}"
    lines = [f"{waits}; {m['in_flight']:,} in flight"]
    if "uusd_per_million_tokens" in m:
        lines.append(f"{m['uusd_per_hour'] / PPM:,.2f} USD/h, {m['uusd_per_million_tokens'] / PPM:,.4f} USD per million output tokens")
    return lines


def _after_loss(loss: Json) -> list[str]:
    """Where replicas are asked for: what is left after the loss of a node."""
    if loss["min_workers"] == 1:
        return []
    left = f"{loss['requests_per_s']:,.3f} requests/s, {loss['left_pct']:.1f} % of all"
    return [f"after the worst loss of one node (node {loss['node']} of {loss['pool']}, counted from 0): {left}"]


def _queues(q: Json) -> list[str]:
    rate = f"{q['requests_per_s']:,.3f} requests/s"
    waits = f"TTFT {_ms(q['ttft_mean_ns'])} ms on average, 95 % within {_ms(q['ttft_p95_ns'])} ms"
    said = f"with queues at {rate}: {waits} ({q['model']}; `simulate` replays it)"
    if q["ttft_mean_ns"] is None:
        said = f"at {rate} queues grow without end: count on a share of the rates (workload.*_utilisation_ppm)"
    return [said, f"note: {GATHERING[:1].lower()}{GATHERING[1:]}"] if q["gathers"] else [said]


def _without_fleet(r: Json) -> list[str]:
    name = r["instance"]["name"]
    if r["status"] == "UNKNOWN":
        why = "within the effort" if r["limited"] else "that can be laid out, with domains whole and replicas on nodes of their own"
        bound = f"none does better than {shown(r['objective']['unit'], r['objective']['bound'])}"
        return [f"UNKNOWN: {name}: no fleet found {why}; {bound}{limit_said(r)}"]
    if "why" in r:
        return [f"INFEASIBLE: {name}: {r['why']}, proved"]
    if "closest" not in r:
        return [f"INFEASIBLE: {name}: no fleet reaches the load, proved; the most is {r['most_requests_per_s']:,.3f} requests/s"]
    return [f"INFEASIBLE: {name}: {what_stops(r['closest'])}, proved:", *shortfall_lines(r["closest"])]
