from pathlib import Path

import psycopg
import pytest
from pgvector_applications import CANDIDATE, CONTROL, TEXTS, build, found, make_docs

from vecmigrate.errors import AccessDenied, NotFound, StoreUnavailable, UsageError
from vecmigrate.store import Capability


@pytest.fixture
def reader(db, dsn, place, open_store):
    """A role that may do nothing yet, and how to open a store as it."""
    role = f"reader_{place}"
    db.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {place} TO {role}")

    class Reader:
        name = role

        def open(self, **settings):
            return open_store(dsn=dsn.replace("postgres:@", f"{role}:@"), **settings)

    yield Reader()
    db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_select_is_enough_to_inspect_scan_and_search_the_control(db, reader, open_store):
    make_docs(db)
    db.execute(f"GRANT SELECT ON docs TO {reader.name}")
    control = open_store().adopt(CONTROL.model)
    store = reader.open()
    assert store.inspect().rows == 5
    assert (store.count(), len(store.sample(3)), len(store.fetch(["1"]))) == (5, 3, 1)
    assert len([chunk for batch in store.scan() for chunk in batch]) == 5
    assert found(store, control, TEXTS[1], encoder=CONTROL) == ["2"]
    assert len(list(store.read_rows("docs"))) == 5


def test_select_on_the_needed_columns_is_enough(db, reader):
    make_docs(db)
    db.execute("ALTER TABLE docs ADD secret text")
    db.execute(f"GRANT SELECT (id, content, embedding) ON docs TO {reader.name}")
    store = reader.open(metadata=[], text="content")
    assert store.inspect().rows == 5
    with pytest.raises(AccessDenied, match="permission denied for table docs") as caught:
        reader.open(metadata=["secret"], text="content")
    assert f"TO {reader.name};" in caught.value.hint


def test_without_select_the_grant_is_named(db, reader, place):
    make_docs(db)
    with pytest.raises(AccessDenied, match=f"{reader.name} may not read {place}.docs") as caught:
        reader.open()
    assert caught.value.hint == f"GRANT SELECT ON {place}.docs TO {reader.name};"


def test_a_reader_of_the_state_needs_usage_and_select(db, reader, open_store, state):
    make_docs(db)
    db.execute(f"GRANT SELECT ON docs TO {reader.name}")
    owner = open_store()
    version = build(owner)
    store = reader.open()
    for use in (store.pointer, store.versions, lambda: store.search(version, CANDIDATE.encode_queries(["x"]), 1)):
        with pytest.raises(AccessDenied) as caught:
            use()
        assert f"GRANT SELECT ON ALL TABLES IN SCHEMA {state} TO {reader.name}" in caught.value.hint
    db.execute(f"GRANT USAGE ON SCHEMA {state} TO {reader.name}; GRANT SELECT ON ALL TABLES IN SCHEMA {state} TO {reader.name}")
    assert store.pointer() == owner.pointer()
    assert found(store, version, TEXTS[1]) == ["2"]
    assert store.differences(version).clean
    with pytest.raises(AccessDenied):
        store.activate(1, expect_epoch=1, actor="reader")
    with pytest.raises(AccessDenied):
        store.remove(version, ["1"])
    assert owner.pointer().epoch == 1


def test_default_privileges_let_a_reader_follow_to_versions_that_come_later(db, reader, open_store, state):
    make_docs(db)
    db.execute(f"GRANT SELECT ON docs TO {reader.name}")
    owner = open_store()
    build(owner)
    db.execute(
        f"GRANT USAGE ON SCHEMA {state} TO {reader.name}; GRANT SELECT ON ALL TABLES IN SCHEMA {state} TO {reader.name};"
        f" ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA {state} GRANT SELECT ON TABLES TO {reader.name}"
    )
    later = build(owner)
    assert later.number == 2
    assert found(reader.open(), later, TEXTS[1]) == ["2"]


def test_adoption_needs_create_on_the_database_and_says_so(db, reader):
    make_docs(db)
    db.execute(f"GRANT SELECT ON docs TO {reader.name}")
    with pytest.raises(AccessDenied, match="permission denied for database") as caught:
        reader.open().adopt(CONTROL.model)
    assert "GRANT CREATE ON DATABASE postgres" in caught.value.hint


def test_a_role_that_can_only_read_is_told_so_before_the_job(db, reader, open_store, state):
    make_docs(db)
    db.execute(f"GRANT SELECT ON docs TO {reader.name}")
    probe = reader.open().can(Capability.MAKE_VERSIONS)
    assert (probe.able, f"CREATE SCHEMA {state} AUTHORIZATION {reader.name}" in probe.reason) == (False, True)
    db.execute(f"CREATE SCHEMA {state} AUTHORIZATION {reader.name}")
    assert reader.open().can(Capability.MAKE_VERSIONS).able
    db.execute(f"ALTER SCHEMA {state} OWNER TO postgres")
    assert "connect as its owner" in reader.open().can(Capability.MAKE_VERSIONS).reason


def test_a_role_without_rights_on_the_table_but_owning_the_schema_migrates(db, reader, state):
    make_docs(db)
    db.execute(f"GRANT SELECT ON docs TO {reader.name}; CREATE SCHEMA {state} AUTHORIZATION {reader.name}")
    store = reader.open()
    build(store)
    assert store.activate(1, expect_epoch=1, actor=reader.name).epoch == 2


def test_rows_hidden_by_row_level_security_are_an_error_and_not_a_deletion(db, reader):
    make_docs(db)
    db.execute(f"GRANT SELECT ON docs TO {reader.name}")
    db.execute("ALTER TABLE docs ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON docs USING (id = 1)")
    with pytest.raises(AccessDenied, match="row-level security") as caught:
        reader.open()
    assert "BYPASSRLS" in caught.value.hint


def test_the_owner_is_warned_of_row_level_security(db, open_store):
    make_docs(db)
    db.execute("ALTER TABLE docs ENABLE ROW LEVEL SECURITY")
    assert any("row-level security" in warning for warning in open_store().inspect().warnings)


def test_a_wrong_password_is_denied_and_never_shown(server, db, place):
    from vecmigrate_pgvector import adapter

    (data,) = db.execute("SHOW data_directory").fetchone()
    (hba,) = db.execute("SHOW hba_file").fetchone()
    db.execute(f"CREATE ROLE locked_{place} LOGIN PASSWORD 'right'")
    rules = Path(hba)
    before = rules.read_text()
    rules.write_text(f"local all locked_{place} scram-sha-256\n{before}")
    try:
        db.execute("SELECT pg_reload_conf()")
        with pytest.MonkeyPatch.context() as patch:
            for password in ("wr0ng-canary", ""):
                patch.setenv("SEARCH_DB", f"host={data} dbname=postgres user=locked_{place} password={password or chr(39) * 2}")
                with pytest.raises(AccessDenied) as caught:
                    adapter.open({"dsn_env": "SEARCH_DB", "table": "docs"}, collection="docs")
                assert "canary" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
    finally:
        rules.write_text(before)
        db.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("postgresql://u:canary@127.0.0.1:1/x", r"no PostgreSQL server listens there \(u:\*\*\*@127.0.0.1:1/x\)"),
        ("postgresql://u:canary@nosuch.invalid/x", r"the name of the PostgreSQL host is not known \(u:\*\*\*@nosuch.invalid:5432/x\)"),
        ("postgresql:///x?host=/nonexistent", r"no PostgreSQL socket is there"),
    ],
)
def test_it_is_said_why_a_server_is_not_reached(monkeypatch, dsn, message):
    from vecmigrate_pgvector import adapter

    monkeypatch.setenv("SEARCH_DB", dsn)
    with pytest.raises(StoreUnavailable, match=message) as caught:
        adapter.open({"dsn_env": "SEARCH_DB", "table": "docs"}, collection="docs")
    assert "canary" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"


@pytest.mark.parametrize(
    ("relation", "rows"),
    [
        ("log", 3),
        ("SELECT * FROM log WHERE q LIKE '%a%'", 2),
        ("-- comment; here\n/* and */ WITH x AS (SELECT 1 AS n) SELECT n FROM x;", 1),
        ("(SELECT 1) UNION ALL (SELECT 2)", 2),
        ("VALUES (1), (2)", 2),
        ("TABLE log", 3),
        ("SELECT ';' AS a", 1),
    ],
)
def test_a_log_is_read_from_a_table_or_one_query(db, open_store, relation, rows):
    make_docs(db)
    db.execute(
        "CREATE TABLE log (id int, q text, shown text[], clicked jsonb); INSERT INTO log VALUES (1, 'a', '{1,2}', '[1]'), (2, 'ab', NULL, NULL), (3, 'c', NULL, NULL)"
    )
    assert len(list(open_store().read_rows(relation, batch_size=2))) == rows


def test_log_rows_are_mappings_with_their_types(db, open_store, place):
    make_docs(db)
    db.execute(
        'CREATE TABLE "My Log" (id int, "Q" text, shown text[], clicked jsonb); INSERT INTO "My Log" VALUES (1, \'a\', \'{1,2}\', \'["x"]\')'
    )
    for name in ('"My Log"', f'{place}."My Log"'):
        assert list(open_store().read_rows(name)) == [{"id": 1, "Q": "a", "shown": ["1", "2"], "clicked": ["x"]}]


@pytest.mark.parametrize(
    ("relation", "error"),
    [
        ("DELETE FROM log", UsageError),
        ("insert into log values (9)", UsageError),
        ("", UsageError),
        (" ; ", UsageError),
        ("-- only a comment", UsageError),
        ("a\0b", UsageError),
        ("nowhere", NotFound),
        ("SELECT * FROM nowhere", NotFound),
        ("SELECT 1; DELETE FROM log", UsageError),
        ("SELECT 1; SELECT 2", UsageError),
        ("WITH gone AS (DELETE FROM log RETURNING *) SELECT * FROM gone", Exception),
        ("SELECT lo_create(0), nextval('log_seq')", AccessDenied),
        ("SELECT q FROM", UsageError),
        ("x" * 70, UsageError),
    ],
)
def test_nothing_but_one_query_is_run_on_a_log(db, open_store, relation, error):
    make_docs(db)
    db.execute("CREATE TABLE log (id int, q text); INSERT INTO log VALUES (1, 'a'); CREATE SEQUENCE log_seq")
    store = open_store()
    with pytest.raises(error) as caught:
        list(store.read_rows(relation))
    assert not isinstance(caught.value, psycopg.Error)
    assert db.execute("SELECT count(*) FROM log").fetchone() == (1,)
