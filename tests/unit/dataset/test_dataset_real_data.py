"""Real logs with real noise, from log to frozen dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vecmigrate.config import DatasetSection, LogSection
from vecmigrate.dataset import Split, build_dataset
from vecmigrate.querylog import judge, judged_from_files, read_events, resolve

from .dataset_corpus import ENCODER, store_of

DATA = Path(__file__).resolve().parents[3].parent / "shared/data"


def need(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"shared/data/{name} is not beside this working copy")
    return DATA / name


def collection(folder):
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    return store_of({row["id"]: row["text"] for row in rows if row["text"].strip()})


def test_a_log_of_ratings_becomes_a_dataset(tmp_path):
    folder = need("feedbackqa")
    log = LogSection(
        path="feedback_log.jsonl",
        columns={"user_query": "query", "query_id": "event_id", "query_response_hit_ids": "docid", "ratings": "grades"},
        min_rating=2,
    )
    store, control = collection(folder)
    judged = judge(resolve(read_events(log, root=folder), store, log))
    report = judged.report
    assert report.events == 1929
    assert report.positives > 800
    assert report.judgments - report.positives > 700
    dataset = build_dataset(store, control, ENCODER, judged, DatasetSection(), tmp_path)
    train = {query.group for query in dataset.queries(Split.TRAIN)}
    assert train.isdisjoint(query.group for query in dataset.queries(Split.TEST))
    assert abs(dataset.counts["test_queries"] / report.queries - 0.2) < 0.02
    assert dataset.counts["negatives"] > 0.5 * dataset.counts["pairs"]


def test_a_log_of_clicks_joins_only_in_part_and_says_so():
    folder = need("zz_clicks")
    log = LogSection(path="click_log.jsonl", columns={"user_query": "query", "clicked_ids": "docid"})
    store, _ = collection(folder)
    judged = judge(resolve(read_events(log, root=folder), store, log))
    assert 300 < judged.report.queries < 460
    assert judged.report.dropped_events["no feedback: nothing clicked, cited or rated"] > 50
    assert all(judgment.grade == 1.0 for judgment in judged.judgments)


def test_dated_queries_split_by_time(tmp_path):
    folder = need("attack_techniques")
    store, control = collection(folder)
    whole = judged_from_files(folder / "queries.jsonl", folder / "qrels.tsv")
    kept = frozenset(query.id for query in whole.queries[::10])
    part = type(whole)(
        tuple(query for query in whole.queries if query.id in kept),
        tuple(judgment for judgment in whole.judgments if judgment.query_id in kept),
        whole.report,
    )
    dataset = build_dataset(store, control, ENCODER, part, DatasetSection(negatives_per_pair=0), tmp_path)
    first = min(query.at for query in dataset.queries(Split.TEST))
    assert any(line.startswith("split by time") for line in dataset.report)
    assert sum(query.at > first for query in dataset.queries(Split.TRAIN)) <= 1
