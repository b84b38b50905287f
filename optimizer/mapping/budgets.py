"""How much of each layer's load may be served off home: a front per layer, and one budget shared out among the layers."""

from collections.abc import Sequence

from models.units import PPM
from optimizer.mapping.hierarchy import SoftLayer
from optimizer.mapping.layers import Task

GRID = (0, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 130_000, 160_000, 200_000, 250_000, 300_000, 400_000)  # ppm off home
FLAT = 1e-5  # of the largest node load: no gain


def front_of_layer(task: Task) -> list[float]:
    """Of the linear program: the largest node load over the mean, at each point of the grid, under the worst workload."""
    found = []
    for limit in GRID:
        problems = tuple(task._replace(off_home_ppm=limit).problem(s) for s in range(len(task.loads)))
        soft = SoftLayer(problems, 0, 0)
        thetas = [soft.theta(s) for s in range(len(problems))]
        found.append(max(thetas) * task.setting.nodes)
        if len(found) > 1 and found[-1] >= found[-2] - FLAT and found[-1] <= 1 + FLAT:
            break
    return found + [found[-1]] * (len(GRID) - len(found))


def share_budget(fronts: Sequence[Sequence[float]], mean_ppm: int) -> list[int]:
    """A limit off home for each layer, parts per million, `mean_ppm` in the mean: every next part where it lowers the load most.

    Parts are edges of a front's lower convex hull: a front is level where the linear program has no optimum.
    What is left for less than a part goes to the layer that it helps most, of those that it helps.
    """
    hulls = [_hull(front) for front in fronts]
    at, left = [0] * len(fronts), mean_ppm * len(fronts)
    limits = [0] * len(fronts)
    while True:
        edges = [
            ((fronts[n][a] - fronts[n][b]) / (GRID[b] - GRID[a]), -n)
            for n, hull in enumerate(hulls)
            for a, b in zip(hull[at[n] : at[n] + 1], hull[at[n] + 1 : at[n] + 2], strict=False)
        ]
        fitting = [(rate, n) for rate, n in edges if GRID[hulls[-n][at[-n] + 1]] - GRID[hulls[-n][at[-n]]] <= left]
        if not fitting:
            break
        n = -max(fitting)[1]
        left -= GRID[hulls[n][at[n] + 1]] - GRID[hulls[n][at[n]]]
        at[n] += 1
        limits[n] = GRID[hulls[n][at[n]]]
    helped = [(rate, n) for rate, n in edges if fronts[-n][hulls[-n][at[-n]]] - fronts[-n][hulls[-n][at[-n]] + 1] > FLAT]
    if helped:
        limits[-max(helped)[1]] += left
    return [min(PPM, limit) for limit in limits]


def _hull(front: Sequence[float]) -> list[int]:
    """Points of the grid at the corners of the front's lower convex hull, from the first to the lowest."""
    found = [0]
    while True:
        k = found[-1]
        rates = [((front[k] - front[m]) / (GRID[m] - GRID[k]), -m) for m in range(k + 1, len(GRID)) if front[k] - front[m] > FLAT]
        if not rates:
            return found
        found.append(-max(rates)[1])
