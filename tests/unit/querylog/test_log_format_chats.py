"""Open WebUI and Dify: what a chat's answer was made from, and the thumbs under it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from vecmigrate.config import LogSection
from vecmigrate.querylog import judge, resolve
from vecmigrate.testing.memory import MemoryStore, SourceRow

from .format_files import approved, export

TEXTS = ["Reset it in the settings.", "Ask the help desk.", "A badge costs 5 EUR."]


def only(log):
    (event,) = log.events
    return event


def source(file, *texts, type="file"):
    return {
        "source": {"type": type, "id": file, "name": f"{file}.md"},
        "document": list(texts),
        "metadata": [{"source": f"{file}.md", "file_id": file, "start_index": 0} for _ in texts],
        "distances": [0.8 for _ in texts],
    }


def answer(content="In the settings [1].", sources=None, **more):
    found = [source("f1", TEXTS[0]), source("f2", *TEXTS[1:])] if sources is None else sources
    return {
        "id": "m2",
        "parentId": "m1",
        "childrenIds": [],
        "role": "assistant",
        "content": content,
        "sources": found,
        "timestamp": 1714996800,
    } | more


QUESTION = {"id": "m1", "parentId": None, "childrenIds": ["m2"], "role": "user", "content": "reset password", "timestamp": 1714996790}


def chat(*messages, tree=False, **more):
    held = {"history": {"messages": {m["id"]: m for m in messages}, "currentId": "m2"}} if tree else {}
    return {"id": "c1", "user_id": "u3", "title": "Password", "chat": {"messages": [] if tree else list(messages), **held}} | more


def thumb(rating=1, message="m2", **more):
    return {
        "id": "f1",
        "user_id": "u3",
        "version": 0,
        "type": "rating",
        "data": {"rating": rating, "model_id": "m", "sibling_model_ids": None, "reason": "", "comment": ""},
        "meta": {"model_id": "m", "message_id": message, "chat_id": "c1", "message_index": 2},
    } | more


@pytest.mark.parametrize("tree", [False, True])
def test_an_exported_chat(tmp_path, tree):
    log = export(tmp_path, ("chats.json", [chat(QUESTION, answer(annotation={"rating": 1}), tree=tree)]))
    event = only(log)
    assert (event.text, event.session, event.user) == ("reset password", "c1", "u3")
    assert event.at == datetime(2024, 5, 6, 12, tzinfo=UTC)
    assert event.shown == tuple(TEXTS)
    assert approved(log) == [[TEXTS[0]]]
    assert log.report.format == "open-webui"


def test_chunks_are_found_by_their_text_alone(tmp_path):
    log = export(tmp_path, ("chats.json", [chat(QUESTION, answer(annotation={"rating": 1}))]))
    store = MemoryStore([SourceRow(f"c{i}", text, None) for i, text in enumerate(TEXTS)])
    judged = judge(resolve(log, store, LogSection(path="log")))
    assert [(judgment.chunk_id, judgment.weight) for judgment in judged.judgments] == [("c0", 0.2)]


def test_a_marker_numbers_files_so_one_with_two_chunks_names_neither(tmp_path):
    log = export(tmp_path, ("chats.json", [chat(QUESTION, answer("At the desk [2].", annotation={"rating": 1}))]))
    assert approved(log) == [[]]


def test_web_pages_are_numbered_and_are_no_chunks(tmp_path):
    sources = [source("w", "a web page", type="web_search"), source("f1", TEXTS[0]), source("f2", TEXTS[1])]
    log = export(tmp_path, ("chats.json", [chat(QUESTION, answer("So [2].", sources, annotation={"rating": 1}))]))
    assert only(log).shown == (TEXTS[0], TEXTS[1])
    assert approved(log) == [[TEXTS[0]]]


@pytest.mark.parametrize(("rating", "noted"), [(-1, 1), (0, 0), (None, 0)])
def test_no_thumb_and_a_thumb_down_make_no_label(tmp_path, rating, noted):
    log = export(tmp_path, ("chats.json", [chat(QUESTION, answer(annotation={"rating": rating}))]))
    assert only(log).feedback == ()
    assert log.report.notes.get("answers were rated bad, which says nothing about a single chunk", 0) == noted


@pytest.mark.parametrize(
    ("queries", "text"),
    [(["password reset steps"], "password reset steps"), (["a one", "another"], "reset password"), ([], "reset password")],
)
def test_the_one_rewritten_query_is_what_was_searched_for(tmp_path, queries, text):
    status = [{"action": "knowledge_search", "done": False}, {"action": "queries_generated", "queries": queries, "done": False}]
    assert only(export(tmp_path, ("chats.json", [chat(QUESTION, answer(statusHistory=status))]))).text == text


def test_rows_of_messages_and_feedback(tmp_path):
    question = {
        "id": "m1",
        "chat_id": "c1",
        "user_id": "u3",
        "role": "user",
        "parent_id": None,
        "content": '[{"type": "text", "text": "reset password"}]',
    }
    reply = {
        "id": "m2",
        "chat_id": "c1",
        "user_id": "u3",
        "role": "assistant",
        "parent_id": "m1",
        "content": "In the settings [1].",
        "sources": json.dumps([source("f1", TEXTS[0]), source("f2", TEXTS[1])]),
        "created_at": 1714996800,
    }
    given = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in thumb().items()}
    log = export(tmp_path, ("chat_message.csv", [question, reply]), ("feedback.csv", [given]))
    assert (only(log).text, only(log).user, approved(log)) == ("reset password", "u3", [[TEXTS[0]]])


def test_a_feedbacks_snapshot_holds_the_chat(tmp_path):
    snapshot = {"chat": {"id": "c1", "user_id": "u3", "chat": {"history": {"messages": {"m1": QUESTION, "m2": answer()}}}}}
    assert approved(export(tmp_path, ("feedbacks.json", [thumb(snapshot=snapshot)]))) == [[TEXTS[0]]]


def test_votes_between_two_models_and_lost_feedback_are_counted(tmp_path):
    arena = thumb(data={"rating": 1, "model_id": "a", "sibling_model_ids": ["b"]})
    log = export(tmp_path, ("chats.json", [chat(QUESTION, answer())]), ("feedback.json", [arena, thumb(message="gone"), thumb(data={})]))
    assert approved(log) == [[]]
    assert log.report.notes["votes in the arena compare two models' answers and were left out"] == 1
    assert log.report.notes["feedbacks belong to no message of the log"] == 1
    assert [problem.why for problem in log.report.problems] == ["feedback.json: a feedback without data.rating"]


def test_an_answer_without_its_question_is_counted(tmp_path):
    log = export(tmp_path, ("chats.json", [chat(answer()), chat(QUESTION, answer(), id="c2")]))
    assert [event.session for event in log] == ["c2"]
    assert log.report.notes == {"answers with sources have no question in the log": 1}


def test_a_chat_of_odd_shape_costs_itself_only(tmp_path):
    odd = [chat("text", {"id": 5}, id="c7"), chat(QUESTION, answer(sources=[7, {"document": None}]), id="c8"), {"chat": 3}]
    log = export(tmp_path, ("chats.json", [chat(QUESTION, answer()), *odd]))
    assert [event.session for event in log] == ["c1"]


MESSAGES = [
    {
        "id": "m1",
        "conversation_id": "chat-7",
        "query": "reset password",
        "answer": "In the settings [1].",
        "from_end_user_id": "u3",
        "invoke_from": "web-app",
        "created_at": "2024-05-06 12:00:00",
    }
]
RESOURCES = [
    {
        "id": f"r{i}",
        "message_id": "m1",
        "position": i + 1,
        "dataset_id": "ds",
        "document_id": "d",
        "segment_id": f"seg{i}",
        "score": 0.9,
        "content": text,
    }
    for i, text in enumerate(TEXTS)
]
LIKE = [{"id": "f", "message_id": "m1", "rating": "like", "from_source": "user"}]


@pytest.mark.parametrize("end", ["csv", "jsonl"])
def test_tables_of_dify(tmp_path, end):
    log = export(tmp_path, (f"messages.{end}", MESSAGES), (f"resources.{end}", RESOURCES[::-1]), (f"feedbacks.{end}", LIKE))
    event = only(log)
    assert (event.text, event.session, event.user) == ("reset password", "chat-7", "u3")
    assert event.at == datetime(2024, 5, 6, 12, tzinfo=UTC)
    assert event.shown == tuple(TEXTS)
    assert (approved(log), log.report.format) == ([[TEXTS[0]]], "dify")


def test_segments_come_in_the_order_of_their_positions(tmp_path):
    swapped = [{**resource, "position": 3 - place} for place, resource in enumerate(RESOURCES)]
    assert only(export(tmp_path, ("messages.csv", MESSAGES), ("resources.csv", swapped))).shown == tuple(TEXTS[::-1])


def test_segments_give_the_id_in_the_vector_store(tmp_path):
    segments = [{"id": f"seg{i}", "index_node_id": f"node{i}", "content": text} for i, text in enumerate(TEXTS)]
    log = export(tmp_path, ("messages.csv", MESSAGES), ("resources.csv", RESOURCES), ("segments.csv", segments), ("feedbacks.csv", LIKE))
    assert (only(log).shown, approved(log)) == (("node0", "node1", "node2"), [["node0"]])


def test_messages_as_the_api_gives_them(tmp_path):
    message = {**MESSAGES[0], "created_at": 1714996800, "retriever_resources": RESOURCES, "feedback": {"rating": "like"}}
    assert approved(export(tmp_path, ("messages.json", [message]))) == [[TEXTS[0]]]


def test_messages_that_hold_their_resources_in_metadata(tmp_path):
    message = {**MESSAGES[0], "message_metadata": json.dumps({"retriever_resources": RESOURCES})}
    assert only(export(tmp_path, ("messages.jsonl", [message]))).shown == tuple(TEXTS)


def test_a_dislike_makes_no_label_and_an_authors_trial_no_search(tmp_path):
    trial = {**MESSAGES[0], "id": "m2", "invoke_from": "debugger"}
    dislike = [{**LIKE[0], "rating": "dislike"}]
    log = export(tmp_path, ("messages.csv", [*MESSAGES, trial]), ("resources.csv", RESOURCES), ("feedbacks.csv", dislike))
    assert only(log).feedback == ()
    assert log.report.notes["messages are an author's trials and were left out"] == 1
    assert log.report.notes["answers were rated bad, which says nothing about a single chunk"] == 1


def test_what_belongs_to_no_message_is_counted_and_what_is_no_row_is_named(tmp_path):
    stray = [{**RESOURCES[0], "message_id": "gone"}, {"x": 1}]
    log = export(tmp_path, ("messages.jsonl", MESSAGES), ("resources.jsonl", [*RESOURCES, *stray]))
    assert log.report.notes["retrieved segments or feedbacks belong to no message of the log"] == 1
    assert [problem.line for problem in log.report.problems] == [5]
