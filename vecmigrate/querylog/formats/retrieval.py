"""What the formats have in common: a retrieval with the documents it showed, and what a thumb for the answer says about them.

A thumb is for the answer. It says something about the chunks that the answer cites, and nothing about the others that it was given; a
thumb down may have many reasons and says nothing about any chunk.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vecmigrate.config import LogSection
from vecmigrate.querylog import fields
from vecmigrate.querylog.rows import Row

LONGEST_LITERAL = 1_000_000
"""Characters of a Python literal in a cell (as pandas writes lists into CSV) that are still read."""

_QUERY_KEYS = ("query", "query_str", "question", "input", "text", "search_query", "q")
_TEXT_KEYS = ("page_content", "document.content", "content", "text")
_OWN_ID_KEYS = ("document.id", "id", "id_", "node_id", "chunk_id")
_MARKER = re.compile(r"[\[【]\s*(\d{1,3}(?:\s*,\s*\d{1,3})*)\s*[\]】](?!\()")
_OPINION = re.compile(r"feedback|thumb|rating|helpful|satisf|like|vote", re.IGNORECASE)
_GOOD = frozenset({"good", "up", "thumbs_up", "thumbs-up", "thumbs up", "like", "liked", "positive", "yes", "true", "helpful", "correct"})
_BAD = frozenset({"bad", "down", "thumbs_down", "thumbs-down", "thumbs down", "dislike", "disliked", "negative", "no", "false"})

BAD_ANSWERS = "answers were rated bad, which says nothing about a single chunk"
UNCITED = 'good answers do not say which of their chunks they rest on ([log] approves = "shown" takes them all)'
MACHINE = "ratings by a model or a program, not by people, were left out"
STARS = "ratings of answers are above 1, so they may be stars: [log] min_rating says from where on one is good"
OTHER_SCORES = "ratings under a name that does not sound like a user's opinion were left out ([log] score_name)"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the formats are told: `approves` (`cited` or `shown`), the name of the users' score, from where on a rating is good, whether
    documents go by their text, where the tenant stands, and where to count what was left out.
    """

    notes: Counter[str]
    approves: str = "cited"
    score_name: str | None = None
    min_rating: float = 1.0
    by_text: bool = False
    tenant: str | None = None


def settings_of(log: LogSection, notes: Counter[str]) -> Settings:
    """The settings that `[log]` makes."""
    return Settings(notes, log.approves, log.score_name, log.min_rating, log.resolve_by == "text", log.columns.get("tenant"))


@dataclass(slots=True)
class Retrieval:
    """One search with what it showed, best first; `answer` says which answer it was for."""

    line: int
    id: str
    text: str
    at: Any = None
    session: Any = None
    user: Any = None
    tenant: Any = None
    answer: str = ""
    shown: list[str] = field(default_factory=list)
    ratings: dict[str, list[float]] = field(default_factory=dict)
    approved: dict[str, None] = field(default_factory=dict)

    def rate(self, position: int, value: float) -> None:
        """Note a rating of the document at this place, from 0 on. Raises `ValueError` when none is there."""
        if not 0 <= position < len(self.shown):
            raise ValueError(f"document_position {position}, and {len(self.shown)} documents were retrieved")
        self.ratings.setdefault(self.shown[position], []).append(value)

    def row(self) -> Row:
        """The search in our names."""
        shown = [ref for ref in self.shown if ref]
        values = {
            "query_id": self.id,
            "user_query": self.text,
            "timestamp": self.at,
            "session_id": self.session,
            "user_id": self.user,
            "tenant": self.tenant,
            "query_response_hit_ids": shown,
            "ratings": {ref: sum(given) / len(given) for ref, given in self.ratings.items() if ref},
            "approved_ids": list(self.approved),
        }
        return Row(self.line, values)


def parsed(value: Any) -> Any:
    """What JSON text says, or a Python literal as pandas writes into CSV; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value) if len(value) <= LONGEST_LITERAL else value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def pick(values: Mapping[str, Any], *names: str) -> Any:
    """The first of these keys that holds something; empty text and NaN hold nothing."""
    for name in names:
        value = values.get(name)
        if value is not None and value != "" and value == value:
            return value
    return None


def query_text(value: Any) -> str:
    """The query in a retriever's input: the text itself, or an object's query. Raises `ValueError` when there is none."""
    value = parsed(value)
    if isinstance(value, Mapping):
        value = pick(value, *_QUERY_KEYS)
        if isinstance(value, Mapping):
            value = pick(value, *_QUERY_KEYS)
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError("a retrieval without the text of its query")


def documents(value: Any, settings: Settings) -> list[str]:
    """The references of a retriever's output, in their order; empty text for a document with neither id nor text."""
    value = parsed(value)
    if isinstance(value, Mapping):
        value = parsed(pick(value, "documents", "output", "source_documents", "results", "nodes"))
    if value is None:
        return []
    items = value if isinstance(value, list | tuple) else [value]
    return [document_reference(parsed(item), settings) for item in items]


def document_reference(item: Any, settings: Settings) -> str:
    """A document's own id, else its text; the other way round where documents go by their text."""
    if isinstance(item, str):
        return item.strip()
    if not isinstance(item, Mapping):
        return ""
    for inner in ("kwargs", "node", "document"):
        if isinstance(item.get(inner), Mapping):
            item = item[inner]
    text, id = pick(item, *_TEXT_KEYS), fields.reference(pick(item, *_OWN_ID_KEYS))
    text = fields.clean(text).strip() if isinstance(text, str) else ""
    return (text or id) if settings.by_text else (id or text)


def opinion(name: Any, value: Any, label: Any, settings: Settings) -> bool | None:
    """Whether a score says that the answer was good; None when it isn't a user's opinion or says nothing. What is passed over is counted."""
    named = str(name or "")
    if named != settings.score_name if settings.score_name else not _OPINION.search(named):
        settings.notes[OTHER_SCORES] += 1
        return None
    worded = str(label).strip().casefold() if label is not None else ""
    if worded in _GOOD or worded in _BAD:
        return worded in _GOOD
    try:
        number = fields.rating(value) if value is not None else None
    except ValueError:
        return None
    if number is None:
        return None
    settings.notes[STARS] += number > 1 >= settings.min_rating
    return number >= settings.min_rating


def cited_places(answer: Any) -> set[int]:
    """The numbers in an answer's markers: `[1]`, `[2, 3]` or `【4】`; links such as `[5](…)` are none."""
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str) if answer is not None else ""
    return {int(number) for found in _MARKER.findall(text) for number in found.split(",")}


def approve(good: bool | None, answer: Any, retrievals: Sequence[Retrieval], settings: Settings) -> None:
    """Note for the retrievals of one answer what a rating of that answer says: nothing, or that the chunks it cites were of use.

    A marker counts the documents of the answer's only retrieval; with several it can't be told what was counted. An answer from one
    chunk alone cites that one.
    """
    if good is None or not retrievals:
        return
    if not good:
        settings.notes[BAD_ANSWERS] += 1
        return
    refs = _cited(answer, retrievals, settings)
    if not refs:
        settings.notes[UNCITED] += 1
    for retrieval in retrievals:
        retrieval.approved |= dict.fromkeys(ref for ref in retrieval.shown if ref in refs)


def _cited(answer: Any, retrievals: Sequence[Retrieval], settings: Settings) -> set[str]:
    shown = {ref for retrieval in retrievals for ref in retrieval.shown if ref}
    if settings.approves == "shown" or len(shown) == 1:
        return shown
    if len(retrievals) > 1:
        return set()
    (retrieval,) = retrievals
    return {retrieval.shown[place - 1] for place in cited_places(answer) if 1 <= place <= len(retrieval.shown)} - {""}


def by_answer(retrievals: Iterable[Retrieval]) -> dict[str, list[Retrieval]]:
    """The retrievals of each answer."""
    found: dict[str, list[Retrieval]] = {}
    for retrieval in retrievals:
        found.setdefault(retrieval.answer, []).append(retrieval)
    return found
