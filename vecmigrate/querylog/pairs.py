"""Pairs of a query and a chunk, with a grade where there is one, as JSONL, CSV, TSV or Parquet, in place of a query log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecmigrate.errors import DataError
from vecmigrate.querylog import fields
from vecmigrate.querylog.finding import MOST_CHUNKS, chunks_with_ids, chunks_with_text
from vecmigrate.querylog.imports import Tally, cell, judged_log, refuse_columns, text_cell
from vecmigrate.querylog.judgments import JudgedLog, length_slice
from vecmigrate.querylog.raters import Ballot, agreed, scale_warnings
from vecmigrate.querylog.redaction import redacted
from vecmigrate.querylog.wording import normalised, query_id_of, words
from vecmigrate.records import Query
from vecmigrate.store import Source

QUERY_COLUMNS = ("query", "user_query", "question", "anchor", "text")
ID_COLUMNS = ("chunk_id", "corpus_id", "document_id", "doc_id", "docid")
TEXT_COLUMNS = ("chunk", "chunk_text", "positive", "passage", "document", "answer")
GRADE_COLUMNS = ("grade", "score", "relevance", "label", "rating")
RATER_COLUMNS = ("rater", "rater_id", "annotator", "annotator_id")


@dataclass(frozen=True, slots=True)
class _Pair:
    """One row. `ref` is the id, `text` the chunk's own text; either may be empty."""

    line: int
    query: str
    ref: str
    text: str
    grade: float
    rater: str


def judged_from_pairs(path: Path, store: Source, *, min_grade: float | None = None, redact: bool = True) -> JudgedLog:
    """The pairs as a judged log. A chunk is named by its id or by its own text, which is found by its hash in one scan of the store.

    Queries of one normalised wording are one query. A row without a grade says "relevant", with grade 1. Several grades of one pair are
    several raters' (`raters.agreed`). Rows that can't be used are counted, the first ones with their line. Queries lose personal data as a
    log's do, unless `redact` is off. Raises `DataError` when the file can't be read, has no such columns, or names no chunk of the store.
    """
    tally = Tally(redact)
    pairs = [pair for line, values in tally.rows_of(path) if (pair := _pair(line, values, tally))]
    if not pairs:
        raise refuse_columns(path, tally, {"the query": QUERY_COLUMNS, "the chunk": (*ID_COLUMNS[:2], *TEXT_COLUMNS[:2])})
    ballot = Ballot()
    queries: dict[str, Query] = {}
    by_id = chunks_with_ids(store, {pair.ref for pair in pairs if pair.ref})
    by_text = chunks_with_text(store, {pair.text for pair in pairs if pair.text and pair.ref not in by_id})
    for pair in pairs:
        chunks = (pair.ref,) if pair.ref in by_id else by_text.get(pair.text, ())
        if not chunks or len(chunks) > MOST_CHUNKS:
            _unmatched(pair, len(chunks), tally)
            continue
        wording = normalised(pair.query)
        queries.setdefault(wording, Query(query_id_of(wording), pair.query, slices=(length_slice(wording),)))
        for id in chunks:
            ballot.add(query_id_of(wording), id, pair.rater or f"line {pair.line}", pair.grade)
    if not queries:
        raise _nothing_matches(path, pairs, store)
    judgments = agreed(ballot, min_grade, tally.set_aside)
    return judged_log(queries.values(), judgments, tally, path, scale_warnings(ballot, min_grade))


def _pair(line: int, values: Mapping[str, Any], tally: Tally) -> _Pair | None:
    query = tally.query(fields.clean(text_cell(values, QUERY_COLUMNS)))
    if not words(normalised(query)):
        tally.drop(line, "no query")
        return None
    try:
        ref = fields.reference(cell(values, ID_COLUMNS))
        given = cell(values, GRADE_COLUMNS)
        grade = 1.0 if given is None else fields.rating(given)
        rater = fields.reference(cell(values, RATER_COLUMNS))
    except ValueError as error:
        tally.drop(line, "an id or a grade that is none", tally.remark(str(error)))
        return None
    text = fields.clean(text_cell(values, TEXT_COLUMNS))
    if not ref and not text:
        tally.drop(line, "neither a chunk's id nor its text")
        return None
    return _Pair(line, query, ref, text, grade, rater)


def _unmatched(pair: _Pair, chunks: int, tally: Tally) -> None:
    named = _short(pair.ref or pair.text)
    if chunks:
        tally.drop(pair.line, f"their text is that of more than {MOST_CHUNKS} chunks", f"{named} is the text of many chunks")
    else:
        tally.drop(pair.line, "their chunk is not in the store", f"{named} is no chunk of the store")


def _nothing_matches(path: Path, pairs: Sequence[_Pair], store: Source) -> DataError:
    said = ", ".join(_short(pair.ref or pair.text) for pair in pairs[:3])
    there = ", ".join(_short(chunk.id) for chunk in next(iter(store.scan(batch_size=3)), ())[:3]) or "none: it is empty"
    return DataError(
        f"none of the {len(pairs):,} pairs of {path} names a chunk of {store.collection}: the file says {said}; the store's ids are {there}",
        hint="give the chunks' ids as the store has them, or their exact texts in a column called chunk",
    )


def _short(text: str) -> str:
    shown = repr(redacted(text[:200]) if " " in text or "@" in text else text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
