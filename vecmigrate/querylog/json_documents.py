"""JSON that isn't one object a line: a large array, or an object over many lines, read an element at a time.

A broken element is a `Problem` and the next one is looked for where a line begins as the first element's did.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from vecmigrate.querylog.row import Problem, Row, json_kind

LONGEST_ELEMENT = 64 * 1024 * 1024
"""Characters; a longer element is passed over."""

_BLOCK = 1 << 20
_BETWEEN = re.compile(r"[\s,\[\]]*")
_NEAR_THE_END = 16
"""Characters: an error this near to what has been read so far may only mean that there is more."""
_WRAPPED = "data"
_BESIDE = frozenset({"meta", "pagination", "next_cursor", "has_more", "total", "limit", "page", "object"})


def is_document(path: Path) -> bool:
    """Whether the file is an array, or an object that goes on over lines. An array on a line of its own before others is a line."""
    with path.open("rb") as file:
        lines = (line.removeprefix(codecs.BOM_UTF8).strip() for line in iter(lambda: file.readline(_BLOCK), b""))
        filled = (line for line in lines if line)
        first = next(filled, b"")
        return first == b"{" or (first.startswith(b"[") and not (_is_whole(first) and next(filled, None)))


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def document_rows(path: Path) -> Iterator[Row | Problem]:
    """The objects of the file in their order, with the line on which each begins. Memory of one element, twice."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for found in _Elements(file):
            if isinstance(found, Problem):
                yield found
            elif isinstance(found[1], dict):
                yield from (Row(found[0], values) for values in _unwrapped(found[1]))
            else:
                yield Problem(found[0], f"a JSON {json_kind(found[1])}, expected an object")


def _unwrapped(values: dict[str, Any]) -> list[Mapping[str, Any]]:
    """A page of an API's answer gives its rows; any other object is one."""
    inner = values.get(_WRAPPED)
    if isinstance(inner, list) and values.keys() - {_WRAPPED} <= _BESIDE:
        return [item for item in inner if isinstance(item, Mapping)]
    return [values]


class _Elements:
    """The values at the top of a text, or in an array at its top, with their lines."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._text = ""
        self._place = 0
        self._line = 1
        self._resume = re.compile(r"\n[ \t]*\{")

    def __iter__(self) -> Iterator[tuple[int, Any] | Problem]:
        first = True
        while self._skip_between():
            if first:
                indent = self._place - (self._text.rfind("\n", 0, self._place) + 1)
                self._resume, first = re.compile(rf"\n[ \t\[,]{{0,{indent}}}\{{"), False
            line = self._line
            try:
                yield line, self._next()
            except (ValueError, RecursionError) as error:
                yield Problem(line, f"not JSON: {error.msg}" if isinstance(error, json.JSONDecodeError) else "not JSON that can be read")
                self._skip_broken()

    def _skip_between(self) -> bool:
        while True:
            match = _BETWEEN.match(self._text, self._place)
            self._move(match.end() if match else self._place)
            if self._place < len(self._text):
                return True
            if not self._more():
                return False

    def _next(self) -> Any:
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _NEAR_THE_END
                if not (cut and len(self._text) - self._place < LONGEST_ELEMENT and self._more()):
                    raise
                continue
            self._move(end)
            return value

    def _skip_broken(self) -> None:
        while not (match := self._resume.search(self._text, self._place)):
            self._move(max(self._place, len(self._text) - 256))
            if not self._more():
                self._move(len(self._text))
                return
        self._move(match.end() - 1)

    def _move(self, place: int) -> None:
        self._line += self._text.count("\n", self._place, place)
        self._place = place

    def _more(self) -> bool:
        """Read as much again as is waiting, so that a large element is tried a few times only."""
        waiting = self._text[self._place :]
        new = self._file.read(max(_BLOCK, len(waiting)))
        self._text, self._place = waiting + new, 0
        return bool(new)
