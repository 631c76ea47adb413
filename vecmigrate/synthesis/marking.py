"""How a query that nobody asked is told from one that somebody did: a slice that begins with "synthetic: ", and an id with "s-"."""

from __future__ import annotations

from vecmigrate.querylog.wording import query_id_of
from vecmigrate.records import Query

MARK = "synthetic: "


def slice_of(kind: str) -> str:
    """The slice of a kind: "title" → "synthetic: title"."""
    return f"{MARK}{kind}"


def is_synthetic(query: Query) -> bool:
    """Whether the query was made and not asked."""
    return any(name.startswith(MARK) for name in query.slices)


def synthetic_id_of(wording: str) -> str:
    """The id of the synthetic query with this normalised wording: never that of a logged query of the same wording."""
    return f"s{query_id_of(wording)[1:]}"
