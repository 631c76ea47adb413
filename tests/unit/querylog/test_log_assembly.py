"""What belongs to one search is brought together, in whatever order it comes."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime

import pytest

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError
from vecmigrate.querylog import read_events
from vecmigrate.records import Feedback, FeedbackKind

CLICK, CITATION, RATING = FeedbackKind.CLICK, FeedbackKind.CITATION, FeedbackKind.RATING


def read(folder, *rows, **settings):
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_events(LogSection(path="log.jsonl", **settings), root=folder)


def query(query_id="q1", text="reset password", **more):
    return {"query_id": query_id, "user_query": text, "query_response_hit_ids": ["d1", "d2", "d3"], "client_id": "c1", **more}


def act(name, ref, query_id="q1", position=None, **attributes):
    place = {} if position is None else {"position": {"ordinal": position}}
    return {
        "action_name": name,
        "query_id": query_id,
        "client_id": "c1",
        "timestamp": "2024-05-06T12:00:09Z",
        "event_attributes": {"object": {"object_id": ref, "object_id_field": "id"}, **place, **attributes},
    }


UBI = (
    query(timestamp="2024-05-06T12:00:00Z"),
    act("click", "d2", position=2),
    act("add_to_cart", "d3", position=3),
    query("q2", "vpn"),
    act("rate", "d1", "q2", rating=4),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7])
def test_ubi_lines_join_in_any_order(tmp_path, order):
    log = read(tmp_path, *(UBI[place] for place in order))
    found = {event.query_id: event for event in log}
    assert set(found) == {"q1", "q2"}
    assert found["q1"].text == "reset password"
    assert set(found["q1"].feedback) == {Feedback("d2", CLICK), Feedback("d3", CLICK)}
    assert found["q1"].shown == ("d1", "d2", "d3")
    assert found["q1"].at == datetime(2024, 5, 6, 12, 0, 0, tzinfo=UTC)
    assert found["q1"].session == "c1"
    assert found["q2"].feedback == (Feedback("d1", RATING, 4.0),)


@pytest.mark.parametrize(
    ("name", "feedback"),
    [
        ("click", Feedback("d1", CLICK)),
        ("click_through", Feedback("d1", CLICK)),
        ("Click-Through", Feedback("d1", CLICK)),
        ("purchase", Feedback("d1", CLICK)),
        ("cite", Feedback("d1", CITATION)),
        ("thumbs_up", Feedback("d1", RATING, 1.0)),
        ("thumbs down", Feedback("d1", RATING, -1.0)),
        ("dislike", Feedback("d1", RATING, -1.0)),
    ],
)
def test_each_kind_of_act_means_something(tmp_path, name, feedback):
    assert read(tmp_path, query(), act(name, "d1")).events[0].feedback == (feedback,)


@pytest.mark.parametrize(
    "attributes",
    [{"rating": 2}, {"value": "2"}, {"object": {"object_id": "d1", "rating": 2}}, {"object": {"object_id": "d1", "grade": 2.0}}],
)
def test_a_rating_may_stand_in_several_places(tmp_path, attributes):
    line = act("rate", "d1")
    line["event_attributes"] |= attributes
    assert read(tmp_path, query(), line).events[0].feedback == (Feedback("d1", RATING, 2.0),)


def test_a_rating_without_a_number_is_a_bad_line(tmp_path):
    log = read(tmp_path, query(), act("rate", "d1"))
    assert [problem.why for problem in log.report.problems] == ["None is not a rating"]


def test_acts_that_say_nothing_are_counted_by_name(tmp_path):
    log = read(tmp_path, query(), act("scroll", "d1"), act("scroll", "d2"), act("logout", ""))
    assert log.events[0].feedback == ()
    assert log.report.notes == {
        "events of the kind 'scroll' say nothing about relevance": 2,
        "events of the kind 'logout' say nothing about relevance": 1,
    }


def test_impressions_tell_what_was_shown_where_the_query_line_does_not(tmp_path):
    shown = [act("impression", "d7", position=2), act("impression", "d5", position=1)]
    assert read(tmp_path, query(query_response_hit_ids=None), *shown).events[0].shown == ("d5", "d7")
    assert read(tmp_path, query(), *shown).events[0].shown == ("d1", "d2", "d3")


def test_event_attributes_may_be_json_text_or_flat_columns(tmp_path):
    nested = act("click", "d1")
    text = nested | {"event_attributes": json.dumps(nested["event_attributes"])}
    flat = {"action_name": "click", "query_id": "q1", "event_attributes.object.object_id": "d2"}
    short = {"action_name": "click", "query_id": "q1", "object_id": "d3"}
    (event,) = read(tmp_path, query(), text, flat, short).events
    assert [feedback.ref for feedback in event.feedback] == ["d1", "d2", "d3"]


def test_an_act_on_a_query_that_the_log_lacks_is_counted(tmp_path):
    log = read(tmp_path, query(), act("click", "d1"), act("click", "d1", "q9"))
    assert len(log) == 1
    assert log.report.notes == {"events belong to no query of the log": 1}


def test_acts_alone_are_no_log(tmp_path):
    with pytest.raises(DataError, match="no column 'user_query'"):
        read(tmp_path, act("click", "d1"))


def test_a_joined_export_has_the_query_on_every_act(tmp_path):
    (event,) = read(tmp_path, query() | act("click", "d1"), query() | act("click", "d2")).events
    assert [feedback.ref for feedback in event.feedback] == ["d1", "d2"]


def test_rows_of_one_query_id_are_one_search(tmp_path):
    log = read(
        tmp_path,
        query(clicked_ids="d1", timestamp="2024-05-06T12:05:00Z"),
        query(clicked_ids="d3", timestamp="2024-05-06T12:00:00Z"),
        query(clicked_ids="d1"),
    )
    (event,) = log.events
    assert event.feedback == (Feedback("d1", CLICK), Feedback("d3", CLICK))
    assert event.at == datetime(2024, 5, 6, 12, 0, tzinfo=UTC)


def test_only_the_first_row_of_a_query_need_have_its_text(tmp_path):
    log = read(tmp_path, {"query_id": 1, "clicked_ids": "d2"}, {"query_id": 1, "user_query": "vpn", "clicked_ids": "d1"})
    assert {feedback.ref for feedback in log.events[0].feedback} == {"d1", "d2"}
    assert log.report.notes == {}


def test_one_query_id_on_two_texts_is_two_searches(tmp_path):
    log = read(tmp_path, query(clicked_ids="d1"), query(text="vpn", clicked_ids="d2"))
    assert [(event.text, event.feedback[0].ref) for event in log] == [("reset password", "d1"), ("vpn", "d2")]


def test_one_query_id_in_two_sessions_is_two_searches(tmp_path):
    log = read(tmp_path, query(session_id="s1", clicked_ids="d1"), query(session_id="s2", clicked_ids="d1"))
    assert [event.session for event in log] == ["s1", "s2"]


def test_an_act_that_fits_two_searches_is_left_out_unless_its_session_tells(tmp_path):
    two = (query(session_id="s1"), query(session_id="s2"))
    told = read(tmp_path, *two, act("click", "d1") | {"session_id": "s2"})
    assert [len(event.feedback) for event in told] == [0, 1]
    untold = read(tmp_path, *two, act("click", "d1"))
    assert [len(event.feedback) for event in untold] == [0, 0]
    assert untold.report.notes == {"events fit more than one query": 1}


def test_without_query_ids_each_row_is_a_search_but_for_the_same_moment(tmp_path):
    row = {"user_query": "vpn", "session_id": "s1", "clicked_ids": "d1"}
    later = row | {"timestamp": 1714996800, "clicked_ids": "d2"}
    log = read(tmp_path, row, row, later, later | {"clicked_ids": "d3"})
    assert [(event.query_id, [f.ref for f in event.feedback]) for event in log] == [
        ("line-1", ["d1"]),
        ("line-2", ["d1"]),
        ("line-3", ["d2", "d3"]),
    ]


def test_the_same_rating_logged_twice_is_one_and_another_value_is_another(tmp_path):
    log = read(tmp_path, query(ratings={"d1": 3}), query(ratings={"d1": 3}), query(ratings={"d1": 0}))
    assert log.events[0].feedback == (Feedback("d1", RATING, 3.0), Feedback("d1", RATING, 0.0))


def test_a_rating_per_row_rates_the_result_of_the_row(tmp_path):
    log = read(
        tmp_path,
        {"query": "vpn", "docid": "d1", "grades": [3, 2]},
        columns={"user_query": "query", "query_response_hit_ids": "docid", "ratings": "grades"},
    )
    assert log.events[0].feedback == (Feedback("d1", RATING, 2.5),)


def test_texts_as_references_stay_whole_when_the_log_resolves_by_text(tmp_path):
    log = read(tmp_path, {"user_query": "vpn", "clicked_ids": "Open it, then log in."}, resolve_by="text")
    assert [feedback.ref for feedback in log.events[0].feedback] == ["Open it, then log in."]


def test_a_bad_line_leaves_nothing_behind(tmp_path):
    log = read(tmp_path, query(clicked_ids="d1"), query(clicked_ids="d2", ratings={"d3": "great"}))
    assert [feedback.ref for feedback in log.events[0].feedback] == ["d1"]
