"""The dev pool: who gets in, in which order, and that chance is seeded."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import devpool
from vecmigrate.dataset.devpool import Lottery, choose_dev_queries, pool_candidates
from vecmigrate.dataset.searching import Mining
from vecmigrate.records import Judgment, Query

from .dataset_corpus import ENCODER, corpus, store_of


@given(st.lists(st.text(max_size=5), unique=True, max_size=30), st.integers(1, 10), st.randoms())
def test_a_lottery_draws_the_same_in_any_order(ids, size, draw):
    first, second = Lottery(size, 0), Lottery(size, 0)
    for id in ids:
        first.offer(id)
    draw.shuffle(ids)
    for id in ids:
        second.offer(id)
    assert first.winners == second.winners
    assert len(first.winners) == min(size, len(ids))


def test_another_seed_draws_others():
    draws = []
    for seed in (0, 1):
        lottery = Lottery(5, seed)
        for i in range(1000):
            lottery.offer(f"c{i}")
        draws.append(lottery.winners)
    assert draws[0] != draws[1]


def test_everyone_has_the_same_chance():
    lottery = Lottery(500, 7)
    for i in range(1000):
        lottery.offer(f"c{i}")
    low = sum(int(id[1:]) < 500 for id in lottery.winners)
    assert 210 < low < 290


def test_few_dev_queries_are_all_taken_and_many_sampled(monkeypatch):
    queries = [Query(f"q{i:02d}", "text") for i in range(20)]
    random.Random(0).shuffle(queries)
    assert [query.id for query in choose_dev_queries(queries, 0)] == [f"q{i:02d}" for i in range(20)]
    monkeypatch.setattr(devpool, "DEV_QUERIES", 5)
    chosen = choose_dev_queries(queries, 0)
    assert len(chosen) == 5
    assert chosen == choose_dev_queries(sorted(queries, key=lambda q: q.id), 0)


@pytest.fixture
def mining():
    store, control = store_of(corpus(200))
    return Mining(store, control, ENCODER, DatasetSection(), exact=True)


def test_judged_chunks_come_first_then_neighbours_by_rank_then_the_rest(mining, monkeypatch):
    texts = corpus(200)
    queries = [Query("q0", texts["c000"]), Query("q1", texts["c001"])]
    judgments = {"q0": [Judgment("q0", "c150", 1.0)], "q1": [Judgment("q1", "c151", 1.0)]}
    monkeypatch.setattr(devpool, "NEIGHBOURS", 3)
    pool = pool_candidates(mining, queries, judgments, ["c198", "c199"])
    assert pool[:4] == ["c150", "c151", "c000", "c001"]
    assert pool[-2:] == ["c198", "c199"]
    assert len(pool) == len(set(pool)) <= 10


def test_the_pool_is_cut_but_never_below_the_judged(mining, monkeypatch):
    monkeypatch.setattr(devpool, "POOL_SIZE", 2)
    texts = corpus(200)
    judgments = {"q0": [Judgment("q0", f"c{i:03d}", 1.0) for i in range(5)]}
    assert pool_candidates(mining, [Query("q0", texts["c000"])], judgments, ["c199"]) == [f"c{i:03d}" for i in range(5)]


def test_without_dev_queries_the_pool_is_the_rest(mining):
    assert pool_candidates(mining, [], {}, ["c003", "c001"]) == ["c003", "c001"]
