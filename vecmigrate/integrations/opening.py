"""What every integration begins with: its framework, or an error that says what to install; and its collection, given or opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vecmigrate.errors import MissingDependency, UsageError
from vecmigrate.serving import open_collection

if TYPE_CHECKING:
    from vecmigrate_chroma.collection import VersionedCollection

Source: TypeAlias = "VersionedCollection | str | Path"
"""An open collection, or the path of a vecmigrate.toml."""


@contextmanager
def framework(extra: str, *packages: str) -> Iterator[None]:
    """Import a framework inside. Raises `MissingDependency` when one of `packages` is not installed; a broken one raises its own error."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in packages:
            raise
        raise MissingDependency(f"this integration needs the package {error.name!r}", hint=f"pip install 'vecmigrate[{extra}]'") from error


def opened(source: Source) -> VersionedCollection:
    """The collection as given, or opened by the configuration file. Raises `UsageError` for anything else, and what opening raises."""
    if isinstance(source, str | Path):
        return open_collection(source)
    if not hasattr(source, "asynchronous"):
        raise UsageError(
            f"a {type(source).__name__} does not follow the serving pointer",
            hint="give the path of vecmigrate.toml, or what vecmigrate.open_collection returns",
        )
    return source


class Handle:
    """A collection that is opened when it is first used, and closed only by whom it was opened. Safe among threads.

    Raises `UsageError` at once for what is neither a collection nor a path.
    """

    def __init__(self, source: Source) -> None:
        self._source: Source = source if isinstance(source, str | Path) else opened(source)
        self._opened: VersionedCollection | None = None
        self._lock = threading.Lock()

    @property
    def path(self) -> str:
        """The configuration file, for what is written down and read back. Raises `UsageError` where a collection was given."""
        if not isinstance(self._source, str | Path):
            raise UsageError("an open collection can't be written down", hint="make it from the path of vecmigrate.toml")
        return str(self._source)

    def collection(self) -> VersionedCollection:
        """The collection, opened now if need be. Raises what `vecmigrate.open_collection` raises."""
        if not isinstance(self._source, str | Path):
            return self._source
        with self._lock:
            if self._opened is None:
                self._opened = opened(self._source)
            return self._opened

    def close(self) -> None:
        """Close what was opened here; the next use opens it again. A collection that was given stays as it is."""
        with self._lock:
            left, self._opened = self._opened, None
        if left is not None:
            left.close()
