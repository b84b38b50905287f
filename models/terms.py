"""The separable terms of a pass: what one micro-batch costs in one layer, and at the two ends.

Each term depends on few of the degrees, collected in a `Shape`; `Terms` computes each distinct one
once. `models.evaluate` adds them up for one plan, `models.bounds` for all plans of a strategy.
"""

from collections.abc import Callable, Hashable
from copy import copy
from typing import NamedTuple, TypeVar, cast

from models.architecture import AnyAttention, LayerGroup
from models.attention import Shard, attention_projections, decode_core, prefill_core
from models.collectives import NOTHING, Comm, all_gather, all_reduce, send, worst
from models.formats import stored_bytes
from models.instance import Instance
from models.layout import expert_group_patterns, group_patterns, stage_neighbours_cross
from models.memory import cache_bytes_per_sequence, embedding_bytes, head_bytes, layer_weight_bytes, logits_bytes, stage_fixed_bytes
from models.messages import (
    context_comm,
    expert_comm,
    expert_tensor_comm,
    gathered,
    gathers,
    hidden_bytes,
    layer_collectives,
    sends_shares,
    tensor_comm,
)
from models.operators import Work, dense_width, embedding, feed_forward, head, norms, routed_experts, router
from models.roofline import operator_ns
from models.routing import Profile
from models.shape import Groups, Shape
from models.strategy import Strategy
from models.units import PPM, ceil_div

T = TypeVar("T")


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
        return Comm(*(sum(part) for part in zip(*(c for _, c in self.comm), strict=True)))

    @property
    def cost(self) -> Comm:
        """Time after overlap, which hides min(fraction * communication, computation), and traffic."""
        (ns, up, out), compute = self.traffic, self.compute_ns
        return Comm(compute + ns - min(ns * self.overlap_ppm // PPM, compute), up, out)


class Terms:
    """The terms of one instance, each distinct one computed once."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.pool = instance.cluster.pool
        self.arch = instance.architecture
        self._gathers = gathers(instance)
        self._memo: dict[Hashable, object] = {}
        self.works: set[Work] = set()
        """every operator priced so far, where there are measured tables that may not hold it"""

    def sequences_per_rank(self, s: Strategy) -> int:
        """Sequences of one data-parallel rank over the whole pass."""
        return ceil_div(self.instance.workload.sequences, s.replicas * s.dp)

    def resized(self, sequences: int) -> "Terms":
        """The terms with another number of sequences in the workload; they depend on the shapes only, and are shared."""
        found = copy(self)
        workload = self.instance.workload.model_copy(update={"sequences": sequences})
        found.instance = self.instance.model_copy(update={"workload": workload})
        return found

    def shape(self, s: Strategy) -> Shape:
        """What strategy `s` means for one layer and one micro-batch."""
        return self.shape_of(ceil_div(self.instance.workload.sequences, s.replicas * s.dp * s.microbatches), s)

    def shape_of(self, mean: int, s: Strategy) -> Shape:
        """The shape with `mean` sequences per data-parallel rank and micro-batch, whatever the workload's."""
        workload = self.instance.workload
        prefill, uneven = workload.kind == "prefill", self.instance.runtime.dp_imbalance_ppm if s.dp > 1 else 0
        sequences = ceil_div(mean * (PPM + uneven), PPM)  # of the busiest rank, whose time counts; experts and caches see the mean
        rank_tokens = mean * workload.new_tokens
        tokens = sequences * ceil_div(workload.new_tokens, s.cp) if prefill else ceil_div(sequences, s.cp)
        return Shape(sequences, rank_tokens, tokens, s.tp, s.cp, s.etp, s.ep, s.redundant)

    def groups(self, s: Strategy) -> Groups:
        """Where the groups of strategy `s` lie."""
        domain = self.pool.scale_up_domain_gpus
        tp, cp, etp, ep = (group_patterns(s, degree, domain) for degree in ("tp", "cp", "etp", "ep"))
        return Groups(tp, cp, etp, ep, expert_group_patterns(s, domain) if self._gathers else ())

    def _once(self, key: Hashable, compute: Callable[[], T]) -> T:
        found = self._memo.get(key)
        if found is None:
            self._memo[key] = found = compute()
        return cast(T, found)

    def layer(self, group_index: int, shape: Shape, groups: Groups, profile: Profile | None) -> Price:
        """One layer of group `group_index`; `profile` is that of its placement, None for a dense layer."""
        compute = self.compute(group_index, shape, profile)
        return Price(tuple(compute.items()), self.comm(group_index, shape, groups, profile), self.instance.runtime.overlap_ppm)

    def compute(self, group_index: int, shape: Shape, profile: Profile | None) -> dict[str, int]:
        """Named computations of one layer, ns; what does not depend on placement is computed once."""
        found = dict(self.attention_side(group_index, shape))
        if self.arch.layers[group_index].moe is not None:
            assert profile is not None, "a MoE layer is priced with its placement"
            found["experts"] = self.experts_ns(group_index, profile.tokens, profile.touched, shape.etp)
        return found

    def attention_side(self, group_index: int, shape: Shape) -> dict[str, int]:
        """Named computations of a layer but those of its routed experts, ns; they depend on the first five numbers of the shape."""
        group = self.arch.layers[group_index]
        return self._once((group_index, *shape[:5]), lambda: self._attention_side(group, shape))

    def experts_ns(self, group_index: int, inputs: int, touched: int, etp: int) -> int:
        """Routed experts of a layer on a rank with `inputs` expert inputs that reads `touched` (2**-20) experts, ns."""
        ffn = self.arch.layers[group_index].moe
        assert ffn is not None, "only MoE layers have routed experts"
        key = ("experts", group_index, inputs, touched, etp)
        return self._once(key, lambda: self._ns(routed_experts(self.arch, ffn, inputs, touched, etp)))

    def _ns(self, *works: Work) -> int:
        if self.pool.accelerator.tables is not None:
            self.works.update(works)
        return sum(operator_ns(self.pool.accelerator, self.instance.runtime, w) for w in works)

    def _attention_side(self, group: LayerGroup, shape: Shape) -> dict[str, int]:
        """As `attention_side`, computed."""
        arch, ffn, workload = self.arch, group.ffn, self.instance.workload
        prefill = workload.kind == "prefill"
        context = workload.context_tokens
        shard = Shard(shape.sequences, shape.tokens, shape.sequences * context if prefill else shape.tokens)
        found, local = {}, self._local_tokens(group, shape)
        if group.attention is not None:
            found["attention"] = self._ns(
                *attention_projections(arch, group.attention, shard, shape.tp), *self._core(group.attention, shard, shape)
            )
        found["norms"] = self._ns(*norms(arch, local))
        if group.moe is not None:
            found["router"] = self._ns(*router(arch, group.moe, local))
        width = dense_width(ffn)
        if ffn is not None and width:
            name = "dense_ffn" if group.moe is None else "shared_experts"
            found[name] = self._ns(*feed_forward(arch, width, ffn.matrices, shape.tokens, shape.tp))
        return found

    def _core(self, attention: AnyAttention, shard: Shard, shape: Shape) -> tuple[Work, ...]:
        workload = self.instance.workload
        if workload.kind == "prefill":
            return prefill_core(self.arch, attention, shard, shape.tp, workload.context_tokens, workload.new_tokens, shape.cp)
        return decode_core(self.arch, attention, shard, shape.tp, workload.context_tokens, shape.cp)

    def _local_tokens(self, group: LayerGroup, shape: Shape) -> int:
        """Tokens that one GPU normalises and routes: its sequence-parallel share in a MoE layer, unless tokens are gathered."""
        return shape.dispatched if group.moe is not None and not self._gathers else shape.tokens

    def comm(self, group_index: int, shape: Shape, groups: Groups, profile: Profile | None) -> tuple[tuple[str, Comm], ...]:
        """Each communication term as the sum of its collectives; each distinct argument once."""
        group = self.arch.layers[group_index]
        tensor = self._sum(("tp", group_index, shape.tokens, groups.tp), lambda: tensor_comm(self.instance, group, shape, groups))
        context = NOTHING
        if shape.cp > 1:
            context = self._sum(
                ("cp", group_index, shape.sequences, shape.tp, groups.cp), lambda: context_comm(self.instance, group, shape, groups)
            )
        found = ("tp_comm", tensor), ("cp_comm", context)
        if profile is None:
            return found
        if self._gathers:
            key = ("gather", group_index, shape.tokens, shape.group_tokens, shape.tp, shape.cp, shape.etp, groups.tp, groups.experts)
            return (*found, ("ep_comm", self._sum(key, lambda: gathered(self.instance, group, shape, groups))), ("etp_comm", NOTHING))
        received = ceil_div(profile.tokens, shape.etp)
        experts = self._sum(
            ("ep", group_index, shape.dispatched, received, profile.copies, groups.ep),
            lambda: expert_comm(self.instance, group, shape, groups, profile),
        )
        split = NOTHING
        if shape.etp > 1:
            split = self._sum(
                ("etp", group_index, profile.tokens, groups.etp), lambda: expert_tensor_comm(self.instance, group, groups, profile)
            )
        return (*found, ("ep_comm", experts), ("etp_comm", split))

    def _sum(self, key: Hashable, collectives: Callable[[], dict[str, Comm]]) -> Comm:
        return self._once(key, lambda: sum(collectives().values(), NOTHING))

    def collectives(self, group: LayerGroup, shape: Shape, groups: Groups, profile: Profile | None) -> dict[str, dict[str, Comm]]:
        """Every collective of one layer by term and name; a term is the sum of its collectives."""
        return layer_collectives(self.instance, group, shape, groups, profile)

    def first(self, shape: Shape, groups: Groups) -> Price:
        """Embedding look-up on the first stage; a vocabulary-parallel table needs an all-reduce."""
        return self._once(("first", shape.tokens, groups.tp), lambda: self._first(shape, groups))

    def _first(self, shape: Shape, groups: Groups) -> Price:
        size = hidden_bytes(self.arch, shape.tokens, self.arch.activation_dtype)
        comm = worst([all_reduce(self.pool, size, p) for p in groups.tp])
        return Price((("embedding", self._ns(embedding(self.arch, shape.tokens))),), (("tp_comm", comm),), 0)

    def last(self, shape: Shape, groups: Groups) -> Price:
        """Logits of each sequence's last token on the last stage, gathered in fp32."""
        return self._once(("last", shape.sequences, shape.tp, groups.tp), lambda: self._last(shape, groups))

    def _last(self, shape: Shape, groups: Groups) -> Price:
        size = stored_bytes(shape.sequences * self.arch.vocabulary_size, "fp32")
        comm = worst([all_gather(self.pool, size, p) for p in groups.tp])
        host = self.instance.runtime.step_ns
        compute = (("head", self._ns(head(self.arch, shape.sequences, shape.tp))), *((("host", host),) if host else ()))
        return Price(compute, (("tp_comm", comm),), 0)

    def transfer(self, s: Strategy, shape: Shape) -> Comm:
        """One micro-batch's activations from a GPU to its peer in the next stage.

        t * h / tp in a model of MoE layers only, which are sequence-parallel at their boundaries;
        t * h where a dense layer, whose output every tensor-parallel rank holds, may end a stage.
        """
        if s.pp == 1:
            return NOTHING
        size = hidden_bytes(self.arch, shape.dispatched if sends_shares(self.instance) else shape.tokens, self.arch.activation_dtype)
        domain = self.pool.scale_up_domain_gpus
        crosses = self._once(("crosses", s.stage_gpus, s.pp, s.replicas), lambda: stage_neighbours_cross(s, domain))
        return send(self.pool, size, crosses)

    def layer_bytes(self, group_index: int, shape: Shape) -> tuple[int, int]:
        """Weights of one layer on one GPU, and KV cache per sequence of its data-parallel rank."""
        weights = self.weight_bytes(group_index, shape.tp, shape.etp, shape.ep, shape.redundant)
        return weights, self.cache_bytes(group_index, shape.tp, shape.cp)

    def weight_bytes(self, group_index: int, tp: int, etp: int, ep: int, redundant: int = 0) -> int:
        """Weights of one layer on one GPU, `redundant` slots per EP rank among them."""
        arch, key = self.arch, ("weights", group_index, tp, etp, ep, redundant)
        return self._once(key, lambda: layer_weight_bytes(arch, arch.layers[group_index], tp, etp, ceil_div(arch.experts, ep) + redundant))

    def cache_bytes(self, group_index: int, tp: int, cp: int) -> int:
        """KV cache of one layer on one GPU, per sequence of its data-parallel rank."""
        arch, key = self.arch, ("cache", group_index, tp, cp)
        return self._once(key, lambda: cache_bytes_per_sequence(arch, arch.layers[group_index], self.instance.workload, tp, cp))

    def stage_bytes(self, shape: Shape, one_stage: bool) -> tuple[int, int, int]:
        """Bytes of any stage besides its layers, and what the first and the last stage add."""
        last = head_bytes(self.arch, shape.tp) + logits_bytes(self.arch, shape.sequences, shape.tp)
        if self.arch.tied_embeddings and one_stage:
            last -= embedding_bytes(self.arch, shape.tp)
        return stage_fixed_bytes(self.instance.runtime, shape.tokens), embedding_bytes(self.arch, shape.tp), last
