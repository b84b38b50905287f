"""Nightly: enumeration, the joint CP-SAT model, the checker and brute force on many random instances.

python -m benchmarks.agreement [--count N] [--first SEED]
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from brute import solve
from random_instances import random_instance

from models.result import Claim
from optimizer.certify import certificate_of
from optimizer.check import confirm
from optimizer.encoding.tables import TooLarge
from optimizer.enumerate import enumerate_space
from optimizer.look import Effort
from optimizer.solve import SolverLimits, solve_jointly

EPSILON_PPM = 50_000
LIMITS = SolverLimits(deterministic=100.0, seconds=None, seed=0, workers=1)


def answer(claim: Claim) -> tuple[object, ...]:
    """What a claim says: status, bound, optimal and near-optimal strategies with their values."""
    return claim.status, claim.bound, {c.plan.strategy for c in claim.optimal}, {(c.plan.strategy, c.value) for c in claim.near}


def disagreement(seed: int) -> tuple[str, str | None]:
    """The kind of instance, and how the routes differ; None when they agree."""
    instance = random_instance(seed)
    truth = solve(instance)
    enumerated = enumerate_space(instance, EPSILON_PPM, Effort(10**9, None), lambda _: None)
    confirm(certificate_of(instance, enumerated), instance)
    found = (enumerated.bound, sorted(c.plan.strategy for c in enumerated.optimal), enumerated.strategies, enumerated.feasible)
    expected = (truth.value, list(truth.optimal), truth.strategies, truth.feasible)
    if found != expected:
        return "differs", f"seed {seed}: enumeration {found}, brute force {expected}"
    try:
        joint = solve_jointly(instance, EPSILON_PPM, LIMITS, lambda _: None)
    except TooLarge as error:
        return "beyond the joint model", str(error) and None
    confirm(certificate_of(instance, joint), instance)
    if answer(joint) != answer(enumerated):
        return "differs", f"seed {seed}: joint {answer(joint)}, enumeration {answer(enumerated)}"
    return enumerated.status, None


def main() -> int:
    """Exit 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    started, kinds = time.monotonic(), Counter[str]()
    for seed in range(arguments.first, arguments.first + arguments.count):
        kind, message = disagreement(seed)
        kinds[kind] += 1
        if message:
            print(message, flush=True)
    print(f"{arguments.count} instances in {time.monotonic() - started:.0f} s: {dict(kinds)}")
    return 1 if kinds["differs"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
