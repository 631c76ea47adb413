"""Nearest neighbours within one version: many queries in one transaction, pipelined, each answered with k rows if k pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from vecmigrate.filters import Filter
from vecmigrate.records import Hit
from vecmigrate.store import Vectors
from vecmigrate.versions import Element, IndexVersion, Metric
from vecmigrate_pgvector.catalog import ITERATIVE_PGVECTOR
from vecmigrate_pgvector.conditions import Condition
from vecmigrate_pgvector.connection import Database, RawHalfvec, RawVector
from vecmigrate_pgvector.fragments import Fragments
from vecmigrate_pgvector.packing import binary_vectors, checked_queries
from vecmigrate_pgvector.sidetable import SideTables
from vecmigrate_pgvector.state import Registry, Session, refuse_gone
from vecmigrate_pgvector.statements import statement

QUERIES_AT_ONCE = 500
"""Queries sent before their answers are read."""
_EF_SEARCH = (40, 1000)
"""pgvector's default and its upper bound."""

Hits = tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches one collection's versions."""

    database: Database
    registry: Registry
    fragments: Fragments
    sides: SideTables

    def search(self, version: IndexVersion, queries: Vectors, k: int, where: Filter | None, exact: bool) -> list[Hits]:
        """The `k` best for each query. What the index returned too few of is searched again exactly, in the same snapshot."""
        stored = checked_queries(version, queries, k)
        if not len(stored):
            return []
        condition = Condition(self.fragments.layout)
        filtered = condition.compile(where)
        parameters = [{"query": vector, **condition.parameters} for vector in _wrapped(stored, version.element)]

        def work(session: Session) -> list[Hits]:
            with session.pipeline():
                state = self.registry.ask_state(session, version) if version.number > 0 else None
                self._settings(session, k)
                found = self._ask(session, version, self._query(version, filtered, k, exact), parameters)
            if state is not None:
                refuse_gone(version, state.fetchone())
            short = [] if exact or not self._approximate(version) else [i for i, hits in enumerate(found) if len(hits) < k]
            again = self._ask(session, version, self._query(version, filtered, k, True), [parameters[i] for i in short])
            for i, hits in zip(short, again, strict=True):
                found[i] = hits
            return found

        with self.sides.standing(version):
            return self.database.read(work)

    def _approximate(self, version: IndexVersion) -> bool:
        return self.fragments.layout.index is not None if version.holder == 0 else version.ann.kind != "none"

    def _settings(self, session: Session, k: int) -> None:
        least, most = _EF_SEARCH
        session.execute(statement("search.settings"), {"ef_search": min(max(k, least), most)})
        if self.fragments.layout.extension.version >= ITERATIVE_PGVECTOR:
            session.execute(statement("search.iterative"), {})

    def _ask(self, session: Session, version: IndexVersion, query: sql.Composed, parameters: Sequence[dict[str, Any]]) -> list[Hits]:
        found: list[Hits] = []
        for start in range(0, len(parameters), QUERIES_AT_ONCE):
            some = parameters[start : start + QUERIES_AT_ONCE]
            with session.cursor() as cursor:
                cursor.executemany(query, some, returning=True)
                for place in range(len(some)):
                    found.append(tuple(Hit(row[0], _score(version.metric, row[1])) for row in cursor.fetchall()))
                    if place + 1 < len(some):
                        cursor.nextset()
        return found

    def _query(self, version: IndexVersion, filtered: sql.Composable, k: int, exact: bool) -> sql.Composed:
        fragments = self.fragments
        parts: dict[str, sql.Composable] = {
            "id": fragments.id("s"),
            "source": fragments.source,
            "operator": fragments.operator(version.metric),
            "inexact": sql.SQL("+ 0") if exact else sql.SQL(""),
            "tie": sql.SQL(', {} COLLATE "C"').format(fragments.id("s")) if exact else sql.SQL(""),
            "filter": filtered,
            "k": sql.Literal(k),
        }
        if version.holder > 0:
            return statement("search.side", side=fragments.side(version), on=fragments.on("s", "v"), **parts)
        return statement(
            "search.control", vector=fragments.control_vector(version), dimension=fragments.control_dimension(version), **parts
        )


def _wrapped(stored: NDArray[np.generic], element: Element) -> list[bytes]:
    kind = RawHalfvec if element is Element.FLOAT16 else RawVector
    return [kind(vector) for vector in binary_vectors(stored)]


def _score(metric: Metric, distance: float) -> float:
    return 1.0 - distance if metric is Metric.COSINE else -distance
