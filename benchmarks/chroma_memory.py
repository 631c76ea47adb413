"""Peak memory of reading a Chroma collection of two sizes, and of comparing a version with it: it must hardly grow with the corpus.

    python benchmarks/chroma_memory.py 50000 500000

The collection is on a server, so that what is measured is the client alone (in a directory the database itself lives in the process). Each
size is filled once and read by a process of its own. The lists of ids are what grows: 500,000 of them are a few dozen MiB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vecmigrate.registry import open_store
from vecmigrate.testing.chroma import ChromaServer
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate_chroma.driver import close_client

DIMENSION = 8
OLD, NEW = HashingEncoder(DIMENSION, "old"), HashingEncoder(DIMENSION, "new")


def peak() -> float:
    """MiB that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fill(port: int, rows: int) -> None:
    """`docs`, and half of it in version 1, so that a comparison has much to tell."""
    import chromadb

    client = chromadb.HttpClient(host="127.0.0.1", port=port)
    docs = client.create_collection("docs", embedding_function=None)
    draw = np.random.default_rng(0)
    for start in range(0, rows, 5000):
        places = range(start, min(start + 5000, rows))
        docs.add(
            ids=[f"row-{i:08}" for i in places],
            documents=[f"the text of row {i}, which is about as long as a short sentence is" for i in places],
            embeddings=draw.normal(size=(len(places), DIMENSION)).astype(np.float32),
            metadatas=[{"number": i} for i in places],
        )
    close_client(client)


def read(port: int, rows: int) -> None:
    """Scan all, then compare a version that has nothing yet."""
    store = open_store("chroma", {"url": f"http://127.0.0.1:{port}", "source": "docs"}, collection="docs")
    next(iter(store.scan()))
    before, start = peak(), time.perf_counter()
    scanned = sum(len(batch) for batch in store.scan())
    seconds, after_scan = time.perf_counter() - start, peak()
    store.adopt(OLD.model)
    found = store.differences(store.create_version(NEW.model), sample=20)
    store.close()
    assert (scanned, found.n_missing) == (rows, rows)
    print(
        f"{rows:>8} rows: before {before:4.0f} MiB, peak of the scan {after_scan:4.0f}, of the comparison {peak():4.0f}; {rows / seconds:,.0f} rows/s",
        flush=True,
    )


def main() -> None:
    """Each size on a server of its own."""
    for rows in map(int, sys.argv[1:] or ["50000", "500000"]):
        with tempfile.TemporaryDirectory() as folder:
            server = ChromaServer(Path(folder) / "chroma")
            server.start()
            try:
                for what in ("fill", "read"):
                    subprocess.run([sys.executable, __file__, "--" + what, str(server.port), str(rows)], check=True)
            finally:
                server.stop()


if __name__ == "__main__":
    if sys.argv[1:2] in (["--fill"], ["--read"]):
        {"--fill": fill, "--read": read}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
