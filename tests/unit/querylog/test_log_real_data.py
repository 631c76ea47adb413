"""Real logs with their noise, from rows to judgments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vecmigrate.config import LogSection
from vecmigrate.querylog import judge, read_events, resolve
from vecmigrate.testing.memory import MemoryStore, SourceRow

DATA = Path(__file__).resolve().parents[3].parent / "shared/data"


def need(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"shared/data/{name} is not beside this working copy")
    return DATA / name


def store_of(folder):
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    return MemoryStore([SourceRow(row["id"], row["text"], None) for row in rows if row["text"].strip()])


def test_a_log_of_click_counts_and_mean_ranks():
    folder = need("zz_clicks")
    columns = {
        "user_query": "query",
        "query_id": "query_id",
        "clicked_ids": "docid",
        "click_count": "clicks",
        "clicked_position": "average_position",
        "tenant": "locale",
    }
    log = LogSection(path="click_log.jsonl", columns=columns)
    events = read_events(log, root=folder)
    judged = judge(resolve(events, store_of(folder), log))
    assert events.report.format == "rows"
    assert 300 < judged.report.queries < 600
    assert judged.report.one_voter < 0.2 * judged.report.acted
    assert judged.report.position_bias[0] == "  position bias: not estimated (no search says what it showed); assumed 1/rank^1"
    assert {query.slices[2] for query in judged.queries} >= {"tenant pt"}
    assert sum(events.report.redacted.values()) == 0
    strict = judge(resolve(events, store_of(folder), LogSection(**{**log.model_dump(), "min_support": 5})))
    assert 0 < strict.report.judgments < judged.report.judgments


def test_a_log_of_ratings_keeps_its_figures():
    folder = need("feedbackqa")
    columns = {"user_query": "query", "query_id": "event_id", "query_response_hit_ids": "docid", "ratings": "grades"}
    log = LogSection(path="feedback_log.jsonl", columns=columns, min_rating=2)
    events = read_events(log, root=folder)
    judged = judge(resolve(events, store_of(folder), log))
    assert (events.report.events, events.report.unreadable) == (1929, 0)
    assert judged.report.positives > 800
    assert (judged.report.position_bias, judged.passed_over) == ((), {})
    assert sum(events.report.redacted.values()) <= 5
