"""What `import-model` says of a configuration: layers, formats, parameters, cache."""

import json
from pathlib import Path
from typing import Any

from models.architecture import Architecture, LayerGroup
from models.attention import cache_bytes
from models.errors import InputError
from models.parameters import count_parameters
from optimizer.importing.importer import approximations_of, import_config, read_config
from optimizer.output import write_file

Json = dict[str, Any]
CONTEXT = 4096  # tokens at which the cache is stated


def run_import(config: Path, name: str | None, out: Path | None) -> Json:
    """The result of `import-model`; with `out` the architecture is written there. Raises InputError."""
    arch = import_config(config, name)
    record = arch.model_dump(mode="json", exclude_defaults=True) | {"tied_embeddings": arch.tied_embeddings}
    if out is not None:
        if out.exists():
            raise InputError(f"--out {out}: is there already; name another file")
        write_file(out, json.dumps(record, indent=1) + "\n")
    counted = count_parameters(arch)
    cached = sum(g.count * cache_bytes(arch, g.attention, CONTEXT, 1) for g in arch.layers if g.attention is not None)
    return {
        "schema": "shardproof/import-model/1",
        "name": arch.name,
        "layers": arch.layer_count,
        "kinds": _kinds(arch),
        "parameters": counted.total,
        "active_parameters": counted.active,
        "embedding_parameters": counted.embedding,
        "formats": {part: arch.format_of(part) for part in ("attention", "ffn", "experts", "embedding")},
        "cache_bytes": {"context_tokens": CONTEXT, "dtype": arch.kv_dtype, "bytes": cached},
        "mtp_layers": arch.mtp_layers,
        "mtp_parameters": counted.drafts,
        "approximations": approximations_of(read_config(config)),
        "architecture": record,
        "written": None if out is None else str(out),
    }


def _kinds(arch: Architecture) -> list[Json]:
    """Distinct layers in order of first appearance, and how many there are of each."""
    found: dict[tuple[str, str], int] = {}
    for group in arch.layers:
        key = _attention(group), _ffn(group)
        found[key] = found.get(key, 0) + group.count
    return [{"attention": attention, "ffn": ffn, "layers": count} for (attention, ffn), count in found.items()]


def _attention(group: LayerGroup) -> str:
    attention = group.attention
    if attention is None:
        return "none"
    window = getattr(attention, "window", None)
    index = " with an index" if getattr(attention, "index_top_k", None) else ""
    return attention.kind + (f", window {window}" if window else "") + index


def _ffn(group: LayerGroup) -> str:
    if group.ffn is None:
        return "none"
    if group.moe is None:
        return "dense"
    shared = f" + {group.moe.shared_experts} shared" if group.moe.shared_experts else ""
    return f"moe, {group.moe.top_k} of {group.moe.experts}{shared}"


def summary_text(r: Json) -> str:
    """What `import-model` prints."""
    cache = r["cache_bytes"]
    sizes = f"{r['parameters'] / 1e9:,.2f} B parameters, {r['active_parameters'] / 1e9:,.2f} B active for a token"
    looked_up = f"(and {r['embedding_parameters'] / 1e9:,.2f} B of input embedding, of which it looks up one row)"
    lines = [
        f"{r['name']}: {r['layers']} layers, {sizes} {looked_up}",
        *(f"  {k['layers']:4} x attention {k['attention']}; feed-forward {k['ffn']}" for k in r["kinds"]),
        "weights: " + ", ".join(f"{part} {dtype}" for part, dtype in r["formats"].items()),
        f"cache of {cache['context_tokens']} tokens: {cache['bytes'] / 2**20:,.1f} MiB in {cache['dtype']}",
    ]
    if r["mtp_layers"]:
        lines += [f"left out: {r['mtp_layers']} multi-token prediction layers of {r['mtp_parameters'] / 1e9:,.2f} B parameters in all"]
    lines += [f"nearly: {said}" for said in r["approximations"]]
    lines += [f"written to {r['written']}"] if r["written"] else ["--out FILE writes the record; an instance names it as `architecture`"]
    return "\n".join(lines)
