"""`shardproof diff`: two plans of one instance side by side, term by term, with memory and traffic."""

import time
from typing import Any

from models.evaluate import Evaluation, evaluate
from models.instance import Instance
from models.strategy import Plan, PlanFile
from optimizer.explaining.explanation import amount, signed
from optimizer.explaining.neighbours import changes
from optimizer.render import columns, objective_amount, plan_table, trust
from optimizer.report import difference, header, objective_json, plan_json, violation_json
from optimizer.search import Options, resolve

Json = dict[str, Any]


def run_diff(instance: Instance, first: PlanFile, second: PlanFile) -> Json:
    """The second plan measured against the first; stages and placement that a file leaves open are chosen best."""
    started = time.monotonic()
    resolved = [resolve(instance, stated) for stated in (first, second)]
    status = "INFEASIBLE" if any(broken for _, _, broken in resolved) else "COMPARED"
    found = header("diff", status, instance, Options(), 0) | {"filled_in": [list(filled) for _, filled, _ in resolved]}
    if status == "INFEASIBLE":
        found["plans"] = [{"degrees": plan.strategy.degrees(), "label": plan.strategy.label()} for plan, _, _ in resolved]
        found["broken"] = [[violation_json(v) for v in broken] for _, _, broken in resolved]
    else:
        found |= _compared(instance, [plan for plan, _, _ in resolved])
    return found | {"seconds": round(time.monotonic() - started, 3)}


def _compared(instance: Instance, plans: list[Plan]) -> Json:
    """Differences are second minus first."""
    priced = [evaluate(instance, plan) for plan in plans]
    memory, traffic = ([of(p) for p in priced] for of in (_memory, _traffic))
    return {
        "objective": objective_json(instance, None, None),
        "plans": [plan_json(instance, plan, p) for plan, p in zip(plans, priced, strict=True)],
        "changed": list(changes(plans[0].strategy, plans[1].strategy)),
        "difference": priced[1].value - priced[0].value,
        "difference_ns": difference(priced[1], priced[0]),
        "memory_bytes": memory,
        "traffic_bytes": traffic,
    }


def _memory(priced: Evaluation) -> dict[str, int]:
    """Parts of the fullest stage, bytes."""
    return max(priced.stages, key=lambda stage: stage.memory_bytes).memory


def _traffic(priced: Evaluation) -> dict[str, int]:
    """Bytes of the pass through the busiest port of each tier."""
    return {tier: max(getattr(s, f"{tier}_bytes") for s in priced.stages) for tier in ("scale_up", "scale_out")}


def diff_text(r: Json) -> str:
    """What `diff` prints."""
    name = r["instance"]["name"]
    if r["status"] == "INFEASIBLE":
        lines = [f"{name}: not compared, as a plan cannot run"]
        for plan, broken in zip(r["plans"], r["broken"], strict=True):
            lines += [f"  {plan['label']}: {v['rule']}: {v['sentence']}" for v in broken[:3]]
        return "\n".join(lines)
    a, b = r["plans"]
    lines = [
        f"{name}: the second plan {_verdict(r)}",
        *plan_table(r["plans"]),
        f"  they differ in {', '.join(r['changed']) or 'no degree'}",
    ]
    breakdowns = [p["metrics"]["breakdown_ns"] for p in (a, b)]
    terms = sorted(((n, ns) for n, ns in r["difference_ns"].items() if any(x.get(n) for x in breakdowns)), key=lambda t: (-abs(t[1]), t[0]))
    rows = [("time", "first", "second", "difference")]
    rows += [(n, *(signed(x.get(n, 0), "") for x in breakdowns), signed(ns, "+")) for n, ns in terms]
    sizes = [("memory of the fullest stage", *r["memory_bytes"]), ("traffic of the busiest port", *r["traffic_bytes"])]
    for title, one, other in sizes:
        rows.append((title, "", "", ""))
        rows += [
            (f"  {n}", amount(one[n], "bytes"), amount(other[n], "bytes"), _bytes(other[n] - one[n])) for n in one if one[n] or other[n]
        ]
    return "\n".join([*lines, "", *columns(rows), "", trust(r)])


def _verdict(r: Json) -> str:
    first = r["plans"][0]["value"]
    if r["difference"] == 0:
        return "costs the same"
    word, by = ("dearer" if r["difference"] > 0 else "cheaper"), abs(r["difference"])
    size = objective_amount(by, r["objective"])
    return f"is {word} by {size} ({100 * by / first:.2f} %)" if first else f"is {word} by {size}"


def _bytes(size: int) -> str:
    return ("-" if size < 0 else "+" if size else "") + amount(abs(size), "bytes")
