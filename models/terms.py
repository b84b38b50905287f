"""The separable terms of a pass: what one micro-batch costs in one layer, and at the two ends.

Each term depends on few of the degrees, collected in a `Shape`; `Terms` computes each distinct one
once. `models.evaluate` adds them up for one plan, `models.bounds` for all plans of a strategy.
"""

from collections.abc import Hashable
from typing import NamedTuple

from models.architecture import BITS, LayerGroup, MoeFfn
from models.collectives import NOTHING, Comm, all_gather, all_reduce, all_to_all, reduce_scatter, send, worst
from models.instance import Instance
from models.layout import Pattern, group_patterns, stage_neighbours_cross
from models.memory import cache_bytes_per_sequence, embedding_bytes, head_bytes, layer_weight_bytes, logits_bytes, stage_fixed_bytes
from models.operators import (
    Shard,
    Work,
    attention_projections,
    cache_elements_per_token,
    decode_core,
    dense_width,
    embedding,
    feed_forward,
    head,
    norms,
    prefill_core,
    query_widths,
    routed_experts,
    router,
)
from models.roofline import operator_ns
from models.routing import Profile
from models.strategy import Strategy
from models.units import PPM, ceil_div, dtype_bytes

COMPUTE_TERMS = ("attention", "dense_ffn", "router", "shared_experts", "experts", "norms", "embedding", "head")
COMM_TERMS = ("tp_comm", "cp_comm", "ep_comm", "etp_comm")


class Shape(NamedTuple):
    """All that one micro-batch's cost in a layer depends on, besides the layer and its placement."""

    sequences: int
    """per data-parallel rank and micro-batch"""
    tokens: int
    """per context-parallel rank and micro-batch"""
    tp: int
    cp: int
    etp: int
    ep: int
    tp_groups: tuple[Pattern, ...]
    cp_groups: tuple[Pattern, ...]
    etp_groups: tuple[Pattern, ...]
    ep_groups: tuple[Pattern, ...]

    @property
    def dispatched(self) -> int:
        """Tokens that one GPU sends to the experts: its sequence-parallel share."""
        return ceil_div(self.tokens, self.tp)

    @property
    def group_tokens(self) -> int:
        """Tokens that reach one EP group (all its ETP ranks together)."""
        return self.dispatched * self.ep * self.etp


class Price(NamedTuple):
    """Named costs of one layer (or one end of the model) for one micro-batch."""

    compute: tuple[tuple[str, int], ...]
    comm: tuple[tuple[str, Comm], ...]
    overlap_ppm: int

    @property
    def compute_ns(self) -> int:
        return sum(ns for _, ns in self.compute)

    @property
    def traffic(self) -> Comm:
        """Sum of the communications; its ns are not overlapped."""
        return sum((c for _, c in self.comm), NOTHING)

    @property
    def hidden_ns(self) -> int:
        """min(fraction * communication, computation), rounded down."""
        return min(self.traffic.ns * self.overlap_ppm // PPM, self.compute_ns)

    @property
    def ns(self) -> int:
        return self.compute_ns + self.traffic.ns - self.hidden_ns


class Terms:
    """The terms of one instance, each distinct one computed once."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.pool = instance.cluster.pool
        self.arch = instance.architecture
        self._memo: dict[Hashable, object] = {}

    def sequences_per_rank(self, s: Strategy) -> int:
        """Sequences of one data-parallel rank over the whole pass."""
        return ceil_div(self.instance.workload.sequences, s.replicas * s.dp)

    def shape(self, s: Strategy) -> Shape:
        """What strategy `s` means for one layer and one micro-batch."""
        domain = self.pool.scale_up_domain_gpus
        sequences = ceil_div(self.sequences_per_rank(s), s.microbatches)
        workload = self.instance.workload
        per_sequence = ceil_div(workload.tokens_per_sequence, s.cp) if workload.kind == "prefill" else 1
        tokens = sequences * per_sequence if workload.kind == "prefill" else ceil_div(sequences, s.cp)
        groups = (group_patterns(s, degree, domain) for degree in ("tp", "cp", "etp", "ep"))
        return Shape(sequences, tokens, s.tp, s.cp, s.etp, s.ep, *groups)

    def layer(self, group_index: int, shape: Shape, profile: Profile | None) -> Price:
        """One layer of group `group_index`; `profile` is that of its placement, None for a dense layer."""
        key = (group_index, shape, profile)
        found = self._memo.get(key)
        if found is None:
            self._memo[key] = found = self._price_layer(self.arch.layers[group_index], shape, profile)
        assert isinstance(found, Price)
        return found

    def _ns(self, *works: Work) -> int:
        return sum(operator_ns(self.pool.accelerator, self.arch, w) for w in works)

    def _price_layer(self, group: LayerGroup, shape: Shape, profile: Profile | None) -> Price:
        ffn, arch = group.ffn, self.arch
        compute = {"attention": self._attention_ns(group, shape), "norms": self._ns(norms(arch, shape.tokens))}
        comm = {"tp_comm": self._tensor_comm(group, shape), "cp_comm": self._context_comm(group, shape)}
        if isinstance(ffn, MoeFfn):
            assert profile is not None, "a MoE layer is priced with its placement"
            compute["router"] = self._ns(router(arch, ffn, shape.dispatched))
            compute["experts"] = self._ns(routed_experts(arch, ffn, profile.tokens, profile.touched, shape.etp))
            if ffn.shared_width:
                compute["shared_experts"] = self._ns(*feed_forward(arch, ffn.shared_width, ffn.matrices, shape.tokens, shape.tp))
            comm["ep_comm"] = self._expert_comm(shape, profile)
            comm["etp_comm"] = self._expert_tensor_comm(shape, profile)
        else:
            compute["dense_ffn"] = self._ns(*feed_forward(arch, ffn.intermediate_size, ffn.matrices, shape.tokens, shape.tp))
        return Price(tuple(compute.items()), tuple(comm.items()), self.instance.runtime.overlap_ppm)

    def _attention_ns(self, group: LayerGroup, shape: Shape) -> int:
        """Projections and core of one attention block."""
        workload, shard = self.instance.workload, Shard(shape.sequences, shape.tokens)
        core = prefill_core if workload.kind == "prefill" else decode_core
        return self._ns(
            *attention_projections(self.arch, group.attention, shard, shape.tp),
            core(self.arch, group.attention, shard, shape.tp, workload.context_tokens, shape.cp),
        )

    def _hidden_bytes(self, tokens: int, dtype: str) -> int:
        return dtype_bytes(tokens * self.arch.hidden_size, BITS[dtype])

    def _tensor_comm(self, group: LayerGroup, shape: Shape) -> Comm:
        """Tensor-parallel collectives of one layer.

        Dense: an all-reduce after attention and one after the FFN (Megatron-LM, arXiv 1909.08053,
        section 3). MoE: sequence-parallel (arXiv 2205.05198, section 4.2.2): reduce-scatter after
        attention, all-gather after combine, and the same pair around shared experts.
        """
        size = self._hidden_bytes(shape.tokens, self.arch.activation_dtype)
        if not isinstance(group.ffn, MoeFfn):
            return worst([all_reduce(self.pool, size, p) for p in shape.tp_groups]).times(2)
        pair = worst([reduce_scatter(self.pool, size, p) + all_gather(self.pool, size, p) for p in shape.tp_groups])
        return pair.times(2 if group.ffn.shared_width else 1)

    def _context_comm(self, group: LayerGroup, shape: Shape) -> Comm:
        """Context parallelism. Prefill gathers keys and values; decode gathers queries and scatters outputs.

        Prefill: arXiv 2411.01783 (pass-KV). Decode: partial attention per context shard, combined
        by log-sum-exp.
        """
        if shape.cp == 1:
            return NOTHING
        bits = BITS[self.arch.activation_dtype]
        if self.instance.workload.kind == "prefill":
            context = self.instance.workload.context_tokens
            size = dtype_bytes(shape.sequences * context * cache_elements_per_token(group.attention, shape.tp), bits)
            return worst([all_gather(self.pool, size, p) for p in shape.cp_groups])
        queries, outputs = (dtype_bytes(shape.sequences * w, bits) for w in query_widths(group.attention, shape.tp))
        return worst([all_gather(self.pool, queries, p) + reduce_scatter(self.pool, outputs, p) for p in shape.cp_groups])

    def _expert_comm(self, shape: Shape, profile: Profile) -> Comm:
        """Dispatch and combine inside the EP group."""
        received = ceil_div(profile.tokens, shape.etp)
        sizes = (self._hidden_bytes(1, dtype) for dtype in (self.arch.dispatch_dtype, self.arch.combine_dtype))
        return sum(
            (
                worst([all_to_all(self.pool, shape.dispatched, received, b, profile.copies, p) for p in shape.ep_groups])
                for b in sizes
            ),
            NOTHING,
        )

    def _expert_tensor_comm(self, shape: Shape, profile: Profile) -> Comm:
        """ETP > 1: inputs of the rank's experts are all-gathered, outputs reduce-scattered (arXiv 2504.14960)."""
        inputs = self._hidden_bytes(profile.tokens, self.arch.dispatch_dtype)
        outputs = self._hidden_bytes(profile.tokens, self.arch.combine_dtype)
        return worst([all_gather(self.pool, inputs, p) + reduce_scatter(self.pool, outputs, p) for p in shape.etp_groups])

    def first(self, shape: Shape) -> Price:
        """Embedding look-up on the first stage; a vocabulary-parallel table needs an all-reduce."""
        size = self._hidden_bytes(shape.tokens, self.arch.activation_dtype)
        comm = worst([all_reduce(self.pool, size, p) for p in shape.tp_groups])
        return Price((("embedding", self._ns(embedding(self.arch, shape.tokens))),), (("tp_comm", comm),), 0)

    def last(self, shape: Shape) -> Price:
        """Logits of each sequence's last token on the last stage, gathered in fp32."""
        size = dtype_bytes(shape.sequences * self.arch.vocabulary_size, 32)
        comm = worst([all_gather(self.pool, size, p) for p in shape.tp_groups])
        return Price((("head", self._ns(head(self.arch, shape.sequences, shape.tp))),), (("tp_comm", comm),), 0)

    def transfer(self, s: Strategy, shape: Shape) -> Comm:
        """One micro-batch's activations from a GPU to its peer in the next stage: t * h / tp."""
        if s.pp == 1:
            return NOTHING
        size = self._hidden_bytes(shape.dispatched, self.arch.activation_dtype)
        key = ("crosses", s.stage_gpus, s.pp, s.replicas)
        if key not in self._memo:
            self._memo[key] = stage_neighbours_cross(s, self.pool.scale_up_domain_gpus)
        return send(self.pool, size, bool(self._memo[key]))

    def layer_bytes(self, group_index: int, s: Strategy) -> tuple[int, int]:
        """Weights of one layer on one GPU, and KV cache per sequence of its data-parallel rank."""
        group = self.arch.layers[group_index]
        slots = ceil_div(self.arch.experts, s.ep)
        return (
            layer_weight_bytes(self.arch, group, s.tp, s.etp, slots),
            cache_bytes_per_sequence(self.arch, group, self.instance.workload, s.tp, s.cp),
        )

    def stage_bytes(self, s: Strategy, shape: Shape) -> tuple[int, int, int]:
        """Bytes of any stage besides its layers, and what the first and the last stage add."""
        last = head_bytes(self.arch, s.tp) + logits_bytes(self.arch, shape.sequences, s.tp)
        if self.arch.tied_embeddings and s.pp == 1:
            last -= embedding_bytes(self.arch, s.tp)
        return stage_fixed_bytes(self.instance.runtime, shape.tokens), embedding_bytes(self.arch, s.tp), last
