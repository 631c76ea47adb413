"""Reading and filling Chroma collections through the store, against the fastest way that chromadb's own interface has, in the same run.

    python benchmarks/chroma_copy.py [--rows 100000] [--store directory|server] [--dimension 384]

    extraction   `scan`, against reading documents and metadata by the same ids in the same parts
    load         `load` of vectors that are there already, against `add` of the same rows in the same parts

Interleaved part by part, so that both meet the same machine. `load` also reads each part's source rows once more (did one change meanwhile?) and
what is there already under these ids, which `add` does not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vecmigrate.records import Chunk
from vecmigrate.registry import open_store
from vecmigrate.testing.chroma import ChromaServer
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.versions import State
from vecmigrate_chroma.driver import close_client

WORDS = [
    "the",
    "shop",
    "returns",
    "parcels",
    "and",
    "invoices",
    "by",
    "card",
    "or",
    "cash",
    "within",
    "some",
    "days",
    "of",
    "the",
    "order",
    "unless",
    "gifts",
    "are",
    "wrapped",
]


def text_of(i: int) -> str:
    """About 40 words, as a short chunk has."""
    return " ".join(WORDS[(i * 7 + j * (1 + i % 5)) % len(WORDS)] for j in range(40)) + f" {i}"


def vectors(start: int, stop: int, dimension: int) -> np.ndarray[Any, Any]:
    """Random ones, the same for the same place."""
    return np.random.default_rng(start).normal(size=(stop - start, dimension)).astype(np.float32)


def timed(call: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def connected(settings: dict[str, str]) -> Any:
    """A client of chromadb's own."""
    import chromadb

    if "path" in settings:
        return chromadb.PersistentClient(settings["path"])
    return chromadb.HttpClient(host="127.0.0.1", port=int(settings["url"].rpartition(":")[2]))


def run(settings: dict[str, str], rows: int, dimension: int) -> None:
    """Fill, then measure both ways, part by part."""
    client = connected(settings)
    docs = client.create_collection("docs", embedding_function=None)
    part = min(5000, client.get_max_batch_size())
    parts = [range(start, min(start + part, rows)) for start in range(0, rows, part)]
    for places in parts:
        docs.add(
            ids=[f"row-{i}" for i in places],
            documents=[text_of(i) for i in places],
            embeddings=vectors(places[0], places[-1] + 1, dimension),
            metadatas=[{"number": i, "tenant": f"t{i % 10}", "public": i % 3 == 0} for i in places],
        )
    store = open_store("chroma", {**settings, "source": "docs"}, collection="docs")
    extraction(store, docs, part)
    load(store, client, parts, dimension)
    store.close()
    close_client(client)


def extraction(store: Any, docs: Any, part: int) -> None:
    """Twice each, in turns."""

    def theirs() -> None:
        ids = docs.get(include=[])["ids"]
        for start in range(0, len(ids), part):
            docs.get(ids=ids[start : start + part], include=["documents", "metadatas"])

    def ours() -> None:
        assert sum(len(batch) for batch in store.scan(batch_size=part)) == docs.count()

    times = [(timed(theirs), timed(ours)) for _ in range(3)]
    plain, through = (statistics.median(column) for column in zip(*times, strict=True))
    rows = docs.count()
    print(f"extraction of {rows} rows: chromadb {rows / plain:,.0f}/s, vecmigrate {rows / through:,.0f}/s, ratio {through / plain:.3f}")


def load(store: Any, client: Any, parts: list[range], dimension: int) -> None:
    """A version and a plain collection are filled in turns with the same rows and vectors."""
    old, new = HashingEncoder(dimension, "old"), HashingEncoder(dimension, "new")
    store.adopt(old.model)
    version = store.advance(store.create_version(new.model), State.BACKFILLING, actor="benchmark")
    plain = client.create_collection("plain", embedding_function=None)
    times = []
    for chunks, made in windows(store, version, len(parts[0]), dimension):
        given = {
            "ids": [chunk.id for chunk in chunks],
            "documents": [chunk.text for chunk in chunks],
            "metadatas": [{**chunk.metadata, "hash": chunk.text_hash} for chunk in chunks],
            "embeddings": made,
        }
        first = timed(lambda given=given: plain.add(**given))
        times.append((first, timed(lambda chunks=chunks, made=made: store.load(version, chunks, made))))
    theirs, ours = (sum(column) for column in zip(*times, strict=True))
    rows = store.differences(version, sample=0).present
    print(f"load of {rows} rows: chromadb {rows / theirs:,.0f}/s, vecmigrate {rows / ours:,.0f}/s, ratio {ours / theirs:.3f}")


def windows(store: Any, version: Any, size: int, dimension: int) -> Iterator[tuple[list[Chunk], np.ndarray[Any, Any]]]:
    """What is pending, with vectors."""
    for number, chunks in enumerate(store.pending(version, batch_size=size)):
        yield list(chunks), vectors(number, number + len(chunks), dimension)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--store", choices=["directory", "server"], default="directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chroma"
        if arguments.store == "directory":
            run({"path": str(path)}, arguments.rows, arguments.dimension)
            return
        server = ChromaServer(path)
        server.start()
        try:
            run({"url": server.url}, arguments.rows, arguments.dimension)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
