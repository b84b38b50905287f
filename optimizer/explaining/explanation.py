"""What `explain` prints: figures first, one table per question."""

from typing import Any

from optimizer.render import WALL_LIMITED, achieved, columns, milliseconds, objective_amount, plan_table, trust

Json = dict[str, Any]

SCALES = {
    "bytes/s": ((10**12, "TB/s"), (10**9, "GB/s"), (10**6, "MB/s"), (1, "bytes/s")),
    "FLOP/s": ((10**15, "PFLOP/s"), (10**12, "TFLOP/s"), (10**9, "GFLOP/s"), (1, "FLOP/s")),
    "bytes": ((10**9, "GB"), (10**6, "MB"), (1, "bytes")),
    "ns": ((10**6, "ms"), (10**3, "us"), (1, "ns")),
    "ppm": ((10**4, "%"),),
}
TOO_LONG = {
    "computation": "computation alone takes too long",
    "communication": "with communication it takes too long",
    "best_split": "even the best split takes too long",
}
TOO_DEAR = {
    "computation": "above the best by computation alone",
    "communication": "above the best with communication",
    "best_split": "above the best even with the best split",
}
BOUND_SENTENCES = {"ns": TOO_LONG, "gpus": dict.fromkeys(TOO_LONG, "uses more GPUs")}  # by the objective's unit; TOO_DEAR for others
OPEN = ("undecided", "effort", "wall clock")


def amount(value: int, unit: str) -> str:
    """Five significant digits in a unit that suits; exact figures are in the JSON."""
    scale, name = next((pair for pair in SCALES[unit] if value >= pair[0]), SCALES[unit][-1])
    return f"{value / scale:.5g} {name}"


def explain_text(r: Json) -> str:
    """What `explain` prints."""
    parts = [_verdict(r), _limits(r), _terms(r), _stopped(r), _neighbours(r), _break_even(r), _ledger(r)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _verdict(r: Json) -> list[str]:
    """The plan, how it stands, and the better plan where there is one."""
    filled = f" (filled in: {', '.join(r['filled_in'])})" if r["filled_in"] else ""
    lines, value = [f"{r['instance']['name']}: plan {r['plan']['label']}{filled}"], ""
    if r["value"] is not None:
        value = achieved(r["value"], r["objective"], r["plan"]["metrics"])
    match r["status"]:
        case "OPTIMAL":
            lines += [f"OPTIMAL in {r['space']}: {value}, no plan is below", *plan_table([r["plan"]])]
        case "NOT_OPTIMAL":
            better = "the optimum" if r["better_is_optimal"] else "a better plan"
            lines += [f"NOT OPTIMAL in {r['space']}: {value}; {better} (second line) saves {r['gain_pct']:g} %"]
            lines += plan_table([r["plan"], r["better"]])
        case "INFEASIBLE":
            lines.append("INFEASIBLE: the plan cannot run")
        case _ if r["value"] is None:
            lines.append("UNKNOWN: the best completion found of the plan cannot run; another may")
        case _:
            lines += [f"UNKNOWN: {value}, no better plan was found, the lower bound is {_value(r['bound'], r)}", *plan_table([r["plan"]])]
    return [*lines, *([] if r["reproducible"] else [WALL_LIMITED]), trust(r)]


def _value(value: int | None, r: Json) -> str:
    return "" if value is None else objective_amount(value, r["objective"])


def _limits(r: Json) -> list[str]:
    rows = [("limit", "where", "need", "have", "used", "parts")]
    for limit in r.get("limits", []):
        need, have = (amount(limit[side], limit["unit"]) for side in ("need", "have"))
        parts = ", ".join(f"{name} {amount(size, 'bytes')}" for name, size in limit["parts"].items() if size)
        used = f"{100 * limit['need'] / limit['have']:.1f} %" if limit["have"] else ""
        rows.append((limit["rule"], limit["where"], need, have, used, parts))
    return ["limits, tightest first", *columns(rows)] if len(rows) > 1 else []


def _terms(r: Json) -> list[str]:
    terms = [t for t in r.get("terms", []) if t["ns"] or t["best_ns"]]
    if not terms:
        return []
    rows = [("term", "plan", "best", "difference", "saved if free")]
    for t in sorted(terms, key=lambda t: -max(abs(t["ns"]), abs(t["best_ns"]))):
        figures = signed(t["ns"], ""), signed(t["best_ns"], ""), signed(t["ns"] - t["best_ns"], "+")
        rows.append((t["term"], *figures, _shares(t["saved_if_free_ns"], t["ns"])))
    whole = _shares(r["saved_if_free_ns"], r["plan"]["metrics"]["step_ns"])
    return ["where the time goes, against the best plan", *columns(rows), f"  of the whole pass, saved if free: {whole}"]


def signed(ns: int, plus: str) -> str:
    """ns as ms; `plus` goes before what is above 0."""
    return ("-" if ns < 0 else plus if ns else "") + milliseconds(abs(ns))


def _shares(saved: dict[str, int], whole: int) -> str:
    found = sorted(((ns, name) for name, ns in saved.items() if whole > 0 and 200 * ns >= whole), reverse=True)
    return ", ".join(f"{name} {100 * ns / whole:.0f} %" for ns, name in found)


def _stopped(r: Json) -> list[str]:
    """The broken rules, each with its worst case, and what would mend them."""
    if "smallest_set" not in r:
        return []
    found, room = r["smallest_set"], r["least_memory"]
    tried = f"the fewest of {found['completions_tried']} completions tried"
    how = "no completion of the plan breaks fewer" if found["proved_smallest"] else tried
    lines = [f"smallest set of broken rules: {', '.join(found['rules'])} ({how})"]
    for rule in found["rules"]:
        broken = sorted((v for v in found["broken"] if v["rule"] == rule), key=lambda v: -(v["need"] or 0))
        more = f"; {len(broken) - 1} more like it" if len(broken) > 1 else ""
        lines.append(f"  {rule}: {broken[0]['sentence']}{more}")
    if room is not None and room["runs"]:
        lines.append(f"runs with {room['need']:,} bytes of memory per GPU ({amount(room['need'], 'bytes')}), not with less")
    elif room is not None:
        lines.append(f"more memory alone does not make it run: {room['rule']}")
    rows = [(o["label"], "changes " + ", ".join(o["changed"]), _value(o["value"], r)) for o in r["nearest_that_run"]]
    lines += ["nearest strategies that run", *columns(rows)] if rows else []
    return lines + (["the best plan", *plan_table([r["best"]])] if r["best"] is not None else [])


def _neighbours(r: Json) -> list[str]:
    rows = [("move", "strategy", "value", "against the plan")]
    for n in r["neighbours"]:
        move = f"{n['degree']} {'x 2' if n['factor'] > 1 else '/ 2'}"
        behind = "" if n["dearer_pct"] is None else f"{n['dearer_pct']:+.2f} %"
        rows.append((move, n["label"], _value(n["value"], r), f"{n['rule']}: {n['sentence']}" if n["rule"] else behind))
    return ["a degree doubled or halved, with as few others as can be, on as many GPUs", *columns(rows)] if len(rows) > 1 else []


def _break_even(r: Json) -> list[str]:
    """A row for each coefficient that can make the plan win or of which something is open; the others in a list."""
    rows, never = [("coefficient", "today", "wins at", "change", "proved not optimal in", "beyond")], []
    for b in r["break_even"]:
        sides, unit = (b["down"], b["up"]), b["unit"]
        ends = [b["now"] if side["not_optimal_to"] is None else side["not_optimal_to"] for side in sides]
        proved = f"{amount(ends[0], unit)} to {amount(ends[1], unit)}" + (" (points only)" if b["coefficient"] == "skew" else "")
        if all(side["ended"] == "whole range beaten" for side in sides):
            never.append((b["coefficient"], amount(b["now"], unit), proved))
            continue
        wins = "-" if b["wins_at"] is None else amount(b["wins_at"], unit)
        times = f"x {b['times']:g}" if b["times"] is not None else ""
        beyond = [f"{name}: {side['ended']}" for name, side in zip(("below", "above"), sides, strict=True) if side["ended"] in OPEN]
        rows.append((b["coefficient"], amount(b["now"], unit), wins, times, proved, ", ".join(beyond)))
    lines = ["what would have to change, alone, for the plan to win", *columns(rows)] if len(rows) > 1 else []
    return lines + (
        ["no value in these ranges makes it win, proved", *columns([("coefficient", "today", "range"), *never])] if never else []
    )


def _ledger(r: Json) -> list[str]:
    found = r["ledger"]
    if found is None:
        return ["no ledger and no break-even values: a limit ended the enumeration (raise --effort or --seconds)"]
    sentences = BOUND_SENTENCES.get(r["objective"]["unit"], TOO_DEAR)
    rows = [(f"{n:,}", f"cannot run: {rule}") for rule, n in found["rules"].items()]
    rows += [(f"{n:,}", sentences[bound]) for bound, n in found["bounds"].items() if n]
    near = f"within {found['near_ppm'] / 10_000:g} % of the best" + ("" if found["value_is_optimal"] else " found")
    rows += [(f"{found['near']:,}", near)] if found["near"] else []
    rows += [(f"{found['best']:,}", "optimal" if found["value_is_optimal"] else "not refuted")] if found["best"] else []
    return [f"ledger of {found['strategies']:,} strategies that keep the divisibility rules", *(columns(rows) if rows else [])]
