"""Chunk ids and keys: an id is the key's text as PostgreSQL writes it, a composite one the compact JSON array of the parts' texts."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from vecmigrate.errors import DataError

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyedIds:
    """Ids that could be keys, with the parts of each as columns: `columns[part][row]`."""

    ids: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    def halves(self) -> tuple[KeyedIds, KeyedIds]:
        """The first and the second half."""
        cut = len(self.ids) // 2
        first = KeyedIds(self.ids[:cut], tuple(column[:cut] for column in self.columns))
        return first, KeyedIds(self.ids[cut:], tuple(column[cut:] for column in self.columns))

    @property
    def parameters(self) -> dict[str, list[str]]:
        """`part0`, `part1`, … for `Fragments.wanted`."""
        return {f"part{i}": list(column) for i, column in enumerate(self.columns)}


def join_id(parts: Sequence[str]) -> str:
    """The id of a key, the same text that the server builds."""
    return parts[0] if len(parts) == 1 else json.dumps(list(parts), ensure_ascii=False, separators=(",", ":"))


def split_id(chunk_id: str, width: int) -> Parts | None:
    """The parts of an id, or None when it can't be a key of `width` columns."""
    if "\0" in chunk_id or not _encodable(chunk_id):
        return None
    if width == 1:
        return (chunk_id,)
    try:
        parts = json.loads(chunk_id)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parts, list) or len(parts) != width or not all(isinstance(part, str) for part in parts):
        return None
    found = tuple(parts)
    return found if join_id(found) == chunk_id and "\0" not in "".join(found) and _encodable("".join(found)) else None


def keyed(ids: Sequence[str], bases: Sequence[str]) -> KeyedIds:
    """The distinct ids that can be keys of these types, as far as is known here; the others are left out."""
    width = len(bases)
    encoders = [_ENCODERS.get(base, _ENCODERS["text"]) for base in bases]
    found = {chunk_id: split_id(chunk_id, width) for chunk_id in ids}
    kept = {chunk_id: parts for chunk_id, parts in found.items() if parts is not None and _fits(parts, encoders)}
    return KeyedIds(tuple(kept), tuple(tuple(parts[i] for parts in kept.values()) for i in range(width)))


def _fits(parts: Parts, encoders: Sequence[Callable[[str], bytes]]) -> bool:
    try:
        key_fields([parts], encoders)
    except DataError:
        return False
    return True


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sized(payload: bytes) -> bytes:
    return struct.pack("!i", len(payload)) + payload


def _integer(layout: str) -> Callable[[str], bytes]:
    pack = struct.Struct("!i" + layout)
    size = pack.size - 4
    return lambda text: pack.pack(size, int(text))


_ENCODERS: Mapping[str, Callable[[str], bytes]] = {
    "int2": _integer("h"),
    "int4": _integer("i"),
    "int8": _integer("q"),
    "uuid": lambda text: _sized(UUID(text).bytes),
    "text": lambda text: _sized(text.encode()),
    "varchar": lambda text: _sized(text.encode()),
}


def binary_encoders(bases: Sequence[str]) -> tuple[Callable[[str], bytes], ...] | None:
    """For each key type what makes its COPY BINARY field (length and payload), or None when one is not known here."""
    found = tuple(_ENCODERS.get(base) for base in bases)
    known = tuple(encoder for encoder in found if encoder is not None)
    return known if len(known) == len(found) else None


def text_encoders(width: int) -> tuple[Callable[[str], bytes], ...]:
    """The same for a staging table, whose key columns are all text."""
    return (_ENCODERS["text"],) * width


def key_fields(parts: Sequence[Parts], encoders: Sequence[Callable[[str], bytes]]) -> list[bytes]:
    """The key fields of each row. Raises `DataError` for an id that is no key of these types."""
    try:
        if len(encoders) == 1:
            encode = encoders[0]
            return [encode(row[0]) for row in parts]
        return [b"".join([encode(part) for encode, part in zip(encoders, row, strict=True)]) for row in parts]
    except (ValueError, struct.error, OverflowError) as error:
        raise DataError(f"a chunk's id is no key of this table: {error}", hint="load only chunks that pending yielded") from error
