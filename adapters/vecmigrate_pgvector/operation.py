"""One operator at a time: an advisory lock that lives and dies with its session, and a row that says whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from vecmigrate.errors import Conflict
from vecmigrate_pgvector.connection import Database
from vecmigrate_pgvector.driver_errors import translated
from vecmigrate_pgvector.state import Registry, Session
from vecmigrate_pgvector.statements import statement


@contextmanager
def holding(database: Database, registry: Registry, what: str, actor: str) -> Iterator[None]:
    """Hold the collection. Raises `Conflict` naming the holder; a holder that died holds nothing."""
    with database.dedicated() as session:
        with translated(database.grants):
            named = _take(session, registry, what, actor)
        try:
            yield
        finally:
            if named:
                with suppress(psycopg.Error):  # a lost connection has given the lock back already
                    session.execute(registry.statement("forget_holder"), {"collection": registry.collection})


def _take(session: Session, registry: Registry, what: str, actor: str) -> bool:
    row = session.execute(statement("state.try_operation"), {"lock": f"{registry.schema}.{registry.collection}"}).fetchone()
    installed = session.execute(statement("state.installed"), {"table": f"{registry.schema}.operation"}).fetchone()
    has_table = bool(installed and installed[0])
    if not (row and row[0]):
        raise Conflict(
            f"{registry.collection} is held by {_holder(session, registry, has_table)}", hint="wait until it is done, or stop it"
        )
    if has_table:
        parameters = {"collection": registry.collection, "what": what, "actor": actor}
        session.execute(registry.statement("name_holder"), parameters)
    return has_table


def _holder(session: Session, registry: Registry, has_table: bool) -> str:
    found = session.execute(registry.statement("holder"), {"collection": registry.collection}).fetchone() if has_table else None
    return f"{found[1]} ({found[0]}, since {found[2]:%Y-%m-%d %H:%M} UTC)" if found else "another operator"
