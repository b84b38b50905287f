"""`shardproof calibrate`: measures this machine, or reads timings of one, and writes its record."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import InputError
from models.record import Name, Record
from optimizer.calibrating.device import measure
from optimizer.calibrating.timings import Timings
from optimizer.calibrating.writing import calibration
from optimizer.output import to_json, write_file
from optimizer.reading import read_record, validate
from optimizer.versions import tool_versions

Json = dict[str, Any]


class Naming(Record):
    """The name that the machine is given."""

    name: Name


class Request(NamedTuple):
    """What the command line asks for."""

    out: Path
    name: str | None
    quick: bool
    timings: Path | None
    save_timings: Path | None
    force: bool


def run_calibrate(request: Request, say: Callable[[str], None]) -> Json:
    """Measure or read, fit, write. Raises InputError before the work where a file is in the way."""
    for option, path in (("--out", request.out), ("--save-timings", request.save_timings)):
        if path is not None:
            _check_free(option, path, request.force)
    if request.save_timings is not None and request.save_timings.resolve() == request.out.resolve():
        raise InputError(f"--save-timings {request.save_timings}: is the file of --out too; name another")
    if request.name is not None:
        validate({"name": request.name}, Naming, "--name")
    timings = measure(request.quick, say) if request.timings is None else read_record(request.timings, Timings)
    if request.save_timings is not None:
        write_file(request.save_timings, to_json(timings.model_dump(mode="json")))
    name = timings.device.name if request.name is None else request.name
    record = calibration(timings, name, say)
    write_file(request.out, to_json(record))
    head = {"schema": "shardproof/calibrate/1", "status": "CALIBRATED", "tool": tool_versions(0), "out": str(request.out)}
    return head | {key: record[key] for key in ("name", "fits", "lacks")}


def _check_free(option: str, path: Path, force: bool) -> None:
    try:
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(f"{option} {path}: is not a file in an existing folder; name another")
        if path.exists() and not force:
            raise InputError(f"{option} {path}: is there already; name another file or add --force")
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be used ({error.strerror}); name another") from error


def calibrate_text(result: Json) -> str:
    """Each fit with its errors on rows that took no part in it, and what was not measured."""
    lines = [f"{result['name']}: wrote {result['out']}", f"{'fit':<24} {'rows':>5} {'held out':>8} {'median':>7} {'p90':>7}"]
    for name, fit in result["fits"].items():
        errors = " ".join(f"{fit[part] / 1e4:>5.1f} %" for part in ("median_ppm", "p90_ppm"))
        lines.append(f"{name:<24} {fit['rows']:>5} {fit['held_out']:>8} {errors}")
    return "\n".join([*lines, "errors: |predicted / measured - 1| of the rows held out, every fifth", *result["lacks"]])
