"""Where a collection's key, text, vector and metadata are in its table: settings where given, else found in the catalog."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vecmigrate.errors import PreflightRefused, UsageError
from vecmigrate.versions import AnnParameters, Element, Metric
from vecmigrate_pgvector.catalog import Column, Extension, Table, VectorIndex
from vecmigrate_pgvector.settings import Settings

TEXT_NAMES = ("content", "text", "document", "chunk", "chunk_text", "body", "page_content", "pagecontent", "passage")
"""What the known layouts call the embedded text, tried only when a table has several text columns."""
JSON_NAMES = ("metadata", "meta", "cmetadata", "metadata_", "langchain_metadata", "vmetadata", "payload", "attributes")
"""What they call the one JSON column whose keys are the metadata."""
_NOT_METADATA = ("vector", "halfvec", "sparsevec", "bit", "varbit", "tsvector", "bytea")


@dataclass(frozen=True, slots=True)
class Layout:
    """One collection inside one table. `dimension` is None for a `vector` column without a declared dimension."""

    table: Table
    extension: Extension
    key: tuple[Column, ...]
    text: Column | None
    text_sql: str | None
    embedding: Column
    where: str | None
    fields: tuple[Column, ...]
    document: Column | None
    metric: Metric
    index: VectorIndex | None
    warnings: tuple[str, ...]

    @property
    def element(self) -> Element:
        """What the embedding column's components are."""
        return Element.FLOAT16 if self.embedding.base == "halfvec" else Element.FLOAT32

    @property
    def dimension(self) -> int | None:
        """The declared dimension."""
        return self.embedding.modifier if self.embedding.modifier > 0 else None

    @property
    def ann(self) -> AnnParameters:
        """The control's approximate index, `none` when there is none."""
        if self.index is None:
            return AnnParameters(kind="none")
        return AnnParameters(self.index.method, self.index.option("m", 16), self.index.option("ef_construction", 64))

    @property
    def text_label(self) -> str:
        """The text's column or expression, for people."""
        return self.text.name if self.text is not None else self.text_sql or ""

    @property
    def key_label(self) -> str:
        """The key's columns, for people."""
        return ", ".join(column.name for column in self.key)

    @property
    def location(self) -> str:
        """`public.docs.embedding`."""
        return f"{self.table.label}.{self.embedding.name}"


def detect(table: Table, extension: Extension, settings: Settings) -> Layout:
    """Fill in what the settings leave out. Raises `UsageError` listing the choices when there is more than one, `NotFound`,
    and `PreflightRefused` when no key is enforced.
    """
    key = _key(table, settings)
    embedding = _embedding(table, settings)
    text = None if settings.text_sql else _text(table, settings, key)
    fields, document = _metadata(table, settings, {c.name for c in (*key, embedding, *((text,) if text else ()))})
    indexes = _indexes(table, embedding, settings)
    index = next((i for i in indexes if _searched_by(i, embedding)), None)
    metric, warnings = _metric(table, index, indexes, settings)
    return Layout(
        table=table,
        extension=extension,
        key=key,
        text=text,
        text_sql=settings.text_sql,
        embedding=embedding,
        where=settings.where,
        fields=fields,
        document=document,
        metric=metric,
        index=index,
        warnings=warnings,
    )


def _key(table: Table, settings: Settings) -> tuple[Column, ...]:
    by_name = {column.name: column for column in table.columns}
    enforced = [names for _, names in table.unique if all(by_name[name].not_null for name in names)]
    if settings.key is None:
        if not enforced:
            raise PreflightRefused(
                f"{table.label} has no key: neither a primary key nor a unique index over columns that are NOT NULL",
                hint=f"ALTER TABLE {table.label} ADD PRIMARY KEY (…); vecmigrate must know rows apart",
            )
        return tuple(by_name[name] for name in enforced[0])
    columns = tuple(table.column(name, "key") for name in settings.key)
    if not any(set(names) <= set(settings.key) for names in enforced):
        raise PreflightRefused(
            f"{table.label}: nothing enforces that {', '.join(settings.key)} is unique and NOT NULL",
            hint="name the primary key's columns, or add a unique index over NOT NULL columns",
        )
    nullable = [column.name for column in columns if not column.not_null]
    if nullable:
        raise PreflightRefused(
            f"{table.label}: key column {nullable[0]} may be NULL",
            hint=f"leave it out of key, or ALTER TABLE {table.label} ALTER COLUMN {nullable[0]} SET NOT NULL",
        )
    return columns


def _embedding(table: Table, settings: Settings) -> Column:
    if settings.embedding is not None:
        column = table.column(settings.embedding, "embedding")
        if not column.is_vector:
            raise UsageError(f"{table.label}.{column.name} is {column.type_sql}", hint="embedding must be a vector or halfvec column")
        return column
    return _the_one(table, [column for column in table.columns if column.is_vector], "embedding", "vector or halfvec")


def _text(table: Table, settings: Settings, key: Sequence[Column]) -> Column:
    if settings.text is not None:
        column = table.column(settings.text, "text")
        if column.is_vector or column.is_json:
            hint = f"text_sql = \"{column.name}->>'text'\"" if column.is_json else "name the column that holds the text"
            raise UsageError(f"{table.label}.{column.name} is {column.type_sql}, not text", hint=hint)
        return column
    candidates = [column for column in table.columns if column.is_text and column not in key]
    named = [column for column in candidates if column.name.lower() in TEXT_NAMES]
    return _the_one(table, named if len(named) == 1 else candidates, "text", "text")


def _the_one(table: Table, candidates: Sequence[Column], setting: str, kind: str) -> Column:
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = ", ".join(column.name for column in candidates)
        raise UsageError(
            f"{table.label} has {len(candidates)} {kind} columns: {names}",
            hint=f'name one: {setting} = "{candidates[0].name}" in [store], or --{setting} of init',
        )
    others = ", ".join(f"{column.name} ({column.type_sql})" for column in table.columns)
    hint = f"its columns are {others}"
    if setting == "text":
        hint += "; a text inside another column is had by text_sql"
    raise UsageError(f"{table.label} has no {kind} column", hint=hint)


def _metadata(table: Table, settings: Settings, taken: set[str]) -> tuple[tuple[Column, ...], Column | None]:
    if settings.metadata is not None:
        columns = [table.column(name, "metadata") for name in settings.metadata]
    else:
        columns = [column for column in table.columns if column.name not in taken and column.base not in _NOT_METADATA]
    documents = [column for column in columns if column.is_json]
    if len(documents) > 1:
        documents = [column for column in documents if column.name.lower() in JSON_NAMES]
    document = documents[0] if len(documents) == 1 else None
    return tuple(column for column in columns if column is not document), document


def _indexes(table: Table, embedding: Column, settings: Settings) -> list[VectorIndex]:
    """The vector indexes on the column, or on an expression of it, with the metric that is asked for.

    Raises `UsageError` where none is asked for and they have several: which one the application searches by can't be seen.
    """
    named = re.compile(rf"(?<!\w){re.escape(embedding.name)}(?!\w)")
    covering = [
        i for i in table.vector_indexes if i.column_number == embedding.number or (not i.column_number and named.search(i.expression))
    ]
    metrics = sorted({str(i.metric) for i in covering if i.metric is not None})
    if settings.metric is None and len(metrics) > 1:
        raise UsageError(
            f"{table.label}.{embedding.name} has indexes of {len(metrics)} metrics: {', '.join(metrics)}",
            hint=f'say which one the application searches by: metric = "{metrics[0]}" in [store], or --metric of init',
        )
    return [i for i in covering if i.metric is not None and settings.metric in (None, i.metric)]


def _searched_by(index: VectorIndex, embedding: Column) -> bool:
    """Whether a search by the plain column, or by the cast that a column without a dimension needs, can use the index."""
    return bool(index.column_number) or (embedding.modifier < 0 and "halfvec" not in index.expression)


def _metric(table: Table, index: VectorIndex | None, indexes: Sequence[VectorIndex], settings: Settings) -> tuple[Metric, tuple[str, ...]]:
    warnings: list[str] = []
    if index is None and indexes:
        warnings.append(
            f"the index {indexes[0].schema}.{indexes[0].name} is on {indexes[0].expression}: vecmigrate searches v0 by the column itself,"
            " exactly, which is slow on a large table; v0's latency and recall in comparisons are not those of your readers"
        )
    if index is not None and not index.valid:
        warnings.append(
            f"the index {index.schema}.{index.name} is invalid: searches don't use it (REINDEX INDEX {index.schema}.{index.name};)"
        )
    if settings.metric is not None:
        return Metric(settings.metric), tuple(warnings)
    if indexes:
        return indexes[0].metric or Metric.COSINE, tuple(warnings)
    warnings.append(f'{table.label} has no vector index to tell the metric by: cosine is assumed (metric = "…" in [store] says otherwise)')
    return Metric.COSINE, tuple(warnings)
