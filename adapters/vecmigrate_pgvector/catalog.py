"""What PostgreSQL's catalog says of one table: columns by type OID and modifier, unique indexes, vector indexes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vecmigrate.errors import AccessDenied, NotFound, PreflightRefused, StoreError, UsageError
from vecmigrate.versions import Metric
from vecmigrate_pgvector.connection import Database, Row
from vecmigrate_pgvector.statements import statement

OLDEST_PGVECTOR = (0, 5, 0)
SAFE_PGVECTOR = (0, 8, 4)
"""Below it, vacuum may damage an HNSW graph (pgvector's change log)."""
ITERATIVE_PGVECTOR = (0, 8, 0)
HALFVEC_PGVECTOR = (0, 7, 0)

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "i": "an index", "c": "a type"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `type_sql` is its declared type, `base` the name of the type under any domain, `modifier` −1 when there is none."""

    name: str
    number: int
    type_sql: str
    modifier: int
    not_null: bool
    base: str
    collation: str | None

    @property
    def is_vector(self) -> bool:
        """Whether pgvector's `vector` or `halfvec`."""
        return self.base in ("vector", "halfvec")

    @property
    def is_text(self) -> bool:
        """Whether text, varchar or char."""
        return self.base in ("text", "varchar", "bpchar", "citext")

    @property
    def is_json(self) -> bool:
        """Whether json or jsonb."""
        return self.base in ("json", "jsonb")


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """An hnsw or ivfflat index."""

    schema: str
    name: str
    method: str
    valid: bool
    column_number: int
    opclass: str
    options: list[str]
    expression: str
    partial: bool

    @property
    def metric(self) -> Metric | None:
        """The metric of its operator class, None for one that vecmigrate doesn't know (L1, Hamming, Jaccard)."""
        for word, metric in (("cosine", Metric.COSINE), ("_ip_", Metric.INNER_PRODUCT), ("_l2_", Metric.L2)):
            if word in self.opclass:
                return metric
        return None

    def option(self, name: str, default: int) -> int:
        """An integer from `WITH (…)`."""
        found = [text.partition("=")[2] for text in self.options if text.partition("=")[0] == name]
        return int(found[0]) if found else default


@dataclass(frozen=True, slots=True)
class Extension:
    """pgvector as installed in this database."""

    version: tuple[int, ...]
    schema: str

    @property
    def text(self) -> str:
        """`0.8.5`."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the application."""

    oid: int
    schema: str
    name: str
    row_security: bool
    size: int
    columns: tuple[Column, ...]
    unique: tuple[tuple[bool, tuple[str, ...]], ...]
    vector_indexes: tuple[VectorIndex, ...]

    @property
    def label(self) -> str:
        """`public.docs`, for people."""
        return f"{self.schema}.{self.name}"

    def column(self, name: str, setting: str) -> Column:
        """The column of this name. Raises `NotFound` naming the setting that asked for it."""
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(column.name for column in self.columns)
        raise NotFound(f"{self.label} has no column {name!r}", hint=f"{setting} can be one of: {names}")


def read_extension(database: Database) -> Extension:
    """The extension's version and schema. Raises `PreflightRefused` when it is missing or too old."""
    rows = database.rows(statement("catalog.extension"))
    if not rows:
        offered = database.rows(statement("catalog.extension_offered"))
        hint = "CREATE EXTENSION vector;" if offered else "install pgvector on the server first, then CREATE EXTENSION vector;"
        raise PreflightRefused("the extension pgvector is not installed in this database", hint=hint)
    extension = Extension(tuple(int(part) for part in re.findall(r"\d+", rows[0][0])), rows[0][1])
    if extension.version < OLDEST_PGVECTOR:
        raise PreflightRefused(f"pgvector {extension.text} has no HNSW index", hint="ALTER EXTENSION vector UPDATE; (0.8.4 or newer)")
    return extension


def read_table(database: Database, name: str, *, state_schema: str) -> Table:
    """Everything about the table. Raises `NotFound`, `AccessDenied`, and `PreflightRefused` for what is not a table."""
    oid, schema, relation, kind, row_security, readable, size, usable = _resolve(database, name, state_schema)
    label = f"{schema}.{relation}"
    if kind not in ("r", "p"):
        raise PreflightRefused(f"{label} is {_KINDS.get(kind, 'not a table')}", hint="name the table that holds the rows")
    if not usable or not readable:
        what = f"USAGE ON SCHEMA {schema}" if not usable else f"SELECT ON {label}"
        raise AccessDenied(f"{database.grants.role} may not read {label}", hint=f"GRANT {what} TO {database.grants.role};")
    parameters = {"oid": oid}
    columns = database.rows(statement("catalog.columns"), parameters)
    unique = database.rows(statement("catalog.unique_indexes"), parameters)
    indexes = database.rows(statement("catalog.vector_indexes"), parameters)
    return Table(
        oid=oid,
        schema=schema,
        name=relation,
        row_security=row_security,
        size=size,
        columns=tuple(Column(*row) for row in columns),
        unique=tuple((primary, tuple(names)) for primary, names in unique),
        vector_indexes=tuple(VectorIndex(*row) for row in indexes),
    )


def _resolve(database: Database, name: str, state_schema: str) -> Row:
    for candidate in (name, _as_written(database, name)):
        rows = _quietly(database, "relation", {"name": candidate}) if candidate else []
        if rows:
            return rows[0]
    near = [row[0] for row in database.rows(statement("catalog.tables_with_vectors"), {"state_schema": state_schema})]
    hint = f"tables with vectors: {', '.join(near)}" if near else "no table in this database has a vector column; is it the right database?"
    raise NotFound(f"there is no table {name!r}", hint=hint)


def _as_written(database: Database, name: str) -> str | None:
    parts = [part.strip('"') for part in name.split(".")]
    rows = _quietly(database, "relation_as_written", {"parts": parts})
    return rows[0][0] if rows else None


def _quietly(database: Database, block: str, parameters: dict[str, Any]) -> list[Row]:
    try:
        return database.rows(statement(f"catalog.{block}"), parameters)
    except AccessDenied:
        raise
    except (StoreError, UsageError):  # what PostgreSQL can't read as a name names no table
        return []
