"""The vectors of a version of ours: what is pending, loading, removing, comparing with the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import DataError, WrongSpace
from vecmigrate.records import Chunk
from vecmigrate.store import Differences, Vectors
from vecmigrate.versions import IndexVersion
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.naming import HASH_KEY
from vecmigrate_chroma.rows import Rows, Source, slices, spelled, whole

MOST_BYTES = 8 * 2**20
"""Bytes of texts and vectors in one request; a server refuses bodies above 40 MiB unless it was told otherwise."""


def refuse_unusable(version: IndexVersion, chunks: Sequence[Chunk], vectors: NDArray[Any]) -> None:
    """Raise `WrongSpace` or `DataError` for what must not be loaded."""
    if vectors.ndim != 2 or vectors.shape[1] != version.model.dimension:
        raise WrongSpace(f"vectors of shape {vectors.shape} for {version.name}", hint=f"expected (n, {version.model.dimension})")
    if len(chunks) != len(vectors) or len({chunk.id for chunk in chunks}) != len(chunks):
        raise DataError(f"{len(vectors)} vectors for {len(chunks)} chunks of {version.name}", hint="one vector per chunk, each id once")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1))
    if len(bad):
        raise DataError(f"the vector of {chunks[bad[0]].id!r} is zero or not finite ({len(bad)} such)", hint="encode these texts again")


class Contents:
    """Reads the source, reads and writes the collection of one version."""

    def __init__(self, driver: Driver, source: Source, batch_size: int | None = None) -> None:
        self._driver = driver
        self._source = source
        self._batch = batch_size or driver.batch_size

    def pending(self, stored: Rows | None, batch_size: int) -> Iterator[Sequence[Chunk]]:
        """Chunks that the version lacks, or has with another text or other metadata (its filters answer from the copy)."""
        rows = self._source.open()
        present = set(stored.ids()) if stored is not None else set()
        waiting: list[Chunk] = []
        for chunks in self._source.scan(rows, rows.ids(), min(1000, self._batch)):
            waiting += self._not_as_stored(stored, chunks, present)
            while len(waiting) >= batch_size:
                yield waiting[:batch_size]
                waiting = waiting[batch_size:]
        if waiting:
            yield waiting

    def _not_as_stored(self, stored: Rows | None, chunks: Sequence[Chunk], present: set[str]) -> list[Chunk]:
        known = [chunk.id for chunk in chunks if chunk.id in present]
        if stored is None or not known:
            return list(chunks)
        copies, other = stored.copies(known), self._of_other_documents(stored, known)
        return [c for c in chunks if c.id in other or copies.get(c.id) != (c.text_hash, spelled(c.metadata))]

    def _of_other_documents(self, stored: Rows, ids: Sequence[str]) -> set[str]:
        """Where the text is a metadata field, the document is a copy of its own, which filters on documents answer from."""
        if self._source.text_key is None:
            return set()
        ours, theirs = stored.documents(ids), self._source.open().documents(ids)
        return {id for id in ids if id in theirs and ours.get(id) != theirs[id]}

    def reusable(self, stored: Rows, chunks: Sequence[Chunk]) -> dict[str, NDArray[np.float32]]:
        """The vectors of chunks whose text is as stored: only their metadata has changed."""
        held = stored.hashed_vectors([chunk.id for chunk in chunks])
        return {chunk.id: held[chunk.id][1] for chunk in chunks if chunk.id in held and held[chunk.id][0] == chunk.text_hash}

    def load(self, stored: Rows, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Write rows whole: Chroma's `upsert` keeps metadata keys that it isn't told of, so those are named as gone. Returns the ids whose
        row in the source is another by now: an application that wrote it meanwhile may have been here before us, with the newer text.
        """
        outrun: list[str] = []
        documents = self._documents(chunks)
        size = 4 * vectors.shape[1]
        weights = [size + len(chunk.text) * 2 for chunk in chunks]
        for part in self._parts(weights):
            ids = [chunks[i].id for i in part]
            before = {id: metadata or {} for batch in stored.records(ids, "metadatas") for id, (metadata,) in batch.items()}
            row = {
                "ids": ids,
                "embeddings": np.ascontiguousarray(vectors[part[0] : part[-1] + 1], dtype=np.float32),
                "documents": [documents.get(id) for id in ids],
                "metadatas": [{**whole(c.metadata, before.get(c.id, {})), HASH_KEY: c.text_hash} for c in chunks[part.start : part.stop]],
            }
            self._driver.call(f"loading into {stored.name!r}", partial(stored.handle.upsert, **row))
            outrun += self._not_in_source([chunks[i] for i in part])
        return outrun

    def _not_in_source(self, chunks: Sequence[Chunk]) -> list[str]:
        """The ids of chunks that the source does not hold like this."""
        now = {chunk.id: chunk for chunk in self._source.chunks(self._source.open(), [chunk.id for chunk in chunks])}
        return [c.id for c in chunks if c.id not in now or now[c.id].text != c.text or spelled(now[c.id].metadata) != spelled(c.metadata)]

    def _documents(self, chunks: Sequence[Chunk]) -> Mapping[str, str | None]:
        """The stored documents; where another field was embedded, they are the source's own."""
        if self._source.text_key is None:
            return {chunk.id: chunk.text for chunk in chunks}
        return self._source.open().documents([chunk.id for chunk in chunks])

    def _parts(self, weights: Sequence[int]) -> Iterator[range]:
        start = total = 0
        for place, weight in enumerate(weights):
            if place > start and (place - start >= self._batch or total + weight > MOST_BYTES):
                yield range(start, place)
                start, total = place, 0
            total += weight
        if start < len(weights):
            yield range(start, len(weights))

    def remove(self, stored: Rows, ids: Sequence[str]) -> list[str]:
        """Delete rows; absent ids are ignored. Returns the ids that the source has with a text, by now."""
        for part in slices(list(dict.fromkeys(ids)), self._batch):
            self._driver.call(f"deleting from {stored.name!r}", partial(stored.handle.delete, ids=list(part)))
        return [chunk.id for chunk in self._source.chunks(self._source.open(), ids) if chunk.text.strip()]

    def differences(self, stored: Rows | None, sample: int) -> Differences:
        """Compare by id, text hash and metadata. Memory: both lists of ids, and one batch."""
        rows = self._source.open()
        extra = set(stored.ids()) if stored is not None else set()
        present, expected = len(extra), 0
        missing: list[str] = []
        stale: list[str] = []
        n_missing = n_stale = 0
        for chunks in self._source.scan(rows, rows.ids(), min(1000, self._batch)):
            here = {chunk.id for chunk in chunks}
            absent = here - extra
            changed = {chunk.id for chunk in self._not_as_stored(stored, [c for c in chunks if c.id not in absent], here - absent)}
            expected += len(here)
            n_missing += len(absent)
            n_stale += len(changed)
            missing += sorted(absent)[: sample - len(missing)]
            stale += sorted(changed)[: sample - len(stale)]
            extra -= here
        return Differences(expected, present, n_missing, n_stale, len(extra), tuple(missing), tuple(stale), tuple(sorted(extra)[:sample]))
