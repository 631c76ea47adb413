"""A version that shares vectors on PostgreSQL: a row with another's location, and rules that the database keeps by itself."""

import psycopg
import pytest

from vecmigrate.errors import PreflightRefused, WrongSpace
from vecmigrate.filters import parse_filter
from vecmigrate.reindex import build
from vecmigrate.testing.encoders import HashingEncoder, TranslatingEncoder
from vecmigrate.versions import Element, State
from vecmigrate_pgvector.statements import blocks

BASE, NEW = HashingEncoder(8, "old"), HashingEncoder(8, "new")
TUNED, OVER_NEW = TranslatingEncoder(BASE, {"moggy": "cat"}), TranslatingEncoder(NEW, {"moggy": "cat"})
TEXTS = {1: "the cat", 2: "a dog chased it", 3: "moggy prices fell"}


@pytest.fixture
def store(db, open_store):
    """v0 serves; v1 is another model's; v2 shares v0's vectors, v3 shares v1's. All are ready."""
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, content text, lang text, embedding vector(8))")
    db.execute("CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)")
    for id, text in TEXTS.items():
        db.execute("INSERT INTO docs VALUES (%s, %s, 'en', %s)", [id, text, str(BASE.encode_documents([text])[0].tolist())])
    store = open_store()
    store.adopt(BASE.model)
    for encoder, shares in ((NEW, ""), (TUNED, "v0"), (OVER_NEW, "v1")):
        build(store, store.create_version(encoder.model, shares=shares), encoder, actor="me")
    return store


def version(store, number):
    return next(v for v in store.versions() if v.number == number)


def tables(db, state):
    found = db.execute("SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'i')", [state])
    return {name for (name,) in found if name.startswith("docs_v")}


def states(db, state):
    return [row[0] for row in db.execute(f"SELECT state FROM {state}.version ORDER BY number")]


def test_neither_a_table_nor_an_index_is_made_and_rows_are_counted_where_they_are(store, db, state):
    assert tables(db, state) == {"docs_v1", "docs_v1_pkey", "docs_v1_embedding_idx"}
    assert [(v.shares, v.rows, v.state) for v in store.versions()] == [
        ("", 3, State.ACTIVE),
        ("", 3, State.READY),
        ("docs@v0", 3, State.READY),
        ("docs@v1", 3, State.READY),
    ]
    assert [v.location for v in store.versions()][2:] == [v.location for v in store.versions()][:2]


def test_the_sql_function_takes_the_sharing_models_fingerprint_while_it_serves(store, db, state):
    query = str(TUNED.encode_queries(["moggy"])[0].tolist())
    call = f"SELECT chunk_id FROM {state}.search('docs', %s, %s, 1)"
    with pytest.raises(psycopg.errors.RaiseException, match="docs@v0 serves model"):
        db.execute(call, [TUNED.model.fingerprint, query])
    for target, tuned in ((2, TUNED), (3, OVER_NEW)):
        store.activate(target, expect_epoch=store.pointer().epoch, actor="me")
        query = str(tuned.encode_queries(["moggy"])[0].tolist())
        assert db.execute(call, [tuned.model.fingerprint, query]).fetchall() == [("1",)]
        with pytest.raises(psycopg.errors.RaiseException, match=f"docs@v{target} serves model"):
            db.execute(call, [tuned.model.documents, query])


def test_the_search_uses_the_index_that_is_there(store):
    assert [store.health(version(store, n)).index_used for n in (2, 3)] == [True, True]
    assert [store.health(version(store, n)).index_valid for n in (2, 3)] == [True, True]


def test_filters_are_evaluated_on_the_applications_rows(store, db):
    db.execute("UPDATE docs SET lang = 'de' WHERE id = 1")
    for number, tuned in ((2, TUNED), (3, OVER_NEW)):
        for lang, expected in (("en", {"2", "3"}), ("de", {"1"})):
            found = store.search(version(store, number), tuned.encode_queries(["moggy"]), 3, where=parse_filter({"lang": lang}))[0]
            assert {hit.chunk_id for hit in found} == expected


def test_a_vector_that_the_application_replaces_is_searched_at_once(store, db):
    db.execute("UPDATE docs SET embedding = %s WHERE id = 2", [str(BASE.encode_documents(["zebra"])[0].tolist())])
    assert store.search(version(store, 2), TUNED.encode_queries(["zebra"]), 1)[0][0].chunk_id == "2"


def test_half_precision_vectors_are_shared_as_they_are(store):
    half = build(store, store.create_version(BASE.model, element=Element.FLOAT16), BASE, actor="me").version
    shared = build(store, store.create_version(TUNED.model, shares=half.name), TUNED, actor="me").version
    assert (shared.element, shared.shares) == (Element.FLOAT16, "docs@v4")
    assert store.search(shared, TUNED.encode_queries(["moggy"]), 1)[0][0].chunk_id == "1"


@pytest.mark.parametrize("to", ["failed", "cancelled"])
def test_the_database_refuses_to_end_what_is_shared(store, db, state, to):
    with pytest.raises(psycopg.errors.RaiseException, match="docs@v3 shares the vectors of docs@v1"):
        db.execute(f"UPDATE {state}.version SET state = '{to}' WHERE number = 1")
    db.execute(f"UPDATE {state}.version SET state = 'cancelled' WHERE number = 3")
    db.execute(f"UPDATE {state}.version SET state = '{to}' WHERE number = 1")
    assert states(db, state) == ["active", to, "ready", "cancelled"]


def test_the_database_lets_what_shares_go(store, db, state):
    db.execute(f"UPDATE {state}.version SET state = 'failed' WHERE number IN (2, 3)")
    assert states(db, state) == ["active", "ready", "failed", "failed"]


def test_the_database_refuses_to_move_a_version_elsewhere(store, db, state):
    with pytest.raises(psycopg.errors.RaiseException, match="docs@v2 stays where it is"):
        db.execute(f"UPDATE {state}.version SET location = 'elsewhere' WHERE number = 2")


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("dimension = 9", "docs@v1 is another space"),
        ("metric = 'l2'", "docs@v1 is another space"),
        ("element = 'float16'", "docs@v1 is another space"),
        ("number = 9", "docs@v1 is cancelled: its vectors are not shared"),
    ],
)
def test_the_database_refuses_to_share_what_is_gone_or_of_another_space(store, db, state, change, seen):
    db.execute(f"UPDATE {state}.version SET state = 'cancelled' WHERE number = 3")
    if seen.endswith("not shared"):
        db.execute(f"UPDATE {state}.version SET state = 'cancelled' WHERE number = 1")
    names = ["collection", "number", "state", "model", "fingerprint", "metric", "element", "dimension", "ann", "location", "query"]
    what, _, value = change.partition(" = ")
    values = [value if name == what else {"number": "9", "state": "'planned'"}.get(name, name) for name in names]
    with pytest.raises(psycopg.errors.RaiseException, match=seen):
        db.execute(f"INSERT INTO {state}.version ({', '.join(names)}) SELECT {', '.join(values)} FROM {state}.version WHERE number = 1")


def test_a_schema_of_before_is_read_as_it_is_and_gets_the_rules_with_its_first_sharing_version(db, open_store, state):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, content text, embedding vector(8))")
    db.execute("INSERT INTO docs VALUES (1, 'the cat', %s)", [str(BASE.encode_documents(["the cat"])[0].tolist())])
    store = open_store()
    store.adopt(BASE.model)
    db.execute(f"DROP FUNCTION {state}.check_sharing() CASCADE")
    db.execute(f"UPDATE {state}.version SET model = model - 'documents'")
    assert [(v.model, v.shares) for v in store.versions()] == [(BASE.model, "")]
    build(store, store.create_version(NEW.model), NEW, actor="me")
    assert store.create_version(OVER_NEW.model, shares="v1").number == 2
    with pytest.raises(psycopg.errors.RaiseException, match="docs@v2 shares the vectors of docs@v1"):
        db.execute(f"UPDATE {state}.version SET state = 'cancelled' WHERE number = 1")
    assert store.create_version(OVER_NEW.model, shares="v1").number == 3


def test_the_rules_are_looked_for_under_the_name_they_are_made_with():
    assert "check_sharing()" in blocks("state")["sharing_checked"]
    assert "check_sharing()" in blocks("state")["install_sharing"]


def test_what_cannot_be_shared_leaves_no_row(store, db, state):
    before = states(db, state)
    with pytest.raises(WrongSpace):
        store.create_version(TUNED.model, shares="v1")
    with pytest.raises(PreflightRefused):
        store.advance(version(store, 1), State.CANCELLED, actor="me")
    assert states(db, state) == before


def test_giving_up_what_shares_drops_no_table_and_is_noted_once(store, db, state):
    gone = store.advance(version(store, 3), State.CANCELLED, actor="me")
    for _ in range(2):
        store.drop(gone, actor="me")
    assert "docs_v1" in tables(db, state)
    assert [e.version for e in store.history() if e.kind == "drop"] == [3]
    assert version(store, 3).rows is None
    store.drop(store.advance(version(store, 1), State.CANCELLED, actor="me"))
    assert tables(db, state) == set()
