"""A row of a log, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `line` counts from 1, in lines for text files and in rows for the others; `file` is named where there are several."""

    line: int
    values: Mapping[str, Any]
    file: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that was passed over, and why."""

    line: int
    why: str


def json_kind(value: Any) -> str:
    """What JSON calls a value that is no object."""
    return {list: "array", str: "string", type(None): "null", bool: "boolean"}.get(type(value), "number")
