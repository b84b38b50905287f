"""What a batch is asked for, and what its folder remembers of that."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from models.errors import InputError
from models.instance import Instance
from optimizer.batching.journal import FILES, Journal, discard
from optimizer.batching.journal import NAME as JOURNAL
from optimizer.batching.variants import Variants
from optimizer.output import check_free, make_folder, to_json, write_file
from optimizer.reading import validate
from optimizer.search import Options
from optimizer.versions import tool_versions

Json = dict[str, Any]
RECORD = "batch.json"
WRITTEN = ("results.csv", "results.parquet", "report.json", "map.svg")
_MARK = '"schema": "shardproof/batch/'


class Shard(NamedTuple):
    """One of several runs that share a batch."""

    number: int
    of: int

    def slice(self, size: int) -> range:
        """Its part of `size` things in a row."""
        return range((self.number - 1) * size // self.of, self.number * size // self.of)


def parse_shard(text: str) -> Shard:
    """`2/8`. Raises InputError unless it is a number from 1 to N and an N of at most 100,000."""
    number, given, of = text.partition("/")
    if not (given and number.isdecimal() and of.isdecimal() and len(of) <= 6 and 1 <= int(number) <= int(of) <= 100_000):
        raise InputError(f'--shard "{text[:40]}": write I/N with I from 1 to N, e.g. 1/8 to 8/8')
    return Shard(int(number), int(of))


class Batch(NamedTuple):
    """Everything that determines the rows of a batch."""

    origin: Path
    """the instance file"""
    variants: Variants
    options: Options

    def instance(self) -> Instance:
        """The instance before anything is varied."""
        return validate(self.variants.with_settings(()), Instance, str(self.origin))

    def identity(self) -> str:
        """SHA-256 over the instance's data, the variants, the options and the versions."""
        parts = [self.variants.with_settings(()), self.variants.identity(), list(self.options), tool_versions(self.options.seed)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> Json:
        """As the journal keeps it."""
        tool, options = tool_versions(self.options.seed), self.options._asdict()
        return {"origin": str(self.origin.absolute()), "variants": self.variants.to_json(), "options": options, "tool": tool}

    @classmethod
    def from_json(cls, found: Json) -> Self:
        """The inverse of `to_json`."""
        return cls(Path(found["origin"]), Variants.from_json(found["variants"]), Options(**found["options"]))


def claim_folder(folder: Path, resume: bool, force: bool) -> None:
    """Make sure that the folder is ours to write into; an earlier batch in it is removed unless it is resumed."""
    if not (resume and (is_batch(folder) or _just_begun(folder))):
        check_free(folder, force)
        make_folder(folder)
        discard(folder, RECORD, *(WRITTEN if is_batch(folder) else ()))


def is_batch(folder: Path) -> bool:
    """Whether a batch has written into the folder."""
    record = folder / RECORD
    return record.is_file() and _MARK.encode() in record.read_bytes()[:200]


def _just_begun(folder: Path) -> bool:
    """Whether a batch was ended there before it could write its record: the journal is all there is."""
    return (folder / JOURNAL).is_file() and all(f.name in FILES or f.name.startswith(f".{RECORD}.") for f in folder.iterdir())


def write_record(folder: Path, batch: Batch, result: Json) -> None:
    """Write the result so far, with what tells this batch from others."""
    write_file(folder / RECORD, to_json(result | {"batch_sha256": batch.identity()}))


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Batch, Journal]]:
    """The batch of a folder and its journal. Raises InputError when there is none, or another version has solved it."""
    if not is_batch(folder) or not (folder / JOURNAL).is_file():
        raise InputError(f"{folder}: holds no batch; name a folder that `batch run` has written")
    with Journal(folder) as journal:
        try:
            batch = Batch.from_json(journal.request() or {})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder / JOURNAL}: is damaged or of another version ({error}); run the batch again") from error
        if _recorded(folder) != batch.identity():
            raise InputError(f"{folder}: is damaged, or another version has solved it; `batch run --resume` solves it again")
        yield batch, journal


def _recorded(folder: Path) -> str | None:
    """What the folder's record calls its batch."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8")).get("batch_sha256")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
