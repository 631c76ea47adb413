"""A search that is answered within one version, whatever is flipped meanwhile.

    read the pointer ─► encode with that version's model ─► search that version by number ─► texts from the source

A version retired in between raises inside, and the search starts over from the pointer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from vecmigrate.encoding.encoder import EncoderSource
from vecmigrate.errors import NotFound, PreflightRefused, VersionRetired
from vecmigrate.filters import parse_filter
from vecmigrate.records import Chunk, Hit
from vecmigrate.store import Store
from vecmigrate.versions import IndexVersion, Pointer

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Result:
    """One found chunk with its score: higher is better."""

    chunk: Chunk
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of one query, all from one version. `epoch` is the pointer's when the query began."""

    results: tuple[Result, ...]
    version: str
    epoch: int
    fingerprint: str


class Retriever:
    """Searches whatever version serves. Safe to share between threads.

    `pointer_ttl` (seconds) is how long the pointer may be remembered: 0 reads it for every query; a larger one saves a round
    trip and lets queries go to the version before for that long after a flip, still whole.
    """

    def __init__(self, store: Store, encoders: EncoderSource, *, pointer_ttl: float = 0.0) -> None:
        self._store = store
        self._encoders = encoders
        self._ttl = pointer_ttl
        self._lock = threading.Lock()
        self._pointer: tuple[Pointer, float] | None = None
        self._versions: dict[int, IndexVersion] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the store's connections back."""
        self._store.close()

    def search(self, query: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> Answer:
        """The `k` best chunks for one query; `where` is a filter as in `vecmigrate.filters`."""
        return self.search_many([query], k, where=where)[0]

    def search_many(self, queries: Sequence[str], k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Answer]:
        """One answer for each query, all from the same version."""
        if not queries:
            return []
        condition = parse_filter(where)
        for attempt in range(1, ATTEMPTS + 1):
            pointer, version = self._serving(fresh=attempt > 1)
            vectors = self._encoders.encoder_for(version).encode_queries(queries)
            try:
                found = self._store.search(version, vectors, k, where=condition)
            except VersionRetired:
                self._forget_versions()
                if attempt == ATTEMPTS:
                    raise
                continue
            return self._answers(found, version, pointer)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def search_in(self, version: IndexVersion, query: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> Answer:
        """As `search`, in a version that need not serve: to look at a candidate. Raises `VersionRetired` when it has gone."""
        vectors = self._encoders.encoder_for(version).encode_queries([query])
        found = self._store.search(version, vectors, k, where=parse_filter(where))
        return self._answers(found, version, self._read_pointer(fresh=True))[0]

    def _forget_versions(self) -> None:
        with self._lock:
            self._versions.clear()

    def _answers(self, found: Sequence[Sequence[Hit]], version: IndexVersion, pointer: Pointer) -> list[Answer]:
        chunks = self._store.fetch(list({hit.chunk_id for hits in found for hit in hits}))
        return [
            Answer(
                results=tuple(Result(chunks[h.chunk_id], h.score) for h in hits if h.chunk_id in chunks),
                version=version.name,
                epoch=pointer.epoch,
                fingerprint=version.model.fingerprint,
            )
            for hits in found
        ]

    def _serving(self, *, fresh: bool) -> tuple[Pointer, IndexVersion]:
        pointer = self._read_pointer(fresh)
        with self._lock:
            version = self._versions.get(pointer.active)
        return pointer, version or self._read_version(pointer)

    def _read_pointer(self, fresh: bool) -> Pointer:
        now = time.monotonic()
        with self._lock:
            if not fresh and self._pointer is not None and now - self._pointer[1] < self._ttl:
                return self._pointer[0]
        pointer = self._store.pointer()
        if pointer is None:
            raise PreflightRefused(f"{self._store.collection} has no serving pointer yet", hint="vecmigrate shadow build adopts the store")
        with self._lock:
            self._pointer = (pointer, now)
        return pointer

    def _read_version(self, pointer: Pointer) -> IndexVersion:
        """A version's model never changes while it is there, so each is read once; a store refuses a number that is another model's by now."""
        found = {v.number: v for v in self._store.versions()}
        if pointer.active not in found:
            raise NotFound(f"{pointer.collection}@v{pointer.active} serves but is not registered", hint="vecmigrate doctor")
        with self._lock:
            self._versions.update(found)
        return found[pointer.active]
