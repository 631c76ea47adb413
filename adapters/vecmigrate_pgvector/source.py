"""Reading the application's table: count, scan in one snapshot, sample, fetch by id. Needs SELECT alone and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from vecmigrate.errors import DataError
from vecmigrate.records import Chunk
from vecmigrate_pgvector.catalog import Column
from vecmigrate_pgvector.connection import Database, Row
from vecmigrate_pgvector.fragments import Fragments
from vecmigrate_pgvector.keys import KeyedIds, keyed
from vecmigrate_pgvector.statements import statement

IDS_AT_ONCE = 10_000
"""Ids sent with one statement."""


@dataclass(frozen=True, slots=True)
class SourceReader:
    """The rows of one collection."""

    database: Database
    fragments: Fragments

    def probe(self) -> None:
        """Try the operator's expressions. Raises `UsageError`, `NotFound` or `AccessDenied`."""
        query = statement("source.probe", keys=self.fragments.keys("s"), source=self.fragments.source)
        with self.database.transaction(read_only=True) as session:
            session.execute(query, {}, prepare=True)  # prepared: so a second statement smuggled into an expression is an error

    def count(self) -> int:
        """Rows with text."""
        return int(self.database.rows(self._statement("count"))[0][0])

    def estimate(self) -> float:
        """The server's guess at the table's rows, −1 when it has none."""
        return float(self.database.rows(statement("catalog.estimate"), {"oid": self.fragments.layout.table.oid})[0][0])

    def count_vectors(self) -> int:
        """Rows with a vector."""
        return int(self.database.rows(self._statement("count_vectors"))[0][0])

    def scan(self, batch_size: int) -> Iterator[Sequence[Chunk]]:
        """All rows with text, from one snapshot, through a server-side cursor."""
        with (
            self.database.transaction(snapshot=True, read_only=True) as session,
            session.cursor(name="vecmigrate_scan") as cursor,
        ):
            cursor.execute(self._statement("scan"), {})
            while rows := cursor.fetchmany(batch_size):
                yield [chunk(*row) for row in rows]

    def sample(self, size: int, seed: int) -> Sequence[Chunk]:
        """Rows with text and vector, ordered by a hash of seed and id."""
        if size < 1:
            return []
        rows = self.database.rows(self._statement("sample"), {"seed": f"{seed} ", "size": size})
        return [chunk(*row) for row in rows]

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """The rows of these ids; blank texts come back as they are."""
        query = self._statement("fetch", wanted=self.fragments.wanted(), on=self.fragments.on_wanted("s"))
        found: dict[str, Chunk] = {}
        for some in in_batches(ids, self.fragments.layout.key):
            rows = sifted(some, lambda part: self.database.rows(query, part.parameters))
            found |= {row[0]: chunk(*row) for row in rows}
        return found

    def _statement(self, name: str, **parts: sql.Composable) -> sql.Composed:
        return statement(f"source.{name}", id=self.fragments.id("s"), source=self.fragments.source, **parts)


def chunk(chunk_id: str, text: str, metadata: Mapping[str, Any]) -> Chunk:
    """A row as a chunk; fields that are NULL are absent."""
    return Chunk(chunk_id, text, {key: value for key, value in metadata.items() if value is not None})


def in_batches(ids: Sequence[str], key: Sequence[Column]) -> Iterator[KeyedIds]:
    """The ids that can be keys, a bounded number at a time."""
    for start in range(0, len(ids), IDS_AT_ONCE):
        found = keyed(ids[start : start + IDS_AT_ONCE], [column.base for column in key])
        if found.ids:
            yield found


def sifted(wanted: KeyedIds, ask: Callable[[KeyedIds], list[Row]]) -> list[Row]:
    """What `ask` answers, without the ids that PostgreSQL can't read as keys: those are found by halving."""
    try:
        return ask(wanted)
    except DataError:
        if len(wanted.ids) == 1:
            return []
    first, second = wanted.halves()
    return sifted(first, ask) + sifted(second, ask)
