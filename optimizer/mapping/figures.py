"""What a placement of all layers is worth: totals, workloads, layers, and the baseline beside it."""

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from models.dispatch import equal_split
from models.expert_map import BILLION, Loads, Setting, closed_bound, in_grains, map_problem, off_home_grains, value_of_map
from models.strategy import RankContents
from models.units import PPM, ceil_div
from optimizer.mapping.any_shares import least_mean, least_worst, lines_of
from optimizer.mapping.layers import PlacedLayer
from optimizer.mapping.request import Request
from optimizer.report import tool_versions

Json = dict[str, Any]

CLOSE_PCT = 0.1  # a layer within it of its bound counts as proved
NO_GAIN_PPM = 10_000  # a baseline this near the bound leaves nothing to gain
FEW_TOKENS = 100_000  # recorded in a layer: fewer leave chance in the counts


class Placed(NamedTuple):
    """All layers under one setting."""

    setting: Setting
    layers: list[PlacedLayer]
    budget_ppm: int | None = None
    """mean limit off home that was shared out among the layers"""

    def values(self) -> Json:
        """Mean and worst of the layers."""
        return _spread([p.value for p in self.layers])

    def bounds(self) -> Json:
        """Likewise; where a budget was shared out, of every way to share it."""
        if self.budget_ppm is None:
            return _spread([p.bound for p in self.layers])
        lines = lines_of(self.setting, self.layers)
        return {"mean": float(least_mean(lines, self.budget_ppm)), "worst": float(least_worst(lines, self.budget_ppm))}


def status_of(placed: Placed) -> str:
    return "OPTIMAL" if placed.budget_ppm is None and all(p.value == p.bound for p in placed.layers) else "FEASIBLE"


def head_of(request: Request, status: str, started: float) -> Json:
    """The fields that every result has."""
    loads = json.dumps([w.counts for w in request.workloads], separators=(",", ":"))
    instance = request.instance
    digest = hashlib.sha256(loads.encode()).hexdigest() if instance is None else instance.digest()
    name = request.workloads[0].name if len(request.workloads) == 1 else f"{len(request.workloads)} workloads"
    return {
        "schema": "shardproof/place/1",
        "status": status,
        "tool": tool_versions(request.options.seed),
        "instance": {"name": name, "sha256": digest},
        "assumptions": _assumptions(request),
        "limited": request.options.expired(),
        "seconds": round(time.monotonic() - started, 3),
    }


def _assumptions(request: Request) -> list[str]:
    """What the figures rest on."""
    split = {
        "equal": "All replicas of an expert share its tokens alike.",
        "nearest": "Each rank sends to the nearest replica; ranks send equally many tokens to each expert.",
        "free": "The tokens of an expert are split among its replicas in the best way, batch by batch.",
    }
    found = ["A rank's time is taken to follow its tokens; the counts stand for the traffic to come.", split[request.rules.dispatch]]
    if request.rules.off_home_ppm is not None:
        found.append(
            "The bound of a layer holds for its own limit off home, the bounds of all layers for every way to share the budget out."
        )
    if request.rules.hierarchy != "none":
        found.append(f"Homes: {request.groups} groups of consecutive experts on {request.setting.nodes} nodes, as balanced as was found.")
    if request.rules.weights is None and len(request.workloads) > 1:
        found.append("The worst workload of each layer counts.")
    fewest = min(sum(w.counts[n]) for w in request.workloads for n in request.layers)
    if fewest < FEW_TOKENS:
        found.append(f"A layer was recorded with {fewest:,} routed tokens only; below {FEW_TOKENS:,} chance weighs more than placement.")
    return found


def total_figures(request: Request, placed: Placed) -> Json:
    """Totals of the contract, and each workload's own."""
    gaps = [100 * (p.value - p.bound) / p.bound for p in placed.layers]
    value, bound = placed.values(), placed.bounds()
    together = placed.budget_ppm is not None  # the layers share a budget: the gap is that of their mean
    found: Json = {
        "setting": placed.setting.model_dump(mode="json"),
        "layers": len(placed.layers),
        "max_over_mean": value,
        "bound_over_mean": bound,
        "gap_pct": {"mean": 100 * (value["mean"] / bound["mean"] - 1) if together else sum(gaps) / len(gaps), "worst": max(gaps)},
        "proved": sum(gap <= CLOSE_PCT for gap in gaps),
        "proved_within_pct": CLOSE_PCT,
    }
    found["workloads"] = [
        {"name": w.name, "max_over_mean": _spread([p.record.values[s] for p in placed.layers])} for s, w in enumerate(request.workloads)
    ]
    away = [off_home_pct(placed.setting, p) for p in placed.layers]
    homes = None not in away
    found["off_home_pct"] = {"mean": sum(a or 0 for a in away) / len(away), "worst": max(a or 0 for a in away)} if homes else None
    found["node_level"] = _node_level(placed) if homes else None
    if request.rules.weights is not None:
        found["weighted"] = {"value": _weighted(request, placed, "values"), "bound": _weighted(request, placed, "bounds")}
    return found


def _spread(values: Sequence[int]) -> Json:
    return {"mean": sum(values) / len(values) / BILLION, "worst": max(values) / BILLION}


def _weighted(request: Request, placed: Placed, kind: str) -> float:
    """Weighted mean over the workloads, mean over the layers."""
    weights = request.rules.weights or ()
    each = [sum(w * v for w, v in zip(weights, getattr(p.record, kind), strict=True)) for p in placed.layers]
    return float(sum(each)) / sum(weights) / len(each) / BILLION


def off_home_pct(setting: Setting, p: PlacedLayer) -> float | None:
    """Percent of the load that is served off home, under the workload where it is most."""
    homes = p.record.homes
    if homes is None:
        return None
    shares = [off_home_grains(setting, w, homes, p.contents) / sum(in_grains(w)) for w in p.record.loads]
    return 100 * max(shares)


def _node_level(placed: Placed) -> Json:
    """The most loaded node over the mean, and how far it is above the bound."""
    values = [max(_node_value(placed.setting, w, p.contents) for w in p.record.loads) for p in placed.layers]
    gaps = [max(0.0, 100 * (v - p.bound) / p.bound) for v, p in zip(values, placed.layers, strict=True)]
    return {"max_over_mean": _spread(values), "gap_pct": {"mean": sum(gaps) / len(gaps), "worst": max(gaps)}}


def _node_value(setting: Setting, loads: tuple[int, ...], contents: RankContents) -> int:
    """The most loaded node, parts per billion of the mean, rounded up."""
    ranks, scale = equal_split(contents, loads)
    per_node = setting.ranks // setting.nodes
    nodes = [sum(ranks[n * per_node : (n + 1) * per_node]) for n in range(setting.nodes)]
    return ceil_div(BILLION * max(nodes) * setting.nodes, scale * sum(loads))


def layer_row(setting: Setting, p: PlacedLayer) -> Json:
    r = p.record
    return {
        "layer": r.layer,
        "max_over_mean": p.value / BILLION,
        "bound_over_mean": p.bound / BILLION,
        "gap_pct": 100 * (p.value - p.bound) / p.bound,
        "argument": _proved_by(setting, p),
        "off_home_limit_pct": None if r.off_home_ppm is None else r.off_home_ppm / 10_000,
    }


def _proved_by(setting: Setting, p: PlacedLayer) -> str:
    """The kind of argument that the layer's bound needs; "closed form" where none."""
    s = max(range(len(p.record.bounds)), key=lambda s: (p.record.bounds[s], -s))
    problem = map_problem(setting, p.record, s)
    closed = Loads(problem.loads, problem.ranks).share(closed_bound(setting, problem))
    kinds = [f.argument.kind for f in p.record.facts if f.workload == s]
    return kinds[0] if kinds and p.record.bounds[s] > closed else "closed form"


def compare(request: Request, placed: Placed, judged: bool) -> Json:
    """What the baseline costs under the same loads, and whether anything can be gained."""
    setting = placed.setting
    rows = []
    for p in placed.layers:
        contents = request.baseline[p.record.layer]
        if request.compared_with is None and len(contents[0]) != setting.slots:  # the default order for another number of slots
            row = tuple(slot % request.experts for slot in range(setting.ranks * setting.slots))
            contents = tuple(row[r * setting.slots : (r + 1) * setting.slots] for r in range(setting.ranks))
        rows.append(max(value_of_map(setting, w, contents) for w in p.record.loads))
    value, bound, ours = sum(rows), placed.bounds()["mean"] * BILLION * len(rows), sum(p.value for p in placed.layers)
    no_gain = value <= bound * (1 + NO_GAIN_PPM / PPM)
    gain = (
        "no gain expected: no placement is more than 1 % better"
        if no_gain
        else f"{100 * (value - ours) / value:.2f} % less load on the busiest rank"
    )
    return {
        "name": request.baseline_name,
        "judged": judged,
        "max_over_mean": _spread(rows),
        "above_bound_pct": 100 * (value - bound) / bound,
        "twice_on_a_rank": _repeated(request.baseline),
        "gain_pct": 100 * (value - ours) / value,
        "verdict": gain,
    }


def _repeated(baseline: dict[int, RankContents]) -> int:
    """Slots, over all layers, that hold an expert which their rank holds already."""
    return sum(len(rank) - len(set(rank)) for contents in baseline.values() for rank in contents)
