"""Options of `place` as numbers: ratios, weights, sizes, and what to compare with."""

from decimal import Decimal
from pathlib import Path

from models.errors import InputError
from models.units import PPM, parse_quantity
from optimizer.mapping.request import Wanted
from optimizer.search import parse_percent


def parse_wanted(current: Path | None, judge: Path | None, loss: str | None, front: bool) -> Wanted:
    """What is asked for besides the placement. Raises InputError where options exclude or need each other."""
    if current is not None and judge is not None:
        raise InputError("--current and --judge both name a placement to compare with; give one of them")
    if loss is not None and current is None:
        raise InputError("--loss needs the placement in use; give it with --current")
    return Wanted(current or judge, judge is not None, front, None if loss is None else parse_percent(loss, "--loss"))


def parse_size(text: str | None, option: str) -> int | None:
    """ "20 GB" -> bytes, at least 1. Raises InputError."""
    if text is None:
        return None
    try:
        size = parse_quantity(int(text) if text.strip().isascii() and text.strip().isdigit() and len(text) < 19 else text, "bytes")
    except ValueError as error:
        raise InputError(f"{option}: {error}") from error
    if not isinstance(size, int) or size < 1:
        raise InputError(f"{option} {text[:40]}: must be at least 1 byte")
    return size


def parse_ratio(text: str, option: str) -> int:
    """ "1.05" -> 1,050,000 parts per million. Raises InputError unless it is a number of at least 1."""
    try:
        value = Decimal(text.strip()) * PPM
    except ArithmeticError:
        value = Decimal(0)
    if not (value.is_finite() and PPM <= value <= 1000 * PPM):
        raise InputError(f'{option} "{text[:40]}": write the wanted ratio of largest to mean load, from 1 to 1000, as in 1.05')
    return int(value)


def parse_weights(text: str) -> tuple[int, ...]:
    """ "3,1" -> (3, 1). Raises InputError."""
    parts = text.split(",")
    if not all(p.strip().isascii() and p.strip().isdigit() and len(p) < 10 for p in parts):
        raise InputError(f'--weights "{text[:40]}": write whole numbers separated by commas, one for each load file')
    return tuple(int(p) for p in parts)
