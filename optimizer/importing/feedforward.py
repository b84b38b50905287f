"""The feed-forward block of each layer from a configuration."""

from collections.abc import Callable
from typing import Any

from optimizer.importing.fields import Fields

Json = dict[str, Any]
OfLayer = Callable[[int], Json | None]


def ffn_of(f: Fields, layers: int) -> OfLayer:
    """How the configuration says which block each layer has."""
    inner = f.part("ffn_config") if f.data.get("ffn_config") is not None else f
    experts = inner.count("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", default=0)
    activation = f.data.get("mlp_hidden_act")
    if activation not in (None, "relu2"):
        raise f.refuse("mlp_hidden_act", activation, "is not understood; relu2 is, whose blocks have no gate")
    matrices = 2 if activation or f.data.get("model_type") in ("bloom", "falcon", "opt", "gpt2") else 3
    spelling = inner.present("intermediate_size_mlp", "dense_intermediate_size", "ffn_hidden_size", "intermediate_size")
    width = inner.count(spelling, default=1)
    dense = {"kind": "dense", "intermediate_size": width, "matrices": matrices}
    moe = _experts(f, inner, experts, width, matrices) if experts else None
    if inner is not f:
        inner.refuse_unknown()
    routed = _which(f, layers)
    if inner.data.get(spelling) is None and (moe is None or not all(map(routed, range(layers)))):
        inner.count(spelling)  # says that it is missing
    pattern = f.per_layer(layers, "hybrid_override_pattern", "M*E-")
    if pattern is not None:
        return lambda n: {"E": moe, "-": dense}.get(pattern[n])
    return lambda n: moe if moe is not None and routed(n) else dense


def _experts(f: Fields, inner: Fields, experts: int, dense_width: int, matrices: int) -> Json:
    """Routed and shared experts."""
    width = f.optional("moe_intermediate_size") or inner.count(inner.present("ffn_hidden_size", "intermediate_size"))
    f.get("mlp_intermediate_size")  # MiniMax: of dense layers, of which it has none
    found: Json = {
        "kind": "moe",
        "experts": experts,
        "top_k": inner.count("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_top_k", "experts_per_token"),
        "intermediate_size": width,
        "matrices": matrices,
    }
    shared, each = _shared(f, width, dense_width)
    found |= {"shared_experts": shared} if shared else {}
    found |= {"shared_intermediate_size": each} if shared and each != width else {}
    latent = f.optional("routed_expert_hidden_size", "moe_latent_size")
    found |= {} if latent is None else {"latent_size": latent}
    groups, top = f.count("n_group", "num_expert_group", default=1), f.count("topk_group", default=1)
    return found | ({"groups": groups, "top_groups": top} if groups > 1 else {})


def _shared(f: Fields, width: int, dense_width: int) -> tuple[int, int]:
    """How many shared experts there are, and how wide each is."""
    count = f.count("n_shared_experts", "num_shared_experts", default=0)
    widths = ("moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim")
    each = f.count(*widths, default=0)
    if f.flag("enable_moe_block"):  # Gemma 4: the dense block stays beside the experts
        return 1, dense_width
    if f.data.get("interleave_moe_layer_step") is not None:  # Llama 4: one, as wide as an expert
        return 1, width
    return (count or 1, each) if each else (count, width)


def _which(f: Fields, layers: int) -> Callable[[int], bool]:
    """Which layers route, in a model that has experts."""
    first = f.count("first_k_dense_replace", default=0)
    named, period = f.per_layer(layers, "mlp_layer_types", ("dense", "sparse")), 1
    marked = None
    if isinstance(f.get("moe_layer_freq"), list):
        marked = f.per_layer(layers, "moe_layer_freq", (0, 1))
    else:
        period = f.count("moe_layer_freq", default=1)
    step = f.count("interleave_moe_layer_step", "decoder_sparse_step", default=1)
    dense_only = f.get("mlp_only_layers") or []
    if not isinstance(dense_only, list) or any(type(n) is not int or not 0 <= n < layers for n in dense_only):
        raise f.refuse("mlp_only_layers", dense_only, f"must be a list of layers from 0 to {layers - 1}; correct it")
    ruled = [n >= first and n % period == 0 and (n + 1) % step == 0 and n not in dense_only for n in range(layers)]
    for name, listed in (("mlp_layer_types", named), ("moe_layer_freq", marked)):
        if listed is not None:
            chosen = [entry in (1, "sparse") for entry in listed]
            if first and chosen[:first] != ruled[:first]:
                raise f.refuse(name, listed, f"contradicts first_k_dense_replace = {first}; keep the true one")
            ruled = chosen
    return lambda n: ruled[n]
