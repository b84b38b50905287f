"""Placements as the engines' expert map files: pure text, the same for the same placement."""

import json
from collections.abc import Callable, Mapping

from models.errors import InputError
from models.strategy import RankContents

Layers = Mapping[int, RankContents]
"""Layer of the model, counted from 0 -> experts of each rank; the layers without routed experts are absent."""

Writer = Callable[[Layers, int, int], str]


def sglang_json(layers: Layers, experts: int, total_layers: int) -> str:
    """For SGLang's --init-expert-location: a row of slots per layer of the model; slot i of a layer without experts gets i % experts.

    Redundant slots are announced with --ep-num-redundant-experts.
    """
    rows = _all_rows(layers, experts, total_layers)
    return '{"physical_to_logical_map": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}\n"


def vllm_json(layers: Layers, experts: int, total_layers: int) -> str:
    """For vLLM's `expert_map_path` (vllm/models/deepseek_v4/expert_map.py): a list of rows, one per layer.

    `total_layers` counts the layers that predict further tokens (MTP), too.
    """
    return "[\n" + ",\n".join(map(json.dumps, _all_rows(layers, experts, total_layers))) + "\n]\n"


def trtllm_yaml(layers: Layers, experts: int, total_layers: int) -> str:
    """For TensorRT-LLM's `moe_config.load_balancer` (MoeLoadBalancerConfig), static: the slots of each MoE layer."""
    rows = _slots(layers, experts, total_layers)
    lines = [f"  {layer}: {json.dumps(row)}" for layer, row in rows.items()]
    width = len(next(iter(rows.values())))
    return "\n".join(["initial_global_assignments:", *lines, f"num_slots: {width}", "layer_updates_per_iter: 0", ""])


def vllm_ascend_json(layers: Layers, experts: int, total_layers: int) -> str:
    """For vllm-ascend's `eplb_config.expert_map_path`: MoE layers alone, counted from 0; a device holds an expert once.

    (vllm-ascend, vllm_ascend/ops/expert_load_balancer.py)
    """
    _slots(layers, experts, total_layers)
    parts = []
    for position, layer in enumerate(sorted(layers)):
        devices = []
        for device, held in enumerate(layers[layer]):
            if len(set(held)) < len(held):
                raise InputError(f"layer {layer}: rank {device} holds an expert twice; vllm-ascend needs different experts on a device")
            devices.append(json.dumps({"device_id": device, "device_expert": [int(e) for e in held]}))
        head = f'{{"layer_id": {position}, "device_count": {len(devices)}, "device_list": [\n'
        parts.append(head + ",\n".join(devices) + "\n]}")
    return f'{{"moe_layer_count": {len(parts)}, "layer_list": [\n' + ",\n".join(parts) + "\n]}\n"


WRITERS: dict[str, tuple[str, Writer]] = {
    "sglang": ("sglang_expert_location.json", sglang_json),
    "trtllm": ("trtllm_moe_load_balancer.yaml", trtllm_yaml),
    "vllm": ("vllm_expert_map.json", vllm_json),
    "vllm-ascend": ("vllm_ascend_expert_map.json", vllm_ascend_json),
}
"""Kind of map (`EngineMap.kind`) -> the name of its file, and its writer of (layers, experts, total_layers)."""


def _all_rows(layers: Layers, experts: int, total_layers: int) -> list[list[int]]:
    rows = _slots(layers, experts, total_layers)
    width = len(next(iter(rows.values())))
    return [rows.get(n, [slot % experts for slot in range(width)]) for n in range(total_layers)]


def _slots(layers: Layers, experts: int, total_layers: int) -> dict[int, list[int]]:
    """Each layer's slots in order, as plain ints. Raises InputError for what no engine can load."""
    if not layers:
        raise InputError("no layer has a placement; give at least one MoE layer")
    ranks, slots = len(layers[min(layers)]), max(map(len, layers[min(layers)]), default=0)
    rows = {}
    for layer in sorted(layers):
        if not 0 <= layer < total_layers:
            raise InputError(f"layer {layer} is not one of the model's {total_layers}; give the number of all its layers")
        if len(layers[layer]) != ranks or any(len(held) != slots for held in layers[layer]):
            raise InputError(
                f"layer {layer}: expert maps put equally many slots on each rank; give {ranks} ranks of {slots}, as layer {min(layers)}"
            )
        row = [int(expert) for held in layers[layer] for expert in held]
        if set(row) != set(range(experts)):
            odd = min(set(row) ^ set(range(experts)))
            raise InputError(f"layer {layer}: expert {odd} has no slot or is not one of {experts}; every expert needs a slot")
        rows[layer] = row
    return rows
