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

    The fronts are convex, so that the greedy choice makes the sum of the loads least.
    """
    at, left = [0] * len(fronts), mean_ppm * len(fronts)
    while True:
        steps = [
            ((front[k] - front[k + 1]) / (GRID[k + 1] - GRID[k]), -n)
            for n, (front, k) in enumerate(zip(fronts, at, strict=True))
            if k + 1 < len(GRID) and front[k] - front[k + 1] > FLAT and GRID[k + 1] - GRID[k] <= left
        ]
        if not steps:
            break
        n = -max(steps)[1]
        left -= GRID[at[n] + 1] - GRID[at[n]]
        at[n] += 1
    return [min(PPM, GRID[k]) for k in at]
