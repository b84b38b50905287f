"""The numbers that price a plan and may be off: each as a record, with the direction in which plans get dearer.

Direction, for every plan and with all rounding: demand is rounded up once per term as a quotient by
a rate, so it never grows with the rate; a term grows by no less with a latency or a launch; a layer costs
compute + comm - min(floor(comm * overlap), compute), which falls with the overlap and, as overlap <= 1, never
falls when compute or comm grows. Sums and maxima keep the direction. Memory enters one rule only, R15.
"""

from functools import reduce
from math import gcd
from typing import Literal, NamedTuple, cast

from pydantic import BaseModel

from models.architecture import Part
from models.formats import computes_in
from models.instance import Instance
from models.roofline import peak_format
from models.units import MAX_INT, PPM, ceil_div
from models.workload import ExpertLoad

Direction = Literal["faster", "slower", "roomier", "uneven"]
"""More of it: no plan is dearer; no plan is cheaper; costs stay and no plan stops fitting; loads are less even, no direction."""

MOST_LOAD = 10**12  # of one expert in a row, see `models.workload`
MOST_SKEW = 4 * PPM


class Coefficient(NamedTuple):
    """One number of an instance: where the file states it, its unit and limits, and what more of it does."""

    name: str
    path: str
    """dotted, as `--set` spells it; "expert_load" for the skew, which no single field holds"""
    more_is: Direction
    unit: str
    least: int
    most: int
    """limits of the field, both included"""


_POOL = "cluster.pools.0"
_ACCELERATOR = f"{_POOL}.accelerator"

HBM = Coefficient("hbm_bandwidth", f"{_ACCELERATOR}.hbm_bytes_per_s", "faster", "bytes/s", 1, MAX_INT)
GEMM = Coefficient("gemm_efficiency", f"{_ACCELERATOR}.gemm_efficiency_ppm", "faster", "ppm", 1, PPM)
EXPERT_GEMM = Coefficient("expert_gemm_efficiency", f"{_ACCELERATOR}.expert_gemm_efficiency_ppm", "faster", "ppm", 1, PPM)
ATTENTION = Coefficient("attention_efficiency", f"{_ACCELERATOR}.attention_efficiency_ppm", "faster", "ppm", 1, PPM)
HBM_EFFICIENCY = Coefficient("hbm_efficiency", f"{_ACCELERATOR}.hbm_efficiency_ppm", "faster", "ppm", 1, PPM)
LAUNCH = Coefficient("kernel_launch", f"{_ACCELERATOR}.kernel_launch_ns", "slower", "ns", 0, MAX_INT)
UP_BANDWIDTH = Coefficient("scale_up_bandwidth", f"{_POOL}.scale_up.bandwidth_bytes_per_s", "faster", "bytes/s", 1, MAX_INT)
UP_LATENCY = Coefficient("scale_up_latency", f"{_POOL}.scale_up.latency_ns", "slower", "ns", 0, MAX_INT)
OUT_BANDWIDTH = Coefficient("scale_out_bandwidth", f"{_POOL}.scale_out.bandwidth_bytes_per_s", "faster", "bytes/s", 1, MAX_INT)
OUT_LATENCY = Coefficient("scale_out_latency", f"{_POOL}.scale_out.latency_ns", "slower", "ns", 0, MAX_INT)
OVERLAP = Coefficient("overlap", "runtime.overlap_ppm", "faster", "ppm", 0, PPM)
MEMORY = Coefficient("memory", f"{_ACCELERATOR}.memory_bytes", "roomier", "bytes", 1, MAX_INT)
SKEW = Coefficient("skew", "expert_load", "uneven", "ppm", 0, MOST_SKEW)


def peak_of(dtype: str) -> Coefficient:
    """The dense peak of one number format."""
    return Coefficient(f"{dtype}_peak", f"{_ACCELERATOR}.peak_flop_per_s.{dtype}", "faster", "FLOP/s", 1, MAX_INT)


def coefficients(instance: Instance) -> tuple[Coefficient, ...]:
    """Every coefficient that some plan's price or fit depends on, in the order of the schema; skew last, where loads are given."""
    arch = instance.architecture
    chip = instance.cluster.pool.accelerator
    peaks = [peak_of(dtype) for dtype in dict.fromkeys(peak_format(chip, computes_in(stored)) for stored in arch.formats())]
    experts = [EXPERT_GEMM] if arch.experts else []
    links = [UP_BANDWIDTH, UP_LATENCY, OUT_BANDWIDTH, OUT_LATENCY]
    skew = [SKEW] if instance.expert_load is not None else []
    return (MEMORY, HBM, *peaks, GEMM, *experts, ATTENTION, HBM_EFFICIENCY, LAUNCH, *links, OVERLAP, *skew)


def is_plain(instance: Instance) -> bool:
    """Whether every time is a sum of demands at constant prices: flat efficiencies, rounds of latency, no overheads of an engine.

    Curves, measured laws and scaled operators keep the direction of every coefficient, but not these proportions.
    """
    pool, runtime = instance.cluster.pool, instance.runtime
    stated = runtime.step_ns, runtime.launch_share_ppm, runtime.operator_scale_ppm, runtime.dp_imbalance_ppm, runtime.expert_exchange
    neutral = stated == (0, PPM, PPM, 0, "hierarchical")
    return (
        neutral
        and not (pool.accelerator.curves or pool.accelerator.tables or pool.scale_up.laws or pool.scale_out.laws)
        and pool.scale_up.topology == "switched"
    )


def has_one_peak(instance: Instance) -> bool:
    """Whether all GEMMs compute in one format, the router (which is not quantised) included."""
    arch = instance.architecture
    parts: tuple[Part, ...] = ("attention", "ffn", "experts", "embedding")
    formats = {computes_in(arch.format_of(part)) for part in parts} | ({arch.activation_dtype} if arch.experts else set())
    return len(formats) == 1 and formats <= set(instance.cluster.pool.accelerator.peak_flop_per_s)


def coefficient_named(instance: Instance, name: str) -> Coefficient | None:
    """The instance's coefficient of that name."""
    return next((c for c in coefficients(instance) if c.name == name), None)


def value_of(instance: Instance, coefficient: Coefficient) -> int:
    """What the instance states; the skew of the loads as they are given is PPM."""
    if coefficient.name == SKEW.name:
        return PPM
    node: object = instance
    for step in coefficient.path.split("."):
        node = _child(node, step)
    assert isinstance(node, int), "a coefficient is a number"
    return node


def with_value(instance: Instance, coefficient: Coefficient, value: int) -> Instance:
    """The instance with another value of one coefficient. Raises ValueError outside the field's limits."""
    if not coefficient.least <= value <= coefficient.most:
        raise ValueError(f"{coefficient.path} = {value} is outside {coefficient.least}..{coefficient.most}")
    if coefficient.name == SKEW.name:
        return _with_skew(instance, value)
    return cast(Instance, _replaced(instance, coefficient.path.split("."), value))


def _child(node: object, step: str) -> object:
    match node:
        case tuple():
            return node[int(step)]
        case dict():
            return node[step]
        case _:
            return getattr(node, step)


def _replaced(node: object, steps: list[str], value: int) -> object:
    """The node with the number at the end of `steps` replaced: all records on the way are copied, none is changed."""
    if not steps:
        return value
    step, *rest = steps
    new = _replaced(_child(node, step), rest, value)
    match node:
        case tuple():
            return (*node[: int(step)], new, *node[int(step) + 1 :])
        case dict():
            return node | {step: new}
        case BaseModel():
            return node.model_copy(update={step: new})
    raise TypeError(f"nothing to replace at {step}")


def _with_skew(instance: Instance, ppm: int) -> Instance:
    loads = instance.expert_load
    if loads is None:
        raise ValueError("the instance gives no expert_load, so there is no skew to vary")
    rows = tuple(blend(row, ppm) for row in loads.counts)
    return instance.model_copy(update={"expert_load": ExpertLoad(counts=rows, source=loads.source)})


def blend(row: tuple[int, ...], ppm: int) -> tuple[int, ...]:
    """load_e(x) = max(0, x * load_e + (1 - x) * mean) for x = ppm / PPM, in whole units of a common scale.

    x = 0 is uniform, 1 the row itself, above 1 less even. Only ratios of loads matter; where the
    numbers exceed what a file may hold, they are rounded down to a coarser scale.
    """
    if ppm == PPM:
        return row
    total = sum(row)
    mixed = [max(0, ppm * len(row) * w + (PPM - ppm) * total) for w in row]
    scale = reduce(gcd, mixed)
    coarse = ceil_div(max(mixed) // scale, MOST_LOAD)
    return tuple(w // scale // coarse for w in mixed)
