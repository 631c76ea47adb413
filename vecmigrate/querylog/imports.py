"""What the readers of people's own files (qrels, pairs, questions and answers) share: their report, and cells by the names they go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vecmigrate.errors import DataError
from vecmigrate.querylog.judgments import JudgedLog, JudgmentReport
from vecmigrate.querylog.redaction import redacted
from vecmigrate.querylog.rows import Problem, Row, file_rows
from vecmigrate.records import Judgment, Query

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class ImportReport(JudgmentReport):
    """What became of a file's rows, of which `events` counts all. `notes` count what was mended, `examples` name rows left out."""

    source: str = ""
    notes: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For printing."""
        negatives = self.judgments - self.positives
        return [
            f"read {self.events:,} rows of {self.source}: {self.queries:,} queries",
            f"  {self.judgments:,} judgments: {self.positives:,} relevant, {negatives:,} rated not relevant",
            *(f"  {count:,} {what}" for what, count in self.notes.items()),
            *(f"  {count:,} rows left out: {reason}" for reason, count in self.dropped_events.items()),
            *(f"  {count:,} left out: {reason}" for reason, count in self.dropped_queries.items()),
            *(f"  {count:,} query-chunk pairs: {reason}" for reason, count in self.set_aside.items()),
            *(f"  for example {example}" for example in self.examples),
            *(f"  warning: {warning}" for warning in self.warnings),
        ]


def without_personal_data(judged: JudgedLog) -> JudgedLog:
    """The same queries with personal data in their texts replaced by placeholders, as in a log's; an import's report counts them."""
    counts: Counter[str] = Counter()
    queries = tuple(replace(query, text=redacted(query.text, counts)) for query in judged.queries)
    report = judged.report
    if counts and isinstance(report, ImportReport):
        kinds = {f"{kind} in queries replaced by placeholders ([log] redact)": count for kind, count in sorted(counts.items())}
        report = replace(report, notes={**report.notes, **kinds})
    return replace(judged, queries=queries, report=report)


@dataclass(slots=True)
class Tally:
    """What is counted while a file is read."""

    rows: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)

    def drop(self, line: int, reason: str, detail: str = "") -> None:
        """A row that can't be used, and why. The first few are named."""
        self.dropped[reason] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"line {line}: {detail or reason}")

    def rows_of(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows that can be read, their columns' names in lower case. Raises `DataError` when the file can't be read."""
        for row in file_rows(path, self.notes):
            self.rows += 1
            if isinstance(row, Problem):
                self.drop(row.line, "they could not be read", row.why)
            else:
                self.columns |= row.values.keys()
                yield row.line, _lower(row)


def _lower(row: Row) -> dict[str, Any]:
    return {str(name).strip().casefold().replace("-", "_"): value for name, value in row.values.items()}


def cell(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of these columns that holds something; None where none does."""
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def text_cell(values: Mapping[str, Any], names: Iterable[str]) -> str:
    """The same for text; empty where there is none."""
    value = cell(values, names)
    return value.strip() if isinstance(value, str) else ""


def refuse_columns(path: Path, tally: Tally, wanted: Mapping[str, Sequence[str]]) -> DataError:
    """The error for a file of which no row has what is needed."""
    there = ", ".join(sorted(map(str, tally.columns))[:10]) or "none"
    shown = "; ".join(f"{what}: {', '.join(names[:4])}" for what, names in wanted.items())
    return DataError(f"no row of {path} can be used; its columns are {there}", hint=f"name them so: {shown}")


def judged_log(queries: Iterable[Query], judgments: Sequence[Judgment], tally: Tally, source: Path, warnings: tuple[str, ...]) -> JudgedLog:
    """Queries that have a relevant chunk, with their judgments and the report."""
    usable = {judgment.query_id for judgment in judgments if judgment.grade > 0}
    given = {query.id: query for query in queries}
    kept = tuple(sorted((given[id] for id in usable), key=lambda query: query.id))
    held = tuple(sorted((j for j in judgments if j.query_id in usable), key=lambda j: (j.query_id, j.chunk_id)))
    without = {"queries without a relevant chunk": len(given) - len(usable)} if len(given) > len(usable) else {}
    report = ImportReport(
        events=tally.rows,
        queries=len(kept),
        judgments=len(held),
        positives=sum(judgment.grade > 0 for judgment in held),
        dropped_events=dict(tally.dropped),
        dropped_queries=without,
        set_aside=dict(tally.set_aside),
        warnings=warnings,
        source=source.name,
        notes=dict(tally.notes),
        examples=tuple(tally.examples),
    )
    return JudgedLog(kept, held, report)
