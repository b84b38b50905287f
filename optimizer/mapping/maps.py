"""Expert maps as the engines read them: which expert each physical slot of a layer holds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import InputError
from models.strategy import RankContents
from optimizer.mapping.counts import MOST_EXPERTS, MOST_LAYERS, shown
from optimizer.reading import read_data

BY_MOE_LAYER = ("vllm-ascend", "vllm-plugin")  # kinds that number the MoE layers alone, from 0; the others all layers of the model
_PLUGIN = "vllm_offline_eplb_physical_to_logical"  # and the same with _by_model
_SUFFIXES = (".json", ".yaml", ".yml")


class EngineMap(NamedTuple):
    """Physical slots of each layer, in order, each the logical expert it holds; all layers have equally many.

    `kind` is "sglang", "trtllm", "vllm", "vllm-plugin" or "vllm-ascend". Layers are numbered as the
    file does: by `BY_MOE_LAYER` kinds from the first MoE layer, by the others from the model's first
    layer; a "vllm" map of one layer holds for all. `ranks` is None where the file does not state it.
    """

    kind: str
    layers: dict[int, tuple[int, ...]]
    ranks: int | None


def read_map(path: Path) -> EngineMap:
    """The expert map in a JSON or YAML file, told by its keys. Raises InputError with one sentence."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path}: expert maps are {', '.join(_SUFFIXES)} files; give one, or save the map's rows as JSON")
    data = read_data(path)
    try:
        if isinstance(data, list):
            return EngineMap("vllm", _rows(data if any(isinstance(row, list) for row in data) else [data], ""), None)
        found = [key for key in _READERS if isinstance(data, dict) and key in data]
        if len(found) != 1:
            loads = isinstance(data, dict) and "logical_count" in data
            what = " and ".join(found) or ("token counts, no map" if loads else "no expert map")
            raise InputError(f"holds {what}; give a list of rows or an object with one of {', '.join(_READERS)}")
        return _READERS[found[0]](data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _sglang(data: dict[str, Any]) -> EngineMap:
    """{"physical_to_logical_map": rows of all layers} (SGLang, --init-expert-location), or a plug-in's map of one model."""
    kind = "vllm-plugin" if data.get("format") == _PLUGIN else "sglang"
    return EngineMap(kind, _rows(data["physical_to_logical_map"], "physical_to_logical_map"), None)


def _plugin(data: dict[str, Any]) -> EngineMap:
    """{"version": 2, "model_maps": {name: {"physical_to_logical_map": rows of MoE layers}}} (vLLM's offline EPLB plug-in)."""
    models = data["model_maps"]
    if not isinstance(models, dict) or len(models) != 1:
        names = ", ".join(shown(name) for name in list(models)[:10]) if isinstance(models, dict) else shown(models)
        raise InputError(f"model_maps: must hold one model, got {names or 'none'}; keep the one to be looked at")
    ((name, model),) = models.items()
    rows = model.get("physical_to_logical_map") if isinstance(model, dict) else None
    return EngineMap("vllm-plugin", _rows(rows, f"model_maps.{name[:60]}.physical_to_logical_map"), None)


def _trtllm(data: dict[str, Any]) -> EngineMap:
    """`initial_global_assignments` {layer: row} and `num_slots` (TensorRT-LLM, MoeLoadBalancerConfig)."""
    given = data["initial_global_assignments"]
    if not isinstance(given, dict) or not given:
        raise InputError(f"initial_global_assignments: must give the experts of each layer, got {shown(given)}")
    layers = {}
    for key, row in given.items():
        if not key.isascii() or not key.isdigit() or len(key) > 4 or int(key) >= MOST_LAYERS or str(int(key)) != key:
            raise InputError(f"initial_global_assignments: {shown(key)} is not the number of a layer; write 0 to {MOST_LAYERS - 1}")
        layers[int(key)] = _row(row, f"initial_global_assignments: layer {key}")
    _check_width(layers, "initial_global_assignments")
    width, slots = len(next(iter(layers.values()))), data.get("num_slots")
    if slots is not None and (type(slots) is not int or slots != width):
        raise InputError(f"num_slots: is {shown(slots)}, the layers have {width} slots; they must agree")
    return EngineMap("trtllm", dict(sorted(layers.items())), None)


def _ascend(data: dict[str, Any]) -> EngineMap:
    """`layer_list` of MoE layers, each a `device_list` of `device_expert` lists (vllm-ascend, expert_map_path)."""
    entries = _numbered(data["layer_list"], "layer_list", "layer_id")
    if data.get("moe_layer_count", len(entries)) != len(entries):
        raise InputError(f"moe_layer_count: is {shown(data['moe_layer_count'])}, layer_list has {len(entries)}; they must agree")
    layers, ranks = {}, 0
    for n, entry in enumerate(entries):
        where = f"layer_list.{n}.device_list"
        devices = _numbered(entry.get("device_list"), where, "device_id")
        ranks = ranks or len(devices)
        if len(devices) != ranks or entry.get("device_count", ranks) != ranks:
            count = shown(entry.get("device_count"))
            raise InputError(f"{where}: {len(devices)} devices, device_count {count}, {ranks} in layer 0; they must agree")
        held = {d: _row(device.get("device_expert"), f"{where}.{d}.device_expert") for d, device in enumerate(devices)}
        _check_width(held, where, "device")
        twice = next((d for d, row in held.items() if len(set(row)) < len(row)), None)
        if twice is not None:
            raise InputError(f"{where}.{twice}.device_expert: holds an expert twice; a device needs different ones")
        layers[n] = tuple(expert for row in held.values() for expert in row)
    _check_width(layers, "layer_list")
    return EngineMap("vllm-ascend", layers, ranks)


_READERS: dict[str, Callable[[dict[str, Any]], EngineMap]] = {
    "physical_to_logical_map": _sglang,
    "model_maps": _plugin,
    "initial_global_assignments": _trtllm,
    "layer_list": _ascend,
}


def _numbered(entries: Any, where: str, key: str) -> list[dict[str, Any]]:
    """A list of objects whose ids are 0, 1, 2 ... in order, as the engine takes them."""
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{where}: must be a list of objects with {key}, got {shown(entries)}")
    for n, entry in enumerate(entries):
        got = entry.get(key) if isinstance(entry, dict) else entry
        if type(got) is not int or got != n:
            raise InputError(f"{where}.{n}: {key} is {shown(got)}, must be {n}; the engine takes them in order, write all from 0 on")
    return entries


def _rows(value: Any, where: str) -> dict[int, tuple[int, ...]]:
    prefix = f"{where}: " if where else ""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_LAYERS:
        raise InputError(f"{prefix}must be a list of 1 to {MOST_LAYERS} layers, each a list of experts, got {shown(value)}")
    layers = {n: _row(row, f"{prefix}layer {n}") for n, row in enumerate(value)}
    _check_width(layers, where)
    return layers


def _row(value: Any, where: str) -> tuple[int, ...]:
    """One layer's or device's slots as experts."""
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: must be a list of experts, got {shown(value)}")
    wrong = next((n for n, expert in enumerate(value) if type(expert) is not int or not 0 <= expert < MOST_EXPERTS), None)
    if wrong is not None:
        raise InputError(f"{where}, slot {wrong}: {shown(value[wrong])} is not an expert; write one from 0 to {MOST_EXPERTS - 1}")
    return tuple(value)


def _check_width(rows: dict[int, tuple[int, ...]], where: str, of: str = "layer") -> None:
    first = next(iter(rows))
    odd = next((n for n, row in rows.items() if len(row) != len(rows[first])), None)
    if odd is not None:
        prefix = f"{where}: " if where else ""
        raise InputError(
            f"{prefix}{of} {odd} has {len(rows[odd])} slots, {of} {first} {len(rows[first])}; every {of} needs the same number"
        )


def ranks_of(row: tuple[int, ...], ranks: int) -> RankContents:
    """The slots of a layer on `ranks` ranks, equally many consecutive ones each. Raises InputError where they do not divide."""
    if ranks < 1 or len(row) % ranks:
        raise InputError(f"{len(row)} slots do not divide over {ranks} ranks; give a number of ranks that divides them")
    slots = len(row) // ranks
    return tuple(row[r * slots : (r + 1) * slots] for r in range(ranks))


def contents_of(found: EngineMap, moe_layers: Sequence[int], experts: int, ranks: int) -> dict[int, RankContents]:
    """What the map puts on each rank in these layers, the MoE layers of a model. Raises InputError where it is of another model.

    Of a plug-in's map that has more layers, the last ones are taken, as the plug-in does.
    """
    rows: dict[int, RankContents] = {}
    if found.ranks not in (None, ranks):
        raise InputError(f"the map is of {found.ranks} ranks, not {ranks}; give that number")
    if found.kind in BY_MOE_LAYER and len(found.layers) < len(moe_layers):
        raise InputError(f"the map has {len(found.layers)} MoE layers, the model {len(moe_layers)}; give a map of the same model")
    skipped = len(found.layers) - len(moe_layers) if found.kind == "vllm-plugin" else 0
    for position, layer in enumerate(moe_layers):
        number = position + skipped if found.kind in BY_MOE_LAYER else layer
        if found.kind == "vllm" and len(found.layers) == 1:
            number = 0
        if number not in found.layers:
            raise InputError(f"the map has no layer {number}; give one with every MoE layer of the model")
        row = found.layers[number]
        odd = min({*row} ^ {*range(experts)}, default=None)
        if odd is not None:
            what = f"expert {odd} has no slot" if odd < experts else f"expert {odd} is not one of {experts}"
            raise InputError(f"layer {number}: {what}; give a map of the same model")
        rows[layer] = ranks_of(row, ranks)
    return rows
