"""Going forth and back: what keeps an operator from it, and what doesn't."""

from dataclasses import replace

import pytest

from vecmigrate.cutover import Order, doubts_about_going_back, move
from vecmigrate.errors import ModelError, PreflightRefused, StoreUnavailable
from vecmigrate.records import Chunk
from vecmigrate.reindex import build, verify_following
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow

OLD, NEW, THIRD = HashingEncoder(16, "old"), HashingEncoder(16, "new"), HashingEncoder(16, "third")
BOTH = FixedEncoders.of(OLD, NEW)


@pytest.fixture
def store() -> MemoryStore:
    rows = [SourceRow(str(i), f"text {i}", OLD.encode_documents([f"text {i}"])[0]) for i in range(10)]
    store = MemoryStore(rows, dimension=16)
    store.adopt(OLD.model)
    build(store, store.create_version(NEW.model), NEW, actor="me")
    return store


def version(store: MemoryStore, number: int):
    return next(v for v in store.versions() if v.number == number)


def forth(store: MemoryStore):
    return move(store, BOTH, Order(version(store, 1), 1, "me", "cutover"))


def write(store: MemoryStore, id: str, encoder: HashingEncoder = OLD) -> None:
    store.put(Chunk(id, f"written {id}"), encoder.encode_documents([f"written {id}"])[0])


def test_what_was_written_until_the_flip_is_in_the_version_that_serves(store):
    write(store, "late")
    done = forth(store)
    assert (done.flip.after.active, done.missing, done.stale, done.warning) == (1, 0, 0, "")
    assert store.differences(version(store, 1)).clean


def test_a_flip_that_committed_is_told_although_the_sync_after_it_fails(store):
    write(store, "late")
    done = move(store, FixedEncoders.of(OLD), Order(version(store, 1), 1, "me", "cutover"))
    assert (store.pointer().active, done.flip.changed, done.missing) == (1, True, 1)
    assert done.warning.startswith("readers were moved, but what was written since could not be brought in: no encoder")


def test_a_flip_that_committed_is_told_although_the_store_is_away_after_it(store, monkeypatch):
    activate = store.activate

    def then_away(*args, **kwargs):
        after = activate(*args, **kwargs)
        monkeypatch.setattr(store, "differences", away)
        return after

    def away(*args, **kwargs):
        raise StoreUnavailable("connection reset")

    monkeypatch.setattr(store, "activate", then_away)
    done = forth(store)
    assert (done.flip.after.active, done.missing) == (1, None)
    assert "connection reset" in done.warning


def test_there_is_nothing_against_going_back_to_a_complete_standby(store):
    forth(store)
    assert doubts_about_going_back(store, version(store, 0), BOTH) == ()


def test_a_version_that_never_served_is_not_gone_back_to(store):
    with pytest.raises(PreflightRefused, match="docs@v1 is ready: it never served"):
        doubts_about_going_back(store, version(store, 1), BOTH)


def test_rows_that_the_application_wrote_without_a_vector_are_a_doubt(store):
    forth(store)
    store.put(Chunk("naked", "no vector"), None)
    assert doubts_about_going_back(store, version(store, 0), BOTH) == ("1 rows of the source are missing, such as 'naked'",)


def test_what_the_applications_own_index_served_with_before_is_no_doubt(store, monkeypatch):
    forth(store)
    health = store.health
    monkeypatch.setattr(store, "health", lambda v: replace(health(v), bad_vectors=3, index_valid=False, index_used=False))
    assert doubts_about_going_back(store, version(store, 0), BOTH) == ()


def test_of_a_version_of_ours_a_broken_index_is_a_doubt(store, monkeypatch):
    forth(store)
    move(store, BOTH, Order(version(store, 0), 2, "me", "rollback"))
    health = store.health
    monkeypatch.setattr(store, "health", lambda v: replace(health(v), bad_vectors=3))
    assert doubts_about_going_back(store, version(store, 1), BOTH) == ("3 vectors are zero, NaN or of another size",)


def test_vectors_of_another_model_in_the_applications_own_index_are_a_doubt(store):
    forth(store)
    for i in range(10):
        write(store, str(i), THIRD)
    (doubt,) = doubts_about_going_back(store, version(store, 0), BOTH)
    assert "10 of 10 sampled vectors were not made by model" in doubt


def test_a_model_that_is_gone_is_a_doubt_and_no_error(store):
    forth(store)
    doubts = doubts_about_going_back(store, version(store, 0), FixedEncoders.of(NEW))
    assert doubts == ("queries could not be encoded for it here: no encoder for docs@v0 (hashing-old-16)",)


def test_going_back_to_a_version_of_ours_brings_it_up_to_date(store):
    forth(store)
    move(store, BOTH, Order(version(store, 0), 2, "me", "rollback"))
    write(store, "since")
    assert doubts_about_going_back(store, version(store, 1), BOTH) == ()
    assert store.differences(version(store, 1)).clean


class Busy(HashingEncoder):
    """Each time it encodes documents, another row is written: a store that is never still."""

    store: MemoryStore
    written = 0

    def encode_documents(self, texts):
        self.written += 1
        write(self.store, f"busy {self.written}")
        return super().encode_documents(texts)


def test_a_store_that_is_never_still_is_built_and_verified(store):
    busy = Busy(16, "busy")
    busy.store = store
    built = build(store, store.create_version(busy.model), busy, actor="me")
    assert built.version.state == "ready"
    found = verify_following(store, built.version, FixedEncoders.of(busy))
    assert found.problems == ()
    assert busy.written > 3


def test_rows_that_stay_behind_are_a_problem_even_on_a_busy_store(store, monkeypatch):
    v1 = version(store, 1)
    load = store.load

    def all_but_one(at, chunks, vectors):
        kept = [i for i, c in enumerate(chunks) if c.id != "lost"]
        return load(at, [chunks[i] for i in kept], vectors[kept])

    monkeypatch.setattr(store, "load", all_but_one)
    write(store, "lost")
    assert verify_following(store, v1, FixedEncoders.of(NEW)).problems == ("1 rows of the source are missing, such as 'lost'",)


def test_a_model_error_before_the_flip_moves_nobody(store):
    write(store, "late")
    with pytest.raises(ModelError):
        verify_following(store, version(store, 1), FixedEncoders.of(OLD))
    assert store.pointer().epoch == 1
