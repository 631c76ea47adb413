"""From events to judgments: each rule, and a count for each drop."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from vecmigrate.config import LogSection
from vecmigrate.querylog import JudgmentRules, judge, normalised, resolve
from vecmigrate.querylog.verdicts import graded, weight_of
from vecmigrate.querylog.wording import query_id_of, words
from vecmigrate.records import Feedback, FeedbackKind, Judgment, QueryEvent
from vecmigrate.testing.memory import MemoryStore, SourceRow

CLICK, CITATION, RATING = FeedbackKind.CLICK, FeedbackKind.CITATION, FeedbackKind.RATING
STORE = MemoryStore([SourceRow(id, f"the text of {id}", None) for id in ("d1", "d2", "d3")])
START = datetime(2024, 5, 6, 12, tzinfo=UTC)


def event(text="reset password", *feedback, **more):
    return QueryEvent(more.pop("query_id", "q"), text, feedback=tuple(feedback), **more)


def click(ref="d1"):
    return Feedback(ref, CLICK)


def rating(value, ref="d1"):
    return Feedback(ref, RATING, value)


def judged(*events, rules=None, min_rating=1.0):
    return judge(resolve(events, STORE, LogSection(path="log", min_rating=min_rating)), rules)


def only(log):
    (judgment,) = log.judgments
    return judgment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Reset  my PASSWORD?", "reset my password"),
        ("reset my password", "reset my password"),
        (" reset\tmy\npassword ?!. ", "reset my password"),
        ("ﬁle size", "file size"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("パスワード。", "パスワード"),
        ("C++", "c++"),
        ("what is 'this'", "what is 'this"),
        ("???", "???"),
        ("", ""),
    ],
)
def test_the_wording_is_normalised(text, expected):
    assert normalised(text) == expected


def test_normalising_twice_changes_nothing():
    for text in ("İstanbul?", "ǅ", "ﬃ..", "ẞ ?"):
        assert normalised(normalised(text)) == normalised(text)


def test_words_leave_punctuation_out():
    assert words("what's the e-mail of 日本?") == ("what", "s", "the", "e", "mail", "of", "日本")


def test_one_click_is_one_judgment_of_half_weight():
    log = judged(event("Reset password?", click()))
    id = query_id_of("reset password")
    assert log.judgments == (Judgment(id, "d1", 1.0, 0.5),)
    (query,) = log.queries
    assert (query.id, query.text, query.group, query.at) == (id, "Reset password?", "", None)
    assert query.slices == ("1-2 words", "asked once")


@pytest.mark.parametrize(("votes", "weight"), [(1, 0.5), (2, 0.75), (3, 1.0), (30, 1.0)])
def test_more_people_make_more_weight_up_to_one(votes, weight):
    events = [event("vpn setup", click(), session=f"s{i}") for i in range(votes)]
    assert only(judged(*events)).weight == weight == weight_of(votes)


def test_one_person_has_one_vote():
    again = [event("vpn setup", click(), user="u1", session=f"s{i}") for i in range(5)]
    assert only(judged(*again)).weight == 0.5
    assert only(judged(*again, event("vpn setup", click(), user="u2"))).weight == 0.75


def test_nameless_searches_are_one_vote_each():
    assert only(judged(event("vpn setup", click()), event("vpn setup", click()))).weight == 0.75


def test_wordings_that_differ_in_case_and_punctuation_are_one_query():
    log = judged(event("VPN setup", click("d1")), event("vpn  setup?", click("d2")))
    assert len(log.queries) == 1
    assert [judgment.chunk_id for judgment in log.judgments] == ["d1", "d2"]
    assert log.queries[0].slices == ("1-2 words", "asked again")
    assert log.report.repeated == 1


def test_a_query_shows_its_first_wording_and_stands_at_its_latest_time():
    events = [
        event("vpn setup?", click(), at=START + timedelta(days=2)),
        event("VPN Setup", click(), at=START),
        event("vpn setup", click()),
    ]
    for order in (events, events[::-1]):
        (query,) = judged(*order).queries
        assert (query.text, query.at) == ("VPN Setup", START + timedelta(days=2))


def test_a_time_without_usable_feedback_does_not_count():
    (query,) = judged(event("vpn", click(), at=START), event("vpn", at=START + timedelta(days=9))).queries
    assert query.at == START


@pytest.mark.parametrize(
    ("text", "expected"), [("vpn", "1-2 words"), ("how to vpn", "3-5 words"), ("a b c d e", "3-5 words"), ("a b c d e f", "6+ words")]
)
def test_queries_are_sliced_by_length(text, expected):
    assert judged(event(text, click())).queries[0].slices[0] == expected


def test_a_citation_counts_like_a_click():
    assert only(judged(event("vpn", Feedback("d1", CITATION)))) == Judgment(query_id_of("vpn"), "d1", 1.0, 0.5)
    one_person = event("vpn", Feedback("d1", CITATION), click(), session="s")
    assert only(judged(one_person)).weight == 0.5
    assert only(judged(one_person, event("vpn", click(), session="t"))).weight == 0.75


@pytest.mark.parametrize(
    ("values", "min_rating", "grade", "weight"),
    [
        ([1], 1, 1.0, 1.0),
        ([3], 1, 3.0, 1.0),
        ([4], 4, 1.0, 1.0),
        ([5], 4, 2.0, 1.0),
        ([90], 50, 4.0, 1.0),
        ([0.9], 0.7, 1.0, 1.0),
        ([0], 1, 0.0, 1.0),
        ([-1], 1, 0.0, 1.0),
        ([3], 4, 0.0, 1.0),
        ([5, 5, 1], 4, 2.0, 2 / 3),
        ([5, 1, 1, 1], 4, 0.0, 0.75),
    ],
)
def test_the_majority_of_raters_decides(values, min_rating, grade, weight):
    events = [event("vpn setup", rating(value), session=f"s{i}") for i, value in enumerate(values)]
    log = judged(*events, event("vpn setup", rating(5, "d2")), min_rating=min_rating)
    found = {judgment.chunk_id: judgment for judgment in log.judgments}["d1"]
    assert (found.grade, found.weight) == (grade, pytest.approx(weight))


@pytest.mark.parametrize(("mean", "least", "grade"), [(1, 1, 1), (1.9, 1, 1), (2, 1, 2), (9, 1, 4), (0.7, 0.7, 1)])
def test_grades_rise_by_one_a_point_and_end_at_four(mean, least, grade):
    assert graded(mean, least) == grade


def test_one_rater_who_says_two_things_has_one_voice():
    log = judged(event("vpn", rating(3), session="s"), event("vpn", rating(0), session="s"), event("vpn", rating(3), session="t"))
    assert (only(log).grade, only(log).weight) == (2.0, 1.0)


def test_evenly_split_raters_make_no_judgment():
    log = judged(event("vpn", rating(3), session="s"), event("vpn", rating(0), session="t"), event("vpn", click("d2"), session="u"))
    assert only(log).chunk_id == "d2"
    assert log.report.set_aside == {"raters evenly split, no judgment made": 1}


def test_a_bad_rating_beats_clicks():
    log = judged(event("vpn", rating(0), click()), event("vpn", click(), session="t"), event("vpn", click("d2"), session="t"))
    assert {judgment.chunk_id: judgment.grade for judgment in log.judgments} == {"d1": 0.0, "d2": 1.0}
    assert log.report.set_aside == {"clicked or cited, but rated not relevant: the rating holds": 1}


def test_what_was_shown_and_not_clicked_is_never_judged():
    log = judged(event("vpn", click("d2"), shown=("d1", "d2", "d3")))
    assert only(log).chunk_id == "d2"
    assert log.report.set_aside == {"shown, not judged": 2}


def test_a_query_with_bad_ratings_alone_is_left_out():
    log = judged(event("vpn", rating(0)), event("mail", click()))
    assert [query.text for query in log.queries] == ["mail"]
    assert len(log.judgments) == 1
    assert log.report.dropped_queries == {"only feedback that says not relevant, or that contradicts itself": 1}


@pytest.mark.parametrize(
    ("dropped", "reason"),
    [
        (event("", click()), "no text"),
        (event("?!", click()), "no text"),
        (event("x", click()), "text shorter than 2 characters"),
        (event("x" * 2001, click()), "text longer than 2,000 characters"),
        (event("vpn"), "no feedback: nothing clicked, cited or rated"),
        (event("vpn", click("gone")), "feedback only on what is not in the store"),
    ],
)
def test_every_drop_has_a_reason(dropped, reason):
    log = judged(event("mail", click()), dropped)
    assert [query.text for query in log.queries] == ["mail"]
    assert log.report.dropped_events == {reason: 1}
    assert f"  1 searches left out: {reason}" in log.report.lines()


def test_a_single_character_is_a_word_in_some_scripts():
    assert judged(event("猫", click())).queries[0].text == "猫"


def test_partly_resolved_feedback_is_kept_and_the_rest_counted():
    log = judged(event("vpn", click("d1"), click("gone")))
    assert only(log).chunk_id == "d1"
    assert log.report.set_aside == {"clicked, cited or rated, but not in the store": 1}


def test_a_session_of_too_many_searches_an_hour_is_a_robot():
    fast = [event(f"query number {i}", click(), session="bot", at=START + timedelta(seconds=20 * i)) for i in range(121)]
    slow = [event(f"query number {i}", click(), session="me", at=START + timedelta(minutes=i)) for i in range(121)]
    log = judged(*fast, *slow)
    assert log.report.dropped_events == {"a robot's session": 121}
    assert len(log.queries) == 121


def test_exactly_the_limit_is_still_a_person():
    events = [event(f"query number {i}", click(), session="s", at=START + timedelta(seconds=i)) for i in range(120)]
    assert judged(*events).report.dropped_events == {}


def test_a_session_that_repeats_itself_is_a_robot():
    rules = JudgmentRules(repeats=3)
    assert judged(*[event("ping", click(), session="s")] * 3, rules=rules).report.dropped_events == {}
    log = judged(*[event("ping", click(), session="s")] * 4, event("mail", click(), session="t"), rules=rules)
    assert log.report.dropped_events == {"a robot's session": 4}


def test_people_without_sessions_are_no_robots():
    assert judged(*[event("ping", click())] * 500).report.dropped_events == {}


def test_a_log_that_is_mostly_robots_gets_a_warning():
    log = judged(*[event("ping", click(), user="api")] * 30, event("mail", click()))
    assert log.report.warnings == (
        "30 of 31 searches look like robots'; if session_id or user_id is a service's account, map it to another column",
    )


def test_a_users_own_sessions_keep_him_from_being_a_robot():
    events = [event("weather", click(), user="u", session=f"day {i}") for i in range(100)]
    assert judged(*events).report.dropped_events == {}


def test_the_order_of_the_log_does_not_matter():
    events = [event(f"query {i % 7}", click(f"d{i % 3 + 1}"), session=f"s{i % 5}", at=START + timedelta(hours=i)) for i in range(60)]
    expected = judged(*events)
    random.Random(0).shuffle(events)
    again = judged(*events)
    assert (again.queries, again.judgments) == (expected.queries, expected.judgments)


def test_a_log_that_gives_nothing_is_no_error_but_a_report():
    log = judged(event("vpn"))
    assert (log.queries, log.judgments) == ((), ())
    assert log.report.lines() == [
        "judged 1 searches: 0 distinct queries (0 asked more than once)",
        "  0 judgments: 0 relevant, 0 rated not relevant",
        "  1 searches left out: no feedback: nothing clicked, cited or rated",
    ]


def test_the_warnings_of_the_resolution_are_carried_on():
    assert judged(event("vpn", click("d1"), click("x"), click("y"))).report.warnings == (
        "fewer than half of the references are chunks of the store (1 of 3)",
    )


@pytest.mark.parametrize(
    ("stars", "min_rating", "warned"), [((1, 5), 1.0, True), ((1, 5), 4.0, False), ((0, 1), 1.0, False), ((1, 1), 1.0, False)]
)
def test_stars_that_all_count_as_good_are_warned_of(stars, min_rating, warned):
    found = judged(*(event(f"vpn {s}", rating(s), session=str(i)) for i, s in enumerate(stars)), min_rating=min_rating)
    assert any("count as relevant; say from where on one is good" in w for w in found.report.warnings) is warned
