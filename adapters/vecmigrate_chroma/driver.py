"""One Chroma client, with retries, our errors, and the one compare-and-set that Chroma has: `create_collection`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

from vecmigrate.errors import DataError, NotFound, StoreError, VecmigrateError
from vecmigrate.retrying import retry_transient
from vecmigrate_chroma.faults import translated

T = TypeVar("T")

MOST_IDS = 5_000
"""Ids in one request: well below the 32,766 variables that SQLite allows, whatever the client says."""

_ATTEMPT = "attempt"


class Driver:
    """A connected client. `place` is what people are told: the directory or the URL; `server` tells the two apart."""

    def __init__(self, client: Any, place: str, *, server: bool) -> None:
        self._client = client
        self.place = place
        self.server = server
        self.batch_size: int = min(MOST_IDS, self.call("asking for the batch size", client.get_max_batch_size))
        self.version: str = self.call("asking for the version", client.get_version)

    def call(self, what: str, request: Callable[[], T]) -> T:
        """Run a request that may be repeated, and repeat it while the server does not answer."""

        def once() -> T:
            with translated(what):
                return request()

        return retry_transient(once)

    def native(self, what: str, request: Callable[[], T]) -> T:
        """As `call`, for what an application asked for: what Chroma says of its arguments is raised as Chroma's own."""
        try:
            return self.call(what, request)
        except VecmigrateError as error:
            cause = error.__cause__
            if isinstance(cause, ValueError | TypeError | OverflowError) or (isinstance(error, DataError) and isinstance(cause, Exception)):
                raise cause from None
            raise

    def find(self, name: str) -> Any | None:
        """The collection of this name as it is now, or None. Loads no embedding function."""
        try:
            return self.call(f"opening collection {name!r}", lambda: self._client.get_collection(name, embedding_function=None))
        except NotFound:
            return None

    def names(self, prefix: str) -> list[str]:
        """The names of all collections that begin so."""
        listed = self.call("listing the collections", self._client.list_collections)
        return [found.name for found in listed if found.name.startswith(prefix)]

    def create(
        self, name: str, metadata: Mapping[str, Any] | None, configuration: Mapping[str, Any] | None = None, *, marked: bool = True
    ) -> Any | None:
        """Create a collection, exactly once among all callers: None when another caller has made it.

        The attempt is `marked` in the metadata, so that a creation whose answer was lost on the way is known as our own.
        """
        attempt = uuid4().hex
        described = {**(metadata or {}), **({_ATTEMPT: attempt} if marked else {})} or None
        full = {"hnsw": {}, **(configuration or {}), "embedding_function": None}
        try:
            return self.call(
                f"creating collection {name!r}",
                lambda: self._client.create_collection(name, embedding_function=None, configuration=full, metadata=described),
            )
        except (StoreError, DataError):
            found = self.find(name)
            if found is None:
                raise
            return found if (found.metadata or {}).get(_ATTEMPT) == attempt else None

    def delete(self, name: str) -> None:
        """Delete a collection; one that isn't there is ignored."""
        try:
            self.call(f"deleting collection {name!r}", lambda: self._client.delete_collection(name))
        except NotFound:
            return

    def now(self) -> datetime:
        """The server's clock, so that operators on several machines agree."""
        nanoseconds: int = self.call("asking for the time", self._client.heartbeat)
        return datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC)

    def close(self) -> None:
        """Give the client back; its HTTP connections too, which chromadb leaves open."""
        close_client(self._client)


def close_client(client: Any) -> None:
    """Close a chromadb client, and the connections that its own `close` leaves open."""
    sessions = sessions_of(client)
    with translated("closing"):
        client.close()
    for session in sessions:
        session.close()


def sessions_of(client: Any) -> list[Any]:
    """The httpx clients of a chromadb client: two for a server (it makes one more for its administration), none for a directory."""
    parts = (client, getattr(client, "_admin_client", None))
    found = (getattr(getattr(part, "_server", None), "_session", None) for part in parts)
    return [session for session in found if session is not None]
