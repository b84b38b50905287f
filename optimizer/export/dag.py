"""The forward pass of one micro-batch through one replica, as a directed acyclic graph."""

import json
from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any

from models.instance import Instance
from models.strategy import Plan, Strategy
from optimizer.export.assignment import members
from optimizer.export.program import Piece, Step, Tensor, pass_pieces

Dag = dict[str, Any]

NOTES = (
    "A computation is a node of one GPU, a collective a node of one group; ids name the GPU after @, the group's first GPU after #.",
    "An edge is a tensor on the GPU that it names; its bytes are shape x dtype.",
    "Residual additions, sums of several inputs, top-k weighting and reordering of tokens belong to the node that takes the tensors.",
    "Rows of expert inputs and outputs are those of the most loaded expert-parallel rank.",
    "Where tokens are gathered, every rank of an expert group takes all its tokens, and partial sums of shared experts join its own.",
    "Between stages each tensor-parallel rank sends its share, gathered on arrival; with a dense layer in the model, the whole.",
)


class _Builder:
    """Nodes and edges so far, and which node made each tensor that a GPU holds."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.nodes: list[dict[str, Any]] = []
        self.edges: list[dict[str, Any]] = []
        self._maker: list[dict[str, str]] = [{} for _ in range(strategy.world)]
        self._groups: dict[tuple[str | None, int], list[tuple[int, ...]]] = {}

    def add(self, piece: Piece, step: Step) -> None:
        """One node per GPU or group; edges come from nodes that exist, so no cycle can close."""
        prefix = "" if piece.layer is None else f"L{piece.layer}."
        mark = "@" if step.degree is None else "#"
        taken = [(t.name, _describe(t)) for t in step.takes]
        for gpus in self._members(step.degree, piece.stage):
            name = f"{prefix}{step.name}{mark}{gpus[0]}"
            where: dict[str, Any] = {"gpu": gpus[0]} if step.degree is None else {"gpus": list(gpus), "group": step.degree}
            self.nodes.append({"id": name, "kind": step.kind, "layer": piece.layer, "stage": piece.stage} | where)
            givers, takers = (gpus[:1], gpus[1:]) if step.degree == "pp" else (gpus, gpus)
            self.edges += [{"from": self._maker[g][t], "to": name, "gpu": g} | what for g in givers for t, what in taken]
            for g in takers:
                self._maker[g][step.gives.name] = name

    def _members(self, degree: str | None, stage: int) -> list[tuple[int, ...]]:
        """GPUs of each node of one step; for a message to the next stage, sender and receiver."""
        key = degree, stage
        if key not in self._groups:
            s, first = self.strategy, stage * self.strategy.stage_gpus
            own = range(first, first + s.stage_gpus)
            if degree is None:
                self._groups[key] = [(g,) for g in own]
            elif degree == "pp":
                self._groups[key] = [(g, g + s.stage_gpus) for g in own]
            else:
                self._groups[key] = members(s, degree, 0, stage)
        return self._groups[key]


def _describe(tensor: Tensor) -> dict[str, Any]:
    return {"tensor": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype, "bytes": tensor.bytes}


def deployment_dag(instance: Instance, plan: Plan) -> Dag:
    """Nodes (computations per GPU, collectives per group) and edges (tensors, bytes) of the first replica."""
    builder = _Builder(plan.strategy)
    for piece in pass_pieces(instance, plan):
        for step in piece.steps:
            builder.add(piece, step)
    return {
        "format": "shardproof-dag/1",
        "instance": instance.name,
        "strategy": plan.strategy.label(),
        "stages": list(plan.stages),
        "gpus": plan.strategy.world,
        "notes": list(NOTES),
        "nodes": builder.nodes,
        "edges": builder.edges,
    }


def sort_nodes(dag: Dag) -> list[str]:
    """Node ids, each after all that it waits for. Raises graphlib.CycleError if that is impossible."""
    waits: dict[str, set[str]] = {node["id"]: set() for node in dag["nodes"]}
    for edge in dag["edges"]:
        waits.setdefault(edge["to"], set()).add(edge["from"])
    return list(TopologicalSorter(waits).static_order())


def to_dot(dag: Dag) -> str:
    """Graphviz text: one cluster per stage, computations as boxes, collectives as ellipses."""
    return "\n".join(_dot_lines(dag)) + "\n"


def _dot_lines(dag: Dag) -> Iterator[str]:
    title = json.dumps(f"{dag['strategy']} on {dag['instance']}", ensure_ascii=False)
    yield f"digraph {title} {{"
    yield "  rankdir=LR;"
    for stage in range(len(dag["stages"])):
        yield f"  subgraph cluster_stage_{stage} {{"
        yield f'    label="stage {stage}";'
        for node in dag["nodes"]:
            if node["stage"] == stage:
                shape = "box" if "gpu" in node else "ellipse"
                yield f'    "{node["id"]}" [shape={shape}];'
        yield "  }"
    for edge in dag["edges"]:
        yield f'  "{edge["from"]}" -> "{edge["to"]}" [label="{edge["tensor"]}"];'
    yield "}"
