"""One cell of a log row to the value it means: references, times, ratings. Every function raises `ValueError` saying what it met."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

ID_KEYS = ("id", "object_id", "chunk_id", "document_id", "doc_id", "docid", "ref")
"""Where a reference that is an object keeps its id; the first that is there counts."""

EARLIEST_YEAR = 1990
LATEST_YEAR = 2199

_RATING_KEYS = ("rating", "value", "grade", "score")
_SURROGATE = re.compile("[\ud800-\udfff]")
_POSTGRES_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?\d{9,}(\.\d*)?")


def clean(text: str) -> str:
    """Without NUL bytes and lone surrogates, which no store and no file can hold."""
    return _SURROGATE.sub("\ufffd", text.replace("\x00", ""))


def reference(value: Any) -> str:
    """The canonical text of an id; empty for null. A list is a composite key and becomes the JSON array of its parts' texts."""
    match value:
        case None:
            return ""
        case bool() | bytes():
            raise ValueError(f"{_shown(value)} is not an id")
        case str():
            text = clean(value).strip()
            return _composite_of_text(text) or text
        case float() | Decimal():
            return _whole(value)
        case int() | UUID() | date():
            return str(value)
        case list() | tuple():
            return _composite(value)
        case Mapping():
            return reference(_first(value, ID_KEYS, "id"))
    raise ValueError(f"{_shown(value)} is not an id")


def _composite(parts: Iterable[Any]) -> str:
    """As the stores write the id of a key of several columns."""
    return json.dumps([reference(part) for part in parts], ensure_ascii=False, separators=(",", ":"))


def _composite_of_text(text: str) -> str:
    """The same of a JSON array of several texts and numbers; empty for any other text."""
    parts = _json_list(text) if text.startswith("[") else None
    if (
        not isinstance(parts, list)
        or len(parts) < 2
        or not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts)
    ):
        return ""
    return _composite(parts)


def references(value: Any, *, split: bool = True) -> tuple[str, ...]:
    """The references of an `_ids` cell: a list, or text that is a JSON array, a PostgreSQL array or comma-separated.

    `split=False` takes plain text as one reference, for logs whose references are the chunks' own texts.
    """
    if isinstance(value, str):
        value = _listed(value, split=split)
    if isinstance(value, Mapping):
        raise ValueError(f"expected a list of ids, not {_shown(value)}")
    items = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return tuple(ref for ref in (reference(item) for item in items) if ref)


def ratings(value: Any, shown: Sequence[str] = ()) -> tuple[tuple[str, float], ...]:
    """(reference, rating) pairs of a mapping or of a list of `{"id": …, "rating": …}`, either also as JSON text.

    A bare number rates the one result that was `shown`; so do several bare numbers, by their mean.
    """
    if isinstance(value, str):
        value = json.loads(value) if value.strip() else None
    if value is None or value == []:
        return ()
    bare = value if isinstance(value, list | tuple) else [value]
    if all(isinstance(number, int | float | Decimal) for number in bare):
        if len(shown) != 1:
            raise ValueError(f"a bare number needs one id in query_response_hit_ids, and there are {len(shown)}")
        return ((shown[0], rating(sum(map(rating, bare)) / len(bare))),)
    if isinstance(value, Mapping) and _RATED.isdisjoint(value):
        return tuple(_rated((key, number)) for key, number in value.items() if number is not None)
    return tuple(_rated(item) for item in (value if isinstance(value, list | tuple) else [value]))


_RATED = frozenset(_RATING_KEYS)


def rating(value: Any) -> float:
    """A finite number, from a number, its text or a boolean."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{_shown(value)} is not a rating") from None
    if not math.isfinite(number):
        raise ValueError(f"{_shown(value)} is not a rating")
    return number


def moment(value: Any) -> tuple[datetime | None, bool]:
    """The time in UTC, and whether its zone had to be assumed. Reads ISO 8601, epoch in s, ms, µs or ns, and datetime objects."""
    match value:
        case None:
            return None, False
        case str() if not value.strip():
            return None, False
        case str():
            found = _written(value.strip())
        case datetime():
            found = value
        case date():
            found = datetime(value.year, value.month, value.day)
        case bool():
            raise ValueError(f"{value} is not a time")
        case float() | Decimal() if math.isnan(value):
            return None, False
        case int() | float() | Decimal():
            found = _epoch(value)
        case _:
            raise ValueError(f"{_shown(value)} is not a time")
    if not EARLIEST_YEAR <= found.year <= LATEST_YEAR:
        raise ValueError(f"{_shown(value)} is not a time between {EARLIEST_YEAR} and {LATEST_YEAR}")
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC), found.tzinfo is None


def _written(text: str) -> datetime:
    if _NUMBER.fullmatch(text):
        return _epoch(Decimal(text))
    try:
        return datetime.fromisoformat(text.removesuffix("UTC").rstrip() + ("Z" if text.endswith("UTC") else ""))
    except (ValueError, OverflowError):
        raise ValueError(f"{_shown(text)} is not a time; expected ISO 8601 or epoch seconds") from None


def _epoch(number: float | Decimal) -> datetime:
    for limit, divisor in ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9)):
        if 0 < number < limit:
            return _EPOCH + timedelta(seconds=float(number) / divisor)
    raise ValueError(f"{_shown(number)} is not a time; expected epoch seconds or milliseconds")


def _rated(item: Any) -> tuple[str, float]:
    if isinstance(item, Mapping):
        ref, number = reference(item), _first(item, _RATING_KEYS, "rating")
    elif isinstance(item, list | tuple) and len(item) == 2:
        ref, number = reference(item[0]), item[1]
    else:
        raise ValueError(f'{_shown(item)} is not a rating; expected {{"id": …, "rating": …}}')
    if not ref:
        raise ValueError("a rating without an id")
    return ref, rating(number)


def _first(item: Mapping[str, Any], keys: Iterable[str], what: str) -> Any:
    for key in keys:
        if item.get(key) is not None:
            return item[key]
    raise ValueError(f"{_shown(item)} has no {what}; expected the key {next(iter(keys))!r}")


def _listed(text: str, *, split: bool) -> Any:
    stripped = text.strip()
    if stripped.startswith("[") and (parsed := _json_list(stripped)) is not None:
        return parsed
    if not split:
        return [text]
    if stripped.startswith("{") and stripped.endswith("}"):
        return _postgres_array(stripped)
    return stripped.split(",")


def _json_list(text: str) -> Any:
    """What the JSON says; None for an id, or a text, that merely begins with a bracket."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _postgres_array(text: str) -> list[str | None]:
    inner = text[1:-1].strip()
    found: list[str | None] = []
    place = 0
    while place < len(inner):
        match = _POSTGRES_ELEMENT.match(inner, place)
        if match is None or inner[match.end() : match.end() + 1] not in ("", ","):
            raise ValueError(f"{_shown(text)} is not an array of ids")
        quoted, bare = match.groups()
        found.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else None if bare == "NULL" else bare)
        place = match.end() + 1
    return found


def _whole(number: float | Decimal) -> str:
    if not math.isfinite(number):
        return ""
    if number != int(number):
        raise ValueError(f"{number} is not an id")
    return str(int(number))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
