"""What `search` prints of a service."""

from typing import Any

from models.units import PPM
from optimizer.serving.queueing import PARTLY_FULL

Json = dict[str, Any]
MS = 1_000_000


def service_text(r: Json) -> str:
    """The fleet, what it delivers, and what is proved of it."""
    if not r["optimal"]:
        return "\n".join(_without_fleet(r))
    fleet = r["optimal"][0]
    space = r["space"]
    proof = f"{r['status']}: {_proved(r)}; {space['workers']} workers of {space['sizes']} sizes, each with every batch, bounded"
    return "\n".join(
        [
            _head(r, fleet["metrics"]),
            "",
            *service_table(fleet["workers"]),
            "",
            *_waits(fleet["metrics"]),
            _queues(fleet["queueing"]),
            "",
            proof,
        ]
    )


def _head(r: Json, m: Json) -> str:
    rate = f"{m['tokens_per_s']:,.1f} tokens/s ({m['requests_per_s']:,.3f} requests/s)"
    each = f"{m['tokens_per_s_per_gpu']:,.2f} tokens/s for each of {m['gpus_in_use'] + m['gpus_idle']} GPUs"
    return f"{r['instance']['name']}: {rate}, {each}, {m['gpus_idle']} idle"


def _proved(r: Json) -> str:
    if r["status"] == "OPTIMAL":
        return f"no fleet of the space does better on {r['objective']['name']}, confirmed by the solver-free checker (mean-field rates)"
    return f"no fleet does better than {r['objective']['bound']} {r['objective']['unit']}, {r['gap_ppm'] / (PPM // 100):.2f} % away"


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


def _queues(q: Json) -> str:
    if not q["holds"]:
        return f"note: {PARTLY_FULL[:1].lower()}{PARTLY_FULL[1:]}"
    if q["ttft_mean_ns"] is None:
        return (
            f"at {q['requests_per_s']:,.3f} requests/s queues grow without end: count on a share of the rates (workload.*_utilisation_ppm)"
        )
    waits = f"TTFT {_ms(q['ttft_mean_ns'])} ms on average, 95 % within {_ms(q['ttft_p95_ns'])} ms"
    return f"with queues at {q['requests_per_s']:,.3f} requests/s: {waits} ({q['model']}; `simulate` replays it)"


def _without_fleet(r: Json) -> list[str]:
    name = r["instance"]["name"]
    if r["status"] == "UNKNOWN":
        why = "within the effort" if r["limited"] else "that can be laid out, with domains whole and replicas on nodes of their own"
        bound = f"none does better than {r['objective']['bound']} {r['objective']['unit']}"
        return [f"UNKNOWN: {name}: no fleet found {why}; {bound}"]
    if "why" in r:
        return [f"INFEASIBLE: {name}: {r['why']}, proved"]
    if "closest" not in r:
        return [f"INFEASIBLE: {name}: no fleet reaches the load, proved; the most is {r['most_requests_per_s']:,.3f} requests/s"]
    lines = [f"INFEASIBLE: {name}: no worker keeps the limits, or none of a role that is needed; proved. The closest:"]
    return lines + [_closest(what, wait) for what, wait in r["closest"].items()]


def _closest(what: str, wait: Json | None) -> str:
    who, rule = what.rsplit(": ", 1)
    if wait is None:
        return f"  {who}: no worker fits memory"
    return f"  {who}: the least {rule.removesuffix('_ns').upper()} is {_ms(wait['least'])} ms ({wait['label']}, one sequence per rank)"
