"""Conformance rules on reading the application's collection."""

# ruff: noqa: S101, D102 - a test suite asserts, and its names are its documentation

from __future__ import annotations

import pytest

from vecmigrate.store import Capability, RowSource, Store
from vecmigrate.testing.hooks import DIMENSION, TEXTS, Hooks, corpus, plane, row
from vecmigrate.versions import Metric, State

AWKWARD_IDS = ("it's", 'say "hi"', "two words", "a/b\\c", "ключ-鍵-🔑", "%s;--", "x" * 500, "[1, 2]", "nan", "$and")
AWKWARD_TEXTS = ("first line\nsecond line\ttabbed", "emoji 🚀 and 漢字", 'it\'s "quoted" and `ticked`', " white space ", "%s {} \\n")


class SourceRules(Hooks):
    """inspect, count, scan, sample, fetch and can."""

    def test_the_store_keeps_the_protocol(self) -> None:
        store = self.open(corpus())
        assert isinstance(store, Store)
        assert store.name
        assert store.collection

    def test_scan_yields_every_chunk_once_in_batches(self) -> None:
        batches = list(self.open(corpus()).scan(batch_size=3))
        assert all(1 <= len(batch) <= 3 for batch in batches)
        found = [(chunk.id, chunk.text) for batch in batches for chunk in batch]
        assert sorted(found) == sorted(TEXTS.items())

    def test_an_empty_collection_reads_as_empty(self) -> None:
        store = self.open([])
        assert (store.count(), list(store.scan()), list(store.sample(5)), store.fetch(["a"])) == (0, [], [], {})
        assert store.inspect().rows == 0

    def test_a_sample_is_the_same_for_the_same_seed(self) -> None:
        store = self.open([row(f"id{i:03}", f"text number {i}") for i in range(60)])
        first, again, other = (list(store.sample(10, seed=seed)) for seed in (1, 1, 2))
        assert first == again
        assert {chunk.id for chunk in first} != {chunk.id for chunk in other}
        assert len({chunk.id for chunk in first}) == 10

    def test_a_sample_larger_than_the_collection_is_all_of_it(self) -> None:
        store = self.open(corpus())
        assert sorted(chunk.id for chunk in store.sample(1000)) == sorted(TEXTS)
        assert list(store.sample(0)) == []

    def test_fetch_leaves_out_ids_that_are_not_there(self) -> None:
        store = self.open(corpus())
        found = store.fetch(["sorted", "no such id", "os.walk", "sorted"])
        assert {id: chunk.text for id, chunk in found.items()} == {"sorted": TEXTS["sorted"], "os.walk": TEXTS["os.walk"]}
        assert store.fetch([]) == {}

    def test_fetch_takes_any_number_of_ids(self) -> None:
        store = self.open(corpus())
        assert list(store.fetch([f"absent {i}" for i in range(40_000)] + ["sorted"])) == ["sorted"]

    def test_blank_texts_are_passed_over_and_counted(self) -> None:
        store = self.open([*corpus(), row("empty", ""), row("white", " \n\t "), row("none", None)])
        assert store.count() == len(TEXTS)
        assert {chunk.id for batch in store.scan() for chunk in batch} == set(TEXTS)
        assert {chunk.id for chunk in store.sample(100)} == set(TEXTS)
        inspection = store.inspect()
        assert (inspection.rows, inspection.rows_without_text) == (len(TEXTS) + 3, 3)

    def test_rows_without_a_vector_are_counted_and_not_sampled(self) -> None:
        if not self.rows_may_lack_vectors:
            pytest.skip("this store's rows always have a vector")
        bare = row("bare", "a text that nobody embedded yet")
        store = self.open([*corpus(), type(bare)(bare.id, bare.text, None)])
        assert store.inspect().rows_without_vector == 1
        assert store.count() == len(TEXTS) + 1
        assert {chunk.id for chunk in store.sample(100)} == set(TEXTS)

    def test_awkward_ids_come_back_as_they_were(self) -> None:
        store = self.open([row(id, f"text of number {i}") for i, id in enumerate(AWKWARD_IDS)])
        assert {chunk.id for batch in store.scan(batch_size=2) for chunk in batch} == set(AWKWARD_IDS)
        assert set(store.fetch(AWKWARD_IDS)) == set(AWKWARD_IDS)

    def test_awkward_texts_come_back_as_they_were(self) -> None:
        store = self.open([row(f"id{i}", text) for i, text in enumerate(AWKWARD_TEXTS)])
        assert sorted(chunk.text for batch in store.scan() for chunk in batch) == sorted(AWKWARD_TEXTS)

    def test_metadata_comes_back_with_its_types(self) -> None:
        store = self.open([row("a", "one", lang="en", year=2024, price=1.5, public=True), row("b", "two", lang="de")])
        chunks = store.fetch(["a", "b"])
        found = {id: {k: v for k, v in chunk.metadata.items() if v is not None} for id, chunk in chunks.items()}
        assert found == {"a": {"lang": "en", "year": 2024, "price": 1.5, "public": True}, "b": {"lang": "de"}}
        assert [type(found["a"][k]) for k in ("lang", "year", "price", "public")] == [str, int, float, bool]

    @pytest.mark.parametrize("metric", list(Metric))
    def test_inspect_says_what_is_there(self, metric: Metric) -> None:
        store = self.open([row("a", "one", lang="en"), row("b", "two", lang="de", year=1)], metric=metric)
        found = store.inspect()
        assert (found.rows, found.rows_without_text, found.rows_without_vector) == (2, 0, 0)
        assert (found.adapter, found.collection, found.metric) == (store.name, store.collection, metric)
        assert dict(found.dimensions) == {DIMENSION: 2}
        assert {"lang", "year"} <= set(found.filter_fields)

    def test_reading_registers_nothing(self) -> None:
        store = self.open(corpus())
        store.inspect()
        list(store.scan())
        assert (list(store.versions()), store.pointer(), list(store.history())) == ([], None, [])

    @pytest.mark.parametrize("capability", list(Capability))
    def test_a_capability_that_is_lacking_has_a_reason(self, capability: Capability) -> None:
        probe = self.open(plane(a=(1, 0)), dimension=2).can(capability)
        assert probe.able or probe.reason

    def test_a_store_that_reads_rows_is_a_row_source(self) -> None:
        store = self.open(corpus())
        assert store.can(Capability.READ_ROWS).able == isinstance(store, RowSource)

    def test_closing_twice_is_once(self) -> None:
        store = self.open(corpus())
        store.close()
        store.close()

    def test_what_one_handle_writes_another_sees(self) -> None:
        store = self.open_adopted(corpus())
        other = self.open_again(store)
        assert other.count() == len(TEXTS)
        assert [version.state for version in other.versions()] == [State.ACTIVE]
        assert other.pointer() == store.pointer()
