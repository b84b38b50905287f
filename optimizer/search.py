"""Use cases: the best strategies of an instance, and the verdict on one plan. Nothing leaves unchecked."""

from decimal import Decimal
from typing import NamedTuple

from models.bounds import Bounds
from models.errors import InputError
from models.evaluate import Evaluation, evaluate
from models.instance import Instance
from models.placement import contiguous
from models.result import Candidate, Claim, Status
from models.rules import ON_PRICED_PLANS, Violation, violations
from models.strategy import Plan, PlanFile, Strategy, complete_stages, fill_degrees
from models.units import PPM
from optimizer.check import check_candidate, check_claim
from optimizer.enumerate import Effort, Progress, complete, enumerate_space

EFFORT_STRATEGIES = 1_000  # strategies bounded per unit of effort
EFFORT_DETERMINISTIC_S = 0.1  # deterministic CP-SAT seconds per unit of effort


ROUTES = ("enumeration", "joint")


def parse_percent(text: str, option: str) -> int:
    """ "2.5" -> 25_000 parts per million. Raises InputError unless it is a number from 0 to 100."""
    try:
        value = Decimal(text.strip().removesuffix("%")) * 10_000
    except ArithmeticError:
        value = Decimal(-1)
    if not (value.is_finite() and 0 <= value <= PPM):
        raise InputError(f'{option} "{text[:40]}": write a percentage from 0 to 100')
    return int(value)


class Options(NamedTuple):
    """How to search."""

    epsilon_ppm: int = 10_000
    effort: int = 10_000
    seconds: float | None = None
    seed: int = 0
    workers: int = 1
    route: str = "enumeration"


def find(instance: Instance, options: Options, progress: Progress) -> Claim:
    """The best strategies, confirmed by the checker. Raises VerificationError when it refuses them."""
    if options.route == "joint":
        from optimizer.solve import SolverLimits, solve_jointly

        deterministic = options.effort * EFFORT_DETERMINISTIC_S
        limits = SolverLimits(deterministic, options.seconds, options.seed, options.workers)
        claim = solve_jointly(instance, options.epsilon_ppm, limits, progress)
    else:
        effort = Effort(options.effort * EFFORT_STRATEGIES, options.seconds)
        claim = enumerate_space(instance, options.epsilon_ppm, effort, progress)
    progress(f"{claim.status} claimed by the {claim.route} route; checking")
    check_claim(instance, claim)
    return claim


class Verdict(NamedTuple):
    """What `prove` found out about a plan."""

    status: str
    """OPTIMAL, NOT_OPTIMAL, INFEASIBLE or UNKNOWN"""
    plan: Plan
    filled: tuple[str, ...]
    """degrees that the plan file left open"""
    evaluation: Evaluation | None
    broken: tuple[Violation, ...]
    claim: Claim | None


def judge(instance: Instance, stated: PlanFile, options: Options, progress: Progress) -> Verdict:
    """Whether a plan is optimal in the instance's space; with a better one, or the rules it breaks."""
    plan, filled, broken = resolve(instance, stated)
    if broken:
        return Verdict("INFEASIBLE", plan, filled, None, broken, None)
    evaluation = evaluate(instance, plan)
    claim = find(instance, options._replace(epsilon_ppm=0), progress)
    if not claim.optimal or claim.bound is None:
        assert claim.status is not Status.INFEASIBLE, "the plan itself runs"
        return Verdict("UNKNOWN", plan, filled, evaluation, (), claim)
    if claim.optimal[0].value < evaluation.value:
        return Verdict("NOT_OPTIMAL", plan, filled, evaluation, (), claim)
    check_candidate(instance, Candidate(plan, evaluation.value))
    status = "OPTIMAL" if claim.status is Status.OPTIMAL and claim.bound == evaluation.value else "UNKNOWN"
    return Verdict(status, plan, filled, evaluation, (), claim)


def resolve(instance: Instance, stated: PlanFile) -> tuple[Plan, tuple[str, ...], tuple[Violation, ...]]:
    """The complete plan that a file means, the degrees filled in, and every rule it breaks.

    Stages and placement that the file leaves open are chosen best.
    """
    strategy, filled = fill_degrees(stated.degrees, stated.order, dense=not instance.architecture.experts)
    plan = _default_plan(instance, strategy, stated)
    broken = _about(stated, violations(instance, plan))
    structural = [v for v in broken if v.rule not in ON_PRICED_PLANS]
    if structural or (stated.stages and (stated.placement or not instance.architecture.moe_layers)):
        return plan, filled, broken
    best = _best_completion(instance, strategy, stated)
    if best is None:
        return plan, filled, broken
    return best, filled, tuple(violations(instance, best))


def _about(stated: PlanFile, broken: list[Violation]) -> tuple[Violation, ...]:
    """The violations of what the file states: not of stages and placement made up where its degrees allow none."""
    once = {(v.rule, v.sentence): v for v in broken}.values()
    layers = [v for v in once if v.rule == "layers_cover"]
    spared = {id(v) for v in layers[1:]} if stated.stages is None else set()
    if stated.placement is None:
        spared |= {id(v) for v in once if v.rule == "slots"}
    return tuple(v for v in once if id(v) not in spared)


def _default_plan(instance: Instance, strategy: Strategy, stated: PlanFile) -> Plan:
    arch = instance.architecture
    stages = stated.stages or (complete_stages(arch.layer_count, strategy.pp) if strategy.pp <= arch.layer_count else ())
    ep = strategy.ep if arch.experts and arch.experts % strategy.ep == 0 else 1
    return Plan(strategy, stages, stated.placement or (contiguous(arch.experts, ep),) * arch.moe_layers)


def _best_completion(instance: Instance, strategy: Strategy, stated: PlanFile) -> Plan | None:
    """The cheapest plan of the strategy, keeping the stages or placement that the file states."""
    found = complete(instance, Bounds(instance), strategy)
    if isinstance(found, str) or found[1] is None:
        return None
    plan = found[1].plan
    return plan._replace(stages=stated.stages or plan.stages, placement=stated.placement or plan.placement)


def gap_ppm(claim: Claim) -> int | None:
    """(value - bound) / value in parts per million, rounded up; None without both."""
    if not claim.optimal or claim.bound is None or claim.optimal[0].value == 0:
        return None
    value = claim.optimal[0].value
    return -(-(value - claim.bound) * 1_000_000 // value)
