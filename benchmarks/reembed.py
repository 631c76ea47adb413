"""Re-embedding end to end, against the encoder alone and against what a user would write, in the same run.

    python benchmarks/reembed.py --texts 600 --rounds 3 [--corpus FILE.jsonl] [--precision bfloat16]

Three ways over the same texts, interleaved round by round in changing order:

    user      SentenceTransformer.encode(batch_size=32) in reading order, then executemany into a table with an HNSW index
    encoder   vecmigrate's encoder alone, in the windows that a build uses
    build     vecmigrate's whole build: scan, encode, COPY into a side table, then the HNSW index

Printed are medians and ratios. The issue's targets: build ≤ 1.05 × encoder alone (without the index, which the encoder alone
does not make), and user ≥ 1.4 × build in fp32, 4 × in bf16 on a processor with bf16 units.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from pgvector.psycopg import register_vector

from vecmigrate.config import EncodingSection
from vecmigrate.demo.corpus import load
from vecmigrate.demo.story import stock_model
from vecmigrate.encoding import load_encoder
from vecmigrate.registry import open_store
from vecmigrate.reindex import build
from vecmigrate.reindex.pipeline import WINDOW
from vecmigrate.testing.postgres import EmbeddedPostgres


def texts_of(arguments: argparse.Namespace) -> list[str]:
    """The texts to embed: a corpus file's, or the documentation of this Python."""
    if arguments.corpus:
        rows = [json.loads(line) for line in arguments.corpus.read_text(encoding="utf-8").splitlines()]
        found = [f"{row.get('title', '')}\n{row['text']}".strip() for row in rows]
    else:
        found = [item.text for item in load()]
    return random.Random(0).sample(found, min(arguments.texts, len(found)))


def make_table(dsn: str, texts: list[str], vectors: Any) -> None:
    """The application's table, with its own vectors and index."""
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        connection.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL, embedding vector(384))")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO docs VALUES (%s, %s, %s)", [(i, t, v) for i, (t, v) in enumerate(zip(texts, vectors, strict=True))]
            )
        connection.execute("CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)")


def users_way(dsn: str, texts: list[str], model: Any) -> None:
    """What a user would write: encode everything, then write it row by row into a table that has its index."""
    with psycopg.connect(dsn) as connection:
        register_vector(connection)
        connection.execute("DROP TABLE IF EXISTS mine")
        connection.execute("CREATE TABLE mine (id bigint PRIMARY KEY, embedding vector(384))")
        connection.execute("CREATE INDEX ON mine USING hnsw (embedding vector_cosine_ops)")
        rows = connection.execute("SELECT id, body FROM docs").fetchall()
        vectors = model.encode([body for _, body in rows], batch_size=32, show_progress_bar=False)
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO mine VALUES (%s, %s)", [(i, v) for (i, _), v in zip(rows, vectors, strict=True)])


def timed(call: Callable[[], object]) -> float:
    """Seconds of wall time."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=Path, help="JSONL with text and perhaps title")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(stock_model(), EncodingSection(precision=arguments.precision))
    model = SentenceTransformer(stock_model(), device="cpu")
    texts = texts_of(arguments)
    vectors = encoder.encode_documents(texts)
    seconds: dict[str, list[float]] = {"user": [], "encoder": [], "build": [], "build without index": []}
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        make_table(server.dsn, texts, vectors)
        store = open_store("pgvector", {"dsn": server.dsn, "table": "docs", "text": "body"}, collection="docs")
        store.adopt(encoder.model)
        spent: list[float] = []
        index = store.build_index
        store.build_index = lambda version: spent.append(timed(lambda: index(version)))  # type: ignore[method-assign]
        ways: dict[str, Callable[[], object]] = {
            "user": lambda: users_way(server.dsn, texts, model),
            "encoder": lambda: [encoder.encode_documents(texts[i : i + WINDOW]) for i in range(0, len(texts), WINDOW)],
            "build": lambda: build(store, store.create_version(encoder.model), encoder, actor="benchmark"),
        }
        for number in range(arguments.rounds):
            order = list(ways)
            random.Random(number).shuffle(order)
            for name in order:
                seconds[name].append(timed(ways[name]))
            seconds["build without index"].append(seconds["build"][-1] - spent[-1])
        store.close()
    median = {name: statistics.median(found) for name, found in seconds.items()}
    for name, value in median.items():
        print(f"{name:<20} {value:8.2f} s   {len(texts) / value:8.1f} chunks/s   {[round(s, 2) for s in seconds[name]]}")
    ratio = [u / b for u, b in zip(seconds["user"], seconds["build"], strict=True)]
    over = [b / e for b, e in zip(seconds["build without index"], seconds["encoder"], strict=True)]
    print(f"user / build                   median {statistics.median(ratio):.2f}   {[round(r, 2) for r in ratio]}")
    print(f"build without index / encoder  median {statistics.median(over):.3f}   {[round(r, 3) for r in over]}")


if __name__ == "__main__":
    main()
