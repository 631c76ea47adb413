"""Metadata filters in Chroma's `where` language, with the meaning that `vecmigrate.filters.matches` gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vecmigrate.filters import And, Compare, Eq, Filter, In, Or, Scalar

_OPERATORS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_INT64 = 2**63


def translate(condition: Filter | None) -> dict[str, Any] | None:
    """The `where` of this condition; None for no filter.

    Chroma wants one key per mapping, at least two parts in a group and one type in an `$in`; a number equals its integer
    and its float form there, and a boolean is no number, as with us.
    """
    match condition:
        case None:
            return None
        case Eq(name, value):
            return {name: {"$eq": _plain(value)}}
        case In(name, values):
            return _group("$or", [{name: {"$in": part}} for part in _by_type(values)])
        case Compare(name, operator, value):
            return {name: {_OPERATORS[operator]: _plain(value)}}
        case And(parts):
            return _group("$and", [translate(part) for part in parts])
        case Or(parts):
            return _group("$or", [translate(part) for part in parts])


def _group(operator: str, parts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    return parts[0] if len(parts) == 1 else {operator: list(parts)}


def _by_type(values: Sequence[Scalar]) -> list[list[Scalar]]:
    parts: dict[type, list[Scalar]] = {}
    for value in map(_plain, values):
        parts.setdefault(type(value), []).append(value)
    return list(parts.values())


def _plain(value: Scalar) -> Scalar:
    """Chroma's integers have 64 bits; a larger one is kept there as a float."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and not -_INT64 <= value < _INT64 else value
