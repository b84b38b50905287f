"""The command line: parse, call, print. Everything heavy is imported inside the commands."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.batch import batch
from optimizer.fleet import fleet
from optimizer.inputs import calibrate, catalogue, import_model, import_tables, schema
from optimizer.outcomes import EXIT_OF_PROOF, EXIT_OF_SEARCH, INFEASIBLE, REFUTED, outcomes, progress, refuse_options
from optimizer.place import place
from optimizer.simulate import simulate

if TYPE_CHECKING:
    from models.instance import Instance
    from models.service import Service
    from optimizer.search import Options

PLAIN: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}
app = typer.Typer(**PLAIN, add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
app.add_typer(batch, name="batch")
app.command()(place)
app.command()(fleet)
app.command()(simulate)
app.command()(catalogue)
app.command()(calibrate)
app.command("import-model")(import_model)
app.command("import-tables")(import_tables)
app.command()(schema)


def _say_version(wanted: bool) -> None:
    from optimizer.report import tool_versions

    if wanted:
        tool = tool_versions(0)
        typer.echo(f"shardproof {tool['shardproof']} (cost model {tool['cost_model']}, ortools {tool['ortools']})")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="the versions")] = False,
) -> None:
    """Finds the best way to spread a large language model over a GPU cluster, and proves it."""


InstancePath = Annotated[Path, typer.Argument(help="instance file, JSON or YAML (see `schema instance`)")]
PlanPath = Annotated[Path, typer.Argument(help="plan file; only `degrees` is needed; of a service a fleet file")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="override one field of the instance")]
Space = Annotated[str | None, typer.Option(help="classic or folded, instead of the instance's space")]
Objective = Annotated[str | None, typer.Option(help="latency (not of a service), throughput, throughput_per_gpu, cost or gpus")]
Effort = Annotated[int, typer.Option(min=1, max=10**9, help="limit: thousands of enumeration steps, or 0.1 deterministic solver seconds")]
Seconds = Annotated[float | None, typer.Option(min=0.0, help="wall limit; a result that it cuts short is not reproducible")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="of the solver")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="solver threads (joint route)")]
Route = Annotated[str, typer.Option(help="enumeration, or joint: the CP-SAT model (of a service: of the mix)")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on stdout")]
Out = Annotated[Path | None, typer.Option(help="folder for the result files")]
Force = Annotated[bool, typer.Option("--force", help="write into a folder that is not empty")]
CertificateOut = Annotated[Path | None, typer.Option("--certificate", metavar="FILE", help="write the proof, for `check`")]
Robust = Annotated[str | None, typer.Option(metavar="PCT", help="also the plan of least regret with coefficients off by PCT percent")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress on stderr")]


def _chosen(overrides: list[str] | None, space: str | None, objective: str | None) -> list[str]:
    own = [f"{name}={value}" for name, value in (("space.name", space), ("objective.name", objective)) if value is not None]
    return [*(overrides or []), *own]


def _load(path: Path, overrides: list[str] | None, space: str | None, objective: str | None) -> "Instance | Service":
    from optimizer.reading import read_problem

    return read_problem(path, _chosen(overrides, space, objective))


def _options(epsilon: str | None, effort: int, seconds: float | None, seed: int, workers: int, route: str) -> "Options":
    from models.errors import InputError
    from optimizer.search import ROUTES, Options, parse_percent

    if route not in ROUTES:
        raise InputError(f'--route "{route}": write one of {", ".join(ROUTES)}')
    return Options(parse_percent("1" if epsilon is None else epsilon, "--epsilon"), effort, seconds, seed, workers, route)


def _emit(result: dict[str, Any], text: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    from optimizer.output import to_json

    sys.stdout.write(to_json(result) if as_json else text(result) + "\n")


@app.command()
@outcomes
def search(
    instance: InstancePath,
    space: Space = None,
    objective: Objective = None,
    epsilon: Annotated[str | None, typer.Option(metavar="PCT", help="also list strategies within PCT percent of the best; else 1")] = None,
    set_: Overrides = None,
    route: Route = "enumeration",
    effort: Effort = 10_000,
    seconds: Seconds = None,
    seed: Seed = 0,
    workers: Workers = 1,
    robust: Robust = None,
    front: Annotated[
        int | None,
        typer.Option("--front", min=1, metavar="STEP", help="of a service: the front over tokens/s per user, at every multiple of STEP"),
    ] = None,
    certificate: CertificateOut = None,
    all_: Annotated[
        bool, typer.Option("--all", help="of --certificate and --out: the proof covers the near-optimal strategies too")
    ] = False,
    as_json: AsJson = False,
    out: Out = None,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Every optimal strategy of an instance, or a service's best fleet, confirmed by the solver-free checker."""
    from models.instance import Instance
    from optimizer.commands import Files, run_search
    from optimizer.render import search_text

    problem, options = _load(instance, set_, space, objective), _options(epsilon, effort, seconds, seed, workers, route)
    if not isinstance(problem, Instance):
        from optimizer.serving.commands import search_service

        refuse_options("of one forward pass", robust=robust, all_=all_ or None, epsilon=epsilon)
        found = search_service(problem, front, options, Files(out, force, certificate), progress(quiet))
        _emit(*found, as_json)
        return EXIT_OF_SEARCH[found.result["status"]]
    refuse_options("of a service, an instance whose workload is serving", front=front)
    result = run_search(problem, options, Files(out, force, certificate, all_), progress(quiet), robust)
    _emit(result, search_text, as_json)
    return EXIT_OF_SEARCH[result["status"]]


@app.command()
@outcomes
def prove(
    instance: InstancePath,
    plan: PlanPath,
    space: Space = None,
    objective: Objective = None,
    set_: Overrides = None,
    route: Route = "enumeration",
    effort: Effort = 10_000,
    seconds: Seconds = None,
    seed: Seed = 0,
    workers: Workers = 1,
    robustness: Annotated[bool, typer.Option("--robustness", help="how far each coefficient may be off")] = False,
    certificate: CertificateOut = None,
    as_json: AsJson = False,
    out: Out = None,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Is this plan, or fleet, optimal? If not, a better one, or every rule it breaks."""
    from models.instance import Instance
    from models.strategy import PlanFile
    from optimizer.commands import Files, run_prove
    from optimizer.reading import read_record
    from optimizer.render import prove_text

    problem, options = _load(instance, set_, space, objective), _options("0", effort, seconds, seed, workers, route)
    if not isinstance(problem, Instance):
        from optimizer.serving.commands import prove_fleet

        refuse_options("of one forward pass", robustness=robustness or None)
        found = prove_fleet(problem, plan, options, Files(out, force, certificate), progress(quiet))
        _emit(*found, as_json)
        return EXIT_OF_PROOF[found.result["status"]]
    result = run_prove(problem, read_record(plan, PlanFile), options, Files(out, force, certificate), progress(quiet), robustness)
    _emit(result, prove_text, as_json)
    return EXIT_OF_PROOF[result["status"]]


@app.command()
@outcomes
def check(
    certificate: Annotated[Path, typer.Argument(help="file written with --certificate")],
    instance: Annotated[Path | None, typer.Option(help="the instance file it must be about")] = None,
    plan: Annotated[Path | None, typer.Option(help="a plan file that it must speak of")] = None,
    space: Space = None,
    objective: Objective = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> int:
    """Does this certificate prove what it claims? Needs no solver and no search."""
    from optimizer.inspect import check_text, run_check

    problem = _load(instance, set_, space, objective) if instance else None
    result = run_check(certificate, problem, plan)
    _emit(result, check_text, as_json)
    return 0 if result["status"] == "VALID" else REFUTED


@app.command()
@outcomes
def audit(
    document: Annotated[Path, typer.Argument(help="a plan with claims (see `schema claims`)")],
    set_: Overrides = None,
    effort: Effort = 10_000,
    seconds: Seconds = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    out: Out = None,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Which claims of a deployment document can be reproduced?"""
    from optimizer.audit import audit_text, run_audit

    options = _options("0", effort, seconds, seed, 1, "enumeration")
    result = run_audit(document, tuple(set_ or ()), options, out, force, progress(quiet))
    _emit(result, audit_text, as_json)
    return REFUTED if any(c["verdict"] == "contradicted" for c in result["claims"]) else 0


@app.command()
@outcomes
def explain(
    instance: InstancePath,
    plan: PlanPath,
    space: Space = None,
    objective: Objective = None,
    set_: Overrides = None,
    route: Route = "enumeration",
    effort: Effort = 10_000,
    seconds: Seconds = None,
    seed: Seed = 0,
    workers: Workers = 1,
    certificate: CertificateOut = None,
    as_json: AsJson = False,
    out: Out = None,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """What binds a plan, where its time goes, what it breaks, and what would have to change for it to win."""
    from models.instance import Instance
    from models.strategy import PlanFile
    from optimizer.commands import Files
    from optimizer.explaining.explain import run_explain
    from optimizer.explaining.explanation import explain_text
    from optimizer.reading import read_record

    problem, options = _load(instance, set_, space, objective), _options("0", effort, seconds, seed, workers, route)
    if not isinstance(problem, Instance):
        from optimizer.serving.commands import explain_fleet

        found = explain_fleet(problem, plan, options, Files(out, force, certificate), progress(quiet))
        _emit(*found, as_json)
        return EXIT_OF_PROOF[found.result["status"]]
    result = run_explain(problem, read_record(plan, PlanFile), options, Files(out, force, certificate), progress(quiet))
    _emit(result, explain_text, as_json)
    return EXIT_OF_PROOF[result["status"]]


@app.command()
@outcomes
def diff(
    first: PlanPath,
    second: PlanPath,
    instance: Annotated[Path, typer.Option(help="the instance that both are plans of")],
    space: Space = None,
    objective: Objective = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> int:
    """Two plans side by side: time by term, memory and traffic."""
    from models.instance import Instance
    from models.strategy import PlanFile
    from optimizer.explaining.diff import diff_text, run_diff
    from optimizer.reading import read_record

    problem = read_record(instance, Instance, _chosen(set_, space, objective))
    result = run_diff(problem, *(read_record(path, PlanFile) for path in (first, second)))
    _emit(result, diff_text, as_json)
    return 0 if result["status"] == "COMPARED" else INFEASIBLE


@app.command()
@outcomes
def doctor(as_json: AsJson = False) -> int:
    """Versions, the solver's known defect, and a tiny instance with a known optimum by both routes."""
    from optimizer.doctor import doctor_text, run_doctor

    result = run_doctor()
    _emit(result, doctor_text, as_json)
    return 0 if result["status"] == "OK" else 1


def main() -> None:
    """Entry point of `shardproof` and `python -m optimizer`."""
    gc.set_threshold(100_000, 50, 50)  # millions of small tuples, no cycles
    app()
