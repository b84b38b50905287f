"""Whether what a certificate states is true: by every plan of a tiny instance, or every placement of a tiny problem.

Shares nothing with the checker but the rules and the price of one plan: no bound, no argument, no enumeration.
"""

from functools import cache
from itertools import count

from brute import OBSTACLES, Answer, layer_placements, obstacle, plans, solve
from placement_rows import is_attainable, placement_value

from models.certificate import Bounded, Broken, Certificate, Infeasible, Optimal, Placement, PricedPlan
from models.evaluate import evaluate
from models.instance import Instance
from models.packing import Problem
from models.rules import strategy_violations, violations
from models.strategy import Strategy

_INSTANCES: dict[str, Instance] = {}


class Untrue(Exception):
    """A statement that does not hold."""


def require(condition: bool, statement: str) -> None:
    if not condition:
        raise Untrue(statement)


def falsehood(certificate: Certificate, given: Instance | None = None) -> str | None:
    """The first statement of a certificate that is not true; None where all are."""
    try:
        if isinstance(certificate.claim, Placement):
            _placement(certificate.claim)
        else:
            _about_instance(certificate, given)
    except Untrue as found:
        return str(found)
    return None


def answer_of(instance: Instance) -> Answer:
    """Exhaustive search, once per instance."""
    digest = instance.digest()
    _INSTANCES.setdefault(digest, instance)
    return _answer(digest)


@cache
def _answer(digest: str) -> Answer:
    return solve(_INSTANCES[digest])


@cache
def attainable(problem: Problem, threshold: int) -> bool:
    return threshold >= 0 and is_attainable(problem, threshold)


def optimum(problem: Problem) -> int | None:
    """The least threshold that a placement keeps; None where there is no placement at all."""
    if not attainable(problem, sum(problem.loads)):
        return None
    area = -(-sum(problem.loads) // sum(c.ranks * c.speed for c in problem.classes))
    return next(t for t in count(area) if attainable(problem, t))


def _placement(claim: Placement) -> None:
    require((claim.placement is None) == (claim.value is None), "a value, and no placement or the other way round")
    if claim.placement is not None:
        try:
            require(placement_value(claim.problem, claim.placement) == claim.value, "the placement has another value")
        except ValueError as error:
            raise Untrue(f"no placement: {error}") from error
        require(claim.value is not None and claim.value >= claim.bound, "the bound is above the value")
    require(not attainable(claim.problem, claim.bound - 1), "a placement is below the bound")


def _about_instance(certificate: Certificate, given: Instance | None) -> None:
    instance = given or certificate.instance
    require(instance is not None, "about no instance")
    assert instance is not None
    for one in (certificate.instance, given):
        require(one is None or one.digest() == certificate.instance_sha256, "about another instance")
    _facts(certificate, instance)
    match certificate.claim:
        case Optimal() | Bounded() as claim:
            _listed(claim, instance)
        case Infeasible() as claim:
            answer = answer_of(instance)
            require(answer.feasible == 0 and answer.strategies == claim.strategies, "some plan runs, or the count is wrong")
        case Broken() as claim:
            _broken(claim, instance)


def _facts(certificate: Certificate, instance: Instance) -> None:
    experts = instance.architecture.experts
    rows = 1 if instance.expert_load is None else len(instance.expert_load.counts)
    for fact in certificate.facts:
        require(experts > 0 and fact.row < rows and experts % fact.ranks == 0, "a fact about nothing")
        loads = instance.load_of_moe_layer(fact.row)
        every = layer_placements(frozenset(range(experts)), fact.ranks)
        require(all(max(sum(loads[e] for e in rank) for rank in p) >= fact.least for p in every), "a fact that is none")


def _runs(priced: PricedPlan, instance: Instance) -> None:
    plan = priced.complete()
    require(plan is not None, "an open plan")
    assert plan is not None
    require(not violations(instance, plan), "a listed plan does not run")
    require(evaluate(instance, plan).value == priced.value, "a listed plan has another value")


def _listed(claim: Optimal | Bounded, instance: Instance) -> None:
    for priced in (*claim.plans, *([claim.refuted] if claim.refuted else [])):
        _runs(priced, instance)
    listed: dict[Strategy, int] = {p.plan.strategy: p.value for p in claim.plans}
    require(len(listed) == len(claim.plans), "a strategy is listed twice")
    require(min(listed.values(), default=None) == claim.value, "the value is not that of the best plan listed")
    require(claim.refuted is None or (claim.value is not None and claim.refuted.value > claim.value), "what is refuted is no dearer")
    answer = answer_of(instance)
    require(claim.strategies is None or claim.strategies == answer.strategies, "the space has another number of strategies")
    bound = claim.value if isinstance(claim, Optimal) else claim.bound
    assert bound is not None
    require(answer.value is None or answer.value >= bound, "a plan is below the bound")
    require(claim.value is None or claim.value >= bound, "the bound is above the value")
    if claim.complete_to is not None:
        require(claim.complete_to >= bound, "complete below the bound")
        within = {s for s, value in answer.values.items() if value <= claim.complete_to}
        require(all(s in listed and listed[s] <= claim.complete_to for s in within), "a strategy is missing from the list")


def _broken(claim: Broken, instance: Instance) -> None:
    s, plan = claim.plan.strategy, PricedPlan(plan=claim.plan, value=0).complete()
    found = strategy_violations(instance, s) if plan is None else violations(instance, plan)
    numbers = {(v.rule, v.need, v.have) for v in found}
    if plan is None and not numbers:  # whatever the split and the placement
        broken = [violations(instance, p) for p in plans(instance, s)]
        require(all(broken), "some plan of the strategy runs")
        last = max((obstacle(b) for b in broken), key=OBSTACLES.index)
        furthest = [{v.rule for v in b} for b in broken if obstacle(b) == last]
        numbers = {(name, None, None) for name in set.intersection(*furthest)}
    require(all((r.rule, r.need, r.have) in numbers for r in claim.rules), "a rule is not broken, or not with these numbers")
