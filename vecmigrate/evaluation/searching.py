"""Asking both versions the same queries: all of them in batches for quality, a sample one by one for latency and for the index.

Texts become vectors only by the encoder whose fingerprint is the version's, and a search is pinned to that version.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

import numpy as np

from vecmigrate.encoding.encoder import Encoder, EncoderSource
from vecmigrate.errors import DataError, ModelError, UsageError
from vecmigrate.evaluation.measures import Grades, grade
from vecmigrate.evaluation.result import Timing
from vecmigrate.evaluation.subject import CompareRequest, Subject
from vecmigrate.records import Hit
from vecmigrate.store import Capability, Store, Vectors
from vecmigrate.versions import SEARCHABLE, IndexVersion

SAMPLE = 200
"""Queries for latency and exact search, at most."""
ENCODED_SINGLY = 50
"""Queries whose encoding is timed, at most."""

_BATCH = 256
_WARM_UP = 5
_SCORE_TOLERANCE = 1e-6

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Searcher:
    """One index version with its own encoder."""

    store: Store
    version: IndexVersion
    encoder: Encoder

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The query vectors, in the version's space. Raises `ModelError` when there are not as many as texts."""
        vectors = self.encoder.encode_queries(texts)
        if len(vectors) != len(texts):
            raise ModelError(f"{self.encoder.model.name} made {len(vectors)} vectors of {len(texts)} texts", hint="mend the encoder")
        return vectors

    def search(self, vectors: Vectors, k: int, *, exact: bool = False) -> list[tuple[Hit, ...]]:
        """The k best for each vector. Raises what the store raises, and `DataError` when an answer is missing."""
        rows = self.store.search(self.version, vectors, k, exact=exact)
        if len(rows) != len(vectors):
            raise DataError(f"{self.version.name} gave {len(rows)} answers to {len(vectors)} queries", hint="run `vecmigrate doctor`")
        return rows


@dataclass(frozen=True, slots=True)
class Answers:
    """One side's hits for all queries: their grades, and the ids of the k best (`top` goes with the queries)."""

    grades: Grades
    top: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Served:
    """One side's answers to the sample, one query at a time at depth k, as a reader gets them."""

    search: Timing
    encode: Timing
    served: tuple[tuple[Hit, ...], ...]
    exact: tuple[tuple[Hit, ...], ...] | None

    def ann_recall(self) -> float | None:
        """The share of the exact answers' hits that were served. A hit that scores as well as the last exact one counts:
        among equals an index may choose. None where exact search can't be had or finds nothing.
        """
        if self.exact is None:
            return None
        wanted = sum(map(len, self.exact))
        found = sum(_as_good(served, exact) for served, exact in zip(self.served, self.exact, strict=True))
        return found / wanted if wanted else None


def open_searcher(store: Store, version: IndexVersion, encoders: EncoderSource) -> Searcher:
    """The version with its encoder. Raises `UsageError` when it can't be searched yet or belongs elsewhere,
    `ModelError` when the encoder is another model.
    """
    if version.collection != store.collection:
        raise UsageError(f"{version.name} is not of collection {store.collection}", hint="vecmigrate status lists its versions")
    if version.state not in SEARCHABLE:
        raise UsageError(f"{version.name} is {version.state} and cannot be searched", hint="vecmigrate shadow build finishes it")
    encoder = encoders.encoder_for(version)
    if encoder.model.fingerprint != version.model.fingerprint:
        raise ModelError(f"the encoder for {version.name} is another model", hint="vecmigrate models list shows what is registered")
    return Searcher(store, version, encoder)


def ask_all(searcher: Searcher, subject: Subject, request: CompareRequest) -> Answers:
    """Every query at the measures' depth, in batches. Keeps grades and the top k, so memory is some bytes per query and rank."""
    parts: list[Grades] = []
    top: list[tuple[str, ...]] = []
    for start in range(0, len(subject.queries), _BATCH):
        batch = slice(start, start + _BATCH)
        rows = searcher.search(searcher.encode([q.text for q in subject.queries[batch]]), request.depth)
        parts.append(grade(rows, subject.judged[batch], request.depth))
        top.extend(tuple(hit.chunk_id for hit in row[: request.k]) for row in rows)
        request.progress(f"searching {searcher.version.label}", len(top), len(subject.queries))
    return Answers(Grades.join(parts), tuple(top))


def draw_sample(subject: Subject, seed: int) -> list[int]:
    """The places of up to 200 queries, in random order, the same for the same seed."""
    return _generator(seed).sample(range(len(subject.queries)), min(SAMPLE, len(subject.queries)))


def serve_sample(sides: tuple[Searcher, Searcher], texts: Sequence[str], request: CompareRequest) -> tuple[Served, Served]:
    """Both sides on the sample, and exactly where the store can. The two take turns query by query, which goes first is a coin's:
    whatever else the machine does falls on both alike. The first few queries are asked twice and the first time not counted.
    """
    vectors = [side.encode(texts) for side in sides]
    generator = _generator(request.seed)
    request.progress("timing", 0, 2)
    encodes = _take_turns([_encoding(side, texts) for side in sides], min(ENCODED_SINGLY, len(texts)), generator)
    request.progress("timing", 1, 2)
    searches = _take_turns([_searching(side, v, request.k) for side, v in zip(sides, vectors, strict=True)], len(texts), generator)
    request.progress("timing", 2, 2)
    control, candidate = (
        Served(_timing(search), _timing(encode), tuple(lap.result[0] for lap in search), _exactly(side, v, request.k))
        for side, v, search, encode in zip(sides, vectors, searches, encodes, strict=True)
    )
    return control, candidate


@dataclass(frozen=True, slots=True)
class _Lap(Generic[Result]):
    seconds: float
    result: Result


def _encoding(side: Searcher, texts: Sequence[str]) -> Callable[[int], Vectors]:
    return lambda i: side.encode([texts[i]])


def _searching(side: Searcher, vectors: Vectors, k: int) -> Callable[[int], list[tuple[Hit, ...]]]:
    return lambda i: side.search(vectors[i : i + 1], k)


def _take_turns(sides: Sequence[Callable[[int], Result]], n: int, generator: random.Random) -> list[list[_Lap[Result]]]:
    for i in range(min(_WARM_UP, n)):
        for ask in sides:
            ask(i)
    laps: list[list[_Lap[Result]]] = [[] for _ in sides]
    for i in range(n):
        for side in generator.sample(range(len(sides)), len(sides)):
            laps[side].append(_lap(sides[side], i))
    return laps


def _lap(ask: Callable[[int], Result], i: int) -> _Lap[Result]:
    start = perf_counter()
    result = ask(i)
    return _Lap(perf_counter() - start, result)


def _timing(laps: Sequence[_Lap[Result]]) -> Timing:
    p50, p95 = np.percentile([lap.seconds * 1000 for lap in laps], [50, 95])
    return Timing(float(p50), float(p95), len(laps))


def _exactly(side: Searcher, vectors: Vectors, k: int) -> tuple[tuple[Hit, ...], ...] | None:
    if not side.store.can(Capability.EXACT_SEARCH).able:
        return None
    return tuple(side.search(vectors, k, exact=True))


def _as_good(served: Sequence[Hit], exact: Sequence[Hit]) -> int:
    if not exact:
        return 0
    last = exact[-1].score
    wanted = {hit.chunk_id for hit in exact}
    near = abs(last) * _SCORE_TOLERANCE + _SCORE_TOLERANCE
    return min(len(exact), sum(hit.chunk_id in wanted or hit.score >= last - near for hit in served))


def _generator(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a seeded draw, no secret
