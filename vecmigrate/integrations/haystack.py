"""Haystack's Chroma store, retrievers and a text embedder over the version that serves.

    VersionedTextEmbedder ─ a vector that says whose it is ─► ChromaEmbeddingRetriever ─► VersionedDocumentStore
                                              query ─► ChromaQueryTextRetriever ─► VersionedDocumentStore

Both ways the query is answered by one version: the retriever's own, from the text, or the embedder's, from its vector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from vecmigrate.errors import PreflightRefused, WrongSpace
from vecmigrate.integrations.opening import Handle, Source, framework
from vecmigrate.records import PinnedVector

with framework("haystack", "haystack", "haystack_integrations", "chromadb"):
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.types import DuplicatePolicy
    from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever, ChromaQueryTextRetriever
    from haystack_integrations.document_stores.chroma import ChromaDocumentStore

if TYPE_CHECKING:
    from vecmigrate_chroma.collection import VersionedCollection


class VersionedDocumentStore(ChromaDocumentStore):
    """`ChromaDocumentStore` whose collection follows the serving pointer; it never creates one.

    From an open VersionedCollection, or from the path of a vecmigrate.toml, which is opened at the first use and closed by `close`. Only
    the latter can be written down with a pipeline. What opening raises, the first use raises.
    """

    def __init__(self, collection: Source) -> None:
        super().__init__()
        self._handle = Handle(collection)

    @property
    def collection(self) -> VersionedCollection:
        """The collection itself, opened now if need be."""
        return self._handle.collection()

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents into every maintained version; returns how many. Embeddings that they carry are not stored.

        No version holds a document without text: it is in the application's own collection alone.
        """
        return super().write_documents(_as_texts(documents), policy)

    async def write_documents_async(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """As `write_documents`, in a thread."""
        return await super().write_documents_async(_as_texts(documents), policy)

    def delete_all_documents(self, *, recreate_index: bool = False) -> None:
        """Delete every document from every maintained version. Raises `PreflightRefused` for `recreate_index`."""
        if recreate_index:
            raise PreflightRefused(
                f"recreate_index would destroy {self.collection.name!r}, from which every version is made",
                hint="delete_all_documents() deletes the documents",
            )
        ids = self.collection.get(include=[])["ids"]
        if ids:
            self.collection.delete(ids=ids)

    async def delete_all_documents_async(self, *, recreate_index: bool = False) -> None:
        """As `delete_all_documents`, in a thread."""
        await asyncio.to_thread(self.delete_all_documents, recreate_index=recreate_index)

    def close(self) -> None:
        """Close what was opened here; the next use opens it again."""
        self._collection = self._async_collection = None
        self._handle.close()

    def to_dict(self) -> dict[str, Any]:
        """With the path of the vecmigrate.toml. Raises `UsageError` where an open collection was given."""
        return default_to_dict(self, collection=self._handle.path)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what `to_dict` wrote. Opens nothing."""
        return default_from_dict(cls, data)

    def _ensure_initialized(self) -> None:
        self._collection = cast("Any", self.collection)
        self._collection_name = self.collection.name

    async def _ensure_initialized_async(self) -> None:
        await asyncio.to_thread(self._ensure_initialized)
        self._async_collection = cast("Any", self.collection.asynchronous())


def _as_texts(documents: list[Document]) -> list[Document]:
    """Without embeddings: what was read from one version is not written into another."""
    return [replace(document, embedding=None) for document in documents]


@component
class VersionedTextEmbedder:
    """A query's vector by the model of the version that serves, for `ChromaEmbeddingRetriever`.

    `collection` is as in `VersionedDocumentStore`. The vector says whose it is: the store searches that version, whatever is flipped
    in between.
    """

    def __init__(self, collection: Source) -> None:
        self._handle = Handle(collection)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """`{"embedding": vector}`, as long as the serving model's dimension."""
        return {"embedding": CarriedVector.of(self._handle.collection().embed_query(text))}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, text)

    def close(self) -> None:
        """Close what was opened here; the next use opens it again."""
        self._handle.close()

    def to_dict(self) -> dict[str, Any]:
        """With the path of the vecmigrate.toml. Raises `UsageError` where an open collection was given."""
        return default_to_dict(self, collection=self._handle.path)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what `to_dict` wrote. Opens nothing."""
        return default_from_dict(cls, data)


@component
class VersionedQueryTextRetriever(ChromaQueryTextRetriever):
    """`ChromaQueryTextRetriever` that can be read back: Haystack's own reads only a `ChromaDocumentStore` back, no kind of it."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what `to_dict` wrote. Opens nothing."""
        return default_from_dict(cls, data)


@component
class VersionedEmbeddingRetriever(ChromaEmbeddingRetriever):
    """`ChromaEmbeddingRetriever` that can be read back, see `VersionedQueryTextRetriever`."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From what `to_dict` wrote. Opens nothing."""
        return default_from_dict(cls, data)


class CarriedVector(PinnedVector):
    """A pinned vector that a pipeline can copy: Haystack hands a component `type(vector)(number for number in vector)`.

    So the first number knows the pin. Raises `WrongSpace` when it is made of numbers that know none.
    """

    def __init__(self, values: Iterable[float]) -> None:
        numbers = list(values)
        first = numbers[0] if numbers else None
        if not isinstance(first, _First):
            raise WrongSpace("numbers that don't say which model made them", hint="connect VersionedTextEmbedder to the retriever")
        pin = first.pin
        super().__init__(numbers, version=pin.version, fingerprint=pin.fingerprint, epoch=pin.epoch, text=pin.text)

    @classmethod
    def of(cls, vector: PinnedVector) -> Self:
        """The same vector, fit for a pipeline."""
        return cls([_First(vector[0], vector), *vector[1:]])


class _First(float):
    """A vector's first number. A copy of it is itself."""

    pin: PinnedVector

    def __new__(cls, value: float, pin: PinnedVector) -> Self:
        made = super().__new__(cls, value)
        made.pin = pin
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
