"""Retrieval spans of tracing tools: OpenInference's attributes and OpenTelemetry's, flat or nested, with annotations joined.

Attribute names: OpenInference semantic conventions (`openinference.span.kind`, `input.value`, `retrieval.documents.{i}.document.*`) and
OpenTelemetry's for generative AI, in development (`gen_ai.operation.name`, `gen_ai.retrieval.query.text`, `gen_ai.retrieval.documents`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vecmigrate.querylog import fields
from vecmigrate.querylog.assembly import present, walk
from vecmigrate.querylog.formats.retrieval import (
    MACHINE,
    Retrieval,
    Settings,
    approve,
    by_answer,
    documents,
    opinion,
    parsed,
    pick,
    query_text,
)
from vecmigrate.querylog.rows import Row

_DOCUMENTS = "retrieval.documents"
_INDEXED = re.compile(r"retrieval\.documents\.(\d+)\.(.+)")
_DOCUMENT_GOOD = frozenset({"relevant", "good", "correct", "helpful", "yes", "true", "thumbs_up", "thumbs-up"})
_DOCUMENT_BAD = frozenset({"irrelevant", "unrelated", "not relevant", "not_relevant", "bad", "incorrect", "no", "false", "thumbs_down"})


@dataclass(frozen=True, slots=True)
class _Annotation:
    line: int
    span: str
    name: str
    score: Any
    label: Any
    position: int | None


@dataclass(slots=True)
class _Trace:
    """What the other spans of a trace say of its retrievals."""

    session: Any = None
    user: Any = None
    tenant: Any = None
    output: Any = None


class SpanLog:
    """Takes spans and annotations in any order; gives the retrievals. Of other spans only the trace's user and answer are kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._retrievals: dict[str, Retrieval] = {}
        self._traces: dict[str, _Trace] = {}
        self._trace_of: dict[str, str] = {}
        self._span_of: dict[str, str] = {}
        self._annotations: list[_Annotation] = []

    def add_span(self, line: int, values: Mapping[str, Any]) -> None:
        """Take one span. Raises `ValueError` for a retrieval without query."""
        said = attributes_of(values)
        id, trace_id = (_id_of(values, *names) for names in (("span_id", "spanId"), ("trace_id", "traceId", "trace_rowid")))
        id = id or f"span on line {line}"
        retrieval = self._retrieval(line, id, values, said) if is_retrieval(values, said) else None
        for name in filter(None, (id, fields.reference(pick(values, "id")))):
            self._trace_of[name] = trace_id or id
            self._span_of[name] = id
        trace = self._traces.setdefault(trace_id or id, _Trace())
        trace.session = trace.session or pick(said, "session.id", "gen_ai.conversation.id")
        trace.user = trace.user or pick(said, "user.id", "enduser.id")
        trace.tenant = trace.tenant or self._tenant(values, said)
        if retrieval is not None:
            retrieval.answer = trace_id or id
            self._retrievals[id] = retrieval
        elif pick(values, "parent_id", "parentSpanId", "parent_span_id") is None:
            trace.output = pick(said, "output.value", "gen_ai.output.messages")

    def _retrieval(self, line: int, id: str, values: Mapping[str, Any], said: Mapping[str, Any]) -> Retrieval:
        text = query_text(pick(said, "gen_ai.retrieval.query.text", "input.value"))
        at = pick(values, "start_time", "startTime", "start_time_unix_nano", "startTimeUnixNano", "timestamp")
        return Retrieval(line, id, text, at, shown=_shown(said, self._settings))

    def _tenant(self, values: Mapping[str, Any], said: Mapping[str, Any]) -> Any:
        path = self._settings.tenant
        if path is None:
            return None
        found = walk(values, path)
        return found if present(found) else said.get(path.removeprefix("attributes."))

    def add_annotation(self, line: int, values: Mapping[str, Any]) -> None:
        """Take one annotation of a span or of one of its documents, counted from 0. Those of models and programs are counted only."""
        if str(pick(values, "annotator_kind") or "HUMAN").upper() != "HUMAN":
            self._settings.notes[MACHINE] += 1
            return
        result = parsed(pick(values, "result")) or {}
        result = result if isinstance(result, Mapping) else {}
        score = _either(pick(values, "score", "result.score"), result.get("score"))
        label = _either(pick(values, "label", "result.label"), result.get("label"))
        position = pick(values, "document_position")
        self._annotations.append(
            _Annotation(
                line,
                _id_of(values, "span_id", "spanId") or fields.reference(pick(values, "span_rowid")),
                str(pick(values, "annotation_name", "name") or ""),
                score,
                label,
                int(fields.rating(position)) if position is not None else None,
            )
        )

    def rows(self) -> Iterator[Row]:
        """One row for each retrieval."""
        answers = by_answer(self._retrievals.values())
        for annotation in self._annotations:
            self._join(annotation, answers)
        for retrieval in self._retrievals.values():
            trace = self._traces[retrieval.answer]
            retrieval.session, retrieval.user, retrieval.tenant = trace.session, trace.user, trace.tenant
            yield retrieval.row()

    def _join(self, annotation: _Annotation, answers: Mapping[str, list[Retrieval]]) -> None:
        notes, trace = self._settings.notes, self._trace_of.get(annotation.span)
        if trace is None:
            notes["annotations belong to no span of the log"] += 1
        elif annotation.position is None:
            good = opinion(annotation.name, annotation.score, annotation.label, self._settings)
            own = self._retrievals.get(self._span_of[annotation.span])
            approve(good, self._traces[trace].output, [own] if own else answers.get(trace, []), self._settings)
        else:
            self._rate(annotation, answers.get(trace, []))

    def _rate(self, annotation: _Annotation, retrievals: list[Retrieval]) -> None:
        own = self._retrievals.get(self._span_of[annotation.span]) or (retrievals[0] if len(retrievals) == 1 else None)
        try:
            value = _relevance(annotation)
            if own is None or value is None:
                raise ValueError
            own.rate(annotation.position or 0, value)
        except ValueError:
            self._settings.notes["annotations of documents fit no retrieved document, or say neither score nor a known label"] += 1


def is_retrieval(values: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether the span is a search in a store."""
    kind = str(pick(said, "openinference.span.kind") or pick(values, "span_kind") or "")
    return kind.upper() == "RETRIEVER" or said.get("gen_ai.operation.name") == "retrieval" or "gen_ai.retrieval.query.text" in said


def attributes_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """A span's attributes under their dotted names, whether they are columns (`attributes.input.value`), an object in one or many
    levels, JSON text, or OTLP's list of keys and values.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith("attributes."):
            found |= _flat(value, name.removeprefix("attributes."))
        elif name in ("attributes", "Attributes", "SpanAttributes"):
            value = parsed(value)
            found |= _flat(_otlp_map(value) if isinstance(value, list) else value, "")
        elif name.startswith(("gen_ai.", "openinference.", "retrieval.", "input.", "output.", "session.", "user.")):
            found |= _flat(value, name)
    return {name: value for name, value in found.items() if value is not None and value == value}


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{prefix}.{name}" if prefix else str(name))
    return found


def _otlp_map(pairs: list[Any]) -> dict[str, Any]:
    """OTLP/JSON: `[{"key": …, "value": {"stringValue": …}}]`."""
    return {str(pair["key"]): otlp_value(pair.get("value")) for pair in pairs if isinstance(pair, Mapping) and "key" in pair}


def otlp_value(value: Any) -> Any:
    """One `AnyValue` of OTLP/JSON."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    kind, inner = next(iter(value.items()))
    if kind == "arrayValue":
        return [otlp_value(item) for item in inner.get("values", [])]
    if kind == "kvlistValue":
        return _otlp_map(inner.get("values", []))
    return inner


def _shown(said: Mapping[str, Any], settings: Settings) -> list[str]:
    listed = parsed(pick(said, "gen_ai.retrieval.documents", _DOCUMENTS))
    if isinstance(listed, list):
        items = [parsed(item) for item in listed]
        return documents([_flat(item, "") if isinstance(item, Mapping) else item for item in items], settings)
    if listed is not None:
        return documents(listed, settings)
    indexed: dict[int, dict[str, Any]] = {}
    for name, value in said.items():
        if match := _INDEXED.fullmatch(name):
            indexed.setdefault(int(match[1]), {})[match[2]] = value
    return documents([indexed[place] for place in sorted(indexed)], settings)


def _relevance(annotation: _Annotation) -> float | None:
    if annotation.score is not None and annotation.score == annotation.score:
        return fields.rating(annotation.score)
    label = str(annotation.label or "").strip().casefold()
    return 1.0 if label in _DOCUMENT_GOOD else 0.0 if label in _DOCUMENT_BAD else None


def _either(one: Any, other: Any) -> Any:
    return other if one is None else one


def _id_of(values: Mapping[str, Any], *names: str) -> str:
    context = parsed(values.get("context"))
    inner = pick(context, *names) if isinstance(context, Mapping) else None
    return fields.reference(pick(values, *names, *(f"context.{name}" for name in names)) or inner)
