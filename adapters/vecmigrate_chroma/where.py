"""Metadata filters in Chroma's `where` language, with the meaning that `vecmigrate.filters.matches` gives them.

Chroma compares a number with its integers and with its floats, but cuts a fraction off before it looks at the integers: 0 passes
`>= 0.5` there, and equals 0.5. So a fraction is put together with the whole numbers around it, which mends the integers:

    x > 0.5     x > 0.5  or   x >= 1            x < 0.5     x < 0.5  or   x <= 0
    x >= 0.5    x >= 0.5 and  x > 0             x <= 0.5    x <= 0.5 and  x < 1         x = 0.5    x = 0.5 and x > 0 and x < 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vecmigrate.filters import And, Compare, Eq, Filter, In, Or, Scalar

Where = dict[str, Any]

_OPERATORS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_INT64 = 2**63


def translate(condition: Filter | None) -> Where | None:
    """The `where` of this condition; None for no filter.

    Chroma wants one key per mapping, at least two parts in a group and one type in an `$in`.
    """
    return None if condition is None else _where(condition)


def _where(condition: Filter) -> Where:
    match condition:
        case Eq(name, value):
            return _equal(name, _plain(value))
        case In(name, values):
            return _among(name, [_plain(value) for value in values])
        case Compare(name, operator, value):
            return _compared(name, _OPERATORS[operator], _plain(value))
        case And(parts):
            return _group("$and", [_where(part) for part in parts])
        case Or(parts):
            return _group("$or", [_where(part) for part in parts])


def _equal(name: str, value: Scalar) -> Where:
    if not isinstance(value, float) or value.is_integer():
        return {name: {"$eq": value}}
    around = [{name: {"$gt": math.floor(value)}}, {name: {"$lt": math.ceil(value)}}]
    return {"$and": [{name: {"$eq": value}}, *around]}


def _among(name: str, values: Sequence[Scalar]) -> Where:
    by_type: dict[type, list[Scalar]] = {}
    fractions = [value for value in values if isinstance(value, float) and not value.is_integer()]
    for value in values:
        if value not in fractions:
            by_type.setdefault(type(value), []).append(value)
    return _group("$or", [{name: {"$in": part}} for part in by_type.values()] + [_equal(name, value) for value in fractions])


def _compared(name: str, operator: str, value: Any) -> Where:
    plain = {name: {operator: value}}
    if not isinstance(value, float) or value.is_integer() or not math.isfinite(value):
        return plain
    floor, ceiling = math.floor(value), math.ceil(value)
    match operator:
        case "$gt":
            return {"$or": [plain, {name: {"$gte": ceiling}}]}
        case "$lt":
            return {"$or": [plain, {name: {"$lte": floor}}]}
        case "$gte":
            return {"$and": [plain, {name: {"$gt": floor}}]}
        case _:
            return {"$and": [plain, {name: {"$lt": ceiling}}]}


def _group(operator: str, parts: Sequence[Where]) -> Where:
    return parts[0] if len(parts) == 1 else {operator: list(parts)}


def _plain(value: Scalar) -> Scalar:
    """As Chroma keeps it: integers have 64 bits there, a larger one is a float."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and not -_INT64 <= value < _INT64 else value
