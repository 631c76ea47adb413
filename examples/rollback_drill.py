"""A drill to run before the night when it is needed: cut over, let the application write, roll back, count what is missing.

Rows written after the cutover carry the old model's vectors, as an application that embeds for itself goes on writing them.
"""

import tempfile
from pathlib import Path

import psycopg
from pgvector.psycopg import register_vector

from vecmigrate import Retriever, open_store
from vecmigrate.cutover import flip, rollback_target
from vecmigrate.reindex import build, sync, verify
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.postgres import EmbeddedPostgres

OLD, NEW = HashingEncoder(64, "the model in production"), HashingEncoder(64, "its successor")


def write(db: psycopg.Connection, number: int, text: str) -> None:
    """What the application does all day."""
    db.execute("INSERT INTO docs VALUES (%s, %s, %s)", (number, text, OLD.encode_documents([text])[0]))
    db.commit()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server, psycopg.connect(server.dsn) as db:
        register_vector(db)
        db.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text, embedding vector(64))")
        for number in range(100):
            write(db, number, f"note {number} about subject {number % 7}")
        store = open_store("pgvector", {"dsn": server.dsn, "table": "docs", "metric": "cosine"}, collection="docs")
        store.adopt(OLD.model)
        v1 = build(store, store.create_version(NEW.model), NEW, actor="drill").version
        gone = flip(store, 1, expect_epoch=1, actor="drill", reason="cutover")
        print(f"cut over in {gone.seconds * 1000:.0f} ms, epoch {gone.after.epoch}")

        write(db, 100, "written after the cutover")
        print("behind:", store.differences(v1).n_missing, "row; after a sync:", end=" ")
        sync(store, v1, NEW)
        print(store.differences(v1).n_missing)

        back = flip(store, rollback_target(store) or 0, expect_epoch=gone.after.epoch, actor="drill", reason="rollback: drill")
        print(f"rolled back in {back.seconds * 1000:.0f} ms, epoch {back.after.epoch}")
        v0 = store.versions()[0]
        answer = Retriever(store, FixedEncoders.of(OLD, NEW)).search("written after the cutover", 1)
        print("rows missing:", store.differences(v0).n_missing, "| answered by", answer.version, ":", answer.results[0].chunk.text)
        print("v0 verified:", verify(store, v0, OLD).ok)
        store.close()


if __name__ == "__main__":
    main()
