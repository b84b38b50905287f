"""Assignment, graph and messages of an exported plan are those that the model prices."""

from collections import Counter
from math import prod
from typing import Any

from export_cases import CASES, Case, every_case

from models.collectives import NOTHING, Comm, all_gather, all_reduce, reduce_scatter, worst
from models.evaluate import evaluate, layer_profile, moe_layer_indices
from models.formats import BITS, PARTS
from models.layout import expert_group_patterns, group_patterns
from models.strategy import stage_ranges
from models.terms import Terms
from optimizer.export.assignment import COORDINATES, GROUPS, expert_gpus, gpu_table, group_size, group_table, talking_groups
from optimizer.export.collectives import communication_pattern
from optimizer.export.dag import deployment_dag, sort_nodes, to_dot
from optimizer.export.program import layer_steps, pass_pieces
from optimizer.export.verification import check_export

COMPUTE = {"embedding", "attention", "router", "shared_experts", "experts", "dense_ffn", "head", "keys_values", "queries", "projection"}


def gpus_of(node: dict[str, Any]) -> list[int]:
    return [node["gpu"]] if "gpu" in node else list(node["gpus"])


def test_expert_e_of_the_reference_plan_lies_on_gpus_2e_and_2e_plus_1_in_every_layer() -> None:
    held = expert_gpus(*CASES["reference"])
    assert list(held) == list(range(16))
    assert all(held[layer] == {e: [2 * e, 2 * e + 1] for e in range(64)} for layer in held)


def test_folded_experts_lie_on_the_same_gpu_of_each_of_the_16_nodes() -> None:
    held = expert_gpus(*CASES["folded"])
    assert held[7] == {e: [8 * node + e // 8 for node in range(16)] for e in range(64)}


def test_pipelined_experts_lie_on_four_gpus_of_the_stage_of_their_layer() -> None:
    held = expert_gpus(*CASES["pipelined"])
    assert all(held[layer][e] == [8 * layer + 4 * (e // 32) + k for k in range(4)] for layer in range(16) for e in range(64))


@every_case
def test_every_replica_holds_every_expert(any_case: Case) -> None:
    instance, plan = any_case
    s = plan.strategy
    for experts in expert_gpus(instance, plan).values():
        held = Counter((g // s.world, e) for e, gpus in experts.items() for g in gpus)
        copies = s.etp * s.edp
        assert min(held.values()) == copies
        assert all(n % copies == 0 for n in held.values())
        assert held.total() == copies * s.replicas * (instance.architecture.experts + s.ep * s.redundant)
        assert len(held) == s.replicas * instance.architecture.experts


def test_a_gpu_holds_the_experts_that_the_placement_gives_its_rank() -> None:
    instance, plan = CASES["mixed"]
    turned = tuple(tuple(reversed(ranks)) for ranks in plan.placement)
    held = expert_gpus(instance, plan._replace(placement=turned))
    for row in gpu_table(instance, plan):
        for layer in set(held) & set(stage_ranges(plan.stages)[row["stage"]]):
            assert {e for e, gpus in held[layer].items() if row["gpu"] in gpus} == set(turned[layer - 2][row["ep"]])


@every_case
def test_groups_partition_the_gpus_of_each_stage(any_case: Case) -> None:
    s, kinds = any_case.plan.strategy, talking_groups(any_case.instance)
    tables = group_table(any_case.plan, kinds)
    assert len(tables) == s.replicas * s.pp
    for number, table in enumerate(tables):
        stage = list(range(number * s.stage_gpus, (number + 1) * s.stage_gpus))
        for kind in kinds:
            assert sorted(g for group in table[kind] for g in group) == stage
            assert {len(group) for group in table[kind]} == {group_size(s, kind)}


@every_case
def test_the_gpu_table_agrees_with_the_groups_and_names_each_rank_once(any_case: Case) -> None:
    rows = gpu_table(*any_case)
    s, pool = any_case.plan.strategy, any_case.instance.cluster.pool
    assert [r["gpu"] for r in rows] == list(range(s.gpus))
    assert all(r["node"] * pool.gpus_per_node + r["local_index"] == r["gpu"] for r in rows)
    for table in group_table(any_case.plan):
        for degree in GROUPS:
            assert all(rows[g][degree] == rank for group in table[degree] for rank, g in enumerate(group))
    for side in (COORDINATES[:3], COORDINATES[3:]):
        assert len({(r["replica"], r["stage"], *(r[d] for d in side)) for r in rows}) == s.gpus


@every_case
def test_the_dag_has_no_cycle(any_case: Case) -> None:
    dag = deployment_dag(*any_case)
    waiting = Counter(edge["to"] for edge in dag["edges"])
    after: dict[str, list[str]] = {}
    for edge in dag["edges"]:
        after.setdefault(edge["from"], []).append(edge["to"])
    ready = [node["id"] for node in dag["nodes"] if node["id"] not in waiting]
    done = 0
    while ready:
        done += 1
        for follower in after.get(ready.pop(), []):
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    assert done == len(dag["nodes"]) == len(sort_nodes(dag)) == len({node["id"] for node in dag["nodes"]})


@every_case
def test_a_computation_is_on_one_existing_gpu_of_its_stage_and_a_collective_in_one_group(any_case: Case) -> None:
    s = any_case.plan.strategy
    for node in deployment_dag(*any_case)["nodes"]:
        stage = range(node["stage"] * s.stage_gpus, (node["stage"] + 1) * s.stage_gpus)
        if node["kind"] in COMPUTE:
            assert "gpus" not in node
            assert node["gpu"] in stage
        elif node["kind"] == "send":
            assert node["gpus"] == [node["gpus"][0], node["gpus"][0] + s.stage_gpus]
            assert node["gpus"][0] in stage
        else:
            assert len(node["gpus"]) == group_size(s, node["group"]) > 1
            assert set(node["gpus"]) <= set(stage)


@every_case
def test_every_gpu_attends_once_to_every_layer_of_its_stage_and_to_no_other(any_case: Case) -> None:
    s = any_case.plan.strategy
    have = Counter((n["gpu"], n["layer"]) for n in deployment_dag(*any_case)["nodes"] if n["kind"] == "attention")
    stages = enumerate(stage_ranges(any_case.plan.stages))
    need = Counter((stage * s.stage_gpus + g, layer) for stage, layers in stages for layer in layers for g in range(s.stage_gpus))
    assert have == need


@every_case
def test_an_edge_is_as_large_as_its_shape_and_dtype_say(any_case: Case) -> None:
    for edge in deployment_dag(*any_case)["edges"]:
        assert edge["bytes"] * 8 * PARTS == prod(edge["shape"]) * BITS[edge["dtype"]]


@every_case
def test_tensors_change_gpu_only_inside_collectives(any_case: Case) -> None:
    dag = deployment_dag(*any_case)
    nodes = {node["id"]: node for node in dag["nodes"]}
    for edge in dag["edges"]:
        assert edge["gpu"] in gpus_of(nodes[edge["from"]])
        assert edge["gpu"] in gpus_of(nodes[edge["to"]])


@every_case
def test_every_node_waits_for_each_of_its_gpus_and_feeds_another(any_case: Case) -> None:
    dag = deployment_dag(*any_case)
    inputs, feeds = {(e["to"], e["gpu"]) for e in dag["edges"]}, {e["from"] for e in dag["edges"]}
    final = dag["nodes"][-1]["kind"]
    for node in dag["nodes"]:
        givers = gpus_of(node)[:1] if node["kind"] == "send" else gpus_of(node)
        assert node["kind"] == "embedding" or all((node["id"], g) in inputs for g in givers)
        assert node["id"] in feeds or node["kind"] == final


@every_case
def test_a_collective_makes_wholes_of_parts_or_parts_of_wholes(any_case: Case) -> None:
    """Expert inputs and outputs that were not dispatched still hold one row per expert of a token."""
    s = any_case.plan.strategy
    for step in (step for piece in pass_pieces(*any_case) for step in piece.steps if step.degree):
        for taken in (t for t in step.takes if t.name not in ("expert_outputs", "expert_sums") or step.degree in ("etp", "experts")):
            part, whole = sorted((prod(taken.shape), prod(step.gives.shape)))
            parts = 1 if step.kind in ("all_reduce", "send") else group_size(s, str(step.degree))
            assert step.kind == "all_to_all" or 0 <= part * parts - whole < parts * taken.shape[-1]  # a share of a row rounds up
            assert step.kind != "all_gather" or whole == prod(step.gives.shape)


def test_a_stage_is_reached_only_through_messages_of_the_size_that_the_model_prices() -> None:
    for name in ("pipelined", "mixed, stage ends after a dense layer"):
        instance, plan = CASES[name]
        dag, s = deployment_dag(instance, plan), plan.strategy
        stage_of = {node["id"]: node["stage"] for node in dag["nodes"]}
        crossing = [e for e in dag["edges"] if stage_of[e["from"]] != stage_of[e["to"]]]
        assert len(crossing) == (s.pp - 1) * s.stage_gpus
        assert all(".send#" in e["from"] for e in crossing)
        priced = communication_pattern(instance, plan)[-1]["terms"]["pp_comm"]
        assert {e["bytes"] for e in crossing} == {priced["scale_up_bytes"] + priced["scale_out_bytes"]}


def test_graphviz_text_holds_every_node_and_edge_once() -> None:
    text = to_dot(dag := deployment_dag(*CASES["pipelined"]))
    assert (text.count(" -> "), text.count("[shape=")) == (len(dag["edges"]), len(dag["nodes"]))
    assert text.count("subgraph cluster_") == 16


def test_the_checks_of_the_graph_refuse_a_missing_node_and_a_cycle() -> None:
    instance, plan = CASES["pipelined"]
    evaluation, dag = evaluate(instance, plan), deployment_dag(instance, plan)
    assert all(c.passed for c in check_export(instance, plan, dag, evaluation))
    nodes, edge = [node for node in dag["nodes"] if node["id"] != "L3.attention@25"], dag["edges"][0]
    back = edge | {"from": edge["to"], "to": edge["from"]}
    for broken, name in ((dag | {"nodes": nodes}, "dag_covers_layers"), (dag | {"edges": [*dag["edges"], back]}, "dag_acyclic")):
        assert name in {c.name for c in check_export(instance, plan, broken, evaluation) if not c.passed}


@every_case
def test_the_communication_of_all_layers_is_that_of_the_evaluation(any_case: Case) -> None:
    instance, plan = any_case
    whole = evaluate(instance, plan)
    sums: Counter[str] = Counter()
    for kind in communication_pattern(instance, plan):
        for term, cost in kind["terms"].items():
            sums[term] += cost["ns"] * (len(kind["layers"]) if kind["layers"] else plan.strategy.pp - 1 if term == "pp_comm" else 1)
    for term in ("tp_comm", "cp_comm", "ep_comm", "etp_comm", "pp_comm"):
        said = whole.breakdown.get(term, 0)
        if plan.strategy.pp == 1 or term == "pp_comm":
            assert sums[term] == said if term == "pp_comm" else sums[term] * plan.strategy.microbatches == said
        else:  # the breakdown is that of the slowest stage
            assert sums[term] * plan.strategy.microbatches >= said


@every_case
def test_every_layer_belongs_to_one_kind_and_empty_terms_are_left_out(any_case: Case) -> None:
    kinds = communication_pattern(*any_case)
    assert sorted(layer for kind in kinds for layer in kind["layers"]) == list(range(any_case.instance.architecture.layer_count))
    for kind in kinds:
        assert set(kind["terms"]) == {c["term"] for c in kind["collectives"]}
        assert all(cost["tier"] != "none" for cost in kind["terms"].values())


@every_case
def test_the_tensors_named_are_those_that_the_model_prices(any_case: Case) -> None:
    """Pricing each ring collective again from the tensor's bytes gives the term."""
    (instance, plan), price = any_case, {"all_gather": all_gather, "reduce_scatter": reduce_scatter, "all_reduce": all_reduce}
    pool = instance.cluster.pool
    for kind in communication_pattern(instance, plan):
        ring = {"tp_comm", "cp_comm", "etp_comm"} | ({"ep_comm"} if instance.runtime.expert_exchange == "gather" else set())
        for term in ring & set(kind["terms"]):
            total: Comm = NOTHING
            for c in kind["collectives"]:
                if c["term"] == term:
                    domain = pool.scale_up_domain_gpus
                    joint = c["group"] == "experts"
                    patterns = expert_group_patterns(plan.strategy, domain) if joint else group_patterns(plan.strategy, c["group"], domain)
                    total += worst([price[c["kind"]](pool, c["tensor"]["bytes"], p) for p in patterns])
            assert {name: kind["terms"][term][name] for name in Comm._fields} == total._asdict()


def test_the_reference_layer_talks_in_six_collectives_in_this_order() -> None:
    (layer,) = (k for k in communication_pattern(*CASES["reference"]) if k["kind"] == "MoE layer")
    assert [(c["name"], c["kind"], c["groups_per_stage"], c["group_size"]) for c in layer["collectives"]] == [
        ("tensor_reduce_scatter", "reduce_scatter", 64, 2),
        ("dispatch", "all_to_all", 2, 64),
        ("expert_all_gather", "all_gather", 64, 2),
        ("expert_reduce_scatter", "reduce_scatter", 64, 2),
        ("combine", "all_to_all", 2, 64),
        ("tensor_all_gather", "all_gather", 64, 2),
    ]
    assert {term: cost["tier"] for term, cost in layer["terms"].items()} == {
        "tp_comm": "scale_up",
        "ep_comm": "both",
        "etp_comm": "scale_up",
    }


def moe_layer(name: str) -> list[tuple[str, str, int, list[int], str]]:
    """Name, group, its size, tensor and term of each collective of the first kind of MoE layer."""
    layer = next(k for k in communication_pattern(*CASES[name]) if k["kind"] == "MoE layer")
    return [(c["name"], c["group"], c["group_size"], c["tensor"]["shape"], c["term"]) for c in layer["collectives"]]


def test_a_direct_exchange_has_the_collectives_of_the_hierarchical_one() -> None:
    assert moe_layer("direct") == moe_layer("mixed")


def test_gathered_tokens_of_several_data_parallel_ranks_go_to_all_ranks_of_the_expert_group_and_back() -> None:
    # 16 prompts / DP 4 = 4 * 1_000 tokens on a rank pair; 4 ranks of an expert group are two such pairs: 8_000
    assert moe_layer("gathered over more than a data-parallel rank") == [
        ("tensor_all_reduce", "tp", 2, [4_000, 4096], "tp_comm"),
        ("expert_all_gather", "experts", 4, [8_000, 4096], "ep_comm"),
        ("expert_reduce_scatter", "experts", 4, [8_000, 4096], "ep_comm"),
        ("tensor_all_gather", "tp", 2, [4_000, 4096], "ep_comm"),
    ]


def test_gathered_tokens_that_lie_on_their_group_already_are_summed_only() -> None:
    # 32 sequences / DP 2 = 16 tokens on each of TP 4 ranks, which are one expert group
    assert moe_layer("gathered inside a data-parallel rank") == [
        ("tensor_all_reduce", "tp", 4, [16, 4096], "tp_comm"),
        ("expert_all_reduce", "tp", 4, [16, 4096], "ep_comm"),
    ]


def test_an_expert_group_is_etp_times_ep_gpus_side_by_side() -> None:
    instance, plan = CASES["gathered over more than a data-parallel rank"]
    (table,) = group_table(plan, talking_groups(instance))
    assert table["experts"] == [[0, 1, 2, 3], [4, 5, 6, 7]]


@every_case
def test_every_collective_that_the_model_prices_is_a_step_and_no_other(any_case: Case) -> None:
    """Those of one rank, which cost nothing, are neither."""
    instance, plan = any_case
    terms, s = Terms(instance), plan.strategy
    position = moe_layer_indices(instance)
    for layer, g in enumerate(terms.arch.group_of_layer()):
        profile = layer_profile(terms, s, plan, position[layer], g) if layer in position else None
        shape, group = terms.shape(s), terms.arch.layers[g]
        priced = terms.collectives(group, shape, terms.groups(s), profile)
        costly = {(term, name) for term, parts in priced.items() for name, cost in parts.items() if cost.ns}
        assert {(step.term, step.name) for step in layer_steps(instance, group, shape, profile) if step.degree} == costly
