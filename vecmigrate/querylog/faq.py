"""Questions with their answers (an FAQ, a help centre), as JSONL, CSV, TSV or Parquet: a question's chunks are those that hold its answer.

Editors write such questions; each is marked with the slice "faq", so that nobody takes them for users' searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecmigrate.errors import DataError
from vecmigrate.querylog import fields
from vecmigrate.querylog.finding import FEWEST_WORDS, MOST_CHUNKS, chunks_containing
from vecmigrate.querylog.imports import Tally, judged_log, refuse_columns, text_cell
from vecmigrate.querylog.judgments import JudgedLog, length_slice
from vecmigrate.querylog.wording import normalised, query_id_of, words
from vecmigrate.records import Judgment, Query
from vecmigrate.store import Source

QUESTION_COLUMNS = ("question", "query", "title", "q")
ANSWER_COLUMNS = ("answer", "response", "text", "a")
SLICE = "faq"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row."""

    line: int
    question: str
    answer: str


def judged_from_faq(path: Path, store: Source, *, redact: bool = True) -> JudgedLog:
    """Each question with grade 1 on the chunks whose text is its answer, or contains it; compared by words, in one scan.

    An answer of fewer than five words has to be the whole chunk; one that is cut into several chunks is not found. Rows that can't be
    used are counted, the first ones with their line. Questions lose personal data as a log's queries do, unless `redact` is off. Raises
    `DataError` when the file can't be read, has no such columns, or no answer of it is in the store.
    """
    tally = Tally(redact)
    entries = [entry for line, values in tally.rows_of(path) if (entry := _entry(line, values, tally))]
    if not entries:
        raise refuse_columns(path, tally, {"the question": QUESTION_COLUMNS, "the answer": ANSWER_COLUMNS})
    held = chunks_containing(store, {entry.answer for entry in entries})
    queries: dict[str, Query] = {}
    judged: dict[tuple[str, str], Judgment] = {}
    for entry in entries:
        chunks = held.get(entry.answer, ())
        if not chunks or len(chunks) > MOST_CHUNKS:
            _unmatched(entry, len(chunks), tally)
            continue
        wording = normalised(entry.question)
        id = query_id_of(wording)
        queries.setdefault(id, Query(id, entry.question, slices=(SLICE, length_slice(wording))))
        judged |= {(id, chunk): Judgment(id, chunk, 1.0) for chunk in chunks}
    if not queries:
        raise DataError(
            f"none of the {len(entries):,} answers of {path} is in a chunk of {store.collection}",
            hint="an answer has to stand in one chunk word for word; where it doesn't, pair questions with chunk ids: --pairs",
        )
    return judged_log(queries.values(), list(judged.values()), tally, path, ())


def _entry(line: int, values: Mapping[str, Any], tally: Tally) -> _Entry | None:
    question = tally.query(fields.clean(text_cell(values, QUESTION_COLUMNS)))
    answer = fields.clean(text_cell(values, ANSWER_COLUMNS))
    for what, text in (("question", question), ("answer", answer)):
        if not words(normalised(text)):
            tally.drop(line, f"no {what}")
            return None
    return _Entry(line, question, answer)


def _unmatched(entry: _Entry, chunks: int, tally: Tally) -> None:
    if chunks:
        reason = f"their answer is in more than {MOST_CHUNKS} chunks"
    elif len(words(normalised(entry.answer))) < FEWEST_WORDS:
        reason = f"their answer has fewer than {FEWEST_WORDS} words and is no whole chunk"
    else:
        reason = "their answer is in no chunk"
    tally.drop(entry.line, reason, f"{reason}: {entry.question[:60]!r}")
