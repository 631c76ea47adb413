"""Every psycopg exception becomes one of `vecmigrate.errors`, here and nowhere else.

SQLSTATE, exact        ─► _BY_STATE
SQLSTATE's class (2)   ─► _BY_CLASS
no SQLSTATE            ─► by exception class: a lost connection is StoreUnavailable, a client-side refusal DataError
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from vecmigrate.errors import (
    AccessDenied,
    Conflict,
    DataError,
    DiskFull,
    NotFound,
    StoreError,
    StoreUnavailable,
    UsageError,
    VecmigrateError,
    WrongSpace,
)

Kind = type[VecmigrateError]

_BY_STATE: Mapping[str, tuple[Kind, str]] = {
    "28000": (AccessDenied, "check the user and the server's pg_hba.conf"),
    "28P01": (AccessDenied, "check the user and password of the connection string"),
    "42501": (AccessDenied, "ask the owner for the privilege"),
    "3D000": (NotFound, "check the database's name in the connection string"),
    "3F000": (NotFound, "check the schema's name"),
    "42P01": (NotFound, "check the table's name and schema"),
    "42703": (NotFound, "check the column's name"),
    "42704": (NotFound, "check the name; is the extension installed in this database?"),
    "42602": (NotFound, "quote the name as PostgreSQL wants it"),
    "42601": (UsageError, "mend the SQL of text_sql, where or the log's query"),
    "42803": (UsageError, "text_sql and where work on one row: no aggregates"),
    "42804": (UsageError, "where must be a condition, and text_sql must give text"),
    "42702": (UsageError, "write the table's name before the column"),
    "42883": (NotFound, "is the extension pgvector installed in this database, and new enough?"),
    "53100": (DiskFull, "free space on the server, then run the same command again"),
    "53200": (StoreError, "the server ran out of memory; lower maintenance_work_mem or try again later"),
    "53300": (StoreUnavailable, "the server has no free connection; raise max_connections or close others"),
    "40001": (StoreUnavailable, "run the same command again"),
    "40P01": (StoreUnavailable, "run the same command again"),
    "57P01": (StoreUnavailable, "the server is restarting; run the same command again"),
    "57P02": (StoreUnavailable, "the server is restarting; run the same command again"),
    "57P03": (StoreUnavailable, "the server is starting; run the same command again"),
    "57P05": (StoreUnavailable, "run the same command again"),
    "55P03": (Conflict, "another session holds a lock; run the same command again when it is done"),
    "55006": (Conflict, "another session uses it; run the same command again when it is done"),
    "57014": (StoreError, "a statement was cancelled or ran into the role's statement_timeout; raise it for this role"),
    "25006": (AccessDenied, "the session is read-only; connect to the primary with a role that may write"),
    "P0001": (Conflict, "vecmigrate status shows the states"),
    "42P07": (Conflict, "another operator made it first; run the same command again"),
    "42P06": (Conflict, "another operator made it first; run the same command again"),
    "42710": (Conflict, "another operator made it first; run the same command again"),
}

_BY_CLASS: Mapping[str, tuple[Kind, str]] = {
    "08": (StoreUnavailable, "check that the server runs and can be reached"),
    "22": (DataError, "see the message; the statement's rows were not kept"),
    "23": (Conflict, "vecmigrate status shows what is registered"),
    "40": (StoreUnavailable, "run the same command again"),
    "53": (StoreUnavailable, "the server lacks resources; try again later"),
    "58": (StoreError, "see the server's log"),
    "XX": (StoreError, "see the server's log"),
}

_DIMENSIONS = re.compile(r"different (?:half)?vec(?:tor)? dimensions|expected \d+ dimensions, not \d+|different vector dimensions")
_ROW_SECURITY = "row-level security"
_DENIED = re.compile(r"permission denied for (table|relation|schema|database|view) (.+)")


@dataclass(frozen=True, slots=True)
class Grants:
    """What a GRANT in a hint must name. `source` is the application's table with its schema, `state_schema` is ours."""

    role: str = "<role>"
    source: str = ""
    state_schema: str = ""

    def hint(self, kind: str, name: str) -> str:
        """The statement to type for a privilege on this object."""
        if kind == "database":
            return f"GRANT CREATE ON DATABASE {name} TO {self.role}; or make the schema for it: CREATE SCHEMA … AUTHORIZATION {self.role};"
        if kind == "schema" and name != self.state_schema:
            return f"GRANT USAGE ON SCHEMA {name} TO {self.role};"
        if name == self.source.rpartition(".")[2]:
            return f"GRANT SELECT ON {self.source} TO {self.role};"
        if not self.state_schema:
            return f"GRANT SELECT ON {name} TO {self.role};"
        return (
            f"to read: GRANT USAGE ON SCHEMA {self.state_schema} TO {self.role}; GRANT SELECT ON ALL TABLES IN SCHEMA"
            f" {self.state_schema} TO {self.role}; to change versions: connect as that schema's owner"
        )


def translate(error: psycopg.Error, grants: Grants | None = None) -> VecmigrateError:
    """The user's error for a driver's. `grants` is for the hint that a missing privilege gets."""
    state = error.sqlstate or ""
    message = (error.diag.message_primary or "") if state else ""
    if state == "42501":
        return _denied(message, grants or Grants())
    if state.startswith("22") and _DIMENSIONS.search(message):
        return WrongSpace(f"PostgreSQL: {message}", hint="the vector comes from another model version")
    kind, hint = _kind(error, state)
    return kind(f"PostgreSQL: {message}" if message else _without_state(kind), hint=hint)


def _kind(error: psycopg.Error, state: str) -> tuple[Kind, str]:
    if state:
        return _BY_STATE.get(state) or _BY_CLASS.get(state[:2]) or (StoreError, "see the message and the server's log")
    if isinstance(error, psycopg.DataError):
        return DataError, "a NUL character or an invalid character cannot be stored in PostgreSQL"
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailable, "check that the server runs and can be reached, then run the same command again"
    return StoreError, "see the server's log"


def _without_state(kind: Kind) -> str:
    if kind is StoreUnavailable:
        return "the connection to PostgreSQL was lost, or none could be had"
    return "a value cannot be sent to PostgreSQL" if kind is DataError else "PostgreSQL refused a statement"


def _denied(message: str, grants: Grants) -> AccessDenied:
    if _ROW_SECURITY in message:
        return AccessDenied(
            f"PostgreSQL: {message}",
            hint="hidden rows would look deleted, so vecmigrate refuses: use the table's owner or a role with BYPASSRLS",
        )
    found = _DENIED.search(message)
    if found is None:
        return AccessDenied(f"PostgreSQL: {message}", hint=f"grant the privilege to {grants.role}")
    return AccessDenied(f"PostgreSQL: {message}", hint=grants.hint(found[1], found[2].strip('"')))


@contextmanager
def translated(grants: Grants | None = None) -> Iterator[None]:
    """Translate whatever psycopg raises inside."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, grants) from error
