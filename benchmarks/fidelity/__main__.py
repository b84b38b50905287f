"""python -m benchmarks.fidelity ROWS.csv GROUPS.csv [--json] [--out FILE]"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.fidelity.cases import Pricing
from benchmarks.fidelity.kernels import as_text as kernels_text
from benchmarks.fidelity.kernels import kernel_errors
from benchmarks.fidelity.outcomes import price_rows
from benchmarks.fidelity.ranking import judge_groups
from benchmarks.fidelity.rows import read_groups, read_rows
from benchmarks.fidelity.summary import Report, as_json, report_of
from benchmarks.fidelity.tables import InputError
from benchmarks.fidelity.text import as_text

BAD_INPUT = 2


def project_pricing() -> Pricing:
    """The project's own cost model and catalogues."""
    from benchmarks.fidelity import pricing

    return Pricing(pricing.price, pricing.MODELS, pricing.ACCELERATORS)


def measure(rows: Path, groups: Path, pricing: Pricing) -> Report:
    """Reads, prices, judges."""
    measured, asked = read_rows(rows, pricing), read_groups(groups)
    outcomes = price_rows(measured, pricing.price)
    return report_of({"rows": rows.name, "groups": groups.name}, outcomes, judge_groups(asked, outcomes))


def main(argv: list[str], pricing: Pricing | None = None) -> int:
    """0 with a report, 2 with one sentence about the input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description="How true the cost model is on measured rows.")
    parser.add_argument("rows", type=Path, metavar="ROWS.csv", help="measured rows")
    parser.add_argument("groups", type=Path, metavar="GROUPS.csv", help="ranking groups of those rows")
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report here instead of to standard output")
    arguments = parser.parse_args(argv)
    try:
        report = measure(arguments.rows, arguments.groups, pricing or project_pricing())
        kernels = kernel_errors() if pricing is None else []
        if arguments.json:
            content = as_json(report) | ({"kernels": [error._asdict() for error in kernels]} if kernels else {})
            text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        else:
            text = as_text(report) + ("\n" + kernels_text(kernels) if kernels else "")
        if arguments.out:
            write(arguments.out, text)
        else:
            sys.stdout.write(text)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def write(path: Path, text: str) -> None:
    """The report as a file."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: {path} cannot be written ({error.strerror}); give a path in a folder that exists") from None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
