"""Commands about what an instance is made of; `optimizer.cli` adds them to the others."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from optimizer.outcomes import outcomes, progress

Kind = Annotated[str | None, typer.Argument(help="machines, models or engines; all of them without it")]
Config = Annotated[Path, typer.Argument(metavar="CONFIG_JSON", help="config.json as published; hf_quant_config.json beside it is read too")]
ModelName = Annotated[str | None, typer.Option("--name", help="name of the model; without it, that of the file's folder")]
Out = Annotated[Path | None, typer.Option("--out", help="write the architecture here, for `architecture` in an instance file")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on stdout")]


@outcomes
def catalogue(kind: Kind = None, as_json: AsJson = False) -> int:
    """Machines, models and engines that an instance may name."""
    from optimizer.listing import catalogue_text, run_catalogue
    from optimizer.output import to_json

    result = run_catalogue(kind)
    sys.stdout.write(to_json(result) if as_json else catalogue_text(result) + "\n")
    return 0


@outcomes
def import_model(config: Config, name: ModelName = None, out: Out = None, as_json: AsJson = False) -> int:
    """Read the configuration published with a model."""
    from optimizer.importing.summary import run_import, summary_text
    from optimizer.output import to_json

    result = run_import(config, name, out)
    sys.stdout.write(to_json(result) if as_json else summary_text(result) + "\n")
    return 0


@outcomes
def import_tables(
    system: Annotated[str, typer.Argument(help="the package's name of the machine, e.g. h200_sxm")],
    engine: Annotated[str, typer.Option(help="trtllm, sglang or vllm")],
    instance: Annotated[Path, typer.Option(help="the instance whose model the tables are for")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="write the tables here, for `accelerator.tables` in an instance file")],
    version: Annotated[str | None, typer.Option(help="of the engine; without it, the one measured most")] = None,
    force: Annotated[bool, typer.Option("--force", help="write over a file that is there")] = False,
    as_json: AsJson = False,
) -> int:
    """Read measured operator times from an installed aiconfigurator-core."""
    from optimizer.measuring.importing import import_text, run_import_tables
    from optimizer.output import to_json
    from optimizer.reading import read_problem

    result = run_import_tables(system, engine, version, read_problem(instance), out, force)
    sys.stdout.write(to_json(result) if as_json else import_text(result) + "\n")
    return 0


@outcomes
def calibrate(
    out: Annotated[Path, typer.Option(help="the machine's record, JSON")],
    name: Annotated[str | None, typer.Option(help="name of the machine; without it, as its driver calls it")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="fewer sizes")] = False,
    timings: Annotated[Path | None, typer.Option(metavar="FILE", help="fit these timings, measure nothing")] = None,
    save_timings: Annotated[Path | None, typer.Option(metavar="FILE", help="write the timings too")] = None,
    as_json: AsJson = False,
    force: Annotated[bool, typer.Option("--force", help="write over files that are there")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress on stderr")] = False,
) -> int:
    """Measure this machine's GPUs (needs PyTorch) and write a record of them for instance files."""
    from optimizer.calibrating.calibrate import Request, calibrate_text, run_calibrate
    from optimizer.output import to_json

    result = run_calibrate(Request(out, name, quick, timings, save_timings, force), progress(quiet))
    sys.stdout.write(to_json(result) if as_json else calibrate_text(result) + "\n")
    return 0


@outcomes
def schema(name: Annotated[str, typer.Argument(help="instance, service, plan, fleet, claims or certificate")]) -> int:
    """The JSON Schema of a file format."""
    from optimizer.commands import file_schema
    from optimizer.output import to_json

    sys.stdout.write(to_json(file_schema(name)))
    return 0
