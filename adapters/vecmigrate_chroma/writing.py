"""Writing for the stand-in: into the application's own collection with the control's vector, then into every maintained version.

    encode for all ─► the source ─► is it still the source, with these texts? ─► every maintained version

Killed in between, the text is in the source, and what a version lacks of it is found by the next sync.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import Conflict, ModelError, PreflightRefused, VecmigrateError, WrongSpace
from vecmigrate.records import PinnedVector
from vecmigrate.versions import SEARCHABLE, IndexVersion
from vecmigrate_chroma.batch import Batch
from vecmigrate_chroma.inside import Inside
from vecmigrate_chroma.rows import Rows, slices

_LOG = logging.getLogger("vecmigrate")

ALIKE = 0.999
"""Cosine from which a vector that an application gives counts as a model's."""
MOST_ROUNDS = 100
"""Times that a row's text may change under its vector before it is an error."""

Before = Mapping[str, tuple[Any, ...]]
"""Id → document and metadata of rows that are there."""


class Writing:
    """`add`, `upsert`, `update` and `delete`, as the stand-in offers them."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self.corrected = 0
        """Vectors that an application gave and that were not what a maintained model makes of the text."""

    def put(self, verb: str, batch: Batch) -> None:
        """`verb` is `add`, `upsert` or `update`. All is encoded before anything is written."""
        source = self._writable()
        before = {id: row for part in source.records(batch.ids, "documents", "metadatas") for id, row in part.items()}
        batch = batch.part([place for place, id in enumerate(batch.ids) if verb == "upsert" or (id in before) == (verb == "update")])
        texts = [self._text(batch, place, before) for place in range(len(batch.ids))]
        needing = [place for place in range(len(batch.ids)) if verb != "update" or self._is_another(batch, place, texts[place], before)]
        self._inside.live.prepare([texts[place] for place in needing if texts[place].strip()])
        vectors = self._vectors(source, batch, texts, needing)
        self._require_same(source)
        for places in slices(range(len(batch.ids)), self._inside.driver.batch_size):
            part = batch.part(places)
            try:
                self._write(source, verb, part, {at: vectors[place] for at, place in enumerate(places) if place in vectors})
                self._encode_as_it_is(source, {part.ids[at]: texts[place] for at, place in enumerate(places) if place in vectors})
            finally:
                self._inside.live.changed(part.ids)
        self._require_same(source)

    def delete(self, arguments: Mapping[str, Any]) -> int:
        """Delete by ids or by what passes a filter; returns how many rows were deleted."""
        source = self._writable()
        self._inside.live.prepare(())
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        deleted = 0
        for part in slices(list(self._to_delete(source, arguments)), self._inside.driver.batch_size):
            try:  # the filters once more: a row may have been changed since it was found
                done = self._inside.driver.native(
                    f"deleting from {source.name!r}", partial(source.handle.delete, ids=list(part), **filters)
                )
            finally:
                self._inside.live.changed(part)
            deleted += int(done["deleted"])
        self._require_same(source)
        return deleted

    # Where.

    def _writable(self) -> Rows:
        self._inside.begin_writing()
        source = self._inside.source.open()
        shown = self._inside.source.published(source)
        if shown is not None:
            raise PreflightRefused(
                f"v{shown} is published under the name {source.name!r} for clients that can't change: nobody writes through here meanwhile",
                hint="vecmigrate publish --undo first",
            )
        return source

    def _require_same(self, source: Rows) -> None:
        """Raise `Conflict` when the name has become another collection's: what is written to the one before is not what readers find."""
        now = self._inside.source.open()
        if now.handle.id != source.handle.id:
            raise Conflict(f"{source.name!r} became another collection during this write", hint="write it again")

    def _to_delete(self, source: Rows, arguments: Mapping[str, Any]) -> Iterator[str]:
        given, left = arguments.get("ids"), arguments.get("limit")
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        parts = [None] if given is None else slices(given, self._inside.driver.batch_size)
        for part in parts:
            ask = partial(source.handle.get, ids=None if part is None else list(part), **filters, limit=left, include=[])
            found = self._inside.driver.native(f"reading {source.name!r}", ask)["ids"]
            yield from found
            if left is not None and (left := left - len(found)) <= 0:
                return

    # What.

    def _text(self, batch: Batch, place: int, before: Before) -> str:
        """What the row's text will be: Chroma keeps what a write does not name."""
        document, metadata = before.get(batch.ids[place], (None, None))
        if batch.document(place) is not None:
            document = batch.document(place)
        if batch.metadatas is not None:
            metadata = {**(metadata or {}), **(batch.metadatas[place] or {})}
        return self._inside.source.text_of(document, metadata)

    def _is_another(self, batch: Batch, place: int, text: str, before: Before) -> bool:
        """Whether a row that is there gets another document, text or embedding: Chroma takes those with a vector only."""
        document, metadata = before[batch.ids[place]]
        given = batch.document(place)
        another = text != self._inside.source.text_of(document, metadata) or (given is not None and given != document)
        return another or batch.embeddings is not None

    def _vectors(self, source: Rows, batch: Batch, texts: Sequence[str], needing: Sequence[int]) -> dict[int, Any]:
        """Place → vector for the source: the control's of the text; of a row without one, what was given, the control's of the blank
        document, or what the row has.
        """
        encode = [place for place in needing if texts[place].strip()]
        found: dict[int, Any] = dict(zip(encode, self._by_control([texts[place] for place in encode]), strict=True))
        self._count_corrected(batch, texts, found)
        blank = [place for place in needing if place not in found]
        stored = source.vectors([batch.ids[place] for place in blank]) if blank else {}
        for place in blank:
            vector = self._without_text(batch, place, stored)
            if vector is None:
                raise ValueError(f"row {batch.ids[place]!r} has neither a text nor an embedding: provide documents or embeddings")
            found[place] = vector
        return found

    def _without_text(self, batch: Batch, place: int, stored: Mapping[str, NDArray[np.float32]]) -> Any | None:
        if batch.embeddings is not None:
            given = batch.embeddings[place]
            if isinstance(given, PinnedVector) and given.fingerprint != self._control().model.fingerprint:
                raise WrongSpace(
                    f"the embedding of {batch.ids[place]!r} is {given.version}'s", hint="a row without a text needs the control's"
                )
            return given
        if batch.document(place) is not None:
            try:
                return self._by_control([batch.documents[place] or ""])[0] if batch.documents else None
            except ModelError:  # a model that makes nothing of a blank text
                return stored.get(batch.ids[place])
        return stored.get(batch.ids[place])

    def _by_control(self, texts: Sequence[str]) -> Sequence[NDArray[np.float32]]:
        return list(self._inside.live.encode_documents(self._control(), texts)) if texts else []

    def _control(self) -> IndexVersion:
        return next(version for version in self._inside.versions() if version.number == 0)

    def _count_corrected(self, batch: Batch, texts: Sequence[str], vectors: Mapping[int, Any]) -> None:
        """Vectors that an application made itself may be the control's, or a maintained version's; any other is not of these texts."""
        given = batch.embeddings
        if given is None:
            return
        doubtful = [place for place in vectors if not _alike(given[place], vectors[place])]
        for version in self._inside.versions() if doubtful else ():
            if version.number and not version.shares and version.state in SEARCHABLE:
                theirs = self._if_it_can(version, [texts[place] for place in doubtful])
                doubtful = [place for at, place in enumerate(doubtful) if theirs is None or not _alike(given[place], theirs[at])]
        if doubtful and not self.corrected:
            _LOG.warning("%d embeddings that the application gave are of no model that serves or served here: corrected", len(doubtful))
        self.corrected += len(doubtful)

    def _if_it_can(self, version: IndexVersion, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """Encoded by a version's model; None where that is gone, which stops no write."""
        try:
            return self._inside.live.encode_documents(version, texts) if texts else None
        except VecmigrateError:
            return None

    # The writes themselves.

    def _write(self, source: Rows, verb: str, batch: Batch, vectors: Mapping[int, Any]) -> None:
        """One call for rows with a vector, one for those that keep theirs."""
        with_one = sorted(vectors)
        without = [place for place in range(len(batch.ids)) if place not in vectors]
        write = getattr(source.handle, verb)
        if without and batch.metadatas is not None:
            kept = batch.part(without)
            self._inside.driver.native(f"writing to {source.name!r}", partial(write, ids=kept.ids, metadatas=kept.metadatas))
        if with_one:
            given = batch.part(with_one)
            embeddings = np.asarray([vectors[place] for place in with_one], dtype=np.float32)
            columns = {"ids": given.ids, "documents": given.documents, "metadatas": given.metadatas, "embeddings": embeddings}
            self._inside.driver.native(f"writing to {source.name!r}", partial(write, **columns))

    def _encode_as_it_is(self, source: Rows, encoded: Mapping[str, str]) -> None:
        """Where another writer changed a row's text between our reading and our writing, its vector is of the older text: once more."""
        left = {id: text for id, text in encoded.items() if text.strip()}
        for _ in range(MOST_ROUNDS):
            now = {chunk.id: chunk.text for chunk in self._inside.source.chunks(source, list(left)) if chunk.text.strip()}
            left = {id: text for id, text in now.items() if text != left[id]}
            if not left:
                return
            vectors = self._by_control(list(left.values()))
            update = partial(source.handle.update, ids=list(left), embeddings=np.asarray(vectors, dtype=np.float32))
            self._inside.driver.call(f"writing to {source.name!r}", update)
        raise Conflict(f"{len(left)} rows change faster than they are encoded, such as {next(iter(left))!r}", hint="write it again")


def _alike(given: Sequence[float], ours: NDArray[np.float32]) -> bool:
    theirs = np.asarray(given, dtype=np.float32)
    norms = float(np.linalg.norm(theirs)) * float(np.linalg.norm(ours))
    return theirs.shape == ours.shape and bool(norms) and float(theirs @ ours) >= ALIKE * norms
