"""Reading a Chroma collection: all ids first, then records by id, never by offset.

Offset paging skips live rows when others are deleted meanwhile (measured: 900 of 5,000); ids taken at once can't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import NotFound, PreflightRefused
from vecmigrate.filters import Filter
from vecmigrate.records import Chunk
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.naming import HASH_KEY, OWN_KEYS, kept_name, publication_names
from vecmigrate_chroma.where import translate

T = TypeVar("T")


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Parts of at most `size`, in order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def of_application(metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A row's metadata without what we put beside it."""
    if not metadata or OWN_KEYS.isdisjoint(metadata):
        return metadata or {}
    return {key: value for key, value in metadata.items() if key not in OWN_KEYS}


def whole(metadata: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata for an `upsert`, which keeps the keys that it isn't told of: those of `before` are named as gone."""
    return {**dict.fromkeys(before), **metadata}


def spelled(metadata: Mapping[str, Any]) -> str:
    """Metadata as text, equal for equal values of equal types, whatever the order of the keys: 1, 1.0 and True differ, and NaN is NaN."""
    return repr(sorted((key, value) for key, value in metadata.items() if value is not None))


class Rows:
    """The rows of one collection, held by its handle: what was read stays the same collection, whatever is renamed."""

    def __init__(self, driver: Driver, handle: Any) -> None:
        self._driver = driver
        self.handle = handle

    @property
    def name(self) -> str:
        """The collection's name."""
        return str(self.handle.name)

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """A request of one's own to the collection, see `Driver.call`."""
        return self._driver.call(what, request)

    def count(self) -> int:
        """How many rows."""
        return int(self._driver.call(f"counting {self.name!r}", self.handle.count))

    def ids(self, where: Filter | None = None) -> list[str]:
        """All ids, or those that pass; one request that carries nothing else."""
        condition = translate(where)
        found = self._driver.call(f"listing {self.name!r}", lambda: self.handle.get(where=condition, include=[]))
        return list(found["ids"])

    def present(self, ids: Sequence[str]) -> list[str]:
        """Those of these ids that are there."""
        return [id for part in self.records(ids) for id in part]

    def records(self, ids: Sequence[str], *include: str) -> Iterator[dict[str, tuple[Any, ...]]]:
        """For parts of `ids`: id → what was asked for, in its order. Ids that are gone are absent; each id once."""
        for found in self.columns(ids, *include):
            yield {id: tuple(found[name][place] for name in include) for place, id in enumerate(found["ids"])}

    def columns(self, ids: Sequence[str], *include: str) -> Iterator[Mapping[str, Any]]:
        """As `records`, in the columns that Chroma answers with."""
        for part in slices(list(dict.fromkeys(ids)), self._driver.batch_size):
            ask = partial(self.handle.get, ids=list(part), include=list(include))
            yield self._driver.call(f"reading {self.name!r}", ask)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored vectors of these ids. Chroma gives them back to about 1e-7 of what was written."""
        return {id: np.asarray(v, dtype=np.float32) for part in self.records(ids, "embeddings") for id, (v,) in part.items()}

    def copies(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Of a version of ours: id → the hash of the text that its vector is of, and the metadata that was copied with it, `spelled`."""
        read = self.records(ids, "metadatas")
        return {id: (str((m or {}).get(HASH_KEY)), spelled(of_application(m))) for part in read for id, (m,) in part.items()}

    def hashed_vectors(self, ids: Sequence[str]) -> dict[str, tuple[str, NDArray[np.float32]]]:
        """Of a version of ours: id → the hash of a text and the vector of it, read at one moment."""
        read = self.records(ids, "metadatas", "embeddings")
        return {id: (str((m or {}).get(HASH_KEY)), np.asarray(v, dtype=np.float32)) for part in read for id, (m, v) in part.items()}

    def documents(self, ids: Sequence[str]) -> dict[str, str | None]:
        """Id → document."""
        return {id: document for part in self.records(ids, "documents") for id, (document,) in part.items()}


def made_in_the_gap(rows: Rows) -> PreflightRefused:
    """The refusal of a collection that an application created where its own has another name: its rows would pass for all there are."""
    return PreflightRefused(
        f"an application made a new collection {rows.name!r} with {rows.count()} rows while its own was between two names",
        hint=f"stop it; look at what it wrote, delete that collection ({rows.handle.id}), then vecmigrate publish, or publish --undo",
    )


def _blank(text: str) -> bool:
    return not text or text.isspace()


class Source:
    """The application's collection, found by its name each time: the application may have made it anew."""

    def __init__(self, driver: Driver, name: str, text_key: str | None, *, collection: str = "") -> None:
        self._driver = driver
        self.name = name
        self.text_key = text_key
        self._kept = kept_name(collection)
        self._notes = publication_names(collection)
        self._published: dict[str, int | None] = {}

    def open(self) -> Rows:
        """The collection as it is now. Raises `NotFound`, and `PreflightRefused` while it is between two names or an application has
        made another in that gap.
        """
        handle = self._driver.find(self.name)
        if handle is not None:
            rows = Rows(self._driver, handle)
            if str(handle.id) not in self._published and self.published(rows) is None and self._driver.find(self._kept) is not None:
                del self._published[str(handle.id)]
                raise made_in_the_gap(rows)
            return rows
        if self._driver.find(self._kept) is not None:
            raise PreflightRefused(
                f"collection {self.name!r} is between two names: a publish was interrupted",
                hint="vecmigrate publish finishes it, vecmigrate publish --undo takes it back",
            )
        raise NotFound(f"there is no collection {self.name!r} in {self._driver.place}", hint="check source in [store]")

    def published(self, rows: Rows) -> int | None:
        """Which version the collection is a published copy of; asked once for each collection, because a copy never becomes anything else."""
        id = str(rows.handle.id)
        if id not in self._published:
            found = next((handle for name in self._notes if (handle := self._driver.find(name)) is not None), None)
            noted = (found.metadata or {}) if found is not None else {}
            self._published[id] = int(noted["version"]) if noted.get("copy") == id else None
        return self._published[id]

    def text_of(self, document: str | None, metadata: Mapping[str, Any] | None) -> str:
        """What was embedded: the document, or the metadata field that `text_key` names. Empty when there is none."""
        text = document if self.text_key is None else (metadata or {}).get(self.text_key)
        return text if isinstance(text, str) else ""

    def chunks(self, rows: Rows, ids: Sequence[str]) -> list[Chunk]:
        """The rows of these ids as chunks, blank ones too, in the order of `ids`."""
        found = {chunk.id: chunk for part in rows.columns(ids, "documents", "metadatas") for chunk in self._made(part)}
        return [found[id] for id in dict.fromkeys(ids) if id in found]

    def _made(self, part: Mapping[str, Any]) -> list[Chunk]:
        columns = zip(part["ids"], part["documents"], part["metadatas"], strict=True)
        if self.text_key is None:
            return [Chunk(id, document or "", of_application(metadata)) for id, document, metadata in columns]
        return [Chunk(id, self.text_of(document, metadata), of_application(metadata)) for id, document, metadata in columns]

    def scan(self, rows: Rows, ids: Sequence[str], batch_size: int) -> Iterator[list[Chunk]]:
        """Chunks with text in batches of at most `batch_size`."""
        for size in slices(ids, batch_size):
            batch = [chunk for part in rows.columns(size, "documents", "metadatas") for chunk in self._made(part) if not _blank(chunk.text)]
            if batch:
                yield batch

    def sample(self, size: int, seed: int) -> list[Chunk]:
        """Chunks with text, in an order of ids drawn by `seed`, until there are `size`."""
        rows = self.open()
        ids = sorted(rows.ids())
        Random(seed).shuffle(ids)  # noqa: S311 - a seeded draw, no secret
        found: list[Chunk] = []
        for part in slices(ids, max(100, min(size, self._driver.batch_size))):
            if len(found) >= size:
                break
            found += [chunk for chunk in self.chunks(rows, part) if chunk.text.strip()]
        return found[:size]
