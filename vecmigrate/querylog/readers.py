"""The query log, wherever it is kept, as query events, with a report of every line that could not be used."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError, UsageError
from vecmigrate.querylog.assembly import FEEDBACK_COLUMNS, Assembly
from vecmigrate.querylog.rows import Problem, Row, file_rows
from vecmigrate.records import QueryEvent
from vecmigrate.store import RowSource

EXAMPLES = 5
"""How many unreadable lines the report shows; it counts them all."""

_FEEDBACK = (*FEEDBACK_COLUMNS, "ratings")
_USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "user_query": ("query", "query_text", "question", "text", "prompt", "search_term", "search", "q", "input"),
    "query_id": ("id", "search_id", "request_id", "event_id", "message_id", "qid"),
    "timestamp": ("created_at", "time", "ts", "at", "date", "searched_at", "asked_at"),
    "clicked_ids": ("clicks", "clicked", "clicked_id", "click_id", "docid", "doc_id", "document_id", "chunk_id"),
    "cited_ids": ("citations", "cited", "sources", "source_ids"),
    "ratings": ("rating", "grades", "feedback", "scores"),
    "tenant": ("tenant_id", "organization", "organisation", "org_id", "workspace_id", "customer"),
    "query_response_hit_ids": ("results", "shown", "hits", "retrieved", "retrieved_ids", "shown_ids"),
}


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What became of the rows. `unreadable` counts all problems, `problems` shows the first few; `notes` counts what was mended."""

    source: str
    rows: int
    events: int
    unreadable: int
    problems: tuple[Problem, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For printing."""
        out = [f"read {self.source}: {self.rows:,} rows, {self.events:,} searches"]
        if self.unreadable:
            out.append(f"  {self.unreadable:,} rows could not be read and were left out:")
            out += [f"    line {problem.line}: {problem.why}" for problem in self.problems]
            if self.unreadable > len(self.problems):
                out.append(f"    … and {self.unreadable - len(self.problems):,} more")
        return out + [f"  {count:,} {note}" for note, count in self.notes.items()]


@dataclass(frozen=True, slots=True)
class EventLog:
    """The events of a log, with the report on its reading."""

    events: tuple[QueryEvent, ...]
    report: ReadReport

    def __iter__(self) -> Iterator[QueryEvent]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)


def read_events(log: LogSection, *, root: Path, rows: RowSource | None = None) -> EventLog:
    """Read the log that `[log]` names; a relative path starts at `root`, a table or SQL is read through `rows`.

    Rows of one `query_id` are one search. Raises `UsageError` when `[log]` names no source, several, or one that can't be had;
    `DataError` when the file can't be read, lacks a column, or holds nothing that can be used.
    """
    source, found, notes = _open(log, root, rows)
    assembly = Assembly(log.columns, notes, split=log.resolve_by != "text")
    problems: list[Problem] = []
    unreadable = total = 0
    for item in found:
        total += 1
        problem = item if isinstance(item, Problem) else _take(assembly, item)
        if problem is not None:
            unreadable += 1
            problems += [problem] if len(problems) < EXAMPLES else []
    if not total:
        raise DataError(f"{source} is empty", hint="name a log with searches under [log] in vecmigrate.toml")
    _check_columns(source, log.columns, assembly)
    events = assembly.events()
    if not events:
        raise _nothing(source, total, problems)
    return EventLog(events, ReadReport(source, total, len(events), unreadable, tuple(problems), dict(notes)))


def _take(assembly: Assembly, row: Row) -> Problem | None:
    try:
        assembly.add(row)
    except (ValueError, RecursionError) as error:
        return Problem(row.line, str(error))
    return None


def _open(log: LogSection, root: Path, rows: RowSource | None) -> tuple[str, Iterator[Row | Problem], Counter[str]]:
    named = [name for name in ("path", "table", "sql") if getattr(log, name)]
    notes: Counter[str] = Counter()
    if len(named) != 1:
        what = f"both {named[0]} and {named[1]}" if named else "no log"
        raise UsageError(f"[log] in vecmigrate.toml names {what}", hint="give one of path, table or sql")
    if log.path is not None:
        return f"the query log {log.path}", file_rows(root / log.path, notes), notes
    if rows is None:
        raise UsageError(
            f"[log] {named[0]} needs a store that can read tables, and this one cannot",
            hint="export the log to JSONL, CSV or Parquet and name it as `path` under [log]",
        )
    relation = log.table or log.sql or ""
    source = f"the query log table {relation}" if log.table else "the query log of [log] sql"
    return source, (Row(number, values) for number, values in enumerate(rows.read_rows(relation), 1)), notes


def _check_columns(source: str, columns: Mapping[str, str], assembly: Assembly) -> None:
    if not assembly.seen:
        return
    there = ", ".join(assembly.seen)
    for name, column in columns.items():
        if name not in assembly.found:
            raise DataError(
                f"{source} has no column {column!r}, which [log.columns] names for {name}; it has: {there}",
                hint=f"under [log.columns] write: {_line(name, assembly.seen)}",
            )
    if "user_query" not in assembly.found:
        raise DataError(
            f"{source} has no column 'user_query', the text of the search; it has: {there}",
            hint=f"under [log.columns] write: {_line('user_query', assembly.seen)}",
        )
    if assembly.found.isdisjoint({*_FEEDBACK, "action_name"}):
        raise DataError(
            f"{source} has none of the columns {', '.join(_FEEDBACK)}, so nothing says which result was right; it has: {there}",
            hint=f"under [log.columns] write: {_feedback_line(assembly.seen)}",
        )


def _line(name: str, seen: Mapping[str, Any]) -> str:
    return f'{name} = "{_guess(name, seen) or "<one of these columns>"}"'


def _feedback_line(seen: Mapping[str, Any]) -> str:
    guessed = next((name for name in _FEEDBACK if _guess(name, seen)), "clicked_ids")
    return _line(guessed, seen)


def _guess(name: str, seen: Mapping[str, Any]) -> str:
    by_fold = {column.casefold(): column for column in seen}
    for usual in _USUAL_NAMES.get(name, ()):
        if usual in by_fold:
            return by_fold[usual]
    close = difflib.get_close_matches(name, list(by_fold), n=1, cutoff=0.75)
    return by_fold[close[0]] if close else ""


def _nothing(source: str, total: int, problems: list[Problem]) -> DataError:
    if not problems:
        return DataError(f"{source} has {total:,} rows, but no search among them", hint="a search has user_query and query_id")
    first = problems[0]
    hint = "expected one JSON object a line, or a CSV or Parquet file named .csv or .parquet"
    if "expected an object" in first.why or first.why.startswith("not JSON"):
        hint += "; one large JSON array becomes lines by: jq -c '.[]' log.json > log.jsonl"
    return DataError(f"nothing in {source} can be read: {total:,} rows; line {first.line}: {first.why}", hint=hint)
