"""OpenTelemetry: spans as the collector's file exporter writes them (OTLP/JSON), or one span a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vecmigrate.querylog.formats.retrieval import Settings
from vecmigrate.querylog.formats.spans import SpanLog, attributes_of
from vecmigrate.querylog.rows import Row


def claims(values: Mapping[str, Any]) -> bool:
    """OTLP/JSON, or a span with attributes for generative AI."""
    if "resourceSpans" in values or "resource_spans" in values:
        return True
    return any(name.startswith("gen_ai.") for name in attributes_of(values)) and not {"spanId", "span_id", "context"}.isdisjoint(values)


class OpenTelemetry:
    """The spans of one export. Logs, metrics and evaluation events in it are not read."""

    def __init__(self, settings: Settings) -> None:
        self._log = SpanLog(settings)

    def add(self, row: Row) -> None:
        """Take one span, or all of one OTLP batch; a retrieval in it without query text costs the batch's others nothing."""
        failed = []
        for span in _spans(row.values):
            try:
                self._log.add_span(row.line, span)
            except ValueError as error:
                failed.append(str(error))
        if failed:
            raise ValueError(failed[0] if len(failed) == 1 else f"{failed[0]} (and {len(failed) - 1} more in this batch)")

    def rows(self) -> Iterator[Row]:
        """One row for each retrieval span."""
        return self._log.rows()


def _spans(values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    batches = values.get("resourceSpans") or values.get("resource_spans")
    if batches is None:
        yield values
        return
    for batch in _objects(batches):
        for scope in _objects(batch.get("scopeSpans") or batch.get("scope_spans") or []):
            yield from _objects(scope.get("spans") or [])


def _objects(items: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(items, list):
        raise ValueError("resourceSpans, scopeSpans and spans are lists in OTLP/JSON")
    return (item for item in items if isinstance(item, Mapping))
