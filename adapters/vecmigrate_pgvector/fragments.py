"""The SQL pieces that every statement on a collection is built from: the source as a subquery, keys, ids, joins.

The source is always `(SELECT key AS k0, …, text AS t, vector AS e, metadata AS m, fields AS f0, … FROM table WHERE filter) AS s`, a side
table always `side AS v(k0, …, h, e)`: the operator's expressions see the table's own names, and ours can't collide with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg import sql

from vecmigrate.versions import Element, IndexVersion, Metric
from vecmigrate_pgvector.catalog import Column
from vecmigrate_pgvector.layout import Layout
from vecmigrate_pgvector.statements import expression, identifier, listed, literal_sql

_OPERATORS = {Metric.COSINE: "<=>", Metric.INNER_PRODUCT: "<#>", Metric.L2: "<->"}
_OPCLASSES = {Metric.COSINE: "cosine_ops", Metric.INNER_PRODUCT: "ip_ops", Metric.L2: "l2_ops"}
_TYPES = {Element.FLOAT32: "vector", Element.FLOAT16: "halfvec"}
_RESERVED = ("text_hash", "embedding")
_PAIRS_AT_ONCE = 40
"""A function takes at most 100 arguments."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """The pieces for one layout. `state_schema` is where side tables are."""

    layout: Layout
    state_schema: str
    source: sql.Composable = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", _source(self.layout))

    @property
    def _numbers(self) -> range:
        return range(len(self.layout.key))

    def keys(self, alias: str) -> sql.Composable:
        """`s.k0, s.k1`."""
        return listed([literal_sql(f"{alias}.k{i}") for i in self._numbers])

    def key_texts(self, alias: str) -> sql.Composable:
        """`s.k0::text, s.k1::text`: the parts of the id."""
        return listed([literal_sql(f"{alias}.k{i}::text") for i in self._numbers])

    def id(self, alias: str) -> sql.Composable:
        """The chunk's id: the key's text, or the compact JSON array of the parts' texts."""
        if len(self.layout.key) == 1:
            return literal_sql(f"{alias}.k0::text")
        parts = " || ',' || ".join(f"to_json({alias}.k{i}::text)::text" for i in self._numbers)
        return literal_sql(f"('[' || {parts} || ']')")

    def on(self, left: str, right: str) -> sql.Composable:
        """Equality of the keys."""
        return literal_sql(" AND ".join(f"{left}.k{i} = {right}.k{i}" for i in self._numbers))

    def side_on_wanted(self) -> sql.Composable:
        """`on_wanted` with a side table's own column names: a DELETE can't rename columns."""
        names = [identifier(name) for name in self.side_names()]
        return sql.SQL(" AND ").join(
            sql.SQL("v.{0} = {1} AND v.{0}::text = {2}").format(name, literal_sql(f"w.k{i}"), literal_sql(f"w.p{i}"))
            for i, name in enumerate(names)
        )

    def beyond(self, alias: str) -> sql.Composable:
        """Whether a row comes after the key in parameters `after0`, …, in key order."""
        names = sql.SQL(", ").join(sql.SQL("{}::text::{}").format(sql.Placeholder(f"after{i}"), self.key_type(i)) for i in self._numbers)
        return sql.SQL("({}) > ({})").format(self.keys(alias), names)

    def wanted(self) -> sql.Composable:
        """The ids in parameters `part0`, … (arrays of text) as rows `w(k0, …, p0, …)`: as the key's types, and as they were written."""
        arrays = listed([sql.SQL("{}::text[]").format(sql.Placeholder(f"part{i}")) for i in self._numbers])
        casts = listed([sql.SQL("p{}::{} AS k{}").format(sql.SQL(_digit(i)), self.key_type(i), sql.SQL(_digit(i))) for i in self._numbers])
        names = literal_sql(", ".join(f"p{i}" for i in self._numbers))
        return sql.SQL("(SELECT {0}, {2} FROM unnest({1}) AS u({2})) AS w").format(casts, arrays, names)

    def on_wanted(self, alias: str) -> sql.Composable:
        """Equality with `wanted`, by key for the index's sake and by text: `007` is not the id of key 7."""
        same = literal_sql(" AND ".join(f"{alias}.k{i}::text = w.p{i}" for i in self._numbers))
        return sql.SQL("{} AND {}").format(self.on(alias, "w"), same)

    def key_type(self, i: int) -> sql.Composable:
        """The declared type of the i-th key column."""
        return literal_sql(self.layout.key[i].type_sql)

    def side_names(self) -> list[str]:
        """What the key columns are called in side tables: as in the source, unless that is taken."""
        return [f"key_{i}" if column.name in _RESERVED else column.name for i, column in enumerate(self.layout.key)]

    def side_keys(self) -> sql.Composable:
        """The key columns of a side table, quoted."""
        return listed([identifier(name) for name in self.side_names()])

    def side_definition(self) -> sql.Composable:
        """The key columns with types and collations, for CREATE TABLE."""
        return listed([_definition(name, column) for name, column in zip(self.side_names(), self.layout.key, strict=True)])

    def side_table(self, version: IndexVersion) -> sql.Composable:
        """The qualified name of a version's side table."""
        return identifier(self.state_schema, side_name(version))

    def quoted(self, name: str) -> str:
        """The qualified name of one of our relations as text, for `to_regclass`: all parts are plain lower-case names."""
        return f"{self.state_schema}.{name}"

    def side(self, version: IndexVersion) -> sql.Composable:
        """The side table as `v(k0, …, h, e)`."""
        names = literal_sql(", ".join([*(f"k{i}" for i in self._numbers), "h", "e"]))
        return sql.SQL("{} AS v({})").format(self.side_table(version), names)

    def vector_type(self, element: Element, dimension: int | None = None) -> sql.Composable:
        """`ext.vector(384)`."""
        name = identifier(self.layout.extension.schema, _TYPES[element])
        return name if dimension is None else sql.SQL("{}({})").format(name, sql.Literal(dimension))

    def operator(self, metric: Metric) -> sql.Composable:
        """The distance operator, found whatever the search path."""
        return sql.SQL("OPERATOR({}.{})").format(identifier(self.layout.extension.schema), literal_sql(_OPERATORS[metric]))

    def opclass(self, metric: Metric, element: Element) -> sql.Composable:
        """The index's operator class."""
        return identifier(self.layout.extension.schema, f"{_TYPES[element]}_{_OPCLASSES[metric]}")

    def function(self, name: str) -> sql.Composable:
        """A function of the extension."""
        return identifier(self.layout.extension.schema, name)

    def control_vector(self, version: IndexVersion) -> sql.Composable:
        """v0's vector expression, as an index on a column without a declared dimension has it."""
        if self.layout.dimension is not None:
            return sql.SQL("s.e")
        return sql.SQL("s.e::{}").format(self.vector_type(version.element, version.model.dimension))

    def control_dimension(self, version: IndexVersion) -> sql.Composable:
        """A condition that keeps vectors of other dimensions out."""
        if self.layout.dimension is not None:
            return sql.SQL("true")
        dims = self.function("vector_dims")
        return sql.SQL("{}(s.e) = {}").format(dims, sql.Literal(version.model.dimension))


def side_name(version: IndexVersion) -> str:
    """`docs_v2`: the table that has the vectors, which may be another version's."""
    return f"{version.collection}_v{version.holder}"


def index_name(version: IndexVersion) -> str:
    """`docs_v2_embedding_idx`."""
    return f"{side_name(version)}_embedding_idx"


def _digit(i: int) -> str:
    return str(i)


def _definition(name: str, column: Column) -> sql.Composable:
    collation = literal_sql(f" COLLATE {column.collation}" if column.collation else "")
    return sql.SQL("{} {}{} NOT NULL").format(identifier(name), literal_sql(column.type_sql), collation)


def _source(layout: Layout) -> sql.Composable:
    parts: list[sql.Composable] = [_named(identifier(column.name), f"k{i}") for i, column in enumerate(layout.key)]
    text = expression(layout.text_sql) if layout.text_sql is not None else identifier(layout.text.name if layout.text else "")
    parts.append(_named(sql.SQL("{}::text").format(text), "t"))
    parts.append(_named(identifier(layout.embedding.name), "e"))
    parts.append(_named(_metadata(layout), "m"))
    parts += [_named(identifier(column.name), f"f{i}") for i, column in enumerate(layout.fields)]
    if layout.document is not None:
        parts.append(_named(sql.SQL("{}::jsonb").format(identifier(layout.document.name)), "j"))
    table = identifier(layout.table.schema, layout.table.name)
    where = expression(layout.where) if layout.where is not None else sql.SQL("true")
    return sql.SQL("(SELECT {} FROM {} WHERE {}) AS s").format(listed(parts), table, where)


def _named(part: sql.Composable, name: str) -> sql.Composable:
    return sql.SQL("{} AS {}").format(part, literal_sql(name))


def _metadata(layout: Layout) -> sql.Composable:
    parts: list[sql.Composable] = []
    if layout.document is not None:
        name = identifier(layout.document.name)
        parts.append(sql.SQL("CASE WHEN jsonb_typeof({0}::jsonb) = 'object' THEN {0}::jsonb ELSE '{{}}'::jsonb END").format(name))
    starts = range(0, len(layout.fields), _PAIRS_AT_ONCE)
    parts += [_built(layout.fields[start : start + _PAIRS_AT_ONCE]) for start in starts]
    return sql.SQL("({})").format(sql.SQL(" || ").join(parts)) if parts else sql.SQL("'{}'::jsonb")


def _built(columns: tuple[Column, ...]) -> sql.Composable:
    pairs = [sql.SQL("{}::text, {}").format(sql.Literal(c.name.replace("%", "%%")), identifier(c.name)) for c in columns]
    return sql.SQL("jsonb_build_object({})").format(listed(list(pairs)))
