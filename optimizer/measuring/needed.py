"""Which tables a model's operators ask for."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from models.architecture import Architecture
from models.attention import Shard, attention_projections, decode_core, prefill_core
from models.measured import OperatorTables, Table, place, table_of
from models.operators import Work, dense_width, feed_forward, head, routed_experts, router
from models.units import WHOLE

TOKENS = 1 << 10  # any context that is longer than one token


def works_of(arch: Architecture) -> Iterator[Work]:
    """One operator of every kind, format and width that the model runs in prefill or decode; sharding changes none of these."""
    shard = Shard(1, TOKENS, TOKENS)
    for group in arch.layers:
        if group.attention is not None:
            yield from attention_projections(arch, group.attention, shard, 1)
            yield from prefill_core(arch, group.attention, shard, 1, TOKENS, TOKENS, 1)
            yield from decode_core(arch, group.attention, Shard(1, 1, 1), 1, TOKENS, 1)
        if group.moe is not None:
            yield from router(arch, group.moe, TOKENS)
            yield routed_experts(arch, group.moe, TOKENS, WHOLE, 1)
        if group.ffn is not None and dense_width(group.ffn):
            yield from feed_forward(arch, dense_width(group.ffn), group.ffn.matrices, TOKENS, 1)
    yield head(arch, 1, 1)


def needed(tables: Iterable[Table], arch: Architecture) -> list[Table]:
    """Those of the tables that price some operator of the model, in their order."""
    known, works = list(tables), list(works_of(arch))

    def key(table: Table) -> tuple[str, str]:
        return table.kind, table.storage

    found: list[Table] = []
    for _, same in groupby(sorted(known, key=key), key):
        alike = OperatorTables(
            format="shardproof-tables/1", system="any", engine="any", versions={}, source="measured: here", tables=tuple(same)
        )
        for work in works:
            at = place(work)
            table = None if at is None else table_of(alike, work, at)
            if table is not None and table not in found:
                found.append(table)
    return [table for table in known if table in found]
