from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from pgvector_applications import CANDIDATE, CONTROL, TEXTS, build, found, make_docs

from vecmigrate.errors import DataError, UsageError
from vecmigrate.filters import matches, parse_filter
from vecmigrate.versions import Element, Metric, ModelVersion, State


def test_hundreds_of_rows_under_a_selective_filter_still_give_k(db, open_store):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, content text, rare boolean, embedding vector(8))")
    db.execute(
        "INSERT INTO docs SELECT i, 'text ' || i, i %% 100 = 0, ARRAY(SELECT random() FROM generate_series(1, 8) WHERE i > 0)::vector FROM "
        "generate_series(1, 3000) i".replace("%%", "%")
    )
    db.execute("CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)")
    db.execute("ANALYZE docs")
    store = open_store(text="content")
    version = build(store)
    queries = CANDIDATE.encode_queries(["text 5", "text 77"])
    for hits in store.search(version, queries, 25, where=parse_filter({"rare": True})):
        assert len(hits) == 25
        assert all(int(hit.chunk_id) % 100 == 0 for hit in hits)
    for hits in store.search(version, queries, 200):
        assert len({hit.chunk_id for hit in hits}) == 200
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [len(hits) for hits in store.search(version, queries, 50, where=parse_filter({"rare": True}))] == [30, 30]


def test_where_the_index_gives_up_early_the_rest_is_searched_exactly(db, dsn, open_store):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, content text, rare boolean, embedding vector(8))")
    db.execute("INSERT INTO docs SELECT i, 'text ' || i, i % 500 = 0 FROM generate_series(1, 3000) i")
    options = "%20-cwork_mem%3D64kB%20-cenable_sort%3Doff%20-cenable_seqscan%3Doff%20-cenable_bitmapscan%3Doff"
    store = open_store(dsn=dsn + options)
    version = build(store)
    queries = CANDIDATE.encode_queries([f"text {i}" for i in range(5)])
    for hits in store.search(version, queries, 6, where=parse_filter({"rare": True})):
        assert sorted(int(hit.chunk_id) for hit in hits) == [500, 1000, 1500, 2000, 2500, 3000]


def test_the_index_finds_nearly_what_exact_search_finds(db, open_store):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, content text, embedding vector(8))")
    db.execute("INSERT INTO docs SELECT i, 'text number ' || i, NULL FROM generate_series(1, 2000) i")
    store = open_store()
    version = build(store)
    queries = CANDIDATE.encode_queries([f"number {i}" for i in range(40)])
    pairs = zip(store.search(version, queries, 10), store.search(version, queries, 10, exact=True), strict=True)
    overlap = [len({h.chunk_id for h in a} & {h.chunk_id for h in b}) / 10 for a, b in pairs]
    assert np.mean(overlap) > 0.9


def test_many_queries_are_each_answered(db, open_store):
    make_docs(db)
    store = open_store()
    version = build(store)
    queries = np.tile(CANDIDATE.encode_queries(list(TEXTS)), (241, 1))
    answers = store.search(version, queries, 1)
    assert [hits[0].chunk_id for hits in answers] == ["1", "2", "3", "4", "5"] * 241


@pytest.mark.parametrize(("vector", "salt"), [("vector", "float32"), ("halfvec", "float16")])
def test_untyped_columns_are_searched_in_one_dimension_at_a_time(db, open_store, vector, salt):
    make_docs(db, vector=vector, index=None)
    db.execute("INSERT INTO docs VALUES (6, 'three', 'en', '[1,2,3]'), (7, 'none', 'en', NULL)")
    store = open_store()
    control = store.adopt(CONTROL.model)
    assert control.element == salt
    for exact in (False, True):
        assert found(store, control, TEXTS[1], 10, encoder=CONTROL, exact=exact)[0] == "2"
        assert len(found(store, control, TEXTS[1], 10, encoder=CONTROL, exact=exact)) == 5


def test_an_expression_index_on_an_untyped_column_is_used(db, open_store):
    make_docs(db, vector="vector", index="hnsw ((embedding::vector(8)) vector_ip_ops)")
    store = open_store()
    control = store.adopt(CONTROL.model)
    assert control.metric is Metric.INNER_PRODUCT
    health = store.health(control)
    assert (health.index_valid, health.index_used) == (True, True)


def test_a_zero_vector_of_the_control_is_no_answer_by_cosine(db, open_store):
    make_docs(db)
    db.execute("INSERT INTO docs VALUES (6, 'zero', 'en', '[0,0,0,0,0,0,0,0]')")
    store = open_store()
    control = store.adopt(CONTROL.model)
    for exact in (False, True):
        assert "6" not in found(store, control, TEXTS[1], 10, encoder=CONTROL, exact=exact)


@pytest.mark.parametrize("damage", [0.0, np.nan, np.inf])
def test_a_query_that_has_no_direction_is_refused(db, open_store, damage):
    make_docs(db)
    store = open_store()
    control = store.adopt(CONTROL.model)
    with pytest.raises(DataError, match="query vector 1"):
        store.search(control, np.array([[1.0] * 8, [damage] * 8], dtype=np.float32), 1)
    with pytest.raises(UsageError, match="k is 0"):
        store.search(control, np.ones((1, 8), dtype=np.float32), 0)


FIELDS = {
    "lang text": ["en", "de", None, "en", "it's"],
    "short varchar(5)": ["a", "b", "c", None, "a"],
    "year int": [2019, 2020, 2020, None, -1],
    "big bigint": [2**60, 2**60 + 1, 0, 1, None],
    "price float8": [0.1, 2.5, 3.0, None, -1e300],
    "weight real": [0.1, 0.3, 1.5, 2.0, None],
    "amount numeric": ["0.10", "2.5", "100000000000000000001", None, "3"],
    "public boolean": [True, False, None, True, False],
    "day date": ["2024-01-01", "2024-01-02", None, "2024-01-01", "2024-01-03"],
    "tags text[]": ["{a}", "{b}", None, "{a,b}", "{}"],
    "uid uuid": ["00000000-0000-0000-0000-00000000000%d" % i for i in range(5)],
}
JSON = [
    '{"page": 3, "kind": "note", "ok": true, "it\'s": 1, "nested": {"a": 1}, "list": [1, 2]}',
    '{"page": 3.0, "kind": "Note", "ok": false, "x": null}',
    '{"page": "3", "kind": 7, "ok": "true"}',
    "[3]",
    None,
]
WHERES = [
    {"lang": "en"}, {"lang": "it's"}, {"lang": 1}, {"lang": True}, {"lang": {"$in": ["de", "en", 5]}}, {"lang": {"$gt": 1}},
    {"short": "a"}, {"year": 2020}, {"year": 2020.0}, {"year": 2020.5}, {"year": "2020"}, {"year": True}, {"year": {"$gte": 2019.5}},
    {"year": {"$lt": 2020}}, {"year": 10**30}, {"year": {"$lt": 10**30}}, {"big": 2**60}, {"big": {"$gt": 2**60}},
    {"price": 0.1}, {"price": 3}, {"price": {"$lte": 2.5}}, {"price": {"$gt": -1e301}}, {"weight": 0.1}, {"weight": {"$gt": 0.1}},
    {"amount": 0.1}, {"amount": {"$gte": 3}}, {"public": True}, {"public": 1}, {"public": "true"}, {"public": {"$gt": 0}},
    {"day": "2024-01-01"}, {"day": {"$gt": 2000}}, {"tags": "a"}, {"uid": "00000000-0000-0000-0000-000000000002"}, {"uid": "x"},
    {"page": 3}, {"page": "3"}, {"page": {"$gt": 2}}, {"page": {"$lte": 3}}, {"kind": {"$in": ["note", 7]}}, {"ok": True}, {"ok": 1},
    {"it's": 1}, {"nested": 1}, {"list": 1}, {"x": 0}, {"absent": "x"}, {"absent": {"$gt": 0}}, {"a\0b": 1}, {"lang": "a\0b"},
    {"$or": [{"lang": "de"}, {"page": 3}]}, {"$and": [{"public": True}, {"price": {"$gt": 0}}]}, {"lang": "\ud800"}, {"%s {x}": "%(x)s"},
]  # fmt: skip


def test_a_filter_means_in_sql_what_it_means_in_python(db, open_store):
    make_docs(db)
    for field, values in FIELDS.items():
        db.execute(f"ALTER TABLE docs ADD {field}" if field != "lang text" else "SELECT 1")
        for id, value in enumerate(values, start=1):
            db.execute(f"UPDATE docs SET {field.split()[0]} = %s WHERE id = %s", [value, id])
    db.execute("ALTER TABLE docs ADD metadata jsonb")
    for id, value in enumerate(JSON, start=1):
        db.execute("UPDATE docs SET metadata = %s WHERE id = %s", [value, id])
    store = open_store(text="content")
    control, version = store.adopt(CONTROL.model), build(store)
    chunks = store.fetch(["1", "2", "3", "4", "5"])
    query = CANDIDATE.encode_queries(["sort"])
    seen = set()
    for where in WHERES:
        condition = parse_filter(where)
        expected = {id for id, chunk in chunks.items() if matches(condition, chunk.metadata)}
        for each in (control, version):
            hits = store.search(each, query, 5, where=condition)[0]
            assert {hit.chunk_id for hit in hits} == expected, where
        seen.add(len(expected))
    assert seen >= {0, 1, 2, 3, 4}


def test_a_filter_on_a_json_column_can_use_its_index(db, open_store):
    from vecmigrate_pgvector.conditions import Condition

    make_docs(db)
    db.execute("ALTER TABLE docs ADD metadata jsonb; CREATE INDEX docs_gin ON docs USING gin (metadata jsonb_path_ops)")
    store = open_store()
    condition = Condition(store._layout)
    compiled = condition.compile(parse_filter({"source": "handbook"})).as_string(db).replace("s.j", "metadata")
    db.execute("SET enable_seqscan = off")
    plan = db.execute("EXPLAIN SELECT FROM docs WHERE " + compiled, condition.parameters).fetchall()
    assert "docs_gin" in str(plan)


def test_readers_in_eight_threads_see_one_version_each_while_it_flips(db, open_store):
    make_docs(db)
    store = open_store()
    build(store)
    versions = {v.number: v for v in store.versions()}
    encoders = {0: CONTROL, 1: CANDIDATE}
    stop = False

    def read():
        seen = set()
        while not stop:
            pointer = store.pointer()
            version = versions[pointer.active]
            vector = encoders[pointer.active].encode_queries([TEXTS[2]])
            hits = store.search(version, vector, 5)[0]
            assert (hits[0].chunk_id, round(hits[0].score, 4)) == ("3", 1.0)
            seen.add((pointer.active, pointer.epoch))
        return seen

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(8)]
        try:
            for epoch in range(1, 21):
                store.activate(epoch % 2, expect_epoch=epoch, actor="op")
        finally:
            stop = True
        seen = set().union(*(reader.result() for reader in readers))
    assert {active for active, _ in seen} == {0, 1}
    assert all(active == (epoch + 1) % 2 for active, epoch in seen)
    assert store.versions()[0].state is State.ACTIVE


def test_a_version_of_another_dimension_lives_beside_the_control(db, open_store):
    from vecmigrate.testing.encoders import HashingEncoder

    make_docs(db)
    store = open_store()
    wide = HashingEncoder(20, "wide")
    version = build(store, wide)
    assert isinstance(version.model, ModelVersion)
    assert found(store, version, TEXTS[4], encoder=wide) == ["5"]


@pytest.mark.parametrize("options", [{}, {"element": "float16"}])
def test_the_sql_function_answers_as_the_store_and_refuses_another_models_vector(db, open_store, state, options):
    make_docs(db)
    store = open_store(where="content LIKE '%%' AND content <> '%(query)s $1'".replace("%%", "%"))
    build(store, **{key: Element(value) for key, value in options.items()})
    call = f"SELECT chunk_id, score FROM {state}.search('docs', %s, %s::vector, 3)"
    for number, encoder in ((0, CONTROL), (1, CANDIDATE)):
        vector = encoder.encode_queries([TEXTS[3]])
        if number:
            store.activate(1, expect_epoch=1, actor="op")
        rows = db.execute(call, [encoder.model.fingerprint, str(vector[0].tolist())]).fetchall()
        wanted = [(hit.chunk_id, pytest.approx(hit.score, abs=1e-6)) for hit in store.search(store.versions()[number], vector, 3)[0]]
        assert (rows, rows[0][0]) == (wanted, "4")
    with pytest.raises(psycopg.errors.RaiseException, match="docs@v1 serves model"):
        db.execute(call, [CONTROL.model.fingerprint, str([1.0] * 8)])
    with pytest.raises(psycopg.errors.DataException, match="expected 8 dimensions"):
        db.execute(call, [CANDIDATE.model.fingerprint, "[1,2]"])
    with pytest.raises(psycopg.errors.RaiseException, match="no serving version"):
        db.execute(f"SELECT {state}.search('nowhere', 'x', '[1]'::vector, 3)")


@pytest.mark.parametrize(
    ("set_by_the_dba", "k", "used"), [("400", 10, "400"), ("400", 600, "600"), ("10", 10, "40"), (None, 10, "40"), (None, 5000, "1000")]
)
def test_the_search_is_never_narrower_than_the_dba_has_set_it(db, dsn, open_store, set_by_the_dba, k, used):
    make_docs(db)
    store = open_store(dsn=dsn if set_by_the_dba is None else f"{dsn}%20-chnsw.ef_search%3D{set_by_the_dba}")
    store.adopt(CONTROL.model)

    def inside(session):
        store._searcher._settings(session, k)
        return session.execute("SHOW hnsw.ef_search").fetchone()[0]

    assert store._searcher.database.read(inside) == used
