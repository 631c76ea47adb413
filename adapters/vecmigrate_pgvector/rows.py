"""Reading a query log: the rows of a table or of one SELECT, through a server-side cursor in a read-only transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from vecmigrate.errors import NotFound, UsageError
from vecmigrate_pgvector.connection import Database
from vecmigrate_pgvector.settings import sound_name
from vecmigrate_pgvector.statements import identifier, statement

_LEADING_COMMENTS = re.compile(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_QUERY = re.compile(r"(select|with|values|table)\b|\(", re.IGNORECASE)
_OTHER = re.compile(r"(insert|update|delete|merge|truncate|drop|alter|create|copy|call|do|set|grant|begin|explain)\s", re.IGNORECASE)


def read_rows(database: Database, relation: str, batch_size: int) -> Iterator[Mapping[str, Any]]:
    """The rows as mappings. Raises `UsageError` for SQL that isn't one query, `NotFound`, `AccessDenied`."""
    query = _query(database, relation)
    with (
        database.transaction(snapshot=True, read_only=True) as session,
        session.cursor(name="vecmigrate_rows", row_factory=dict_row) as cursor,
    ):
        cursor.execute(query, {})
        while rows := cursor.fetchmany(batch_size):
            yield from rows


def _query(database: Database, relation: str) -> sql.SQL | sql.Composed:
    text = relation[_LEADING_COMMENTS.match(relation).end() :].rstrip().rstrip(";").rstrip()  # type: ignore[union-attr]
    if "\0" in text or not text:
        raise UsageError("the log's table or query is empty or holds a NUL", hint="name a table, or write one SELECT")
    if _QUERY.match(text):
        return sql.SQL(text.replace("%", "%%"))
    if _OTHER.match(text):
        raise UsageError(f"the log's query begins with {text.split()[0]!r}", hint="only one SELECT is run, in a read-only transaction")
    return _table(database, text)


def _table(database: Database, name: str) -> sql.Composed:
    try:
        found = database.rows(statement("catalog.relation"), {"name": sound_name(name)})
    except ValueError as error:
        raise UsageError(f"the log's table name {error}", hint="check the name") from None
    if not found:
        raise NotFound(f"there is no table {name!r}", hint="give the log's table with its schema, like public.search_log")
    return sql.SQL("SELECT * FROM {}").format(identifier(found[0][1], found[0][2]))
