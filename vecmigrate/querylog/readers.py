"""The query log, wherever it is kept, as query events, with a report of every line that could not be used."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError, UsageError
from vecmigrate.querylog.assembly import FEEDBACK_COLUMNS, Assembly
from vecmigrate.querylog.formats import FORMATS, detect, settings_of
from vecmigrate.querylog.redaction import redacted
from vecmigrate.querylog.rows import Problem, Row, file_rows
from vecmigrate.querylog.scope import within_scope
from vecmigrate.records import QueryEvent
from vecmigrate.store import RowSource

EXAMPLES = 5
"""How many unreadable lines the report shows; it counts them all."""

DETECTED_BY = 200
"""How many rows are looked at to tell the format."""
ROWS = "rows"
"""The format of rows in our own names, or in names that `[log.columns]` maps to ours; User Behavior Insights among them."""

_WHICH_LOG = "give one of path, table or sql"
_NO_LOG = "vecmigrate dataset build --synthetic local"
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
    """What became of the rows. `unreadable` counts all problems, `problems` shows the first few; `notes` counts what was mended, or could
    not be used. `events` are those within the scope, `left_out` counts the others by reason, `redacted` what was replaced by kind.
    """

    source: str
    rows: int
    events: int
    unreadable: int
    problems: tuple[Problem, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    format: str = "rows"
    left_out: Mapping[str, int] = field(default_factory=dict)
    redacted: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For printing."""
        named = "" if self.format == ROWS else f" as {self.format}"
        out = [f"read {self.source}{named}: {self.rows:,} rows, {self.events:,} searches"]
        if self.unreadable:
            out.append(f"  {self.unreadable:,} rows could not be read and were left out:")
            out += [f"    line {problem.line}: {problem.why}" for problem in self.problems]
            if self.unreadable > len(self.problems):
                out.append(f"    … and {self.unreadable - len(self.problems):,} more")
        out += [f"  {count:,} {note}" for note, count in self.notes.items()]
        out += [f"  {count:,} searches left out: {reason}" for reason, count in self.left_out.items()]
        if self.redacted:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.redacted.items()))
            out.append(f"  personal data replaced in the texts of searches: {kinds}")
        return out


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
    reading = _Reading(source, found)
    name, head = _format_of(log, reading)
    assembly = Assembly({} if name != ROWS else log.columns, notes, split=log.resolve_by != "text")
    ready = chain(head, reading.rows())
    for row in ready if name == ROWS else _through(name, ready, log, reading, notes):
        reading.attempt(lambda row=row: assembly.add(row), row)  # type: ignore[misc]
    if not reading.total:
        raise DataError(f"{source} is empty", hint="name a log with searches under [log] in vecmigrate.toml")
    if name == ROWS:
        _check_columns(source, log.columns, assembly)
    events = assembly.events()
    if not events:
        raise _nothing(source, reading.total, reading.problems) if name == ROWS else _no_retrieval(source, name, reading)
    return _finished(events, log, (name, reading, notes))


@dataclass(slots=True)
class _Reading:
    """The rows of the source while they are read, and what went wrong so far."""

    source: str
    found: Iterator[Row | Problem]
    total: int = 0
    unreadable: int = 0
    problems: list[Problem] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """What is left of the rows; lines that are none are noted."""
        for item in self.found:
            self.total += 1
            if isinstance(item, Problem):
                self.fail(item)
            else:
                yield item

    def attempt(self, take: Callable[[], None], row: Row) -> None:
        """Take the row, or note why it can't be."""
        try:
            take()
        except (ValueError, RecursionError, TypeError, AttributeError) as error:
            why = str(error) if isinstance(error, ValueError) else "a value is of another kind than expected, or nested too deeply"
            self.fail(Problem(row.line, f"{row.file}: {why}" if row.file else why))

    def fail(self, problem: Problem) -> None:
        """Note a line that was passed over."""
        self.unreadable += 1
        if len(self.problems) < EXAMPLES:
            self.problems.append(problem)


def _format_of(log: LogSection, reading: _Reading) -> tuple[str, list[Row]]:
    """The format's name, and the rows that were read to find it. `[log.columns]` means rows, and so does a row in our own names."""
    ours = [name for name in log.columns if name != "tenant"]
    if log.format not in ("auto", ROWS) and ours:
        raise UsageError(
            f"[log.columns] renames {ours[0]}, and format {log.format!r} has names of its own",
            hint='keep tenant alone under [log.columns], or set format = "rows"',
        )
    if log.format != "auto" or ours:
        return (ROWS if log.format == "auto" else log.format), []
    head = list(islice(reading.rows(), DETECTED_BY))
    found = () if any("user_query" in row.values for row in head) else detect(row.values for row in head)
    if len(found) > 1:
        raise DataError(
            f"{reading.source} looks like {' and '.join(found)}",
            hint=f'say which under [log]: format = "{found[0]}", or "rows" for neither',
        )
    return (found[0] if found else ROWS), head


def _through(name: str, rows: Iterator[Row], log: LogSection, reading: _Reading, notes: Counter[str]) -> Iterator[Row]:
    _, reader = FORMATS[name]
    format = reader(settings_of(log, notes))
    for row in rows:
        reading.attempt(lambda row=row: format.add(row), row)  # type: ignore[misc]
    yield from format.rows()


def _finished(events: tuple[QueryEvent, ...], log: LogSection, read: tuple[str, _Reading, Counter[str]]) -> EventLog:
    """Within the scope, without personal data, and with the report."""
    name, reading, notes = read
    kept, left_out = within_scope(events, log)
    if not kept:
        why = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise DataError(
            f"nothing is left of the {len(events):,} searches of {reading.source}: {why}",
            hint="look at only_tenant and max_age_days under [log], and at tenant and timestamp under [log.columns]",
        )
    counts: Counter[str] = Counter()
    if log.redact:
        kept = tuple(replace(event, text=redacted(event.text, counts)) for event in kept)
        reading.problems = [Problem(problem.line, redacted(problem.why)) for problem in reading.problems]
    report = ReadReport(
        reading.source,
        reading.total,
        len(kept),
        reading.unreadable,
        tuple(reading.problems),
        dict(+notes),
        format=name,
        left_out=left_out,
        redacted=dict(counts),
    )
    return EventLog(kept, report)


def _open(log: LogSection, root: Path, rows: RowSource | None) -> tuple[str, Iterator[Row | Problem], Counter[str]]:
    named = [name for name in ("path", "table", "sql") if getattr(log, name)]
    notes: Counter[str] = Counter()
    if len(named) != 1:
        what = f"both {named[0]} and {named[1]}" if named else "no log"
        raise UsageError(
            f"[log] in vecmigrate.toml names {what}", hint=_WHICH_LOG if named else f"{_WHICH_LOG}; where there is none: {_NO_LOG}"
        )
    if log.path is not None:
        source = f"the query log {', '.join(str(path) for path in (log.path, *log.also))}"
        return source, _files(root, (log.path, *log.also), notes), notes
    if log.also:
        raise UsageError(f"[log] also goes with path, not with {named[0]}", hint="join the tables in [log] sql")
    if rows is None:
        raise UsageError(
            f"[log] {named[0]} needs a store that can read tables, and this one cannot",
            hint="export the log to JSONL, CSV or Parquet and name it as `path` under [log]",
        )
    relation = log.table or log.sql or ""
    source = f"the query log table {relation}" if log.table else "the query log of [log] sql"
    return source, (Row(number, values) for number, values in enumerate(rows.read_rows(relation), 1)), notes


def _files(root: Path, paths: tuple[Path, ...], notes: Counter[str]) -> Iterator[Row | Problem]:
    for path in paths:
        for found in file_rows(root / path, notes):
            if len(paths) == 1:
                yield found
            elif isinstance(found, Row):
                yield replace(found, file=path.name)
            else:
                yield Problem(found.line, f"{path.name}: {found.why}")


def _no_retrieval(source: str, name: str, reading: _Reading) -> DataError:
    first = f"; line {reading.problems[0].line}: {reading.problems[0].why}" if reading.problems else ""
    return DataError(
        f"{source} was read as {name} and has {reading.total:,} rows, but no search with what it found{first}",
        hint="docs/query-logs.md says what to export; [log] also names further files of the same export",
    )


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
