"""LlamaIndex's Chroma store over the version that serves: the store encodes the query itself, with that version's model.

    retriever ─ query_str ─► store ─► collection.embed_query ─► collection.query, in the same version

An index's own embed model would average the query's vectors and so lose which model they are of; this store does without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, cast

from vecmigrate.errors import PreflightRefused
from vecmigrate.integrations.one_space import in_one_space
from vecmigrate.integrations.opening import Source, framework, opened
from vecmigrate.records import PinnedVector

with framework("llamaindex", "llama_index", "chromadb"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import BaseNode, MetadataMode
    from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode, VectorStoreQueryResult
    from llama_index.core.vector_stores.utils import node_to_metadata_dict
    from llama_index.vector_stores.chroma import ChromaVectorStore

if TYPE_CHECKING:
    from vecmigrate_chroma.collection import VersionedCollection


def open_vector_store(source: Source) -> VersionedChromaVectorStore:
    """A `ChromaVectorStore` over an open collection, or the one that a vecmigrate.toml names; `store.client.close()` ends it.

    Raises what `vecmigrate.open_collection` raises.
    """
    return VersionedChromaVectorStore(opened(source))


class VersionedChromaVectorStore(ChromaVectorStore):
    """`ChromaVectorStore` whose collection follows the serving pointer, for `VectorStoreIndex.from_vector_store`.

    What the versions embed is the stored document: a node's text, without the metadata that LlamaIndex puts in front of it when it embeds
    for itself; or the metadata field that `text_key` in [store] names. Embeddings that nodes carry are not stored.
    """

    is_embedding_query: bool = False

    def __init__(self, collection: VersionedCollection) -> None:
        super().__init__(chroma_collection=collection, collection_name=collection.name)

    @property
    def client(self) -> VersionedCollection:
        """The collection."""
        return cast("VersionedCollection", self._collection)

    @classmethod
    def class_name(cls) -> str:
        """LlamaIndex's name for the type."""
        return "VersionedChromaVectorStore"

    @classmethod
    def from_collection(cls, collection: Any) -> VersionedChromaVectorStore:
        """Over an open VersionedCollection. Raises `UsageError` for chromadb's own, which stays with one model."""
        return cls(opened(collection))

    @classmethod
    def from_params(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `PreflightRefused`."""
        raise PreflightRefused("from_params would make a collection of one model", hint="open_vector_store('vecmigrate.toml')")

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nearest nodes to `query_str`, in one version; every mode but MMR is nearness.

        A `query_embedding` from `collection.embed_query` goes before `query_str`, any other gives way to it: retrievers share a query, and
        it may be another index's. Alone, it raises `WrongSpace`. Without either, nodes in no order.
        """
        vector: Any = query.query_embedding
        if query.query_str and not isinstance(vector, PinnedVector):
            vector = self.client.embed_query(query.query_str)
        search = super().query
        if query.mode != VectorStoreQueryMode.MMR or vector is None:
            return search(replace(query, query_embedding=vector), **kwargs)
        return in_one_space(
            self.client, vector, lambda given, named: search(replace(query, query_embedding=list(given)), **named, **kwargs)
        )

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Write nodes, embedded or not, into every maintained version; returns their ids. Ids that are there stay as they are.

        No version holds a node without text: it is in the application's own collection alone.
        """
        ids = [node.node_id for node in nodes]
        if ids:
            texts = [node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes]
            self.client.add(ids=ids, documents=texts, metadatas=[self._metadata(node) for node in nodes])
        return ids

    def delete_nodes(self, node_ids: list[str] | None = None, filters: Any = None, **delete_kwargs: Any) -> None:
        """Delete nodes by id, or by what passes the filters, from every maintained version."""
        if filters is not None and not node_ids:
            node_ids, filters = [node.node_id for node in self.get_nodes(None, filters)], None
        if node_ids:
            super().delete_nodes(node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(self, node_ids: list[str] | None = None, filters: Any = None, **delete_kwargs: Any) -> None:
        """As `delete_nodes`, in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aget_nodes(self, node_ids: list[str] | None = None, filters: Any = None) -> list[BaseNode]:
        """As `get_nodes`, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """As `clear`, in a thread."""
        await asyncio.to_thread(self.clear)

    def _metadata(self, node: BaseNode) -> dict[str, Any]:
        """With what LlamaIndex needs to make the node again; Chroma has no null."""
        described = node_to_metadata_dict(node, remove_text=True, flat_metadata=self.flat_metadata)
        return {key: "" if value is None else value for key, value in described.items()}


class VersionedEmbedding(BaseEmbedding):
    """The model of the version that serves, as the embed model of an index over `VersionedChromaVectorStore`.

    An index embeds nodes before it hands them over, and the store doesn't use it: `store.add(nodes)` saves that encoding. Vectors of two
    calls may be of two versions: compare them only after looking at their `fingerprint`.
    """

    _collection: Any = PrivateAttr()

    def __init__(self, source: Source, **data: Any) -> None:
        collection = opened(source)
        super().__init__(**{"model_name": f"vecmigrate {collection.name}", **data})
        self._collection = collection

    @classmethod
    def class_name(cls) -> str:
        """LlamaIndex's name for the type."""
        return "VersionedEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return cast("list[float]", self._collection.embed_query(query))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return cast("list[list[float]]", self._collection.embed_documents(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
