"""Judgments that people have already made: queries as JSONL and qrels as TSV, in place of a query log.

Source of the formats: BEIR (`query-id corpus-id score`, with a header) and TREC (`query 0 document grade`, without one).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vecmigrate.errors import DataError
from vecmigrate.querylog import fields
from vecmigrate.querylog.imports import ImportReport, without_personal_data
from vecmigrate.querylog.judgments import JudgedLog, length_slice
from vecmigrate.querylog.raters import Ballot, agreed
from vecmigrate.querylog.rows import Problem, Row, file_rows, text_lines
from vecmigrate.querylog.wording import normalised, words
from vecmigrate.records import Judgment, Query

_ID_KEYS = ("id", "_id", "query_id", "qid")
_TEXT_KEYS = ("text", "query", "user_query", "question")
_TIME_KEYS = ("timestamp", "at", "created", "created_at", "date")


def judged_from_files(queries: Path, qrels: Path, *, min_grade: float | None = None, redact: bool = True) -> JudgedLog:
    """Queries (`id`, `text`, and a time where there is one) with their judgments (query id, chunk id, grade).

    A pair that is graded more than once was judged by several people (`raters.agreed`); `min_grade` is the least grade that counts as
    relevant, without it any above 0. A query without a relevant chunk is left out and counted. Queries lose personal data as a log's do,
    unless `redact` is off; their ids stay. Raises `DataError` when a file can't be read or they don't join.
    """
    dropped: Counter[str] = Counter()
    set_aside: Counter[str] = Counter()
    replaced: Counter[str] = Counter()
    asked = {query.id: query for query in _queries(queries, dropped, replaced if redact else None)}
    ballot = Ballot()
    rows = 0
    for rows, judgment in enumerate(read_qrels(qrels, dropped), 1):
        if judgment.query_id in asked:
            ballot.add(judgment.query_id, judgment.chunk_id, f"row {rows}", judgment.grade)
        else:
            dropped["judgments of queries that are not in the file"] += 1
    judgments = agreed(ballot, min_grade, set_aside)
    usable = {j.query_id for j in judgments if j.grade > 0}
    if not usable:
        raise DataError(
            f"no query of {queries} has a relevant chunk in {qrels}",
            hint="the first column of the qrels is the queries' id, the last is a grade above 0 for what is relevant",
        )
    dropped["queries without a relevant chunk"] += len(asked) - len(usable)
    kept = tuple(sorted((asked[id] for id in usable), key=lambda q: q.id))
    held = tuple(sorted((j for j in judgments if j.query_id in usable), key=lambda j: (j.query_id, j.chunk_id)))
    report = ImportReport(
        events=rows,
        queries=len(kept),
        judgments=len(held),
        positives=sum(j.grade > 0 for j in held),
        dropped_queries=dict(+dropped),
        set_aside=dict(set_aside),
        source=qrels.name,
        redacted=dict(replaced),
    )
    return JudgedLog(kept, held, report)


def read_qrels(path: Path, dropped: Counter[str]) -> Iterator[Judgment]:
    """The judgments of a qrels file of three columns, or of TREC's four. `dropped` counts the lines that aren't any.

    A first line whose grade is no number is a header. Raises `DataError` when the file can't be read.
    """
    header = True
    for row in _qrels_lines(path):
        judgment = None if isinstance(row, Problem) else _judgment(row[1])
        if judgment is not None:
            yield judgment
        elif isinstance(row, Problem) or (row[1].strip() and not (header and _is_header(row[1]))):
            dropped["lines of the qrels that could not be read"] += 1
        header = header and not isinstance(row, Problem) and not row[1].strip()


def _is_header(line: str) -> bool:
    return len(_cells(line)) in (3, 4)


def _qrels_lines(path: Path) -> Iterator[tuple[int, str] | Problem]:
    try:
        yield from text_lines(path, Counter())
    except OSError as error:
        raise DataError(f"the qrels {path} cannot be read: {error.strerror}", hint="name a TSV of query id, chunk id, grade") from None


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _judgment(line: str) -> Judgment | None:
    cells = _cells(line)
    if len(cells) not in (3, 4):
        return None
    try:
        grade = fields.rating(cells[-1])
    except ValueError:
        return None
    query_id, chunk_id = cells[0].strip(), cells[-2].strip()
    return Judgment(query_id, chunk_id, max(grade, 0.0)) if query_id and chunk_id else None


def _queries(path: Path, dropped: Counter[str], replaced: Counter[str] | None) -> Iterator[Query]:
    """`replaced` counts the personal data taken out, by kind; None leaves it in."""
    for row in file_rows(path, Counter()):
        query = None if isinstance(row, Problem) else _query(row, replaced)
        if query is None:
            dropped["lines of the queries that could not be read"] += 1
        else:
            yield query


def _query(row: Row, replaced: Counter[str] | None) -> Query | None:
    try:
        id = next((fields.reference(row.values[key]) for key in _ID_KEYS if key in row.values), "")
        at, _ = fields.moment(next((row.values[key] for key in _TIME_KEYS if key in row.values), None))
    except ValueError:
        return None
    text = next((row.values[key] for key in _TEXT_KEYS if isinstance(row.values.get(key), str)), "")
    text = fields.clean(text).strip()
    text = text if replaced is None else without_personal_data(text, replaced)
    wording = normalised(text)
    if not id or not words(wording):
        return None
    return Query(id, text, at=at, slices=(length_slice(wording),))
