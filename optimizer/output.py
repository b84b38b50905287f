"""Files out: a folder is written whole or not at all, and never over another without leave."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from models.errors import InputError


def to_json(value: Any) -> str:
    """Stable JSON: the order of insertion, two spaces, one final newline."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def check_free(folder: Path, force: bool) -> None:
    """Raises InputError when `folder` holds something that must not be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is not a folder; name another")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise InputError(f"--out {folder}: is not empty; name another folder or add --force")


def write_folder(folder: Path, files: dict[str, str], force: bool) -> None:
    """Write `files` (name -> text) into `folder`; with `force`, files of other names stay."""
    check_free(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, text in files.items():
                (staging / name).write_text(text, encoding="utf-8")
            folder.mkdir(exist_ok=True)
            for name in files:
                os.replace(staging / name, folder / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror}); check the path and its permissions") from error


def write_file(path: Path, text: str) -> None:
    """Write one file whole: a reader sees the old text or the new, never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(name, path)
