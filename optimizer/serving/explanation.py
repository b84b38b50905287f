"""What `prove` and `explain` print of a fleet."""

from typing import Any

from optimizer.serving.text import MS, fleet_line, service_table, shown

Json = dict[str, Any]


def service_prove_text(r: Json) -> str:
    """The verdict on a fleet, and the better one."""
    return "\n".join(_verdict(r))


def service_explain_text(r: Json) -> str:
    """The verdict, then what binds each kind of worker."""
    lines = _verdict(r)
    for e in r["explanation"]:
        lines += ["", *_explained(e)]
    if r["balance"] is not None:
        lines += ["", *_balance(r["balance"])]
    lines += ["", "the most that was found for fleets, by what they may be of:"]
    lines += [f"  {a['requests_per_s']:>12,.3f} requests/s  {a['of']}" for a in r["alternatives"]]
    return "\n".join(lines)


def _verdict(r: Json) -> list[str]:
    name, m = r["instance"]["name"], r["plan"]["metrics"]
    if r["status"] == "INFEASIBLE":
        lines = [f"INFEASIBLE: {name}: the fleet breaks {len(r['broken'])} rule{'s' if len(r['broken']) > 1 else ''}"]
        lines += [f"  {_who(r, b)}{b['rule']}: {b['sentence']}" for b in r["broken"]]
    elif m is None:
        said = "no way was found to lay its workers out with domains whole (R22) and replicas on nodes of their own (R25)"
        lines = [f"UNKNOWN: {name}: {said}"]
    else:
        objective = r["objective"]
        rate = fleet_line(m, objective, objective["value"])
        said = {
            "OPTIMAL": "no fleet of the space does better, confirmed by the solver-free checker (mean-field rates)",
            "NOT_OPTIMAL": f"{r.get('loss_pct', 0):.2f} % off the best fleet found, which is {r.get('times_as_good', 1):.3f} times as good",
            "UNKNOWN": f"no better fleet found, and none does better than {shown(objective['unit'], objective['bound'])}",
        }[r["status"]]
        lines = [f"{r['status']}: {name}: {rate}; {said}", "", *service_table(r["plan"]["workers"])]
    if r["better"] is not None:
        name = "A fleet that does better" if r["status"] == "NOT_OPTIMAL" else "The best fleet found"
        lines += ["", f"{name}: {fleet_line(r['better']['metrics'], r['objective'], r['better']['value'])}"]
        lines += service_table(r["better"]["workers"])
    return lines


def _who(r: Json, b: Json) -> str:
    if b["worker"] is None:
        return ""
    worker = r["plan"]["workers"][b["worker"]]
    return f"{worker['role']} {worker['label']}: "


def _explained(e: Json) -> list[str]:
    head = f"{e['role']} {e['label']}:"
    if "stopped_by" in e:
        return [f"{head} stopped by {', '.join(b['rule'] for b in e['stopped_by'])}", *_needed(e["needed"])]
    lines = [f"{head} {e['requests_per_s']:,.3f} requests/s"]
    if "best_on_as_many_gpus" in e:
        best = e["best_on_as_many_gpus"]
        other = f"{best['label']} with batch {best['batch']} yields {best['requests_per_s']:,.3f}: {e['loss_pct']:.2f} % lost"
        lines.append("  the best of its role on as many GPUs" if e["is_best"] else f"  {other}")
    whole = sum(e["breakdown_ns"].values()) or 1
    terms = sorted(e["breakdown_ns"].items(), key=lambda t: -t[1])[:5]
    lines.append("  its time goes to " + ", ".join(f"{term} {100 * ns / whole:.0f} %" for term, ns in terms if ns))
    bound = [f"  one more sequence per rank breaks {b['rule']}: {b['sentence']}" for b in e["binding"]]
    return lines + (bound or ["  no limit binds its batch"])


def _needed(n: Json) -> list[str]:
    lines = [f"  at batch 1 it still misses {b['rule']}: {b['sentence']}" for b in n.get("missed_at_batch_1", [])]
    if "of_this_worker_at_batch_1" in n and not lines:
        lines.append("  with a batch of 1 it keeps every limit")
    for rule in ("ttft", "tpot"):
        wait = n.get(f"least_{rule}_ns_of_any")
        if wait is not None:
            lines.append(f"  the least {rule.upper()} of any worker of its role is {wait['least'] / MS:,.1f} ms ({wait['label']})")
    return lines


def _balance(b: Json) -> list[str]:
    if not b["requests_per_s"]:
        return [f"{b['gpus_idle']} GPUs idle"]
    rates = ", ".join(f"{role} {rate:,.3f}" for role, rate in b["requests_per_s"].items())
    if b["slower"] is None:
        return [f"prefill and decode keep pace ({rates} requests/s); {b['gpus_idle']} GPUs idle"]
    spare = f"{b['slower']} workers are the slower side, {b['spare_requests_per_s']:,.3f} requests/s of the other are spare"
    return [f"{rates} requests/s: {spare}; {b['gpus_idle']} GPUs idle"]
