"""Side tables: the vectors of one version beside the application's table, keyed like it. What is there is the progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import UniqueViolation

from vecmigrate.errors import Conflict, DataError, NotFound, PreflightRefused, VersionRetired
from vecmigrate.records import Chunk
from vecmigrate.sharing import refuse_writing
from vecmigrate.store import Vectors
from vecmigrate.versions import GONE, IndexVersion
from vecmigrate_pgvector.connection import Database, Row
from vecmigrate_pgvector.fragments import Fragments, index_name, side_name
from vecmigrate_pgvector.keys import KeyedIds, Parts, binary_encoders, join_id, key_fields, split_id, text_encoders
from vecmigrate_pgvector.packing import checked, copy_rows, read_vector
from vecmigrate_pgvector.source import in_batches, sifted
from vecmigrate_pgvector.state import Registry, Session
from vecmigrate_pgvector.statements import listed, literal_sql, statement

_COPY = {"unused": ""}
"""COPY takes no parameters, but only with some does `%%` mean `%`."""


@dataclass(frozen=True, slots=True)
class SideTables:
    """Making, filling and dropping the side tables of one collection."""

    database: Database
    registry: Registry
    fragments: Fragments

    def create(self, version: IndexVersion, *, actor: str) -> IndexVersion:
        """Register the version and make its empty table, in one transaction; one that shares another's vectors has none."""

        def make(session: Session) -> IndexVersion:
            made = self.registry.create(version, session, actor=actor)
            if made.shares:
                return made
            vector_type = self.fragments.vector_type(made.element, made.model.dimension)
            definition = self.fragments.side_definition()
            session.execute(self._statement("create", made, definition=definition, vector_type=vector_type), {})
            return made

        return self.database.write(make, repeatable=False)

    def pending(self, version: IndexVersion, batch_size: int) -> Iterator[Sequence[Chunk]]:
        """Chunks that are missing or stale, by keyset pages: each page is a statement, and a snapshot, of its own."""
        waiting: list[Chunk] = []
        after: Parts | None = None
        while True:
            rows = self._page(version, after, batch_size)
            waiting += [Chunk(join_id(row[:-1]), row[-1]) for row in rows if row[-1] is not None]
            while len(waiting) >= batch_size:
                yield waiting[:batch_size]
                waiting = waiting[batch_size:]
            if len(rows) < batch_size:
                break
            after = rows[-1][:-1]
        if waiting:
            yield waiting

    def load(self, version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Write vectors and hashes, all or nothing, replacing what is there."""
        refuse_control(version, "written to")
        refuse_writing(version, "written to")
        stored = checked(version, chunks, vectors)
        if not chunks:
            return
        parts = self._parts(chunks)
        with self.standing(version):
            self.database.write(lambda session: self._load(session, version, (chunks, parts, stored)))

    def remove(self, version: IndexVersion, ids: Sequence[str]) -> None:
        """Delete these ids from the version."""
        refuse_control(version, "deleted from")
        refuse_writing(version, "deleted from")
        query = self._statement("remove", version, wanted=self.fragments.wanted(), on=self.fragments.side_on_wanted())

        def delete(part: KeyedIds) -> list[Row]:
            self.database.write(lambda session: session.execute(query, part.parameters))
            return []

        for some in in_batches(ids, self.fragments.layout.key):
            with self.standing(version):
                sifted(some, delete)

    def vectors(self, version: IndexVersion, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored vectors of these ids."""
        found: dict[str, NDArray[np.float32]] = {}
        alias = "s" if version.holder == 0 else "v"
        name = "vectors_of_control" if version.holder == 0 else "vectors"
        parts = {"id": self.fragments.id(alias), "wanted": self.fragments.wanted(), "on": self.fragments.on_wanted(alias)}
        query = self._statement(name, version, **parts)
        for some in in_batches(ids, self.fragments.layout.key):
            with self.standing(version):
                rows = sifted(some, lambda part: self._binary(query, part.parameters))
            found |= {row[0]: read_vector(row[1], version.element) for row in rows}
        return found

    def drop(self, version: IndexVersion, *, actor: str) -> None:
        """Free a gone version's storage. Raises `Conflict` while it is not RETIRED or CANCELLED."""
        refuse_control(version, "dropped")

        def free(session: Session) -> None:
            self.registry.lock(session)
            state = self.registry.state(session, version.number)
            if state not in GONE:
                raise Conflict(f"{version.name} is {state}", hint=f"vecmigrate retire {version.label} comes first")
            if version.shares:
                self.registry.note_drop_once(session, version.number, actor=actor)
            elif self._exists(session, version):
                session.execute(statement("state.short_waits"), {})  # behind a reader it would hold flips up
                session.execute(self._statement("drop", version), {})
                self.registry.note_drop(session, version.number, actor=actor)

        self.database.write(free)

    def estimate(self, version: IndexVersion) -> float:
        """The server's guess at the rows, −1 when it has none."""
        name = self.fragments.quoted(side_name(version))
        found = self.database.rows(statement("catalog.estimate_by_name"), {"name": name})
        return float(found[0][0]) if found else -1.0

    def rows(self, version: IndexVersion) -> int:
        """How many vectors a side table holds."""
        with self.standing(version):
            return int(self.database.rows(self._statement("rows", version))[0][0])

    @contextmanager
    def standing(self, version: IndexVersion) -> Iterator[None]:
        """A side table that isn't there any more means that the version was retired."""
        try:
            yield
        except NotFound as error:
            if version.holder > 0 and side_name(version) in error.message:
                raise VersionRetired(f"{version.name} has been dropped", hint="read the pointer again") from error
            raise

    # Inside.

    def _page(self, version: IndexVersion, after: Parts | None, limit: int) -> list[Row]:
        fragments = self.fragments
        numbers = range(len(fragments.layout.key))
        parts: dict[str, sql.Composable] = {
            "page_columns": listed([literal_sql(f"s.k{i} AS k{i}") for i in numbers]),
            "source": fragments.source,
            "beyond": sql.SQL("true") if after is None else fragments.beyond("s"),
            "keys": fragments.keys("s"),
            "page_keys": fragments.keys("page"),
            "page_key_texts": fragments.key_texts("page"),
            "page_on": fragments.on("page", "v"),
            "side": fragments.side(version),
        }
        cursor = {f"after{i}": part for i, part in enumerate(after or ())}
        query = self._statement("control_page" if version.holder == 0 else "page", version, **parts)
        with self.standing(version):
            return self.database.rows(query, {"limit": limit, **cursor})

    def _parts(self, chunks: Sequence[Chunk]) -> list[Parts]:
        width = len(self.fragments.layout.key)
        found = [split_id(chunk.id, width) for chunk in chunks]
        kept = [parts for parts in found if parts is not None]
        if len(kept) != len(found):
            bad = chunks[found.index(None)].id
            raise DataError(f"{bad!r} is no key of {self.fragments.layout.table.label}", hint="load only chunks that pending yielded")
        return kept

    def _load(self, session: Session, version: IndexVersion, batch: tuple[Sequence[Chunk], list[Parts], NDArray[np.generic]]) -> None:
        self.registry.require_standing(session, version)
        chunks, parts, stored = batch
        width = len(self.fragments.layout.key)
        encoders = binary_encoders([column.base for column in self.fragments.layout.key])
        if encoders is not None and not self._has_index(session, version):
            stream = copy_rows(key_fields(parts, encoders), width, chunks, stored)
            if self._copied_as_new(session, version, stream):
                return
        stream = copy_rows(key_fields(parts, text_encoders(width)), width, chunks, stored)
        self._upsert(session, version, stream)

    def _copied_as_new(self, session: Session, version: IndexVersion, stream: bytes) -> bool:
        """Straight into the side table; False when a row of them is there already: then all go through the staging table."""
        try:
            with session.transaction():
                self._copy(session, self._statement("copy", version), stream)
        except UniqueViolation:
            return False
        return True

    def _upsert(self, session: Session, version: IndexVersion, stream: bytes) -> None:
        numbers = range(len(self.fragments.layout.key))
        text_keys = listed([literal_sql(f"k{i} text") for i in numbers])
        casts = listed([sql.SQL("{}::{}").format(literal_sql(f"k{i}"), self.fragments.key_type(i)) for i in numbers])
        vector_type = self.fragments.vector_type(version.element, version.model.dimension)
        session.execute(statement("side.staging", text_keys=text_keys, vector_type=vector_type), {})
        self._copy(session, statement("side.copy_staging"), stream)
        session.execute(self._statement("upsert", version, casts=casts), {})

    def _copy(self, session: Session, query: sql.Composed, stream: bytes) -> None:
        with session.cursor() as cursor, cursor.copy(query, _COPY) as copy:
            copy.write(stream)

    def _has_index(self, session: Session, version: IndexVersion) -> bool:
        name = self.fragments.quoted(index_name(version))
        row = session.execute(statement("side.has_index"), {"index": name}).fetchone()
        return bool(row and row[0])

    def _exists(self, session: Session, version: IndexVersion) -> bool:
        row = session.execute(statement("state.installed"), {"table": self.fragments.quoted(side_name(version))}).fetchone()
        return bool(row and row[0])

    def _binary(self, query: sql.Composed, parameters: dict[str, Any]) -> list[Row]:
        def work(session: Session) -> list[Row]:
            with session.cursor(binary=True) as cursor:
                return cursor.execute(query, parameters).fetchall()

        return self.database.read(work)

    def _statement(self, name: str, version: IndexVersion, **parts: sql.Composable) -> sql.Composed:
        side_table, side = self.fragments.side_table(version), self.fragments.side(version)
        given = {
            "side_table": side_table,
            "side": side,
            "side_keys": self.fragments.side_keys(),
            "source": self.fragments.source,
            **parts,
        }
        return statement(f"side.{name}", **given)


def refuse_control(version: IndexVersion, what: str) -> None:
    """Raises `PreflightRefused` for v0: it is the application's."""
    if version.number == 0:
        raise PreflightRefused(f"{version.name} is the application's own column and is never {what}", hint="name a version of ours")
