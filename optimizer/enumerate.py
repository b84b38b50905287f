"""The whole space, one closed-form bound per strategy; then the promising ones exactly, best first."""

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from models.bounds import Bounds, root_bound
from models.enumeration import strategies
from models.evaluate import evaluate
from models.instance import Instance
from models.objective import value_of
from models.result import Candidate, Claim, Status
from models.rules import plan_violations
from models.strategy import Plan, Strategy
from models.terms import Terms
from models.units import PPM
from optimizer.place import place

Progress = Callable[[str], None]


class Effort(NamedTuple):
    """How far to look: strategies (deterministic) and seconds (not)."""

    strategies: int
    seconds: float | None


class Survivor(NamedTuple):
    """A strategy that its closed-form bound does not rule out."""

    bound: int
    number: int
    strategy: Strategy


class Survey(NamedTuple):
    """Every strategy looked at, sorted by bound."""

    survivors: list[Survivor]
    seen: int
    refuted: dict[str, int]
    limited: bool


def near_limit(value: int, epsilon_ppm: int) -> int:
    """Largest objective value within epsilon of `value`."""
    return value + value * epsilon_ppm // PPM


def survey(instance: Instance, bounds: Bounds, effort: Effort, progress: Progress) -> Survey:
    """Bound every strategy; stop early when the effort is spent."""
    deadline = None if effort.seconds is None else time.monotonic() + effort.seconds
    found: list[Survivor] = []
    refuted: Counter[str] = Counter()
    number = 0
    for number, s in enumerate(strategies(instance), start=1):
        if number > effort.strategies or (number % 512 == 0 and deadline is not None and time.monotonic() > deadline):
            return Survey(sorted(found), number - 1, dict(refuted), True)
        if number % 50_000 == 0:
            progress(f"{number} strategies bounded, {len(found)} alive")
        step = bounds.quick(s)
        if isinstance(step, str):
            refuted[step] += 1
        else:
            found.append(Survivor(value_of(instance, s).of(step), number, s))
    return Survey(sorted(found), number, dict(refuted), False)


def complete(instance: Instance, bounds: Bounds, s: Strategy) -> tuple[int, Candidate | None] | str:
    """The strategy's bound and its best plan found; or the rule that no plan of it keeps.

    No plan where placements are too large to enumerate and the one tried breaks a limit.
    """
    solution = bounds.exact(s)
    if isinstance(solution, str):
        return solution
    bound = value_of(instance, s).of(solution.step_ns)
    placements = tuple(p if p is not None else place(instance.load_of_moe_layer(n), s.ep) for n, p in enumerate(solution.placements))
    plan = Plan(s, solution.split.stages, placements)
    evaluation = evaluate(instance, plan, bounds.terms)
    if solution.exact:
        assert evaluation.step_ns == solution.step_ns, "exact bounds are attained"
    elif any(plan_violations(instance, plan, evaluation)):
        return bound, None
    return bound, Candidate(plan, evaluation.value)


def enumerate_space(instance: Instance, epsilon_ppm: int, effort: Effort, progress: Progress) -> Claim:
    """The claim that exhaustive enumeration supports; the checker has the last word."""
    bounds = Bounds(instance, Terms(instance))
    seen = survey(instance, bounds, effort, progress)
    progress(f"{seen.seen} strategies, {len(seen.survivors)} survive their bounds")
    done: list[tuple[int, int, Candidate]] = []
    bound: int | None = None
    best: int | None = None
    refuted = Counter(seen.refuted)
    undecided = False
    for survivor in seen.survivors:
        if best is not None and survivor.bound > near_limit(best, epsilon_ppm):
            break
        result = complete(instance, bounds, survivor.strategy)
        if isinstance(result, str):
            refuted[result] += 1
            continue
        least, candidate = result
        bound = least if bound is None else min(bound, least)
        if candidate is None:
            undecided = True
            continue
        done.append((survivor.number, least, candidate))
        best = candidate.value if best is None else min(best, candidate.value)
    feasible = seen.seen - sum(refuted.values())
    return _conclude(instance, seen, done, bound, best, epsilon_ppm, dict(refuted), feasible, undecided)


def _conclude(
    instance: Instance,
    seen: Survey,
    done: list[tuple[int, int, Candidate]],
    bound: int | None,
    best: int | None,
    epsilon_ppm: int,
    refuted: dict[str, int],
    feasible: int,
    undecided: bool,
) -> Claim:
    if seen.limited:
        bound = root_bound(instance)
    if best is None:
        status = Status.UNKNOWN if seen.limited or undecided else Status.INFEASIBLE
        return Claim(status, (), bound, (), None, False, seen.seen, feasible, refuted, seen.limited, "enumeration")
    assert bound is not None, "a plan was found, so a bound was"
    cut = near_limit(best, epsilon_ppm)
    ordered = [(least, c) for _, least, c in sorted(done, key=lambda d: d[0])]
    optimal = tuple(c for _, c in ordered if c.value == best)
    near = tuple(sorted((c for _, c in ordered if best < c.value <= cut), key=lambda c: c.value))
    proved = not seen.limited and not undecided and bound == best and all(least > best or c.value == best for least, c in ordered)
    decided = not seen.limited and not undecided and all(least > cut or c.value == least for least, c in ordered)
    if not proved:
        optimal = optimal[:1]
    status = Status.OPTIMAL if proved else Status.FEASIBLE
    return Claim(status, optimal, min(bound, best), near, cut, decided, seen.seen, feasible, refuted, seen.limited, "enumeration")
