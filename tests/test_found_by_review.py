"""Mistakes that reviews found, each with the symptom it had."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from brute import solve

from models.architecture import Architecture, Recurrent
from models.attention import Shard, prefill_core
from models.catalogue.architectures import architecture_named
from models.catalogue.machines import pool_record
from models.cluster import Pool
from models.errors import InputError
from models.evaluate import evaluate
from models.instance import Instance
from models.result import Status
from models.roofline import curve_of, operator_ns
from models.routing import Profile, profile
from models.rules import violations
from models.strategy import Plan, PlanFile, Strategy
from models.terms import Terms
from optimizer.certify import certificate_of_broken, stated
from optimizer.check import check
from optimizer.export.program import layer_steps
from optimizer.importing.importer import architecture_of
from optimizer.inspect import run_check
from optimizer.search import Options, find, judge

S = {"*": "assumed: made up"}
ONE_STAGE = Strategy(1, 1, 1, 1, 1, 1, 1, 1, 1)
TWO_STAGES = ONE_STAGE._replace(pp=2)


def content() -> dict[str, Any]:
    """Two nodes of one fast GPU with a slow network; one MoE layer of 8 experts."""
    efficiencies = {f"{name}_efficiency_ppm": 10**6 for name in ("gemm", "expert_gemm", "attention", "hbm")}
    accelerator = {
        "name": "a",
        "memory_bytes": 10**15,
        "hbm_bytes_per_s": 10**15,
        "peak_flop_per_s": {"bf16": 10**18},
        "kernel_launch_ns": 0,
    }
    link = {"latency_ns": 0, "sources": S}
    pool = {
        "name": "m",
        "accelerator": accelerator | efficiencies | {"peak_flop_per_s": {"bf16": 10**18}, "sources": S},
        "nodes": 2,
        "gpus_per_node": 1,
        "scale_up_domain_gpus": 1,
        "scale_up": link | {"bandwidth_bytes_per_s": 10**12},
        "scale_out": link | {"bandwidth_bytes_per_s": 10**9},
    }
    moe = {"kind": "moe", "experts": 8, "top_k": 2, "intermediate_size": 8, "matrices": 3}
    formats = ("weight_dtype", "kv_dtype", "activation_dtype", "dispatch_dtype", "combine_dtype")
    architecture = {
        "name": "t",
        "hidden_size": 64,
        "vocabulary_size": 16,
        "tied_embeddings": False,
        **dict.fromkeys(formats, "bf16"),
        "layers": [{"count": 1, "attention": {"kind": "mha", "heads": 2, "head_dim": 4}, "ffn": moe}],
        "source": "assumed: made up",
    }
    none = {"activation_bytes_per_token": 0, "collective_buffer_bytes": 0, "reserve_bytes": 0, "overlap_ppm": 0, "sources": S}
    return {
        "format": "shardproof-instance/1",
        "name": "x",
        "cluster": {"pools": [pool]},
        "architecture": architecture,
        "workload": {"kind": "decode", "sequences": 2**16, "context_tokens": 1, "sources": S},
        "runtime": none,
        "space": {"name": "folded"},
        "objective": {"name": "latency"},
    }


def read(data: dict[str, Any]) -> Instance:
    return Instance.model_validate_json(json.dumps(data))


def test_experts_of_equal_loads_are_interchangeable_down_to_the_last_rounding() -> None:
    loads = (979822, 300812, 647648, 414352, 979822, 414352, 647648, 300812)
    alike = [tuple(e for e in order if loads[e] in (979822, 647648)) for order in permutations(range(8)) if order[0] < order[-1]]
    found = set()
    for first in {tuple(sorted(a)) for a in alike}:
        rest = tuple(e for e in range(8) if e not in first)
        found.add(profile((first, rest), loads, 2, 65536, ((0, 1),)))
    swapped = profile(((0, 1, 2, 3), (4, 5, 6, 7)), loads, 2, 65536, ((0, 1),))
    assert len(found) == 1
    assert swapped == profile(((4, 1, 2, 3), (0, 5, 6, 7)), loads, 2, 65536, ((0, 1),))
    assert swapped == profile(((0, 7, 6, 5), (4, 3, 2, 1)), loads, 2, 65536, ((0, 1),))


def test_the_optimum_over_placements_is_that_of_exhaustive_search_where_loads_repeat() -> None:
    data = content() | {"expert_load": {"counts": [[979822, 300812, 647648, 414352, 979822, 414352, 647648, 300812]], "source": "made up"}}
    data["space"] |= {"ep": [2], "tp": [1], "cp": [1], "dp": [2], "microbatches": [1]}
    instance = read(data)
    claim = find(instance, Options(epsilon_ppm=0), lambda _: None)
    assert (claim.status, claim.bound) == (Status.OPTIMAL, solve(instance).value)


def test_traffic_without_a_cap_is_never_too_much() -> None:
    data = content()
    data["architecture"] |= {"hidden_size": 10**7, "activation_dtype": "fp32"}
    data["architecture"]["layers"][0]["ffn"] = {"kind": "dense", "intermediate_size": 2, "matrices": 2}
    data["cluster"]["pools"][0]["accelerator"] |= {"peak_flop_per_s": {"bf16": 10**18, "fp32": 10**18}, "memory_bytes": 10**18}
    data["workload"] = {"kind": "prefill", "sequences": 10**6, "tokens_per_sequence": 10**6, "sources": S}
    data["space"] |= {"tp": [2]}
    assert find(read(data), Options(epsilon_ppm=0), lambda _: None).status is Status.OPTIMAL


def test_a_plan_of_more_than_100_000_microbatches_can_be_certified() -> None:
    data = content()
    data["architecture"]["layers"][0] |= {"count": 2, "ffn": {"kind": "dense", "intermediate_size": 2, "matrices": 2}}
    data["workload"] = {"kind": "prefill", "sequences": 200_000, "tokens_per_sequence": 1000, "sources": S}
    data["cluster"]["pools"][0]["accelerator"]["peak_flop_per_s"]["bf16"] = 10**9
    data["space"] |= {"tp": [1], "cp": [1], "dp": [1], "pp": [2], "replicas": [1]}
    claim = find(read(data), Options(epsilon_ppm=0), lambda _: None)
    assert claim.optimal[0].plan.strategy.microbatches == 200_000


def wide_then_narrow() -> tuple[Instance, dict[str, Any]]:
    """Three layers, the first two wide; memory for the split (1, 2), not for (2, 1)."""
    data = content()
    data["workload"]["sequences"] = 2
    narrow = data["architecture"]["layers"][0]
    wide = narrow | {"ffn": narrow["ffn"] | {"intermediate_size": 64}}
    data["architecture"]["layers"] = [wide, wide, narrow]
    whole = (tuple(range(8)),)
    fits = evaluate(read(data), Plan(TWO_STAGES, (1, 2), (whole,) * 3)).peak_memory_bytes
    assert fits < evaluate(read(data), Plan(TWO_STAGES, (2, 1), (whole,) * 3)).peak_memory_bytes
    data["cluster"]["pools"][0]["accelerator"]["memory_bytes"] = fits
    return read(data), data


def test_memory_is_not_called_broken_for_a_split_that_fits_where_only_the_placement_is_wrong() -> None:
    instance, _ = wide_then_narrow()
    lost = (tuple(range(7)),)
    assert {v.rule for v in violations(instance, Plan(TWO_STAGES, (1, 2), (lost,) * 3))} == {"slots"}
    assert {v.rule for v in violations(instance, Plan(TWO_STAGES, (2, 1), (lost,) * 3))} == {"slots", "memory"}


def test_that_one_completion_cannot_run_says_nothing_about_an_open_plan(tmp_path: Path) -> None:
    instance, _ = wide_then_narrow()
    plan = Plan(TWO_STAGES, (2, 1), ((tuple(range(8)),),) * 3)
    certificate = certificate_of_broken(instance, stated(*plan), violations(instance, plan))
    assert check(certificate, instance).valid
    (tmp_path / "c.json").write_text(certificate.text(), encoding="utf-8")
    degrees = TWO_STAGES.degrees()
    for stages, status in ((None, "INVALID"), ([2, 1], "INVALID"), ([1, 2], "INVALID")):
        (tmp_path / "p.json").write_text(json.dumps({"degrees": degrees, "stages": stages}), encoding="utf-8")
        assert run_check(tmp_path / "c.json", None, tmp_path / "p.json")["status"] == status
    file = {"degrees": degrees, "stages": [2, 1], "placement": [[list(range(8))]] * 3}
    (tmp_path / "p.json").write_text(json.dumps(file), encoding="utf-8")
    assert run_check(tmp_path / "c.json", None, tmp_path / "p.json")["status"] == "VALID"


def test_an_open_plan_is_not_called_worse_than_a_plan_it_ties_with() -> None:
    data = content()
    data["cluster"]["pools"][0] |= {"nodes": 1, "gpus_per_node": 4, "scale_up_domain_gpus": 4}
    data["cluster"]["pools"][0]["accelerator"]["peak_flop_per_s"]["bf16"] = 10**12
    data["architecture"]["layers"][0]["ffn"] |= {"experts": 24, "intermediate_size": 512}
    data["workload"]["sequences"] = 4096
    both = ["tp-cp-dp|etp-ep-edp", "cp-tp-dp|etp-ep-edp"]
    data["space"] |= {"ep": [4], "tp": [1], "cp": [1], "dp": [4], "microbatches": [1], "orders": both}
    for seed in range(20):
        counts = [[(seed * 7919 + 104729 * e * e + 1299709 * e) % 9973 + 10 for e in range(24)]]
        instance = read(data | {"expert_load": {"counts": counts, "source": "made up"}})
        degrees = {"tp": 1, "dp": 4, "pp": 1, "etp": 1, "ep": 4, "edp": 1}
        plan = PlanFile.model_validate_json(json.dumps({"degrees": degrees, "order": both[1]}))
        assert judge(instance, plan, Options(effort=1), lambda _: None).status in ("OPTIMAL", "UNKNOWN")


def test_where_a_plan_states_its_placement_the_split_is_the_best_for_that_placement() -> None:
    data = content()
    data["cluster"]["pools"][0] |= {"nodes": 1, "gpus_per_node": 4, "scale_up_domain_gpus": 4}
    data["cluster"]["pools"][0]["accelerator"] |= {"peak_flop_per_s": {"bf16": 10**17}, "expert_gemm_efficiency_ppm": 1}
    data["cluster"]["pools"][0]["accelerator"] |= {"hbm_bytes_per_s": 10**17}
    data["architecture"] |= {"vocabulary_size": 1}
    data["architecture"]["layers"][0]["count"] = 3
    data["architecture"]["layers"][0]["ffn"] |= {"experts": 4, "top_k": 1, "intermediate_size": 512}
    data["workload"]["sequences"] = 64
    data |= {"expert_load": {"counts": [[3, 1, 1, 3]], "source": "made up"}}
    data["space"] |= {"ep": [2], "tp": [1], "cp": [1], "dp": [2], "pp": [2], "microbatches": [1]}
    even, uneven = [[0, 1], [2, 3]], [[0, 3], [1, 2]]
    degrees = Strategy(1, 1, 2, 2, 1, 2, 1, 1, 1).degrees()
    plan = PlanFile.model_validate_json(json.dumps({"degrees": degrees, "placement": [uneven, even, even]}))
    verdict = judge(read(data), plan, Options(), lambda _: None)
    assert (verdict.status, verdict.plan.stages) == ("OPTIMAL", (1, 2))


def test_a_model_without_attention_may_be_split_over_degrees_that_do_not_divide_its_hidden_size() -> None:
    """The space had the divisors of the hidden size only, and the optimum claimed was not one."""
    data = content()
    data["cluster"]["pools"][0] |= {"nodes": 1, "gpus_per_node": 3, "scale_up_domain_gpus": 3}
    data["architecture"]["layers"] = [{"count": 1, "ffn": {"kind": "dense", "intermediate_size": 3 * 2**20, "matrices": 2}}]
    data["cluster"]["pools"][0]["accelerator"]["hbm_bytes_per_s"] = 10**9
    data["workload"]["sequences"] = 1
    instance = read(data)
    truth, claim = solve(instance), find(instance, Options(epsilon_ppm=0), lambda _: None)
    assert [s.tp for s in truth.optimal] == [3]
    assert (claim.strategies, claim.bound, claim.optimal[0].plan.strategy) == (truth.strategies, truth.value, truth.optimal[0])


def recurrence_of(arch: Architecture) -> Recurrent:
    return next(a for a in arch.attentions() if isinstance(a, Recurrent))


def test_a_recurrence_is_not_slowed_as_a_prompt_of_one_token() -> None:
    """Its operator has no context, and 1 in its place took the rate of a prompt of one token: 1400 times the time."""
    arch, runtime = architecture_named("Qwen3-Next-80B-A3B"), read(content()).runtime
    accelerator = Pool.model_validate_json(json.dumps(pool_record("H200-SXM-141GB", 1, "vllm"))).accelerator
    (work,) = prefill_core(arch, recurrence_of(arch), Shard(1, 8192, 8192), 1, 8192, 8192, 1)
    curve = curve_of(accelerator, work)
    assert curve is not None
    assert curve.half_rate_tokens > 1000, "this machine slows short prompts"
    free = accelerator.model_copy(update={"curves": {work.kind + "." + work.storage: curve.model_copy(update={"half_rate_tokens": 0})}})
    assert operator_ns(accelerator, runtime, work) == operator_ns(free, runtime, work)


LLAMA = {
    **{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2},
    **{"intermediate_size": 128, "vocab_size": 100, "tie_word_embeddings": False, "torch_dtype": "bfloat16"},
}
EIGHT_BITS = {"num_bits": 8, "type": "float"}


def fp8_llama(cache: object) -> dict[str, Any]:
    weights = {"weights": EIGHT_BITS | {"strategy": "channel"}}
    quantization = {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": weights}}
    return LLAMA | {"quantization_config": quantization | {"kv_cache_scheme": cache}}


def test_a_cache_of_other_than_eight_bits_is_refused_not_taken_for_eight() -> None:
    assert architecture_of(fp8_llama(EIGHT_BITS), "c", "c").kv_dtype == "fp8"
    assert architecture_of(fp8_llama(None), "c", "c").kv_dtype == "bf16"
    for cache in ({"num_bits": 4, "type": "float"}, {"num_bits": 8, "type": "int"}, {}, "fp4", True):
        with pytest.raises(InputError, match="kv_cache_scheme"):
            architecture_of(fp8_llama(cache), "c", "c")


def test_an_activation_that_might_have_a_gate_is_refused() -> None:
    """Any name but relu2 was taken for three matrices."""
    assert architecture_of(LLAMA | {"mlp_hidden_act": "relu2"}, "c", "c").layers[0].ffn.matrices == 2
    with pytest.raises(InputError, match="mlp_hidden_act"):
        architecture_of(LLAMA | {"mlp_hidden_act": "gelu"}, "c", "c")


def gathering(gpus: int, order: str = "tp-cp-dp|etp-ep-edp") -> Instance:
    """Tokens are gathered; one domain holds all GPUs."""
    data = content()
    data["cluster"]["pools"][0] |= {"nodes": 1, "gpus_per_node": gpus, "scale_up_domain_gpus": gpus}
    data["architecture"]["layers"][0]["attention"]["heads"] = 24
    data["runtime"]["expert_exchange"] = "gather"
    data["space"]["orders"] = [order]
    return read(data)


def expert_messages(instance: Instance, s: Strategy) -> dict[str, int]:
    """Scale-up bytes of the collectives of the routed experts."""
    terms = Terms(instance)
    shape, group = terms.shape(s), instance.architecture.layers[0]
    found = terms.collectives(group, shape, terms.groups(s), Profile(shape.group_tokens, 1, 0))["ep_comm"]
    return {name: comm.scale_up_bytes for name, comm in found.items()}


def test_experts_that_take_a_share_of_a_tensor_parallel_groups_tokens_give_every_rank_all_of_them() -> None:
    """Eight copies of all experts took an eighth of the tokens each, and nothing was charged for the other seven eighths."""
    instance, eight = gathering(8), ONE_STAGE._replace(tp=8)
    whole = expert_messages(instance, eight._replace(ep=8))
    assert whole == {"expert_all_reduce": 2 * 65536 * 64 * 2 * 7 // 8}
    for split in ({"edp": 8}, {"ep": 2, "edp": 4}, {"etp": 2, "ep": 2, "edp": 2}):
        assert expert_messages(instance, eight._replace(**split)) == whole


def test_an_expert_group_across_two_tensor_parallel_groups_gathers_the_tokens_of_both() -> None:
    """TP 6 and EP 4: GPUs 4 to 7 were taken to hold the same tokens."""
    s = ONE_STAGE._replace(tp=6, dp=2, ep=4, edp=3)
    assert set(expert_messages(gathering(12), s)) == {"expert_all_gather", "expert_reduce_scatter", "tensor_all_gather"}


def test_tokens_are_not_gathered_where_tensor_parallel_groups_do_not_lie_side_by_side() -> None:
    """With data parallelism innermost, neighbours hold other tokens; they were priced as if they held the same."""
    with pytest.raises(ValueError, match="side by side"):
        gathering(4, "dp-tp-cp|etp-ep-edp")


@pytest.mark.parametrize("exchange", ["hierarchical", "direct", "gather"])
@pytest.mark.parametrize("left_out", ["attention", "ffn"])
def test_layers_that_lack_a_block_exchange_nothing_for_it(exchange: str, left_out: str) -> None:
    """Without attention a whole tensor was summed over its copies; without a feed-forward block one was closed that was not there."""
    data = json.loads(gathering(4).model_dump_json())
    data["runtime"]["expert_exchange"] = exchange
    data["architecture"]["layers"][0][left_out] = None
    instance, s = read(data), ONE_STAGE._replace(tp=4, etp=4)
    terms, group = Terms(instance), instance.architecture.layers[0]
    shape = terms.shape(s)
    routed = Profile(shape.group_tokens, 1, 0) if group.moe is not None else None
    priced = terms.collectives(group, shape, terms.groups(s), routed)
    costly = {name for parts in priced.values() for name, cost in parts.items() if cost.scale_up_bytes}
    assert {step.name for step in layer_steps(instance, group, shape, routed) if step.degree} == costly
    assert not costly & {"tensor_reduce_scatter" if left_out == "attention" else "ffn_all_reduce"}
