"""The rules of [log] from rows to judgments: support, dwell, repeats, tenants, age, aggregated clicks, and what was passed over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError
from vecmigrate.querylog import JudgedLog, JudgmentReport, judge, read_events, resolve
from vecmigrate.querylog.scope import within_scope
from vecmigrate.querylog.verdicts import ANSWER_WEIGHT, MOST_ANSWER_WEIGHT, ONE_VOTE
from vecmigrate.querylog.wording import query_id_of
from vecmigrate.records import QueryEvent
from vecmigrate.testing.memory import MemoryStore, SourceRow

CHUNKS = ("d1", "d2", "d3", "d4", "d5")
STORE = MemoryStore([SourceRow(id, f"the text of {id}", None) for id in CHUNKS])
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


def judged(folder, *rows, **settings):
    log = LogSection(path="log.jsonl", **settings)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return judge(resolve(read_events(log, root=folder), STORE, log))


def search(text="vpn setup", clicked=("d1",), minutes=0, **more):
    return {"user_query": text, "clicked_ids": list(clicked), "timestamp": (NOON + timedelta(minutes=minutes)).isoformat(), **more}


def weights(log):
    return {judgment.chunk_id: judgment.weight for judgment in log.judgments}


def test_min_support_asks_for_so_many_people(tmp_path):
    rows = [search(clicked=["d1", "d2"], user_id="u1"), search(clicked=["d1"], user_id="u2"), search(clicked=["d2"], user_id="u1")]
    assert weights(judged(tmp_path, *rows)) == {"d1": 0.75, "d2": 0.5}
    strict = judged(tmp_path, *rows, min_support=2)
    assert weights(strict) == {"d1": 0.75}
    assert strict.report.set_aside == {"fewer than 2 people behind it": 1}


def test_a_query_that_too_few_people_asked_is_left_out_with_that_reason(tmp_path):
    log = judged(tmp_path, search(user_id="u1"), search("mail", user_id="u1"), search("mail", user_id="u2"), min_support=2)
    assert [query.text for query in log.queries] == ["mail"]
    assert log.report.dropped_queries == {"fewer than 2 people behind each chunk": 1}


def test_ratings_need_no_support(tmp_path):
    rated = {"user_query": "vpn setup", "ratings": {"d1": 1}, "user_id": "u1"}
    assert weights(judged(tmp_path, rated, min_support=3)) == {"d1": 1.0}


def test_the_report_says_how_much_rests_on_one_person(tmp_path):
    rows = [search(clicked=["d1", "d2"], user_id="u1"), search(clicked=["d1"], user_id="u2")]
    assert "  1 of the 2 judgments without a rating rest on one person ([log] min_support)" in judged(tmp_path, *rows).report.lines()


def test_a_click_that_did_not_last_is_none(tmp_path):
    rows = [search(dwell_seconds=29.9), search("mail", dwell_seconds=30), search("fax", ["d2"])]
    log = judged(tmp_path, *rows)
    assert {query.text for query in log.queries} == {"mail", "fax"}
    assert log.report.dropped_events == {"only clicks shorter than 30 seconds": 1}
    assert len(judged(tmp_path, *rows, min_dwell_seconds=5).queries) == 3


def test_a_short_click_beside_other_feedback_is_counted(tmp_path):
    log = judged(tmp_path, search(clicked=["d1"], cited_ids=["d2"], dwell_seconds=2))
    assert weights(log) == {"d2": 0.5}
    assert log.report.set_aside == {"clicks shorter than 30 seconds, not counted": 1}


def test_of_a_click_logged_twice_the_longer_stay_counts(tmp_path):
    rows = [search(query_id="q1", dwell_seconds=2), search(query_id="q1", dwell_seconds=90)]
    assert weights(judged(tmp_path, *rows)) == {"d1": 0.5}


def test_dwell_and_rank_of_ubi_events_are_read(tmp_path):
    query = {"query_id": "q1", "user_query": "vpn setup", "client_id": "c"}
    attributes = {"object": {"object_id": "d1"}, "position": {"ordinal": 2}, "dwell_seconds": 40}
    lasting = {"action_name": "click", "query_id": "q1", "client_id": "c", "event_attributes": attributes}
    brief = {**lasting, "event_attributes": {"object": {"object_id": "d2"}, "dwell_seconds": 3}}
    assert weights(judged(tmp_path, query, lasting, brief)) == {"d1": 0.75}


def test_a_number_that_cannot_be_read_costs_itself_only(tmp_path):
    rows = [search(dwell_seconds="long", clicked_position=0, click_count=-3)]
    (tmp_path / "log.jsonl").write_text(json.dumps(rows[0]), encoding="utf-8")
    log = read_events(LogSection(path="log.jsonl"), root=tmp_path)
    (act,) = log.events[0].feedback
    assert (act.dwell, act.position, act.count) == (None, None, 1)
    assert log.report.notes == {"ranks, dwell times or click counts could not be read; their rows are kept without them": 3}


def test_an_aggregated_row_counts_for_as_many_people_as_it_says(tmp_path):
    rows = [search(clicked=[id], click_count=count) for id, count in (("d1", 1), ("d2", 2), ("d3", 3270), ("d4", 0))]
    assert weights(judged(tmp_path, *rows)) == {"d1": 0.5, "d2": 0.75, "d3": 1.0}
    assert weights(judged(tmp_path, *rows, min_support=2)) == {"d2": 0.75, "d3": 1.0}


def test_an_aggregated_rows_mean_rank_is_used(tmp_path):
    assert weights(judged(tmp_path, search(clicked_position=1.5))) == {"d1": pytest.approx(0.25 + 0.25 * 4 / 3)}


def test_the_same_persons_reload_is_one_search(tmp_path):
    rows = [search(user_id="u1"), search(user_id="u1", minutes=30), search("mail", user_id="u1"), search("mail", user_id="u1", minutes=31)]
    log = judged(tmp_path, *rows)
    asked = {query.text: query.slices[1] for query in log.queries}
    assert asked == {"vpn setup": "asked once", "mail": "asked again"}
    assert log.report.reloads == 1
    assert "  1 searches repeated the same person's within 30 minutes: one search" in log.report.lines()


def test_two_peoples_searches_are_never_a_reload(tmp_path):
    log = judged(tmp_path, search(user_id="u1"), search(user_id="u2"), search(), search())
    assert log.report.reloads == 0
    assert log.queries[0].slices[1] == "asked again"


def test_an_answer_rated_good_weighs_less_than_one_click(tmp_path):
    rows = [{"user_query": "vpn setup", "approved_ids": ["d1"], "user_id": f"u{n}"} for n in range(5)]
    assert weights(judged(tmp_path, rows[0])) == {"d1": ANSWER_WEIGHT} == {"d1": 0.2}
    assert weights(judged(tmp_path, *rows)) == {"d1": MOST_ANSWER_WEIGHT}
    assert ANSWER_WEIGHT < MOST_ANSWER_WEIGHT < ONE_VOTE
    assert weights(judged(tmp_path, rows[0], search(user_id="u9"))) == {"d1": 0.5}


SHOWN = {"query_response_hit_ids": list(CHUNKS)}


def over(log):
    return {query.text: set(log.passed_over.get(query.id, ())) for query in log.queries}


def test_what_stood_above_the_lowest_click_was_passed_over(tmp_path):
    assert over(judged(tmp_path, search(clicked=["d2", "d4"], **SHOWN))) == {"vpn setup": {"d1", "d3"}}


def test_a_click_at_the_top_passes_nothing_over(tmp_path):
    log = judged(tmp_path, search(clicked=["d1"], **SHOWN))
    assert log.passed_over == {}
    assert not any("passed over" in line for line in log.report.lines())


def test_what_anybody_chose_for_the_query_was_not_passed_over(tmp_path):
    rows = [
        search(clicked=["d5"], user_id="u1", **SHOWN),
        search("VPN setup?", clicked=["d1"], user_id="u2", minutes=5),
        {"user_query": "vpn setup", "cited_ids": ["d2"]},
        {"user_query": "vpn setup", "ratings": {"d3": 1}},
        search("other", clicked=["d4"]),
    ]
    log = judged(tmp_path, *rows)
    assert over(log) == {"vpn setup": {"d4"}, "other": set()}
    assert log.report.passed_over == 1
    assert "  1 query-chunk pairs passed over: shown above a click, never chosen; candidates for negatives" in log.report.lines()


def test_a_short_click_neither_passes_over_nor_is_passed_over(tmp_path):
    rows = [search(clicked=["d5"], dwell_seconds=1, cited_ids=["d1"], **SHOWN), search(clicked=["d3"], dwell_seconds=60, **SHOWN)]
    assert over(judged(tmp_path, *rows)) == {"vpn setup": {"d2"}}
    brief = search(clicked=["d1"], dwell_seconds=1, cited_ids=["d2"])
    assert over(judged(tmp_path, brief, search(clicked=["d3"], **SHOWN))) == {"vpn setup": set()}


def test_a_citation_or_rating_passes_nothing_over(tmp_path):
    assert judged(tmp_path, {"user_query": "vpn", "cited_ids": ["d5"], **SHOWN}).passed_over == {}


def test_robots_pass_nothing_over(tmp_path):
    rows = [search(clicked=["d5"], session_id="bot", minutes=40 * n, **SHOWN) for n in range(21)]
    log = judged(tmp_path, *rows, search(clicked=["d1"], session_id="s", **SHOWN))
    assert log.passed_over == {}


def test_a_judged_log_needs_no_word_on_what_was_passed_over():
    assert JudgedLog((), (), JudgmentReport(0, 0, 0, 0)).passed_over == {}


def test_a_query_never_crosses_tenants(tmp_path):
    rows = [search(tenant="acme", user_id="u1"), search(clicked=["d2"], tenant="beta", user_id="u1"), search(clicked=["d3"])]
    log = judged(tmp_path, *rows)
    found = {(query.slices[2:], judgment.chunk_id) for query in log.queries for judgment in log.judgments if judgment.query_id == query.id}
    assert found == {(("tenant acme",), "d1"), (("tenant beta",), "d2"), ((), "d3")}
    assert {query.text for query in log.queries} == {"vpn setup"}
    assert query_id_of("vpn setup") in {query.id for query in log.queries}


def test_a_voter_never_crosses_tenants(tmp_path):
    """The same user id in two tenants is two people: neither a reload nor one robot."""
    rows = [search(tenant=tenant, user_id="u1", minutes=n) for n, tenant in enumerate(("acme", "beta"))]
    assert judged(tmp_path, *rows).report.reloads == 0
    many = [search(tenant=("acme", "beta")[n % 2], session_id="s1", minutes=99 * n) for n in range(30)]
    assert judged(tmp_path, *many).report.dropped_events == {}


def test_rows_of_one_query_id_in_two_tenants_are_two_searches(tmp_path):
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps(search(query_id="q1", tenant=tenant, clicked=[ref])) + "\n" for tenant, ref in (("a", "d1"), ("b", "d2"))),
        encoding="utf-8",
    )
    log = read_events(LogSection(path="log.jsonl"), root=tmp_path)
    assert [(event.tenant, [act.ref for act in event.feedback]) for event in log] == [("a", ["d1"]), ("b", ["d2"])]


def test_an_event_line_joins_its_own_tenants_query(tmp_path):
    queries = [{"query_id": "q1", "user_query": "vpn", "tenant": tenant} for tenant in "ab"]
    act = {"action_name": "click", "query_id": "q1", "tenant": "b", "event_attributes": {"object": {"object_id": "d1"}}}
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (*queries, act)), encoding="utf-8")
    log = read_events(LogSection(path="log.jsonl"), root=tmp_path)
    assert [(event.tenant, len(event.feedback)) for event in log] == [("a", 0), ("b", 1)]


def test_one_tenant_can_be_kept_alone(tmp_path):
    rows = [search("vpn", tenant="acme"), search("mail", tenant="beta"), search("fax")]
    log = LogSection(path="log.jsonl", only_tenant="acme")
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    events = read_events(log, root=tmp_path)
    assert [event.text for event in events] == ["vpn"]
    assert events.report.lines()[-1] == "  2 searches left out: not of the tenant 'acme'"


def test_a_tenant_that_is_not_there_is_an_error_with_the_count(tmp_path):
    with pytest.raises(
        DataError, match=r"nothing is left of the 1 searches of the query log log\.jsonl: 1 not of the tenant 'acme'"
    ) as caught:
        judged(tmp_path, search(), only_tenant="acme")
    assert "[log.columns]" in caught.value.hint


def aged(*days):
    return [QueryEvent(f"q{n}", f"query {n}", at=None if day is None else NOON - timedelta(days=day)) for n, day in enumerate(days)]


def test_age_counts_from_the_newest_search(tmp_path):
    kept, left_out = within_scope(aged(40, 69.9, 70.1, None), LogSection(path="log", max_age_days=30))
    assert [event.query_id for event in kept] == ["q0", "q1"]
    assert left_out == {"without a time, so older than max_age_days for all one knows": 1, "older than 30 days": 1}


def test_age_counts_from_now_where_asked_for():
    log = LogSection(path="log", max_age_days=30, max_age_from="now")
    kept, left_out = within_scope(aged(40, 10), log, now=NOON)
    assert [event.query_id for event in kept] == ["q1"]
    assert left_out == {"older than 30 days": 1}


def test_without_a_limit_nothing_is_too_old():
    events = aged(40000, None)
    assert within_scope(events, LogSection(path="log")) == (tuple(events), {})


def test_who_asked_is_in_nothing_that_a_dataset_is_made_of(tmp_path):
    rows = [search(user_id="anna-77", session_id="sess-88", **SHOWN), search(clicked=["d3"], user_id="bert-99", **SHOWN)]
    log = judged(tmp_path, *rows)
    written = repr((log.queries, log.judgments, log.passed_over)) + "".join(log.report.lines())
    assert not any(name in written for name in ("anna", "sess", "bert"))
