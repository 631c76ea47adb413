"""Readers during cutovers: 8 threads search through the pointer for 30 s while it is flipped back and forth.

    python benchmarks/flips.py [--store pgvector|chroma] [--seconds 30] [--threads 8] [--pause 0.5]

Both versions have one dimension and two unrelated spaces, so a query scored across them can't find itself at 1.0: that is how a mixed
answer would show. Printed: reads, errors, mixed answers, and the flip's own time (p50 and worst).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from vecmigrate.cutover import flip
from vecmigrate.registry import open_store
from vecmigrate.reindex import build
from vecmigrate.serving import Retriever
from vecmigrate.store import Store
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.postgres import EmbeddedPostgres

OLD, NEW = HashingEncoder(128, "old"), HashingEncoder(128, "new")
ROWS = 2000


def texts() -> list[str]:
    """Distinct short texts."""
    return [f"chunk number {i} speaks of topic{i % 97} and of detail{i}" for i in range(ROWS)]


def postgres(folder: Path) -> tuple[Store, AbstractContextManager[Any]]:
    """A table with OLD's vectors."""
    import psycopg
    from pgvector.psycopg import register_vector

    server = EmbeddedPostgres(folder / "postgres")
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        connection.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL, embedding vector(128))")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO docs VALUES (%s, %s, %s)",
                [(i, t, v) for i, (t, v) in enumerate(zip(texts(), OLD.encode_documents(texts()), strict=True))],
            )
        connection.execute("CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)")
    return open_store("pgvector", {"dsn": server.dsn, "table": "docs", "text": "body"}, collection="docs"), server


def chroma(folder: Path) -> tuple[Store, AbstractContextManager[Any]]:
    """A collection with OLD's vectors, in a directory of this process."""
    import chromadb

    client = chromadb.PersistentClient(str(folder / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    collection.add(ids=[str(i) for i in range(ROWS)], documents=texts(), embeddings=OLD.encode_documents(texts()))
    return open_store("chroma", {"path": str(folder / "chroma"), "source": "docs"}, collection="docs"), nullcontext()


def read(retriever: Retriever, stop: threading.Event, found: dict[str, list[Any]], questions: Sequence[str]) -> None:
    """Search until told to stop, and note what comes back."""
    place = 0
    while not stop.is_set():
        place += 1
        try:
            answer = retriever.search(questions[place % len(questions)], 1)
        except Exception as error:
            found["errors"].append(repr(error))
            continue
        found["reads"].append(answer.version)
        if not answer.results or abs(answer.results[0].score - 1.0) > 1e-3:
            found["mixed"].append(answer)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["pgvector", "chroma"], default="pgvector")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between flips")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, server = (postgres if arguments.store == "pgvector" else chroma)(Path(folder))
        with server:
            store.adopt(OLD.model)
            build(store, store.create_version(NEW.model), NEW, actor="benchmark")
            run(store, arguments)
            store.close()


def run(store: Store, arguments: argparse.Namespace) -> None:
    """Readers in threads, flips here."""
    found: dict[str, list[Any]] = {"reads": [], "errors": [], "mixed": []}
    stop, retriever = threading.Event(), Retriever(store, FixedEncoders.of(OLD, NEW))
    readers = [threading.Thread(target=read, args=(retriever, stop, found, texts()[i::7])) for i in range(arguments.threads)]
    for reader in readers:
        reader.start()
    times, end = [], time.monotonic() + arguments.seconds
    while time.monotonic() < end:
        pointer = store.pointer()
        assert pointer is not None
        times.append(flip(store, 1 - pointer.active, expect_epoch=pointer.epoch, actor="benchmark", reason="cutover").seconds)
        time.sleep(arguments.pause)
    stop.set()
    for reader in readers:
        reader.join()
    by_version = {name: found["reads"].count(name) for name in sorted(set(found["reads"]))}
    print(
        f"{arguments.store}: {len(found['reads'])} reads by {arguments.threads} threads {by_version}; errors {len(found['errors'])}, mixed {len(found['mixed'])}"
    )
    print(
        f"{len(times)} flips: p50 {1000 * statistics.median(times):.1f} ms, p99 {1000 * float(np.quantile(times, 0.99)):.1f} ms, worst {1000 * max(times):.1f} ms"
    )
    print(*found["errors"][:3], sep="\n")


if __name__ == "__main__":
    main()
