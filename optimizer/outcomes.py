"""Exit codes, and what goes to stderr: progress, and why a command ended early."""

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer

from models.errors import InputError, VerificationError

P = ParamSpec("P")

OUR_BUG, BAD_INPUT, INFEASIBLE, LIMIT, REFUTED, INTERRUPTED = 1, 2, 3, 4, 5, 130

EXIT_OF_SEARCH = {"OPTIMAL": 0, "INFEASIBLE": INFEASIBLE, "FEASIBLE": LIMIT, "UNKNOWN": LIMIT}
EXIT_OF_PROOF = {"OPTIMAL": 0, "INFEASIBLE": INFEASIBLE, "UNKNOWN": LIMIT, "NOT_OPTIMAL": REFUTED}


def progress(quiet: bool) -> Callable[[str], None]:
    """Says how far a command is, with the seconds since it began; nothing when quiet."""
    started = time.monotonic()

    def say(message: str) -> None:
        if not quiet:
            typer.echo(f"[{time.monotonic() - started:6.1f} s] {message}", err=True)

    return say


def refuse_options(what: str, **given: object) -> None:
    """Raises InputError for an option that the instance gives no meaning: `what` says of what it is."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"--{name.strip('_')}: is {what}; leave it out")


def leave(code: int, message: str) -> NoReturn:
    """Say why on stderr, in one line, and end with the exit code."""
    typer.echo(one_line(message), err=True)
    raise typer.Exit(code)


def _drop_output() -> None:
    """Keeps the interpreter from flushing to a broken standard output once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(text: str, most: int = 1000) -> str:
    """`text` with what cannot be printed escaped, and its middle left out when it is long: input cannot forge output."""
    if len(text) > 4 * most:
        text = text[: 2 * most] + text[-2 * most :]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= most else f"{shown[: most * 2 // 3]} ... {shown[-most // 4 :]}"


def outcomes(command: Callable[P, int]) -> Callable[P, None]:
    """Turns a command's return value or error into its exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
            sys.stdout.flush()
        except InputError as error:
            leave(BAD_INPUT, f"Error: {error}")
        except VerificationError as error:
            leave(OUR_BUG, f"Error: our own answer failed its verification: {error}. This is our bug; please report it with the instance.")
        except KeyboardInterrupt as interruption:
            leave(INTERRUPTED, str(interruption) or "interrupted")
        except BrokenPipeError:  # the reader went away
            _drop_output()
            code = 0
        except OSError as error:  # every file of ours is read and written under its own guard
            _drop_output()
            leave(BAD_INPUT, f"Error: standard output cannot be written ({error.strerror}); send it elsewhere")
        raise typer.Exit(code)

    return run
