"""One embedded PostgreSQL 18 for the session, one fresh schema (and state schema) per test."""

import itertools
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from vecmigrate.testing.postgres import EmbeddedPostgres
from vecmigrate_pgvector import adapter

sys.path.insert(0, str(Path(__file__).parent))  # for pgvector_applications: importlib mode adds no folder

_numbers = itertools.count()


def pytest_report_header():
    return f"psycopg {psycopg.__version__}"


@pytest.fixture(scope="session")
def server():
    with tempfile.TemporaryDirectory(prefix="vmpg") as folder, EmbeddedPostgres(f"{folder}/data") as started:
        with psycopg.connect(started.dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET synchronous_commit = off")
            connection.execute("SELECT pg_reload_conf()")
        yield started


@pytest.fixture
def place(server):
    """A name of this test's own: the schema of its tables."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return name


@pytest.fixture
def dsn(server, place):
    """A connection string whose search path begins with this test's schema."""
    return f"{server.dsn}&options=-csearch_path%3D{place},public"


@pytest.fixture
def db(dsn):
    """The application's connection."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def state(place):
    """The name of this test's state schema."""
    return f"{place}_state"


@pytest.fixture
def open_store(dsn, state):
    """Open a store on this test's schema; closed after the test."""
    opened = []

    def open_it(table="docs", *, collection="docs", dsn=dsn, **settings):
        opened.append(adapter.open({"dsn": dsn, "table": table, "state_schema": state, **settings}, collection=collection))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()
