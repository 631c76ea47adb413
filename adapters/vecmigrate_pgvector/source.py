"""Reading the application's table: count, scan in one snapshot, sample, fetch by id. Needs SELECT alone and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from vecmigrate.errors import DataError
from vecmigrate.records import Chunk
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
        keys = self.fragments.keys("s")
        self.database.rows(statement("source.probe", keys=keys, source=self.fragments.source))

    def count(self) -> int:
        """Rows with text."""
        return int(self.database.rows(self._statement("count"))[0][0])

    def count_vectors(self) -> int:
        """Rows with a vector."""
        rows, _, without = self.database.rows(statement("source.counts", source=self.fragments.source))[0]
        return int(rows - without)

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
        found: dict[str, Chunk] = {}
        for some in in_batches(ids, len(self.fragments.layout.key)):
            found |= {row[0]: chunk(*row) for row in self._fetch(some)}
        return found

    def _fetch(self, wanted: KeyedIds) -> list[Row]:
        known = set(wanted.ids)
        try:
            query = self._statement("fetch", wanted=self.fragments.wanted(), on=self.fragments.on("s", "w"))
            rows = self.database.rows(query, wanted.parameters)
        except DataError:  # some id is no key of this type
            rows = self.database.rows(self._statement("fetch_by_text"), {"ids": list(wanted.ids)})
        return [row for row in rows if row[0] in known]

    def _statement(self, name: str, **parts: sql.Composable) -> sql.Composed:
        return statement(f"source.{name}", id=self.fragments.id("s"), source=self.fragments.source, **parts)


def chunk(chunk_id: str, text: str, metadata: Mapping[str, Any]) -> Chunk:
    """A row as a chunk; fields that are NULL are absent."""
    return Chunk(chunk_id, text, {key: value for key, value in metadata.items() if value is not None})


def in_batches(ids: Sequence[str], width: int) -> Iterator[KeyedIds]:
    """The ids that can be keys, a bounded number at a time."""
    for start in range(0, len(ids), IDS_AT_ONCE):
        found = keyed(ids[start : start + IDS_AT_ONCE], width)
        if found.ids:
            yield found
