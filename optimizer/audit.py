"""A deployment document's claims: reproduced, contradicted, or not derivable, and why."""

import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator

from models.errors import InputError
from models.instance import Instance
from models.record import Name, Record, Text
from models.strategy import PlanFile
from optimizer.confined import path_beside
from optimizer.output import check_free, to_json, write_folder
from optimizer.quantities import QUANTITIES, Figure, NoPriceError, Subject
from optimizer.reading import read_record
from optimizer.report import Json, header
from optimizer.search import Options, resolve

Number = Annotated[str, Field(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$")]


class Arithmetic(Record):
    """How the document itself arrives at a figure: times * sum(parts) / over."""

    parts: tuple[Number, ...] = Field(min_length=1, max_length=50)
    over: Number = "1"
    times: Number = "1"
    what: Text

    @field_validator("over")
    @classmethod
    def _over_something(cls, over: str) -> str:
        if Fraction(over) == 0:
            raise ValueError("must not be 0")
        return over

    def value(self) -> Fraction:
        return Fraction(self.times) * sum(map(Fraction, self.parts)) / Fraction(self.over)


class Claim(Record):
    """One statement of a document about a quantity we can derive, or one it leaves underived."""

    claim: Text = Field(description="the document's words")
    quantity: str = Field(description="what it is about; see the list in docs/cli.md")
    said: Number = Field(description="the document's figure; its last digit sets the tolerance")
    relation: Literal["equals", "at_most", "at_least"] = "equals"
    own_arithmetic: Arithmetic | None = None


class Claims(Record):
    """A plan with the claims made for it."""

    format: Literal["shardproof-claims/1"]
    name: Name
    source: Text
    instance: str = Field(description="instance file, relative to this file")
    plan: PlanFile
    claims: tuple[Claim, ...] = Field(min_length=1, max_length=1000)


class Judged(NamedTuple):
    """A claim's verdict."""

    verdict: Literal["reproduced", "contradicted", "not_derivable"]
    ours: str | None
    why: str


def run_audit(
    document: Path, overrides: tuple[str, ...], options: Options, out: Path | None, force: bool, progress: Callable[[str], None]
) -> Json:
    """Judge every claim of a document. Raises InputError when the document or its instance cannot be read."""
    if out is not None:
        check_free(out, force)
    started = time.monotonic()
    claims = read_record(document, Claims)
    instance = read_record(path_beside(document, claims.instance, "instance"), Instance, overrides)
    plan, _, broken = resolve(instance, claims.plan)
    subject = Subject(instance, plan, broken, options, progress)
    judged = [(c, judge_claim(c, _derive(c.quantity, subject, document))) for c in claims.claims]
    found = [
        {"claim": c.claim, "quantity": c.quantity, "said": c.said, "ours": j.ours, "verdict": j.verdict, "why": j.why} for c, j in judged
    ]
    contradicted = any(j.verdict == "contradicted" for _, j in judged)
    result = header("audit", "CONTRADICTED" if contradicted else "CONSISTENT", instance, options, time.monotonic() - started)
    result |= {"document": {"name": claims.name, "source": claims.source}, "plan": plan.strategy.label(), "claims": found}
    if out is not None:
        write_folder(out, {"audit.json": to_json(result)}, force)
    return result


def _derive(quantity: str, subject: Subject, document: Path) -> Figure:
    if quantity not in QUANTITIES:
        raise InputError(f'{document}: claims: quantity "{quantity[:80]}" is not known; write one of {", ".join(sorted(QUANTITIES))}')
    try:
        return QUANTITIES[quantity](subject)
    except NoPriceError as error:
        return Figure(None, str(error))


def judge_claim(claim: Claim, figure: Figure) -> Judged:
    """Reproduced when our figure, or the document's own arithmetic, gives what was said to its last digit."""
    said, ours = Decimal(claim.said), figure.value
    shown = None if ours is None else _shown(ours, said)
    if ours is not None and _holds(ours, claim):
        return Judged("reproduced", shown, figure.how)
    own = claim.own_arithmetic
    if own is not None and _holds(own.value(), claim):
        beside = "; we derive no such figure: " + figure.how if ours is None else f"; our figure is {shown}: {figure.how}"
        return Judged("reproduced", shown, f"only by the document's own arithmetic ({own.what}){beside}")
    mismatch = "" if own is None else f"; the document's own arithmetic ({own.what}) gives {_shown(own.value(), said)}"
    if ours is None and own is None:
        return Judged("not_derivable", None, figure.how)
    return Judged("contradicted", shown, figure.how + mismatch)


def _holds(value: Fraction, claim: Claim) -> bool:
    said = Fraction(claim.said)
    match claim.relation:
        case "at_most":
            return value <= said
        case "at_least":
            return value >= said
        case "equals":
            places = -int(Decimal(claim.said).as_tuple().exponent)
            return abs(value - said) * 2 <= Fraction(1, 10**places)


def _shown(value: Fraction, like: Decimal) -> str:
    """To one more digit than `like`, or three significant ones where that leaves fewer."""
    places = max(-int(like.as_tuple().exponent) + 1, 0)
    while 0 < abs(value) * 10**places < 100 and places < 12:
        places += 1
    text = f"{round(value * 10**places) / Decimal(10**places):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def audit_text(r: dict[str, Any]) -> str:
    """What `audit` prints."""
    counts = {v: sum(c["verdict"] == v for c in r["claims"]) for v in ("reproduced", "contradicted", "not_derivable")}
    summary = ", ".join(f"{n} {v.replace('_', ' ')}" for v, n in counts.items())
    lines = [f"{r['document']['name']}: {summary}", ""]
    for c in r["claims"]:
        ours = "" if c["ours"] is None else f", ours {c['ours']}"
        lines += [f"  {c['verdict'].replace('_', ' ').upper():14s} {c['claim']} (said {c['said']}{ours})", f"  {'':14s} {c['why']}"]
    return "\n".join(lines)
