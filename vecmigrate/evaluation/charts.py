"""Where the marks of the report's plots go. Numbers only: the template draws them, and escapes what it writes beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vecmigrate.evaluation.result import Comparison, QueryValue, Timing
from vecmigrate.evaluation.statistics import TIE, Paired

WIDTH = 240.0
"""Of one whisker plot, in its own units."""
COLUMNS = 320
"""Bars of the waterfall, at most."""

_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_EDGE = 20.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Differences from `low` to `high` on `WIDTH` units; 0 is always on it."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Where a difference lies."""
        return _place(value, self.low, self.high)

    @property
    def zero(self) -> float:
        """Where no difference lies, in percent of the width: the template draws that line through all rows."""
        return 100 * self.at(0.0) / WIDTH


@dataclass(frozen=True, slots=True)
class Whisker:
    """A dot with its interval. `tone` is "better", "worse" or "open"; without an interval `low` and `high` are the dot."""

    low: float
    at: float
    high: float
    tone: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One column of the waterfall: `top` and `height` in per mille of the plot's height, `tone` as in `Whisker`."""

    x: float
    width: float
    top: float
    height: float
    tone: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Every query's difference, best first. `reach` is the value at the plot's upper edge, minus it at the lower."""

    bars: tuple[Bar, ...]
    reach: float


@dataclass(frozen=True, slots=True)
class Span:
    """A latency in per mille of the plot's width: the bar ends at p50, its whisker at p95."""

    label: str
    p50: float
    p95: float
    timing: Timing
    side: str


def axis_for(figures: Iterable[Paired]) -> Axis:
    """An axis that holds 0, every difference and every interval."""
    ends = [0.0]
    for f in figures:
        ends += [f.difference, *((f.interval.low, f.interval.high) if f.interval else ())]
    low, high = min(ends), max(ends)
    step = next((s for s in _STEPS if (high - low) / s <= 4), _STEPS[-1])
    if high - low < _STEPS[0]:
        low, high, step = -0.01, 0.01, 0.01
    first, last = math.floor(low / step + TIE), math.ceil(high / step - TIE)
    places = [i * step for i in range(first, last + 1)]
    axis = Axis(places[0], places[-1], ())
    return Axis(axis.low, axis.high, tuple(Tick(axis.at(v), "0" if v == 0 else f"{v:+.{_digits(step)}f}") for v in places))


def whisker(figures: Paired, axis: Axis) -> Whisker:
    """One measure's or slice's row."""
    low, high = (figures.interval.low, figures.interval.high) if figures.interval else (figures.difference, figures.difference)
    return Whisker(axis.at(low), axis.at(figures.difference), axis.at(high), tone(figures))


def tone(figures: Paired) -> str:
    """Either "better" or "worse" where the interval leaves 0 out, else "open"."""
    interval = figures.interval
    if interval is None or interval.low <= 0 <= interval.high:
        return "open"
    return "better" if interval.low > 0 else "worse"


def waterfall(values: Sequence[QueryValue]) -> Waterfall:
    """Differences sorted from the biggest win to the biggest loss. Beyond 320 queries neighbours share a bar, which shows their mean."""
    ordered = sorted((v.candidate - v.control for v in values), reverse=True)
    reach = max((abs(d) for d in ordered), default=0.0) or 1.0
    n = min(len(ordered), COLUMNS)
    cuts = [round(i * len(ordered) / n) for i in range(n + 1)]
    groups = [ordered[a:b] for a, b in itertools.pairwise(cuts)]
    return Waterfall(tuple(_bar(i, sum(g) / len(g), n, reach) for i, g in enumerate(groups)), reach)


def latencies(comparison: Comparison) -> tuple[Span, ...]:
    """Search and encoding of both sides, on one scale."""
    control, candidate = comparison.control, comparison.candidate
    rows = (
        ("search", control.search, "control"),
        ("search", candidate.search, "candidate"),
        ("encoding", control.encode, "control"),
        ("encoding", candidate.encode, "candidate"),
    )
    longest = max(timing.p95 for _, timing, _ in rows) or 1.0
    return tuple(Span(label, 1000 * t.p50 / longest, 1000 * t.p95 / longest, t, side) for label, t, side in rows)


def _bar(i: int, value: float, n: int, reach: float) -> Bar:
    height = 500 * abs(value) / reach
    sign = "open" if abs(value) < TIE else "better" if value > 0 else "worse"
    return Bar(x=1000 * i / n, width=1000 / n, top=500 - height if value > 0 else 500, height=height, tone=sign)


def _place(value: float, low: float, high: float) -> float:
    return _EDGE + (value - low) / (high - low) * (WIDTH - 2 * _EDGE)


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step)))
