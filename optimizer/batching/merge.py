"""`batch merge`: the journals of a batch's shards as one."""

from pathlib import Path
from typing import Any

from models.errors import InputError
from optimizer.batching.journal import Journal
from optimizer.batching.request import Batch, claim_folder, opened, write_record
from optimizer.batching.run import conclude
from optimizer.report import header

Json = dict[str, Any]


def run_merge(folders: list[Path], out: Path, force: bool) -> Json:
    """The whole batch from its shards. Raises InputError for folders of different batches.

    Variants that no shard has solved are missing from the table, and counted.
    """
    batch = _the_batch(folders)
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise InputError(f"--out {out}: is one of the folders to merge; name another")
    claim_folder(out, False, force)
    with Journal(out) as journal:
        journal.begin(batch.to_json())
        for folder in folders:
            journal.take(folder)
        failed = sum(row["error"] is not None for _, row in journal.rows())
        solved = len(journal.numbers())
        result = header("batch", "DONE", batch.instance(), batch.options, 0)
        result |= {"solved": 0, "skipped": solved, "failed": failed, "missing": len(batch.variants) - solved - failed, "shard": None}
        result |= conclude(batch, out, journal)
    write_record(out, batch, result)
    return result


def _the_batch(folders: list[Path]) -> Batch:
    """The batch that all folders are of."""
    found: list[Batch] = []
    for folder in folders:
        with opened(folder) as (batch, _):
            found.append(batch)
    for folder, batch in zip(folders, found, strict=True):
        if batch.identity() != found[0].identity():
            raise InputError(f"{folder}: is of another batch than {folders[0]}; merge shards of one batch, solved by one version")
    return found[0]
