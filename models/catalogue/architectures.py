"""Models by name: records of published architectures. models/<name>.json is an `Architecture`."""

import json
from functools import cache
from typing import Any

from models.architecture import Architecture
from models.catalogue.files import read, stems
from models.catalogue.machines import refusal
from models.errors import InputError

Json = dict[str, Any]


@cache
def _files() -> dict[str, str]:
    """The file of each model by its name."""
    return {read("models", stem)["name"]: stem for stem in stems("models")}


@cache
def architecture_names() -> tuple[str, ...]:
    """Every model of the catalogue, by alphabet."""
    return tuple(sorted(_files()))


def architecture_record(name: str) -> Json:
    """One model as an instance file states it. Raises InputError, listing close names, when there is none."""
    if name not in _files():
        raise InputError(refusal("model", name, architecture_names()))
    return read("models", _files()[name])


@cache
def architecture_named(name: str) -> Architecture:
    """One model. Raises InputError, listing close names, when there is none."""
    return Architecture.model_validate_json(json.dumps(architecture_record(name)))
