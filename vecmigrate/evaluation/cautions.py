"""What could be wrong with a comparison, in plain words: said beside the figures, before anyone asks."""

from __future__ import annotations

from collections.abc import Iterator

from vecmigrate.evaluation.result import Comparison, SliceResult
from vecmigrate.evaluation.statistics import FEWEST, queries_needed
from vecmigrate.synthesis.marking import MARK

WORTHWHILE = 0.02
"""A difference of the main measure that one would want to know of: what a test must be able to see to be called strong enough."""
ENOUGH_QUERIES = 50
GOOD_RECALL = 0.9
_LABEL_GAP = 0.02
_SLOWER = 2.0


def keeps_base(training_verdict: str) -> bool:
    """Whether training itself said that the new model is no better than the one it began with."""
    return "keep base" in training_verdict.casefold()


def all_synthetic(comparison: Comparison) -> bool:
    """Whether each query compared was made from the chunks: the slices that say how each was made hold all of them."""
    made = sum(part.figures.n for part in comparison.slices if part.kind == "query" and part.name.startswith(MARK))
    return made >= comparison.main.figures.n


def inconclusive(comparison: Comparison) -> bool:
    """Whether the main measure's interval holds 0, or there is none, and the queries could not have shown a worthwhile difference."""
    figures = comparison.main.figures
    if figures.interval is None:
        return True
    strong = figures.n >= ENOUGH_QUERIES and (figures.detectable is None or figures.detectable <= WORTHWHILE)
    return figures.interval.low <= 0 <= figures.interval.high and not strong


def cautions(comparison: Comparison, *, moved: bool = False) -> tuple[str, ...]:
    """Every warning that applies, the gravest first. `moved` says that the serving pointer changed meanwhile."""
    return tuple(
        text
        for part in (_verdicts(comparison), _power(comparison), _labels(comparison), _documents(comparison), _index(comparison))
        for text in part
    ) + (("the serving pointer moved while this was measured: compare again",) if moved else ())


def _verdicts(c: Comparison) -> Iterator[str]:
    if keeps_base(c.training_verdict):
        yield f"training said: {c.training_verdict}. It did not find this model better than the one it began with"
    if c.control.fingerprint == c.candidate.fingerprint:
        yield "both sides are one model: differences are the index's, or chance"


def _power(c: Comparison) -> Iterator[str]:
    figures = c.main.figures
    if figures.n < FEWEST:
        yield f"only {figures.n} {'query' if figures.n == 1 else 'queries'}: nothing here holds beyond them"
    if inconclusive(c) and figures.detectable is None:
        yield f"underpowered: n={figures.n}, too few or too alike to say what difference could be seen"
    elif inconclusive(c) and figures.detectable is not None:
        needed = queries_needed(figures.detectable, figures.n, WORTHWHILE)
        yield (
            f"underpowered: n={figures.n} shows a difference of {figures.detectable:.3f} with 80% probability; "
            f"one of {WORTHWHILE:.2f} takes about {needed:,} queries"
        )


def _labels(c: Comparison) -> Iterator[str]:
    counts = c.queries
    if c.candidate.judged < c.control.judged - _LABEL_GAP:
        yield (
            f"label bias: {c.candidate.judged:.0%} of the candidate's top {c.k} are judged, {c.control.judged:.0%} of the control's. "
            f"Unjudged hits count as wrong: it may be better than it looks (judged hits only: {c.condensed.figures.difference:+.3f})"
        )
    if counts.missing_chunks:
        yield (
            f"{counts.missing_chunks} judged chunks have gone from the store: {counts.lost_relevant} queries left out for it, "
            f"{counts.with_missing} compared without them"
        )
    if counts.unknown:
        yield f"{counts.unknown} judgments name queries that were not given"


def _documents(c: Comparison) -> Iterator[str]:
    by_name = {part.name: part for part in c.slices if part.kind == "document"}
    unseen = by_name.get("unseen document")
    if by_name and unseen is None:
        yield "every query's answer was in the training data: nothing shows how the candidate does on documents it has not seen"
    elif unseen is not None and c.main.figures.difference > 0 and not _gains(unseen):
        yield "the gain is not shown on documents that training has not seen: it may not carry over to new ones"
    if c.slices_left_out:
        yield f"{c.slices_left_out} small slices are not shown and not judged"


def _gains(part: SliceResult) -> bool:
    return part.figures.interval is not None and part.figures.interval.low > 0


def _index(c: Comparison) -> Iterator[str]:
    for side in (c.control, c.candidate):
        if side.ann_recall is not None and side.ann_recall < GOOD_RECALL:
            yield f"{side.version}: its index finds {side.ann_recall:.1%} of the true top {c.k}; a loss may be the index's, not the model's"
        if side.short and c.rows >= c.k:
            yield f"{side.version} returned fewer than {c.k} chunks for {side.short} queries"
    if c.candidate.encode.p50 > _SLOWER * c.control.encode.p50:
        yield f"a query takes {c.candidate.encode.p50:.1f} ms to encode, {c.control.encode.p50:.1f} ms before"
