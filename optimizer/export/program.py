"""What every GPU does for one micro-batch: computations and collectives in order, with their tensors.

Sizes are those that `models.terms` prices. A collective among one rank is no step. Sums of several
inputs, residual additions, top-k weighting and reordering of tokens are local: they belong to the
step that takes the tensors.
"""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from models.architecture import LayerGroup
from models.attention import cache_elements_per_token, query_widths
from models.evaluate import layer_profile, moe_layer_indices
from models.formats import stored_bytes
from models.instance import Instance
from models.messages import gathers, holds_its_tokens, sends_shares
from models.operators import expert_width
from models.routing import Profile
from models.shape import Shape
from models.strategy import Plan, stage_ranges
from models.terms import Terms
from models.units import ceil_div


class Tensor(NamedTuple):
    """A tensor on one GPU. `rows x width`, or with sequences in front."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return stored_bytes(prod(self.shape), self.dtype)


Tensors = tuple[Tensor, ...]


class Step(NamedTuple):
    """One computation on each GPU, or one collective in each `degree` group (pp: to the next stage; experts: of etp * ep ranks)."""

    name: str
    kind: str
    degree: str | None
    takes: Tensors
    gives: Tensor
    term: str = ""
    """the cost term of `models` that the collective is part of"""

    @property
    def message(self) -> Tensor:
        """What the collective moves, whole: the operand of a reduction, the larger end of an all-to-all, else the result."""
        if self.kind == "all_to_all":
            return max((*self.takes, self.gives), key=lambda t: t.bytes)
        return self.takes[0] if self.kind == "reduce_scatter" else self.gives


class Piece(NamedTuple):
    """Steps of one layer (None: an end of the model) on one stage; the last may lead to the next stage."""

    stage: int
    layer: int | None
    steps: tuple[Step, ...]


class Program:
    """Steps of one piece of the model, written down one after the other."""

    def __init__(self, instance: Instance, shape: Shape) -> None:
        self.arch = instance.architecture
        self.workload = instance.workload
        self.shape = shape
        # As `Terms.transfer` prices it: only MoE layers leave their output in shares.
        self.sharded = sends_shares(instance)
        self.gathers = gathers(instance)
        self.holds_tokens = holds_its_tokens(shape)
        self.steps: list[Step] = []

    def hidden(self, name: str, tokens: int, dtype: str | None = None) -> Tensor:
        """tokens x hidden size, in the activation dtype unless told."""
        return Tensor(name, (tokens, self.arch.hidden_size), dtype or self.arch.activation_dtype)

    def compute(self, kind: str, takes: Tensors, gives: Tensor) -> Tensors:
        """A computation of each GPU on its own."""
        self.steps.append(Step(kind, kind, None, takes, gives))
        return (gives,)

    def exchange(self, name: str, kind: str, degree: str, takes: Tensors, gives: Tensor) -> Tensors:
        """A collective of each `degree` group; among one rank, what it takes is left as it is."""
        size = {"pp": 2, "experts": self.shape.etp * self.shape.ep}.get(degree) or getattr(self.shape, degree)
        if size == 1:
            return takes
        joint = degree == "experts" or name == "expert_all_reduce" or (name == "tensor_all_gather" and self.gathers)
        self.steps.append(Step(name, kind, degree, takes, gives, "ep_comm" if joint else f"{degree}_comm"))
        return (gives,)

    def embed(self) -> Tensors:
        """Token look-up in a vocabulary-parallel table."""
        partial = self.compute("embedding", (), self.hidden("embedded", self.shape.tokens))
        return self.exchange("embedding_all_reduce", "all_reduce", "tp", partial, self.hidden("hidden", self.shape.tokens))

    def score(self, hidden: Tensors) -> Tensors:
        """Logits of each sequence's last token."""
        sequences, vocabulary = self.shape.sequences, self.arch.vocabulary_size
        part = self.compute("head", hidden, Tensor("logits", (sequences, ceil_div(vocabulary, self.shape.tp)), "fp32"))
        return self.exchange("logits_all_gather", "all_gather", "tp", part, Tensor("all_logits", (sequences, vocabulary), "fp32"))

    def run_layer(self, group: LayerGroup, profile: Profile | None, hidden: Tensors) -> Tensors:
        """One layer up to the collective that closes it; gives what that collective takes."""
        attended = self._attend(group, hidden)
        if profile is None or self.gathers:
            whole = attended
            if group.attention is not None:
                whole = self.exchange("tensor_all_reduce", "all_reduce", "tp", attended, self.hidden("attention_sum", self.shape.tokens))
            if profile is not None:
                return self._gather(group, whole)
            return whole if group.ffn is None else self.compute("dense_ffn", whole, self.hidden("ffn_out", self.shape.tokens))
        share = attended
        if group.attention is not None:
            shard = self.hidden("attention_shard", self.shape.dispatched)
            share = self.exchange("tensor_reduce_scatter", "reduce_scatter", "tp", attended, shard)
        shared = self._share(share) if group.moe is not None and group.moe.shared_width else ()
        return self._route(group, share, profile) + shared

    def close(self, outputs: Tensors, group: LayerGroup) -> Tensors:
        """The collective that gives every tensor-parallel rank the whole output of a layer."""
        hidden = self.hidden("hidden", self.shape.tokens)
        if group.ffn is None:  # attention was summed already
            return outputs
        if group.moe is not None and self.gathers and self.holds_tokens:
            return self.exchange("expert_all_reduce", "all_reduce", "tp", outputs, hidden)
        if group.moe is not None:
            return self.exchange("tensor_all_gather", "all_gather", "tp", outputs, hidden)
        return self.exchange("ffn_all_reduce", "all_reduce", "tp", outputs, hidden)

    def send(self, held: Tensors) -> Tensors:
        """Hand what each rank holds to its peer in the next stage: its share, or the whole."""
        return self.exchange(
            "send", "send", "pp", held, self.hidden("stage_hidden", self.shape.dispatched if self.sharded else self.shape.tokens)
        )

    def arrive(self, received: Tensors) -> Tensors:
        """Gather the shares that the peers in the previous stage have sent."""
        if not self.sharded:
            return received
        return self.exchange("tensor_all_gather", "all_gather", "tp", received, self.hidden("hidden", self.shape.tokens))

    def _attend(self, group: LayerGroup, hidden: Tensors) -> Tensors:
        """Attention; with context parallelism the keys and values (decode: queries, outputs) travel."""
        shape, dtype = self.shape, self.arch.activation_dtype
        if group.attention is None:
            return hidden
        out = self.hidden("attention_out", shape.tokens)
        if shape.cp == 1:
            return self.compute("attention", hidden, out)
        sequences, context = shape.sequences, self.workload.context_tokens
        if self.workload.kind == "prefill":
            width = cache_elements_per_token(group.attention, shape.tp)
            own = self.compute("keys_values", hidden, Tensor("keys_values", (sequences, ceil_div(context, shape.cp), width), dtype))
            every = Tensor("context_keys_values", (sequences, context, width), dtype)
            return self.compute("attention", hidden + self.exchange("context_all_gather", "all_gather", "cp", own, every), out)
        q, o = query_widths(group.attention, shape.tp)
        own = self.compute("queries", hidden, Tensor("queries", (shape.tokens, q), dtype))
        every = Tensor("context_queries", (sequences, q), dtype)
        partial = self.exchange("context_all_gather", "all_gather", "cp", own, every)
        partial = self.compute("attention", partial, Tensor("partial_outputs", (sequences, o), dtype))
        scattered = Tensor("outputs", (shape.tokens, o), dtype)
        return self.compute("projection", self.exchange("context_reduce_scatter", "reduce_scatter", "cp", partial, scattered), out)

    def _share(self, share: Tensors) -> Tensors:
        """Shared experts: whole tokens in, this rank's share of the sum out."""
        whole = self.exchange("shared_all_gather", "all_gather", "tp", share, self.hidden("shared_in", self.shape.tokens))
        part = self.compute("shared_experts", whole, self.hidden("shared_out", self.shape.tokens))
        return self.exchange("shared_reduce_scatter", "reduce_scatter", "tp", part, self.hidden("shared_shard", self.shape.dispatched))

    def _rows(self, group: LayerGroup, name: str, tokens: int, dtype: str) -> Tensor:
        """What experts take or give: hidden states, or their latents."""
        assert group.moe is not None, "only MoE layers have routed experts"
        return Tensor(name, (tokens, expert_width(self.arch.hidden_size, group.moe)), dtype)

    def _gather(self, group: LayerGroup, whole: Tensors) -> Tensors:
        """Router and shared experts on all tokens; routed experts on all tokens of their group, each rank a part of the sum."""
        arch, shape = self.arch, self.shape
        rows = shape.tokens if self.holds_tokens else shape.dispatched
        x = self.compute("router", whole, self._rows(group, "routed_tokens", rows, arch.dispatch_dtype))
        shared: Tensors = ()
        if group.moe is not None and group.moe.shared_width:
            shared = self.compute("shared_experts", whole, self.hidden("shared_out", shape.tokens))
        if self.holds_tokens:
            return self.compute("experts", x + shared, self.hidden("expert_outputs", shape.tokens))
        every = self._rows(group, "expert_inputs", shape.group_tokens, arch.dispatch_dtype)
        x = self.exchange("expert_all_gather", "all_gather", "experts", x, every)
        x = self.compute("experts", x + shared, self._rows(group, "expert_outputs", shape.group_tokens, arch.combine_dtype))
        return self.exchange("expert_reduce_scatter", "reduce_scatter", "experts", x, self.hidden("combined", shape.dispatched))

    def _route(self, group: LayerGroup, share: Tensors, profile: Profile) -> Tensors:
        """Router, dispatch, routed experts, combine. Rows are those of the most loaded EP rank."""
        arch, shape = self.arch, self.shape
        sent, back = arch.dispatch_dtype, arch.combine_dtype
        received = ceil_div(profile.tokens, shape.etp)
        rows = shape.dispatched if shape.ep > 1 else received
        x = self.compute("router", share, self._rows(group, "routed_tokens", rows, sent))
        x = self.exchange("dispatch", "all_to_all", "ep", x, self._rows(group, "dispatched_tokens", received, sent))
        x = self.exchange("expert_all_gather", "all_gather", "etp", x, self._rows(group, "expert_inputs", profile.tokens, sent))
        x = self.compute("experts", x, self._rows(group, "expert_outputs", profile.tokens, back))
        x = self.exchange("expert_reduce_scatter", "reduce_scatter", "etp", x, self._rows(group, "expert_sums", received, back))
        return self.exchange("combine", "all_to_all", "ep", x, self.hidden("combined", shape.dispatched))


def layer_steps(instance: Instance, group: LayerGroup, shape: Shape, profile: Profile | None) -> tuple[Step, ...]:
    """All steps of a layer that is followed by another on the same stage."""
    program = Program(instance, shape)
    hidden = (program.hidden("hidden", shape.tokens),)
    program.close(program.run_layer(group, profile, hidden), group)
    return tuple(program.steps)


def pass_pieces(instance: Instance, plan: Plan) -> Iterator[Piece]:
    """One micro-batch's forward pass, from the embedding on the first stage to the head on the last."""
    terms, s = Terms(instance), plan.strategy
    shape, group_of, position = terms.shape(s), terms.arch.group_of_layer(), moe_layer_indices(instance)
    first = Program(instance, shape)
    hidden = first.embed()
    yield Piece(0, None, tuple(first.steps))
    for stage, layers in enumerate(stage_ranges(plan.stages)):
        for layer in layers:
            g, moe = group_of[layer], layer in position
            profile = layer_profile(terms, s, plan, position[layer], g) if moe else None
            program = Program(instance, shape)
            outputs = program.run_layer(terms.arch.layers[g], profile, hidden)
            leaves = layer == layers[-1] and stage + 1 < s.pp
            hidden = outputs if leaves and program.sharded else program.close(outputs, terms.arch.layers[g])
            hidden = program.send(hidden) if leaves else hidden
            yield Piece(stage, layer, tuple(program.steps))
            if leaves:
                arrival = Program(instance, shape)
                hidden = arrival.arrive(hidden)
                yield Piece(stage + 1, layer, tuple(arrival.steps))
    last = Program(instance, shape)
    last.score(hidden)
    yield Piece(s.pp - 1, None, tuple(last.steps))
