"""A published configuration as an architecture record."""

import json
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
MTP = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")


def read_config(path: Path) -> Json:
    """A configuration file's object; `Infinity` is accepted, as published files hold it. Raises InputError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES} bytes; give a model's config.json")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON in UTF-8"
        raise InputError(f"{path}: cannot be read ({reason}); give a model's config.json") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no object; give a model's config.json")
    return found


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
    layers = f.count("num_hidden_layers", "n_layers")
    if layers > 1000:
        raise f.refuse("num_hidden_layers", layers, "must be at most 1000; correct it")
    attention, ffn = attention_of(f, layers), ffn_of(f, layers)
    f.get("use_bias", "mamba_proj_bias", "mtp_transformer_layers")
    each = [{"attention": attention(n), "ffn": ffn(n)} for n in range(layers)]
    groups = [{"count": len(list(same)), **{k: v for k, v in shape.items() if v is not None}} for shape, same in groupby(each)]
    record = {
        "name": name,
        "hidden_size": f.count("hidden_size", "d_model"),
        "vocabulary_size": f.count("vocab_size"),
        "tied_embeddings": f.flag("tie_word_embeddings"),
        "activation_dtype": "bf16",
        "layers": groups,
        "mtp_layers": max((f.count(spelling, default=0) for spelling in MTP), default=0),
        "source": f"paper: config.json published with {name}",
        **formats_of(f, separate),
    }
    quantised = record["weight_dtype"] != "bf16"
    record |= {"dispatch_dtype": "fp8" if quantised else "bf16", "combine_dtype": "bf16"}
    f.refuse_unknown()
    if wrapped:
        outer.refuse_unknown(frozenset(f.data))
    try:
        return Architecture.model_validate_json(json.dumps(record))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "architecture"
        raise InputError(f"{origin}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
