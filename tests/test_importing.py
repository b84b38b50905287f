"""Published configurations against published numbers of parameters, and what is refused.

PUBLISHED is typed from model cards and reports. A published figure is taken as rounded to its last digit given: half of that is
allowed besides the 1 % of the total and 3 % of the active parameters.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.architecture import Architecture, Compressed, GroupedQuery, MoeFfn, MultiHeadLatent, Recurrent
from models.attention import cache_elements_per_token
from models.catalogue.architectures import architecture_named, architecture_names
from models.errors import InputError
from models.instance import Instance
from models.parameters import count_parameters
from optimizer.cli import app
from optimizer.importing.importer import approximations_of, architecture_of, import_config
from optimizer.importing.summary import run_import
from optimizer.reading import read_record

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT.parent / "shared" / "data" / "models"
Json = dict[str, Any]


class Published(NamedTuple):
    """Billions of parameters as texts, so that their last digit says how they were rounded."""

    total: str
    active: str | None
    """None: a dense model, all of it active"""
    embedding: bool
    """the active figure has the input embedding in it"""
    source: str


PUBLISHED = {
    "DBRX": Published("132", "36", False, "Databricks, announcement of DBRX"),
    "DeepSeek-V2": Published("236", "21", False, "arXiv 2405.04434"),
    "DeepSeek-V2-Lite": Published("15.7", "2.4", False, "arXiv 2405.04434, appendix B"),
    "DeepSeek-V3": Published("671", "37", False, "arXiv 2412.19437"),
    "DeepSeek-R1": Published("671", "37", False, "arXiv 2501.12948"),
    "DeepSeek-V3.1": Published("671", "37", False, "model card"),
    "DeepSeek-V3.2": Published("671", "37", False, "the base model's figure; its index adds 0.9 billion"),
    "DeepSeek-V4-Flash": Published("284", "13", False, "model card"),
    "DeepSeek-V4-Pro": Published("1.6e3", "49", False, "model card: 1.6T"),
    "GLM-4.5": Published("355", "32", False, "GLM-4.5 report"),
    "GLM-4.5-Air": Published("106", "12", False, "GLM-4.5 report"),
    "GLM-4.6": Published("355", "32", False, "model card: as GLM-4.5"),
    "GLM-5": Published("744", "40", False, "GLM-5 report"),
    "GLM-5.2": Published("744", "40", False, "Artificial Analysis"),
    "Kimi-K2": Published("1.04e3", "32.6", True, "Kimi K2 report: 1.04T, 32.6B"),
    "Llama-2-7b": Published("6.74", None, True, "model's index of tensors"),
    "Llama-2-13b": Published("13.02", None, True, "model's index of tensors"),
    "Llama-2-70b": Published("68.98", None, True, "model's index of tensors"),
    "Llama-3-8B": Published("8.03", None, True, "model card"),
    "Llama-3.1-8B": Published("8.03", None, True, "model card"),
    "Llama-3.1-70B": Published("70.6", None, True, "model card"),
    "Llama-3.1-405B": Published("405", None, True, "model card"),
    "Llama-3.2-1B": Published("1.23", None, True, "model card"),
    "Llama-3.2-3B": Published("3.21", None, True, "model card"),
    "Llama-3.3-70B": Published("70.6", None, True, "model card"),
    "Llama-4-Maverick": Published("400", "17", True, "model card, vision in it"),
    "Llama-4-Scout": Published("109", "17", True, "model card, vision in it"),
    "MiMo-V2-Flash": Published("309", "15", False, "model card"),
    "MiniMax-M2.5": Published("230", "10", False, "model card"),
    "MiniMax-M2.7": Published("230", "10", False, "model card"),
    "MiniMax-M3": Published("428", "23", False, "model card, vision in it"),
    "Mistral-7B": Published("7.25", None, True, "model card of v0.3"),
    "Mixtral-8x22B": Published("141", "39", False, "Mistral, announcement of Mixtral 8x22B"),
    "Mixtral-8x7B": Published("46.7", "12.9", True, "arXiv 2401.04088"),
    "Nemotron-3-Nano-30B-A3B": Published("31.6", "3.2", False, "NVIDIA, report; 3.6 with embeddings"),
    "Nemotron-3-Super-120B-A12B-FP8": Published("120.6", "12.7", True, "NVIDIA"),
    "OLMoE-1B-7B": Published("6.92", "1.28", True, "arXiv 2409.02060"),
    "Qwen2-7B": Published("7.6", None, True, "arXiv 2407.10671"),
    "Qwen2.5-7B": Published("7.61", None, True, "model card"),
    "Qwen2.5-14B": Published("14.7", None, True, "model card"),
    "Qwen2.5-32B": Published("32.5", None, True, "model card"),
    "Qwen2.5-72B": Published("72.7", None, True, "model card"),
    "Qwen3-0.6B": Published("0.6", None, True, "model card"),
    "Qwen3-1.7B": Published("1.7", None, True, "model card"),
    "Qwen3-4B": Published("4.0", None, True, "model card"),
    "Qwen3-8B": Published("8.2", None, True, "model card"),
    "Qwen3-14B": Published("14.8", None, True, "model card"),
    "Qwen3-32B": Published("32.8", None, True, "model card"),
    "Qwen3-30B-A3B": Published("30.5", "3.3", True, "model card"),
    "Qwen3-235B-A22B": Published("235", "22", True, "model card"),
    "Qwen3-Coder-480B-A35B": Published("480", "35", True, "model card"),
    "Qwen3-Next-80B-A3B": Published("80", "3", False, "model card"),
    "Qwen3.5-27B": Published("27", None, True, "name"),
    "Qwen3.5-35B-A3B": Published("35", "3", False, "name"),
    "Qwen3.5-122B-A10B": Published("122", "10", True, "name"),
    "Qwen3.5-397B-A17B": Published("397", "17", True, "model card"),
    "Step-3.7-Flash": Published("196", "11", True, "card of Step-3.5-Flash, which has the same shape"),
    "Falcon-180B": Published("180", None, True, "arXiv 2311.16867"),
    "GPT-J-6B": Published("6.05", None, True, "model card"),
    "OPT-66b": Published("66", None, True, "arXiv 2205.01068"),
    "bloom-176b": Published("176.25", None, True, "model card"),
    "gemma-4-26B-A4B": Published("26", "4", False, "name, vision in it"),
    "gpt-oss-120b": Published("116.83", "5.13", False, "arXiv 2508.10925, table 1"),
    "gpt-oss-20b": Published("20.91", "3.61", False, "arXiv 2508.10925, table 1"),
}

OTHER_ACTIVE = {"MiniMax-M3": "the publisher does not say what 23 counts: all layers' attention, shared experts and 4 experts give 24.7"}
"""Models whose active figure is counted in another way, with the reason."""
NOT_PUBLISHED = {
    "DeepSeek-V3.1-NVFP4": "the shape of DeepSeek-V3.1",
    "GLM-5-FP8": "the shape of GLM-5",
    "GLM-5.3": "no figure found; the shape of GLM-5.2",
    "Kimi-K2.5": "published as 1T, one digit; the shape of Kimi-K2",
    "Kimi-K3": "no figure of the publisher found",
    "Llama-3-70B": "the shape of Llama-3.1-70B",
    "Qwen2-72B": "the shape of Qwen2.5-72B",
    "Qwen3-235B-A22B-FP8": "the shape of Qwen3-235B-A22B",
}


def misses(counted: int, published: str, percent: int) -> bool:
    """Whether a count differs by more than the percentage and the figure's own rounding."""
    figure = Fraction(published)
    digits = published.split("e")[0].partition(".")[2]
    step = (
        Fraction(published.replace(published.split("e")[0], "1", 1)) / 10 ** len(digits)
        if "e" in published
        else Fraction(1, 10 ** len(digits))
    )
    return abs(Fraction(counted, 10**9) - figure) > figure * percent / 100 + step / 2


def off_by_shape(arch: Architecture) -> Json:
    """What two models of one shape agree in."""
    return {"hidden": arch.hidden_size, "vocabulary": arch.vocabulary_size, "layers": arch.layers}


def test_rounding_of_a_published_figure_is_its_last_digit() -> None:
    assert not misses(1_026_400_000_000, "1.04e3", 1)  # 1.04 thousand billions: 5 of rounding and 10.4 of 1 %
    assert misses(1_020_000_000_000, "1.04e3", 1)
    assert not misses(12_800_000_000, "12", 3)
    assert misses(12_900_000_000, "12", 3)
    assert misses(6_820_000_000, "6.74", 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_total_parameters_are_within_one_percent_of_the_published(name: str) -> None:
    assert not misses(count_parameters(architecture_named(name)).total, PUBLISHED[name].total, 1)


@pytest.mark.parametrize("name", [n for n, p in PUBLISHED.items() if p.active and n not in OTHER_ACTIVE])
def test_active_parameters_are_within_three_percent_of_the_published(name: str) -> None:
    published, counted = PUBLISHED[name], count_parameters(architecture_named(name))
    table = 0 if architecture_named(name).tied_embeddings else counted.embedding
    assert published.active is not None
    assert not misses(counted.active + (table if published.embedding else 0), published.active, 3)


def test_every_exception_from_the_active_figures_is_needed() -> None:
    for name in OTHER_ACTIVE:
        counted, active = count_parameters(architecture_named(name)), PUBLISHED[name].active
        assert active is not None
        assert misses(counted.active, active, 3)
        assert misses(counted.active + counted.embedding, active, 3)


def test_every_model_of_the_catalogue_is_in_the_table_or_says_why_not() -> None:
    assert set(architecture_names()) == set(PUBLISHED) | set(NOT_PUBLISHED)
    assert len(architecture_names()) >= 40


@pytest.mark.parametrize(
    ("name", "other"),
    [(n, reason.partition("the shape of ")[2]) for n, reason in NOT_PUBLISHED.items() if "the shape of" in reason],
)
def test_a_model_without_a_figure_has_the_shape_of_one_with(name: str, other: str) -> None:
    assert off_by_shape(architecture_named(name)) == off_by_shape(architecture_named(other))


def test_draft_layers_of_deepseek_v3_make_up_the_rest_of_its_files() -> None:
    counted = count_parameters(architecture_named("DeepSeek-V3"))
    assert not misses(counted.total + counted.drafts + 2 * counted.embedding, "685", 1)  # with copies of embedding and head
    assert 11 * 10**9 < counted.drafts < 12 * 10**9


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("Llama-3.1-8B", 32 * 2 * 8 * 128),
        ("Qwen3-8B", 36 * 2 * 8 * 128),
        ("DeepSeek-V3", 61 * 576),
        ("DeepSeek-V3.2", 61 * (576 + 128)),
        ("GLM-5.2", 78 * 576 + 21 * 128),  # the other layers use an earlier layer's choice
        ("Kimi-K3", 24 * 576),
        ("Qwen3.5-397B-A17B", 15 * 2 * 2 * 256),
        ("Nemotron-3-Nano-30B-A3B", 6 * 2 * 2 * 128),
        ("MiMo-V2-Flash", 9 * 4 * (192 + 128) + 39 * 8 * (192 + 128)),
        ("gemma-4-26B-A4B", 25 * 2 * 8 * 256 + 5 * 2 * 2 * 512),
        ("MiniMax-M3", 60 * 2 * 4 * 128 + 57 * 128),
    ],
)
def test_cache_elements_per_token_are_those_of_the_layers(name: str, elements: int) -> None:
    arch = architecture_named(name)
    assert sum(g.count * cache_elements_per_token(g.attention, 1) for g in arch.layers if g.attention is not None) == elements


@pytest.mark.skipif(not CONFIGS.is_dir(), reason="needs the published configurations in ../shared/data/models")
def test_every_published_configuration_gives_the_catalogue_record_of_its_name() -> None:
    folders = sorted(p for p in CONFIGS.iterdir() if p.is_dir())
    assert len(folders) >= 45
    for folder in folders:
        read, kept = import_config(folder / "config.json"), architecture_named(folder.name)
        assert read == kept.model_copy(update={"source": read.source}), folder.name


# What is read, on small configurations of our own.

LLAMA: Json = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 1024,
    "vocab_size": 1000,
}
MOE: Json = LLAMA | {
    "model_type": "glm4_moe",
    "n_routed_experts": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "n_shared_experts": 1,
    "first_k_dense_replace": 2,
}
LATENT: Json = MOE | {
    "model_type": "deepseek_v3",
    "q_lora_rank": None,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
}
FP8: Json = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
LINEAR: Json = {
    "linear_num_value_heads": 8,
    "linear_num_key_heads": 4,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "linear_conv_kernel_dim": 4,
}


def read(config: Json, separate: Json | None = None) -> Architecture:
    return architecture_of(config, "config.json", "test", separate)


def counts(arch: Architecture) -> list[int]:
    return [group.count for group in arch.layers]


def refusal(config: Json, separate: Json | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read(config, separate)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("config.json: ")
    return str(caught.value)


def test_dense_layers_come_first_and_one_group_holds_equal_neighbours() -> None:
    arch = read(MOE)
    assert counts(arch) == [2, 4]
    assert [group.moe is None for group in arch.layers] == [True, False]
    assert arch.moe_layers == 4


def test_experts_every_other_layer() -> None:
    llama4 = LLAMA | {"model_type": "llama4_text", "num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2}
    arch = read({"model_type": "llama4", "text_config": llama4 | {"intermediate_size_mlp": 2048, "attention_chunk_size": 64}})
    assert [group.moe is not None for group in arch.layers for _ in range(group.count)] == [False, True] * 3
    windows = [group.attention.window for group in arch.layers for _ in range(group.count) if isinstance(group.attention, GroupedQuery)]
    assert windows == [64, 64, 64, None, 64, 64]
    routed = next(group.ffn for group in arch.layers if isinstance(group.ffn, MoeFfn))
    assert (routed.intermediate_size, routed.shared_experts) == (1024, 1)


def test_sliding_and_full_attention_alternate_as_the_list_says() -> None:
    types = ["sliding_attention", "full_attention"] * 3
    arch = read(LLAMA | {"sliding_window": 128, "layer_types": types})
    assert counts(arch) == [1] * 6
    assert [getattr(group.attention, "window", None) for group in arch.layers] == [128, None] * 3


def test_recurrent_and_full_attention_alternate_as_the_interval_says() -> None:
    arch = read(MOE | LINEAR | {"model_type": "qwen3_next", "full_attention_interval": 3, "first_k_dense_replace": 0})
    assert [isinstance(group.attention, Recurrent) for group in arch.layers] == [True, False, True, False]
    assert counts(arch) == [2, 1, 2, 1]
    full = arch.layers[1].attention
    assert isinstance(full, GroupedQuery)
    assert full.output_gate


def test_letters_of_a_pattern_are_layers_of_one_block() -> None:
    nemotron = MOE | {
        "model_type": "nemotron_h",
        "hybrid_override_pattern": "MEM*-E",
        "mlp_hidden_act": "relu2",
        "mamba_num_heads": 8,
        "mamba_head_dim": 64,
        "n_groups": 2,
        "ssm_state_size": 32,
        "conv_kernel": 4,
        "moe_latent_size": 128,
        "first_k_dense_replace": None,
    }
    arch = read(nemotron)
    kinds = [(g.attention.kind if g.attention else None, g.ffn.kind if g.ffn else None) for g in arch.layers]
    assert kinds == [("recurrent", None), (None, "moe"), ("recurrent", None), ("gqa", None), (None, "dense"), (None, "moe")]
    assert arch.layers[1].moe is not None
    assert (arch.layers[1].moe.latent_size, arch.layers[1].moe.matrices) == (128, 2)


def test_an_index_of_mla_is_read_and_shared_by_the_layers_marked_so() -> None:
    index = {"index_n_heads": 4, "index_head_dim": 16, "index_topk": 256}
    arch = read(LATENT | index | {"indexer_types": ["full", "shared"] * 3, "first_k_dense_replace": 0, "model_type": "glm_moe_dsa"})
    found = [(a.index_heads, a.index_top_k) for g in arch.layers if isinstance(a := g.attention, MultiHeadLatent)]
    assert found == [(4, 256), (None, 256)] * 3


def test_compressed_layers_have_an_index_where_they_keep_most() -> None:
    config = {k: v for k, v in LLAMA.items() if k != "intermediate_size"} | {
        **{"model_type": "deepseek_v4", "num_key_value_heads": 1, "head_dim": 64, "q_lora_rank": 128, "o_lora_rank": 64, "o_groups": 2},
        **{"sliding_window": 128, "index_n_heads": 4, "index_head_dim": 16, "index_topk": 64, "num_nextn_predict_layers": 1},
        **{"compress_ratios": [0, 4, 128, 4, 128, 4, 0], "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    }
    arch = read(config)
    found = [(a.ratio, a.index_heads) for g in arch.layers if isinstance(a := g.attention, Compressed)]
    assert found == [(0, None), (4, 4), (128, None), (4, 4), (128, None), (4, 4)]
    assert arch.mtp_layers == 1


def test_formats_are_read_by_class_of_module() -> None:
    assert read(MOE).formats() == ("bf16",)
    fp8 = read(MOE | {"quantization_config": FP8})
    assert (fp8.weight_dtype, fp8.weights.embedding, fp8.dispatch_dtype, fp8.combine_dtype) == ("fp8_block", "bf16", "fp8", "bf16")
    four = read(MOE | {"quantization_config": FP8, "expert_dtype": "fp4"})
    assert (four.format_of("experts"), four.format_of("attention")) == ("mxfp4", "fp8_block")
    whole = read(
        MOE | {"quantization_config": FP8 | {"weight_block_size": None, "modules_to_not_convert": ["model.layers.0.self_attn.q_proj"]}}
    )
    assert (whole.weight_dtype, whole.format_of("attention")) == ("fp8", "bf16")
    mxfp4 = read(MOE | {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}})
    assert (mxfp4.format_of("experts"), mxfp4.format_of("ffn"), mxfp4.format_of("attention")) == ("mxfp4", "bf16", "bf16")


@pytest.mark.parametrize(
    ("weights", "inputs", "storage"),
    [
        ({"num_bits": 4, "type": "int", "group_size": 32}, None, "int4_g32"),
        ({"num_bits": 4, "type": "int", "group_size": 128}, None, "int4"),
        ({"num_bits": 8, "type": "int"}, None, "w8a16"),
        ({"num_bits": 8, "type": "int"}, {"num_bits": 8}, "int8"),
        ({"num_bits": 8, "type": "float", "strategy": "block"}, {"num_bits": 8}, "fp8_block"),
        ({"num_bits": 8, "type": "float", "strategy": "channel"}, {"num_bits": 8}, "fp8"),
        ({"num_bits": 4, "type": "float", "group_size": 16}, {"num_bits": 4}, "nvfp4"),
    ],
)
def test_compressed_tensors_name_a_format(weights: Json, inputs: Json | None, storage: str) -> None:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    config = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ["lm_head", "re:.*self_attn.*"]}
    arch = read(MOE | {"quantization_config": config})
    assert (arch.weight_dtype, arch.format_of("attention"), arch.format_of("embedding")) == (storage, "bf16", "bf16")


def test_formats_of_a_file_beside_the_configuration_count() -> None:
    excluded = ["lm_head", "model.layers.0.self_attn.q_a_proj", "model.layers.6*"]
    beside = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules": excluded}}
    arch = read(LATENT, beside)
    assert (arch.format_of("experts"), arch.format_of("attention"), arch.kv_dtype) == ("nvfp4", "bf16", "fp8")
    assert "quant_algo" in refusal(LATENT, {"quantization": {"quant_algo": "MIXED_PRECISION"}})


def test_a_tie_is_what_the_text_model_or_the_whole_or_the_family_says() -> None:
    wrapped = {"model_type": "qwen3_vl", "text_config": LLAMA | {"model_type": "qwen3_vl_text"}}
    assert read(wrapped | {"tie_word_embeddings": True}).tied_embeddings
    assert not read(wrapped).tied_embeddings
    assert read(LLAMA | {"model_type": "gemma4_text"}).tied_embeddings
    contradicting = {**wrapped, "tie_word_embeddings": True, "text_config": {**wrapped["text_config"], "tie_word_embeddings": False}}
    assert "tie_word_embeddings" in refusal(contradicting)


def test_what_is_counted_nearly_is_said() -> None:
    said = approximations_of({"model_type": "kimi_k3", "vision_config": {"depth": 2}, "text_config": {"attn_res_block_size": 12}})
    assert [s.partition(":")[0] for s in said] == ["attn_res_block_size", "vision_config"]
    assert approximations_of(LLAMA) == []


# What is refused: in one sentence that names the file, the field and its value.


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"num_memory_slots": 4}, "num_memory_slots = '4' is not understood"),
        ({"mystery": "on"}, "mystery = 'on' is not understood"),
        ({"model_type": "lama"}, "did you mean llama"),
        ({"model_type": None}, "model_type"),
        ({"num_experts": 8, "num_local_experts": 16}, "contradicts num_local_experts = 16"),
        ({"n_layers": 7}, "contradicts num_hidden_layers = 6"),
        ({"hidden_size": None}, "no hidden_size"),
        ({"hidden_size": "512"}, "hidden_size = '512' must be a whole number"),
        ({"hidden_size": 512.0}, "hidden_size = '512.0' must be a whole number"),
        ({"hidden_size": True}, "hidden_size = 'True' must be a whole number"),
        ({"hidden_size": 10**12}, "hidden_size"),
        ({"hidden_size": -1}, "hidden_size = '-1' must be a whole number"),
        ({"hidden_size": float("inf")}, "hidden_size = 'inf' must be a whole number"),
        ({"vocab_size": [1000]}, "vocab_size"),
        ({"num_hidden_layers": 100_000}, "num_hidden_layers"),
        ({"num_attention_heads": 7, "num_key_value_heads": 7}, "num_attention_heads = '7' does not divide hidden_size 512"),
        ({"num_key_value_heads": 3}, "kv_heads"),
        ({"intermediate_size": None}, "intermediate_size"),
        ({"layer_types": ["full_attention"] * 5}, "layer_types = '5 entries' must have an entry for each of 6 layers"),
        ({"layer_types": ["full_attention"] * 7}, "layer_types = '7 entries' must have an entry for each of 6 layers"),
        ({"layer_types": ["full_attention", "lightning"] * 3}, "layer_types.1 = 'lightning' is not understood"),
        ({"layer_types": ["sliding_attention"] * 6}, "sliding_window is missing"),
        ({"layer_types": ["linear_attention"] * 6}, "sizes are missing"),
        ({"layer_types": 6}, "layer_types"),
        ({"num_kv_shared_layers": 2}, "num_kv_shared_layers = '2' is not supported"),
        ({"hidden_size_per_layer_input": 256}, "hidden_size_per_layer_input"),
        ({"attn_type_list": [1, 0, 1, 0, 1, 0]}, "attn_type_list.1 = '0' is not understood"),
        ({"torch_dtype": "float8"}, "torch_dtype"),
        ({"tie_word_embeddings": 1}, "must be true or false"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quant_method = 'bitsandbytes' is not understood"),
        ({"quantization_config": FP8 | {"weight_block_size": [64, 64]}}, "weight_block_size"),
        ({"quantization_config": FP8 | {"modules_to_not_convert": ["thing"]}}, "modules_to_not_convert = 'thing'"),
        ({"quantization_config": FP8 | {"outlier_columns": 4}}, "outlier_columns"),
        ({"quantization_config": [8]}, "quantization_config"),
        ({"expert_dtype": "int2"}, "expert_dtype = 'int2' is not understood"),
    ],
)
def test_a_dense_configuration_is_refused_by_name(change: Json, names: str) -> None:
    assert names in refusal(LLAMA | change)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"num_experts_per_tok": 17}, "top_k 17 exceeds experts 16"),
        ({"num_experts_per_tok": None}, "num_experts_per_tok"),
        ({"n_group": 3, "topk_group": 1}, "groups"),
        ({"mlp_layer_types": ["sparse"] * 6}, "mlp_layer_types"),
        ({"moe_layer_freq": [1] * 6}, "contradicts first_k_dense_replace = 2"),
        ({"moe_layer_freq": [0, 0, 1, 1]}, "moe_layer_freq = '4 entries'"),
        ({"moe_layer_freq": [0, 0, 1, 1, 2, 1]}, "moe_layer_freq.4 = '2'"),
        ({"mlp_only_layers": [9]}, "mlp_only_layers"),
        ({"mlp_only_layers": "all"}, "mlp_only_layers"),
    ],
)
def test_a_configuration_with_experts_is_refused_by_name(change: Json, names: str) -> None:
    assert names in refusal(MOE | change)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"v_head_dim": None}, "v_head_dim"),
        ({"index_n_heads": 4}, "index_head_dim"),
        ({"index_topk": 64}, "index_topk"),
        ({"index_n_heads": 4, "index_head_dim": 16, "index_topk": 64, "index_topk_freq": 4}, "needs indexer_types"),
        ({"linear_attn_config": {"full_attn_layers": [1, 2], "kda_layers": [2, 3, 4, 5, 6]}}, "must name each of 6 layers once"),
        ({"linear_attn_config": {"full_attn_layers": [0, 1], "kda_layers": [2, 3, 4, 5]}}, "must name each of 6 layers once"),
    ],
)
def test_a_configuration_with_latents_is_refused_by_name(change: Json, names: str) -> None:
    assert names in refusal(LATENT | change)


def test_layers_that_two_fields_name_differently_are_refused() -> None:
    types = ["linear_attention", "full_attention"] * 3
    config = MOE | LINEAR | {"model_type": "qwen3_5_moe_text", "layer_types": types, "full_attention_interval": 3}
    assert "contradicts full_attention_interval = 3" in refusal(config)


def refused_file(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        import_config(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_infinity_is_read_where_it_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | {"time_step_limit": [0.0, float("inf")]}))
    assert "Infinity" in path.read_text()
    assert import_config(path).hidden_size == 512
    assert "hidden_size" in refused_file(path, json.dumps(LLAMA | {"hidden_size": float("inf")}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        b"\xff\xfe{}",
        "{}",
        '{"model_type": "llama", "model_type": "llama"}',
        '{"hidden_size": ' + "9" * 6000 + "}",
        '{"a": ' * 100_000,
        '{"model_type": "llama", "text_config": 5}',
        '{"model_type": ["llama"]}',
        '{"model_type": {"a": 1}}',
        '{"model_type": "llama", "quantization_config": {"quant_method": []}}',
        " " * 6_000_000,
    ],
    ids=range(14),
)
def test_a_hostile_file_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes) -> None:
    assert len(refused_file(tmp_path / "config.json", text)) < 1500


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError):
            import_config(path)


@pytest.mark.parametrize("wrong", [None, [], {}, "x", 3, -1, 0, 1.5, True, [[]], {"a": {}}, 10**40])
@pytest.mark.parametrize("field", sorted(LATENT))
def test_a_field_of_a_wrong_kind_is_read_or_refused_in_one_sentence(field: str, wrong: object) -> None:
    said = ""
    try:
        read(LATENT | {field: wrong})
    except InputError as error:
        said = str(error)
    assert "\n" not in said


# Where an instance names a model.

INSTANCE = json.loads((ROOT / "instances" / "llama70b_8gpu.json").read_text(encoding="utf-8"))


def instance_with(folder: Path, architecture: object) -> Path:
    path = folder / "instance.json"
    path.write_text(json.dumps(INSTANCE | {"architecture": architecture}))
    return path


def test_an_instance_may_name_a_model_of_the_catalogue(tmp_path: Path) -> None:
    assert read_record(instance_with(tmp_path, "Qwen3-32B"), Instance).architecture == architecture_named("Qwen3-32B")


def test_an_instance_may_name_a_configuration_or_a_record_beside_it(tmp_path: Path) -> None:
    (tmp_path / "models" / "small").mkdir(parents=True)
    config = tmp_path / "models" / "small" / "config.json"
    config.write_text(json.dumps(LLAMA))
    named = read_record(instance_with(tmp_path, "models/small/config.json"), Instance).architecture
    assert named == import_config(config)
    record = tmp_path / "own.json"
    result = run_import(config, "own", record)
    assert read_record(instance_with(tmp_path, "own.json"), Instance).architecture == named.model_copy(update=kept(record))
    assert result["parameters"] == count_parameters(named).total


def kept(record: Path) -> Json:
    return {field: json.loads(record.read_text(encoding="utf-8"))[field] for field in ("name", "source")}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Deepseek-v3", "did you mean DeepSeek-V3"),
        ("", "no model"),
        ("../outside.json", "outside the folder"),
        ("/etc/passwd.json", "outside the folder"),
        ("link.json", "outside the folder"),
        ("a\0.json", "no model"),
        ("none.json", "none.json"),
        ("folder.json", "folder.json"),
        ("x" * 400 + ".json", "cannot be read"),
        ("broken.json", "broken.json"),
        ("list.json", "holds no object"),
        ("unknown.json", "model_type"),
        ("partial.json", "architecture.vocabulary_size: missing"),
    ],
)
def test_a_model_that_an_instance_cannot_name_is_refused(tmp_path: Path, name: str, says: str) -> None:
    folder = tmp_path / "inside"
    (folder / "folder.json").mkdir(parents=True)
    (tmp_path / "outside.json").write_text(json.dumps(LLAMA))
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    (folder / "broken.json").write_text("{")
    (folder / "list.json").write_text("[]")
    (folder / "unknown.json").write_text('{"model_type": "mystery"}')
    record = architecture_named("Qwen3-8B").model_dump(mode="json")
    (folder / "partial.json").write_text(json.dumps({k: v for k, v in record.items() if k != "vocabulary_size"}))
    with pytest.raises(InputError, match=says) as caught:
        read_record(instance_with(folder, name), Instance)
    assert "\n" not in str(caught.value)


def test_the_command_prints_counts_and_says_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(MOE | {"num_nextn_predict_layers": 1, "hc_mult": 4}))
    with pytest.raises(SystemExit) as ended:
        app(["import-model", str(config), "--name", "toy"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.startswith("toy: 6 layers, ")
    assert "left out: 1 multi-token prediction layers" in text
    assert "nearly: hc_mult" in text


def test_the_command_refuses_in_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA | {"mystery": [1]}))
    with pytest.raises(SystemExit) as ended:
        app(["import-model", str(config)])
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert errors.count("\n") == 1
    assert "mystery = '[1]' is not understood" in errors
