import itertools
import tempfile

import psycopg
import pytest

from vecmigrate.testing.conformance import SourceRow, StoreConformance
from vecmigrate.testing.postgres import EmbeddedPostgres
from vecmigrate.versions import Metric
from vecmigrate_pgvector import adapter

OPCLASSES = {Metric.COSINE: "vector_cosine_ops", Metric.INNER_PRODUCT: "vector_ip_ops", Metric.L2: "vector_l2_ops"}
TYPES = {str: "text", bool: "boolean", int: "bigint", float: "double precision"}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory(prefix="vmpg") as folder, EmbeddedPostgres(f"{folder}/data") as started:
        with psycopg.connect(started.dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield started


class TestPgvector(StoreConformance):
    """A plain table: a text key, a text column, one typed column per metadata field, an HNSW index that tells the metric."""

    @pytest.fixture(autouse=True)
    def _database(self, server):
        self._name = f"conformance_{next(_numbers)}"
        self._dsn = server.dsn
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {self._name}")
            connection.execute(f"SET search_path = {self._name}, public")
            self._connection = connection
            yield

    def make_collection(self, rows, *, metric, dimension):
        fields = {key: TYPES[type(value)] for row in rows for key, value in row.metadata.items()}
        columns = "".join(f', "{key}" {kind}' for key, kind in fields.items())
        self._connection.execute(f"CREATE TABLE docs (id text PRIMARY KEY, content text, embedding vector({dimension}){columns})")
        self._connection.execute(f"CREATE INDEX ON docs USING hnsw (embedding {OPCLASSES[metric]})")
        for row in rows:
            self._put(row)
        return self.another_handle(None)

    def another_handle(self, store):
        settings = {"dsn": self._dsn, "table": f"{self._name}.docs", "text": "content", "state_schema": f"{self._name}_state"}
        return adapter.open(settings, collection="docs")

    def put(self, store, row: SourceRow):
        self._put(row)

    def delete(self, store, id):
        self._connection.execute("DELETE FROM docs WHERE id = %s", [id])

    def _put(self, row: SourceRow):
        values = {"id": row.id, "content": row.text, "embedding": None if row.vector is None else str(row.vector.tolist()), **row.metadata}
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join(["%s"] * len(values))
        changes = ", ".join(f'"{name}" = excluded."{name}"' for name in values)
        query = f"INSERT INTO docs ({names}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {changes}"
        self._connection.execute(query, list(values.values()))
