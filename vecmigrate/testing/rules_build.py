"""Conformance rules on making a version: pending, load, remove, build_index, differences, health, vectors, drop."""

# ruff: noqa: S101, D102 - a test suite asserts, and its names are its documentation

from __future__ import annotations

import numpy as np
import pytest

from vecmigrate.errors import Conflict, DataError, PreflightRefused, VecmigrateError, VersionRetired, WrongSpace
from vecmigrate.store import Capability
from vecmigrate.testing.hooks import CANDIDATE, CONTROL, DIMENSION, TEXTS, WIDER, Hooks, begin, build, corpus, fill, ids_found, row, stored
from vecmigrate.testing.rules_source import AWKWARD_IDS, AWKWARD_TEXTS
from vecmigrate.versions import Element, State


class BuildRules(Hooks):
    """Versions beside the application's data."""

    def test_versions_are_numbered_from_one_and_start_planned(self) -> None:
        store = self.open_adopted(corpus())
        first, second = store.create_version(CANDIDATE.model), store.create_version(WIDER.model)
        assert [(v.number, v.state) for v in (first, second)] == [(1, State.PLANNED), (2, State.PLANNED)]
        listed = store.versions()
        assert [v.name for v in listed] == [f"{store.collection}@v{n}" for n in range(3)]
        assert [v.model for v in listed] == [CONTROL.model, CANDIDATE.model, WIDER.model]
        assert {v.metric for v in listed} == {store.inspect().metric}

    def test_all_is_pending_at_first_and_nothing_after_the_load(self) -> None:
        store = self.open_adopted(corpus())
        version = begin(store)
        assert sorted(fill(store, version, CANDIDATE)) == sorted(TEXTS)
        assert list(store.pending(version)) == []
        found = store.differences(version)
        assert found.clean
        assert (found.expected, found.present) == (len(TEXTS), len(TEXTS))

    def test_pending_comes_in_batches_with_texts(self) -> None:
        store = self.open_adopted(corpus())
        batches = list(store.pending(begin(store), batch_size=2))
        assert all(1 <= len(batch) <= 2 for batch in batches)
        assert {chunk.id: chunk.text for batch in batches for chunk in batch} == TEXTS

    def test_a_build_that_stopped_half_way_resumes_where_it_was(self) -> None:
        store = self.open_adopted(corpus())
        version = begin(store)
        first = next(iter(store.pending(version, batch_size=4)))
        store.load(version, first, CANDIDATE.encode_documents([chunk.text for chunk in first]))
        rest = fill(self.open_again(store), version, CANDIDATE)
        assert sorted(rest) == sorted(set(TEXTS) - {chunk.id for chunk in first})

    def test_before_the_load_all_is_missing(self) -> None:
        store = self.open_adopted(corpus())
        found = store.differences(begin(store), sample=2)
        assert (found.expected, found.present, found.n_missing, found.n_stale, found.n_extra) == (len(TEXTS), 0, len(TEXTS), 0, 0)
        assert len(found.missing) == 2
        assert set(found.missing) <= set(TEXTS)

    def test_a_changed_text_is_stale_and_pending_again(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        self.put(store, row("sorted", "an entirely new text"))
        found = store.differences(version)
        assert (found.stale, found.n_stale, found.clean) == (("sorted",), 1, False)
        assert [(chunk.id, chunk.text) for batch in store.pending(version) for chunk in batch] == [("sorted", "an entirely new text")]
        fill(store, version, CANDIDATE)
        assert store.differences(version).clean

    def test_a_new_row_is_missing(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        self.put(store, row("new", "a row that came later"))
        assert store.differences(version).missing == ("new",)
        assert fill(store, version, CANDIDATE) == ["new"]
        assert store.differences(version).clean

    def test_a_deleted_row_is_extra_until_removed(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        self.delete(store, "os.walk")
        found = store.differences(version)
        assert (found.extra, found.n_extra, found.expected, found.present) == (("os.walk",), 1, len(TEXTS) - 1, len(TEXTS))
        store.remove(version, ["os.walk", "never there"])
        assert store.differences(version).clean

    def test_a_vector_without_a_text_is_no_fault_of_the_control(self) -> None:
        store = self.open_adopted([*corpus(), row("blank", "")])
        found = store.differences(store.versions()[0])
        assert (found.expected, found.present, found.clean) == (len(TEXTS), len(TEXTS), True)

    def test_a_row_whose_text_went_blank_is_extra(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        self.put(store, row("re.sub", "   "))
        assert store.differences(version).extra == ("re.sub",)

    def test_removing_nothing_and_loading_nothing_do_nothing(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        store.remove(version, [])
        store.load(version, [], np.empty((0, DIMENSION), dtype=np.float32))
        assert store.differences(version).clean

    def test_loading_twice_is_loading_once_and_the_last_vector_stays(self) -> None:
        store = self.open_adopted(corpus())
        version = begin(store)
        chunks = list(store.fetch(["sorted", "os.walk"]).values())
        store.load(version, chunks, CONTROL.encode_documents([chunk.text for chunk in chunks]))
        wanted = CANDIDATE.encode_documents([chunk.text for chunk in chunks])
        store.load(version, chunks, wanted)
        assert store.differences(version).present == 2
        found = store.vectors(version, [chunk.id for chunk in chunks])
        assert np.allclose([found[chunk.id] for chunk in chunks], wanted, atol=1e-5)

    @pytest.mark.parametrize("damage", ["dimension", "nan", "infinite", "zero", "count"])
    def test_vectors_that_cannot_be_used_are_refused_and_nothing_is_kept(self, damage: str) -> None:
        store = self.open_adopted(corpus())
        version = begin(store)
        chunks = list(store.fetch(["sorted", "os.walk", "re.sub"]).values())
        vectors = (WIDER if damage == "dimension" else CANDIDATE).encode_documents([chunk.text for chunk in chunks])
        if damage in ("nan", "infinite"):
            vectors[1, 2] = np.nan if damage == "nan" else np.inf
        elif damage == "zero":
            vectors[1] = 0
        elif damage == "count":
            vectors = vectors[:2]
        with pytest.raises(WrongSpace if damage == "dimension" else DataError):
            store.load(version, chunks, vectors)
        assert store.differences(version).present == 0

    def test_a_row_that_changes_while_it_is_encoded_is_not_taken_for_current(self) -> None:
        store = self.open_adopted(corpus())
        version = begin(store)
        chunks = [chunk for batch in store.pending(version) for chunk in batch]
        self.put(store, row("sorted", "written while the old text was encoded"))
        self.delete(store, "os.walk")
        again = set(store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks])))
        assert again <= {"sorted", "os.walk"}
        assert "sorted" in again | {chunk.id for batch in store.pending(version) for chunk in batch}
        assert "os.walk" in again | set(store.differences(version).extra)

    def test_a_row_that_is_back_when_it_was_removed_is_not_forgotten(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        again = set(store.remove(version, ["sorted"]))
        assert again <= {"sorted"}
        assert "sorted" in again | {chunk.id for batch in store.pending(version) for chunk in batch}

    def test_vectors_to_reuse_are_of_exactly_these_texts(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        self.put(store, row("sorted", "an entirely new text"))
        chunks = list(store.fetch(list(TEXTS)).values())
        kept = store.reusable(version, chunks)
        assert "sorted" not in kept
        held = store.vectors(version, list(kept))
        assert all(np.array_equal(kept[id], held[id]) for id in kept)

    def test_awkward_ids_and_texts_make_the_whole_way(self) -> None:
        pairs = [(id, AWKWARD_TEXTS[i % len(AWKWARD_TEXTS)] + f" {i}") for i, id in enumerate(AWKWARD_IDS)]
        store = self.open_adopted([row(id, text) for id, text in pairs])
        version = build(store)
        assert store.differences(version).clean
        assert set(store.vectors(version, AWKWARD_IDS)) == set(AWKWARD_IDS)
        for id, text in pairs:
            assert ids_found(store, version, CANDIDATE.encode_queries([text])[0], 1) == [id]
        store.remove(version, AWKWARD_IDS)
        assert store.differences(version).present == 0

    def test_the_index_is_built_twice_without_harm(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        store.build_index(version)
        assert store.health(version).index_valid is not False
        assert ids_found(store, version, CANDIDATE.encode_queries([TEXTS["re.sub"]])[0], 1) == ["re.sub"]

    def test_a_healthy_version_has_no_bad_vectors(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        for each in (stored(store, version), store.versions()[0]):
            found = store.health(each)
            assert (found.bad_vectors, found.index_valid is not False) == (0, True)

    def test_vectors_are_those_that_were_loaded(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        found = store.vectors(version, [*TEXTS, "never there"])
        assert set(found) == set(TEXTS)
        assert all(vector.shape == (DIMENSION,) and vector.dtype == np.float32 for vector in found.values())
        assert np.allclose([found[id] for id in TEXTS], CANDIDATE.encode_documents(list(TEXTS.values())), atol=1e-5)
        control = store.vectors(store.versions()[0], ["sorted"])
        assert np.allclose(control["sorted"], CONTROL.encode_documents([TEXTS["sorted"]])[0], atol=1e-5)

    def test_a_version_of_an_empty_collection_is_built_and_empty(self) -> None:
        store = self.open_adopted([])
        version = build(store)
        found = store.differences(version)
        assert (found.expected, found.present, found.clean) == (0, 0, True)
        assert store.search(version, CANDIDATE.encode_queries(["anything"]), 3) == [()]

    def test_the_control_is_never_written_to(self) -> None:
        store = self.open_adopted(corpus())
        control = store.versions()[0]
        chunks = list(store.fetch(["sorted"]).values())
        with pytest.raises(PreflightRefused):
            store.remove(control, ["sorted"])
        with pytest.raises(PreflightRefused):
            store.load(control, chunks, CONTROL.encode_documents(["another text"]))
        with pytest.raises(PreflightRefused):
            store.drop(control)
        assert store.fetch(["sorted"])["sorted"].text == TEXTS["sorted"]
        assert ids_found(store, control, CONTROL.encode_queries([TEXTS["sorted"]])[0], 1) == ["sorted"]

    def test_building_leaves_the_application_as_it_was(self) -> None:
        rows = [row("a", "one", lang="en", year=2024), row("b", "two", lang="de")]
        store = self.open_adopted(rows)
        before = (store.fetch(["a", "b"]), store.inspect().rows)
        build(store)
        assert (store.fetch(["a", "b"]), store.inspect().rows) == before

    def test_a_version_in_use_is_not_dropped(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        with pytest.raises((Conflict, PreflightRefused)):
            store.drop(version)
        assert store.differences(version).clean

    @pytest.mark.parametrize("end", [State.RETIRED, State.CANCELLED])
    def test_a_version_that_has_gone_is_dropped_and_says_so_to_readers(self, end: State) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        if end is State.RETIRED:
            store.activate(1, expect_epoch=1, actor="op")
            store.activate(0, expect_epoch=2, actor="op")
        gone = store.advance(stored(store, version), end, actor="op")
        store.drop(gone)
        store.drop(gone)
        assert [(v.number, v.state) for v in store.versions()] == [(0, State.ACTIVE), (1, end)]
        with pytest.raises(VersionRetired):
            store.search(version, CANDIDATE.encode_queries(["sort"]), 3)
        assert store.create_version(WIDER.model).number == 2

    def test_half_precision_is_kept_or_refused(self) -> None:
        store = self.open_adopted(corpus())
        if store.can(Capability.HALF_PRECISION).able:
            version = store.create_version(CANDIDATE.model, element=Element.FLOAT16)
            assert (version.element, stored(store, version).element) == (Element.FLOAT16, Element.FLOAT16)
        else:
            with pytest.raises(VecmigrateError, match="16"):
                store.create_version(CANDIDATE.model, element=Element.FLOAT16)
            assert len(store.versions()) == 1
