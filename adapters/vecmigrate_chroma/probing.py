"""Whether the vectors of a collection in a directory can be read: asked of a process of its own.

Chroma writes its index files in place (chroma issue 7238): of a process that was killed in that moment half a file may be left, and
reading it is an error, or ends the process that reads.
"""

from __future__ import annotations

import signal
import subprocess
import sys

READ = """
import sys
import chromadb
from chromadb.config import Settings
path, tenant, database, name, size = sys.argv[1:]
client = chromadb.PersistentClient(path, settings=Settings(anonymized_telemetry=False), tenant=tenant, database=database)
rows = client.get_collection(name, embedding_function=None)
ids = rows.get(include=[])["ids"]
for start in range(0, len(ids), int(size)):
    found = rows.get(ids=ids[start : start + int(size)], include=["embeddings"])["embeddings"]
    rows.query(query_embeddings=found[:1], n_results=1)
client.close()
"""
_CRASHES = {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL}
_DAMAGE = ("Error getting embedding", "Error loading hnsw index", "Error creating hnsw segment reader")


def damage(path: str, tenant: str, database: str, name: str, batch_size: int) -> str:
    """What was wrong when every vector of the collection was read and some were searched for; empty when nothing was.

    Only what a cut-off file does counts: a process that could not start says nothing of the file.
    """
    command = [sys.executable, "-c", READ, path, tenant, database, name, str(batch_size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own code, in our own interpreter
    if done.returncode in _CRASHES:
        return f"reading it ended with {signal.Signals(-done.returncode).name}"
    return next((mark for mark in _DAMAGE if mark in done.stderr), "")
