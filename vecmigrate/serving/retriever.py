"""A search that is answered within one version, whatever is flipped meanwhile.

    read the pointer ─► encode with that version's model ─► search that version by number ─► texts from the source

A version retired in between raises inside, and the search starts over from the pointer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from vecmigrate.encoding.encoder import EncoderSource
from vecmigrate.errors import UsageError, VersionRetired
from vecmigrate.filters import parse_filter
from vecmigrate.live import Serving
from vecmigrate.records import Chunk, Hit
from vecmigrate.serving.following import OUTAGE_GRACE, Following
from vecmigrate.store import Store
from vecmigrate.versions import IndexVersion

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Result:
    """One found chunk with its score: higher is better."""

    chunk: Chunk
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of one query, all from one version. `epoch` is the pointer's when the query began; `pointer_age` is how many seconds
    before that it was read: more than the reader's `pointer_ttl` while the store can't be asked for it.
    """

    results: tuple[Result, ...]
    version: str
    epoch: int
    fingerprint: str
    pointer_age: float = 0.0


class Retriever:
    """Searches whatever version serves. Safe to share between threads.

    `pointer_ttl` (seconds) is how long the pointer may be remembered: 0 reads it for every query; a larger one saves a round
    trip and lets queries go to the version before for that long after a flip, still whole. When the pointer can't be read, readers keep to
    the version they know for `outage_grace` seconds, with a warning and the answer's `pointer_age`; then `StoreUnavailable` is raised.
    """

    def __init__(self, store: Store, encoders: EncoderSource, *, pointer_ttl: float = 0.0, outage_grace: float = OUTAGE_GRACE) -> None:
        self._store = store
        self._encoders = encoders
        self._following = Following(store, ttl=pointer_ttl, grace=outage_grace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the store's connections back. Idempotent."""
        self._following.close()
        self._store.close()

    def search(self, query: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> Answer:
        """The `k` best chunks for one query; `where` is a filter as in `vecmigrate.filters`."""
        return self.search_many([query], k, where=where)[0]

    def search_many(self, queries: Sequence[str], k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Answer]:
        """One answer for each query, all from the same version."""
        if isinstance(queries, str) or not all(isinstance(query, str) for query in queries):
            raise UsageError(f"queries are texts, not {queries!r}", hint='retriever.search("a question"), or search_many(["…", "…"])')
        if not queries:
            return []
        condition = parse_filter(where)
        for attempt in range(1, ATTEMPTS + 1):
            serving = self._following.serving(fresh=attempt > 1)
            version = serving.version
            vectors = self._encoders.encoder_for(version).encode_queries(queries)
            try:
                found = self._store.search(version, vectors, k, where=condition)
            except VersionRetired:
                self._following.forget_versions()
                if attempt == ATTEMPTS:
                    raise
                continue
            return self._answers(found, serving)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def search_in(self, version: IndexVersion, query: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> Answer:
        """As `search`, in a version that need not serve: to look at a candidate. Raises `VersionRetired` when it has gone."""
        vectors = self._encoders.encoder_for(version).encode_queries([query])
        found = self._store.search(version, vectors, k, where=parse_filter(where))
        return self._answers(found, Serving(self._following.pointer(), version))[0]

    def _answers(self, found: Sequence[Sequence[Hit]], serving: Serving) -> list[Answer]:
        chunks = self._store.fetch(list({hit.chunk_id for hits in found for hit in hits}))
        return [
            Answer(
                results=tuple(Result(chunks[h.chunk_id], h.score) for h in hits if h.chunk_id in chunks),
                version=serving.version.name,
                epoch=serving.pointer.epoch,
                fingerprint=serving.version.model.fingerprint,
                pointer_age=serving.age,
            )
            for hits in found
        ]
