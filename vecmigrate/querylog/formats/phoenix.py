"""Arize Phoenix and OpenInference: spans as a dataframe or JSON lines, and the annotations of spans and documents beside them.

Spans: `get_spans_dataframe()` written to Parquet, CSV or JSONL, or rows of the tables `spans`, `document_annotations` and
`span_annotations`. Annotations: `get_span_annotations_dataframe()`, whose scores are `result.score` and `result.label`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vecmigrate.querylog.formats.retrieval import Settings, parsed
from vecmigrate.querylog.formats.spans import SpanLog
from vecmigrate.querylog.rows import Row


def claims(values: Mapping[str, Any]) -> bool:
    """A span of OpenInference, or an annotation."""
    if any(name.startswith(("attributes.openinference.", "attributes.retrieval.documents")) for name in values):
        return True
    inner = parsed(values.get("attributes"))
    named = isinstance(inner, Mapping) and ("openinference" in inner or "openinference.span.kind" in inner)
    return named or _is_annotation(values) or ("span_kind" in values and "context.span_id" in values)


def _is_annotation(values: Mapping[str, Any]) -> bool:
    return "annotator_kind" in values and not values.keys().isdisjoint({"span_id", "context.span_id", "span_rowid"})


class Phoenix:
    """Spans and annotations of one export."""

    def __init__(self, settings: Settings) -> None:
        self._log = SpanLog(settings)

    def add(self, row: Row) -> None:
        """Take a span or an annotation."""
        if _is_annotation(row.values) or "document_position" in row.values:
            self._log.add_annotation(row.line, row.values)
        else:
            self._log.add_span(row.line, row.values)

    def rows(self) -> Iterator[Row]:
        """One row for each retriever span."""
        return self._log.rows()
