"""The catalogue's files: one folder per kind, one JSON object per file."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

Json = dict[str, Any]


@cache
def stems(kind: str) -> tuple[str, ...]:
    """File names of one kind without their suffix, sorted."""
    folder = files(__package__) / kind
    return tuple(sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))) if folder.is_dir() else ()


def read(kind: str, stem: str) -> Json:
    """One file's content, the reader's own copy."""
    found: Json = json.loads(_text(kind, stem))
    return found


@cache
def _text(kind: str, stem: str) -> str:
    return (files(__package__) / kind / f"{stem}.json").read_text(encoding="utf-8")
