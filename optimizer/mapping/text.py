"""What `place` prints."""

from typing import Any

from optimizer.render import columns

Json = dict[str, Any]
WORST_ROWS = 5


def place_text(result: Json) -> str:
    """The result for a reader: totals, workloads, the baseline, what was asked for besides, the layers with the largest gap."""
    if result["status"] in ("INFEASIBLE", "UNKNOWN"):
        return _without_placement(result)
    lines = [_headline(result), "", *_totals(result), ""]
    for part in (_workloads, _off_home, _baseline, _moves, _memory, _target, _front, _layers):
        lines += part(result)
    lines += ["", f"each layer confirmed by the solver-free checker; {len(result['assumptions'])} assumptions (--json lists them)"]
    if result["limited"]:
        lines.append("ended early (--seconds, or Ctrl-C): layers not yet begun got the least effort, and another run may differ")
    return "\n".join(lines)


def _headline(result: Json) -> str:
    s = result["setting"]
    nodes = f" on {s['nodes']} nodes" if s["nodes"] > 1 else ""
    value, gap = result["max_over_mean"], result["gap_pct"]
    machine = f"{s['ranks']} ranks of {s['slots']} slots{nodes}, dispatch {s['dispatch']}"
    found = f"largest load {value['mean']:.4f} of the mean, within {gap['mean']:.3f} % of any placement"
    return f"{result['instance']['name']}: {result['layers']} layers on {machine}: {found}"


def _totals(result: Json) -> list[str]:
    rows = [
        ("", "mean of layers", "worst layer"),
        ("largest load / mean load", *(f"{result['max_over_mean'][k]:.4f}" for k in ("mean", "worst"))),
        ("bound, proved", *(f"{result['bound_over_mean'][k]:.4f}" for k in ("mean", "worst"))),
        ("gap", *(f"{result['gap_pct'][k]:.3f} %" for k in ("mean", "worst"))),
    ]
    return [*columns(rows), f"  layers within {result['proved_within_pct']:g} % of their bound: {result['proved']} of {result['layers']}"]


def _workloads(result: Json) -> list[str]:
    if len(result["workloads"]) < 2:
        return []
    rows = [("workload", "mean of layers", "worst layer")]
    rows += [(w["name"], f"{w['max_over_mean']['mean']:.4f}", f"{w['max_over_mean']['worst']:.4f}") for w in result["workloads"]]
    weighted = result.get("weighted")
    return [*columns(rows), *([f"  weighted mean {weighted['value']:.4f}, bound {weighted['bound']:.4f}"] if weighted else []), ""]


def _off_home(result: Json) -> list[str]:
    away, node = result["off_home_pct"], result["node_level"]
    if away is None:
        return []
    return [
        f"served off home: {away['mean']:.2f} % of the tokens (worst layer {away['worst']:.2f} %)",
        f"largest node load {node['max_over_mean']['mean']:.4f} of the mean, {node['gap_pct']['mean']:.3f} % above the bound "
        f"(worst layer {node['gap_pct']['worst']:.3f} %)",
    ]


def _baseline(result: Json) -> list[str]:
    b = result["baseline"]
    lines = [f"{b['name']}: {b['max_over_mean']['mean']:.4f} of the mean, {b['above_bound_pct']:.2f} % above the bound; {b['verdict']}"]
    if b["twice_on_a_rank"]:
        lines.append(f"  {b['twice_on_a_rank']} of its slots hold an expert that their rank holds already")
    return lines


def _moves(result: Json) -> list[str]:
    m = result["moves"]
    if m is None:
        return []
    return [
        f"from the placement in use: {m['loaded']} experts to load (at least {m['at_least']}), "
        f"for a loss of at most {m['loss_pct']:g} %; {m['instead_of']} without regard to it"
    ]


def _memory(result: Json) -> list[str]:
    m = result["memory"]
    if m is None:
        return []
    return [
        f"routed experts: {m['need_bytes'] / 1e9:.2f} of {m['have_bytes'] / 1e9:.2f} GB per GPU; {m['most_slots']} slots would fit, "
        "less what else the memory holds"
    ]


def _target(result: Json) -> list[str]:
    t = result["target"]
    if t is None:
        return []
    rows = [("slots per rank", "largest load", "bound", "target")]
    for row in t["tried"]:
        figures = (f"{row['max_over_mean']:.4f}", f"{row['bound_over_mean']:.4f}") if "max_over_mean" in row else ("", "")
        rows.append((str(row["slots"]), *figures, row["verdict"]))
    proof = ", proved the fewest" if t["proved_smallest"] else ""
    found = f"  {t['slots']} slots per rank{proof}" if t["slots"] else "  no number of slots that was tried reaches it"
    return ["", f"target {t['wanted']:g}", *columns(rows), found]


def _front(result: Json) -> list[str]:
    if not result["front"]:
        return []
    rows = [("off home at most", "off home", "largest load", "bound")]
    for p in result["front"]:
        shares = f"{p['off_home_budget_pct']:g} %", f"{p['off_home_pct']:.2f} %"
        rows.append((*shares, f"{p['max_over_mean']:.4f}", f"{p['bound_over_mean']:.4f}"))
    return ["", "largest load against load off home", *columns(rows)]


def _layers(result: Json) -> list[str]:
    worst = sorted(result["rows"], key=lambda r: (-r["gap_pct"], r["layer"]))[:WORST_ROWS]
    if not worst or worst[0]["gap_pct"] <= result["proved_within_pct"]:
        return []
    rows = [("layer", "largest load", "bound", "gap", "proved by")]
    for r in worst:
        rows.append((str(r["layer"]), f"{r['max_over_mean']:.4f}", f"{r['bound_over_mean']:.4f}", f"{r['gap_pct']:.3f} %", r["argument"]))
    return ["", "layers with the largest gaps", *columns(rows)]


def _without_placement(result: Json) -> str:
    if result.get("target"):
        return "\n".join([f"{result['instance']['name']}: {result['status']}, the target was not reached", *_target(result)])
    m = result["memory"]
    return (
        f"{result['instance']['name']}: INFEASIBLE, memory: {m['slots']} slots in every layer need {m['need_bytes']:,} bytes of experts, "
        f"a GPU has {m['have_bytes']:,}; {m['most_slots']} slots would fit"
    )
