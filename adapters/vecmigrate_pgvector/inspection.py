"""What is in a collection, found by reading alone, with warnings of what will be in the way."""

from __future__ import annotations

from dataclasses import dataclass

from vecmigrate.store import Inspection
from vecmigrate_pgvector.catalog import SAFE_PGVECTOR
from vecmigrate_pgvector.connection import Database
from vecmigrate_pgvector.fragments import Fragments
from vecmigrate_pgvector.layout import Layout
from vecmigrate_pgvector.statements import statement


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a collection: all, without text, without a vector, and vectors by dimension."""

    rows: int
    without_text: int
    without_vector: int
    dimensions: dict[int, int]


def inspect(database: Database, fragments: Fragments, collection: str) -> Inspection:
    """Count and describe."""
    layout = fragments.layout
    counts = _counts(database, fragments)
    return Inspection(
        adapter="pgvector",
        location=layout.location,
        server=f"PostgreSQL {_version(database.server_version)}, pgvector {layout.extension.text}",
        collection=collection,
        rows=counts.rows,
        rows_without_text=counts.without_text,
        rows_without_vector=counts.without_vector,
        dimensions=counts.dimensions,
        metric=layout.metric,
        element=layout.element,
        ann=layout.ann,
        key=layout.key_label,
        text=layout.text_label,
        filter_fields=_fields(database, fragments),
        details=_details(layout),
        warnings=(*layout.warnings, *_warnings(layout, counts)),
    )


def _counts(database: Database, fragments: Fragments) -> Counts:
    rows, without_text, without_vector = database.rows(statement("source.counts", source=fragments.source))[0]
    declared, with_vector = fragments.layout.dimension, rows - without_vector
    if declared is None:
        return Counts(rows, without_text, without_vector, stored_dimensions(database, fragments))
    return Counts(rows, without_text, without_vector, {declared: with_vector} if with_vector else {})


def stored_dimensions(database: Database, fragments: Fragments) -> dict[int, int]:
    """How many vectors there are of each dimension, the most first."""
    query = statement("source.dimensions", source=fragments.source, vector_dims=fragments.function("vector_dims"))
    return {row[0]: row[1] for row in database.rows(query)}


def _fields(database: Database, fragments: Fragments) -> dict[str, str]:
    layout = fragments.layout
    found: dict[str, str] = {}
    if layout.document is not None:
        found |= {row[0]: row[1] for row in database.rows(statement("source.json_fields", source=fragments.source))}
    return found | {column.name: column.type_sql for column in layout.fields}


def _details(layout: Layout) -> tuple[tuple[str, str], ...]:
    index = layout.index
    described = f"{index.name} ({index.method}, {index.opclass})" if index is not None else "none"
    lines = [
        ("table", layout.table.label),
        ("vector column", f"{layout.embedding.name} {layout.embedding.type_sql}"),
        ("vector index", described),
        ("size with indexes", f"{layout.table.size / 2**20:,.1f} MiB"),
    ]
    if layout.where is not None:
        lines.append(("rows where", layout.where))
    if layout.document is not None:
        lines.append(("metadata keys in", layout.document.name))
    return tuple(lines)


def _warnings(layout: Layout, counts: Counts) -> list[str]:
    found = []
    if layout.extension.version < SAFE_PGVECTOR:
        found.append(f"pgvector {layout.extension.text}: before 0.8.4 a vacuum may damage an HNSW index; ALTER EXTENSION vector UPDATE;")
    if len(counts.dimensions) > 1:
        shown = ", ".join(f"{n} of {dimension}" for dimension, n in counts.dimensions.items())
        found.append(f"{layout.location} mixes dimensions ({shown}): vectors of several models are in one column")
    if counts.without_text:
        found.append(f"{counts.without_text} rows have no text and are left out of every version")
    if counts.without_vector:
        found.append(f"{counts.without_vector} rows have no vector: the control never finds them")
    if layout.table.row_security:
        found.append(f"{layout.table.label} has row-level security: vecmigrate reads it only as its owner or with BYPASSRLS")
    if not counts.rows:
        found.append("the collection is empty")
    return found


def _version(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"
