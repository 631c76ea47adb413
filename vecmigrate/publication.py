"""A version under the application's own name, for applications that can't change: what a store must say and do for that.

Publishing is never atomic. It is for a maintenance window, with the applications stopped, and has an undo that loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion

Encode = Callable[[Sequence[str]], Vectors]
"""Texts in, vectors of shape (len(texts), dimension) out."""


class Access(StrEnum):
    """How an application finds the collection, which decides whether a new one under the old name reaches it."""

    BY_NAME = "by name"
    """Looks it up by name for each query: it follows."""
    HANDLE = "by a handle"
    """Looks it up once and keeps it: it goes on reading the old one, without an error."""
    CREATES = "get or create"
    """Makes the collection anew when it isn't there: in the gap it makes an empty one."""
    UNKNOWN = "unknown"
    """Nothing shows."""


@dataclass(frozen=True, slots=True)
class Client:
    """The application that a collection looks like. `sign` is what shows it."""

    name: str
    access: Access
    sign: str


@dataclass(frozen=True, slots=True)
class Published:
    """What was done. `rows` are those under the name now; `gap` is for how many seconds the name led nowhere; `brought` and `removed` are
    rows that were written or deleted on the other side meanwhile and were taken over. `overruled` names rows that had changed on both sides,
    of which what was written under the name was kept: at most 20.
    """

    rows: int
    gap: float
    brought: int = 0
    removed: int = 0
    changed: bool = True
    overruled: tuple[str, ...] = ()


@runtime_checkable
class Publishes(Protocol):
    """A store that can put a version under the application's own name."""

    def published(self) -> int | None:
        """The number of the version that is under the application's name; None when the application's own vectors are."""
        ...

    def client(self) -> Client:
        """The application that the collection looks like."""
        ...

    def publish(self, version: IndexVersion, encode: Encode, *, actor: str) -> Published:
        """Put a copy of `version` under the application's name, and the application's own collection aside. Run again after a kill, it
        goes on. Raises `PreflightRefused` when somebody writes while it is copied: then all is as before. What is written to the
        application's own collection after that, by a handle that was held, is taken over; `encode` makes its vectors.
        """
        ...

    def unpublish(self, encode: Encode, *, actor: str, allow_mass_deletion: bool = False) -> Published:
        """Put the application's own collection back, with what was written meanwhile; `encode` makes its vectors."""
        ...
