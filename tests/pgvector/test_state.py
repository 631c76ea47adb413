"""The database itself refuses what would break the rules, whoever asks."""

import psycopg
import pytest
from pgvector_applications import CANDIDATE, CONTROL, build, make_docs

from vecmigrate.errors import Conflict, PreflightRefused, WrongSpace
from vecmigrate.versions import TRANSITIONS, ModelVersion, State


@pytest.fixture
def built(db, open_store):
    make_docs(db)
    store = open_store()
    build(store)
    return store


def refused(db, state, *statements, match):
    with pytest.raises(psycopg.Error, match=match):
        db.execute("; ".join(statements).format(s=state))


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        (["UPDATE {s}.version SET state = 'active' WHERE number = 1"], "version_one_active"),
        (["UPDATE {s}.version SET state = 'standby' WHERE number = 0"], "collection_active_is_active"),
        (["UPDATE {s}.collection SET active = 1, epoch = 2"], "collection_active_is_active"),
        (["UPDATE {s}.collection SET active = 7, epoch = 2"], "collection_active_is_active"),
        (["UPDATE {s}.collection SET active_state = 'ready'"], "check"),
        (["UPDATE {s}.collection SET epoch = 9"], "epoch of docs grows by one"),
        (["UPDATE {s}.collection SET epoch = 0"], "epoch"),
        (
            [
                "UPDATE {s}.version SET state = 'standby' WHERE number = 0",
                "UPDATE {s}.version SET state = 'active' WHERE number = 1",
                "UPDATE {s}.collection SET active = 1",
            ],
            "epoch of docs grows by one",
        ),
        (
            ["UPDATE {s}.version SET state = 'standby' WHERE number = 0", "UPDATE {s}.version SET state = 'active' WHERE number = 1"],
            "collection_active_is_active",
        ),
        (["UPDATE {s}.version SET fingerprint = 'x', model = '{{\"fingerprint\": \"x\"}}' WHERE number = 1"], "fixed space"),
        (["UPDATE {s}.version SET metric = 'l2' WHERE number = 1"], "fixed space"),
        (["UPDATE {s}.version SET dimension = 9 WHERE number = 1"], "fixed space"),
        (["UPDATE {s}.version SET state = 'nonsense' WHERE number = 1"], "cannot go from ready to nonsense"),
        (["DELETE FROM {s}.version WHERE number = 0"], "violates foreign key"),
        (["DELETE FROM {s}.collection"], "violates foreign key"),
        (["DELETE FROM {s}.event"], "only ever added to"),
        (["UPDATE {s}.event SET actor = 'someone else'"], "only ever added to"),
        (["INSERT INTO {s}.docs_v1 SELECT id + 100, '\\x00', embedding FROM {s}.docs_v1"], "check"),
        (["INSERT INTO {s}.docs_v1 SELECT id + 100, text_hash, '[1,2]' FROM {s}.docs_v1"], "expected 8 dimensions"),
    ],
)
def test_the_database_refuses_to_break_an_invariant(built, db, state, statements, match):
    refused(db, state, *statements, match=match)
    assert (built.pointer().active, built.pointer().epoch) == (0, 1)
    assert [version.state for version in built.versions()] == [State.ACTIVE, State.READY]


def test_the_database_takes_every_step_of_the_table_and_no_other(built, db, state):
    column = (
        "INSERT INTO {s}.version SELECT collection, {n}, 'planned', model, fingerprint, metric, element, dimension, ann, location, query"
    )
    for n, (before, after) in enumerate(((b, a) for b in State for a in State if a is not b), start=10):
        if State.ACTIVE in (before, after):
            continue
        db.execute(f"{column} FROM {{s}}.version WHERE number = 1".format(s=state, n=n))
        db.execute(f"ALTER TABLE {state}.version DISABLE TRIGGER check_version")
        db.execute(f"UPDATE {state}.version SET state = '{before}' WHERE number = {n}")
        db.execute(f"ALTER TABLE {state}.version ENABLE TRIGGER check_version")
        step = f"UPDATE {state}.version SET state = '{after}' WHERE number = {n}"
        if after in TRANSITIONS[before]:
            assert db.execute(step).rowcount == 1
        else:
            with pytest.raises(psycopg.errors.RaiseException):
                db.execute(step)


@pytest.mark.parametrize(
    ("changed", "was"),
    [({"where": "id > 2"}, "where None"), ({"text_sql": "upper(content)"}, "text content"), ({"key": ["id", "lang"]}, "key ['id']")],
    ids=["where", "text", "key"],
)
def test_what_was_adopted_is_not_changed_under_the_versions_made_of_it(db, open_store, changed, was):
    make_docs(db)
    db.execute("CREATE UNIQUE INDEX ON docs (id, lang); ALTER TABLE docs ALTER lang SET NOT NULL")
    build(open_store(text="content"))
    later = open_store(**{"text": "content", **changed} if "text_sql" not in changed else changed)
    for use in (later.pointer, later.versions, lambda: later.adopt(CONTROL.model)):
        with pytest.raises(PreflightRefused, match="collection docs was adopted with") as caught:
            use()
        assert was in caught.value.message
    assert open_store(text="content").pointer().epoch == 1


def test_a_version_cannot_begin_in_the_middle(built, db, state):
    refused(
        db,
        state,
        "INSERT INTO {s}.version SELECT collection, 5, 'ready', model, fingerprint, metric, element, dimension, ann, location, query"
        " FROM {s}.version WHERE number = 1",
        match="cannot begin as ready",
    )
    assert [version.number for version in built.versions()] == [0, 1]


def test_nothing_is_made_before_adoption(db, open_store, state):
    make_docs(db)
    store = open_store()
    store.inspect()
    assert list(store.versions()) == []
    assert (store.pointer(), list(store.history())) == (None, [])
    with store.operation("build", actor="ann"):
        pass
    assert db.execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", [state]).fetchone() == (0,)


def test_the_applications_table_is_left_as_it_was(db, open_store):
    make_docs(db)
    looks = "SELECT array_agg((attname, atttypid, attnotnull)::text) FROM pg_attribute WHERE attrelid = 'docs'::regclass"
    counts = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'docs'::regclass"
    contents = "SELECT array_agg((d.*, xmin)::text ORDER BY id) FROM docs d"
    before = [db.execute(query).fetchone() for query in (looks, counts, contents)]
    store = open_store()
    build(store)
    store.activate(1, expect_epoch=1, actor="op")
    assert [db.execute(query).fetchone() for query in (looks, counts, contents)] == before


def test_a_collections_name_is_one_tables(db, open_store):
    make_docs(db)
    open_store().adopt(CONTROL.model)
    db.execute("CREATE TABLE other AS SELECT * FROM docs")
    db.execute("ALTER TABLE other ADD PRIMARY KEY (id)")
    other = open_store("other", text="content")
    for use in (other.pointer, other.versions, lambda: other.adopt(CONTROL.model), lambda: other.create_version(CANDIDATE.model)):
        with pytest.raises(PreflightRefused, match=r"docs is registered for .*docs, not .*other"):
            use()
    assert open_store("other", text="content", collection="others").adopt(CONTROL.model).number == 0


def test_a_renamed_table_is_still_the_same(db, open_store):
    make_docs(db)
    open_store().adopt(CONTROL.model)
    db.execute("ALTER TABLE docs RENAME TO documents")
    assert open_store("documents").pointer().epoch == 1


def test_another_vector_column_under_the_same_name_is_refused(db, open_store):
    make_docs(db)
    open_store().adopt(CONTROL.model)
    db.execute("ALTER TABLE docs ADD second vector(8)")
    with pytest.raises(PreflightRefused, match="adopted with embedding embedding, not second"):
        open_store(embedding="second").versions()


def test_two_collections_live_in_one_schema(db, open_store):
    make_docs(db)
    db.execute("ALTER TABLE docs ADD part int DEFAULT 1")
    first, second = open_store(where="id <= 2"), open_store(where="id > 2", collection="rest")
    build(first)
    build(second)
    first.activate(1, expect_epoch=1, actor="op")
    assert (first.pointer().active, second.pointer().active) == (1, 0)
    assert (first.differences(first.versions()[1]).present, second.differences(second.versions()[1]).present) == (2, 3)


def test_a_schema_made_in_advance_is_used(db, open_store, state):
    make_docs(db)
    db.execute(f"CREATE SCHEMA {state}")
    assert open_store().adopt(CONTROL.model).state is State.ACTIVE


def test_an_activation_behind_a_stuck_session_gives_up_as_a_conflict(built, db, dsn, state):
    with psycopg.connect(dsn) as stuck:
        stuck.execute(f"SELECT FROM {state}.collection FOR UPDATE")
        with pytest.raises(Conflict, match="lock"):
            built.activate(1, expect_epoch=1, actor="op")
        assert built.pointer().active == 0
    assert built.activate(1, expect_epoch=1, actor="op").active == 1


def test_adopting_untyped_vectors_asks_the_rows_for_their_dimension(db, open_store):
    make_docs(db, vector="vector", index=None)
    store = open_store()
    with pytest.raises(WrongSpace, match="has 8"):
        store.adopt(ModelVersion("wide", "f" * 64, "x", 9))
    assert store.adopt(CONTROL.model).number == 0
