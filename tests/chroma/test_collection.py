"""The stand-in for the application's collection: reads follow the pointer, writes reach every version, the rest is as in Chroma."""

import asyncio
import logging

import chromadb.errors
import numpy as np
import pytest

from vecmigrate.errors import ModelError, PreflightRefused, StoreError, UsageError, VersionRetired, WrongSpace
from vecmigrate.records import PinnedVector
from vecmigrate.reindex import build, sync, verify
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.versions import State

OLD, NEW = HashingEncoder(24, "old"), HashingEncoder(24, "new")
pytestmark = pytest.mark.everywhere
PARCEL = "how to return a parcel"


class Strict(HashingEncoder):
    """Can't encode what is unspeakable."""

    def encode_documents(self, texts):
        if any("unspeakable" in text for text in texts):
            raise ModelError("the vector is not finite")
        return super().encode_documents(texts)


def whole(app) -> bool:
    """Whether every version holds exactly the source, made by its own model."""
    return all(verify(app.store, app.version(n), encoder).ok for n, encoder in ((0, OLD), (1, NEW)))


# Reading.


def test_a_query_is_answered_by_the_version_that_serves(application):
    app = application()
    before = app.collection.query(query_texts=[PARCEL], n_results=1)
    app.flip(1)
    after = app.collection.query(query_texts=[PARCEL], n_results=1)
    assert (before["ids"], after["ids"]) == ([["parcel"]], [["parcel"]])
    assert [(r.version.rpartition("@")[2], r.epoch, r.fingerprint) for r in (before, after)] == [
        ("v0", 1, OLD.model.fingerprint),
        ("v1", 2, NEW.model.fingerprint),
    ]
    assert before["distances"][0][0] == pytest.approx(0, abs=1e-5)
    assert after["distances"][0][0] == pytest.approx(0, abs=1e-5)


def test_an_answer_has_chromas_form_in_every_version(application):
    app = application()
    include = ["metadatas", "documents", "distances", "embeddings", "uris"]
    plain = app.collection.query(query_texts=PARCEL, n_results=3, include=include)
    app.flip(1)
    ours = app.collection.query(query_texts=PARCEL, n_results=3, include=include)
    theirs = app.own.query(query_embeddings=OLD.encode_queries([PARCEL]), n_results=3, include=include)
    for found in (plain, ours):
        assert set(found) == set(theirs)
        assert found["documents"][0][0] == PARCEL
        assert found["metadatas"][0][0] == {"words": 5, "de": False}
        assert found["included"] == include
        assert (found["uris"], found["data"]) == ([[None] * 3], None)
    assert np.allclose(ours["embeddings"][0][0], NEW.encode_documents([PARCEL])[0], atol=1e-5)
    assert np.allclose(plain["embeddings"][0][0], OLD.encode_documents([PARCEL])[0], atol=1e-5)


def test_what_is_not_asked_for_is_none(application):
    app = application()
    app.flip(1)
    found = app.collection.query(query_texts=[PARCEL], n_results=1, include=[])
    assert found == {
        "ids": [["parcel"]],
        "distances": None,
        "documents": None,
        "metadatas": None,
        "embeddings": None,
        "uris": None,
        "data": None,
        "included": [],
    }


def test_filters_are_the_source_rows_as_they_are_now(application):
    app = application()
    app.flip(1)
    app.own.update(ids=["lost"], metadatas=[{"de": True}])  # behind the stand-in's back
    assert app.collection.query(query_texts=[PARCEL], n_results=5, where={"de": False})["ids"][0].count("lost") == 0
    assert app.collection.query(query_texts=[PARCEL], n_results=5, where_document={"$contains": "parcel"})["ids"] == [["parcel", "lost"]]
    assert app.collection.query(query_texts=[PARCEL], n_results=5, ids=["gift", "hours"])["ids"] == [["gift", "hours"]]


def test_rows_that_are_gone_leave_room_for_others(application):
    app = application()
    app.flip(1)
    app.own.delete(ids=["parcel", "lost"])
    found = app.collection.query(query_texts=[PARCEL], n_results=3)["ids"][0]
    assert sorted(found) == ["gift", "hours", "invoice"]


def test_more_results_than_rows_are_all_rows(application):
    app = application()
    app.flip(1)
    assert len(app.collection.query(query_texts=[PARCEL], n_results=100)["ids"][0]) == 5


def test_vectors_that_say_whose_they_are_are_compared_with_that_version_whatever_serves(application):
    app = application()
    pinned = app.collection.embed_query(PARCEL)
    app.flip(1)
    found = app.collection.query(query_embeddings=[pinned], n_results=1)
    assert (found["ids"], found.version.rpartition("@")[2]) == ([["parcel"]], "v0")
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-5)
    assert isinstance(pinned, PinnedVector)


def test_a_pinned_query_of_a_version_that_has_gone_is_encoded_anew(application):
    app = application()
    app.flip(1)
    pinned = app.collection.embed_query(PARCEL)
    app.flip(0)
    gone = app.store.advance(app.version(1), State.RETIRED, actor="operator")
    app.store.drop(gone)
    found = app.collection.query(query_embeddings=[pinned], n_results=1)
    assert (found["ids"], found.version.rpartition("@")[2]) == ([["parcel"]], "v0")
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-5)


def test_vectors_that_say_nothing_are_refused(application):
    app = application()
    with pytest.raises(WrongSpace, match="don't say which model"):
        app.collection.query(query_embeddings=OLD.encode_queries([PARCEL]), n_results=1)


def test_vectors_with_the_serving_fingerprint_are_taken_and_with_another_refused(application):
    app = application()
    own = OLD.encode_queries([PARCEL])
    assert app.collection.query(query_embeddings=own, n_results=1, fingerprint=OLD.model.fingerprint)["ids"] == [["parcel"]]
    assert app.collection.query(query_embeddings=own[0].tolist(), n_results=1, fingerprint=OLD.model.fingerprint)["ids"] == [["parcel"]]
    app.flip(1)
    with pytest.raises(WrongSpace, match="serves with"):
        app.collection.query(query_embeddings=own, n_results=1, fingerprint=OLD.model.fingerprint)


def test_a_version_retired_under_a_reader_is_left_for_the_one_that_serves(application):
    app = application(ttl=3600.0)
    app.flip(1)
    assert app.collection.query(query_texts=[PARCEL], n_results=1).version.endswith("@v1")
    app.flip(0)
    app.store.drop(app.store.advance(app.version(1), State.RETIRED, actor="operator"))
    assert app.collection.query(query_texts=[PARCEL], n_results=1).version.endswith("@v0")


def test_the_pointer_is_remembered_for_as_long_as_was_said(application):
    app = application(ttl=3600.0)
    assert app.collection.query(query_texts=[PARCEL]).epoch == 1
    app.flip(1)
    late = app.collection.query(query_texts=[PARCEL])
    assert (late.epoch, late["ids"][0][0]) == (1, "parcel")
    assert 0 < late.pointer_age < 60


def test_rows_come_from_the_source_and_embeddings_from_the_version_that_serves(application):
    app = application()
    assert app.collection.count() == 5
    app.flip(1)
    found = app.collection.get(ids="gift", include=["documents", "embeddings"])
    assert (found["ids"], found["documents"], found["metadatas"]) == (["gift"], ["wrap it as a gift"], None)
    assert np.allclose(found["embeddings"], NEW.encode_documents(["wrap it as a gift"]), atol=1e-5)
    first = app.collection.peek(2)
    assert first["ids"] == ["parcel", "hours"]
    assert first["embeddings"].shape == (2, 24)
    assert app.collection.get(where={"words": {"$gt": 5}})["ids"] == ["invoice", "lost"]
    assert app.collection.get(limit=2, offset=1, include=[])["ids"] == ["hours", "invoice"]
    assert app.collection.get(ids=["nobody"])["ids"] == []


def test_the_embedding_of_a_row_that_the_version_lacks_is_made_of_its_text(application):
    app = application()
    app.flip(1)
    text = "written behind our back"
    app.own.add(ids=["new"], documents=[text], embeddings=OLD.encode_documents([text]))
    assert np.allclose(app.collection.get(ids=["new"], include=["embeddings"])["embeddings"], NEW.encode_documents([text]), atol=1e-5)


def test_any_number_of_rows_is_read(application):
    app = application()
    app.flip(1)
    app.other._driver.batch_size = 2  # as if the server took no more
    texts = [f"text number {n}" for n in range(7)]
    app.collection.upsert(ids=[f"n{n}" for n in range(7)], documents=texts)
    assert app.collection.get(include=["documents"])["documents"][5:] == texts
    assert sorted(app.collection.get(ids=[f"n{n}" for n in range(6, 0, -1)], include=["documents"])["documents"]) == texts[1:]
    assert app.collection.get(where_document={"$contains": "number"}, limit=5, include=["metadatas"])["metadatas"] == [None] * 5
    assert app.collection.delete(ids=[f"n{n}" for n in range(7)]) == {"deleted": 7}
    assert whole(app)


# Writing.


@pytest.mark.parametrize("serving", [0, 1])
def test_a_row_that_is_written_is_in_every_version_when_the_call_returns(application, serving):
    app = application()
    app.flip(1) if serving else None
    app.collection.upsert(ids=["new", "gift"], documents=["a brand new row", "no gifts any more"], metadatas=[{"de": True}, {"de": False}])
    assert app.collection.query(query_texts=["a brand new row"], n_results=1)["ids"] == [["new"]]
    assert whole(app)
    assert app.own.get(ids=["gift"])["metadatas"] == [{"de": False, "words": 5}]


def test_rows_that_were_written_after_a_cutover_are_there_after_the_rollback(application):
    app = application()
    app.flip(1)
    app.collection.add(ids="late", documents="written after the cutover")
    app.collection.delete(ids=["hours"])
    app.flip(0)
    assert app.collection.query(query_texts=["written after the cutover"], n_results=1)["ids"] == [["late"]]
    assert app.collection.get(ids=["hours"])["ids"] == []
    assert whole(app)


def test_add_leaves_rows_that_are_there_and_update_those_that_are_not(application):
    app = application()
    app.collection.add(ids=["gift", "new"], documents=["ignored", "added"])
    app.collection.update(ids=["nobody", "new"], documents=["ignored too", "updated"])
    assert app.own.get(ids=["gift", "new", "nobody"])["documents"] == ["wrap it as a gift", "updated"]
    assert whole(app)


def test_metadata_alone_costs_no_encoding(application):
    app = application()

    class Refuses(HashingEncoder):
        def encode_documents(self, texts):
            raise ModelError(f"asked to encode {texts}")

    app.live._encoders = FixedEncoders.of(Refuses(24, "old"), Refuses(24, "new"))
    app.collection.update(ids=["gift"], metadatas=[{"de": True, "words": None, "tags": ["a", "b"], "price": 1.5}])
    assert app.raw(1).get(ids=["gift"], include=["metadatas"])["metadatas"][0].items() >= {"de": True, "price": 1.5}.items()
    assert whole(app)
    assert app.own.get(ids=["gift"])["metadatas"] == [{"de": True, "tags": ["a", "b"], "price": 1.5}]


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"n": 1},
        {"f": 1.5},
        {"b": True},
        {"s": "text"},
        {"many": ["x", "y"]},
        {"numbers": [1, 2]},
        {"flags": [True, False]},
        {"f": 2.0},
    ],
)
def test_metadata_of_every_type_makes_the_whole_way(application, metadata):
    app = application()
    app.collection.upsert(ids=["typed"], documents=["a typed row"], metadatas=[metadata])
    for found in (app.collection.get(ids=["typed"]), app.own.get(ids=["typed"])):
        assert found["metadatas"] == [metadata]
        assert metadata is None or [type(v) for v in found["metadatas"][0].values()] == [type(v) for v in metadata.values()]
    copied = app.raw(1).get(ids=["typed"], include=["metadatas"])["metadatas"][0]
    assert {k: v for k, v in copied.items() if not k.startswith("vecmigrate")} == (metadata or {})
    app.flip(1)
    assert app.collection.query(query_texts=["a typed row"], n_results=1)["metadatas"] == [[metadata]]


def test_a_delete_by_filter_reaches_every_version(application):
    app = application()
    app.flip(1)
    assert app.collection.delete(where={"words": {"$gte": 6}}) == {"deleted": 2}
    assert app.collection.delete(where_document={"$contains": "wrap"}, limit=1) == {"deleted": 1}
    assert app.collection.delete(ids="nobody") == {"deleted": 0}
    assert sorted(app.own.get(include=[])["ids"]) == ["hours", "parcel"]
    assert whole(app)


def test_embeddings_of_another_model_are_corrected_and_counted(application, caplog):
    app = application()
    right, wrong = OLD.encode_documents(["made by the control"])[0], HashingEncoder(24, "foreign").encode_documents(["made by another"])[0]
    with caplog.at_level(logging.WARNING, "vecmigrate"):
        app.collection.upsert(ids=["a", "b"], documents=["made by the control", "made by another"], embeddings=[right, wrong])
        app.collection.upsert(ids=["c"], documents=["made by a version"], embeddings=NEW.encode_documents(["made by a version"]).tolist())
    assert app.collection.corrected == 1
    assert len(caplog.records) == 1
    assert whole(app)


def test_a_row_without_a_text_keeps_the_embedding_it_was_given(application):
    app = application()
    vector = OLD.encode_documents(["a picture"])[0]
    app.collection.upsert(ids=["picture"], embeddings=[vector])
    assert np.allclose(app.own.get(ids=["picture"], include=["embeddings"])["embeddings"], [vector], atol=1e-5)
    assert app.raw(1).get(ids=["picture"])["ids"] == []
    app.flip(1)
    found = app.collection.get(ids=["picture"], include=["embeddings"])["embeddings"]
    assert np.isnan(found).all()
    app.collection.update(ids=["picture"], documents=["now it has a text"])
    assert app.collection.query(query_texts=["now it has a text"], n_results=1)["ids"] == [["picture"]]
    app.collection.update(ids=["picture"], documents=[" "], embeddings=[vector])
    assert app.raw(1).get(ids=["picture"])["ids"] == []
    app.collection.update(ids=["picture"], embeddings=[-vector])
    assert np.allclose(app.own.get(ids=["picture"], include=["embeddings"])["embeddings"], [-vector], atol=1e-5)
    with pytest.raises(WrongSpace, match="needs the control's"):
        app.collection.update(ids=["picture"], embeddings=[app.collection.embed_query("of v1")])


def test_a_text_that_cannot_be_encoded_is_written_nowhere(application):
    app = application(encoders=FixedEncoders.of(Strict(24, "old"), Strict(24, "new")))
    with pytest.raises(ModelError):
        app.collection.upsert(ids=["bad", "gift"], documents=["unspeakable", "changed"])
    assert app.own.get(ids=["bad", "gift"])["documents"] == ["wrap it as a gift"]


def test_a_standby_whose_model_is_gone_stops_no_write_and_a_sync_mends_it(application, caplog):
    app = application()
    other = HashingEncoder(16, "third")
    third = build(app.store, app.store.create_version(other.model), other, actor="operator").version
    with caplog.at_level(logging.WARNING, "vecmigrate"):
        app.collection.upsert(ids=["new"], documents=["a row for all"])
        app.collection.upsert(ids=["new2"], documents=["another row"])
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [f"{third.name} falls behind"]
    assert app.store.differences(app.version(1)).clean
    assert app.store.differences(third).n_missing == 2
    assert sync(app.store, third, other).loaded == 2


def test_a_write_that_the_serving_version_did_not_get_says_so(application, monkeypatch):
    app = application()
    app.flip(1)

    def away(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(app.other, "load", away)
    with pytest.raises(StoreError, match="written to the source, but not brought into"):
        app.collection.upsert(ids=["new"], documents=["a brand new row"])
    assert app.own.get(ids=["new"])["documents"] == ["a brand new row"]
    monkeypatch.undo()
    app.collection.upsert(ids=["new"], documents=["a brand new row"])
    assert whole(app)


@pytest.mark.parametrize("state", [State.PLANNED, State.BACKFILLING, State.INDEXING, State.FAILED])
def test_a_version_that_is_not_complete_finds_what_was_written_when_it_is_built(application, state):
    app = application()
    other = HashingEncoder(16, "third")
    app.live._encoders = FixedEncoders.of(OLD, NEW, other)
    version = app.store.create_version(other.model)
    for step in {State.BACKFILLING: [state], State.INDEXING: [State.BACKFILLING, state], State.FAILED: [state]}.get(state, []):
        version = app.store.advance(version, step, actor="operator")
    app.collection.upsert(ids=["new"], documents=["written while it is built"])
    built = build(app.store, version, other, actor="operator").version
    assert app.store.differences(built).clean


def test_queued_writes_are_in_the_source_at_once_and_everywhere_after_a_flush(application):
    app = application(queued=True)
    for n in range(20):
        app.collection.upsert(ids=[f"q{n}"], documents=[f"queued row {n}"])
    assert app.own.count() == 25
    app.collection.flush()
    assert app.live.waiting == 0
    assert whole(app)


def test_what_a_queue_could_not_write_is_raised_by_the_flush(application, monkeypatch, caplog):
    app = application(queued=True)
    app.flip(1)
    load = app.other.load

    def away(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(app.other, "load", away)
    app.collection.upsert(ids=["new"], documents=["a brand new row"])
    with pytest.raises(StoreError, match="not brought into"):
        app.collection.flush()
    monkeypatch.setattr(app.other, "load", load)
    app.collection.flush()
    assert whole(app)


def test_a_text_of_a_large_write_that_cannot_be_encoded_keeps_all_of_it_out(application):
    app = application(encoders=FixedEncoders.of(Strict(24, "old"), Strict(24, "new")))
    app.other._driver.batch_size = 2
    with pytest.raises(ModelError):
        app.collection.upsert(ids=["a", "b", "c", "d"], documents=["one", "two", "three", "unspeakable"])
    assert app.own.count() == 5


def test_a_write_that_chroma_refuses_half_way_leaves_no_version_behind(application):
    app = application()
    with pytest.raises((ValueError, TypeError)):
        app.collection.update(
            ids=["gift", "hours"], documents=["new text", "opening hours of the shop"], metadatas=[{"a": 1}, {"a": object()}]
        )
    assert app.own.get(ids=["gift"])["documents"] == ["wrap it as a gift"]
    assert whole(app)


def test_a_blank_document_is_kept_in_the_source_and_in_no_version(application):
    class Patient(HashingEncoder):
        def encode_documents(self, texts):
            return super().encode_documents([text or "nothing" for text in texts])

    app = application(encoders=FixedEncoders.of(Patient(24, "old"), NEW))
    app.collection.upsert(ids=["gift", "blank"], documents=["", ""])
    assert app.own.get(ids=["gift", "blank"])["documents"] == ["", ""]
    assert np.allclose(app.own.get(ids=["gift"], include=["embeddings"])["embeddings"], OLD.encode_documents(["nothing"]), atol=1e-5)
    assert app.raw(1).get(ids=["gift", "blank"])["ids"] == []


def test_a_write_without_a_document_beside_one_with_a_new_one_leaves_the_new_ones_vector(application, monkeypatch):
    app = application()
    encode, first = app.live.encode_documents, iter([True])

    def overtaken(version, texts):
        vectors = encode(version, texts)
        if next(first, False):
            app.other.stand_in(app.live).upsert(ids=["gift"], documents=["the newer text"])
        return vectors

    monkeypatch.setattr(app.live, "encode_documents", overtaken)
    app.collection.upsert(ids=["gift"], metadatas=[{"de": True}])
    monkeypatch.undo()
    assert app.own.get(ids=["gift"])["documents"] == ["the newer text"]
    assert np.allclose(app.own.get(ids=["gift"], include=["embeddings"])["embeddings"], OLD.encode_documents(["the newer text"]), atol=1e-5)
    assert whole(app)


def test_a_standby_whose_model_is_gone_stops_no_write_that_brings_embeddings(application):
    app = application()
    third = HashingEncoder(16, "third")
    build(app.store, app.store.create_version(third.model), third, actor="operator")
    app.collection.upsert(ids=["new"], documents=["a row for all"], embeddings=HashingEncoder(24, "foreign").encode_documents(["x"]))
    assert app.collection.corrected == 1
    assert app.own.get(ids=["new"])["documents"] == ["a row for all"]


def test_a_thread_that_meets_an_unexpected_error_lives_and_the_flush_tells(application, monkeypatch):
    app = application(queued=True)

    def breaks(*_):
        raise RuntimeError("out of memory on the device")

    monkeypatch.setattr(app.live, "_maintained", breaks)
    monkeypatch.setattr(app.live, "prepare", lambda texts: None)
    app.collection.upsert(ids=["new"], documents=["a brand new row"])
    with pytest.raises(RuntimeError, match="out of memory"):
        app.collection.flush()
    monkeypatch.undo()
    app.collection.flush()
    assert whole(app)


def test_nothing_is_written_through_a_collection_that_was_closed(application):
    app = application(queued=True)
    app.collection.upsert(ids=["new"], documents=["the last row"])
    app.collection.close()
    app.collection.close()
    for late in (
        lambda: app.collection.query(query_texts=["x"]),
        lambda: app.collection.upsert(ids=["x"], documents=["y"]),
        lambda: app.collection.delete(ids=["gift"]),
    ):
        with pytest.raises(PreflightRefused, match="was closed"):
            late()
    assert app.own.get(ids=["new"])["ids"] == ["new"]
    assert app.store.differences(app.version(1)).clean


def test_vectors_of_two_versions_in_one_query_are_refused(application):
    app = application()
    before = app.collection.embed_query(PARCEL)
    app.flip(1)
    after = app.collection.embed_query(PARCEL)
    for queries, fingerprint in (
        ([before, after], None),
        ([before, after], OLD.model.fingerprint),
        ([after], OLD.model.fingerprint),
        ([after, list(after)], None),
    ):
        with pytest.raises(WrongSpace, match="of several models or versions"):
            app.collection.query(query_embeddings=queries, fingerprint=fingerprint)


def test_ids_that_the_version_lacks_do_not_spoil_a_query(application):
    app = application()
    app.flip(1)
    app.own.add(ids=["late"], documents=["by another client"], embeddings=OLD.encode_documents(["by another client"]))
    assert sorted(app.collection.query(query_texts=[PARCEL], ids=["late", "gift"], n_results=5)["ids"][0]) == ["gift"]
    assert app.collection.query(query_texts=[PARCEL], ids=["late"], n_results=5)["ids"] == [[]]


def test_rows_that_the_index_does_not_reach_are_compared_one_by_one(application, monkeypatch):
    app = application()
    app.flip(1)
    ask = type(app.collection._reading)._ask

    def misses_one(self, rows, queries, arguments):
        found = ask(self, rows, queries, arguments)
        places = [place for place, id in enumerate(found["ids"][0]) if id != "parcel"]
        return {**found, "ids": [[found["ids"][0][p] for p in places]], "distances": [[found["distances"][0][p] for p in places]]}

    monkeypatch.setattr(type(app.collection._reading), "_ask", misses_one)
    found = app.collection.query(query_texts=[PARCEL], n_results=5)
    assert found["ids"][0][0] == "parcel"
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-5)
    assert len(found["ids"][0]) == 5


def test_a_row_that_passes_no_more_is_neither_read_nor_deleted_by_a_filter(application, monkeypatch):
    app = application()
    app.other._driver.batch_size = 2
    reading, deleting = type(app.collection._reading), type(app.collection._writing)
    get, find = reading._get, deleting._to_delete

    def changed_meanwhile(self, rows, arguments, include):
        found = get(self, rows, arguments, include)
        if not include:
            app.own.update(ids=["lost"], metadatas=[{"words": 1}])
        return found

    monkeypatch.setattr(reading, "_get", changed_meanwhile)
    assert app.collection.get(where={"words": {"$gt": 5}})["ids"] == ["invoice"]
    monkeypatch.undo()

    def found_then_changed(self, source, arguments):
        found = list(find(self, source, arguments))
        app.own.update(ids=["hours"], metadatas=[{"words": 100}])
        return found

    monkeypatch.setattr(deleting, "_to_delete", found_then_changed)
    assert app.collection.delete(where={"words": 5}) == {"deleted": 2}
    assert sorted(app.own.get(include=[])["ids"]) == ["hours", "invoice", "lost"]


def test_a_document_beside_the_embedded_field_is_kept_current_for_filters(application):
    app = application(text_key="body", texts={})
    app.collection.upsert(ids=["a"], documents=["a title"], metadatas=[{"body": "the text that counts"}])
    app.flip(1)
    app.own.update(ids=["a"], documents=["from another client"], embeddings=OLD.encode_documents(["the text that counts"]))
    assert app.store.differences(app.version(1)).n_stale == 1
    sync(app.store, app.version(1), NEW)
    assert app.collection.query(query_texts=["text"], where_document={"$contains": "another"})["ids"] == [["a"]]


# As in Chroma.


def test_chromas_own_errors_stay_chromas(application):
    app = application()
    with pytest.raises(chromadb.errors.DuplicateIDError):
        app.collection.upsert(ids=["a", "a"], documents=["x", "y"])
    with pytest.raises(ValueError, match="Unequal lengths"):
        app.collection.upsert(ids=["a"], documents=["x", "y"])
    with pytest.raises(ValueError, match="non-empty dict"):
        app.collection.add(ids=["m"], documents=["x"], metadatas=[{}])
    with pytest.raises((ValueError, chromadb.errors.InvalidArgumentError)):
        app.collection.query(query_texts=["x"], where={"$bad": 1})
    for wrong in (
        lambda c: c.delete(),
        lambda c: c.delete(ids=[]),
        lambda c: c.delete(ids=["gift"], limit=1),
        lambda c: c.delete(where={"words": 1}, limit=-1),
        lambda c: c.upsert(ids=["empty"]),
        lambda c: c.upsert(ids=["a"], documents=[7]),
        lambda c: c.query(),
        lambda c: c.query(query_texts=[]),
        lambda c: c.query(query_texts=[None]),
        lambda c: c.query(query_texts=["x"], include=["foo"]),
        lambda c: c.query(query_texts=["x"], n_results="5"),
        lambda c: c.query(query_texts=["x"], n_results=0),
        lambda c: c.get(include=["distances"]),
        lambda c: c.get(limit=-1),
    ):
        with pytest.raises((ValueError, TypeError, OverflowError)):
            wrong(app.collection)
    assert app.collection.embed_documents([]) == []
    assert app.own.count() == 5
    assert whole(app)


def test_what_cannot_be_followed_is_refused_with_the_reason(application):
    app = application()
    with pytest.raises(UsageError, match="images and uris"):
        app.collection.add(ids=["i"], uris=["file.png"])
    with pytest.raises(PreflightRefused, match="can't be renamed"):
        app.collection.modify(name="another")
    with pytest.raises(AttributeError, match="has no 'fork'"):
        app.collection.fork("copy")


@pytest.mark.filterwarnings("ignore:legacy embedding function config")
def test_the_collection_says_what_it_is(application):
    app = application()
    assert (app.collection.name, app.collection.id, app.collection.tenant) == (app.own.name, app.own.id, app.own.tenant)
    assert app.collection.configuration["hnsw"]["space"] == "cosine"
    app.collection.modify(metadata={"owner": "search team"})
    assert app.collection.metadata == {"owner": "search team"}


def test_an_event_loop_gets_the_same(application):
    app = application()

    async def use():
        collection = app.collection.asynchronous()
        await collection.upsert(ids=["new"], documents=["written by a loop"])
        found = await asyncio.gather(*(collection.query(query_texts=["written by a loop"], n_results=1) for _ in range(5)))
        deleted = await collection.delete(ids=["gift"])
        return [f["ids"] for f in found], deleted, await collection.count(), (await collection.get(ids=["new"]))["documents"]

    assert asyncio.run(use()) == ([[["new"]]] * 5, {"deleted": 1}, 5, ["written by a loop"])
    assert whole(app)


def test_the_embedded_text_may_be_a_metadata_field(application):
    app = application(text_key="body", texts={})
    app.collection.upsert(ids=["a"], documents=["a title"], metadatas=[{"body": "the text that counts"}])
    app.collection.update(ids=["a"], documents=["another title"])
    app.flip(1)
    found = app.collection.query(query_texts=["the text that counts"], n_results=1)
    assert (found["ids"], found["documents"]) == ([["a"]], [["another title"]])
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-5)
    app.collection.update(ids=["a"], metadatas=[{"body": "now something else"}])
    assert app.collection.query(query_texts=["now something else"], n_results=1)["distances"][0][0] == pytest.approx(0, abs=1e-5)
    assert whole(app)


def test_a_write_to_a_version_that_is_dropped_at_this_moment_harms_nobody(application, monkeypatch):
    app = application()
    fetch = app.other.fetch

    def drop_meanwhile(ids):
        found = fetch(ids)
        version = app.version(1)
        if version.state is State.READY:
            app.store.drop(app.store.advance(version, State.CANCELLED, actor="operator"))
        return found

    monkeypatch.setattr(app.other, "fetch", drop_meanwhile)
    app.collection.upsert(ids=["new"], documents=["written while a version goes"])
    assert app.collection.query(query_texts=["written while a version goes"], n_results=1)["ids"] == [["new"]]
    with pytest.raises(VersionRetired):
        app.store.search(app.version(1), NEW.encode_queries(["x"]), 1)
    assert [n for n in app.client.list_collections() if n.name.endswith(".v1") and app.store.collection in n.name] == []
