"""How far predictions of this kind were off where they were measured: the error band printed beside every figure of time."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from models.catalogue.files import read, stems
from models.instance import Instance

Json = dict[str, Any]
NO_BAND = "no error band: predictions from these efficiencies, curves or tables on this machine have never been compared with measurements"


@cache
def _measured() -> Json:
    found: Json = json.loads((files("models.catalogue") / "errors.json").read_text(encoding="utf-8"))
    return found


@cache
def _kernel_sources() -> frozenset[str]:
    """Sources of the catalogue's curves, each measured on the system it is used for."""
    return frozenset(read("kernels", stem)["source"] for stem in stems("kernels"))


def error_band(instance: Instance) -> Json | None:
    """Median and 90th percentile of |predicted / measured - 1| over recorded passes of this kind, percent; None where none compare.

    Decode steps were measured as time per output token, prefills as time to the first token at low concurrency, on the machines the
    record names. Borrowed curves, curves of one's own, flat efficiencies and tables were never compared with served runs.
    """
    accelerator, recorded = instance.cluster.pool.accelerator, _measured()
    if accelerator.name not in recorded["served"] or accelerator.tables or accelerator.source_of("curves") not in _kernel_sources():
        return None
    kind = "moe" if instance.architecture.experts else "dense"
    return {**recorded[instance.workload.kind][kind], "of": f"{instance.workload.kind}, {kind}", "source": recorded["source"]}


def band_sentence(band: Json | None) -> str:
    """The band in words, for people."""
    if band is None:
        return NO_BAND
    within = f"median {band['median_pct']:g} %, 9 of 10 within {band['p90_pct']:g} % (n = {band['n']})"
    return f"measured error of such times and rates ({band['of']}): {within}"
