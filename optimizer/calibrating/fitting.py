"""Curves of an accelerator from timings: the parameters of `models.cluster.Curve` that explain them best.

A curve is searched with floats over a vectorised form of `models.roofline.operator_ns` (the tests hold the two together), rounded
to the record, and judged by `operator_ns` itself on rows that took no part.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from models.cluster import Accelerator, Curve
from models.operators import Work
from models.roofline import operator_ns, peak_flop_per_s, units, wave_flop
from models.units import NS_PER_S, PPM, WHOLE, Norm
from models.workload import Runtime
from optimizer.calibrating.descent import Fit, Floats, descend
from optimizer.calibrating.timings import Timing
from optimizer.calibrating.works import work_of

HELD_OUT = 5  # one row in five
MOST_OF_PEAK = 1.2  # the peak is the fastest GEMM of the grid; an endless one may be a little faster
WORTH = 0.97  # a further term of the form must leave at most this share of the error
POWERS: dict[Norm, float] = {"half": 0.5, "sum": 1.0, "square": 2.0, "fourth": 4.0, "max": np.inf}
Extra = Literal["unit_ns", "half_rate_tokens", "wave_share"]
EXTRAS: dict[str, Extra] = {
    "gemm": "wave_share",
    "expert_gemm": "unit_ns",
    "prefill_attention": "half_rate_tokens",
    "decode_attention": "unit_ns",
}
"""The further term that each kind of operator may have."""

NO_ENGINE = Runtime(
    activation_bytes_per_token=0,
    collective_buffer_bytes=0,
    reserve_bytes=0,
    overlap_ppm=0,
    sources={"*": "assumed: operators are timed alone, without an engine"},
)


class Quality(NamedTuple):
    """How well a fit predicts: |predicted / measured - 1| over the rows that took no part in it, ppm."""

    rows: int
    held_out: int
    median_ppm: int
    p90_ppm: int


class Rows(NamedTuple):
    """Timed operators as columns, one number per row."""

    flop: Floats
    waved: Floats
    """FLOP of whole waves of tiles; the FLOP themselves where tiles do not matter"""
    context: Floats
    """prompt length of a prefill; without end for others"""
    bytes: Floats
    units: Floats
    flop_per_ns: float
    bytes_per_ns: float


def split(rows: Sequence[Timing]) -> tuple[list[Timing], list[Timing]]:
    """Rows to fit and rows held out: every fifth of them, from the fastest to the slowest."""
    ordered = sorted(rows, key=lambda r: (r.ns, r.shape))
    kept = [r for i, r in enumerate(ordered) if i % HELD_OUT != HELD_OUT // 2]
    return kept, ordered[HELD_OUT // 2 :: HELD_OUT]


def columns(accelerator: Accelerator, works: Sequence[Work]) -> Rows:
    """Works of one kind and format as columns."""
    wide, first = accelerator.multiprocessors or 1, works[0]
    tiled = first.kind == "gemm"
    return Rows(
        flop=np.array([w.flop for w in works], dtype=float),
        waved=np.array([wave_flop(wide, w.shape) if tiled else w.flop for w in works], dtype=float),
        context=np.array([w.shape[2] if w.kind == "prefill_attention" else np.inf for w in works]),
        bytes=np.array([w.bytes for w in works], dtype=float),
        units=np.array([units(w) / WHOLE for w in works]),
        flop_per_ns=peak_flop_per_s(accelerator, first.dtype) / NS_PER_S,
        bytes_per_ns=accelerator.hbm_bytes_per_s / NS_PER_S,
    )


class Terms(NamedTuple):
    """The parameters of a curve as floats."""

    fixed_ns: float
    flop_share: float
    byte_share: float
    unit_ns: float = 0.0
    half_rate_tokens: float = 0.0
    wave_share: float = 0.0


def terms_of(curve: Curve) -> Terms:
    """A record's parameters."""
    shares = (curve.flop_efficiency_ppm / PPM, curve.byte_efficiency_ppm / PPM)
    return Terms(curve.fixed_ns, *shares, curve.unit_ns, curve.half_rate_tokens, curve.wave_ppm / PPM)


def rows_ns(norm: Norm, terms: Terms, rows: Rows) -> Floats:
    """`operator_ns` of every row without an engine, before rounding."""
    paced = ((1 - terms.wave_share) * rows.flop + terms.wave_share * rows.waved) * (1 + terms.half_rate_tokens / rows.context)
    running = added(norm, paced / (rows.flop_per_ns * terms.flop_share), rows.bytes / (rows.bytes_per_ns * terms.byte_share))
    return np.asarray(terms.fixed_ns + running + rows.units * terms.unit_ns, dtype=float)


def added(norm: Norm, a: Floats, b: Floats) -> Floats:
    """`models.units.combine` over columns, before rounding."""
    longer, power = np.maximum(a, b), POWERS[norm]
    if norm == "max":
        return longer
    share = np.divide(np.minimum(a, b), longer, out=np.zeros_like(longer), where=longer > 0)
    return np.asarray(longer * (1 + share**power) ** (1 / power), dtype=float)


class Form(NamedTuple):
    """Which terms of a curve are searched, as logarithms but for the share of waves; the others keep their neutral values."""

    norm: Norm
    extra: Extra | None = None

    def least(self) -> Floats:
        return np.array([np.log(100.0), np.log(0.002), np.log(0.02), *self._of_extra(np.log(0.5), np.log(1.0), 0.0)])

    def most(self) -> Floats:
        return np.array([np.log(1e8), np.log(MOST_OF_PEAK), np.log(5.0), *self._of_extra(np.log(1e6), np.log(1e5), 1.0)])

    def starts(self, fastest_ns: float) -> list[Floats]:
        """Half of the peak and three quarters of the bandwidth, and slower; a fixed time of most, or a part, of the fastest row."""
        extra = self._of_extra(np.log(50.0), np.log(200.0), 0.3)
        return [
            np.array([np.log(share * fastest_ns), np.log(flop), np.log(moved), *extra])
            for share, flop, moved in ((0.8, 0.5, 0.75), (0.3, 0.2, 0.4))
        ]

    def _of_extra(self, unit: float, half_rate: float, wave: float) -> list[float]:
        values = {"unit_ns": unit, "half_rate_tokens": half_rate, "wave_share": wave}
        return [values[self.extra]] if self.extra else []

    def terms(self, at: Floats) -> Terms:
        """The parameters of a point of the search."""
        main = Terms(*np.exp(at[:3]).tolist())
        if self.extra is None:
            return main
        return main._replace(**{self.extra: float(at[3] if self.extra == "wave_share" else np.exp(at[3]))})


def rounded(norm: Norm, terms: Terms) -> Curve:
    """The record of the parameters: times and tokens to the nearest, shares of peaks down."""
    return Curve(
        fixed_ns=round(terms.fixed_ns),
        flop_efficiency_ppm=max(1, int(terms.flop_share * PPM)),
        byte_efficiency_ppm=max(1, int(terms.byte_share * PPM)),
        norm=norm,
        unit_ns=round(terms.unit_ns),
        wave_ppm=round(terms.wave_share * PPM),
        half_rate_tokens=round(terms.half_rate_tokens),
    )


def fit_curve(accelerator: Accelerator, timed: Sequence[Timing]) -> tuple[Curve, Quality]:
    """The curve of rows of one kind and format, and its errors on every fifth row, which took no part."""
    kept, asked = split(timed)
    works = [work_of(row) for row in kept]
    rows, measured = columns(accelerator, works), np.array([row.ns for row in kept], dtype=float)
    form, found = min((_best(Form(norm), rows, measured) for norm in POWERS), key=_loss)
    richer, fuller = min((_best(Form(norm, EXTRAS[works[0].kind]), rows, measured) for norm in POWERS), key=_loss)
    if fuller.loss < WORTH * found.loss:
        form, found = richer, fuller
    curve = rounded(form.norm, form.terms(found.at))
    priced = accelerator.model_copy(update={"curves": {f"{works[0].kind}.{works[0].storage}": curve}})
    return curve, judged(priced, len(timed), asked)


def fit_copies(accelerator: Accelerator, timed: Sequence[Timing]) -> tuple[Accelerator, Quality]:
    """The accelerator with the launch and the share of its bandwidth that copies attain, and their errors on every fifth row."""
    kept, asked = split(timed)
    rows = columns(accelerator, [work_of(row) for row in kept])
    form, found = _best(Form("max"), rows, np.array([row.ns for row in kept], dtype=float))
    curve = rounded("max", form.terms(found.at))
    priced = accelerator.model_copy(
        update={"kernel_launch_ns": curve.fixed_ns, "hbm_efficiency_ppm": min(PPM, curve.byte_efficiency_ppm), "curves": {}}
    )
    return priced, judged(priced, len(timed), asked)


def _best(form: Form, rows: Rows, measured: Floats) -> tuple[Form, Fit]:
    starts = form.starts(float(measured.min()))
    fits = [
        descend(lambda at: np.log(rows_ns(form.norm, form.terms(at), rows)), measured, start, form.least(), form.most()) for start in starts
    ]
    return form, min(fits, key=lambda fit: fit.loss)


def _loss(found: tuple[Form, Fit]) -> float:
    return found[1].loss


def judged(accelerator: Accelerator, rows: int, asked: Sequence[Timing]) -> Quality:
    """Errors of the accelerator on rows that took no part in its fit, priced by the cost model itself."""
    return quality(rows, [(operator_ns(accelerator, NO_ENGINE, work_of(row)), row.ns) for row in asked])


def quality(rows: int, pairs: Sequence[tuple[int, int]]) -> Quality:
    """Errors of (predicted, measured) pairs: the median and the 90th percentile (the nearest rank, upwards)."""
    errors = sorted(abs(p - m) * PPM // m for p, m in pairs)
    median, p90 = (errors[min(len(errors) - 1, len(errors) * part // 100)] for part in (50, 90))
    return Quality(rows, len(errors), median, p90)
