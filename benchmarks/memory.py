"""Peak memory of a build at two sizes: it must not grow with the corpus.

    python benchmarks/memory.py 10000 100000

Each size is a process of its own (peak resident memory is a process's); the texts are short, made sentences, so that 100,000 take minutes.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [w for w in Path(random.__file__).read_text(encoding="utf-8").split() if w.isalpha()]


def one(rows: int) -> None:
    """Build a version of `rows` short chunks, and print the peak."""
    import psycopg

    from vecmigrate.config import EncodingSection
    from vecmigrate.demo.story import stock_model
    from vecmigrate.encoding import load_encoder
    from vecmigrate.registry import open_store
    from vecmigrate.reindex import build
    from vecmigrate.testing.postgres import EmbeddedPostgres

    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        with psycopg.connect(server.dsn) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL, embedding vector(384))")
            with connection.cursor().copy("COPY docs (id, body) FROM STDIN") as copy:
                for i in range(rows):
                    copy.write_row((i, f"{i} " + " ".join(chance.choices(WORDS, k=chance.randint(3, 12)))))
        encoder = load_encoder(stock_model(), EncodingSection())
        encoder.encode_documents(["warm"] * 64)
        store = open_store("pgvector", {"dsn": server.dsn, "table": "docs", "text": "body"}, collection="docs")
        store.adopt(encoder.model)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        report = build(store, store.create_version(encoder.model), encoder, actor="benchmark")
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store.close()
    print(
        f"{rows:>8} rows: peak {peak / 1024:7.0f} MiB, before the build {before / 1024:7.0f} MiB, {report.loaded / seconds:6.0f} chunks/s",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        one(int(sys.argv[2]))
    else:
        for size in sys.argv[1:] or ["10000", "100000"]:
            subprocess.run([sys.executable, __file__, "--one", size], check=True)
