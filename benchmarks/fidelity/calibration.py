"""The four overheads of each engine, fitted to measured rows; and the errors of cells that took no part in the fit.

python -m benchmarks.fidelity.calibration ROWS.csv [--leave-out model|accelerator]

A pass is host + share * fixed + scale * running + communication, so each row is priced twice and its prediction is a
closed form of the four scalars. They minimise the mean and a part of the 90th percentile of |log(predicted / measured)|.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.fidelity.cases import Case, Unpriced
from benchmarks.fidelity.metrics import metric_of
from benchmarks.fidelity.parts import preset_of
from benchmarks.fidelity.pricing import engine_plan, in_flight, run
from benchmarks.fidelity.rows import Row
from benchmarks.fidelity.scenes import lengths_of, workers_of
from models.instance import Instance
from models.strategy import Plan
from models.units import PPM

Floats = NDArray[np.float64]
STARTS = (np.array([0.5, 0.7, 1.0, 1.0]), np.array([2.0, 0.4, 1.0, 1.0]), np.array([0.2, 1.2, 0.9, 0.7]))
PRIOR, WIDTH, STIFFNESS = np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, 0.5, 0.25, 0.4]), 3.0
LEAST, MOST = np.array([0.0, 0.05, 0.3, 0.1]), np.array([20.0, 4.0, 3.0, 3.0])
CAP, TAIL = 1.0, 0.3  # a row's error counts up to CAP; weight of the 90th percentile


class Sample(NamedTuple):
    """A measured time per output token, and what its prediction is made of, ms."""

    case: Case
    measured: float
    decode: tuple[float, float, float]
    """fixed, running and communication of a decode step"""
    prefill: tuple[float, float, float]
    """the same of the prefills that one output token of one request has to wait for"""


def sample_of(row: Row) -> Sample | None:
    """The sample of a row of TPOT on an aggregated server; None for others and what cannot be priced."""
    metric = metric_of(row.metric)
    if row.case is None or metric is None or metric.quantity.label != "TPOT" or row.case.mode != "aggregated" or row.case.mtp:
        return None
    workers, lengths = workers_of(row.case), lengths_of(row.case)
    found = engine_plan(row.case, workers)
    if isinstance(found, Unpriced) or lengths is None:
        return None
    sequences = in_flight(row.case, found, lengths, workers.count)
    waited = (sequences - 1) / lengths.output
    decode = split_of(found, lambda f: run(f, sequences, lengths.context, steady=True).ns)
    prefill = split_of(found, lambda f: run(f, 1, lengths.prompt, lengths.prompt).ns)
    return Sample(row.case, row.value, decode, (prefill[0] * waited, prefill[1] * waited, prefill[2] * waited))


def split_of(found: tuple[Instance, Plan], price: Callable[[tuple[Instance, Plan]], int]) -> tuple[float, float, float]:
    """Fixed, running and communication time of a pass, ms, by pricing it with three sets of overheads."""
    whole, no_fixed, half = (price(with_overheads(found, share, scale)) for share, scale in ((PPM, PPM), (1, PPM), (PPM, PPM // 2)))
    fixed, running = whole - no_fixed, 2 * (whole - half)
    return fixed / 1e6, running / 1e6, (whole - fixed - running) / 1e6


def with_overheads(found: tuple[Instance, Plan], share_ppm: int, scale_ppm: int) -> tuple[Instance, Plan]:
    """The same engine without host time and with these two overheads."""
    instance, plan = found
    update = {"step_ns": 0, "launch_share_ppm": share_ppm, "operator_scale_ppm": scale_ppm}
    return instance.model_copy(update={"runtime": instance.runtime.model_copy(update=update)}), plan


def predicted(samples: list[Sample], x: Floats) -> Floats:
    """TPOT of each sample under the overheads step (ms), launch share, operator scale, interference."""
    decode, prefill = np.array([s.decode for s in samples]), np.array([s.prefill for s in samples])
    weights = np.array([x[1], x[2], 1.0])
    result: Floats = x[0] + decode @ weights + x[3] * (prefill @ weights)
    return result


def loss(samples: list[Sample], x: Floats) -> float:
    """What the fit minimises; few rows move the overheads little from `PRIOR`."""
    errors = np.minimum(np.abs(np.log(predicted(samples, x) / np.array([s.measured for s in samples]))), CAP)
    return float(errors.mean() + TAIL * np.quantile(errors, 0.9) + STIFFNESS / len(samples) * (((x - PRIOR) / WIDTH) ** 2).sum())


def fitted(samples: list[Sample]) -> Floats:
    """The overheads of least loss, by pattern search from several starts within limits."""
    return min((searched(samples, start) for start in STARTS), key=lambda x: loss(samples, x))


def searched(samples: list[Sample], x: Floats) -> Floats:
    """Coordinate steps that shrink while none helps."""
    step, best = np.array([0.5, 0.3, 0.2, 0.3]), loss(samples, x)
    while step.max() > 0.002:
        improved = False
        for k in range(4):
            for sign in (1, -1):
                trial = x.copy()
                trial[k] = np.clip(trial[k] + sign * step[k], LEAST[k], MOST[k])
                value = loss(samples, trial)
                if value < best - 1e-9:
                    x, best, improved = trial, value, True
        step = step if improved else step / 2
    return x


def errors_pct(samples: list[Sample], x: Floats) -> Floats:
    result: Floats = 100 * np.abs(predicted(samples, x) / np.array([s.measured for s in samples]) - 1)
    return result


def by_engine(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Samples by the catalogue's engine."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[preset_of(sample.case)].append(sample)
    return dict(sorted(found.items()))


def left_out(samples: list[Sample], field: str) -> list[tuple[str, str, int, Floats]]:
    """Each cell priced with overheads fitted to the other cells of its engine; of all engines where fewer than ten rows remain."""
    found = []
    for engine, own in by_engine(samples).items():
        for value in sorted({getattr(s.case, field) for s in own}):
            cell, rest = ([s for s in own if (getattr(s.case, field) == value) == same] for same in (True, False))
            for wider in (engine.split("-")[0], ""):
                if len(rest) < 10:
                    rest = [s for s in samples if preset_of(s.case).startswith(wider) and getattr(s.case, field) != value]
            if rest:
                found.append((engine, str(value), len(cell), errors_pct(cell, fitted(rest))))
    return found


def main(argv: list[str]) -> int:
    from benchmarks.fidelity.__main__ import project_pricing
    from benchmarks.fidelity.rows import read_rows

    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity.calibration", description="Fits the overheads of each engine.")
    parser.add_argument("rows", type=Path, metavar="ROWS.csv")
    parser.add_argument("--leave-out", choices=("model", "accelerator", "engine"), help="errors of cells that took no part in the fit")
    arguments = parser.parse_args(argv)
    samples = [s for row in read_rows(arguments.rows, project_pricing()) if row.headline and (s := sample_of(row)) is not None]
    if arguments.leave_out:
        cells = left_out(samples, arguments.leave_out)
        for engine, value, n, errors in cells:
            print(f"{engine:10} {value:20} n={n:4}  median {np.median(errors):5.1f} %  p90 {np.quantile(errors, 0.9):6.1f} %")
        every = np.concatenate([errors for *_, errors in cells])
        print(f"all        {'':20} n={len(every):4}  median {np.median(every):5.1f} %  p90 {np.quantile(every, 0.9):6.1f} %")
        return 0
    for engine, own in by_engine(samples).items():
        x = fitted(own)
        errors = errors_pct(own, x)
        print(
            f"{engine:10} n={len(own):4}  step {x[0] * 1000:6.0f} us  launch share {x[1]:.3f}  operator scale {x[2]:.3f}  "
            f"interference {x[3]:.3f}  median {np.median(errors):.1f} %  p90 {np.quantile(errors, 0.9):.1f} %"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
