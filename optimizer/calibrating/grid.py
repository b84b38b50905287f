"""The sizes that `calibrate` times: what serving large models meets, from launch-bound to saturated."""

from itertools import product
from typing import NamedTuple

from models.formats import DType
from optimizer.calibrating.timings import TimedKind

MIB = 2**20
GROUPS_OF_RANKS = (2, 4, 8, 16, 32, 64, 72)


class Case(NamedTuple):
    """One thing to time; the shape is that of `timings.AXES`."""

    kind: TimedKind
    storage: DType
    shape: tuple[int, ...]


def operator_cases(formats: tuple[DType, ...], quick: bool) -> list[Case]:
    """Copies, GEMMs in each of the formats, and experts and attention in bf16."""
    cases = [Case("copy", "bf16", (MIB << n,)) for n in range(11)]
    for storage in formats:
        cases += [Case("gemm", storage, shape) for shape in _gemms(quick)]
    cases += [Case("expert_gemm", "bf16", shape) for shape in _experts(quick)]
    cases += [Case("prefill_attention", "bf16", shape) for shape in _prefills(quick)]
    return cases + [Case("decode_attention", "bf16", shape) for shape in _decodes(quick)]


def _gemms(quick: bool) -> list[tuple[int, ...]]:
    """Rows of a decode step to a prefill; widths of a tensor-parallel slice to a whole layer."""
    rows = (1, 16, 64, 256, 512, 1024, 2048, 8192) if quick else (1, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
    widths = (
        ((2048, 2048), (8192, 8192)) if quick else ((1024, 8192), (2048, 2048), (4096, 4096), (8192, 1024), (8192, 8192), (8192, 28672))
    )
    return [(r, *w) for r, w in product(rows, widths)]


def _experts(quick: bool) -> list[tuple[int, ...]]:
    """Experts of one rank, 1 token each to hundreds; widths of coarse and fine experts."""
    tokens = (1, 4, 16, 64, 256) if quick else (1, 4, 16, 64, 256, 1024)
    experts = (4, 16, 32) if quick else (4, 8, 16, 32)
    widths = ((2048, 768),) if quick else ((2048, 768), (4096, 1536), (7168, 2048))
    return [(t * e, e, *w, 3) for t, e, w in product(tokens, experts, widths)]


def _prefills(quick: bool) -> list[tuple[int, ...]]:
    """Whole prompts, causal; heads of a tensor-parallel slice to a whole layer."""
    contexts = (256, 1024, 4096) if quick else (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
    heads = ((8, 1), (32, 8), (64, 8))
    sequences = (1, 4)
    return [(s, t, t, *h, 128) for s, t, h in product(sequences, contexts, heads) if s * t <= 32768]


def _decodes(quick: bool) -> list[tuple[int, ...]]:
    """One token of each sequence against its cache."""
    sequences = (1, 16, 128) if quick else (1, 4, 16, 64, 256)
    contexts = (1024, 8192) if quick else (512, 2048, 8192, 32768)
    heads = ((8, 1), (32, 8), (64, 8))
    return [(s, 1, t, *h, 128) for s, t, h in product(sequences, contexts, heads) if s * t <= 1 << 20]


def collective_cases(gpus: int, quick: bool) -> list[Case]:
    """Collectives among 2 GPUs to all, of messages from 8 KiB to 1 GiB; none for one GPU."""
    groups = sorted({*(g for g in GROUPS_OF_RANKS if g <= gpus), gpus}) if gpus > 1 else []
    sizes = [8192 << n for n in range(0, 18, 2 if quick else 1)]
    kinds: tuple[TimedKind, ...] = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
    # a whole number of bf16 elements for every rank
    cases = [Case(kind, "bf16", (g, -(-size // (2 * g)) * 2 * g)) for g, kind, size in product(groups, kinds, sizes)]
    return cases + [Case("send", "bf16", (2, size)) for size in sizes if groups]
