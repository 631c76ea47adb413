"""The arguments of one write, as columns, checked as Chroma checks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Batch:
    """A column that was not given is None."""

    ids: list[str]
    documents: list[str | None] | None
    metadatas: list[Mapping[str, Any] | None] | None
    embeddings: list[Sequence[float]] | None

    @classmethod
    def of(cls, ids: Any, documents: Any, metadatas: Any, embeddings: Any) -> Batch:
        """From what Chroma takes, one or many. Raises `ValueError` and Chroma's own errors as Chroma does."""
        from chromadb.api.types import validate_ids, validate_update_metadata

        listed = validate_ids([ids] if isinstance(ids, str) else list(ids))
        columns: dict[str, Any] = {
            "documents": [documents] if isinstance(documents, str) else documents,
            "metadatas": [metadatas] if isinstance(metadatas, Mapping) else metadatas,
            "embeddings": [embeddings] if one_vector(embeddings) else embeddings,
        }
        for name, column in columns.items():
            if column is not None and len(column) != len(listed):
                raise ValueError(f"Unequal lengths for fields: ids: {len(listed)}, {name}: {len(column)}")
        for document in columns["documents"] or ():
            if document is not None and not isinstance(document, str):
                raise ValueError(f"Expected document to be a str, got {type(document).__name__}")
        for metadata in columns["metadatas"] or ():
            validate_update_metadata(metadata)
        return cls(listed, **{name: None if column is None else list(column) for name, column in columns.items()})

    def part(self, places: Sequence[int]) -> Batch:
        """The rows at these places."""
        columns = (self.documents, self.metadatas, self.embeddings)
        cut = [None if column is None else [column[place] for place in places] for column in columns]
        return Batch([self.ids[place] for place in places], *cut)  # type: ignore[arg-type]  # a column keeps its type

    def document(self, place: int) -> str | None:
        """The document given for this row."""
        return None if self.documents is None else self.documents[place]


def one_vector(vectors: Any) -> bool:
    """Whether this is one vector rather than several."""
    return vectors is not None and len(vectors) > 0 and bool(np.isscalar(vectors[0]))
