"""LangChain's Chroma store over the version that serves: one handle, held for good, answers with whichever model the pointer names.

    Chroma("docs", OneModel(), client=client)      one collection, one model
    open_vector_store("vecmigrate.toml")           the same class, following cutover and rollback

Texts are encoded by vecmigrate, never by LangChain: a query by the version that serves, what is written by every maintained one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, cast
from uuid import uuid4

from vecmigrate.errors import PreflightRefused, UsageError
from vecmigrate.integrations.one_space import in_one_space
from vecmigrate.integrations.opening import Source, framework, opened

with framework("langchain", "langchain_chroma", "langchain_core", "chromadb"):
    from langchain_chroma import Chroma
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

if TYPE_CHECKING:
    from vecmigrate.records import PinnedVector
    from vecmigrate_chroma.collection import VersionedCollection


def open_vector_store(source: Source, *, relevance_score_fn: Callable[[float], float] | None = None) -> VersionedChroma:
    """A `langchain_chroma.Chroma` over an open collection, or the one that a vecmigrate.toml names; `store.collection.close()` ends it.

    `relevance_score_fn` is LangChain's: from a distance to a score between 0 and 1. Raises what `vecmigrate.open_collection` raises.
    """
    return VersionedChroma(opened(source), relevance_score_fn=relevance_score_fn)


class VersionedEmbeddings(Embeddings):
    """The model of the version that serves. Its vectors say whose they are, and the store searches that version with them.

    Vectors of two calls may be of two versions: compare them only after looking at their `fingerprint`.
    """

    def __init__(self, collection: VersionedCollection) -> None:
        self._collection = collection

    def embed_query(self, text: str) -> PinnedVector:
        """The query's vector, as long as the serving model's dimension."""
        return self._collection.embed_query(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, all of one version."""
        return list(self._collection.embed_documents(texts))


class VersionedChroma(Chroma):
    """`Chroma` whose collection follows the serving pointer. Writes reach every maintained version; LangChain encodes none."""

    def __init__(self, collection: VersionedCollection, *, relevance_score_fn: Callable[[float], float] | None = None) -> None:
        super().__init__(
            collection_name=collection.name,
            embedding_function=VersionedEmbeddings(collection),
            client=cast("Any", _Client(collection)),
            relevance_score_fn=relevance_score_fn,
            create_collection_if_not_exists=False,
        )
        self.collection = collection

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Write texts into every maintained version; returns their ids. Those without an id get one. No version holds a blank text."""
        listed = list(texts)
        names = [given or str(uuid4()) for given in (ids or [""] * len(listed))]
        self.collection.upsert(ids=names, documents=listed, metadatas=_with_all(metadatas or [], len(listed)))
        return names

    def update_documents(self, ids: list[str], documents: list[Document]) -> None:
        """Change documents in every maintained version; ids that aren't there are ignored."""
        metadatas = _with_all([document.metadata for document in documents], len(documents))
        self.collection.update(ids=ids, documents=[document.page_content for document in documents], metadatas=metadatas)

    def max_marginal_relevance_search_by_vector(self, embedding: list[float], *args: Any, **kwargs: Any) -> list[Document]:
        """As LangChain's, in one space though versions come and go. `embedding` is from `embed_query`, else `WrongSpace` is raised."""
        search: Callable[..., list[Document]] = super().max_marginal_relevance_search_by_vector
        return in_one_space(self.collection, embedding, lambda vector, named: search(list(vector), *args, **named, **kwargs))

    def add_images(self, uris: list[str], metadatas: list[dict[str, Any]] | None = None, ids: list[str] | None = None) -> NoReturn:
        """Raises `UsageError`."""
        raise UsageError("images are not followed: a version is made of texts", hint="add_texts")

    def delete_collection(self) -> NoReturn:
        """Raises `PreflightRefused`."""
        raise _refusal("delete_collection would destroy", self.collection.name)

    def reset_collection(self) -> NoReturn:
        """Raises `PreflightRefused`."""
        raise _refusal("reset_collection would destroy", self.collection.name)

    def fork(self, new_name: str) -> NoReturn:
        """Raises `PreflightRefused`."""
        raise _refusal("fork would take one version's vectors out of", self.collection.name)

    @classmethod
    def from_texts(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `PreflightRefused`; `from_documents` too."""
        raise PreflightRefused("from_texts would make a collection of one model", hint="open_vector_store(…).add_texts(…)")


class _Client:
    """What `Chroma` asks its client for: the one collection that there is."""

    def __init__(self, collection: VersionedCollection) -> None:
        self._collection = collection

    def get_collection(self, name: str) -> VersionedCollection:
        return self._collection


def _with_all(metadatas: list[dict[str, Any]], count: int) -> list[dict[str, Any] | None] | None:
    """One entry per text: Chroma refuses an empty mapping, and takes None for one."""
    filled: list[dict[str, Any] | None] = [given or None for given in metadatas]
    filled += [None] * (count - len(filled))
    return filled if any(filled) else None


def _refusal(what: str, name: str) -> PreflightRefused:
    return PreflightRefused(
        f"{what} {name!r}, from which every version is made",
        hint="delete rows with delete(ids=[…]); chromadb's own client deletes collections, once every version is retired",
    )
