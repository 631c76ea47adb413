"""A version that shares vectors on Chroma: a record, an empty collection that stands for it, and the stand-in over it."""

import numpy as np
import pytest

from vecmigrate.errors import PreflightRefused, VersionRetired, WrongSpace
from vecmigrate.reindex import build
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder, TranslatingEncoder
from vecmigrate.versions import State
from vecmigrate_chroma.ledger import Ledger

OLD, NEW = HashingEncoder(24, "old"), HashingEncoder(24, "new")
TUNED, OVER_NEW = TranslatingEncoder(OLD, {"package": "parcel"}), TranslatingEncoder(NEW, {"package": "parcel"})
ENCODERS = FixedEncoders.of(OLD, NEW, TUNED, OVER_NEW)
QUESTION = "how to return a package"


@pytest.fixture
def shop(application):
    """v0 serves; v1 is another model's; v2 shares v0's vectors, v3 shares v1's. All are ready."""
    app = application(encoders=ENCODERS)
    for encoder, shares in ((TUNED, "v0"), (OVER_NEW, "v1")):
        build(app.store, app.store.create_version(encoder.model, shares=shares), encoder, actor="operator")
    return app


def found(app, text=QUESTION, n=1):
    answer = app.collection.query(query_texts=[text], n_results=n)
    return answer["ids"][0], answer.version, answer.fingerprint, answer["distances"][0][0]


def ours(app):
    prefix = f"vecmigrate.{app.store.collection}.v"
    return {c.name.removeprefix(prefix): c.count() for c in app.client.list_collections() if c.name.startswith(prefix)}


@pytest.mark.everywhere
def test_an_empty_collection_stands_for_it_and_says_whose_vectors_it_searches(shop):
    assert ours(shop) == {"1": 5, "2": 0, "3": 0}
    kept = shop.raw(2).metadata
    assert (kept["shares"], kept["fingerprint"]) == (f"{shop.store.collection}@v0", TUNED.model.fingerprint)
    assert [v.shares.rpartition("@")[2] for v in shop.store.versions()] == ["", "", "v0", "v1"]


@pytest.mark.everywhere
def test_the_stand_in_follows_a_flip_to_shared_vectors_and_back(shop):
    seen = []
    for target in (2, 0, 3, 1):
        shop.flip(target)
        ids, version, fingerprint, distance = found(shop)
        assert (ids, fingerprint) == (["parcel"], shop.version(target).model.fingerprint)
        seen.append((version.rpartition("@")[2], distance < 1e-4))
    assert seen == [("v2", True), ("v0", False), ("v3", True), ("v1", False)], "who takes a package for a parcel asks for its very text"


@pytest.mark.everywhere
def test_what_is_written_through_the_stand_in_is_in_shared_vectors_once(shop):
    for target in (0, 2, 3, 1):
        if target:
            shop.flip(target)
        shop.collection.upsert(ids=[f"at{target}"], documents=[f"package rules written while number {target} serves"])
        assert found(shop, f"rules written while number {target} serves")[0] == [f"at{target}"]
    shop.collection.delete(ids=["at0"])
    assert [shop.store.differences(v).clean for v in shop.store.versions()] == [True] * 4
    assert ours(shop) == {"1": 8, "2": 0, "3": 0}


def test_embeddings_that_are_read_are_those_of_the_vectors_that_serve(shop):
    for target, plain in ((2, OLD), (3, NEW)):
        shop.flip(target)
        got = shop.collection.get(ids=["gift"], include=["embeddings"])["embeddings"]
        assert np.allclose(got, plain.encode_documents(["wrap it as a gift"]), atol=1e-5)


def test_query_vectors_must_be_the_sharing_models_own(shop):
    shop.flip(2)
    with pytest.raises(WrongSpace):
        shop.collection.query(query_embeddings=OLD.encode_queries([QUESTION]).tolist(), fingerprint=OLD.model.fingerprint)
    answer = shop.collection.query(
        query_embeddings=TUNED.encode_queries([QUESTION]).tolist(), fingerprint=TUNED.model.fingerprint, n_results=1
    )
    assert answer["ids"] == [["parcel"]]


def test_filters_see_the_applications_metadata_as_it_is_now(shop):
    shop.own.update(ids=["parcel"], metadatas=[{"de": True}])
    for target in (2, 3):
        shop.flip(target)
        answer = shop.collection.query(query_texts=[QUESTION], n_results=5, where={"de": False})
        assert sorted(answer["ids"][0]) == ["gift", "hours", "invoice", "lost"]


def test_a_sharing_version_that_went_under_a_reader_says_so_by_every_handle(shop):
    version = shop.version(2)
    assert shop.other.search(version, TUNED.encode_queries([QUESTION]), 1)[0][0].chunk_id == "parcel"
    shop.store.drop(shop.store.advance(version, State.CANCELLED, actor="operator"))
    for store in (shop.store, shop.other):
        for look in (lambda s: s.search(version, TUNED.encode_queries([QUESTION]), 1), lambda s: s.differences(version)):
            with pytest.raises(VersionRetired):
                look(store)
    assert ours(shop) == {"1": 5, "3": 0}
    assert found(shop)[1].endswith("@v0")


def test_where_a_kill_came_before_its_mark_was_made_it_is_searched_and_a_build_makes_the_mark(shop):
    shop.client.delete_collection(f"vecmigrate.{shop.store.collection}.v3")
    version = shop.version(3)
    assert shop.other.search(version, OVER_NEW.encode_queries([QUESTION]), 1)[0][0].chunk_id == "parcel"
    shop.store.build_index(version)
    assert ours(shop) == {"1": 5, "2": 0, "3": 0}
    shop.client.delete_collection(f"vecmigrate.{shop.store.collection}.v3")
    gone = shop.store.advance(version, State.CANCELLED, actor="operator")
    with pytest.raises(VersionRetired):
        shop.other.search(version, OVER_NEW.encode_queries([QUESTION]), 1)
    with pytest.raises(VersionRetired):
        shop.store.build_index(gone)
    assert ours(shop) == {"1": 5, "2": 0}


def test_it_is_not_published(shop):
    shop.flip(2)
    with pytest.raises(PreflightRefused, match=r"shares the vectors of .*@v0: what sets it apart is how queries are encoded"):
        shop.store.publish(shop.version(2), TUNED.encode_documents, actor="operator")
    assert shop.store.published() is None


def test_while_a_version_is_published_shared_vectors_are_those_that_were_put_aside(shop):
    shop.flip(1)
    shop.store.publish(shop.version(1), NEW.encode_documents, actor="operator")
    version = shop.version(2)
    assert shop.store.search(version, TUNED.encode_queries([QUESTION]), 1)[0][0].chunk_id == "parcel"
    assert np.allclose(shop.store.vectors(version, ["gift"])["gift"], OLD.encode_documents(["wrap it as a gift"])[0], atol=1e-5)
    shop.store.unpublish(OLD.encode_documents, actor="operator")
    assert shop.store.search(version, TUNED.encode_queries([QUESTION]), 1)[0][0].chunk_id == "parcel"


def test_the_holder_that_goes_between_the_look_and_the_record_is_not_shared(shop, monkeypatch):
    """Whoever destroys takes the next place among the holder's steps; who shares does too, and looks once more after it."""
    register = Ledger.register

    def destroyed_meanwhile(self, record, *, actor):
        shop.other.advance(shop.version(3), State.CANCELLED, actor="second")
        shop.other.advance(shop.version(1), State.CANCELLED, actor="second")
        return register(self, record, actor=actor)

    monkeypatch.setattr(Ledger, "register", destroyed_meanwhile)
    with pytest.raises(PreflightRefused, match="@v1 is cancelled"):
        shop.store.create_version(OVER_NEW.model, shares="v1")
    assert (shop.version(4).state, shop.version(4).shares.rpartition("@")[2]) == (State.CANCELLED, "v1")


def test_who_shares_is_written_down_with_the_holder_too(shop):
    events = [(e.version, e.detail["by"].rpartition("@")[2]) for e in shop.store.history() if e.kind == "share"]
    assert events == [(0, "v2"), (1, "v3")]
