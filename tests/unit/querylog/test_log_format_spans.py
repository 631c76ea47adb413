"""Spans of Phoenix and OpenTelemetry: every shape in which they are exported, and the annotations beside them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError, UsageError
from vecmigrate.querylog import judge, resolve
from vecmigrate.querylog.verdicts import ANSWER_WEIGHT
from vecmigrate.records import Feedback, FeedbackKind
from vecmigrate.testing.memory import MemoryStore, SourceRow

from .format_files import approved, export

RATING = FeedbackKind.RATING
DOCUMENTS = [
    {"document.id": "n1", "document.content": "Reset it in the settings.", "document.score": 0.8, "document.metadata": {"page": 1}},
    {"document.id": "n2", "document.content": "Ask the help desk.", "document.score": 0.7},
]
PLAIN = [
    {"document.content": "Reset it in the settings.\n", "document.metadata": '{"source": "a.md"}'},
    {"document.content": "Ask the help desk."},
]


def dataframe_row(documents=DOCUMENTS, span="s2", **more):
    return {
        "name": "retrieve",
        "span_kind": "RETRIEVER",
        "parent_id": "s1",
        "start_time": "2024-05-06T12:00:00.000000+00:00",
        "status_code": "OK",
        "context.span_id": span,
        "context.trace_id": "t1",
        "attributes.openinference.span.kind": "RETRIEVER",
        "attributes.input.value": "reset password",
        "attributes.input.mime_type": "text/plain",
        "attributes.retrieval.documents": documents,
        "attributes.session.id": "chat-7",
        "attributes.user.id": "u3",
        **more,
    }


def root_row(answer="Use the settings [1].", **more):
    return {
        "name": "ask",
        "span_kind": "CHAIN",
        "parent_id": None,
        "start_time": "2024-05-06T11:59:59+00:00",
        "context.span_id": "s1",
        "context.trace_id": "t1",
        "attributes.openinference.span.kind": "CHAIN",
        "attributes.input.value": "hey, how do I reset my password??",
        "attributes.output.value": answer,
        **more,
    }


def annotation(position=None, **more):
    placed = {} if position is None else {"document_position": position}
    return {"span_id": "s2", "annotation_name": "user feedback", "annotator_kind": "HUMAN", **placed, **more}


def only(log):
    (event,) = log.events
    return event


def test_a_dataframe_as_json_lines(tmp_path):
    log = export(tmp_path, ("spans.jsonl", [root_row(), dataframe_row()]))
    event = only(log)
    assert (event.text, event.session, event.user) == ("reset password", "chat-7", "u3")
    assert event.at == datetime(2024, 5, 6, 12, tzinfo=UTC)
    assert event.shown == ("n1", "n2")
    assert event.feedback == ()
    assert log.report.format == "phoenix"
    assert log.report.lines() == ["read the query log spans.jsonl as phoenix: 2 rows, 1 searches"]


def test_a_dataframe_as_csv_whose_lists_pandas_wrote_in_python(tmp_path):
    row = dataframe_row(repr(DOCUMENTS))
    assert only(export(tmp_path, ("spans.csv", [row]))).shown == ("n1", "n2")


def test_a_dataframe_as_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([dataframe_row(), root_row()]), tmp_path / "spans.parquet")
    from vecmigrate.querylog import read_events

    assert only(read_events(LogSection(path="spans.parquet"), root=tmp_path)).shown == ("n1", "n2")


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_rows_of_the_spans_table_hold_their_attributes_in_an_object(tmp_path, nested, as_text):
    flat = {"openinference.span.kind": "RETRIEVER", "input.value": "reset password", "retrieval.documents": DOCUMENTS}
    deep = {
        "openinference": {"span": {"kind": "RETRIEVER"}},
        "input": {"value": "reset password"},
        "retrieval": {"documents": [{"document": {"id": "n1", "content": "Reset it."}}, {"document": {"id": "n2"}}]},
    }
    attributes = deep if nested else flat
    row = {"id": 5, "span_id": "s2", "trace_rowid": 9, "attributes": json.dumps(attributes) if as_text else attributes}
    event = only(export(tmp_path, ("spans.jsonl", [row])))
    assert (event.text, event.shown) == ("reset password", ("n1", "n2"))


def test_documents_flattened_into_columns_come_in_their_order(tmp_path):
    documents = {f"attributes.retrieval.documents.{i}.document.id": f"n{i}" for i in (10, 2, 0)}
    row = {**dataframe_row(None), **documents}
    assert only(export(tmp_path, ("spans.jsonl", [row]))).shown == ("n0", "n2", "n10")


def test_documents_without_ids_are_found_by_their_text(tmp_path):
    log = export(tmp_path, ("spans.jsonl", [dataframe_row(PLAIN)]), ("annotations.jsonl", [annotation(0, score=1)]))
    store = MemoryStore([SourceRow("c1", "Reset it in the settings.", None), SourceRow("c2", "Ask the help desk.", None)])
    judged = judge(resolve(log, store, LogSection(path="log")))
    assert [(judgment.chunk_id, judgment.grade) for judgment in judged.judgments] == [("c1", 1.0)]


def test_with_resolve_by_text_the_text_goes_before_the_id(tmp_path):
    event = only(export(tmp_path, ("spans.jsonl", [dataframe_row()]), resolve_by="text"))
    assert event.shown == ("Reset it in the settings.", "Ask the help desk.")


@pytest.mark.parametrize(
    "said",
    [
        {"score": 1},
        {"result.score": 1.0},
        {"result": {"score": 1, "label": "x"}},
        {"result": '{"label": "relevant"}'},
        {"label": "Relevant"},
    ],
)
def test_people_rate_documents_by_position_from_0(tmp_path, said):
    log = export(tmp_path, ("spans.jsonl", [dataframe_row()]), ("notes.jsonl", [annotation(1, **said), annotation(0, label="irrelevant")]))
    assert set(only(log).feedback) == {Feedback("n2", RATING, 1.0), Feedback("n1", RATING, 0.0)}


def test_annotations_join_by_the_spans_row_id_too(tmp_path):
    spans = [{**dataframe_row(), "id": 41}]
    notes = [
        {"id": 1, "span_rowid": 41, "name": "relevance", "annotator_kind": "HUMAN", "document_position": 0, "score": 1.0, "label": None}
    ]
    assert only(export(tmp_path, ("spans.jsonl", spans), ("document_annotations.jsonl", notes))).feedback == (Feedback("n1", RATING, 1.0),)


def test_annotations_that_fit_nothing_are_counted_and_never_guessed(tmp_path):
    notes = [
        annotation(7, score=1),
        annotation(0),
        annotation(0, score=1, span_id="elsewhere"),
        annotation(0, score=1, annotator_kind="LLM"),
    ]
    log = export(tmp_path, ("spans.jsonl", [dataframe_row()]), ("notes.jsonl", notes))
    assert only(log).feedback == ()
    assert log.report.notes == {
        "ratings by a model or a program, not by people, were left out": 1,
        "annotations of documents fit no retrieved document, or say neither score nor a known label": 2,
        "annotations belong to no span of the log": 1,
    }


def test_a_thumb_for_the_answer_is_a_weak_label_for_what_it_cites_only(tmp_path):
    log = export(tmp_path, ("spans.jsonl", [root_row(), dataframe_row()]), ("notes.jsonl", [annotation(span_id="s1", label="thumbs-up")]))
    assert approved(log) == [["n1"]]
    store = MemoryStore([SourceRow(id, f"text {id}", None) for id in ("n1", "n2")])
    (judgment,) = judge(resolve(log, store, LogSection(path="log"))).judgments
    assert (judgment.chunk_id, judgment.grade, judgment.weight) == ("n1", 1.0, ANSWER_WEIGHT)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("See [1] and [2].", ["n1", "n2"]), ("See [2, 1].", ["n1", "n2"]), ("See 【2】", ["n2"]), ("Just so.", []), ("[1](http://x) [9]", [])],
)
def test_what_an_answer_cites_is_told_by_its_markers(tmp_path, answer, expected):
    log = export(tmp_path, ("spans.jsonl", [root_row(answer), dataframe_row()]), ("notes.jsonl", [annotation(span_id="s1", score=1)]))
    assert approved(log) == [expected]
    unsaid = 'good answers do not say which of their chunks they rest on ([log] approves = "shown" takes them all)'
    assert log.report.notes == ({} if expected else {unsaid: 1})


def test_all_that_was_shown_counts_only_when_asked_for(tmp_path):
    tables = ("spans.jsonl", [root_row("Just so."), dataframe_row()]), ("notes.jsonl", [annotation(span_id="s1", score=1)])
    assert approved(export(tmp_path, *tables, approves="shown")) == [["n1", "n2"]]


def test_an_answer_from_one_chunk_rests_on_it(tmp_path):
    spans = [root_row("Just so."), dataframe_row(DOCUMENTS[:1])]
    assert approved(export(tmp_path, ("spans.jsonl", spans), ("notes.jsonl", [annotation(span_id="s1", score=1)]))) == [["n1"]]


def test_markers_of_an_answer_with_several_retrievals_name_nothing(tmp_path):
    rewritten = dataframe_row(span="s3", **{"attributes.input.value": "password settings page"})
    log = export(tmp_path, ("spans.jsonl", [root_row(), dataframe_row(), rewritten]), ("notes.jsonl", [annotation(span_id="s1", score=1)]))
    assert [event.text for event in log] == ["reset password", "password settings page"]
    assert approved(log) == [[], []]


def test_a_thumb_down_says_nothing_about_any_chunk(tmp_path):
    log = export(tmp_path, ("spans.jsonl", [root_row(), dataframe_row()]), ("notes.jsonl", [annotation(span_id="s1", score=0)]))
    assert only(log).feedback == ()
    assert log.report.notes == {"answers were rated bad, which says nothing about a single chunk": 1}


def test_a_score_of_another_name_is_no_users_opinion_unless_said_so(tmp_path):
    notes = [annotation(span_id="s1", score=1, annotation_name="correctness")]
    tables = ("spans.jsonl", [root_row(), dataframe_row()]), ("notes.jsonl", notes)
    assert approved(export(tmp_path, *tables)) == [[]]
    assert approved(export(tmp_path, *tables, score_name="correctness")) == [["n1"]]


def test_broken_lines_cost_themselves_only(tmp_path):
    broken = [dataframe_row(span="s8", **{"attributes.input.value": None}), dataframe_row("[not json", span="s9")]
    log = export(tmp_path, ("spans.jsonl", [*broken, dataframe_row()]))
    assert [event.shown for event in log] == [("[not json",), ("n1", "n2")]
    assert [(problem.line, problem.why) for problem in log.report.problems] == [(1, "a retrieval without the text of its query")]


def otlp(*spans):
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {"name": "app"}, "spans": list(spans)}]}]}


def otlp_span(text="reset password", **more):
    documents = json.dumps([{"id": "n1", "score": 0.95}, {"id": "n2", "score": 0.87}])
    said = {
        "gen_ai.operation.name": {"stringValue": "retrieval"},
        "gen_ai.data_source.id": {"stringValue": "docs"},
        "gen_ai.retrieval.documents": {"stringValue": documents},
        "gen_ai.conversation.id": {"stringValue": "chat-7"},
    }
    if text:
        said["gen_ai.retrieval.query.text"] = {"stringValue": text}
    return {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "parentSpanId": "eee19b7ec3c1b173",
        "name": "retrieval docs",
        "startTimeUnixNano": "1714996800000000000",
        "attributes": [{"key": key, "value": value} for key, value in said.items()],
        **more,
    }


@pytest.mark.parametrize("name", ["traces.jsonl", "traces.json"])
def test_otlp_json_of_the_collector(tmp_path, name):
    log = export(tmp_path, (name, [otlp(otlp_span(), {"traceId": "t", "spanId": "x", "attributes": []})]))
    event = only(log)
    assert (event.text, event.shown, event.session) == ("reset password", ("n1", "n2"), "chat-7")
    assert event.at == datetime(2024, 5, 6, 12, tzinfo=UTC)
    assert log.report.format == "otel"


def test_structured_documents_are_read_like_text(tmp_path):
    listed = [{"kvlistValue": {"values": [{"key": "id", "value": {"stringValue": id}}]}} for id in ("n1", "n2")]
    span = otlp_span()
    span["attributes"][2]["value"] = {"arrayValue": {"values": listed}}
    assert only(export(tmp_path, ("traces.jsonl", [otlp(span)]))).shown == ("n1", "n2")


def test_a_span_a_row_is_read_too(tmp_path):
    row = {
        "trace_id": "t",
        "span_id": "s",
        "start_time": 1714996800,
        "gen_ai.operation.name": "retrieval",
        "gen_ai.retrieval.query.text": "reset password",
        "gen_ai.retrieval.documents": '[{"id": "n1"}]',
    }
    log = export(tmp_path, ("spans.csv", [row]))
    assert (only(log).shown, log.report.format) == (("n1",), "otel")


def test_a_retrieval_whose_text_was_not_captured_is_named(tmp_path):
    log = export(tmp_path, ("traces.jsonl", [otlp(otlp_span(""), otlp_span(spanId="b"))]))
    assert len(log) == 1
    assert [problem.why for problem in log.report.problems] == ["a retrieval without the text of its query"]


def test_a_log_without_retrievals_says_what_it_was_read_as(tmp_path):
    with pytest.raises(DataError, match=r"was read as phoenix and has 1 rows, but no search with what it found") as caught:
        export(tmp_path, ("spans.jsonl", [root_row()]))
    assert "docs/query-logs.md" in caught.value.hint


def test_a_log_of_two_formats_is_asked_about(tmp_path):
    langfuse = {"id": "o", "trace_id": "t", "type": "RETRIEVER", "parent_observation_id": "", "input": "x", "output": "[]"}
    with pytest.raises(DataError, match="looks like phoenix and langfuse") as caught:
        export(tmp_path, ("mixed.jsonl", [dataframe_row(), langfuse]))
    assert 'format = "phoenix"' in caught.value.hint


def test_mapped_columns_mean_rows_whatever_else_they_hold(tmp_path):
    columns = {"user_query": "attributes.input.value", "query_response_hit_ids": "ids", "clicked_ids": "clicked"}
    log = export(tmp_path, ("rows.jsonl", [{**dataframe_row(), "ids": ["a", "b"], "clicked": "b"}]), columns=columns)
    assert (log.report.format, only(log).shown) == ("rows", ("a", "b"))


def test_rows_in_our_own_names_are_rows_whatever_else_they_hold(tmp_path):
    row = {"user_query": "vpn", "query": "vpn", "answer": "so", "conversation_id": "c", "clicked_ids": ["d1"]}
    assert export(tmp_path, ("log.jsonl", [row])).report.format == "rows"


def test_a_format_and_mapped_columns_contradict_each_other(tmp_path):
    with pytest.raises(UsageError, match="renames user_query, and format 'phoenix' has names of its own"):
        export(tmp_path, ("spans.jsonl", [dataframe_row()]), format="phoenix", columns={"user_query": "q"})


def test_the_tenant_is_where_columns_say(tmp_path):
    row = dataframe_row(**{"attributes.metadata": {"org": "acme"}})
    assert only(export(tmp_path, ("spans.jsonl", [row]), columns={"tenant": "attributes.metadata.org"})).tenant == "acme"
