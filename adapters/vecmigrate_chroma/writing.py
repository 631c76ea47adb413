"""Writing for the stand-in: into the application's own collection with the control's vector, then into every maintained version.

Killed in between, the text is in the source, and what a version lacks of it is found by the next sync.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import PreflightRefused, UsageError
from vecmigrate.versions import SEARCHABLE, IndexVersion
from vecmigrate_chroma.inside import Inside
from vecmigrate_chroma.naming import published_version
from vecmigrate_chroma.rows import Rows, slices

_LOG = logging.getLogger("vecmigrate")

ALIKE = 0.999
"""Cosine from which a vector that an application gives counts as the control's."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The arguments of one write, in columns; a column that was not given is None."""

    ids: list[str]
    documents: list[str | None] | None
    metadatas: list[Mapping[str, Any] | None] | None
    embeddings: list[Sequence[float]] | None

    @classmethod
    def of(cls, ids: Any, documents: Any, metadatas: Any, embeddings: Any) -> Batch:
        """From what Chroma takes, one or many. Raises `ValueError` as Chroma does."""
        from chromadb.api.types import validate_ids

        listed = validate_ids([ids] if isinstance(ids, str) else list(ids))
        single = embeddings is not None and len(embeddings) > 0 and np.isscalar(embeddings[0])
        columns = {
            "documents": [documents] if isinstance(documents, str) else documents,
            "metadatas": [metadatas] if isinstance(metadatas, Mapping) else metadatas,
            "embeddings": [embeddings] if single else embeddings,
        }
        for name, column in columns.items():
            if column is not None and len(column) != len(listed):
                raise ValueError(f"Unequal lengths for fields: ids: {len(listed)}, {name}: {len(column)}")
        return cls(listed, **{name: None if column is None else list(column) for name, column in columns.items()})

    def part(self, places: Sequence[int]) -> Batch:
        """The rows at these places."""
        columns = (self.documents, self.metadatas, self.embeddings)
        cut = [None if column is None else [column[place] for place in places] for column in columns]
        return Batch([self.ids[place] for place in places], *cut)  # type: ignore[arg-type]  # a column keeps its type

    def written(self) -> dict[str, Any]:
        """The columns that go to Chroma as they are."""
        return {"ids": self.ids, "documents": self.documents, "metadatas": self.metadatas}


class Writing:
    """`add`, `upsert`, `update` and `delete`, as the stand-in offers them."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self.corrected = 0
        """Vectors that an application gave and that were not what the control's model makes of the text."""

    def put(self, verb: str, batch: Batch) -> None:
        """`verb` is `add`, `upsert` or `update`."""
        self._writable()
        for places in slices(range(len(batch.ids)), self._inside.driver.batch_size):
            self._put(verb, batch.part(places))

    def delete(self, arguments: Mapping[str, Any]) -> int:
        """Delete by ids or by what passes a filter; returns how many rows were there."""
        if all(arguments.get(name) is None for name in ("ids", "where", "where_document")):
            raise ValueError("At least one of ids, where, or where_document must be provided in delete.")
        source = self._writable()
        gone = list(self._to_delete(source, arguments))
        for part in slices(gone, self._inside.driver.batch_size):
            self._inside.driver.native(f"deleting from {source.name!r}", partial(source.handle.delete, ids=list(part)))
            self._inside.live.changed(part)
        return len(gone)

    def _writable(self) -> Rows:
        self._inside.begin_writing()
        source = self._inside.source.open()
        shown = published_version(source.handle)
        if shown is not None:
            raise PreflightRefused(
                f"v{shown} is published under the name {source.name!r} for clients that can't change: nobody writes through here meanwhile",
                hint="vecmigrate publish --undo first",
            )
        return source

    def _to_delete(self, source: Rows, arguments: Mapping[str, Any]) -> Iterator[str]:
        given, limit = arguments.get("ids"), arguments.get("limit")
        filters = {name: arguments.get(name) for name in ("where", "where_document")}
        listed = [given] if isinstance(given, str) else given
        parts = [None] if listed is None else slices(list(dict.fromkeys(listed)), self._inside.driver.batch_size)
        left = limit
        for part in parts:
            ask = partial(source.handle.get, ids=None if part is None else list(part), **filters, limit=left, include=[])
            found = self._inside.driver.native(f"reading {source.name!r}", ask)["ids"]
            yield from found
            if left is not None and (left := left - len(found)) <= 0:
                return

    def _put(self, verb: str, batch: Batch) -> None:
        source = self._inside.source.open()
        before = self._before(source, batch.ids)
        places = [place for place, id in enumerate(batch.ids) if verb == "upsert" or (id in before) == (verb == "update")]
        if not places:
            return
        batch = batch.part(places)
        texts = [self._text(batch, place, before) for place in range(len(batch.ids))]
        needing = [place for place in range(len(batch.ids)) if verb != "update" or self._is_another(batch, place, texts[place], before)]
        self._inside.live.prepare([texts[place] for place in needing if texts[place].strip()])
        vectors = self._vectors(source, batch, texts, needing)
        self._write(source, verb, batch, vectors)
        self._inside.live.changed(batch.ids)

    def _write(self, source: Rows, verb: str, batch: Batch, vectors: Mapping[int, Any]) -> None:
        """One call for rows with a vector, one for those that keep theirs."""
        with_one = sorted(vectors)
        without = [place for place in range(len(batch.ids)) if place not in vectors]
        write = getattr(source.handle, verb)
        if with_one:
            given = {**batch.part(with_one).written(), "embeddings": np.asarray([vectors[place] for place in with_one], dtype=np.float32)}
            self._inside.driver.native(f"writing to {source.name!r}", partial(write, **given))
        kept = batch.part(without)
        if without and kept.metadatas is not None:
            self._inside.driver.native(f"writing to {source.name!r}", partial(write, ids=kept.ids, metadatas=kept.metadatas))

    def _before(self, source: Rows, ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        return {id: row for part in source.records(ids, "documents", "metadatas") for id, row in part.items()}

    def _is_another(self, batch: Batch, place: int, text: str, before: Mapping[str, tuple[Any, ...]]) -> bool:
        """Whether a row that is there gets another document or text: Chroma takes those with a vector only."""
        document, metadata = before[batch.ids[place]]
        given = batch.documents[place] if batch.documents is not None else None
        return text != self._inside.source.text_of(document, metadata) or (given is not None and given != document)

    def _text(self, batch: Batch, place: int, before: Mapping[str, tuple[Any, ...]]) -> str:
        """What the row's text will be: Chroma keeps what a write does not name."""
        document, metadata = before.get(batch.ids[place], (None, None))
        if batch.documents is not None and batch.documents[place] is not None:
            document = batch.documents[place]
        if batch.metadatas is not None:
            metadata = {**(metadata or {}), **(batch.metadatas[place] or {})}
        return self._inside.source.text_of(document, metadata)

    def _vectors(self, source: Rows, batch: Batch, texts: Sequence[str], needing: Sequence[int]) -> dict[int, Any]:
        """Place → vector for the source: by the control's model; of a row without text the one that was given, or that it has."""
        encode = [place for place in needing if texts[place].strip()]
        found: dict[int, Any] = {}
        if encode:
            fresh = self._inside.live.encode_documents(self._control(), [texts[place] for place in encode])
            found.update(zip(encode, fresh, strict=True))
            self._count_corrected(batch, texts, found)
        blank = [place for place in needing if place not in found]
        if blank and batch.embeddings is not None:
            found.update({place: batch.embeddings[place] for place in blank})
        elif blank:
            stored = source.vectors([batch.ids[place] for place in blank])
            found.update({place: stored[batch.ids[place]] for place in blank if batch.ids[place] in stored})
        lacking = [batch.ids[place] for place in needing if place not in found]
        if lacking:
            raise UsageError(
                f"{len(lacking)} rows have neither a text nor an embedding, such as {lacking[0]!r}", hint="give documents, or embeddings"
            )
        return found

    def _count_corrected(self, batch: Batch, texts: Sequence[str], vectors: Mapping[int, Any]) -> None:
        """Vectors that an application made itself may be the control's, or a maintained version's; any other is not of these texts."""
        given = batch.embeddings
        doubtful = [place for place in vectors if given is not None and not _alike(given[place], vectors[place])]
        for version in self._inside.versions() if doubtful else ():
            if version.number and version.state in SEARCHABLE:
                theirs = self._inside.live.encode_documents(version, [texts[place] for place in doubtful])
                doubtful = [place for place, vector in zip(doubtful, theirs, strict=True) if given and not _alike(given[place], vector)]
        if doubtful and not self.corrected:
            _LOG.warning("%d embeddings that the application gave are of no model that serves or served here: corrected", len(doubtful))
        self.corrected += len(doubtful)

    def _control(self) -> IndexVersion:
        return next(version for version in self._inside.versions() if version.number == 0)


def _alike(given: Sequence[float], ours: NDArray[np.float32]) -> bool:
    theirs = np.asarray(given, dtype=np.float32)
    norms = float(np.linalg.norm(theirs)) * float(np.linalg.norm(ours))
    return theirs.shape == ours.shape and bool(norms) and float(theirs @ ours) >= ALIKE * norms
