"""A store's stand-in for the client that applications of this database use, and what it needs from the rest of vecmigrate.

    application ─► stand-in (of the adapter) ─► Live: which version serves, its model, every maintained version kept current

So an adapter offers its database's own interface and knows neither models nor how a version is brought up to date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from vecmigrate.store import Vectors
from vecmigrate.versions import IndexVersion, Pointer


@dataclass(frozen=True, slots=True)
class Serving:
    """The version that serves. `age` is how many seconds ago the pointer was read: 0 when it was read for this request."""

    pointer: Pointer
    version: IndexVersion
    age: float = 0.0


class Live(Protocol):
    """The serving side of one collection. Safe among threads."""

    def serving(self, *, fresh: bool = False) -> Serving:
        """Which version serves; `fresh` reads the pointer whatever is remembered. Raises `PreflightRefused` before `adopt`."""
        ...

    def encode_queries(self, version: IndexVersion, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), by the version's own model. Raises `ModelError`."""
        ...

    def encode_documents(self, version: IndexVersion, texts: Sequence[str]) -> Vectors:
        """As `encode_queries`, with the document prompt. What was encoded a moment ago is remembered."""
        ...

    def prepare(self, texts: Sequence[str]) -> None:
        """Encode documents for every maintained version before anything is written, so that a text that can't be encoded fails first."""
        ...

    def changed(self, ids: Sequence[str]) -> None:
        """These rows of the source were written or deleted: bring them into every maintained version, now or queued."""
        ...

    def flush(self) -> None:
        """Wait until everything that was queued is in. Raises what kept it from it."""
        ...

    def close(self) -> None:
        """Flush, and give everything back."""
        ...


@runtime_checkable
class StandsIn(Protocol):
    """A store that has a stand-in for its database's own client."""

    def stand_in(self, live: Live) -> Any:
        """The stand-in for the application's collection."""
        ...
