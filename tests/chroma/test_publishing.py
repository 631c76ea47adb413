"""A version under the application's own name: what by-name clients see, what an undo brings back, and every place to be killed in."""

import numpy as np
import pytest

from vecmigrate.cutover.publishing import BY_NAME, publish, publishing, require_publishable, unpublish
from vecmigrate.errors import Conflict, NotFound, PreflightRefused, StoreError, WrongSpace
from vecmigrate.publication import Access
from vecmigrate.reindex import build, sync, verify
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate_chroma import publishing as renames
from vecmigrate_chroma.clients import likely_client
from vecmigrate_chroma.rows import Rows

OLD, NEW = HashingEncoder(24, "old"), HashingEncoder(24, "new")
ENCODERS = FixedEncoders.of(OLD, NEW)


@pytest.fixture
def app(application):
    """v1 serves."""
    made = application()
    made.flip(1)
    return made


def do_publish(app):
    return publish(publishing(app.store), app.version(1), ENCODERS, actor="operator")


def undo(app, **options):
    return unpublish(publishing(app.store), ENCODERS, actor="operator", **options)


def by_name(app):
    """As a client that looks its collection up for each query."""
    return app.client.get_collection(app.own.name, embedding_function=None)


def names(app):
    return sorted(c.name.replace(app.store.collection, "docs") for c in app.client.list_collections() if app.store.collection in c.name)


def content(collection):
    found = collection.get(include=["documents", "metadatas"])
    return {i: (d, m) for i, d, m in zip(found["ids"], found["documents"], found["metadatas"], strict=True)}


@pytest.mark.everywhere
def test_a_client_by_name_reads_the_version_after_it_was_published(app):
    before = content(app.own)
    done = do_publish(app)
    shown = by_name(app)
    assert (done.rows, done.changed, done.gap < 5) == (5, True, True)
    assert content(shown) == before
    found = shown.query(query_embeddings=NEW.encode_queries(["wrap it as a gift"]), n_results=1)
    assert found["ids"] == [["gift"]]
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-5)
    assert verify(app.store, app.version(0), OLD).ok
    assert verify(app.store, app.version(1), NEW).ok
    assert app.store.published() == 1


@pytest.mark.everywhere
def test_an_undo_brings_back_what_was_written_meanwhile(app):
    do_publish(app)
    shown = by_name(app)
    shown.upsert(ids=["new", "gift"], documents=["written by name", "changed by name"], embeddings=NEW.encode_documents(["a b", "c d"]))
    shown.update(ids=["hours"], metadatas=[{"words": None, "open": True}])
    shown.delete(ids=["lost"])
    wanted = content(shown)
    assert (app.store.differences(app.version(0)).n_missing, app.store.differences(app.version(0)).n_extra) == (3, 1)
    done = undo(app)
    assert (done.brought, done.removed, done.rows, done.changed) == (3, 1, 5, True)
    assert content(by_name(app)) == wanted
    assert by_name(app).id == app.own.id
    assert verify(app.store, app.version(0), OLD).ok
    assert app.store.published() is None
    app.flip(0)
    assert names(app)[-1] == "vecmigrate.docs.v1"
    assert not [n for n in names(app) if n.endswith(("kept", "published", "withdrawn"))]


def test_what_a_client_wrote_by_name_is_never_published_again_with_its_own_vectors(app):
    do_publish(app)
    by_name(app).upsert(ids=["gift"], documents=["wrap it as a gift"], embeddings=HashingEncoder(24, "foreign").encode_documents(["x"]))
    undo(app)
    do_publish(app)
    found = by_name(app).get(ids=["gift"], include=["embeddings"])["embeddings"]
    assert np.allclose(found, NEW.encode_documents(["wrap it as a gift"]), atol=1e-5)


def test_publishing_and_undoing_twice_do_nothing_more(app):
    do_publish(app)
    assert do_publish(app).changed is False
    undo(app)
    assert undo(app).changed is False
    assert [event.kind for event in app.store.history()][-2:] == ["publish", "unpublish"]


def test_while_it_is_published_nobody_flips_or_writes_by_the_pointer(app):
    do_publish(app)
    with pytest.raises(PreflightRefused, match="is published under the name"):
        app.flip(0)
    with pytest.raises(PreflightRefused, match="nobody writes through here"):
        app.collection.upsert(ids=["new"], documents=["x"])
    assert app.collection.query(query_texts=["wrap it as a gift"], n_results=1)["ids"] == [["gift"]]


@pytest.mark.parametrize("forth", [True, False])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("then", ["publish", "undo"])
def test_a_run_that_was_killed_at_a_rename_is_finished_or_undone_by_running_either(app, monkeypatch, forth, at, then):
    before = content(app.own)
    if not forth:
        do_publish(app)
    rename, count = renames.Publishing._rename, iter([1, 2, 3, 4])

    class Killed(BaseException):
        """Nothing may catch it, as nothing catches a kill."""

    def dies(self, rows, name):
        if next(count) == at:
            raise Killed
        rename(self, rows, name)

    monkeypatch.setattr(renames.Publishing, "_rename", dies)
    with pytest.raises(Killed):
        do_publish(app) if forth else undo(app)
    monkeypatch.undo()
    if at == 2:
        with pytest.raises((NotFound, PreflightRefused), match="between two names"):
            app.store.count()
    if then == "publish":
        do_publish(app)
        assert content(by_name(app)) == before
        assert app.store.published() == 1
    undo(app)
    assert content(by_name(app)) == before
    assert by_name(app).id == app.own.id
    assert app.store.published() is None


@pytest.mark.everywhere
def test_an_application_that_creates_what_it_does_not_find_is_seen_and_all_is_as_before(app, monkeypatch):
    before, rename = content(app.own), renames.Publishing._rename

    def in_the_gap(self, rows, name):
        rename(self, rows, name)
        if name.endswith(".kept"):
            app.client.get_or_create_collection(app.own.name, embedding_function=None)

    monkeypatch.setattr(renames.Publishing, "_rename", in_the_gap)
    with pytest.raises(PreflightRefused, match="an application created"):
        do_publish(app)
    assert content(by_name(app)) == before
    assert by_name(app).id == app.own.id
    assert app.store.published() is None


def test_what_an_application_wrote_into_a_collection_of_its_own_is_not_removed(app, monkeypatch):
    rename = renames.Publishing._rename

    def in_the_gap(self, rows, name):
        rename(self, rows, name)
        if name.endswith(".kept"):
            made = app.client.get_or_create_collection(app.own.name, embedding_function=None)
            made.add(ids=["precious"], documents=["written in the gap"], embeddings=[[1.0] * 24])

    monkeypatch.setattr(renames.Publishing, "_rename", in_the_gap)
    with pytest.raises(PreflightRefused, match="made a new collection"):
        do_publish(app)
    monkeypatch.undo()
    for again in (do_publish, undo):
        with pytest.raises(PreflightRefused, match="made a new collection"):
            again(app)
    with pytest.raises(PreflightRefused, match="with 1 rows while its own was between two names"):
        sync(app.other, app.version(1), NEW, allow_mass_deletion=True)
    assert app.raw(1).count() == 5
    assert by_name(app).get(ids=["precious"])["documents"] == ["written in the gap"]
    app.client.delete_collection(app.own.name)
    assert undo(app).rows == 5


def after(monkeypatch, name, act):
    """Call `act` once, right after something got a name that ends so."""
    rename, first = renames.Publishing._rename, iter([True])

    def then(self, rows, to):
        rename(self, rows, to)
        if to.endswith(name) and next(first, False):
            act()

    monkeypatch.setattr(renames.Publishing, "_rename", then)


def test_rows_that_are_written_by_a_held_handle_while_the_names_change_are_taken_over(app, monkeypatch):
    def late():
        app.own.add(ids=["late"], documents=["by a handle that was held"], embeddings=OLD.encode_documents(["x"]))
        app.own.update(ids=["gift"], documents=["changed by the handle"], embeddings=OLD.encode_documents(["x"]))

    after(monkeypatch, ".kept", late)
    assert do_publish(app).brought == 2
    found = by_name(app).get(ids=["late"], include=["documents", "embeddings"])
    assert found["documents"] == ["by a handle that was held"]
    assert np.allclose(found["embeddings"], NEW.encode_documents(["by a handle that was held"]), atol=1e-5)
    undo(app)
    assert by_name(app).get(ids=["late", "gift"])["documents"] == ["changed by the handle", "by a handle that was held"]


def test_rows_that_are_written_by_name_right_after_it_was_published_stay(app, monkeypatch):
    def by_name_at_once():
        by_name(app).add(ids=["early"], documents=["by name, at once"], embeddings=NEW.encode_documents(["by name, at once"]))

    after(monkeypatch, app.own.name, by_name_at_once)
    do_publish(app)
    assert by_name(app).get(ids=["early"])["documents"] == ["by name, at once"]
    undo(app)
    assert by_name(app).get(ids=["early"])["documents"] == ["by name, at once"]


def test_a_handle_that_goes_on_writing_to_the_kept_collection_loses_nothing_by_the_undo(app):
    do_publish(app)
    app.own.add(ids=["held"], documents=["written aside"], embeddings=OLD.encode_documents(["written aside"]))
    app.own.update(ids=["gift"], documents=["changed aside"], embeddings=OLD.encode_documents(["changed aside"]))
    app.own.update(ids=["lost"], documents=["changed aside too"], embeddings=OLD.encode_documents(["changed aside too"]))
    by_name(app).update(ids=["lost"], documents=["changed by name"], embeddings=NEW.encode_documents(["changed by name"]))
    done = undo(app)
    assert (done.brought, done.removed, done.overruled) == (1, 0, ("lost",))
    assert {i: d for i, (d, _) in content(by_name(app)).items() if i in ("held", "gift", "lost")} == {
        "held": "written aside",
        "gift": "changed aside",
        "lost": "changed by name",
    }


@pytest.mark.everywhere
@pytest.mark.parametrize("moment", ["while it encodes", "between the renames", "after them"])
def test_what_is_written_by_name_while_an_undo_runs_is_not_lost(app, monkeypatch, moment):
    do_publish(app)
    shown = by_name(app)
    shown.add(ids=["first"], documents=["before the undo"], embeddings=NEW.encode_documents(["before the undo"]))

    def write():
        shown.add(ids=["second"], documents=["while it ran"], embeddings=NEW.encode_documents(["while it ran"]))
        shown.update(ids=["gift"], documents=["changed while it ran"], embeddings=NEW.encode_documents(["z"]))

    encoders = ENCODERS
    if moment == "while it encodes":

        class Slow(HashingEncoder):
            left = 1

            def encode_documents(self, texts):
                if self.left:
                    self.left = 0
                    write()
                return super().encode_documents(texts)

        encoders = FixedEncoders.of(Slow(24, "old"), NEW)
    else:
        after(monkeypatch, ".withdrawn" if moment == "between the renames" else app.own.name, write)
    done = unpublish(publishing(app.store), encoders, actor="operator")
    assert done.brought == 3
    assert {d for d, _ in content(by_name(app)).values()} >= {"before the undo", "while it ran", "changed while it ran"}
    assert verify(app.store, app.version(0), OLD).ok


def test_an_undo_that_was_killed_after_the_renames_is_finished_before_anything_is_published_again(app, monkeypatch):
    do_publish(app)
    shown = by_name(app)

    class Killed(BaseException):
        """As a kill."""

    def dies(*_):
        shown.add(ids=["late"], documents=["by a handle, after the renames"], embeddings=NEW.encode_documents(["x"]))
        raise Killed

    monkeypatch.setattr(renames.Publishing, "_bring_late", dies)
    with pytest.raises(Killed):
        undo(app)
    monkeypatch.undo()
    with pytest.raises(PreflightRefused, match="an undo of .* was interrupted"):  # noqa: RUF043 - the name is the test's
        do_publish(app)
    assert undo(app).brought == 1
    assert by_name(app).get(ids=["late"])["documents"] == ["by a handle, after the renames"]
    do_publish(app)
    assert app.store.published() == 1


def test_an_application_may_change_the_metadata_of_what_is_published(app):
    do_publish(app)
    by_name(app).modify(metadata={"mine": 1})
    assert app.store.published() == 1
    assert do_publish(app).changed is False
    assert undo(app).rows == 5
    assert by_name(app).metadata is None


def test_a_copy_that_another_run_left_behind_is_never_published(app, monkeypatch):
    left = app.client.create_collection(f"vecmigrate.{app.store.collection}.published", embedding_function=None)
    rows = app.own.get(include=["documents", "metadatas"])
    left.add(
        ids=rows["ids"],
        documents=rows["documents"],
        metadatas=rows["metadatas"],
        embeddings=HashingEncoder(24, "foreign").encode_documents(rows["documents"]),
    )
    do_publish(app)
    found = by_name(app).get(ids=["gift"], include=["embeddings"])["embeddings"]
    assert np.allclose(found, NEW.encode_documents(["wrap it as a gift"]), atol=1e-5)


def test_the_copy_has_the_applications_metadata_and_uris_and_nothing_of_ours(app):
    app.own.modify(metadata={"owner": "search team"})
    app.own.update(ids=["gift"], uris=["file://gift.txt"])
    do_publish(app)
    assert by_name(app).metadata == {"owner": "search team"}
    assert by_name(app).get(ids=["gift"], include=["uris"])["uris"] == ["file://gift.txt"]


def test_a_write_through_the_stand_in_that_was_under_way_says_that_it_came_too_late(app, monkeypatch):
    encode, first = app.live.encode_documents, iter([True])

    def meanwhile(version, texts):
        if next(first, False):
            do_publish(app)
        return encode(version, texts)

    monkeypatch.setattr(app.live, "encode_documents", meanwhile)
    with pytest.raises(Conflict, match="became another collection during this write"):
        app.collection.upsert(ids=["late"], documents=["under way"])
    monkeypatch.undo()
    with pytest.raises(PreflightRefused, match="nobody writes through here"):
        app.collection.upsert(ids=["late"], documents=["under way"])


def test_a_run_that_was_killed_before_it_was_audited_is_audited_by_the_next(app, monkeypatch):
    class Killed(BaseException):
        """As a kill."""

    def dies(*_, **__):
        raise Killed

    monkeypatch.setattr(app.store._ledger, "record", dies)
    with pytest.raises(Killed):
        do_publish(app)
    monkeypatch.undo()
    do_publish(app)
    do_publish(app)
    assert [event.kind for event in app.store.history()].count("publish") == 1


def test_a_server_that_fails_at_the_second_rename_leaves_all_as_before(app, monkeypatch):
    rename = renames.Publishing._rename

    def fails(self, rows, name):
        if rows.name.endswith(".published"):
            raise StoreError("the disk is full")
        rename(self, rows, name)

    monkeypatch.setattr(renames.Publishing, "_rename", fails)
    with pytest.raises(StoreError, match="disk is full"):
        do_publish(app)
    assert by_name(app).id == app.own.id


def test_an_undo_asks_before_it_removes_many_rows_and_keeps_rows_without_a_text(app):
    do_publish(app)
    shown = by_name(app)
    shown.delete(ids=["lost", "gift"])
    with pytest.raises(PreflightRefused, match="2 of 5 rows were deleted"):
        undo(app)
    shown.add(ids=["picture"], embeddings=[[1.0] * 24])
    with pytest.raises(PreflightRefused, match="have no text, such as 'picture'"):
        undo(app, allow_mass_deletion=True)
    shown.delete(ids=["picture"])
    assert undo(app, allow_mass_deletion=True).removed == 2


def test_rows_that_the_version_cannot_hold_refuse_it(app):
    app.own.add(ids=["picture"], embeddings=[[1.0] * 24])
    with pytest.raises(PreflightRefused, match="has no vector for 1 rows, such as 'picture'"):
        do_publish(app)
    assert by_name(app).id == app.own.id


def test_only_a_version_that_serves_is_published(app):
    app.flip(0)
    with pytest.raises(PreflightRefused, match="is standby; only a version of ours that serves"):
        require_publishable(publishing(app.store), app.version(1), BY_NAME)
    with pytest.raises(PreflightRefused, match="it has the application's name already"):
        require_publishable(publishing(app.store), app.version(0), BY_NAME)


@pytest.mark.parametrize(
    ("name", "metadata", "client", "access"),
    [
        ("file-7f3c", {}, "Open WebUI", Access.BY_NAME),
        ("anything", {"embedding_config": "{}"}, "Open WebUI", Access.BY_NAME),
        ("workspace", {"chunkSource": "x", "wordCount": 1, "token_count_estimate": 2}, "AnythingLLM", Access.BY_NAME),
        ("Vector_index_abc_Node", {}, "Dify", Access.CREATES),
        ("anything", {"dataset_id": "d", "document_id": "e", "doc_hash": "f"}, "Dify", Access.CREATES),
        ("anything", {"_node_content": "{}", "_node_type": "TextNode"}, "LlamaIndex", Access.HANDLE),
        ("langchain", {}, "LangChain", Access.HANDLE),
        ("documents", {}, "Haystack", Access.HANDLE),
        ("my_notes", {"a": 1}, "", Access.UNKNOWN),
    ],
)
def test_an_application_is_known_by_what_it_leaves_behind(chroma_directory, name, metadata, client, access):
    _, chroma = chroma_directory
    made = chroma.create_collection("some", embedding_function=None)
    made.add(ids=["plain", "marked"], embeddings=[[1.0], [2.0]], metadatas=[None, metadata or None])

    class Asks:
        def call(self, what, request):
            return request()

    found = likely_client(Rows(Asks(), made), name)
    assert (found.name, found.access) == (client, access)


@pytest.mark.parametrize(
    ("metadata", "said", "why"),
    [
        ({"_node_content": "{}", "_node_type": "TextNode"}, BY_NAME, "this looks like LlamaIndex .* keeps the collection"),
        ({"dataset_id": "d", "document_id": "e", "doc_hash": "f"}, BY_NAME, "this looks like Dify .* would make an empty one"),
        ({}, None, "can't be seen"),
    ],
)
def test_an_application_that_would_not_follow_is_refused_with_the_reason(app, metadata, said, why):
    if metadata:
        app.collection.update(ids=["gift"], metadatas=[metadata])
    with pytest.raises(PreflightRefused, match=why):
        require_publishable(publishing(app.store), app.version(1), said)


def test_an_operator_may_say_that_an_unknown_application_looks_it_up_by_name(app):
    assert require_publishable(publishing(app.store), app.version(1), BY_NAME).access is Access.UNKNOWN


def test_adopting_again_while_it_is_published_looks_at_the_applications_own_vectors(application):
    app = application()
    wide = HashingEncoder(48, "wide")
    version = app.store.create_version(wide.model)
    build(app.store, version, wide, actor="operator")
    app.flip(2)
    publish(publishing(app.store), app.version(2), FixedEncoders.of(OLD, NEW, wide), actor="operator")
    assert app.store.adopt(OLD.model).number == 0
    with pytest.raises(WrongSpace):
        app.store.adopt(wide.model)
