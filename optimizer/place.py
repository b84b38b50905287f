"""The command `place`; `optimizer.cli` adds it to the others."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from optimizer.outcomes import INFEASIBLE, INTERRUPTED, LIMIT, outcomes, progress

Loads = Annotated[list[Path], typer.Argument(metavar="LOADS...", help="token counts [layer][expert], or an instance file")]
Size = Annotated[str | None, typer.Option(help='bytes with a unit, e.g. "20 GB"')]


@outcomes
def place(
    loads: Loads,
    ranks: Annotated[int | None, typer.Option(min=1, max=65_536, help="expert-parallel ranks")] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=4096, help="slots per rank, all of them filled")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, max=65_536, help="nodes of equally many consecutive ranks")] = None,
    groups: Annotated[int | None, typer.Option(min=1, max=4096, help="expert groups (n_group) with home nodes")] = None,
    hierarchy: Annotated[str, typer.Option(help="none; strict: replicas at home only; soft: one at home, the others anywhere")] = "none",
    off_home: Annotated[str | None, typer.Option(metavar="PCT", help="soft: tokens served off home at most")] = None,
    dispatch: Annotated[str, typer.Option(help="equal, nearest (SGLang static) or free (a split per batch)")] = "equal",
    replicas: Annotated[Path | None, typer.Option(help="numbers of replicas [layer][expert], where they are given")] = None,
    weights: Annotated[str | None, typer.Option(metavar="W1,W2,...", help="of the load files; without it the worst counts")] = None,
    memory: Size = None,
    expert_size: Size = None,
    current: Annotated[Path | None, typer.Option(metavar="MAP", help="placement in use: an engine's file, to compare with")] = None,
    loss: Annotated[str | None, typer.Option(metavar="PCT", help="with --current: what few moves may cost")] = None,
    judge: Annotated[Path | None, typer.Option(metavar="MAP", help="an engine's file, to be judged")] = None,
    target: Annotated[str | None, typer.Option(metavar="RATIO", help="the fewest slots with this largest / mean load")] = None,
    front: Annotated[bool, typer.Option("--front", help="soft: largest load against load off home")] = False,
    first_layer: Annotated[int, typer.Option(min=0, max=10_000, help="model layer of the first row of the loads")] = 0,
    model_layers: Annotated[int | None, typer.Option(min=1, max=10_000, help="layers of the model, for the engines' files")] = None,
    effort: Annotated[int, typer.Option(min=1, max=10**9, help="limit: re-splits per layer")] = 3_000,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="wall limit; layers begun after it get the least effort")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="of random choices")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="processes; one per core without it")] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", metavar="FILE", help="write the proof, for `check`")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
    out: Annotated[Path | None, typer.Option(help="folder for the engines' files, the result and the proof")] = None,
    force: Annotated[bool, typer.Option("--force", help="write over what is there")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress on stderr")] = False,
) -> int:
    """Experts to ranks under real loads, each layer with a bound that no placement undercuts."""
    from optimizer.commands import Files
    from optimizer.mapping.layers import PlaceOptions
    from optimizer.mapping.options import parse_ratio, parse_size, parse_wanted, parse_weights
    from optimizer.mapping.parallel import Haste
    from optimizer.mapping.place import run_place
    from optimizer.mapping.request import Machine, Numbering, Rules, make_request
    from optimizer.mapping.text import place_text
    from optimizer.output import to_json
    from optimizer.search import parse_percent

    wanted = parse_wanted(current, judge, loss, front)
    machine = Machine(ranks, slots, nodes, groups, parse_size(memory, "--memory"), parse_size(expert_size, "--expert-size"))
    limit = None if off_home is None else parse_percent(off_home, "--off-home")
    ratio = None if target is None else parse_ratio(target, "--target")
    rules = Rules(dispatch, hierarchy, limit, None if weights is None else parse_weights(weights), replicas, ratio)
    options = PlaceOptions(effort, seed, workers, Haste(None if seconds is None else time.time() + seconds))
    request = make_request(loads, machine, rules, Numbering(first_layer, model_layers), wanted, options)
    result = run_place(request, wanted, Files(out, force, certificate), progress(quiet))
    sys.stdout.write(to_json(result) if as_json else place_text(result) + "\n")
    if options.haste is not None and options.haste.interrupted:
        return INTERRUPTED
    if result["status"] == "INFEASIBLE":
        return INFEASIBLE
    return LIMIT if result["limited"] or result["status"] == "UNKNOWN" else 0
