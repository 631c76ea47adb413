"""The nouns that travel between the stages: chunks, queries, judgments, hits and runs. All frozen.

store ──► Chunk          query log ──► QueryEvent ──► Query + Judgment
search ──► Hit           one system's hits for many queries ──► Run
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


def text_hash(text: str) -> str:
    """SHA-256 of the UTF-8 text, as 64 hex digits: what tells whether a stored vector is stale."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of text that an application searches.

    `id` is the canonical text of the store's key (a composite key is the JSON array of its parts' texts);
    `text` is what is embedded, which a layout may build from more than one column.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text_hash(self) -> str:
        """The hash of `text`, see `text_hash`."""
        return text_hash(self.text)


class FeedbackKind(StrEnum):
    """What a user did with a chunk that was shown."""

    CLICK = "click"
    """Opened it."""
    CITATION = "citation"
    """An answer quoted it."""
    RATING = "rating"
    """Judged it; `value` is the rating as logged."""
    APPROVAL = "approval"
    """An answer that cited it was rated good: a weak sign, since the rating was of the answer."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One user's act on one chunk. `ref` is what the log names: an id, a metadata value or the text itself.

    `count` (how many people's acts an aggregated row stands for), `position` (rank 1 first) and `dwell` (seconds) are what is known of
    the act, not which act it is, so two acts that differ in them only are equal.
    """

    ref: str
    kind: FeedbackKind
    value: float = 1.0
    count: int = field(default=1, compare=False)
    position: float | None = field(default=None, compare=False)
    dwell: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class QueryEvent:
    """One logged search. `shown` holds the references in rank order, rank 1 first; searches of two tenants are never brought together."""

    query_id: str
    text: str
    at: datetime | None = None
    session: str | None = None
    user: str | None = None
    shown: tuple[str, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A distinct question. Queries of one `group` are wordings of the same thing and never part across a split."""

    id: str
    text: str
    group: str = ""
    at: datetime | None = None
    slices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgment:
    """How relevant a chunk is to a query: 0 is not relevant, higher is better. `weight` is the trust in it, 0 to 1."""

    query_id: str
    chunk_id: str
    grade: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result; `score` is higher for better (cosine, inner product, or minus the L2 distance)."""

    chunk_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Run:
    """What one system returned for each query id, best first. A query with no hits is there with an empty tuple."""

    name: str
    hits: Mapping[str, tuple[Hit, ...]]


class PinnedVector(list[float]):
    """A vector that says which index version it is for, so that it is never compared with another's.

    It goes through libraries that take a list of floats. `version` is `docs@v2`, `text` what was encoded.
    """

    def __init__(self, values: Iterable[float], *, version: str, fingerprint: str, epoch: int, text: str) -> None:
        super().__init__(values)
        self.version = version
        self.fingerprint = fingerprint
        self.epoch = epoch
        self.text = text
