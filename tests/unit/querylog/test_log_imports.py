"""Pairs, and questions with answers: what is read, which chunk is meant, and the reason of every row left out."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vecmigrate.errors import DataError
from vecmigrate.querylog import judged_from_faq, judged_from_pairs
from vecmigrate.querylog.finding import chunks_containing, chunks_with_text
from vecmigrate.querylog.raters import Ballot, agreed, scale_warnings
from vecmigrate.records import Judgment, Query
from vecmigrate.testing.memory import MemoryStore, SourceRow

TEXTS = {
    "a": "You can return an item within thirty days. Keep the receipt.",
    "b": "Parcels take three days.",
    "c": "Parcels take  three\ndays.",
    "d": "We are open from nine to five, on Mondays from ten.",
    "7": "Yes.",
}


@pytest.fixture
def store():
    return MemoryStore([SourceRow(id, text, np.ones(64, dtype=np.float32)) for id, text in TEXTS.items()])


@pytest.fixture
def write(tmp_path):
    """A file of these rows, as its name's ending says."""

    def run(name, rows):
        path = tmp_path / name
        if isinstance(rows, str):
            path.write_text(rows, encoding="utf-8")
        elif name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            text = io.StringIO()
            writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
            path.write_text(text.getvalue(), encoding="utf-8")
        return path

    return run


def judged(log):
    texts = {query.id: query.text for query in log.queries}
    return {(texts[j.query_id], j.chunk_id): (j.grade, j.weight) for j in log.judgments}


# Pairs.


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "pairs.tsv"])
def test_pairs_are_read_by_chunk_id_from_each_kind_of_file(store, write, name):
    rows = [{"query": "send it back", "chunk_id": "a", "grade": 2}, {"query": "opening hours", "chunk_id": "d", "grade": 1}]
    path = write(name, rows if name != "pairs.tsv" else "query\tchunk_id\tgrade\nsend it back\ta\t2\nopening hours\td\t1\n")
    log = judged_from_pairs(path, store)
    assert judged(log) == {("send it back", "a"): (2.0, 1.0), ("opening hours", "d"): (1.0, 1.0)}
    assert log.queries[0].slices in {("3-5 words",), ("1-2 words",)}
    assert log.report.lines()[0] == f"read 2 rows of {name}: 2 queries"


def test_a_chunk_may_be_named_by_its_text_exactly_or_but_for_white_space(store, write):
    rows = [
        {"question": "how long", "chunk": TEXTS["b"]},
        {"question": "when open", "chunk": "We are  open from\nnine to five, on Mondays from ten."},
        {"anchor": "returns", "positive": TEXTS["a"]},
    ]
    log = judged_from_pairs(write("pairs.jsonl", rows), store)
    assert judged(log) == {("how long", "b"): (1.0, 1.0), ("when open", "d"): (1.0, 1.0), ("returns", "a"): (1.0, 1.0)}


def test_an_id_that_is_none_gives_way_to_the_text(store, write):
    log = judged_from_pairs(write("pairs.jsonl", [{"query": "how long", "chunk_id": "old-9", "chunk": TEXTS["b"]}]), store)
    assert judged(log) == {("how long", "b"): (1.0, 1.0)}


def test_a_number_as_id_is_the_text_of_it(store, write):
    assert judged(judged_from_pairs(write("pairs.jsonl", [{"query": "really", "chunk_id": 7}]), store)) == {("really", "7"): (1.0, 1.0)}


def test_wordings_that_are_the_same_are_one_query(store, write):
    log = judged_from_pairs(
        write("pairs.jsonl", [{"query": "Opening hours?", "chunk_id": "d"}, {"query": " opening  HOURS", "chunk_id": "a"}]), store
    )
    assert judged(log) == {("Opening hours?", "a"): (1.0, 1.0), ("Opening hours?", "d"): (1.0, 1.0)}


def test_column_names_may_be_written_in_capitals_and_with_hyphens(store, write):
    assert judged(judged_from_pairs(write("pairs.csv", [{"Query": "hours", "Chunk-ID": "d"}]), store)) == {("hours", "d"): (1.0, 1.0)}


def test_every_row_that_cannot_be_used_is_counted_and_the_first_are_named(store, write):
    good = json.dumps({"query": "hours", "chunk_id": "d"})
    rows = [
        {"query": "", "chunk_id": "d"},
        {"query": "?!", "chunk_id": "d"},
        {"query": "no chunk"},
        {"query": "bad grade", "chunk_id": "d", "grade": "good"},
        {"query": "bad id", "chunk_id": {"x": 1}},
        {"query": "gone", "chunk_id": "zz"},
        {"query": "gone", "chunk": "a text that nobody has"},
    ]
    log = judged_from_pairs(write("pairs.jsonl", "\n".join([good, "{broken", "[1]", *map(json.dumps, rows)]) + "\n"), store)
    assert log.report.events == 10
    assert log.report.dropped_events == {
        "they could not be read": 2,
        "no query": 2,
        "neither a chunk's id nor its text": 1,
        "an id or a grade that is none": 2,
        "their chunk is not in the store": 2,
    }
    assert sum(log.report.dropped_events.values()) + 1 == log.report.events
    assert log.report.examples[0].startswith("line 2: not JSON")
    assert len(log.report.examples) == 3


def test_a_query_with_nothing_relevant_is_counted(store, write):
    log = judged_from_pairs(
        write("pairs.jsonl", [{"query": "hours", "chunk_id": "d"}, {"query": "bad", "chunk_id": "a", "grade": 0}]), store
    )
    assert judged(log) == {("hours", "d"): (1.0, 1.0)}
    assert log.report.dropped_queries == {"queries without a relevant chunk": 1}


def test_a_file_without_the_columns_says_what_it_has_and_what_is_wanted(store, write):
    with pytest.raises(DataError, match="its columns are colour, size") as caught:
        judged_from_pairs(write("pairs.csv", [{"size": 1, "colour": "red"}]), store)
    assert caught.value.hint.startswith("name them so: the query: query, user_query")


def test_a_file_that_belongs_to_another_store_shows_both_sides(store, write):
    with pytest.raises(DataError, match=r"none of the 1 pairs .* names a chunk of docs: the file says 'zz'; the store's ids are "):
        judged_from_pairs(write("pairs.jsonl", [{"query": "hours", "chunk_id": "zz"}]), store)


def test_a_missing_file_is_named(store, tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        judged_from_pairs(tmp_path / "nothing.csv", store)


def test_a_text_of_many_chunks_says_nothing(write):
    store = MemoryStore([SourceRow(f"x{i:02d}", "Read more.", np.ones(64, dtype=np.float32)) for i in range(11)])
    with pytest.raises(DataError, match="none of the 1 pairs"):
        judged_from_pairs(write("pairs.jsonl", [{"query": "more", "chunk": "Read more."}]), store)


# Several raters.


def test_several_grades_of_one_pair_are_several_raters(store, write):
    rows = [{"query": "hours", "chunk_id": "d", "grade": grade} for grade in (3, 2, 0)]
    log = judged_from_pairs(write("pairs.jsonl", rows), store)
    assert judged(log) == {("hours", "d"): (pytest.approx(5 / 3), pytest.approx(2 / 3))}
    assert log.report.set_aside == {"judged by several raters: mean grade, weighted by the majority's share": 1}


def test_a_raters_later_grade_replaces_the_earlier(store, write):
    rows = [{"query": "hours", "chunk_id": "d", "grade": grade, "rater": "ann"} for grade in (0, 3)]
    assert judged(judged_from_pairs(write("pairs.jsonl", rows), store)) == {("hours", "d"): (3.0, 1.0)}


@pytest.mark.parametrize(
    ("grades", "min_grade", "judgment"),
    [
        ([1], None, (1.0, 1.0)),
        ([0], None, (0.0, 1.0)),
        ([2, 1], None, (1.5, 1.0)),
        ([3, 0, 0], None, (0.0, pytest.approx(2 / 3))),
        ([1, 0], None, None),
        ([1, 1, -9], None, (1.0, pytest.approx(2 / 3))),
        ([4], 4, (1.0, 1.0)),
        ([5], 4, (2.0, 1.0)),
        ([3], 4, (0.0, 1.0)),
        ([4, 4, 1], 4, (1.0, pytest.approx(2 / 3))),
        ([100], 1, (4.0, 1.0)),
    ],
)
def test_the_majority_decides_and_its_share_is_the_weight(grades, min_grade, judgment):
    ballot = Ballot()
    for number, grade in enumerate(grades):
        ballot.add("q", "c", str(number), grade)
    set_aside = Counter()
    found = agreed(ballot, min_grade, set_aside)
    assert [(j.grade, j.weight) for j in found] == ([judgment] if judgment else [])
    assert set_aside["raters evenly split, no judgment made"] == (judgment is None)


def test_a_scale_without_a_lower_end_is_warned_of(store, write):
    rows = [{"query": "hours", "chunk_id": "d", "grade": 5}, {"query": "hours", "chunk_id": "a", "grade": 1}]
    log = judged_from_pairs(write("pairs.jsonl", rows), store)
    assert log.report.warnings == ("all grades, from 1 to 5, count as relevant; say from where on one is good: --min-grade N",)
    assert judged(judged_from_pairs(write("pairs.jsonl", rows), store, min_grade=4)) == {
        ("hours", "d"): (2.0, 1.0),
        ("hours", "a"): (0.0, 1.0),
    }


def test_no_warning_where_a_grade_says_no_or_all_are_alike():
    for grades in ([0, 5], [1, 1], []):
        ballot = Ballot()
        for number, grade in enumerate(grades):
            ballot.add("q", str(number), "r", grade)
        assert scale_warnings(ballot, None) == ()


# Where a text is.

WORD = st.sampled_from(["aa", "bb", "cc"])
PASSAGE = st.lists(WORD, min_size=1, max_size=14).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(PASSAGE, min_size=1, max_size=6), st.sets(PASSAGE, min_size=1, max_size=6))
def test_chunks_that_contain_a_text_are_those_that_a_plain_search_finds(chunks, wanted):
    store = MemoryStore([SourceRow(f"c{i}", f"{text.upper()}!", np.ones(64, dtype=np.float32)) for i, text in enumerate(chunks)])
    expected = {
        text: tuple(f"c{i}" for i, chunk in enumerate(chunks) if chunk == text or (len(text.split()) >= 5 and f" {text} " in f" {chunk} "))
        for text in wanted
    }
    assert chunks_containing(store, wanted) == {text: ids for text, ids in expected.items() if ids}


def test_chunks_with_equal_texts_are_all_found(store):
    assert chunks_with_text(store, {TEXTS["b"], "nowhere"}) == {TEXTS["b"]: ("b",)}
    assert chunks_with_text(store, {"Parcels  take three days."}) == {"Parcels  take three days.": ("b", "c")}
    assert chunks_with_text(store, set()) == chunks_containing(store, set()) == {}


# Questions and answers.


def test_a_question_belongs_to_the_chunks_that_hold_its_answer(store, write):
    rows = [
        {"question": "Can I send it back?", "answer": "you can return an item within thirty days"},
        {"question": "When are you open?", "answer": TEXTS["d"]},
        {"question": "How long does it take?", "answer": "Parcels take three days"},
        {"question": "Really?", "answer": "yes"},
    ]
    log = judged_from_faq(write("faq.jsonl", rows), store)
    assert sorted(judged(log)) == [
        ("Can I send it back?", "a"),
        ("How long does it take?", "b"),
        ("How long does it take?", "c"),
        ("Really?", "7"),
        ("When are you open?", "d"),
    ]
    assert all(query.slices[0] == "faq" for query in log.queries)


def test_questions_and_answers_are_read_from_csv(store, write):
    log = judged_from_faq(write("faq.csv", [{"Question": "Open,\nwhen?", "Answer": TEXTS["d"]}]), store)
    assert log.queries == (Query(log.queries[0].id, "Open, when?", slices=("faq", "1-2 words")),)
    assert log.judgments == (Judgment(log.queries[0].id, "d", 1.0),)


def test_every_entry_that_cannot_be_used_is_counted(store, write):
    rows = [
        {"question": "When?", "answer": TEXTS["d"]},
        {"question": "", "answer": TEXTS["d"]},
        {"question": "What?", "answer": ""},
        {"question": "How?", "answer": "three days"},
        {"question": "Who?", "answer": "an answer that no chunk of it holds"},
        {"question": "Where?", "answer": "we are open from nine to six"},
    ]
    log = judged_from_faq(write("faq.jsonl", rows), store)
    assert log.report.dropped_events == {
        "no question": 1,
        "no answer": 1,
        "their answer has fewer than 5 words and is no whole chunk": 1,
        "their answer is in no chunk": 2,
    }


def test_an_answer_in_many_chunks_says_nothing(write):
    rows = [SourceRow(f"x{i:02d}", f"Page {i}. All rights reserved by us alone.", np.ones(64, dtype=np.float32)) for i in range(30)]
    store = MemoryStore([*rows, SourceRow("a", TEXTS["a"], np.ones(64, dtype=np.float32))])
    entries = [{"question": "Whose?", "answer": "all rights reserved by us"}, {"question": "Back?", "answer": TEXTS["a"]}]
    log = judged_from_faq(write("faq.jsonl", entries), store)
    assert log.report.dropped_events == {"their answer is in more than 10 chunks": 1}


def test_an_faq_of_another_store_is_refused(store, write):
    with pytest.raises(DataError, match=r"none of the 1 answers of .* is in a chunk of docs"):
        judged_from_faq(write("faq.jsonl", [{"question": "Who?", "answer": "nobody that this store knows of"}]), store)


# Personal data.

PRIVATE = "refund to  anna@example.org or +49 30 1234567"
PLAIN = "refund to <email> or <phone>"


@pytest.mark.parametrize(
    ("reader", "rows"),
    [
        (judged_from_pairs, [{"query": PRIVATE, "chunk_id": "a"}, {"query": "when open", "chunk_id": "d"}]),
        (judged_from_faq, [{"question": PRIVATE, "answer": TEXTS["a"]}, {"question": "when open", "answer": TEXTS["d"]}]),
    ],
)
def test_queries_lose_personal_data_and_the_report_counts_it(write, store, reader, rows):
    log = reader(write("rows.jsonl", rows), store)
    assert sorted(query.text for query in log.queries) == [PLAIN, "when open"]
    assert dict(log.report.redacted) == {"email": 1, "phone": 1}
    assert log.report.lines()[2] == "  personal data replaced in the texts of queries: 1 email, 1 phone"


@pytest.mark.parametrize(("reader", "columns"), [(judged_from_pairs, ("query", "chunk")), (judged_from_faq, ("question", "answer"))])
def test_a_query_of_personal_data_alone_is_left_out(write, store, reader, columns):
    rows = [dict(zip(columns, row, strict=True)) for row in (("anna@example.org ?", TEXTS["a"]), ("when open", TEXTS["d"]))]
    log = reader(write("rows.jsonl", rows), store)
    assert [query.text for query in log.queries] == ["when open"]
    assert sum(log.report.dropped_events.values()) == 1


@pytest.mark.parametrize(("reader", "columns"), [(judged_from_pairs, ("query", "chunk")), (judged_from_faq, ("question", "answer"))])
def test_personal_data_is_kept_where_that_is_asked_for(write, store, reader, columns):
    path = write("rows.jsonl", [dict(zip(columns, (PRIVATE, TEXTS["a"]), strict=True))])
    log = reader(path, store, redact=False)
    assert [query.text for query in log.queries] == ["refund to anna@example.org or +49 30 1234567"]
    assert dict(log.report.redacted) == {}
    assert not any("personal data" in line for line in log.report.lines())


def test_queries_that_differ_in_personal_data_alone_are_one(write, store):
    """And its id says nothing of whose they were."""
    rows = [{"query": f"reset the password of {who}@example.org", "chunk_id": id} for who, id in (("anna", "a"), ("ben", "b"))]
    log = judged_from_pairs(write("pairs.csv", rows), store)
    assert [query.text for query in log.queries] == ["reset the password of <email>"]
    assert [judgment.chunk_id for judgment in log.judgments] == ["a", "b"]
    named = judged_from_pairs(write("named.csv", [{"query": "reset the password of <email>", "chunk_id": "a"}]), store)
    assert log.queries[0].id == named.queries[0].id


@pytest.mark.parametrize(
    ("reader", "rows"),
    [
        (judged_from_faq, [{"question": PRIVATE, "answer": "nowhere"}, {"question": "when open", "answer": TEXTS["d"]}]),
        (judged_from_pairs, [{"query": "q", "chunk": "Write to anna@example.org"}, {"query": "when open", "chunk_id": "d"}]),
        (judged_from_pairs, '{"query": "anna@example.org\n{"query": "when open", "chunk_id": "d"}\n'),
        (judged_from_pairs, [{"query": "q", "chunk_id": "a", "grade": "anna@example.org"}, {"query": "when open", "chunk_id": "d"}]),
    ],
)
def test_the_rows_that_are_named_hold_none_either(write, store, reader, rows):
    log = reader(write("rows.jsonl", rows), store)
    assert len(log.report.examples) == 1
    assert "anna" not in "".join(log.report.lines())


def test_the_error_where_nothing_matches_holds_none(write, store):
    with pytest.raises(DataError, match="names a chunk of") as caught:
        judged_from_pairs(write("pairs.jsonl", [{"query": "q", "chunk": "Write to anna@example.org today"}]), store)
    assert "'Write to <email> today'" in caught.value.message


def test_ids_of_chunks_are_left_as_they_are(write):
    """A long number is a chunk's name and nobody's account."""
    id = "900000000000000017"
    store = MemoryStore([SourceRow(id, "Parcels take three days.", np.ones(64, dtype=np.float32))])
    log = judged_from_pairs(write("pairs.jsonl", [{"query": "parcels", "chunk_id": id}]), store)
    assert [judgment.chunk_id for judgment in log.judgments] == [id]
