"""The parts of an instance that a measured configuration names: machine, model at a precision, engine, popularity of experts."""

from typing import Any

from benchmarks.fidelity.cases import Case, Unpriced, Workers
from benchmarks.fidelity.scenes import exchange_of
from models.architecture import Architecture, WeightFormats
from models.catalogue.architectures import architecture_named, architecture_names
from models.catalogue.engines import engine_names, runtime_in
from models.catalogue.machines import machine, machine_names, pool_record
from models.cluster import Pool
from models.skew import skewed_counts
from models.units import ceil_div
from models.workload import ExpertLoad, Runtime

MODELS = architecture_names()
ACCELERATORS = machine_names()

SKEW, GROUP_SKEW = 750_000, 400_000
"""Spreads of the log-normal popularity that recorded DeepSeek-V3 loads look like (hottest of 8 ranks in order: 1.8 times the mean)."""

EIGHT_BITS, FOUR_BITS = ("fp8", "fp8_block"), ("fp4", "nvfp4", "mxfp4")
OWN_FORMAT = {"bf16": "bf16", "fp16": "bf16", "fp8": "fp8", "fp4": "nvfp4", "w8a16": "w8a16", "int8": "int8", "w4a16": "int4"}


def parts_of(case: Case, workers: Workers) -> dict[str, Any] | Unpriced:
    """Cluster, architecture, runtime and expert load of one engine instance."""
    arch = at_precision(architecture_named(case.model), case)
    if arch is None:
        return Unpriced(f"precision {case.precision!r} is not modelled")
    pool = pool_of(case, workers)
    runtime = runtime_in(preset_of(case), pool.accelerator.memory_bytes, arch.hidden_size)
    exchange = {"expert_exchange": exchange_of(case, workers)}
    parts: dict[str, Any] = {
        "cluster": {"pools": (pool,)},
        "architecture": arch,
        "runtime": Runtime.model_validate(runtime | exchange),
    }
    balanced = case.redundant_experts or case.expert_slots
    if arch.experts and not balanced:
        counts = skewed_counts(arch.experts, SKEW, GROUP_SKEW)
        parts["expert_load"] = ExpertLoad(counts=(counts,), source="assumed: log-normal popularity, see models/skew.py")
    return parts


def pool_of(case: Case, workers: Workers) -> Pool:
    """As many nodes of the machine as one engine instance needs; a row may state smaller nodes than the catalogue does."""
    node = machine(case.accelerator).pool
    per_node = min(case.gpus_per_node, node.gpus_per_node)
    domain = node.scale_up_domain_gpus if node.scale_up_domain_gpus > node.gpus_per_node else min(node.scale_up_domain_gpus, per_node)
    gpus = workers.tp * workers.pp * workers.dp * case.cp
    # Behind an all-to-all, engines run other grouped GEMMs (DeepGEMM, CUTLASS) than those of their own tables.
    kernels = case.engine if exchange_of(case, workers) == "gather" else "none"
    record = pool_record(case.accelerator, ceil_div(gpus, per_node), kernels)
    return Pool.model_validate(tuples(record | {"gpus_per_node": per_node, "scale_up_domain_gpus": domain}))


def preset_of(case: Case) -> str:
    """The catalogue's engine; "none" for engines it does not know."""
    return case.engine if case.engine in engine_names() else "none"


def at_precision(arch: Architecture, case: Case) -> Architecture | None:
    """The model as it ran: in the checkpoint's own formats where they are of that precision, otherwise all linear layers in one format."""
    storage = OWN_FORMAT.get(case.precision)
    if storage is None:
        return None
    stored = set(arch.formats())
    own = (case.precision == "fp8" and stored & set(EIGHT_BITS)) or (case.precision == "fp4" and stored & set(FOUR_BITS))
    weights = arch.weights if own else WeightFormats(embedding="bf16")
    cache = case.kv_precision or ("fp8" if case.engine == "trtllm" and case.precision in ("fp8", "fp4") else "bf16")
    update = {
        "weight_dtype": arch.weight_dtype if own else storage,
        "weights": weights,
        "activation_dtype": "bf16",
        "kv_dtype": "fp8" if "8" in cache else "bf16",
        "dispatch_dtype": "fp8" if case.precision in ("fp8", "fp4") else "bf16",
        "combine_dtype": "bf16",
    }
    return arch.model_copy(update=update)


def tuples(value: Any) -> Any:
    """JSON data as strict records want it: tuples for lists."""
    if isinstance(value, dict):
        return {k: tuples(v) for k, v in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value
