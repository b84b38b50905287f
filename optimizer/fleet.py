"""The command `fleet`; `optimizer.cli` adds it to the others."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from optimizer.outcomes import INFEASIBLE, outcomes

Rows = Annotated[list[Path], typer.Argument(metavar="CSV...", help="priced worker shapes: role, num_total_gpus, seq/s, tokens/s")]


@outcomes
def fleet(
    rows: Rows,
    gpus: Annotated[int, typer.Option(min=1, max=65_536, help="GPUs that all workers share")],
    output_tokens: Annotated[int, typer.Option(min=1, max=10_000_000, help="tokens that a request yields")],
    prefill_share: Annotated[str, typer.Option(metavar="PCT", help="of a prefill worker's requests/s that a cell keeps")] = "100",
    decode_share: Annotated[str, typer.Option(metavar="PCT", help="of a decode worker's requests/s that a cell keeps")] = "100",
    load: Annotated[int | None, typer.Option(min=0, max=10**12, help="output tokens/s to reach on the fewest GPUs")] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", metavar="FILE", help="write the proof, for `check`")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
    force: Annotated[bool, typer.Option("--force", help="write over what is there")] = False,
) -> int:
    """The best mix of priced workers on a number of GPUs, proved."""
    from optimizer.fleets.candidates import Worth
    from optimizer.fleets.run import Wanted, fleet_text, run_fleet
    from optimizer.output import to_json
    from optimizer.search import parse_percent

    worth = Worth(output_tokens, parse_percent(prefill_share, "--prefill-share"), parse_percent(decode_share, "--decode-share"))
    wanted = Wanted(gpus, worth, "rate" if load is None else "gpus", load)
    result = run_fleet(rows, wanted, certificate, force)
    sys.stdout.write(to_json(result) if as_json else fleet_text(result) + "\n")
    return INFEASIBLE if result["status"] == "INFEASIBLE" else 0
