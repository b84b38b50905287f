"""What `simulate` prints: waits beside their means and limits, and where means lie."""

from typing import Any

Json = dict[str, Any]

NAMES = {"ttft": "TTFT", "tpot": "TPOT", "request": "request"}
HOLDS = 1.1  # up to so many times its mean-field figure a 99th percentile is said to agree with it


def simulate_text(r: Json) -> str:
    """The replay as text."""
    lines = [_head(r), *(f"note: {note}" for note in r["notes"]), ""]
    columns = ("p50", "p95", "p99", "mean", "mean field", "limit")
    lines.append(f"{'ms':<8}" + "".join(f"{name:>13}" for name in columns) + f"{'within':>10}")
    lines += [_row(r, name) for name in NAMES]
    return "\n".join([*lines, "", _verdict(r), _formula(r)])


def _head(r: Json) -> str:
    arrivals, share = r["arrivals"], r["utilisation"]
    kind = f"Poisson, seed {r['tool']['seed']}" if arrivals["kind"] == "poisson" else arrivals["trace"]
    rate = (
        "all at once"
        if share is None
        else f"at {arrivals['requests_per_s']:,.2f} requests/s, {100 * share:.1f} % of what its workers yield when always busy"
    )
    done = f"it yields {r['requests_per_s']:,.2f} requests/s, {r['tokens_per_s']:,.0f} tokens/s"
    return f"SIMULATED: {arrivals['requests']:,} requests ({kind}), {arrivals['counted']:,} counted, {rate}; {done}"


def _row(r: Json, name: str) -> str:
    waits, share = r[f"{name}_ms"], r["within_limits"][name]
    values = [*waits.values(), r["mean_field"][f"{name}_ms"], r["limits_ms"][name]]
    cells = "".join(f"{'-' if value is None else f'{value:,.2f}':>13}" for value in values)
    within = "-" if share is None else f"{100 * share:.1f} %"
    return f"{NAMES[name]:<8}{cells}{within:>10}"


def _verdict(r: Json) -> str:
    """Where the 99th percentile is farther from the mean-field figure than a reader would think."""
    ratios = {name: r[f"{name}_ms"]["p99"] / mean for name in NAMES if (mean := r["mean_field"][f"{name}_ms"])}
    far = [f"{NAMES[name]} p99 is {ratio:,.1f} times the mean-field figure" for name, ratio in ratios.items() if ratio > HOLDS]
    if not far:
        return f"means hold: no p99 is more than {HOLDS} times its mean-field figure"
    return f"means lie: {'; '.join(far)}"


def _formula(r: Json) -> str:
    found = r["queueing"]
    if found["ttft_mean_ms"] is None:
        return f"{found['model']}: no steady state at this rate, or rounds of prefills that are not full, of which it knows nothing"
    return f"{found['model']}: TTFT {found['ttft_mean_ms']:,.2f} ms on average, 95 % within {found['ttft_p95_ms']:,.2f} ms"
