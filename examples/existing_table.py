"""An existing table as teams have them: composite key, several tenants, the embedded text built from two columns.

Nothing is configured but the table, the text rule and the filter: key, metric and index are detected. The table is only read.
"""

import tempfile
from pathlib import Path

import psycopg
from pgvector.psycopg import register_vector

from vecmigrate import open_store
from vecmigrate.reindex import build, prove_control, verify
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.postgres import EmbeddedPostgres

OLD, NEW = HashingEncoder(64, "the model in production"), HashingEncoder(96, "its successor")
ROWS = [
    ("acme", 1, "Refunds", "Money back within thirty days"),
    ("acme", 2, "Shipping", "Parcels leave on the next working day"),
    ("other", 1, "Secrets", "Not ours to read"),
]


def fill(dsn: str) -> None:
    """What the application did long ago."""
    with psycopg.connect(dsn) as db:
        register_vector(db)
        db.execute("CREATE TABLE help (tenant text, number int, title text, body text, v vector(64), PRIMARY KEY (tenant, number))")
        for tenant, number, title, body in ROWS:
            vector = OLD.encode_documents([f"{title}\n{body}"])[0]
            db.execute("INSERT INTO help VALUES (%s, %s, %s, %s, %s)", (tenant, number, title, body, vector))
        db.execute("CREATE INDEX ON help USING hnsw (v vector_cosine_ops)")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        fill(server.dsn)
        rule = {"table": "help", "text_sql": "title || E'\\n' || body", "where": "tenant = 'acme'"}
        store = open_store("pgvector", {"dsn": server.dsn, **rule}, collection="help")
        found = store.inspect()
        print(f"{found.rows} rows, key {found.key}, {found.metric}, {dict(found.dimensions)}")
        print("control", prove_control(store, OLD).sentence())

        store.adopt(OLD.model)
        version = build(store, store.create_version(NEW.model), NEW, actor="example").version
        print(version.name, version.state, "in", version.location, "verified:", verify(store, version, NEW).ok)
        best = store.search(version, NEW.encode_queries(["money back"]), 1)[0][0]
        print("best:", best.chunk_id, store.fetch([best.chunk_id])[best.chunk_id].text.splitlines()[0])
        store.close()


if __name__ == "__main__":
    main()
