"""What all tests share: one embedded PostgreSQL for the session, and no network."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """An embedded PostgreSQL 18 with pgvector; `create_database(name)` gives a test one of its own.

    Not below pytest's own temporary folder: another run of pytest closes that to the user that the server runs as.
    """
    from vecmigrate.testing.postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory(prefix="vecmigrate-tests-") as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        yield server
