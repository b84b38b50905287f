"""The best mix of a planner's own worker rows against the planner's own answer, on clusters of several sizes.

python -m benchmarks.fleets DIR [--json]

DIR holds cand_32_*.csv and cand_128_*.csv: DeepSeek-V3 on H200, 4096 / 512 tokens, TTFT 2 s, TPOT 30 ms, as aiconfigurator 0.12.0
priced them; a cell keeps 90 % of its prefill and 92 % of its decode rate. Its own answers are tokens/s per GPU of the
cluster, as it printed them. Seconds are those of the whole process.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

OWN_ANSWER = {32: 198.72, 40: 158.98, 64: 298.08, 128: 345.72}
ROWS = {32: 32, 40: 32, 64: 128, 128: 128}
MODEL = ["--output-tokens", "512", "--prefill-share", "90", "--decode-share", "92"]


def measure(folder: Path, gpus: int) -> dict[str, Any]:
    """The best mix on `gpus` GPUs."""
    files = [str(folder / f"cand_{ROWS[gpus]}_{role}.csv") for role in ("aggregated", "decode", "prefill")]
    started = time.monotonic()
    command = [sys.executable, "-m", "optimizer", "fleet", *files, "--gpus", str(gpus), *MODEL, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    seconds = time.monotonic() - started
    best, own = found["tokens_per_s_per_gpu"], OWN_ANSWER[gpus]
    workers = [f"{w['count']} x {w['role']} {w['name']}" for w in found["workers"]]
    return {"status": found["status"], "best": best, "own": own, "gain_pct": round(100 * (best / own - 1), 1)} | {
        "seconds": round(seconds, 2),
        "workers": workers,
    }


def main() -> None:
    """One line per cluster."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {gpus: measure(arguments.folder, gpus) for gpus in OWN_ANSWER}
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for gpus, r in results.items():
        figures = f"{r['best']:7.2f} tokens/s/GPU, its own answer {r['own']:7.2f} (+{r['gain_pct']} %)"
        print(f"{gpus:4} GPUs {r['status']}: {figures}, {r['seconds']} s: {'; '.join(r['workers'])}")


if __name__ == "__main__":
    main()
