"""Langfuse and LangSmith: retrievers' documents without ids, and scores for the answer as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from vecmigrate.records import FeedbackKind

from .format_files import approved, export

TEXTS = ["Reset it in the settings.", "Ask the help desk."]
LANGCHAIN = [{"id": None, "metadata": {"source": "a.md"}, "page_content": text, "type": "Document"} for text in TEXTS]
SERIALISED = [
    {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "document", "Document"],
        "kwargs": {"page_content": text, "metadata": {}},
    }
    for text in TEXTS
]


def only(log):
    (event,) = log.events
    return event


def observation(type="RETRIEVER", parent="o1", **more):
    return {
        "id": "o2",
        "trace_id": "t1",
        "project_id": "p",
        "environment": "production",
        "type": type,
        "parent_observation_id": parent,
        "start_time": "2024-05-06 12:00:00.123000",
        "name": "VectorStoreRetriever",
        "input": "reset password",
        "output": json.dumps(LANGCHAIN),
        "user_id": "u3",
        "session_id": "chat-7",
        **more,
    }


def root(**more):
    return observation("CHAIN", "", id="o1", input='{"question": "hey??"}', output='{"answer": "Use the settings [1]."}', **more)


def score(value=1, name="user-feedback", **more):
    return {
        "id": "s1",
        "trace_id": "t1",
        "observation_id": None,
        "name": name,
        "value": value,
        "source": "API",
        "data_type": "NUMERIC",
        "string_value": None,
        **more,
    }


def test_enriched_observations_with_scores(tmp_path):
    log = export(tmp_path, ("observations.jsonl", [root(), observation()]), ("scores.jsonl", [score()]))
    event = only(log)
    assert (event.text, event.user, event.session) == ("reset password", "u3", "chat-7")
    assert event.at == datetime(2024, 5, 6, 12, 0, 0, 123000, tzinfo=UTC)
    assert event.shown == tuple(TEXTS)
    assert approved(log) == [[TEXTS[0]]]
    assert log.report.format == "langfuse"
    assert log.report.notes == {"times had no zone and were taken as UTC": 1}


def test_legacy_observations_take_user_and_answer_from_their_trace(tmp_path):
    bare = {key: value for key, value in observation(parent=None).items() if key not in ("user_id", "session_id")}
    trace = {"id": "t1", "timestamp": "2024-05-06 12:00:00", "user_id": "u9", "session_id": None, "output": "By the desk [2]."}
    log = export(tmp_path, ("observations.csv", [bare]), ("traces.csv", [trace]), ("scores.csv", [score()]))
    assert (only(log).user, approved(log)) == ("u9", [[TEXTS[1]]])


def test_the_api_and_the_ui_write_camel_case(tmp_path):
    rows = [
        {"id": "o1", "traceId": "t1", "type": "SPAN", "parentObservationId": None, "input": "hey", "output": "See [1]."},
        {
            "id": "o2",
            "traceId": "t1",
            "type": "RETRIEVER",
            "parentObservationId": "o1",
            "startTime": "2024-05-06T12:00:00.000Z",
            "input": {"query": "reset password"},
            "output": SERIALISED,
        },
        {"id": "s", "traceId": "t1", "name": "thumbs", "value": 1, "dataType": "BOOLEAN", "stringValue": "True", "source": "ANNOTATION"},
    ]
    log = export(tmp_path, ("export.json", rows))
    assert (only(log).text, only(log).shown, approved(log)) == ("reset password", tuple(TEXTS), [[TEXTS[0]]])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (score(0), []),
        (score(1, "latency"), []),
        (score(1, source="EVAL"), []),
        (score(0, data_type="CATEGORICAL", string_value="positive"), [TEXTS[0]]),
        (score(3, data_type="CATEGORICAL", string_value="meh"), []),
        (score(0, data_type="TEXT", string_value="great stuff"), []),
        (score(1, trace_id="elsewhere"), []),
        (score(1, observation_id="o2"), [TEXTS[0]]),
    ],
)
def test_only_a_users_good_opinion_of_this_answer_counts(tmp_path, given, expected):
    log = export(tmp_path, ("observations.jsonl", [root(), observation()]), ("scores.jsonl", [given]))
    assert approved(log) == [expected]
    assert all(act.kind is FeedbackKind.APPROVAL for act in only(log).feedback)


def test_stars_need_to_be_told_from_where_on_they_are_good(tmp_path):
    tables = ("observations.jsonl", [root(), observation()]), ("scores.jsonl", [score(3, "star-rating")])
    assert approved(export(tmp_path, *tables, min_rating=4)) == [[]]
    assert approved(export(tmp_path, *tables, min_rating=3)) == [[TEXTS[0]]]
    unsaid = export(tmp_path, *tables)
    assert approved(unsaid) == [[TEXTS[0]]]
    assert any("1 ratings of answers are above 1, so they may be stars" in line for line in unsaid.report.lines())


def test_what_is_none_of_langfuses_rows_is_named(tmp_path):
    log = export(tmp_path, ("observations.jsonl", [observation(), {"what": 1}, observation(input="", id="o3")]))
    assert [(problem.line, problem.why) for problem in log.report.problems] == [
        (2, "neither an observation, a score nor a trace"),
        (3, "a retrieval without the text of its query"),
    ]


def run(type="retriever", **more):
    return {
        "id": "r2",
        "name": "VectorStoreRetriever",
        "run_type": type,
        "trace_id": "r1",
        "parent_run_id": "r1",
        "start_time": "2024-05-06T12:00:00.000000",
        "inputs": {"query": "reset password"},
        "outputs": {"documents": LANGCHAIN},
        "extra": {"metadata": {"thread_id": "chat-7", "user_id": "u3"}},
        **more,
    }


def chain(**more):
    return run("chain", id="r1", parent_run_id=None, inputs={"input": "hey"}, outputs={"output": "Use the settings [1]."}, **more)


def feedback(**more):
    return {"id": "f1", "run_id": "r1", "key": "user_score", "score": 1, "value": None, "feedback_source": {"type": "app"}, **more}


def test_runs_with_a_file_of_feedback(tmp_path):
    log = export(tmp_path, ("runs.jsonl", [chain(), run()]), ("feedback.jsonl", [feedback(key="thumbs")]))
    event = only(log)
    assert (event.text, event.user, event.session, event.shown) == ("reset password", "u3", "chat-7", tuple(TEXTS))
    assert (approved(log), log.report.format) == ([[TEXTS[0]]], "langsmith")


def test_the_bulk_exports_columns_are_json_text(tmp_path):
    nested = [{key: json.dumps(value) if isinstance(value, dict) else value for key, value in row.items()} for row in (chain(), run())]
    nested[0]["feedback_stats"] = json.dumps({"user_rating": {"n": 1, "avg": 1.0}, "latency_ok": {"n": 1, "avg": 1.0}})
    log = export(tmp_path, ("runs.csv", nested))
    assert (only(log).user, approved(log)) == ("u3", [[TEXTS[0]]])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (feedback(key="user_feedback"), [TEXTS[0]]),
        (feedback(key="user_feedback", score=0), []),
        (feedback(key="user_feedback", score=None, value="thumbs_up"), [TEXTS[0]]),
        (feedback(key="user_feedback", feedback_source={"type": "model"}), []),
        (feedback(key="correctness"), []),
        (feedback(key="user_feedback", run_id="r7"), []),
        (feedback(key="user_feedback", run_id="r2"), [TEXTS[0]]),
    ],
)
def test_only_people_who_liked_the_answer_count(tmp_path, given, expected):
    assert approved(export(tmp_path, ("runs.jsonl", [chain(), run()]), ("feedback.jsonl", [given]))) == [expected]


def test_the_means_of_a_run_do_not_speak_where_the_feedback_itself_does(tmp_path):
    stats = {"user_feedback": {"n": 2, "avg": 1.0}}
    tables = ("runs.jsonl", [chain(feedback_stats=stats), run()]), ("feedback.jsonl", [feedback(key="user_feedback", score=0)])
    assert approved(export(tmp_path, *tables)) == [[]]


def test_a_run_without_outputs_is_a_search_that_showed_nothing(tmp_path):
    assert only(export(tmp_path, ("runs.jsonl", [run(outputs=None)]))).shown == ()
