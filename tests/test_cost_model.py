"""Curves, laws, meshes, exchanges and overheads against arithmetic done by hand, and each of them monotone in exact integers.

The machine: 100_000 FLOP and 1_000 bytes per ns, launch 5_000 ns, 4 multiprocessors; scale-up 400 bytes per ns and 3_000 ns per
round, scale-out 50 and 5_000, domains of 8 GPUs. Whole plans are those of `test_golden`: 16 layers, hidden 4096 (8_192 bytes per
token), 128 prompts of 10_000 tokens, with the reference accelerator's 240_000 FLOP per ns.
"""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.architecture import MultiHead
from models.attention import Shard, prefill_core
from models.cluster import Accelerator, Collective, Curve, Law, Link, Pool
from models.collectives import Comm, all_gather, all_reduce, all_to_all, direct_all_to_all, tier_ns
from models.evaluate import Evaluation, evaluate
from models.instance import Instance
from models.operators import Kind, Work
from models.roofline import operator_ns, wave_flop
from models.routing import Profile
from models.strategy import Plan, Strategy
from models.terms import Terms
from models.units import PPM, WHOLE, Norm, combine
from models.workload import Runtime

REFERENCE = Instance.model_validate_json((Path(__file__).parent.parent / "instances" / "ep64_tp2_128gpu.json").read_text(encoding="utf-8"))
POOL, RUNTIME = REFERENCE.cluster.pool, REFERENCE.runtime
CHIP = POOL.accelerator.model_copy(
    update={
        "peak_flop_per_s": {"bf16": 100 * 10**12},
        "hbm_bytes_per_s": 10**12,
        "multiprocessors": 4,
        **dict.fromkeys(("gemm_efficiency_ppm", "expert_gemm_efficiency_ppm", "attention_efficiency_ppm", "hbm_efficiency_ppm"), PPM),
    }
)
ONE_DOMAIN, UNEVEN = (0, 0, 0, 0), (0,) * 6 + (1,) * 2


def curve(**fields: Any) -> Curve:
    """Half of the peak, 50_000 FLOP per ns; 80 % of the bandwidth, 800 bytes per ns; 700 ns for every call."""
    return Curve.model_validate({"fixed_ns": 700, "flop_efficiency_ppm": 500_000, "byte_efficiency_ppm": 800_000} | fields)


def chip(kind: Kind, **fields: Any) -> Accelerator:
    return CHIP.model_copy(update={"curves": {f"{kind}.bf16": curve(**fields)}})


def runtime(**fields: Any) -> Runtime:
    return RUNTIME.model_copy(update=fields)


def work(kind: Kind, flop: int, moved: int, *shape: int) -> Work:
    return Work(kind, flop, moved, "bf16", "bf16", shape)


def link(bandwidth: int, latency: int, **fields: Any) -> Link:
    return Link.model_validate(
        {"bandwidth_bytes_per_s": bandwidth * 10**9, "latency_ns": latency, "sources": {"*": "assumed: test"}} | fields
    )


def pool(**tiers: Link) -> Pool:
    return POOL.model_copy(update=tiers)


# Operators.


@pytest.mark.parametrize(
    ("norm", "running"),
    [
        # 150_000_000 FLOP / 50_000 = 3_000 ns, 3_200_000 bytes / 800 = 4_000 ns
        ("max", 4_000),
        ("fourth", 4_285),  # 3_000^4 + 4_000^4 = 337 * 10^12; its root 18_357_559.8, up; the root of that lies between 4_284 and 4_285
        ("square", 5_000),
        ("sum", 7_000),
        ("half", 13_929),  # 7_000 + the root of 4 * 3_000 * 4_000 = 48_000_000, 6_928.2, up
    ],
)
def test_a_curve_adds_a_fixed_time_to_the_norm_of_arithmetic_and_memory(norm: Norm, running: int) -> None:
    operator = work("gemm", 150_000_000, 3_200_000, 1, 1, 1)
    assert operator_ns(chip("gemm", norm=norm), RUNTIME, operator) == 700 + running


def test_a_curve_holds_for_its_kind_and_format_only() -> None:
    # 1_000_000 FLOP / 100_000 = 10 ns and 20_000 bytes / 1_000 = 20 ns, one launch
    machine = chip("gemm")
    assert operator_ns(machine, RUNTIME, work("expert_gemm", 1_000_000, 20_000, 1, WHOLE, 1, 1, 2)) == 5_000 + 20
    other = Work("gemm", 1_000_000, 20_000, "bf16", "bf8", (1, 1, 1))
    assert operator_ns(machine, RUNTIME, other) == 5_000 + 20


def test_tiles_run_in_whole_waves_over_the_multiprocessors() -> None:
    # 200 x 300 outputs are 2 * 3 tiles of 128 x 128, so 2 waves of 4: 8 tiles of 2 * 128 * 128 * 64 FLOP
    assert wave_flop(4, (200, 64, 300)) == 8 * 2 * 128 * 128 * 64
    # up to 64 rows: 1 * 3 tiles of 64 x 128, 1 wave of 4
    assert wave_flop(4, (64, 64, 300)) == 4 * 2 * 64 * 128 * 64
    assert wave_flop(4, (65, 64, 300)) == 4 * 2 * 128 * 128 * 64


def test_a_share_of_the_arithmetic_runs_in_whole_waves() -> None:
    # 2 * 200 * 64 * 300 = 7_680_000 FLOP, in waves 16_777_216: 3/4 and 1/4 are 5_760_000 + 4_194_304 = 9_954_304; / 50_000 = 199.1
    machine = chip("gemm", wave_ppm=250_000)
    assert operator_ns(machine, RUNTIME, work("gemm", 7_680_000, 0, 200, 64, 300)) == 700 + 200


def test_waves_without_multiprocessors_are_refused() -> None:
    fields = CHIP.model_dump(mode="json") | {"multiprocessors": None, "curves": {"gemm.bf16": curve(wave_ppm=1).model_dump(mode="json")}}
    with pytest.raises(ValidationError, match="add multiprocessors"):
        Accelerator.model_validate(fields)


@pytest.mark.parametrize("kind", ["prefill_attention", "mla_prefill"])
def test_a_prompt_of_the_half_rate_length_runs_at_half_the_rate(kind: Kind) -> None:
    machine = chip(kind, half_rate_tokens=500)
    # 5_000_000 FLOP / 50_000 = 100 ns; twice that for 500 tokens, 3/2 for 1_000
    assert operator_ns(machine, RUNTIME, work(kind, 5_000_000, 0, 1, 500, 500, 8, 8, 128)) == 700 + 200
    assert operator_ns(machine, RUNTIME, work(kind, 5_000_000, 0, 1, 1_000, 1_000, 8, 8, 128)) == 700 + 150


def test_only_prefills_have_a_half_rate() -> None:
    # 5_000_000 FLOP / 50_000; a GEMM's third number is its outputs
    assert operator_ns(chip("gemm", half_rate_tokens=500), RUNTIME, work("gemm", 5_000_000, 0, 1, 1, 500)) == 700 + 100
    decode = work("decode_attention", 5_000_000, 0, 1, 1, 500, 8, 8, 128)
    assert operator_ns(chip("decode_attention", half_rate_tokens=500), RUNTIME, decode) == 700 + 100


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("expert_gemm", (9, WHOLE * 5 // 2, 64, 64, 3), 275),  # 2.5 experts of 110 ns
        ("expert_gemm", (9, 1, 64, 64, 3), 1),  # 110 / 2^20, up
        ("decode_attention", (7, 1, 100, 8, 8, 128), 770),  # 7 sequences
        ("mla_decode", (7, 1, 100, 8, 1, 576), 770),
        ("prefill_attention", (7, 1, 100, 8, 8, 128), 0),
        ("gemm", (7, 1, 100), 0),
    ],
)
def test_each_expert_read_and_each_sequence_of_a_decode_costs_its_own_time(kind: Kind, shape: tuple[int, ...], expected: int) -> None:
    # beside 1_000 ns of arithmetic
    assert operator_ns(chip(kind, unit_ns=110), RUNTIME, work(kind, 50_000_000, 0, *shape)) == 700 + 1_000 + expected


def test_an_engine_keeps_a_share_of_every_launch_and_scales_the_rest() -> None:
    engine = runtime(launch_share_ppm=333_333, operator_scale_ppm=1_200_000)
    # curve: 700 * 0.333333 = 233.3, up; 1_001 ns of arithmetic * 1.2 = 1_201.2, up
    assert operator_ns(chip("gemm"), engine, work("gemm", 50_050_000, 0, 1, 1, 1)) == 234 + 1_202
    # flat: 5_000 * 0.333333 = 1_666.7, up; 10_010 bytes / 1_000 = 10.01, up, * 1.2 = 13.2, up
    assert operator_ns(CHIP, engine, work("gemm", 0, 10_010, 1, 1, 1)) == 1_667 + 14


# Collectives.


def test_of_several_laws_the_fastest_holds() -> None:
    # 100 bytes per ns. Eager: 1_000 + 3 * 200, at a quarter of it; bulk: 5_000, at 80 %
    laws = (Law(fixed_ns=1_000, per_rank_ns=200, efficiency_ppm=250_000), Law(fixed_ns=5_000, efficiency_ppm=800_000))
    fast = link(100, 7, laws={"all_gather": laws})
    assert tier_ns(fast, 100 * 10**9, "all_gather", 4, 40_000) == 1_600 + 1_600  # not 5_000 + 500
    assert tier_ns(fast, 100 * 10**9, "all_gather", 4, 1_000_000) == 5_000 + 12_500  # not 1_600 + 40_000
    # another collective: 2 rounds of 7 ns
    assert tier_ns(fast, 100 * 10**9, "reduce_scatter", 4, 40_000) == 14 + 400


def test_a_law_may_overlap_its_start_with_its_bytes() -> None:
    fast = link(100, 0, laws={"send": (Law(fixed_ns=3_000, norm="square"),)})
    assert tier_ns(fast, 100 * 10**9, "send", 2, 400_000) == 5_000


def test_a_one_shot_all_reduce_reads_all_of_all_others() -> None:
    one_shot = pool(scale_up=link(400, 3_000, laws={"all_reduce": (Law(fixed_ns=500, one_shot=True),)}))
    # 4 ranks: 3 * 100_000 bytes; / 400 = 750 ns. Its port carries as much as in two phases, 2 * 3/4 of 100_000, by the model's count
    assert all_reduce(one_shot, 100_000, ONE_DOMAIN) == Comm(500 + 750, 150_000, 0)
    two_phase = Law(fixed_ns=2_000)
    both = pool(scale_up=link(400, 3_000, laws={"all_reduce": (Law(fixed_ns=500, one_shot=True), two_phase)}))
    assert all_reduce(both, 100_000, ONE_DOMAIN).ns == 1_250  # not 2_000 + 375
    assert all_reduce(both, 4_000_000, ONE_DOMAIN).ns == 2_000 + 15_000  # not 500 + 30_000


def test_an_all_reduce_over_several_domains_is_a_reduce_scatter_and_an_all_gather() -> None:
    law = {"all_reduce": (Law(fixed_ns=1),)}
    there = all_reduce(pool(scale_up=link(400, 3_000, laws=law)), 8_000_000, (0, 0, 0, 0, 1, 1, 1, 1))
    # each: across 1_000_000 bytes / 50 + 5_000, inside 6_000_000 / 400 + 2 * 3_000
    assert there == Comm(2 * (25_000 + 21_000), 12_000_000, 2_000_000)


@pytest.mark.parametrize(
    ("ranks", "ns"),
    [
        (2, 10 + 420),  # 42_000 bytes over 1 of 7 links of 100 bytes per ns
        (4, 20 + 210),  # 63_000 over 3
        (8, 30 + 105),  # 73_500 over 7
    ],
)
def test_in_a_full_mesh_a_group_has_the_links_between_its_own_gpus(ranks: int, ns: int) -> None:
    mesh = pool(scale_up=link(700, 10, topology="full_mesh"))
    assert all_gather(mesh, 84_000, (0,) * ranks).ns == ns


def test_a_direct_exchange_in_one_domain_moves_what_is_not_its_own() -> None:
    # the larger of 2_000 copies sent and 3_000 received, of 1_000 bytes; 3/4 of them leave; / 400 = 5_625 ns, + 2 * 3_000
    assert direct_all_to_all(POOL, "dispatch", 2_000, 3_000, 1_000, ONE_DOMAIN) == Comm(11_625, 2_250_000, 0)
    assert direct_all_to_all(POOL, "combine", 3_000, 2_000, 1_000, ONE_DOMAIN) == Comm(11_625, 2_250_000, 0)
    assert direct_all_to_all(POOL, "combine", 3_000, 2_000, 1_000, (0,)) == Comm(0, 0, 0)


def test_a_direct_exchange_over_uneven_domains_uses_both_tiers_at_once() -> None:
    # 6 + 2 ranks. Inside: a rank of six sends 5/8 of 3_000_000 bytes to its own domain: 1_875_000; / 400 = 4_687.5, up, + 3 * 3_000
    # across: a rank of two sends 6/8 out: 2_250_000; / 50 = 45_000 ns, + log2(8) * 5_000, the slower one
    assert direct_all_to_all(POOL, "dispatch", 2_000, 3_000, 1_000, UNEVEN) == Comm(60_000, 1_875_000, 2_250_000)
    # a slow inside: 1_875_000 bytes / 1 + 9_000
    slow = pool(scale_up=link(1, 3_000))
    assert direct_all_to_all(slow, "dispatch", 2_000, 3_000, 1_000, UNEVEN).ns == 1_884_000


def test_direct_exchanges_have_laws_of_their_own() -> None:
    laws = {"dispatch": (Law(fixed_ns=1),), "direct_dispatch": (Law(fixed_ns=10),), "direct_combine": (Law(fixed_ns=20),)}
    machine = pool(scale_up=link(400, 3_000, laws=laws))
    assert direct_all_to_all(machine, "dispatch", 2_000, 3_000, 1_000, ONE_DOMAIN).ns == 10 + 5_625
    assert direct_all_to_all(machine, "combine", 2_000, 3_000, 1_000, ONE_DOMAIN).ns == 20 + 5_625


def test_pipelined_hops_add_up_by_squares() -> None:
    # across: 1_000 tokens * 1/2 copy * 800 bytes = 400_000; / 50 = 8_000 ns. Inside, 4 of 8 ranks: 3/4 of 4_000 * 800 / 400 = 6_000 ns
    laws = {"dispatch": (Law(fixed_ns=0),)}
    two = (0, 0, 0, 0, 1, 1, 1, 1)
    piped = pool(scale_up=link(400, 0), scale_out=link(50, 0, laws=laws))
    assert all_to_all(piped, "dispatch", 1_000, 4_000, 800, WHOLE // 2, two) == Comm(10_000, 2_400_000, 400_000)
    assert all_to_all(piped, "combine", 1_000, 4_000, 800, WHOLE // 2, two).ns == 14_000  # no law: one after the other


# Whole plans.

FOLDED = Strategy(tp=1, cp=1, dp=128, pp=1, etp=1, ep=8, edp=16, replicas=1, microbatches=1)
PIPELINED = Strategy(tp=4, cp=1, dp=2, pp=16, etp=4, ep=2, edp=1, replicas=1, microbatches=64)


def engine(**fields: Any) -> Instance:
    return REFERENCE.model_copy(update={"runtime": runtime(**fields)})


def priced(instance: Instance, strategy: Strategy, stages: tuple[int, ...] = (16,)) -> Evaluation:
    """The plan that puts experts 64/EP * r onwards on rank r, in each of the 16 layers."""
    held = 64 // strategy.ep
    layer = tuple(tuple(range(r * held, (r + 1) * held)) for r in range(strategy.ep))
    return evaluate(instance, Plan(strategy, stages, (layer,) * 16))


# 8 ranks of a domain take 80_000 tokens * 8_192 bytes = 655_360_000, of which 7/8 move: 573_440_000; / 400 = 1_433_600 ns, + 3 * 3_000
EIGHT = 1_442_600


def test_gathered_tokens_of_8_data_parallel_ranks_are_gathered_and_their_sums_scattered() -> None:
    found = priced(engine(expert_exchange="gather"), FOLDED)
    assert found.breakdown["ep_comm"] == 16 * 2 * EIGHT
    assert (found.breakdown["tp_comm"], found.breakdown["etp_comm"]) == (0, 0)
    assert found.stages[0].scale_up_bytes == 16 * 2 * 573_440_000


def test_gathered_tokens_of_4_tensor_parallel_pairs_end_with_a_gather_inside_each_pair() -> None:
    found = priced(engine(expert_exchange="gather"), FOLDED._replace(tp=2, dp=64))
    # a pair holds 20_000 tokens, 163_840_000 bytes; half of it; / 400 = 204_800 ns, + 3_000
    assert found.breakdown["ep_comm"] == 16 * (2 * EIGHT + 207_800)
    # all-reduce after attention: twice 207_800; embedding the same; logits of 2 prompts: half of 2 * 51_200 * 4 bytes / 400, + 3_000
    assert found.breakdown["tp_comm"] == (16 + 1) * 2 * 207_800 + 3_512
    # norms and router run on all 20_000 tokens: 2 * (327_680_000 / 1_440 + 5_000);
    # router: 2 * 20_000 * 4096 * 64 FLOP / 240_000 = 43_691 ns, bytes 524_288 + 166_400_000 = 166_924_288 / 1_440 = 115_919.6, up
    assert found.breakdown["norms"] == 16 * 2 * (5_000 + 227_556)
    assert found.breakdown["router"] == 16 * (5_000 + 115_920)


def test_gathered_tokens_of_one_data_parallel_rank_are_summed_over_it() -> None:
    found = priced(engine(expert_exchange="gather"), FOLDED._replace(tp=8, dp=16))
    # 8 prompts = 80_000 tokens on each of TP 8: an all-reduce after the experts as after attention and embedding
    # logits of 8 prompts: 7/8 of 8 * 51_200 * 4 = 1_433_600 bytes; / 400 = 3_584 ns, + 9_000
    assert found.breakdown["ep_comm"] == 16 * 2 * EIGHT
    assert found.breakdown["tp_comm"] == (16 + 1) * 2 * EIGHT + 12_584


def test_tensor_and_expert_tensor_ranks_of_the_expert_group_count_alike_where_tokens_are_gathered() -> None:
    # ETP 2 * EP 4 = 8 ranks, as ETP 1 * EP 8
    found = priced(engine(expert_exchange="gather"), FOLDED._replace(etp=2, ep=4))
    assert (found.breakdown["ep_comm"], found.breakdown["etp_comm"]) == (16 * 2 * EIGHT, 0)
    # ETP 4 * EP 2 over pairs: 2 expert-parallel ranks are no more than a pair, 8 ranks of the group are
    found = priced(engine(expert_exchange="gather"), FOLDED._replace(tp=2, dp=64, etp=4, ep=2))
    assert found.breakdown["ep_comm"] == 16 * (2 * EIGHT + 207_800)


def test_a_price_does_not_depend_on_what_was_priced_before_it() -> None:
    # both have 2 prompts' tokens in an expert group of 2: those of two data-parallel ranks, or of one that splits its context
    instance = engine(expert_exchange="gather").model_copy(update={"workload": REFERENCE.workload.model_copy(update={"sequences": 4})})
    apart = Strategy(tp=1, cp=1, dp=2, pp=1, etp=1, ep=2, edp=1, replicas=1, microbatches=2)
    split = Strategy(tp=1, cp=2, dp=1, pp=1, etp=1, ep=2, edp=1, replicas=1, microbatches=2)
    both, profile = Terms(instance), Profile(20_000, 32 * WHOLE, 0)
    for s in (apart, split, apart):
        shape, groups, alone = both.shape(s), both.groups(s), Terms(instance)
        assert both.comm(0, shape, groups, profile) == alone.comm(0, shape, groups, profile)


def test_a_direct_exchange_sends_every_copy_by_itself() -> None:
    found = priced(engine(expert_exchange="direct"), FOLDED)
    # 10_000 tokens * top-2 = 20_000 copies sent, 20_000 inputs received; 7/8 * 20_000 * 8_192 = 143_360_000; / 400 = 358_400, + 9_000
    assert found.breakdown["ep_comm"] == 16 * 2 * 367_400


def test_an_expert_group_that_is_torn_apart_cannot_gather() -> None:
    content = REFERENCE.model_dump(mode="json")
    content["runtime"]["expert_exchange"] = "gather"
    content["space"] = {"name": "folded", "orders": ["tp-cp-dp|edp-etp-ep"]}
    with pytest.raises(ValidationError, match="side by side"):
        Instance.model_validate_json(json.dumps(content))


def test_the_host_takes_its_time_once_per_micro_batch_on_the_last_stage() -> None:
    plain, hosted = (priced(engine(step_ns=ns), PIPELINED, (1,) * 16) for ns in (0, 1_000_000))
    assert [b.ns - a.ns for a, b in zip(plain.stages, hosted.stages, strict=True)] == [0] * 15 + [1_000_000]
    # the last stage, 9_088_767 ns in `test_golden`, is now the slowest: 79 times, + the 15 messages
    assert hosted.step_ns == 79 * 10_088_767 + 6_219_000
    assert hosted.breakdown["host"] == 64 * 1_000_000


def test_a_cached_prefix_saves_the_attention_among_its_own_tokens() -> None:
    arch, attention = REFERENCE.architecture, MultiHead(kind="mha", heads=32, head_dim=128)

    def flop(context: int, new: int) -> int:
        return sum(w.flop for w in prefill_core(arch, attention, Shard(3, 3 * new, 3 * context), 2, context, new, 1))

    # 3 prompts, 16 heads of 128, scores and values: 2 * 2_048 FLOP per two pairs; 4_000^2 - 3_000^2 = 7_000_000
    assert flop(4_000, 1_000) == 3 * 4_096 * 7_000_000
    assert flop(4_000, 4_000) == flop(4_000, 1_000) + flop(3_000, 3_000)


def test_prompts_after_a_prefix_of_their_length_are_half_of_the_tokens_and_three_quarters_of_the_attention() -> None:
    workload = REFERENCE.workload.model_copy(update={"tokens_per_sequence": 5_000, "prefix_tokens": 5_000})
    classic = Strategy(tp=2, cp=1, dp=64, pp=1, etp=2, ep=64, edp=1, replicas=1, microbatches=1)
    found = priced(REFERENCE.model_copy(update={"workload": workload}), classic)
    # half of the 10_000 tokens of `test_golden` (a) in QKV, 1_006_632_960_000 / 2 FLOP / 240_000 = 2_097_152 ns, and in the output,
    # 335_544_320_000 / 2 / 240_000 = 699_050.7, up; core: 3/4 of 819_200_000_000 / 240_000 = 2_560_000 ns; three launches
    assert found.breakdown["attention"] == 16 * (15_000 + 2_097_152 + 2_560_000 + 699_051)
    # 10_000 tokens of each of 2 prompts are held: as without a prefix
    assert found.stages[0].memory["kv_cache"] == 2_621_440_000
    # half of the tokens go to the experts: 20_000 inputs * 2 * 2 * 4096 * 8192 FLOP / 240_000 = 11_184_810.7, up
    assert found.breakdown["experts"] == 16 * (5_000 + 11_184_811)


# Monotone, in exact integers.

NORMS, KINDS = st.sampled_from(get_args(Norm)), st.sampled_from([k for k in get_args(Kind) if k != "elementwise"])
amounts, small, shares, rates = st.integers(0, 10**15), st.integers(1, 10**4), st.integers(1, 3 * PPM), st.integers(1, 10**16)
LENGTH = {"gemm": 3, "expert_gemm": 5}
PREFILL_CONTEXT = 2  # FLOP being equal, a longer prompt runs faster


def drawn_curves() -> st.SearchStrategy[Curve]:
    return st.builds(
        Curve,
        fixed_ns=st.integers(0, 10**6),
        flop_efficiency_ppm=shares,
        byte_efficiency_ppm=shares,
        norm=NORMS,
        unit_ns=st.integers(0, 10**4),
        wave_ppm=st.integers(0, PPM),
        half_rate_tokens=st.integers(0, 5_000),
    )


def drawn_works() -> st.SearchStrategy[Work]:
    return KINDS.flatmap(
        lambda kind: st.builds(
            lambda flop, moved, shape: Work(kind, flop, moved, "bf16", "bf16", tuple(shape)),
            amounts,
            amounts,
            st.lists(small, min_size=LENGTH.get(kind, 6), max_size=LENGTH.get(kind, 6)),
        )
    )


def drawn_machines() -> st.SearchStrategy[Accelerator]:
    """With a curve of every kind, or with none."""
    every = st.fixed_dictionaries({f"{k}.bf16": drawn_curves() for k in get_args(Kind) if k != "elementwise"})
    return st.builds(
        lambda curves, peak, bandwidth, units: CHIP.model_copy(
            update={"curves": curves, "peak_flop_per_s": {"bf16": peak}, "hbm_bytes_per_s": bandwidth, "multiprocessors": units}
        ),
        st.one_of(st.just({}), every),
        rates,
        rates,
        st.integers(1, 200),
    )


engines = st.builds(lambda share, scale: runtime(launch_share_ppm=share, operator_scale_ppm=scale), shares, shares)


@given(NORMS, amounts, amounts, amounts)
def test_a_norm_grows_with_both_demands_and_is_no_less_than_the_larger(norm: Norm, a: int, more: int, b: int) -> None:
    assert combine(norm, a, b) <= combine(norm, a + more, b)
    assert combine(norm, b, a) <= combine(norm, b, a + more)
    assert combine(norm, a, b) == combine(norm, b, a) >= max(a, b)


@given(amounts, amounts)
def test_the_larger_the_norms_exponent_the_better_demands_overlap(a: int, b: int) -> None:
    found = [combine(norm, a, b) for norm in ("half", "sum", "square", "fourth", "max")]
    assert found == sorted(found, reverse=True)


@given(drawn_machines(), engines, drawn_works(), amounts)
def test_an_operator_never_gets_cheaper_with_flop_or_bytes(machine: Accelerator, kept: Runtime, operator: Work, more: int) -> None:
    now = operator_ns(machine, kept, operator)
    assert now <= operator_ns(machine, kept, operator._replace(flop=operator.flop + more))
    assert now <= operator_ns(machine, kept, operator._replace(bytes=operator.bytes + more))


@given(drawn_machines(), engines, drawn_works(), st.integers(0, 5), st.integers(1, 10**4))
def test_an_operator_never_gets_cheaper_with_a_number_of_its_shape(
    machine: Accelerator, kept: Runtime, operator: Work, place: int, more: int
) -> None:
    at = place % len(operator.shape)
    if at == PREFILL_CONTEXT and operator.kind in ("prefill_attention", "mla_prefill"):
        return
    larger = tuple(n + more * (k == at) for k, n in enumerate(operator.shape))
    assert operator_ns(machine, kept, operator) <= operator_ns(machine, kept, operator._replace(shape=larger))


@given(drawn_machines(), st.integers(1, 4), small, small, small)
def test_a_prefill_never_gets_cheaper_with_its_prefix(machine: Accelerator, sequences: int, new: int, prefix: int, more: int) -> None:
    attention = MultiHead(kind="mha", heads=8, head_dim=16)

    def ns(context: int) -> int:
        shard = Shard(sequences, sequences * new, sequences * context)
        return sum(operator_ns(machine, RUNTIME, w) for w in prefill_core(REFERENCE.architecture, attention, shard, 1, context, new, 1))

    assert ns(prefix + new) <= ns(prefix + more + new)


@given(drawn_machines(), engines, drawn_works(), rates)
def test_an_operator_never_gets_dearer_with_peak_or_bandwidth(machine: Accelerator, kept: Runtime, operator: Work, more: int) -> None:
    now, peak = operator_ns(machine, kept, operator), machine.peak_flop_per_s["bf16"]
    assert operator_ns(machine.model_copy(update={"peak_flop_per_s": {"bf16": peak + more}}), kept, operator) <= now
    assert operator_ns(machine.model_copy(update={"hbm_bytes_per_s": machine.hbm_bytes_per_s + more}), kept, operator) <= now


@given(drawn_machines(), drawn_works(), st.integers(0, PPM))
def test_an_operator_never_gets_dearer_with_an_efficiency_or_cheaper_with_an_overhead(
    machine: Accelerator, operator: Work, more: int
) -> None:
    def with_more(field: str) -> Accelerator:
        grown = {name: c.model_copy(update={field: getattr(c, field) + more}) for name, c in machine.curves.items()}
        return machine.model_copy(update={"curves": grown})

    now = operator_ns(machine, RUNTIME, operator)
    for field in ("flop_efficiency_ppm", "byte_efficiency_ppm"):
        assert operator_ns(with_more(field), RUNTIME, operator) <= now
    for field in ("fixed_ns", "unit_ns", "half_rate_tokens"):
        assert operator_ns(with_more(field), RUNTIME, operator) >= now
    for field in ("launch_share_ppm", "operator_scale_ppm"):
        assert operator_ns(machine, runtime(**{field: PPM + more}), operator) >= now


@given(st.integers(1, 200), small, small, small, st.integers(0, 2), st.integers(0, 300))
def test_whole_waves_grow_with_every_side_of_a_gemm_and_hold_all_of_it(
    units: int, rows: int, inputs: int, outputs: int, at: int, more: int
) -> None:
    shape = rows, inputs, outputs
    assert 2 * rows * inputs * outputs <= wave_flop(units, shape)
    assert wave_flop(units, shape) <= wave_flop(units, tuple(n + more * (k == at) for k, n in enumerate(shape)))


def drawn_links() -> st.SearchStrategy[Link]:
    law = st.builds(
        Law,
        fixed_ns=st.integers(0, 10**6),
        per_rank_ns=st.integers(0, 10**5),
        efficiency_ppm=shares,
        norm=NORMS,
        one_shot=st.booleans(),
    )
    some = st.dictionaries(st.sampled_from(get_args(Collective)), st.lists(law, min_size=1, max_size=3).map(tuple))
    return st.builds(lambda laws, latency: link(1, latency, laws=laws), some, st.integers(0, 10**5))


@given(drawn_links(), st.sampled_from(get_args(Collective)), st.integers(2, 64), st.integers(0, 10**12), rates, st.integers(0, 10**12))
def test_a_tier_never_gets_cheaper_with_bytes_or_ranks_nor_dearer_with_bandwidth(
    tier: Link, collective: Collective, ranks: int, size: int, bandwidth: int, more: int
) -> None:
    now = tier_ns(tier, bandwidth, collective, ranks, size)
    assert now <= tier_ns(tier, bandwidth, collective, ranks, size + more)
    assert now <= tier_ns(tier, bandwidth, collective, ranks + more % 64, size)
    assert now >= tier_ns(tier, bandwidth + more, collective, ranks, size)


@given(drawn_links(), drawn_links(), st.booleans(), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_exchange_never_gets_cheaper_with_copies_sent_or_received(
    up: Link, out: Link, mesh: bool, sent: int, received: int, more: int
) -> None:
    topology = "full_mesh" if mesh else "switched"
    machine = pool(scale_up=up.model_copy(update={"topology": topology}), scale_out=out)
    for pattern in (ONE_DOMAIN, UNEVEN, (0, 1, 2)):
        now = direct_all_to_all(machine, "dispatch", sent, received, 7_168, pattern)
        assert now.ns <= direct_all_to_all(machine, "dispatch", sent + more, received, 7_168, pattern).ns
        assert now.ns <= direct_all_to_all(machine, "dispatch", sent, received + more, 7_168, pattern).ns
        hops = all_to_all(machine, "combine", sent, received, 7_168, WHOLE, pattern)
        assert hops.ns <= all_to_all(machine, "combine", sent + more, received, 7_168, WHOLE, pattern).ns
        assert hops.ns <= all_to_all(machine, "combine", sent, received + more, 7_168, WHOLE, pattern).ns
        assert hops.ns <= all_to_all(machine, "combine", sent, received, 7_168, WHOLE + more, pattern).ns
