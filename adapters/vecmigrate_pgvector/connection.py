"""Connections: one small pool, sessions whose text forms are canonical, and retries where a repetition is safe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg_pool import ConnectionPool, PoolClosed

from vecmigrate.errors import AccessDenied, NotFound, PreflightRefused, StoreUnavailable
from vecmigrate.retrying import retry_transient
from vecmigrate_pgvector.driver_errors import Grants, translate, translated
from vecmigrate_pgvector.settings import Environment, read_conninfo
from vecmigrate_pgvector.statements import statement

T = TypeVar("T")
Row = tuple[Any, ...]

MOST_CONNECTIONS = 12
"""More readers than this wait for one another: eight threads, a scan, and some room."""
POOL_WAIT = 3.0
"""Seconds that a caller waits for a connection before the server counts as unavailable."""
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


class RawVector(bytes):
    """A vector in pgvector's own binary form."""


class RawHalfvec(bytes):
    """A halfvec in pgvector's own binary form."""


class _RawDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> Buffer | None:
        return obj


class Database:
    """A pool of autocommit connections to one database. Safe to share between threads. Raises only vecmigrate's errors."""

    def __init__(self, source: Environment) -> None:
        self._source = source
        self._oids: dict[str, int] = {}
        with self.dedicated() as first:
            self.grants = Grants(role=first.info.user)
            self.server_version = first.info.server_version
            self._oids = _vector_oids(first)
        logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
        self._pool = ConnectionPool(
            source.conninfo,
            kwargs=self._arguments(),
            configure=self._configure,
            min_size=1,
            max_size=MOST_CONNECTIONS,
            timeout=POOL_WAIT,
            reconnect_timeout=30.0,
            num_workers=2,
            open=True,
            name="vecmigrate",
        )

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._pool.close()

    @contextmanager
    def dedicated(self) -> Iterator[Connection[Row]]:
        """A connection of its own, outside the pool."""
        connection = _connect(self._source, self._arguments())
        with connection:
            with translated():
                self._configure(connection)
            yield connection

    @contextmanager
    def connection(self) -> Iterator[Connection[Row]]:
        """A pooled connection in autocommit mode, errors translated, not retried."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except PoolClosed as error:
            raise StoreUnavailable("this store has been closed", hint="open it again") from error
        except psycopg.Error as error:
            raised = translate(error, self.grants)
            if isinstance(raised, StoreUnavailable):
                self._discard_dead()
            raise raised from error

    @contextmanager
    def transaction(self, *, snapshot: bool = False, read_only: bool = False) -> Iterator[Connection[Row]]:
        """One transaction; with `snapshot`, all its statements see the same data. Not retried."""
        with self.connection() as connection:
            level = IsolationLevel.REPEATABLE_READ if snapshot else IsolationLevel.READ_COMMITTED
            connection.isolation_level, connection.read_only = level, read_only
            try:
                with connection.transaction():
                    yield connection
            finally:
                if not connection.closed:
                    connection.isolation_level, connection.read_only = None, None

    def read(self, work: Callable[[Connection[Row]], T]) -> T:
        """`work` in one read-only snapshot, again after a transient error."""

        def once() -> T:
            with self.transaction(snapshot=True, read_only=True) as connection:
                return work(connection)

        return retry_transient(once)

    def write(self, work: Callable[[Connection[Row]], T], *, repeatable: bool = True) -> T:
        """`work` in one transaction. What isn't `repeatable` is tried once, on a connection that was just seen alive."""

        def once() -> T:
            with self.transaction() as connection:
                return work(connection)

        if repeatable:
            return retry_transient(once)
        self.rows(statement("state.ping"))
        return once()

    def rows(self, query: Any, parameters: dict[str, Any] | None = None) -> list[Row]:
        """All rows of one statement in autocommit, again after a transient error."""

        def once() -> list[Row]:
            with self.connection() as connection:
                return connection.execute(query, parameters or {}).fetchall()

        return retry_transient(once)

    def _arguments(self) -> dict[str, Any]:
        given = read_conninfo(self._source)
        defaults = {"connect_timeout": 5, "application_name": "vecmigrate", **_KEEPALIVE}
        kept = {key: value for key, value in defaults.items() if key not in given}
        return {"autocommit": True, "client_encoding": "UTF8", **kept}

    def _configure(self, connection: Connection[Any]) -> None:
        connection.execute(statement("state.session"), {})
        for kind, name in ((RawVector, "vector"), (RawHalfvec, "halfvec")):
            if name in self._oids:
                connection.adapters.register_dumper(kind, type("Dumper", (_RawDumper,), {"oid": self._oids[name]}))

    def _discard_dead(self) -> None:
        """After a server restart all idle connections are dead: drop them together rather than one per retry."""
        try:
            self._pool.check()
        except psycopg.Error:
            return


def _vector_oids(connection: Connection[Any]) -> dict[str, int]:
    with translated():
        encoding = connection.info.parameter_status("server_encoding")
        if encoding == "SQL_ASCII":
            raise PreflightRefused(
                "the database's encoding is SQL_ASCII, so its texts have no certain characters",
                hint="restore it into a database with ENCODING 'UTF8'",
            )
        return dict(connection.execute(statement("catalog.vector_types"), {}).fetchall())


def _connect(source: Environment, arguments: dict[str, Any]) -> Connection[Row]:
    """Connect. libpq's message is never passed on or chained: of a malformed string it quotes parts, the password among them."""
    try:
        return retry_transient(lambda: _connect_once(source, arguments), attempts=3)
    except StoreUnavailable as error:
        raise error.with_traceback(None) from None


def _connect_once(source: Environment, arguments: dict[str, Any]) -> Connection[Row]:
    try:
        return psycopg.connect(source.conninfo, **arguments)
    except psycopg.Error as error:
        complaint = str(error)
    where = _address(source)
    for words, kind, what, hint in _COMPLAINTS:
        if words in complaint:
            raise kind(f"{what} ({where})", hint=hint)
    raise StoreUnavailable(f"PostgreSQL does not answer ({where})", hint=f"check {source.place} and that the server runs")


_COMPLAINTS: tuple[tuple[str, type[AccessDenied | NotFound | StoreUnavailable], str, str], ...] = (
    ("password authentication failed", AccessDenied, "PostgreSQL refused the password", "check the user and password"),
    ("no password supplied", AccessDenied, "PostgreSQL asks for a password", "put it into the connection string or ~/.pgpass"),
    ("no pg_hba.conf entry", AccessDenied, "PostgreSQL lets no one in from here", "add a line to the server's pg_hba.conf"),
    ("permission denied for database", AccessDenied, "the role may not connect", "GRANT CONNECT ON DATABASE … TO the role"),
    ('role "', AccessDenied, "PostgreSQL does not let this role in", "check the user's name, and that it may LOGIN"),
    ('database "', NotFound, "there is no such database, or it takes no connections", "check the database's name"),
    ("too many", StoreUnavailable, "the server has no free connection", "raise max_connections or close others"),
    ("remaining connection slots", StoreUnavailable, "the server has no free connection", "raise max_connections or close others"),
    ("starting up", StoreUnavailable, "the server is starting", "wait a moment and try again"),
    ("shutting down", StoreUnavailable, "the server is shutting down", "start it, then try again"),
    ("Connection refused", StoreUnavailable, "no PostgreSQL server listens there", "check host and port, and that the server runs"),
    (
        "failed to resolve",
        StoreUnavailable,
        "the name of the PostgreSQL host is not known",
        "check the host in the connection string, and the DNS",
    ),
    ("not known", StoreUnavailable, "the name of the PostgreSQL host is not known", "check the host in the connection string, and the DNS"),
    ("timeout", StoreUnavailable, "PostgreSQL gave no answer in time", "check the host, and that no firewall drops the connection"),
    ("No such file or directory", StoreUnavailable, "no PostgreSQL socket is there", "check host (a folder), and that the server runs"),
)


def _address(source: Environment) -> str:
    """`app:***@host:5432/database`, or the place alone when a stray `@` may have moved a piece of the password into the host."""
    parts = read_conninfo(source)
    shown = [str(parts.get(key) or "") for key in ("host", "port", "dbname", "user")]
    if any("@" in piece or ":" in piece for piece in shown):
        return source.place
    host, port, database, user = shown
    secret = ":***" if parts.get("password") else ""
    return f"{user}{secret}@{host or 'localhost'}:{port or 5432}/{database or user}"
