"""A checker of DRCP proof logs, as Pumpkin 0.5 writes them for models of linear rows over 0-1 variables.

A log is a list of lines:

    a ID [NAME OP INT]                             an atom; -ID stands for its negation
    i ID ATOM... 0 [ATOM] [c:ID] l:LABEL           an inference: the premises imply the conclusion (or cannot all hold)
    n ID ATOM... 0 ID...                           a nogood: not all atoms hold; the inferences that show it, in order
    c UNSAT                                        the conclusion, last

An inference rests on one thing, which alone must rule out "premises and not conclusion": row ID of the
model, rows numbered from 1 (linear_bounds: its least or largest sum), an earlier nogood (nogood: all
its atoms hold), or the 0-1 domain (initial_domain). A nogood is checked by assuming its atoms and
applying its inferences one after the other: each must be ready, and a contradiction must follow.
UNSAT needs a nogood without atoms.

Everything rests on the rows handed in, nothing on the solver. Whatever is not named above is refused.
"""

import re
from collections.abc import Iterable, Sequence
from operator import eq, ge, le, ne
from typing import NamedTuple

from placement_rows import Row

ATOM = re.compile(r"\[(\w+) (>=|<=|==|!=) (-?[0-9]{1,30})\]")
RELATIONS = {">=": ge, "<=": le, "==": eq, "!=": ne}
BOTH = 0b11


class LogRefused(Exception):
    """The log does not prove its claim about these rows."""


class Atom(NamedTuple):
    """The variable takes a value v of {0, 1} with bit v in `values`."""

    name: str
    values: int

    def negation(self) -> "Atom":
        return Atom(self.name, BOTH & ~self.values)


class Inference(NamedTuple):
    premises: tuple[Atom, ...]
    conclusion: Atom | None


class Box:
    """Values that each variable may still take."""

    def __init__(self, atoms: Iterable[Atom] = ()) -> None:
        self.values: dict[str, int] = {}
        self.empty = False
        for atom in atoms:
            self.assume(atom)

    def assume(self, atom: Atom) -> None:
        left = self.values.get(atom.name, BOTH) & atom.values
        self.values[atom.name] = left
        self.empty = self.empty or not left

    def implies(self, atom: Atom) -> bool:
        return not self.values.get(atom.name, BOTH) & ~atom.values

    def least(self, terms: Iterable[tuple[str, int]]) -> int:
        """Least sum of coefficient * variable, where each variable has a value left."""
        total = 0
        for name, coefficient in terms:
            values = self.values.get(name, BOTH)
            if values == 0b10 or (values == BOTH and coefficient < 0):
                total += coefficient
        return total

    def excludes(self, row: Row) -> bool:
        """No point of the box satisfies the row, by its bounds alone."""
        return self.least(row.terms) > row.right or (row.equal and -self.least([(v, -a) for v, a in row.terms]) < row.right)


class Log:
    """What has been read and checked so far."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = {str(number): row for number, row in enumerate(rows, 1)}
        self.names = {name for row in rows for name, _ in row.terms}
        self.atoms: dict[str, Atom] = {}
        self.inferences: dict[str, Inference] = {}
        self.nogoods: dict[str, tuple[Atom, ...]] = {}

    def add_atom(self, number: str, text: str) -> None:
        match = ATOM.fullmatch(text)
        if number in self.atoms or not match or match[1] not in self.names or not (number.isdecimal() and int(number) > 0):
            raise LogRefused("not a new atom over a variable of the model")
        relation, bound = RELATIONS[match[2]], int(match[3])
        self.atoms[number] = Atom(match[1], sum(1 << v for v in (0, 1) if relation(v, bound)))

    def find_atom(self, text: str) -> Atom:
        atom = self.atoms.get(text.removeprefix("-"))
        if atom is None:
            raise LogRefused(f"atom {text} is not known")
        return atom.negation() if text.startswith("-") else atom

    def check_new(self, number: str) -> None:
        if not number.isdecimal() or number in self.rows or number in self.inferences or number in self.nogoods:
            raise LogRefused(f"step {number} is not new")

    def add_inference(self, number: str, words: list[str]) -> None:
        """`words` follow the number: premises, 0, a conclusion or none, what it rests on, its label."""
        self.check_new(number)
        before, after = _cut_at_zero(words)
        labels = [w for w in after if w.startswith("l:")]
        grounds = [w.removeprefix("c:") for w in after if w.startswith("c:")]
        conclusions = [w for w in after if w[:2] not in ("l:", "c:")]
        if len(labels) != 1 or len(conclusions) > 1:
            raise LogRefused("not an inference")
        premises = tuple(self.find_atom(w) for w in before)
        conclusion = self.find_atom(conclusions[0]) if conclusions else None
        box = Box([*premises, *([conclusion.negation()] if conclusion else [])])
        if not (self.rules_out(box, labels[0], grounds) or box.empty):
            raise LogRefused("the inference does not follow from what it rests on")
        self.inferences[number] = Inference(premises, conclusion)

    def rules_out(self, box: Box, label: str, grounds: list[str]) -> bool:
        """Whether the row or the nogood contradicts the box; the 0-1 domain is in every box already."""
        match label, grounds:
            case "l:initial_domain", []:
                return False
            case "l:linear_bounds", [number] if number in self.rows:
                return box.excludes(self.rows[number])
            case "l:nogood", [number] if number in self.nogoods:
                return all(box.implies(atom) for atom in self.nogoods[number])
        raise LogRefused(f"an inference of kind {label} from {grounds}")

    def add_nogood(self, number: str, words: list[str]) -> None:
        """`words` follow the number: atoms, 0, inferences."""
        self.check_new(number)
        before, steps = _cut_at_zero(words)
        atoms = tuple(self.find_atom(w) for w in before)
        box = Box(atoms)
        for step in steps:
            if box.empty:
                break
            self.apply(box, step)
        if not box.empty:
            raise LogRefused("the inferences do not contradict the nogood")
        self.nogoods[number] = atoms

    def apply(self, box: Box, step: str) -> None:
        """Assume the conclusion of an inference whose premises all hold."""
        inference = self.inferences.get(step)
        if inference is None or not all(box.implies(atom) for atom in inference.premises):
            raise LogRefused(f"inference {step} is not known, or not ready")
        if inference.conclusion is None:
            box.empty = True
        else:
            box.assume(inference.conclusion)


def _cut_at_zero(words: list[str]) -> tuple[list[str], list[str]]:
    if "0" not in words:
        raise LogRefused("no 0 between the two parts")
    at = words.index("0")
    return words[:at], words[at + 1 :]


def check_log(rows: Sequence[Row], text: str) -> None:
    """Accept that the rows, numbered from 1 in this order, have no 0-1 solution, or raise LogRefused with the line."""
    log = Log(rows)
    lines = text.splitlines()
    for at, line in enumerate(lines, 1):
        try:
            match line.split(" "):
                case ["a", number, *rest]:
                    log.add_atom(number, " ".join(rest))
                case ["i", number, *words]:
                    log.add_inference(number, words)
                case ["n", number, *words]:
                    log.add_nogood(number, words)
                case ["c", "UNSAT"] if at == len(lines):
                    break
                case _:
                    raise LogRefused("not a line of a log")
        except LogRefused as refused:
            raise LogRefused(f"line {at}: {refused}") from None
    else:
        raise LogRefused("the log has no conclusion")
    if () not in log.nogoods.values():
        raise LogRefused("UNSAT is not derived")
