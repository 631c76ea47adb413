"""Whole groups, by time where there are times; too little is refused with numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import Split
from vecmigrate.dataset.splitting import refuse_too_few, split_queries
from vecmigrate.errors import DataError, UsageError
from vecmigrate.records import Query

START = datetime(2024, 1, 1, tzinfo=UTC)


def query(i, group=None, day=None):
    return Query(f"q{i}", f"text {i}", group if group is not None else f"g{i}", None if day is None else START + timedelta(days=day))


def timed(n):
    return [query(i, day=i) for i in range(n)]


def untimed(n):
    return [query(i) for i in range(n)]


def ids(chosen, split):
    return {id for id, where in chosen.items() if where == split}


def test_the_latest_are_the_test_and_the_next_latest_the_dev_split():
    chosen, report = split_queries(timed(20), DatasetSection())
    assert ids(chosen, Split.TEST) == {"q16", "q17", "q18", "q19"}
    assert ids(chosen, Split.DEV) == {"q14", "q15"}
    assert len(ids(chosen, Split.TRAIN)) == 14
    assert (report.by, report.first_test) == ("time", START + timedelta(days=16))
    assert report.lines() == [
        "split by time: train 14 queries in 14 groups, dev 2 queries in 2 groups, test 4 queries in 4 groups",
        "  test groups were last asked from 2024-01-17 00:00 UTC on, all others before or at that time",
        "  warning: underpowered: 4 test queries can show only very large differences; 50 are the least",
    ]


def test_a_group_stands_at_its_latest_query():
    queries = [query(0, "pair", day=0), query(1, "pair", day=99), *(query(i, day=i) for i in range(2, 20))]
    chosen, _ = split_queries(queries, DatasetSection())
    assert chosen["q0"] == chosen["q1"] == Split.TEST


def test_nothing_in_train_was_asked_after_the_first_of_the_test():
    queries = [query(i, f"g{i % 13}", day=(i * 7) % 40) for i in range(40)]
    chosen, report = split_queries(queries, DatasetSection())
    latest = {}
    for q in queries:
        latest[q.group] = max(latest.get(q.group, q.at), q.at)
    assert all(latest[q.group] <= report.first_test for q in queries if chosen[q.id] != Split.TEST)


def test_without_times_the_split_is_by_group_and_by_seed():
    one, report = split_queries(untimed(200), DatasetSection())
    again, _ = split_queries(list(reversed(untimed(200))), DatasetSection())
    other, _ = split_queries(untimed(200), DatasetSection(seed=1))
    assert report.by == "group"
    assert [len(ids(one, split)) for split in (Split.TRAIN, Split.DEV, Split.TEST)] == [140, 20, 40]
    assert one == again
    assert one != other


def test_the_split_by_group_can_be_asked_for_although_there_are_times():
    chosen, report = split_queries(timed(100), DatasetSection(split_by="group"))
    assert (report.by, report.first_test) == ("group", None)
    assert ids(chosen, Split.TEST) != {f"q{i}" for i in range(80, 100)}


def test_a_few_queries_without_times_are_left_out_of_a_split_by_time():
    chosen, report = split_queries([*timed(97), *(query(i) for i in range(97, 100))], DatasetSection())
    assert (report.by, report.untimed) == ("time", 3)
    assert len(chosen) == 97
    assert "  3 queries without a time were left out" in report.lines()


def test_too_many_without_times_make_it_a_split_by_group():
    _, report = split_queries([*timed(90), *(query(i) for i in range(90, 100))], DatasetSection())
    assert (report.by, report.untimed) == ("group", 0)


def test_one_and_the_same_time_for_all_is_no_order():
    _, report = split_queries([query(i, day=1) for i in range(50)], DatasetSection())
    assert report.by == "group"


def test_a_split_by_time_that_cannot_be_is_refused_with_numbers():
    with pytest.raises(DataError, match=r"50% of the queries have a time, and 10 different times") as caught:
        split_queries([*timed(10), *(query(i) for i in range(10, 20))], DatasetSection(split_by="time"))
    assert 'split_by = "group"' in caught.value.hint


@pytest.mark.parametrize(
    ("n", "word"), [(0, "0 usable queries"), (1, "1 usable query in"), (5, "5 usable queries"), (9, "9 usable queries")]
)
def test_too_few_queries_are_refused_with_numbers_and_the_next_step(n, word):
    with pytest.raises(DataError, match=f"{word}.*at least 10 are needed") as caught:
        split_queries(timed(n), DatasetSection())
    assert "vecmigrate logs stats" in caught.value.hint
    assert caught.value.hint.endswith("vecmigrate dataset build --synthetic local --without-log")


def test_ten_are_enough_to_go_on():
    refuse_too_few(10)
    chosen, _ = split_queries(timed(10), DatasetSection())
    assert [len(ids(chosen, split)) for split in (Split.TRAIN, Split.DEV, Split.TEST)] == [7, 1, 2]


def test_small_fractions_still_get_one_query_and_zero_gets_none():
    chosen, _ = split_queries(timed(10), DatasetSection(test_fraction=0.01, dev_fraction=0))
    assert (len(ids(chosen, Split.TEST)), len(ids(chosen, Split.DEV))) == (1, 0)


def test_fractions_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(UsageError, match=r"test_fraction 0\.5 and dev_fraction 0\.5 leave nothing"):
        split_queries(timed(20), DatasetSection(test_fraction=0.5, dev_fraction=0.5))


def test_one_group_cannot_be_split():
    with pytest.raises(DataError, match=r"1 groups of like wording, .* would be empty"):
        split_queries([query(i, "same") for i in range(30)], DatasetSection())


def test_two_groups_cannot_fill_three_splits():
    with pytest.raises(DataError, match="2 groups of like wording"):
        split_queries([query(i, f"g{i % 2}", day=i) for i in range(30)], DatasetSection())


def test_a_group_too_large_for_the_test_goes_to_train():
    queries = [*(query(i, "giant") for i in range(60)), *(query(i) for i in range(60, 100))]
    chosen, report = split_queries(queries, DatasetSection())
    assert {chosen[f"q{i}"] for i in range(60)} == {Split.TRAIN}
    assert report.queries["test"] == 20


def test_fifty_test_queries_are_not_underpowered():
    assert split_queries(timed(250), DatasetSection())[1].warnings == ()
    assert split_queries(timed(245), DatasetSection())[1].warnings != ()


@example_settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(0, 30))), min_size=10, max_size=60), st.integers(0, 5))
def test_no_group_ever_parts_and_no_query_is_in_two_splits(rows, seed):
    queries = [query(i, f"g{group}", day) for i, (group, day) in enumerate(rows)]
    try:
        chosen, report = split_queries(queries, DatasetSection(seed=seed))
    except DataError:
        return
    where = {}
    for q in queries:
        if q.id in chosen:
            assert where.setdefault(q.group, chosen[q.id]) == chosen[q.id]
    assert sum(report.queries.values()) == len(chosen)
    assert len(chosen) + report.untimed == len(queries)
    assert set(chosen.values()) == set(Split)
