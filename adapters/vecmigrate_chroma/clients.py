"""Which application a Chroma collection looks like, by what it leaves in names and rows, and how that application finds its collection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vecmigrate.publication import Access, Client
from vecmigrate_chroma.rows import Rows

LOOKED_AT = 20
"""Rows whose metadata is looked at."""

_KEYS: Sequence[tuple[str, frozenset[str], Access]] = (
    ("LlamaIndex", frozenset({"_node_content", "_node_type"}), Access.HANDLE),
    ("Open WebUI", frozenset({"embedding_config"}), Access.BY_NAME),
    ("AnythingLLM", frozenset({"chunkSource", "wordCount", "token_count_estimate"}), Access.BY_NAME),
    ("Dify", frozenset({"dataset_id", "document_id", "doc_hash"}), Access.CREATES),
)
_NAMES: Sequence[tuple[str, str, Access]] = (
    ("Dify", r"(?i)vector_index_.+_node", Access.CREATES),
    ("Open WebUI", r"(file|user-memory|web-search)-.+", Access.BY_NAME),
    ("LangChain", r"langchain", Access.HANDLE),
    ("Haystack", r"documents", Access.HANDLE),
    ("LangChain4j", r"default", Access.HANDLE),
)


def likely_client(rows: Rows, name: str) -> Client:
    """By the rows' metadata first, which is surer than a name."""
    metadatas = _metadatas(rows)
    for found in (_by_keys(metadatas), _by_name(name)):
        if found is not None:
            return found
    return Client("", Access.UNKNOWN, f"neither the name {name!r} nor the rows' metadata show which application this is")


def _by_keys(metadatas: Sequence[Mapping[str, Any]]) -> Client | None:
    for name, keys, access in _KEYS:
        if any(keys <= metadata.keys() for metadata in metadatas):
            return Client(name, access, f"rows have the metadata of {name}: {', '.join(sorted(keys))}")
    return None


def _by_name(collection: str) -> Client | None:
    for name, pattern, access in _NAMES:
        if re.fullmatch(pattern, collection):
            return Client(name, access, f"{collection!r} is a name that {name} gives")
    return None


def _metadatas(rows: Rows) -> list[Mapping[str, Any]]:
    found = rows.ask(f"reading {rows.name!r}", lambda: rows.handle.get(limit=LOOKED_AT, include=["metadatas"]))
    return [metadata or {} for metadata in found["metadatas"]]
