"""`shardproof import-tables`: the operator tables of an installed `aiconfigurator-core` as one file of ours."""

import json
import re
from collections import defaultdict
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.instance import Instance
from models.measured import SAME_ARITHMETIC, OperatorTables, Table, shortfall
from models.service import Service
from optimizer.measuring.building import build_table
from optimizer.measuring.needed import needed, works_of
from optimizer.measuring.sources import FAMILIES, OPTIONAL, Family, Row, Series, Timed, timed_rows
from optimizer.output import write_file

PACKAGE = "aiconfigurator-core"
ENGINES = ("trtllm", "sglang", "vllm")
Json = dict[str, Any]


def run_import_tables(system: str, engine: str, wanted: str | None, instance: Instance | Service, out: Path, force: bool) -> Json:
    """Read, build and write the tables that the instance's model needs; what was read, how well the tables follow it. Raises InputError."""
    if engine not in ENGINES:
        raise InputError(f'--engine "{engine[:40]}": write one of {", ".join(ENGINES)}')
    if out.exists() and not force:
        raise InputError(f"--out {out}: is there already; name another file or add --force")
    folder, versions = _folder(system), dict[str, str]()
    formats = {(work.kind, SAME_ARITHMETIC.get(work.storage, work.storage)) for work in works_of(instance.architecture)}
    series: dict[Series, list[Timed]] = defaultdict(list)
    for family in FAMILIES:
        path = _file(folder, family, engine, wanted)
        if path is not None:
            versions[family.file] = path.parent.name
            for timed in timed_rows(family, _read(path, family.columns)):
                if timed.series[:2] in formats:
                    series[timed.series].append(timed)
    built = (build_table(key, series[key]) for key in sorted(series))
    tables = needed((table for table in built if table is not None), instance.architecture)
    if not tables:
        under = f"{engine} {wanted or ''}".strip()
        raise InputError(f"{PACKAGE} has no operator tables for this model of {system} under {under}; name another")
    source = f"measured: {PACKAGE} {_package_version()} (Apache-2.0), systems/data/{system}"
    made = OperatorTables(
        format="shardproof-tables/1", system=system, engine=engine, versions=versions, source=source, tables=tuple(tables)
    )
    text = json.dumps(made.model_dump(mode="json"), separators=(",", ":")) + "\n"
    write_file(out, text)
    return {
        "schema": "shardproof/import-tables/1",
        "status": "WRITTEN",
        "file": str(out),
        "bytes": len(text),
        "sha256": sha256(text.encode()).hexdigest(),
        "source": source,
        "versions": versions,
        "unpriced": sorted({said for work in works_of(instance.architecture) if (said := shortfall(made, work)) and "roofline" in said}),
        "tables": [_described(table) for table in made.tables],
    }


def _described(table: Table) -> Json:
    whole = {"kind": table.kind, "storage": table.storage, "measured_as": table.measured_as, "width": table.width}
    return whole | {"matrices": table.matrices, "points": len(table.ns)} | table.quality.model_dump()


def _systems() -> Path:
    """The package's folder of systems. Raises InputError where it is not installed."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f'the tables come from {PACKAGE}, which is not installed; install "shardproof[measured]"')
    return Path(next(iter(spec.submodule_search_locations))) / "systems" / "data"


def _folder(system: str) -> Path:
    """The folder of one system. Raises InputError where it is missing."""
    data = _systems()
    known = sorted(p.name for p in data.iterdir() if p.is_dir()) if data.is_dir() else []
    if system not in known:
        raise InputError(f'{PACKAGE} has no system "{system[:40]}"; write one of {", ".join(known) or "(none found)"}')
    return data / system


def _file(folder: Path, family: Family, engine: str, wanted: str | None) -> Path | None:
    """The engine's file of one family: of the version wanted, else the largest, since later ones may add a few rows only."""
    found = sorted((folder / family.folder / engine).glob(f"*/{family.file}.parquet"), key=lambda p: _numbers(p.parent.name))
    found = [p for p in found if wanted in (None, p.parent.name)]
    return max(reversed(found), key=lambda p: p.stat().st_size, default=None)


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _read(path: Path, columns: tuple[str, ...]) -> list[Row]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError('parquet files are read with pyarrow, which is not installed; install "shardproof[measured]"') from error
    try:
        rows: list[Row] = ParquetFile(path).read(columns=[*columns, "latency", *OPTIONAL]).to_pylist()
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]}); install {PACKAGE} again") from error
    missing = [name for name in (*columns, "latency") if rows and name not in rows[0]]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]}; this version of {PACKAGE} is laid out otherwise")
    return rows


def _package_version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "of unknown version"


def import_text(result: Json) -> str:
    """The result for people: how an instance uses the file, then one line per table."""
    lines = [
        f"Wrote {result['file']} ({result['bytes'] / 1e6:.1f} MB), {result['source']}.",
        "An instance uses it where cluster.pools.0.accelerator.tables is its path, from the folder of the instance file.",
        "",
        "operator           format     width  points  measured   moved (p90)  error on rows left out: median, p90",
    ]
    for t in result["tables"]:
        lines.append(
            f"{t['kind']:<18} {t['storage']:<9} {t['width']:>6}  {t['points']:>6}  {t['measured']:>8}  {t['moved']:>6}"
            f" ({t['moved_p90_ppm'] / 1e4:.1f} %)  {t['held_out_median_ppm'] / 1e4:.1f} %,"
            f" {t['held_out_p90_ppm'] / 1e4:.1f} % (n = {t['held_out']})"
        )
    return "\n".join([*lines, *(f"Not in the tables: {said}" for said in result["unpriced"])])
