"""A build fills a version, resumes wherever it was, and never claims more than it did."""

from collections.abc import Sequence

import pytest

from vecmigrate.errors import ModelError, PreflightRefused, StoreUnavailable
from vecmigrate.records import Chunk
from vecmigrate.reindex import build, pipeline, sync, verify
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import IndexVersion, State


class Stops(Exception):
    """The process dies here."""


def current(store: MemoryStore, number: int = 1) -> IndexVersion:
    return next(v for v in store.versions() if v.number == number)


def test_a_build_takes_a_planned_version_to_ready_with_every_chunk(store, version, new):
    report = build(store, version, new, actor="me")
    assert report.version.state is State.READY
    assert (report.loaded, report.removed) == (5, 0)
    assert store.differences(report.version).clean
    found = store.search(report.version, new.encode_queries(["the cat sat"]), 1)
    assert found[0][0].chunk_id == "a"


def test_chunks_longer_than_the_model_reads_are_counted(store, version, new):
    assert build(store, version, new, actor="me").truncated == 1  # only "the cat sat on the mat" has more than five words


def test_a_second_build_of_a_ready_version_loads_nothing(store, version, new):
    build(store, version, new, actor="me")
    again = build(store, current(store), new, actor="me")
    assert (again.loaded, again.version.state) == (0, State.READY)


def test_a_build_that_died_half_way_encodes_only_the_rest(store, version, new, monkeypatch):
    monkeypatch.setattr(pipeline, "WINDOW", 2)
    seen: list[str] = []

    class DiesAtTheThirdWindow(HashingEncoder):
        def encode_documents(self, texts: Sequence[str]):
            if len(seen) >= 4:
                raise Stops
            seen.extend(texts)
            return super().encode_documents(texts)

    with pytest.raises(Stops):
        build(store, version, DiesAtTheThirdWindow(48, "new", max_tokens=5), actor="me")
    assert current(store).state is State.BACKFILLING
    finished_before = store.differences(current(store)).present
    report = build(store, current(store), new, actor="me")
    assert finished_before in (2, 4)  # the second window may have been in flight
    assert report.loaded == 5 - finished_before
    assert store.differences(current(store)).clean


@pytest.mark.parametrize("died_in", [State.BACKFILLING, State.INDEXING, State.CATCHING_UP])
def test_a_build_goes_on_from_every_state(store, version, new, died_in):
    for state in (State.BACKFILLING, State.INDEXING, State.CATCHING_UP):
        version = store.advance(version, state, actor="me")
        if state is died_in:
            break
    assert build(store, version, new, actor="me").version.state is State.READY
    assert store.differences(current(store)).clean


def test_an_error_marks_the_version_failed_with_its_reason_and_a_further_build_resumes(store, version, new):
    class Broken(HashingEncoder):
        def encode_documents(self, texts: Sequence[str]):
            raise ModelError("vector 3 is NaN")

    with pytest.raises(ModelError, match="vector 3 is NaN"):
        build(store, version, Broken(48, "new", max_tokens=5), actor="me")
    assert current(store).state is State.FAILED
    assert current(store).note == "vector 3 is NaN"
    assert build(store, current(store), new, actor="me").version.state is State.READY


def test_a_store_that_is_away_for_a_moment_is_tried_again(store, version, new, monkeypatch):
    load, failures = store.load, iter([True, True, False])

    def flaky(version: IndexVersion, chunks: Sequence[Chunk], vectors) -> Sequence[str]:
        if next(failures, False):
            raise StoreUnavailable("connection reset")
        return load(version, chunks, vectors)

    monkeypatch.setattr(store, "load", flaky)
    assert build(store, version, new, actor="me").loaded == 5


def test_rows_written_during_the_backfill_are_caught_up(store, version, old, new):
    class WritesMeanwhile(HashingEncoder):
        def encode_documents(self, texts: Sequence[str]):
            if store.count() == 5:
                store.put(Chunk("f", "written during the backfill"), old.encode_documents(["x"])[0])
                store.delete("c")
            return super().encode_documents(texts)

    report = build(store, version, WritesMeanwhile(48, "new", max_tokens=5), actor="me")
    assert (report.loaded, report.removed) == (6, 1)
    assert store.differences(current(store)).clean


def test_a_build_refuses_the_applications_own_index(store, control, old):
    with pytest.raises(PreflightRefused, match="docs@v0 is the application's own index"):
        build(store, control, old, actor="me")


def test_a_build_refuses_another_model(store, version, old):
    with pytest.raises(PreflightRefused, match="was begun with model"):
        build(store, version, old, actor="me")
    assert current(store).state is State.PLANNED


def test_a_build_refuses_a_cancelled_version(store, version, new):
    cancelled = store.advance(version, State.CANCELLED, actor="me")
    with pytest.raises(PreflightRefused, match="docs@v1 is cancelled"):
        build(store, cancelled, new, actor="me")


def test_progress_counts_what_was_there_before(store, version, new, monkeypatch):
    monkeypatch.setattr(pipeline, "WINDOW", 2)
    told = []
    build(store, version, new, actor="me", progress=told.append)
    assert [p.done for p in told] == [0, 2, 4, 5]
    assert {p.total for p in told} == {5}
    assert told[-1].eta == 0


def test_a_sync_brings_changes_and_deletions_into_a_ready_version(store, version, old, new):
    build(store, version, new, actor="me")
    store.put(Chunk("b", "a wolf chased the hare"), old.encode_documents(["x"])[0])
    store.put(Chunk("f", "brand new"), old.encode_documents(["x"])[0])
    store.delete("e")
    assert (store.differences(current(store)).n_missing, store.differences(current(store)).n_stale) == (1, 1)
    report = sync(store, current(store), new)
    assert (report.loaded, report.removed, report.version.state) == (2, 1, State.READY)
    assert store.differences(current(store)).clean


def test_a_sync_refuses_an_unfinished_version(store, version, new):
    with pytest.raises(PreflightRefused, match="there is nothing to sync yet"):
        sync(store, version, new)


def test_a_sync_asks_before_it_removes_more_than_a_fifth(store, version, new):
    build(store, version, new, actor="me")
    for gone in "abc":
        store.delete(gone)
    with pytest.raises(PreflightRefused, match="3 of 5 rows of docs@v1 are gone from the source"):
        sync(store, current(store), new)
    assert store.differences(current(store)).present == 5
    assert sync(store, current(store), new, allow_mass_deletion=True).removed == 3


def test_many_extra_rows_are_removed_in_batches(store, version, new, monkeypatch):
    monkeypatch.setattr("vecmigrate.reindex.backfill.REMOVAL_BATCH", 1)
    build(store, version, new, actor="me")
    store.delete("a")
    store.delete("b")
    assert sync(store, current(store), new, allow_mass_deletion=True).removed == 2
    assert verify(store, current(store), new).ok


class Recording(MemoryStore):
    """Keeps the texts of each load."""

    loads: list[list[str]]

    def load(self, version, chunks, vectors):
        self.loads.append([chunk.text for chunk in chunks])
        return super().load(version, chunks, vectors)


class Tiring(HashingEncoder):
    """Encodes a few times, then is killed."""

    left = 99

    def encode_documents(self, texts):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().encode_documents(texts)


def test_a_window_is_loaded_in_parts_and_an_interruption_costs_one_of_them(monkeypatch):
    monkeypatch.setattr("vecmigrate.reindex.pipeline.FIRST_PART", 4)
    monkeypatch.setattr("vecmigrate.reindex.pipeline.PART_SECONDS", 0.0)  # every part took too long: they never grow
    texts = [f"text {'x' * ((i * 7) % 20)} {i}" for i in range(20)]
    store = Recording([SourceRow(str(i), text, None) for i, text in enumerate(texts)], dimension=32)
    store.loads = []
    old, new = HashingEncoder(32, "old"), Tiring(32, "new")
    store.adopt(old.model)
    version = store.create_version(new.model)
    new.left = 3
    with pytest.raises(KeyboardInterrupt):
        build(store, version, new, actor="me")
    kept = [text for load in store.loads for text in load]
    assert len(store.loads) == 3
    assert [len(text) for text in kept] == sorted(len(text) for text in kept)
    new.left = 99
    report = build(store, store.versions()[1], new, actor="me")
    assert report.loaded == 20 - len(kept)
    assert sorted(text for load in store.loads for text in load) == sorted(texts)
