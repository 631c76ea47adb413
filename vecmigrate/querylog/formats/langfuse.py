"""Langfuse: observations, scores and, in older exports, traces, in one file or several; in snake_case as the blob storage export writes
them or in camelCase as the API and the UI do.

Fields: Langfuse's reference of the blob storage export. A retriever's output is a list of documents, of which LangChain's rarely have ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vecmigrate.querylog import fields
from vecmigrate.querylog.assembly import present, walk
from vecmigrate.querylog.formats.retrieval import MACHINE, Retrieval, Settings, approve, by_answer, documents, opinion, pick, query_text
from vecmigrate.querylog.rows import Row

_TYPES = frozenset({"SPAN", "GENERATION", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"})
_PARENT = ("parent_observation_id", "parentObservationId")
_TRACE_OF = ("trace_id", "traceId")
_SESSION = ("session_id", "sessionId")
_USER = ("user_id", "userId")


def claims(values: Mapping[str, Any]) -> bool:
    """An observation or a score; a trace alone is too much like any other table."""
    return _is_observation(values) or _is_score(values)


def _is_observation(values: Mapping[str, Any]) -> bool:
    return values.get("type") in _TYPES and not values.keys().isdisjoint(_PARENT) and not values.keys().isdisjoint(_TRACE_OF)


def _is_score(values: Mapping[str, Any]) -> bool:
    typed = not values.keys().isdisjoint({"data_type", "dataType"})
    return typed and {"name", "value"} <= values.keys() and not values.keys().isdisjoint(_TRACE_OF)


@dataclass(slots=True)
class _Trace:
    session: Any = None
    user: Any = None
    tenant: Any = None
    output: Any = None


class Langfuse:
    """Observations, scores and traces of one project."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._retrievals: dict[str, Retrieval] = {}
        self._traces: dict[str, _Trace] = {}
        self._scores: list[tuple[str, str, bool | None]] = []

    def add(self, row: Row) -> None:
        """Take an observation, a score or a trace."""
        values = row.values
        if _is_score(values):
            self._add_score(values)
        elif _is_observation(values):
            self._add_observation(row)
        elif pick(values, "id") is not None and not values.keys().isdisjoint({"timestamp", *_USER}):
            self._know(fields.reference(values["id"]), values, pick(values, "output"))
        else:
            raise ValueError("neither an observation, a score nor a trace")

    def _add_observation(self, row: Row) -> None:
        values = row.values
        trace = fields.reference(pick(values, *_TRACE_OF)) or f"line {row.line}"
        is_root = pick(values, *_PARENT) is None
        retrieves = values.get("type") == "RETRIEVER"
        self._know(trace, values, pick(values, "output") if is_root and not retrieves else None)
        if retrieves:
            id = fields.reference(pick(values, "id")) or f"observation on line {row.line}"
            text = query_text(pick(values, "input"))
            at = pick(values, "start_time", "startTime")
            shown = documents(pick(values, "output"), self._settings)
            self._retrievals[id] = Retrieval(row.line, id, text, at, answer=trace, shown=shown)

    def _know(self, id: str, values: Mapping[str, Any], output: Any) -> None:
        trace = self._traces.setdefault(id, _Trace())
        trace.session = trace.session or pick(values, *_SESSION)
        trace.user = trace.user or pick(values, *_USER)
        trace.output = trace.output or output
        if self._settings.tenant and present(found := walk(values, self._settings.tenant)):
            trace.tenant = trace.tenant or found

    def _add_score(self, values: Mapping[str, Any]) -> None:
        """`source` EVAL is a model's judgment. A category's number is its place in a list, so only its name counts; a text says nothing."""
        if values.get("source") == "EVAL":
            self._settings.notes[MACHINE] += 1
            return
        kind = pick(values, "data_type", "dataType")
        label = pick(values, "string_value", "stringValue")
        number = values["value"] if kind in ("NUMERIC", "BOOLEAN", None) else None
        good = opinion(values["name"], number, label, self._settings)
        observation = fields.reference(pick(values, "observation_id", "observationId"))
        self._scores.append((fields.reference(pick(values, *_TRACE_OF)), observation, good))

    def rows(self) -> Iterator[Row]:
        """One row for each retriever observation."""
        answers = by_answer(self._retrievals.values())
        for trace_id, observation, good in self._scores:
            own = self._retrievals.get(observation)
            trace = self._traces.get(trace_id, _Trace())
            approve(good, trace.output, [own] if own else answers.get(trace_id, []), self._settings)
        for retrieval in self._retrievals.values():
            trace = self._traces[retrieval.answer]
            retrieval.session, retrieval.user, retrieval.tenant = trace.session, trace.user, trace.tenant
            yield retrieval.row()
