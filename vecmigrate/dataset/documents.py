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
ADDRESSES = frozenset({"url", "uri", "source"})
"""Keys that say where a chunk was found. A page of a hundred questions and answers has one address, and its entries are good negatives for
each other: an address counts as a document only where the chunks are told to be pieces of one text.
"""
PLACES = (
    "chunk_index",
    "chunk_number",
    "chunk_no",
    "start_index",
    "start_char_idx",
    "split_id",
    "split_idx_start",
    "page",
    "page_number",
    "page_label",
)
"""What frameworks call a chunk's place in the text that it was cut out of."""
FILES = (".pdf", ".txt", ".md", ".rst", ".doc", ".docx", ".odt", ".rtf", ".ppt", ".pptx", ".epub", ".tex", ".ipynb")
"""How an address ends that is a document's rather than a page's."""
SAMPLE = 2000
MOST_CHUNKS_HAVE_IT = 0.9
FEWEST_DOCUMENTS = 10
LARGEST_SHARE = 0.2
"""Of the chunks: a value that more of them share is a category's rather than a document's."""


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """The metadata key that names a chunk's document, `""` for none. `named` when the operator says so; `turned_off` likewise.

    `address` is a key that was not taken, because it names pages whose chunks may not belong together.
    """

    key: str = ""
    named: bool = False
    turned_off: bool = False
    address: str = ""

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
        if self.address:
            return [
                f"  the metadata key {self.address!r} names pages, and nothing says that their chunks are pieces of one text, so other chunks "
                f'of an answer\'s page may become its negatives; [dataset] document_key = "{self.address}" leaves them out'
            ]
        if not self.key:
            return ["  no metadata key names the chunks' documents, so parts of an answer's own document may become its negatives"]
        how = "as named" if self.named else 'detected; [dataset] document_key = "" turns it off'
        return [f"  {chunks:,} of {rows:,} chunks name their document by the metadata key {self.key!r} ({how})"]


def find_document_key(sample: Callable[[], Sequence[Chunk]], named: str | None) -> DocumentKey:
    """The key that is named, or the first usual one that nine in ten of the sampled chunks have, with enough documents, none too large;
    one of `ADDRESSES` only where the chunks have a place in a text, or the addresses are files'.
    """
    if named is not None:
        return DocumentKey(named, named=bool(named), turned_off=not named)
    chunks = sample()
    telling = [key for key in USUAL_KEYS if _tells_documents(chunks, key)]
    taken = next((key for key in telling if key not in ADDRESSES or _cut_out_of(chunks, key)), "")
    return DocumentKey(taken, address="" if taken or not telling else telling[0])


def _tells_documents(sample: Sequence[Chunk], key: str) -> bool:
    sizes = Counter(document for chunk in sample if (document := _document(chunk, key)))
    return (
        sizes.total() >= MOST_CHUNKS_HAVE_IT * len(sample)
        and len(sizes) >= FEWEST_DOCUMENTS
        and max(sizes.values()) <= LARGEST_SHARE * len(sample)
    )


def _cut_out_of(sample: Sequence[Chunk], key: str) -> bool:
    """Whether the chunks of one address are pieces of one text."""
    most = MOST_CHUNKS_HAVE_IT * len(sample)
    placed = any(sum(chunk.metadata.get(place) is not None for chunk in sample) >= most for place in PLACES)
    return placed or sum(_document(chunk, key).lower().endswith(FILES) for chunk in sample) >= most


def _document(chunk: Chunk, key: str) -> str:
    value = chunk.metadata.get(key)
    return "" if value is None or isinstance(value, bool | list | tuple | dict | set) else str(value).strip()
