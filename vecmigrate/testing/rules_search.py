"""Conformance rules on search: distances told apart, ties, filters, limits, pinning."""

# ruff: noqa: S101, D102 - a test suite asserts, and its names are its documentation

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vecmigrate.errors import VersionRetired, WrongSpace
from vecmigrate.filters import parse_filter
from vecmigrate.store import Capability, Store
from vecmigrate.testing.hooks import (
    CANDIDATE,
    CONTROL,
    TEXTS,
    WIDER,
    Hooks,
    begin,
    build,
    corpus,
    fill,
    finish,
    ids_found,
    model_of,
    plane,
    row,
)
from vecmigrate.versions import IndexVersion, Metric, State

# For the query (2, 0) the three metrics put these in three different orders, because their norms differ.
UNEQUAL = {"near": (2.0, 1.0), "short": (0.5, 0.0), "long": (3.0, 4.0)}
ORDERS: Mapping[Metric, tuple[tuple[str, float], ...]] = {
    Metric.COSINE: (("short", 1.0), ("near", 0.894427), ("long", 0.6)),
    Metric.INNER_PRODUCT: (("long", 6.0), ("near", 4.0), ("short", 1.0)),
    Metric.L2: (("near", -1.0), ("short", -1.5), ("long", -4.123106)),
}

FILTERS: tuple[tuple[Mapping[str, Any], set[str]], ...] = (
    ({"lang": "en"}, {"a", "b"}),
    ({"year": 2020}, {"b", "c"}),
    ({"price": 2.5}, {"b"}),
    ({"public": True}, {"a", "c"}),
    ({"public": False}, {"b"}),
    ({"lang": {"$in": ["de", "fr"]}}, {"c", "d"}),
    ({"year": {"$in": [2019, 2020]}}, {"a", "b", "c"}),
    ({"year": {"$gte": 2020}}, {"b", "c", "d"}),
    ({"year": {"$gt": 2019, "$lt": 2024}}, {"b", "c"}),
    ({"price": {"$lte": 2.5}}, {"a", "b"}),
    ({"lang": "en", "year": 2020}, {"b"}),
    ({"$and": [{"lang": "de"}, {"year": {"$lt": 2021}}]}, {"c"}),
    ({"$or": [{"lang": "fr"}, {"year": 2019}]}, {"a", "d"}),
    ({"$or": [{"$and": [{"lang": "en"}, {"public": True}]}, {"year": {"$gt": 2023}}]}, {"a", "d"}),
    ({"lang": "it's"}, set()),
    ({"no_such_value": {"$in": ["x"]}, "lang": "en"}, set()),
)


def _filterable() -> list[Any]:
    return [
        row("a", "alpha", lang="en", year=2019, price=1.5, public=True),
        row("b", "beta", lang="en", year=2020, price=2.5, public=False),
        row("c", "gamma", lang="de", year=2020, price=3.0, public=True),
        row("d", "delta", lang="fr", year=2024),
        row("e", "epsilon", no_such_value="y"),
    ]


class SearchRules(Hooks):
    """Best first, pinned to one version."""

    def _exactly(self, store: Store) -> tuple[bool, ...]:
        return (False, True) if store.can(Capability.EXACT_SEARCH).able else (False,)

    def _copy_of_control(self, store: Store) -> IndexVersion:
        """A version with the control's own vectors, so that both must answer alike."""
        rows = {chunk.id: chunk for batch in store.scan() for chunk in batch}
        control = store.versions()[0]
        vectors = store.vectors(control, list(rows))
        version = store.advance(store.create_version(model_of(control.model.dimension, "copy")), State.BACKFILLING, actor="t")
        store.load(version, [rows[id] for id in vectors], np.stack(list(vectors.values())))
        store.build_index(store.advance(version, State.INDEXING, actor="t"))
        return store.advance(store.versions()[1], State.CATCHING_UP, actor="t")

    @pytest.mark.parametrize("metric", list(Metric))
    def test_distances_are_told_apart(self, metric: Metric) -> None:
        store = self.open_adopted(plane(**UNEQUAL), metric=metric, dimension=2)
        for exact in self._exactly(store):
            hits = store.search(store.versions()[0], np.array([[2, 0]], dtype=np.float32), 3, exact=exact)[0]
            assert [hit.chunk_id for hit in hits] == [id for id, _ in ORDERS[metric]]
            assert [hit.score for hit in hits] == pytest.approx([score for _, score in ORDERS[metric]], abs=1e-4)

    @pytest.mark.parametrize("metric", list(Metric))
    def test_a_version_searches_by_the_metric_of_its_control(self, metric: Metric) -> None:
        store = self.open_adopted(plane(**UNEQUAL), metric=metric, dimension=2)
        version = store.advance(store.create_version(model_of(2, "candidate")), State.BACKFILLING, actor="t")
        chunks = list(store.fetch(list(UNEQUAL)).values())
        store.load(version, chunks, np.array([UNEQUAL[chunk.id] for chunk in chunks], dtype=np.float32))
        version = store.advance(version, State.INDEXING, actor="t")
        store.build_index(version)
        assert version.metric is metric
        for exact in self._exactly(store):
            hits = store.search(version, np.array([[2, 0]], dtype=np.float32), 3, exact=exact)[0]
            assert [hit.chunk_id for hit in hits] == [id for id, _ in ORDERS[metric]]
            assert [hit.score for hit in hits] == pytest.approx([score for _, score in ORDERS[metric]], abs=1e-4)

    @pytest.mark.parametrize("metric", list(Metric))
    def test_exact_and_indexed_search_agree_on_a_small_collection(self, metric: Metric) -> None:
        store = self.open_adopted(corpus(), metric=metric)
        version = self._copy_of_control(store)
        queries = CONTROL.encode_queries(list(TEXTS.values()))
        answers = [store.search(v, queries, 5, exact=exact) for v in (store.versions()[0], version) for exact in self._exactly(store)]
        for answer in answers[1:]:
            assert [[hit.chunk_id for hit in hits] for hits in answer] == [[hit.chunk_id for hit in hits] for hits in answers[0]]

    def test_ties_are_in_the_order_of_ids(self) -> None:
        store = self.open_adopted(plane(c=(1, 0), a=(1, 0), d=(1, 0), b=(1, 0), z=(0, 1)), dimension=2)
        for exact in self._exactly(store):
            assert ids_found(store, store.versions()[0], [1, 0], 4, exact=exact) == ["a", "b", "c", "d"]

    def test_exact_search_cuts_ties_by_id_too(self) -> None:
        store = self.open_adopted(plane(c=(1, 0), a=(1, 0), d=(1, 0), b=(1, 0), z=(0, 1)), dimension=2)
        if store.can(Capability.EXACT_SEARCH).able:
            assert ids_found(store, store.versions()[0], [1, 0], 2, exact=True) == ["a", "b"]

    def test_k_larger_than_the_collection_returns_all_of_it(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        for exact in self._exactly(store):
            for each in (store.versions()[0], version):
                assert set(ids_found(store, each, CONTROL.encode_queries(["sort"])[0], 500, exact=exact)) == set(TEXTS)

    def test_no_queries_have_no_answers(self) -> None:
        store = self.open_adopted(corpus())
        for exact in self._exactly(store):
            assert store.search(store.versions()[0], CONTROL.encode_queries([]), 3, exact=exact) == []

    def test_an_empty_collection_answers_with_nothing(self) -> None:
        store = self.open_adopted([])
        for exact in self._exactly(store):
            assert store.search(store.versions()[0], CONTROL.encode_queries(["a", "b"]), 3, exact=exact) == [(), ()]

    def test_every_query_has_its_own_answer(self) -> None:
        store = self.open_adopted(corpus())
        answers = store.search(store.versions()[0], CONTROL.encode_queries(list(TEXTS.values())), 1)
        assert [hits[0].chunk_id for hits in answers] == list(TEXTS)
        assert all(hits[0].score == pytest.approx(1.0, abs=1e-4) for hits in answers)

    def test_a_query_of_another_dimension_is_refused(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        for each in (store.versions()[0], version):
            for exact in self._exactly(store):
                with pytest.raises(WrongSpace):
                    store.search(each, WIDER.encode_queries(["sort"]), 3, exact=exact)

    @pytest.mark.parametrize(("where", "expected"), FILTERS, ids=[str(where) for where, _ in FILTERS])
    def test_a_filter_lets_through_what_passes_and_nothing_else(self, where: Mapping[str, Any], expected: set[str]) -> None:
        store = self.open_adopted(_filterable())
        if not store.can(Capability.FILTERED_SEARCH).able:
            pytest.skip(store.can(Capability.FILTERED_SEARCH).reason)
        version = build(store)
        queries = CONTROL.encode_queries(["alpha"])
        for each in (store.versions()[0], version):
            for exact in self._exactly(store):
                hits = store.search(each, queries, 10, where=parse_filter(where), exact=exact)[0]
                assert {hit.chunk_id for hit in hits} == expected
                assert len(hits) == len(expected)

    def test_a_selective_filter_still_returns_k(self) -> None:
        rows = [row(f"id{i:03}", f"text number {i} of some", rare=i % 20 == 0) for i in range(300)]
        store = self.open_adopted(rows)
        if not store.can(Capability.FILTERED_SEARCH).able:
            pytest.skip(store.can(Capability.FILTERED_SEARCH).reason)
        version = begin(store)
        fill(store, version, CANDIDATE, batch_size=100)
        finish(store, version)
        for each, encoder in ((store.versions()[0], CONTROL), (version, CANDIDATE)):
            hits = store.search(each, encoder.encode_queries(["text number 7 of some"]), 10, where=parse_filter({"rare": True}))[0]
            assert len(hits) == 10
            assert all(int(hit.chunk_id[2:]) % 20 == 0 for hit in hits)

    def test_two_versions_are_searched_each_in_its_own_space(self) -> None:
        store = self.open_adopted(corpus())
        narrow, wide = build(store, CANDIDATE), build(store, WIDER)
        for version, encoder in ((store.versions()[0], CONTROL), (narrow, CANDIDATE), (wide, WIDER)):
            hits = store.search(version, encoder.encode_queries([TEXTS["os.walk"]]), 1)[0]
            assert hits[0].chunk_id == "os.walk"
            assert hits[0].score == pytest.approx(1.0, abs=1e-3)

    def test_a_flip_does_not_move_a_pinned_search(self) -> None:
        store = self.open_adopted(corpus())
        control = store.versions()[0]
        build(store)
        before = store.search(control, CONTROL.encode_queries(["list files"]), 5)
        store.activate(1, expect_epoch=1, actor="op")
        assert store.search(control, CONTROL.encode_queries(["list files"]), 5) == before

    def test_a_removed_row_is_not_found(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        store.remove(version, ["sorted"])
        for exact in self._exactly(store):
            assert "sorted" not in ids_found(store, version, CANDIDATE.encode_queries([TEXTS["sorted"]])[0], 20, exact=exact)

    def test_a_number_that_is_another_models_now_is_not_searched(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        remembered = replace(version, model=replace(version.model, fingerprint="0" * 64))
        with pytest.raises(VersionRetired):
            store.search(remembered, CANDIDATE.encode_queries(["list files"]), 5)
