"""Peak memory and time of mining in a large collection, beside what a user would write instead.

    python benchmarks/mining.py                     # 1,000,000 chunks x 10,000 training queries x 384 dimensions: minutes
    python benchmarks/mining.py 100000 2000         # chunks and training queries of your own
    python benchmarks/mining.py 50000 2000 --also   # beside sentence-transformers' mine_hard_negatives on the same vectors

The vectors are made up and lie in a file that is read as a database would be asked: a block of ids at a time. A whole dataset is built:
scan, freeze, split, mine by brute force in blocks, dev pool. Each run is a process of its own, because peak resident memory is a
process's. The encoders only look vectors up, so no model's memory or time is in the figures.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DIMENSION = 384
FILLING = "what a chunk of a manual says about the part that it is about, at the length that such a text has " * 3
NOISE = 1.5
"""Of the queries, as a share of the norm: their relevant chunk comes out at a cosine of about 0.55."""


def write_vectors(path: Path, rows: int) -> None:
    """Normal ones, some rows at a time."""
    chance = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, 10_000):
            chance.standard_normal((min(10_000, rows - start), DIMENSION), dtype=np.float32).tofile(file)


class VectorFile:
    """Rows of float32, read by place; nothing stays in memory."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        self.rows = path.stat().st_size // (4 * DIMENSION)

    def read(self, place: int) -> Any:
        """One row."""
        return np.frombuffer(os.pread(self._handle, 4 * DIMENSION, 4 * DIMENSION * place), dtype=np.float32)


class FileStore:
    """What a build asks of a store, over the file. It has no index and no search: the build must do without."""

    collection = "docs"

    def __init__(self, file: VectorFile) -> None:
        self.file = file

    def can(self, capability: object) -> Any:
        """Nothing."""
        from vecmigrate.store import Probe

        return Probe(False, "a file")

    def sample(self, size: int, *, seed: int = 0) -> Any:
        """Some chunks."""
        return [self.chunk(place) for place in random.Random(seed).sample(range(self.file.rows), min(size, self.file.rows))]

    def scan(self, *, batch_size: int = 1000) -> Any:
        """All chunks, made as they are read."""
        for start in range(0, self.file.rows, batch_size):
            yield [self.chunk(place) for place in range(start, min(start + batch_size, self.file.rows))]

    def chunk(self, place: int) -> Any:
        """The chunk of a row; eight are a document."""
        from vecmigrate.records import Chunk

        return Chunk(f"c{place}", f"{place} {FILLING}", {"file_id": f"f{place // 8}"})

    def vectors(self, version: object, ids: Any) -> Any:
        """Rows by id."""
        return {id: self.file.read(int(id[1:])) for id in ids}


class LookUp:
    """An encoder whose queries end in the place of the chunk that they are about."""

    def __init__(self, file: VectorFile, model: Any) -> None:
        self.model = model
        self._file = file

    def encode_queries(self, texts: Any) -> Any:
        """The chunk's vector with noise."""
        places = [int(text.split()[-1]) for text in texts]
        return np.stack([self._file.read(p) + NOISE * np.random.default_rng(p).standard_normal(DIMENSION, np.float32) for p in places])

    def encode_documents(self, texts: Any) -> Any:
        """The chunk's vector."""
        return np.stack([self._file.read(int(text.split()[0])) for text in texts])


def questions(rows: int, wanted: int) -> list[str]:
    """Texts without a word in common, so that each is a group of its own."""
    chance = random.Random(0)
    words = ["".join(chance.choices("bcdfghklmnprstvz", k=9)) for _ in range(wanted)]
    return [f"{word} {place}" for word, place in zip(words, chance.sample(range(rows), wanted), strict=True)]


def ours(path: Path, trained: int) -> str:
    """Build a dataset of `trained` training queries."""
    from vecmigrate.config import DatasetSection
    from vecmigrate.dataset import build_dataset
    from vecmigrate.querylog import JudgedLog, JudgmentReport
    from vecmigrate.records import Judgment, Query
    from vecmigrate.versions import AnnParameters, IndexVersion, Metric, ModelVersion, State

    file = VectorFile(path)
    model = ModelVersion("made-up", "f" * 64, "a file", DIMENSION)
    control = IndexVersion("docs", 0, model, Metric.COSINE, State.ACTIVE, ann=AnnParameters(kind="none"))
    asked = questions(file.rows, round(trained / 0.7))
    judgments = [Judgment(f"q{i:06d}", f"c{text.split()[-1]}", 1.0) for i, text in enumerate(asked)]
    judged = JudgedLog(
        tuple(Query(f"q{i:06d}", text) for i, text in enumerate(asked)), tuple(judgments), JudgmentReport(len(asked), len(asked), 0, 0)
    )
    with tempfile.TemporaryDirectory() as folder:
        store: Any = FileStore(file)
        dataset = build_dataset(store, control, LookUp(file, model), judged, DatasetSection(), Path(folder))
        return f"{dataset.counts['pairs']:,} pairs, {dataset.counts['negatives']:,} negatives\n" + "\n".join(dataset.report[1:])


def theirs(path: Path, trained: int) -> str:
    """`mine_hard_negatives` with the same window and limit, over the same vectors."""
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    file = VectorFile(path)

    class Model:
        device = "cpu"

        def encode_document(self, texts: Any, **settings: object) -> Any:
            found = np.empty((len(texts), DIMENSION), dtype=np.float32)
            for row, text in enumerate(texts):
                found[row] = file.read(int(text.split()[0]))
            return found / np.linalg.norm(found, axis=1, keepdims=True)

        def encode_query(self, texts: Any, **settings: object) -> Any:
            found = LookUp(file, None).encode_queries(texts)
            return found / np.linalg.norm(found, axis=1, keepdims=True)

        def similarity(self, one: Any, other: Any) -> Any:
            import torch

            return torch.as_tensor(one) @ torch.as_tensor(other).T

        def similarity_pairwise(self, one: Any, other: Any) -> Any:
            import torch

            return (torch.as_tensor(one) * torch.as_tensor(other)).sum(-1)

    asked = questions(file.rows, round(trained / 0.7))[:trained]
    corpus = [f"{place} {FILLING}" for place in range(file.rows)]
    pairs = Dataset.from_dict({"query": asked, "answer": [corpus[int(text.split()[-1])] for text in asked]})
    model: Any = Model()
    found = mine_hard_negatives(
        pairs, model, corpus=corpus, range_min=4, range_max=50, relative_margin=0.05, num_negatives=1, sampling_strategy="random"
    )
    return f"{len(pairs):,} pairs, {len(found):,} negatives"


def one(which: str, path: Path, trained: int) -> None:
    """Run one side here and print its peak."""
    if which == "theirs":
        import datasets  # noqa: F401
        import sentence_transformers  # noqa: F401
    else:
        import vecmigrate.dataset  # noqa: F401
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    said = (theirs if which == "theirs" else ours)(path, trained)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{which}: peak {peak:,.0f} MiB ({before:,.0f} MiB of it before), {seconds:,.0f} s; {said}", flush=True)


def main() -> None:
    """Run each side in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chunks", type=int, nargs="?", default=1_000_000)
    parser.add_argument("queries", type=int, nargs="?", default=10_000)
    parser.add_argument("--also", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], Path(given.one[1]), given.queries)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors"
        write_vectors(path, given.chunks)
        print(f"{given.chunks:,} chunks x {given.queries:,} training queries x {DIMENSION} dimensions", flush=True)
        for which in ["ours", *(["theirs"] if given.also else [])]:
            command = [sys.executable, __file__, str(given.chunks), str(given.queries), "--one", which, str(path)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
