"""Frozen, strict records: the base of everything that is read from or written to a file."""

import hashlib
import json
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, StringConstraints, model_validator

SOURCE_KINDS = ("measured", "datasheet", "paper", "assumed")  # strongest first

Source = Annotated[str, StringConstraints(pattern=r"^(measured|datasheet|paper|assumed): \S", max_length=400)]


def _printable(text: str) -> str:
    """Refuses characters that could forge lines or move the cursor where the text is printed."""
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed; write it in one line of plain text")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=400), AfterValidator(_printable)]
Name = Annotated[Text, StringConstraints(max_length=120)]


class StopAtFirst(FailFast):
    """Ends the validation of a list at its first mistake, so that a million mistakes take no longer than one."""

    __hash__ = object.__hash__  # unions of annotated types hash their annotations


class Record(BaseModel):
    """A frozen record: unknown fields are refused, types are not coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def digest_of(record: Record) -> str:
    """SHA-256 of the canonical JSON, hexadecimal: all fields, names sorted, no spaces, characters as they are."""
    text = json.dumps(record.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class SourcedRecord(Record):
    """A record of constants, each with its origin.

    `sources` maps a field name to "measured|datasheet|paper|assumed: where"; "*" covers the rest.
    """

    sources: dict[str, Source] = Field(description='origin of each constant; key "*" covers every field not named')

    @model_validator(mode="after")
    def _every_constant_has_a_source(self) -> Self:
        fields = set(type(self).model_fields) - {"sources"}
        unknown = sorted(set(self.sources) - fields - {"*"})
        if unknown:
            raise ValueError(f'sources names "{unknown[0]}", which is not a field here; use one of {", ".join(sorted(fields))}')
        bare = sorted(f for f in self.constants() if f not in self.sources)
        if bare and "*" not in self.sources:
            raise ValueError(f'{bare[0]} has no source; add sources["{bare[0]}"] or sources["*"]')
        return self

    def constants(self) -> tuple[str, ...]:
        """Names of the fields that hold numbers (not names, kinds, absent values or what is left at its neutral default)."""
        values = ((f, field, getattr(self, f)) for f, field in type(self).model_fields.items() if f != "sources")
        return tuple(f for f, field, v in values if v is not None and v != field.default and not isinstance(v, str | bool | SourcedRecord))

    def source_of(self, field: str) -> str:
        """The source of one constant."""
        return self.sources.get(field, self.sources.get("*", "assumed: no source given"))
