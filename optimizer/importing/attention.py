"""Attention of each layer from a configuration."""

from collections.abc import Callable
from typing import Any

from models.units import ceil_div
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
    f.must_be_off("num_kv_shared_layers", "layers that read another's cache")
    inner = f.part("attn_config") if f.data.get("attn_config") is not None else f
    kv = inner.count("num_key_value_heads", "kv_n_heads", default=heads)
    if inner is not f:
        inner.refuse_unknown()
    hidden = f.count("hidden_size", "d_model")
    if f.get("head_dim") is None and hidden % heads:
        raise f.refuse("num_attention_heads", heads, f"does not divide hidden_size {hidden}; add head_dim")
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
    types = f.per_layer(layers, "layer_types", ("full_attention", "sliding_attention", "chunked_attention", "linear_attention"))
    if f.data.get("hybrid_layer_pattern") is not None:
        return _two_widths(f, layers, full, window)
    if f.data.get("linear_num_value_heads") is not None:
        return _delta_net(f, full, types)
    if f.data.get("sparse_attention_config") is not None:
        return _sparse(f, layers, full)
    f.per_layer(layers, "attn_type_list", (1,))  # MiniMax: 0 would be lightning attention
    chunk = f.optional("attention_chunk_size")
    if chunk is not None:
        return _chunked(f, layers, full, chunk, types)
    return _sliding(f, full, window, types)


def _chunked(f: Fields, layers: int, full: Json, chunk: int, types: list[Any] | None) -> OfLayer:
    """Llama 4: layers with positions attend within chunks; every fourth, or those marked 0, has none and sees everything."""
    every, marked = f.count("no_rope_layer_interval", default=4), None
    if f.get("no_rope_layers"):
        marked = f.per_layer(layers, "no_rope_layers", (0, 1))
    whole = [not marked[n] if marked else (n + 1) % every == 0 for n in range(layers)]
    if types is not None and whole != [kind == "full_attention" for kind in types]:
        raise f.refuse("layer_types", types, "contradicts no_rope_layers (or every fourth layer); keep the true one")
    return lambda n: full if whole[n] else _windowed(full, chunk)


def _sliding(f: Fields, full: Json, window: int | None, types: list[Any] | None) -> OfLayer:
    """Layers of `layer_types`, or all from `max_window_layers` on, see the window only."""
    used, first = f.flag("use_sliding_window"), f.count("max_window_layers", default=0)
    off = window is None or f.data.get("use_sliding_window") is False
    if types is not None and set(types) - {"full_attention", "sliding_attention"}:
        raise f.refuse("layer_types", types, "names layers whose sizes are missing; add linear_num_value_heads or attention_chunk_size")
    if types is not None and "sliding_attention" in types and off:
        raise f.refuse("layer_types", types, "names sliding_attention, but sliding_window is missing or off; add it")
    if window is None or off:
        return lambda _: full
    wide, local = _global(f, full), _windowed(full, window)
    if types is None:
        return lambda n: local if not used or n >= first else full
    return lambda n: local if types[n] == "sliding_attention" else wide


def _windowed(full: Json, window: int) -> Json:
    return {**full, "kind": "gqa", "kv_heads": full.get("kv_heads", full["heads"]), "window": window}


def _global(f: Fields, full: Json) -> Json:
    """Layers that see everything may have heads of their own (Gemma 4), whose values are their keys."""
    f.get("attention_k_eq_v")
    width, kv = f.optional("global_head_dim"), f.optional("num_global_key_value_heads")
    return full if width is None else _gqa(full["heads"], kv or full.get("kv_heads") or full["heads"], width)


def _two_widths(f: Fields, layers: int, full: Json, window: int | None) -> OfLayer:
    """MiMo-V2: layers marked 1 have a window, and heads of their own."""
    pattern = f.per_layer(layers, "hybrid_layer_pattern", (0, 1)) or []
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
    for n, kind in enumerate(types or ()):
        if kind not in ("full_attention", "linear_attention"):
            raise f.refuse(f"layer_types.{n}", kind, "does not go with linear attention; write full_attention or linear_attention")
        if f.data.get("full_attention_interval") and (kind == "full_attention") != ((n + 1) % interval == 0):
            raise f.refuse(f"layer_types.{n}", kind, f"contradicts full_attention_interval = {interval}; keep the true one")
    return lambda n: full if (types[n] == "full_attention" if types else (n + 1) % interval == 0) else linear


def _sparse(f: Fields, layers: int, full: Json) -> OfLayer:
    """MiniMax-M3: layers marked 1 attend to the best blocks only."""
    s = f.part("sparse_attention_config")
    pattern = s.per_layer(layers, "sparse_attention_freq", (0, 1)) or [1] * layers
    if s.get("use_sparse_attention") is False:
        s.taken.update(s.data)
        return lambda _: full
    chosen = s.count("sparse_topk_blocks") * s.count("sparse_block_size")
    index = {"index_heads": s.count("sparse_num_index_heads"), "index_head_dim": s.count("sparse_index_dim"), "index_top_k": chosen}
    s.refuse_unknown()
    return lambda n: {**full, **index} if pattern[n] else full


def _latent(f: Fields, layers: int) -> OfLayer:
    """MLA, perhaps with an index (DeepSeek-V3.2, GLM-5), perhaps beside recurrent layers (Kimi K3)."""
    f.taken.update(("num_key_value_heads", "head_dim"))  # the widths below say all
    f.must_be_off("index_topk_pattern", "another choice of tokens")
    mla = {"kind": "mla", "heads": f.count("num_attention_heads")}
    mla |= {name: f.count(name) for name in ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")}
    queries = f.optional("q_lora_rank")
    mla |= {} if queries is None else {"q_lora_rank": queries}
    mla |= {"output_gate": True} if f.flag("mla_use_output_gate") else {}
    heads = f.optional("index_n_heads")
    if heads is not None:
        mla |= {"index_heads": heads, "index_head_dim": f.count("index_head_dim"), "index_top_k": f.count("index_topk")}
    types = f.per_layer(layers, "indexer_types", ("full", "shared"))
    if types is None and f.count("index_topk_freq", default=1) > 1:
        raise f.refuse("index_topk_freq", f.data["index_topk_freq"], "needs indexer_types, which says which layers share; add it")
    f.taken.add("index_topk_freq")
    shared = {key: value for key, value in mla.items() if key not in ("index_heads", "index_head_dim")}
    if f.data.get("linear_attn_config") is not None:
        return _kimi_delta(f, layers, mla)
    return lambda n: shared if types is not None and types[n] == "shared" else mla


def _kimi_delta(f: Fields, layers: int, mla: Json) -> OfLayer:
    """Kimi delta attention (arXiv 2510.26692); layers are listed from 1.

    The decay, and a gate that is not of full rank, pass a bottleneck as wide as a head: its second matrix (width x heads * width)
    is counted as the columns of the first projection that hold as many weights.
    """
    c = f.part("linear_attn_config")
    full, linear_layers = c.get("full_attn_layers"), c.get("kda_layers")
    listed = [*full, *linear_layers] if isinstance(full, list) and isinstance(linear_layers, list) else []
    if any(type(n) is not int for n in listed) or sorted(listed) != list(range(1, layers + 1)):
        raise c.refuse("full_attn_layers", full, f"and kda_layers must name each of {layers} layers once, from 1; correct them")
    heads, width = c.count("num_heads"), c.count("head_dim")
    bottleneck = width + ceil_div(width * heads * width, f.count("hidden_size"))
    whole = c.flag("use_full_rank_gate")
    linear = {
        "kind": "recurrent",
        "key_heads": heads,
        "key_head_dim": width,
        "value_heads": heads,
        "value_head_dim": width,
        "gates": 1 if whole else 0,
        "extra_outputs": heads + bottleneck * (1 if whole else 2),
        "conv_width": c.count("short_conv_kernel_size", default=0),
    }
    c.refuse_unknown()
    return lambda n: mla if n + 1 in full else linear


def _compressed(f: Fields, layers: int) -> OfLayer:
    """DeepSeek-V4: ratio 0 sees a window only, 4 has an index over what is kept, 128 sees all that is kept."""
    if f.count("num_key_value_heads", default=1) != 1:
        raise f.refuse("num_key_value_heads", f.data["num_key_value_heads"], "is not understood beside compress_ratios; only 1 is")
    f.get("qk_rope_head_dim")
    ratios = f.per_layer(layers, "compress_ratios", drafts=f.count("num_nextn_predict_layers", default=0)) or []
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
    pattern = f.per_layer(layers, "hybrid_override_pattern", "M*E-") or []
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
