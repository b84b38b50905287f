"""What a search claims, written as a certificate for the checker and for the file."""

from collections.abc import Iterable

from pydantic import ValidationError

from models.certificate import (
    AllDegrees,
    Bounded,
    Broken,
    BrokenRule,
    Certificate,
    Claimed,
    Infeasible,
    NotACertificate,
    Optimal,
    PricedPlan,
    StatedPlan,
)
from models.errors import InputError, VerificationError
from models.instance import Instance
from models.result import Candidate, Claim, Status
from models.rules import Violation
from models.standalone import Standalone
from models.strategy import Plan, RankContents, Strategy
from optimizer.check import check


def certificate_of(instance: Instance, claim: Claim, refuted: Candidate | None = None, near: bool = True) -> Certificate:
    """The certificate of a search's claim; without `near` it lists the optimal strategies only.

    Raises VerificationError where the parts of the claim do not fit together.
    """
    _check_shape(claim)
    try:
        return _certificate(instance, _claimed(claim, refuted, near), claim)
    except ValidationError as error:
        raise VerificationError(f"the claim cannot be written as a certificate: {error.errors()[0]['msg']}") from error


def certificate_of_broken(instance: Instance, plan: StatedPlan, rules: Iterable[Violation]) -> Certificate:
    """The certificate that a plan breaks these rules."""
    named = tuple(BrokenRule(rule=v.rule, need=v.need, have=v.have) for v in rules)
    return _certificate(instance, Broken(kind="broken", plan=plan, rules=named), None)


def certificate_alone(claim: Standalone, route: str) -> Certificate:
    """The certificate of a claim about no instance."""
    return Certificate(
        format="shardproof-certificate/1",
        cost_model="shardproof-cost/2",
        instance_sha256=None,
        instance=None,
        claim=claim,
        facts=(),
        provenance={"route": route},
    )


def proof_alone(claim: Standalone, route: str, remedy: str) -> str:
    """The certificate's text, confirmed by the solver-free checker. Raises VerificationError; InputError where it is too large to read."""
    text = certificate_alone(claim, route).text()
    try:
        verdict = check(text)
    except NotACertificate as error:
        raise InputError(f"the certificate is too large to be read ({error}); {remedy}") from error
    if not verdict.valid:
        raise VerificationError(f"{verdict.where}: {verdict.reason}")
    return text


def stated(s: Strategy, stages: tuple[int, ...] | None, placement: tuple[RankContents, ...] | None) -> StatedPlan:
    """A plan as the certificate writes it."""
    return StatedPlan(degrees=AllDegrees(**s.degrees()), order=s.order, stages=stages, placement=placement)


def _certificate(instance: Instance, claimed: Claimed, claim: Claim | None) -> Certificate:
    return Certificate(
        format="shardproof-certificate/1",
        cost_model="shardproof-cost/2",
        instance_sha256=instance.digest(),
        instance=instance,
        claim=claimed,
        facts=() if claim is None else claim.facts,
        provenance={} if claim is None else {"route": claim.route},
    )


def _claimed(claim: Claim, refuted: Candidate | None, near: bool) -> Claimed:
    loser = None if refuted is None else _priced(refuted)
    plans = tuple(_priced(c) for c in (*claim.optimal, *(claim.near if near else ())))
    complete_to = claim.near_limit if near and claim.near_complete else None
    match claim.status:
        case Status.OPTIMAL:
            assert claim.bound is not None, "checked with the shape"
            cut = claim.bound if complete_to is None else complete_to
            return Optimal(kind="optimal", value=claim.bound, complete_to=cut, plans=plans, strategies=claim.strategies, refuted=loser)
        case Status.INFEASIBLE:
            return Infeasible(kind="infeasible", strategies=claim.strategies)
        case Status.FEASIBLE | Status.UNKNOWN:
            return Bounded(
                kind="bounded",
                value=min((p.value for p in plans), default=None),
                bound=claim.bound or 0,
                complete_to=complete_to,
                plans=plans,
                strategies=None if claim.limited else claim.strategies,
                refuted=loser,
            )


def _priced(candidate: Candidate) -> PricedPlan:
    plan: Plan = candidate.plan
    return PricedPlan(plan=stated(*plan), value=candidate.value)


def _check_shape(claim: Claim) -> None:
    """The parts of the claim fit together and its status."""
    match claim.status:
        case Status.OPTIMAL:
            if not claim.optimal or claim.limited or any(c.value != claim.bound for c in claim.optimal):
                raise VerificationError("OPTIMAL needs plans whose value is the bound, over the whole space")
        case Status.FEASIBLE:
            if not claim.optimal or claim.bound is None:
                raise VerificationError("FEASIBLE needs a plan and a bound")
        case Status.INFEASIBLE:
            if claim.optimal or claim.near or claim.limited:
                raise VerificationError("INFEASIBLE cannot list plans or rest on part of the space")
        case Status.UNKNOWN:
            if claim.optimal:
                raise VerificationError("UNKNOWN cannot list plans")
    if claim.near_complete and claim.limited:
        raise VerificationError("a list cannot be called complete after part of the space")
    if (claim.near or claim.near_complete) and (claim.near_limit is None or claim.bound is None or not claim.optimal):
        raise VerificationError("near-optimal plans need a limit, a bound and a best plan")
    best = claim.optimal[0].value if claim.optimal else None
    for c in claim.near:
        least = claim.status is not Status.OPTIMAL and c.value == best  # ties below a gap are not yet called optimal
        if best is None or claim.near_limit is None or not (least or best < c.value <= claim.near_limit):
            raise VerificationError(f"near-optimal plan {c.plan.strategy.label()} has value {c.value}, outside its range")
