"""The checkers of proof logs, on logs written by hand and forged, and rule by rule against all 0-1 points. Needs no solver."""

from itertools import product

import pytest
from drcp_checker import Atom, Box, LogRefused, check_log
from hypothesis import given, settings
from hypothesis import strategies as st
from opb_checker import Constraint, ProofRefused, Propagator, add, check_formula, check_proof, divide, multiply, saturate
from placement_rows import Row

CLASH = [Row((("x", -1), ("y", -1)), -1), Row((("x", 1),), 0), Row((("y", 1), ("z", 1)), 0, equal=True)]
"""x + y >= 1, x <= 0, y + z = 0: no solution"""
MENDED = [CLASH[0], Row((("x", 1),), 1), CLASH[2]]
"""x <= 1 instead: x = 1 is a solution"""
LOG = """\
a 1 [x >= 1]
a 2 [y != 0]
i 4 1 0 c:2 l:linear_bounds
n 5 1 0 4
i 6 -1 0 2 c:1 l:linear_bounds
i 7 2 0 c:3 l:linear_bounds
n 8 2 0 7
i 9 0 -1 c:5 l:nogood
i 10 0 -2 c:8 l:nogood
n 11 0 9 6 10
c UNSAT"""
FIRST, LAST = "a 1 [x >= 1]\n", "\nc UNSAT"
LOG_FORGERIES = {
    "an unknown variable": (FIRST, f"a 3 [w >= 1]\n{FIRST}", "line 1: not a new atom"),
    "an unknown relation": (FIRST, f"a 3 [x > 1]\n{FIRST}", "line 1: not a new atom"),
    "an atom defined twice": (FIRST, FIRST * 2, "line 2: not a new atom"),
    "an atom numbered 0": (FIRST, f"a 0 [x >= 1]\n{FIRST}", "line 1: not a new atom"),
    "an atom with a sign": (FIRST, f"a -1 [x >= 1]\n{FIRST}", "line 1: not a new atom"),
    "an unknown atom": ("i 6 -1 0 2", "i 6 -3 0 2", "line 5: atom -3 is not known"),
    "a row that does not say it": ("i 4 1 0 c:2", "i 4 1 0 c:1", "line 3: the inference does not follow"),
    "the wrong side of a row": ("i 4 1 0 c:2", "i 4 -1 0 c:2", "line 3: the inference does not follow"),
    "a row that does not exist": ("c:3", "c:13", r"line 6: an inference of kind l:linear_bounds from \['13'\]"),
    "two grounds": ("c:3", "c:3 c:2", "line 6: an inference of kind"),
    "no ground": (" c:3", "", r"line 6: an inference of kind l:linear_bounds from \[\]"),
    "no label": ("c:3 l:linear_bounds", "c:3", "line 6: not an inference"),
    "an unknown label": ("c:3 l:linear_bounds", "c:3 l:all_different", "line 6: an inference of kind l:all_different"),
    "a row called a nogood": ("c:3 l:linear_bounds", "c:3 l:nogood", "line 6: an inference of kind l:nogood"),
    "the domain alone": ("c:3 l:linear_bounds", "l:initial_domain", "line 6: the inference does not follow"),
    "two conclusions": ("i 6 -1 0 2", "i 6 -1 0 2 -1", "line 5: not an inference"),
    "a later nogood": ("c:5 l:nogood", "c:11 l:nogood", "line 8: an inference of kind"),
    "a nogood about something else": ("i 9 0 -1 c:5", "i 9 0 -1 c:8", "line 8: the inference does not follow"),
    "a nogood half of which holds": (LAST, f"\nn 12 1 2 0 4\ni 13 1 0 c:12 l:nogood{LAST}", "line 12: the inference does not follow"),
    "a nogood upside down": ("i 10 0 -2", "i 10 0 2", "line 9: the inference does not follow"),
    "an inference that is not ready": ("n 11 0 9 6 10", "n 11 0 6 9 10", "line 10: inference 6 is not known, or not ready"),
    "an inference that is not there": ("n 11 0 9 6 10", "n 11 0 9 6 12", "line 10: inference 12 is not known, or not ready"),
    "too few inferences": ("n 11 0 9 6 10", "n 11 0 9 6", "line 10: the inferences do not contradict"),
    "no inferences": ("n 5 1 0 4", "n 5 1 0", "line 4: the inferences do not contradict"),
    "a step with the number of a row": ("n 11 0", "n 3 0", "line 10: step 3 is not new"),
    "a step with the number of a nogood": ("n 11 0", "n 5 0", "line 10: step 5 is not new"),
    "a step with the number of an inference": ("n 11 0", "n 4 0", "line 10: step 4 is not new"),
    "a step without a number": ("n 11 0", "n x 0", "line 10: step x is not new"),
    "no zero": ("n 11 0 9", "n 11 9", "line 10: no 0 between"),
    "two zeros": ("n 11 0 9", "n 11 0 0 9", "line 10: inference 0 is not known"),
    "no empty nogood": ("n 11 0 9 6 10\n", "", "UNSAT is not derived"),
    "no conclusion": (LAST, "", "the log has no conclusion"),
    "another conclusion": ("c UNSAT", "c OPTIMAL", "line 11: not a line of a log"),
    "a line after the conclusion": (LAST, f"{LAST}\na 3 [z >= 1]", "line 11: not a line of a log"),
    "an unknown line": (LAST, f"\nd 5{LAST}", "line 11: not a line of a log"),
}


def test_a_log_written_by_hand_is_accepted_for_its_rows_only() -> None:
    check_log(CLASH, LOG)
    with pytest.raises(LogRefused, match="line 3: the inference does not follow"):
        check_log(MENDED, LOG)


@pytest.mark.parametrize("edit", LOG_FORGERIES.values(), ids=LOG_FORGERIES)
def test_the_log_checker_refuses(edit: tuple[str, str, str]) -> None:
    before, after, reason = edit
    assert LOG.count(before) == 1
    with pytest.raises(LogRefused, match=reason):
        check_log(CLASH, LOG.replace(before, after))


TRIANGLE = [*(Row(((a, 1), (b, 1)), 1) for a, b in ("xy", "yz", "xz")), Row((("x", -2), ("y", -2), ("z", -2)), -3)]
"""at most one of each two, but 2 (x + y + z) >= 3: no solution, except fractions"""
OPEN = [*TRIANGLE[:3], Row((("x", -2), ("y", -2), ("z", -2)), -2)]
PROOF = """\
pseudo-Boolean proof version 1.1
l 1
l 2
l 3
l 4
rup +1 ~x1 >= 1 ;
pol 1 2 + 3 + 2 d
pol 4 2 d
pol 6 7 +
pol 1 x1 + x2 5 * + s
c 8"""
CLAIM, SUM, END = "rup +1 ~x1 >= 1 ;", "pol 6 7 +", "\nc 8"
PROOF_FORGERIES = {
    "another version": ("version 1.1", "version 2.0", "line 1: not a log of this version"),
    "no heading": ("pseudo-Boolean proof version 1.1\n", "", "line 1: not a log of this version"),
    "a row that does not exist": ("\nl 4", "\nl 5", "line 5: there is no constraint 5"),
    "row 0": ("\nl 4", "\nl 0", "line 5: there is no constraint 0"),
    "a row by a name": ("\nl 4", "\nl x4", "line 5: there is no constraint x4"),
    "a later constraint": (SUM, "pol 6 8 +", "line 9: there is no constraint 8"),
    "constraint 0": (SUM, "pol 6 0 +", "line 9: there is no constraint 0"),
    "an unknown literal": ("pol 1 x1 +", "pol 1 x4 +", "line 10: x4 is not a literal"),
    "an unknown operation": ("pol 4 2 d", "pol 4 2 w", "line 8: w is not a literal"),
    "a division by 0": ("pol 4 2 d", "pol 4 0 d", "line 8: a division by 0"),
    "a multiplication by 0": ("x2 5 *", "x2 0 *", "line 10: a multiplication by 0"),
    "a negative factor": ("x2 5 *", "x2 -5 *", "line 10: -5 is not a literal"),
    "a factor that is a constraint": ("x2 5 *", "5 x2 *", r"line 10: \* needs a number"),
    "an operand that is missing": (SUM, "pol 6 +", r"line 9: \+ is not a literal"),
    "two results": (SUM, "pol 6 7", "line 9: the expression has not exactly one result"),
    "no result": (SUM, "pol", "line 9: the expression has not exactly one result"),
    "a claim that does not propagate": (CLAIM, "rup +1 x1 +1 x2 +1 x3 >= 2 ;", "line 6: unit propagation does not refute"),
    "a claim with a negative weight": (CLAIM, "rup -1 x1 >= -1 ;", "line 6: not a constraint"),
    "a claim without an end": (CLAIM, "rup +1 ~x1 >= 1", "line 6: not a constraint"),
    "a conclusion that is no contradiction": ("c 8", "c 7", "line 11: constraint 7 is no contradiction"),
    "a conclusion that is not there": ("c 8", "c 10", "line 11: there is no constraint 10"),
    "no conclusion": (END, "", "the log has no conclusion"),
    "a line after the conclusion": (END, f"{END}\nl 1", "line 11: not a line of a log"),
    "an unknown line": (END, f"\nred +1 x1 >= 1 ; x1 -> 1{END}", "line 11: not a line of a log"),
}
FORMULA = """\
min: ;
* #variable= 0 #constraint= 0
+1 ~x1 +1 ~x2 >= 1 ;
+1 ~x2 +1 ~x3 >= 1 ;
+1 ~x1 +1 ~x3 >= 1 ;
+2 x1 +2 x2 +2 x3 >= 3 ;
"""
FORMULA_FORGERIES = {
    "an objective": ("min: ;", "min: +1 x1 ;", "not a formula file"),
    "another heading": ("#constraint= 0", "#constraint= 1", "not a formula file"),
    "another bound": (">= 3", ">= 2", "not that of the rows"),
    "another sign": ("+2 x3", "+2 ~x3", "not that of the rows"),
    "another weight": ("+2 x3", "+3 x3", "not that of the rows"),
    "another variable": ("+2 x3", "+2 x4", "x4 is not a literal"),
    "a constraint too few": ("+1 ~x1 +1 ~x3 >= 1 ;\n", "", "not that of the rows"),
    "a constraint too many": ("+2 x1", "+1 x1 >= 1 ;\n+2 x1", "not that of the rows"),
    "another relation": (">= 3", "= 3", "not a constraint"),
}


def test_a_proof_written_by_hand_is_accepted_for_its_rows_only() -> None:
    check_proof(TRIANGLE, PROOF)
    with pytest.raises(ProofRefused, match="line 6: unit propagation"):
        check_proof(OPEN, PROOF)
    with pytest.raises(ProofRefused, match="line 11: constraint 8 is no contradiction"):
        check_proof(OPEN, PROOF.replace(CLAIM, "rup >= 0 ;"))


@pytest.mark.parametrize("edit", PROOF_FORGERIES.values(), ids=PROOF_FORGERIES)
def test_the_proof_checker_refuses(edit: tuple[str, str, str]) -> None:
    before, after, reason = edit
    assert PROOF.count(before) == 1
    with pytest.raises(ProofRefused, match=reason):
        check_proof(TRIANGLE, PROOF.replace(before, after))


def test_a_formula_written_by_hand_is_accepted_for_its_rows_only() -> None:
    check_formula(TRIANGLE, FORMULA)
    with pytest.raises(ProofRefused, match="not that of the rows"):
        check_formula(OPEN, FORMULA)


@pytest.mark.parametrize("edit", FORMULA_FORGERIES.values(), ids=FORMULA_FORGERIES)
def test_the_formula_checker_refuses(edit: tuple[str, str, str]) -> None:
    before, after, reason = edit
    assert FORMULA.count(before) == 1
    with pytest.raises(ProofRefused, match=reason):
        check_formula(TRIANGLE, FORMULA.replace(before, after))


CONSTRAINTS = st.builds(Constraint, st.dictionaries(st.integers(1, 4), st.integers(-5, 5).filter(bool), max_size=4), st.integers(-6, 6))


def holds(constraint: Constraint, point: tuple[int, ...]) -> bool:
    return sum(c * point[v - 1] for v, c in constraint.terms.items()) >= constraint.bound


@settings(max_examples=200, deadline=None)
@given(CONSTRAINTS, CONSTRAINTS, st.integers(1, 6))
def test_each_rule_derives_only_what_every_solution_satisfies(a: Constraint, b: Constraint, k: int) -> None:
    for point in product((0, 1), repeat=4):
        if holds(a, point):
            assert holds(multiply(a, k), point)
            assert holds(divide(a, k), point)
            assert holds(saturate(a), point)
            assert holds(saturate(a), point) == holds(a, point)
            assert holds(add(a, b), point) or not holds(b, point)
    assert (a.slack < 0) == (not any(holds(a, point) for point in product((0, 1), repeat=4)))


@settings(max_examples=200, deadline=None)
@given(st.lists(CONSTRAINTS, max_size=5), CONSTRAINTS)
def test_propagation_refutes_only_what_has_no_solution_and_leaves_no_trace(known: list[Constraint], asked: Constraint) -> None:
    propagator = Propagator()
    for constraint in known:
        propagator.append(constraint)
    before = (list(propagator.slacks), dict(propagator.value))
    if propagator.refutes(asked):
        assert not any(all(holds(c, point) for c in [*known, asked]) for point in product((0, 1), repeat=4))
    assert (propagator.slacks, propagator.value) == before
    assert propagator.slacks == [slack_within(c, propagator.value) for c in known]


def slack_within(c: Constraint, value: dict[int, bool]) -> int:
    """Largest left side minus bound, where some variables have a value already."""
    return sum(a * value.get(v, a > 0) for v, a in c.terms.items()) - c.bound


@settings(max_examples=200, deadline=None)
@given(CONSTRAINTS, st.booleans(), st.lists(st.tuples(st.sampled_from("1234"), st.sampled_from([1, 2])), max_size=4))
def test_a_box_excludes_a_row_only_where_no_point_of_it_satisfies_the_row(c: Constraint, equal: bool, fixed: list[tuple[str, int]]) -> None:
    row = Row(tuple((str(v), a) for v, a in c.terms.items()), c.bound, equal)
    box = Box(Atom(name, values) for name, values in fixed)
    inside = [p for p in product((0, 1), repeat=4) if all(box.values.get(str(v), 3) >> x & 1 for v, x in enumerate(p, 1))]
    assert box.empty == (not inside)
    if not box.empty:
        sums = [sum(a * p[v - 1] for v, a in c.terms.items()) for p in inside]
        assert box.excludes(row) == (min(sums) > c.bound or (equal and max(sums) < c.bound))
