"""A stand-in for the application's `chromadb.Collection` that follows the serving pointer.

    client.get_collection("docs").query(query_texts=["…"])       one collection, one model, for good
    vecmigrate.open_collection().query(query_texts=["…"])        whichever version serves, with its own model

Texts go in and out as before; vectors are made here, because only the version that serves knows by which model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

from vecmigrate.errors import PreflightRefused, UsageError
from vecmigrate.records import PinnedVector
from vecmigrate_chroma.batch import Batch
from vecmigrate_chroma.inside import Inside
from vecmigrate_chroma.reading import Reading, VersionedResult, one_of
from vecmigrate_chroma.writing import Writing

T = TypeVar("T")

QUERY_INCLUDES = ("metadatas", "documents", "distances")
GET_INCLUDES = ("metadatas", "documents")


class VersionedCollection:
    """The application's collection, with reads and writes that follow the versions. Safe to share among threads.

    Takes and returns what `chromadb.Collection` does; a result is a mapping that also has `version`, `epoch`, `fingerprint` and
    `pointer_age`. Errors of Chroma about the arguments are Chroma's own, all others are `vecmigrate.errors`.
    """

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._reading = Reading(inside)
        self._writing = Writing(inside)

    # The collection itself.

    @property
    def name(self) -> str:
        """The application's name for it."""
        return self._inside.source.name

    @property
    def id(self) -> Any:
        """The id of the application's own collection."""
        return self._own.id

    @property
    def metadata(self) -> Any:
        """The metadata of the application's own collection."""
        return self._own.metadata

    @property
    def configuration(self) -> Any:
        """The configuration of the application's own collection; every version has its metric."""
        return self._own.configuration

    @property
    def configuration_json(self) -> dict[str, Any]:
        """As `configuration`, in JSON."""
        return dict(self._own.configuration_json)

    @property
    def tenant(self) -> str:
        """Chroma's tenant."""
        return str(self._own.tenant)

    @property
    def database(self) -> str:
        """Chroma's database."""
        return str(self._own.database)

    @property
    def corrected(self) -> int:
        """Embeddings that the application gave with a write and that no maintained model makes of the text; ours were stored instead."""
        return self._writing.corrected

    # Reading.

    def query(
        self,
        query_embeddings: Any = None,
        query_texts: str | Sequence[str] | None = None,
        query_images: Any = None,
        query_uris: Any = None,
        ids: str | Sequence[str] | None = None,
        n_results: int = 10,
        where: Mapping[str, Any] | None = None,
        where_document: Mapping[str, Any] | None = None,
        include: Sequence[str] = QUERY_INCLUDES,
        *,
        fingerprint: str | None = None,
    ) -> VersionedResult:
        """The nearest rows for each query, all in one version; documents and metadata are the application's rows' as they are now. A row
        that does not pass the filters any more is not shown; one that another client has changed so that it does is found after a sync.

        `query_embeddings` must say whose they are: from `embed_query`, or with the `fingerprint` of the model that made them. Raises
        `WrongSpace` for others, `StoreUnavailable` when the server does not answer.
        """
        from chromadb.api.types import validate_n_results

        _only_texts(query_images, query_uris, include)
        validate_n_results(n_results)
        listed = [ids] if isinstance(ids, str) else ids
        arguments = {"ids": listed, "n_results": n_results, "where": where, "where_document": where_document}
        return self._reading.query(one_of(query_texts, query_embeddings), fingerprint, arguments, list(include))

    def get(
        self,
        ids: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: Mapping[str, Any] | None = None,
        include: Sequence[str] = GET_INCLUDES,
    ) -> VersionedResult:
        """Rows of the application's collection; `embeddings` are those of the version that serves. Any number of rows."""
        _only_texts(None, None, include, "distances")
        if min(limit or 0, offset or 0) < 0:
            raise ValueError(f"limit and offset must not be negative, got {limit} and {offset} in get.")
        listed = [ids] if isinstance(ids, str) else ids
        arguments = {"ids": listed, "where": where, "limit": limit, "offset": offset, "where_document": where_document}
        return self._reading.get(arguments, include)

    def peek(self, limit: int = 10) -> VersionedResult:
        """The first rows, with embeddings."""
        return self.get(limit=limit, include=["embeddings", "documents", "metadatas"])

    def count(self) -> int:
        """How many rows the application's collection has."""
        return self._reading.count()

    # Writing.

    def add(
        self,
        ids: str | Sequence[str],
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Write rows whose ids are not there yet; others stay as they are, as in Chroma."""
        self._put("add", ids, embeddings, metadatas, documents, images, uris)

    def upsert(
        self,
        ids: str | Sequence[str],
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Write rows, new or not. When it returns, the source and every maintained version have them (unless writes are queued).

        `embeddings` of rows with a text are only compared: what is stored is made here. Raises `ModelError` before anything is written
        when a text can't be encoded, `StoreError` when the source was written and the version that serves was not.
        """
        self._put("upsert", ids, embeddings, metadatas, documents, images, uris)

    def update(
        self,
        ids: str | Sequence[str],
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Change rows that are there; ids that aren't are ignored, as in Chroma. Metadata alone costs no encoding."""
        self._put("update", ids, embeddings, metadatas, documents, images, uris)

    def delete(
        self,
        ids: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        where_document: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> dict[str, int]:
        """Delete rows from the source and every maintained version. Returns `{"deleted": n}`."""
        listed = _to_delete(ids, where, where_document, limit)
        return {"deleted": self._writing.delete({"ids": listed, "where": where, "where_document": where_document, "limit": limit})}

    def modify(self, name: str | None = None, metadata: Mapping[str, Any] | None = None, configuration: Any = None) -> None:
        """Change the metadata of the collection that has the application's name. Raises `PreflightRefused` for a new name: versions are
        found by it.
        """
        if name is not None and name != self.name:
            raise PreflightRefused(
                f"{self.name!r} can't be renamed while vecmigrate follows it", hint="rename it after retiring every version"
            )
        own = self._own
        self._inside.driver.native(f"modifying {self.name!r}", lambda: own.modify(metadata=metadata, configuration=configuration))

    # Vectors for libraries that want to encode first.

    def embed_query(self, text: str) -> PinnedVector:
        """The query's vector in the version that serves now; `query(query_embeddings=[…])` takes it, and searches that version."""
        return self._pinned([text], queries=True)[0]

    def embed_documents(self, texts: Sequence[str]) -> list[PinnedVector]:
        """As `embed_query`, for documents."""
        return self._pinned(list(texts), queries=False)

    # Its end.

    def flush(self) -> None:
        """Wait until queued writes are in every maintained version. Raises what kept one out."""
        self._inside.live.flush()

    def close(self) -> None:
        """Flush, and give connection and lock back."""
        self._inside.live.close()

    def asynchronous(self) -> AsyncVersionedCollection:
        """The same for an event loop, in place of chromadb's `AsyncCollection`."""
        return AsyncVersionedCollection(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a VersionedCollection has no {name!r}: it offers what can follow the versions. "
            "chromadb's own client.get_collection(…) has the rest, for the application's vectors alone"
        )

    # Inside.

    @property
    def _own(self) -> Any:
        return self._inside.source.open().handle

    def _put(self, verb: str, ids: Any, embeddings: Any, metadatas: Any, documents: Any, images: Any, uris: Any) -> None:
        _only_texts(images, uris, [])
        self._writing.put(verb, Batch.of(ids, documents, metadatas, embeddings))

    def _pinned(self, texts: Sequence[str], *, queries: bool) -> list[PinnedVector]:
        if not texts:
            return []
        live = self._inside.live
        serving = live.serving()
        vectors = (live.encode_queries if queries else live.encode_documents)(serving.version, texts)
        version, fingerprint, epoch = serving.version.name, serving.version.model.fingerprint, serving.pointer.epoch
        return [
            PinnedVector(vector.tolist(), version=version, fingerprint=fingerprint, epoch=epoch, text=text)
            for vector, text in zip(vectors, texts, strict=True)
        ]


def _to_delete(ids: Any, where: Any, where_document: Any, limit: Any) -> list[str] | None:
    """The ids, checked as Chroma checks a delete."""
    from chromadb.api.types import validate_ids

    if ids is None and where is None and where_document is None:
        raise ValueError("At least one of ids, where, or where_document must be provided in delete.")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise ValueError(f"limit must be a non-negative integer, got {limit!r} in delete.")
    if limit is not None and where is None and where_document is None:
        raise ValueError("limit can only be specified when a where or where_document clause is provided in delete.")
    return None if ids is None else validate_ids([ids] if isinstance(ids, str) else list(ids))


class AsyncVersionedCollection:
    """As `VersionedCollection`, in place of chromadb's `AsyncCollection`: each call runs in a thread, the event loop goes on."""

    def __init__(self, collection: VersionedCollection) -> None:
        self._collection = collection

    @property
    def name(self) -> str:
        """The application's name for it."""
        return self._collection.name

    @property
    def id(self) -> Any:
        """See `VersionedCollection.id`."""
        return self._collection.id

    @property
    def metadata(self) -> Any:
        """See `VersionedCollection.metadata`."""
        return self._collection.metadata

    @property
    def configuration(self) -> Any:
        """See `VersionedCollection.configuration`."""
        return self._collection.configuration

    @property
    def corrected(self) -> int:
        """See `VersionedCollection.corrected`."""
        return self._collection.corrected

    async def query(self, *args: Any, **kwargs: Any) -> VersionedResult:
        """See `VersionedCollection.query`."""
        return await self._do(self._collection.query, *args, **kwargs)

    async def get(self, *args: Any, **kwargs: Any) -> VersionedResult:
        """See `VersionedCollection.get`."""
        return await self._do(self._collection.get, *args, **kwargs)

    async def peek(self, limit: int = 10) -> VersionedResult:
        """See `VersionedCollection.peek`."""
        return await self._do(self._collection.peek, limit)

    async def count(self) -> int:
        """See `VersionedCollection.count`."""
        return await self._do(self._collection.count)

    async def add(self, *args: Any, **kwargs: Any) -> None:
        """See `VersionedCollection.add`."""
        await self._do(self._collection.add, *args, **kwargs)

    async def upsert(self, *args: Any, **kwargs: Any) -> None:
        """See `VersionedCollection.upsert`."""
        await self._do(self._collection.upsert, *args, **kwargs)

    async def update(self, *args: Any, **kwargs: Any) -> None:
        """See `VersionedCollection.update`."""
        await self._do(self._collection.update, *args, **kwargs)

    async def delete(self, *args: Any, **kwargs: Any) -> dict[str, int]:
        """See `VersionedCollection.delete`."""
        return await self._do(self._collection.delete, *args, **kwargs)

    async def modify(self, *args: Any, **kwargs: Any) -> None:
        """See `VersionedCollection.modify`."""
        await self._do(self._collection.modify, *args, **kwargs)

    async def embed_query(self, text: str) -> PinnedVector:
        """See `VersionedCollection.embed_query`."""
        return await self._do(self._collection.embed_query, text)

    async def embed_documents(self, texts: Sequence[str]) -> list[PinnedVector]:
        """See `VersionedCollection.embed_documents`."""
        return await self._do(self._collection.embed_documents, texts)

    async def flush(self) -> None:
        """See `VersionedCollection.flush`."""
        await self._do(self._collection.flush)

    async def close(self) -> None:
        """See `VersionedCollection.close`."""
        await self._do(self._collection.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"an AsyncVersionedCollection has no {name!r}: it offers what can follow the versions")

    async def _do(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)


def _only_texts(images: Any, uris: Any, include: Sequence[str], *disallowed: str) -> None:
    from chromadb.api.types import validate_include

    validate_include(list(include) if isinstance(include, tuple) else include, list(disallowed))  # type: ignore[arg-type]  # as Chroma has it: a list of literals
    if images is not None or uris is not None or "data" in include:
        raise UsageError("images and uris are not followed: a version is made of texts", hint="give query_texts or documents")
