"""Results as plain text, figures first."""

from collections.abc import Iterable, Sequence
from typing import Any

from optimizer.bands import band_sentence

Json = dict[str, Any]
WALL_LIMITED = "the wall limit cut the search short: this result is not reproducible, another run may end elsewhere"


def search_text(r: Json) -> str:
    """What `search` prints."""
    objective, space = r["objective"], r["space"]
    lines = [f"{r['instance']['name']}: {_headline(r)}", ""]
    if r["optimal"]:
        best = r["optimal"][0]
        title = "optimal strategies" if r["status"] == "OPTIMAL" else "best strategy found"
        lines += [title, *plan_table(r["optimal"]), _error(best), *_outside(best), "", *_breakdown(best["metrics"]), ""]
    lines += _reference(r)
    if r["near_optimal"]:
        count, pct = len(r["near_optimal"]), r["epsilon_ppm"] / 10_000
        complete = "" if r["near_optimal_complete"] else ", perhaps not all"
        lines.append(f"within {pct:g} %{complete}: {count} more")
        lines += [f"  {objective_amount(p['value'], objective)}  {p['label']}" for p in r["near_optimal"][:8]]
        lines += [f"  ... and {count - 8} more (--json lists them)"] if count > 8 else []
        lines.append("")
    lines += _robust(r["robust"]) if "robust" in r else []
    if not r["reproducible"]:
        lines.append(WALL_LIMITED)
    lines.append(_space(space))
    lines.append(f"route {r['proof']['route']}, confirmed by the solver-free checker; {trust(r)}")
    return "\n".join(lines)


def _space(space: Json) -> str:
    """How many strategies there are, and what became of those that cannot run."""
    if not space["whole"]:
        seen = f"space {space['name']}: the limit was reached after {space['strategies']} strategies"
        return f"{seen}; the bound is that of all GPUs at their peak (raise --effort or --seconds)"
    feasible = "" if space["feasible"] is None else f", {space['feasible']} can run"
    refuted = ", ".join(f"{n} by {rule}" for rule, n in space["refuted_by_rule"].items())
    tail = f"; refuted: {refuted}" if refuted else ""
    return f"space {space['name']}: {space['strategies']} strategies keep the divisibility rules{feasible}{tail}"


def _headline(r: Json) -> str:
    objective = r["objective"]
    named = f"{objective['name']} " if objective["name"] in ("latency", "throughput", "cost") else ""  # of others the unit says it
    best = named + achieved(objective["value"], objective, r["optimal"][0]["metrics"]) if r["optimal"] else "unknown"
    match r["status"]:
        case "OPTIMAL":
            return f"OPTIMAL in {r['space']['name']}, {best}"
        case "FEASIBLE":
            gap = (r["gap_ppm"] or 0) / 10_000
            bound = objective_amount(objective["bound"], objective)
            if objective["value"] == objective["bound"]:
                return f"FEASIBLE, {best}: no plan is below it, but others that attain it may be missing from the list"
            return f"FEASIBLE, {best}, lower bound {bound} (gap {gap:.2f} %)"
        case "INFEASIBLE":
            return f"INFEASIBLE: no strategy of the space {r['space']['name']} can run"
        case _:
            bound = objective_amount(objective["bound"], objective)
            return f"UNKNOWN: the limit was reached before any plan was found; no plan is below {bound}"


def objective_amount(value: int | None, objective: Json) -> str:
    """An objective value in its own unit: time in ms, cost as the exact integer."""
    match objective["unit"]:
        case _ if value is None:
            return "unknown"
        case "ns":
            return milliseconds(value)
        case "gpu-ns":
            return milliseconds(value).replace("ms", "GPU-ms")
        case "gpus":
            return f"{value:,} GPU{'' if value == 1 else 's'}"
        case unit:
            return f"{value:,} {unit}"


def achieved(value: int | None, objective: Json, m: Json) -> str:
    """What the objective is named after, from a plan's metrics, beside the value that was minimised."""
    amount = objective_amount(value, objective)
    match objective["name"]:
        case "throughput":
            return f"{m['tokens_per_s']:,} tokens/s ({amount})"
        case "throughput_per_gpu":
            return f"{m['tokens_per_s_per_gpu']:,} tokens/s/GPU ({amount})"
        case "cost":
            price = m["uusd_per_million_tokens"]
            return f"${price // 10**6:,}.{price % 10**6:06d} per million tokens ({amount})"
        case _:
            return amount


def milliseconds(ns: int) -> str:
    """ns as ms with three decimals, rounded down; exact figures are in the JSON."""
    return f"{ns // 1_000_000:,}.{ns // 1000 % 1000:03d} ms"


def plan_table(plans: Sequence[Json]) -> list[str]:
    """The figures of up to a dozen plans, one line each."""
    band = plans[0]["metrics"]["error_band"] if plans else None
    off = f" (±{band['median_pct']:g} %)" if band else ""  # the median error of such predictions
    rows = [("strategy", "GPUs", f"pass{off}", f"tokens/s{off}", f"tokens/s/GPU{off}", "memory/GPU", "stages")]
    for p in plans[:12]:
        m = p["metrics"]
        memory = f"{m['memory_mib_per_gpu']:,} MiB ({m['memory_pct']:g} %)"
        rate, each = f"{m['tokens_per_s']:,}", f"{m['tokens_per_s_per_gpu']:,}"
        rows.append((p["label"], str(m["gpus"]), milliseconds(m["step_ns"]), rate, each, memory, _stages(p["stages"])))
    more = [f"  ... and {len(plans) - 12} more (--json lists them)"] if len(plans) > 12 else []
    return columns(rows) + more


def _outside(plan: Json) -> list[str]:
    """Where the plan's times are not those of the measured tables."""
    said = plan["outside_tables"]
    more = f"; and {len(said) - 3} more (--json lists them)" if len(said) > 3 else ""
    return [f"  outside the measured tables: {'; '.join(said[:3])}{more}"] if said else []


def _error(plan: Json) -> str:
    """How far predictions of this kind were off."""
    return f"  {band_sentence(plan['metrics']['error_band'])}"


def _stages(stages: Sequence[int]) -> str:
    if len(set(stages)) == 1:
        return f"{len(stages)} x {stages[0]} layers"
    return "+".join(map(str, stages[:12])) + ("+..." if len(stages) > 12 else "") + " layers"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned text, the first being the headings."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _breakdown(m: Json) -> list[str]:
    terms = sorted(((n, v) for n, v in m["breakdown_ns"].items() if v), key=lambda t: -abs(t[1]))
    rows = [(name, milliseconds(abs(ns)) if ns > 0 else "-" + milliseconds(-ns), f"{100 * ns / m['step_ns']:.1f} %") for name, ns in terms]
    return ["where the time goes (first plan)", *columns(rows)]


def _reference(r: Json) -> list[str]:
    ref = r.get("reference")
    if ref is None:
        return []
    name = f"reference plan {ref['label']}"
    match ref["standing"]:
        case "optimal":
            return [f"{name}: among the optimal strategies", ""]
        case "infeasible":
            return [f"{name}: cannot run", *_sentences(ref["broken"]), ""]
        case "not optimal":
            lines = [
                f"{name}: {objective_amount(ref['value'], r['objective'])}, {ref['excess_pct']:g} % above the best; the difference by term:"
            ]
            return [*lines, *difference_lines(ref["difference_ns"]), ""]
        case standing:
            return [f"{name}: {standing}, {objective_amount(ref['value'], r['objective'])}", ""]


def difference_lines(difference: dict[str, int]) -> list[str]:
    """Terms by size; positive where the plan is slower than the better one."""
    terms = sorted(
        ((n, v) for n, v in difference.items() if abs(v) >= 1000), key=lambda t: -abs(t[1])
    )  # what would show as 0.000 is left out
    return columns([(name, ("+" if ns > 0 else "-") + milliseconds(abs(ns))) for name, ns in terms]) if terms else []


def _sentences(broken: Iterable[Json]) -> list[str]:
    return [f"  {v['rule']}: {v['sentence']}" for v in broken]


def trust(r: Json) -> str:
    """How much of the cost model's input is assumed."""
    assumed = sum("(assumed:" in a for a in r["assumptions"])
    return f"{assumed} constants assumed, weakest source: {r['weakest_source']} (--json lists them)"


def prove_text(r: Json) -> str:
    """What `prove` prints."""
    name, plan = r["instance"]["name"], r["plan"]
    filled = f" (filled in: {', '.join(r['filled_in'])})" if r["filled_in"] else ""
    lines = [f"{name}: plan {plan['label']}{filled}"]
    if "broken" in r:
        proved = "INFEASIBLE: the plan cannot run; it breaks"
        tried = "UNKNOWN: the best completion found of the plan breaks these rules; another may not"
        return "\n".join([*lines, proved if r["status"] == "INFEASIBLE" else tried, *_sentences(r["broken"])])
    value, bound = achieved(r["value"], r["objective"], plan["metrics"]), objective_amount(r["bound"], r["objective"])
    lines += [*plan_table([plan]), _error(plan), *_outside(plan), ""]
    match r["status"]:
        case "OPTIMAL":
            lines.append(f"OPTIMAL in {r['space']}: no plan is below {bound}, the plan takes {value}")
        case "NOT_OPTIMAL":
            better = "the optimum" if r["better_is_optimal"] else "a better plan"
            lines.append(f"NOT OPTIMAL in {r['space']}: {better} saves {r['gain_pct']:g} %")
            lines += [*plan_table([r["better"]]), "", "where the plan loses (+) and gains (-)", *difference_lines(r["difference_ns"])]
        case _:
            gap = "" if r["gap_ppm"] is None else f" (certified gap {r['gap_ppm'] / 10_000:.2f} %)"
            known = (
                "another strategy is better, but perhaps not than the best placement of this one"
                if "better" in r
                else "no better plan was found"
            )
            lines.append(f"UNKNOWN: {known}; the lower bound is {bound}, the plan takes {value}{gap}")
            lines += plan_table([r["better"]]) if "better" in r else []
    lines += _robustness(r["robustness"]) if "robustness" in r else []
    if not r["reproducible"]:
        lines.append(WALL_LIMITED)
    seen = "" if r["whole"] else " looked at before the limit was reached"
    lines.append(f"{r['strategies']} strategies{seen}, route {r['proof']['route']}, confirmed by the solver-free checker; {trust(r)}")
    return "\n".join(lines)


def _robustness(r: Json) -> list[str]:
    """How far each coefficient may be off alone, one line each."""
    if r["why_not"]:
        return ["", f"robustness: none, {r['why_not']}"]
    rows = [("coefficient", "now", "optimal from", "to", "not at", "where the best found is")]
    for i in r["intervals"]:
        low, high = (_quantity(v, i["unit"]) for v in i["certified"] or (i["now"], i["now"]))
        shown = (i["coefficient"], _quantity(i["now"], i["unit"]), low + _limit(i, 0), high + _limit(i, 1))
        refuted = [found for found in (i["below"], i["above"]) if found]
        rows += [(*shown, "", "")] if not refuted else []
        for n, found in enumerate(refuted):
            other = found["better"]["label"] if found["better"] else "none looked for"
            rows.append((*(shown if n == 0 else ("",) * 4), _quantity(found["value"], i["unit"]), other))
    fixed = all(i["whole_plan"] for i in r["intervals"] if i["coefficient"] != "skew")
    moved = "" if fixed else "; stages and placement may have to be chosen anew"
    title = f"certified with each coefficient varied alone{moved} (* the end of what was searched)"
    return ["", title, *columns(rows), ""]


def _limit(interval: Json, end: int) -> str:
    return " *" if interval["certified"] and interval["certified"][end] == interval["searched"][end] else ""


def _quantity(value: int, unit: str) -> str:
    """Four digits of a quantity, rounded down; exact figures are in the JSON."""
    if unit == "ppm":
        return f"{value // 100 / 100:g} %"
    unit = unit.replace("bytes", "B")
    prefixes = {"ns": ((10**6, "ms"), (10**3, "us"))}.get(unit, ((10**12, f"T{unit}"), (10**9, f"G{unit}"), (10**6, f"M{unit}")))
    scale, name = next(((s, n) for s, n in prefixes if value >= s), (1, unit))
    return f"{value * 1000 // scale / 1000:g} {name}"


def _robust(r: Json) -> list[str]:
    """The plan of least regret."""
    title = f"all coefficients off by up to {r['share_ppm'] / 10_000:g} %"
    if r["why_not"]:
        return [f"{title}: no bound, {r['why_not']}", ""]
    lines = [f"{title}: how much dearer each plan can be than the best one there, certified"]
    both = [("least regret", r["best"]), ("optimal as stated", r["stated_optimum"])]
    for name, plan in both if r["best"]["label"] != r["stated_optimum"]["label"] else both[:1]:
        seen = f"; {plan['regret_seen_ppm'] / 10_000:.4f} % seen against {plan['beaten_by']}" if plan["beaten_by"] else ""
        lines.append(f"  {name}: {plan['label']}, at most {plan['regret_at_most_ppm'] / 10_000:.4f} %{seen}")
    least = f"{r['regret_at_least_ppm'] / 10_000:.4f} %"
    return [*lines, f"  every plan has at least {least} somewhere; plans looked at: {r['plans_judged']}", ""]
