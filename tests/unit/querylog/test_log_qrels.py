"""Judgments that people have already made, from files."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from vecmigrate.errors import DataError
from vecmigrate.querylog import judged_from_files
from vecmigrate.records import Judgment, Query


@pytest.fixture
def files(tmp_path):
    def write(queries, qrels, **options):
        text = queries if isinstance(queries, str) else "".join(json.dumps(query) + "\n" for query in queries)
        (tmp_path / "queries.jsonl").write_text(text, encoding="utf-8")
        (tmp_path / "qrels.tsv").write_bytes(qrels.encode())
        return judged_from_files(tmp_path / "queries.jsonl", tmp_path / "qrels.tsv", **options)

    return write


QUERIES = [{"id": "q1", "text": "how to reset my password"}, {"id": "q2", "text": "vpn"}]


def test_queries_keep_their_ids_and_grades(files):
    log = files(QUERIES, "qid\tdocid\tgrade\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\n")
    assert log.queries == (
        Query("q1", "how to reset my password", slices=("3-5 words",)),
        Query("q2", "vpn", slices=("1-2 words",)),
    )
    assert log.judgments == (Judgment("q1", "d1", 2.0), Judgment("q1", "d2", 0.0), Judgment("q2", "d3", 1.0))
    assert (log.report.queries, log.report.judgments, log.report.positives) == (2, 3, 2)


@pytest.mark.parametrize(
    "qrels",
    [
        "q1\td1\t1\nq2\td2\t1\n",
        "q1 d1 1\nq2 d2 1\n",
        "q1 0 d1 1\nq2 0 d2 1\n",
        "q1\t0\td1\t1\r\nq2\t0\td2\t1\r\n",
        "\ufeffquery-id\tcorpus-id\tscore\nq1\td1\t1\n\nq2\td2\t1",
    ],
)
def test_three_columns_and_trecs_four_are_read_with_and_without_a_header(files, qrels):
    log = files(QUERIES, qrels)
    assert [(judgment.query_id, judgment.chunk_id) for judgment in log.judgments] == [("q1", "d1"), ("q2", "d2")]
    assert log.report.dropped_queries == {}


@pytest.mark.parametrize("key", ["timestamp", "created", "created_at", "date"])
def test_a_time_is_read_where_there_is_one(files, key):
    log = files([QUERIES[0] | {key: "2017-05-31T21:33:27.031Z"}], "q1 d1 1\n")
    assert log.queries[0].at == datetime(2017, 5, 31, 21, 33, 27, 31000, tzinfo=UTC)


def test_ids_with_spaces_survive_in_tab_separated_files(files):
    log = files([{"_id": "q 1", "query": "vpn"}], "q 1\td 1\t1\n")
    assert log.judgments == (Judgment("q 1", "d 1", 1.0),)


def test_what_cannot_be_used_is_counted(files):
    queries = "".join(json.dumps(query) + "\n" for query in [*QUERIES, {"id": "q3", "text": "mail"}, {"id": "q4"}]) + "{broken\n"
    log = files(queries, "qid\tdocid\tgrade\nq1\td1\t1\nq2\td1\t0\nq9\td1\t1\nq1\td2\tgood\nq1\tonly two\nq1\td2\t1\t9\t9\n")
    assert [query.id for query in log.queries] == ["q1"]
    assert log.report.dropped_queries == {
        "lines of the queries that could not be read": 2,
        "judgments of queries that are not in the file": 1,
        "lines of the qrels that could not be read": 3,
        "queries without a relevant chunk": 2,
    }


def test_a_negative_grade_is_not_relevant(files):
    log = files(QUERIES, "q1 d1 1\nq1 d2 -1\n")
    assert [judgment.grade for judgment in log.judgments] == [1.0, 0.0]


def test_a_pair_graded_twice_was_judged_by_two(files):
    assert files(QUERIES, "q1 d1 1\nq1 d1 3\n").judgments == (Judgment("q1", "d1", 2.0),)
    log = files(QUERIES, "q1 d1 1\nq1 d1 1\nq1 d1 0\nq2 d2 1\nq2 d3 1\nq2 d3 0\n")
    assert log.judgments == (Judgment("q1", "d1", pytest.approx(2 / 3), pytest.approx(2 / 3)), Judgment("q2", "d2", 1.0))
    assert log.report.set_aside["raters evenly split, no judgment made"] == 1


def test_the_least_grade_that_counts_as_relevant_can_be_named(files, tmp_path):
    files(QUERIES, "q1 d1 3\nq1 d2 2\nq2 d1 2\n")
    log = judged_from_files(tmp_path / "queries.jsonl", tmp_path / "qrels.tsv", min_grade=3)
    assert log.judgments == (Judgment("q1", "d1", 1.0), Judgment("q1", "d2", 0.0))


def test_only_the_first_line_with_text_may_be_a_header(files):
    log = files(QUERIES, "\nqid iter docid rel\nq1 0 d1 1\nqid iter docid rel\n")
    assert log.report.dropped_queries["lines of the qrels that could not be read"] == 1


def test_files_that_do_not_join_are_refused(files):
    with pytest.raises(DataError, match=r"no query of .*queries\.jsonl has a relevant chunk in .*qrels\.tsv"):
        files(QUERIES, "x1 d1 1\n")


def test_missing_files_are_named(tmp_path, files):
    files(QUERIES, "q1 d1 1\n")
    with pytest.raises(DataError, match=r"nothing\.tsv cannot be read: No such file"):
        judged_from_files(tmp_path / "queries.jsonl", tmp_path / "nothing.tsv")
    with pytest.raises(DataError, match=r"nothing\.jsonl does not exist"):
        judged_from_files(tmp_path / "nothing.jsonl", tmp_path / "qrels.tsv")


def test_judged_queries_lose_personal_data_and_keep_their_ids(files):
    asked = [{"id": "q1", "text": "where is the parcel of anna@example.org"}, {"id": "q2", "text": "vpn to 10.20.30.40"}]
    log = files(asked, "q1\td1\t1\nq2\td2\t1\n")
    assert [(query.id, query.text) for query in log.queries] == [("q1", "where is the parcel of <email>"), ("q2", "vpn to <ip>")]
    assert "  personal data replaced in the texts of queries: 1 email, 1 ip" in log.report.lines()
    alone = files([*asked, {"id": "q3", "text": "anna@example.org"}], "q1\td1\t1\nq3\td3\t1\n")
    assert [query.id for query in alone.queries] == ["q1"]
    kept = files(asked, "q1\td1\t1\nq2\td2\t1\n", redact=False)
    assert [query.text for query in kept.queries] == [query["text"] for query in asked]
    assert dict(kept.report.redacted) == {}
