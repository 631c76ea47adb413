"""Reading a log from a file or a table: every source, and every kind of broken line."""

from __future__ import annotations

import codecs
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError, UsageError
from vecmigrate.querylog import read_events, rows
from vecmigrate.records import Feedback, FeedbackKind, QueryEvent

CLICK, CITATION, RATING = FeedbackKind.CLICK, FeedbackKind.CITATION, FeedbackKind.RATING
GOOD = {"user_query": "reset password", "query_id": "q1", "clicked_ids": ["d1"]}


def read(folder, content, name="log.jsonl", **settings):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return read_events(LogSection(path=name, **settings), root=folder)


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def problems(log):
    return [(problem.line, problem.why) for problem in log.report.problems]


def test_a_flattened_row_carries_everything(tmp_path):
    row = {
        "query_id": "q1",
        "user_query": "reset password",
        "timestamp": "2024-05-06T12:00:00Z",
        "session_id": "s1",
        "user_id": 7,
        "query_response_hit_ids": ["d3", "d1", "d2"],
        "clicked_ids": ["d1"],
        "cited_ids": ["d2"],
        "ratings": {"d3": 0},
    }
    log = read(tmp_path, jsonl(row))
    assert log.events == (
        QueryEvent(
            query_id="q1",
            text="reset password",
            at=datetime(2024, 5, 6, 12, tzinfo=UTC),
            session="s1",
            user="7",
            shown=("d3", "d1", "d2"),
            feedback=(Feedback("d1", CLICK), Feedback("d2", CITATION), Feedback("d3", RATING, 0.0)),
        ),
    )
    assert (len(log), list(log)) == (1, list(log.events))
    assert log.report.lines() == ["read the query log log.jsonl: 1 rows, 1 searches"]


def test_csv_says_the_same_as_jsonl(tmp_path):
    text = (
        "query_id,user_query,timestamp,query_response_hit_ids,clicked_ids,ratings\r\n"
        'q1,"reset, please",2024-05-06 12:00:00,"d1,d2",d1,"{""d2"": 3}"\r\n'
        "\r\n"
        'q2,"two\nlines",,[],"{d4,d5}",\r\n'
    )
    first, second = read(tmp_path, text, "log.csv").events
    assert first.text == "reset, please"
    assert first.shown == ("d1", "d2")
    assert first.feedback == (Feedback("d1", CLICK), Feedback("d2", RATING, 3.0))
    assert (second.text, second.at, second.shown) == ("two\nlines", None, ())
    assert second.feedback == (Feedback("d4", CLICK), Feedback("d5", CLICK))


@pytest.mark.parametrize(
    ("name", "delimiter"), [("log.csv", ";"), ("log.csv", "\t"), ("log.csv", "|"), ("log.tsv", "\t"), ("log.txt", ","), ("LOG.CSV", ",")]
)
def test_the_delimiter_is_the_headers(tmp_path, name, delimiter):
    text = "user_query,clicked_ids\nreset password,d1\n".replace(",", delimiter)
    (event,) = read(tmp_path, text, name).events
    assert (event.text, event.feedback) == ("reset password", (Feedback("d1", CLICK),))


def parquet(path, columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)


def test_parquet_keeps_lists_and_nanosecond_times(tmp_path):
    import pyarrow as pa

    nanoseconds = pa.array([1714996800123456789, None], pa.timestamp("ns", tz="Europe/Berlin"))
    parquet(
        tmp_path / "log.parquet",
        {"user_query": ["reset password", "vpn"], "timestamp": nanoseconds, "clicked_ids": [["d1", "d2"], None], "query_id": [1, 2]},
    )
    first, second = read_events(LogSection(path="log.parquet"), root=tmp_path).events
    assert first.at == datetime(2024, 5, 6, 12, 0, 0, 123456, tzinfo=UTC)
    assert first.feedback == (Feedback("d1", CLICK), Feedback("d2", CLICK))
    assert (second.query_id, second.at, second.feedback) == ("2", None, ())


def test_a_broken_parquet_file_is_named(tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"PAR1 but then no more")
    with pytest.raises(DataError, match=r"log\.parquet is not readable as Parquet after row 0"):
        read_events(LogSection(path="log.parquet"), root=tmp_path)


class Table:
    """A store's way of reading rows, over rows that are there already."""

    def __init__(self, *rows):
        self.rows = rows
        self.asked = []

    def read_rows(self, relation, *, batch_size=1000):
        self.asked.append(relation)
        yield from self.rows


@pytest.mark.parametrize("source", [{"table": "public.search_log"}, {"sql": "select * from search_log"}])
def test_a_table_or_sql_is_read_through_the_store(tmp_path, source):
    table = Table({"user_query": "vpn", "query_id": 5, "clicked_ids": ["d1"], "timestamp": datetime(2024, 5, 6, 12, tzinfo=UTC)})
    (event,) = read_events(LogSection(**source), root=tmp_path, rows=table).events
    assert (event.query_id, event.text, event.feedback) == ("5", "vpn", (Feedback("d1", CLICK),))
    assert table.asked == list(source.values())


def test_an_empty_table_is_called_by_its_name(tmp_path):
    with pytest.raises(DataError, match=r"the query log table public\.search_log is empty"):
        read_events(LogSection(table="public.search_log"), root=tmp_path, rows=Table())


def test_a_table_needs_a_store_that_reads_rows(tmp_path):
    with pytest.raises(UsageError, match="table needs a store that can read tables") as caught:
        read_events(LogSection(table="search_log"), root=tmp_path)
    assert "export the log to JSONL" in caught.value.hint


def test_no_source_and_two_sources_are_refused(tmp_path):
    with pytest.raises(UsageError, match="names no log"):
        read_events(LogSection(), root=tmp_path)
    with pytest.raises(UsageError, match="names both path and table"):
        read_events(LogSection(path="a.jsonl", table="b"), root=tmp_path)


def test_columns_are_remapped(tmp_path):
    log = read(
        tmp_path,
        jsonl({"q": "vpn", "hit": {"doc": "d1"}, "when": 1714996800}),
        columns={"user_query": "q", "clicked_ids": "hit.doc", "timestamp": "when"},
    )
    (event,) = log.events
    assert (event.text, event.feedback[0].ref, event.at) == ("vpn", "d1", datetime(2024, 5, 6, 12, tzinfo=UTC))


def test_a_dotted_column_name_that_is_there_is_taken_as_it_stands(tmp_path):
    log = read(tmp_path, "q.text,hit\nvpn,d1\n", "log.csv", columns={"user_query": "q.text", "clicked_ids": "hit"})
    assert log.events[0].text == "vpn"


def test_a_path_leads_into_json_text(tmp_path):
    log = read(tmp_path, jsonl({"user_query": "vpn", "meta": '{"clicked": "d1"}'}), columns={"clicked_ids": "meta.clicked"})
    assert log.events[0].feedback == (Feedback("d1", CLICK),)


# What is wrong with a whole log.


@pytest.mark.parametrize("content", ["", "\n\n  \n", "\ufeff"])
@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_an_empty_file_says_so(tmp_path, content, name):
    with pytest.raises(DataError, match=r"the query log log\.\w+ is empty"):
        read(tmp_path, content, name)


def test_a_csv_of_a_header_alone_is_empty(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path, "user_query,clicked_ids\n", "log.csv")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl does not exist"):
        read_events(LogSection(path="nowhere.jsonl"), root=tmp_path)
    (tmp_path / "logs").mkdir()
    with pytest.raises(DataError, match="logs cannot be read: Is a directory"):
        read_events(LogSection(path="logs"), root=tmp_path)


def test_a_missing_query_column_names_what_is_there_and_the_line_to_write(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, jsonl({"question": "vpn", "clicked_ids": ["d1"], "lang": "en"}))
    assert (
        caught.value.message
        == "the query log log.jsonl has no column 'user_query', the text of the search; it has: question, clicked_ids, lang"
    )
    assert caught.value.hint == 'under [log.columns] write: user_query = "question"'


def test_a_missing_column_without_a_likely_name_leaves_the_choice_open(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, jsonl({"blah": "vpn", "clicked_ids": ["d1"]}))
    assert caught.value.hint == 'under [log.columns] write: user_query = "<one of these columns>"'


def test_a_mapped_column_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "query,docid\nvpn,d1\n", "log.csv", columns={"user_query": "query", "clicked_ids": "doc"})
    assert "has no column 'doc', which [log.columns] names for clicked_ids; it has: query, docid" in caught.value.message
    assert caught.value.hint == 'under [log.columns] write: clicked_ids = "docid"'


def test_a_log_that_says_nothing_of_what_was_right_is_refused(tmp_path):
    with pytest.raises(DataError, match="none of the columns clicked_ids, cited_ids, approved_ids, ratings") as caught:
        read(tmp_path, jsonl({"user_query": "vpn", "clicks": ["d1"]}))
    assert caught.value.hint == 'under [log.columns] write: clicked_ids = "clicks"'


def test_feedback_on_some_lines_is_enough(tmp_path):
    log = read(tmp_path, jsonl({"user_query": "vpn"}, {"user_query": "mail", "clicked_ids": "d1"}))
    assert [len(event.feedback) for event in log] == [0, 1]


def test_a_log_where_nothing_can_be_read_shows_the_first_reason(tmp_path):
    with pytest.raises(DataError, match=r"nothing in the query log log.jsonl can be read: 2 rows; line 1: not JSON: Expecting"):
        read(tmp_path, "what\never\n")


@pytest.mark.parametrize("indent", [None, 1])
def test_one_large_json_array_is_read_as_its_elements(tmp_path, indent):
    log = read(tmp_path, json.dumps([GOOD, 7, {**GOOD, "query_id": "q2"}], indent=indent), "log.json")
    assert [event.query_id for event in log] == ["q1", "q2"]
    assert [why for _, why in problems(log)] == ["a JSON number, expected an object"]


def test_a_broken_element_of_an_array_costs_itself_only(tmp_path):
    text = '[\n  {"user_query": "vpn", "clicked_ids": "d1"},\n  {"user_query": oops, "x": [\n    {"a": 1}]},\n  {"user_query": "mail", "clicked_ids": "d2"}\n]'
    log = read(tmp_path, text, "log.json")
    assert [event.text for event in log] == ["vpn", "mail"]
    assert problems(log) == [(3, "not JSON: Expecting value")]


def test_an_array_larger_than_a_block_is_read_whole(tmp_path):
    rows = [{"query_id": f"q{i}", "user_query": "x" * 997 + " é", "clicked_ids": ["d1"]} for i in range(2500)]
    log = read(tmp_path, json.dumps(rows, indent=2, ensure_ascii=False), "log.json")
    assert (len(log), log.events[-1].query_id, log.report.unreadable) == (2500, "q2499", 0)


def test_an_array_on_a_line_of_its_own_is_a_line_that_cannot_be_read(tmp_path):
    log = read(tmp_path, "[]\n" + jsonl(GOOD))
    assert (len(log), log.report.rows) == (1, 2)
    assert problems(log) == [(1, "a JSON array, expected an object")]


def test_an_object_over_many_lines_is_one_row(tmp_path):
    assert [event.query_id for event in read(tmp_path, json.dumps(GOOD, indent=2), "log.json")] == ["q1"]


def test_a_page_of_an_api_gives_its_rows(tmp_path):
    page = {"data": [GOOD, {**GOOD, "query_id": "q2"}], "meta": {"page": 1}}
    assert len(read(tmp_path, json.dumps(page, indent=2), "log.json")) == 2


def test_an_array_that_is_cut_off_gives_what_is_whole(tmp_path):
    log = read(tmp_path, json.dumps([GOOD, GOOD], indent=1)[:-30], "log.json")
    assert len(log) == 1
    assert log.report.unreadable == 1


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE])
def test_utf_16_is_named_with_the_way_out(tmp_path, mark):
    with pytest.raises(DataError, match="not UTF-8 but UTF-16") as caught:
        read(tmp_path, mark + jsonl(GOOD).encode("utf-16-le"))
    assert "iconv" in caught.value.hint


def test_a_compressed_file_is_named_with_the_way_out(tmp_path):
    with pytest.raises(DataError, match="is compressed"):
        read(tmp_path, b"\x1f\x8b\x08\x00rest", "log.jsonl")


# What is wrong with one line.


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{broken", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ('{"user_query": "cut o', "not JSON: Unterminated string starting at at column 16"),
        ("[1, 2]", "a JSON array, expected an object"),
        ('"text"', "a JSON string, expected an object"),
        ("17", "a JSON number, expected an object"),
        ("null", "a JSON null, expected an object"),
        ("[" * 100_000, "not JSON that can be read: too deep, or a number too long"),
        ('{"user_query": %s}' % ("9" * 5000), "not JSON that can be read: too deep, or a number too long"),
        ('{"clicked_ids": ["d1"]}', "neither user_query nor query_id"),
        ('{"user_query": ["a"]}', "user_query is a list, expected text"),
        ('{"user_query": true}', "user_query is True, expected text"),
        ('{"user_query": "a", "clicked_ids": {"d1": 3}}', "clicked_ids: expected a list of ids, not {'d1': 3}"),
        ('{"user_query": "a", "ratings": {"d1": "good"}}', "ratings: 'good' is not a rating"),
        ('{"user_query": "a", "ratings": "{cut"}', "ratings: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ('{"user_query": "a", "query_id": true}', "True is not an id"),
        ('{"query_id": "q1", "action_name": "click"}', "a click without event_attributes.object.object_id"),
        ('{"action_name": "click", "object_id": "d1"}', "neither user_query nor query_id"),
    ],
)
def test_a_bad_line_is_reported_and_the_rest_is_read(tmp_path, line, why):
    log = read(tmp_path, jsonl(GOOD) + line + "\n" + jsonl({**GOOD, "query_id": "q2"}))
    assert [event.query_id for event in log] == ["q1", "q2"]
    assert problems(log) == [(2, why)]
    assert (log.report.rows, log.report.unreadable) == (3, 1)


def test_all_bad_lines_are_counted_and_the_first_few_shown(tmp_path):
    log = read(tmp_path, "{\n" * 12 + jsonl(GOOD))
    assert log.report.unreadable == 12
    assert [line for line, _ in problems(log)] == [1, 2, 3, 4, 5]
    assert "    … and 7 more" in log.report.lines()


def test_bom_crlf_and_blank_lines_are_no_problem(tmp_path):
    log = read(tmp_path, "\ufeff" + jsonl(GOOD).replace("\n", "\r\n") + "\r\n\r\n" + json.dumps({**GOOD, "query_id": "q2"}))
    assert [event.query_id for event in log] == ["q1", "q2"]
    assert log.report.unreadable == 0


def test_invalid_utf_8_and_nul_bytes_are_mended_and_counted(tmp_path):
    log = read(tmp_path, b'{"user_query": "caf\xe9", "clicked_ids": ["d\x001"]}\n')
    (event,) = log.events
    assert (event.text, event.feedback[0].ref) == ("caf\ufffd", "d1")
    assert log.report.lines()[1:] == [
        "  1 lines held NUL bytes, which were removed",
        "  1 lines held bytes that are not UTF-8, which were replaced",
    ]


def test_escaped_nul_and_lone_surrogates_leave_the_texts(tmp_path):
    (event,) = read(tmp_path, '{"user_query": "a\\u0000b\\ud800", "clicked_ids": ["d\\u00001"]}\n').events
    assert (event.text, event.feedback[0].ref) == ("ab\ufffd", "d1")


def test_a_huge_line_is_passed_over_without_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_LINE", 2**20)
    huge = json.dumps({"user_query": "x" * (3 * 2**20)})
    log = read(tmp_path, jsonl(GOOD) + huge + "\n" + jsonl({**GOOD, "query_id": "q2"}))
    assert [event.query_id for event in log] == ["q1", "q2"]
    assert problems(log) == [(2, "longer than 1 MiB")]


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path):
    lines = ["user_query,clicked_ids", 'vpn,"d1', *(f"query {i},d{i}" for i in range(300))]
    log = read(tmp_path, "\n".join(lines), "log.csv")
    assert len(log) == 300
    assert problems(log) == [(2, "quotes that do not match")]


def test_a_quote_that_pairs_with_a_later_one_costs_one_line(tmp_path):
    log = read(tmp_path, 'user_query,clicked_ids\n"vpn,d1\nmail,d2\n"calendar, shared",d3\nlast,d4\n', "log.csv")
    assert [event.text for event in log] == ["mail", "calendar, shared", "last"]
    assert problems(log) == [(2, "quotes that do not match")]


def test_an_inch_mark_inside_a_field_is_text(tmp_path):
    log = read(tmp_path, 'user_query,clicked_ids\n5" pipe,d1\nvpn,d2\n', "log.csv")
    assert [event.text for event in log] == ['5" pipe', "vpn"]
    assert log.report.unreadable == 0


def test_too_many_fields_are_a_bad_line_and_too_few_are_empty(tmp_path):
    log = read(tmp_path, "user_query,clicked_ids\na,b,c,d\nvpn\nmail,d2\n", "log.csv")
    assert [(event.text, len(event.feedback)) for event in log] == [("vpn", 0), ("mail", 1)]
    assert problems(log) == [(2, "4 fields under a header of 2")]


def test_a_csv_field_longer_than_the_csv_modules_own_limit_is_read(tmp_path):
    log = read(tmp_path, f"user_query,clicked_ids\n{'x' * 200_000},d1\n", "log.csv")
    assert len(log.events[0].text) == 200_000


def test_a_bad_time_keeps_its_row_and_is_counted(tmp_path):
    log = read(tmp_path, jsonl({**GOOD, "timestamp": "soon"}, {**GOOD, "query_id": "q2", "timestamp": "2024-05-06 12:00:00"}))
    assert [event.at for event in log] == [None, datetime(2024, 5, 6, 12, tzinfo=UTC)]
    assert log.report.notes == {
        "times could not be read; their rows are kept without one": 1,
        "times had no zone and were taken as UTC": 1,
    }


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_whatever_stop_the_good_lines(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("junk")
    body = b"\n".join([b"", *(b"~" + line.replace(b"\n", b"") for line in junk), jsonl(GOOD).encode()])
    assert [event.query_id for event in read(folder, body)] == ["q1"]


@given(st.lists(st.text(alphabet='a",\n;', max_size=12), max_size=8))
def test_no_quotes_whatever_stop_a_csv(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("junk")
    body = "user_query,query_id,clicked_ids\n" + "\n".join(junk) + "\n" * 2 + "vpn,q9,d1\n"
    assert [event.query_id for event in read(folder, body, "log.csv")][-1] == "q9"
