"""LangSmith: runs as the bulk export (Parquet) or `list_runs` gives them, with `feedback_stats` or rows of feedback beside them.

Fields: LangSmith's run data format. A retriever run has `inputs.query` and `outputs.documents`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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

_THREAD = ("thread_id", "session_id", "conversation_id")
_USER = ("user_id", "user")


def claims(values: Mapping[str, Any]) -> bool:
    """A run."""
    return "run_type" in values and not values.keys().isdisjoint({"parent_run_id", "trace_id", "dotted_order"})


@dataclass(slots=True)
class _Trace:
    session: Any = None
    user: Any = None
    tenant: Any = None
    output: Any = None
    stats: dict[str, Any] = field(default_factory=dict)


class LangSmith:
    """Runs and feedback of one project."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._retrievals: dict[str, Retrieval] = {}
        self._traces: dict[str, _Trace] = {}
        self._trace_of: dict[str, str] = {}
        self._feedback: list[tuple[str, str, Mapping[str, Any]]] = []

    def add(self, row: Row) -> None:
        """Take a run or a feedback."""
        if "run_type" in row.values:
            self._add_run(row)
        elif "key" in row.values and not row.values.keys().isdisjoint({"run_id", "trace_id"}):
            run_id, trace_id = (fields.reference(pick(row.values, name)) for name in ("run_id", "trace_id"))
            self._feedback.append((run_id, trace_id, row.values))
        else:
            raise ValueError("neither a run nor a feedback")

    def _add_run(self, row: Row) -> None:
        values = row.values
        id = fields.reference(pick(values, "id", "run_id")) or f"run on line {row.line}"
        trace_id = fields.reference(pick(values, "trace_id")) or id
        retrieves = values["run_type"] == "retriever"
        shown = documents(pick(values, "outputs"), self._settings) if retrieves else []
        text = query_text(pick(values, "inputs")) if retrieves else ""
        self._trace_of[id] = trace_id
        self._know(self._traces.setdefault(trace_id, _Trace()), values)
        if retrieves:
            self._retrievals[id] = Retrieval(row.line, id, text, pick(values, "start_time"), answer=trace_id, shown=shown)

    def _know(self, trace: _Trace, values: Mapping[str, Any]) -> None:
        metadata = _metadata(values)
        trace.session = trace.session or pick(metadata, *_THREAD)
        trace.user = trace.user or pick(metadata, *_USER)
        if self._settings.tenant:
            found = walk(values, self._settings.tenant)
            trace.tenant = trace.tenant or (found if present(found) else pick(metadata, self._settings.tenant))
        if pick(values, "parent_run_id") is None and values["run_type"] != "retriever":
            trace.output = parsed(pick(values, "outputs"))
            stats = parsed(pick(values, "feedback_stats"))
            trace.stats = dict(stats) if isinstance(stats, Mapping) else {}

    def rows(self) -> Iterator[Row]:
        """One row for each retriever run. Feedback rows count before the means of `feedback_stats`, which are of the same feedback."""
        answers = by_answer(self._retrievals.values())
        told = set()
        for run_id, named, given in self._feedback:
            trace_id = named or self._trace_of.get(run_id, run_id)
            told.add(trace_id)
            self._apply(given, trace_id, [own] if (own := self._retrievals.get(run_id)) else answers.get(trace_id, []))
        for trace_id, trace in self._traces.items():
            if trace_id not in told:
                for name, stat in trace.stats.items():
                    mean = pick(parsed(stat), "avg") if isinstance(parsed(stat), Mapping) else None
                    good = opinion(name, mean, None, self._settings) if mean is not None else None
                    approve(good, trace.output, answers.get(trace_id, []), self._settings)
        for retrieval in self._retrievals.values():
            trace = self._traces[retrieval.answer]
            retrieval.session, retrieval.user, retrieval.tenant = trace.session, trace.user, trace.tenant
            yield retrieval.row()

    def _apply(self, given: Mapping[str, Any], trace_id: str, retrievals: list[Retrieval]) -> None:
        source = parsed(pick(given, "feedback_source"))
        if isinstance(source, Mapping) and source.get("type") == "model":
            self._settings.notes[MACHINE] += 1
        elif trace_id not in self._traces:
            self._settings.notes["feedback belongs to no run of the log"] += 1
        else:
            good = opinion(given["key"], pick(given, "score"), pick(given, "value"), self._settings)
            approve(good, self._traces[trace_id].output, retrievals, self._settings)


def _metadata(values: Mapping[str, Any]) -> Mapping[str, Any]:
    extra = parsed(pick(values, "extra"))
    inner = parsed(extra.get("metadata")) if isinstance(extra, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
