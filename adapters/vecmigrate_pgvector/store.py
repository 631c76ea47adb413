"""The store: one collection in one PostgreSQL table, its versions in side tables, its pointer in schema `vecmigrate`.

source ─ reads the application's table        registry ─ versions, states, pointer, history
sides  ─ side tables                          searcher ─ nearest neighbours      inspector ─ index and checks
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import PreflightRefused, VersionRetired
from vecmigrate.filters import Filter
from vecmigrate.records import Chunk, Hit
from vecmigrate.sharing import holder_for
from vecmigrate.store import Capability, Differences, Health, Inspection, Probe, Vectors
from vecmigrate.versions import (
    GONE,
    AnnParameters,
    AuditEvent,
    Element,
    IndexVersion,
    ModelVersion,
    Pointer,
    State,
)
from vecmigrate_pgvector import inspection
from vecmigrate_pgvector.ann_index import Inspector
from vecmigrate_pgvector.catalog import HALFVEC_PGVECTOR, read_extension, read_table
from vecmigrate_pgvector.connection import Database
from vecmigrate_pgvector.fragments import Fragments
from vecmigrate_pgvector.layout import Layout, detect
from vecmigrate_pgvector.operation import holding
from vecmigrate_pgvector.rows import read_rows
from vecmigrate_pgvector.search import Searcher
from vecmigrate_pgvector.settings import connection_string, parse_settings
from vecmigrate_pgvector.sidetable import SideTables
from vecmigrate_pgvector.source import SourceReader
from vecmigrate_pgvector.state import Registry

_MOST_INDEXED = {Element.FLOAT32: 2000, Element.FLOAT16: 4000}
_MOST_STORED = 16000
_MOST_COUNTED = 2_000_000
"""Rows, by the server's estimate, that `versions` counts: more take seconds."""


class PgvectorStore:
    """One collection. Made by `open`; safe to share between threads."""

    name = "pgvector"

    def __init__(self, database: Database, layout: Layout, *, collection: str, state_schema: str) -> None:
        self._database = database
        database.grants = replace(database.grants, source=layout.table.label, state_schema=state_schema)
        self._layout = layout
        self._collection = collection
        fragments = Fragments(layout, state_schema)
        self._fragments = fragments
        self._source = SourceReader(database, fragments)
        self._registry = Registry(database, collection, fragments)
        self._sides = SideTables(database, self._registry, fragments)
        self._searcher = Searcher(database, self._registry, fragments, self._sides)
        self._inspector = Inspector(database, self._registry, fragments, self._sides)

    @classmethod
    def open(cls, settings: Mapping[str, Any], *, collection: str) -> Self:
        """Connect and detect the layout. Writes nothing."""
        parsed = parse_settings(settings)
        database = Database(connection_string(parsed))
        try:
            extension = read_extension(database)
            layout = detect(read_table(database, parsed.table, state_schema=parsed.state_schema), extension, parsed)
            store = cls(database, layout, collection=collection, state_schema=parsed.state_schema)
            store._source.probe()
        except BaseException:
            database.close()
            raise
        return store

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._database.close()

    # Source.

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self._collection

    def can(self, capability: Capability) -> Probe:
        """All of it, on a pgvector that has halfvec, with a role that may make tables."""
        if capability is Capability.MAKE_VERSIONS:
            return self._registry.may_make()
        if capability is Capability.CHANGE_CAPTURE:
            return Probe(False, "rows that are written after a sync are found by the next one, by their key and the hash of their text")
        if capability is Capability.HALF_PRECISION and self._layout.extension.version < HALFVEC_PGVECTOR:
            return Probe(False, f"pgvector {self._layout.extension.text} has no halfvec; 0.7 or newer is needed")
        return Probe(True)

    def inspect(self) -> Inspection:
        """Count and describe. Needs SELECT alone."""
        return inspection.inspect(self._database, self._fragments, self._collection)

    def count(self) -> int:
        """Rows with text."""
        return self._source.count()

    def scan(self, *, batch_size: int = 1000) -> Iterator[Sequence[Chunk]]:
        """All rows with text, from one snapshot."""
        return self._source.scan(batch_size)

    def sample(self, size: int, *, seed: int = 0) -> Sequence[Chunk]:
        """Rows with text and vector, the same for the same seed."""
        return self._source.sample(size, seed)

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """The rows of these ids that are there."""
        return self._source.fetch(ids)

    # Versions.

    def versions(self) -> Sequence[IndexVersion]:
        """Every registered version, with its number of vectors."""
        return [replace(version, rows=self._rows(version)) for version in self._registry.versions()]

    def adopt(self, model: ModelVersion, *, actor: str = "") -> IndexVersion:
        """Register the application's column as v0; the first adoption in a database makes schema `vecmigrate`."""
        declared = self._layout.dimension
        dimensions = inspection.stored_dimensions(self._database, self._fragments) if declared is None else (declared,)
        return self._registry.adopt(model, dimensions, actor=actor)

    def create_version(
        self,
        model: ModelVersion,
        *,
        ann: AnnParameters | None = None,
        element: Element | None = None,
        shares: str = "",
        actor: str = "",
    ) -> IndexVersion:
        """Make the next side table. Raises `PreflightRefused` for a dimension that pgvector can't index."""
        if shares:
            return self._sides.create(self._sharing(model, shares), actor=actor)
        kept = element or self._layout.element
        if kept is Element.FLOAT16 and not self.can(Capability.HALF_PRECISION).able:
            raise PreflightRefused(
                self.can(Capability.HALF_PRECISION).reason, hint="ALTER EXTENSION vector UPDATE; or element float32 (not 16)"
            )
        control = self._layout.ann
        parameters = ann or (control if control.kind == "hnsw" else AnnParameters())
        _refuse_dimension(model, kept, parameters)
        registered = next((v.metric for v in self.versions() if v.number == 0), self._layout.metric)
        wanted = IndexVersion(self._collection, 1, model, registered, State.PLANNED, kept, parameters)
        return self._sides.create(wanted, actor=actor)

    def advance(self, version: IndexVersion, to: State, *, actor: str, note: str = "") -> IndexVersion:
        """Compare-and-set of the state."""
        return self._registry.advance(version, to, actor=actor, note=note)

    def pending(self, version: IndexVersion, *, batch_size: int = 2048) -> Iterator[Sequence[Chunk]]:
        """What is missing or stale, without metadata."""
        return self._sides.pending(version, batch_size)

    def reusable(self, version: IndexVersion, chunks: Sequence[Chunk]) -> dict[str, NDArray[np.float32]]:
        """Nothing is copied beside a vector: filters are evaluated on the source's rows."""
        return {}

    def load(self, version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors) -> Sequence[str]:
        """Write vectors and hashes, all or nothing. What changed meanwhile is pending again."""
        self._sides.load(version, chunks, vectors)
        return ()

    def remove(self, version: IndexVersion, ids: Sequence[str]) -> Sequence[str]:
        """Delete ids from a version of ours. What the source has again is pending."""
        self._sides.remove(version, ids)
        return ()

    def build_index(self, version: IndexVersion) -> None:
        """Make the HNSW index and check it. For v0, and for a version that shares, there is nothing to make."""
        if version.number > 0 and not version.shares:
            self._inspector.build(version)

    def differences(self, version: IndexVersion, *, sample: int = 20) -> Differences:
        """Compare with the source, on the server."""
        return self._inspector.differences(version, sample)

    def health(self, version: IndexVersion) -> Health:
        """Bad vectors, and whether the index is valid and usable."""
        return self._inspector.health(version)

    def vectors(self, version: IndexVersion, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored vectors of these ids."""
        return self._sides.vectors(version, ids)

    def search(
        self, version: IndexVersion, queries: Vectors, k: int, *, where: Filter | None = None, exact: bool = False
    ) -> list[tuple[Hit, ...]]:
        """The `k` best for each query, by index or exactly."""
        return self._searcher.search(version, queries, k, where, exact)

    def drop(self, version: IndexVersion, *, actor: str = "") -> None:
        """Drop a gone version's side table."""
        self._sides.drop(version, actor=actor)

    # Pointing.

    def pointer(self) -> Pointer | None:
        """The serving pointer: one query by primary key."""
        return self._registry.pointer()

    def activate(self, version: int, *, expect_epoch: int, actor: str, reason: str = "") -> Pointer:
        """Flip in one transaction that holds row locks alone."""
        return self._registry.activate(version, expect_epoch=expect_epoch, actor=actor, reason=reason)

    def record(self, kind: str, version: IndexVersion, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Add an event, in the order of all others."""
        self._registry.record(kind, version, actor=actor, detail=detail)

    def history(self) -> Sequence[AuditEvent]:
        """All events, oldest first."""
        return self._registry.history()

    @contextmanager
    def operation(self, what: str, *, actor: str) -> Iterator[None]:
        """Hold the collection by an advisory lock of a session of its own."""
        with holding(self._database, self._registry, what, actor):
            yield

    # RowSource.

    def read_rows(self, relation: str, *, batch_size: int = 1000) -> Iterator[Mapping[str, Any]]:
        """The rows of a table or of one SELECT, read-only."""
        return read_rows(self._database, relation, batch_size)

    def _sharing(self, model: ModelVersion, shares: str) -> IndexVersion:
        """As its holder, but for the model. The registry looks once more, where nobody can come in between."""
        holder = holder_for(self._registry.versions(), model, shares)
        return replace(holder, model=model, shares=holder.name, note="")

    def _rows(self, version: IndexVersion) -> int | None:
        """Counted where that is quick; None for a version that has gone or is large."""
        if version.number and version.state in GONE:
            return None
        if version.holder == 0:
            return self._source.count_vectors() if self._source.estimate() <= _MOST_COUNTED else None
        try:
            return None if self._sides.estimate(version) > _MOST_COUNTED else self._sides.rows(version)
        except VersionRetired:
            return None


def _refuse_dimension(model: ModelVersion, element: Element, ann: AnnParameters) -> None:
    most = _MOST_STORED if ann.kind == "none" else _MOST_INDEXED[element]
    if model.dimension <= most:
        return
    what = "stores" if ann.kind == "none" else f"indexes {element}"
    if element is Element.FLOAT32 and ann.kind != "none" and model.dimension <= _MOST_INDEXED[Element.FLOAT16]:
        hint = "use half precision (element float16), or a model of fewer dimensions"
    else:
        hint = "use a model of fewer dimensions"
    raise PreflightRefused(f"{model.name} has {model.dimension} dimensions; pgvector {what} vectors of at most {most}", hint=hint)
