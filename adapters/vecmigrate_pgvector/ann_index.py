"""The approximate index of a version: built after the load, checked to be valid and to be used; and the checks of a version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import sql
from psycopg.errors import DiskFull, OutOfMemory

from vecmigrate.errors import StoreError
from vecmigrate.store import Differences, Health
from vecmigrate.versions import Element, IndexVersion
from vecmigrate_pgvector.connection import Database, RawHalfvec, RawVector
from vecmigrate_pgvector.fragments import Fragments, index_name
from vecmigrate_pgvector.packing import binary_vectors
from vecmigrate_pgvector.sidetable import SideTables
from vecmigrate_pgvector.state import Registry, Session
from vecmigrate_pgvector.statements import identifier, literal_sql, statement

MOST_MEMORY = 2 << 30
"""Bytes of maintenance_work_mem that a build asks for at most."""
_KINDS = ("c.hv IS NULL", "c.hs <> c.hv", "c.hs IS NULL")
"""Missing, stale, extra: in the order of the counts."""


@dataclass(frozen=True, slots=True)
class Inspector:
    """Builds the index of a version and compares the version with its source."""

    database: Database
    registry: Registry
    fragments: Fragments
    sides: SideTables

    def build(self, version: IndexVersion) -> None:
        """Make the HNSW index unless a valid one of these parameters is there. Raises `StoreError` when it can't be used."""
        with self.sides.standing(version):
            self.database.write(lambda session: self._build(session, version))
            if version.ann.kind == "none":
                return
            health = self.database.read(lambda session: self._index_health(session, version))
        if health != (True, True):
            raise StoreError(f"the index of {version.name} was built, but is not valid or not used", hint="vecmigrate doctor")

    def health(self, version: IndexVersion) -> Health:
        """Count unusable vectors, and ask planner and catalog about the index."""

        def work(session: Session) -> Health:
            bad = self._count(session, version)
            valid, used = self._index_health(session, version)
            return Health(bad_vectors=bad, index_valid=valid, index_used=used)

        with self.sides.standing(version):
            return self.database.read(work)

    def differences(self, version: IndexVersion, sample: int) -> Differences:
        """Compare with the source in one snapshot; only counts and a few ids travel."""

        def work(session: Session) -> Differences:
            compared = self._compared(version)
            row = session.execute(statement("side.differences", compared=compared), {}).fetchone() or (0,) * 5
            ids = [self._ids(session, compared, kind, sample) if n else () for n, kind in zip(row[2:], _KINDS, strict=True)]
            return Differences(*row, *ids)

        with self.sides.standing(version):
            return self.database.read(work)

    def _ids(self, session: Session, compared: sql.Composable, kind: str, sample: int) -> tuple[str, ...]:
        query = statement("side.differing", compared=compared, kind=literal_sql(kind))
        return tuple(row[0] for row in session.execute(query, {"sample": sample}).fetchall())

    def _compared(self, version: IndexVersion) -> sql.Composed:
        fragments = self.fragments
        if version.holder == 0:
            return statement("side.compared_control", id=fragments.id("s"), source=fragments.source)
        named = sql.SQL(", ").join(literal_sql(f"s.k{i} AS k{i}") for i in range(len(fragments.layout.key)))
        return statement(
            "side.compared",
            expected_id=fragments.id("x"),
            present_id=fragments.id("v"),
            keys_named=named,
            source=fragments.source,
            side=fragments.side(version),
            on=fragments.on("x", "v"),
        )

    def _count(self, session: Session, version: IndexVersion) -> int:
        name = "bad_vectors" if version.holder else "bad_vectors_of_control"
        parts: dict[str, sql.Composable] = {
            "norm": self.fragments.function("l2_norm" if version.element is Element.FLOAT16 else "vector_norm"),
            "source": self.fragments.source,
            "side": self.fragments.side(version),
            "vector_dims": self.fragments.function("vector_dims"),
        }
        row = session.execute(statement(f"side.{name}", **parts), {"dimension": version.model.dimension}).fetchone()
        return int(row[0]) if row else 0

    def _index_health(self, session: Session, version: IndexVersion) -> tuple[bool | None, bool | None]:
        name, quoted = self._index(version)
        if name is None:
            return None, None
        row = session.execute(statement("side.index_state"), {"index": quoted}).fetchone()
        if row is None:
            return (None, None) if version.ann.kind == "none" else (False, False)
        if version.holder == 0 and self.fragments.layout.where:
            return bool(row[0]), None  # for a few of the table's rows the planner may well do without the index
        leaves = {leaf for (leaf,) in session.execute(statement("side.index_leaves"), {"index": quoted}).fetchall()}
        return bool(row[0]), self._used(session, version, {name, *leaves})

    def _index(self, version: IndexVersion) -> tuple[str | None, str]:
        if version.holder > 0:
            return index_name(version), self.fragments.quoted(index_name(version))
        index = self.fragments.layout.index
        return (None, "") if index is None else (index.name, identifier(index.schema, index.name).as_string().replace("%%", "%"))

    def _used(self, session: Session, version: IndexVersion, names: set[str]) -> bool:
        """Whether the planner takes one of these indexes when it may not read the whole table, as it would with a small one."""
        present = sql.SQL("s.e IS NOT NULL AND {}").format(self.fragments.control_dimension(version))
        with session.transaction(force_rollback=True):
            session.execute(statement("side.no_seqscan"), {})
            query = statement(
                "side.explain",
                relation=self.fragments.side(version) if version.holder else self.fragments.source,
                vector=sql.SQL("v.e") if version.holder else self.fragments.control_vector(version),
                operator=self.fragments.operator(version.metric),
                condition=sql.SQL("true") if version.holder else present,
            )
            row = session.execute(query, {"query": _some_vector(version)}).fetchone()
        return row is not None and not names.isdisjoint(_index_names(row[0]))

    def _build(self, session: Session, version: IndexVersion) -> None:
        self.registry.require_standing(session, version)
        session.execute(self._statement("lock_for_index", version), {})
        if version.ann.kind != "none" and not self._stands(session, version):
            self._create(session, version)
        session.execute(self._statement("analyze", version), {})

    def _stands(self, session: Session, version: IndexVersion) -> bool:
        row = session.execute(statement("side.index_state"), {"index": self.fragments.quoted(index_name(version))}).fetchone()
        if row is None:
            return False
        wanted = {f"m={version.ann.m}", f"ef_construction={version.ann.ef_construction}"}
        if row[0] and wanted <= set(row[1] or ()):
            return True
        session.execute(statement("side.drop_index", index=identifier(self.fragments.state_schema, index_name(version))), {})
        return False

    def _create(self, session: Session, version: IndexVersion) -> None:
        query = self._statement(
            "create_index",
            version,
            index_name=identifier(index_name(version)),
            opclass=self.fragments.opclass(version.metric, version.element),
            m=sql.Literal(version.ann.m),
            ef_construction=sql.Literal(version.ann.ef_construction),
        )
        memory, workers = self._resources(session, version)
        try:
            with session.transaction():
                session.execute(statement("side.build_settings"), {"memory": memory, "workers": str(workers)})
                session.execute(query, {})
        except (DiskFull, OutOfMemory) as error:
            if "shared memory" not in str(error):
                raise
            session.execute(statement("side.build_settings"), {"memory": memory, "workers": "0"})  # a container's small /dev/shm
            session.execute(query, {})

    def _resources(self, session: Session, version: IndexVersion) -> tuple[str, int]:
        current, workers = session.execute(statement("side.memory"), {}).fetchone() or (0, 0)
        rows = session.execute(self._statement("rows", version), {}).fetchone() or (0,)
        return f"{max(current, min(graph_bytes(version, rows[0]), MOST_MEMORY)) // 1024}kB", workers

    def _statement(self, name: str, version: IndexVersion, **parts: sql.Composable) -> sql.Composed:
        return statement(f"side.{name}", side_table=self.fragments.side_table(version), **parts)


def graph_bytes(version: IndexVersion, rows: int) -> int:
    """About how much memory the graph takes while it is built (28,367 rows of 384 dimensions at m 16 filled 64 MB), and a fifth."""
    component = 2 if version.element is Element.FLOAT16 else 4
    return int(rows * (version.model.dimension * component + 32 * version.ann.m + 330) * 1.2)


def _some_vector(version: IndexVersion) -> bytes:
    kind, dtype = (RawHalfvec, ">f2") if version.element is Element.FLOAT16 else (RawVector, ">f4")
    return kind(binary_vectors(np.ones((1, version.model.dimension), dtype=dtype))[0])


def _index_names(plan: Any) -> set[str]:
    """Every index that an EXPLAIN (FORMAT JSON) names."""
    nodes, found = [json.loads(plan) if isinstance(plan, str) else plan], set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            found |= {node["Index Name"]} if "Index Name" in node else set()
            nodes += list(node.values())
        elif isinstance(node, list):
            nodes += node
    return found
