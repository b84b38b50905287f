"""A checker of pseudo-Boolean proof logs, as Exact 2.2 writes them (VeriPB format, version 1.1), and of the formula file beside them.

A constraint is sum c * x >= bound over 0-1 variables x1, x2, ..., numbered as they first appear in the
rows; a row with `=` is two constraints, >= first. Each line of a log after the heading makes the next
constraint, numbered from 1:

    l N             constraint N of the rows
    pol WORD...     reverse Polish: a number, xN >= 0, ~xN >= 0, + adds, "K *" multiplies,
                    "K d" divides by K and rounds up, s saturates
    rup C ;         C, if unit propagation refutes its negation together with the constraints so far
    c N             the conclusion, last: no 0-1 point satisfies constraint N

Division and saturation are sound for constraints in literals, a negated variable for each negative
coefficient: sum |c| l >= degree with degree = bound + sum of |negative c|. Dividing rounds all up;
saturating cuts |c| to the degree, which no 0-1 point can tell.

Everything rests on the rows handed in, nothing on the solver. Whatever is not named above is refused.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from placement_rows import Row

HEADINGS = ("pseudo-Boolean proof version 1.1", "* #variable= 0 #constraint= 0")
LITERAL = re.compile(r"(~?)x([1-9][0-9]{0,8})")
NUMBER = re.compile(r"[0-9]{1,4000}")


class ProofRefused(Exception):
    """The log does not prove its claim about these rows."""


class Constraint(NamedTuple):
    """sum of coefficient * variable >= bound; no coefficient is 0."""

    terms: dict[int, int]
    bound: int

    @property
    def degree(self) -> int:
        """Right side once every negative coefficient is that of a negated variable."""
        return self.bound - sum(c for c in self.terms.values() if c < 0)

    @property
    def slack(self) -> int:
        """Largest left side minus bound: negative iff no 0-1 point satisfies the constraint."""
        return sum(c for c in self.terms.values() if c > 0) - self.bound


def from_literals(weights: Iterable[tuple[int, int]], degree: int) -> Constraint:
    """From pairs (signed variable, coefficient >= 0): a negated variable is 1 - x."""
    terms: dict[int, int] = {}
    for literal, weight in weights:
        variable = abs(literal)
        terms[variable] = terms.get(variable, 0) + (weight if literal > 0 else -weight)
        degree -= 0 if literal > 0 else weight
    return Constraint({v: c for v, c in terms.items() if c}, degree)


def weights_of(constraint: Constraint) -> list[tuple[int, int]]:
    return [(v if c > 0 else -v, abs(c)) for v, c in constraint.terms.items()]


def add(a: Constraint, b: Constraint) -> Constraint:
    terms = dict(a.terms)
    for v, c in b.terms.items():
        terms[v] = terms.get(v, 0) + c
    return Constraint({v: c for v, c in terms.items() if c}, a.bound + b.bound)


def multiply(a: Constraint, k: int) -> Constraint:
    if k < 1:
        raise ProofRefused("a multiplication by 0")
    return Constraint({v: k * c for v, c in a.terms.items()}, k * a.bound)


def divide(a: Constraint, k: int) -> Constraint:
    if k < 1:
        raise ProofRefused("a division by 0")
    return from_literals([(v, -(-c // k)) for v, c in weights_of(a)], -(-a.degree // k))


def saturate(a: Constraint) -> Constraint:
    degree = max(a.degree, 0)
    return from_literals([(v, min(c, degree)) for v, c in weights_of(a)], degree)


def constraints_of(rows: Sequence[Row]) -> list[Constraint]:
    """The rows as constraints, in order."""
    number: dict[str, int] = {}
    found = []
    for row in rows:
        every = {number.setdefault(v, len(number) + 1): a for v, a in row.terms}
        terms = {v: a for v, a in every.items() if a}
        if row.equal:
            found.append(Constraint(terms, row.right))
        found.append(Constraint({v: -a for v, a in terms.items()}, -row.right))
    return found


class Propagator:
    """Constraints, and what unit propagation makes of them; `slacks` are those of the present assignment."""

    def __init__(self) -> None:
        self.constraints: list[Constraint] = []
        self.slacks: list[int] = []
        self.falsified_by: dict[int, list[tuple[int, int]]] = {}
        """literal -> (constraint, weight that its truth takes from the slack)"""
        self.value: dict[int, bool] = {}
        self.conflict = False

    def append(self, constraint: Constraint) -> None:
        """Add for good, and propagate for good."""
        self._push(constraint)
        self.conflict = self.conflict or self._propagate([len(self.constraints) - 1], [])

    def refutes(self, constraint: Constraint) -> bool:
        """Whether propagation alone finds a conflict with the constraint; leaves everything as it was."""
        if self.conflict:
            return True
        trail: list[int] = []
        self._push(constraint)
        conflict = self._propagate([len(self.constraints) - 1], trail)
        for literal in trail:
            del self.value[abs(literal)]
            for i, weight in self.falsified_by.get(literal, ()):
                self.slacks[i] += weight
        for v, c in self.constraints.pop().terms.items():
            self.falsified_by[-v if c > 0 else v].pop()
        self.slacks.pop()
        return conflict

    def _push(self, constraint: Constraint) -> None:
        slack = constraint.slack
        for v, c in constraint.terms.items():
            self.falsified_by.setdefault(-v if c > 0 else v, []).append((len(self.constraints), abs(c)))
            if v in self.value and self.value[v] != (c > 0):
                slack -= abs(c)
        self.constraints.append(constraint)
        self.slacks.append(slack)

    def _propagate(self, pending: list[int], trail: list[int]) -> bool:
        """Assign what the pending constraints force, and what follows; True on a conflict. Assigned literals join the trail."""
        while pending:
            at = pending.pop()
            slack = self.slacks[at]
            if slack < 0:
                return True
            for v, c in self.constraints[at].terms.items():
                if abs(c) > slack and v not in self.value:
                    literal = v if c > 0 else -v
                    self.value[v] = c > 0
                    trail.append(literal)
                    pending += self._lower_slacks(literal)
        return False

    def _lower_slacks(self, literal: int) -> list[int]:
        """Take the weight of a literal that became true; the constraints it falsifies a term of, tightest last."""
        touched = self.falsified_by.get(literal, [])
        slacks = self.slacks
        for i, weight in touched:
            slacks[i] -= weight
        return sorted((i for i, _ in touched), key=slacks.__getitem__, reverse=True)


class Proof:
    """What has been read and checked so far."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.given = constraints_of(rows)
        self.variables = {v for constraint in self.given for v in constraint.terms}
        self.known = Propagator()
        """constraint N of the log at N - 1"""

    def literal(self, text: str) -> int:
        match = LITERAL.fullmatch(text)
        if not match or int(match[2]) not in self.variables:
            raise ProofRefused(f"{text} is not a literal of the rows")
        return -int(match[2]) if match[1] else int(match[2])

    def constraint(self, number: str) -> Constraint:
        return _take(self.known.constraints, number)

    def evaluate(self, words: list[str]) -> Constraint:
        """The result of a `pol` line."""
        stack: list[Constraint | str] = []
        for word in words:
            match word:
                case "+" | "*" | "d" if len(stack) >= 2:
                    second, first = stack.pop(), self._operand(stack.pop())
                    if word == "+":
                        stack.append(add(first, self._operand(second)))
                    elif isinstance(second, str):
                        stack.append((multiply if word == "*" else divide)(first, int(second)))
                    else:
                        raise ProofRefused(f"{word} needs a number")
                case "s" if stack:
                    stack.append(saturate(self._operand(stack.pop())))
                case _ if NUMBER.fullmatch(word):
                    stack.append(word)
                case _:
                    stack.append(from_literals([(self.literal(word), 1)], 0))
        if len(stack) != 1:
            raise ProofRefused("the expression has not exactly one result")
        return self._operand(stack[0])

    def _operand(self, item: Constraint | str) -> Constraint:
        return self.constraint(item) if isinstance(item, str) else item

    def propagate(self, text: str) -> Constraint:
        """The constraint of a `rup` line."""
        constraint = read_constraint(text, self.literal)
        negation = Constraint({v: -c for v, c in constraint.terms.items()}, 1 - constraint.bound)
        if not self.known.refutes(negation):
            raise ProofRefused("unit propagation does not refute the negation")
        return constraint


def _take(constraints: Sequence[Constraint], number: str) -> Constraint:
    if not NUMBER.fullmatch(number) or not 1 <= int(number) <= len(constraints):
        raise ProofRefused(f"there is no constraint {number} yet")
    return constraints[int(number) - 1]


def read_constraint(text: str, literal: Callable[[str], int]) -> Constraint:
    """From "+2 x1 +1 ~x2 >= 1 ;", weights >= 0."""
    match text.split():
        case [*words, ">=", degree, ";"] if len(words) % 2 == 0 and re.fullmatch(r"-?[0-9]{1,4000}", degree):
            if all(re.fullmatch(r"\+[0-9]{1,4000}", w) for w in words[::2]):
                return from_literals([(literal(x), int(w)) for w, x in zip(words[::2], words[1::2], strict=True)], int(degree))
    raise ProofRefused("not a constraint")


def check_formula(rows: Sequence[Row], text: str) -> None:
    """Accept that a formula file holds the first constraints of the rows, in this order, and nothing else.

    Usually all: Exact takes no more in once it sees a contradiction.
    """
    proof = Proof(rows)
    match text.splitlines():
        case ["min: ;", heading, *lines] if heading == HEADINGS[1]:
            if [read_constraint(line, proof.literal) for line in lines] != proof.given[: len(lines)]:
                raise ProofRefused("the formula is not that of the rows")
        case _:
            raise ProofRefused("not a formula file without an objective")


def check_proof(rows: Sequence[Row], text: str) -> None:
    """Accept that the rows have no 0-1 solution, or raise ProofRefused with the line."""
    proof = Proof(rows)
    heading, *lines = text.splitlines() or [""]
    if heading.strip() != HEADINGS[0]:
        raise ProofRefused("line 1: not a log of this version")
    for at, line in enumerate(lines, 2):
        try:
            match line.split():
                case ["l", number]:
                    proof.known.append(_take(proof.given, number))
                case ["pol", *words]:
                    proof.known.append(proof.evaluate(words))
                case ["rup", *_]:
                    proof.known.append(proof.propagate(line.removeprefix("rup")))
                case ["c", number] if at == len(lines) + 1:
                    if proof.constraint(number).slack >= 0:
                        raise ProofRefused(f"constraint {number} is no contradiction")
                    return
                case _:
                    raise ProofRefused("not a line of a log")
        except ProofRefused as refused:
            raise ProofRefused(f"line {at}: {refused}") from None
    raise ProofRefused("the log has no conclusion")
