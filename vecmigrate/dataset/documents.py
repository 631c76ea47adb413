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
)
"""What frameworks and applications call it, the most telling first: where a store has both `document_id` and `doc_id`, the second may be
the chunk's own.
"""
PLACES = ("url", "uri", "source")
"""Where a chunk came from, looked at last: a page may hold a hundred questions with answers, which are good negatives of each other."""
SAMPLE = 2000
MOST_CHUNKS_HAVE_IT = 0.9
FEWEST_DOCUMENTS = 10
LARGEST_SHARE = 0.2
"""Of the chunks: a value that more of them share is a category's rather than a document's."""
LARGEST_PLACE = 20
"""Chunks of the sample: a place that more of them share is a list of things rather than one document."""


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """The metadata key that names a chunk's document, `""` for none. `named` when the operator says so; `turned_off` likewise.

    `list_like` is the place that would have been taken if the largest were smaller, and `largest` how many sampled chunks that has.
    """

    key: str = ""
    named: bool = False
    turned_off: bool = False
    list_like: str = ""
    largest: int = 0

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
        if self.list_like:
            return [
                f"  the metadata key {self.list_like!r} was not taken for the chunks' documents: {self.largest:,} sampled chunks share one "
                f'value, as on a page of many entries; [dataset] document_key = "{self.list_like}" takes it'
            ]
        if not self.key:
            return ["  no metadata key names the chunks' documents, so parts of an answer's own document may become its negatives"]
        how = "as named" if self.named else 'detected; [dataset] document_key = "" turns it off'
        return [f"  {chunks:,} of {rows:,} chunks name their document by the metadata key {self.key!r} ({how})"]


def find_document_key(sample: Callable[[], Sequence[Chunk]], named: str | None) -> DocumentKey:
    """The key that is named, or the first usual one that nine in ten of the sampled chunks have, with enough documents, none too large.

    A place counts only where none holds more than `LARGEST_PLACE` of the sample.
    """
    if named is not None:
        return DocumentKey(named, named=bool(named), turned_off=not named)
    chunks = sample()
    list_like = DocumentKey()
    for key in (*USUAL_KEYS, *PLACES):
        sizes = _sizes(chunks, key)
        if not _tells_documents(chunks, sizes):
            continue
        if key not in PLACES or max(sizes.values()) <= LARGEST_PLACE:
            return DocumentKey(key)
        list_like = list_like if list_like.list_like else DocumentKey(list_like=key, largest=max(sizes.values()))
    return list_like


def _sizes(sample: Sequence[Chunk], key: str) -> Counter[str]:
    return Counter(document for chunk in sample if (document := _document(chunk, key)))


def _tells_documents(sample: Sequence[Chunk], sizes: Counter[str]) -> bool:
    return (
        sizes.total() >= MOST_CHUNKS_HAVE_IT * len(sample)
        and len(sizes) >= FEWEST_DOCUMENTS
        and max(sizes.values()) <= LARGEST_SHARE * len(sample)
    )


def _document(chunk: Chunk, key: str) -> str:
    value = chunk.metadata.get(key)
    return "" if value is None or isinstance(value, bool | list | tuple | dict | set) else str(value).strip()
