"""The search of a version as plain SQL text with `$1` (vector) and `$2` (k), which the SQL function `vecmigrate.search` executes."""

from __future__ import annotations

import re

from psycopg import sql

from vecmigrate.versions import IndexVersion, Metric
from vecmigrate_pgvector.fragments import Fragments
from vecmigrate_pgvector.statements import literal_sql, statement

_MARKS = re.compile(r"%%|%\(query\)s")


def search_text(fragments: Fragments, version: IndexVersion) -> str:
    """`SELECT id, score …`: rows as `Searcher` finds them without a filter, best first, ties by id."""
    parts: dict[str, sql.Composable] = {
        "id": fragments.id("s"),
        "source": fragments.source,
        "operator": fragments.operator(version.metric),
        "inexact": sql.SQL(""),
        "tie": sql.SQL(""),
        "filter": sql.SQL("true"),
        "k": sql.SQL("$2"),
    }
    if version.holder > 0:
        found = statement("search.side", side=fragments.side(version), on=fragments.on("s", "v"), **parts)
    else:
        vector, dimension = fragments.control_vector(version), fragments.control_dimension(version)
        found = statement("search.control", vector=vector, dimension=dimension, **parts)
    score = "1 - d" if version.metric is Metric.COSINE else "-d"
    whole = sql.SQL("SELECT id, {} FROM ({}) AS found").format(literal_sql(score), found)
    query = f"$1::{fragments.vector_type(version.element, version.model.dimension).as_string()}"
    return _MARKS.sub(lambda mark: "%" if mark[0] == "%%" else query, whole.as_string())
