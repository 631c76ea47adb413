"""The demo search log: its size, its fields, its order, and that it fits the running corpus."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from vecmigrate.demo import corpus, query_log

ROWS = list(query_log.rows())
CLICKED = [row for row in ROWS if row["clicked_ids"]]
FIELDS = ["query_id", "timestamp", "session_id", "user_query", "query_response_hit_ids", "clicked_ids"]


def _time(row: dict[str, object]) -> datetime:
    return datetime.fromisoformat(str(row["timestamp"]))


def _row(text: str) -> dict[str, object]:
    return next(row for row in ROWS if row["user_query"] == text)


def test_a_known_search() -> None:
    assert _row("how do I run something in the background and get its result") == {
        "query_id": "q1558",
        "timestamp": "2026-08-24T10:46:10Z",
        "session_id": "s90e72053",
        "user_query": "how do I run something in the background and get its result",
        "query_response_hit_ids": [
            "asyncio.BaseEventLoop.run_forever",
            "asyncio.Runner",
            "os.spawnv",
            "os.spawnve",
            "subprocess.CompletedProcess",
            "subprocess.getoutput",
            "os.spawnle",
            "os.spawnl",
            "subprocess.run",
            "os.getpid",
        ],
        "clicked_ids": ["concurrent.futures.Executor.submit"],
    }


def test_what_the_askers_opened() -> None:
    assert _row("memoize")["clicked_ids"] == ["functools.lru_cache"]
    assert _row("LINQ group by equivalent")["clicked_ids"] == ["itertools.groupby"]
    assert _row("terminal width")["clicked_ids"] == ["os.get_terminal_size", "shutil.get_terminal_size"]


def test_at_least_1200_searches_have_a_click() -> None:
    assert len(CLICKED) >= 1200


def test_some_searches_have_none_but_few() -> None:
    assert 0 < len(ROWS) - len(CLICKED) < 0.04 * len(ROWS)


def test_every_row_has_the_fields_of_the_flattened_form() -> None:
    for row in ROWS:
        assert list(row) == FIELDS
        assert row["user_query"].strip() == row["user_query"] != ""
        assert len(set(row["query_response_hit_ids"])) == 10
        assert len(set(row["clicked_ids"])) == len(row["clicked_ids"]) <= 2


def test_query_ids_count_up() -> None:
    assert [row["query_id"] for row in ROWS] == [f"q{number:04d}" for number in range(1, len(ROWS) + 1)]


def test_timestamps_are_utc_sorted_and_within_the_eight_weeks() -> None:
    times = [_time(row) for row in ROWS]
    assert times == sorted(times)
    assert times[0] >= datetime(2026, 7, 6, tzinfo=UTC)
    assert times[-1] < datetime(2026, 8, 31, tzinfo=UTC)
    assert {time.utcoffset() for time in times} == {timedelta(0)}


def test_a_working_day_is_busier_than_a_day_of_the_weekend() -> None:
    weekend = sum(_time(row).weekday() >= 5 for row in ROWS) / 2
    assert (len(ROWS) - 2 * weekend) / 5 > 2 * weekend


def test_sessions_are_one_to_three_searches_within_minutes() -> None:
    sessions: dict[str, list[datetime]] = {}
    for row in ROWS:
        sessions.setdefault(row["session_id"], []).append(_time(row))
    assert {len(times) for times in sessions.values()} == {1, 2, 3}
    assert max(times[-1] - times[0] for times in sessions.values()) < timedelta(minutes=15)


def test_opened_and_shown_ids_are_in_the_corpus_of_this_python() -> None:
    ids = {item.id for item in corpus.load()}
    opened = [name for row in ROWS for name in row["clicked_ids"]]
    shown = [name for row in ROWS for name in row["query_response_hit_ids"]]
    assert sum(name in ids for name in opened) >= 0.95 * len(opened)
    assert sum(name in ids for name in shown) >= 0.95 * len(shown)


def test_popular_entries_are_opened_often_and_a_long_tail_once() -> None:
    opened = Counter(name for row in ROWS for name in row["clicked_ids"])
    assert opened.most_common(1)[0][1] >= 8
    assert len(opened) > 400
    assert sum(count == 1 for count in opened.values()) > 100


def test_few_questions_name_what_they_look_for() -> None:
    named = sum(any(name.lower() in row["user_query"].lower() for name in row["clicked_ids"] if "." in name) for row in ROWS)
    assert named < 0.02 * len(ROWS)


def test_the_stock_model_leaves_something_to_win() -> None:
    found = [len({*row["clicked_ids"]} & {*row["query_response_hit_ids"]}) / len(row["clicked_ids"]) for row in CLICKED]
    assert 0.40 < sum(found) / len(found) < 0.55


def test_the_file_is_ascii_and_one_object_a_line() -> None:
    content = query_log.path().read_bytes()
    assert content.isascii()
    assert b"\r" not in content
    assert [json.loads(line) for line in content.splitlines()] == ROWS
