"""Verification finds every kind of damage, and names it."""

import numpy as np
import pytest

from vecmigrate.errors import PreflightRefused
from vecmigrate.records import Chunk
from vecmigrate.reindex import build, prove_control, verify
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow


@pytest.fixture
def ready(store, version, new):
    return build(store, version, new, actor="me").version


def test_a_complete_version_verifies(store, ready, new):
    found = verify(store, ready, new)
    assert found.ok
    assert (found.sampled, found.lowest_cosine) == (5, 1.0)


def test_without_an_encoder_nothing_is_re_embedded(store, ready):
    found = verify(store, ready, None)
    assert (found.sampled, found.lowest_cosine, found.ok) == (0, None, True)


def test_a_missing_row_is_found_and_named(store, ready, new):
    store.remove(ready, ["b"])
    assert verify(store, ready, new).problems == ("1 rows of the source are missing, such as 'b'",)


def test_a_stale_row_is_found_and_not_taken_for_another_model(store, ready, new, old):
    store.put(Chunk("b", "something else entirely"), old.encode_documents(["x"])[0])
    assert verify(store, ready, new).problems == ("1 rows have changed in the source since, such as 'b'",)


def test_stale_rows_are_not_taken_for_another_model_however_many_they_are(store, ready, new, old, monkeypatch):
    monkeypatch.setattr("vecmigrate.reindex.verification.MOST_STALE", 2)
    for id in "abcd":
        store.put(Chunk(id, f"something else entirely {id}"), old.encode_documents(["x"])[0])
    found = verify(store, ready, new)
    assert (found.sampled, found.only_behind) == (0, True)
    assert found.problems == ("4 rows have changed in the source since, such as 'a', 'b', 'c'",)


def test_a_version_of_which_every_row_is_stale_is_behind_and_no_more(store, ready, new, old):
    for id in "abcde":
        store.put(Chunk(id, f"something else entirely {id}"), old.encode_documents(["x"])[0])
    assert verify(store, ready, new).only_behind


def test_an_extra_row_is_found(store, ready, new):
    store.delete("b")
    assert verify(store, ready, new).problems == ("1 rows are gone from the source, such as 'b'",)


def test_a_vector_of_another_model_is_found(store, ready, new):
    foreign = HashingEncoder(48, "another").encode_documents(["the cat sat on the mat"])
    store.load(ready, [Chunk("a", "the cat sat on the mat")], foreign)
    found = verify(store, ready, new)
    assert found.not_by_this_model == ("a",)
    assert "1 of 5 sampled vectors were not made by model" in found.problems[0]


def test_a_verification_is_json_ready(store, ready, new):
    data = verify(store, ready, new).to_dict()
    assert (data["version"], data["ok"], data["problems"], data["differences"]["expected"]) == ("docs@v1", True, [], 5)


def test_the_control_is_confirmed_by_re_embedding_a_sample(store, old):
    found = prove_control(store, old)
    assert (found.confirmed, found.sampled, found.alike) == (True, 5, 5)
    assert found.sentence() == "hashing-old-32: confirmed: cosine 1.0 (median), 5 of 5 sampled chunks alike"
    found.require()


def test_a_wrong_model_of_the_same_dimension_is_refused(store):
    found = prove_control(store, HashingEncoder(32, "impostor"))
    assert (found.confirmed, found.alike) == (False, 0)
    with pytest.raises(PreflightRefused, match="NOT the model that made these vectors"):
        found.require()


def test_the_control_can_be_proved_before_anything_is_registered(old):
    store = MemoryStore([SourceRow("a", "the cat", old.encode_documents(["the cat"])[0])], dimension=32)
    assert prove_control(store, old).confirmed
    assert not store.versions()


def test_a_few_edited_rows_do_not_hide_the_model(old):
    rows = [SourceRow(str(i), f"text number {i}", old.encode_documents([f"text number {i}"])[0]) for i in range(20)]
    rows[7] = SourceRow("7", "edited after it was embedded", rows[7].vector)
    found = prove_control(MemoryStore(rows, dimension=32), old)
    assert (found.confirmed, found.alike, found.unlike) == (True, 19, ("7",))


def test_an_empty_control_proves_nothing_and_refuses_nothing(old):
    found = prove_control(MemoryStore(dimension=32), old)
    assert (found.confirmed, found.sentence()) == (False, "hashing-old-32: no row has both a text and a vector to compare")
    found.require()


def test_a_sample_of_zero_vectors_counts_as_unlike(store, ready, new, monkeypatch):
    monkeypatch.setattr(store, "vectors", lambda version, ids: {i: np.zeros(48, dtype=np.float32) for i in ids})
    assert verify(store, ready, new).lowest_cosine == 0.0
