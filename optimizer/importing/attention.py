"""Attention of each layer from a configuration."""

from collections.abc import Callable
from typing import Any

from optimizer.importing.fields import Fields

Json = dict[str, Any]
OfLayer = Callable[[int], Json | None]
"""The attention of a layer, counted from 0; None where it has none."""


def attention_of(f: Fields, layers: int) -> OfLayer:
    """How the configuration says what attention each layer has."""
    if f.data.get("hybrid_override_pattern") is not None:
        return _nemotron(f, layers)
    if f.data.get("compress_ratios") is not None:
        return _compressed(f, layers)
    if f.data.get("kv_lora_rank") is not None:
        return _latent(f, layers)
    return _grouped(f, layers)


def _heads(f: Fields) -> tuple[int, int, int]:
    """Query heads, KV heads and head width."""
    heads = f.count("num_attention_heads", "n_heads")
    inner = f.part("attn_config") if f.data.get("attn_config") is not None else f
    kv = inner.count("num_key_value_heads", "kv_n_heads", default=heads)
    if inner is not f:
        inner.refuse_unknown()
    hidden = f.count("hidden_size", "d_model")
    return heads, kv, f.count("head_dim", default=max(1, hidden // heads))


def _gqa(heads: int, kv: int, width: int, **more: Any) -> Json:
    extra = {key: value for key, value in more.items() if value}
    if heads == kv and not extra:
        return {"kind": "mha", "heads": heads, "head_dim": width}
    return {"kind": "gqa", "heads": heads, "kv_heads": kv, "head_dim": width, **extra}


def _grouped(f: Fields, layers: int) -> OfLayer:
    """Multi-head or grouped-query attention, in some layers windowed or replaced by a recurrence."""
    heads, kv, width = _heads(f)
    gated = f.flag("attn_output_gate", "attention_output_gate") or f.data.get("model_type") == "qwen3_next"
    full = _gqa(heads, kv, width, v_head_dim=f.optional("v_head_dim"), output_gate=gated)
    window = f.optional("sliding_window", "sliding_window_size")
    types = f.per_layer(layers, "layer_types")
    if f.data.get("hybrid_layer_pattern") is not None:
        return _two_widths(f, layers, full, window)
    if f.data.get("linear_num_value_heads") is not None:
        return _delta_net(f, full, types)
    if f.data.get("sparse_attention_config") is not None:
        return _sparse(f, layers, full)
    f.get("use_sliding_window", "attn_type_list")
    chunk = f.optional("attention_chunk_size")
    if chunk is not None:  # Llama 4: every fourth layer sees everything (no position encoding)
        return lambda n: full if (n + 1) % 4 == 0 else _windowed(full, chunk)
    if window is None or f.data.get("use_sliding_window") is False:
        return lambda _: full
    wide, local = _global(f, full), _windowed(full, window)
    return lambda n: local if types is None or types[n] == "sliding_attention" else wide


def _windowed(full: Json, window: int) -> Json:
    return {**full, "kind": "gqa", "kv_heads": full.get("kv_heads", full["heads"]), "window": window}


def _global(f: Fields, full: Json) -> Json:
    """Layers that see everything may have heads of their own (Gemma 4), whose values are their keys."""
    f.get("attention_k_eq_v")
    width, kv = f.optional("global_head_dim"), f.optional("num_global_key_value_heads")
    own: int = full.get("kv_heads", full["heads"])
    return full if width is None else _gqa(full["heads"], kv or own, width)


def _two_widths(f: Fields, layers: int, full: Json, window: int | None) -> OfLayer:
    """MiMo-V2: layers marked 1 have a window, and heads of their own."""
    pattern = f.per_layer(layers, "hybrid_layer_pattern") or []
    f.get("attention_chunk_size")
    local = _gqa(
        f.count("swa_num_attention_heads"),
        f.count("swa_num_key_value_heads"),
        f.count("swa_head_dim"),
        v_head_dim=f.optional("swa_v_head_dim"),
        window=window,
    )
    return lambda n: local if pattern[n] else full


def _delta_net(f: Fields, full: Json, types: list[Any] | None) -> OfLayer:
    """Gated delta nets (Qwen3-Next, Qwen3.5): every `full_attention_interval`-th layer is full attention."""
    values = f.count("linear_num_value_heads")
    linear = {
        "kind": "recurrent",
        "key_heads": f.count("linear_num_key_heads"),
        "key_head_dim": f.count("linear_key_head_dim"),
        "value_heads": values,
        "value_head_dim": f.count("linear_value_head_dim"),
        "gates": 1,
        "extra_outputs": 2 * values,  # decay and step of each head
        "conv_width": f.count("linear_conv_kernel_dim", default=0),
    }
    interval = f.count("full_attention_interval", default=4)
    return lambda n: full if (types[n] == "full_attention" if types else (n + 1) % interval == 0) else linear


def _sparse(f: Fields, layers: int, full: Json) -> OfLayer:
    """MiniMax-M3: layers marked 1 attend to the best blocks only."""
    s = f.part("sparse_attention_config")
    pattern = s.per_layer(layers, "sparse_attention_freq") or [1] * layers
    s.get("use_sparse_attention")
    chosen = s.count("sparse_topk_blocks") * s.count("sparse_block_size")
    index = {"index_heads": s.count("sparse_num_index_heads"), "index_head_dim": s.count("sparse_index_dim"), "index_top_k": chosen}
    s.refuse_unknown()
    return lambda n: {**full, **index} if pattern[n] else full


def _latent(f: Fields, layers: int) -> OfLayer:
    """MLA, perhaps with an index (DeepSeek-V3.2, GLM-5), perhaps beside recurrent layers (Kimi K3)."""
    f.get("num_key_value_heads", "head_dim", "indexer_types", "index_topk_pattern")
    mla = {"kind": "mla", "heads": f.count("num_attention_heads")}
    mla |= {name: f.count(name) for name in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")}
    queries = f.optional("q_lora_rank")
    mla |= {} if queries is None else {"q_lora_rank": queries}
    mla |= {"output_gate": True} if f.flag("mla_use_output_gate") else {}
    heads = f.optional("index_n_heads")
    if heads is not None:
        mla |= {"index_heads": heads, "index_head_dim": f.count("index_head_dim"), "index_top_k": f.count("index_topk")}
    types = f.per_layer(layers, "indexer_types")
    shared = {key: value for key, value in mla.items() if key not in ("index_heads", "index_head_dim")}
    if f.data.get("linear_attn_config") is not None:
        return _kimi_delta(f, mla)
    return lambda n: shared if types is not None and types[n] == "shared" else mla


def _kimi_delta(f: Fields, mla: Json) -> OfLayer:
    """Kimi delta attention; layers of full attention are listed from 1."""
    c = f.part("linear_attn_config")
    full, heads, width = set(c.get("full_attn_layers") or ()), c.count("num_heads"), c.count("head_dim")
    low_rank = 0 if c.flag("use_full_rank_gate") else 2 * width
    linear = {
        "kind": "recurrent",
        "key_heads": heads,
        "key_head_dim": width,
        "value_heads": heads,
        "value_head_dim": width,
        "gates": 2 if not low_rank else 0,  # decay per channel and output gate
        "extra_outputs": heads + low_rank,
        "conv_width": c.count("short_conv_kernel_size", default=0),
    }
    c.refuse_unknown()
    return lambda n: mla if n + 1 in full else linear


def _compressed(f: Fields, layers: int) -> OfLayer:
    """DeepSeek-V4: ratio 0 sees a window only, 4 has an index over what is kept, 128 sees all that is kept."""
    f.get("num_key_value_heads", "qk_rope_head_dim")
    ratios = f.per_layer(layers, "compress_ratios") or []
    base = {
        "kind": "compressed",
        "heads": f.count("num_attention_heads"),
        "head_dim": f.count("head_dim"),
        "q_lora_rank": f.count("q_lora_rank"),
        "o_lora_rank": f.count("o_lora_rank"),
        "o_groups": f.count("o_groups"),
        "window": f.count("sliding_window"),
    }
    index = {"index_heads": f.count("index_n_heads"), "index_head_dim": f.count("index_head_dim"), "index_top_k": f.count("index_topk")}
    smallest = min((r for r in ratios if r), default=0)
    return lambda n: {**base, "ratio": ratios[n], **(index if ratios[n] and ratios[n] == smallest else {})}


def _nemotron(f: Fields, layers: int) -> OfLayer:
    """Nemotron-H: M a Mamba-2 layer, * attention, E experts, - a dense block."""
    pattern = f.per_layer(layers, "hybrid_override_pattern") or []
    heads, kv, width = _heads(f)
    groups, values = f.count("n_groups"), f.count("mamba_num_heads")
    mamba = {
        "kind": "recurrent",
        "key_heads": groups,
        "key_head_dim": f.count("ssm_state_size"),
        "value_heads": values,
        "value_head_dim": f.count("mamba_head_dim"),
        "gates": 1,
        "extra_outputs": values,  # the step of each head
        "conv_width": f.count("conv_kernel", default=0),
    }
    full = _gqa(heads, kv, width)
    f.get("sliding_window")
    return lambda n: {"M": mamba, "*": full}.get(pattern[n])
