"""Which format a row is of, told by the keys that only that format has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from vecmigrate.querylog.formats import dify, langfuse, langsmith, open_webui, otel, phoenix
from vecmigrate.querylog.formats.retrieval import Settings
from vecmigrate.querylog.rows import Row


class Format(Protocol):
    """Takes the rows of an export in any order, then gives one row of our names for each search."""

    def add(self, row: Row) -> None:
        """Take one row. Raises `ValueError` saying why it can't be used; then nothing of it is."""
        ...

    def rows(self) -> Iterator[Row]:
        """The searches, when all rows are in."""
        ...


FORMATS: Mapping[str, tuple[Callable[[Mapping[str, Any]], bool], Callable[[Settings], Format]]] = {
    "phoenix": (phoenix.claims, phoenix.Phoenix),
    "otel": (otel.claims, otel.OpenTelemetry),
    "langfuse": (langfuse.claims, langfuse.Langfuse),
    "langsmith": (langsmith.claims, langsmith.LangSmith),
    "open-webui": (open_webui.claims, open_webui.OpenWebUI),
    "dify": (dify.claims, dify.Dify),
}
"""By name: whether a row is surely of the format, and its reader."""


def detect(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The formats that claim one of the rows, by name; none for rows in our own names or a table's."""
    seen = list(rows)
    return tuple(name for name, (claims, _) in FORMATS.items() if any(claims(values) for values in seen))
