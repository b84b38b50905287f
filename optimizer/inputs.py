"""Commands about what an instance is made of; `optimizer.cli` adds them to the others."""

import sys
from typing import Annotated

import typer

from optimizer.outcomes import outcomes

Kind = Annotated[str | None, typer.Argument(help="machines, models or engines; all of them without it")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on stdout")]


@outcomes
def catalogue(kind: Kind = None, as_json: AsJson = False) -> int:
    """Machines, models and engines that an instance may name."""
    from optimizer.listing import catalogue_text, run_catalogue
    from optimizer.output import to_json

    result = run_catalogue(kind)
    sys.stdout.write(to_json(result) if as_json else catalogue_text(result) + "\n")
    return 0
