"""What is known of the chunks before negatives are looked for: judgments, equal texts, documents, and what users passed over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vecmigrate.records import Judgment, Query

Outlines = Callable[[], Iterable[Mapping[str, Any]]]
"""Reads the frozen chunks from the start: rows with `id`, `text_hash` and `document`."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Judgments by query id, the relevant chunks of the queries' groups, and of the chunks that have to do with a judged one: the text
    hashes of those whose text is also that of a judged one, and the documents of those in a judged one's document.

    `passed_over` holds, by query id, what was shown above a chunk that a user chose, and not chosen.
    """

    judgments: Mapping[str, Sequence[Judgment]]
    relevant_to_group: Mapping[str, frozenset[str]]
    hashes: Mapping[str, str]
    documents: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, frozenset[str]] = field(default_factory=dict)


def what_is_known(
    queries: Iterable[Query], judgments: Iterable[Judgment], outlines: Outlines, passed_over: Mapping[str, frozenset[str]] | None = None
) -> Judged:
    """Put it together in two passes over the chunks. Memory grows with the judgments and the documents that they point into."""
    by_query: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        by_query[judgment.query_id].append(judgment)
    relevant: dict[str, set[str]] = defaultdict(set)
    for query in queries:
        relevant[query.group] |= {j.chunk_id for j in by_query[query.id] if j.grade > 0}
    hashes, documents = _like(frozenset().union(*relevant.values()), outlines)
    return Judged(by_query, {group: frozenset(ids) for group, ids in relevant.items()}, hashes, documents, passed_over or {})


def _like(judged: frozenset[str], outlines: Outlines) -> tuple[dict[str, str], dict[str, str]]:
    """Hashes of the chunks with a judged one's text, and documents of those in a judged one's document."""
    texts: set[str] = set()
    wanted: dict[str, str] = {}  # each name once, however many chunks have it
    for row in outlines():
        if row["id"] in judged:
            texts.add(row["text_hash"])
            wanted.setdefault(row["document"], row["document"])
    wanted.pop("", None)
    hashes: dict[str, str] = {}
    documents: dict[str, str] = {}
    for row in outlines():
        if row["text_hash"] in texts:
            hashes[row["id"]] = row["text_hash"]
        if row["document"] in wanted:
            documents[row["id"]] = wanted[row["document"]]
    return hashes, documents
