"""Conformance rules on versions that search another version's vectors, for stores that are able to."""

# ruff: noqa: S101, D102 - a test suite asserts, and its names are its documentation

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from vecmigrate.errors import Conflict, NotFound, PreflightRefused, VecmigrateError, VersionRetired, WrongSpace
from vecmigrate.store import Capability, Store
from vecmigrate.testing.encoders import TranslatingEncoder
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
    row,
    stored,
)
from vecmigrate.versions import GONE, IndexVersion, Pointer, State

TUNED = TranslatingEncoder(CONTROL, {"erase": "delete", "folder": "directory"})
"""Knows that who wants to erase a folder deletes a directory; its documents are the control's."""
SWAPPED = TranslatingEncoder(CONTROL, {"parse": TEXTS["time.sleep"], **dict.fromkeys(("a", "json", "document", "from", "text"), "")})
"""Takes the text of `json.loads` for that of `time.sleep`, so that its answer to it and the control's are never the same."""
OVER_CANDIDATE = TranslatingEncoder(CANDIDATE, {"erase": "delete", "folder": "directory"})
QUESTION = "erase folder tree"
WITH_BOTH = pytest.mark.parametrize("of", ["the application", "ours"])
"""Sharing with the application's own vectors, and with those of a version of ours."""


class SharingRules(Hooks):
    """No storage of its own, the same answers as its holder's vectors give, and no end of these while it is there."""

    def open_sharing(self) -> tuple[Store, IndexVersion]:
        """An adopted store, and v1, READY, which shares the vectors of v0."""
        store = self.open_adopted(corpus())
        self._require(store)
        return store, share(store)

    def open_beside(self) -> tuple[Store, IndexVersion, IndexVersion]:
        """An adopted store, v1 with vectors of its own, READY, and v2, which shares these."""
        store = self.open_adopted(corpus())
        self._require(store)
        holder = build(store)
        return store, holder, share(store, OVER_CANDIDATE, "v1")

    def open_either(self, of: str) -> tuple[Store, IndexVersion, TranslatingEncoder]:
        """An adopted store, a version that shares vectors of the application or of ours, READY, and its encoder."""
        if of == "the application":
            return (*self.open_sharing(), TUNED)
        store, _, version = self.open_beside()
        return store, version, OVER_CANDIDATE

    def _require(self, store: Store) -> None:
        probe = store.can(Capability.SHARED_VECTORS)
        if not probe.able:
            pytest.skip(probe.reason)

    # What it is.

    def test_a_sharing_version_says_whose_vectors_it_searches(self) -> None:
        store = self.open_adopted(corpus())
        self._require(store)
        made = store.create_version(TUNED.model, shares="v0", actor="ann")
        assert (made.number, made.state, made.shares, made.holder) == (1, State.PLANNED, f"{store.collection}@v0", 0)
        control, listed = self.open_again(store).versions()
        assert (listed.shares, listed.model, listed.location) == (made.shares, TUNED.model, control.location)
        assert (listed.metric, listed.element, listed.ann) == (control.metric, control.element, control.ann)
        assert [(e.actor, e.detail["shares"]) for e in store.history() if e.kind == "create"] == [("ann", made.shares)]

    @WITH_BOTH
    def test_its_vectors_are_the_holders_and_its_queries_its_own(self, of: str) -> None:
        store, version, tuned = self.open_either(of)
        holder = store.versions()[version.holder]
        plain = CONTROL if version.holder == 0 else CANDIDATE
        question = tuned.encode_queries([QUESTION])
        assert np.allclose(question, plain.encode_queries(["delete directory tree"]))
        assert [h.chunk_id for h in store.search(version, question, 1)[0]] == ["shutil.rmtree"]
        assert store.search(version, question, 5) == store.search(holder, question, 5)
        found, same = store.vectors(version, [*TEXTS, "never there"]), store.vectors(holder, list(TEXTS))
        assert set(found) == set(TEXTS)
        assert all(np.array_equal(found[id], same[id]) for id in TEXTS)
        assert store.differences(version) == store.differences(holder)
        assert store.health(version) == store.health(holder)

    @WITH_BOTH
    def test_it_is_whole_from_the_start_and_nothing_is_pending(self, of: str) -> None:
        store, version, _ = self.open_either(of)
        found = store.differences(version)
        assert (found.expected, found.present, found.clean) == (len(TEXTS), len(TEXTS), True)
        assert list(store.pending(version)) == []
        store.build_index(version)
        assert store.health(version).index_valid is not False

    def test_sharing_with_a_version_that_shares_is_sharing_with_its_holder(self) -> None:
        store, first = self.open_sharing()
        second = store.create_version(SWAPPED.model, shares=first.name)
        assert (second.number, second.shares) == (2, f"{store.collection}@v0")

    @WITH_BOTH
    def test_exact_search_finds_the_same(self, of: str) -> None:
        store, version, tuned = self.open_either(of)
        if store.can(Capability.EXACT_SEARCH).able:
            assert ids_found(store, version, tuned.encode_queries([QUESTION])[0], 1, exact=True) == ["shutil.rmtree"]

    @WITH_BOTH
    def test_a_query_of_another_dimension_is_refused_there_too(self, of: str) -> None:
        store, version, _ = self.open_either(of)
        with pytest.raises(WrongSpace):
            store.search(version, WIDER.encode_queries(["sort"]), 3)

    # What is refused.

    def test_vectors_of_other_documents_are_not_shared(self) -> None:
        store = self.open_adopted(corpus())
        self._require(store)
        for model in (
            CANDIDATE.model,
            OVER_CANDIDATE.model,
            replace(TUNED.model, dimension=24),
            replace(TUNED.model, document_prompt="p: "),
        ):
            with pytest.raises(WrongSpace):
                store.create_version(model, shares="v0")
        for label, error in (("v7", NotFound), ("latest", VecmigrateError)):
            with pytest.raises(error):
                store.create_version(TUNED.model, shares=label)
        assert len(store.versions()) == 1

    def test_vectors_that_are_not_complete_are_not_shared(self) -> None:
        store = self.open_adopted(corpus())
        self._require(store)
        version = begin(store)
        with pytest.raises(PreflightRefused):
            store.create_version(OVER_CANDIDATE.model, shares="v1")
        fill(store, version, CANDIDATE)
        finish(store, version)
        assert store.create_version(OVER_CANDIDATE.model, shares="v1").number == 2

    @WITH_BOTH
    def test_nobody_writes_through_it(self, of: str) -> None:
        store, version, tuned = self.open_either(of)
        chunks = list(store.fetch(["sorted"]).values())
        with pytest.raises(PreflightRefused):
            store.load(version, chunks, tuned.encode_documents(["another text"]))
        with pytest.raises(PreflightRefused):
            store.remove(version, ["sorted"])
        assert store.differences(version).clean

    # Written once, seen in both.

    def test_what_is_brought_into_its_holder_is_in_it_at_once(self) -> None:
        store, holder, version = self.open_beside()
        self.put(store, row("new", "erase everything"))
        self.delete(store, "sorted")
        assert store.differences(version) == store.differences(holder)
        assert store.differences(version).missing == ("new",)
        assert fill(store, holder, CANDIDATE) == ["new"]
        store.remove(holder, ["sorted"])
        assert store.differences(version).clean
        assert ids_found(store, version, CANDIDATE.encode_queries(["erase everything"])[0], 1) == ["new"]

    def test_what_the_application_writes_is_in_it_at_once(self) -> None:
        store, version = self.open_sharing()
        self.put(store, row("new", "an entirely new text"))
        self.delete(store, "sorted")
        assert ids_found(store, version, CONTROL.encode_queries(["an entirely new text"])[0], 1) == ["new"]
        assert "sorted" not in ids_found(store, version, CONTROL.encode_queries([TEXTS["sorted"]])[0], 20)
        assert store.differences(version).clean

    # Serving.

    def test_it_is_activated_and_gone_back_from_like_any_other(self) -> None:
        store, version = self.open_sharing()
        question = TUNED.encode_queries([QUESTION])
        before = store.search(version, question, 5)
        assert store.activate(1, expect_epoch=1, actor="op") == Pointer(store.collection, active=1, previous=0, epoch=2)
        assert [(v.state, v.shares) for v in store.versions()] == [(State.STANDBY, ""), (State.ACTIVE, f"{store.collection}@v0")]
        assert store.search(stored(store, version), question, 5) == before
        assert store.activate(0, expect_epoch=2, actor="op") == Pointer(store.collection, active=0, previous=1, epoch=3)
        assert store.search(store.versions()[0], CONTROL.encode_queries([TEXTS["sorted"]]), 1)[0][0].chunk_id == "sorted"
        assert store.search(stored(store, version), question, 5) == before

    def test_readers_see_whole_answers_while_it_and_its_holder_take_turns(self) -> None:
        store = self.open_adopted(corpus())
        self._require(store)
        share(store, SWAPPED)
        stop = threading.Event()

        def read() -> int:
            reads = 0
            while not stop.is_set() or not reads:
                pointer = store.pointer()
                assert pointer is not None
                question = (CONTROL, SWAPPED)[pointer.active].encode_queries([TEXTS["json.loads"]])[0]
                found = ids_found(store, store.versions()[pointer.active], question, 1)
                assert found == [("json.loads", "time.sleep")[pointer.active]]
                reads += 1
            return reads

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for epoch in range(1, 7):
                    store.activate(epoch % 2, expect_epoch=epoch, actor="op")
            finally:
                stop.set()
            assert all(reader.result() > 0 for reader in readers)

    # The end.

    @pytest.mark.parametrize("to", [State.RETIRED, State.CANCELLED, State.FAILED])
    def test_its_holder_does_not_go_while_it_is_there(self, to: State) -> None:
        store, holder, version = self.open_beside()
        if to is State.RETIRED:
            store.activate(1, expect_epoch=1, actor="op")
            store.activate(2, expect_epoch=2, actor="op")
        with pytest.raises(PreflightRefused, match=f"{store.collection}@v2"):
            store.advance(stored(store, holder), to, actor="op")
        with pytest.raises((Conflict, PreflightRefused)):
            store.drop(stored(store, holder))
        assert ids_found(store, stored(store, version), OVER_CANDIDATE.encode_queries([QUESTION])[0], 1) == ["shutil.rmtree"]
        if to is State.RETIRED:
            store.activate(0, expect_epoch=3, actor="op")
            store.advance(stored(store, version), State.RETIRED, actor="op")
        else:
            store.advance(stored(store, version), State.CANCELLED, actor="op")
        assert store.advance(stored(store, holder), to, actor="op").state is to

    @pytest.mark.parametrize("end", [State.RETIRED, State.CANCELLED])
    @WITH_BOTH
    def test_dropping_it_leaves_its_holder_as_it_was(self, of: str, end: State) -> None:
        store, version, tuned = self.open_either(of)
        pointer = store.pointer()
        assert pointer is not None
        if end is State.RETIRED:
            store.activate(version.number, expect_epoch=1, actor="op")
            store.activate(0, expect_epoch=2, actor="op")
        gone = store.advance(stored(store, version), end, actor="op")
        store.drop(gone)
        store.drop(gone)
        assert [e.version for e in store.history() if e.kind == "drop"] == [version.number]
        with pytest.raises(VersionRetired):
            store.search(version, tuned.encode_queries([QUESTION]), 3)
        holder = store.versions()[version.holder]
        assert ids_found(store, holder, tuned.encode_queries([QUESTION])[0], 1) == ["shutil.rmtree"]
        assert store.differences(holder).clean

    @WITH_BOTH
    def test_a_number_that_is_another_models_now_is_not_searched_by_sharing_either(self, of: str) -> None:
        store, version, tuned = self.open_either(of)
        remembered = replace(version, model=replace(version.model, fingerprint="0" * 64))
        with pytest.raises(VersionRetired):
            store.search(remembered, tuned.encode_queries([QUESTION]), 3)

    def test_of_one_who_shares_and_one_who_destroys_exactly_one_succeeds(self) -> None:
        store = self.open_adopted(corpus())
        self._require(store)
        other = self.open_again(store)
        for _ in range(3):
            holder = build(store)
            barrier = threading.Barrier(2)
            sharing = partial(store.create_version, OVER_CANDIDATE.model, shares=holder.label)
            destroying = partial(other.advance, holder, State.CANCELLED, actor="op")
            with ThreadPoolExecutor(2) as pool:
                made, destroyed = pool.submit(_done, sharing, barrier), pool.submit(_done, destroying, barrier)
                assert not (made.result() and destroyed.result())
            listed = store.versions()
            live = [v for v in listed if v.holder == holder.number and v.shares and v.state not in GONE]
            assert not (live and listed[holder.number].state in GONE)


def share(store: Store, encoder: TranslatingEncoder = TUNED, label: str = "v0") -> IndexVersion:
    """A version that shares the vectors of another, READY."""
    version = store.create_version(encoder.model, shares=label)
    for step in (State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.READY):
        if step is State.CATCHING_UP:
            store.build_index(version)
        version = store.advance(version, step, actor="builder")
    return version


def _done(act: Callable[[], object], barrier: threading.Barrier) -> bool:
    """Whether it went through; False for an error that the other one's success explains."""
    barrier.wait()
    try:
        act()
    except (Conflict, PreflightRefused):
        return False
    return True
