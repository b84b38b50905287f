"""Ranking of strategies: which of two measured ones is better, and what following the prediction costs.

A pair counts when its measured scores differ by more than 10 % of their mean. It is right when the predictions differ the same way; equal
predictions are wrong, and so is a pair with an unpriced row. Regret of a group is how much worse the strategy predicted best was measured
than the best measured: score / best - 1 (best / score - 1 where higher is better). Among predictions that are equal the worst measured is
charged, and a group with an unpriced member is charged its worst member. A pick is good when its regret is at most 5 %, the noise of a
repeated run, and every member is priced.
"""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

from benchmarks.fidelity.intervals import Estimate, mean, quantile, share
from benchmarks.fidelity.metrics import metric_of
from benchmarks.fidelity.outcomes import Outcome, kind_of
from benchmarks.fidelity.rows import Group

APART = 0.10
NOISE = 0.05
KINDS = ("fixed_gpu_budget", "max_throughput_per_gpu", "same_load_same_gpus", "same_load_any_gpus")
TRIVIAL = "same_load_any_gpus"
SCORE_TOLERANCE = 0.01
BREAKDOWNS: dict[str, Callable[["Judged"], str]] = {
    "hardware": lambda j: j.hardware,
    "engine": lambda j: j.engine,
    "family": lambda j: j.group.family,
}


class Judged(NamedTuple):
    """A group with the predictions of its members, each pair that counts (right or wrong), and the regret."""

    group: Group
    kind: str  # dense, MoE, unstated
    hardware: str
    engine: str
    cell: object
    pairs: tuple[bool, ...]
    regret: float
    unpriced: int
    rescored: int  # members whose measured score is not what the rule makes of their row
    headline: bool
    heldout_kind: str


class RankingLine(NamedTuple):
    """One question, model kind and class: pairs right, mean and p90 regret, good picks (all percent), groups with an unpriced member."""

    question: str
    kind: str
    breakdown: str
    value: str
    pairs: Estimate | None
    mean_regret: Estimate
    p90_regret: Estimate
    good_picks: Estimate
    unpriced_groups: int


def shared(group: Group, outcome: Outcome) -> float:
    """What a row's value is multiplied by to be a score: 1, or 1 / GPUs for a whole throughput in a question per GPU."""
    metric = metric_of(outcome.row.metric)
    whole = metric is not None and metric.quantity.unit_s is None and metric.share == ""
    return 1 / outcome.row.case.num_gpus if whole and group.kind.endswith("_per_gpu") and outcome.row.case else 1.0


def predicted_scores(group: Group, members: list[Outcome | None]) -> list[float | None]:
    """The prediction of each member as a score; None where there is none."""
    return [None if m is None or m.predicted is None else m.predicted * shared(group, m) for m in members]


def apart(a: float, b: float) -> bool:
    """Two measured scores differ by more than 10 % of their mean."""
    return abs(a - b) > APART * (a + b) / 2


def pairs_of(group: Group, predicted: list[float | None]) -> tuple[bool, ...]:
    """Right or wrong for each pair that counts."""
    members = list(zip(group.scores, predicted, strict=True))
    pairs = [(a, b) for a, b in combinations(members, 2) if apart(a[0], b[0])]
    return tuple(a[1] is not None and b[1] is not None and (a[1] - b[1]) * (a[0] - b[0]) > 0 for a, b in pairs)


def regret_of(group: Group, predicted: list[float | None]) -> float:
    """Relative loss of the strategy predicted best against the best measured."""
    best, worst = (min, max) if group.lower_is_better else (max, min)
    known = [p for p in predicted if p is not None]
    picked = worst(group.scores)
    if len(known) == len(predicted):
        picked = worst(score for score, p in zip(group.scores, predicted, strict=True) if p == best(known))
    return picked / best(group.scores) - 1 if group.lower_is_better else best(group.scores) / picked - 1


def agreed(values: list[str]) -> str:
    """What all say, or "mixed"."""
    return values[0] if len(set(values)) == 1 else "mixed"


def judge(group: Group, by_id: dict[str, Outcome]) -> Judged:
    """A group's pairs and regret; a member that the rows file lacks is an unpriced one."""
    members = [by_id.get(row_id) for row_id in group.row_ids]
    found = [m for m in members if m is not None]
    predicted = predicted_scores(group, members)
    kinds = sorted({m.kind for m in found if m.pricing and m.pricing.moe is not None})
    off = [
        abs(m.row.value * shared(group, m) / score - 1) > SCORE_TOLERANCE
        for m, score in zip(members, group.scores, strict=True)
        if m is not None and m.row.case is not None
    ]
    cell = next((m.row.case.cell for m in found if m.row.case), (group.hardware, group.engine, group.family))
    return Judged(
        group=group,
        kind=kind_of(group.moe) if group.moe is not None else agreed(kinds or ["unstated"]),
        hardware=agreed([m.row.hardware for m in found] or [group.hardware]),
        engine=agreed([m.row.engine for m in found] or [group.engine]),
        cell=cell,
        pairs=pairs_of(group, predicted),
        regret=regret_of(group, predicted),
        unpriced=predicted.count(None),
        rescored=sum(off),
        headline=all(m.row.headline for m in found),
        heldout_kind=group.heldout_kind or agreed([m.row.heldout_kind for m in found] or [""]),
    )


def judge_groups(groups: list[Group], outcomes: list[Outcome]) -> list[Judged]:
    """Every group, in its order."""
    by_id = {o.row.row_id: o for o in outcomes}
    return [judge(group, by_id) for group in groups]


def pair_share(judged: list[Judged]) -> Estimate | None:
    """Percentage of the pairs that count that are right."""
    flat = [(right, j.group.group_id, j.cell) for j in judged for right in j.pairs]
    return share([f[0] for f in flat], [f[1] for f in flat], [f[2] for f in flat])


def mean_regret(judged: list[Judged]) -> Estimate | None:
    """Mean regret, percent."""
    return mean([100 * j.regret for j in judged], [j.group.group_id for j in judged], [j.cell for j in judged])


def line_of(question: str, kind: str, breakdown: str, value: str, judged: list[Judged]) -> RankingLine | None:
    """The figures of some groups, or None of no groups."""
    cells = [j.cell for j in judged]
    ids = [j.group.group_id for j in judged]
    regret, p90 = mean_regret(judged), quantile([100 * j.regret for j in judged], cells, 0.9)
    picks = share([j.regret <= NOISE and not j.unpriced for j in judged], ids, cells)
    if regret is None or p90 is None or picks is None:
        return None
    return RankingLine(question, kind, breakdown, value, pair_share(judged), regret, p90, picks, sum(j.unpriced > 0 for j in judged))


def ranking_lines(judged: list[Judged]) -> list[RankingLine]:
    """Every question, dense and MoE apart, whole and broken down; questions are never pooled."""
    lines = []
    others = sorted({j.group.kind for j in judged} - set(KINDS))
    for question in (*KINDS, *others):
        for kind in ("dense", "MoE", "mixed", "unstated"):
            some = [j for j in judged if j.group.kind == question and j.kind == kind]
            lines.append(line_of(question, kind, "all", "all", some))
            for breakdown, class_of in BREAKDOWNS.items():
                for value in sorted({class_of(j) for j in some}):
                    lines.append(line_of(question, kind, breakdown, value, [j for j in some if class_of(j) == value]))
    return [line for line in lines if line]
