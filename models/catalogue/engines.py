"""Serving engines by name: the runtime that each adds to a given model on a given machine. engines/<name>.json is an `Engine`."""

import json
from functools import cache
from typing import Any

from pydantic import Field

from models.catalogue.files import read, stems
from models.catalogue.machines import machine, refusal
from models.errors import InputError
from models.record import Name, Record, Source
from models.units import PPM, PositivePpm, ceil_div

Json = dict[str, Any]
HIDDEN_SIZE = 8192  # of a model that is not known


class Engine(Record):
    """A runtime whose reserve depends on the machine and whose activations depend on the model."""

    name: Name
    memory_fraction_ppm: PositivePpm = Field(description="share of a GPU's memory that it uses")
    hidden_buffers: int = Field(ge=1, le=1000, description="hidden-sized BF16 buffers per token in flight on one rank")
    runtime: Json = Field(description="the fields of `Runtime` that depend on neither, with their sources")
    memory_fraction_source: Source
    hidden_buffers_source: Source


def engine_names() -> tuple[str, ...]:
    """Every engine of the catalogue, by alphabet."""
    return stems("engines")


@cache
def engine(name: str) -> Engine:
    """One engine. Raises InputError, listing close names, when there is none."""
    if name not in stems("engines"):
        raise InputError(refusal("engine", name, engine_names()))
    return Engine.model_validate_json(json.dumps(read("engines", name)))


def runtime_record(name: str, machine_name: str, hidden_size: int = HIDDEN_SIZE) -> Json:
    """The engine's runtime on a catalogued machine, as a file states it."""
    return runtime_in(name, machine(machine_name).pool.accelerator.memory_bytes, hidden_size)


def runtime_in(name: str, memory_bytes: int, hidden_size: int = HIDDEN_SIZE) -> Json:
    """The engine's runtime on GPUs of so much memory, as a file states it.

    reserve = (1 - fraction) * memory, and 2 * buffers * hidden size bytes of activations per token, each rounded up.
    """
    found = engine(name)
    sources = found.runtime["sources"] | {
        "reserve_bytes": found.memory_fraction_source,
        "activation_bytes_per_token": found.hidden_buffers_source,
    }
    return found.runtime | {
        "reserve_bytes": ceil_div(memory_bytes * (PPM - found.memory_fraction_ppm), PPM),
        "activation_bytes_per_token": 2 * found.hidden_buffers * hidden_size,
        "sources": sources,
    }
