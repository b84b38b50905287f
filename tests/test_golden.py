"""Golden values: the cost model against arithmetic done by hand.

Every expected value is plain arithmetic on literals; none comes from the package. The figures of
the reference instance used throughout: attained peak 400e12 * 60 % = 240_000 FLOP per ns, attained
memory bandwidth 1.8e12 * 80 % = 1_440 bytes per ns, launch 5_000 ns, scale-up 400 bytes per ns and
3_000 ns per round, scale-out 50 bytes per ns and 5_000 ns per round; 16 layers, hidden 4096 (8_192
bytes per token in BF16), 32 heads of 128, 64 experts of 2 * 4096 * 16384 weights, top-2,
vocabulary 51_200, 128 prompts of 10_000 tokens.
"""

from pathlib import Path

import pytest

from models.architecture import Architecture, DenseFfn, GroupedQuery, LayerGroup, MoeFfn, MultiHead, MultiHeadLatent
from models.attention import (
    Shard,
    attention_projections,
    attention_weights,
    cache_elements_per_token,
    decode_core,
    kv_heads_on_rank,
    prefill_core,
    projection_shapes,
)
from models.collectives import Comm, all_gather, all_reduce, all_to_all, reduce_scatter, send
from models.evaluate import Evaluation, Stage, evaluate, tokens_per_s
from models.instance import Instance
from models.layout import domain_counts, group_patterns
from models.memory import cache_bytes_per_sequence, embedding_bytes, head_bytes, layer_weight_bytes
from models.operators import Work, gemm, norms, routed_experts
from models.roofline import operator_ns
from models.routing import Profile, busiest_port, profile, routing_probability, touch_domain, touch_probability
from models.strategy import Plan, Strategy
from models.terms import Price, Terms
from models.units import CERTAIN, WHOLE, parse_quantity
from models.workload import Decode, Prefill

REFERENCE = Instance.model_validate_json((Path(__file__).parent.parent / "instances" / "ep64_tp2_128gpu.json").read_text(encoding="utf-8"))
POOL = REFERENCE.cluster.pool

CLASSIC = Strategy(tp=2, cp=1, dp=64, pp=1, etp=2, ep=64, edp=1, replicas=1, microbatches=1)
FOLDED = Strategy(tp=1, cp=1, dp=128, pp=1, etp=1, ep=8, edp=16, replicas=1, microbatches=1)
PIPELINED = Strategy(tp=4, cp=1, dp=2, pp=16, etp=4, ep=2, edp=1, replicas=1, microbatches=64)

LLAMA_3_70B = GroupedQuery(kind="gqa", heads=64, kv_heads=8, head_dim=128)  # hidden 8192, 80 layers
DEEPSEEK_V3 = MultiHeadLatent(  # hidden 7168
    kind="mla", heads=128, q_lora_rank=1536, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128
)

ONE_DOMAIN = (0, 0, 0, 0)
TWO_DOMAINS = (0, 0, 0, 0, 1, 1, 1, 1)


def up(a: int, b: int) -> int:
    """Smallest integer that is at least a / b."""
    return -(-a // b)


def priced(strategy: Strategy, stages: tuple[int, ...], instance: Instance = REFERENCE) -> Evaluation:
    """The plan that puts experts 64/EP * r onwards on rank r, in each of the 16 layers."""
    held = 64 // strategy.ep
    layer = tuple(tuple(range(r * held, (r + 1) * held)) for r in range(strategy.ep))
    return evaluate(instance, Plan(strategy, stages, (layer,) * 16))


# (a) Classic EP=64 TP=2 PP=1. A rank pair holds 2 prompts = 20_000 tokens; a GPU sends its half, 10_000, to the experts;
# 10_000 * 128 GPUs = 1_280_000 tokens reach the one EP group, * 2 of 64 experts = 40_000 inputs per expert, one expert per rank.

CLASSIC_NS = {
    # QKV: 2 * 20_000 tokens * 4096 * 3*16*128 FLOP = 1_006_632_960_000; / 240_000 = 4_194_304 ns
    # core: half of the square, 2 products: 2 prompts * 2 * 10_000^2 * 16*128 FLOP = 819_200_000_000; / 240_000 = 3_413_334 ns
    # output: 2 * 20_000 * 16*128 * 4096 FLOP = 335_544_320_000; / 240_000 = 1_398_102 ns; three launches
    "attention": 16
    * (
        3 * 5_000
        + up(2 * 20_000 * 4096 * 3 * 16 * 128, 240_000)
        + up(2 * 2 * 10_000 * 10_000 * 16 * 128, 240_000)
        + up(2 * 20_000 * 16 * 128 * 4096, 240_000)
    ),  # = 16 * 9_020_740
    # norms: two launches, each reads and writes the GPU's half, 10_000 * 8_192 bytes: 163_840_000; / 1_440 = 113_778 ns
    "norms": 16 * 2 * (5_000 + up(2 * 10_000 * 8_192, 1_440)),  # = 16 * 237_556
    # router, bound by memory: weights 4096*64*2 bytes + 10_000 * (4096 + 64) * 2 bytes = 83_724_288; / 1_440 = 58_142 ns
    # (FLOP: 2 * 10_000 * 4096 * 64 / 240_000 = 21_846 ns)
    "router": 16 * (5_000 + up(4096 * 64 * 2 + 10_000 * (4096 + 64) * 2, 1_440)),  # = 16 * 63_142
    # experts, up and down in one launch: 2 * 40_000 inputs * 2 * 4096 * 16384/2 FLOP = 5_368_709_120_000; / 240_000 = 22_369_621.3, up.
    # The bytes do not bind: 1 expert * 134_217_728 + 40_000 * (2 * 4096 + 2 * 8192) * 2 = 2_100_297_728; / 1_440 = 1_458_541 ns
    "experts": 16 * (5_000 + up(2 * 40_000 * 2 * 4096 * 8192, 240_000)),  # = 16 * 22_374_622
    # TP, per layer one reduce-scatter and one all-gather of 20_000 * 8_192 bytes over 2 GPUs of a domain:
    #   half of it, 81_920_000; / 400 = 204_800 ns, + 3_000 = 207_800 ns each
    # embedding: an all-reduce of the same size, 2 * 207_800 ns; logits: half of 2 * 51_200 * 4 bytes; / 400 = 512 ns, + 3_000
    "tp_comm": 16 * 2 * (3_000 + 204_800) + 2 * (3_000 + 204_800) + (3_000 + 512),  # = 7_068_712
    "cp_comm": 0,
    # EP, 64 ranks as 4 in each of 16 domains. A domain's 4 experts are missed with (1 - 1/32)^4 = 923_521 / 1_048_576, so a
    #   token makes 15 * 125_055 / 1_048_576 = 1.789 copies for the 15 other domains:
    #   10_000 * 8_192 * 1_875_825 / 1_048_576 = 146_548_829 bytes; / 50 = 2_930_977 ns, + log2(16) * 5_000
    # inside, 4 ranks: 40_000 / ETP 2 = 20_000 inputs * 8_192 bytes * 3/4 = 122_880_000; / 400 = 307_200 ns, + log2(4) * 3_000
    # dispatch and combine: twice
    "ep_comm": 16 * 2 * (4 * 5_000 + 2_930_977 + 2 * 3_000 + 307_200),  # = 32 * 3_264_177
    # ETP: 40_000 inputs * 8_192 bytes gathered, the outputs scattered, half each: 163_840_000; / 400 = 409_600 ns, + 3_000
    "etp_comm": 16 * 2 * (3_000 + 409_600),
    "overlap": 0,
    # read and write 20_000 * 8_192 bytes = 327_680_000; / 1_440 = 227_556 ns
    "embedding": 5_000 + up(2 * 20_000 * 8_192, 1_440),  # = 232_556
    # head, bound by memory: 4096 * 51_200/2 weights * 2 bytes + 2 prompts * (4096 + 25_600) * 2 bytes = 209_833_984; / 1_440
    "head": 5_000 + up(4096 * 25_600 * 2 + 2 * (4096 + 25_600) * 2, 1_440),  # = 150_719
    "pp_comm": 0,
    "pipeline_bubble": 0,
}

CLASSIC_MEMORY = {
    # per layer: attention 4096 * (3 + 1) * 16*128 = 33_554_432; one expert / 2: 2 * 4096 * 8192 = 67_108_864; router 4096 * 64
    # = 262_144; 100_925_440 elements * 2 bytes + 2 norms * 4096 * 2 bytes = 201_867_264
    "weights": 16 * (2 * (33_554_432 + 67_108_864 + 262_144) + 16_384),  # = 3_229_876_224
    # 2 prompts * 10_000 tokens * (K + V) * 16 heads * 128 * 2 bytes = 163_840_000 per layer
    "kv_cache": 16 * 2 * 10_000 * 2 * 16 * 128 * 2,  # = 2_621_440_000
    # 20_000 tokens * 98_304 bytes, 1 GB of buffers, 2 GB of reserve
    "activations_and_buffers": 20_000 * 98_304 + 3_000_000_000,  # = 4_966_080_000
    # table and head 4096 * 25_600 * 2 bytes each, last norm 4096 * 2, logits 2 * 25_600 * 4
    "embedding_and_head": 2 * 209_715_200 + 8_192 + 204_800,  # = 419_643_392
}


def test_every_term_of_the_classic_reference_plan_is_as_worked_by_hand() -> None:
    assert priced(CLASSIC, (16,)).breakdown == CLASSIC_NS


def test_the_classic_reference_plan_takes_632_ms() -> None:
    step = 632_245_811  # 144_331_840 + 3_800_896 + 1_010_272 + 357_993_952 + 7_068_712 + 104_453_664 + 13_203_200 + 232_556 + 150_719
    assert sum(CLASSIC_NS.values()) == step
    found = priced(CLASSIC, (16,))
    assert (found.step_ns, found.value) == (step, step)
    assert tokens_per_s(REFERENCE, found.step_ns) == 2_024_529  # 1_280_000 tokens / 0.632245811 s


def test_expert_gemms_of_the_reference_plan_take_22_ms_per_layer() -> None:
    assert priced(CLASSIC, (16,)).breakdown["experts"] == 16 * (5_000 + 22_369_622)


def test_memory_of_the_classic_reference_plan_is_11_2_gb() -> None:
    (stage,) = priced(CLASSIC, (16,)).stages
    assert stage.memory == CLASSIC_MEMORY
    assert stage.memory_bytes == 11_237_039_616


def test_traffic_of_the_classic_reference_plan() -> None:
    (stage,) = priced(CLASSIC, (16,)).stages
    # per layer TP 2 * 81_920_000 + EP 2 * 122_880_000 + ETP 2 * 163_840_000 = 737_280_000; embedding 2 * 81_920_000; logits 204_800
    assert stage.scale_up_bytes == 16 * 737_280_000 + 163_840_000 + 204_800
    # dispatch and combine: 2 * 146_548_829 per layer
    assert stage.scale_out_bytes == 16 * 2 * 146_548_829


def test_half_of_a_layers_communication_can_hide_behind_its_computation() -> None:
    runtime = REFERENCE.runtime.model_copy(update={"overlap_ppm": 500_000})
    found = priced(CLASSIC, (16,), REFERENCE.model_copy(update={"runtime": runtime}))
    # per layer TP 415_600 + EP 6_528_354 + ETP 825_200 = 7_769_154 ns, half of it 3_884_577, less than 31.7 ms of computation;
    # embedding and logits do not overlap
    assert found.breakdown == CLASSIC_NS | {"overlap": -16 * 3_884_577}
    assert found.step_ns == 632_245_811 - 62_153_232


# (b) Folded EP=8 EDP=16 DP=128 TP=1. A GPU holds 1 prompt = 10_000 tokens and sends them all; 8 * 10_000 tokens reach an EP
# group, which is one domain; * 2 * 8 of 64 experts = 20_000 inputs on a rank, over its 8 experts.

FOLDED_NS = {
    # twice the heads and half the tokens of (a): the same FLOP and the same times
    "attention": 16
    * (
        3 * 5_000
        + up(2 * 10_000 * 4096 * 3 * 32 * 128, 240_000)  # = 4_194_304
        + up(1 * 2 * 10_000 * 10_000 * 32 * 128, 240_000)  # = 3_413_334
        + up(2 * 10_000 * 32 * 128 * 4096, 240_000)  # = 1_398_102
    ),
    "norms": 16 * 2 * (5_000 + up(2 * 10_000 * 8_192, 1_440)),  # 10_000 tokens on the GPU, as in (a): 16 * 237_556
    "router": 16 * (5_000 + up(4096 * 64 * 2 + 10_000 * (4096 + 64) * 2, 1_440)),  # as in (a)
    # half the inputs and experts twice as wide, 2 * 20_000 * 2 * 4096 * 16384 FLOP: as in (a). The bytes do not bind:
    # 8 experts * 268_435_456 + 20_000 * (2 * 4096 + 2 * 16384) * 2 = 3_785_883_648; / 1_440 = 2_629_086 ns
    "experts": 16 * (5_000 + up(2 * 20_000 * 2 * 4096 * 16384, 240_000)),  # = 16 * 22_374_622
    "tp_comm": 0,
    "cp_comm": 0,
    # inside a domain only: 20_000 inputs * 8_192 bytes * 7/8 = 143_360_000; / 400 = 358_400 ns, + log2(8) * 3_000; twice
    "ep_comm": 16 * 2 * (3 * 3_000 + 358_400),  # = 32 * 367_400
    "etp_comm": 0,
    "overlap": 0,
    "embedding": 5_000 + up(2 * 10_000 * 8_192, 1_440),  # = 118_778
    # whole vocabulary, 1 prompt: 419_540_992 bytes; / 1_440 = 291_348 ns
    "head": 5_000 + up(4096 * 51_200 * 2 + (4096 + 51_200) * 2, 1_440),  # = 296_348
    "pp_comm": 0,
    "pipeline_bubble": 0,
}

FOLDED_MEMORY = {
    # per layer: attention 4 * 4096 * 4096 = 67_108_864; 8 experts * 2 * 4096 * 16384 = 1_073_741_824; router 262_144; norms 16_384 bytes
    "weights": 16 * (2 * (67_108_864 + 1_073_741_824 + 262_144) + 16_384),  # = 36_515_872_768
    # 1 prompt * 10_000 tokens * (K + V) * 32 heads * 128 * 2 bytes per layer
    "kv_cache": 16 * 10_000 * 2 * 32 * 128 * 2,  # = 2_621_440_000
    "activations_and_buffers": 10_000 * 98_304 + 3_000_000_000,  # = 3_983_040_000
    # table and head 4096 * 51_200 * 2 bytes each, last norm, logits 51_200 * 4
    "embedding_and_head": 2 * 419_430_400 + 8_192 + 204_800,  # = 839_073_792
}


def test_every_term_of_the_folded_plan_is_as_worked_by_hand() -> None:
    assert priced(FOLDED, (16,)).breakdown == FOLDED_NS


def test_the_folded_plan_takes_519_ms_17_86_percent_less_than_the_classic_one() -> None:
    step = 519_308_886  # 144_331_840 + 3_800_896 + 1_010_272 + 357_993_952 + 11_756_800 + 118_778 + 296_348
    assert sum(FOLDED_NS.values()) == step
    assert priced(FOLDED, (16,)).step_ns == step
    assert (632_245_811 - step) * 10_000 // 632_245_811 == 1786  # 112_936_925 / 632_245_811


def test_memory_of_the_folded_plan_is_44_gb() -> None:
    (stage,) = priced(FOLDED, (16,)).stages
    assert stage.memory == FOLDED_MEMORY
    assert stage.memory_bytes == 43_959_426_560


def test_the_folded_plan_sends_nothing_across_the_scale_out_tier() -> None:
    (stage,) = priced(FOLDED, (16,)).stages
    assert (stage.scale_up_bytes, stage.scale_out_bytes) == (16 * 2 * 143_360_000, 0)


# (c) Pipelined EP=2 TP=4 PP=16 DP=2 ETP=4, 64 micro-batches of 1 prompt = 10_000 tokens; 8 GPUs of a stage are one domain. A GPU
# sends 2_500 tokens; 2_500 * 8 = 20_000 reach the EP group, * 2 * 32/64 = 20_000 inputs on a rank, over its 32 experts.

PIPELINED_LAYER_NS = {
    # QKV: 2 * 10_000 * 4096 * 3*8*128 FLOP; / 240_000 = 1_048_576 ns
    # core: 2 * 10_000^2 * 8*128 FLOP; / 240_000 = 853_334 ns; output: 2 * 10_000 * 8*128 * 4096 FLOP; / 240_000 = 349_526 ns
    "attention": 3 * 5_000 + 1_048_576 + 853_334 + 349_526,  # = 2_266_436
    # two, each reads and writes the GPU's quarter, 2_500 * 8_192 bytes: 40_960_000; / 1_440 = 28_445 ns
    "norms": 2 * (5_000 + up(2 * 2_500 * 8_192, 1_440)),  # = 66_890
    # 4096*64*2 + 2_500 * (4096 + 64) * 2 = 21_324_288 bytes; / 1_440 = 14_809 ns (FLOP: 5_462 ns)
    "router": 5_000 + up(4096 * 64 * 2 + 2_500 * (4096 + 64) * 2, 1_440),  # = 19_809
    # 2 * 20_000 * 2 * 4096 * 16384/4 FLOP = 1_342_177_280_000; / 240_000 = 5_592_405.3, up. The bytes do not bind:
    # 32 experts * 67_108_864 + 20_000 * (2 * 4096 + 2 * 4096) * 2 = 2_802_843_648; / 1_440 = 1_946_420 ns
    "experts": 5_000 + up(2 * 20_000 * 2 * 4096 * 4096, 240_000),  # = 5_597_406
    # 3/4 of 10_000 * 8_192 bytes = 61_440_000; / 400 = 153_600 ns, + log2(4) * 3_000; reduce-scatter and all-gather
    "tp_comm": 2 * (2 * 3_000 + 153_600),  # = 319_200
    "cp_comm": 0,
    # 20_000 / ETP 4 = 5_000 inputs * 8_192 bytes * 1/2 = 20_480_000; / 400 = 51_200 ns, + 3_000; dispatch and combine
    "ep_comm": 2 * (3_000 + 51_200),  # = 108_400
    # 3/4 of 20_000 * 8_192 bytes = 122_880_000; / 400 = 307_200 ns, + 2 * 3_000; gathered and scattered
    "etp_comm": 2 * (2 * 3_000 + 307_200),  # = 626_400
    "overlap": 0,
}
PIPELINED_LAYER = 9_004_541  # 2_266_436 + 66_890 + 19_809 + 5_597_406 + 319_200 + 108_400 + 626_400
PIPELINED_FIRST = PIPELINED_LAYER + 118_778 + 319_200  # embedding as in (b), all-reduce of 10_000 tokens over TP
# head: 4096 * 12_800 * 2 + (4096 + 12_800) * 2 = 104_891_392 bytes; / 1_440 = 72_842 ns; logits: 3/4 of 51_200 * 4 bytes; / 400 = 384 ns
PIPELINED_LAST = PIPELINED_LAYER + (5_000 + 72_842) + (2 * 3_000 + 384)


def test_the_stages_of_the_pipelined_plan_are_as_worked_by_hand() -> None:
    found = priced(PIPELINED, (1,) * 16)
    assert sum(PIPELINED_LAYER_NS.values()) == PIPELINED_LAYER
    assert (PIPELINED_FIRST, PIPELINED_LAST) == (9_442_519, 9_088_767)
    assert [s.ns for s in found.stages] == [PIPELINED_FIRST] + [PIPELINED_LAYER] * 14 + [PIPELINED_LAST]


def test_the_pipelined_plan_takes_752_ms() -> None:
    found = priced(PIPELINED, (1,) * 16)
    # transfer: 10_000 / TP 4 = 2_500 tokens * 8_192 bytes = 20_480_000 to the next domain; / 50 = 409_600 ns, + 5_000 = 414_600
    assert found.breakdown["pp_comm"] == 15 * 414_600  # = 6_219_000
    assert found.breakdown["pipeline_bubble"] == 15 * 9_442_519  # = 141_637_785
    assert found.step_ns == 752_178_001  # (64 + 16 - 1) * 9_442_519 + 6_219_000


def test_every_term_of_the_pipelined_plan_is_that_of_its_slowest_stage_times_the_micro_batches() -> None:
    per_micro_batch = PIPELINED_LAYER_NS | {"embedding": 118_778, "tp_comm": 319_200 + 319_200}
    expected = {name: 64 * ns for name, ns in per_micro_batch.items()}
    assert priced(PIPELINED, (1,) * 16).breakdown == expected | {"pp_comm": 6_219_000, "pipeline_bubble": 141_637_785}


def test_memory_of_the_pipelined_plan() -> None:
    first, *middle, last = priced(PIPELINED, (1,) * 16).stages
    layer = {
        # attention 4096 * (3 + 1) * 8*128 = 16_777_216; 32 experts * 2 * 4096 * 4096 = 1_073_741_824; router 262_144; norms 16_384 bytes
        "weights": 2 * (16_777_216 + 1_073_741_824 + 262_144) + 16_384,  # = 2_181_578_752
        # all 64 prompts of the rank * 10_000 tokens * (K + V) * 8 heads * 128 * 2 bytes
        "kv_cache": 64 * 10_000 * 2 * 8 * 128 * 2,  # = 2_621_440_000
        # one micro-batch in flight
        "activations_and_buffers": 10_000 * 98_304 + 3_000_000_000,  # = 3_983_040_000
        "embedding_and_head": 0,
    }
    assert all(stage.memory == layer for stage in middle)
    assert first.memory == layer | {"embedding_and_head": 4096 * 12_800 * 2}
    # head, last norm, logits of the 1 prompt in flight
    assert last.memory == layer | {"embedding_and_head": 4096 * 12_800 * 2 + 4096 * 2 + 12_800 * 4}


def test_traffic_of_the_pipelined_plan() -> None:
    first, *middle, last = priced(PIPELINED, (1,) * 16).stages
    per_layer = 2 * 61_440_000 + 2 * 20_480_000 + 2 * 122_880_000  # TP, EP, ETP; = 409_600_000
    assert all(_traffic(stage) == (64 * per_layer, 64 * 20_480_000) for stage in middle)
    assert _traffic(first) == (64 * (per_layer + 2 * 61_440_000), 64 * 20_480_000)
    assert _traffic(last) == (64 * (per_layer + 153_600), 64 * 20_480_000)  # 3/4 of 51_200 * 4 bytes of logits


def _traffic(stage: Stage) -> tuple[int, int]:
    return stage.scale_up_bytes, stage.scale_out_bytes


def test_a_pipeline_waits_for_its_slowest_stage() -> None:
    # the layers of (c) in 8 stages, twice: 128 / (2 replicas * DP 2 * 32) = 1 prompt per micro-batch, so the same times
    found = priced(PIPELINED._replace(pp=8, replicas=2, microbatches=32), (1, 3, 2, 2, 2, 2, 2, 2))
    slowest = 3 * 9_004_541  # = 27_013_623: the second stage
    assert max(s.ns for s in found.stages) == found.stages[1].ns == slowest
    assert found.step_ns == (32 + 8 - 1) * slowest + 7 * 414_600
    assert found.breakdown["pipeline_bubble"] == 7 * slowest
    assert sum(found.breakdown.values()) == found.step_ns


# A model with a dense layer: 1 dense layer, then 15 of those above.

WITH_DENSE = REFERENCE.model_copy(
    update={
        "architecture": REFERENCE.architecture.model_copy(
            update={
                "layers": (
                    REFERENCE.architecture.layers[0].model_copy(
                        update={"count": 1, "ffn": DenseFfn(kind="dense", intermediate_size=16_384, matrices=2)}
                    ),
                    REFERENCE.architecture.layers[0].model_copy(update={"count": 15}),
                )
            }
        )
    }
)
ONE_NODE = Strategy(tp=4, cp=1, dp=1, pp=2, etp=4, ep=1, edp=1, replicas=1, microbatches=128)  # 2 stages in one domain


@pytest.mark.parametrize(
    ("instance", "strategy", "expected"),
    [
        # 1 prompt of 10_000 tokens per micro-batch. MoE layers alone: 10_000 / TP 4 = 2_500 tokens * 8_192 bytes = 20_480_000
        (REFERENCE, PIPELINED, Comm(5_000 + 409_600, 0, 20_480_000)),  # / 50
        (REFERENCE, ONE_NODE, Comm(3_000 + 51_200, 20_480_000, 0)),  # / 400
        # with a dense layer: 10_000 tokens * 8_192 bytes = 81_920_000, whichever layer ends the stage
        (WITH_DENSE, PIPELINED, Comm(5_000 + 1_638_400, 0, 81_920_000)),
        (WITH_DENSE, ONE_NODE, Comm(3_000 + 204_800, 81_920_000, 0)),
        # one stage has nobody to send to
        (WITH_DENSE, CLASSIC, Comm(0, 0, 0)),
    ],
)
def test_a_stage_sends_its_share_of_the_tokens_unless_a_layer_is_dense(instance: Instance, strategy: Strategy, expected: Comm) -> None:
    terms = Terms(instance)
    assert terms.transfer(strategy, terms.shape(strategy)) == expected


def test_every_stage_of_a_pipeline_with_a_dense_layer_sends_whole_activations() -> None:
    layer = (tuple(range(32)), tuple(range(32, 64)))
    found = evaluate(WITH_DENSE, Plan(PIPELINED, (1,) * 16, (layer,) * 15))
    assert found.breakdown["pp_comm"] == 15 * 1_643_400
    assert [s.scale_out_bytes for s in found.stages] == [64 * 81_920_000] * 16


def test_norms_run_on_all_tokens_of_a_dense_layer_and_on_the_share_of_a_gpu_in_a_moe_layer() -> None:
    terms = Terms(WITH_DENSE)
    # (a) has 20_000 tokens per rank pair; two norms, 2 * 20_000 * 8_192 = 327_680_000 bytes each; / 1_440 = 227_556 ns
    assert terms.compute(0, terms.shape(CLASSIC), None)["norms"] == 2 * (5_000 + 227_556)
    assert terms.compute(1, terms.shape(CLASSIC), Profile(40_000, WHOLE, 0))["norms"] == 237_556  # as in (a)
    # (c) has 10_000 per rank group: 163_840_000 bytes; / 1_440 = 113_778 ns
    assert terms.compute(0, terms.shape(PIPELINED), None)["norms"] == 2 * (5_000 + 113_778)
    assert terms.compute(1, terms.shape(PIPELINED), Profile(20_000, 32 * WHOLE, 0))["norms"] == 66_890  # as in (c)


# Tokens that reach an EP group: those of its GPUs, rounded up once.


@pytest.mark.parametrize(
    ("sequences", "strategy", "expected"),
    [
        # 16 sequences / DP 16 = 1 token, shared by TP 8: 1/8 per GPU; all 64 * 2 = 128 GPUs are one EP group: 16 tokens, not 128
        (16, Strategy(tp=8, cp=1, dp=16, pp=1, etp=2, ep=64, edp=1, replicas=1, microbatches=1), 16),
        # 3 tokens per data-parallel rank: 3/8 per GPU, 4 GPUs in an EP group: 1.5, up
        (48, Strategy(tp=8, cp=1, dp=16, pp=1, etp=1, ep=4, edp=32, replicas=1, microbatches=1), 2),
        # 5 tokens over TP 2 * CP 4: 5/8 per GPU, 8 GPUs: the same 5, not 8 as when CP, then TP round up
        (80, Strategy(tp=2, cp=4, dp=16, pp=1, etp=1, ep=8, edp=16, replicas=1, microbatches=1), 5),
        # 2 replicas * DP 4 * 3 micro-batches: 96 / 24 = 4 tokens; over TP 2, 2 per GPU, 4 * 2 GPUs in an EP group
        (96, Strategy(tp=2, cp=1, dp=4, pp=1, etp=2, ep=4, edp=1, replicas=2, microbatches=3), 16),
    ],
)
def test_tokens_that_reach_an_ep_group_in_decode(sequences: int, strategy: Strategy, expected: int) -> None:
    workload = Decode(kind="decode", sequences=sequences, context_tokens=4096, sources={"*": "assumed: test"})
    shape = Terms(REFERENCE.model_copy(update={"workload": workload})).shape(strategy)
    assert shape.group_tokens == expected


def test_16_sequences_in_decode_are_32_expert_inputs_over_64_ranks() -> None:
    # 16 tokens * 2 of 64 experts, one expert per rank: half an input, up
    layer = tuple((e,) for e in range(64))
    assert profile(layer, (1,) * 64, 2, 16, ((0,) * 64,)).tokens == 1


def test_a_prompt_split_over_3_context_ranks_reaches_the_experts_whole() -> None:
    # 1 prompt of 10_000 tokens over TP 2 * CP 3, its 6 GPUs one EP group. A context rank holds 3_333.3, up: 3_334; a GPU 1_667
    shape = Terms(REFERENCE).shape(Strategy(tp=2, cp=3, dp=1, pp=1, etp=3, ep=2, edp=1, replicas=1, microbatches=128))
    assert (shape.sequences, shape.rank_tokens, shape.tokens, shape.dispatched) == (1, 10_000, 3_334, 1_667)
    assert shape.group_tokens == 10_000  # not 6 * 1_667 = 10_002


def test_shape_of_the_three_plans() -> None:
    terms = Terms(REFERENCE)
    shapes = [terms.shape(s) for s in (CLASSIC, FOLDED, PIPELINED)]
    assert [(s.sequences, s.rank_tokens, s.tokens, s.dispatched) for s in shapes] == [
        (2, 20_000, 20_000, 10_000),
        (1, 10_000, 10_000, 10_000),
        (1, 10_000, 10_000, 2_500),
    ]
    # 20_000 * 128 / 2, 10_000 * 8, 10_000 * 8 / 4
    assert [s.group_tokens for s in shapes] == [1_280_000, 80_000, 20_000]


# Single functions.


def bf16(hidden: int, vocabulary: int, group: LayerGroup) -> Architecture:
    dtypes = dict.fromkeys(("weight_dtype", "kv_dtype", "activation_dtype", "dispatch_dtype", "combine_dtype"), "bf16")
    record = {
        "name": "test",
        "hidden_size": hidden,
        "vocabulary_size": vocabulary,
        "tied_embeddings": False,
        "source": "paper: config.json",
    }
    return Architecture.model_validate(record | dtypes | {"layers": (group,)})


LLAMA = bf16(8192, 128_256, LayerGroup(count=80, attention=LLAMA_3_70B, ffn=DenseFfn(kind="dense", intermediate_size=28_672, matrices=3)))


DEEPSEEK = bf16(7168, 129_280, LayerGroup(count=3, attention=DEEPSEEK_V3, ffn=DenseFfn(kind="dense", intermediate_size=18_432, matrices=3)))
DEEPSEEK_EXPERTS = MoeFfn(kind="moe", experts=256, top_k=8, intermediate_size=2048, matrices=3, shared_experts=1)


def test_kv_cache_of_llama_3_70b_is_327_680_bytes_per_token() -> None:
    one_token = Decode(kind="decode", sequences=1, context_tokens=1, sources={"*": "assumed: test"})
    # 80 layers * (K + V) * 8 heads * 128 * 2 bytes
    assert 80 * cache_bytes_per_sequence(LLAMA, LLAMA.layers[0], one_token, 1, 1) == 327_680


@pytest.mark.parametrize(("tp", "heads"), [(1, 8), (2, 4), (8, 1), (16, 1)])
def test_kv_heads_are_divided_up_to_their_number_and_then_copied(tp: int, heads: int) -> None:
    assert kv_heads_on_rank(LLAMA_3_70B, tp) == heads
    assert cache_elements_per_token(LLAMA_3_70B, tp) == 2 * heads * 128


def test_llama_3_70b_has_70_553_706_496_parameters() -> None:
    # per layer: Q and output 2 * 8192 * 8192, K and V 2 * 8192 * 1024, FFN 3 * 8192 * 28_672, two norms of 8192: 855_654_400;
    # 80 of them, table and head 2 * 128_256 * 8192, last norm 8192: the parameter count that Meta's checkpoint states
    layer = 2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28_672 + 2 * 8192
    assert layer == 855_654_400
    assert layer_weight_bytes(LLAMA, LLAMA.layers[0], 1, 1, 0) == 2 * layer
    found = 80 * layer_weight_bytes(LLAMA, LLAMA.layers[0], 1, 1, 0) + embedding_bytes(LLAMA, 1) + head_bytes(LLAMA, 1)
    assert found == 2 * 70_553_706_496


def test_decode_of_llama_3_70b_reads_its_cache_once() -> None:
    (work,) = decode_core(LLAMA, LLAMA_3_70B, Shard(sequences=4, tokens=4, cached_tokens=4), 1, 8192, 1)
    assert work.flop == 4 * 2 * 2 * 64 * 128 * 8192  # 4 sequences, scores and values, 64 heads * 128, 8192 cached tokens
    # 4 * 8192 cached tokens * 2_048 elements * 2 bytes, 4 queries and outputs of 8192 * 2 bytes each
    assert work.bytes == 4 * 8192 * 2_048 * 2 + 4 * 2 * 8192 * 2


def test_prefill_of_llama_3_70b_counts_half_of_the_square() -> None:
    (work,) = prefill_core(LLAMA, LLAMA_3_70B, Shard(sequences=3, tokens=3 * 1000, cached_tokens=3 * 1000), 8, 1000, 1000, 1)
    assert work.flop == 3 * (4 * 1000 * 1000 * 8 * 128) // 2  # TP 8: 8 heads of 128
    # queries and outputs 3_000 * 1_024 each, keys and values 3_000 * 128 each, 2 bytes
    assert work.bytes == 3_000 * (2 * 1_024 + 2 * 128) * 2


def test_attention_weights_of_deepseek_v3_are_187_105_280_per_layer() -> None:
    # query down and up, latent and rope key, latent up, output
    elements = 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168
    assert elements == 11_010_048 + 37_748_736 + 4_128_768 + 16_777_216 + 117_440_512 == 187_105_280
    # the published 187_107_328 counts the norms of the two latents too: 1536 + 512 = 2_048
    assert elements + 1536 + 512 == 187_107_328
    assert attention_weights(7168, DEEPSEEK_V3, 1) == elements


def test_tensor_parallel_mla_copies_the_down_projections() -> None:
    # 7168 * (1536 + 512 + 64) = 15_138_816 whole, (37_748_736 + 16_777_216 + 117_440_512) / 8 = 21_495_808
    assert attention_weights(7168, DEEPSEEK_V3, 8) == 15_138_816 + 21_495_808


def test_mla_without_a_query_latent_projects_queries_at_full_rank() -> None:
    # DeepSeek-V2-Lite: 16 heads, hidden 2048; 2048 * 16*192 + 2048 * 576 + 512 * 16*256 + 16*128 * 2048
    lite = DEEPSEEK_V3.model_copy(update={"heads": 16, "q_lora_rank": None})
    assert attention_weights(2048, lite, 1) == 6_291_456 + 1_179_648 + 2_097_152 + 4_194_304


def test_mla_holds_the_norms_of_its_two_latents() -> None:
    # attention 187_105_280, FFN 3 * 7168 * 18_432 = 396_361_728; norms 2 * 7168 + 1536 + 512 = 16_384; 2 bytes
    assert layer_weight_bytes(DEEPSEEK, DEEPSEEK.layers[0], 1, 1, 0) == 2 * (187_105_280 + 396_361_728 + 16_384)
    # TP 8: 15_138_816 + 21_495_808 = 36_634_624 and 396_361_728 / 8 = 49_545_216; the norms are not split
    assert layer_weight_bytes(DEEPSEEK, DEEPSEEK.layers[0], 8, 8, 0) == 2 * (36_634_624 + 49_545_216 + 16_384)


def test_norms_are_held_in_the_dtype_of_the_activations() -> None:
    eight_bit = DEEPSEEK.model_copy(update={"weight_dtype": "fp8"})
    assert layer_weight_bytes(eight_bit, DEEPSEEK.layers[0], 1, 1, 0) == 187_105_280 + 396_361_728 + 2 * 16_384


def test_mla_without_a_query_latent_holds_the_norm_of_one_latent() -> None:
    # DeepSeek-V2-Lite: hidden 2048, attention 13_762_560 (worked above), FFN 3 * 2048 * 10_944 = 67_239_936; 2 * 2048 + 512
    lite = DEEPSEEK_V3.model_copy(update={"heads": 16, "q_lora_rank": None})
    group = LayerGroup(count=1, attention=lite, ffn=DenseFfn(kind="dense", intermediate_size=10_944, matrices=3))
    assert layer_weight_bytes(bf16(2048, 102_400, group), group, 1, 1, 0) == 2 * (13_762_560 + 67_239_936 + 4_608)


def test_deepseek_v3_has_671_billion_parameters() -> None:
    moe = LayerGroup(count=58, attention=DEEPSEEK_V3, ffn=DEEPSEEK_EXPERTS)
    # attention and norms 187_105_280 + 16_384 = 187_121_664; dense 396_361_728; 256 + 1 experts of 3 * 7168 * 2048 = 44_040_192
    # and the router 7168 * 256 = 1_835_008: 11_320_164_352; table and head 2 * 129_280 * 7168, last norm 7168
    elements = 61 * 187_121_664 + 3 * 396_361_728 + 58 * 11_320_164_352 + 2 * 926_679_040 + 7168
    assert elements == 671_026_404_352
    # the published 671_026_419_200 counts a bias per routed expert too: 58 * 256 = 14_848
    assert elements + 58 * 256 == 671_026_419_200
    found = 3 * layer_weight_bytes(DEEPSEEK, DEEPSEEK.layers[0], 1, 1, 0) + 58 * layer_weight_bytes(DEEPSEEK, moe, 1, 1, 256)
    assert found + embedding_bytes(DEEPSEEK, 1) + head_bytes(DEEPSEEK, 1) == 2 * elements


@pytest.mark.parametrize("tp", [1, 8, 128])
def test_mla_caches_576_elements_per_token_and_layer_on_every_rank(tp: int) -> None:
    assert cache_elements_per_token(DEEPSEEK_V3, tp) == 576


def test_mla_decodes_in_latent_space() -> None:
    (work,) = decode_core(DEEPSEEK, DEEPSEEK_V3, Shard(sequences=1, tokens=1, cached_tokens=1), 1, 4096, 1)
    # scores over latent and rope key (576), values over the latent (512), 128 heads, 4096 cached tokens
    assert work.flop == 2 * 128 * (576 + 512) * 4096
    # 4096 * 576 cached elements, 128 queries of 192, 128 outputs of 128; 2 bytes
    assert work.bytes == (4096 * 576 + 128 * 192 + 128 * 128) * 2


def test_mla_expands_the_latents_of_all_context_parallel_peers() -> None:
    # TP 8: 16 heads; CP 4: 2_000 of 8_000 tokens. Down 7168 x (1536 + 512 + 64), queries up 1536 x 16*192,
    # keys and values up 512 x 16*(128 + 128) over all 8_000 tokens, output 16*128 x 7168
    shard = Shard(sequences=1, tokens=2_000, cached_tokens=8_000)
    assert attention_projections(DEEPSEEK, DEEPSEEK_V3, shard, 8) == (
        Work("gemm", 2 * 2_000 * 7168 * 2_112, 2 * (7168 * 2_112 + 2_000 * (7168 + 2_112)), "bf16", "bf16", (2_000, 7168, 2_112)),
        Work("gemm", 2 * 2_000 * 1536 * 3_072, 2 * (1536 * 3_072 + 2_000 * (1536 + 3_072)), "bf16", "bf16", (2_000, 1536, 3_072)),
        Work("gemm", 2 * 8_000 * 512 * 4_096, 2 * (512 * 4_096 + 8_000 * (512 + 4_096)), "bf16", "bf16", (8_000, 512, 4_096)),
        Work("gemm", 2 * 2_000 * 2_048 * 7168, 2 * (2_048 * 7168 + 2_000 * (2_048 + 7168)), "bf16", "bf16", (2_000, 2_048, 7168)),
    )


def test_only_mla_expands_the_tokens_of_others() -> None:
    # Llama-3-70B, TP 8: 8192 x (8 + 2) * 128, 8 * 128 x 8192
    assert attention_projections(LLAMA, LLAMA_3_70B, Shard(sequences=1, tokens=2_000, cached_tokens=8_000), 8) == (
        Work("gemm", 2 * 2_000 * 8192 * 1_280, 2 * (8192 * 1_280 + 2_000 * (8192 + 1_280)), "bf16", "bf16", (2_000, 8192, 1_280)),
        Work("gemm", 2 * 2_000 * 1_024 * 8192, 2 * (1_024 * 8192 + 2_000 * (1_024 + 8192)), "bf16", "bf16", (2_000, 1_024, 8192)),
    )


MLA_CP4 = Strategy(tp=8, cp=4, dp=1, pp=1, etp=8, ep=1, edp=4, replicas=1, microbatches=1)


def test_attention_of_an_mla_prompt_over_4_context_ranks_takes_1_08_ms_per_layer() -> None:
    workload = Prefill(kind="prefill", sequences=1, tokens_per_sequence=8_000, sources={"*": "assumed: test"})
    terms = Terms(REFERENCE.model_copy(update={"architecture": DEEPSEEK, "workload": workload}))
    # the four projections of 60_555_264_000, 18_874_368_000, 33_554_432_000 and 58_720_256_000 FLOP, / 240_000
    # core: (16*192 + 16*128) * 8_000^2 / CP 4 = 81_920_000_000 FLOP; / 240_000 = 341_334 ns; five launches. No bytes bind: the
    # most, 2 * (512 * 4096 + 8_000 * 4_608) = 77_922_304 to expand the latents, / 1_440 = 54_113 ns
    expected = 5 * 5_000 + 252_314 + 78_644 + 139_811 + 244_668 + 341_334  # = 1_081_771
    assert terms.compute(0, terms.shape(MLA_CP4), None)["attention"] == expected


def test_mla_in_decode_expands_the_new_tokens_of_its_own_rank_only() -> None:
    workload = Decode(kind="decode", sequences=4, context_tokens=8_000, sources={"*": "assumed: test"})
    terms = Terms(REFERENCE.model_copy(update={"architecture": DEEPSEEK, "workload": workload}))
    # 4 sequences over CP 4: 1 token per rank, all bound by memory: the bytes of the four projections of 1 token are
    # 2 * (7168*2_112 + 9_280) = 30_296_192, 2 * (1536*3_072 + 4_608) = 9_446_400, 2 * (512*4_096 + 4_608) = 4_203_520 and
    # 2 * (2_048*7168 + 9_216) = 29_378_560; / 1_440 = 21_040, 6_560, 2_920 and 20_402 ns
    # core: 4 sequences * 2_000 cached tokens of 576 and 4 * (16*192 + 16*128), 2 bytes each: 9_256_960; / 1_440 = 6_429 ns
    # (FLOP: 2 * 4 * 16 * (512 + 512 + 64) * 2_000 = 278_528_000; / 240_000 = 1_161 ns)
    expected = 5 * 5_000 + 21_040 + 6_560 + 2_920 + 20_402 + 6_429  # = 82_351
    assert terms.compute(0, terms.shape(MLA_CP4), None)["attention"] == expected


def test_routed_experts_are_one_operator() -> None:
    # 100 inputs, 2.5 experts read. DeepSeek-V3: gate and up 7168 x 2*2048, down 2048 x 7168; a row is read at 7168, written at 2*2048,
    # read at 2048 and written at 7168
    assert routed_experts(DEEPSEEK, DEEPSEEK_EXPERTS, 100, WHOLE * 5 // 2, 1) == Work(
        "expert_gemm",
        2 * 100 * (7168 * 4_096 + 2_048 * 7168),
        5 * (7168 * 4_096 + 2_048 * 7168) + 2 * 100 * (7168 + 4_096 + 2_048 + 7168),
        "bf16",
        "bf16",
        (100, WHOLE * 5 // 2, 7168, 2_048, 3),
    )
    # without a gate, and in two parts of 1024: 7168 x 1024 and 1024 x 7168
    plain = DEEPSEEK_EXPERTS.model_copy(update={"matrices": 2})
    flop, moved = 2 * 100 * 2 * 7168 * 1_024, 5 * 2 * 7168 * 1_024 + 2 * 100 * 2 * (7168 + 1_024)
    expected = Work("expert_gemm", flop, moved, "bf16", "bf16", (100, WHOLE * 5 // 2, 7168, 1_024, 2))
    assert routed_experts(DEEPSEEK, plain, 100, WHOLE * 5 // 2, 2) == expected


def test_routed_experts_have_one_launch_and_one_roofline() -> None:
    # 512 inputs to 1 expert of 3 * 4096 * 16_384 weights
    wide = MoeFfn(kind="moe", experts=64, top_k=2, intermediate_size=16_384, matrices=3)
    arch, chip, runtime = REFERENCE.architecture, POOL.accelerator, REFERENCE.runtime
    # 2 * 512 * 3 * 4096 * 16_384 FLOP = 206_158_430_208; / 240_000 = 858_993.5, up.
    # Bytes: 402_653_184 + 512 * (2 * 4096 + 3 * 16_384) * 2 = 461_373_440; / 1_440 = 320_399
    assert operator_ns(chip, runtime, routed_experts(arch, wide, 512, WHOLE, 1)) == 5_000 + 858_994
    # 1 input reads the weights: 402_653_184 + 57_344 * 2 = 402_767_872 bytes; / 1_440 = 279_699.9, up
    assert operator_ns(chip, runtime, routed_experts(arch, wide, 1, WHOLE, 1)) == 5_000 + 279_700


def test_the_two_norms_of_a_layer_each_read_and_write_its_tokens() -> None:
    assert norms(LLAMA, 1_000) == (Work("elementwise", 0, 2 * 1_000 * 8192 * 2, "bf16", "bf16"),) * 2


def test_a_fused_qkv_projection_of_grouped_query_attention() -> None:
    # TP 8: 8 query heads, 1 key and 1 value head of 128
    assert projection_shapes(8192, LLAMA_3_70B, 8) == ((8192, 10 * 128), (8 * 128, 8192))
    assert projection_shapes(4096, MultiHead(kind="mha", heads=32, head_dim=128), 2) == ((4096, 3 * 16 * 128), (16 * 128, 4096))


def test_an_operator_is_bound_by_memory_below_the_ridge_and_by_computation_above() -> None:
    arch, chip, runtime = REFERENCE.architecture, POOL.accelerator, REFERENCE.runtime
    # 1 token: 33_554_432 + 16_384 bytes; / 1_440 = 23_313.1, up. FLOP: 2 * 4096 * 4096 / 240_000 = 140
    assert operator_ns(chip, runtime, gemm(arch, "ffn", 1, 4096, 4096)) == 5_000 + 23_314
    # 1_000 tokens: 33_554_432_000 FLOP / 240_000 = 139_810.1, up. Bytes: 49_938_432 / 1_440 = 34_680
    assert operator_ns(chip, runtime, gemm(arch, "ffn", 1_000, 4096, 4096)) == 5_000 + 139_811


def test_128_tokens_touch_an_expert_of_probability_1_64_with_0_8668() -> None:
    found = touch_probability(CERTAIN // 64, 128)
    # 1 - (63/64)^128, both sides multiplied by 2^32 * 64^128
    assert found * 64**128 >= (64**128 - 63**128) * 2**32
    assert abs(found / 2**32 - (1 - (63 / 64) ** 128)) < 1e-6
    assert round(found / 2**32, 4) == 0.8668


@pytest.mark.parametrize(
    ("probability", "tokens", "expected"),
    [
        (0, 1_000, 0),
        (CERTAIN, 1, CERTAIN),
        (CERTAIN // 2, 0, 0),
        (CERTAIN // 2, 1, CERTAIN // 2),
        (CERTAIN // 2, 3, CERTAIN // 8 * 7),
        (CERTAIN // 32, 1_280_000, CERTAIN),  # plan (a): every expert is touched
    ],
)
def test_touch_probability_is_exact_where_fixed_point_is(probability: int, tokens: int, expected: int) -> None:
    assert touch_probability(probability, tokens) == expected


def test_an_expert_is_chosen_with_its_share_of_the_load_times_top_k() -> None:
    assert routing_probability(1, 64, 2) == 2**32 // 32
    assert routing_probability(1, 64, 2, replicas=2) == 2**32 // 64
    assert routing_probability(1, 3, 1) == 1_431_655_766  # 2^32 / 3 = 1_431_655_765.33, up
    assert routing_probability(9, 10, 2) == 2**32  # 1.8 is no probability


def test_a_token_of_plan_a_makes_1_789_copies() -> None:
    reach = touch_domain([(1, 1)] * 4, 64, 2)
    assert reach == 125_055  # 2^20 * (1 - (31/32)^4) = 32^4 - 31^4
    assert busiest_port([reach] * 16, (4,) * 16) == 15 * 125_055


def test_the_busiest_port_belongs_to_the_domain_that_takes_most_or_to_those_that_hold_least() -> None:
    # 2 domains of 4: 9/10 of the tokens go to the first, whose 4 ports take those of 4 senders: 0.9
    assert busiest_port([900, 100], (4, 4)) == 900
    # 6 + 2 ranks: the 2 ports of the second take 1/2 of the tokens of 6 senders: 1.5; the first: 2 * 0.5 / 6; sent: 0.5
    assert busiest_port([500, 500], (6, 2)) == 1_500


def test_all_gather_of_4_mb_over_4_gpus_of_a_domain_takes_13_500_ns() -> None:
    # 3/4 of 4_000_000 bytes; / 400 = 7_500 ns, + log2(4) * 3_000
    assert all_gather(POOL, 4_000_000, ONE_DOMAIN) == Comm(13_500, 3_000_000, 0)
    assert reduce_scatter(POOL, 4_000_000, ONE_DOMAIN) == Comm(13_500, 3_000_000, 0)


def test_all_gather_of_8_mb_over_2_domains_of_4_takes_46_000_ns() -> None:
    # across: the other domain's eighth of equal position, 1_000_000 bytes; / 50 = 20_000 ns, + 5_000
    # inside: 3/4 of 8_000_000 bytes; / 400 = 15_000 ns, + 2 * 3_000
    assert all_gather(POOL, 8_000_000, TWO_DOMAINS) == Comm(25_000 + 21_000, 6_000_000, 1_000_000)


def test_all_reduce_is_a_reduce_scatter_and_an_all_gather() -> None:
    assert all_reduce(POOL, 4_000_000, ONE_DOMAIN) == Comm(27_000, 6_000_000, 0)
    assert all_reduce(POOL, 8_000_000, TWO_DOMAINS) == Comm(92_000, 12_000_000, 2_000_000)


def test_all_gather_between_domains_only_uses_the_scale_out_tier_alone() -> None:
    # 1 rank in each of 3 domains: 2/3 of 3_000_000 bytes; / 50 = 40_000 ns, + ceil(log2 3) * 5_000
    assert all_gather(POOL, 3_000_000, (0, 1, 2)) == Comm(50_000, 0, 2_000_000)


def test_all_to_all_inside_a_domain_moves_what_is_not_its_own() -> None:
    # 3/4 of 2_000 inputs * 8_192 bytes = 12_288_000; / 400 = 30_720 ns, + 2 * 3_000
    assert all_to_all(POOL, "dispatch", 1_000, 2_000, 8_192, 0, ONE_DOMAIN) == Comm(36_720, 12_288_000, 0)


def test_all_to_all_over_2_domains_of_4_sends_each_token_once_to_the_other_domain() -> None:
    # across: 1_000 tokens * 1/2 copy * 8_192 bytes = 4_096_000; / 50 = 81_920 ns, + 5_000
    # inside, 4 ranks: 3/4 of 2_000 inputs * 8_192 bytes = 12_288_000; / 400 = 30_720 ns, + 2 * 3_000
    assert all_to_all(POOL, "dispatch", 1_000, 2_000, 8_192, WHOLE // 2, TWO_DOMAINS) == Comm(86_920 + 36_720, 12_288_000, 4_096_000)


def test_all_to_all_over_uneven_domains_pays_for_the_fullest() -> None:
    # 6 + 2 ranks: 5/6 of 2_000 inputs * 8_192 bytes = 13_653_333.3, up; / 400 = 34_133.3, up, + ceil(log2 6) * 3_000
    found = all_to_all(POOL, "dispatch", 1_000, 2_000, 8_192, WHOLE // 2, (0,) * 6 + (1,) * 2)
    assert found == Comm(86_920 + 34_134 + 9_000, 13_653_334, 4_096_000)


def test_all_to_all_between_domains_only_forwards_nothing() -> None:
    # 1 rank in each of 4 domains: 1_000 tokens * 3/2 copies * 8_192 bytes = 12_288_000; / 50 = 245_760 ns, + 2 * 5_000
    assert all_to_all(POOL, "dispatch", 1_000, 2_000, 8_192, WHOLE * 3 // 2, (0, 1, 2, 3)) == Comm(255_760, 0, 12_288_000)


def test_a_group_of_one_communicates_nothing() -> None:
    for cost in (all_gather(POOL, 10**9, (0,)), all_reduce(POOL, 10**9, (0,)), all_to_all(POOL, "dispatch", 10**6, 10**6, 8_192, 0, (0,))):
        assert cost == Comm(0, 0, 0)


def test_a_message_pays_the_latency_and_bandwidth_of_its_tier() -> None:
    assert send(POOL, 4_001, crosses_domains=False) == Comm(3_000 + 11, 4_001, 0)  # 4_001 / 400 = 10.0025, up
    assert send(POOL, 4_001, crosses_domains=True) == Comm(5_000 + 81, 0, 4_001)  # 4_001 / 50 = 80.02, up


def test_the_ep_group_of_the_reference_plan_has_4_members_in_each_of_16_domains() -> None:
    (pattern,) = group_patterns(CLASSIC, "ep", 8)
    assert domain_counts(pattern) == (4,) * 16
    assert group_patterns(CLASSIC, "tp", 8) == group_patterns(CLASSIC, "etp", 8) == ((0, 0),)


def test_the_ep_group_of_the_folded_plan_is_a_domain_and_its_edp_group_crosses_all() -> None:
    assert group_patterns(FOLDED, "ep", 8) == ((0,) * 8,)
    assert group_patterns(FOLDED, "edp", 8) == (tuple(range(16)),)


def test_groups_that_do_not_fit_the_domains_show_every_pattern() -> None:
    # 4 groups of 6 on 24 GPUs, domains of 8: GPUs 0-5 | 6-11 (2 + 4) | 12-17 (4 + 2) | 18-23
    odd = Strategy(tp=6, cp=1, dp=4, pp=1, etp=6, ep=4, edp=1, replicas=1, microbatches=1)
    assert group_patterns(odd, "tp", 8) == ((0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 1, 1), (0, 0, 1, 1, 1, 1))


@pytest.mark.parametrize(
    ("compute", "comm", "overlap_ppm", "expected"),
    [
        (100, 60, 0, 160),
        (100, 60, 500_000, 130),  # half of 60 is hidden
        (20, 60, 500_000, 60),  # only 20 ns of computation to hide it behind
        (100, 60, 1_000_000, 100),
        (100, 61, 500_000, 131),  # 30.5 ns hidden: supply rounds down
    ],
)
def test_overlap_hides_at_most_its_share_of_communication_and_at_most_the_computation(
    compute: int, comm: int, overlap_ppm: int, expected: int
) -> None:
    price = Price((("experts", compute),), (("ep_comm", Comm(comm, 7, 11)),), overlap_ppm)
    assert price.cost == Comm(expected, 7, 11)


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("64 GB", "bytes", 64_000_000_000),
        ("64 GiB", "bytes", 68_719_476_736),
        ("64GB", "bytes", 64_000_000_000),
        ("1.5 KiB", "bytes", 1_536),
        ("1_000 B", "bytes", 1_000),
        ("12.5 GB/s", "bytes/s", 12_500_000_000),
        ("400 Gbit/s", "bytes/s", 50_000_000_000),
        ("1.8 TB/s", "bytes/s", 1_800_000_000_000),
        ("400 TFLOP/s", "FLOP/s", 400_000_000_000_000),
        ("60 %", "ppm", 600_000),
        ("2.5 %", "ppm", 25_000),
        ("3 us", "ns", 3_000),
        ("3 \u00b5s", "ns", 3_000),  # micro sign
        ("3 \u03bcs", "ns", 3_000),  # Greek letter
        ("1.5 ms", "ns", 1_500_000),
        ("2.49 $/h", "micro-USD/h", 2_490_000),
        ("1_234_567 B", "bytes", 1_234_567),
        ("1_000.5 kB", "bytes", 1_000_500),
        ("8 bit/s", "bytes/s", 1),
        ("9_007_199_254_740_993 B", "bytes", 9_007_199_254_740_993),  # 2^53 + 1, which no float holds
        ("0.999999999999999 PB", "bytes", 999_999_999_999_999),
        ("123456789012345678901234567890 B", "bytes", 123_456_789_012_345_678_901_234_567_890),  # 30 digits, all kept
        ("1.0000000000000000000000000000 B", "bytes", 1),
        (64_000_000_000, "bytes", 64_000_000_000),
    ],
)
def test_a_quantity_with_its_unit_becomes_base_units(text: str | int, dimension: str, expected: int) -> None:
    found = parse_quantity(text, dimension)
    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    ("text", "dimension", "sentence"),
    [
        ("64 GB/s", "bytes", "is not a quantity in bytes; write a number and one of"),
        ("64 GB", "bytes/s", "is not a quantity in bytes/s"),
        ("64 gb", "bytes", "is not a quantity"),
        ("64", "bytes", "is not a quantity"),
        ("", "bytes", "is not a quantity"),
        ("GB", "bytes", "is not a quantity"),
        ("-3 us", "ns", "is not a quantity"),
        ("1e3 us", "ns", "is not a quantity"),
        ("inf s", "ns", "is not a quantity"),
        ("1.5 ns", "ns", "is not a whole number of ns"),
        ("1 bit/s", "bytes/s", "is not a whole number of bytes/s"),
        ("0.00001 %", "ppm", "is not a whole number of ppm"),
        ("1.9999999999999999999999999999 B", "bytes", "is not a whole number of bytes"),  # 28 digits of precision make it 2
        ("1.0000000000000000000000000001 B", "bytes", "is not a whole number of bytes"),
        ("1__0 B", "bytes", "is not a quantity"),
        ("10_ B", "bytes", "is not a quantity"),
        ("_10 B", "bytes", "is not a quantity"),
        ("1_.5 kB", "bytes", "is not a quantity"),
        ("1.5_0 kB", "bytes", "is not a quantity"),
        ("3 \u03bcB", "bytes", "is not a quantity"),
        (0.6, "ppm", "write an integer of ppm or a string"),
    ],
)
def test_a_quantity_that_cannot_be_meant_is_refused_with_its_remedy(text: str | float, dimension: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_quantity(text, dimension)
