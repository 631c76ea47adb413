"""Candidate against control on the same queries, through the store's own search: measures, intervals, slices, latency, examples.

    prepare ──► ask_all (both sides) ──► measures ──► statistics ──┐
            └─► serve_sample: latency, exact search ───────────────┴──► Comparison, sealed by its id

Anything that goes wrong on either side raises: a comparison with a hole in it would be a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vecmigrate.evaluation.cautions import cautions
from vecmigrate.evaluation.examples import biggest_changes
from vecmigrate.evaluation.measures import Measure, Values, grade, overlap
from vecmigrate.evaluation.result import Comparison, ExactCheck, MeasureResult, QueryValue, Side, SliceResult
from vecmigrate.evaluation.searching import Answers, Searcher, Served, ask_all, draw_sample, open_searcher, serve_sample
from vecmigrate.evaluation.statistics import holm, paired
from vecmigrate.evaluation.subject import CompareRequest, Subject, prepare
from vecmigrate.store import Store
from vecmigrate.versions import IndexVersion

__all__ = ["MOST_SLICES", "CompareRequest", "Comparison", "compare"]

MOST_SLICES = 40
"""Slices reported, the largest first; the rest are counted."""
EXAMPLES = 5
"""Biggest wins and biggest losses shown, each."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """One side: who was asked, and what came back."""

    searcher: Searcher
    answers: Answers
    served: Served

    def values(self, measure: Measure) -> Values:
        return measure.values(self.answers.grades)


def compare(store: Store, control: IndexVersion, candidate: IndexVersion, request: CompareRequest) -> Comparison:
    """Compare two index versions of one collection. Reads only; takes two searches per query, and a sample more.

    Raises `UsageError` for settings or versions that can't be compared, `DataError` when no query is left to compare on,
    `ModelError` for a wrong encoder, and whatever the store raises.
    """
    request.check()
    before = store.pointer()
    sides = (open_searcher(store, control, request.encoders), open_searcher(store, candidate, request.encoders))
    subject = prepare(store, request)
    sample = draw_sample(subject, request.seed)
    served = serve_sample(sides, [subject.queries[i].text for i in sample], request)
    a, b = (_Trial(side, ask_all(side, subject, request), answers) for side, answers in zip(sides, served, strict=True))
    exact = _exact_check(subject, sample, served, request)
    found = _assemble(store, subject, request, (a, b), exact)
    found = replace(found, epoch=before.epoch if before else None)
    return replace(found, warnings=(*request.notes, *cautions(found, moved=store.pointer() != before))).sealed()


def _assemble(
    store: Store, subject: Subject, request: CompareRequest, trials: tuple[_Trial, _Trial], exact: ExactCheck | None
) -> Comparison:
    a, b = trials
    values = a.values(request.parsed[0]), b.values(request.parsed[0])
    slices, left_out = _slices(subject, request, *values)
    wins, losses = biggest_changes(store, subject, request, ((a.answers, values[0]), (b.answers, values[1])), EXAMPLES)
    return Comparison(
        id="",
        created_at=datetime.now(UTC),
        collection=store.collection,
        control=_side(a, request),
        candidate=_side(b, request),
        dataset_hash=request.dataset_hash,
        epoch=None,
        training_verdict=request.training_verdict,
        k=request.k,
        depth=request.depth,
        seed=request.seed,
        confidence=request.confidence,
        resamples=request.resamples,
        rows=store.count(),
        queries=subject.counts,
        measures=_measures(a, b, request),
        condensed=_condensed(a, b, request),
        slices=slices,
        slices_left_out=left_out,
        overlap=float(overlap(a.answers.top, b.answers.top, request.k).mean()),
        exact=exact,
        per_query=tuple(QueryValue(q.id, float(x), float(y)) for q, x, y in zip(subject.queries, *values, strict=True)),
        wins=wins,
        losses=losses,
        warnings=(),
    )


def _side(trial: _Trial, request: CompareRequest) -> Side:
    version, grades = trial.searcher.version, trial.answers.grades
    return Side(
        version=version.name,
        label=version.label,
        model=version.model.name,
        fingerprint=version.model.fingerprint,
        dimension=version.model.dimension,
        search=trial.served.search,
        encode=trial.served.encode,
        returned=float(grades.returned.mean()),
        short=int((grades.returned < request.k).sum()),
        judged=float(trial.values(Measure("Judged", request.k)).mean()),
        ann_recall=trial.served.ann_recall(),
    )


def _measures(a: _Trial, b: _Trial, request: CompareRequest) -> tuple[MeasureResult, ...]:
    figures = [paired(a.values(m), b.values(m), request.procedure) for m in request.parsed]
    adjusted = holm([f.p_value for f in figures])
    return tuple(MeasureResult(str(m), f, p) for m, f, p in zip(request.parsed, figures, adjusted, strict=True))


def _condensed(a: _Trial, b: _Trial, request: CompareRequest) -> MeasureResult:
    measure = replace(request.parsed[0], judged_only=True)
    figures = paired(a.values(measure), b.values(measure), request.procedure)
    return MeasureResult(str(measure), figures, figures.p_value)


def _slices(subject: Subject, request: CompareRequest, control: Values, candidate: Values) -> tuple[tuple[SliceResult, ...], int]:
    """The documents' slices first, then the queries' own from the largest down; and how many there was no room for."""
    places: dict[tuple[str, str], list[int]] = {}
    for i, query in enumerate(subject.queries):
        for name in dict.fromkeys(query.slices):
            places.setdefault(("query", name), []).append(i)
        if request.trained_chunks:
            seen = not request.trained_chunks.isdisjoint(subject.relevant(i))
            places.setdefault(("document", "seen document" if seen else "unseen document"), []).append(i)
    ordered = sorted(places.items(), key=lambda entry: (entry[0][0], -len(entry[1]), entry[0][1]))
    shown = [SliceResult(name, kind, paired(control[i], candidate[i], request.procedure)) for (kind, name), i in ordered[:MOST_SLICES]]
    return tuple(shown), len(ordered) - len(shown)


def _exact_check(subject: Subject, sample: Sequence[int], served: tuple[Served, Served], request: CompareRequest) -> ExactCheck | None:
    a, b = served
    if a.exact is None or b.exact is None:
        return None
    judged = [subject.judged[i] for i in sample]
    measure = _at_most(request.parsed[0], request.k)
    served_a, served_b, exact_a, exact_b = (
        measure.values(grade(rows, judged, request.k)) for rows in (a.served, b.served, a.exact, b.exact)
    )
    return ExactCheck(
        measure=str(measure),
        n=len(sample),
        served=paired(served_a, served_b, request.procedure),
        exact=paired(exact_a, exact_b, request.procedure),
    )


def _at_most(measure: Measure, k: int) -> Measure:
    return replace(measure, cutoff=min(measure.cutoff or k, k))
