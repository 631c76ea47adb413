"""What two versions are compared on: the request, and which of its queries and judgments can tell anything at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vecmigrate.encoding.encoder import EncoderSource
from vecmigrate.errors import DataError, UsageError
from vecmigrate.evaluation.measures import Measure, parse_measure, qrels
from vecmigrate.evaluation.result import QueryCounts
from vecmigrate.evaluation.statistics import RESAMPLES, Procedure
from vecmigrate.records import Judgment, Query
from vecmigrate.store import Source

MAX_DEPTH = 100
DEFAULT_MEASURES = ("nDCG@10", "Recall@10", "Recall@100", "P@10", "RR@10", "AP@100", "Success@1")

_FETCH_AT_ONCE = 1000

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What to compare on and how. `measures[0]` is the main one: slices, examples and the gate are about it.

    `k` is how many hits a reader asks for. The search goes as deep as the deepest cutoff, at most 100. `trained_chunks` are the ids
    that training pairs named: they part the queries into "seen document" and "unseen document". With `show_texts` off, the result
    holds ids and figures only. `notes` stand first among its warnings.
    """

    queries: Sequence[Query]
    judgments: Sequence[Judgment]
    encoders: EncoderSource
    trained_chunks: frozenset[str] = frozenset()
    measures: Sequence[str] = DEFAULT_MEASURES
    k: int = 10
    seed: int = 0
    confidence: float = 0.95
    resamples: int = RESAMPLES
    show_texts: bool = True
    dataset_hash: str = ""
    training_verdict: str = ""
    notes: tuple[str, ...] = ()
    progress: Progress = field(default=_silent, compare=False)

    @property
    def parsed(self) -> tuple[Measure, ...]:
        """The measures, each once. Raises `UsageError` for what can't be measured here."""
        measures = tuple(dict.fromkeys(parse_measure(written) for written in self.measures))
        if not measures:
            raise UsageError("a comparison needs at least one measure", hint="take nDCG@10")
        for measure in measures:
            if measure.name == "Judged":
                raise UsageError(f"{measure} says nothing of quality", hint="leave it out: Judged is reported for both sides anyway")
            if (measure.cutoff or 1) > MAX_DEPTH:
                raise UsageError(f"{measure} needs {measure.cutoff} hits", hint=f"searches go {MAX_DEPTH} deep: take a smaller cutoff")
        return measures

    @property
    def depth(self) -> int:
        """How many hits the measures need."""
        return max(self.k, *(measure.cutoff or MAX_DEPTH for measure in self.parsed))

    @property
    def procedure(self) -> Procedure:
        """How intervals and tests are made."""
        return Procedure(self.confidence, self.resamples, self.seed)

    def check(self) -> None:
        """Raises `UsageError` for settings that make no sense."""
        if not 1 <= self.k <= MAX_DEPTH:
            raise UsageError(f"k = {self.k} is out of range", hint=f"take 1 to {MAX_DEPTH}")
        if not 0.5 <= self.confidence < 1:
            raise UsageError(f"a confidence of {self.confidence} makes no interval", hint="take 0.95")
        if self.resamples < 100:
            raise UsageError(f"{self.resamples} resamples are too few", hint=f"take {RESAMPLES}")


@dataclass(frozen=True, slots=True)
class Subject:
    """The queries that count, in the order given, and for each the judgments on chunks that exist (`judged` goes with `queries`)."""

    queries: tuple[Query, ...]
    judged: tuple[Mapping[str, float], ...]
    counts: QueryCounts

    def relevant(self, place: int) -> list[str]:
        """The ids of the chunks that are relevant to the query at `place`, the best first."""
        graded = ((-grade, chunk) for chunk, grade in self.judged[place].items() if grade > 0)
        return [chunk for _, chunk in sorted(graded)]


def prepare(source: Source, request: CompareRequest) -> Subject:
    """Leave out what can't tell the versions apart: blank queries, queries without a relevant chunk, chunks that are gone.

    A chunk that was deleted after it was judged can be found by neither side, so its judgments are dropped, and counted.
    Raises `DataError` for two queries of one id, or when no query is left.
    """
    _refuse_duplicates(request.queries)
    grades = qrels(request.judgments)
    asked = [q for q in request.queries if q.text.strip()]
    relevant = [q for q in asked if _any_relevant(grades.get(q.id, {}))]
    gone = _gone(source, {chunk for q in relevant for chunk in grades[q.id]}, request.progress)
    alive = [({c: g for c, g in grades[q.id].items() if c not in gone}, q) for q in relevant]
    kept = [(judged, q) for judged, q in alive if _any_relevant(judged)]
    ids = {q.id for q in request.queries}
    counts = QueryCounts(
        given=len(request.queries),
        compared=len(kept),
        blank=len(request.queries) - len(asked),
        without_relevant=len(asked) - len(relevant),
        lost_relevant=len(relevant) - len(kept),
        with_missing=sum(len(judged) < len(grades[q.id]) for judged, q in kept),
        missing_chunks=len(gone),
        unknown=sum(j.query_id not in ids for j in request.judgments),
    )
    if not kept:
        raise _nothing_left(counts)
    return Subject(tuple(q for _, q in kept), tuple(judged for judged, _ in kept), counts)


def _refuse_duplicates(queries: Sequence[Query]) -> None:
    twice = [id for id, times in Counter(q.id for q in queries).items() if times > 1]
    if twice:
        raise DataError(f"{len(twice)} query ids are there more than once, {twice[0]!r} first", hint="build the dataset again")


def _any_relevant(judged: Mapping[str, float]) -> bool:
    return any(grade > 0 for grade in judged.values())


def _gone(source: Source, chunks: set[str], progress: Progress) -> set[str]:
    ordered = sorted(chunks)
    gone: set[str] = set()
    for start in range(0, len(ordered), _FETCH_AT_ONCE):
        batch = ordered[start : start + _FETCH_AT_ONCE]
        gone.update(set(batch) - source.fetch(batch).keys())
        progress("looking up judged chunks", start + len(batch), len(ordered))
    return gone


def _nothing_left(counts: QueryCounts) -> DataError:
    return DataError(
        f"nothing to compare on: of {counts.given} queries {counts.blank} are blank, {counts.without_relevant} have no relevant chunk, "
        f"and of {counts.lost_relevant} all relevant chunks have gone from the store",
        hint="see `vecmigrate dataset show`; a newer query log may have more",
    )
