"""Named SQL blocks from the `.sql` files beside this module, composed with identifiers by `psycopg.sql` alone.

-- name: pointer
-- why: readers call it for every query, so it is one row by primary key
SELECT active, previous, epoch FROM {schema}.collection WHERE name = %(collection)s
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from psycopg import sql

_BLOCK = re.compile(r"^-- name: (\w+)\n-- why: ([^\n]+)\n", re.MULTILINE)


@cache
def blocks(file: str) -> dict[str, str]:
    """The blocks of `sql/<file>.sql` by name."""
    text = files(__package__).joinpath("sql", f"{file}.sql").read_text(encoding="utf-8")
    marks = list(_BLOCK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[1]: text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)}


def statement(name: str, **parts: sql.Composable) -> sql.Composed:
    """`file.block` with its `{placeholders}` filled in; always execute it with parameters, even `{}`, for its `%%` to mean `%`."""
    file, _, block = name.partition(".")
    return sql.SQL(blocks(file)[block]).format(**parts)


def expression(text: str) -> sql.Composable:
    """An operator's SQL expression in parentheses of its own, so that neither a comment nor a `%` in it leaks out."""
    escaped = text.replace("%", "%%")
    return sql.SQL(f"(\n{escaped}\n)")


def literal_sql(text: str) -> sql.SQL:
    """SQL that this package made itself (type names from the catalog, operators)."""
    return sql.SQL(text.replace("%", "%%"))


def identifier(*names: str) -> sql.Identifier:
    """`"schema"."name"`, with `%` doubled because every statement is executed with parameters."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


def listed(parts: list[sql.Composable]) -> sql.Composable:
    """`a, b, c`."""
    return sql.SQL(", ").join(parts)
