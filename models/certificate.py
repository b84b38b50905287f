"""The file `shardproof-certificate/1`: records of its grammar, and a reader that trusts nothing.

The meaning of every field, and why an accepted file proves its claim: `docs/certificate.md`.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from models.arguments import Argument
from models.certified_plan import AllDegrees as AllDegrees
from models.certified_plan import PricedPlan as PricedPlan
from models.certified_plan import StatedPlan as StatedPlan
from models.expert_map import ExpertMap
from models.fleet_claim import FleetClaim
from models.instance import Instance
from models.packing import MOST_DIGITS, Natural, Problem, Refused
from models.record import Name, Record, StopAtFirst
from models.service_claim import ServiceClaim
from models.strategy import Ranks

FORMAT = "shardproof-certificate/1"
MOST_CHARACTERS = 16_000_000
MOST_LEVELS = 64
MOST_OBJECTS = 1_000_000  # half a kilobyte each while they are validated


Plans = Annotated[tuple[PricedPlan, ...], StopAtFirst(), Field(max_length=100_000)]


class Optimal(Record):
    """No plan is below `value`; every strategy with a plan of at most `complete_to` is listed."""

    kind: Literal["optimal"]
    value: Natural
    complete_to: Natural
    plans: Annotated[Plans, Field(min_length=1)]
    strategies: Natural
    refuted: PricedPlan | None


class Bounded(Record):
    """No plan is below `bound`; the best one listed has `value`."""

    kind: Literal["bounded"]
    value: Natural | None
    bound: Natural
    complete_to: Natural | None
    plans: Plans
    strategies: Natural | None
    refuted: PricedPlan | None


class Infeasible(Record):
    """No plan of the space keeps the rules."""

    kind: Literal["infeasible"]
    strategies: Natural


class BrokenRule(Record):
    """A rule by name, what is needed and what there is."""

    rule: Name
    need: int | None
    have: int | None


class Broken(Record):
    """This plan breaks these rules."""

    kind: Literal["broken"]
    plan: StatedPlan
    rules: Annotated[tuple[BrokenRule, ...], StopAtFirst(), Field(min_length=1, max_length=10_000)]


class Placement(Record):
    """One placement problem on its own: no placement is below `bound`, and this one has `value`."""

    kind: Literal["placement"]
    problem: Problem
    placement: Ranks | None
    value: Natural | None
    bound: Natural
    argument: Argument | None


Claimed = Annotated[
    Optimal | Bounded | Infeasible | Broken | Placement | ExpertMap | FleetClaim | ServiceClaim, Field(discriminator="kind")
]


class Fact(Record):
    """In row `row` of the expert loads, on `ranks` ranks, some rank of every placement carries at least `least`."""

    row: Annotated[int, Field(ge=0, le=1000)]
    ranks: Annotated[int, Field(ge=1, le=4096)]
    least: Natural
    argument: Argument


class Certificate(Record):
    """A claim about an instance, and the arguments that a checker does not find by itself."""

    format: Literal["shardproof-certificate/1"]
    cost_model: Literal["shardproof-cost/2"]
    instance_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    instance: Instance | None
    claim: Claimed
    facts: Annotated[tuple[Fact, ...], StopAtFirst(), Field(max_length=10_000)]
    provenance: dict[str, JsonValue]

    def text(self) -> str:
        """The file: compact JSON in the order of the grammar, one line."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")) + "\n"


class NotACertificate(Exception):
    """The text is not a certificate at all; the message is one clause."""


def parse(text: str) -> Certificate:
    """The certificate that a text holds.

    Raises NotACertificate where it is no JSON object of this format, and Refused, with the place,
    where one of its fields is not as the grammar says.
    """
    data = _read_json(text)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise NotACertificate(f'no "format": "{FORMAT}"')
    try:
        return Certificate.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise Refused(_shown(first["msg"].removeprefix("Value error, ")), _shown(_place(first["loc"]))) from error


def _read_json(text: str) -> Any:
    """RFC 8259 without duplicate names, points, exponents, NaN; at most 64 levels, 30 digits, 16 million characters."""
    if len(text) > MOST_CHARACTERS:
        raise NotACertificate(f"{len(text)} characters; at most {MOST_CHARACTERS} are read")
    if text.count("{") > MOST_OBJECTS:
        raise NotACertificate(f"{text.count('{')} objects; at most {MOST_OBJECTS} are read")
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_refuse, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise NotACertificate(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise NotACertificate(f"more than {MOST_LEVELS} levels of nesting") from error
    level = [data]
    for _ in range(MOST_LEVELS):
        level = [c for v in level if isinstance(v, dict | list) for c in (v.values() if isinstance(v, dict) else v)]
    if level:
        raise NotACertificate(f"more than {MOST_LEVELS} levels of nesting")
    return data


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1) if len(names) < 1000 else "a name"
        raise NotACertificate(f'"{twice[:60]}" is given twice in one object')
    return found


def _integer(text: str) -> int:
    digits = len(text) - text.startswith("-")
    if digits > MOST_DIGITS:
        raise NotACertificate(f"a number of {digits} digits; at most {MOST_DIGITS} are read")
    return int(text)


def _refuse(text: str) -> Any:
    raise NotACertificate(f"{text[:40]} is not an integer")


_TAGGED = ("claim", "argument", "together", "apart", "fewer", "more")
_CLAIMS = ("optimal", "bounded", "infeasible", "broken", "placement", "expert_map", "fleet", "service")
_TAGS = (*_CLAIMS, "prices", "split", "branch", "steps", "counts", "nodes")


def _place(location: Sequence[str | int]) -> str:
    """The dotted path in the file; pydantic also names the kinds of unions, which are left out."""
    before = ("", *location)[: len(location)]
    steps = [str(step) for last, step in zip(before, location, strict=True) if not (step in _TAGS and last in _TAGGED)]
    return ".".join(steps) or "top level"


def _shown(text: str) -> str:
    """Short and printable: names that a file makes up cannot forge lines where the refusal is printed."""
    short = text if len(text) <= 400 else f"{text[:300]} ... {text[-60:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)
