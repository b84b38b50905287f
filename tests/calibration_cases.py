"""Timings that a machine of the catalogue would give if it ran exactly as its record says, but for noise."""

import json
from functools import cache
from pathlib import Path
from random import Random

from models.catalogue.machines import pool_record
from models.cluster import Pool
from models.roofline import operator_ns
from optimizer.calibrating.fitting import NO_ENGINE
from optimizer.calibrating.grid import collective_cases, operator_cases
from optimizer.calibrating.laws import among
from optimizer.calibrating.timings import COLLECTIVES, Device, Timing, Timings
from optimizer.calibrating.works import work_of

NOISE = 0.03  # of each time, either way
FIXTURE = Path(__file__).parent / "timings" / "synthetic_timings.json"


@cache
def pool_of(machine: str) -> Pool:
    return Pool.model_validate_json(json.dumps(pool_record(machine, 1)))


def true_ns(pool: Pool, row: Timing) -> int:
    """What the cost model says of a row."""
    return among(pool, row).ns if row.kind in COLLECTIVES else operator_ns(pool.accelerator, NO_ENGINE, work_of(row))


@cache
def timings_of(machine: str, quick: bool = False, gpus: int = 8, noise: float = NOISE) -> Timings:
    """Timings of one node; the same from run to run."""
    pool, random = pool_of(machine), Random(machine)
    accelerator = pool.accelerator
    formats = ("bf16", "fp8") if "fp8" in accelerator.peak_flop_per_s else ("bf16",)
    rows = []
    for case in (*operator_cases(formats, quick), *collective_cases(gpus, quick)):
        row = Timing(kind=case.kind, storage=case.storage, shape=case.shape, ns=1, repeats=11)
        ns = round(true_ns(pool, row) * random.uniform(1 - noise, 1 + noise))
        rows.append(row.model_copy(update={"ns": ns}))
    device = Device(
        name=f"synthetic {machine}",
        memory_bytes=accelerator.memory_bytes,
        multiprocessors=accelerator.multiprocessors or 1,
        cache_bytes=50 * 2**20,
        gpus=gpus,
        software="no device: priced by the cost model, 3 % noise",
    )
    return Timings(format="shardproof-timings/1", device=device, timings=tuple(rows))


def text_of(timings: Timings) -> str:
    """A timings file, one row a line."""
    head = json.dumps({"format": timings.format, "device": timings.device.model_dump(mode="json")}, indent=1)[:-2]
    rows = ",\n".join(f"  {row.model_dump_json()}" for row in timings.timings)
    return f'{head},\n "timings": [\n{rows}\n ]\n}}\n'


if __name__ == "__main__":
    FIXTURE.write_text(text_of(timings_of("H100-SXM-80GB", quick=True)), encoding="utf-8")
