"""Accelerators and node types by name: what a pool of them is, with operator curves and collective laws filled in.

machines/<name>.json               a `Machine`
kernels/<system>[.<engine>].json   {"curves": {CurveName: Curve}, "source": Source}
fabrics/<fabric>.json              {"laws": {Collective: [Law]}, "source": Source, "borrowed": {Collective: where from}}
"""

import json
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from models.catalogue.files import read, stems
from models.cluster import Accelerator, Link
from models.errors import InputError
from models.record import Name, Record, Text
from models.units import MicroUsdPerHour

Json = dict[str, Any]
Part = Literal["kernels", "fabric", "network"]

KERNEL_ENGINES = ("trtllm", "sglang", "vllm")  # whose curves stand in where an engine has none of its own, in this order
SHORT_NAMES = {
    "A100": "A100-SXM-80GB",
    "B200": "B200-SXM-180GB",
    "B300": "B300-SXM-288GB",
    "GB200": "GB200-NVL72",
    "GB300": "GB300-NVL72",
    "H100": "H100-SXM-80GB",
    "H200": "H200-SXM-141GB",
    "H800": "H800-SXM-80GB",
}
"""Machines that are meant where only the chip is named; a chip that is sold in several sizes alike, such as H20, has none."""


class Node(Record):
    """A pool without its name and its number of nodes."""

    accelerator: Accelerator
    gpus_per_node: int = Field(ge=1, le=1024)
    scale_up_domain_gpus: int = Field(ge=1, le=1024)
    scale_up: Link
    scale_out: Link
    price_uusd_per_gpu_hour: MicroUsdPerHour | None = None


class Machine(Record):
    """A catalogued machine: its node, and whose curves and laws it runs by."""

    name: Name
    confidence: Literal["high", "medium", "low"] = Field(description="in its constants and in what it borrows, together")
    kernels: tuple[str, ...] = Field(description="systems whose operator curves hold; a later one for what the earlier ones lack")
    fabric: str | None = Field(description="whose collective laws hold on scale-up; null: rounds of latency")
    network: str | None = Field(description="whose collective laws hold on scale-out; null: rounds of latency")
    measured: tuple[Part, ...] = Field(description="which of the three were measured on this very machine (of kernels, the first system)")
    borrows: Text | None = Field(description="what comes from other machines, in sentences")
    pool: Node

    @model_validator(mode="after")
    def _says_what_it_borrows(self) -> Self:
        if self.borrows is None and set(self.measured) != set(get_args(Part)):
            raise ValueError("borrows is missing; say what was not measured on this machine")
        return self


@cache
def _files() -> dict[str, str]:
    """The file of each machine by its name."""
    return {read("machines", stem)["name"]: stem for stem in stems("machines")}


@cache
def machine_names() -> tuple[str, ...]:
    """Every machine of the catalogue, by alphabet."""
    return tuple(sorted(_files()))


def _read_machine(name: str) -> Json:
    """The file of one machine, by its name or a short one. Raises InputError, listing close names, when there is none."""
    full = SHORT_NAMES.get(name, name)
    if full not in _files():
        raise InputError(refusal("machine", name, machine_names()))
    return read("machines", _files()[full])


def refusal(kind: str, name: str, known: tuple[str, ...]) -> str:
    """The sentence that refuses a name, with the known ones that are close to it."""
    spelling = {k.casefold(): k for k in known}
    wanted = name[:60].casefold()
    starting = [k for k in spelling if wanted and (k.startswith(wanted) or wanted.startswith(k))]
    close = list(dict.fromkeys([*starting, *get_close_matches(wanted, spelling, n=3, cutoff=0.5)]))[:4]
    remedy = f"did you mean {' or '.join(spelling[c] for c in close)}?" if close else f"write one of {', '.join(known)}"
    return f'no {kind} "{name[:60]}" in the catalogue; {remedy}'


@cache
def machine(name: str) -> Machine:
    """One machine, by its name or a short one. Raises InputError, listing close names, when there is none."""
    return Machine.model_validate_json(json.dumps(_read_machine(name)))


def pool_record(name: str, nodes: int | None, engine: str = "none") -> Json:
    """A pool of `nodes` nodes of the machine as a file states it, with the curves and laws that hold on it.

    Raises InputError, listing close names, when there is no such machine.
    """
    found = _read_machine(name)
    pool: Json = {"name": "main", **found["pool"]} | ({} if nodes is None else {"nodes": nodes})
    _add_curves(pool["accelerator"], found["kernels"], engine, "kernels" in found["measured"])
    _add_laws(pool["scale_up"], found["fabric"], "fabric" in found["measured"])
    _add_laws(pool["scale_out"], found["network"], "network" in found["measured"])
    return pool


def _add_laws(link: Json, fabric: str | None, own: bool) -> None:
    """The laws of a fabric, where it has any; those of another machine's fabric are assumed."""
    if fabric in stems("fabrics"):
        file = read("fabrics", str(fabric))
        link["laws"] = file["laws"]
        link["sources"]["laws"] = file["source"] if own else f"assumed: the laws of {fabric}, fitted on another machine"


def _add_curves(accelerator: Json, systems: list[str], engine: str, own: bool) -> None:
    """The curves of the systems, an earlier one's first; those of other systems than the machine's own are assumed."""
    curves: Json = {}
    lent, source = [], ""
    for number, system in enumerate(systems):
        found, where = _curves_of(system, engine)
        new = sorted(set(found) - set(curves))
        curves |= {name: found[name] for name in new}
        if number == 0 and own:
            source = where
        elif new:
            lent.append(f"{system} ({', '.join(new)})" if own else system)
    if lent:
        source = f"assumed: the curves of {', '.join(lent)}, fitted on another machine" + ("; the rest measured on this one" if own else "")
    if curves:
        accelerator["curves"], accelerator["sources"]["curves"] = dict(sorted(curves.items())), source


def _curves_of(system: str, engine: str) -> tuple[Json, str]:
    """Curves of one system and their source: this engine's, then those that hold for all, then other engines' for what is lacking."""
    curves: Json = {}
    sources = []
    for stem in dict.fromkeys((f"{system}.{engine}", system, *(f"{system}.{other}" for other in KERNEL_ENGINES))):
        if stem in stems("kernels"):
            file = read("kernels", stem)
            if set(file["curves"]) - set(curves):
                sources.append(file["source"])
            curves = file["curves"] | curves
    return curves, next(iter(sources), "")


def assumptions_of(name: str) -> list[str]:
    """What an instance must say that takes this machine from the catalogue. Raises InputError when there is no such machine."""
    found = machine(name)
    said = f"{found.name} is the catalogue's, with {found.confidence} confidence."
    return [said, *([] if found.borrows is None else [f"{found.name}: {found.borrows}"])]
