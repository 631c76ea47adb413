"""A real Chroma server for tests and demonstrations, and an application that fills a collection."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from vecmigrate.errors import StoreUnavailable
from vecmigrate.testing.memory import SourceRow
from vecmigrate.versions import Metric

SPACES: Mapping[Metric, str] = {Metric.COSINE: "cosine", Metric.INNER_PRODUCT: "ip", Metric.L2: "l2"}
START_SECONDS = 60.0


class ChromaServer:
    """`chroma run` on a directory, on a port of its own of this machine. It can be killed and started again, as servers are."""

    def __init__(self, path: Path, *, port: int | None = None) -> None:
        self.path = path
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers. Raises `StoreUnavailable` with the end of its log when it doesn't."""
        self.path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", "from chromadb.cli.cli import app; app()", "run"]
        command += ["--path", str(self.path), "--port", str(self.port), "--host", "127.0.0.1"]
        log = self.path.parent / f"{self.path.name}.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.path.parent)  # noqa: S603 - our own arguments
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.05)
        self.stop()
        raise StoreUnavailable(f"no Chroma server came up: {log.read_text(errors='replace')[-500:]}", hint="is the port free?")

    def stop(self) -> None:
        """End it as an operator would. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as the kernel would."""
        self._end(signal.SIGKILL)

    def _end(self, with_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v2/heartbeat", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def create_filled(client: Any, name: str, rows: Sequence[SourceRow], metric: Metric) -> None:
    """Make a collection as an application would, and put the rows into it."""
    made = client.create_collection(name, embedding_function=None, configuration={"hnsw": {"space": SPACES[metric]}})
    for start in range(0, len(rows), 1000):
        put_rows(made, rows[start : start + 1000])


def put_rows(collection: Any, rows: Sequence[SourceRow]) -> None:
    """Insert or replace rows, as an application would."""
    if rows:
        collection.upsert(
            ids=[row.id for row in rows],
            embeddings=[row.vector for row in rows],
            documents=[row.text for row in rows],
            metadatas=[dict(row.metadata) or None for row in rows],
        )
