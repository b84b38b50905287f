"""The rows of a batch on disk: one SQLite file, written by one process, whole after every row whatever ends that process.

rows      key -> the row as JSON, its certificate      what was solved, by whatever batch in this folder
entries   number -> key, or the sentence that refused   the variants of the batch that is on
batch     what that batch was asked for, as JSON

The write-ahead log makes a commit per row cheap; the file is locked for one writer, which also spares it shared memory, so it
works on network file systems.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from models.errors import InputError
from optimizer.batching.columns import COLUMNS
from optimizer.batching.solver import Solved

Json = dict[str, Any]
NAME = "journal.sqlite"
FILES = (NAME, f"{NAME}-wal", f"{NAME}-shm", f"{NAME}-journal")
_ROW = frozenset(COLUMNS)
_TABLES = """
CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, row TEXT NOT NULL, certificate BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, key TEXT, refusal TEXT);
CREATE TABLE IF NOT EXISTS batch (request TEXT NOT NULL);
"""


class Journal:
    """The journal of one folder, open for writing."""

    def __init__(self, folder: Path) -> None:
        """Open it, or make it. Raises InputError when it is in use, or cannot be used."""
        self.path = folder / NAME
        there = self.path.exists()
        try:
            self._store = sqlite3.connect(self.path, isolation_level=None, timeout=1)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._store.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._store.execute("PRAGMA journal_mode = WAL")
            self._store.execute("PRAGMA synchronous = NORMAL")
            self._store.executescript(_TABLES)
            self._store.execute("BEGIN IMMEDIATE")
            self._store.execute("COMMIT")
        except sqlite3.Error as error:
            self._store.close()
            for made in () if there else FILES:
                (folder / made).unlink(missing_ok=True)
            raise self._unusable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._store.close()
        if isinstance(error, sqlite3.Error):
            raise self._unusable(error) from error

    def begin(self, request: Json) -> None:
        """Start a batch, or go on with it: the rows stay; of another batch, which variants there were is forgotten."""
        text = json.dumps(request, ensure_ascii=False)
        self._store.execute("BEGIN IMMEDIATE")
        if self._store.execute("SELECT 1 FROM batch WHERE request = ?", (text,)).fetchone() is not None:
            self._store.execute("DELETE FROM entries WHERE refusal IS NOT NULL OR key NOT IN (SELECT key FROM rows)")
        else:
            self._store.execute("DELETE FROM entries")
        self._store.execute("DELETE FROM batch")
        self._store.execute("INSERT INTO batch VALUES (?)", (text,))
        self._store.execute("COMMIT")

    def request(self) -> Json | None:
        """What the batch was asked for; None where none was begun."""
        found = self._store.execute("SELECT request FROM batch").fetchone()
        return None if found is None else json.loads(found[0])

    def put(self, solved: Solved, entry: bool = True) -> None:
        """Keep what became of a variant; it is on disk when this returns. Without `entry`, it is none of the batch's own."""
        refusal = solved.row["error"] if solved.row is not None else None
        try:
            self._store.execute("BEGIN IMMEDIATE")
            if solved.row is not None and refusal is None:
                row = json.dumps(solved.row, separators=(",", ":"), ensure_ascii=False)
                self._store.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?)", (solved.key, row, solved.certificate))
            if entry:
                self._store.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (solved.number, solved.key, refusal))
            self._store.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        except KeyboardInterrupt:
            self._store.rollback()
            raise

    def keys(self) -> frozenset[str]:
        """Of every row that is solved; a damaged one is dropped, to be solved again."""
        found = list(self._store.execute("SELECT key, row FROM rows"))
        damaged = [(key,) for key, row in found if _read(row) is None]
        self._store.executemany("DELETE FROM rows WHERE key = ?", damaged)
        return frozenset(key for key, _ in found) - {key for (key,) in damaged}

    def numbers(self) -> frozenset[int]:
        """Of the variants that are solved."""
        return frozenset(number for (number,) in self._store.execute("SELECT number FROM entries WHERE refusal IS NULL"))

    def rows(self) -> Iterator[tuple[int, Json]]:
        """The variants by number, each with its row: only status and error where it was refused."""
        found = self._store.execute("SELECT number, row, refusal FROM entries LEFT JOIN rows USING (key) ORDER BY number")
        for number, text, refusal in found:
            row = {"status": "FAILED", "error": refusal} if refusal is not None else _read(text)
            if row is None:
                raise InputError(f"{self.path}: the row of variant {number + 1} is damaged; `batch run --resume` solves it again")
            yield number, row

    def row(self, key: str) -> Json | None:
        """The row of a key."""
        found = self._store.execute("SELECT row FROM rows WHERE key = ?", (key,)).fetchone()
        return None if found is None else json.loads(found[0])

    def certificates(self) -> Iterator[tuple[int, str]]:
        """The certificate of each solved variant, by number."""
        for number, packed in self._store.execute("SELECT number, certificate FROM entries JOIN rows USING (key) ORDER BY number"):
            if packed is not None:
                try:
                    yield number, zlib.decompress(packed).decode()
                except (zlib.error, ValueError) as error:
                    raise InputError(f"{self.path}: the certificate of variant {number + 1} is damaged; run the batch again") from error

    def take(self, other: Path) -> None:
        """Add the rows and entries of another journal. Raises InputError when it cannot be read."""
        with Journal(other) as source:
            self._store.execute("BEGIN IMMEDIATE")
            rows = source._store.execute("SELECT key, row, certificate FROM rows")
            self._store.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?, ?)", rows)
            for refused, how in (("NOT NULL", "IGNORE"), ("NULL", "REPLACE")):  # what one shard failed at, another may have solved
                entries = source._store.execute(f"SELECT number, key, refusal FROM entries WHERE refusal IS {refused}")
                self._store.executemany(f"INSERT OR {how} INTO entries VALUES (?, ?, ?)", entries)
            self._store.execute("COMMIT")

    def _unusable(self, error: sqlite3.Error) -> InputError:
        return _in_use(self.path.parent, error) or InputError(
            f"--out {self.path.parent}: {NAME} cannot be used ({error}); check the disk, or name another folder"
        )


def discard(folder: Path, *beside: str) -> None:
    """Remove a folder's journal and the files `beside` it, whatever they hold. Raises InputError when it is in use, or that fails."""
    if (folder / NAME).is_file():
        store = sqlite3.connect(folder / NAME, isolation_level=None, timeout=1)
        try:
            store.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if refusal := _in_use(folder, error):
                raise refusal from error
        finally:
            store.close()
    for name in (*beside, *FILES):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"--out {folder}: {name} cannot be removed ({error.strerror}); remove it or name another folder") from error


def _in_use(folder: Path, error: sqlite3.Error) -> InputError | None:
    """The refusal of a folder whose journal another process has open; None for other errors."""
    if "locked" not in str(error):
        return None
    return InputError(f"--out {folder}: another batch is writing there; wait for it or name another folder")


def _read(text: str | None) -> Json | None:
    """The row of a text that `put` wrote; None of any other."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= _ROW else None
