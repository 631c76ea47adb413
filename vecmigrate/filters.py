"""Metadata filters: equality, membership, ranges, and/or. Each adapter translates them to its own language.

The written form is a JSON mapping, as in Chroma's `where`:

    {"lang": "en"}                                    equality
    {"lang": {"$in": ["en", "de"]}}                   membership
    {"year": {"$gte": 2020, "$lt": 2024}}             range
    {"$or": [{"lang": "en"}, {"year": 2024}]}         or, and "$and" likewise; several keys together mean and
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vecmigrate.errors import UsageError

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Eq:
    """`field` equals `value`."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """`field` is one of `values`."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """`field` `operator` `value`, where the operator is one of `>`, `>=`, `<`, `<=`."""

    field: str
    operator: str
    value: int | float


@dataclass(frozen=True, slots=True)
class And:
    """Every one of `parts` holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of `parts` holds."""

    parts: tuple[Filter, ...]


Filter = Eq | In | Compare | And | Or

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_OPERATORS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def parse_filter(where: Mapping[str, Any] | None) -> Filter | None:
    """Read the written form; `None` and `{}` mean no filter. Raises `UsageError` naming what it can't read."""
    if not where:
        return None
    if not isinstance(where, Mapping):
        raise UsageError(f"a filter is a mapping, not {where!r}", hint='like {"lang": "en", "year": {"$gte": 2024}}')
    return _all([_entry(key, value) for key, value in where.items()])


def matches(condition: Filter | None, metadata: Mapping[str, Any]) -> bool:
    """Whether `metadata` passes; a missing or non-numeric field fails every comparison."""
    match condition:
        case None:
            return True
        case Eq(name, value):
            return name in metadata and _same(metadata[name], value)
        case In(name, values):
            return name in metadata and any(_same(metadata[name], v) for v in values)
        case Compare(name, operator, value):
            found = metadata.get(name)
            return _number(found) and COMPARISONS[operator](found, value)
        case And(parts):
            return all(matches(p, metadata) for p in parts)
        case Or(parts):
            return any(matches(p, metadata) for p in parts)


def _same(found: Any, wanted: Scalar) -> bool:
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _storable(value: float) -> bool:
    """Whether a store can hold the number: not NaN, not infinite, no integer beyond what a float reaches."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _entry(key: str, value: Any) -> Filter:
    if key in ("$and", "$or"):
        return _group(key, value)
    if key.startswith("$"):
        raise UsageError(f"filter operator {key!r} is unknown here", hint="use $and, $or, or a field's name")
    if not isinstance(value, Mapping):
        return Eq(key, _scalar(key, value))
    if not value:
        raise UsageError(f"filter on {key!r} is empty", hint='write {"%s": value}' % key)
    return _all([_condition(key, op, operand) for op, operand in value.items()])


def _group(key: str, value: Any) -> Filter:
    if not isinstance(value, list) or not value or not all(isinstance(v, Mapping) and v for v in value):
        raise UsageError(f"filter {key} needs a non-empty list of filters", hint='like {"$or": [{"a": 1}, {"b": 2}]}')
    parts = tuple(p for p in (parse_filter(v) for v in value) if p is not None)
    return And(parts) if key == "$and" else Or(parts)


def _condition(name: str, operator: str, operand: Any) -> Filter:
    if operator == "$eq":
        return Eq(name, _scalar(name, operand))
    if operator == "$in" and isinstance(operand, list) and operand:
        return In(name, tuple(_scalar(name, v) for v in operand))
    if operator in _OPERATORS and _number(operand) and _storable(operand):
        return Compare(name, _OPERATORS[operator], operand)
    raise UsageError(
        f"filter on {name!r}: {operator} {operand!r} cannot be read",
        hint="operators are $eq, $in (a non-empty list), $gt, $gte, $lt, $lte (numbers)",
    )


def _scalar(name: str, value: Any) -> Scalar:
    if isinstance(value, str | bool) or (_number(value) and _storable(value)):
        return value  # type: ignore[no-any-return]  # a Scalar by now
    raise UsageError(f"filter on {name!r}: {value!r} is neither text, a finite number nor boolean", hint="compare with one plain value")
