"""A report in words: sections of lines, and last the sentence that answers what was asked first."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from optimizer.batching.changes import NOTHING
from optimizer.batching.ranking import Tally, tally_text
from optimizer.settings import short_name

Json = dict[str, Any]
MOST_LINES = 12  # of a section


def report_text(r: Json) -> str:
    """What `batch report` prints."""
    rows = dict(r["rows"])
    number = rows.pop("missing")
    missing = f", {number} not solved yet" if number else ""
    certificates = [f"certificates of all rows, for `shardproof check`: {r['certificates']}"] if "certificates" in r else []
    sections = {
        "Where the best strategy changes (both ends proved, nothing claimed between them)": _shortened(_changes(r["changes"])),
        "What a field is worth, between neighbouring rows": list(_margins(r["margins"])),
        "Strategies by the rows in which they are optimal": _shortened(list(_wins(r))),
        "Least regret in the worst variant": list(_regret(r["regret"])),
        "Files": [f"map: {r['map']}", *certificates],
    }
    parts = ["\n  ".join([title, *lines]) for title, lines in sections.items() if lines]
    return "\n\n".join([tally_text(Tally(**rows)) + missing, *parts, r["verdict"]])


def _shortened(lines: list[str]) -> list[str]:
    """The first lines, and how many more report.json has."""
    more = len(lines) - MOST_LINES
    return lines if more <= 0 else [*lines[:MOST_LINES], f"... and {more} more, in report.json"]


def _margins(margins: Json) -> Iterator[str]:
    """The intervals of each field, of many the first, the last and those between them that matter most, in their order."""
    lines = list(zip(margins["intervals"], margins["lines"], strict=True))
    paths = list(dict.fromkeys(m["path"] for m, _ in lines))
    most = max(3, MOST_LINES // max(1, len(paths)))
    for path in paths:
        own = [(m, line) for m, line in lines if m["path"] == path]
        inner = sorted(range(1, len(own) - 1), key=lambda n: -abs(own[n][0]["value"]["mean"] if own[n][0]["value"] else 0))
        kept = {0, len(own) - 1, *inner[: most - 2]}
        yield from (own[n][1] for n in sorted(kept))
        if len(own) > len(kept):
            yield f"{short_name(path)}: {len(own) - len(kept)} more between these that matter no more, in report.json"


def _changes(changes: list[Json]) -> list[str]:
    """One line for each change, alike ones at other settings together."""
    groups: dict[tuple[str, ...], list[Json]] = {}
    for c in changes:
        groups.setdefault((c["path"], c["low_text"], c["high_text"], *c["from"], "to", *c["to"]), []).append(c)
    lines = []
    for alike in sorted(groups.values(), key=lambda g: (g[0]["path"], min(g[0]["low"], g[0]["high"]))):
        c = alike[0]
        where = f"between {c['low_text']} and {c['high_text']}"
        coarse = "" if c["sharp"] else ", not narrowed down"
        lines.append(
            f"{short_name(c['path'])} {where}{coarse}: {_several(c['from'])} -> {_several(c['to'])}{_at([a['others'] for a in alike])}"
        )
    return lines


def _several(labels: list[str]) -> str:
    return labels[0] + (f" (and {len(labels) - 1} that {'ties' if len(labels) == 2 else 'tie'})" if len(labels) > 1 else "")


def _at(others: list[Json]) -> str:
    """At which settings of the other fields: those of one variant, or the range of several."""
    if not others[0]:
        return ""
    fields = (f"{short_name(path)} {_range([o.get(path, '') for o in others])}" for path in others[0])
    return f", at {', '.join(fields)}"


def _range(texts: list[str]) -> str:
    """The texts, each once; of many the first and the last."""
    distinct = list(dict.fromkeys(texts))
    return "/".join(distinct) if len(distinct) <= 3 else f"{distinct[0]} to {distinct[-1]} ({len(distinct)} values)"


def _wins(r: Json) -> Iterator[str]:
    for win in r["wins"]:
        alone = "" if win["alone"] == win["wins"] else f", {win['alone']} of them alone"
        yield f"{win['share_ppm'] / 10_000:6.2f} %  {_several(win['labels'])}: {_counted(win['wins'], 'row')}{alone}"


def _regret(regret: Json) -> Iterator[str]:
    """The best strategies by their worst regret with what is proved of them, then the next two."""
    alike = [list(group) for _, group in groupby(regret["strategies"], key=lambda s: (s["runs_in"], s["worst_regret"], s["at"]))]
    for n, group in enumerate(alike[:3]):
        s, labels = group[0], _several([s["label"] for s in group])
        at = ", ".join(f"{short_name(path)} {text}" for path, text in s["at"].items() if text)
        if s["runs_in"] < regret["variants"]:
            runs = f"runs in {s['runs_in']} of {regret['variants']} variants"
            yield f"{labels}: {runs}, there at most {s['worst_regret_pct']} % above the optimum"
            continue
        worst = f"at most {s['worst_regret_pct']} % above the optimum (at {at})" if s["worst_regret_pct"] else "optimal in every variant"
        proof = ""
        if n == 0 and s["worst_regret_pct"]:
            most = " most often" if regret["winners_left_out"] else " somewhere"
            proof = "; no strategy of the space does better" if regret["proved_least"] else f"; the least of those that win{most}"
        yield f"{labels}: {worst}{proof}"


def verdict(r: Json) -> str:
    """Is the reference plan still the best, and if not everywhere, where does it stop."""
    reference = r["reference"]
    if reference is None:
        changes = len({(c["path"], c["low"], c["high"]) for c in r["changes"]})
        return f"The best strategy changes at {_counted(changes, 'point')} along the numbers that vary."
    plan, rows, total = f"The reference plan {reference['name'] or ''}".rstrip(), reference["optimal_rows"], r["rows"]["optimal"]
    stops = list(dict.fromkeys(_stop(c) for c in reference["changes"] if c["instead"] != [NOTHING]))
    if stops:
        more = f"; and at {_counted(len(stops) - 3, 'more point')}" if len(stops) > 3 else ""
        return f"{plan} stops being optimal {'; '.join(stops[:3])}{more}."
    if not total:
        return f"No row has a proved optimum, so nothing is said of whether {plan[0].lower()}{plan[1:]} is the best."
    where = "in every row" if rows == total else f"in {rows} of {total} rows"
    return f"{plan} is optimal {where} in which a plan runs."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _stop(c: Json) -> str:
    """`below scale_out.bandwidth_bytes_per_s = 21.1 GB/s (proved there and at 21.09 GB/s, where EP2 TP4 PP16 wins)`."""
    ends = "proved" if c["sharp"] else "not narrowed down; proved"
    side = "above" if c["above"] else "below"
    return f"{side} {short_name(c['path'])} = {c['optimal_at']} ({ends} there and at {c['not_at']}, where {c['instead'][0]} wins)"
