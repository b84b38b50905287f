"""Claims about no instance - one placement problem, an expert map, a fleet, a service - and what each must show."""

from models.arguments import Budget, refute
from models.certificate import Placement
from models.expert_map import ExpertMap, examine
from models.fleet_claim import FleetClaim, examine_fleet
from models.packing import Refused, closed_bound, value_of_placement
from models.service_claim import ServiceClaim, examine_service

Standalone = Placement | ExpertMap | FleetClaim | ServiceClaim


def examine_alone(claim: Standalone, budget: Budget) -> None:
    """Raises Refused at the first part of the claim that does not hold."""
    match claim:
        case Placement():
            examine_placement(claim, budget)
        case ExpertMap():
            for n, layer in enumerate(claim.layers):
                examine(claim.setting, layer, budget, f"claim.layers.{n}")
        case FleetClaim():
            examine_fleet(claim)
        case ServiceClaim():
            examine_service(claim)


def examine_placement(claim: Placement, budget: Budget) -> None:
    """One placement problem: the placement keeps it and has its value; the bound follows from a closed form or the argument."""
    if claim.placement is not None:
        value = value_of_placement(claim.problem, claim.placement)
        if value != claim.value:
            raise Refused(f"the placement has value {value}", "claim.value")
        if value < claim.bound:
            raise Refused("above the value", "claim.bound")
    elif claim.value is not None:
        raise Refused("a value needs a placement", "claim.value")
    if claim.bound <= closed_bound(claim.problem):
        return
    if claim.argument is None:
        raise Refused(f"the closed forms give {closed_bound(claim.problem)} only", "claim.bound")
    try:
        refute(claim.problem, claim.bound - 1, claim.argument, budget)
    except Refused as refusal:
        raise Refused(refusal.reason, f"claim.{refusal.where or 'argument'}") from refusal
