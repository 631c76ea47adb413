"""An adapter of one's own, tested by the suite that every adapter must pass.

This one keeps a collection in a JSONL file and does everything else in memory: enough to show what an entry point names, and how
`StoreConformance` is used. A real one talks to a database instead; see docs/writing-an-adapter.md.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vecmigrate import Chunk, Store
from vecmigrate.errors import NotFound, UsageError
from vecmigrate.testing.conformance import SourceRow, StoreConformance
from vecmigrate.testing.memory import MemoryStore
from vecmigrate.versions import Metric


class JsonlAdapter:
    """In pyproject.toml:  [project.entry-points."vecmigrate.adapters"]  jsonl = "own_adapter:adapter"."""

    name = "jsonl"

    def open(self, settings: Mapping[str, Any], *, collection: str) -> Store:
        if set(settings) != {"path", "dimension"}:
            raise UsageError("[store] needs exactly path and dimension", hint='path = "docs.jsonl", dimension = 384')
        file = Path(settings["path"])
        if not file.is_file():
            raise NotFound(f"{file} does not exist", hint="[store] path names the JSONL file")
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        found = [SourceRow(r["id"], r["text"], np.array(r["vector"], dtype=np.float32), r["metadata"]) for r in rows]
        return MemoryStore(found, metric=Metric(rows[0]["metric"]) if rows else Metric.COSINE, dimension=settings["dimension"])


adapter = JsonlAdapter()


class TestJsonl(StoreConformance):
    def make_collection(self, rows, *, metric, dimension):
        file = Path(tempfile.mkdtemp()) / "docs.jsonl"
        kept = [{"id": r.id, "text": r.text, "vector": r.vector.tolist(), "metadata": dict(r.metadata), "metric": metric} for r in rows]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        return adapter.open({"path": file, "dimension": dimension}, collection="docs")

    another_handle = staticmethod(lambda store: store.handle())
    put = staticmethod(lambda store, row: store.put(Chunk(row.id, row.text or "", row.metadata), row.vector))
    delete = staticmethod(lambda store, id: store.delete(id))
    rows_may_lack_vectors = False


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", __file__]))
