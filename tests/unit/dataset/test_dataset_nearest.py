"""Brute force in blocks gives what brute force at once gives, whatever the blocks, in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import build_dataset, storage
from vecmigrate.dataset import nearest as module
from vecmigrate.dataset.nearest import nearest, unit
from vecmigrate.dataset.searching import Mining, how_to_search
from vecmigrate.testing.brute_force import scores
from vecmigrate.testing.memory import MemoryStore
from vecmigrate.versions import AnnParameters, Metric

from .dataset_corpus import ENCODER, asked, corpus, store_of


def drawn(count, seed=0, dimension=8):
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def blocks_of(vectors, size):
    ids = [f"c{number:05d}" for number in range(len(vectors))]
    for start in range(0, len(ids), size):
        yield ids[start : start + size], vectors[start : start + size]


def at_once(queries, vectors, k, metric):
    table = scores(queries, vectors, metric)
    return [tuple(f"c{place:05d}" for place in np.argsort(-row, kind="stable")[:k]) for row in table]


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_blocks_change_nothing(metric, size):
    queries, vectors = drawn(20, 1), drawn(300, 2)
    assert nearest(queries, blocks_of(vectors, size), 10, metric=metric) == at_once(queries, vectors, 10, metric)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 15), st.integers(0, 1000))
def test_any_number_of_chunks_queries_and_hits(chunks, size, k, seed):
    queries, vectors = drawn(3, seed), drawn(chunks, seed + 1)
    assert nearest(queries, blocks_of(vectors, size), k) == at_once(queries, vectors, k, Metric.COSINE)


def test_queries_beyond_a_tile_are_searched_too(monkeypatch):
    monkeypatch.setattr(module, "TILE", 4)
    queries, vectors = drawn(11, 3), drawn(60, 4)
    assert nearest(queries, blocks_of(vectors, 16), 5) == at_once(queries, vectors, 5, Metric.COSINE)


def test_among_equals_the_first_read_comes_first():
    same = np.ones((6, 2), dtype=np.float32)
    assert nearest(same[:1], blocks_of(same, 2), 3) == [("c00000", "c00001", "c00002")]


def test_vectors_without_a_direction_are_passed_over():
    vectors = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 0], [0, 1]], dtype=np.float32)
    assert nearest(np.array([[1, 0.1]], dtype=np.float32), blocks_of(vectors, 2), 9) == [("c00000", "c00004")]
    assert nearest(np.array([[1, 0.1]], dtype=np.float32), blocks_of(vectors, 2), 9, metric=Metric.L2) == [("c00000", "c00001", "c00004")]


def test_without_chunks_nothing_is_near_and_without_queries_there_is_no_answer():
    assert nearest(drawn(2), [], 3) == [(), ()]
    assert nearest(drawn(0), blocks_of(drawn(5), 2), 3) == []


def test_vectors_are_brought_to_length_one_and_those_without_left_out():
    scaled, usable = unit(np.array([[3, 4], [0, 0], [np.nan, 0]], dtype=np.float32))
    assert scaled.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert usable.tolist() == [True, False, False]


def peak_of(chunks):
    queries = drawn(100, dimension=16)
    tracemalloc.start()
    try:
        made = (([f"c{start + i}" for i in range(1000)], drawn(1000, start, 16)) for start in range(0, chunks, 1000))
        assert len(nearest(queries, made, 10)) == 100
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_chunks():
    peak_of(1000)
    assert peak_of(60_000) < peak_of(6000) + 500_000


# In place of the store's own search.


def wide(store, **changes):
    control = store.adopt(ENCODER.model)
    return type(control)(**{**{name: getattr(control, name) for name in control.__slots__}, **changes})


@pytest.mark.parametrize(
    ("rows", "kind", "setting", "expected"),
    [
        (20_000, "hnsw", "auto", (True, False)),
        (20_001, "hnsw", "auto", (False, False)),
        (20_001, "none", "auto", (False, True)),
        (20_000, "hnsw", "exact", (True, False)),
        (20_001, "hnsw", "exact", (False, True)),
        (100, "none", "index", (False, False)),
    ],
)
def test_how_a_collection_is_searched_hangs_on_its_size_its_index_and_the_setting(rows, kind, setting, expected):
    store, control = store_of(corpus(20))
    control = wide(store, ann=AnnParameters(kind=kind))
    assert how_to_search(store, control, DatasetSection(negative_search=setting), rows) == expected


@pytest.mark.parametrize("metric", list(Metric))
def test_blocks_rank_as_the_store_does(tmp_path, metric, monkeypatch):
    monkeypatch.setattr("vecmigrate.dataset.searching.BLOCK", 16)
    texts = corpus(90)
    store, _ = store_of(texts)
    control = wide(store, metric=metric)
    storage.write_table(tmp_path / "chunks.parquet", {"id": "string"}, [[(id,) for id in texts]])
    queries = ENCODER.encode_queries([query.text for query in asked(texts, 30).queries])
    mining = Mining(store, control, ENCODER, DatasetSection(), exact=True)
    blocks = Mining(store, control, ENCODER, DatasetSection(), chunks=tmp_path / "chunks.parquet")
    assert list(blocks.ranked(queries, 20)) == list(mining.ranked(queries, 20))
    assert blocks.line() == "searched by brute force, the vectors read in blocks"


def test_a_large_collection_without_an_index_is_mined_without_a_search_of_the_store(tmp_path, monkeypatch):
    texts = corpus()
    store, _ = store_of(texts)
    bare = wide(store, ann=AnnParameters(kind="none"))
    searched = build_dataset(store, bare, ENCODER, asked(texts), DatasetSection(), tmp_path / "one")
    monkeypatch.setattr("vecmigrate.dataset.searching.EXACT_UP_TO", 100)
    monkeypatch.setattr(MemoryStore, "search", None)
    in_blocks = build_dataset(store, bare, ENCODER, asked(texts), DatasetSection(), tmp_path / "two")
    assert in_blocks.training_pairs() == searched.training_pairs()
    assert in_blocks.dev_set() == searched.dev_set()
    assert "  searched by brute force, the vectors read in blocks" in in_blocks.report
