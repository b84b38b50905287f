"""What `search` prints where no fleet serves: what stops each role."""

from typing import Any

Json = dict[str, Any]
NAMES = {"ttft": "TTFT", "tpot": "TPOT", "request": "request time"}


def what_stops(closest: list[Json]) -> str:
    """The heading: limits, or no worker at all."""
    if any(limit["missed_by_ns"] is not None or _kept_alone(c) for c in closest for limit in c["limits"]):
        return "no fleet keeps the limits"
    return "no worker fits" if all(c["why"] for c in closest) else "no fleet serves a request in 10^9 s"


def _kept_alone(c: Json) -> bool:
    """Whether some limits are kept, but not together."""
    return c["nearest"] is not None and any(w["missed_by_ns"] for w in c["nearest"]["waits"])


def shortfall_lines(closest: list[Json]) -> list[str]:
    """What stops each role: equal reasons together, then its limits."""
    reasons = dict[tuple[str, str], list[str]]()
    for c in closest:
        if c["why"] is not None:
            reasons.setdefault((c["pool"], c["why"]), []).append(c["role"])
    lines = [f"  {', '.join(roles)} on {pool}: {why}" for (pool, why), roles in reasons.items()]
    for c in closest:
        if c["why"] is None:
            kept = not _kept_alone(c)
            who = f"  {c['role']} on {c['pool']}:"
            lines += [f"{who} keeps its limits" if kept else who, *(_promise(limit, len(c["limits"])) for limit in c["limits"])]
            lines += [] if kept or len(c["limits"]) == 1 else [_nearest(c["nearest"])]
    return lines


def _promise(limit: Json, limits: int) -> str:
    """One limit, and the least that can be had beside the others."""
    name, beside = NAMES[limit["wait"]], limit["least_beside_the_others"]
    found = beside or limit["least"]
    source = "" if limit["limit_from"] is None else f" ({limit['limit_from']})"
    others = "" if limits == 1 else " with the other limits kept" if beside else " of any worker"
    least = f"the least {name}{others} is {_up(found['ns'])} ms ({_which(found)})"
    missed = "" if limit["missed_by_ns"] is None else f", {_up(limit['missed_by_ns'])} ms too long"
    alone = "" if beside else "; no worker keeps the other limits"
    return f"    {name}: the limit is {_ms(limit['limit_ns'] // 1000)} ms{source}; {least}{missed}{alone}"


def _nearest(n: Json) -> str:
    waits = [f"{NAMES[w['wait']]} {_up(w['ns'])} ms ({_by(w['missed_by_ns'])})" for w in n["waits"]]
    return f"    nearest to all limits: {_which(n)} with {', '.join(waits)}"


def _by(missed_by_ns: int | None) -> str:
    return "kept" if missed_by_ns is None else f"{_up(missed_by_ns)} ms too long"


def _which(worker: Json) -> str:
    chunks = f", {worker['chunks']} chunks" if worker["chunks"] > 1 else ""
    return f"{worker['label']}, batch {worker['batch']}{chunks}"


def _up(ns: int) -> str:
    """Milliseconds to three digits, up."""
    return _ms(-(-ns // 1000))


def _ms(us: int) -> str:
    return f"{us // 1000:,}.{us % 1000:03}"
