"""What the readers of people's own files (qrels, pairs, questions and answers) share: their report, and cells by the names they go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecmigrate.errors import DataError
from vecmigrate.querylog.judgments import JudgedLog, JudgmentReport
from vecmigrate.querylog.redaction import PLACEHOLDER, redacted
from vecmigrate.querylog.rows import Problem, Row, file_rows
from vecmigrate.querylog.wording import normalised, words
from vecmigrate.records import Judgment, Query

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class ImportReport(JudgmentReport):
    """What became of a file's rows, of which `events` counts all. `notes` count what was mended, `examples` name rows left out, `redacted`
    counts what was replaced in the queries by kind.
    """

    source: str = ""
    notes: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    redacted: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For printing."""
        negatives = self.judgments - self.positives
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.redacted.items()))
        return [
            f"read {self.events:,} rows of {self.source}: {self.queries:,} queries",
            f"  {self.judgments:,} judgments: {self.positives:,} relevant, {negatives:,} rated not relevant",
            *([f"  personal data replaced in the texts of queries: {kinds}"] if kinds else []),
            *(f"  {count:,} {what}" for what, count in self.notes.items()),
            *(f"  {count:,} rows left out: {reason}" for reason, count in self.dropped_events.items()),
            *(f"  {count:,} left out: {reason}" for reason, count in self.dropped_queries.items()),
            *(f"  {count:,} query-chunk pairs: {reason}" for reason, count in self.set_aside.items()),
            *(f"  for example {example}" for example in self.examples),
            *(f"  warning: {warning}" for warning in self.warnings),
        ]


def without_personal_data(text: str, counts: Counter[str]) -> str:
    """The query with placeholders for what is personal, by the rules of a log; empty where placeholders are all there is."""
    plain = redacted(text, counts)
    return plain if words(normalised(PLACEHOLDER.sub(" ", plain))) else ""


@dataclass(slots=True)
class Tally:
    """What is counted while a file is read. `redact`: whether queries, and the rows that are named, lose personal data."""

    redact: bool = True
    rows: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    redacted: Counter[str] = field(default_factory=Counter)

    def query(self, text: str) -> str:
        """What is kept of a query: one line, without personal data, before it gets an id. Empty where nothing else was in it."""
        evened = " ".join(text.split())
        return without_personal_data(evened, self.redacted) if self.redact else evened

    def remark(self, why: str) -> str:
        """What is said of a row, which may show what stands in it."""
        return redacted(why) if self.redact else why

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
                self.drop(row.line, "they could not be read", self.remark(row.why))
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
        redacted=dict(tally.redacted),
    )
    return JudgedLog(kept, held, report)
