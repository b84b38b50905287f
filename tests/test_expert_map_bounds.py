"""Bounds and arguments about expert maps against every placement of small layers: what is accepted is true."""

from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil
from random import Random

import pytest
from argument_cases import tightened
from map_argument_cases import accepted, first_of, priced_nodes, problem_of, random_counts, random_nodes, random_steps, thresholds
from map_cases import GRAIN, Contents, admitted, contents_of, largest, least, random_layer, random_loads, shares

from models.dispatch import equal_split, heaviest_load, nearest_split
from models.expert_map import Setting, closed_bound
from models.load_bounds import fixed_bound, home_bound, least_load, mean_bound, replica_bound
from models.map_arguments import MapArgument, MapProblem, Steps
from models.packing import Problem, RankClass
from optimizer.mapping.pairs import place_pairs

CHUNKS = range(4)
KINDS = ("free", "fixed", "homes", "limit")
SMALL = 400  # placements of a shape, where each is looked at in fractions


def closed_forms(problem: MapProblem, equal: bool = True) -> Iterator[tuple[str, int]]:
    """Every closed form that speaks about the problem."""
    loads, m, slots = problem.loads, problem.ranks, problem.slots
    yield "all", closed_bound(Setting(ranks=m, slots=slots, nodes=problem.nodes, dispatch="equal" if equal else "free"), problem)
    yield "mean", mean_bound(loads, m)
    yield "replicas", replica_bound(loads, m, slots)
    yield "least", least_load(loads, m, slots)
    if problem.fixed is not None and equal:
        yield "fixed", fixed_bound(loads, problem.fixed, m)
    if problem.homes is not None and problem.off_home_ppm == 0:
        yield "homes", home_bound(loads, problem.homes, m, problem.nodes, slots)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_closed_form_exceeds_the_best_placement(kind: str, chunk: int) -> None:
    rng, attained = Random(f"closed {kind} {chunk}"), Counter[str]()
    for _ in range(200):
        layer = random_layer(rng, kind, workloads=rng.choice([1, 1, 2]))
        for workload in range(len(layer.loads)):
            best = least(layer, workload)
            assert best is not None
            for scale in (1, GRAIN):
                for name, bound in closed_forms(problem_of(layer, scale, workload)):
                    assert bound <= ceil(best * scale), (name, scale, layer, best)
                    attained[name] += bound == ceil(best * scale)
    assert min(attained.values()) >= 8, attained


@pytest.mark.parametrize("dispatch", ["nearest", "free"])
def test_no_closed_form_exceeds_the_best_placement_under_other_dispatch_rules(dispatch: str) -> None:
    rng, attained = Random(f"closed {dispatch}"), 0
    for n in range(120):
        layer = random_layer(rng, KINDS[n % 4], most=SMALL)
        layer = layer if layer.off_home_ppm is None else layer._replace(off_home_ppm=0)
        best = min((largest(contents_of(p), layer.loads[0], dispatch, layer.nodes) for p in admitted(layer)), default=None)
        for _, bound in closed_forms(problem_of(layer, GRAIN), equal=False):
            assert best is None or bound <= ceil(best * GRAIN), (layer, best)
            attained += best is not None and bound == ceil(best * GRAIN)
    assert attained >= 100


def test_every_dispatch_rule_is_the_one_defined() -> None:
    rng = Random("dispatch")
    for _ in range(600):
        held, experts, nodes = random_contents(rng)
        loads = random_loads(rng, experts)
        exact, scale = equal_split(held, loads)
        assert [Fraction(x, scale) for x in exact] == shares(held, loads, "equal", nodes)
        exact, scale = nearest_split(held, loads, nodes)
        assert [Fraction(x, scale) for x in exact] == shares(held, loads, "nearest", nodes), (held, loads, nodes)
        for unit in (1, GRAIN):
            fine = tuple(w * unit for w in loads)
            assert heaviest_load(held, fine, "equal", nodes) == ceil(largest(held, fine, "equal", nodes))
            assert heaviest_load(held, fine, "nearest", nodes) == ceil(largest(held, fine, "nearest", nodes))
            assert heaviest_load(held, fine, "free", nodes) == ceil(largest(held, fine, "free", nodes)), (held, loads)


def random_contents(rng: Random) -> tuple[Contents, int, int]:
    """Ranks of equally many different experts, of which each is somewhere; how many experts and nodes."""
    while True:
        nodes, slots, experts = rng.choice([1, 1, 2, 3]), rng.randint(1, 4), rng.randint(1, 7)
        ranks = nodes * rng.randint(1, 8 // nodes)
        if slots <= experts:
            held = tuple(tuple(rng.sample(range(experts), slots)) for _ in range(ranks))
            if len({e for rank in held for e in rank}) == experts:
                return held, experts, nodes


# Arguments. Each is tried at thresholds around the best placement, and counted where it is accepted.


ARGUED: dict[str, tuple[tuple[str, ...], Callable[[Random, MapProblem, int], MapArgument], int, int]] = {
    # kinds of layers, arguments, how many of each layer, how many must be accepted just below the best placement
    "steps": (("free", "fixed"), random_steps, 40, 80),
    "counts": (("free", "free", "fixed"), lambda rng, p, t: random_counts(rng, p, t, rng.randint(1, 3)), 25, 40),
    "nodes": (("homes", "limit"), random_nodes, 25, 40),
    "prices of the program": (("homes", "limit", "limit"), priced_nodes, 2, 15),
}


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("kind", ARGUED)
def test_an_argument_that_is_accepted_is_true(kind: str, chunk: int) -> None:
    layers, made, times, wanted = ARGUED[kind]
    rng, near = Random(f"{kind} {chunk}"), 0
    for _ in range(70):
        layer, scale = random_layer(rng, rng.choice(layers), redundant=rng.choice([None, True])), rng.choice([1, 1, 7, GRAIN])
        best = least(layer)
        assert best is not None
        problem = problem_of(layer, scale)
        for threshold in thresholds(rng, best * scale):
            for _ in range(times):
                argument = made(rng, problem, threshold)
                if accepted(problem, threshold, argument):
                    assert threshold < best * scale, (layer, scale, threshold, argument, best)
                    near += threshold >= best * scale * Fraction(9, 10) - 1
    assert near >= wanted, near


def test_the_solvers_own_arguments_refute_no_more_than_is_true() -> None:
    rng, found = Random("pairs"), 0
    for _ in range(40):
        layer = random_layer(rng, redundant=True)._replace(slots=2)
        if layer.ranks * 2 <= layer.experts:
            continue
        best, problem = least(layer), problem_of(layer, GRAIN)
        assert best is not None
        paired = place_pairs(problem, closed_bound(Setting(ranks=layer.ranks, slots=2), problem), 20, 0)
        assert paired.bound <= best * GRAIN
        if paired.argument is not None:
            found += 1
            true = [t for t in (paired.bound - 1, *thresholds(rng, best * GRAIN)) if accepted(problem, t, paired.argument)]
            assert true[0] < max(true) + 1 <= best * GRAIN
    assert found >= 3


@pytest.mark.parametrize("kind", ["prices", "split", "branch"])
def test_arguments_about_placement_problems_are_true_without_redundancy_and_refused_with_it(kind: str) -> None:
    rng, near = Random(kind), 0
    for _ in range(60 if kind == "branch" else 200):
        layer = random_layer(rng, rng.choice(["free", "free", "homes"]), most=1000)
        if layer.ranks * layer.slots > layer.experts:
            if layer.ranks * layer.slots > 6:
                continue
            layer = layer._replace(loads=(random_loads(rng, layer.ranks * layer.slots),), homes=None, nodes=1)
        best, problem = least(layer), problem_of(layer, 1)
        assert best is not None
        flat = Problem(loads=problem.loads, classes=(RankClass(ranks=layer.ranks, slots=layer.slots),))
        for bound in (ceil(best), ceil(best) + 1):
            for _, claimed, argument in tightened(flat, bound, first_of(kind, rng, flat, bound)):
                assert argument is not None
                if accepted(problem, claimed - 1, argument):
                    near += 1
                    assert claimed - 1 < best, (layer, claimed, argument)
                assert not accepted(problem._replace(loads=problem.loads[:-1]), claimed - 1, argument)
                assert not accepted(problem._replace(ranks=problem.ranks + 1), claimed - 1, argument)
    assert near >= 15, near


def test_the_worth_of_a_rank_is_that_of_the_best_sizes() -> None:
    """`Steps` alone: the experts are as many as fill every rank, so that the argument holds iff supply exceeds what is looked up."""
    rng = Random("worth")
    for _ in range(400):
        slots, room = rng.randint(1, 3), rng.randint(0, 9)
        rises = tuple(sorted((rng.randint(0, 10), rng.randint(0, 3)) for _ in range(rng.randint(0, 4))))
        steps = Steps(kind="steps", base=rng.randint(-3, 3), steps=rises)

        def worth(size: int, steps: Steps = steps) -> int:
            return steps.base + sum(rise for at, rise in steps.steps if at <= size)

        def best(slots: int, room: int, worth: Callable[[int], int] = worth) -> int:
            return max(worth(s) + (best(slots - 1, room - s) if slots > 1 else 0) for s in range(room + 1))

        loads = tuple(rng.randint(0, room) for _ in range(slots))
        problem = MapProblem(loads, 1, 1, slots)
        assert accepted(problem, room, steps) == (sum(map(worth, loads)) > best(slots, room))
