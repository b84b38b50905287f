"""`shardproof explain`: what binds a plan, where its time goes, what stops it, and what would have to change for it to win."""

import time
from collections.abc import Callable
from fractions import Fraction
from itertools import groupby
from typing import Any

from models.coefficients import OVERLAP, Coefficient
from models.evaluate import Evaluation, evaluate
from models.instance import Instance
from models.result import Claim, Status
from models.rules import ON_PRICED_PLANS
from models.strategy import PlanFile, Strategy
from optimizer.commands import Files
from optimizer.explaining.breakeven import BreakEven, Defence, Side, break_evens
from optimizer.explaining.ledger import Ledger, ledger
from optimizer.explaining.neighbours import Neighbourhood, Outcome
from optimizer.explaining.repairs import fewest_broken, least_memory, least_memory_of
from optimizer.explaining.resources import limits, savings, term_uses
from optimizer.output import to_json
from optimizer.report import objective_json, plan_json, prove_json, violation_json
from optimizer.search import Options, Verdict, find, judge

NEAR_PPM = 10_000  # strategies this close to the best are counted apart
MOST_NEAREST = 3

Json = dict[str, Any]


def run_explain(instance: Instance, stated: PlanFile, options: Options, files: Files, progress: Callable[[str], None]) -> Json:
    """Judge a plan, and say why it stands where it does."""
    files.check_free()
    started = time.monotonic()
    deadline = None if options.seconds is None else started + options.seconds
    verdict = judge(instance, stated, options, progress)
    claim = verdict.claim or find(instance, options, progress)
    result = prove_json(instance, verdict, options, 0) | {"schema": "shardproof/explain/1"}
    if verdict.evaluation is None:
        result |= _stopped(instance, stated, verdict, claim)
    else:
        result |= _running(instance, verdict, verdict.evaluation, claim)
    around = Neighbourhood(instance, verdict.plan.strategy)
    value = verdict.evaluation and verdict.evaluation.value
    result["neighbours"] = [
        {"degree": m.degree, "factor": float(m.factor), "alternatives": m.alternatives} | _outcome_json(m.outcome, value)
        for m in around.moves()
    ]
    varied = _break_evens(Defence(instance, stated, verdict.plan, options, deadline), verdict, claim, progress)
    result["break_even"] = [_break_even_json(b) for b in varied]
    result["ledger"] = None if claim.limited else _ledger_json(instance, claim)
    stopped = claim.wall_limited or any(side.ended == "wall clock" for b in varied for side in (b.up, b.down))
    result |= {"reproducible": not stopped, "seconds": round(time.monotonic() - started, 3)}
    files.write({"explain.json": to_json(result)}, None if verdict.certificate is None else verdict.certificate.text())
    return result


def _running(instance: Instance, verdict: Verdict, evaluation: Evaluation, claim: Claim) -> Json:
    """Limits and time of a plan that runs, beside those of the best plan."""
    best = evaluate(instance, claim.optimal[0].plan).breakdown
    uses, m = term_uses(instance, verdict.plan), verdict.plan.strategy.microbatches
    return {
        "limits": [limit._asdict() | {"slack": limit.slack} for limit in limits(instance, verdict.plan, evaluation)],
        "terms": [
            {
                "term": name,
                "ns": evaluation.breakdown.get(name, 0),
                "best_ns": best.get(name, 0),
                "saved_if_free_ns": {r: ns * m for r, ns in uses[name].spent_on.items()} if name in uses else {},
            }
            for name in dict.fromkeys([*evaluation.breakdown, *best])
        ],
        "saved_if_free_ns": savings(instance, verdict.plan),
    }


def _stopped(instance: Instance, stated: PlanFile, verdict: Verdict, claim: Claim) -> Json:
    """What keeps a plan from running, and the nearest strategies that run."""
    breach = fewest_broken(instance, stated, verdict)
    room = None
    if all(v.rule in ON_PRICED_PLANS for v in verdict.broken):
        plan = verdict.plan
        room = least_memory_of(instance, plan) if stated.stages else least_memory(instance, plan.strategy)
    need = None if room is None else {"runs": False, "rule": room} if isinstance(room, str) else {"runs": True, **room._asdict()}
    nearest = Neighbourhood(instance, verdict.plan.strategy).nearest_that_run(MOST_NEAREST) if not claim.limited else []
    return {
        "objective": objective_json(instance, None, claim.bound),
        "smallest_set": {
            "rules": list(breach.rules),
            "broken": [violation_json(v) for v in breach.broken],
            "stages": list(breach.plan.stages),
            "completions_tried": breach.tried,
            "proved_smallest": breach.smallest,
        },
        "least_memory": need,
        "nearest_that_run": [_outcome_json(o, None) for o in nearest],
        "best": plan_json(instance, claim.optimal[0].plan) if claim.optimal else None,
    }


def _outcome_json(outcome: Outcome, ours: int | None) -> Json:
    s, behind = outcome.strategy, None
    if ours and outcome.value is not None:
        behind = round(100 * (outcome.value - ours) / ours, 2)
    return _strategy_json(s) | {
        "changed": list(outcome.changed),
        "rule": outcome.rule,
        "sentence": outcome.sentence,
        "value": outcome.value,
        "dearer_pct": behind,
    }


def _strategy_json(s: Strategy) -> Json:
    return {"degrees": s.degrees(), "order": s.order, "label": s.label()}


def _break_evens(defence: Defence, verdict: Verdict, claim: Claim, progress: Callable[[str], None]) -> tuple[BreakEven, ...]:
    """Nothing where the plan wins already, where no coefficient can mend it, or where today's verdict is open."""
    structural = any(v.rule not in ON_PRICED_PLANS for v in verdict.broken)
    if structural or claim.limited or verdict.status not in ("NOT_OPTIMAL", "INFEASIBLE"):
        return ()
    for candidate in claim.optimal[:1]:
        defence.add(candidate.plan)
    return break_evens(defence, progress)


def _break_even_json(found: BreakEven) -> Json:
    c, sides = found.coefficient, [side for side in (found.down, found.up) if side.wins_at is not None]
    nearest = min(sides, key=lambda side: change(c, found.now, side.wins_at or 0), default=None)
    return {
        "coefficient": c.name,
        "path": c.path,
        "unit": c.unit,
        "now": found.now,
        "wins_at": nearest and nearest.wins_at,
        "not_optimal_to": nearest and nearest.beaten_to,
        "times": None if nearest is None or not found.now else round((nearest.wins_at or 0) / found.now, 4),
        "down": _side_json(found.down),
        "up": _side_json(found.up),
    }


def change(coefficient: Coefficient, now: int, value: int) -> Fraction:
    """How large a change is: by ratio, or by difference where today's value may be 0."""
    if coefficient == OVERLAP or min(now, value) == 0:
        return Fraction(abs(value - now))
    return Fraction(max(now, value), min(now, value))


def _side_json(side: Side) -> Json:
    runs = [list(same) for _, same in groupby(side.beaten, key=lambda b: b.rival)]
    return {
        "searched_to": side.searched_to,
        "wins_at": side.wins_at,
        "not_optimal_to": side.beaten_to,
        "ended": side.ended,
        "beaten_by": [
            {
                "from": min(b.piece.low for b in same),
                "to": max(b.piece.high for b in same),
                "pieces": len(same),
                "by_chord": sum(b.by_chord for b in same),
                "rival": same[0].rival and _strategy_json(same[0].rival.strategy),
            }
            for same in runs
        ],
    }


def _ledger_json(instance: Instance, claim: Claim) -> Json:
    found: Ledger = ledger(instance, claim.optimal[0].value if claim.optimal else None, NEAR_PPM, claim.facts)
    return {
        "strategies": found.strategies,
        "rules": found.rules,
        "bounds": found.bounds,
        "near": found.near,
        "best": found.best,
        "value": found.value,
        "near_limit": found.limit,
        "near_ppm": NEAR_PPM,
        "value_is_optimal": claim.status is Status.OPTIMAL,
    }
