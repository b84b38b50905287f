"""The first few cases of the nightly run: nothing false is accepted, and every kind of case tries it."""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.nightly import CYCLE, KINDS, Tally, case

ROOT = Path(__file__).parent.parent
COUNT = 300


def test_nothing_false_is_accepted_in_cases_of_any_kind() -> None:
    found = dict.fromkeys(KINDS, Tally())
    for number in range(COUNT):
        kind, tally = case(number)
        found[kind] += tally
    assert {kind: tally.unsound for kind, tally in found.items() if tally.unsound} == {}
    assert all(tally.accepted >= 10 for tally in found.values()), found
    assert all(found[kind].refused >= 20 for kind in ("placement", "argument", "mutant")), found


def test_the_kinds_are_mixed() -> None:
    kinds = [CYCLE[number * 7 % len(CYCLE)] for number in range(len(CYCLE))]
    assert sorted(kinds) == sorted(CYCLE)
    assert set(kinds[:10]) == set(KINDS)


def test_a_run_goes_on_where_another_ended() -> None:
    command = [sys.executable, "-m", "benchmarks.nightly", "--first", "40", "--count", "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^6 cases in \d+ s, 0 unsound; go on with --first 46$", done.stdout, flags=re.MULTILINE)
