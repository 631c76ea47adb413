"""Whatever stands in an export, reading it ends with searches or with an error that says what is wrong."""

from __future__ import annotations

import copy
import json
import random

import pytest

from vecmigrate.config import LogSection
from vecmigrate.errors import VecmigrateError
from vecmigrate.querylog import judge, read_events, resolve
from vecmigrate.testing.memory import MemoryStore, SourceRow

from . import test_log_format_chats as chats
from . import test_log_format_spans as spans
from . import test_log_format_traces as traces

STORE = MemoryStore([SourceRow(f"c{place}", text, None) for place, text in enumerate(chats.TEXTS)])
SAMPLES = {
    "phoenix": [spans.root_row(), spans.dataframe_row(), spans.annotation(0, score=1), spans.annotation(span_id="s1", score=1)],
    "otel": [spans.otlp(spans.otlp_span())],
    "langfuse": [traces.root(), traces.observation(), traces.score()],
    "langsmith": [traces.chain(feedback_stats={"user_feedback": {"n": 1, "avg": 1}}), traces.run(), traces.feedback()],
    "open-webui": [
        chats.chat(
            chats.QUESTION, chats.answer(annotation={"rating": 1}, statusHistory=[{"action": "queries_generated", "queries": ["a"]}])
        ),
        chats.thumb(snapshot={"chat": chats.chat(chats.QUESTION, chats.answer(), tree=True)}),
    ],
    "dify": [*chats.MESSAGES, *chats.RESOURCES, *chats.LIKE, {"id": "seg0", "index_node_id": "n", "content": "x"}],
}
JUNK = (None, "", "x", 0, -7, 1.5, True, float("nan"), [], [None], [[1]], {}, {"a": 1}, "{", "[1", '{"a": 1}', "[1, 2]", "\x00", 10**30)


def spoil(value, rng):
    """Put junk somewhere into the value: at this place, or further down."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return copy.deepcopy(rng.choice(JUNK))
    place = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    if isinstance(value, dict) and rng.random() < 0.15:
        del value[place]
    else:
        value[place] = spoil(value[place], rng)
    return value


def spoiled(name, seed):
    rng = random.Random(f"{name} {seed}")
    rows = copy.deepcopy(SAMPLES[name])
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(len(rows))
        rows[place] = spoil(rows[place], rng)
    return rows


@pytest.mark.parametrize("name", SAMPLES)
def test_whole_samples_give_a_search(tmp_path, name):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SAMPLES[name]), encoding="utf-8")
    log = read_events(LogSection(path="log.jsonl"), root=tmp_path)
    assert (log.report.format, log.report.unreadable) == (name, 0)
    assert len(log) >= 1


@pytest.mark.parametrize("name", SAMPLES)
def test_junk_anywhere_never_ends_in_a_crash(tmp_path, name):
    section = LogSection(path="log.jsonl", format=name)
    outcomes = {"read": 0, "refused": 0}
    for seed in range(150):
        rows = spoiled(name, seed)
        (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        try:
            log = read_events(section, root=tmp_path)
            judge(resolve(log, STORE, section))
            assert log.report.rows == len(rows)
            outcomes["read"] += 1
        except VecmigrateError:
            outcomes["refused"] += 1
    assert outcomes["read"] > 20
