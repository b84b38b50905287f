"""`search`, `prove` and `explain` of a service: what each answers, and how that is printed."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError
from models.service import Service
from optimizer.commands import Files
from optimizer.search import Options
from optimizer.serving.explain import run_service_explain, run_service_prove
from optimizer.serving.explanation import service_explain_text, service_prove_text
from optimizer.serving.front import front_text, run_front
from optimizer.serving.report import Json
from optimizer.serving.run import run_service_search
from optimizer.serving.text import service_text


class Answer(NamedTuple):
    """A result, and what prints it."""

    result: Json
    text: Callable[[Json], str]


def search_service(service: Service, front: int | None, options: Options, files: Files, progress: Callable[[str], None]) -> Answer:
    """The best fleet, or with `front` the best at every multiple of so many tokens/s per user."""
    if front is None:
        return Answer(run_service_search(service, options, files, progress), service_text)
    if files.certificate is not None:
        raise InputError("--certificate: is of one fleet, a front has one for every limit; use --out, which writes them all")
    return Answer(run_front(service, front, options, files, progress), front_text)


def prove_fleet(service: Service, plan: Path, options: Options, files: Files, progress: Callable[[str], None]) -> Answer:
    """Is this fleet the best?"""
    return Answer(run_service_prove(service, plan, options, files, progress), service_prove_text)


def explain_fleet(service: Service, plan: Path, options: Options, files: Files, progress: Callable[[str], None]) -> Answer:
    """What binds each of its workers."""
    return Answer(run_service_explain(service, plan, options, files, progress), service_explain_text)
