"""How far predictions of this kind were off where they were measured: the error band printed beside every figure of time."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from models.instance import Instance

Json = dict[str, Any]
NO_BAND = "no error band: the instance's own efficiencies or tables have never been compared with measurements"


@cache
def _measured() -> Json:
    found: Json = json.loads((files("models.catalogue") / "errors.json").read_text(encoding="utf-8"))
    return found


def error_band(instance: Instance) -> Json | None:
    """Median and 90th percentile of |predicted / measured - 1| over recorded passes of this kind, percent; None without curves alone.

    Decode steps were measured as time per output token, prefills as time to the first token at low concurrency. Curves that were
    not measured on this very machine have the band of machines left out of the calibration; times of tables were never compared.
    """
    accelerator, kinds = instance.cluster.pool.accelerator, _measured()
    if not accelerator.curves or accelerator.tables:
        return None
    own = not accelerator.source_of("curves").startswith("assumed:")
    kind = ("moe" if instance.architecture.experts else "dense") if own else "other_machine"
    return {**kinds[instance.workload.kind][kind], "of": f"{instance.workload.kind}, {kind.replace('_', ' ')}", "source": kinds["source"]}


def band_sentence(band: Json | None) -> str:
    """The band in words, for people."""
    if band is None:
        return NO_BAND
    within = f"median {band['median_pct']:g} %, 9 of 10 within {band['p90_pct']:g} % (n = {band['n']})"
    return f"measured error of such times and rates ({band['of']}): {within}"
