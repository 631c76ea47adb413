"""May the candidate serve? The `[gate]` table of vecmigrate.toml, applied to a comparison.

    every check ok                                                    ─► pass
    a check failed, and more queries would not mend it                ─► fail
    only the main measure is open, and the queries are too few        ─► underpowered (the gate is not passed either)
    all is well but that no user asked any of the queries             ─► undecided (nor here)

How each check decides:

- *main measure*: the interval's lower bound lies above `min_difference`. With 0 or more that is superiority; with a negative
  number it is non-inferiority by that margin.
- *slices*: a slice of at least `slice_min_queries` fails when it is worse by more than `slice_margin` and its interval lies below 0:
  a loss that is both large and real. Demanding proof of non-inferiority from each slice would fail equal models, for small slices
  have wide intervals; those whose interval reaches beyond the margin are said to be open instead.
- *latency*: the candidate's median search time over the control's, measured in turns, one query at a time. Encoding is not in it.
- *index recall*: the candidate's top k against exact search. A store without exact search fails this unless `min_ann_recall` is 0.
- *asked by users*: a comparison on synthetic queries alone shows how well a model finds a chunk by words out of it. What speaks against
  the candidate there counts; what speaks for it does not, unless `accept_synthetic` says so.
- *training verdict*: when training said "keep base", only superiority passes, even under a negative `min_difference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from vecmigrate.config import GateSection
from vecmigrate.errors import UsageError
from vecmigrate.evaluation.cautions import WORTHWHILE, all_synthetic, keeps_base
from vecmigrate.evaluation.measures import parse_measure
from vecmigrate.evaluation.result import Comparison, SliceResult
from vecmigrate.evaluation.statistics import Interval, Paired


class Outcome(StrEnum):
    """What the gate says."""

    PASS = "pass"  # noqa: S105 - no password
    """Every check is ok."""
    FAIL = "fail"
    """At least one check failed for good."""
    UNDERPOWERED = "underpowered"
    """Nothing speaks against the candidate, but the queries are too few to show that it is better."""
    UNDECIDED = "undecided"
    """Every other check is ok, but the queries were made from the chunks: what users would find is not known."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the gate. `note` adds what the reader should know though it does not decide.

    `kind` is one of "difference", "queries", "asked", "worse", "slice", "latency", "recall", "verdict".
    """

    kind: str
    name: str
    expected: str
    observed: str
    ok: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class GateResult:
    """The outcome with its reasons, in the order in which they were looked at."""

    outcome: Outcome
    reasons: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may serve. Underpowered and undecided are not passed."""
        return self.outcome is Outcome.PASS

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that are not ok."""
        return tuple(check for check in self.reasons if not check.ok)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return {"outcome": str(self.outcome), "passed": self.passed, "reasons": [asdict(check) for check in self.reasons]}


def judge_gate(comparison: Comparison, section: GateSection) -> GateResult:
    """Apply the gate. Raises `UsageError` when the comparison was made for another measure or confidence than the gate's."""
    _refuse_other_terms(comparison, section)
    figures = comparison.main.figures
    main, asked = (_difference(comparison, section), _queries(figures, section)), tuple(_asked(comparison, section))
    others = tuple(_others(comparison, section))
    reasons = (*main, *asked, *others)
    if all(check.ok for check in (*main, *others)):
        return GateResult(Outcome.PASS if all(check.ok for check in asked) else Outcome.UNDECIDED, reasons)
    open_ = all(check.ok for check in others) and _may_yet_pass(figures, section) and _too_few(figures, section)
    return GateResult(Outcome.UNDERPOWERED if open_ else Outcome.FAIL, reasons)


def _refuse_other_terms(comparison: Comparison, section: GateSection) -> None:
    wanted = str(parse_measure(section.measure))
    if comparison.main.measure != wanted:
        raise UsageError(
            f"the gate is about {wanted}, the comparison about {comparison.main.measure}", hint="run `vecmigrate compare` again"
        )
    if abs(comparison.confidence - section.confidence) > 1e-9:
        raise UsageError(
            f"the gate asks for {section.confidence:.4g} confidence, the comparison was made at {comparison.confidence:.4g}",
            hint="run `vecmigrate compare` again",
        )


def _difference(comparison: Comparison, section: GateSection) -> Check:
    kind = "better" if section.min_difference >= 0 else "not worse"
    figures = comparison.main.figures
    return Check(
        kind="difference",
        name=f"{comparison.main.measure} {kind}",
        expected=f"interval above {section.min_difference:.4g}",
        observed=written_difference(figures),
        ok=figures.interval is not None and figures.interval.low > section.min_difference,
    )


def written_difference(figures: Paired) -> str:
    """`+0.031 [+0.012, +0.050]`, or `+0.031 [no interval]`."""
    return f"{figures.difference:+.3f} {written_interval(figures.interval)}"


def written_interval(interval: Interval | None) -> str:
    """`[+0.012, +0.050]`, or `[no interval]`."""
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]" if interval else "[no interval]"


def _queries(figures: Paired, section: GateSection) -> Check:
    return Check("queries", "enough queries", f"at least {section.min_queries}", f"{figures.n}", figures.n >= section.min_queries)


def _asked(comparison: Comparison, section: GateSection) -> Iterator[Check]:
    if all_synthetic(comparison):
        observed = f"0 of {comparison.main.figures.n}"
        note = "all are synthetic; [gate] accept_synthetic = true lets them decide"
        yield Check("asked", "queries that users asked", "at least 1", observed, section.accept_synthetic, note)


def _others(comparison: Comparison, section: GateSection) -> Iterator[Check]:
    figures = comparison.main.figures
    worse = figures.losses / figures.n
    yield Check(
        "worse", "queries that get worse", f"at most {section.max_worse_fraction:.0%}", f"{worse:.1%}", worse <= section.max_worse_fraction
    )
    yield from (_slice(part, section) for part in comparison.slices if part.figures.n >= section.slice_min_queries)
    if section.max_latency_ratio is not None:
        yield _latency(comparison, section.max_latency_ratio)
    yield _recall(comparison, section)
    if keeps_base(comparison.training_verdict):
        bar = max(0.0, section.min_difference)
        shown = figures.interval is not None and figures.interval.low > bar
        yield Check("verdict", "training said keep base", f"interval above {bar:.4g}", written_difference(figures), shown)


def _slice(part: SliceResult, section: GateSection) -> Check:
    figures, margin = part.figures, section.slice_margin
    interval = figures.interval
    worse = figures.difference < -margin and interval is not None and interval.high < 0
    open_ = interval is None or interval.low <= -margin
    return Check(
        kind="slice",
        name=f"slice {part.name}",
        expected=f"no loss beyond {margin:.4g}",
        observed=f"{written_difference(figures)}, n={figures.n}",
        ok=not worse,
        note="open: the interval reaches beyond the margin" if open_ and not worse else "",
    )


def _latency(comparison: Comparison, most: float) -> Check:
    before, after = comparison.control.search.p50, comparison.candidate.search.p50
    ratio = after / before if before > 0 else float("inf")
    observed = f"{ratio:.2f} × ({after:.2f} against {before:.2f} ms)"
    return Check("latency", "median search time", f"at most {most:.2g} ×", observed, ratio <= most)


def _recall(comparison: Comparison, section: GateSection) -> Check:
    name, expected = f"index recall@{comparison.k}", f"at least {section.min_ann_recall:.4g}"
    found = comparison.candidate.ann_recall
    if found is None:
        note = "this store cannot search exactly; min_ann_recall = 0 does without"
        return Check("recall", name, expected, "not measured", section.min_ann_recall == 0, note)
    return Check("recall", name, expected, f"{found:.3f}", found >= section.min_ann_recall)


def _may_yet_pass(figures: Paired, section: GateSection) -> bool:
    return figures.interval is None or figures.interval.high > section.min_difference


def _too_few(figures: Paired, section: GateSection) -> bool:
    return figures.n < section.min_queries or figures.detectable is None or figures.detectable > WORTHWHILE
