"""Formats of the classes of modules from a configuration's quantization."""

import json
from typing import Any

from optimizer.importing.fields import Fields

Json = dict[str, Any]


def formats_of(f: Fields, separate: Json | None) -> Json:
    """`weight_dtype`, `weights` and `kv_dtype`; `separate` is the content of hf_quant_config.json, where there is one."""
    config = f.get("quantization_config")
    found: Json = (
        _separate(separate) if separate is not None else _inline(f, config) if isinstance(config, dict) else {"weight_dtype": "bf16"}
    )
    experts = f.get("expert_dtype")
    if experts is not None:
        if experts != "fp4":
            raise f.refuse("expert_dtype", experts, "is not understood; fp4 is")
        found["weights"] = {**found.get("weights", {}), "experts": "mxfp4"}
    return {"kv_dtype": "bf16"} | found


def _inline(f: Fields, c: Json) -> Json:
    method, skipped = c.get("quant_method"), _excluded(c.get("modules_to_not_convert") or c.get("ignore") or [])
    if method == "fp8":
        block = c.get("weight_block_size")
        if block not in (None, [128, 128]):
            raise f.refuse("quantization_config.weight_block_size", block, "is not understood; 128 x 128 is")
        return {"weight_dtype": "fp8_block" if block else "fp8", "weights": {"embedding": "bf16"} | skipped}
    if method == "mxfp4":
        return {"weight_dtype": "bf16", "weights": {"experts": "mxfp4"}}
    if method == "compressed-tensors":
        return _compressed_tensors(f, c, skipped)
    raise f.refuse("quantization_config.quant_method", method, "is not understood; fp8, mxfp4 and compressed-tensors are")


def _compressed_tensors(f: Fields, c: Json, skipped: Json) -> Json:
    groups = list((c.get("config_groups") or {}).values())
    weights = groups[0].get("weights") if len(groups) == 1 and isinstance(groups[0], dict) else None
    if not isinstance(weights, dict):
        raise f.refuse("quantization_config.config_groups", len(groups), "groups; one with weights is understood")
    text = json.dumps([c.get("format"), groups[0].get("format")])
    of_bits = {(8, "float"): "fp8", (8, "int"): "int8", (4, "int"): "int4", (4, "float"): "mxfp4" if "mxfp4" in text else "nvfp4"}
    bits, kind = weights.get("num_bits"), weights.get("type")
    storage = of_bits.get((bits, kind)) if isinstance(bits, int) and isinstance(kind, str) else None
    if storage is None:
        raise f.refuse("quantization_config", f"{bits} bits {kind}", "is not understood")
    return {"weight_dtype": storage, "weights": {"embedding": "bf16"} | skipped}


def _separate(c: Json) -> Json:
    q = c.get("quantization") or {}
    storage = {"NVFP4": "nvfp4", "FP8": "fp8", "W4A16_AWQ": "int4"}.get(str(q.get("quant_algo")))
    found: Json = {"weight_dtype": storage or "bf16", "weights": {"embedding": "bf16"} | _excluded(q.get("exclude_modules") or [])}
    return found | ({"kv_dtype": "fp8"} if q.get("kv_cache_quant_algo") == "FP8" else {})


def _excluded(modules: Any) -> Json:
    """Classes of modules that are left in 16 bits: those whose projections are named for (nearly) every layer, or by a pattern."""
    names = [str(m) for m in modules] if isinstance(modules, list) else []
    whole = ("self_attn", "self_attn.*", ".*self_attn.*")
    attention = any("self_attn" in n and ("proj" in n or n.endswith(whole)) and "index" not in n for n in names)
    shared = any("shared_expert" in n or "mlp\\." in n for n in names)
    return ({"attention": "bf16"} if attention else {}) | ({"ffn": "bf16"} if shared else {})
