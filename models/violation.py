"""What a rule says of a plan that breaks it."""

from typing import NamedTuple


class Violation(NamedTuple):
    """A broken rule: what is needed, what there is, and the sentence that says so."""

    rule: str
    sentence: str
    need: int | None = None
    have: int | None = None
