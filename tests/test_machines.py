"""The catalogue of machines and engines: complete, sourced, honest about what it borrows, and monotone by physics."""

import json
import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from models.catalogue import machines
from models.catalogue.engines import engine_names, runtime_in, runtime_record
from models.catalogue.machines import Part, machine, machine_names, pool_record
from models.cluster import Pool
from models.enumeration import strategies
from models.errors import InputError
from models.evaluate import evaluate
from models.instance import Instance
from models.record import SourcedRecord
from models.rules import plan_violations
from models.strategy import Plan, Strategy, complete_stages
from models.workload import Runtime
from optimizer.catalogued import resolve
from optimizer.cli import app
from optimizer.reading import read_record, validate

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
NAMES = machine_names()
SOURCED = ("accelerator", "scale_up", "scale_out")

# Retyped from the vendors' datasheets, independently of the catalogue's files: marketed GB, TB/s, dense TFLOP/s in BF16 and FP8,
# GPUs of the scale-up domain, GB/s of scale-up and Gbit/s of the network per GPU and direction.
DATASHEETS = {
    "A100-SXM-80GB": (80, 2.039, 312, None, 8, 300, 200),
    "A100-SXM-40GB": (40, 1.555, 312, None, 8, 300, 200),
    "H100-SXM-80GB": (80, 3.35, 989, 1979, 8, 450, 400),
    "H100-PCIe-80GB": (80, 2.0, 756.5, 1513, 8, 64, 400),
    "H200-SXM-141GB": (141, 4.8, 989, 1979, 8, 450, 400),
    "H800-SXM-80GB": (80, 3.352, 989, 1979, 8, 200, 400),
    "H20-96GB": (96, 4.0, 148, 296, 8, 450, 200),
    "B200-SXM-180GB": (180, 7.7, 2250, 4500, 8, 900, 400),
    "B300-SXM-288GB": (288, 7.75, 2250, 4500, 8, 900, 800),
    "GB200-NVL72": (186, 8.0, 2500, 5000, 72, 900, 400),
    "GB300-NVL72": (288, 8.0, 2500, 5000, 72, 900, 800),
    "L40S": (48, 0.864, 362.05, 733, 8, 32, 400),
    "RTX-PRO-6000-Blackwell-Server": (96, 1.792, 467.8, 935.6, 8, 64, 400),
    "MI300X": (192, 5.3, 1307, 2615, 8, 448, 400),
    "MI325X": (256, 6.0, 1307, 2615, 8, 448, 400),
    "MI355X": (288, 8.0, 2516, 5033, 8, 576, 400),
    "TPU-v6e": (32, 1.638, 918, 918, 256, 400, 100),
}


def a_pool(name: str, engine: str = "none", nodes: int = 1) -> Pool:
    return Pool.model_validate_json(json.dumps(pool_record(name, nodes, engine)))


def test_there_are_at_least_25_machines_of_every_common_kind() -> None:
    assert len(NAMES) >= 25
    wanted = ["A100", "H100", "H200", "H20", "H800", "B200", "B300", "GB200", "GB300", "MI300X", "MI325X", "MI355X", "L40S"]
    wanted += ["RTX-PRO-6000", "Ascend", "TPU", "Gaudi"]
    assert not [w for w in wanted if not any(n.startswith(w) for n in NAMES)]
    assert {"vllm", "sglang", "trtllm", "none"} <= set(engine_names())


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_is_a_pool_under_every_engine_and_every_constant_has_a_source(name: str) -> None:
    for engine in ("none", *engine_names()):
        pool = a_pool(name, engine, 3)
        runtime = Runtime.model_validate_json(json.dumps(runtime_record(engine, name)))
        parts: list[SourcedRecord] = [*(getattr(pool, part) for part in SOURCED), runtime]
        assert all(set(part.constants()) <= set(part.sources) or "*" in part.sources for part in parts)
        assert pool.nodes == 3
        assert pool.price_uusd_per_gpu_hour is None, "prices are not ours to invent"
        assert 0 < runtime.reserve_bytes < pool.accelerator.memory_bytes // 4


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_measured_on_a_machine_is_assumed_and_said_in_words(name: str) -> None:
    found, pool = machine(name), a_pool(name)
    tables = {"kernels": (pool.accelerator, "curves"), "fabric": (pool.scale_up, "laws"), "network": (pool.scale_out, "laws")}
    for part, (record, field) in tables.items():
        if part not in found.measured and getattr(record, field):
            assert record.source_of(field).startswith("assumed: "), part
    if not pool.accelerator.curves:
        assert pool.accelerator.source_of("gemm_efficiency_ppm").startswith("assumed: ")
    if set(found.measured) != set(get_args(Part)):
        assert found.borrows
        assert found.borrows in " ".join(machines.assumptions_of(name))


def test_curves_and_laws_are_those_of_the_files_that_a_machine_names() -> None:
    for name in NAMES:
        found, pool = machine(name), a_pool(name)
        assert bool(pool.accelerator.curves) == bool(found.kernels), name
        assert bool(pool.scale_up.laws) == (found.fabric is not None), name
        assert bool(pool.scale_out.laws) == (found.network is not None), name
    measured = [name for name in NAMES if "kernels" in machine(name).measured]
    assert len(measured) >= 6
    assert a_pool("H20-96GB").accelerator.curves == a_pool("H200-SXM-141GB").accelerator.curves


@pytest.mark.parametrize("name", DATASHEETS)
def test_a_machine_agrees_with_its_datasheet(name: str) -> None:
    gigabytes, hbm, bf16, fp8, domain, up, network = DATASHEETS[name]
    pool = a_pool(name)
    peaks = pool.accelerator.peak_flop_per_s
    assert gigabytes * 0.95e9 <= pool.accelerator.memory_bytes <= gigabytes * 2**30, "usable memory lies below the marketed figure"
    assert pool.accelerator.hbm_bytes_per_s == round(hbm * 10**12)
    assert (peaks["bf16"], peaks.get("fp8")) == (round(bf16 * 10**12), fp8 and round(fp8 * 10**12))
    assert (pool.scale_up_domain_gpus, pool.scale_up.bandwidth_bytes_per_s) == (domain, up * 10**9)
    assert pool.scale_out.bandwidth_bytes_per_s * 8 == network * 10**9


def test_every_file_of_the_catalogue_is_declared_as_data_of_its_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folder = ROOT / "models" / "catalogue"
    declared = {path for pattern in settings["tool"]["setuptools"]["package-data"]["models.catalogue"] for path in folder.glob(pattern)}
    assert set(folder.rglob("*.json")) <= declared


def test_only_boxes_without_a_switch_are_full_meshes() -> None:
    meshes = {name for name in NAMES if machine(name).pool.scale_up.topology == "full_mesh"}
    assert {"MI300X", "MI325X", "MI355X", "Gaudi2"} <= meshes
    assert not [name for name in meshes if machine(name).fabric not in (None, "xgmi")]


def test_an_engine_without_curves_of_its_own_takes_anothers_in_the_stated_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernels(fixed: int, *names: str) -> Json:
        return {"curves": {name: {"fixed_ns": fixed} for name in names}, "source": f"measured: {fixed}"}

    tables = {
        "x.sglang": kernels(1, "gemm.bf16", "gemm.fp8"),
        "x.trtllm": kernels(2, "gemm.bf16"),
        "x.vllm": kernels(3, "gemm.fp8", "gemm.fp4"),
    }
    monkeypatch.setattr(machines, "stems", lambda _kind: tuple(tables))
    monkeypatch.setattr(machines, "read", lambda _kind, stem: tables[stem])
    fixed = {e: {n: c["fixed_ns"] for n, c in machines._curves_of("x", e)[0].items()} for e in ("sglang", "vllm", "none")}
    assert fixed["sglang"] == {"gemm.bf16": 1, "gemm.fp8": 1, "gemm.fp4": 3}
    assert fixed["vllm"] == {"gemm.bf16": 2, "gemm.fp8": 3, "gemm.fp4": 3}
    assert fixed["none"] == {"gemm.bf16": 2, "gemm.fp8": 1, "gemm.fp4": 3}
    assert machines._curves_of("x", "none")[1] == "measured: 2"


# Short forms of instance files.


def llama() -> Json:
    content: Json = json.loads((ROOT / "instances" / "llama70b_8gpu.json").read_text(encoding="utf-8"))
    return content


def written(folder: Path, content: Json) -> Path:
    path = folder / "instance.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_short_forms_make_the_same_instance_as_the_records_they_stand_for(tmp_path: Path) -> None:
    name = "H200-SXM-141GB"
    short = llama() | {"cluster": {"machine": name, "nodes": 2}, "runtime": "sglang"}
    full = llama() | {
        "cluster": {"pools": [pool_record(name, 2, "sglang")]},
        "runtime": runtime_record("sglang", name, 8192),
        "assumptions": [*llama()["assumptions"], *machines.assumptions_of(name)],
    }
    assert llama()["architecture"]["hidden_size"] == 8192
    assert read_record(written(tmp_path, short), Instance).digest() == validate(full, Instance, "full").digest()


def test_fields_written_over_the_catalogues_are_kept_and_marked(tmp_path: Path) -> None:
    link = {"bandwidth_bytes_per_s": "25 GB/s", "latency_ns": "9 us", "sources": {"latency_ns": "measured: our own ping"}}
    cluster = {"machine": "MI300X", "nodes": 1, "scale_out": link, "accelerator": {"peak_flop_per_s": {"bf16": "1 PFLOP/s"}}}
    runtime = {"engine": "vllm", "overlap_ppm": "10 %"}
    instance = read_record(written(tmp_path, llama() | {"cluster": cluster, "runtime": runtime}), Instance)
    pool = instance.cluster.pool
    assert (pool.scale_out.bandwidth_bytes_per_s, pool.scale_out.latency_ns) == (25 * 10**9, 9000)
    assert pool.scale_out.sources["bandwidth_bytes_per_s"].startswith("assumed: written over")
    assert pool.scale_out.sources["latency_ns"] == "measured: our own ping"
    assert pool.scale_out.laws == a_pool("MI300X").scale_out.laws
    assert pool.accelerator.peak_flop_per_s["bf16"] == 10**15
    assert pool.accelerator.peak_flop_per_s["fp8"] == 2615 * 10**12
    assert instance.runtime.overlap_ppm == 100_000
    assert instance.runtime.source_of("overlap_ppm").startswith("assumed: written over")
    assert any(machine("MI300X").borrows in said for said in instance.assumptions)


def test_a_machine_set_on_the_command_line_replaces_a_pool_that_is_written_out() -> None:
    path = ROOT / "instances" / "llama70b_8gpu.json"
    instance = read_record(path, Instance, ["cluster.machine=B200-SXM-180GB", "cluster.nodes=2", "runtime.engine=trtllm"])
    expected = a_pool("B200-SXM-180GB", "trtllm", 2)
    assert instance.cluster.pool == expected
    assert instance.runtime.reserve_bytes == runtime_record("trtllm", "B200-SXM-180GB")["reserve_bytes"]


def test_a_machine_set_on_the_command_line_keeps_what_was_written_over_another(tmp_path: Path) -> None:
    cluster = {"machine": "H200-SXM-141GB", "nodes": 2, "scale_out": {"bandwidth_bytes_per_s": "25 GB/s"}}
    path = written(tmp_path, llama() | {"cluster": cluster, "runtime": "vllm"})
    pool = read_record(path, Instance, ["cluster.machine=B200-SXM-180GB", "cluster.accelerator.memory_bytes=100 GB"]).cluster.pool
    assert pool.accelerator.name == "B200-SXM-180GB"
    assert pool.accelerator.memory_bytes == 100 * 10**9
    assert pool.scale_out.bandwidth_bytes_per_s == 25 * 10**9


def test_a_short_name_is_the_one_machine_that_is_meant_by_it(tmp_path: Path) -> None:
    for short, name in machines.SHORT_NAMES.items():
        assert name in NAMES
        assert name.split("-")[1].startswith(("SXM", "NVL72"))
        assert short not in NAMES
        assert machine(short) == machine(name)
        assert pool_record(short, 1, "vllm") == pool_record(name, 1, "vllm")
        assert machines.assumptions_of(short) == machines.assumptions_of(name)
        assert runtime_record("sglang", short) == runtime_record("sglang", name)
    content = llama() | {"runtime": "sglang"}
    made = [
        read_record(written(tmp_path, content | {"cluster": {"machine": name, "nodes": 1}}), Instance).digest()
        for name in ("B200", "B200-SXM-180GB")
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("name", ["H20", "h200", "A800", "GH200", "L4", "MI250X", ""])
def test_a_name_that_could_mean_several_machines_is_refused_with_them(name: str) -> None:
    for ask in (machine, lambda n: pool_record(n, 1), machines.assumptions_of):
        with pytest.raises(InputError, match=r"in the catalogue; (did you mean|write one of)"):
            ask(name)


LINKS_AND_NODES = ("name", "nodes", "gpus_per_node", "scale_up_domain_gpus", "scale_up", "scale_out", "price_uusd_per_gpu_hour")


@pytest.mark.parametrize("engine", ["none", *engine_names()])
@pytest.mark.parametrize("name", ["H200", "B200-SXM-180GB", "H20-96GB", "MI300X"])
def test_an_accelerator_by_name_changes_the_accelerator_only(name: str, engine: str, tmp_path: Path) -> None:
    given = {"runtime": engine} if engine != "none" else {}
    path = written(tmp_path, llama() | given)
    before = read_record(path, Instance)
    after = read_record(path, Instance, [f"cluster.accelerator={name}"])
    assert after.cluster.pool.accelerator == a_pool(name, engine).accelerator
    for field in LINKS_AND_NODES:
        assert getattr(after.cluster.pool, field) == getattr(before.cluster.pool, field), field
    if engine != "none":
        assert after.runtime.reserve_bytes == runtime_record(engine, name)["reserve_bytes"] != before.runtime.reserve_bytes
    said = (*machines.assumptions_of(name), f"Of {machine(name).name} the accelerator only: links and nodes are stated apart from it.")
    assert after.assumptions == (*before.assumptions, *said)


def test_an_accelerator_by_name_in_a_file_is_that_of_the_option(tmp_path: Path) -> None:
    content = llama()
    expected = read_record(written(tmp_path, content), Instance, ["cluster.pools.0.accelerator=H100"])
    content["cluster"]["pools"][0]["accelerator"] = "H100"
    assert read_record(written(tmp_path, content), Instance) == expected


def test_an_accelerator_by_name_is_written_over_that_of_a_machine(tmp_path: Path) -> None:
    cluster = {"machine": "H200", "nodes": 2, "gpus_per_node": 4, "accelerator": {"memory_bytes": "1 GB"}}
    path = written(tmp_path, llama() | {"cluster": cluster, "runtime": "vllm"})
    instance = read_record(path, Instance, ["cluster.accelerator=B200"])
    pool, own, other = instance.cluster.pool, a_pool("H200", "vllm"), a_pool("B200", "vllm")
    assert pool.accelerator == other.accelerator
    assert (pool.scale_up, pool.scale_out, pool.gpus_per_node) == (own.scale_up, own.scale_out, 4)
    assert instance.runtime.reserve_bytes == runtime_record("vllm", "B200")["reserve_bytes"]
    assert set(machines.assumptions_of("H200")) | set(machines.assumptions_of("B200")) <= set(instance.assumptions)


def test_a_machine_whose_own_accelerator_is_named_is_that_machine() -> None:
    path = ROOT / "instances" / "deepseek_v3_128h200.json"
    assert read_record(path, Instance, ["cluster.accelerator=H200"]).digest() == read_record(path, Instance).digest()


def test_a_machine_set_on_the_command_line_takes_the_place_of_an_accelerator_by_name(tmp_path: Path) -> None:
    content = llama()
    content["cluster"]["pools"][0]["accelerator"] = "H100"
    assert read_record(written(tmp_path, content), Instance, ["cluster.machine=B200"]).cluster.pool == a_pool("B200")


def test_the_search_takes_an_accelerator_by_name() -> None:
    path = str(ROOT / "instances" / "ep64_tp2_128gpu.json")
    result = CliRunner().invoke(app, ["search", path, "--set", "cluster.accelerator=H200", "--quiet", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["status"] == "OPTIMAL"


@pytest.mark.parametrize(
    ("field", "value", "close"),
    [
        ("cluster", {"pools": [{"accelerator": "H20"}]}, "did you mean H20-141GB or H20-96GB"),
        ("cluster", {"machine": "H200", "nodes": 1, "accelerator": ["H200"]}, "accelerator: input should be an object"),
        ("cluster", {"machine": "H200", "nodes": 1, "accelerator": "abacus"}, 'no machine "abacus" in the catalogue; write one of '),
        ("cluster", {"machine": "H200-SXM", "nodes": 1}, "did you mean H200-SXM-141GB"),
        ("cluster", {"machine": "b200-sxm-180gb", "nodes": 1}, "did you mean B200-SXM-180GB"),
        ("cluster", {"machine": "abacus", "nodes": 1}, "write one of "),
        ("cluster", {"machine": 7, "nodes": 1}, 'no machine "7"'),
        ("cluster", {"machine": ["H200-SXM-141GB"], "nodes": 1}, "no machine"),
        ("cluster", {"machine": "H200-SXM-141GB"}, "nodes: missing"),
        ("cluster", {"machine": "H200-SXM-141GB", "nodes": 1, "gpus": 3}, "gpus: no such field"),
        ("runtime", "sg-lang", "did you mean sglang"),
        ("runtime", {"engine": "vllm", "overlap": 0}, "overlap: no such field"),
        ("runtime", {"engine": None, "overlap_ppm": 0}, "no such field"),
    ],
)
def test_a_name_that_is_not_in_the_catalogue_ends_in_one_sentence_and_exit_2(tmp_path: Path, field: str, value: Any, close: str) -> None:
    result = CliRunner().invoke(app, ["search", str(written(tmp_path, llama() | {field: value})), "--quiet"])
    assert result.exit_code == 2
    assert close in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_unknown_names_are_refused_by_the_catalogue_itself() -> None:
    for ask in (machine, lambda n: pool_record(n, 1), lambda n: runtime_in(n, 10**11), machines.assumptions_of):
        with pytest.raises(InputError, match="in the catalogue"):
            ask("Cray-1")


def test_resolving_leaves_the_files_content_alone_and_whatever_is_no_instance() -> None:
    short = llama() | {"cluster": {"machine": "L40S", "nodes": 1}, "runtime": "vllm"}
    before = json.dumps(short)
    resolve(short, "here")
    assert json.dumps(short) == before
    for odd in (7, None, [], {"cluster": 3, "runtime": 4}, {"cluster": {"pools": [5]}}, {"cluster": {"pools": {}}}):
        assert resolve(odd, "here") == odd


def test_the_schema_of_an_instance_names_the_short_forms() -> None:
    schema = json.loads(CliRunner().invoke(app, ["schema", "instance"]).stdout)
    names = [*NAMES, *machines.SHORT_NAMES]
    assert schema["$defs"]["PoolOfMachine"]["properties"]["machine"]["enum"] == names
    assert [part.get("enum") for part in schema["$defs"]["Pool"]["properties"]["accelerator"]["anyOf"]] == [None, names]
    assert schema["$defs"]["RuntimeOfEngine"]["properties"]["engine"]["enum"] == list(engine_names())
    assert {"$ref": "#/$defs/PoolOfMachine"} in schema["properties"]["cluster"]["anyOf"]


def test_the_catalogue_command_lists_every_machine_and_engine_with_what_it_borrows() -> None:
    text = CliRunner().invoke(app, ["catalogue"]).stdout
    assert [name for name in (*NAMES, *engine_names()) if name not in text] == []
    listed = json.loads(CliRunner().invoke(app, ["catalogue", "machines", "--json"]).stdout)
    assert [(m["name"], m["borrows"]) for m in listed["machines"]] == [(name, machine(name).borrows) for name in NAMES]
    assert set(listed) == {"schema", "machines"}
    assert CliRunner().invoke(app, ["catalogue", "cars"]).exit_code == 2


# Monotone by physics: one field improved never makes a plan dearer, and never makes one that fits not fit.

GQA = {"kind": "gqa", "heads": 16, "kv_heads": 8, "head_dim": 64}
MLA = {"kind": "mla", "heads": 16, "kv_lora_rank": 256, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64}
DENSE = {"kind": "dense", "intermediate_size": 4096, "matrices": 3}
MOE = {"kind": "moe", "experts": 16, "top_k": 2, "intermediate_size": 512, "matrices": 3, "shared_experts": 1}
MODELS = {
    "dense": [{"count": 4, "attention": GQA, "ffn": DENSE}],
    "moe": [{"count": 1, "attention": MLA, "ffn": DENSE}, {"count": 3, "attention": MLA, "ffn": MOE}],
}
SOURCES = {"*": "assumed: made up for this test"}
WORKLOADS: dict[str, Json] = {
    "prefill": {"kind": "prefill", "sequences": 16, "tokens_per_sequence": 3000, "sources": SOURCES},
    "decode": {"kind": "decode", "sequences": 512, "context_tokens": 60_000, "sources": SOURCES},
}
PLANS = 12  # per instance


@cache
def an_instance(name: str, model: str, phase: str, engine: str) -> Instance:
    fp8 = "fp8" in machine(name).pool.accelerator.peak_flop_per_s
    architecture = {"name": model, "hidden_size": 1024, "vocabulary_size": 32_000, "tied_embeddings": False, "layers": MODELS[model]}
    dtypes = dict.fromkeys(("kv_dtype", "activation_dtype", "dispatch_dtype", "combine_dtype"), "bf16")
    dtypes["weight_dtype"] = "fp8" if fp8 and model == "moe" else "bf16"
    nodes = 2 if machine(name).pool.gpus_per_node < 72 else 1
    content = {
        "format": "shardproof-instance/1",
        "name": f"{model} {phase}",
        "cluster": {"machine": name, "nodes": nodes},
        "architecture": architecture | dtypes | {"source": "assumed: made up for this test"},
        "workload": WORKLOADS[phase],
        "runtime": engine,
        "space": {"name": "folded"},
    }
    return validate(content, Instance, "a small instance")


def a_plan(instance: Instance, strategy: Strategy) -> Plan:
    experts = range(instance.architecture.experts)
    placement = tuple(frozenset(experts[rank :: strategy.ep]) for rank in range(strategy.ep))
    return Plan(
        strategy,
        complete_stages(instance.architecture.layer_count, strategy.pp),
        (placement,) * instance.architecture.moe_layers,
    )


def improved(instance: Instance, engine: str, *fields: str, factor: tuple[int, int]) -> Instance:
    """The instance with fields of its pool raised by a factor above 1; latencies fall by it."""
    up, down = factor
    pool, runtime = instance.cluster.pool.model_copy(), instance.runtime
    parts: dict[str, dict[str, Any]] = {}
    for field in fields:
        part, _, name = field.partition(".")
        owner = getattr(pool, part)
        if name.startswith("peak."):
            dtype = name.removeprefix("peak.")
            peaks = parts.setdefault(part, {}).setdefault("peak_flop_per_s", dict(owner.peak_flop_per_s))
            peaks[dtype] = peaks[dtype] * up // down + 1
        elif name == "latency_ns":
            parts.setdefault(part, {})[name] = owner.latency_ns * down // up
        else:
            parts.setdefault(part, {})[name] = getattr(owner, name) * up // down + 1
    pool = pool.model_copy(update={part: getattr(pool, part).model_copy(update=values) for part, values in parts.items()})
    if "accelerator.memory_bytes" in fields:
        hidden = instance.architecture.hidden_size
        runtime = Runtime.model_validate_json(json.dumps(runtime_in(engine, pool.accelerator.memory_bytes, hidden)))
    return instance.model_copy(update={"cluster": instance.cluster.model_copy(update={"pools": (pool,)}), "runtime": runtime})


def fields_of(instance: Instance) -> list[str]:
    links = [f"scale_{way}.{field}" for way in ("up", "out") for field in ("bandwidth_bytes_per_s", "latency_ns")]
    peaks = [f"accelerator.peak.{dtype}" for dtype in instance.cluster.pool.accelerator.peak_flop_per_s]
    return ["accelerator.memory_bytes", "accelerator.hbm_bytes_per_s", *peaks, *links]


@pytest.mark.parametrize("name", NAMES)
def test_one_field_improved_never_makes_a_plan_dearer_nor_too_large(name: str) -> None:
    rng = Random(name)
    for model in MODELS:
        for phase in WORKLOADS:
            engine = rng.choice(engine_names())
            instance = an_instance(name, model, phase, engine)
            plans = [a_plan(instance, s) for s in rng.sample(list(strategies(instance)), PLANS)]
            before = [(p, e, list(plan_violations(instance, p, e))) for p in plans for e in [evaluate(instance, p)]]
            every = fields_of(instance)
            for fields in (*((field,) for field in every), tuple(every)):
                better = improved(instance, engine, *fields, factor=rng.choice([(1, 1), (1001, 1000), (7, 5), (3, 1)]))
                for plan, old, broken in before:
                    new = evaluate(better, plan)
                    case = (name, model, phase, engine, fields, plan.strategy.label())
                    assert new.step_ns <= old.step_ns, case
                    assert new.value <= old.value, case
                    assert broken or not list(plan_violations(better, plan, new)), case


def test_the_samples_of_that_property_hold_plans_that_fit_and_plans_that_do_not_and_feel_every_field() -> None:
    fitting, felt = set(), set()
    for name in ("A30-24GB", "H200-SXM-141GB", "MI300X", "Gaudi2"):
        for model in MODELS:
            for phase in WORKLOADS:
                instance = an_instance(name, model, phase, "vllm")
                for strategy in Random(name).sample(list(strategies(instance)), 30):
                    plan = a_plan(instance, strategy)
                    old = evaluate(instance, plan)
                    fitting.add(not list(plan_violations(instance, plan, old)))
                    for field in fields_of(instance):
                        if evaluate(improved(instance, "vllm", field, factor=(2, 1)), plan).step_ns < old.step_ns:
                            felt.add(field)
    assert fitting == {True, False}
    assert felt == {
        "accelerator.hbm_bytes_per_s",
        "accelerator.peak.bf16",
        "accelerator.peak.fp8",
        *(f"scale_{way}.{field}" for way in ("up", "out") for field in ("bandwidth_bytes_per_s", "latency_ns")),
    }
