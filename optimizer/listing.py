"""What the catalogue holds, as `catalogue` prints it."""

from typing import Any

from models.catalogue.engines import engine, engine_names
from models.catalogue.files import read, stems
from models.catalogue.machines import machine, machine_names
from models.errors import InputError

Json = dict[str, Any]
KINDS = ("machines", "models", "engines")


def run_catalogue(kind: str | None) -> Json:
    """Entries of one kind, or of all. Raises InputError for another kind."""
    if kind is not None and kind not in KINDS:
        raise InputError(f'catalogue "{kind[:40]}": write one of {", ".join(KINDS)}')
    entries = {"machines": _machines, "models": _models, "engines": _engines}
    return {"schema": "shardproof/catalogue/1", **{k: entries[k]() for k in KINDS if kind in (None, k)}}


def _machines() -> list[Json]:
    return [_machine(name) for name in machine_names()]


def _machine(name: str) -> Json:
    found = machine(name)
    node, accelerator = found.pool, found.pool.accelerator
    return {
        "name": name,
        "memory_bytes": accelerator.memory_bytes,
        "hbm_bytes_per_s": accelerator.hbm_bytes_per_s,
        "peak_flop_per_s": accelerator.peak_flop_per_s,
        "gpus_per_node": node.gpus_per_node,
        "scale_up_domain_gpus": node.scale_up_domain_gpus,
        "scale_up_bytes_per_s": node.scale_up.bandwidth_bytes_per_s,
        "scale_up_topology": node.scale_up.topology,
        "scale_out_bytes_per_s": node.scale_out.bandwidth_bytes_per_s,
        "kernels": list(found.kernels),
        "fabric": found.fabric,
        "network": found.network,
        "measured": list(found.measured),
        "confidence": found.confidence,
        "borrows": found.borrows,
    }


def _models() -> list[Json]:
    return [{"name": read("models", stem).get("name", stem)} for stem in stems("models")]


def _engines() -> list[Json]:
    found = [engine(name) for name in engine_names()]
    return [{"name": e.name, "memory_fraction_ppm": e.memory_fraction_ppm, "runtime": e.runtime} for e in found]


def catalogue_text(result: Json) -> str:
    """One line per entry; what a machine borrows is in `--json`, and in the assumptions of every instance that names it."""
    lines: list[str] = []
    if "machines" in result:
        lines += [
            f"{'machine':<30} {'GiB':>4} {'TB/s':>5} {'bf16':>5} {'fp8':>5} {'fp4':>5} {'domain':>6} {'GB/s':>5} {'NIC':>5}  confidence"
        ]
        lines += [_machine_text(m) for m in result["machines"]]
        lines += [
            "memory and bandwidths per GPU, links in one direction; peaks in dense TFLOP/s; * runs by curves or laws of another machine"
        ]
    if "models" in result:
        lines += ["", *(f"model {m['name']}" for m in result["models"])]
    if "engines" in result:
        lines += ["", *(f"engine {e['name']:<8} uses {e['memory_fraction_ppm'] / 1e4:.0f} % of the memory" for e in result["engines"])]
    return "\n".join(lines).strip("\n")


def _machine_text(m: Json) -> str:
    peaks = [f"{m['peak_flop_per_s'][d] / 1e12:.0f}" if d in m["peak_flop_per_s"] else "-" for d in ("bf16", "fp8", "fp4")]
    up, out = (f"{m[f'scale_{way}_bytes_per_s'] / 1e9:.0f}" for way in ("up", "out"))
    memory, hbm = m["memory_bytes"] // 2**30, f"{m['hbm_bytes_per_s'] / 1e12:.2f}"
    shares = " ".join(f"{p:>5}" for p in peaks)
    mark = " *" if m["borrows"] else ""
    return f"{m['name']:<30} {memory:>4} {hbm:>5} {shares} {m['scale_up_domain_gpus']:>6} {up:>5} {out:>5}  {m['confidence']}{mark}"
