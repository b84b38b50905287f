"""How many parameters an architecture has, in all and active for one token."""

from typing import NamedTuple

from models.architecture import Architecture, LayerGroup
from models.attention import attention_weights
from models.operators import dense_width, expert_width, router_weights


class Parameters(NamedTuple):
    """Numbers of weights; biases are left out."""

    total: int
    active: int
    """used for one token: `top_k` of the experts; without the input embedding, of which one row is looked up"""
    embedding: int
    """of the input embedding; publishers differ in whether it is active"""
    routed: int
    """of all routed experts"""
    attention: int
    drafts: int
    """of multi-token prediction layers, not in `total`: each a layer like the last one and a projection of two states to one"""


def count_parameters(arch: Architecture) -> Parameters:
    """Parameters of the main layers, embedding and head; draft layers (`mtp_layers`) apart."""
    table = arch.hidden_size * arch.vocabulary_size
    ends = table if arch.tied_embeddings else 2 * table
    layers = [(group.count, *_of_layer(arch.hidden_size, group)) for group in arch.layers]
    total = ends + arch.hidden_size + sum(n * (always + experts) for n, always, experts, _, _ in layers)
    active = total - (ends - table) - sum(n * idle for n, _, _, idle, _ in layers)
    routed = sum(n * experts for n, _, experts, _, _ in layers)
    _, always, experts, _, _ = layers[-1]
    drafts = arch.mtp_layers * (always + experts + 2 * arch.hidden_size**2)
    return Parameters(total, active, table, routed, sum(n * attention for n, *_, attention in layers), drafts)


def _of_layer(hidden: int, group: LayerGroup) -> tuple[int, int, int, int]:
    """What every token uses, all routed experts, those a token does not use, and attention alone."""
    attention = attention_weights(hidden, group.attention, 1) if group.attention else 0
    always = attention + 2 * hidden
    if group.ffn is not None:
        always += group.ffn.matrices * hidden * dense_width(group.ffn)
    if group.moe is None:
        return always, 0, 0, attention
    one = group.moe.matrices * expert_width(hidden, group.moe) * group.moe.intermediate_size
    experts = group.moe.experts * one
    return always + sum(router_weights(hidden, group.moe)), experts, experts - group.moe.top_k * one, attention
