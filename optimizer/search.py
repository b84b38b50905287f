"""Use cases: the best strategies of an instance, and the verdict on one plan. Nothing leaves unchecked."""

from decimal import Decimal
from typing import NamedTuple

from models.bounds import Bounds
from models.certificate import Certificate
from models.errors import InputError
from models.evaluate import Evaluation, evaluate
from models.instance import Instance
from models.objective import value_of
from models.placement import contiguous
from models.result import Candidate, Claim, Status
from models.routing import load_classes
from models.rules import ON_PRICED_PLANS, Violation, memory, redundant_slots, strategy_violations, violations
from models.strategy import Plan, PlanFile, Strategy, complete_stages, fill_degrees
from models.terms import Terms
from models.units import PPM, ceil_div
from optimizer.certify import certificate_of, certificate_of_broken
from optimizer.certify import stated as as_stated
from optimizer.check import confirm
from optimizer.completion import Completion
from optimizer.enumerate import enumerate_space
from optimizer.look import Effort, Progress

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
    claim = claim_of(instance, options, progress)
    confirm(certificate_of(instance, claim), instance)
    return claim


def claim_of(instance: Instance, options: Options, progress: Progress) -> Claim:
    """What the chosen route claims; nothing is confirmed yet."""
    if options.route == "joint":
        from optimizer.solve import SolverLimits, solve_jointly

        deterministic = options.effort * EFFORT_DETERMINISTIC_S
        limits = SolverLimits(deterministic, options.seconds, options.seed, options.workers)
        claim = solve_jointly(instance, options.epsilon_ppm, limits, progress)
    else:
        effort = Effort(options.effort * EFFORT_STRATEGIES, options.seconds)
        claim = enumerate_space(instance, options.epsilon_ppm, effort, progress, options.seed)
    progress(f"{claim.status} claimed by the {claim.route} route; checking")
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
    certificate: Certificate | None
    """confirmed; None where nothing is proved"""


def judge(instance: Instance, stated: PlanFile, options: Options, progress: Progress) -> Verdict:
    """Whether a plan is optimal in the instance's space; with a better one, or the rules it breaks."""
    plan, filled, broken = resolve(instance, stated)
    if broken:
        proof = _proof_of_broken(instance, stated, plan, broken)
        return Verdict("INFEASIBLE" if proof else "UNKNOWN", plan, filled, None, broken, None, proof)
    claim = claim_of(instance, options._replace(epsilon_ppm=0), progress)
    ours = _completed(stated, Candidate(plan, evaluate(instance, plan).value), claim)
    claim = _with(claim, ours)
    dearer = bool(claim.optimal) and claim.optimal[0].value < ours.value
    certificate = certificate_of(instance, claim, ours if dearer else None)
    confirm(certificate, instance)
    beaten = dearer and _beats_every_completion(instance, stated, ours, claim)
    status = "NOT_OPTIMAL" if beaten else "OPTIMAL" if claim.status is Status.OPTIMAL and not dearer else "UNKNOWN"
    return Verdict(status, ours.plan, filled, evaluate(instance, ours.plan), (), claim, certificate)


def _beats_every_completion(instance: Instance, stated: PlanFile, ours: Candidate, claim: Claim) -> bool:
    """Whether the best plan is below every plan that the file may mean, not only below the completion found."""
    s, best = ours.plan.strategy, claim.optimal[0].value
    if stated.placement is not None or not instance.architecture.moe_layers:
        return True  # what may be left open is the split, the best one for this placement was taken
    if claim.status is Status.OPTIMAL:
        return s not in {c.plan.strategy for c in claim.optimal}
    proved = {(instance.load_of_moe_layer(f.row), f.ranks): f.least for f in claim.facts}
    solution = Bounds(instance, proved=proved).exact(s)
    return isinstance(solution, str) or value_of(instance, s).of(solution.step_ns) > best


def _completed(stated: PlanFile, ours: Candidate, claim: Claim) -> Candidate:
    """The best completion known of what the file states: the search may have placed the experts of its strategy better."""
    for c in (*claim.optimal, *claim.near):
        kept = (stated.stages in (None, c.plan.stages)) and (stated.placement in (None, c.plan.placement))
        if c.plan.strategy == ours.plan.strategy and kept and c.value < ours.value:
            return c
    return ours


def _with(claim: Claim, ours: Candidate) -> Claim:
    """The claim, with this plan among its best where it is no worse."""
    best = claim.optimal[0].value if claim.optimal else None
    if claim.status is Status.OPTIMAL:
        same = (c.plan.strategy == ours.plan.strategy and c.value == ours.value for c in claim.optimal)
        return claim._replace(optimal=tuple(ours if s else c for s, c in zip(same, claim.optimal, strict=True)))
    if claim.status is Status.INFEASIBLE or (best is not None and best < ours.value):
        return claim
    bound = None if claim.bound is None else min(claim.bound, ours.value)
    return claim._replace(status=Status.FEASIBLE, optimal=(ours,), bound=bound or 0, near=(), near_limit=None, near_complete=False)


def _proof_of_broken(instance: Instance, stated: PlanFile, plan: Plan, broken: tuple[Violation, ...]) -> Certificate | None:
    """That the plan cannot run, whatever the file leaves open; None where only the completion tried is seen to fail."""
    s = plan.strategy
    of_strategy = list(strategy_violations(instance, s))
    whole, open_ = as_stated(*plan), as_stated(s, None, None)
    split = stated.stages is not None or s.pp in (1, instance.architecture.layer_count)
    rows = {instance.load_of_moe_layer(n) for n in range(instance.architecture.moe_layers)}
    placed = stated.placement is not None or s.ep == 1 or (not s.redundant and all(load_classes(row) == 1 for row in rows))
    structural = [v for v in broken if v.rule not in ON_PRICED_PLANS]
    if of_strategy:
        certificate = certificate_of_broken(instance, open_, of_strategy)
    elif structural or (split and placed):
        certificate = certificate_of_broken(instance, whole, [v for v in violations(instance, plan) if v in broken])
    elif isinstance(rule := Bounds(instance).exact(s), str):
        certificate = certificate_of_broken(instance, open_, [Violation(rule, "")])
    elif split and any(v.rule == "memory" for v in broken):
        certificate = certificate_of_broken(instance, whole, [v for v in broken if v.rule == "memory"])
    else:
        return None
    confirm(certificate, instance)
    return certificate


def resolve(instance: Instance, stated: PlanFile) -> tuple[Plan, tuple[str, ...], tuple[Violation, ...]]:
    """The complete plan that a file means, the degrees filled in, and every rule it breaks.

    Stages and placement that the file leaves open are chosen best.
    """
    strategy, filled = fill_degrees(stated.degrees, stated.order, dense=not instance.architecture.experts)
    plan = _default_plan(instance, strategy, stated)
    broken = _about(stated, violations(instance, plan))
    if any(v.rule not in (*ON_PRICED_PLANS, "slots") for v in broken):
        short = _even_split_memory(instance, strategy, Terms(instance))
        return plan, filled, (*broken, *([short] if short else []))
    structural = [v for v in broken if v.rule not in ON_PRICED_PLANS]
    if structural or (stated.stages and (stated.placement or not instance.architecture.moe_layers)):
        return plan, filled, broken
    best = _best_completion(instance, strategy, stated)
    if best is None:
        return plan, filled, broken
    return best, filled, tuple(violations(instance, best))


def _even_split_memory(i: Instance, s: Strategy, terms: Terms) -> Violation | None:
    """R15 of the first stage of an even split: what to expect of degrees that break another rule."""
    layers, groups = i.architecture.layer_count, i.architecture.group_of_layer()
    if s.pp > layers:
        return None
    shape = terms.shape(s)
    fixed, first, last = terms.stage_bytes(shape, s.pp == 1)
    sizes = [w + c * terms.sequences_per_rank(s) for w, c in (terms.layer_bytes(g, shape) for g in groups[: ceil_div(layers, s.pp)])]
    return memory(i, s.pp, 0, sum(sizes) + fixed + first + (last if s.pp == 1 else 0), "first stage of an even split")


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
    redundant = 0 if redundant_slots(instance, ep, strategy.redundant) else strategy.redundant
    return Plan(strategy, stages, stated.placement or (contiguous(arch.experts, ep, redundant),) * arch.moe_layers)


def _best_completion(instance: Instance, strategy: Strategy, stated: PlanFile) -> Plan | None:
    """The cheapest plan of the strategy, keeping the stages or placement that the file states."""
    terms = Terms(instance)
    bounds = Bounds(instance, terms)
    if stated.placement is not None:
        split = bounds.split_of(strategy, stated.placement)
        return None if split is None else Plan(strategy, split.stages, stated.placement)
    found = Completion(instance, terms).complete(bounds, strategy)
    if isinstance(found, str) or found[1] is None:
        return None
    plan = found[1].plan
    return plan._replace(stages=stated.stages or plan.stages)


def gap_ppm(value: int | None, bound: int | None) -> int | None:
    """(value - bound) / value in parts per million, rounded up; None without both."""
    return -(-(value - bound) * PPM // value) if value and bound is not None else None
