"""The command `simulate`; `optimizer.cli` adds it to the others."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from optimizer.outcomes import outcomes


@outcomes
def simulate(
    instance: Annotated[Path, typer.Argument(help="instance file with a serving workload, JSON or YAML")],
    plan: Annotated[Path, typer.Argument(help="fleet file: workers with role, count and degrees")],
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="recorded arrivals, CSV or JSON lines, instead of drawn ones")] = None,
    rate: Annotated[float | None, typer.Option(metavar="RATE", help="requests/s of the drawn arrivals, instead of --utilisation")] = None,
    utilisation: Annotated[str | None, typer.Option(metavar="PCT", help="of what the fleet yields; without either the load, or 80")] = None,
    requests: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="how many to draw; else enough to see the fleet full")] = None,
    eager: Annotated[bool, typer.Option("--eager", help="prefill what has come, on however few data-parallel ranks")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="override one field of the instance")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="of the drawn arrivals")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> int:
    """What requests of a fleet wait when they come at random, or as recorded, beside the means that are proved."""
    from models.errors import InputError
    from models.fleet_plan import FleetFile
    from models.service import Service
    from optimizer.output import to_json
    from optimizer.reading import read_problem, read_record
    from optimizer.serving.asking import parse_asked
    from optimizer.serving.replay_text import simulate_text
    from optimizer.serving.replaying import run_simulate

    asked = parse_asked(trace, rate, utilisation, requests, seed, eager)
    service = read_problem(instance, set_ or ())
    if not isinstance(service, Service):
        raise InputError(f"{instance}: workload.kind: {service.workload.kind} is one pass, not a service; give an instance of kind serving")
    result = run_simulate(service, read_record(plan, FleetFile), str(plan), asked)
    sys.stdout.write(to_json(result) if as_json else simulate_text(result) + "\n")
    return 0
