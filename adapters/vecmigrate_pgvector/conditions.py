"""Metadata filters as SQL over the source's fields, with the meaning of `vecmigrate.filters.matches`.

A field is a column (`f0`, …) or a key of the JSON column (`j`). Text, integer, boolean and double columns are compared as such, so
that their indexes serve; all else is compared by its JSON value, as the chunk's metadata shows it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from vecmigrate.filters import And, Compare, Eq, Filter, In, Or, Scalar
from vecmigrate_pgvector.catalog import Column
from vecmigrate_pgvector.layout import Layout
from vecmigrate_pgvector.statements import literal_sql

_TEXTS = ("text", "varchar")
_INTEGERS = ("int2", "int4", "int8")
_FALSE = sql.SQL("false")
_BIGGEST = 2**63 - 1


@dataclass(slots=True)
class Condition:
    """The SQL of a filter and its parameters (`c0`, `c1`, …)."""

    layout: Layout
    parameters: dict[str, Any] = field(default_factory=dict)

    def compile(self, condition: Filter | None) -> sql.Composable:
        """The SQL; values go to `parameters`."""
        match condition:
            case None:
                return sql.SQL("true")
            case Eq(name, value):
                return self._equal(name, value)
            case In(name, values):
                return _joined("OR", [self._equal(name, value) for value in values])
            case Compare(name, operator, value):
                return self._compare(name, operator, value)
            case And(parts):
                return _joined("AND", [self.compile(part) for part in parts])
            case Or(parts):
                return _joined("OR", [self.compile(part) for part in parts])

    def _equal(self, name: str, value: Scalar) -> sql.Composable:
        if isinstance(value, str) and not _storable(value):
            return _FALSE
        found = self._column(name)
        if found is None:
            return self._equal_in_document(name, value)
        alias, column = found
        if isinstance(value, str):
            typed = "text" if column.base in _TEXTS else None
        elif isinstance(value, bool):
            typed = "bool" if column.base == "bool" else None
        else:
            typed = _number_type(column, value)
        if typed is not None:
            kept = int(value) if typed == "bigint" else value
            return sql.SQL("({} = {}::{})").format(alias, self._parameter(kept), literal_sql(typed))
        return sql.SQL("(to_jsonb({}) = {}::jsonb)").format(alias, self._json(value))

    def _equal_in_document(self, name: str, value: Scalar) -> sql.Composable:
        if self.layout.document is None or not _storable(name):
            return _FALSE
        return sql.SQL("(s.j @> {}::jsonb)").format(self._json({name: value}))

    def _compare(self, name: str, operator: str, value: int | float) -> sql.Composable:
        found = self._column(name)
        if found is not None and found[1].base in _INTEGERS:
            typed = "bigint" if _whole(value) else "numeric"
            return sql.SQL("({} {} {}::text::{})").format(
                found[0], literal_sql(operator), self._parameter(_decimal(value)), literal_sql(typed)
            )
        if found is not None:
            json_value: sql.Composable = sql.SQL("to_jsonb({})").format(found[0])
        elif self.layout.document is None or not _storable(name):
            return _FALSE
        else:
            json_value = sql.SQL("(s.j -> {}::text)").format(self._parameter(name))
        return sql.SQL("(CASE WHEN jsonb_typeof({0}) = 'number' THEN ({0})::numeric {1} {2}::text::numeric ELSE false END)").format(
            json_value, literal_sql(operator), self._parameter(_decimal(value))
        )

    def _column(self, name: str) -> tuple[sql.Composable, Column] | None:
        for i, column in enumerate(self.layout.fields):
            if column.name == name:
                return literal_sql(f"s.f{i}"), column
        return None

    def _json(self, value: Any) -> sql.Composable:
        return self._parameter(json.dumps(value, ensure_ascii=False))

    def _parameter(self, value: Any) -> sql.Composable:
        name = f"c{len(self.parameters)}"
        self.parameters[name] = value
        return sql.Placeholder(name)


def _number_type(column: Column, value: int | float) -> str | None:
    if column.base in _INTEGERS and _whole(value):
        return "bigint"
    return "float8" if column.base == "float8" and isinstance(value, float) else None


def _whole(value: int | float) -> bool:
    return (isinstance(value, int) or value.is_integer()) and abs(value) <= _BIGGEST


def _decimal(value: int | float) -> str:
    """What PostgreSQL reads as the same number: `inf` and `nan` have other names there."""
    text = str(int(value)) if _whole(value) else repr(value)
    return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(text, text)


def _joined(word: str, parts: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(literal_sql(f" {word} ").join(parts))


def _storable(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
