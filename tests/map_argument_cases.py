"""Random arguments about small expert maps, near the edge of what holds."""

from fractions import Fraction
from math import ceil, floor
from random import Random

from argument_cases import random_branch, random_prices
from map_cases import Layer

from models.arguments import Argument, Budget, Split
from models.map_arguments import Counts, MapArgument, MapProblem, NodePrices, Steps, refute_map
from models.packing import Problem, Refused
from optimizer.encoding.node_level import NodeLevel, price_nodes


def problem_of(layer: Layer, scale: int, workload: int = 0) -> MapProblem:
    """The layer with its loads counted in 1/scale."""
    loads = tuple(w * scale for w in layer.loads[workload])
    return MapProblem(loads, layer.ranks, layer.nodes, layer.slots, layer.fixed, layer.homes, layer.off_home_ppm)


def accepted(problem: MapProblem, threshold: int, argument: MapArgument) -> bool:
    try:
        refute_map(problem, threshold, argument, Budget())
    except Refused:
        return False
    return True


def thresholds(rng: Random, best: Fraction) -> list[int]:
    """Just below the best placement, at it, above it, and one anywhere."""
    near = {floor(best) + d for d in (-2, -1, 0, 1)} | {ceil(best) - 1, round(best * Fraction(rng.randint(50, 130), 100))}
    return sorted(t for t in near if t >= 0)


def random_steps(rng: Random, problem: MapProblem, threshold: int) -> Steps:
    """Rises at sizes of replicas and at what they leave of the threshold; some in pairs, as a dual feasible function has them."""
    sizes = [w // c for w in problem.loads for c in (1, 2, 3)] + [threshold // 2, threshold // 3, threshold // 2 + 1, threshold // 3 + 1]
    most, base = rng.choice([1, 2, 4]), rng.choice([0, 0, 1, rng.randint(-4, 6)])
    rises: list[tuple[int, int]] = []
    for _ in range(rng.randint(0, 4)):
        at, rise = max(0, rng.choice(sizes) + rng.choice([0, 0, 0, 1])), rng.randint(0, most)
        rises.append((at, rise))
        if rng.random() < 0.6:
            rises.append((max(0, threshold - at + rng.choice([1, 1, 1, 0])), rise))
            base -= rise * (problem.slots == 2 and rng.random() < 0.5)
    return Steps(kind="steps", base=base, steps=tuple(sorted(rises)))


def random_counts(rng: Random, problem: MapProblem, threshold: int, depth: int) -> Steps | Counts:
    if depth == 0 or rng.random() < 0.2:
        return random_steps(rng, problem, threshold)
    e = max(range(len(problem.loads)), key=lambda e: problem.loads[e]) if rng.random() < 0.6 else rng.randrange(len(problem.loads))
    sides = [random_counts(rng, problem, threshold, depth - 1) for _ in range(2)]
    return Counts(kind="counts", expert=e, most=rng.choice([0, 1, 1, 2, 2, 3, 4]), fewer=sides[0], more=sides[1])


def random_nodes(rng: Random, problem: MapProblem, _: int) -> NodePrices:
    """Prices of a token, and of a slot in the size of replicas times such a price."""
    most = rng.choice([1, 3])
    load = tuple(rng.randint(0, most) for _ in range(problem.nodes))
    sizes = [w // c for w in problem.loads for c in (1, 2, 3, 4)]
    slots = tuple(rng.choice([0, 1, 1]) * rng.choice(sizes) * rng.randint(-most, most) + rng.randint(-1, 1) for _ in load)
    return NodePrices(kind="nodes", load=load, slots=slots, off_home=rng.choice([0, 1, most]))


def priced_nodes(rng: Random, problem: MapProblem, _: int) -> NodePrices:
    """Those of the linear program, roughly, and slightly wrong now and then."""
    total, fine = sum(problem.loads), rng.choice([10, 1000, 10**7])
    options = tuple(tuple(problem.replicas(e)) for e in range(len(problem.loads)))
    limit = None if problem.off_home_ppm is None else problem.off_home_ppm / 10**6
    shares = (tuple(w / total for w in problem.loads),)
    found = price_nodes(NodeLevel(shares, problem.homes or (), problem.nodes, problem.per_node, problem.slots, options, limit))
    if found is None:
        return random_nodes(rng, problem, 0)
    error = rng.choice([0, 0, 1])
    load = tuple(max(0, round(x * fine) + rng.randint(-error, error)) for x in found.load)
    slots = tuple(round(x * fine * total) + error * rng.randint(-total, total) for x in found.slots)
    return NodePrices(kind="nodes", load=load, slots=slots, off_home=max(0, round(found.off_home * fine)))


def first_of(kind: str, rng: Random, flat: Problem, bound: int) -> Argument:
    if kind == "branch":
        return random_branch(rng, flat, bound, 60)
    if kind == "prices" or len(flat.loads) < 2:
        return random_prices(rng, flat)
    i, j = rng.sample(range(len(flat.loads)), 2)
    return Split(kind="split", pair=(i, j), together=random_prices(rng, flat), apart=random_prices(rng, flat))
