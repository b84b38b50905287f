"""Facts that a measured row states only in words: workers of a disaggregated deployment, speculation, spare experts, cache lengths."""

import re
from collections.abc import Callable
from typing import Any

from benchmarks.fidelity.cases import Workers

WORKERS = re.compile(r"\b([PD])(\d+)x\[([^\]]*)\]")


def degrees(text: str) -> dict[str, int]:
    """ "tp1 adp8 moe_tp1 ep8" as numbers by name."""
    return {name: int(number) for name, number in re.findall(r"([a-z_]+?)(\d+)", text)}


def workers_in(notes: str) -> dict[str, Workers]:
    """Prefill and decode workers of notes such as "P1x[tp1 adp8 moe_tp1 ep8] + D4x[tp8 adp1 moe_tp1 ep8]"."""
    found = {}
    for role, count, text in WORKERS.findall(notes):
        d = degrees(text)
        tp, dp, ep = d.get("tp", 1), d.get("adp", d.get("dp", 1)), d.get("ep", d.get("moe_ep", 1))
        moe_tp = d.get("moe_tp", expert_tensor_degree(tp, dp, ep))
        found[{"P": "prefill", "D": "decode"}[role]] = Workers(int(count), tp, d.get("pp", 1), dp, ep, moe_tp)
    return found


def expert_tensor_degree(tp: int, dp: int, ep: int) -> int:
    """Tensor degree inside an expert where it is not stated: the GPUs of one stage over the expert degree."""
    return max(1, tp * dp // ep)


def number(pattern: str, text: str) -> float | None:
    """The first number that a pattern finds."""
    found = re.search(pattern, text, re.IGNORECASE)
    return float(found[1].replace(",", "")) if found else None


def draft_tokens(text: str) -> int:
    """Draft tokens per step; 1 where speculation is named without a number."""
    depth = number(r"\bMTP[\s=_-]*(\d+)\b", text)
    named = re.search(r"\bMTP\b|\bEAGLE", text, re.IGNORECASE)
    return int(depth) if depth is not None else int(bool(named))


def whole(value: float | None) -> int | None:
    """A count, or None."""
    return None if value is None else int(value)


def facts_in(notes: str, unit: str, precision: str) -> dict[str, Any]:
    """Fields of `Case` that notes and unit decide."""
    ask: Callable[[str], float | None] = lambda pattern: number(pattern, notes)  # noqa: E731
    hits = number(r"([\d.]+)\s*% cache hit", f"{unit} {notes}")
    return {
        "mtp": draft_tokens(notes),
        "redundant_experts": whole(ask(r"(\d+) redundant experts?")) or 0,
        "expert_slots": whole(ask(r"EPLB (\d+) experts?")),
        "two_batch_overlap": bool(re.search(r"\bTBO\b|two.batch overlap", notes, re.IGNORECASE)),
        "kv_length": ask(r"KV length (\d+)"),
        "kv_precision": "fp8" if precision == "fp8" and "fp8 KV cache" in notes else "",
        "cached_share": 0.0 if hits is None else hits / 100,
        "max_batch_per_rank": whole(ask(r"max_batch (\d+)/rank")),
        **workers_in(notes),
    }
