"""Worlds small enough to read: chunks are letters, and a query says in which order each side ranks them.

letters({"q1": ("abcd", "bacd", "b")})     the control answers a b c d, the candidate b a c d, and b is relevant
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from vecmigrate.errors import ModelError
from vecmigrate.evaluation import CompareRequest, Comparison, compare
from vecmigrate.evaluation.result import (
    ExactCheck,
    Example,
    MeasureResult,
    QueryCounts,
    QueryValue,
    ShownChunk,
    Side,
    SliceResult,
    Timing,
    Wanted,
)
from vecmigrate.evaluation.statistics import Interval, Paired
from vecmigrate.records import Judgment, Query
from vecmigrate.testing.encoders import FixedEncoders
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import IndexVersion, ModelVersion, State, fingerprint_of

LETTERS = "abcdefghijkl"


class RankingEncoder:
    """Each chunk has an axis of its own; a query's vector is the ranking that was written down for its text."""

    def __init__(self, name: str, rankings: Mapping[str, str]) -> None:
        self._rankings = rankings
        self._model = ModelVersion(name, fingerprint_of({"name": name}), "tests", len(LETTERS))

    @property
    def model(self) -> ModelVersion:
        return self._model

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), len(LETTERS)), np.float32)
        for row, text in enumerate(texts):
            if text not in self._rankings:
                raise ModelError(f"{text!r} was not written down", hint="name it in letters()")
            for rank, letter in enumerate(self._rankings[text]):
                vectors[row, LETTERS.index(letter)] = 1.0 - rank / 20
        return vectors

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([np.eye(len(LETTERS), dtype=np.float32)[LETTERS.index(text[-1])] for text in texts])

    def count_truncated(self, texts: Sequence[str]) -> int:
        return 0


@dataclass
class World:
    store: MemoryStore
    control: IndexVersion
    candidate: IndexVersion
    request: CompareRequest

    def compare(self, **changes: object) -> Comparison:
        return compare(self.store, self.control, self.candidate, replace(self.request, **changes))


def ready(store: MemoryStore, encoder: RankingEncoder) -> IndexVersion:
    version = store.advance(store.create_version(encoder.model), State.BACKFILLING, actor="test")
    for batch in store.pending(version):
        store.load(version, batch, encoder.encode_documents([chunk.text for chunk in batch]))
    version = store.advance(version, State.INDEXING, actor="test")
    store.build_index(version)
    version = store.advance(version, State.CATCHING_UP, actor="test")
    return store.advance(version, State.READY, actor="test")


def letters(
    queries: Mapping[str, tuple[str, str, str]],
    chunks: str = "abcdef",
    slices: Mapping[str, tuple[str, ...]] | None = None,
    **settings: object,
) -> World:
    old = RankingEncoder("old", {f"text of {q}": control for q, (control, _, _) in queries.items()})
    new = RankingEncoder("new", {f"text of {q}": candidate for q, (_, candidate, _) in queries.items()})
    texts = [f"chunk {letter}" for letter in chunks]
    rows = [SourceRow(letter, text, old.encode_documents([text])[0]) for letter, text in zip(chunks, texts, strict=True)]
    store = MemoryStore(rows, dimension=len(LETTERS))
    control = store.adopt(old.model)
    request = CompareRequest(
        queries=[Query(q, f"text of {q}", slices=(slices or {}).get(q, ())) for q in queries],
        judgments=[Judgment(q, chunk, 1.0) for q, (_, _, relevant) in queries.items() for chunk in relevant],
        encoders=FixedEncoders.of(old, new),
        **{"measures": ("nDCG@3", "Recall@3", "RR"), "k": 3, "resamples": 500, **settings},  # type: ignore[arg-type]
    )
    return World(store, control, ready(store, new), request)


def figures(
    difference: float = 0.05,
    low: float | None = 0.02,
    high: float = 0.08,
    *,
    n: int = 100,
    losses: int = 20,
    detectable: float | None = 0.04,
) -> Paired:
    interval = None if low is None else Interval(low, high)
    return Paired(n, 0.5, 0.5 + difference, difference, interval, 0.01, n - losses - 10, 10, losses, detectable)


def side(version: str, **changes: object) -> Side:
    plain = Side(
        version, version.partition("@")[2], f"model {version}", version * 8, 384, Timing(2, 4, 200), Timing(5, 6, 50), 100.0, 0, 0.5, 0.98
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def example(difference: float = 0.5, text: str | None = "how to sort") -> Example:
    hit = ShownChunk("c1", None if text is None else "Sort a list in place.", 1.0)
    other = ShownChunk("c2", None if text is None else "Open a file.", None)
    before, after = (0.25, 0.25 + difference) if difference > 0 else (0.25 - difference, 0.25)
    return Example("q1", text, before, after, (other, hit), (hit, other), (Wanted(hit, 2, 1),))


def passing() -> Comparison:
    """A comparison that passes the default gate."""
    main = figures()
    return Comparison(
        id="",
        created_at=datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC),
        collection="docs",
        control=side("docs@v0"),
        candidate=side("docs@v1"),
        dataset_hash="d" * 64,
        epoch=3,
        training_verdict="better than the base: dev nDCG@10 0.71 against 0.64",
        k=10,
        depth=100,
        seed=0,
        confidence=0.95,
        resamples=9999,
        rows=12_000,
        queries=QueryCounts(104, 100, 1, 2, 1, 3, 2, 0),
        measures=(MeasureResult("nDCG@10", main, 0.02), MeasureResult("Recall@10", figures(0.04, 0.01, 0.07), 0.03)),
        condensed=MeasureResult("nDCG(judged_only=True)@10", figures(0.06, 0.03, 0.09), 0.01),
        slices=(
            SliceResult("seen document", "document", figures(0.08, 0.02, 0.14, n=40)),
            SliceResult("short", "query", figures(0.02, -0.03, 0.07, n=60)),
        ),
        slices_left_out=0,
        overlap=0.42,
        exact=ExactCheck("nDCG@10", 100, main, figures(0.051)),
        per_query=tuple(QueryValue(f"q{i}", 0.5, 0.5 + (i - 20) / 160) for i in range(100)),
        wins=(example(),),
        losses=(example(-0.25),),
        warnings=(),
    ).sealed()
