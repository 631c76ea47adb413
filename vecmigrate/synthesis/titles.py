"""The title or heading of a chunk: from its metadata, its first markdown heading, or a first line that reads like one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from vecmigrate.querylog.wording import normalised, words
from vecmigrate.records import Chunk
from vecmigrate.store import Source

KEYS = ("section_title", "section", "heading", "headings", "header", "title", "subject")
"""Metadata fields that hold one, the most particular first; LangChain's `Header 1` … `Header 6` come before them, the deepest first."""
LONGEST = 100
MOST_WORDS = 12
"""A first line of more words is a sentence."""
REST = 3
"""How many times as long as its first line a chunk must be for that line to be its heading."""

_HEADER = re.compile(r"^header[ _]?([1-6])$", re.IGNORECASE)
_MARKDOWN = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")
_FILE = re.compile(r"\S*[/\\]\S*|\S+\.\w{1,5}")


def title_of(chunk: Chunk) -> str:
    """The title; empty where there is none, or only a file's name or an address."""
    return title_in_metadata(chunk.metadata) or _leading(chunk.text)


def title_in_metadata(metadata: Mapping[str, Any]) -> str:
    """The title that the metadata holds; empty where it holds none."""
    named = {name.casefold(): value for name, value in metadata.items()}
    headers = sorted((name for name in named if _HEADER.match(name)), reverse=True)
    for name in (*headers, *KEYS):
        value = named.get(name)
        text = value[-1] if isinstance(value, list | tuple) and value else value
        if isinstance(text, str) and _usable(text):
            return " ".join(text.split())
    return ""


def _usable(text: str) -> bool:
    stripped = text.strip()
    return 0 < len(stripped) <= LONGEST and bool(words(normalised(stripped))) and not _FILE.fullmatch(stripped)


def _leading(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line), "")
    heading = _MARKDOWN.match(first)
    if heading:
        return heading[1] if _usable(heading[1]) else ""
    reads_like_one = len(first.split()) <= MOST_WORDS and not first.endswith((".", ",", ";", ":", "!", "…", "。"))
    return first if reads_like_one and _usable(first) and len(text.strip()) >= REST * len(first) else ""


def chunks_with_titles(store: Source, wordings: Collection[str], most: int) -> dict[str, tuple[str, ...]]:
    """For each normalised title the ids of the chunks whose metadata hold it, sorted; where there are more than `most`, `most` + 1 of them.

    One scan; memory grows with the titles, never with the collection.
    """
    held: dict[str, list[str]] = {}
    for batch in store.scan():
        for chunk in batch:
            wording = normalised(title_in_metadata(chunk.metadata))
            if wording in wordings:
                held[wording] = sorted([*held.get(wording, []), chunk.id])[: most + 1]
    return {wording: tuple(ids) for wording, ids in held.items()}
