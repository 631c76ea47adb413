import pytest
from pgvector_applications import CONTROL, TEXTS, make_docs, vector_of

from vecmigrate.errors import NotFound, PreflightRefused, UsageError
from vecmigrate.versions import AnnParameters, Element, Metric


def test_a_plain_table_needs_nothing_but_its_name(db, open_store, place):
    make_docs(db)
    found = open_store().inspect()
    assert (found.rows, found.rows_without_text, found.rows_without_vector) == (5, 0, 0)
    assert (found.key, found.text, found.location) == ("id", "content", f"{place}.docs.embedding")
    assert (found.metric, found.element, found.dimensions) == (Metric.COSINE, Element.FLOAT32, {8: 5})
    assert found.ann == AnnParameters("hnsw", 16, 64)
    assert found.filter_fields == {"lang": "text"}
    assert found.server.startswith("PostgreSQL 18")
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("index", "metric", "ann"),
    [
        ("hnsw (embedding vector_l2_ops) WITH (m = 8, ef_construction = 32)", Metric.L2, AnnParameters("hnsw", 8, 32)),
        ("hnsw (embedding vector_ip_ops) WITH (m = 24)", Metric.INNER_PRODUCT, AnnParameters("hnsw", 24, 64)),
        ("ivfflat (embedding vector_cosine_ops) WITH (lists = 2)", Metric.COSINE, AnnParameters("ivfflat", 16, 64)),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_metric_and_parameters_are_those_of_the_index(db, open_store, index, metric, ann):
    make_docs(db, index=index)
    found = open_store().inspect()
    assert (found.metric, found.ann) == (metric, ann)


def test_without_an_index_cosine_is_assumed_and_said(db, open_store):
    make_docs(db, index=None)
    found = open_store().inspect()
    assert (found.metric, found.ann.kind) == (Metric.COSINE, "none")
    assert any("cosine is assumed" in warning for warning in found.warnings)
    assert open_store(metric="l2").inspect().warnings == ()


def test_the_metric_given_chooses_among_indexes(db, open_store):
    make_docs(db)
    db.execute("CREATE INDEX ON docs USING hnsw (embedding vector_l2_ops) WITH (m = 5)")
    assert open_store(metric="l2").inspect().ann.m == 5
    with pytest.raises(UsageError, match="has indexes of 2 metrics: cosine, l2") as caught:
        open_store()
    assert 'metric = "cosine" in [store]' in caught.value.hint


def test_the_index_of_another_column_says_nothing_of_this_one(db, open_store):
    make_docs(db, index=None)
    db.execute("ALTER TABLE docs ADD embedding_title vector(8)")
    db.execute("CREATE INDEX ON docs USING hnsw ((embedding_title::halfvec(8)) halfvec_ip_ops)")
    found = open_store(embedding="embedding").inspect()
    assert (found.metric, found.ann.kind) == (Metric.COSINE, "none")


def test_an_index_on_a_halfvec_cast_tells_the_metric_and_that_we_search_without_it(db, open_store):
    make_docs(db, index="hnsw ((embedding::halfvec(8)) halfvec_l2_ops)")
    store = open_store()
    found = store.inspect()
    assert (found.metric, found.ann.kind) == (Metric.L2, "none")
    assert any("vecmigrate searches v0 by the column itself, exactly" in warning for warning in found.warnings)
    assert store.health(store.adopt(CONTROL.model)).index_used is None


@pytest.mark.parametrize("index", ["hnsw (embedding vector_cosine_ops) WHERE embedding IS NOT NULL", "hnsw (embedding vector_cosine_ops)"])
def test_an_index_that_searches_use_is_seen_to_be_used(db, open_store, index):
    make_docs(db, index=index)
    store = open_store()
    health = store.health(store.adopt(CONTROL.model))
    assert (health.index_valid, health.index_used) == (True, True)


def test_the_index_of_a_partitioned_table_is_used_by_its_partitions(db, open_store):
    db.execute(
        "CREATE TABLE docs (id bigint, part int, content text, embedding vector(8), PRIMARY KEY (id, part)) PARTITION BY LIST (part);"
        " CREATE TABLE docs_one PARTITION OF docs FOR VALUES IN (1); CREATE TABLE docs_two PARTITION OF docs FOR VALUES IN (2);"
        " CREATE INDEX docs_ann ON docs USING hnsw (embedding vector_cosine_ops)"
    )
    for id, text in enumerate(TEXTS):
        db.execute("INSERT INTO docs VALUES (%s, %s, %s, %s)", [id, 1 + id % 2, text, vector_of(text)])
    store = open_store()
    health = store.health(store.adopt(CONTROL.model))
    assert (health.index_valid, health.index_used) == (True, True)


def test_an_index_of_a_distance_we_do_not_know_is_passed_over(db, open_store):
    make_docs(db, index="hnsw (embedding vector_l1_ops)")
    assert open_store().inspect().ann.kind == "none"


def test_halfvec_is_seen(db, open_store):
    make_docs(db, vector="halfvec(8)", index="hnsw (embedding halfvec_l2_ops)")
    found = open_store().inspect()
    assert (found.element, found.metric, found.dimensions) == (Element.FLOAT16, Metric.L2, {8: 5})


def test_mixed_dimensions_are_counted_and_warned_of(db, open_store):
    make_docs(db, vector="vector", index=None)
    db.execute("INSERT INTO docs VALUES (9, 'nine', 'en', '[1,2,3]'), (10, 'ten', 'en', NULL)")
    found = open_store().inspect()
    assert found.dimensions == {8: 5, 3: 1}
    assert any("mixes dimensions (5 of 8, 1 of 3)" in warning for warning in found.warnings)
    assert any("1 rows have no vector" in warning for warning in found.warnings)


def test_missing_texts_are_counted_and_warned_of(db, open_store):
    make_docs(db)
    db.execute(r"UPDATE docs SET content = NULL WHERE id = 1; UPDATE docs SET content = E' \n\t' WHERE id = 2")
    store = open_store()
    found = store.inspect()
    assert (found.rows, found.rows_without_text, store.count()) == (5, 2, 3)
    assert any("2 rows have no text" in warning for warning in found.warnings)


def test_an_empty_table_is_said_to_be_empty(db, open_store):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, content text, embedding vector(8))")
    found = open_store().inspect()
    assert (found.rows, found.dimensions) == (0, {})
    assert "the collection is empty" in found.warnings


def test_names_that_need_quotes_work_however_they_are_written(db, open_store, place):
    db.execute('CREATE TABLE "My ""Docs"" 100%" ("The Key" int PRIMARY KEY, "Text %s" text, "Vec{{tor}}" vector(8), "It\'s %% {}" int)')
    db.execute('INSERT INTO "My ""Docs"" 100%" VALUES (1, \'one\', \'[1,1,1,1,1,1,1,1]\', 7)'.replace("%", "%"))
    for name in ('"My ""Docs"" 100%"', f'{place}."My ""Docs"" 100%"'):
        store = open_store(name, collection="quoted")
        assert [(chunk.id, chunk.text, chunk.metadata) for batch in store.scan() for chunk in batch] == [("1", "one", {"It's %% {}": 7})]


def test_a_mixed_case_name_without_quotes_is_understood(db, open_store):
    db.execute('CREATE TABLE "MyDocs" (id int PRIMARY KEY, content text, embedding vector(8))')
    assert open_store("MyDocs").inspect().location.endswith("MyDocs.embedding")


@pytest.mark.parametrize("name", ["nowhere", "no.where", "a.b.c.d", "not a name", '"', "x y.z", "docs;", "öäü"])
def test_a_table_that_is_not_there_is_answered_with_those_that_are(db, open_store, name, place):
    make_docs(db)
    with pytest.raises(NotFound, match="there is no table") as caught:
        open_store(name)
    assert f"{place}.docs" in caught.value.hint or "tables with vectors" in caught.value.hint


@pytest.mark.parametrize(("kind", "what"), [("VIEW", "a view"), ("MATERIALIZED VIEW", "a materialized view")])
def test_what_is_not_a_table_is_refused(db, open_store, kind, what):
    make_docs(db)
    db.execute(f"CREATE {kind} docs_seen AS SELECT * FROM docs")
    with pytest.raises(PreflightRefused, match=what):
        open_store("docs_seen")


def test_a_table_without_a_key_is_refused_with_the_statement_to_type(db, open_store):
    db.execute("CREATE TABLE docs (id int, content text, embedding vector(8))")
    with pytest.raises(PreflightRefused, match="has no key") as caught:
        open_store()
    assert "ADD PRIMARY KEY" in caught.value.hint


@pytest.mark.parametrize(
    "index",
    [
        "CREATE UNIQUE INDEX ON docs (id)",
        "CREATE UNIQUE INDEX ON docs (slug) WHERE content <> ''",
        "CREATE UNIQUE INDEX ON docs (lower(slug))",
        "ALTER TABLE docs ADD UNIQUE (slug) DEFERRABLE INITIALLY DEFERRED",
    ],
)
def test_a_unique_index_that_does_not_tell_all_rows_apart_is_no_key(db, open_store, index):
    db.execute("CREATE TABLE docs (id int, slug text NOT NULL, content text, embedding vector(8))")
    db.execute(index)
    with pytest.raises(PreflightRefused, match="has no key"):
        open_store(text="content")
    with pytest.raises(PreflightRefused, match="nothing enforces"):
        open_store(text="content", key="slug")


def test_a_unique_index_over_not_null_columns_is_a_key(db, open_store):
    db.execute("CREATE TABLE docs (id int, slug text NOT NULL, content text, embedding vector(8))")
    db.execute("CREATE UNIQUE INDEX ON docs (slug) INCLUDE (id)")
    assert open_store(text="content").inspect().key == "slug"


def test_the_key_given_wins_over_the_primary_key(db, open_store):
    make_docs(db)
    db.execute(
        "ALTER TABLE docs ADD node text; UPDATE docs SET node = 'n' || id; ALTER TABLE docs ALTER node SET NOT NULL, ADD UNIQUE (node)"
    )
    store = open_store(key="node", text="content")
    assert sorted(chunk.id for batch in store.scan() for chunk in batch) == ["n1", "n2", "n3", "n4", "n5"]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"text": "nope"}, NotFound, "no column 'nope'"),
        ({"embedding": "nope"}, NotFound, "no column 'nope'"),
        ({"key": "nope"}, NotFound, "no column 'nope'"),
        ({"metadata": ["lang", "nope"]}, NotFound, "no column 'nope'"),
        ({"embedding": "content"}, UsageError, "is text"),
        ({"text": "embedding"}, UsageError, "not text"),
        ({"text_sql": "nope || content"}, NotFound, "nope"),
        ({"text_sql": "content ||"}, UsageError, "syntax"),
        ({"text_sql": "max(content)"}, UsageError, "aggregate|GROUP BY"),
        ({"where": "content"}, UsageError, "boolean"),
        ({"where": "true) AS s; DROP TABLE docs; --"}, UsageError, "multiple commands|syntax"),
        ({"where": "true /* "}, UsageError, "comment"),
    ],
)
def test_a_setting_that_does_not_fit_the_table_is_said_before_any_work(db, open_store, settings, error, said):
    make_docs(db)
    with pytest.raises(error, match=said):
        open_store(**settings)
    assert db.execute("SELECT count(*) FROM docs").fetchone() == (5,)


def test_several_vector_columns_are_listed(db, open_store):
    make_docs(db)
    db.execute("ALTER TABLE docs ADD title_embedding vector(8)")
    with pytest.raises(UsageError, match="2 vector or halfvec columns: embedding, title_embedding") as caught:
        open_store()
    assert 'embedding = "embedding"' in caught.value.hint
    assert open_store(embedding="title_embedding").inspect().rows_without_vector == 5


def test_several_text_columns_are_listed_unless_one_has_a_telling_name(db, open_store):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, headline text, story text, embedding vector(8))")
    with pytest.raises(UsageError, match="2 text columns: headline, story"):
        open_store()
    db.execute("ALTER TABLE docs RENAME story TO body")
    assert open_store().inspect().text == "body"


def test_a_table_without_text_or_vectors_says_what_it_has(db, open_store):
    db.execute(
        "CREATE TABLE docs (id int PRIMARY KEY, payload jsonb, embedding vector(8)); CREATE TABLE plain (id int PRIMARY KEY, content text)"
    )
    with pytest.raises(UsageError, match="no text column") as caught:
        open_store()
    assert "payload (jsonb)" in caught.value.hint
    assert "text_sql" in caught.value.hint
    with pytest.raises(UsageError, match="no vector or halfvec column"):
        open_store("plain")


def test_a_text_inside_json_is_had_by_an_expression(db, open_store):
    db.execute("CREATE TABLE docs (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), payload jsonb, vector vector(8))")
    db.execute("""INSERT INTO docs (payload, vector) VALUES ('{"data": "the text", "user": "u1"}', '[1,2,3,4,5,6,7,8]')""")
    store = open_store(text_sql="payload->>'data' -- the memory's text")
    (chunk,) = next(iter(store.scan()))
    assert (chunk.text, chunk.metadata) == ("the text", {"data": "the text", "user": "u1"})
    assert store.inspect().filter_fields == {"data": "string", "user": "string"}


def test_an_expression_and_a_filter_may_hold_percent_signs_and_quotes(db, open_store):
    make_docs(db)
    store = open_store(text_sql="docs.lang || E'\\n' || content || ' 100%s'", where="content LIKE '%tree%' AND docs.lang <> '%'")
    assert {chunk.text for batch in store.scan() for chunk in batch} == {f"en\n{TEXTS[i]} 100%s" for i in (1, 4)}


def test_a_filter_makes_a_collection_of_a_part(db, open_store):
    make_docs(db)
    store = open_store(where="id <= 3")
    assert (store.count(), store.inspect().rows, sorted(store.fetch(["1", "4"]))) == (3, 3, ["1"])


def test_metadata_columns_and_json_keys_are_one_mapping_and_columns_win(db, open_store):
    make_docs(db)
    db.execute("ALTER TABLE docs ADD metadata jsonb, ADD seen timestamptz, ADD score numeric, ADD tags text[]")
    db.execute("""UPDATE docs SET metadata = '{"lang": "json", "page": 3, "none": null}', seen = '2026-01-02 03:04:05+02', score = 1.50,
        tags = '{a,b}' WHERE id = 1; UPDATE docs SET metadata = '[1, 2]' WHERE id = 2""")
    chunks = open_store().fetch(["1", "2", "3"])
    assert chunks["1"].metadata == {"lang": "en", "page": 3, "seen": "2026-01-02T01:04:05+00:00", "score": 1.5, "tags": ["a", "b"]}
    assert chunks["2"].metadata == chunks["3"].metadata == {"lang": "en"}


def test_metadata_given_is_all_there_is(db, open_store):
    make_docs(db)
    db.execute("ALTER TABLE docs ADD a int DEFAULT 1, ADD b int DEFAULT 2")
    assert open_store(metadata=["b"]).fetch(["1"])["1"].metadata == {"b": 2}
    assert open_store(metadata=[]).fetch(["1"])["1"].metadata == {}


def test_a_table_of_a_hundred_fields_is_read(db, open_store):
    make_docs(db)
    db.execute("ALTER TABLE docs " + ", ".join(f"ADD f{i} int DEFAULT {i}" for i in range(100)))
    assert open_store().fetch(["1"])["1"].metadata == {"lang": "en"} | {f"f{i}": i for i in range(100)}


def test_a_partitioned_table_is_a_table(db, open_store):
    db.execute(
        "CREATE TABLE docs (tenant int, id int, content text, embedding vector(8), PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant)"
    )
    for tenant in (1, 2):
        db.execute(f"CREATE TABLE docs_{tenant} PARTITION OF docs FOR VALUES IN ({tenant})")
        db.execute(f"INSERT INTO docs VALUES ({tenant}, 1, 'text of {tenant}', '{vector_of('x')}')")
    store = open_store()
    assert sorted(chunk.id for batch in store.scan() for chunk in batch) == ['["1","1"]', '["2","1"]']


def test_a_database_without_pgvector_says_what_to_type(server, open_store):
    import psycopg

    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare")
    with pytest.raises(PreflightRefused, match="pgvector is not installed in this database") as caught:
        open_store(dsn=server.dsn_of("bare"))
    assert caught.value.hint == "CREATE EXTENSION vector;"


def test_a_database_of_uncertain_encoding_is_refused(server, open_store):
    import psycopg

    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(PreflightRefused, match="SQL_ASCII"):
        open_store(dsn=server.dsn_of("ascii"))


def test_the_extension_may_live_in_any_schema(server, open_store):
    import psycopg

    dsn = server.dsn_of("elsewhere")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "Ext 1"; CREATE EXTENSION vector SCHEMA "Ext 1"')
        connection.execute('SET search_path = public, "Ext 1"')
        make_docs(connection)
    from pgvector_applications import build, found

    store = open_store(dsn=dsn)
    version = build(store)
    for exact in (False, True):
        assert found(store, version, TEXTS[2], exact=exact) == ["3"]
    assert store.health(version).index_used is True
    assert store.inspect().dimensions == {8: 5}
