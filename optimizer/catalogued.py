"""Short forms of an instance file: a machine or an engine named from the catalogue stands for its whole record.

cluster: {"machine": NAME, "nodes": N, ...}    a pool of the catalogue, with any field of a pool written over it
accelerator: NAME                              of a pool: that machine's accelerator, with links and nodes as the file states them
runtime: ENGINE or {"engine": ENGINE, ...}     the engine's runtime on those GPUs, with any field written over it
expert_load: {"spread_ppm": N, "group_spread_ppm": N}   a stated skew, see `models/skew.py`
architecture: NAME or PATH                     a model of the catalogue, or a file in the instance file's folder: a record of ours, or
                                               the config.json that is published with a model
"""

from pathlib import Path
from typing import Any

from models.catalogue.architectures import architecture_names, architecture_record
from models.catalogue.engines import HIDDEN_SIZE, engine_names, runtime_in
from models.catalogue.machines import SHORT_NAMES, assumptions_of, machine, machine_names, pool_record, refusal
from models.errors import InputError
from models.instance import Instance
from models.service import Service
from models.skew import skewed_counts
from models.units import parse_quantity
from optimizer.confined import path_beside
from optimizer.importing.importer import import_config, is_config, read_config

Json = dict[str, Any]
MOST_SPREAD = 3_000_000  # of a log-normal popularity, parts per million
WRITTEN_OVER = "assumed: written over the catalogue's value"
KEPT = {"machine": {"name", "nodes"}, "engine": set[str]()}
"""What stays of a record written out when a name from the catalogue is set in its place."""


def spell_out(data: Any) -> None:
    """The short forms with their names only: a cluster of one pool, a runtime with its engine; in place."""
    if not isinstance(data, dict):
        return
    cluster = data.get("cluster")
    if isinstance(cluster, dict) and "machine" in cluster and "pools" not in cluster:
        data["cluster"] = {"pools": [cluster]}
    if isinstance(data.get("runtime"), str):
        data["runtime"] = {"engine": data["runtime"]}


def make_room(record: Json, field: str) -> None:
    """Before a name from the catalogue is set in a record that had none: drops what the name will stand for; in place."""
    if field in KEPT and field not in record:
        for other in set(record) - KEPT[field]:
            del record[other]


def resolve(data: Any, origin: str) -> Any:
    """An instance file's value with every name from the catalogue replaced by its record.

    What the file writes over the catalogue is marked as assumed unless the file gives a source; what the catalogue borrows is
    added to the assumptions. Raises InputError, naming `origin`, for names that are not in the catalogue.
    """
    if not isinstance(data, dict):
        return data
    data = dict(data)
    spell_out(data)
    if isinstance(data.get("architecture"), str):
        data["architecture"] = architecture_at(data["architecture"], origin)
    if isinstance(load := data.get("expert_load"), dict) and "spread_ppm" in load:
        data["expert_load"] = skewed_load(load, data.get("architecture"), origin)
    cluster, runtime = data.get("cluster"), data.get("runtime")
    engine = runtime.get("engine") if isinstance(runtime, dict) else None
    try:
        if isinstance(cluster, dict) and isinstance(cluster.get("pools"), list):
            data["cluster"] = cluster | {"pools": [_pool(data, pool, str(engine or "none")) for pool in cluster["pools"]]}
        if engine is not None:
            data["runtime"] = _written_over(runtime_in(str(engine), _memory_bytes(data), _hidden_size(data)), runtime, "engine")
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error
    return data


def skewed_load(load: Json, architecture: Any, origin: str) -> Json:
    """The expert load of a stated spread, one row for all MoE layers. Raises InputError."""
    try:
        spreads: Json = {name: parse_quantity(load.get(name, 0), "ppm") for name in ("spread_ppm", "group_spread_ppm")}
    except ValueError as error:
        raise InputError(f"{origin}: expert_load: {error}") from error
    odd = next((k for k in load if k not in spreads), None) or next((k for k, v in spreads.items() if not is_share(v)), None)
    if odd is not None:
        remedy = f"write spread_ppm and group_spread_ppm from 0 to {MOST_SPREAD}, or counts"
        raise InputError(f"{origin}: expert_load.{odd} is not a spread; {remedy}")
    groups = architecture.get("layers", ()) if isinstance(architecture, dict) else ()
    experts = next((g["ffn"]["experts"] for g in groups if isinstance(g, dict) and "experts" in (g.get("ffn") or {})), None)
    if not isinstance(experts, int) or not 1 <= experts <= 4096:
        raise InputError(f"{origin}: expert_load.spread_ppm needs a model with experts; remove expert_load")
    counts = skewed_counts(experts, spreads["spread_ppm"], spreads["group_spread_ppm"])
    said = f"assumed: log-normal popularity, spread {spreads['spread_ppm']} ppm, of groups {spreads['group_spread_ppm']} ppm"
    return {"counts": [list(counts)], "source": said}


def is_share(value: Any) -> bool:
    """Whether a spread is one that the quantiles stay sensible with."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SPREAD


def architecture_at(where: str, origin: str) -> Json:
    """The record of a model by its name in the catalogue, or by a path in the folder of the file `origin`. Raises InputError."""
    if where in architecture_names():
        return architecture_record(where)
    if not where.endswith(".json") or not where.isprintable():
        raise InputError(f"{origin}: architecture: {refusal('model', where, architecture_names())}")
    path = path_beside(Path(origin), where, "architecture")
    found = read_config(path)
    return import_config(path).model_dump(mode="json") if is_config(found) else found


def _pool(data: Json, pool: Any, engine: str) -> Any:
    """A pool as the file states it, or the catalogue's in whole or but for its accelerator; then the assumptions of `data` say so."""
    if not isinstance(pool, dict):
        return pool
    chip, said = pool.get("accelerator"), list[str]()
    if "machine" in pool:
        name = str(pool["machine"])
        stated = {key: value for key, value in pool.items() if key != "accelerator" or not isinstance(chip, str)}
        pool, said = _written_over(pool_record(name, None, engine), stated, "machine"), assumptions_of(name)
    if isinstance(chip, str):
        pool = pool | {"accelerator": pool_record(chip, None, engine)["accelerator"]}
        alone = f"Of {machine(chip).name} the accelerator only: links and nodes are stated apart from it."
        said = said if said == assumptions_of(chip) else [*said, *assumptions_of(chip), alone]
    known = data.get("assumptions", [])
    if said and isinstance(known, list):
        data["assumptions"] = [*known, *(s for s in said if s not in known)]
    return pool


def _written_over(preset: Json, file: Json, name: str) -> Json:
    """The catalogue's record with the file's values over it, but not the name that it was found by."""
    return _merged(preset, {key: value for key, value in file.items() if key != name})


def _merged(preset: Json, over: Json) -> Json:
    """Objects are merged field by field, anything else is replaced; a constant that is replaced takes the file's source."""
    merged = dict(preset)
    for key, value in over.items():
        known = preset.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    said = over.get("sources", {})
    if isinstance(preset.get("sources"), dict) and isinstance(said, dict):
        rest = said.get("*", WRITTEN_OVER)
        merged["sources"] = preset["sources"] | {k: rest for k in over if k != "sources"} | {k: v for k, v in said.items() if k != "*"}
    return merged


def _memory_bytes(data: Json) -> int:
    """Memory of one GPU, the largest of all pools; the engine's reserve is a share of it."""
    try:
        found = [parse_quantity(pool["accelerator"]["memory_bytes"], "bytes") for pool in data["cluster"]["pools"]]
        memory = max(size for size in found if isinstance(size, int))
    except (KeyError, IndexError, TypeError, ValueError):
        memory = 0
    if memory <= 0:
        raise InputError("runtime.engine: the memory that it reserves needs cluster.pools.0.accelerator.memory_bytes; add it")
    return memory


def _hidden_size(data: Json) -> int:
    """Hidden size of the model; another one where the file has none, which its validation will say."""
    architecture = data.get("architecture")
    size = architecture.get("hidden_size") if isinstance(architecture, dict) else None
    return size if isinstance(size, int) and size > 0 else HIDDEN_SIZE


def instance_schema(record: type[Instance] | type[Service] = Instance) -> Json:
    """The JSON Schema of an instance file, of one pass or of a service, short forms included."""
    schema: Json = record.model_json_schema()
    machines = {"type": "string", "enum": [*machine_names(), *SHORT_NAMES], "description": "see `shardproof catalogue machines`"}
    engines = {"type": "string", "enum": list(engine_names()), "description": "see `shardproof catalogue engines`"}
    over = "with any field of the full form, nested ones in part, written over the catalogue's"
    pool = schema["$defs"]["Pool"]["properties"]
    pool["accelerator"] = {"anyOf": [pool["accelerator"], machines]}
    schema["$defs"]["PoolOfMachine"] = {
        "description": f"A pool by the catalogue's name of its machine, {over}.",
        "properties": {"machine": machines, "nodes": pool["nodes"]},
        "required": ["machine", "nodes"],
        "type": "object",
    }
    schema["$defs"]["RuntimeOfEngine"] = {
        "description": f"A runtime by the catalogue's name of its engine, {over}.",
        "properties": {"engine": engines},
        "required": ["engine"],
        "type": "object",
    }
    pools = schema["$defs"]["Cluster" if record is Instance else "Pools"]["properties"]["pools"]
    pools["items"] = _either(pools["items"], "PoolOfMachine")
    spread = {"type": "integer", "minimum": 0, "maximum": MOST_SPREAD}
    skew = {"type": "object", "properties": {"spread_ppm": spread, "group_spread_ppm": spread}, "required": ["spread_ppm"]}
    schema["properties"]["expert_load"] = {"anyOf": [schema["properties"]["expert_load"], skew]}
    models = {"type": "string", "description": "a model of `shardproof catalogue models`, or the path of a record or a config.json"}
    schema["properties"]["architecture"] = {"anyOf": [schema["properties"]["architecture"], models]}
    schema["properties"]["cluster"] = _either(schema["properties"]["cluster"], "PoolOfMachine")
    schema["properties"]["runtime"] = {"anyOf": [*_either(schema["properties"]["runtime"], "RuntimeOfEngine")["anyOf"], engines]}
    return schema


def _either(full: Json, short: str) -> Json:
    return {"anyOf": [full, {"$ref": f"#/$defs/{short}"}]}
