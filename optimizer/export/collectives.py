"""What travels between GPUs for one micro-batch, and what `models.terms` says it costs."""

from typing import Any

from models.collectives import Comm
from models.evaluate import layer_profile, moe_layer_indices
from models.instance import Instance
from models.strategy import Plan, Strategy
from models.terms import Price, Terms
from optimizer.export.assignment import group_size
from optimizer.export.program import Program, Step, layer_steps

Kind = dict[str, Any]


def communication_pattern(instance: Instance, plan: Plan) -> list[Kind]:
    """Per kind of layer, in order of the pass: its collectives, and the cost of each communication term.

    ns and bytes through one GPU's port are per layer and micro-batch, before overlap; those of a
    `term` are the sums over its collectives.
    """
    terms, s = Terms(instance), plan.strategy
    shape, lie = terms.shape(s), terms.groups(s)
    ends = Program(instance, shape), Program(instance, shape)
    ends[0].embed()
    ends[1].score((ends[1].hidden("hidden", shape.tokens),))
    found = [_describe("embedding", [], tuple(ends[0].steps), terms.first(shape, lie), s, {})]
    found += _layer_kinds(instance, plan, terms)
    found.append(_describe("head", [], tuple(ends[1].steps), terms.last(shape, lie), s, {}))
    if s.pp > 1:
        between = Program(instance, shape)
        between.send((between.hidden("layer_out", shape.dispatched),))
        price = Price((), (("pp_comm", terms.transfer(s, shape)),), 0)
        found.append(_describe("stage boundary", [], tuple(between.steps), price, s, {}))
    return found


def _layer_kinds(instance: Instance, plan: Plan, terms: Terms) -> list[Kind]:
    """Layers of one shape and one cost of communication, together."""
    s, groups = plan.strategy, terms.arch.group_of_layer()
    shape, lie, position = terms.shape(s), terms.groups(s), moe_layer_indices(instance)
    kinds: dict[tuple[object, ...], Kind] = {}
    for layer, g in enumerate(groups):
        profile = layer_profile(terms, s, plan, position[layer], g) if layer in position else None
        price = terms.layer(g, shape, lie, profile)
        key = (g, profile and profile.tokens, price.comm)
        if key not in kinds:
            name = "dense layer" if profile is None else "MoE layer"
            group = terms.arch.layers[g]
            costs = {n: c for parts in terms.collectives(group, shape, lie, profile).values() for n, c in parts.items()}
            kinds[key] = _describe(name, [], layer_steps(instance, group, shape, profile), price, s, costs)
        kinds[key]["layers"].append(layer)
    return list(kinds.values())


def _describe(name: str, layers: list[int], steps: tuple[Step, ...], price: Price, strategy: Strategy, costs: dict[str, Comm]) -> Kind:
    """One kind of layer, or an end of the model, whose only collective is its term."""
    exchanges = [step for step in steps if step.degree is not None]
    present = {step.term for step in exchanges}
    return {
        "kind": name,
        "layers": layers,
        "collectives": [
            _describe_step(step, strategy) | _describe_cost(costs.get(step.name) or dict(price.comm)[step.term]) for step in exchanges
        ],
        "terms": {term: _describe_cost(comm) for term, comm in price.comm if term in present},
    }


def _describe_step(step: Step, strategy: Strategy) -> Kind:
    """One collective; groups are those of one stage of one replica."""
    assert step.degree is not None
    between_stages = step.degree == "pp"
    size = 2 if between_stages else group_size(strategy, step.degree)
    tensor = step.message
    return {
        "name": step.name,
        "kind": step.kind,
        "group": step.degree,
        "group_size": size,
        "groups_per_stage": strategy.stage_gpus if between_stages else strategy.stage_gpus // size,
        "tensor": {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype, "bytes": tensor.bytes},
        "term": step.term,
    }


def _describe_cost(comm: Comm) -> Kind:
    """ns, and bytes through one GPU's port of each tier; `tier` names those that carry any."""
    carried = comm.scale_up_bytes > 0, comm.scale_out_bytes > 0
    tier = {(True, False): "scale_up", (False, True): "scale_out", (True, True): "both", (False, False): "none"}[carried]
    return {"ns": comm.ns, "scale_up_bytes": comm.scale_up_bytes, "scale_out_bytes": comm.scale_out_bytes, "tier": tier}
