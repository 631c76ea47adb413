"""Which document a chunk is a part of, by a metadata key: other parts of an answer's document are no safe negatives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vecmigrate.errors import DataError
from vecmigrate.records import Chunk

USUAL_KEYS = (
    "ref_doc_id",
    "document_id",
    "file_id",
    "doc_id",
    "parent_document_id",
    "parent_id",
    "source_id",
    "resource_id",
    "article_id",
    "page_id",
    "file_path",
    "file_name",
    "filename",
    "url",
    "uri",
    "source",
)
"""What frameworks and applications call it, the most telling first: where a store has both `document_id` and `doc_id`, the second may be
the chunk's own, and a `source` may be no more than a category.
"""
SAMPLE = 2000
MOST_CHUNKS_HAVE_IT = 0.9
FEWEST_DOCUMENTS = 10
LARGEST_SHARE = 0.2
"""Of the chunks: a value that more of them share is a category's rather than a document's."""


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """The metadata key that names a chunk's document, `""` for none. `named` when the operator says so; `turned_off` likewise."""

    key: str = ""
    named: bool = False
    turned_off: bool = False

    def of(self, chunk: Chunk) -> str:
        """The chunk's document, `""` where it has none."""
        return _document(chunk, self.key) if self.key else ""

    def refuse_absent(self, chunks: int, sample: Callable[[], Sequence[Chunk]]) -> None:
        """Raise `DataError` for a key that was named and that none of the chunks has; `sample` is for the hint."""
        if self.named and not chunks:
            known = ", ".join(sorted({key for chunk in sample() for key in chunk.metadata})) or "none at all"
            raise DataError(
                f"no chunk has the metadata key {self.key!r} that [dataset] document_key names", hint=f"the chunks' metadata keys: {known}"
            )

    def lines(self, chunks: int, rows: int) -> list[str]:
        """For printing; `chunks` of the `rows` have a document."""
        if self.turned_off:
            return ["  documents are not told apart: [dataset] document_key is empty"]
        if not self.key:
            return ["  no metadata key names the chunks' documents, so parts of an answer's own document may become its negatives"]
        how = "as named" if self.named else 'detected; [dataset] document_key = "" turns it off'
        return [f"  {chunks:,} of {rows:,} chunks name their document by the metadata key {self.key!r} ({how})"]


def find_document_key(sample: Callable[[], Sequence[Chunk]], named: str | None) -> DocumentKey:
    """The key that is named, or the first usual one that nine in ten of the sampled chunks have, with enough documents, none too large."""
    if named is not None:
        return DocumentKey(named, named=bool(named), turned_off=not named)
    chunks = sample()
    return DocumentKey(next((key for key in USUAL_KEYS if _tells_documents(chunks, key)), ""))


def _tells_documents(sample: Sequence[Chunk], key: str) -> bool:
    sizes = Counter(document for chunk in sample if (document := _document(chunk, key)))
    return (
        sizes.total() >= MOST_CHUNKS_HAVE_IT * len(sample)
        and len(sizes) >= FEWEST_DOCUMENTS
        and max(sizes.values()) <= LARGEST_SHARE * len(sample)
    )


def _document(chunk: Chunk, key: str) -> str:
    value = chunk.metadata.get(key)
    return "" if value is None or isinstance(value, bool | list | tuple | dict | set) else str(value).strip()
