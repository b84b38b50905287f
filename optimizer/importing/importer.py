"""A published configuration as an architecture record."""

import json
from collections import Counter
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.architecture import Architecture
from models.errors import InputError
from optimizer.importing.attention import attention_of
from optimizer.importing.feedforward import ffn_of
from optimizer.importing.fields import Fields
from optimizer.importing.quantization import formats_of

Json = dict[str, Any]
MOST_BYTES = 5_000_000
WRAPPED = ("text_config", "llm_config", "language_config")
FAMILIES = (
    *("llama", "llama4", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "qwen3_5", "qwen3_5_moe"),
    *("qwen3_vl", "qwen3_vl_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "kimi_k2", "kimi_k25", "kimi_k3"),
    *("kimi_linear", "glm4_moe", "glm_moe_dsa", "gpt_oss", "minimax_m2", "minimax_m3", "nemotron_h", "olmoe", "dbrx", "gemma4"),
    *("step3p5", "step3p7", "mimo_v2_flash"),
)
"""`model_type` of the families whose code is known to do what their fields say; a text model inside adds `_text`."""
TIED = ("gemma4",)  # families whose embedding and head are one matrix unless the file says otherwise
APPROXIMATED = {
    "hc_mult": "hyper-connections keep several copies of each token's state: neither their weights nor their work is counted",
    "num_hash_layers": "layers that route by a token's hash are counted as if they scored the experts",
    "attn_res_block_size": "residuals over earlier blocks are not counted",
    "attention_k_eq_v": "keys that serve as values are counted as projections of their own",
    "expert_dtype": "experts of 4 bits have a scale for 32 weights and are widened before they are used",
    "vision_config": "vision and audio towers are left out",
}
"""Fields whose effect is counted nearly, or not at all."""
MTP = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")


def read_config(path: Path) -> Json:
    """A configuration file's object; `Infinity` is accepted, as published files hold it. Raises InputError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES} bytes; give a model's config.json")
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the path")
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON in UTF-8"
        raise InputError(f"{path}: cannot be read ({reason}); give a model's config.json") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no object; give a model's config.json")
    return found


def _once(pairs: list[tuple[str, Any]]) -> Json:
    """An object whose fields are given once."""
    names = [name for name, _ in pairs]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise InputError(f'"{twice[:60]}" is given twice in one object; keep one')
    return dict(pairs)


def is_config(data: Json) -> bool:
    """Whether this is a published configuration rather than a record of our own."""
    return "model_type" in data or "architectures" in data or any(name in data for name in WRAPPED)


def import_config(path: Path, name: str | None = None) -> Architecture:
    """The architecture of a config.json; hf_quant_config.json beside it is read too. Raises InputError."""
    beside = path.parent / "hf_quant_config.json"
    separate = read_config(beside) if beside.exists() else None
    return architecture_of(read_config(path), str(path), name or path.resolve().parent.name, separate)


def architecture_of(config: Json, origin: str, name: str, separate: Json | None = None) -> Architecture:
    """The architecture that a configuration describes. Raises InputError for fields that matter and are not understood."""
    outer = Fields(config, origin)
    wrapped = next((w for w in WRAPPED if isinstance(config.get(w), dict)), None)
    shared: Json = {k: config[k] for k in ("quantization_config", "expert_dtype") if k in config}
    f = Fields({**shared, **config[wrapped]}, origin) if wrapped else outer
    outer.taken.update(WRAPPED)
    _know_family(f, outer)
    layers = f.count("num_hidden_layers", "n_layers")
    if layers > 1000:
        raise f.refuse("num_hidden_layers", layers, "must be at most 1000; correct it")
    attention, ffn = attention_of(f, layers), ffn_of(f, layers)
    f.get("use_bias", "mamba_proj_bias")
    f.must_be_off("hidden_size_per_layer_input", "embeddings of each layer")
    f.must_be_off("use_double_wide_mlp", "blocks of two widths")
    each = [{"attention": attention(n), "ffn": ffn(n)} for n in range(layers)]
    groups = [{"count": len(list(same)), **{k: v for k, v in shape.items() if v is not None}} for shape, same in groupby(each)]
    record = {
        "name": name,
        "hidden_size": f.count("hidden_size", "d_model"),
        "vocabulary_size": f.count("vocab_size"),
        "tied_embeddings": _tied(f, outer),
        "activation_dtype": "bf16",
        "layers": groups,
        "mtp_layers": _draft_layers(f),
        "source": f"paper: config.json published with {name}",
        **formats_of(f, separate),
    }
    record |= {"dispatch_dtype": "fp8" if record["weight_dtype"] in ("fp8", "fp8_block") else "bf16", "combine_dtype": "bf16"}
    f.refuse_unknown()
    if wrapped:
        outer.refuse_unknown(frozenset(f.data))
    try:
        return Architecture.model_validate_json(json.dumps(record))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "architecture"
        raise InputError(f"{origin}: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def approximations_of(config: Json) -> list[str]:
    """What of a configuration is priced only nearly, in sentences that name the field."""
    inner: Json = next((config[w] for w in WRAPPED if isinstance(config.get(w), dict)), {})
    return [f"{name}: {said}" for name, said in APPROXIMATED.items() if config.get(name) or inner.get(name)]


def _know_family(f: Fields, outer: Fields) -> str:
    """The family's name. Raises InputError where its code is not known: the same fields may mean something else there."""
    said = f.get("model_type") or outer.get("model_type")
    family = str(said).removesuffix("_text")
    if family not in FAMILIES:
        close = get_close_matches(family[:60], FAMILIES, n=3)
        raise f.refuse(
            "model_type", said, f"is not known; did you mean {' or '.join(close)}?" if close else f"must be one of {', '.join(FAMILIES)}"
        )
    return family


def _tied(f: Fields, outer: Fields) -> bool:
    """Whether embedding and head are one matrix: the text model says, or the whole model, or the family's code."""
    inside, outside = f.get("tie_word_embeddings"), outer.get("tie_word_embeddings")
    if inside is not None and outside is not None and inside != outside:
        raise outer.refuse("tie_word_embeddings", outside, f"contradicts the text model's {inside}; keep the true one")
    stated = f.flag("tie_word_embeddings") or outer.flag("tie_word_embeddings")
    return _know_family(f, outer) in TIED if inside is None and outside is None else stated


def _draft_layers(f: Fields) -> int:
    """Layers of multi-token prediction: modules times layers of each; 0 where they are off."""
    each = f.count("mtp_transformer_layers", default=1)
    most = max(f.count(spelling, default=0) * (each if spelling == "num_mtp_modules" else 1) for spelling in MTP)
    return 0 if f.get("use_mtp") is False else most
