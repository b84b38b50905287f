"""Robustness as JSON: intervals of coefficients as records, their check without the search that found them, and least regret."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from models.coefficients import SKEW, coefficient_named, coefficients, has_one_peak, is_plain, value_of
from models.enumeration import strategies as every_strategy
from models.errors import InputError, VerificationError
from models.instance import Instance
from models.objective import value_of as value_of_strategy
from models.result import Claim, Status
from models.rules import strategy_violations
from models.strategy import Plan, Strategy
from models.units import PPM
from optimizer.robustness.intervals import Interval, Refuted, certified_interval, searched_range
from optimizer.robustness.regret import Judged, least_regret
from optimizer.robustness.rivals import Contest, Piece, attained, is_best_of_its_strategy, started
from optimizer.search import parse_percent

Json = dict[str, Any]
Progress = Callable[[str], None]


def parse_share(text: str) -> int:
    """ "10" -> 100_000 parts per million. Raises InputError unless it is a number above 0 and below 100."""
    share_ppm = parse_percent(text, "--robust")
    if not 0 < share_ppm < PPM:
        raise InputError(f'--robust "{text[:40]}": write a percentage above 0 and below 100')
    return share_ppm


def robustness_json(instance: Instance, plan: Plan, status: str, progress: Progress) -> Json:
    """One record per coefficient: how far each may be off, alone, before the plan's strategy is beaten."""
    if status != Status.OPTIMAL:
        return {"intervals": [], "why_not": "the plan is not proved optimal, so there is no range in which it stays so"}
    found, space = [], list(every_strategy(instance))
    for c in coefficients(instance):
        progress(f"how far {c.name} may be off")
        found.append(interval_json(certified_interval(instance, plan, c, space=space)))
        check_interval(instance, plan, found[-1])  # bounds every piece again, from the record alone
    return {"intervals": found, "why_not": None}


def robust_json(instance: Instance, claim: Claim, share_ppm: int, progress: Progress) -> Json:
    """The plan of least certified regret when all coefficients but memory may be off by a share, and what no plan undercuts."""
    found: Json = {"share_ppm": share_ppm, "best": None, "stated_optimum": None, "regret_at_least_ppm": None, "why_not": None}
    if claim.status is not Status.OPTIMAL:
        return found | {"why_not": "no optimum is proved to start from"}
    if not is_plain(instance):
        return found | {"why_not": "regret is certified for flat efficiencies and plain links only; it has curves, tables or laws"}
    if not has_one_peak(instance):
        return found | {
            "why_not": "regret is certified where all GEMMs compute in one number format; give weights and activations the same"
        }
    least = least_regret(instance, claim.optimal[0].plan, share_ppm, progress)
    if least is None:
        return found | {"why_not": "the optimum breaks a limit where the coefficients are worst, so its regret has no bound"}
    return found | {
        "best": _judged_json(least.best),
        "stated_optimum": _judged_json(least.stated),
        "regret_at_least_ppm": _floor_ppm(least.at_least),
        "plans_judged": least.candidates,
    }


def _judged_json(judged: Judged) -> Json:
    """A plan with its certified regret, rounded up, and the largest one seen, rounded down, with where it was seen."""
    s = judged.plan.strategy
    return {
        "degrees": s.degrees(),
        "order": s.order,
        "label": s.label(),
        "stages": list(judged.plan.stages),
        "placement": [[list(rank) for rank in layer] for layer in judged.plan.placement],
        "regret_at_most_ppm": -_floor_ppm(-judged.at_most),
        "regret_seen_ppm": _floor_ppm(judged.at_least),
        "seen_where": {c.path: value for c, value in judged.scenario.items()},
        "beaten_by": None if judged.better is None else judged.better.strategy.label(),
    }


def _floor_ppm(share: Fraction) -> int:
    return share.numerator * PPM // share.denominator


def interval_json(found: Interval) -> Json:
    """The record of one coefficient; `pieces` is the proof, `certified` the range around `now` that they cover."""
    c = found.coefficient
    return {
        "coefficient": c.name,
        "path": c.path,
        "unit": c.unit,
        "now": found.now,
        "searched": list(found.searched),
        "certified": None if found.low is None else [found.low, found.high],
        "pieces": [list(piece) for piece in found.pieces],
        "whole_plan": found.whole_plan,
        "below": _refuted_json(found.below),
        "above": _refuted_json(found.above),
    }


def _refuted_json(refuted: Refuted | None) -> Json | None:
    if refuted is None:
        return None
    found: Json = {"value": refuted.value, "ours": refuted.ours, "better": None}
    if refuted.better is not None:
        s = refuted.better.plan.strategy
        found["better"] = {"degrees": s.degrees(), "order": s.order, "label": s.label(), "value": refuted.better.value}
    return found


def check_interval(instance: Instance, plan: Plan, record: Json) -> None:
    """Confirm a record about a plan by bounds alone. Raises VerificationError with what does not hold."""
    try:
        _check(instance, plan, record)
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"not a record of an interval: {error!r}") from error


def _check(instance: Instance, plan: Plan, record: Json) -> None:
    coefficient = coefficient_named(instance, record["coefficient"])
    if coefficient is None or (record["path"], record["unit"]) != (coefficient.path, coefficient.unit):
        raise VerificationError(f"the instance has no coefficient {record['coefficient']!r} at this path, in this unit")
    now, pieces = value_of(instance, coefficient), tuple(Piece(*piece) for piece in record["pieces"])
    below, above = record["below"], record["above"]
    empty = Interval(coefficient, now, searched_range(coefficient, now), pieces, None, None, record["whole_plan"])
    certified = None if empty.low is None else [empty.low, empty.high]
    if (record["now"], record["searched"], record["certified"]) != (now, list(empty.searched), certified):
        raise VerificationError("the stated value, range or joined interval is not that of the instance and the pieces")
    _check_order(pieces, empty.searched, coefficient == SKEW)
    if record["whole_plan"] and (coefficient == SKEW or not is_best_of_its_strategy(instance, plan)):
        raise VerificationError("the stages and placement are not seen to stay best within the strategy")
    contest = Contest(instance, plan, coefficient)
    if pieces:
        _check_pieces(contest, pieces, list(every_strategy(instance)))
    for refuted, side in ((below, -1), (above, 1)):
        if refuted is not None:
            if (refuted["value"] - now) * side < (side < 0):
                raise VerificationError("the refuting value lies on the other side")
            _check_refuted(contest, refuted)


def _check_order(pieces: Sequence[Piece], searched: Piece, points: bool) -> None:
    for n, piece in enumerate(pieces):
        if not searched.low <= piece.low <= piece.high <= searched.high or (n and piece.low <= pieces[n - 1].high):
            raise VerificationError(f"piece {n} is out of order or out of range")
        if points and piece.low != piece.high:
            raise VerificationError(f"piece {n}: of this coefficient only single values can be certified")


def _check_pieces(contest: Contest, pieces: Sequence[Piece], alive: list[Strategy]) -> None:
    """Every piece, after strategies that are above ours over many of them at once are left out."""
    if len(pieces) == 1:
        rivals = contest.rivals(alive, pieces[0], thorough=True)
        if rivals is None:
            raise VerificationError(f"{list(pieces[0])}: the plan's strategy is not seen to run in all of it")
        if rivals:
            raise VerificationError(f"{list(pieces[0])}: {rivals[0].label()} is not seen to stay above the plan")
        return
    if contest.coefficient != SKEW:
        some = contest.rivals(alive, Piece(pieces[0].low, pieces[-1].high))
        alive = alive if some is None else some
    half = len(pieces) // 2
    _check_pieces(contest, pieces[:half], alive)
    _check_pieces(contest, pieces[half:], alive)


def _check_refuted(contest: Contest, refuted: Json) -> None:
    """Our strategy costs at least what is stated, or cannot run; the other one has a plan that runs at its stated value, below."""
    value, s = refuted["value"], contest.plan.strategy
    bounds = contest.at(value)
    solution = bounds.exact(s)
    ours = None if isinstance(solution, str) else value_of_strategy(contest.instance, s).of(solution.step_ns)
    if refuted["ours"] != ours:
        raise VerificationError(f"at {value} no plan of ours is below {ours}, stated is {refuted['ours']}")
    better = refuted["better"]
    if better is None:
        if ours is not None:
            raise VerificationError(f"at {value} our strategy runs, and no better one is named")
        return
    other = Strategy(**better["degrees"], order=better["order"])
    if any(strategy_violations(contest.instance, other)):
        raise VerificationError(f"{other.label()} is not a strategy of the space")
    found = attained(bounds, started(contest.instance, other))
    if found is None or found.value != better["value"] or (ours is not None and found.value >= ours):
        raise VerificationError(f"at {value} {other.label()} is not seen to run at {better['value']}, below ours")
