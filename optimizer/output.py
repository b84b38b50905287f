"""Files out: a folder is written whole or not at all, and never over another without leave."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from models.errors import InputError


def to_json(value: Any) -> str:
    """Stable JSON: the order of insertion, two spaces, one final newline; what is no Unicode, as in a file's name, is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def check_free(folder: Path, force: bool) -> None:
    """Raises InputError when `folder` cannot be a folder, or holds something that must not be overwritten."""
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--out {folder}: is not a folder; name another")
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise InputError(f"--out {folder}: is not empty; name another folder or add --force")
    except OSError as error:
        raise _unwritable(folder, error) from error


def make_folder(folder: Path) -> None:
    """Create a folder and its parents. Raises InputError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_folder(folder: Path, files: dict[str, str], force: bool) -> None:
    """Write `files` (name -> text) into `folder`, all or none; with `force`, files of other names stay."""
    check_free(folder, force)
    occupied = [name for name in files if (folder / name).is_dir()]
    if occupied:
        raise InputError(f"--out {folder}: {occupied[0]} is a folder there; remove it or name another folder")
    make_folder(folder.parent)
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name[:100]}.", dir=folder.parent))
        try:
            for name, text in files.items():
                (staging / name).write_text(text, encoding="utf-8")
            folder.mkdir(exist_ok=True)
            for name in files:
                os.replace(staging / name, folder / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_file(path: Path, text: str) -> None:
    """Write one file whole: a reader sees the old text or the new, never a part. Raises InputError when that fails."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staging.write_text(text, encoding="utf-8")
        os.replace(staging, path)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def check_replaceable(path: Path, force: bool) -> None:
    """Raises InputError where a certificate would replace something that is not one, or has no folder."""
    try:
        if path.is_dir() or not path.parent.is_dir():
            raise InputError(f"--certificate {path}: is not a file in an existing folder; name another")
        if path.exists() and not force:
            with path.open(encoding="utf-8", errors="replace") as file:
                if not file.read(60).startswith('{"format":"shardproof-certificate/'):
                    raise InputError(f"--certificate {path}: is there and holds no certificate; name another file or add --force")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InputError:
    shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
    return InputError(f"--out {shown}: cannot be written ({error.strerror}); check the path, its permissions and the free space")
