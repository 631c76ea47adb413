"""Queries out of what a language model answered: a JSON list, numbered lines, or one query a line; anything around them is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^\s*```[\w-]*\s*$", re.MULTILINE)
_ITEM = re.compile(r"^(?:\(?\d{1,3}[.):\]]|[-*•–]|Q(?:uery|uestion)?\s?\d{1,3}[.:)])\s+(.*)$", re.IGNORECASE)
_LIST = re.compile(r'\[\s*(?=["{])')
_SEPARATOR = re.compile(r"[\s,]*")
_KEYS = ("query", "question", "text", "q")
_REFUSAL = re.compile(
    r"^(?:i'?m sorry|i am sorry|sorry,|i can(?:'|no)t\b|i cannot\b|i'm unable|i am unable|as an ai\b|i won't)", re.IGNORECASE
)


def queries_of(content: str, *, cut: bool = False) -> list[str]:
    """The queries in the answer, in their order; empty when there are none. Of an answer that was `cut` short the last piece is left out."""
    text = _FENCE.sub("", _THOUGHT.sub("", content)).strip()
    found = _from_json(text)
    if found is None:
        list_begins = _LIST.search(text)
        found = list(_items(text, list_begins.end()) if list_begins else _from_lines(text.splitlines(), cut=cut))
    return [query for query in map(_bare, found) if query and not _REFUSAL.match(query.replace("’", "'"))]


def _from_json(text: str) -> list[str] | None:
    """What the text says as JSON; None when it is none."""
    try:
        return list(_texts(json.loads(text)))
    except (ValueError, RecursionError):
        return None


def _texts(value: Any) -> Iterator[str]:
    """Texts of a list, of objects with a known key, or of the lists that an object holds."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            named = [value[key] for key in _KEYS if isinstance(value.get(key), str)]
            yield from named[:1] or (text for item in value.values() if isinstance(item, list) for text in _texts(item))


def _items(text: str, place: int) -> Iterator[str]:
    """The complete items of a JSON list from `place` on, to its end or to where it breaks off."""
    decoder = json.JSONDecoder()
    while separator := _SEPARATOR.match(text, place):
        try:
            value, place = decoder.raw_decode(text, separator.end())
        except (ValueError, RecursionError):
            return
        yield from _texts(value)


def _from_lines(lines: Iterable[str], *, cut: bool) -> Iterator[str]:
    """Of numbered or bulleted lines those alone, else all but what announces them ("Here are three queries:")."""
    taken = [line.strip() for line in lines if line.strip()]
    taken = taken[:-1] if cut else taken
    items = [match[1] for match in map(_ITEM.match, taken) if match]
    for line in items or taken:
        if not line.endswith((":", "：")):  # the full-width colon of Chinese and Japanese
            yield from (_from_json(line) or [] if line.startswith("{") else [line])


def _bare(query: str) -> str:
    """Without the marks that a model puts around a query."""
    text = " ".join(query.split()).strip("*_` ")
    pairs = (('"', '"'), ("“", "”"), ("'", "'"), ("«", "»"), ("„", "“"))
    for opening, closing in pairs:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            text = text[1:-1].strip()
    return text
