"""Formats of the classes of modules from a configuration's quantization."""

import re
from typing import Any

from optimizer.importing.fields import Fields

Json = dict[str, Any]
STATED = {"bfloat16": "bf16", "float16": "bf16"}  # as wide, and computed as fast
ALGORITHMS = {"NVFP4": "nvfp4", "FP8": "fp8", "FP8_PB_WO": "fp8_block", "W4A16_AWQ": "int4"}
SMALL = re.compile(
    r"norm|router|\bgate\b(?!\|)|e_score_correction|vision|visual|projector|bias$|index|conv1d|A_log|dt_proj|in_proj_[ab]\b"
    r"|shared_expert_gate|mtp|eh_proj|nextn|lm_head|embed"
)
"""Modules that no class's format depends on; embedding and head are never quantised here."""
CLASSES = (("shared_expert", "ffn"), ("experts", "experts"), ("attn|attention|mixer|mamba", "attention"), ("mlp|feed_forward|_proj", "ffn"))
"""Which class a module belongs to, by what its name holds; the first that fits."""
BOOKKEEPING = frozenset(
    (
        *("activation_scheme", "backend", "checkpoint_format", "config_groups", "damp_percent", "dequantize", "desc_act"),
        *("fmt", "format", "global_compression_ratio", "group_size", "meta", "producer", "quant_method"),
        *("model_file_base_name", "model_name_or_path", "static_groups"),
        *("quantization_status", "scale_fmt", "sym", "true_sequential", "version", "zero_point"),
    )
)
"""Fields of a quantization that leave the formats as they are."""


def formats_of(f: Fields, separate: Json | None) -> Json:
    """`weight_dtype`, `weights` and `kv_dtype`; `separate` is the content of hf_quant_config.json, where there is one."""
    stated, config, experts = f.get("torch_dtype", "dtype"), f.get("quantization_config"), f.get("expert_dtype")
    if stated is not None and stated not in tuple(STATED):
        raise f.refuse("torch_dtype", stated, f"is not understood; write {' or '.join(STATED)}, as the model is served")
    if separate is not None:
        found = _modelopt(Fields(separate, f"{f.origin}: hf_quant_config.json"))
    elif config is not None:
        found = _inline(f.part("quantization_config"))
    else:
        found = {"weight_dtype": "bf16"}
    if experts is not None:
        if experts != "fp4":
            raise f.refuse("expert_dtype", experts, "is not understood; fp4 is")
        found["weights"] = {**found.get("weights", {}), "experts": "mxfp4"}
    return {"kv_dtype": "bf16"} | found


def _inline(q: Fields) -> Json:
    method = q.get("quant_method")
    match method:
        case "fp8":
            block = q.get("weight_block_size")
            if block not in (None, [128, 128]):
                raise q.refuse("weight_block_size", block, "is not understood; 128 x 128 is")
            found = {"weight_dtype": "fp8_block" if block else "fp8", "weights": _plain(q, "modules_to_not_convert", "ignored_layers")}
        case "mxfp4":
            q.get("modules_to_not_convert")
            found = {"weight_dtype": "bf16", "weights": {"experts": "mxfp4"}}
        case "compressed-tensors":
            found = _compressed_tensors(q)
        case "modelopt":
            return _modelopt(q)
        case "gptq" | "awq":
            storage = _integers(q, q.count("bits", "w_bit"), q.count("group_size", "q_group_size"))
            found = {"weight_dtype": storage, "weights": _plain(q, "modules_to_not_convert")}
        case _:
            raise q.refuse("quant_method", method, "is not understood; fp8, mxfp4, compressed-tensors, modelopt, gptq and awq are")
    return found


def _integers(q: Fields, bits: int, group: int) -> str:
    """Weights of 4 bits with a scale for a group of them; of 8 bits."""
    if bits == 8:
        return "w8a16"
    if bits != 4 or group < 32:
        raise q.refuse("group_size", group, f"with {bits} bits is not understood; 8 bits are, or 4 in groups from 32 on")
    return "int4" if group >= 128 else "int4_g32"


def _compressed_tensors(q: Fields) -> Json:
    groups = q.get("config_groups")
    entries = list(groups.values()) if isinstance(groups, dict) else []
    if len(entries) != 1 or not isinstance(entries[0], dict) or not isinstance(entries[0].get("weights"), dict):
        raise q.refuse("config_groups", len(entries), "groups; one with weights is understood")
    only = Fields(entries[0], f"{q.origin}: config_groups")
    weights, form = only.part("weights"), f"{q.get('format')} {only.get('format')}"
    bits, kind, size = weights.count("num_bits"), weights.get("type"), weights.get("group_size")
    match kind, bits:
        case "float", 8:
            storage = "fp8_block" if weights.get("strategy") == "block" else "fp8"
        case "float", 4:
            storage = "mxfp4" if "mxfp4" in form else "nvfp4"
        case "int", 8:
            storage = "w8a16" if only.get("input_activations") is None else "int8"
        case "int", 4:
            storage = _integers(weights, 4, weights.count("group_size") if size not in (None, -1) else 128)
        case _:
            raise weights.refuse("num_bits", bits, f"of type {kind} is not understood")
    found: Json = {"weight_dtype": storage, "weights": _plain(q, "ignore")}
    return found | _cache(q)


def _modelopt(outer: Fields) -> Json:
    """What NVIDIA's quantiser says, inside the configuration or in a file of its own."""
    q = outer.part("quantization") if outer.data.get("quantization") is not None else outer
    algorithm, cache = q.get("quant_algo"), q.get("kv_cache_quant_algo")
    if algorithm not in tuple(ALGORITHMS):
        raise q.refuse("quant_algo", algorithm, f"is not understood; {', '.join(ALGORITHMS)} are")
    if cache not in (None, "FP8"):
        raise q.refuse("kv_cache_quant_algo", cache, "is not understood; FP8 is")
    found: Json = {"weight_dtype": ALGORITHMS[algorithm], "weights": _plain(q, "exclude_modules", "ignore")}
    return found | ({"kv_dtype": "fp8"} if cache else {}) | _cache(q)


def _cache(q: Fields) -> Json:
    """The format of the cache: FP8, or nothing said."""
    scheme = q.get("kv_cache_scheme")
    if scheme is None:
        return {}
    if not isinstance(scheme, dict) or (scheme.get("num_bits"), scheme.get("type", "float")) != (8, "float"):
        raise q.refuse("kv_cache_scheme", scheme, "is not understood; 8 bits of type float are")
    return {"kv_dtype": "fp8"}


def _plain(q: Fields, *names: str) -> Json:
    """Classes left in 16 bits: embedding and head, and each class of which some module is named; a class has one format."""
    modules = q.get(*names) or []
    q.get("kv_cache_scheme")
    q.refuse_unknown(BOOKKEEPING)
    if not isinstance(modules, list):
        raise q.refuse(names[0], modules, "must be a list of modules; correct it")
    return {"embedding": "bf16"} | {part: "bf16" for m in modules for part in _classes(q, names[0], m)}


def _classes(q: Fields, field: str, module: Any) -> list[str]:
    """The class whose format a module's exemption decides: none for small ones, and for layers named by number (draft layers)."""
    name = str(module).replace("\\", "")
    if SMALL.search(name) or re.fullmatch(r"(model\.)?layers\.\d+\.?\*?", name):
        return []
    found = next((part for pattern, part in CLASSES if re.search(pattern, name)), None)
    if found is None or not isinstance(module, str):
        raise q.refuse(field, module, "is not known to be part of attention, feed-forward blocks or experts; remove it")
    return [found]
