"""The last word: confirms or refuses a certificate. Imports `models` only; no solver, no search, no floats.

It enumerates the space of strategies itself and recomputes every price and every bound, so nothing
in the file is taken on trust. `docs/certificate.md` says what each claim means and why this proves it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from models.arguments import Budget, refute
from models.bounds import Bounds
from models.certificate import Bounded, Broken, Certificate, Infeasible, Optimal, PricedPlan, parse
from models.enumeration import Block, blocks
from models.errors import VerificationError
from models.evaluate import evaluate
from models.floors import Floors, root_bound
from models.instance import Instance
from models.landscape import Landscape
from models.objective import Value, value_of
from models.packing import Problem, RankClass, Refused
from models.placement import Proved
from models.relaxation import relaxes
from models.rules import Violation, longest_step, strategy_violations, violations
from models.standalone import Standalone, examine_alone
from models.strategy import Strategy
from models.terms import Terms

MOST_STRATEGIES = 50_000_000  # of a space
MOST_SPLITS = 2_000_000  # strategies whose best split is sought


class Verdict(NamedTuple):
    """Whether a certificate holds; if not, the first place that fails, and why."""

    valid: bool
    claim: str
    """kind of the claim"""
    reason: str | None
    where: str | None
    strategies: dict[str, int]
    """how many strategies of the space each argument disposed of"""


def check(certificate: Certificate | str, instance: Instance | None = None) -> Verdict:
    """Confirm or refuse a certificate about `instance` (absent: about the one inside).

    Raises NotACertificate when a text is none.
    """
    try:
        stated = parse(certificate if isinstance(certificate, str) else certificate.text())
    except Refused as refusal:
        return Verdict(False, "none", refusal.reason, refusal.where or "top level", {})
    return _examine(stated, instance)


def confirm(certificate: Certificate, instance: Instance, landscape: Landscape | None = None) -> Verdict:
    """As `check`, of a certificate just made; a landscape spares walking through the whole space again.

    Raises VerificationError when it is refused.
    """
    verdict = _examine(certificate, instance, landscape)
    if not verdict.valid:
        raise VerificationError(f"{verdict.where}: {verdict.reason}")
    return verdict


def _examine(certificate: Certificate, instance: Instance | None, landscape: Landscape | None = None) -> Verdict:
    kind = certificate.claim.kind
    try:
        return Verdict(True, kind, None, None, dict(_Checker(certificate, instance, landscape).run()))
    except Refused as refusal:
        return Verdict(False, kind, refusal.reason, refusal.where or "top level", {})


class _Checker:
    """One certificate under examination."""

    def __init__(self, certificate: Certificate, instance: Instance | None, landscape: Landscape | None) -> None:
        self.certificate, self.claim = certificate, certificate.claim
        self.given, self.landscape = instance, landscape
        self.budget, self.splits = Budget(), 0
        self.tally: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """Raises Refused at the first part that does not hold."""
        if isinstance(self.claim, Standalone):
            self._about_no_instance()
            examine_alone(self.claim, self.budget)
            return self.tally
        self.instance = self._instance()
        self.terms = Terms(self.instance)
        proved = self._facts()
        self.longest: int | None = (longest_step(self.instance) or ("", None))[1]
        self.bounds, self.floors = Bounds(self.instance, self.terms, proved=proved), Floors(self.instance, self.terms, proved)
        match self.claim:
            case Optimal():
                self._optimal(self.claim)
            case Bounded():
                self._bounded(self.claim)
            case Infeasible():
                self._space(None, None, frozenset(), self.claim.strategies)
            case Broken():
                self._broken(self.claim)
        return self.tally

    def _about_no_instance(self) -> None:
        """Such a claim stands alone: what else the file holds would go unexamined."""
        stated = self.certificate
        present = {"instance_sha256": stated.instance_sha256, "instance": stated.instance or self.given, "facts": stated.facts or None}
        for where, value in present.items():
            if value is not None:
                raise Refused("a claim of this kind is about no instance", where)

    def _instance(self) -> Instance:
        """The instance that the certificate is about: the given one or the one inside, of the stated hash."""
        for instance, where in ((self.certificate.instance, "instance"), (self.given, "instance_sha256")):
            if instance is not None and instance.digest() != self.certificate.instance_sha256:
                raise Refused("the SHA-256 of the instance is not the one stated", where)
        found = self.given or self.certificate.instance
        if found is None:
            raise Refused("the certificate holds no instance; give the file it is about", "instance")
        return found

    def _facts(self) -> Proved:
        """What the file's arguments show: (loads, ranks) -> least load of the heaviest rank."""
        found: dict[tuple[tuple[int, ...], int], int] = {}
        experts = self.instance.architecture.experts
        rows = 1 if self.instance.expert_load is None else len(self.instance.expert_load.counts)
        for n, fact in enumerate(self.certificate.facts):
            if fact.row >= rows or not experts or experts % fact.ranks:
                raise Refused(f"there is no row {fact.row} of {experts} experts on {fact.ranks} ranks", f"facts.{n}")
            loads = self.instance.load_of_moe_layer(fact.row)
            self.budget.take(experts)
            problem = Problem(loads=loads, classes=(RankClass(ranks=fact.ranks, slots=experts // fact.ranks),))
            try:
                refute(problem, fact.least - 1, fact.argument, self.budget)
            except Refused as refusal:
                raise Refused(refusal.reason, f"facts.{n}.{refusal.where or 'argument'}") from refusal
            found[loads, fact.ranks] = max(fact.least, found.get((loads, fact.ranks), 0))
        return found

    def _optimal(self, claim: Optimal) -> None:
        listed = self._plans(claim.plans)
        if min(listed.values()) != claim.value:
            raise Refused(f"the least value listed is {min(listed.values())}, claimed is {claim.value}", "claim.value")
        if claim.complete_to < claim.value:
            raise Refused("below the value", "claim.complete_to")
        self._refuted(claim.refuted, claim.value)
        self._space(claim.value, claim.complete_to, _within(listed, claim.complete_to), claim.strategies)

    def _bounded(self, claim: Bounded) -> None:
        listed = self._plans(claim.plans)
        if min(listed.values(), default=None) != claim.value:
            raise Refused(f"the least value listed is {min(listed.values(), default=None)}, claimed is {claim.value}", "claim.value")
        if claim.value is not None and claim.value < claim.bound:
            raise Refused("above the value", "claim.bound")
        if claim.complete_to is not None and claim.complete_to < claim.bound:
            raise Refused("below the bound", "claim.complete_to")
        if claim.refuted is not None and claim.value is None:
            raise Refused("no better plan is listed", "claim.refuted")
        self._refuted(claim.refuted, claim.value or 0)
        if claim.strategies is not None:
            cut = claim.bound - 1 if claim.complete_to is None else claim.complete_to
            self._space(claim.bound, cut, _within(listed, cut), claim.strategies)
        elif claim.complete_to is not None or claim.bound > root_bound(self.instance):
            raise Refused(
                f"without the space no bound above {root_bound(self.instance)} holds, and no list is complete", "claim.strategies"
            )

    def _plans(self, plans: Sequence[PricedPlan]) -> dict[Strategy, int]:
        """The values of the plans listed, each a plan of another strategy that runs at its value."""
        found: dict[Strategy, int] = {}
        for n, priced in enumerate(plans):
            if priced.plan.strategy in found:
                raise Refused("a plan of this strategy is listed already", f"claim.plans.{n}.plan")
            self._runs_at_its_value(priced, f"claim.plans.{n}")
            found[priced.plan.strategy] = priced.value
        return found

    def _runs_at_its_value(self, priced: PricedPlan, where: str) -> None:
        plan = priced.complete()
        if plan is None:
            raise Refused("stages and placement must be given", f"{where}.plan")
        broken = violations(self.instance, plan, self.terms)
        if broken:
            raise Refused(f"breaks {broken[0].rule}: {broken[0].sentence}", f"{where}.plan")
        value = evaluate(self.instance, plan, self.terms).value
        if value != priced.value:
            raise Refused(f"the plan costs {value}, not {priced.value}", f"{where}.value")

    def _refuted(self, refuted: PricedPlan | None, value: int) -> None:
        """The refuted plan runs, and is dearer than the best plan listed."""
        if refuted is None:
            return
        self._runs_at_its_value(refuted, "claim.refuted")
        if refuted.value <= value:
            raise Refused(f"{refuted.value} is not above {value}, the best value listed", "claim.refuted.value")

    def _space(self, bound: int | None, cut: int | None, listed: frozenset[Strategy], stated: int) -> None:
        """Every strategy breaks a rule, or is above `cut`, or is listed and not below `bound`; None: must break a rule."""
        if self.landscape is not None:
            self._landscape(self.landscape, bound, cut, listed, stated)
            return
        seen = 0
        for visited, block in enumerate(blocks(self.instance)):
            seen += block.size
            if seen > stated:
                raise Refused(f"the space has more strategies than the {stated} claimed", "claim.strategies")
            if seen + visited > MOST_STRATEGIES:
                raise Refused(f"the space is above {MOST_STRATEGIES} strategies, too large for this checker", "claim.strategies")
            if block.size:
                self._block(block, bound, cut, listed)
        if seen != stated:
            raise Refused(f"the space has {seen} strategies, claimed are {stated}", "claim.strategies")

    def _landscape(self, shared: Landscape, bound: int | None, cut: int | None, listed: frozenset[Strategy], stated: int) -> None:
        """As `_space`, by way of a relaxation of the instance: what costs too much there or does not fit does so here."""
        if not relaxes(shared.instance, self.instance):
            raise Refused("the landscape is not of a relaxation of this instance", "instance")
        if shared.steps > MOST_STRATEGIES:
            raise Refused(f"the space is above {MOST_STRATEGIES} strategies, too large for this checker", "claim.strategies")
        if shared.size != stated:
            raise Refused(f"the space has {shared.size} strategies, claimed are {stated}", "claim.strategies")
        for least, s in shared.candidates(self.instance):
            if cut is not None and least > cut:
                break
            if s is not None:
                how = self._strategy(s, value_of(self.instance, s), bound, cut, listed) if self.bounds.fits(s) else "rule"
                self.tally[how] += 1
        self.tally["landscape"] = stated - self.tally.total()

    def _block(self, block: Block, bound: int | None, cut: int | None, listed: frozenset[Strategy]) -> None:
        value = value_of(self.instance, next(block.strategies()))
        for m in block.microbatches:
            if how := self._disposed(self.floors.step_ns(block, m), value, cut):
                self.tally[how] += len(block.sides) * len(block.orders)
                continue
            for side in block.sides:
                if how := self._disposed(self.floors.step_ns(block, m, side), value, cut):
                    self.tally[how] += len(block.orders)
                    continue
                for order in block.orders:
                    self.tally[self._strategy(block.strategy(m, side, order), value, bound, cut, listed)] += 1

    def _disposed(self, step: int | str, value: Value, cut: int | None) -> str | None:
        """How a rule or a lower bound on the pass disposes of strategies; None where it does not."""
        if isinstance(step, str) or (self.longest is not None and step > self.longest):
            return "rule"
        return "bound" if cut is not None and value.of(step) > cut else None

    def _strategy(self, s: Strategy, value: Value, bound: int | None, cut: int | None, listed: frozenset[Strategy]) -> str:
        """How a strategy is disposed of: by a rule, by its bound, or as one of those listed."""
        priced = () if cut is None and self.longest is None else (self.floors.priced_ns,)
        for bounded in (*priced, self.bounds.work, self.bounds.quick, self._exact):
            step = bounded(s)
            if how := self._disposed(step, value, cut):
                return how
        assert isinstance(step, int), "what breaks a rule is disposed of"
        least = value.of(step)
        if bound is None:
            raise Refused(f"{s.label()} is not refuted by any rule", "claim")
        if least < bound:
            raise Refused(f"{s.label()} may cost as little as {least}, which is below {bound}", "claim")
        if s not in listed:
            raise Refused(f"{s.label()} may cost as little as {least} and is not listed", "claim.plans")
        return "listed"

    def _exact(self, s: Strategy) -> int | str:
        self.splits += 1
        if self.splits > MOST_SPLITS:
            raise Refused(f"more than {MOST_SPLITS} strategies need their best split, which is too much for this checker", "claim")
        solution = self.bounds.exact(s)
        return solution if isinstance(solution, str) else solution.step_ns

    def _broken(self, claim: Broken) -> None:
        """The plan breaks each rule named, with the numbers given; an open one cannot be completed."""
        s, plan = claim.plan.strategy, PricedPlan(plan=claim.plan, value=0).complete()
        if plan is not None:
            found = violations(self.instance, plan, self.terms)
        else:
            found = list(strategy_violations(self.instance, s))
            if not found:
                rule = self.bounds.exact(s)
                found = [Violation(rule, "")] if isinstance(rule, str) else []
        numbers = {(v.rule, v.need, v.have) for v in found}
        for n, named in enumerate(claim.rules):
            if (named.rule, named.need, named.have) not in numbers:
                raise Refused(f"the plan does not break {named.rule} with these numbers", f"claim.rules.{n}")


def _within(listed: dict[Strategy, int], cut: int) -> frozenset[Strategy]:
    return frozenset(s for s, value in listed.items() if value <= cut)
