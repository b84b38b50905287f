"""Whole-process time of the commands a user waits for, against the targets set for them.

python -m benchmarks.whole_process [--runs N] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

REFERENCE = Path(__file__).resolve().parent.parent / "instances" / "ep64_tp2_128gpu.json"
SEARCH = ["search", str(REFERENCE), "--quiet", "--json"]
TARGETS_S = {
    "help": (["--help"], 0.3),
    "search classic": (SEARCH, 2.0),
    "search folded": ([*SEARCH, "--space", "folded"], 4.0),
}


def measure(arguments: list[str], runs: int) -> list[float]:
    """Seconds of each run of `python -m optimizer ARGUMENTS`."""
    found = []
    for _ in range(runs):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "optimizer", *arguments], check=True, capture_output=True)
        found.append(time.monotonic() - started)
    return found


def main() -> None:
    """Print median, range and the ratio to the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {}
    for name, (command, target) in TARGETS_S.items():
        times = measure(command, arguments.runs)
        median = statistics.median(times)
        results[name] = {"median_s": round(median, 3), "min_s": round(min(times), 3), "max_s": round(max(times), 3)}
        results[name] |= {"target_s": target, "of_target": round(median / target, 3)}
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for name, r in results.items():
        spread = f"{r['min_s']:.2f}-{r['max_s']:.2f}"
        print(f"{name:16s} median {r['median_s']:.2f} s ({spread}), {100 * r['of_target']:.0f} % of {r['target_s']} s")


if __name__ == "__main__":
    main()
